//! Once it has run, a compiled program runs without asking for memory; and what it asked for is what the plan says.

#[path = "common/compile.rs"]
mod compile;
#[path = "common/run.rs"]
mod run;
#[path = "common/shipped.rs"]
mod shipped;

use metadsl::data::{self, DataSet, Features, Targets};
use metadsl::exec::Executor;
use metadsl::exec::exact::{self, Exact, Path, Room};
use metadsl::ir::{Builder, Precision, Tensor};
use metadsl::plan::Arm;
use metadsl::plan::lower::{ClientSizes, TrainPrograms, lower};
use metadsl::plan::prefix::split;
use metadsl::train::{DataSets, Forecast};

/// Where the tests run.
const ONE_THREAD: Room = Room { threads: 1, bytes: None };

/// A pool of this thread alone, since allocations are counted thread by thread.
fn alone() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().expect("a pool of one")
}

#[test]
fn a_training_step_asks_for_no_memory() {
    let _alone = alone();
    let control = allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 10])));
    assert!(control.count_total > 0, "allocations are counted");
    let mut tried = 0;
    for (name, override_) in [("maml_sine", "h = 40"), ("maml_anil", "train.steps = 2")] {
        let plan = compile::compile(&shipped::unclaimed(name), &[override_]);
        for arm in &plan.arms {
            let programs = lower(arm, &ClientSizes::default()).expect("the plan is sound");
            let TrainPrograms::Step(program) = &programs.train else { continue };
            let exec = Exact::<f32>::new(Path::detect());
            let kernel = exec.compile(&program.function).expect("compiles");
            let values: Vec<_> = program
                .function
                .input_dims()
                .map(|dims| exec.upload(&Tensor::full(dims, 0.5)).expect("uploads"))
                .collect();
            let args: Vec<_> = values.iter().collect();
            let mut results = Vec::new();
            // The first runs make the room that later ones use; here the results of one run are kept while the next one runs.
            let mut kept = Vec::new();
            let mut run = || {
                std::mem::swap(&mut kept, &mut results);
                exec.run_into(&kernel, &args, &mut results).expect("runs");
            };
            (0..4).for_each(|_| run());
            let counted = allocation_counter::measure(|| (0..10).for_each(|_| run()));
            assert_eq!(counted.count_total, 0, "`{}` of {name} asked {} times", arm.name, counted.count_total);
            tried += 1;
        }
    }
    assert!(tried > 4, "the shipped experiments have steps that are one program");
}

#[test]
fn the_memory_of_a_step_is_what_the_plan_says() {
    let _alone = alone();
    // Large enough that the list of instructions itself, some hundred kB, does not count.
    for hidden in [128, 256] {
        let plan = compile::compile(&shipped::unclaimed("maml_sine"), &[&format!("h = {hidden}")]);
        for arm in &plan.arms {
            let programs = lower(arm, &ClientSizes::default()).expect("the plan is sound");
            let TrainPrograms::Step(program) = &programs.train else { continue };
            let function = &program.function;
            let said = exact::need(function, Precision::F32, ONE_THREAD).expect("the program is sound").bytes;
            let counted = allocation_counter::measure(|| {
                let exec = Exact::<f32>::new(Path::detect());
                let value = |dims| exec.upload(&Tensor::full(dims, 0.5)).expect("uploads");
                let values: Vec<_> = function.input_dims().map(value).collect();
                let kernel = exec.compile(function).expect("compiles");
                exec.run(&kernel, &values.iter().collect::<Vec<_>>()).expect("runs");
            });
            let ratio = counted.bytes_max as f64 / said as f64;
            assert!(
                (0.9..=1.1).contains(&ratio),
                "`{}` of {hidden}: {} used, {said} said",
                arm.name,
                counted.bytes_max
            );
        }
    }
}

#[test]
fn a_large_program_that_rests_gives_its_memory_back() {
    let _alone = alone();
    let mut b = Builder::new();
    let (column, row) = (b.input("column", &[4096, 1]), b.input("row", &[1, 4096]));
    let outer = b.matmul(column, row, false, false);
    let result = b.matmul(outer, column, false, false);
    let function = b.finish("outer", vec![("result".to_owned(), result)]);
    let exec = Exact::<f32>::new(Path::detect());
    let kernel = exec.compile(&function).expect("compiles");
    let values: Vec<_> =
        function.input_dims().map(|dims| exec.upload(&Tensor::full(dims, 0.5)).expect("uploads")).collect();
    let run = || exec.run(&kernel, &values.iter().collect::<Vec<_>>()).expect("runs").remove(0);
    let large = 4096 * 4096 * 4;
    let mut first = None;
    let counted = allocation_counter::measure(|| first = Some(run()));
    assert!(counted.bytes_current > large, "{} are kept", counted.bytes_current);
    let counted = allocation_counter::measure(|| exec.rest(&kernel));
    assert!(counted.bytes_current < -large, "{} are kept", counted.bytes_current);
    let download = |value| exec.download(value).expect("downloads");
    assert_eq!(download(&run()), download(&first.expect("it ran")));
}

