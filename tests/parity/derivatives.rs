//! Meta-gradients through several inner steps of a small network against central differences of the lowered program's
//! own losses, in f64.

use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::plan::lower::Input;

use crate::compile::compile;
use crate::harness::{Runner, arm, step_program};

const MLP: &str = "
edition 2026
experiment network
dim h = 3
tasks curve {
  example { x: [] ~ normal; y: [] ~ normal }
}
model mlp(x: []) -> [] {
  param W1: [h] ~ normal
  param b1: [h] ~ normal
  param W2: [h, h] ~ normal
  param b2: [h] ~ normal
  group head {
    param W3: [h] ~ normal
    param b3: [] ~ normal
  }
  tanh(tanh(x * W1 + b1) @ W2 + b2) @ W3 + b3
}
train {
  tasks  = fresh(curve, 2)
  split  = { support: 4, query: 3 }
  loss   = squared
  adapt  = gradient(all, rate: 0.1, steps: 3)
  outer  = mean
  update = sgd(rate: 1)
  steps  = 1
}
";

/// Values without a pattern that symmetries could hide in.
fn wave(dims: &[usize], phase: f64) -> Tensor {
    let size: usize = dims.iter().product();
    Tensor::new(dims.to_vec(), (0..size).map(|i| 0.9 * (1.7 * i as f64 + phase).sin()).collect())
}

/// Compares the gradient of every parameter, `theta - theta'` at rate 1, with `(F(theta + e) - F(theta - e)) / 2e`.
fn check_gradient(adapt: &str) {
    let plan = compile(MLP, &[&format!("train.adapt = {adapt}")]);
    let arm = arm(&plan, "main");
    let program = step_program(arm);
    let exec = Reference::new(Precision::F64);
    let start: Vec<Tensor> = arm.model.params.iter().enumerate().map(|(i, s)| wave(&s.dims, i as f64)).collect();
    let outputs = |params: &[Tensor]| {
        Runner::run(&exec, &program, &|input| match input {
            Input::Param(i) => params[i].clone(),
            Input::Support(i) => wave(&[2, 4], 10.0 + i as f64),
            Input::Query(i) => wave(&[2, 3], 20.0 + i as f64),
            other => panic!("a step does not read {other:?}"),
        })
    };
    let objective = |params: &[Tensor]| {
        let losses = outputs(params).remove("losses").expect("a step gives the losses");
        losses.data().iter().sum::<f64>() / losses.data().len() as f64
    };
    let after = outputs(&start);
    let epsilon = 1e-5;
    let mut moved = 0;
    for (i, slot) in arm.model.params.iter().enumerate() {
        for element in 0..start[i].data().len() {
            let at = |change: f64| {
                let mut params = start.clone();
                params[i].data_mut()[element] += change;
                objective(&params)
            };
            let wanted = (at(epsilon) - at(-epsilon)) / (2.0 * epsilon);
            let found = start[i].data()[element] - after[&slot.name].data()[element];
            let error = (found - wanted).abs();
            assert!(
                error <= 1e-7 * wanted.abs().max(1.0),
                "{adapt}: {}[{element}] is {found}, not {wanted}",
                slot.name
            );
            moved += usize::from(found.abs() > 1e-3);
        }
    }
    assert!(moved >= 15, "only {moved} of 22 gradients are worth comparing");
}

#[test]
fn through_gradient_steps() {
    check_gradient("gradient(all, rate: 0.1, steps: 3)");
}

#[test]
fn through_momentum_on_some_parameters() {
    check_gradient("sgd(head, rate: 0.1, steps: 3, momentum: 0.9, weight_decay: 0.1)");
}

#[test]
fn through_adam() {
    // A small `epsilon` makes the first step nearly the sign of the gradient, too sharp for differences.
    check_gradient("adam(all, rate: 0.05, steps: 2, epsilon: 0.1)");
}

#[test]
fn through_blocks_of_different_kinds() {
    check_gradient("[ridge(head, penalty: 0.5), gradient([W1, b1, W2], rate: 0.2, steps: 2)]");
}
