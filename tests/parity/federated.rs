//! One round of FedAvg and of FedRep on clients with 4, 6 and 5 examples; FedAvg as descent on the pooled data.

use metadsl::data::{DataSet, Features, Targets};
use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::plan::lower::Input;
use metadsl::train::{Cell, DataSets};
use serde_json::Value as Json;

use crate::compile::compile;
use crate::harness::{adapt, arm, assert_close, field, local_programs, reference, runners, tensor};
use crate::run::run;

const AFFINE: &str = "
model affine(x: [d]) -> [] {
  param w: [d] = 0.1
  param b: [] = 0.25
  x @ w + b
}";

const LINREP: &str = "
dim k = 2
model linrep(x: [d]) -> [] {
  param B: [d, k] ~ normal
  param w: [k] ~ normal
  x @ B @ w
}";

/// One round of all three clients with some model.
fn experiment(model: &str) -> String {
    let clients = r#"
edition 2026
experiment federated
dim d = 3
data table = csv("table.csv", features: 0..3, label: 3)
tasks clients from table {
  partition = dirichlet(clients: 3, alpha: 0.5)
  hold_out  = 0
}"#;
    let train = "
train {
  tasks = pool(clients)
  loss  = half_squared
  adapt = sgd(all, rate: 0.1, epochs: 2)
  outer = average(weights: examples)
  steps = 1
}
";
    [clients, model, train].concat()
}

/// What fills up the places of clients with fewer examples than others: it would show at once if it counted.
const FILLING: f64 = 1e6;

/// What the clients of a file hold.
fn held(inputs: &Json, input: Input) -> Tensor {
    let clients = &inputs["clients"];
    match input {
        Input::Support(0) => field(clients, "x", FILLING),
        Input::Support(1) => field(clients, "y", FILLING),
        Input::SupportMask => {
            let mut y = field(clients, "y", FILLING);
            y.data_mut().iter_mut().for_each(|y| *y = if *y == FILLING { 0.0 } else { 1.0 });
            y
        }
        other => panic!("a client has no {other:?}"),
    }
}

/// The shares of clients with 4, 6 and 5 examples.
fn shares() -> Tensor {
    Tensor::new(vec![3], [4.0, 6.0, 5.0].map(|n| n / 15.0).to_vec())
}

#[test]
fn fedavg_round() {
    let json = reference("fedavg_round.json");
    let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
    let plan = compile(&experiment(AFFINE), &[]);
    let arm = arm(&plan, "main");
    let (programs, reduce) = local_programs(arm, 6);
    for runner in runners() {
        let adapted = adapt(&*runner, arm, &programs, &|input| match input {
            Input::Param(0) => tensor(&inputs["w"]),
            Input::Param(1) => tensor(&inputs["b"]),
            other => held(inputs, other),
        });
        for (weights, suffix) in [(shares(), ""), (Tensor::full(&[3], 1.0 / 3.0), "_uniform")] {
            let after = runner.run(&reduce, &|input| match input {
                Input::Adapted(i) => adapted[&arm.model.params[i].name].clone(),
                Input::Weights => weights.clone(),
                other => panic!("an average does not read {other:?}"),
            });
            for param in ["w", "b"] {
                let wanted = tensor(&outputs[format!("{param}{suffix}")]);
                assert_close(&after[param], &wanted, runner.tolerance(), &format!("{param}{suffix}"));
                let wanted = tensor(&outputs[format!("client_{param}")]);
                assert_close(&adapted[param], &wanted, runner.tolerance(), &format!("client {param}"));
            }
        }
    }
}

#[test]
fn fedrep_round() {
    let json = reference("fedrep_round.json");
    let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
    let adapt_both = "train.adapt = [sgd(w, rate: 0.1, epochs: 3), sgd(B, rate: 0.1, epochs: 1)]";
    let plan = compile(&experiment(LINREP), &[adapt_both, "train.keep = w"]);
    let arm = arm(&plan, "main");
    let (programs, reduce) = local_programs(arm, 6);
    for runner in runners() {
        let adapted = adapt(&*runner, arm, &programs, &|input| match input {
            Input::Param(0) => tensor(&inputs["B"]),
            Input::Param(1) => tensor(&inputs["heads"]),
            other => held(inputs, other),
        });
        assert_close(&adapted["w"], &tensor(&outputs["heads"]), runner.tolerance(), "heads");
        assert_close(&adapted["B"], &tensor(&outputs["client_B"]), runner.tolerance(), "bodies");
        let after = runner.run(&reduce, &|input| match input {
            Input::Adapted(0) => adapted["B"].clone(),
            Input::Weights => shares(),
            other => panic!("heads are kept, so the average does not read {other:?}"),
        });
        assert_eq!(after.keys().collect::<Vec<_>>(), ["B"]);
        assert_close(&after["B"], &tensor(&outputs["B"]), runner.tolerance(), "B");
    }
}