/// The images of noise of the benchmark of convolutions: 50 classes of 20.
fn noise() -> DataSet {
    let raw = (0..50 * 20 * 28 * 28_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let labels = (0..50 * 20).map(|i| i / 20).collect();
    let features = Features::bytes(&[1, 28, 28], raw, 1.0 / 255.0);
    DataSet { features, targets: Targets::classes(labels), owners: None }
}

fn digits() -> DataSet {
    let plan = compile::compile(&shipped::unclaimed("fedrep_digits"), &[]);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    let bytes = std::fs::read(path).expect("the data is in the repository");
    data::read(&plan.arms[0].data[0].reader, &[&bytes]).expect("the data can be read")
}

/// A wide input of which most of the memory is masks.
const DROPPED: &str = "
edition 2026
experiment dropped
dim d = 4096
tasks number { c: [] ~ normal; example { x: [] ~ normal; y: [] = c } }
model net(x: []) -> [] {
  param w: [d] = 0.5
  sum(dropout(x * w, rate: 0.5))
}
train {
  tasks = fresh(number, 16)
  split = { support: 1, query: 64 }
  loss = half_squared; adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 2
}
measure size = sum(w)
";

/// A frozen layer, of which all examples keep what it makes of them.
const FROZEN: &str = "
edition 2026
experiment frozen
dim d = 64
dim h = 2048
dim classes = 10
data digits = csv(\"../data/digits.csv.gz\", features: 0..64, label: 64, scale: 1 / 16)
tasks clients from digits { partition = iid(clients: 40); hold_out = 0.1 }
model net(x: [d]) -> [classes] {
  group base { param E: [d, h] ~ normal }
  param W: [h, classes] = 0
  relu(x @ E) @ W
}
train {
  tasks = pool(clients, batch: 4); loss = cross_entropy; freeze = base
  adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 2
}
measure size = sum(W ^ 2)
";

/// What a run is said to hold, and what one held at most.
fn said_and_used(arm: &Arm, sets: &DataSets, memory: Option<u64>) -> (f64, f64) {
    let room = Room { bytes: memory, ..ONE_THREAD };
    let forecast = Forecast::new(arm, 0, sets).expect("the plan is sound");
    let need = |function: &_| exact::need(function, arm.train.precision, room);
    let said = forecast.held(&need).expect("it fits");
    drop(forecast);
    let exec = Exact::<f32>::new(Path::detect()).within(memory);
    let mut after = None;
    let counted = allocation_counter::measure(|| after = Some(run::run(&exec, arm, 0, sets)));
    let result: usize = after.iter().flat_map(|cell| &cell.weights).map(|(_, tensor)| 8 * tensor.data().len()).sum();
    assert_eq!(result as u64, said.after, "`{}`", arm.name);
    (said.most as f64, counted.bytes_max as f64)
}

#[test]
fn the_memory_of_a_run_is_what_the_plan_says() {
    let _alone = alone();
    let conv4 = shipped::read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/conv4.meta"));
    let digits = || DataSets::from([("digits".to_owned(), digits())]);
    let noise = || DataSets::from([("noise".to_owned(), noise())]);
    let steps = "train.steps = 2";
    // Wide enough that what is left out, plans and lists of instructions, does not count.
    let holds = |text: &str, overrides: &[&str], sets: &dyn Fn() -> DataSets, memory: Option<u64>| {
        let plan = compile::compile(text, overrides);
        for arm in &plan.arms {
            let (said, used) = said_and_used(arm, &sets(), memory);
            let ratio = used / said;
            assert!((0.9..=1.1).contains(&ratio), "`{}` of {}: {used} used, {said} said", arm.name, plan.experiment);
        }
    };
    holds(&shipped::unclaimed("maml_sine"), &[steps, "h = 128"], &DataSets::new, None);
    holds(DROPPED, &[], &DataSets::new, None);
    holds(&shipped::unclaimed("fedrep_digits"), &[steps, "hidden = 2048"], &digits, None);
    assert!(split(&compile::compile(FROZEN, &[]).arms[0]).is_some(), "the layer goes ahead");
    holds(FROZEN, &[], &digits, None);
    holds(&conv4, &[steps], &noise, None);
    holds(&conv4, &[steps], &noise, Some(100_000_000));
}

#[test]
fn what_is_said_without_a_plan_is_no_less() {
    let mut asked = 0;
    for name in ["maml_sine", "maml_anil", "tr_maml", "icl_softmax", "multitask_relu"] {
        let plan = compile::compile(&shipped::unclaimed(name), &[]);
        let sets = DataSets::new();
        for arm in &plan.arms {
            let forecast = Forecast::new(arm, 0, &sets).expect("the plan is sound");
            for threads in [1, 16] {
                let room = Room { threads, bytes: None };
                let need = forecast.held(&|function| exact::need(function, arm.train.precision, room));
                let bound = forecast.held(&|function| Ok(exact::bound(function, arm.train.precision, threads)));
                let (need, bound) = (need.expect("it fits"), bound.expect("it fits"));
                assert!(
                    need.most <= bound.most && need.after == bound.after,
                    "`{}` of {name}: {need:?}, {bound:?}",
                    arm.name
                );
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked}");
}
