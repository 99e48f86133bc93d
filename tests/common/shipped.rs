//! The experiments that are shipped.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::{Path, PathBuf};

/// The names that some of them give themselves: one of each kind of task, cut down to seconds by `tests/streams`.
pub const NAMES: [&str; 4] = ["maml_anil", "maml_sine", "fedrep_digits", "tr_maml"];

/// The files of all of them, one folder per paper.
pub fn files() -> Vec<PathBuf> {
    let folders = inside(&Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments"));
    let files = folders.iter().filter(|path| path.is_dir()).flat_map(|folder| inside(folder));
    files.filter(|path| path.extension().is_some_and(|e| e == "meta")).collect()
}

/// The file of the one that calls itself so.
pub fn path(name: &str) -> PathBuf {
    let title = format!("experiment {name}");
    let named = |path: &PathBuf| read(path).lines().any(|line| line == title);
    files().into_iter().find(named).unwrap_or_else(|| panic!("no `{title}`"))
}

/// Its text.
pub fn text(name: &str) -> String {
    read(&path(name))
}

/// Its text without its claims, which speak of steps that a run cut short does not reach.
pub fn unclaimed(name: &str) -> String {
    let text = text(name);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("expect")).collect();
    lines.join("\n") + "\n"
}

/// The content of a file.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a folder holds, in the order of the names.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    paths.sort();
    paths
}
