//! Once it has run, a compiled program runs without asking for memory; and what it asked for is what the plan says.

#[path = "common/compile.rs"]
mod compile;
#[path = "common/shipped.rs"]
mod shipped;

use metadsl::exec::Executor;
use metadsl::exec::exact::{self, Exact, Path, Room};
use metadsl::ir::{Precision, Tensor};
use metadsl::plan::lower::{ClientSizes, TrainPrograms, lower};

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
