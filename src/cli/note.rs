//! `metadsl tag` and `metadsl note`.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{Note as NoteOptions, Tag as TagOptions};
use super::failure::Failure;
use super::record::now_ms;
use super::replay::existing_ledger;
use crate::hash::Id;
use crate::ledger::{Note, Store};
use crate::query;
use crate::report::text::{json_line, visible};

/// Puts a tag on a run, or takes it off.
pub fn tag(options: &TagOptions) -> Result<ExitCode, Failure> {
    if options.tag.is_empty() || options.tag.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"') {
        return Err(Failure::Usage("a tag is one word, such as `paper`; longer texts are for `metadsl note`".into()));
    }
    let store = existing_ledger(&options.ledger.ledger)?;
    let (_, run) = store.find(&options.run)?;
    let tags = query::read_tags(&store)?.remove(&run).unwrap_or_default();
    let has = tags.contains(&options.tag);
    if options.remove && !has {
        let known: Vec<String> = tags.iter().map(|t| format!("`{}`", visible(t))).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Failure::Usage(format!("run {} has no tag `{}`; its tags: {known}", run.short(), options.tag)));
    }
    // A tag that is there already is not put on again.
    if options.remove || !has {
        write(&store, run, if options.remove { "untag" } else { "tag" }, &options.tag)?;
    }
    let done = if options.remove { "took off" } else { "tagged" };
    answer(options.json, run, "tag", &options.tag, &format!("{done} `{}`: run {}", options.tag, run.short()))
}

/// Writes a note to a run.
pub fn note(options: &NoteOptions) -> Result<ExitCode, Failure> {
    if options.text.trim().is_empty() {
        return Err(Failure::Usage("a note has some text".into()));
    }
    let store = existing_ledger(&options.ledger.ledger)?;
    let (_, run) = store.find(&options.run)?;
    write(&store, run, "note", &options.text)?;
    answer(options.json, run, "note", &options.text, &format!("noted: run {}", run.short()))
}

fn write(store: &Store, about: Id, key: &str, text: &str) -> Result<Id, Failure> {
    Ok(store.annotate(&Note { about, key: key.to_owned(), text: text.to_owned(), at_ms: now_ms() })?)
}

fn answer(as_json: bool, run: Id, key: &str, text: &str, words: &str) -> Result<ExitCode, Failure> {
    let mut out = anstream::stdout();
    if as_json {
        writeln!(out, "{}", json_line(&json!({ "run": run.to_string(), key: text })))?;
    } else {
        writeln!(out, "{}", visible(words))?;
    }
    Ok(ExitCode::SUCCESS)
}
