//! The fields of a run: what a query may name.

use std::collections::BTreeMap;

use super::index::Entry;
use crate::catalog::Metric;
use crate::hash::{Canonical, Value};
use crate::ledger::Status;
use crate::numeric;
use crate::plan::{Arm, What};
use crate::report::text::{sparkline, utc};
use crate::report::{CellRecord, ImportedRecord, Record};

/// The fields that every run has, apart from the plan and the measures, with what each is.
pub const FIXED: &[(&str, &str)] = &[
    ("run", "the hash of the run"),
    ("input", "the hash of what decided the result"),
    ("result", "the hash of the result"),
    ("experiment", "the experiment's name"),
    ("origin", "the program that made it: `metadsl`, or what it was imported from"),
    ("status", "`ok`, or `diverged` where a cell did"),
    ("claims", "the number of claims"),
    ("held", "the number of claims that hold"),
    ("failed", "the number of claims that do not"),
    ("started", "the moment it began, as `2026-11-25 20:15:00`, UTC"),
    ("finished", "the moment it ended"),
    ("seconds", "how long it took"),
    ("seeds", "the number of seeds"),
    ("arms", "the number of arms"),
    ("arm", "the names of the arms"),
    ("device", "what ran the programs"),
    ("cpu", "the processor"),
    ("version", "the version of metadsl"),
    ("tag", "the tags it has (`metadsl tag`)"),
];

/// The key of the course of a measure, a sparkline.
pub fn course_key(measure: &str) -> String {
    format!("course({measure})")
}

/// All fields of a run but its tags, which may change.
pub fn summary(record: &Record) -> Vec<(String, Entry)> {
    let mut fields = Fields::default();
    let run = &record.run;
    fields.text("run", &record.id.to_string());
    fields.text("input", &run.input.to_string());
    fields.text("result", &run.result.to_string());
    fields.text("experiment", &run.experiment);
    fields.text("origin", "metadsl");
    fields.text("status", if record.diverged() == 0 { "ok" } else { "diverged" });
    fields.number("claims", record.outcome.claims.len() as f64);
    fields.number("held", record.held() as f64);
    fields.number("failed", (record.outcome.claims.len() - record.held()) as f64);
    fields.text("started", &utc(run.started_ms));
    fields.text("finished", &utc(run.finished_ms));
    fields.number("seconds", record.seconds());
    fields.number("seeds", record.plan.seeds.len() as f64);
    fields.number("arms", record.plan.arms.len() as f64);
    fields.text("device", &record.env.device);
    fields.text("cpu", &record.env.cpu);
    fields.text("version", &record.env.version);
    for arm in &record.plan.arms {
        fields.text("arm", &arm.name);
        arm_fields(&mut fields, arm);
        let cells: Vec<&CellRecord> = record.cells.iter().filter(|c| c.arm == arm.name).collect();
        for measure in &arm.measures {
            let rises = matches!(measure.what, What::Evaluation { metric: Metric::Accuracy, .. });
            measure_fields(&mut fields, arm, &measure.name, rises, &cells);
        }
    }
    fields.found
}

/// All fields of a run of another program. Its measures stand under the name of that program, as under an arm.
pub fn imported_summary(record: &ImportedRecord) -> Vec<(String, Entry)> {
    let mut fields = Fields::default();
    let run = &record.run;
    fields.text("run", &record.id.to_string());
    fields.text("experiment", &run.experiment);
    fields.text("origin", &run.origin);
    fields.text("status", &run.status);
    fields.text("started", &utc(run.started_ms));
    fields.text("finished", &utc(run.finished_ms));
    fields.number("seconds", record.seconds());
    for setting in &run.settings {
        let key = format!("plan.{}", setting.name);
        match setting.value.parse::<f64>() {
            Ok(number) => fields.number(&key, number),
            Err(_) => fields.text(&key, &setting.value),
        }
    }
    for (measure, points) in &record.series {
        let name = format!("{}.{measure}", run.origin);
        let finite: Vec<f64> = points.iter().map(|p| p.1).filter(|x| x.is_finite()).collect();
        let ends = [("first", points.first().map(|p| p.1)), ("last", points.last().map(|p| p.1))];
        let extremes =
            [("min", finite.iter().copied().reduce(f64::min)), ("max", finite.iter().copied().reduce(f64::max))];
        for (function, value) in ends.into_iter().chain(extremes) {
            if let Some(value) = value.filter(|x| x.is_finite()) {
                fields.number(&format!("{function}({name})"), value);
            }
        }
        fields.text(&course_key(&name), &sparkline(&finite));
    }
    fields.found
}

