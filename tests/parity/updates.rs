//! Schedules, decay, learned step sizes and retractions: whole runs against steps written out by hand.

use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::numeric::simplex_projection;
use metadsl::train::{Cell, DataSets, Observer, Snapshot, run_cell};

use crate::compile::compile;
use crate::harness::{arm, assert_close};
use crate::run::run;

/// Two tasks that pull a number to 1 and to -3.
const PULLED: &str = "
edition 2026
experiment pulled
tasks pulled {
  stratum up(1)   { c: [] = 1 }
  stratum down(1) { c: [] = -3 }
  risk = 0.5 * (w - c) ^ 2
}
model point(x: []) -> [] { param w: [] = 2; x * w }
train {
  tasks  = pool(pulled)
  loss   = risk
  adapt  = none
  outer  = mean
  update = sgd(rate: 0.1)
  steps  = 5
}
measure w = w
";

fn cell(text: &str, overrides: &[&str]) -> Cell {
    let plan = compile(text, overrides);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &DataSets::new())
}

fn weight(cell: &Cell, name: &str) -> Tensor {
    let found = cell.weights.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no parameter `{name}`"));
    found.1.clone()
}

fn assert_number(found: &Tensor, wanted: f64) {
    assert!((found.data()[0] - wanted).abs() < 1e-12, "{:?} is not {wanted}", found.data());
}

/// Where descent on the mean risk, whose gradient is `w + 1`, arrives with these step sizes.
fn descent(rates: &[f64]) -> f64 {
    rates.iter().fold(2.0, |w, rate| w - rate * (w + 1.0))
}

#[test]
fn the_step_size_of_an_update_follows_its_schedule() {
    for (schedule, rates) in [
        ("step(0.1, by: 0.5, every: 2)", [0.1, 0.1, 0.05, 0.05, 0.025]),
        ("linear(0.2, to: 0.5, over: 4)", [0.2, 0.175, 0.15, 0.125, 0.1]),
        ("warmup(linear(0.2, to: 0.5, over: 4), steps: 2)", [0.1, 0.175, 0.15, 0.125, 0.1]),
        ("cosine(0.2, over: 4)", [0.2, 0.1 + 0.1 * (0.5f64).sqrt(), 0.1, 0.1 - 0.1 * (0.5f64).sqrt(), 0.0]),
    ] {
        let update = format!("train.update = sgd(rate: {schedule})");
        assert_number(&weight(&cell(PULLED, &[&update]), "w"), descent(&rates));
    }
}

#[test]
fn the_step_size_of_an_adaptation_follows_its_schedule() {
    let adapt = "train.adapt = gradient(w, rate: step(0.1, by: 0.5, every: 1), steps: 3)";
    let ends = [1.0, -3.0].map(|c| [0.1, 0.05, 0.025].iter().fold(2.0, |w, rate| w - rate * (w - c)));
    let wanted = (ends[0] + ends[1]) / 2.0;
    // In the loop of local training, and unrolled in a step that takes start minus end as its gradient.
    for outer in ["train.outer = average", "train.through = difference"] {
        let overrides = [adapt, outer, "train.steps = 1", "train.update.rate = 1"];
        assert_number(&weight(&cell(PULLED, &overrides), "w"), wanted);
    }
    let exact = cell(PULLED, &[adapt, "train.steps = 1", "train.update.rate = 1"]);
    let slope = 0.9 * 0.95 * 0.975;
    let gradient = ((ends[0] - 1.0) + (ends[1] + 3.0)) / 2.0 * slope;
    assert_number(&weight(&exact, "w"), 2.0 - gradient);
}

#[test]
fn adamw_decays_apart_from_its_gradient() {
    let after = cell(PULLED, &["train.update = adamw(rate: 0.1, weight_decay: 0.3)"]);
    let (mut w, mut m, mut v) = (2.0f64, 0.0, 0.0);
    for step in 1..=5 {
        let g = w + 1.0;
        (m, v) = (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g);
        let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
        w = w - 0.1 * 0.3 * w - 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
    }
    assert_number(&weight(&after, "w"), w);
}

#[test]
fn meta_sgd_learns_the_step_size() {
    let overrides = [
        "train.with = rates(on: w, start: 0.1)",
        "train.adapt = gradient(w, rate: rates, steps: 1)",
        "train.steps = 2",
    ];
    // w' = w - r (w - c) and F = (w' - c)^2 / 2, so dF/dw = (w' - c)(1 - r) and dF/dr = -(w' - c)(w - c).
    let (mut w, mut r) = (2.0, 0.1);
    for _ in 0..2 {
        let (mut to_w, mut to_r) = (0.0, 0.0);
        for c in [1.0, -3.0] {
            let away = (w - r * (w - c)) - c;
            to_w += 0.5 * away * (1.0 - r);
            to_r -= 0.5 * away * (w - c);
        }
        (w, r) = (w - 0.1 * to_w, r - 0.1 * to_r);
    }
    let after = cell(PULLED, &overrides);
    assert_number(&weight(&after, "w"), w);
    assert_number(&weight(&after, "rates.w.rate"), r);
}

/// A matrix and a vector that are pulled somewhere.
const SETS: &str = "
edition 2026
experiment sets
dim d = 5
dim k = 3
world { target: [d, k] ~ normal; there: [d] ~ normal }
tasks fixed { risk = 0.5 * sum((B - target) ^ 2) + 0.5 * sum((p - there) ^ 2) }
model point(x: [d]) -> [k] { param B: [d, k] ~ normal; param p: [d] ~ normal; (x + p) @ B }
train {
  tasks  = pool(fixed, size: 1)
  loss   = risk
  adapt  = none
  outer  = mean
  update = sgd(rate: 0.7)
  steps  = 1
}
measure b = sum(B)
";

