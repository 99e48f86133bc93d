//! Once it has run, a compiled program runs without asking for memory.

#[path = "common/compile.rs"]
mod compile;
#[path = "common/shipped.rs"]
mod shipped;

use metadsl::exec::Executor;
use metadsl::exec::exact::{Exact, Path};
use metadsl::ir::Tensor;
use metadsl::plan::lower::{ClientSizes, TrainPrograms, lower};

#[test]
fn a_training_step_asks_for_no_memory() {
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
