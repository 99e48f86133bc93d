//! `metadsl report`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::args::Report as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::ledger::Store;
use crate::report::{self, Located, Record, text};

/// Shows runs as a page, figures, a table or a checklist.
pub fn report(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let records = chosen(&store, &options.runs)?;
    let mut written: Vec<PathBuf> = Vec::new();
    if let Some(dir) = &options.figures {
        written.extend(write_figures(dir, &records)?);
    }
    if let Some(file) = &options.table {
        write_table(file, &records)?;
        written.push(file.clone());
    }
    let alone = options.figures.is_none() && options.table.is_none() && !options.checklist;
    let page = options.output.clone().or_else(|| alone.then(|| PathBuf::from("report.html")));
    if let Some(file) = page {
        write(&file, &report::page(&records))?;
        written.push(file);
    }
    let mut out = anstream::stdout();
    if options.json {
        let checklists = records.iter().map(|r| json!({ "run": r.id.to_string(), "checklist": checklist_json(r) }));
        let files: Vec<String> = written.iter().map(|p| p.display().to_string()).collect();
        let mut value = json!({ "runs": records.iter().map(|r| r.id.to_string()).collect::<Vec<_>>(), "files": files });
        if options.checklist {
            value["checklists"] = checklists.collect();
        }
        writeln!(out, "{value}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.checklist {
        for record in &records {
            write!(out, "{}", checklist_text(record))?;
        }
    }
    for file in written {
        writeln!(out, "wrote {}", text::visible(&file.display().to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The runs that were named, else the last run of every experiment, in the order in which the experiments came first.
fn chosen(store: &Store, names: &[String]) -> Result<Vec<Record>, Failure> {
    let mut ids = Vec::new();
    if names.is_empty() {
        let runs = store.runs()?.runs;
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, (_, run)) in runs.iter().enumerate() {
            let newest = last.entry(&run.experiment).or_insert(at);
            if run.finished_ms >= runs[*newest].1.finished_ms {
                *newest = at;
            }
        }
        let mut newest: Vec<usize> = last.into_values().collect();
        newest.sort_unstable();
        ids.extend(newest.into_iter().map(|at| runs[at].0));
    }
    for name in names {
        let id = store.resolve(name)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.is_empty() {
        return Err(Failure::Usage("the ledger holds no run to report; `metadsl run FILE.meta` makes one".into()));
    }
    ids.into_iter().map(|id| Ok(Record::read(store, id)?)).collect()
}

fn write(file: &Path, content: &str) -> Result<(), Failure> {
    let failed = |error| Failure::Save { path: file.to_owned(), error };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(file, content).map_err(failed)
}

/// One file per measure: each run's own, and those of several runs together where they share a measure.
fn write_figures(dir: &Path, records: &[Record]) -> Result<Vec<PathBuf>, Failure> {
    let mut figures: Vec<report::Figure> =
        records.iter().flat_map(|r| report::figures(std::slice::from_ref(r))).collect();
    let mut seen = std::collections::BTreeSet::new();
    // Two runs of one experiment are only told apart by being drawn together.
    if records.len() > 1 && !figures.iter().all(|f| seen.insert(f.name.clone())) {
        figures = report::figures(records);
    }
    let mut written = Vec::new();
    for figure in figures.iter().filter(|f| !f.curves.is_empty()) {
        let file = dir.join(format!("{}.svg", figure.name));
        write(&file, &report::svg_file(figure))?;
        written.push(file);
    }
    Ok(written)
}

/// Writes the table between the marks of a file that has them, else as the whole file.
fn write_table(file: &Path, records: &[Record]) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let texts = meta_files(folder);
    let located: Vec<Located> = records
        .iter()
        .map(|record| Located { record, file: record.source.as_ref().and_then(|s| texts.get(s)).map(String::as_str) })
        .collect();
    let table = report::table(&located);
    let old = match std::fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::Read { path: file.to_owned(), error }),
    };
    match old {
        None => write(file, &table),
        Some(text) => match report::splice(&text, &table) {
            Some(new) => write(file, &new),
            None => Err(Failure::Usage(format!(
                "`{}` is there already and has no lines `<!-- results: begin -->` and `<!-- results: end -->` to write between",
                file.display()
            ))),
        },
    }
}

/// The texts of the `.meta` files below a folder, each with its path from there. What cannot be read is nothing to link to.
fn meta_files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }];
    let root = folders[0].clone();
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.is_ok_and(|k| k.is_dir()) {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "meta")
                && let (Ok(text), Ok(within)) = (std::fs::read_to_string(&path), path.strip_prefix(&root))
            {
                found.insert(text, within.display().to_string());
            }
        }
    }
    found
}

fn checklist_text(record: &Record) -> String {
    let mut out = format!("{} {}\n", text::visible(&record.run.experiment), record.id);
    for answer in report::checklist(record) {
        out.push_str(&format!("\n{}\n", answer.question));
        for fact in &answer.facts {
            out.push_str(&format!("  - {}\n", text::visible(fact)));
        }
    }
    out.push('\n');
    out
}

fn checklist_json(record: &Record) -> Json {
    report::checklist(record).into_iter().map(|a| json!({ "question": a.question, "facts": a.facts })).collect()
}
