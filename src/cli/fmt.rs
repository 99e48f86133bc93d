//! `metadsl fmt`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::Fmt;
use super::failure::Failure;
use super::load::read_source;
use super::rewrite::{difference, replace};
use crate::syntax;

/// Formats files in place, or says which are not formatted.
pub fn fmt(options: &Fmt) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    let mut unformatted = false;
    for path in files(&options.files)? {
        let source = read_source(&path)?;
        let formatted = syntax::format(&source);
        if formatted == source {
            continue;
        }
        unformatted = true;
        if options.check {
            writeln!(out, "{} is not formatted", path.display())?;
            write!(out, "{}", difference(&source, &formatted))?;
        } else {
            replace(&path, &formatted)?;
            writeln!(out, "{} formatted", path.display())?;
        }
    }
    Ok(if options.check && unformatted { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The files that are named, or every `.meta` file of this folder.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let here = Path::new(".");
    let read = |error| Failure::Read { path: here.to_owned(), error };
    let entries = std::fs::read_dir(here).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    let mut found: Vec<PathBuf> =
        entries.into_iter().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "meta")).collect();
    found.sort();
    Ok(found)
}
