//! Adam and momentum along given gradients: as the outer update and as a task's own steps.

use metadsl::ir::Tensor;
use metadsl::plan::lower::Input;

use crate::compile::compile;
use crate::harness::{Outputs, arm, assert_close, local_programs, reference, runners, step_program, tensor};

/// The risk `theta @ g` has the gradient `g`, whatever `theta` is.
const SLOPE: &str = "
edition 2026
experiment slope
dim n = 4
tasks slope {
  g: [n] ~ normal
  risk = theta @ g
}
model point(x: [n]) -> [] {
  param theta: [n] ~ normal
  x @ theta
}
train {
  tasks  = fresh(slope, 1)
  loss   = risk
  adapt  = none
  outer  = mean
  update = sgd(rate: 1)
  steps  = 3
}
";

/// Follows the gradients of a reference file and compares every point of the path and the last memory.
fn check_path(file: &str, solver: &str, memory: &[(&str, &str)]) {
    let json = reference(file);
    let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
    let plan = compile(SLOPE, &[&format!("train.update = {solver}")]);
    let outer = arm(&plan, "main");
    let update = outer.train.update.clone().expect("the experiment sets `update`");
    let step = step_program(outer);

    let local = solver.replacen('(', "(all, steps: 1, ", 1);
    let local_plan = compile(SLOPE, &[&format!("train.adapt = {local}"), "train.outer = average()"]);
    let (programs, _) = local_programs(arm(&local_plan, "main"), 1);
    assert_eq!(arm(&local_plan, "main").train.adapt[0].solver, update);

    for runner in runners() {
        for (program, tasks) in [(&step, None), (&programs.blocks[0], Some(1))] {
            let mut state = Outputs::from([("theta".to_owned(), rows(&tensor(&inputs["theta"]), tasks))]);
            for (t, gradient) in inputs["gradients"].as_array().expect("a list").iter().enumerate() {
                let schedule = update.schedule(t as u64 + 1);
                let after = runner.run(program, &|input| match input {
                    Input::Param(0) => state["theta"].clone(),
                    Input::Memory { slot, .. } => match state.get(&format!("theta.{}", update.memory()[slot])) {
                        Some(value) => value.clone(),
                        None => Tensor::full(state["theta"].dims(), 0.0),
                    },
                    Input::Schedule(i) => Tensor::scalar(schedule[i]),
                    Input::Latent(0) => rows(&tensor(gradient), Some(1)),
                    other => panic!("a slope has no {other:?}"),
                });
                // Steps of a thousandth would hide in the error that f32 is allowed elsewhere.
                let tolerance = runner.tolerance().min(1e-6);
                assert_close(&after["theta"], &rows(&tensor(&outputs["path"][t]), tasks), tolerance, "theta");
                state = after;
            }
            for (ours, theirs) in memory {
                let wanted = rows(&tensor(&outputs[*theirs]), tasks);
                assert_close(&state[&format!("theta.{ours}")], &wanted, runner.tolerance(), theirs);
            }
        }
    }
}

/// The tensor itself, or as the row of every task.
fn rows(tensor: &Tensor, tasks: Option<usize>) -> Tensor {
    match tasks {
        Some(tasks) => Tensor::stack(tensor.dims(), &vec![tensor.clone(); tasks]),
        None => tensor.clone(),
    }
}

#[test]
fn adam() {
    check_path("adam.json", "adam(rate: 1e-3)", &[("m", "m"), ("v", "v")]);
}

#[test]
fn momentum_and_weight_decay() {
    check_path("momentum.json", "sgd(rate: 0.1, momentum: 0.9, weight_decay: 0.01)", &[("velocity", "buffer")]);
}
