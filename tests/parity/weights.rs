//! How much tasks count, how likely they are sampled, and which examples a block sees: against formulas.

use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::plan::lower::Input;
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::harness::{adapt, arm, assert_close, local_programs, runners, step_program};
use crate::run::run;
use crate::worst::{CENTRES, TARGETS};

/// What is measured beside the targets and their stratum masses.
const MEASURED: &str = "
evaluate after { tasks = pool(targets); loss = risk; adapt = none }
measure risk = mean(risk, weights: { one: 1, two: 3, far: 2 }) on after every 1
";

const WEIGHTS: [f64; 4] = [1.0, 3.0, 3.0, 2.0];

/// The mean over tasks of something, weighed by the strata.
fn weighed(of: impl Fn(f64) -> f64) -> f64 {
    let sum: f64 = CENTRES.iter().zip(WEIGHTS).map(|(&c, w)| w * of(c)).sum();
    sum / WEIGHTS.iter().sum::<f64>()
}

fn trained(overrides: &[&str]) -> Cell {
    let plan = compile(&[TARGETS, MEASURED].concat(), &[&["train.outer = mean"], overrides].concat());
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &DataSets::new())
}

fn series<'c>(cell: &'c Cell, measure: &str) -> &'c [f64] {
    &cell.series.iter().find(|s| s.measure == measure).expect("it is measured").values
}

/// Whether a cell has the series, within a tolerance.
fn assert_series(cell: &Cell, measure: &str, wanted: impl Fn(usize) -> f64) {
    for (t, found) in series(cell, measure).iter().enumerate() {
        assert!((found - wanted(t)).abs() <= 1e-6, "{measure} after {t} steps is {found}, not {}", wanted(t));
    }
}

/// `theta` after so many steps of descent by the rate toward a point.
fn toward(point: f64, rate: f64) -> impl Fn(usize) -> f64 {
    move |steps| point + (0.3 - point) * (1.0 - rate).powi(steps as i32)
}

#[test]
fn losses_count_by_their_stratum() {
    let cell = trained(&["train.outer = mean(weights: { one: 1, two: 3, far: 2 })"]);
    let theta = toward(weighed(|c| c), 0.2);
    assert_series(&cell, "theta", &theta);
    assert_series(&cell, "risk", |t| weighed(|c| 0.5 * (theta(t) - c).powi(2)));
    assert_series(&cell, "two", |_| 6.0 / 9.0);
    let alike = trained(&[]);
    assert_series(&alike, "theta", toward(CENTRES.iter().sum::<f64>() / 4.0, 0.2));
    assert_series(&alike, "two", |_| 0.5);
}

#[test]
fn adapted_parameters_count_by_their_stratum() {
    let overrides = [
        "train.adapt = gradient(theta, rate: 0.5, steps: 1)",
        "train.outer = average(weights: { one: 1, two: 3, far: 2 })",
    ];
    // An average has no weights over tasks to measure, and takes the place of the outer gradient.
    let text: String =
        TARGETS.lines().filter(|l| !l.contains("mass(") && !l.contains("update")).flat_map(|l| [l, "\n"]).collect();
    let plan = compile(&text, &overrides);
    let cell = run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &DataSets::new());
    assert_series(&cell, "theta", toward(weighed(|c| c), 0.5));
}

#[test]
fn a_law_says_who_is_sampled_and_an_adversary_takes_it_into_account() {
    let tasks = "train.tasks = pool(targets, batch: 1, law: { one: 1e-12, two: 1e-12, far: 1 })";
    assert_series(&trained(&[tasks]), "theta", toward(-3.0, 0.2));
    // A step estimates the sum of `p_i F_i`, of which `far` holds a fourth, whatever the law; `ascent` is too small to tell.
    let cell = trained(&[tasks, "train.outer = worst(over: task, ascent: 1e-12)"]);
    assert_series(&cell, "theta", toward(-3.0, 0.2 / 4.0));
    let cell = trained(&[tasks, "train.outer = worst(over: stratum, ascent: 1e-12)"]);
    assert_series(&cell, "theta", toward(-3.0, 0.2 / 3.0));
}

