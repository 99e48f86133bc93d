//! `metadsl diff`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Diff as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use super::table::columns;
use crate::hash::{Canonical, to_json};
use crate::report::text::{json_line, visible};
use crate::report::{Change, Difference, Record, SeriesChange, bits, difference};

/// Shows what sets two runs apart.
pub fn diff(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let left = Record::read(&store, store.resolve(&options.left)?)?;
    let right = Record::read(&store, store.resolve(&options.right)?)?;
    let found = difference(&left, &right);
    let mut out = anstream::stdout();
    if options.json {
        writeln!(out, "{}", json_line(&as_json(&left, &right, &found)))?;
    } else {
        write!(out, "{}", as_text(&left, &right, &found))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_text(left: &Record, right: &Record, found: &Difference) -> String {
    let mut out = format!(
        "left   {} {}\nright  {} {}\n",
        left.id.short(),
        visible(&left.run.experiment),
        right.id.short(),
        visible(&right.run.experiment)
    );
    for (head, same, changes) in [
        ("plan", "the plans are the same", &found.plan),
        ("data", "the data are the same", &found.data),
        ("environment", "numerics and machine are the same", &found.environment),
        ("claims", "every claim of both ends alike", &found.claims),
    ] {
        if changes.is_empty() {
            out.push_str(&format!("\n{same}\n"));
            continue;
        }
        out.push_str(&format!("\n{head}\n"));
        out.push_str(&change_rows(changes));
    }
    let (apart, shared) = (found.series.len(), found.shared);
    match (apart, shared) {
        (_, 0) => out.push_str("\nno series in common\n"),
        (0, _) => out.push_str(&format!("\nall {shared} series in common have the same bits\n")),
        _ => {
            out.push_str(&format!("\nseries: {apart} of {shared} in common differ, first at\n"));
            out.push_str(&columns(&found.series.iter().map(series_row).collect::<Vec<_>>()));
        }
    }
    out
}

/// Changes in columns: the path, what it was, what it is.
pub(super) fn change_rows(changes: &[Change]) -> String {
    let row =
        |c: &Change| vec![format!("  {}", visible(&c.path)), shortened(&c.left), "->".into(), shortened(&c.right)];
    columns(&changes.iter().map(row).collect::<Vec<_>>())
}

/// The longest value that is shown whole.
const LONGEST: usize = 60;

fn shortened(text: &str) -> String {
    let text = visible(text);
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST - 1).chain(['…']).collect() }
}

fn series_row(change: &SeriesChange) -> Vec<String> {
    vec![
        format!("  {}.{}", visible(&change.arm), visible(&change.measure)),
        format!("seed {}", change.seed),
        format!("step {}", change.step),
        bits(change.left),
        "->".into(),
        bits(change.right),
    ]
}

fn as_json(left: &Record, right: &Record, found: &Difference) -> Json {
    let list = |changes: &[Change]| -> Json {
        changes.iter().map(|c| json!({ "path": c.path, "left": c.left, "right": c.right })).collect()
    };
    let value = |x: Option<f64>| x.map_or(Json::Null, |x| to_json(&x.to_value()));
    let series: Json = found
        .series
        .iter()
        .map(|s| json!({ "arm": s.arm, "seed": s.seed, "measure": s.measure, "step": s.step, "left": value(s.left), "right": value(s.right) }))
        .collect();
    json!({
        "left": left.id.to_string(),
        "right": right.id.to_string(),
        "plan": list(&found.plan),
        "data": list(&found.data),
        "environment": list(&found.environment),
        "claims": list(&found.claims),
        "series": series,
        "series_in_common": found.shared,
    })
}
