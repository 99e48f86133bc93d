//! Sealing: everything that an object needs goes into one pack, and one frame of the log commits it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::LedgerError;
use super::frame::Entry;
use super::outcome::Outcome;
use super::pack::{self, Objects};
use super::record::{Imported, Note, Run};
use super::store::Store;
use super::stream::Appender;
use super::verdict::Comparison;
use super::vfs::Lock;
use super::{left_out, object, refs};
use crate::hash::{Bytes, Id, Kind};

/// A run that is durable and listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The run's id, the hash that people are given.
    pub run: Id,
    /// Bytes of a frame that some earlier writer did not live to finish, now cut off the log; almost always 0.
    pub cut: u64,
}

/// Everything that an object refers to, itself included.
#[derive(Default)]
struct Closure {
    /// What goes into the pack.
    small: Objects,
    /// What lies in files of its own, chunks included.
    files: BTreeSet<Id>,
}

impl Store {
    /// Writes a run and lists it in the log, which is what commits it: when this returns, the run and all it refers to
    /// survive a power failure; when it fails, the run is not promised to be listed. Everything the run refers to must
    /// have been put before, but for the weights that it leaves out.
    pub fn seal(&self, run: &Run) -> Result<Sealed, LedgerError> {
        self.seal_with(run, true)
    }

    /// The same for a run whose cells no later run may take.
    pub fn seal_apart(&self, run: &Run) -> Result<Sealed, LedgerError> {
        self.seal_with(run, false)
    }

    fn seal_with(&self, run: &Run, offered: bool) -> Result<Sealed, LedgerError> {
        let outcome: Outcome = self.get(Kind::Result, run.result)?;
        if outcome.input != run.input {
            return Err(LedgerError::InputMismatch { result: run.result, found: outcome.input, wanted: run.input });
        }
        let stranger = run.left_out.iter().find(|id| outcome.cells.iter().all(|cell| cell.weights != **id));
        if let Some(&left_out) = stranger {
            return Err(LedgerError::NotItsWeights { left_out, result: run.result });
        }
        let id = self.put(Kind::Run, run)?;
        let cells =
            outcome.cells.iter().filter(|_| offered).flat_map(|cell| cell.key.as_bytes()[..8].to_vec()).collect();
        let entry = |pack| Entry::Run { id, pack, input: run.input, cells: Bytes(cells) };
        let cut = self.commit(Kind::Run, id, |_| true, entry)?;
        Ok(Sealed { run: id, cut })
    }

    /// Writes the outcome of a replay and lists it. Both results must have been put before, or be in the ledger.
    pub fn put_verdict(&self, comparison: &Comparison) -> Result<Id, LedgerError> {
        let id = self.put(Kind::Verdict, comparison)?;
        // What an earlier run was sealed with need not be stored again.
        let is_new = |id| self.memory().staged.contains_key(&id);
        self.commit(Kind::Verdict, id, is_new, |pack| Entry::Verdict { id, pack })?;
        Ok(id)
    }

    /// Writes a note and lists it.
    pub fn annotate(&self, note: &Note) -> Result<Id, LedgerError> {
        let id = self.put(Kind::Note, note)?;
        self.commit(Kind::Note, id, |found| found == id, |pack| Entry::Note { id, pack })?;
        Ok(id)
    }

    /// Writes a run of another program and lists it. Its series must have been put before.
    pub fn import(&self, imported: &Imported) -> Result<Id, LedgerError> {
        let id = self.put(Kind::Imported, imported)?;
        self.commit(Kind::Imported, id, |_| true, |pack| Entry::Import { id, pack })?;
        Ok(id)
    }

    /// Takes a run off all listings. What it alone needs is set aside by the next `gc`.
    pub fn bury(&self, run: Id) -> Result<(), LedgerError> {
        let _writing = self.place.lock("writers.lock", Lock::Shared)?;
        Appender::lock(&self.place, self.stream()?, self.segment_frames)?.append(&Entry::Tombstone { id: run })?;
        Ok(())
    }

    fn commit(
        &self,
        kind: Kind,
        id: Id,
        takes: impl Fn(Id) -> bool,
        entry: impl FnOnce(Id) -> Entry,
    ) -> Result<u64, LedgerError> {
        self.begin_writing()?;
        let closure = self.closure(kind, id, takes)?;
        let (pack, bytes) = pack::build(&closure.small);
        let path = pack::path(self.root(), pack);
        // A pack of that name is there where another writer was faster or died before its frame; the bytes are the same.
        self.place.write(&path, &[&bytes])?;
        let mut dirs = BTreeSet::from([self.root().join("packs")]);
        dirs.extend(self.unsynced(&closure.files));
        dirs.iter().try_for_each(|dir| self.place.sync_dir(dir))?;
        let cut = Appender::lock(&self.place, self.stream()?, self.segment_frames)?.append(&entry(pack))?;
        self.unstage(pack, &closure.small, &closure.files);
        Ok(cut)
    }

    /// The directories of object files that this store has not seen synced.
    fn unsynced(&self, files: &BTreeSet<Id>) -> BTreeSet<PathBuf> {
        let memory = self.memory();
        let new: Vec<&Id> = files.iter().filter(|id| !memory.durable.contains(id)).collect();
        new.into_iter().flat_map(|id| self.root().join(object::file(*id)).parent().map(ToOwned::to_owned)).collect()
    }

    /// Everything that an object refers to and does not leave out; all of it is there, of data what the ledger holds.
    /// `takes` says which of the small ones go into the pack.
    fn closure(&self, kind: Kind, id: Id, takes: impl Fn(Id) -> bool) -> Result<Closure, LedgerError> {
        let (mut closure, mut open) = (Closure::default(), vec![(kind, id)]);
        let mut seen: BTreeSet<Id> = left_out::of(kind, &self.read(kind, id)?).into_iter().collect();
        while let Some((kind, id)) = open.pop() {
            if !seen.insert(id) || (kind == Kind::Blob && !self.is_near(id)?) {
                continue;
            }
            if let Some(loose) = self.loose(id)? {
                closure.files.insert(id);
                closure.files.extend(loose.chunks.iter().map(|chunk| chunk.blob));
                if loose.kind != kind {
                    self.read(kind, id)?;
                }
                // Of what is large, only plans and results refer to others, and those are read below.
                if !refs::has_references(kind) {
                    continue;
                }
            }
            let taken = takes(id);
            let payload = if taken { self.read(kind, id)? } else { self.read_again(kind, id)? };
            let path = object::file(id);
            open.extend(refs::references(kind, &payload).map_err(|error| LedgerError::Malformed { path, error })?);
            if !closure.files.contains(&id) && taken {
                closure.small.insert(id, (kind, Arc::clone(&payload)));
            }
        }
        Ok(closure)
    }

    /// The object file of that id, unless the object is at hand in memory.
    fn loose(&self, id: Id) -> Result<Option<object::Loose>, LedgerError> {
        let at_hand = self.memory().staged.contains_key(&id);
        if at_hand { Ok(None) } else { object::read_loose(&self.place, id) }
    }
}
