//! Files of the user that a command changes: what changes, and the change itself, which is made whole or not at all.

use std::io::Write;
use std::path::Path;

use similar::TextDiff;

use super::failure::Failure;

/// What sets two texts apart: the lines that go (`-`) and come (`+`), each place with a line around it.
pub fn difference(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(1).to_string()
}

/// Replaces the content of a file: it holds the old text or the new one, whenever the machine stops.
pub fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::Save { path: path.to_owned(), error };
    // Behind a link, the file that is linked to changes.
    let file = path.canonicalize().map_err(failed)?;
    let folder = file.parent().expect("a file lies in a folder");
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    let permissions = file.metadata().map_err(failed)?.permissions();
    new.as_file().set_permissions(permissions).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(&file).map_err(|e| failed(e.error))?;
    Ok(())
}
