//! Points of an evaluation: after so many steps, between start and end, on the examples of whom.

use metadsl::data::{DataSet, Features, Targets};
use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::plan::lower::{ClientSizes, LowerError, lower};
use metadsl::train::{Cell, DataSets, client_tables};

use crate::compile::compile;
use crate::harness::arm;
use crate::run::run;

/// Three tasks whose one example is always the same number.
const NUMBERS: &str = "
edition 2026
experiment numbers
tasks number {
  stratum one(1)   { c: [] = 1 }
  stratum three(1) { c: [] = -3 }
  stratum four(1)  { c: [] = 4 }
  example { y: [] = c }
}
model guess() -> [] { param w: [] = 2; w }
train {
  tasks = pool(number); split = { support: 2, query: 3 }; loss = half_squared
  adapt = none; outer = mean; update = sgd(rate: 1); steps = 0
}
evaluate tuned {
  tasks = pool(number)
  split = { support: 2, query: 3 }
  adapt = gradient(w, rate: 0.25, steps: 6)
  POINTS
}
measure mse = mean(squared) on tuned
CLAIM
";

const TARGETS: [f64; 3] = [1.0, -3.0, 4.0];

fn measured(points: &str) -> Cell {
    let plan = compile(&NUMBERS.replace("POINTS", points).replace("CLAIM", ""), &[]);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 0, &DataSets::new())
}

fn series(cell: &Cell, name: &str) -> f64 {
    let names: Vec<&str> = cell.series.iter().map(|s| s.measure.as_str()).collect();
    let found = cell.series.iter().find(|s| s.measure == name);
    found.unwrap_or_else(|| panic!("no `{name}` among {names:?}")).values[0]
}

/// The guess of a task after some steps of gradient descent from 2.
fn guess(target: f64, steps: i32) -> f64 {
    target + (2.0 - target) * 0.75_f64.powi(steps)
}

/// The mean over tasks of the squared error of `guess` on the targets that `sees` says.
fn error(guess: impl Fn(f64) -> f64, sees: impl Fn(f64, f64) -> bool) -> f64 {
    let of_task = |own: f64| {
        let seen: Vec<f64> = TARGETS.into_iter().filter(|&other| sees(own, other)).collect();
        seen.iter().map(|target| (guess(own) - target).powi(2)).sum::<f64>() / seen.len() as f64
    };
    TARGETS.into_iter().map(of_task).sum::<f64>() / 3.0
}

#[allow(clippy::float_cmp, reason = "the targets are a few exact numbers")]
fn own(a: f64, b: f64) -> bool {
    a == b
}

fn near(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() < 1e-12, "{what}: {found}, not {wanted}");
}

#[test]
fn a_list_gives_a_series_at_each_of_its_points() {
    let cell = measured("after = [0, 1, 6]; query = [own, others, all]; interpolate = [0, 0.25, 1]");
    assert_eq!(cell.series.len(), 27);
    for steps in [0, 1, 6] {
        for (share, text) in [(0.0, "0"), (0.25, "0.25"), (1.0, "1")] {
            let between = |c: f64| (1.0 - share) * 2.0 + share * guess(c, steps);
            let at = |query: &str| series(&cell, &format!("mse[after: {steps}, query: {query}, interpolate: {text}]"));
            near(at("own"), error(between, own), "own");
            near(at("others"), error(between, |a, b| !own(a, b)), "others");
            near(at("all"), error(between, |_, _| true), "all");
        }
    }
}

#[test]
fn a_single_value_gives_one_series() {
    let cell = measured("after = 2; query = others");
    assert_eq!(cell.series.len(), 1);
    near(series(&cell, "mse"), error(|c| guess(c, 2), |a, b| !own(a, b)), "others after two steps");
    near(series(&measured("interpolate = 0.5"), "mse"), error(|c| 1.0 + guess(c, 6) / 2.0, own), "half the way");
    // Without any, the end of the adaptation on a task's own examples.
    near(series(&measured(""), "mse"), error(|c| guess(c, 6), own), "the end");
}

#[test]
fn claims_choose_points_and_reduce_over_them() {
    let text = NUMBERS.replace("POINTS", "after = [0, 1, 6]; query = [own, others]").replace(
        "CLAIM",
        "
expect mse[last, after: 6, query: own]                          <= 1
expect max(mse[last, query: own], over: after)                  <= 11.5
expect rise(-mse[last, query: own], over: after)                > 0
expect mean(max(mse[last], over: after), over: query)           >= 1
expect mse[last, after: 6, query: own] - mse[last, after: 0, query: own] <= 0
",
    );
    let plan = compile(&text, &[]);
    let cell = run(&Reference::new(Precision::F64), arm(&plan, "main"), 0, &DataSets::new());
    let at = |_: &str, measure: &str, _: u64| vec![series(&cell, measure)];
    let verdicts: Vec<_> = plan.claims.iter().map(|claim| claim.evaluate(&at)).collect();
    assert!(verdicts.iter().all(|verdict| verdict.holds), "{verdicts:?}");
    near(verdicts[1].left, error(|_| 2.0, own), "the worst is the start");
    let worst = |sees: &dyn Fn(f64, f64) -> bool| {
        [0, 1, 6].map(|steps| error(|c| guess(c, steps), sees)).into_iter().fold(0.0, f64::max)
    };
    near(verdicts[3].left, (worst(&own) + worst(&|a, b| !own(a, b))) / 2.0, "two reductions");
}

