//! `metadsl log`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Log as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use super::table::columns;
use crate::hash::{Id, Kind};
use crate::ledger::{Outcome, Run, Status, Store};
use crate::report::text::{utc, visible};

/// Lists the runs of a ledger, oldest first.
pub fn log(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let listing = store.runs()?;
    let runs = listing.runs;
    for problem in &listing.problems {
        writeln!(anstream::stderr(), "warning: {}; `metadsl verify` tells more", visible(&problem.to_string()))?;
    }
    let mut out = anstream::stdout();
    if options.json {
        let rows: Vec<Json> =
            runs.iter().map(|(id, run)| row_json(&store, *id, run)).collect::<Result<_, Failure>>()?;
        writeln!(out, "{}", Json::Array(rows))?;
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        writeln!(out, "no runs yet; `metadsl run FILE.meta` makes one")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        vec![["run", "finished (UTC)", "experiment", "status", "claims", "seconds"].map(str::to_owned).to_vec()];
    for (id, run) in &runs {
        let outcome: Outcome = store.get(Kind::Result, run.result)?;
        rows.push(vec![
            id.short(),
            utc(run.finished_ms),
            visible(&run.experiment),
            status(&outcome),
            claims(&outcome),
            format!("{:.1}", seconds(run)),
        ]);
    }
    write!(out, "{}", columns(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn row_json(store: &Store, id: Id, run: &Run) -> Result<Json, Failure> {
    let outcome: Outcome = store.get(Kind::Result, run.result)?;
    Ok(json!({
        "run": id.to_string(),
        "input": run.input.to_string(),
        "result": run.result.to_string(),
        "experiment": run.experiment,
        "status": status(&outcome),
        "claims_held": outcome.claims.iter().filter(|c| c.holds).count(),
        "claims": outcome.claims.len(),
        "started": utc(run.started_ms),
        "finished": utc(run.finished_ms),
        "seconds": seconds(run),
    }))
}

/// `finished`, or how many cells diverged.
pub fn status(outcome: &Outcome) -> String {
    let diverged = outcome.cells.iter().filter(|c| c.status != Status::Finished).count();
    if diverged == 0 { "finished".into() } else { format!("{diverged} of {} diverged", outcome.cells.len()) }
}

/// `6 of 6 hold`
pub fn claims(outcome: &Outcome) -> String {
    format!("{} of {} hold", outcome.claims.iter().filter(|c| c.holds).count(), outcome.claims.len())
}

/// How long a run took.
fn seconds(run: &Run) -> f64 {
    run.finished_ms.saturating_sub(run.started_ms) as f64 / 1000.0
}