/// What one step gives, without and with a retraction.
fn retracted(retract: &str, param: &str) -> (Tensor, Tensor) {
    let retract = format!("train.retract = {retract}");
    (weight(&cell(SETS, &[]), param), weight(&cell(SETS, &[&retract]), param))
}

#[test]
fn qr_gives_an_orthonormal_basis_of_the_same_columns() {
    let (free, q) = retracted("qr(B)", "B");
    let dot = |a: &Tensor, i: usize, b: &Tensor, j: usize| -> f64 {
        (0..5).map(|row| a.data()[3 * row + i] * b.data()[3 * row + j]).sum()
    };
    for i in 0..3 {
        for j in 0..3 {
            let wanted = f64::from(u8::from(i == j));
            assert!((dot(&q, i, &q, j) - wanted).abs() < 1e-14, "Q'Q at {i}, {j}");
            // R = Q'B is upper triangular, with a positive diagonal.
            let r = dot(&q, i, &free, j);
            assert!(if i > j { r.abs() < 1e-14 } else { i < j || r > 0.0 }, "R at {i}, {j} is {r}");
        }
    }
}

#[test]
fn normalise_keeps_the_direction() {
    let (free, unit) = retracted("normalise(p)", "p");
    let norm = free.data().iter().map(|x| x * x).sum::<f64>().sqrt();
    let wanted: Vec<f64> = free.data().iter().map(|x| x / norm).collect();
    assert_close(&unit, &Tensor::new(vec![5], wanted), 1e-14, "the unit vector");
}

#[test]
fn simplex_is_the_projection_of_the_host() {
    let (free, inside) = retracted("[normalise(B), simplex(p)]", "p");
    let wanted = Tensor::new(vec![5], simplex_projection(free.data()));
    assert_close(&inside, &wanted, 1e-14, "the nearest point of the simplex");
    assert!(wanted.data().contains(&0.0), "some corner is dropped, so that the rounds are needed");
}

/// Two steps, then three others that begin where they end.
fn staged(stage: &str) -> String {
    PULLED
        .replace("steps  = 5", "steps  = 2")
        .replace("measure", &format!("stage next {{ steps = 3; {stage} }}\nmeasure"))
}

#[test]
fn a_stage_goes_on_where_the_one_before_ended() {
    assert_eq!(weight(&cell(&staged(""), &[]), "w"), weight(&cell(PULLED, &[]), "w"));
    // Its schedules count its own steps.
    let after = cell(&staged("update = sgd(rate: step(0.2, by: 0.5, every: 2))"), &[]);
    assert_number(&weight(&after, "w"), descent(&[0.1, 0.1, 0.2, 0.2, 0.1]));
    // Without `every`, a measure is taken at the first step and at the last of all.
    assert_eq!(after.series[0].steps, [0, 5]);
}

#[test]
fn a_stage_begins_without_the_memory_of_the_one_before() {
    let momentum = ["train.update = sgd(rate: 0.1, momentum: 0.9)"];
    let after = cell(&staged(""), &momentum);
    let mut w = 2.0;
    for steps in [2, 3] {
        let mut velocity = 0.0;
        for _ in 0..steps {
            velocity = 0.9 * velocity + (w + 1.0);
            w -= 0.1 * velocity;
        }
    }
    assert_number(&weight(&after, "w"), w);
}

#[test]
fn a_stage_trains_as_it_says() {
    // Two steps on the mean risk, then rounds of local steps that are averaged, each of size 0.05 as an update of its own.
    let stage = "adapt = gradient(w, rate: 0.05, steps: 1); outer = average; update = sgd(rate: 1)";
    assert_number(&weight(&cell(&staged(stage), &[]), "w"), descent(&[0.1, 0.1, 0.05, 0.05, 0.05]));
}

/// Goes on from a snapshot, or stops after a step and keeps one.
struct Interrupted {
    from: Option<Snapshot>,
    stop: u64,
    saved: std::sync::Mutex<Option<Snapshot>>,
}

impl Observer for Interrupted {
    fn stepped(&self, _: &str, _: u64, _: u64) {}
    fn measured(&self, _: &str, _: u64, _: &str, _: u64, _: f64) {}
    fn resume(&self, _: &str, _: u64) -> Option<Snapshot> {
        self.from.clone()
    }
    fn wants_snapshot(&self, _: &str, _: u64, step: u64, _: bool) -> bool {
        step == self.stop
    }
    fn save(&self, _: &str, _: u64, snapshot: Snapshot) {
        *self.saved.lock().expect("one thread") = Some(snapshot);
    }
}

#[test]
fn a_run_goes_on_in_every_stage_as_if_it_had_never_stopped() {
    let plan = compile(&staged("update = adam(rate: 0.1)"), &["train.update = sgd(rate: 0.1, momentum: 0.9)"]);
    let run = |from, stop| {
        let observer = Interrupted { from, stop, saved: std::sync::Mutex::new(None) };
        let exec = Reference::new(Precision::F64);
        let cell = run_cell(&exec, arm(&plan, "main"), 3, &DataSets::new(), &observer).expect("it runs");
        (cell, observer.saved.into_inner().expect("one thread"))
    };
    for stop in 0..=5 {
        let (whole, saved) = run(None, stop);
        assert!(saved.is_some(), "a snapshot after step {stop}");
        assert_eq!(run(saved, 99).0, whole, "from step {stop}");
    }
}
