//! `metadsl gc`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::Gc as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::report::text::{json_line, visible};

/// Finds what no run needs, and sets it aside where that is asked for.
pub fn gc(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    for run in &options.bury {
        store.bury(store.find(run)?.1)?;
    }
    let garbage = store.gc(options.apply, options.empty_trash)?;
    let mut out = anstream::stdout();
    if options.json {
        let value = json!({ "files": garbage.files, "bytes": garbage.bytes, "moved": garbage.moved, "deleted": garbage.deleted });
        writeln!(out, "{}", json_line(&value))?;
        return Ok(ExitCode::SUCCESS);
    }
    for file in &garbage.files {
        writeln!(out, "{}", visible(&file.display().to_string()))?;
    }
    let done = if garbage.moved { "set aside in trash/" } else { "not needed; `--apply` sets them aside" };
    writeln!(out, "{} files, {} bytes: {done}", garbage.files.len(), garbage.bytes)?;
    if options.empty_trash {
        writeln!(out, "{} files deleted from trash/", garbage.deleted)?;
    }
    Ok(ExitCode::SUCCESS)
}
