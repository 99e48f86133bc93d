//! MAML, ANIL, their first-order forms and Reptile on the linear representation model.

use metadsl::ir::Tensor;
use metadsl::plan::lower::Input;
use serde_json::Value as Json;

use crate::compile::compile;
use crate::harness::{
    adapt, arm, assert_close, difference, field, local_programs, reference, runners, step_program, tensor,
};

/// The problem of `maml_linear.json`. The examples' laws do not matter: the tests bring the examples.
pub const LINEAR: &str = "
edition 2026
experiment linear
dim d = 5
dim k = 2
tasks linear {
  example { x: [d] ~ normal; y: [] ~ normal }
}
model linrep(x: [d]) -> [] {
  param B: [d, k] ~ normal
  param w: [k] ~ normal
  x @ B @ w
}
train {
  tasks   = fresh(linear, 3)
  split   = { support: 4, query: 4 }
  loss    = half_squared
  adapt   = gradient(all, rate: 0.1, steps: 1)
  through = exact
  outer   = mean
  update  = sgd(rate: 1)
  steps   = 1
}
";

const ARMS: &str = "
arm maml    {}
arm anil    { train.adapt.on = w }
arm fo_maml { train.through = first_order }
arm fo_anil { train.adapt.on = w; train.through = first_order }
";

fn four_methods() -> String {
    [LINEAR, ARMS].concat()
}

/// What the tasks of a reference file hold, and the shared parameters.
pub fn linear_input(inputs: &Json, input: Input) -> Tensor {
    let tasks = &inputs["tasks"];
    match input {
        Input::Param(0) => tensor(&inputs["B"]),
        Input::Param(1) => tensor(&inputs["w"]),
        Input::Support(0) => field(tasks, "support_x", 0.0),
        Input::Support(1) => field(tasks, "support_y", 0.0),
        Input::Query(0) => field(tasks, "query_x", 0.0),
        Input::Query(1) => field(tasks, "query_y", 0.0),
        other => panic!("a linear task has no {other:?}"),
    }
}

#[test]
fn meta_gradients() {
    let json = reference("maml_linear.json");
    let inputs = &json["inputs"];
    let plan = compile(&four_methods(), &[]);
    for name in ["maml", "anil", "fo_maml", "fo_anil"] {
        let program = step_program(arm(&plan, name));
        let wanted = &json["outputs"][name];
        for runner in runners() {
            let after = runner.run(&program, &|input| linear_input(inputs, input));
            for param in ["B", "w"] {
                let gradient = difference(&tensor(&inputs[param]), &after[param]);
                let wanted = tensor(&wanted[format!("meta_gradient_{param}")]);
                assert_close(&gradient, &wanted, runner.tolerance(), &format!("{name} {param}"));
            }
            let losses = tensor(&wanted["query_losses"]);
            assert_close(&after["losses"], &losses, runner.tolerance(), &format!("{name} losses"));
        }
    }
}

#[test]
fn adapted_parameters_in_the_loop_of_local_training() {
    let json = reference("maml_linear.json");
    let plan = compile(&four_methods(), &["train.outer = average()"]);
    for name in ["maml", "anil"] {
        let arm = arm(&plan, name);
        let (programs, _) = local_programs(arm, 4);
        for runner in runners() {
            let adapted = adapt(&*runner, arm, &programs, &|input| linear_input(&json["inputs"], input));
            for param in ["B", "w"] {
                let wanted = tensor(&json["outputs"][name][format!("adapted_{param}")]);
                assert_close(&adapted[param], &wanted, runner.tolerance(), &format!("{name} {param}"));
            }
        }
    }
}

#[test]
fn stopping_all_gradients_leaves_what_the_loss_reads_directly() {
    // ANIL with `stop`: `w` is a constant, and `B` keeps the gradient of the query loss at the adapted head.
    let json = reference("maml_linear.json");
    let plan = compile(&four_methods(), &["train.through = stop"]);
    let after = runners()[0].run(&step_program(arm(&plan, "anil")), &|input| linear_input(&json["inputs"], input));
    let gradient = difference(&tensor(&json["inputs"]["B"]), &after["B"]);
    assert_close(&gradient, &tensor(&json["outputs"]["fo_anil"]["meta_gradient_B"]), 1e-10, "B");
    assert_eq!(after["w"], tensor(&json["inputs"]["w"]));
}

#[test]
fn reptile() {
    let json = reference("reptile.json");
    let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
    let overrides =
        ["train.through = difference", "train.adapt = gradient(all, rate: 0.05, steps: 3)", "train.update.rate = 0.5"];
    let plan = compile(LINEAR, &overrides);
    let arm = arm(&plan, "main");
    let (programs, reduce) = local_programs(arm, 4);
    for runner in runners() {
        let adapted = adapt(&*runner, arm, &programs, &|input| linear_input(inputs, input));
        let after = runner.run(&reduce, &|input| match input {
            Input::Adapted(i) => adapted[&arm.model.params[i].name].clone(),
            Input::Weights => Tensor::full(&[3], 1.0 / 3.0),
            other => linear_input(inputs, other),
        });
        for param in ["B", "w"] {
            assert_close(&adapted[param], &tensor(&outputs[format!("adapted_{param}")]), runner.tolerance(), param);
            assert_close(&after[param], &tensor(&outputs[param]), runner.tolerance(), param);
        }
    }
}
