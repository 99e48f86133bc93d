//! Answering a query from the index.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::ast::{Comparison, Condition, Field, Operator, Query, Value};
use super::fields::FIXED;
use super::index::{Index, Row, Shown};
use crate::diag::{Diagnostic, Span};
use crate::hash::Id;
use crate::report::text::number;

/// The tags of runs, which are no part of the index.
pub type Tags = BTreeMap<Id, BTreeSet<String>>;

/// The functions of a measure.
const FUNCTIONS: &[&str] = &["last", "best", "min", "max", "first", "course"];

/// Whether a field that somebody wrote means a key of the index.
///
/// `last(loss)` means the measure of every arm, at every point of its evaluation, and `last(loss[after: 10])` at those after ten
/// steps. A path of the plan may leave out parts in its middle: `plan.train.adapt.rate`
/// means `plan.train.adapt.0.solver.sgd.rate`.
fn means(field: &str, key: &str) -> bool {
    if field == key {
        return true;
    }
    if let (Some((f, measure)), Some((k, full))) = (call(field), call(key)) {
        let (measure, full) = (Measured::read(measure), Measured::read(full));
        let short = full.name.split_once('.').map(|(_, name)| name);
        let named = measure.name == full.name || short == Some(measure.name);
        return f == k && named && measure.points.iter().all(|point| full.points.contains(point));
    }
    let (Some(wanted), Some(found)) = (field.strip_prefix("plan."), key.strip_prefix("plan.")) else { return false };
    let (mut wanted, mut found) = (wanted.split('.').rev(), found.split('.').rev());
    if wanted.next() != found.next() {
        return false;
    }
    wanted.all(|part| found.any(|p| p == part))
}

/// A measure and the points of its evaluation: `maml.angle[after: 10, query: own]`.
struct Measured<'a> {
    name: &'a str,
    points: Vec<&'a str>,
}

impl<'a> Measured<'a> {
    fn read(text: &'a str) -> Self {
        match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, points)) => Measured { name, points: points.split(", ").collect() },
            None => Measured { name: text, points: vec![] },
        }
    }
}

/// `last` and `maml.angle` of `last(maml.angle)`.
fn call(field: &str) -> Option<(&str, &str)> {
    field.strip_suffix(')')?.split_once('(')
}

/// Refuses a query about fields that no run has. An empty ledger has no fields to miss.
pub fn check(query: &Query, index: &Index, columns: &[Field]) -> Vec<Diagnostic> {
    let mut fields: Vec<&Field> = query.order.iter().map(|o| &o.field).chain(columns).collect();
    let mut found = Vec::new();
    let mut open: Vec<&Condition> = query.condition.iter().collect();
    let kinds = Kinds::of(index);
    while let Some(condition) = open.pop() {
        match condition {
            Condition::Any(parts) | Condition::All(parts) => open.extend(parts),
            Condition::Not(inner) => open.push(inner),
            Condition::Compare(comparison) => {
                fields.push(&comparison.field);
                found.extend(mismatch(comparison, &kinds));
            }
        }
    }
    if index.rows().next().is_some() {
        found.extend(fields.into_iter().filter_map(|field| unknown(field, &kinds)));
    }
    found.sort_by_key(|d| d.span);
    found
}

/// Which keys there are, and whether some run has a number under them.
struct Kinds<'a>(BTreeMap<&'a str, bool>);

