//! The worst-case objective: one step of the reference file, and whole runs against a simulation by hand.

use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::numeric::simplex_projection;
use metadsl::plan::lower::Input;
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::harness::{arm, assert_close, reference, runners, step_program, tensor};
use crate::meta::{LINEAR, linear_input};
use crate::run::run;

#[test]
fn one_step() {
    let json = reference("worst_step.json");
    let (inputs, outputs) = (&json["inputs"], &json["outputs"]);
    let p = tensor(&inputs["p"]);
    let ascent = inputs["ascent"].as_f64().unwrap();
    let overrides = [
        "train.tasks = pool(linear, size: 3)",
        "train.outer = worst(over: task, ascent: 0.3)",
        "train.update.rate = 0.1",
    ];
    let plan = compile(LINEAR, &overrides);
    let program = step_program(arm(&plan, "main"));
    for runner in runners() {
        let after = runner.run(&program, &|input| match input {
            // N p_i: the mean over a step that visits each of the N tasks once is sum_i p_i F_i.
            Input::Weights => Tensor::new(vec![3], p.data().iter().map(|p| 3.0 * p).collect()),
            other => linear_input(inputs, other),
        });
        for param in ["B", "w"] {
            assert_close(&after[param], &tensor(&outputs[param]), runner.tolerance(), param);
        }
        let losses = &after["losses"];
        assert_close(losses, &tensor(&outputs["raw_losses"]), runner.tolerance(), "losses");
        let climbed: Vec<f64> = p.data().iter().zip(losses.data()).map(|(p, loss)| p + ascent * loss).collect();
        let projected = Tensor::new(vec![3], simplex_projection(&climbed));
        assert_close(&projected, &tensor(&outputs["p"]), runner.tolerance(), "p");
    }
}

#[test]
fn projections_on_the_simplex() {
    for case in reference("simplex.json")["cases"].as_array().unwrap() {
        let vector = tensor(&case["vector"]);
        let projected = Tensor::new(vector.dims().to_vec(), simplex_projection(vector.data()));
        // A far vector loses digits in the subtraction itself.
        let far = vector.data().iter().fold(1.0, |most: f64, x| most.max(x.abs()));
        assert_close(&projected, &tensor(&case["projection"]), 1e-14 * far, "a projection");
    }
}

/// Four tasks in three strata with the losses `(theta - c)^2 / 2` for c = 1, 2, 2.5 and -3.
pub const TARGETS: &str = "
edition 2026
experiment targets
tasks targets {
  stratum one(1) { c: [] = 1 }
  stratum two(2) { c: [] = 2 + index / 2 }
  stratum far(1) { c: [] = -3 }
  risk = 0.5 * (theta - c) ^ 2
}
model point(x: []) -> [] {
  param theta: [] = 0.3
  x * theta
}
train {
  tasks  = pool(targets)
  loss   = risk
  adapt  = none
  outer  = worst(over: task, ascent: 0.01)
  update = sgd(rate: 0.2)
  steps  = 5
  precision = f64
}
measure theta = theta every 1
measure one = mass(one) every 1
measure two = mass(two) every 1
measure far = mass(far) every 1
";

pub const CENTRES: [f64; 4] = [1.0, 2.0, 2.5, -3.0];

fn trained(overrides: &[&str]) -> Cell {
    let plan = compile(TARGETS, overrides);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &DataSets::new())
}

/// Runs `step` five times on `theta` and the weights `p`, and compares every measurement of the cell with its path.
fn check(cell: &Cell, corners: [&[usize]; 3], mut p: Vec<f64>, step: impl Fn(f64, &mut Vec<f64>) -> f64) {
    let mut theta = 0.3;
    for t in 0..=5 {
        let sums = corners.map(|tasks| tasks.iter().map(|&i| p[i]).sum::<f64>());
        let wanted = [theta, sums[0], sums[1], sums[2]];
        for (series, wanted) in cell.series.iter().zip(wanted) {
            let found = series.at(t);
            assert!((found - wanted).abs() <= 1e-12, "{} after {t} steps is {found}, not {wanted}", series.measure);
        }
        theta = step(theta, &mut p);
    }
}

/// `p + ascent * gains` on the simplex. Sums are kept by taking the mean off, and no weight reaches 0 in these runs.
fn climb(p: &mut [f64], gains: &[f64]) {
    let mean = gains.iter().sum::<f64>() / gains.len() as f64;
    p.iter_mut().zip(gains).for_each(|(p, g)| *p += 0.01 * (g - mean));
    assert!(p.iter().all(|&p| p > 0.0), "{p:?}");
}

fn losses(theta: f64) -> [f64; 4] {
    CENTRES.map(|c| 0.5 * (theta - c) * (theta - c))
}

#[test]
fn over_tasks_in_the_whole_run() {
    let cell = trained(&[]);
    check(&cell, [&[0], &[1, 2], &[3]], vec![0.25; 4], |theta, p| {
        let gradient: f64 = p.iter().zip(CENTRES).map(|(p, c)| p * (theta - c)).sum();
        climb(p, &losses(theta));
        theta - 0.2 * gradient
    });
}

#[test]
fn an_adversary_that_sees_weighted_losses() {
    let cell = trained(&["train.outer.sees = weighted"]);
    check(&cell, [&[0], &[1, 2], &[3]], vec![0.25; 4], |theta, p| {
        let gradient: f64 = p.iter().zip(CENTRES).map(|(p, c)| p * (theta - c)).sum();
        let gains: Vec<f64> = p.iter().zip(losses(theta)).map(|(p, loss)| 4.0 * p * loss).collect();
        climb(p, &gains);
        theta - 0.2 * gradient
    });
}

#[test]
fn over_strata_in_the_whole_run() {
    let cell = trained(&["train.outer.over = stratum"]);
    // A stratum's weight is shared by its tasks; its loss in the objective is their mean, its gain their sum.
    check(&cell, [&[0], &[1], &[2]], vec![1.0 / 3.0; 3], |theta, p| {
        let slope = CENTRES.map(|c| theta - c);
        let gradient = p[0] * slope[0] + p[1] * (slope[1] + slope[2]) / 2.0 + p[2] * slope[3];
        let loss = losses(theta);
        climb(p, &[loss[0], loss[1] + loss[2], loss[3]]);
        theta - 0.2 * gradient
    });
}

#[test]
fn a_task_sampled_alone_moves_its_own_weight() {
    // One task a step: `theta` descends N p_i F_i, and only p_i climbs. Which task it was shows in the move of `theta`.
    let cell = trained(&["train.tasks = pool(targets, batch: 1)", "train.steps = 8"]);
    let at = |series: usize, t: u64| cell.series[series].at(t);
    let mut p = vec![0.25; 4];
    let mut seen = [0; 4];
    for t in 0..8 {
        let (theta, next) = (at(0, t), at(0, t + 1));
        let moved = |i: usize| theta - 0.2 * 4.0 * p[i] * (theta - CENTRES[i]);
        let task = (0..4).min_by(|&i, &j| (moved(i) - next).abs().total_cmp(&(moved(j) - next).abs())).unwrap();
        assert!((moved(task) - next).abs() < 1e-12, "step {t}: no single task explains {theta} -> {next}");
        seen[task] += 1;
        p[task] += 0.01 * losses(theta)[task];
        p = simplex_projection(&p);
        for (series, wanted) in [p[0], p[1] + p[2], p[3]].into_iter().enumerate() {
            assert!((at(series + 1, t + 1) - wanted).abs() < 1e-12, "step {t}");
        }
    }
    assert!(seen.iter().filter(|&&n| n > 0).count() >= 2, "{seen:?}");
}
