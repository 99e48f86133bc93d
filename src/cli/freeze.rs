//! `metadsl freeze`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::Freeze;
use super::failure::Failure;
use super::import::Project;
use super::load::read_source;
use crate::diag::Sink;
use crate::lang::frozen_hash;
use crate::syntax;

/// Writes the hashes of imported files into `use` lines, or says which are not as they should be.
pub fn freeze(options: &Freeze) -> Result<ExitCode, Failure> {
    let mut work = Freezing { project: Project::of(&options.file), check: options.check, chain: vec![], said: vec![] };
    work.file(&options.file)?;
    let mut out = anstream::stdout();
    for line in &work.said {
        writeln!(out, "{line}")?;
    }
    Ok(if options.check && !work.said.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

struct Freezing {
    project: Project,
    check: bool,
    /// The files whose lines are being frozen.
    chain: Vec<PathBuf>,
    /// What was done, or found.
    said: Vec<String>,
}

impl Freezing {
    /// Freezes the lines of a file, after those of the files that it uses; gives its text.
    fn file(&mut self, file: &Path) -> Result<String, Failure> {
        let id = PathBuf::from(self.project.id(file));
        if self.chain.contains(&id) {
            return Err(Failure::Usage(format!("`{}` uses itself, by way of others", file.display())));
        }
        let mut text = read_source(file)?;
        let mut sink = Sink::new();
        let tree = syntax::parse(&text, &mut sink);
        self.chain.push(id.clone());
        // From the last line, so that the places of those before it stay as they are.
        for line in tree.uses.iter().rev() {
            let refused = |reason| Failure::Usage(format!("`{}` in `{}`: {reason}", line.path, file.display()));
            let source = self.project.read(&id.display().to_string(), &line.path).map_err(refused)?;
            let hash = frozen_hash(&self.file(Path::new(&source.id))?);
            if line.frozen.as_ref().is_some_and(|(frozen, _)| *frozen == hash) {
                continue;
            }
            let end = line.frozen.as_ref().map_or(line.path_span.end, |(_, span)| span.end);
            text.replace_range(line.path_span.end..end, &format!(" b3:{hash}"));
            let done = match (self.check, &line.frozen) {
                (false, _) => "frozen",
                (true, None) => "not frozen",
                (true, Some(_)) => "changed since it was frozen",
            };
            self.said.push(format!("{}: `{}` {done}", file.display(), line.path));
        }
        self.chain.pop();
        if self.check {
            return read_source(file);
        }
        let before = read_source(file)?;
        if before != text {
            std::fs::write(file, &text).map_err(|error| Failure::Save { path: file.to_owned(), error })?;
        }
        Ok(text)
    }
}
