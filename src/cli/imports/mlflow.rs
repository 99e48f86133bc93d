//! MLflow's file store: a folder for each experiment, one in it for each run, and in that a file for each parameter and metric.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Foreign, Found, whole};
use crate::cli::failure::Failure;

/// Reads MLflow's folder `mlruns`, or its sqlite file.
pub(super) fn read(path: &Path) -> Result<Found, Failure> {
    if path.is_dir() {
        return read_folder(path);
    }
    #[cfg(feature = "sqlite")]
    return super::mlflow_sqlite::read(path);
    #[cfg(not(feature = "sqlite"))]
    Err(Failure::Usage(format!(
        "`{}` is no folder, and this build does not read sqlite: build it with `cargo build --release --features sqlite`",
        path.display()
    )))
}

fn read_folder(root: &Path) -> Result<Found, Failure> {
    let mut found = Found::default();
    for experiment in folders(root)? {
        let Some(meta) = read_meta(&experiment)? else { continue };
        for folder in folders(&experiment)? {
            let Some(run) = read_meta(&folder)? else { continue };
            if run.get("lifecycle_stage").is_some_and(|stage| stage == "deleted") {
                continue;
            }
            let name = |meta: &BTreeMap<String, String>, key: &str| meta.get(key).cloned().unwrap_or_default();
            let moment = |key: &str| run.get(key).and_then(|ms| whole(ms)).unwrap_or(0);
            let mut foreign = Foreign {
                name: run.get("run_id").or_else(|| run.get("run_uuid")).cloned().unwrap_or_default(),
                experiment: name(&meta, "name"),
                status: status(&name(&run, "status")),
                started_ms: moment("start_time"),
                finished_ms: moment("end_time"),
                ..Foreign::default()
            };
            for (setting, file) in files(&folder.join("params"))? {
                let value = fs::read(&file).map_err(|error| Failure::Read { path: file, error })?;
                foreign.settings.insert(setting, String::from_utf8_lossy(&value).trim_end_matches('\n').to_owned());
            }
            for (measure, file) in files(&folder.join("metrics"))? {
                let text = fs::read(&file).map_err(|error| Failure::Read { path: file.clone(), error })?;
                let points = foreign.series.entry(measure).or_default();
                for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
                    match point(line) {
                        Some(point) => points.push(point),
                        // One torn line makes nothing else unreadable.
                        None => found.skipped.push(format!(
                            "{}, line {}: `{line}` is not `timestamp value step`; skipped",
                            file.display(),
                            number + 1
                        )),
                    }
                }
            }
            found.runs.push(foreign);
        }
    }
    if found.runs.is_empty() {
        return Err(Failure::Usage(format!(
            "`{}` has no runs of MLflow: a folder `mlruns` is wanted, with a `meta.yaml` in each experiment and run",
            root.display()
        )));
    }
    Ok(found)
}

/// `ok`, or MLflow's word for another end; its file store writes numbers.
pub(super) fn status(word: &str) -> String {
    match word {
        "3" | "FINISHED" => "ok".to_owned(),
        "1" => "running".to_owned(),
        "2" => "scheduled".to_owned(),
        "4" => "failed".to_owned(),
        "5" => "killed".to_owned(),
        other => other.to_lowercase(),
    }
}

/// Step and value of a line `timestamp value step`.
fn point(line: &str) -> Option<(u64, f64)> {
    let [_, value, step] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    Some((whole(step)?, value.parse().ok()?))
}

/// The folders in a folder, sorted; hidden ones are MLflow's trash.
fn folders(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    Ok(entries(dir)?
        .into_iter()
        .filter(|(name, path)| !name.starts_with('.') && path.is_dir())
        .map(|(_, p)| p)
        .collect())
}

/// The plain files below a folder by name: `/` in a name made folders.
fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let (mut found, mut open) = (BTreeMap::new(), vec![(String::new(), dir.to_owned())]);
    while let Some((prefix, dir)) = open.pop() {
        for (name, path) in entries(&dir)? {
            let kind = fs::symlink_metadata(&path).map_err(|error| Failure::Read { path: path.clone(), error })?;
            if kind.is_dir() {
                open.push((format!("{prefix}{name}/"), path));
            } else if kind.is_file() {
                found.insert(format!("{prefix}{name}"), path);
            }
        }
    }
    Ok(found)
}

/// The entries of a folder by name; none where it is missing.
fn entries(dir: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    if !dir.is_dir() {
        return Ok(BTreeMap::new());
    }
    let read = |error| Failure::Read { path: dir.to_owned(), error };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
    }
    Ok(found)
}

/// The fields of a folder's `meta.yaml`, which MLflow writes as one `key: value` a line; none where there is no such file.
fn read_meta(dir: &Path) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let path = dir.join("meta.yaml");
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(|error| Failure::Read { path, error })?;
    let field = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), scalar(value.trim())));
    Ok(Some(String::from_utf8_lossy(&text).lines().filter_map(field).collect()))
}

/// A scalar of YAML without its quotes.
fn scalar(text: &str) -> String {
    let within = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match (within('\''), within('"')) {
        (Some(inner), _) => inner.replace("''", "'"),
        (_, Some(inner)) => serde_json::from_str(text).unwrap_or_else(|_| inner.to_owned()),
        _ => text.to_owned(),
    }
}
