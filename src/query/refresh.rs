//! Keeping the index up to date with the log, and reading tags.

use std::collections::BTreeSet;

use super::evaluate::Tags;
use super::fields::summary;
use super::index::Index;
use crate::hash::Id;
use crate::ledger::{LedgerError, Problem, Store};
use crate::report::Record;

/// The name of the index file.
const NAME: &str = "runs";

/// What a ledger holds, as queries see it.
#[derive(Debug)]
pub struct Seen {
    /// The fields of every run that can be read, in the order of the log.
    pub index: Index,
    /// Damaged stretches of logs.
    pub problems: Vec<Problem>,
    /// Runs that cannot be read, with the reason.
    pub unread: Vec<(Id, LedgerError)>,
}

/// Reads the index, takes in the runs it lacks, and writes it back where that added any.
pub fn refresh(store: &Store) -> Result<Seen, LedgerError> {
    let mut problems = Vec::new();
    let listed = store.run_ids_and(&mut problems)?;
    // An index that cannot be read is as good as none.
    let stored = store.read_index(NAME).ok().flatten();
    let mut index = stored.and_then(|bytes| Index::from_bytes(&bytes)).unwrap_or_default();
    let known = index.runs();
    let mut unread = Vec::new();
    let mut grown = false;
    for &id in listed.iter().filter(|id| !known.contains(id)) {
        match Record::alone(store, id) {
            Ok(record) => {
                index.push(id, summary(&record));
                grown = true;
            }
            Err(error) => unread.push((id, error)),
        }
    }
    if grown {
        // A ledger that cannot be written to can still be asked; the next question takes longer, that is all.
        let _ = store.write_index(NAME, &index.to_bytes());
    }
    index.arrange(&listed);
    Ok(Seen { index, problems, unread })
}

/// The tags that runs have now: the last word on each counts.
pub fn read_tags(store: &Store) -> Result<Tags, LedgerError> {
    let mut notes = store.notes()?;
    // Clones of a ledger write logs of their own; time is what orders their words.
    notes.sort_by_key(|(_, note)| note.at_ms);
    let mut tags = Tags::new();
    for (_, note) in notes {
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
    Ok(tags)
}
