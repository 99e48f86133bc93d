//! Clients of a data set in strata: who belongs to which, what is sampled of each, how much it counts, and where it is measured.

use metadsl::data::{DataSet, Features, Owners, Targets};
use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::harness::arm;
use crate::run::run;

/// Three owners, of which the third is a stratum of its own; each has two examples with one target.
const TEXT: &str = r#"
edition 2026
experiment strata
dim d = 1
data table = csv("table.csv", features: 0..1, target: 1, owner: 2)
tasks clients from table {
  partition = owners([2, 0..2])
  hold_out  = 0.5
  stratum near(1) {}
  stratum far(2) {}
}
model point(x: [d]) -> [] {
  param theta: [] = 0
  theta + 0 * sum(x)
}
train {
  tasks = pool(clients)
  loss  = half_squared
  adapt = sgd(theta, rate: 0.5, epochs: 1)
  outer = average
  steps = 1
}
evaluate on_far { tasks = pool(clients, strata: far); adapt = none }
measure far = mean(squared) on on_far every 1
"#;

/// The targets of the owners 0, 1 and 2.
const TARGETS: [f64; 3] = [4.0, 8.0, -2.0];

fn trained(overrides: &[&str]) -> Cell {
    let owners = ["a", "b", "c"].map(|name| [name.to_owned(), name.to_owned()]).concat();
    let set = DataSet {
        features: Features::double(&[1], vec![0.0; 6]),
        targets: Targets::Numbers(TARGETS.iter().flat_map(|&t| [t, t]).collect()),
        owners: Some(Owners::from_names(&owners)),
    };
    let plan = compile(TEXT, overrides);
    let sets = DataSets::from([("table".to_owned(), set)]);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &sets)
}

/// `theta` after a step of every client half of the way to its target, averaged by these weights of the owners.
fn assert_averaged(overrides: &[&str], weights: [f64; 3]) {
    let cell = trained(overrides);
    let sum: f64 = weights.iter().zip(TARGETS).map(|(w, t)| w * 0.5 * t).sum();
    let theta = sum / weights.iter().sum::<f64>();
    let found = cell.weights[0].1.data()[0];
    assert!((found - theta).abs() < 1e-6, "theta is {found}, not {theta}, under {overrides:?}");
    // Whoever takes part in training, the evaluation is on the first two owners.
    let far = TARGETS[..2].iter().map(|t| (theta - t).powi(2)).sum::<f64>() / 2.0;
    let measured = cell.series[0].at(1);
    assert!((measured - far).abs() < 1e-6, "the error is {measured}, not {far}, under {overrides:?}");
}

#[test]
fn all_take_part_and_count_alike() {
    assert_averaged(&[], [1.0, 1.0, 1.0]);
}

#[test]
fn strata_are_chosen() {
    assert_averaged(&["train.tasks = pool(clients, strata: near)"], [0.0, 0.0, 1.0]);
    assert_averaged(&["train.tasks = pool(clients, strata: far)"], [1.0, 1.0, 0.0]);
}

#[test]
fn strata_count_by_their_weights() {
    assert_averaged(&["train.outer = average(weights: { near: 3, far: 1 })"], [1.0, 1.0, 3.0]);
}

#[test]
fn strata_are_sampled_by_a_law() {
    assert_averaged(&["train.tasks = pool(clients, batch: 1, law: { near: 1, far: 1e-12 })"], [0.0, 0.0, 1.0]);
}
