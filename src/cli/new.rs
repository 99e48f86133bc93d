//! `metadsl new`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{New, Template};
use super::failure::Failure;

impl Template {
    /// Its text; the name of the experiment is the name of the template.
    fn text(self) -> &'static str {
        match self {
            Template::Maml => include_str!("templates/maml.meta"),
            Template::Fedavg => include_str!("templates/fedavg.meta"),
            Template::Risk => include_str!("templates/risk.meta"),
        }
    }
}

/// Writes an experiment to begin with.
pub fn new(options: &New) -> Result<ExitCode, Failure> {
    let name = &options.name;
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !letters || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Err(Failure::Usage(format!(
            "`{name}` cannot be the name of an experiment: names are made of a-z, A-Z, 0-9 and `_`, and start with no digit"
        )));
    }
    let path = PathBuf::from(format!("{name}.meta"));
    let text = options.template.text();
    let (head, rest) = text.split_once("\nexperiment ").expect("a template has a name");
    let rest = rest.split_once('\n').expect("it goes on behind the name").1;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::Usage(format!("`{}` is there already", path.display())),
        _ => Failure::Save { path: path.clone(), error },
    })?;
    let text = format!("{head}\nexperiment {name}\n{rest}");
    file.write_all(text.as_bytes()).map_err(|error| Failure::Save { path: path.clone(), error })?;
    let mut out = anstream::stdout();
    writeln!(out, "{path} written; run it: metadsl run {path}", path = path.display())?;
    Ok(ExitCode::SUCCESS)
}
