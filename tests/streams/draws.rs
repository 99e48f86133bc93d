//! What the draws of a task depend on, seen from outside through models simple enough to read the draws off.

use metadsl::catalog::Weights;
use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::plan::{PoolStratum, TaskSource};
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::run::run;

fn cell(text: &str, overrides: &[&str]) -> Cell {
    let plan = compile(text, overrides);
    run(&Reference::new(Precision::F64), &plan.arms[0], 11, &DataSets::new())
}

fn weight(cell: &Cell, name: &str) -> Vec<f64> {
    cell.weights.iter().find(|(n, _)| n == name).expect("a parameter").1.data().to_vec()
}

fn series<'c>(cell: &'c Cell, name: &str) -> &'c [f64] {
    &cell.series.iter().find(|s| s.measure == name).expect("a measure").values
}

fn assert_near(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{what}: {found}, not {wanted}");
}

/// The gradient of the risk is the task's one draw, so `theta` is minus the sum of the draws so far.
const SLOPES: &str = "
edition 2026
experiment slopes
tasks slopes {
  stratum mild(3)  { a: [] ~ normal }
  stratum steep(1) { a: [] ~ uniform(100, 101) }
  risk = theta * a
}
model point(x: []) -> [] {
  param theta: [] = 0
  x * theta
}
train {
  tasks  = fresh(slopes, 1)
  loss   = risk
  adapt  = none
  outer  = mean
  update = sgd(rate: 1)
  steps  = 24
  precision = f64
}
measure theta = theta every 1
";

#[test]
fn a_fresh_task_is_what_its_number_says() {
    // Task `step * count + i` has the same stratum and the same variables however many tasks make a step. (Its
    // episode and examples are drawn once more for every step, so they are those of the number and the step.)
    let one = cell(SLOPES, &[]);
    let sums = series(&one, "theta");
    for count in [2, 3, 8] {
        let (tasks, rate, steps) = (
            format!("train.tasks = fresh(slopes, {count})"),
            format!("train.update.rate = {count}"),
            format!("train.steps = {}", 24 / count),
        );
        let many = cell(SLOPES, &[&tasks, &rate, &steps]);
        for (step, &theta) in series(&many, "theta").iter().enumerate() {
            assert_near(theta, sums[step * count], &format!("{count} tasks a step, after {step} steps"));
        }
    }
    // The draws are draws: all different, of both kinds.
    let mut draws: Vec<f64> = sums.windows(2).map(|w| w[0] - w[1]).collect();
    let steep = draws.iter().filter(|a| **a > 99.0).count();
    assert!((1..24).contains(&steep), "{steep} of 24 tasks are steep");
    draws.sort_by(f64::total_cmp);
    assert!(draws.windows(2).all(|w| w[1] - w[0] > 1e-9), "{draws:?}");
}

/// A task adapts `w` on its support examples; `s` moves by the query.
const LINES: &str = "
edition 2026
experiment lines
tasks lines {
  slope: [] ~ normal
  example {
    x: [] ~ normal
    y: [] = slope * x
  }
}
model line(x: []) -> [] {
  param s: [] = 1
  param w: [] = 0
  s * x + w
}
train {
  tasks  = pool(lines, size: 3)
  split  = { support: 4, query: 3 }
  loss   = squared
  adapt  = gradient(w, rate: 0.1, steps: 2)
  outer  = mean
  update = sgd(rate: 0.1)
  steps  = 1
  precision = f64
}
evaluate tested { tasks = fresh(lines, 3); split = { support: 4, query: 3 }; adapt = none }
measure mean = mean(squared) on tested every 1
measure worst = worst(squared) on tested every 1
";

#[test]
fn support_draws_do_not_depend_on_the_query() {
    // A kept parameter is what one step of adaptation made of it.
    let kept = ["train.keep = w", "evaluate.tested.tasks = pool(lines, size: 3)"];
    let longer = [&kept[..], &["train.split = { support: 4, query: 30 }"]].concat();
    let (few, many) = (cell(LINES, &kept), cell(LINES, &longer));
    assert_eq!(weight(&few, "w"), weight(&many, "w"));
    assert_ne!(weight(&few, "s"), weight(&many, "s"));
}

#[test]
fn query_draws_do_not_depend_on_the_support() {
    let more = "evaluate.tested.split = { support: 40, query: 3 }";
    let (few, many) = (cell(LINES, &[]), cell(LINES, &[more]));
    assert_eq!(series(&few, "mean"), series(&many, "mean"));
}