#[derive(Default)]
struct Fields {
    found: Vec<(String, Entry)>,
}

impl Fields {
    fn text(&mut self, key: &str, value: &str) {
        self.push(key, Entry::Text(value.to_owned()));
    }

    fn number(&mut self, key: &str, value: f64) {
        self.push(key, Entry::Number(value));
    }

    /// Arms that agree give one value.
    fn push(&mut self, key: &str, value: Entry) {
        let new = (key.to_owned(), value);
        if !self.found.contains(&new) {
            self.found.push(new);
        }
    }
}

/// The settings of an arm, as `plan.PATH`.
fn arm_fields(fields: &mut Fields, arm: &Arm) {
    let Value::Map(map) = arm.to_value() else { return };
    for part in ["train", "evaluations", "families"] {
        if let Some(value) = map.get(part) {
            leaves(fields, &format!("plan.{}", singular(part)), value);
        }
    }
}

fn singular(part: &str) -> &str {
    match part {
        "evaluations" => "evaluate",
        "families" => "tasks",
        part => part,
    }
}

/// The leaves of a value: records in lists are named by their name, programs are left out.
fn leaves(fields: &mut Fields, path: &str, value: &Value) {
    match value {
        Value::Map(map) if map.contains_key("function") || map.contains_key("nodes") => {}
        Value::Map(map) => {
            for (key, item) in map.iter().filter(|(key, _)| *key != "name") {
                // The tag of a variant begins with a capital.
                leaves(fields, &format!("{path}.{}", key.to_lowercase()), item);
            }
        }
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                match item {
                    Value::Map(map) => match map.get("name") {
                        Some(Value::Text(name)) => leaves(fields, &format!("{path}.{name}"), item),
                        _ => leaves(fields, &format!("{path}.{i}"), item),
                    },
                    item => leaves(fields, path, item),
                }
            }
        }
        Value::Text(text) => fields.text(path, &text.to_lowercase()),
        Value::Int(i) => fields.number(path, *i as f64),
        Value::Real(x) => fields.number(path, *x),
        Value::Bool(b) => fields.text(path, if *b { "true" } else { "false" }),
        Value::Null | Value::Bytes(_) => {}
    }
}

/// Medians over seeds: of the first and last values, of the least and the most along the run, and the course.
fn measure_fields(fields: &mut Fields, arm: &Arm, measure: &str, rises: bool, cells: &[&CellRecord]) {
    let name = format!("{}.{measure}", arm.name);
    let mut by_step: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let (mut first, mut last, mut least, mut most) = (vec![], vec![], vec![], vec![]);
    for cell in cells {
        let points = cell.points(measure);
        let finite = || points.iter().map(|p| p.1).filter(|x| x.is_finite());
        for (step, value) in points.iter().filter(|p| p.1.is_finite()) {
            by_step.entry(*step).or_default().push(*value);
        }
        first.extend(points.first().map(|p| p.1));
        // A cell that diverged has no last value.
        last.push(if cell.status == Status::Finished { points.last().map_or(f64::NAN, |p| p.1) } else { f64::NAN });
        least.push(finite().fold(f64::INFINITY, f64::min));
        most.push(finite().fold(f64::NEG_INFINITY, f64::max));
    }
    let best = if rises { &most } else { &least };
    for (function, values) in [("first", &first), ("last", &last), ("min", &least), ("max", &most), ("best", best)] {
        let known: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
        if !known.is_empty() {
            fields.number(&format!("{function}({name})"), numeric::median(&known));
        }
    }
    let course: Vec<f64> = by_step.values().map(|values| numeric::median(values)).collect();
    fields.text(&course_key(&name), &sparkline(&course));
}
