//! Keeping the index up to date with the log, and reading tags.

use std::collections::BTreeSet;

use super::evaluate::Tags;
use super::fields::{imported_summary, summary};
use super::index::Index;
use crate::hash::{Id, Kind};
use crate::ledger::{LedgerError, ListedIds, Note, Problem, Store};
use crate::report::{ImportedRecord, Record};

/// The name of the index file.
const NAME: &str = "runs";

/// What a ledger holds, as queries see it.
#[derive(Debug)]
pub struct Seen {
    /// The fields of every run that can be read, in the order of the log.
    pub index: Index,
    /// The tags that runs have now.
    pub tags: Tags,
    /// Damaged stretches of logs.
    pub problems: Vec<Problem>,
    /// Runs that cannot be read, with the reason.
    pub unread: Vec<(Id, LedgerError)>,
}

/// Reads the index, takes in the runs it lacks, and writes it back where that added any.
pub fn refresh(store: &Store) -> Result<Seen, LedgerError> {
    let mut problems = Vec::new();
    let ListedIds { runs, imports, notes } = store.ids(&mut problems)?;
    // An index that cannot be read is as good as none.
    let stored = store.read_index(NAME).ok().flatten();
    let mut index = stored.and_then(|bytes| Index::from_bytes(&bytes)).unwrap_or_default();
    let known = index.runs();
    let mut unread = Vec::new();
    let mut grown = false;
    let fields = runs.iter().map(|id| (id, false)).chain(imports.iter().map(|id| (id, true)));
    for (&id, is_imported) in fields.filter(|(id, _)| !known.contains(id)) {
        let fields = if is_imported {
            ImportedRecord::read(store, id).map(|record| imported_summary(&record))
        } else {
            Record::alone(store, id).map(|record| summary(&record))
        };
        match fields {
            Ok(fields) => {
                index.push(id, fields);
                grown = true;
            }
            Err(error) => unread.push((id, error)),
        }
    }
    if grown {
        // A ledger that cannot be written to can still be asked; the next question takes longer, that is all.
        let _ = store.write_index(NAME, &index.to_bytes());
    }
    index.arrange(&[runs, imports].concat());
    let notes = notes.into_iter().map(|id| store.get(Kind::Note, id)).collect::<Result<_, _>>()?;
    Ok(Seen { index, tags: tags_of(notes), problems, unread })
}

/// The tags that runs have now.
pub fn read_tags(store: &Store) -> Result<Tags, LedgerError> {
    Ok(tags_of(store.notes()?.into_iter().map(|(_, note)| note).collect()))
}

/// The last word on each tag counts.
fn tags_of(mut notes: Vec<Note>) -> Tags {
    // Clones of a ledger write logs of their own; time is what orders their words.
    notes.sort_by_key(|note| note.at_ms);
    let mut tags = Tags::new();
    for note in notes {
        let of_run: &mut BTreeSet<String> = tags.entry(note.about).or_default();
        match note.key.as_str() {
            "tag" => {
                of_run.insert(note.text);
            }
            "untag" => {
                of_run.remove(&note.text);
            }
            _ => {}
        }
    }
    tags
}
