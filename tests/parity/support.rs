//! Adaptations that read the support set as a whole: means over it, and models that have it as an input.

use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::plan::lower::Input;
use metadsl::train::DataSets;

use crate::compile::compile;
use crate::harness::{Runner, arm, assert_close, step_program};
use crate::run::run;

/// Four support and two query examples of one task, in two classes.
const SUPPORT: ([f64; 4], [f64; 4]) = ([0.5, -1.0, 2.0, 0.25], [0.0, 1.0, 0.0, 1.0]);
const QUERY: ([f64; 2], [f64; 2]) = ([1.5, -0.5], [0.0, 1.0]);
const RATE: f64 = 0.1;

/// What a program reads of the task, with these parameters.
fn input(params: &[Tensor], input: Input) -> Tensor {
    let row = |values: &[f64]| Tensor::new(vec![1, values.len()], values.to_vec());
    match input {
        Input::Param(i) => params[i].clone(),
        Input::Support(0) => row(&SUPPORT.0),
        Input::Support(1) => row(&SUPPORT.1),
        Input::Query(0) => row(&QUERY.0),
        Input::Query(1) => row(&QUERY.1),
        Input::Weights => Tensor::full(&[1], 1.0),
        other => panic!("a task has no {other:?}"),
    }
}

/// One step of an experiment on that task; the parameters after it by name, and the loss.
fn step(text: &str, params: &[Tensor]) -> crate::harness::Outputs {
    let plan = compile(text, &[]);
    Runner::run(&Reference::new(Precision::F64), &step_program(arm(&plan, "main")), &|i| input(params, i))
}

/// The derivative of a loss in one number, by central differences.
fn derivative(at: f64, loss: impl Fn(f64) -> f64) -> f64 {
    let h = 1e-5;
    (loss(at + h) - loss(at - h)) / (2.0 * h)
}

const TASKS: &str = "
edition 2026
experiment support
dim classes = 2
tasks few { example { x: [] ~ normal; y: [] = (1 + sign(x)) / 2 } }
";

const TRAIN: &str = "
train {
  METHOD
  tasks  = fresh(few, 1)
  split  = { support: 4, query: 2 }
  update = sgd(rate: 0.1)
  steps  = 1
}
";

/// An experiment with that model, method and further settings.
fn experiment(model: &str, method: &str) -> String {
    [TASKS, model, &TRAIN.replace("METHOD", method)].concat()
}

