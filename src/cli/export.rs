//! `metadsl export`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{Export as Options, Format};
use super::export_model::export_model;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::hash::{Canonical, Id, Kind, to_json};
use crate::ledger::Store;
use crate::report::text::visible;
use crate::report::{ImportedRecord, Record};

/// The columns of a table of rows.
pub const COLUMNS: [&str; 7] = ["run", "experiment", "arm", "seed", "measure", "step", "value"];

/// One measured value.
pub struct Row {
    /// The run.
    pub run: String,
    /// The experiment's name.
    pub experiment: String,
    /// The arm, or the program that an imported run came from.
    pub arm: String,
    /// The seed; none of an imported run.
    pub seed: Option<u64>,
    /// The measure's name.
    pub measure: String,
    /// After how many steps.
    pub step: u64,
    /// The value.
    pub value: f64,
}

/// Writes every measured value of some runs as rows.
pub fn export(options: &Options) -> Result<ExitCode, Failure> {
    if options.model.is_some() || options.adapter.is_some() {
        return export_model(options);
    }
    if !options.data.data.is_empty() {
        return Err(Failure::Usage(
            "rows are written without any data; `--data` goes with `--model` or `--adapter`".into(),
        ));
    }
    let store = existing_ledger(&options.ledger.ledger)?;
    let found = if options.runs.is_empty() {
        let ids = store.ids(&mut Vec::new())?;
        let imports = ids.imports.into_iter().map(|id| (Kind::Imported, id));
        ids.runs.into_iter().map(|id| (Kind::Run, id)).chain(imports).collect()
    } else {
        options.runs.iter().map(|name| store.find(name)).collect::<Result<Vec<_>, _>>()?
    };
    let mut rows = Vec::new();
    for (kind, id) in found {
        read(&store, kind, id, &mut rows)?;
    }
    let mut bytes = Vec::new();
    match options.format {
        Format::Csv => write_csv(&rows, &mut bytes)?,
        Format::Jsonl => write_jsonl(&rows, &mut bytes)?,
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::write(&rows, &mut bytes)?,
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            let advice = "build it with `cargo build --release --features parquet`, or export csv";
            return Err(Failure::Usage(format!("this build writes no Parquet: {advice}")));
        }
    }
    match &options.output {
        Some(path) => std::fs::write(path, &bytes).map_err(|error| Failure::Save { path: path.clone(), error })?,
        // Not through anstream: values are data, and names are made harmless below.
        None => std::io::stdout().write_all(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the rows of a run.
fn read(store: &Store, kind: Kind, id: Id, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let mut push = |experiment: &str, arm: &str, seed, measure: &str, points: &[(u64, f64)]| {
        rows.extend(points.iter().map(|&(step, value)| Row {
            run: id.to_string(),
            experiment: visible(experiment),
            arm: visible(arm),
            seed,
            measure: visible(measure),
            step,
            value,
        }));
    };
    if kind == Kind::Imported {
        let record = ImportedRecord::read(store, id)?;
        for (measure, points) in &record.series {
            push(&record.run.experiment, &record.run.origin, None, measure, points);
        }
        return Ok(());
    }
    let record = Record::alone(store, id)?;
    for cell in &record.cells {
        for (measure, points) in &cell.series {
            push(&record.run.experiment, &cell.arm, Some(cell.seed), measure, points);
        }
    }
    Ok(())
}

fn write_csv(rows: &[Row], out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS).map_err(std::io::Error::from)?;
    for Row { run, experiment, arm, seed, measure, step, value } in rows {
        let seed = seed.map_or(String::new(), |seed| seed.to_string());
        // The shortest text that reads back as the same number.
        let (step, value) = (step.to_string(), format!("{value:?}"));
        let row: [&str; 7] = [run, experiment, arm, &seed, measure, &step, &value];
        writer.write_record(row).map_err(std::io::Error::from)?;
    }
    writer.flush()?;
    Ok(())
}

fn write_jsonl(rows: &[Row], out: &mut Vec<u8>) -> Result<(), Failure> {
    for Row { run, experiment, arm, seed, measure, step, value } in rows {
        let row = json!({
            "run": run, "experiment": experiment, "arm": arm,
            "seed": seed, "measure": measure, "step": step, "value": to_json(&value.to_value()),
        });
        writeln!(out, "{row}")?;
    }
    Ok(())
}
