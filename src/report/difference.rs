//! What sets two runs apart: settings, data, machine, and the first step at which a series differs.

use std::collections::BTreeSet;

use super::record::Record;
use super::text::number;
use crate::hash::{Canonical, Value};
use crate::plan::Plan;

/// One thing in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What: a path within the plan, the data, the numerics or the machine.
    pub path: String,
    /// What it is in the first run; `-` where it has none.
    pub left: String,
    /// What it is in the second.
    pub right: String,
}

/// A series that differs, at the first step at which it does.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesChange {
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// The measure.
    pub measure: String,
    /// The step.
    pub step: u64,
    /// The value of the first run; absent where it was not measured then.
    pub left: Option<f64>,
    /// The value of the second run.
    pub right: Option<f64>,
}

/// What sets two runs apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Difference {
    /// Leaves of the plan. A tensor program counts as one leaf.
    pub plan: Vec<Change>,
    /// Data files by content.
    pub data: Vec<Change>,
    /// Numerics and machine.
    pub environment: Vec<Change>,
    /// Claims that hold in one run alone.
    pub claims: Vec<Change>,
    /// Series that both runs have and whose bits differ.
    pub series: Vec<SeriesChange>,
    /// How many series both runs have.
    pub shared: usize,
}

/// The leaves in which two plans differ.
pub fn plan_difference(left: &Plan, right: &Plan) -> Vec<Change> {
    let mut found = Vec::new();
    changes("", &left.to_value(), &right.to_value(), &mut found);
    found
}

/// Compares two runs.
pub fn difference(left: &Record, right: &Record) -> Difference {
    let mut found = Difference { plan: plan_difference(&left.plan, &right.plan), ..Difference::default() };
    changes("", &left.manifest.to_value(), &right.manifest.to_value(), &mut found.data);
    changes("numerics", &left.numerics.to_value(), &right.numerics.to_value(), &mut found.environment);
    changes("machine", &left.env.to_value(), &right.env.to_value(), &mut found.environment);
    let verdicts = |r: &Record| -> Vec<(String, bool)> {
        r.plan.claims.iter().map(ToString::to_string).zip(r.outcome.claims.iter().map(|v| v.holds)).collect()
    };
    let (ours, theirs) = (verdicts(left), verdicts(right));
    for (claim, holds) in &ours {
        let other = theirs.iter().find(|(c, _)| c == claim).map(|(_, h)| *h);
        if let Some(other) = other.filter(|o| o != holds) {
            let word = |holds| if holds { "holds".to_owned() } else { "fails".to_owned() };
            found.claims.push(Change { path: claim.clone(), left: word(*holds), right: word(other) });
        }
    }
    series(left, right, &mut found);
    found
}

fn series(left: &Record, right: &Record, found: &mut Difference) {
    for cell in &left.cells {
        let Some(other) = right.cells.iter().find(|c| c.arm == cell.arm && c.seed == cell.seed) else { continue };
        for (measure, points) in &cell.series {
            if !other.series.iter().any(|(name, _)| name == measure) {
                continue;
            }
            found.shared += 1;
            let theirs = other.points(measure);
            let steps: BTreeSet<u64> = points.iter().chain(theirs).map(|p| p.0).collect();
            let at = |points: &[(u64, f64)], step| {
                points.binary_search_by_key(&step, |p: &(u64, f64)| p.0).ok().map(|i| points[i].1)
            };
            let first = steps.into_iter().map(|step| (step, at(points, step), at(theirs, step)));
            let mut apart = first.filter(|(_, a, b)| a.map(f64::to_bits) != b.map(f64::to_bits));
            if let Some((step, left, right)) = apart.next() {
                let (arm, measure) = (cell.arm.clone(), measure.clone());
                found.series.push(SeriesChange { arm, seed: cell.seed, measure, step, left, right });
            }
        }
    }
}

/// The leaves in which two values differ. Records of a list are matched by their name where they have one.
fn changes(path: &str, left: &Value, right: &Value, out: &mut Vec<Change>) {
    if left == right {
        return;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (left, right) {
        (Value::Map(a), Value::Map(b)) if !is_program(left) && !is_program(right) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                side_by_side(&below(key), a.get(key), b.get(key), out);
            }
        }
        (Value::List(a), Value::List(b)) => {
            if let (Some(ours), Some(theirs)) = (named(a), named(b)) {
                let added = theirs.iter().filter(|(name, _)| !ours.iter().any(|(n, _)| n == name));
                for (name, _) in ours.iter().chain(added) {
                    let of = |side: &[(&str, &Value)]| side.iter().find(|(n, _)| n == name).map(|(_, v)| (*v).clone());
                    side_by_side(&below(name), of(&ours).as_ref(), of(&theirs).as_ref(), out);
                }
            } else {
                for i in 0..a.len().max(b.len()) {
                    side_by_side(&format!("{path}[{i}]"), a.get(i), b.get(i), out);
                }
            }
        }
        _ => out.push(Change { path: path.to_owned(), left: shown(left), right: shown(right) }),
    }
}

fn side_by_side(path: &str, left: Option<&Value>, right: Option<&Value>, out: &mut Vec<Change>) {
    match (left, right) {
        (Some(a), Some(b)) => changes(path, a, b, out),
        (a, b) => {
            let side = |v: Option<&Value>| v.map_or_else(|| "-".to_owned(), shown);
            out.push(Change { path: path.to_owned(), left: side(a), right: side(b) });
        }
    }
}

fn is_program(value: &Value) -> bool {
    matches!(value, Value::Map(map) if map.contains_key("nodes") && map.contains_key("outputs"))
}

/// The items of a list with their names; `None` where one has none, or two have the same.
fn named(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let mut names = BTreeSet::new();
    items.iter().map(|item| name_of(item).filter(|n| names.insert(*n)).map(|n| (n, item))).collect()
}

fn name_of(item: &Value) -> Option<&str> {
    match item {
        Value::Map(map) => match map.get("name") {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Real(x) => format!("{x:?}"),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::List(items) if items.iter().all(|i| !matches!(i, Value::List(_) | Value::Map(_))) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(map) if is_program(value) => match map.get("nodes") {
            Some(Value::List(nodes)) => format!("a program of {} nodes", nodes.len()),
            _ => "a program".into(),
        },
        Value::Map(map) => {
            let part = |(key, value): (&String, &Value)| format!("{key}: {}", shown(value));
            format!("{{{}}}", map.iter().map(part).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A value of a series with its bits, so that a difference in the last of them is seen.
pub fn bits(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |x| format!("{} (0x{:016x})", number(x), x.to_bits()))
}
