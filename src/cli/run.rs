//! `metadsl run`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::{Cache, Run as Options};
use super::device;
use super::execute::{Done, How, Job, execute};
use super::failure::Failure;
use super::load::{DataBytes, load};
use super::record::{self, DataFile};
use super::table::{claim_line, columns};
use super::whereabouts::noted;
use crate::hash::{Canonical, Kind, to_json};
use crate::ledger::{FileHint, Store};
use crate::numeric;
use crate::plan::Plan;
use crate::report::text::number;
use crate::train::{Cell, Status};

/// Runs an experiment, checks its claims and records it.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let started_ms = record::now_ms();
    let (experiment, source) = load(&options.file, &options.overrides)?.or_report()?;
    let plan = &experiment.plan;
    let device = device::choose(&options.machine);
    let store = open_ledger(&options.ledger.ledger)?;

    let files: Vec<DataFile> = experiment.files.iter().map(|f| DataFile { name: &f.name, bytes: &f.bytes }).collect();
    let input = record::put_input(&store, plan, &files, device)?;
    let source = Some(store.put(Kind::Source, &source)?);
    let hint = |f: &DataBytes| FileHint { name: f.name.clone(), path: noted(&store, &f.path) };
    let files = experiment.files.iter().map(hint).collect();
    let job = Job { plan, sets: &experiment.sets, input, device, source, files, started_ms };
    let cache = if options.again { Cache::Write } else { options.cache };
    let (save_every, keep_weights) = (options.save_every, options.keep_weights);
    let how = How { machine: &options.machine, cache, save_every, keep_weights };
    let done = execute(&store, &job, &how, None)?;
    report(plan, &done, options.json)
}

/// Prints what came of a run.
pub fn report(plan: &Plan, done: &Done, as_json: bool) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    if as_json {
        writeln!(out, "{}", report_json(plan, done))?;
    } else {
        write!(out, "{}", report_text(plan, done))?;
    }
    Ok(if done.claims.iter().all(|v| v.holds) { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// The ledger of a command that writes.
pub fn open_ledger(explicit: &Option<std::path::PathBuf>) -> Result<Store, Failure> {
    let here = std::env::current_dir()?;
    Ok(Store::open_or_create(crate::ledger::discover(&here, explicit.as_deref()))?)
}

/// `finished`, or how many cells diverged.
fn status(cells: &[Cell]) -> String {
    let diverged = cells.iter().filter(|c| c.status != Status::Finished).count();
    if diverged == 0 { "finished".into() } else { format!("diverged in {diverged} of {} cells", cells.len()) }
}

fn report_json(plan: &Plan, done: &Done) -> Json {
    let Done { cells, claims, run, input, result, held, left_out } = done;
    let claims: Vec<Json> = plan
        .claims
        .iter()
        .zip(claims)
        .map(|(c, v)| json!({ "text": c.to_string(), "holds": v.holds, "left": to_json(&v.left.to_value()), "right": to_json(&v.right.to_value()) }))
        .collect();
    let mut measures = serde_json::Map::new();
    let mut statuses = Vec::new();
    for cell in cells {
        let arm = measures.entry(&cell.arm).or_insert_with(|| json!({}));
        for s in &cell.series {
            arm[&s.measure][cell.seed.to_string()] = s.values.last().map_or(Json::Null, |x| to_json(&x.to_value()));
        }
        if let Status::Diverged { step } = cell.status {
            statuses.push(json!({ "arm": cell.arm, "seed": cell.seed, "step": step }));
        }
    }
    json!({
        "run": run.to_string(),
        "input": input.to_string(),
        "result": result.to_string(),
        "held": held,
        "weights_left_out": left_out,
        "status": if statuses.is_empty() { "finished" } else { "diverged" },
        "diverged": statuses,
        "claims": claims,
        "measures": measures,
    })
}

fn report_text(plan: &Plan, done: &Done) -> String {
    let Done { cells, claims, run, held, left_out, .. } = done;
    let mut text = String::new();
    let mut rows = vec![vec![
        "arm".to_owned(),
        "measure".into(),
        "step".into(),
        "median".into(),
        "min".into(),
        "max".into(),
        "seeds".into(),
    ]];
    for arm in &plan.arms {
        for measure in &arm.measures {
            let series: Vec<_> = cells
                .iter()
                .filter(|c| c.arm == arm.name)
                .filter_map(|c| c.series.iter().find(|s| s.measure == measure.name))
                .collect();
            let values: Vec<f64> = series.iter().map(|s| s.at(arm.steps())).collect();
            let finite: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
            let cell = |x: f64| if finite.is_empty() { "diverged".to_owned() } else { number(x) };
            rows.push(vec![
                arm.name.clone(),
                measure.name.clone(),
                arm.steps().to_string(),
                cell(numeric::median(&finite)),
                cell(numeric::quantile(&finite, 0.0)),
                cell(numeric::quantile(&finite, 1.0)),
                if finite.len() == values.len() {
                    values.len().to_string()
                } else {
                    format!("{} of {}", finite.len(), values.len())
                },
            ]);
        }
    }
    if rows.len() > 1 {
        text.push_str(&columns(&rows));
    }
    let diverged: Vec<String> = cells
        .iter()
        .filter_map(|c| match c.status {
            Status::Diverged { step } => Some(format!("diverged: arm {}, seed {}, at step {step}\n", c.arm, c.seed)),
            Status::Finished => None,
        })
        .collect();
    text.extend(diverged);
    if !plan.claims.is_empty() {
        text.push('\n');
    }
    for (claim, verdict) in plan.claims.iter().zip(claims) {
        text.push_str(&claim_line(claim, verdict.holds, verdict.left, verdict.right));
    }
    if *held > 0 {
        text.push_str(&format!("\n{held} of {} cells were in the ledger", cells.len()));
    }
    if *left_out > 0 {
        text.push_str(&format!("\nthe final parameters of {left_out} of {} cells were not kept", cells.len()));
    }
    text.push_str(&format!("\n{}; run {run}\n", status(cells)));
    text
}
