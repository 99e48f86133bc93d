//! `metadsl show`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Show as Options;
use super::failure::Failure;
use super::log::{seconds, status, utc, visible};
use super::replay::existing_ledger;
use super::table::{claim_line, columns, number};
use crate::hash::{Canonical, Id, Kind, to_json, to_ron};
use crate::ledger::{Cell, Env, Input, Outcome, Run, Series, Status, Store};
use crate::plan::Plan;

/// A run with everything that is shown of it.
struct Record {
    id: Id,
    run: Run,
    input: Input,
    plan: Plan,
    env: Env,
    outcome: Outcome,
}

/// Shows one run.
pub fn show(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let record = read(&store, &options.run)?;
    let mut out = anstream::stdout();
    if options.plan {
        writeln!(out, "{}", to_ron(&record.plan.to_value()))?;
    } else if options.json {
        writeln!(out, "{}", as_json(&store, &record)?)?;
    } else {
        write!(out, "{}", as_text(&store, &record, options.series)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(store: &Store, prefix: &str) -> Result<Record, Failure> {
    let id = store.resolve(prefix)?;
    let run: Run = store.get(Kind::Run, id)?;
    let input: Input = store.get(Kind::Input, run.input)?;
    Ok(Record {
        id,
        plan: store.get(Kind::Plan, input.plan)?,
        env: store.get(Kind::Env, run.env)?,
        outcome: store.get(Kind::Result, run.result)?,
        input,
        run,
    })
}

fn series(store: &Store, cell: &Cell) -> Result<Vec<(String, Series)>, Failure> {
    cell.series.iter().map(|s| Ok((s.measure.clone(), store.get(Kind::Series, s.id)?))).collect()
}

fn as_text(store: &Store, record: &Record, all: bool) -> Result<String, Failure> {
    let Record { id, run, input, plan, env, outcome } = record;
    let mut text = format!(
        "run        {id}\nexperiment {}\nstatus     {}\nfinished   {} UTC, {:.1} s\ninput      {}\nresult     {}\nplan       {}\nmachine    metadsl {}, {}, {} threads, {} on {}/{}\n",
        visible(&run.experiment),
        status(outcome),
        utc(run.finished_ms),
        seconds(run),
        run.input,
        run.result,
        input.plan,
        visible(&env.version),
        visible(&env.device),
        env.threads,
        visible(&env.cpu),
        visible(&env.os),
        visible(&env.arch),
    );
    if !plan.claims.is_empty() {
        text.push_str("\nclaims\n");
    }
    for (claim, verdict) in plan.claims.iter().zip(&outcome.claims) {
        text.push_str("  ");
        text.push_str(&claim_line(claim, verdict.holds, verdict.left, verdict.right));
    }
    let mut rows = vec![["  arm", "seed", "measure", "step", "value"].map(str::to_owned).to_vec()];
    for cell in &outcome.cells {
        for (measure, series) in series(store, cell)? {
            let points: Vec<(u64, f64)> = series.steps.iter().copied().zip(series.values()).collect();
            let shown = if all { &points[..] } else { &points[points.len().saturating_sub(1)..] };
            rows.extend(shown.iter().map(|&(step, value)| {
                let arm = format!("  {}", visible(&cell.arm));
                vec![arm, cell.seed.to_string(), visible(&measure), step.to_string(), number(value)]
            }));
        }
        if let Status::Diverged { step } = cell.status {
            rows.push(vec![
                format!("  {}", visible(&cell.arm)),
                cell.seed.to_string(),
                "diverged".into(),
                step.to_string(),
            ]);
        }
    }
    text.push_str("\nmeasurements\n");
    text.push_str(&columns(&rows));
    text.push_str(&format!("\nreplay it with `metadsl replay {}`\n", id.short()));
    Ok(text)
}

fn as_json(store: &Store, record: &Record) -> Result<Json, Failure> {
    let Record { id, run, input, plan, env, outcome } = record;
    let mut cells = Vec::new();
    for cell in &outcome.cells {
        let mut measures = serde_json::Map::new();
        for (measure, series) in series(store, cell)? {
            let values: Vec<Json> = series.values().iter().map(|&x| to_json(&x.to_value())).collect();
            measures.insert(measure, json!({ "steps": series.steps, "values": values }));
        }
        let diverged = if let Status::Diverged { step } = cell.status { json!(step) } else { Json::Null };
        cells.push(json!({ "arm": cell.arm, "seed": cell.seed, "diverged": diverged, "series": measures }));
    }
    let claims: Vec<Json> = plan
        .claims
        .iter()
        .zip(&outcome.claims)
        .map(|(c, v)| json!({ "text": c.to_string(), "holds": v.holds, "left": to_json(&v.left.to_value()), "right": to_json(&v.right.to_value()) }))
        .collect();
    Ok(json!({
        "run": id.to_string(),
        "experiment": run.experiment,
        "status": status(outcome),
        "started": utc(run.started_ms),
        "finished": utc(run.finished_ms),
        "input": run.input.to_string(),
        "result": run.result.to_string(),
        "plan": input.plan.to_string(),
        "env": to_json(&env.to_value()),
        "claims": claims,
        "cells": cells,
    }))
}
