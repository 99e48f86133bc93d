//! `metadsl show`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Show as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use super::table::{claim_line, columns};
use crate::hash::{Canonical, Kind, to_json, to_ron};
use crate::ledger::{LedgerError, Status};
use crate::query;
use crate::report::text::{duration, json_line, number, sparkline, utc, visible};
use crate::report::{CellRecord, Citation, ImportedRecord, Record};

/// Shows one run.
pub fn show(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let (kind, id) = store.find(&options.run)?;
    let tags = query::read_tags(&store)?.remove(&id).unwrap_or_default();
    let mut out = anstream::stdout();
    if kind == Kind::Imported {
        let record = ImportedRecord::read(&store, id)?;
        if options.plan {
            return Err(LedgerError::IsImported(id).into());
        } else if options.json {
            writeln!(out, "{}", json_line(&imported_json(&record, &tags)))?;
        } else {
            write!(out, "{}", imported_text(&record, &tags, options.series))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let record = Record::read(&store, id)?;
    if options.plan {
        writeln!(out, "{}", to_ron(&record.plan.to_value()))?;
    } else if options.json {
        writeln!(out, "{}", json_line(&as_json(&record, &tags)))?;
    } else {
        write!(out, "{}", as_text(&record, &tags, options.series))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_text(record: &Record, tags: &BTreeSet<String>, all: bool) -> String {
    let Record { id, run, input, plan, env, numerics, manifest, outcome, .. } = record;
    let mut text = format!(
        "run        {id}\nexperiment {}\nstatus     {}\nfinished   {} UTC, {}\ninput      {}\nresult     {}\nplan       {}\n",
        visible(&run.experiment),
        record.status(),
        utc(run.finished_ms),
        duration(record.seconds()),
        run.input,
        run.result,
        input.plan,
    );
    for file in &manifest.files {
        text.push_str(&format!("data       {}, {} bytes, {}\n", visible(&file.name), file.bytes, file.blob));
    }
    text.push_str(&visible_line(
        "numerics",
        &format!("{}, {}, epoch {}, {}", numerics.executor, numerics.precision, numerics.epoch, numerics.random),
    ));
    text.push_str(&visible_line(
        "machine",
        &format!(
            "metadsl {}, {}, {} threads, {} on {}/{}",
            env.version, env.device, env.threads, env.cpu, env.os, env.arch
        ),
    ));
    let left_out = outcome.cells.iter().filter(|cell| run.left_out.contains(&cell.weights)).count();
    if left_out > 0 {
        let kept = format!("the final parameters of {left_out} of {} cells were not kept", outcome.cells.len());
        text.push_str(&visible_line("left out", &kept));
    }
    for verdict in &record.replays {
        text.push_str(&visible_line("replayed", &verdict.to_string()));
    }
    if !tags.is_empty() {
        text.push_str(&visible_line("tags", &tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
    }
    for note in &record.notes {
        text.push_str(&visible_line("note", note));
    }
    if !plan.claims.is_empty() {
        text.push_str("\nclaims\n");
    }
    let citations = Citation::of(record.source.as_deref(), plan.claims.len());
    for ((claim, verdict), citation) in plan.claims.iter().zip(&outcome.claims).zip(citations) {
        text.push_str("  ");
        text.push_str(&claim_line(claim, verdict.holds, verdict.left, verdict.right));
        for line in citation.text.into_iter().chain(citation.reference.map(|r| format!("reference: {r}"))) {
            text.push_str(&format!("         {}\n", visible(&line)));
        }
    }
    text.push_str("\nmeasurements\n");
    text.push_str(&columns(&if all { every_point(&record.cells) } else { last_points(&record.cells) }));
    text.push_str(&format!(
        "\nreplay it with `metadsl replay {0}`; see its curves with `metadsl report {0}`\n",
        id.short()
    ));
    text
}

fn imported_text(record: &ImportedRecord, tags: &BTreeSet<String>, all: bool) -> String {
    let run = &record.run;
    let mut text = format!("run        {}\n", record.id);
    text.push_str(&visible_line("experiment", &run.experiment));
    text.push_str(&visible_line("status", &run.status));
    text.push_str(&visible_line("from", &format!("{}, run {}", run.origin, run.name)));
    text.push_str(&format!("finished   {} UTC, {}\n", utc(run.finished_ms), duration(record.seconds())));
    if !tags.is_empty() {
        text.push_str(&visible_line("tags", &tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
    }
    for setting in &run.settings {
        text.push_str(&visible_line("setting", &format!("{} = {}", setting.name, setting.value)));
    }
    text.push_str("\nmeasurements\n");
    let head = if all { &["  measure", "step", "value"][..] } else { &["  measure", "step", "value", "course"] };
    let mut rows = vec![head.iter().map(ToString::to_string).collect::<Vec<_>>()];
    for (measure, points) in &record.series {
        let course = sparkline(&points.iter().map(|p| p.1).collect::<Vec<f64>>());
        for (step, value) in if all { &points[..] } else { &points[points.len().saturating_sub(1)..] } {
            let row = vec![format!("  {}", visible(measure)), step.to_string(), number(*value)];
            rows.push([row, if all { vec![] } else { vec![course.clone()] }].concat());
        }
    }
    text.push_str(&columns(&rows));
    text
}

fn imported_json(record: &ImportedRecord, tags: &BTreeSet<String>) -> Json {
    let run = &record.run;
    let mut measures = serde_json::Map::new();
    for (measure, points) in &record.series {
        let values: Vec<Json> = points.iter().map(|p| to_json(&p.1.to_value())).collect();
        let steps: Vec<u64> = points.iter().map(|p| p.0).collect();
        measures.insert(measure.clone(), json!({ "steps": steps, "values": values }));
    }
    let settings: serde_json::Map<String, Json> =
        run.settings.iter().map(|setting| (setting.name.clone(), json!(setting.value))).collect();
    json!({
        "run": record.id.to_string(), "experiment": run.experiment, "origin": run.origin, "name": run.name,
        "status": run.status, "started": utc(run.started_ms), "finished": utc(run.finished_ms), "tags": tags,
        "settings": settings, "series": measures,
    })
}

fn visible_line(key: &str, value: &str) -> String {
    format!("{key:<10} {}\n", visible(value))
}

fn every_point(cells: &[CellRecord]) -> Vec<Vec<String>> {
    let mut rows = vec![["  arm", "seed", "measure", "step", "value"].map(str::to_owned).to_vec()];
    for cell in cells {
        let head = || vec![format!("  {}", visible(&cell.arm)), cell.seed.to_string()];
        for (measure, points) in &cell.series {
            for (step, value) in points {
                rows.push([head(), vec![visible(measure), step.to_string(), number(*value)]].concat());
            }
        }
        if let Status::Diverged { step } = cell.status {
            rows.push([head(), vec!["diverged".into(), step.to_string()]].concat());
        }
    }
    rows
}

fn last_points(cells: &[CellRecord]) -> Vec<Vec<String>> {
    let mut rows = vec![["  arm", "seed", "measure", "step", "value", "course"].map(str::to_owned).to_vec()];
    for cell in cells {
        let head = || vec![format!("  {}", visible(&cell.arm)), cell.seed.to_string()];
        for (measure, points) in &cell.series {
            if let Some((step, value)) = points.last() {
                let course = sparkline(&points.iter().map(|p| p.1).collect::<Vec<f64>>());
                rows.push([head(), vec![visible(measure), step.to_string(), number(*value), course]].concat());
            }
        }
        if let Status::Diverged { step } = cell.status {
            rows.push([head(), vec!["diverged".into(), step.to_string()]].concat());
        }
    }
    rows
}

fn as_json(record: &Record, tags: &BTreeSet<String>) -> Json {
    let Record { id, run, input, plan, env, outcome, .. } = record;
    let mut cells = Vec::new();
    for cell in &record.cells {
        let mut measures = serde_json::Map::new();
        for (measure, points) in &cell.series {
            let values: Vec<Json> = points.iter().map(|p| to_json(&p.1.to_value())).collect();
            let steps: Vec<u64> = points.iter().map(|p| p.0).collect();
            measures.insert(measure.clone(), json!({ "steps": steps, "values": values }));
        }
        let diverged = if let Status::Diverged { step } = cell.status { json!(step) } else { Json::Null };
        cells.push(json!({ "arm": cell.arm, "seed": cell.seed, "diverged": diverged, "series": measures }));
    }
    let citations = Citation::of(record.source.as_deref(), plan.claims.len());
    let claims: Vec<Json> = plan
        .claims
        .iter()
        .zip(&outcome.claims)
        .zip(citations)
        .map(|((c, v), cited)| json!({ "text": c.to_string(), "holds": v.holds, "left": to_json(&v.left.to_value()), "right": to_json(&v.right.to_value()), "words": cited.text, "reference": cited.reference }))
        .collect();
    json!({
        "run": id.to_string(),
        "experiment": run.experiment,
        "status": record.status(),
        "started": utc(run.started_ms),
        "finished": utc(run.finished_ms),
        "input": run.input.to_string(),
        "result": run.result.to_string(),
        "plan": input.plan.to_string(),
        "left_out": run.left_out.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "numerics": to_json(&record.numerics.to_value()),
        "data": to_json(&record.manifest.to_value()),
        "env": to_json(&env.to_value()),
        "replays": record.replays.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tags": tags,
        "notes": record.notes,
        "claims": claims,
        "cells": cells,
    })
}
