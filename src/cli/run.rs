//! `metadsl run`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Run as Options;
use super::device;
use super::failure::Failure;
use super::load::load;
use super::record::{self, DataFile, Facts};
use super::table::{claim_line, columns};
use crate::hash::{Canonical, Id, Kind, to_json};
use crate::ledger::Store;
use crate::numeric;
use crate::plan::{Plan, Verdict};
use crate::report::text::number;
use crate::train::{Cell, Status};

/// Runs an experiment, checks its claims and records it.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let started_ms = record::now_ms();
    let (experiment, source) = load(&options.file, &options.overrides)?.or_report()?;
    let plan = &experiment.plan;
    let device = device::choose(&options.machine);
    let store = open_ledger(&options.ledger.ledger)?;

    let (cells, claims) = device::run_plan(device, &options.machine, plan, &experiment.sets)?;
    let files: Vec<DataFile> =
        experiment.files.iter().map(|f| DataFile { name: &f.name, path: &f.path, bytes: &f.bytes }).collect();
    let input = record::put_input(&store, plan, &files, device)?;
    let keys = record::CellKeys::new(&store, plan, &input, device)?;
    let input = store.put(Kind::Input, &input)?;
    let result = store.put(Kind::Result, &record::put_outcome(&store, &keys, input, &cells, &claims)?)?;
    let source = Some(store.put(Kind::Source, &source)?);
    let facts = Facts { plan, device, input, result, source, files: &files, started_ms };
    let run = record::seal(&store, facts, &options.machine)?;

    let held = claims.iter().all(|v| v.holds);
    let ids = Ids { run, input, result };
    let mut out = anstream::stdout();
    if options.json {
        writeln!(out, "{}", report_json(plan, &cells, &claims, &ids))?;
    } else {
        write!(out, "{}", report_text(plan, &cells, &claims, &ids))?;
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// The ledger of a command that writes.
pub fn open_ledger(explicit: &Option<std::path::PathBuf>) -> Result<Store, Failure> {
    let here = std::env::current_dir()?;
    Ok(Store::open_or_create(crate::ledger::discover(&here, explicit.as_deref()))?)
}

/// The identities of a run.
pub struct Ids {
    /// The execution.
    pub run: Id,
    /// What decided the result.
    pub input: Id,
    /// The result.
    pub result: Id,
}

/// `finished`, or how many cells diverged.
fn status(cells: &[Cell]) -> String {
    let diverged = cells.iter().filter(|c| c.status != Status::Finished).count();
    if diverged == 0 { "finished".into() } else { format!("diverged in {diverged} of {} cells", cells.len()) }
}

fn report_json(plan: &Plan, cells: &[Cell], claims: &[Verdict], ids: &Ids) -> Json {
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
        "run": ids.run.to_string(),
        "input": ids.input.to_string(),
        "result": ids.result.to_string(),
        "status": if statuses.is_empty() { "finished" } else { "diverged" },
        "diverged": statuses,
        "claims": claims,
        "measures": measures,
    })
}

fn report_text(plan: &Plan, cells: &[Cell], claims: &[Verdict], ids: &Ids) -> String {
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
            let values: Vec<f64> = series.iter().map(|s| s.at(arm.train.steps)).collect();
            let finite: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
            let cell = |x: f64| if finite.is_empty() { "diverged".to_owned() } else { number(x) };
            rows.push(vec![
                arm.name.clone(),
                measure.name.clone(),
                arm.train.steps.to_string(),
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
    text.push_str(&format!("\n{}; run {}\n", status(cells), ids.run));
    text
}