#[test]
fn the_tasks_of_an_evaluation_do_not_depend_on_how_many_follow() {
    let at_start = |count: usize| {
        let cell = cell(LINES, &[&format!("evaluate.tested.tasks = fresh(lines, {count})")]);
        (series(&cell, "mean")[0] * count as f64, series(&cell, "worst")[0])
    };
    let (mut before, mut most) = (0.0, 0.0);
    for count in 1..=4 {
        let (sum, worst) = at_start(count);
        // The newcomer's loss is what the sum grew by; all others lost what they lost before.
        most = f64::max(most, sum - before);
        assert_near(worst, most, &format!("the worst of {count}"));
        before = sum;
    }
}

#[test]
fn the_pool_is_the_same_for_training_and_evaluation_however_it_is_sampled() {
    let pooled = ["evaluate.tested.tasks = pool(lines, size: 3)", "train.steps = 0"];
    let whole = cell(LINES, &pooled);
    let sampled = cell(LINES, &[&pooled[..], &["train.tasks = pool(lines, size: 3, batch: 2)"]].concat());
    assert_eq!(series(&whole, "mean"), series(&sampled, "mean"));
}

/// A step of rate 1 moves `w` to the mean target of the query examples, and least squares to that of the support.
const NOISE: &str = "
edition 2026
experiment noise
tasks noise {
  example {
    x: [] ~ normal
    y: [] ~ normal
  }
}
model constant(x: []) -> [] {
  param w: [] = 0
  w + 0 * x
}
train {
  tasks  = pool(noise, size: 1)
  split  = { support: 1, query: 1 }
  loss   = half_squared
  adapt  = none
  outer  = mean
  update = sgd(rate: 1)
  steps  = 4
  precision = f64
}
evaluate tested { tasks = pool(noise, size: 1); split = { support: 1, query: 1 }; adapt = least_squares(w); episodes = 1 }
measure w = w every 1
measure gap = mean(squared) on tested every 1
";

fn assert_all_differ(values: &[f64]) {
    for (i, a) in values.iter().enumerate() {
        assert!(values[..i].iter().all(|b| (a - b).abs() > 1e-9), "{values:?}");
    }
}

#[test]
fn examples_are_drawn_anew_for_every_part_step_and_repeat() {
    let base = cell(NOISE, &[]);
    // The loss after fitting the support is what tells the query from it.
    assert!(series(&base, "gap")[0] > 1e-6, "support and query are the same examples");
    let steps = &series(&base, "w")[1..];
    let first = steps[0];
    assert_all_differ(steps);
    // A task that stands twice in a step brings the examples that it would bring alone, and further ones.
    let twice = cell(NOISE, &["train.tasks = pool(noise, size: 1, batch: 2, replace: true)"]);
    let second = 2.0 * series(&twice, "w")[1] - first;
    assert_all_differ(&[first, second, steps[1], steps[2]]);
    // Every episode of an evaluation is another visit.
    let gap = |episodes: u64| {
        let overrides = [format!("evaluate.tested.episodes = {episodes}")];
        episodes as f64 * series(&cell(NOISE, &[&overrides[0]]), "gap")[0]
    };
    assert_all_differ(&[gap(1), gap(2) - gap(1), gap(3) - gap(2)]);
}

#[test]
fn fresh_tasks_belong_to_who_draws_them_and_pools_to_all() {
    let probe = |tasks: &str| {
        let evaluation =
            format!("evaluate probe {{ tasks = {tasks}; adapt = none }}\nmeasure risk = mean(risk) on probe every 1\n");
        let cell = cell(&[SLOPES, &evaluation].concat(), &[&format!("train.tasks = {tasks}"), "train.steps = 1"]);
        // After one step `theta` is minus the mean draw of training, and the risk that times the mean draw probed.
        let theta = series(&cell, "theta")[1];
        (-theta, series(&cell, "risk")[1] / theta)
    };
    let (trained, probed) = probe("fresh(slopes, 2)");
    assert_all_differ(&[trained, probed]);
    let (trained, probed) = probe("pool(slopes)");
    assert_near(probed, trained, "the mean draw of the pool");
}

#[test]
fn what_tasks_keep_is_measured_on_those_tasks_alone() {
    // The checker refuses such a text; a stored plan is checked once more, since places in another pool mean other tasks.
    let plan = compile(LINES, &["train.keep = w", "evaluate.tested.tasks = pool(lines, size: 3)"]);
    assert_eq!(plan.verify(), Ok(()));
    let family = || "lines".to_owned();
    let strata = vec![PoolStratum { name: "all".into(), count: 5 }];
    for tasks in [
        TaskSource::Fresh { family: family(), count: 3 },
        TaskSource::Pool { family: family(), strata, batch: 5, replace: false, law: Weights::Uniform },
    ] {
        let mut forged = plan.clone();
        forged.arms[0].evaluations[0].tasks = tasks;
        assert!(forged.verify().is_err());
        forged.arms[0].train.keep.clear();
        assert_eq!(forged.verify(), Ok(()));
    }
}
