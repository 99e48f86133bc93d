//! `metadsl import`.

mod mlflow;
#[cfg(feature = "sqlite")]
mod mlflow_sqlite;
mod table;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{Import as Options, Origin};
use super::failure::Failure;
use super::run::open_ledger;
use crate::hash::{Id, Kind};
use crate::ledger::{CellSeries, Imported, Series, Setting, Store};
use crate::report::text::{count, visible};

/// A run as another program recorded it.
#[derive(Debug, Default)]
struct Foreign {
    name: String,
    experiment: String,
    status: String,
    settings: BTreeMap<String, String>,
    /// Every measure with its points, in any order.
    series: BTreeMap<String, Vec<(u64, f64)>>,
    started_ms: u64,
    finished_ms: u64,
}

/// What was found, and what of it could not be read.
#[derive(Debug, Default)]
struct Found {
    runs: Vec<Foreign>,
    /// Each says where and why.
    skipped: Vec<String>,
}

/// How many of the things that were skipped are named.
const NAMED: usize = 10;

/// Takes in runs that other programs made.
pub fn import(options: &Options) -> Result<ExitCode, Failure> {
    let (origin, found) = match options.origin {
        Origin::Mlflow => ("mlflow", mlflow::read(&options.path)?),
        Origin::Csv => ("csv", table::read(options)?),
    };
    let mut error = anstream::stderr();
    for what in found.skipped.iter().take(NAMED) {
        writeln!(error, "note: {}", visible(what))?;
    }
    if found.skipped.len() > NAMED {
        writeln!(error, "note: {} more were skipped", found.skipped.len() - NAMED)?;
    }
    let store = open_ledger(&options.ledger.ledger)?;
    let known = store.imports()?;
    let (mut new, mut ids) = (0, Vec::new());
    for mut run in found.runs {
        if let Some(name) = &options.experiment {
            run.experiment.clone_from(name);
        }
        let run = put(&store, origin, run)?;
        let id = Id::of(Kind::Imported, &run);
        if !known.contains(&id) {
            store.import(&run)?;
            new += 1;
        }
        ids.push(id);
    }
    let mut out = anstream::stdout();
    if options.json {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", json!({ "runs": ids, "new": new, "skipped": found.skipped.len() }))?;
    } else {
        let held = ids.len() - new;
        let held = if held > 0 { format!("; {held} were here already") } else { String::new() };
        writeln!(out, "imported {} from {origin}{held}", count(new, "run"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A number that the ledger can keep: from 0 to 2^63 - 1.
fn whole(text: &str) -> Option<u64> {
    text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}

/// Stores what was measured; gives the record.
fn put(store: &Store, origin: &str, run: Foreign) -> Result<Imported, Failure> {
    let mut series = Vec::new();
    for (measure, mut points) in run.series {
        // What was measured twice at a step stays, in the order in which it was written.
        points.sort_by_key(|(step, _)| *step);
        let (steps, values): (Vec<u64>, Vec<f64>) = points.into_iter().unzip();
        let object = Series::new(steps, &values).map_err(|error| Failure::Decode { what: "series", error })?;
        series.push(CellSeries { measure, id: store.put(Kind::Series, &object)? });
    }
    let settings = run.settings.into_iter().map(|(name, value)| Setting { name, value }).collect();
    let (origin, name, experiment, status) = (origin.to_owned(), run.name, run.experiment, run.status);
    let (started_ms, finished_ms) = (run.started_ms, run.finished_ms);
    Ok(Imported { origin, name, experiment, status, settings, series, started_ms, finished_ms })
}
