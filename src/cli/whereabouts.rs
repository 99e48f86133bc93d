//! Where data files lie: what a run notes of it, and where a later command looks for those that the ledger does not keep.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::choices::DataChoice;
use super::failure::Failure;
use super::read::read_path;
use crate::data::FileBytes;
use crate::hash::Id;
use crate::ledger::{FileHint, Manifest, Store};

/// The folder that a ledger lies in: places of data files are noted from there, so that they hold in whatever folder a
/// command runs, and go along when a project moves.
fn home(store: &Store) -> PathBuf {
    let root = real(store.root());
    root.parent().map_or(root.clone(), Path::to_owned)
}

/// The path without links and detours, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    std::fs::canonicalize(path).unwrap_or_else(|_| absolute())
}

/// Where a file lies, as a run of this ledger notes it: from the folder that the ledger lies in, or absolute where the two have
/// nothing in common.
pub fn noted(store: &Store, file: &Path) -> String {
    from(&home(store), &real(file)).display().to_string()
}

/// The way from a folder to a file; both are absolute, without links and detours.
fn from(folder: &Path, file: &Path) -> PathBuf {
    let shared = folder.components().zip(file.components()).take_while(|(a, b)| a == b).map(|(a, _)| a);
    let (shared, named) = (shared.clone().count(), shared.filter(|c| matches!(c, Component::Normal(_))).count());
    if named == 0 {
        return file.to_owned();
    }
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

/// The contents of the data files, by name: from where `--data` says that they lie, from the ledger, or from where they lay.
/// Each is the very file of the run, or the reason says why not.
pub fn contents(
    store: &Store,
    manifest: &Manifest,
    hints: &[FileHint],
    given: &DataChoice,
) -> Result<BTreeMap<String, FileBytes>, String> {
    let mut contents = BTreeMap::new();
    for file in &manifest.files {
        let read = |path: &Path| -> Result<FileBytes, String> {
            let bytes = read_path(path).map_err(|error| format!("cannot be read at `{}`: {error}", path.display()))?;
            match Id::of_file(&bytes) == file.blob {
                true => Ok(bytes),
                false => Err(format!("is another one now at `{}`", path.display())),
            }
        };
        let name = &file.name;
        let bytes = match given.data.iter().find(|place| place.name == *name) {
            Some(place) => read(&place.path).map_err(|reason| format!("data `{name}` of this run {reason}"))?,
            None => store.get_blob(file.blob).map(FileBytes::from).or_else(|_| {
                let hint = hints.iter().find(|hint| hint.name == *name).map(|hint| Path::new(&hint.path));
                let hint = hint.ok_or_else(|| format!("data `{name}` is not in the ledger; {}", advice(name)))?;
                // A run may have come here from a ledger that lay in another folder, or from another project with the same files.
                let elsewhere = ends(hint).map(|end| home(store).join(end)).chain([hint.to_owned()]);
                let found = read(&home(store).join(hint))
                    .or_else(|reason| elsewhere.into_iter().find_map(|place| read(&place).ok()).ok_or(reason));
                found.map_err(|reason| format!("data `{name}` is not in the ledger, and {reason}; {}", advice(name)))
            })?,
        };
        contents.insert(name.clone(), bytes);
    }
    Ok(contents)
}

/// A path without its first part, without the first two, and so on.
fn ends(path: &Path) -> impl Iterator<Item = &Path> {
    let mut parts = path.components();
    std::iter::from_fn(move || {
        parts.next()?;
        Some(parts.as_path()).filter(|end| !end.as_os_str().is_empty())
    })
}

fn advice(name: &str) -> String {
    format!("where it lies now, `--data {name}=PATH` tells")
}

/// Refuses a `--data` for data that a run does not have.
pub fn check_given(given: &DataChoice, manifest: &Manifest) -> Result<(), Failure> {
    let has = |name: &str| manifest.files.iter().any(|file| file.name == name);
    let Some(unknown) = given.data.iter().find(|place| !has(&place.name)) else { return Ok(()) };
    let names: Vec<String> = manifest.files.iter().map(|file| format!("`{}`", file.name)).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(Failure::Usage(format!("the run has no data `{}`; it has {names}", unknown.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_a_folder_and_a_file() {
        let way = |folder: &str, file: &str| from(Path::new(folder), Path::new(file)).display().to_string();
        assert_eq!(way("/home/a/project", "/home/a/project/data/x.csv"), "data/x.csv");
        assert_eq!(way("/home/a/project/deep", "/home/a/data/x.csv"), "../../data/x.csv");
        assert_eq!(way("/home/a", "/data/x.csv"), "/data/x.csv");
    }

    #[test]
    fn ends_of_a_path() {
        let ends = |path| ends(Path::new(path)).map(|end| end.display().to_string()).collect::<Vec<_>>();
        assert_eq!(ends("project/data/x.csv"), ["data/x.csv", "x.csv"]);
        assert_eq!(ends("../data/x.csv"), ["data/x.csv", "x.csv"]);
        assert_eq!(ends("/data/x.csv"), ["data/x.csv", "x.csv"]);
        assert!(ends("x.csv").is_empty());
    }
}