/// Clients of unequal size, some of whom hold nothing out.
const CLIENTS: &str = "
edition 2026
experiment clients
data table = csv(\"table.csv\", features: 0..1, target: 1)
tasks clients from table { partition = lognormal(clients: 6, spread: 1); hold_out = 0.4 }
model guess(x: [k]) -> [] { param w: [] = 0.5; param v: [k] = 0.1; w + v @ x }
dim k = 1
train {
  tasks = pool(clients); loss = half_squared
  adapt = sgd(all, rate: 0.1, epochs: 1, batch: 2); outer = average; steps = 2
}
evaluate here { tasks = pool(clients); adapt = sgd(all, rate: 0.1, epochs: 3, batch: 2); POINTS }
measure mse = mean(squared) on here
";

fn table() -> DataSets {
    let numbers: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 11) / 5.0).collect();
    let targets = (0..60).map(|i| f64::from(i * 5 % 13) / 4.0).collect();
    let set = DataSet { features: Features::double(&[1], numbers), targets: Targets::Numbers(targets), owners: None };
    DataSets::from([("table".to_owned(), set)])
}

fn on_clients(points: &str, overrides: &[&str]) -> Cell {
    let plan = compile(&CLIENTS.replace("POINTS", points), overrides);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &table())
}

#[test]
fn epochs_are_counted_where_the_adaptation_counts_them() {
    let listed = on_clients("after = [0, 1, 2, 3]", &[]);
    for epochs in [1, 2, 3] {
        let alone = on_clients("", &[&format!("evaluate.here.adapt.epochs = {epochs}")]);
        let found = listed.series.iter().find(|s| s.measure == format!("mse[after: {epochs}]")).expect("listed");
        assert_eq!(found.values, alone.series[0].values, "{epochs} epochs");
    }
    let none = on_clients("", &["evaluate.here.adapt = none"]);
    assert_eq!(listed.series[0].values, none.series[0].values);
}

#[test]
fn clients_of_unequal_size_see_the_union_of_what_is_held_out() {
    let cell = on_clients("after = 0; query = [own, others, all]", &["train.steps = 0"]);
    let plan = compile(&CLIENTS.replace("POINTS", ""), &[]);
    let sets = table();
    let set = sets.get("table").expect("the table");
    let held: Vec<Vec<usize>> = client_tables(arm(&plan, "main"), 3, &sets).expect("divided")["clients"]
        .iter()
        .map(|client| client.held_out.clone())
        .collect();
    let mut x = [0.0];
    let mut squared = |row: usize| {
        set.features.copy_row(row, &mut x);
        (0.5 + 0.1 * x[0] - set.targets.number(row)).powi(2)
    };
    let mut mean = |sees: &dyn Fn(usize, usize) -> bool| {
        let mut of_tasks = vec![];
        for task in 0..held.len() {
            let rows: Vec<usize> =
                (0..held.len()).filter(|&other| sees(task, other)).flat_map(|t| held[t].clone()).collect();
            if !rows.is_empty() {
                of_tasks.push(rows.iter().map(|&row| squared(row)).sum::<f64>() / rows.len() as f64);
            }
        }
        of_tasks.iter().sum::<f64>() / of_tasks.len() as f64
    };
    near(series(&cell, "mse[query: own]"), mean(&|a, b| a == b), "own");
    near(series(&cell, "mse[query: others]"), mean(&|a, b| a != b), "others");
    near(series(&cell, "mse[query: all]"), mean(&|_, _| true), "all");
}

/// How large the programs become is known when the data is: that of each client for the examples of all others comes first.
#[test]
fn what_all_clients_make_of_all_examples_may_be_too_much() {
    let plan = compile(&CLIENTS.replace("POINTS", "query = [others]"), &[]);
    let arm = arm(&plan, "main");
    let clients = arm.train.tasks.per_step();
    let lowered = |rows: usize| {
        let sizes = [("clients".to_owned(), rows)];
        lower(arm, &ClientSizes { train: sizes.clone().into(), held_out: sizes.into() }).map(drop)
    };
    assert_eq!(lowered(1000), Ok(()));
    let entries = clients * clients * (1 << 26);
    assert_eq!(lowered(1 << 26), Err(LowerError::TooLarge { entries }));
}
