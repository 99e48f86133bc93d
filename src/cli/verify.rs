//! `metadsl verify`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Verify as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::report::text::visible;

/// Re-hashes everything a ledger holds.
pub fn verify(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let report = store.verify();
    let mut out = anstream::stdout();
    if options.json {
        let problems: Vec<Json> = report
            .problems
            .iter()
            .map(|p| json!({ "file": p.file, "problem": p.what, "runs": p.runs.iter().map(ToString::to_string).collect::<Vec<_>>() }))
            .collect();
        let value = json!({ "ok": problems.is_empty(), "objects": report.objects, "frames": report.frames, "runs": report.runs, "problems": problems });
        writeln!(out, "{value}")?;
    } else {
        for problem in &report.problems {
            writeln!(out, "{}", visible(&problem.to_string()))?;
        }
        let verdict = if report.problems.is_empty() {
            "nothing is damaged".to_owned()
        } else {
            format!("{} problems", report.problems.len())
        };
        writeln!(out, "{} objects, {} log frames, {} runs: {verdict}", report.objects, report.frames, report.runs)?;
    }
    Ok(ExitCode::from(report.exit_code()))
}
