//! `metadsl verify`.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Verify as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::ledger::{self, Depth, Store};
use crate::report::text::{count, json_line, visible};

/// Checks a ledger, or one bundle.
pub fn verify(options: &Options) -> Result<ExitCode, Failure> {
    if let Some(path) = &options.bundle {
        return verify_bundle(options, path);
    }
    let store = existing_ledger(&options.ledger.ledger)?;
    let depth = match options.sample {
        Some(percent) => Depth::Sample(percent),
        None if options.structure => Depth::Structure,
        None => Depth::Full,
    };
    let report = store.verify_to(depth);
    let mut out = anstream::stdout();
    let moved = if options.repair { store.repair(&report)? } else { Vec::new() };
    let contradicted = options.since.as_deref().map(|path| since(&store, path, options)).transpose()?.flatten();
    if options.json {
        let problems: Vec<Json> = report
            .problems
            .iter()
            .map(|p| json!({ "file": p.file, "problem": p.what, "runs": p.runs.iter().map(ToString::to_string).collect::<Vec<_>>() }))
            .collect();
        let ok = problems.is_empty() && contradicted.is_none();
        let value = json!({ "ok": ok, "objects": report.objects, "frames": report.frames, "runs": report.runs, "left_out": report.left_out, "problems": problems, "since": contradicted, "quarantined": moved });
        writeln!(out, "{}", json_line(&value))?;
    } else {
        for problem in &report.problems {
            writeln!(out, "{}", visible(&problem.to_string()))?;
        }
        for path in &moved {
            writeln!(out, "set aside: {}", visible(&path.display().to_string()))?;
        }
        if let Some(what) = &contradicted {
            writeln!(out, "{}", visible(what))?;
        }
        let verdict = match report.problems.len() {
            0 if contradicted.is_some() => "the checkpoint does not hold".to_owned(),
            0 => "nothing is damaged".to_owned(),
            count => format!("{count} problems"),
        };
        if report.left_out > 0 {
            let left_out = count(report.left_out, "weights object");
            writeln!(out, "left out by every run that names them, and so not here: {left_out}")?;
        }
        writeln!(out, "{} objects, {} log frames, {} runs: {verdict}", report.objects, report.frames, report.runs)?;
    }
    let rolled_back = if contradicted.is_some() { ledger::Fault::Log.bit() } else { 0 };
    Ok(ExitCode::from(report.exit_code() | rolled_back))
}

/// What the logs say otherwise than the checkpoints in a file.
fn since(store: &Store, path: &Path, options: &Options) -> Result<Option<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Read { path: path.to_owned(), error })?;
    let checkpoints = match ledger::read_checkpoints(&text) {
        Ok(checkpoints) => checkpoints,
        Err(what) => return Ok(Some(format!("{}: {what}", path.display()))),
    };
    for checkpoint in checkpoints {
        if options.signer.as_ref().is_some_and(|key| *key != checkpoint.key) {
            return Ok(Some(format!("{}: it was signed by {}, another key", path.display(), checkpoint.key)));
        }
        if let Some(what) = store.since(&checkpoint.head)? {
            return Ok(Some(format!("since {}: {what}", path.display())));
        }
    }
    Ok(None)
}

fn verify_bundle(options: &Options, path: &Path) -> Result<ExitCode, Failure> {
    let read = |error| Failure::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    let checked = ledger::verify_bundle(BufReader::new(file), length);
    let mut out = anstream::stdout();
    match &checked {
        _ if options.json => {
            let (ok, problem) = (checked.is_ok(), checked.as_ref().err());
            let runs: Vec<String> = checked.iter().flat_map(|b| &b.runs).map(ToString::to_string).collect();
            writeln!(out, "{}", json_line(&json!({ "ok": ok, "runs": runs, "problem": problem })))?;
        }
        Ok(bundle) => {
            for run in &bundle.runs {
                writeln!(out, "run {run}")?;
            }
            for head in &bundle.heads {
                let stream = visible(&head.stream);
                writeln!(out, "listed by stream {stream} of {} frames under root {}", head.frames, head.root)?;
            }
            writeln!(out, "{} objects, {} runs: nothing is damaged", bundle.objects, bundle.runs.len())?;
        }
        Err(what) => writeln!(out, "{}", visible(&format!("{}: {what}", path.display())))?,
    }
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
