//! The files that `use` lines name: within the project of the experiment, and nowhere else.

use std::path::{Path, PathBuf};

use super::load::read_source;
use crate::lang::Source;

/// The folder that imports cannot leave: the nearest one upward that holds a ledger or a git repository, else the folder of
/// the experiment.
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The project of an experiment.
    pub fn of(file: &Path) -> Project {
        let file = real(file);
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        let marked = |folder: &&Path| folder.join("ledger").join("FORMAT").exists() || folder.join(".git").exists();
        let root = folder.ancestors().find(marked).map(Path::to_owned);
        Project { root: root.unwrap_or(folder) }
    }

    /// What tells a file apart from others: its path without links and detours.
    pub fn id(&self, file: &Path) -> String {
        real(file).display().to_string()
    }

    /// The file that a `use` line of the file `from` (an id) names, or why there is none.
    pub fn read(&self, from: &str, path: &str) -> Result<Source, String> {
        if Path::new(path).is_absolute() {
            return Err("it is an absolute path, which holds on one machine alone".to_owned());
        }
        let folder = Path::new(from).parent().unwrap_or(Path::new("."));
        let file = std::fs::canonicalize(folder.join(path)).map_err(|error| error.to_string())?;
        let Ok(name) = file.strip_prefix(&self.root) else {
            return Err(format!("it lies outside of the project, `{}`", self.root.display()));
        };
        let text = read_source(&file).map_err(|failure| failure.to_string())?;
        Ok(Source { id: self.id(&file), name: name.display().to_string(), text })
    }
}

/// The path without links and detours, as far as it exists.
fn real(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}
