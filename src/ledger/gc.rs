//! Collecting garbage: what no listed run needs is set aside in `trash/`, and only emptying that deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::{LedgerError, io_error};
use super::frame::Entry;
use super::left_out::LeftOut;
use super::listing::buried;
use super::pack::{self, Objects};
use super::store::Store;
use super::vfs::{self, Lock};
use super::{object, refs};
use crate::hash::{Id, Kind};

/// What is not needed, and what became of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Packs, object files and temporary files that nothing needs, relative to the ledger.
    pub files: Vec<PathBuf>,
    /// Their length in bytes.
    pub bytes: u64,
    /// Whether they were set aside.
    pub moved: bool,
    /// The files in `trash/` that were deleted.
    pub deleted: usize,
}

/// What the packs that stay refer to.
#[derive(Default)]
struct Needs {
    objects: BTreeSet<(Kind, Id)>,
    /// The results among what the packs hold, with what each refers to.
    results: BTreeMap<Id, Vec<(Kind, Id)>>,
    left_out: LeftOut,
}

impl Needs {
    fn add(&mut self, objects: &Objects) {
        for (id, (kind, payload)) in objects {
            // What cannot be read has been reported before, or refers to nothing.
            let refs = refs::references(*kind, payload).unwrap_or_default();
            self.objects.extend(refs.iter().copied());
            self.left_out.add(*id, *kind, payload);
            if *kind == Kind::Result {
                self.results.insert(*id, refs);
            }
        }
    }
}

impl Store {
    /// Finds what no listed run, verdict, note or unfinished run needs; sets it aside where `apply` says so, and deletes
    /// what earlier calls set aside where `empty` does. Refuses while a writer is at work, and where a log is damaged: what the
    /// damage hides may be needed.
    pub fn gc(&self, apply: bool, empty: bool) -> Result<Garbage, LedgerError> {
        let _guard =
            self.place.lock("writers.lock", Lock::Try)?.ok_or_else(|| LedgerError::Busy("the ledger".into()))?;
        let mut garbage = Garbage::default();
        if empty {
            garbage.deleted = self.empty_trash()?;
        }
        garbage.files = self.unneeded()?;
        for file in &garbage.files {
            let path = self.root().join(file);
            if let Some(vfs::Entry::File(length)) = self.place.fs.look(&path).map_err(io_error(&path, "look it up"))? {
                garbage.bytes += length;
            }
        }
        if apply {
            for file in &garbage.files {
                self.place.set_aside(file, "trash")?;
            }
            garbage.moved = true;
        }
        Ok(garbage)
    }

    fn empty_trash(&self) -> Result<usize, LedgerError> {
        let trash = self.root().join("trash");
        let names = self.place.list(&trash)?;
        for name in names.keys() {
            let path = trash.join(name);
            self.place.fs.remove(&path).map_err(io_error(&path, "remove the file"))?;
        }
        Ok(names.len())
    }

    fn unneeded(&self) -> Result<Vec<PathBuf>, LedgerError> {
        if let Some(problem) = self.runs()?.problems.into_iter().next() {
            let (path, what) = (self.root().join(&problem.file), problem.what);
            return Err(LedgerError::Damaged { path, what });
        }
        let frames = self.frames()?;
        let gone = buried(&frames);
        let lives = |entry: &Entry| entry.object().is_none_or(|(_, id)| !gone.contains(&id));
        let roots: BTreeSet<Id> = frames.iter().filter(|l| lives(&l.entry)).filter_map(|l| l.entry.pack()).collect();
        let others: BTreeSet<Id> = frames.iter().filter_map(|listed| listed.entry.pack()).collect();
        let (mut held, mut needs) = (BTreeSet::new(), Needs::default());
        let mut take = |objects: &Objects| {
            held.extend(objects.keys().copied());
            needs.add(objects);
        };
        for name in &roots {
            take(&self.read_pack(*name)?);
        }
        for run in self.unfinished()? {
            let path = self.root().join("active").join(&run.name).join("pack");
            if let Some(bytes) = self.place.read(&path)? {
                take(&pack::read(Id::of_bytes(Kind::Blob, &bytes), &bytes).unwrap_or_default());
            }
        }
        // A verdict may need what lies in the pack of a run that was taken off the listings.
        let mut packs = roots.clone();
        for name in others.difference(&roots) {
            let Ok(objects) = self.read_pack(*name) else { continue };
            if needs.objects.iter().any(|(_, id)| objects.contains_key(id) && !held.contains(id)) {
                packs.insert(*name);
                needs.add(&objects);
            }
        }
        let files = self.needed_files(needs)?;
        let mut found = Vec::new();
        for name in self.names("packs")? {
            if name.parse().is_ok_and(|id| !packs.contains(&id)) {
                found.push(Path::new("packs").join(name));
            }
        }
        for shard in self.names("objects")? {
            let dir = Path::new("objects").join(&shard);
            for name in self.place.list(&self.root().join(&dir))?.into_keys() {
                let name = name.to_string_lossy().into_owned();
                if format!("{shard}{name}").parse().is_ok_and(|id| !files.contains(&id)) {
                    found.push(dir.join(name));
                }
            }
        }
        found.extend(self.names("tmp")?.into_iter().map(|name| Path::new("tmp").join(name)));
        Ok(found)
    }

    /// The object files among what is needed, with all they are made of. Weights that every run leaves out are not needed.
    fn needed_files(&self, needs: Needs) -> Result<BTreeSet<Id>, LedgerError> {
        let Needs { objects: mut open, mut results, left_out } = needs;
        let excused = left_out.excused(|id| match results.remove(&id) {
            Some(refs) => Ok(refs),
            // Large, and so in a file of its own.
            None => Ok(refs::references(Kind::Result, &self.read(Kind::Result, id)?).unwrap_or_default()),
        })?;
        let mut files = BTreeSet::new();
        while let Some((kind, id)) = open.pop_first() {
            if files.contains(&id) || (kind == Kind::Weights && excused.contains(&id)) {
                continue;
            }
            let Some(loose) = object::read_loose(&self.place, id)? else { continue };
            files.insert(id);
            files.extend(loose.chunks.iter().map(|chunk| chunk.blob));
            if refs::has_references(kind) {
                let payload = self.read(kind, id)?;
                open.extend(refs::references(kind, &payload).unwrap_or_default());
            }
        }
        Ok(files)
    }

    fn names(&self, dir: &str) -> Result<Vec<String>, LedgerError> {
        let names = self.place.list(&self.root().join(dir))?;
        Ok(names.into_keys().map(|name| name.to_string_lossy().into_owned()).collect())
    }
}
