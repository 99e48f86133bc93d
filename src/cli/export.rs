//! `metadsl export`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{Export as Options, Format};
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::hash::{Canonical, to_json};
use crate::report::Record;
use crate::report::text::visible;

/// Writes every measured value of some runs as rows.
pub fn export(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let ids = if options.runs.is_empty() {
        store.run_ids()?
    } else {
        options.runs.iter().map(|name| store.resolve(name)).collect::<Result<_, _>>()?
    };
    let mut bytes = Vec::new();
    match options.format {
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(&mut bytes);
            writer.write_record(COLUMNS).map_err(std::io::Error::from)?;
            for id in ids {
                write_csv(&mut writer, &Record::alone(&store, id)?)?;
            }
            writer.flush()?;
        }
        Format::Jsonl => {
            for id in ids {
                write_jsonl(&mut bytes, &Record::alone(&store, id)?)?;
            }
        }
    }
    match &options.output {
        Some(path) => std::fs::write(path, &bytes).map_err(|error| Failure::Save { path: path.clone(), error })?,
        // Not through anstream: values are data, and names are made harmless below.
        None => std::io::stdout().write_all(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [&str; 7] = ["run", "experiment", "arm", "seed", "measure", "step", "value"];

fn write_csv(writer: &mut csv::Writer<&mut Vec<u8>>, record: &Record) -> Result<(), Failure> {
    for cell in &record.cells {
        for (measure, points) in &cell.series {
            for (step, value) in points {
                let row = [
                    record.id.to_string(),
                    visible(&record.run.experiment),
                    visible(&cell.arm),
                    cell.seed.to_string(),
                    visible(measure),
                    step.to_string(),
                    // The shortest text that reads back as the same number.
                    format!("{value:?}"),
                ];
                writer.write_record(&row).map_err(std::io::Error::from)?;
            }
        }
    }
    Ok(())
}

fn write_jsonl(out: &mut Vec<u8>, record: &Record) -> Result<(), Failure> {
    for cell in &record.cells {
        for (measure, points) in &cell.series {
            for (step, value) in points {
                let row = json!({
                    "run": record.id.to_string(), "experiment": visible(&record.run.experiment), "arm": visible(&cell.arm),
                    "seed": cell.seed, "measure": visible(measure), "step": step, "value": to_json(&value.to_value()),
                });
                writeln!(out, "{row}")?;
            }
        }
    }
    Ok(())
}