/// Tasks of five numbers each, to which one parameter is fitted.
const NUMBERS: &str = "
edition 2026
experiment numbers
tasks numbers {
  centre: [] ~ normal
  example { y: [] ~ normal(centre, 1) }
}
model point() -> [] {
  param theta: [] = 0.3
  theta
}
train {
  tasks  = pool(numbers, size: 2)
  split  = { support: 5, query: 1 }
  loss   = half_squared
  adapt  = gradient(theta, rate: 0.5, steps: 1)
  outer  = average
  steps  = 2
  precision = f64
}
evaluate fitted {
  tasks = pool(numbers, size: 2)
  split = { support: 5, query: 3 }
  adapt = gradient(theta, rate: 0.5, steps: 1)
}
measure theta = theta every 1
measure mse = mean(squared) on fitted every 1
";

/// The numbers of two tasks, and the means of those in 1..3.
fn numbers(input: Input) -> Tensor {
    match input {
        Input::Param(_) => Tensor::scalar(0.3),
        Input::Support(0) => Tensor::new(vec![2, 5], vec![9.0, 1.0, 2.0, 9.0, 9.0, 9.0, -3.0, 0.5, 9.0, 9.0]),
        Input::SupportMask => Tensor::full(&[2, 5], 1.0),
        Input::Query(0) => Tensor::new(vec![2, 1], vec![4.0, 5.0]),
        Input::QueryMask => Tensor::full(&[2, 1], 1.0),
        Input::Weights => Tensor::full(&[2], 1.0),
        other => panic!("no {other:?} is needed"),
    }
}

const MEANS: [f64; 2] = [1.5, -1.25];

#[test]
fn a_block_sees_its_examples_alone() {
    let half = MEANS.map(|mean| 0.3 - 0.5 * (0.3 - mean));
    let ridge = MEANS.map(|mean| mean / 1.5);
    for (block, wanted) in [
        ("gradient(theta, rate: 0.5, steps: 1, examples: 1..3)", half),
        ("sgd(theta, rate: 0.5, steps: 1, examples: 1..3)", half),
        ("least_squares(theta, examples: 1..3)", MEANS),
        ("ridge(theta, penalty: 0.5, examples: 1..3)", ridge),
        ("mean(theta, of: y, examples: 1..3)", MEANS),
    ] {
        let plan = compile(NUMBERS, &[&format!("train.adapt = {block}")]);
        let local = arm(&plan, "main");
        let (programs, _) = local_programs(local, 5);
        let of_all = format!("train.adapt = {block}").replace(", examples: 1..3", "");
        let whole = compile(NUMBERS, &[&of_all]);
        for runner in runners() {
            let adapted = adapt(&*runner, local, &programs, &numbers);
            let wanted = Tensor::new(vec![2], wanted.to_vec());
            assert_close(&adapted["theta"], &wanted, runner.tolerance(), block);
            let whole = arm(&whole, "main");
            let all = adapt(&*runner, whole, &local_programs(whole, 5).0, &numbers);
            assert!(all["theta"].data().iter().all(|&x| x > 1.6), "all numbers are another fit: {all:?}");
        }
    }
}

#[test]
fn the_outer_gradient_goes_through_the_examples_of_a_block() {
    let overrides = [
        "train.adapt = gradient(theta, rate: 0.5, steps: 1, examples: 1..3)",
        "train.outer = mean",
        "train.update = sgd(rate: 1)",
    ];
    let plan = compile(NUMBERS, &overrides);
    let program = step_program(arm(&plan, "main"));
    let errors = MEANS.iter().zip([4.0, 5.0]).map(|(mean, target)| 0.3 - 0.5 * (0.3 - mean) - target);
    let gradient: f64 = errors.map(|error| 0.5 * error).sum::<f64>() / 2.0;
    for runner in runners() {
        let after = runner.run(&program, &numbers);
        assert_close(&after["theta"], &Tensor::scalar(0.3 - gradient), runner.tolerance(), "theta");
    }
}

#[test]
fn blocks_of_batches_and_evaluations_see_the_same_examples() {
    let with = |adapt: &str| {
        let plan = compile(NUMBERS, &[&format!("train.adapt = {adapt}"), &format!("evaluate.fitted.adapt = {adapt}")]);
        run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &DataSets::new())
    };
    let at_once = with("gradient(theta, rate: 0.5, steps: 2, examples: 1..3)");
    let batches = with("sgd(theta, rate: 0.5, epochs: 2, batch: 2, examples: 1..3)");
    for measure in ["theta", "mse"] {
        let wanted = series(&at_once, measure);
        for (found, wanted) in series(&batches, measure).iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{measure}: {found}, not {wanted}");
        }
        let all = with("gradient(theta, rate: 0.5, steps: 2)");
        assert_ne!(series(&all, measure)[1..], wanted[1..]);
    }
}
