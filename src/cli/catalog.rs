//! `metadsl catalog`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::args::Catalog;
use super::failure::Failure;
use crate::catalog::{Entry, page};
use crate::diag::closest;

/// Prints the vocabulary, or what one name means wherever it can stand.
pub fn catalog(options: &Catalog) -> Result<ExitCode, Failure> {
    let found: Vec<&Entry> =
        page::entries().filter(|e| options.name.as_ref().is_none_or(|name| e.name == name)).collect();
    if let (Some(name), true) = (&options.name, found.is_empty()) {
        let near = closest(name, page::entries().map(|e| e.name));
        let help = near.map_or("`metadsl catalog` lists all names".into(), |near| format!("did you mean `{near}`?"));
        return Err(Failure::Usage(format!("the catalog has no `{name}`; {help}")));
    }
    let mut out = anstream::stdout();
    if options.markdown {
        write!(out, "{}", page::markdown())?;
    } else if options.json {
        writeln!(out, "{}", Value::from_iter(found.into_iter().map(page::to_json)))?;
    } else if options.name.is_some() {
        let texts: Vec<String> = found.into_iter().map(page::describe).collect();
        write!(out, "{}", texts.join("\n"))?;
    } else {
        write!(out, "{}", page::list())?;
    }
    Ok(ExitCode::SUCCESS)
}