impl<'a> Kinds<'a> {
    fn of(index: &'a Index) -> Kinds<'a> {
        let mut kinds = index.kinds();
        kinds.insert("tag", false);
        Kinds(kinds)
    }

    fn meant(&self, field: &str) -> impl Iterator<Item = bool> {
        self.0.iter().filter(move |(key, _)| means(field, key)).map(|(_, kind)| *kind)
    }
}

fn unknown(field: &Field, kinds: &Kinds) -> Option<Diagnostic> {
    if kinds.meant(&field.text).next().is_some() || FIXED.iter().any(|(name, _)| *name == field.text) {
        return None;
    }
    let wrong = Diagnostic::error("Q0102", field.span, format!("no run has a field `{}`", field.text));
    if let Some((function, measure)) = call(&field.text) {
        if !FUNCTIONS.contains(&function) {
            let span = Span::new(field.span.start, field.span.start + function.len());
            return Some(wrong.suggest(span, function, FUNCTIONS.iter().copied()));
        }
        let measures: BTreeSet<&str> = kinds.0.keys().filter_map(|key| call(key)).map(|(_, m)| m).collect();
        let short: BTreeSet<&str> = measures.iter().filter_map(|m| m.split_once('.')).map(|(_, m)| m).collect();
        let span = Span::new(field.span.end - 1 - measure.len().min(field.span.end - 1), field.span.end - 1);
        let known = if measure.contains('.') { measures } else { short };
        return Some(wrong.suggest(span, measure, known));
    }
    if kinds
        .0
        .keys()
        .any(|key| call(key).is_some_and(|(_, m)| means(&format!("last({})", field.text), &format!("last({m})"))))
    {
        let right = format!("last({})", field.text);
        return Some(wrong.fix(
            field.span,
            right.clone(),
            format!("a measure has many values: did you mean `{right}`?"),
        ));
    }
    if field.text.starts_with("plan.") {
        // Only the last part of a path must be there, so that part is the one to mend.
        let last = field.text.rsplit('.').next().unwrap_or_default();
        let leaves: BTreeSet<&str> =
            kinds.0.keys().filter(|k| k.starts_with("plan.")).filter_map(|k| k.rsplit('.').next()).collect();
        let span = Span::new(field.span.end - last.len(), field.span.end);
        return Some(if leaves.contains(last) {
            wrong.help(format!("`{last}` lies elsewhere: {}", places(kinds, last)))
        } else {
            wrong.suggest(span, last, leaves)
        });
    }
    let names = FIXED.iter().map(|(name, _)| *name);
    Some(wrong.suggest(field.span, &field.text, names).help("settings are `plan.PATH`, measures `last(MEASURE)`"))
}

fn places(kinds: &Kinds, leaf: &str) -> String {
    let end = format!(".{leaf}");
    let found: Vec<String> = kinds.0.keys().filter(|k| k.ends_with(&end)).take(4).map(|k| format!("`{k}`")).collect();
    found.join(", ")
}

/// A text where the field holds numbers, or the other way round.
fn mismatch(comparison: &Comparison, kinds: &Kinds) -> Option<Diagnostic> {
    let mut meant = kinds.meant(&comparison.field.text).peekable();
    meant.peek()?;
    let numbers: Vec<bool> = meant.collect();
    let field = &comparison.field.text;
    match &comparison.value {
        Value::Text(text) if numbers.iter().all(|n| *n) => Some(
            Diagnostic::error("Q0103", comparison.value_span, format!("`{field}` is a number, `{text}` is none"))
                .help("compare it with a number, such as 0.3 or 1e-2"),
        ),
        _ => None,
    }
}

/// The rows that answer a query, in its order.
pub fn select<'a>(query: &Query, index: &'a Index, tags: &'a Tags) -> Vec<Row<'a>> {
    let condition = query.condition.as_ref().map(|c| Test::new(c, index));
    let mut rows: Vec<Row> =
        index.rows().filter(|row| condition.as_ref().is_none_or(|c| c.holds(*row, tags))).collect();
    if let Some(order) = &query.order {
        let keys = index.keys_where(|key| means(&order.field.text, key));
        let key = |row: Row| extreme(values(row, &order.field, &keys, tags), order.descending);
        let mut keyed: Vec<(Option<Owned>, Row)> = rows.into_iter().map(|row| (key(row), row)).collect();
        keyed.sort_by(|a, b| match (&a.0, &b.0) {
            (Some(x), Some(y)) if order.descending => y.cmp(x),
            (Some(x), Some(y)) => x.cmp(y),
            // What lacks the field comes last either way.
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (None, None) => Ordering::Equal,
        });
        rows = keyed.into_iter().map(|(_, row)| row).collect();
    }
    rows.truncate(query.limit.unwrap_or(usize::MAX));
    rows
}

/// What a row shows under a field, each value once: at most three, then dots.
pub fn cell(row: Row, field: &Field, index: &Index, tags: &Tags) -> String {
    let keys = index.keys_where(|key| means(&field.text, key));
    let mut shown: Vec<String> = Vec::new();
    for value in values(row, field, &keys, tags) {
        let text = match value {
            // Counts are whole, and look it.
            Owned::Number(x) if x.fract() == 0.0 && x.abs() < 1e9 => format!("{x}"),
            Owned::Number(x) => number(x),
            Owned::Text(text) => text,
        };
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    if shown.len() > 3 {
        shown.truncate(3);
        shown.push("…".into());
    }
    shown.join(" ")
}

/// The values of a row under a field as JSON: nothing, one value or a list.
pub fn cell_json(row: Row, field: &Field, index: &Index, tags: &Tags) -> serde_json::Value {
    let keys = index.keys_where(|key| means(&field.text, key));
    let json = |value| match value {
        Owned::Number(x) => crate::hash::to_json(&crate::hash::Value::Real(x)),
        Owned::Text(text) => text.into(),
    };
    let mut all: Vec<serde_json::Value> = values(row, field, &keys, tags).into_iter().map(json).collect();
    match all.len() {
        0 => serde_json::Value::Null,
        1 => all.remove(0),
        _ => all.into(),
    }
}

/// A value on its own.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Number(f64),
    Text(String),
}

impl Owned {
    /// Numbers before texts, NaN behind all numbers.
    fn cmp(&self, other: &Owned) -> Ordering {
        match (self, other) {
            (Owned::Number(a), Owned::Number(b)) => a.total_cmp(b),
            (Owned::Text(a), Owned::Text(b)) => a.cmp(b),
            (Owned::Number(_), Owned::Text(_)) => Ordering::Less,
            (Owned::Text(_), Owned::Number(_)) => Ordering::Greater,
        }
    }
}

fn values(row: Row, field: &Field, keys: &[bool], tags: &Tags) -> Vec<Owned> {
    if field.text == "tag" {
        return tags.get(&row.id()).into_iter().flatten().cloned().map(Owned::Text).collect();
    }
    let owned = |value| match value {
        Shown::Number(x) => Owned::Number(x),
        Shown::Text(text) => Owned::Text(text.to_owned()),
    };
    row.values(keys).map(owned).collect()
}

/// The value by which a row is sorted: its highest where high comes first, else its lowest.
fn extreme(values: Vec<Owned>, high: bool) -> Option<Owned> {
    values.into_iter().reduce(|a, b| if (a.cmp(&b) == Ordering::Less) == high { b } else { a })
}

/// A condition with its fields looked up.
enum Test<'q> {
    Any(Vec<Test<'q>>),
    All(Vec<Test<'q>>),
    Not(Box<Test<'q>>),
    Compare { comparison: &'q Comparison, keys: Vec<bool> },
}

impl<'q> Test<'q> {
    fn new(condition: &'q Condition, index: &Index) -> Test<'q> {
        let all = |parts: &'q [Condition]| parts.iter().map(|c| Test::new(c, index)).collect();
        match condition {
            Condition::Any(parts) => Test::Any(all(parts)),
            Condition::All(parts) => Test::All(all(parts)),
            Condition::Not(inner) => Test::Not(Box::new(Test::new(inner, index))),
            Condition::Compare(comparison) => {
                Test::Compare { comparison, keys: index.keys_where(|key| means(&comparison.field.text, key)) }
            }
        }
    }

    fn holds(&self, row: Row, tags: &Tags) -> bool {
        match self {
            Test::Any(parts) => parts.iter().any(|p| p.holds(row, tags)),
            Test::All(parts) => parts.iter().all(|p| p.holds(row, tags)),
            Test::Not(inner) => !inner.holds(row, tags),
            Test::Compare { comparison, keys } if comparison.field.text == "tag" => {
                let found: Vec<Shown> =
                    tags.get(&row.id()).into_iter().flatten().map(|t| Shown::Text(t.as_str())).collect();
                debug_assert!(keys.iter().all(|k| !k), "tags are no part of the index");
                compared(comparison, found.into_iter())
            }
            Test::Compare { comparison, keys } => compared(comparison, row.values(keys)),
        }
    }
}

fn compared<'a>(comparison: &Comparison, mut values: impl Iterator<Item = Shown<'a>>) -> bool {
    if comparison.operator == Operator::Unequal {
        let mut any = false;
        let none_equal = values.all(|v| {
            any = true;
            !satisfies(v, Operator::Equal, comparison)
        });
        return any && none_equal;
    }
    values.any(|v| satisfies(v, comparison.operator, comparison))
}

fn satisfies(value: Shown, operator: Operator, comparison: &Comparison) -> bool {
    let order = match (value, &comparison.value) {
        (Shown::Number(a), Value::Number(b)) => a.partial_cmp(b),
        (Shown::Text(a), Value::Text(b)) if operator == Operator::Contains => return a.contains(b.as_str()),
        // A prefix of a hash means it, as everywhere.
        (Shown::Text(a), Value::Text(b)) if operator == Operator::Equal && is_hash(&comparison.field.text) => {
            return b.len() >= 6 && a.starts_with(&b.to_lowercase());
        }
        (Shown::Text(a), Value::Text(b)) => Some(a.cmp(b.as_str())),
        // `seed = 3` of a text, `version ~ 0.1`: digits in a text are compared as they are written.
        (Shown::Text(a), Value::Number(_)) => {
            let written = comparison.written.to_lowercase();
            if operator == Operator::Contains {
                return a.contains(&written);
            }
            if operator == Operator::Equal && is_hash(&comparison.field.text) {
                return written.len() >= 6 && a.starts_with(&written);
            }
            Some(a.cmp(written.as_str()))
        }
        (Shown::Number(_), Value::Text(_)) => None,
    };
    match operator {
        Operator::Equal => order == Some(Ordering::Equal),
        Operator::Unequal => order.is_some_and(|o| o != Ordering::Equal),
        Operator::Below => order == Some(Ordering::Less),
        Operator::AtMost => order.is_some_and(|o| o != Ordering::Greater),
        Operator::Above => order == Some(Ordering::Greater),
        Operator::AtLeast => order.is_some_and(|o| o != Ordering::Less),
        Operator::Contains => false,
    }
}

fn is_hash(field: &str) -> bool {
    matches!(field, "run" | "input" | "result")
}