/// Forty examples of three labels.
fn table() -> DataSets {
    let labels: Vec<u32> = (0..40).map(|i| (i * 7 % 11 % 3) as u32).collect();
    let features = (0..120).map(|i| (f64::from(i) * 0.7).sin() + 0.1 * f64::from(i % 5)).collect();
    DataSets::from([(
        "table".to_owned(),
        DataSet { features: Features::double(&[3], features), targets: Targets::classes(labels), owners: None },
    )])
}

fn trained(overrides: &[&str]) -> Cell {
    let overrides = [&["train.precision = f64", "train.steps = 4"], overrides].concat();
    let plan = compile(&experiment(AFFINE), &overrides);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 5, &table())
}

/// Weights after `steps` steps of descent on the mean loss over all examples: `w` and then `b`.
fn pooled_descent(rate: f64, steps: usize) -> Vec<f64> {
    let sets = table();
    let data = sets.get("table").expect("the table");
    let mut theta = [0.1, 0.1, 0.1, 0.25];
    for _ in 0..steps {
        let mut gradient = [0.0; 4];
        for row in 0..data.len() {
            let mut x = [0.0; 3];
            data.features.copy_row(row, &mut x);
            let y = data.targets.number(row);
            let x = [x[0], x[1], x[2], 1.0];
            let residual: f64 = x.iter().zip(theta).map(|(x, t)| x * t).sum::<f64>() - y;
            gradient.iter_mut().zip(x).for_each(|(g, x)| *g += residual * x / 40.0);
        }
        theta.iter_mut().zip(gradient).for_each(|(t, g)| *t -= rate * g);
    }
    theta.to_vec()
}

fn weights(cell: &Cell) -> Tensor {
    let flat: Vec<f64> = cell.weights.iter().flat_map(|(_, t)| t.data().to_vec()).collect();
    Tensor::new(vec![flat.len()], flat)
}

#[test]
fn averaging_one_step_by_examples_is_descent_on_the_pooled_data() {
    // sum_c (n_c / n) (theta - rate g_c) = theta - rate g, for the real loop: partition, masks, weights and all.
    let wanted = Tensor::new(vec![4], pooled_descent(0.1, 4));
    let one_epoch = "train.adapt = sgd(all, rate: 0.1, epochs: 1)";
    assert_close(&weights(&trained(&[one_epoch])), &wanted, 1e-12, "by examples");
    // The clients are unequal, so uniform weights are something else.
    let uniform = weights(&trained(&[one_epoch, "train.outer = average(weights: uniform)"]));
    let most = difference_of(&uniform, &wanted);
    assert!(most > 1e-3, "{most}");
}

#[test]
fn a_mean_of_losses_by_examples_is_descent_on_the_pooled_data() {
    let descent = |by: &str| {
        let outer = format!("update = sgd(rate: 0.1)\n  outer = mean(weights: {by})\n  precision = f64");
        let text = experiment(AFFINE).replace("outer = average(weights: examples)", &outer);
        let plan = compile(&text, &["train.adapt = none", "train.steps = 4"]);
        weights(&run(&Reference::new(Precision::F64), arm(&plan, "main"), 5, &table()))
    };
    let wanted = Tensor::new(vec![4], pooled_descent(0.1, 4));
    assert_close(&descent("examples"), &wanted, 1e-12, "by examples");
    let most = difference_of(&descent("uniform"), &wanted);
    assert!(most > 1e-3, "the clients are unequal, so uniform weights are something else: {most}");
}

#[test]
fn a_measure_by_examples_is_one_of_all_examples_together() {
    let evaluations = "
evaluate own { tasks = pool(clients); adapt = none }
evaluate together { tasks = pool(clients); adapt = none; query = all }
measure by_examples = mean(half_squared, weights: examples) on own every 1
measure by_clients = mean(half_squared) on own every 1
measure together = mean(half_squared) on together every 1
";
    let text = experiment(AFFINE) + evaluations;
    let plan = compile(&text, &["train.precision = f64", "train.steps = 4", "tasks.clients.hold_out = 0.3"]);
    let cell = run(&Reference::new(Precision::F64), arm(&plan, "main"), 5, &table());
    let [by_examples, by_clients, together] = cell.series.as_slice() else { panic!("three measures") };
    for (i, wanted) in together.values.iter().enumerate() {
        assert!((by_examples.values[i] - wanted).abs() < 1e-12, "{} is not {wanted}", by_examples.values[i]);
        assert!((by_clients.values[i] - wanted).abs() > 1e-4, "held-out shares are unequal");
    }
}

fn difference_of(a: &Tensor, b: &Tensor) -> f64 {
    a.data().iter().zip(b.data()).fold(0.0, |most, (a, b)| f64::max(most, (a - b).abs()))
}

#[test]
fn a_batch_of_everything_is_no_batch() {
    let whole = weights(&trained(&[]));
    let cut = weights(&trained(&["train.adapt = sgd(all, rate: 0.1, epochs: 2, batch: 40)"]));
    assert_close(&cut, &whole, 1e-12, "weights");
}
