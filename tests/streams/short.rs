//! The shipped experiments, cut down to seconds.

use std::path::Path;
use std::sync::LazyLock;

use metadsl::catalog::Reader;
use metadsl::data::{DataSet, Features, Targets, read};
use metadsl::exec::reference::Reference;
use metadsl::plan::{Arm, Plan};
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::run::run;
pub use crate::shipped::unclaimed as text;

/// What makes an experiment small.
pub fn overrides(name: &str) -> Vec<&'static str> {
    match name {
        "maml_anil" => vec!["train.steps = 4"],
        "maml_sine" => vec![
            "h = 8",
            "train.steps = 3",
            "train.tasks = fresh(sine, 5)",
            "evaluate.before.tasks = fresh(sine, 6)",
            "evaluate.one_step.tasks = fresh(sine, 6)",
            "evaluate.before.split = { support: 10, query: 12 }",
            "evaluate.one_step.split = { support: 10, query: 12 }",
        ],
        "fedrep_digits" => vec![
            "hidden = 8",
            "train.steps = 2",
            "tasks.clients.partition = shards(clients: 8, classes: 2)",
            "train.tasks = pool(clients, batch: 3)",
        ],
        "tr_maml" => vec![
            "h = 8",
            "train.steps = 3",
            "evaluate.test.tasks = pool(sine, strata: [hard])",
            "evaluate.test.split = { support: 5, query: 10 }",
        ],
        other => panic!("`{other}` is not shipped"),
    }
}

/// The plan of a short experiment under further overrides, which come before those that make it short.
pub fn plan(name: &str, more: &[&str]) -> Plan {
    let path = |o: &str| o.split(" =").next().map(str::to_owned);
    let mut all = more.to_vec();
    all.extend(overrides(name).into_iter().filter(|o| !more.iter().any(|m| path(m) == path(o))));
    compile(&text(name), &all)
}

/// The arm of that name.
pub fn arm<'p>(plan: &'p Plan, name: &str) -> &'p Arm {
    plan.arms.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no arm `{name}`"))
}

/// Its cell on the reference executor.
pub fn cell(plan: &Plan, name: &str, seed: u64) -> Cell {
    let arm = arm(plan, name);
    run(&Reference::new(arm.train.precision), arm, seed, &DATA)
}

/// The first of the shipped digits.
pub static DATA: LazyLock<DataSets> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let reader = Reader::Csv {
        first_feature: 0,
        end_feature: 64,
        target: 64,
        regression: false,
        owner: None,
        scale: 1.0 / 16.0,
    };
    let all = read(&reader, &[&bytes]).unwrap_or_else(|e| panic!("{e}"));
    let labels = (0..240).map(|i| all.targets.number(i) as u32).collect();
    let features = all.features.tensor(240).into_data();
    let few = DataSet { features: Features::double(&[64], features), targets: Targets::classes(labels), owners: None };
    DataSets::from([("digits".to_owned(), few)])
});

/// The bits of everything that a cell measured and learned; its name is no part of them.
pub fn bits(cell: &Cell) -> Vec<(String, Vec<u64>)> {
    let series = cell.series.iter().map(|s| (s.measure.clone(), s.values.iter().map(|v| v.to_bits()).collect()));
    let weights = cell.weights.iter().map(|(n, t)| (n.clone(), t.data().iter().map(|x| x.to_bits()).collect()));
    series.chain(weights).collect()
}
