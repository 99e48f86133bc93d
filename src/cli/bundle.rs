//! `metadsl bundle`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use super::args::Bundle as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::hash::Id;

/// Writes runs with all they need, and the proof that the ledger lists them, to one file.
pub fn bundle(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let runs = options.runs.iter().map(|run| store.resolve(run)).collect::<Result<Vec<Id>, _>>()?;
    let file = File::create(&options.output)?;
    let objects = store.bundle(&runs, BufWriter::new(&file))?;
    file.sync_all()?;
    let length = file.metadata()?.len();
    let name = options.output.display();
    writeln!(anstream::stdout(), "{name}: {} runs, {objects} objects, {length} bytes", runs.len())?;
    Ok(ExitCode::SUCCESS)
}