/// The cross-entropy of prototypes of the features `w x + b x^2`, Snell et al., equations 1 and 2.
fn prototype_loss(w: f64) -> f64 {
    let feature = |x: f64| w * x + 0.3 * x * x;
    let centre = |class: f64| {
        let of: Vec<f64> =
            (0..4).filter(|&i| (SUPPORT.1[i] - class).abs() < 0.5).map(|i| feature(SUPPORT.0[i])).collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    let loss = |x: f64, y: f64| {
        let near = |class: f64| (-(feature(x) - centre(class)).powi(2)).exp();
        -(near(y) / (near(0.0) + near(1.0))).ln()
    };
    (loss(QUERY.0[0], QUERY.1[0]) + loss(QUERY.0[1], QUERY.1[1])) / 2.0
}

#[test]
fn protonet() {
    let model = "
model net(x: []) -> [classes] {
  param w: [] = 0.7
  param b: [] = 0.3
  param P: [classes] = 9
  let z = w * x + b * x ^ 2
  -(z - P) ^ 2
}
";
    let method = "method = protonet(P, w * x + b * x ^ 2); loss = cross_entropy";
    let params = [Tensor::scalar(0.7), Tensor::scalar(0.3), Tensor::full(&[2], 9.0)];
    let after = step(&experiment(model, method), &params);
    assert_close(&after["losses"], &Tensor::full(&[1], prototype_loss(0.7)), 1e-12, "the loss");
    let wanted = 0.7 - RATE * derivative(0.7, prototype_loss);
    assert_close(&after["w"], &Tensor::scalar(wanted), 1e-9, "w moves through the prototypes");
    assert!(!after.contains_key("P"), "prototypes begin every episode anew");
}

#[test]
fn a_formula_reads_a_value_that_the_model_names() {
    let model = "
layer bent(x: []) -> [] { param b: [] = 0.3; b * x ^ 2 }
model net(x: []) -> [classes] {
  param w: [] = 0.7
  param P: [classes] = 9
  let curve = bent(x)
  let z = w * x + curve
  -(z - P) ^ 2
}
";
    let params = [Tensor::scalar(0.7), Tensor::full(&[2], 9.0), Tensor::scalar(0.3)];
    let loss = |method: &str| step(&experiment(model, method), &params)["losses"].clone();
    let method = "method = protonet(P, z); loss = cross_entropy";
    assert_close(&loss(method), &Tensor::full(&[1], prototype_loss(0.7)), 1e-12, "prototypes of `z`");
    let z = |x: f64| 0.7 * x + 0.3 * x * x;
    let squared = (0..2).map(|i| (z(QUERY.0[i]) - QUERY.1[i]).powi(2)).sum::<f64>() / 2.0;
    let method = "adapt = none; outer = mean; loss = (z - y) ^ 2";
    assert_close(&loss(method), &Tensor::full(&[1], squared), 1e-12, "a loss of `z`");
}

#[test]
fn a_class_without_examples_keeps_its_row() {
    let model = "dim many = 3\nmodel net(x: []) -> [many] { param w: [] = 1; param P: [many] = 9; -(w * x - P) ^ 2 }\n";
    let method = "adapt = class_mean(P, of: w * x); outer = mean; loss = cross_entropy";
    let params = [Tensor::scalar(1.0), Tensor::full(&[3], 9.0)];
    let after = step(&experiment(model, method), &params);
    // The centres are 1.25, -0.375 and what was there.
    let loss = |x: f64, y: usize| {
        let near = [1.25, -0.375, 9.0].map(|centre: f64| (-(x - centre).powi(2)).exp());
        -(near[y] / near.iter().sum::<f64>()).ln()
    };
    let wanted = (loss(1.5, 0) + loss(-0.5, 1)) / 2.0;
    assert_close(&after["losses"], &Tensor::full(&[1], wanted), 1e-12, "the loss");
}

#[test]
fn cnp() {
    let model = "
model net(x: []) -> [] { param w: [] = 0.7; param r: [] = 9; w * r * x }
";
    let method = "method = cnp(r, w * x * y + x); loss = half_squared";
    let loss = |w: f64| {
        let r: f64 = (0..4).map(|i| w * SUPPORT.0[i] * SUPPORT.1[i] + SUPPORT.0[i]).sum::<f64>() / 4.0;
        (0..2).map(|i| 0.5 * (w * r * QUERY.0[i] - QUERY.1[i]).powi(2)).sum::<f64>() / 2.0
    };
    let after = step(&experiment(model, method), &[Tensor::scalar(0.7), Tensor::scalar(9.0)]);
    assert_close(&after["losses"], &Tensor::full(&[1], loss(0.7)), 1e-12, "the loss");
    assert_close(&after["w"], &Tensor::scalar(0.7 - RATE * derivative(0.7, loss)), 1e-9, "w, in encoder and decoder");
}

/// Attention over the support set: values are its targets.
const ATTENTION: &str = "
dim n = 4
model attention(x: [], support_x: [n], support_y: [n]) -> [] {
  param w: [] = 0.7
  softmax(w * x * support_x) @ support_y
}
";

fn attention(w: f64, x: f64) -> f64 {
    let weights = SUPPORT.0.map(|s| (w * x * s).exp());
    weights.iter().zip(SUPPORT.1).map(|(p, y)| p * y).sum::<f64>() / weights.iter().sum::<f64>()
}

#[test]
fn a_model_reads_the_support_set_itself() {
    let loss = |w: f64| (0..2).map(|i| (attention(w, QUERY.0[i]) - QUERY.1[i]).powi(2)).sum::<f64>() / 2.0;
    for objective in ["squared", "(attention(x, support_x, support_y) - y) ^ 2"] {
        let text = experiment(ATTENTION, &format!("adapt = in_context; outer = mean; loss = {objective}"));
        let after = step(&text, &[Tensor::scalar(0.7)]);
        assert_close(&after["losses"], &Tensor::full(&[1], loss(0.7)), 1e-12, objective);
        assert_close(&after["w"], &Tensor::scalar(0.7 - RATE * derivative(0.7, loss)), 1e-9, objective);
    }
}

#[test]
fn an_evaluation_in_context_is_one_of_the_same_examples() {
    let evaluated = "
evaluate test { tasks = fresh(few, 3); split = { support: 4, query: 5 }; adapt = in_context; query = [own, others] }
measure mse = mean(squared) on test
measure abs = mean(abs(attention(x, support_x, support_y) - y)) on test
";
    let text = experiment(ATTENTION, "adapt = in_context; outer = mean; loss = squared") + evaluated;
    let plan = compile(&text, &[]);
    let cell = run(&Reference::new(Precision::F64), arm(&plan, "main"), 1, &DataSets::new());
    let value = |name: &str| cell.series.iter().find(|s| s.measure == name).expect("measured").values[0];
    // All targets are 0 or 1, and so are weighted means of them.
    assert!((0.0..1.0).contains(&value("mse[query: own]")), "{:?}", cell.series);
    assert!(value("abs[query: own]") >= value("mse[query: own]"));
    assert!((value("mse[query: own]") - value("mse[query: others]")).abs() < 0.2, "{:?}", cell.series);
}
