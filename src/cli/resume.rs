//! `metadsl resume`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Resume as Options;
use super::execute::{How, Job, execute};
use super::failure::Failure;
use super::load::read_sets;
use super::replay::{choose_device, existing_ledger};
use super::run;
use super::whereabouts::{check_given, contents};
use crate::data::FileBytes;
use crate::exec::Numerics;
use crate::hash::Kind;
use crate::ledger::{Input, Manifest, Store, Unfinished};
use crate::plan::Plan;
use crate::report::text::json_line;

/// Goes on with a run that was interrupted.
pub fn resume(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let unfinished = store.unfinished()?;
    if options.list {
        return list(options, &unfinished);
    }
    let chosen = choose(options, &unfinished)?;
    let (about, live) = store.take_up(&chosen.name)?;
    let input: Input = store.get(Kind::Input, about.input)?;
    let plan: Plan = store.get(Kind::Plan, input.plan)?;
    plan.verify()?;
    let manifest: Manifest = store.get(Kind::Manifest, input.manifest)?;
    let numerics: Numerics = store.get(Kind::Numerics, input.numerics)?;
    let device = choose_device(&options.machine, &numerics)?;
    check_given(&options.data, &manifest)?;
    let files = contents(&store, &manifest, &about.files, &options.data).map_err(Failure::Usage)?;
    let sets = read_sets(&plan, &files).map_err(Failure::Usage)?;
    stage(&store, &manifest, &files)?;
    let job = Job {
        plan: &plan,
        sets: &sets,
        input,
        device,
        source: about.source,
        files: about.files.clone(),
        started_ms: about.started_ms,
    };
    let (save_every, keep_weights) = (options.save_every, options.keep_weights);
    let how = How { machine: &options.machine, cache: options.cache, save_every, keep_weights };
    let done = execute(&store, &job, &how, Some(live))?;
    run::report(&plan, &done, options.json)
}

/// Takes the data in again that the ledger keeps.
fn stage(
    store: &Store,
    manifest: &Manifest,
    files: &std::collections::BTreeMap<String, FileBytes>,
) -> Result<(), Failure> {
    for file in manifest.files.iter().filter(|file| file.bytes <= super::record::KEPT_DATA as u64) {
        if let Some(bytes) = files.get(&file.name) {
            store.put_blob(bytes)?;
        }
    }
    Ok(())
}

/// The run that was asked for, else the only one that nobody is at work on.
fn choose<'a>(options: &Options, unfinished: &'a [Unfinished]) -> Result<&'a Unfinished, Failure> {
    let wanted = options.run.as_deref().unwrap_or_default();
    let wanted = wanted.strip_prefix("run-").unwrap_or(wanted);
    let fits = |run: &&Unfinished| run.name.trim_start_matches("run-").starts_with(wanted);
    let dead: Vec<&Unfinished> = unfinished.iter().filter(fits).filter(|run| !run.alive).collect();
    match dead[..] {
        [run] => Ok(run),
        [] if unfinished.iter().any(|run| run.alive) => {
            Err(Failure::Usage("every unfinished run has a process at work on it; there is nothing to resume".into()))
        }
        [] => Err(Failure::Usage("there is no unfinished run; `metadsl log` lists the finished ones".into())),
        _ => {
            let names: Vec<&str> = dead.iter().map(|run| run.name.as_str()).collect();
            Err(Failure::Usage(format!("{} runs are unfinished, name one of them: {}", names.len(), names.join(", "))))
        }
    }
}

fn list(options: &Options, unfinished: &[Unfinished]) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    let state = |run: &Unfinished| if run.alive { "running" } else { "interrupted" };
    if options.json {
        let rows: Vec<Json> = unfinished
            .iter()
            .map(|run| json!({ "name": run.name, "experiment": run.about.experiment, "state": state(run) }))
            .collect();
        writeln!(out, "{}", json_line(&Json::Array(rows)))?;
    } else if unfinished.is_empty() {
        writeln!(out, "no run is unfinished")?;
    } else {
        for run in unfinished {
            let experiment = crate::report::text::visible(&run.about.experiment);
            writeln!(out, "{}  {experiment}  {}", run.name, state(run))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
