//! The store: objects by id, wherever they lie.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::error::{LedgerError, io_error};
use super::pack::{self, Object, Objects};
use super::place::{DIRS, Place};
use super::vfs::{Disk, Guard, Lock, Vfs};
use super::{frame, listing, object, refs, stream};
use crate::hash::{Canonical, Id, Kind, cbor};

/// The one line of a `FORMAT` file.
pub(super) const FORMAT: &str = "metadsl ledger 2";
/// What is held of packs that were read, in bytes of payload.
const CACHE: usize = 64 << 20;

/// A directory that keeps runs. Any number of stores, threads and processes may work on one ledger at a time.
#[derive(Debug)]
pub struct Store {
    pub(super) place: Place,
    stream: OnceLock<String>,
    pub(super) segment_frames: usize,
    pub(super) memory: Mutex<Memory>,
}

/// What a store holds in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Objects that were put and are in no pack yet.
    pub staged: Objects,
    staged_bytes: usize,
    /// Keeps `gc` away from what was written and is not listed yet.
    pub writing: Option<Box<dyn Guard>>,
    /// The large objects that were written and that nothing sealed refers to yet.
    unsealed: BTreeSet<Id>,
    /// Object files whose names this store has seen synced.
    pub durable: BTreeSet<Id>,
    /// Objects of packs that were read, with the pack.
    known: BTreeMap<Id, (Id, Object)>,
    known_bytes: usize,
    /// The packs that `known` is made of.
    packs: BTreeSet<Id>,
    /// The pack of every object that a log was seen to list. Packs never change, so this is never wrong.
    pub places: BTreeMap<Id, Id>,
}

impl Memory {
    /// Holds the objects of a pack for the next reader.
    fn keep(&mut self, pack: Id, objects: &Objects) {
        let bytes: usize = objects.values().map(|(_, payload)| payload.len()).sum();
        if self.known_bytes + bytes > CACHE {
            self.forget();
        }
        self.known.extend(objects.iter().map(|(id, object)| (*id, (pack, object.clone()))));
        self.packs.insert(pack);
        self.known_bytes += bytes;
    }

    /// Forgets what packs were read.
    fn forget(&mut self) {
        self.known.clear();
        self.packs.clear();
        self.known_bytes = 0;
    }
}

/// The ledger to use: `explicit` where given; else the nearest `ledger/` with a `FORMAT` file in `start` or above it;
/// else `start/ledger`, which may not exist yet. `start` is an absolute path.
pub fn discover(start: &Path, explicit: Option<&Path>) -> PathBuf {
    if let Some(path) = explicit {
        return path.to_owned();
    }
    let candidates = start.ancestors().map(|dir| dir.join("ledger"));
    candidates.into_iter().find(|dir| dir.join("FORMAT").is_file()).unwrap_or_else(|| start.join("ledger"))
}

impl Store {
    /// Opens a ledger; writes nothing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, LedgerError> {
        Store::open_on(Arc::new(Disk), root)
    }

    /// Opens a ledger on some file system.
    pub fn open_on(fs: Arc<dyn Vfs>, root: impl Into<PathBuf>) -> Result<Store, LedgerError> {
        let place = Place { fs, root: root.into() };
        let (stream, segment_frames) = (OnceLock::new(), stream::SEGMENT);
        let store = Store { place, stream, segment_frames, memory: Mutex::default() };
        store.check_format()?;
        Ok(store)
    }

    /// Opens a ledger, making it (and the directories above it) where there is none.
    pub fn open_or_create(root: impl Into<PathBuf>) -> Result<Store, LedgerError> {
        let root = root.into();
        if let Some(parent) = root.parent() {
            std::fs::create_dir_all(parent).map_err(io_error(parent, "make the directory"))?;
        }
        Store::create_on(Arc::new(Disk), &root)
    }

    /// Opens a ledger on some file system, making it where there is none; the directory above it is there.
    pub fn create_on(fs: Arc<dyn Vfs>, root: impl Into<PathBuf>) -> Result<Store, LedgerError> {
        let place = Place { fs, root: root.into() };
        let format = place.root.join("FORMAT");
        if !place.is_file(&format)? {
            // FORMAT is written before anything else, so a ledger in the making by another process is no wreck.
            for dir in DIRS.into_iter().filter(|&dir| dir != "tmp") {
                if place.is_dir(&place.root.join(dir))? && !place.is_file(&format)? {
                    return Err(LedgerError::FormatLost(place.root));
                }
            }
            place.make_dir(&place.root)?;
            place.write(&format, &[FORMAT.as_bytes(), b"\n"])?;
            let above = place.root.parent().filter(|p| !p.as_os_str().is_empty());
            let synced = [Some(place.root.as_path()), above].into_iter().flatten().try_for_each(|d| place.sync_dir(d));
            synced.inspect_err(|_| {
                // A name that may not be durable must not be taken for one that is.
                let _ = place.fs.remove(&format);
            })?;
        }
        Store::open_on(place.fs, place.root)
    }

    /// The same ledger, written to under another log stream than that of this clone.
    pub fn with_stream(mut self, name: &str) -> Result<Store, LedgerError> {
        if !frame::is_stream_name(name) {
            return Err(LedgerError::StreamName(name.to_owned()));
        }
        self.stream = OnceLock::from(name.to_owned());
        Ok(self)
    }

    /// The same ledger with log segments of that many frames, at least 1.
    pub fn with_segments_of(mut self, frames: usize) -> Store {
        self.segment_frames = frames.max(1);
        self
    }

    /// The ledger's directory.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The log stream that this store writes.
    pub fn stream(&self) -> Result<&str, LedgerError> {
        if let Some(name) = self.stream.get() {
            return Ok(name);
        }
        let name = stream::of_this_clone(&self.place)?;
        Ok(self.stream.get_or_init(|| name))
    }

    pub(super) fn check_format(&self) -> Result<(), LedgerError> {
        let path = self.root().join("FORMAT");
        let bytes = self.place.read(&path)?.ok_or_else(|| LedgerError::NotALedger(self.root().to_owned()))?;
        if bytes != format!("{FORMAT}\n").as_bytes() {
            let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
            let found = String::from_utf8_lossy(&line[..line.len().min(80)]).escape_debug().to_string();
            return Err(LedgerError::Format { path, found, wanted: FORMAT.to_owned() });
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an object in and gives its id. A small one is held in memory until something that refers to it is sealed;
    /// a large one is written to a file of its own, where what is there already is compared and left alone.
    pub fn put<T: Canonical>(&self, kind: Kind, object: &T) -> Result<Id, LedgerError> {
        let value = object.to_value();
        if value.depth() > cbor::MAX_DEPTH {
            return Err(LedgerError::TooDeep { kind, limit: cbor::MAX_DEPTH });
        }
        self.put_bytes(kind, cbor::encode(&value))
    }

    /// Takes raw bytes in; their id is what `b3sum` prints for them.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Id, LedgerError> {
        self.put_bytes(Kind::Blob, bytes.to_vec())
    }

    /// Stores raw bytes of any length in constant memory; their id is what `b3sum` prints for them.
    pub fn put_stream(&self, bytes: impl Read) -> Result<Id, LedgerError> {
        self.put_file(Kind::Blob, bytes)
    }

    fn put_bytes(&self, kind: Kind, payload: Vec<u8>) -> Result<Id, LedgerError> {
        let mut memory = self.memory();
        // Half of what a pack may have: the rest is for what is taken from other packs.
        let room =
            memory.staged_bytes + payload.len() <= pack::MAX_BODY / 2 && memory.staged.len() < pack::MAX_OBJECTS / 2;
        if room && payload.len() <= pack::MAX_OBJECT {
            let id = Id::of_bytes(kind, &payload);
            memory.staged_bytes += payload.len();
            memory.staged.insert(id, (kind, Arc::new(payload)));
            return Ok(id);
        }
        drop(memory);
        self.put_file(kind, &payload[..])
    }

    fn put_file(&self, kind: Kind, payload: impl Read) -> Result<Id, LedgerError> {
        self.begin_writing()?;
        let id = object::write(&self.place, kind, payload)?;
        self.memory().unsealed.insert(id);
        Ok(id)
    }

    /// Holds `gc` off until all that was written is sealed, or until this store ends.
    pub(super) fn begin_writing(&self) -> Result<(), LedgerError> {
        let mut memory = self.memory();
        if memory.writing.is_none() {
            memory.writing = self.place.lock("writers.lock", Lock::Shared)?;
        }
        Ok(())
    }

    /// Whether the object is in memory, in a file of its own or in a pack. A file's contents are checked when it is read.
    pub fn has(&self, id: Id) -> Result<bool, LedgerError> {
        Ok(self.is_near(id)? || self.in_packs(None, id).is_ok_and(|found| found.is_some()))
    }

    /// Whether the object is in memory or in a file of its own.
    pub(super) fn is_near(&self, id: Id) -> Result<bool, LedgerError> {
        let memory = self.memory();
        if memory.staged.contains_key(&id) || memory.known.contains_key(&id) {
            return Ok(true);
        }
        drop(memory);
        let path = self.root().join(object::file(id));
        self.place.check_parents(&path)?;
        self.place.is_file(&path)
    }

    /// The object of that kind and id; its bytes are hashed before they are trusted.
    pub fn get<T: Canonical>(&self, kind: Kind, id: Id) -> Result<T, LedgerError> {
        let payload = self.read(kind, id)?;
        refs::read(&payload).map_err(|error| LedgerError::Malformed { path: object::file(id), error })
    }

    /// The raw bytes of that id.
    pub fn get_blob(&self, id: Id) -> Result<Vec<u8>, LedgerError> {
        self.read(Kind::Blob, id).map(|bytes| bytes.to_vec())
    }

    /// Writes the raw bytes of that id out in constant memory. They are hashed on the way: where this fails, what was
    /// written must not be used.
    pub fn copy_blob(&self, id: Id, out: &mut impl Write) -> Result<(), LedgerError> {
        if object::copy(&self.place, id, out)?.is_some() {
            return Ok(());
        }
        let bytes = self.read(Kind::Blob, id)?;
        out.write_all(&bytes).map_err(io_error(&object::file(id), "copy the object"))
    }

    /// The payload of an object.
    pub(super) fn read(&self, kind: Kind, id: Id) -> Result<Arc<Vec<u8>>, LedgerError> {
        let missing = || LedgerError::Missing { kind, id, path: self.root().join(object::file(id)) };
        let wrong_kind = |found: Kind| LedgerError::Damaged {
            path: self.root().join(object::file(id)),
            what: format!("it is a {} object where a {} is wanted", found.name(), kind.name()),
        };
        let memory = self.memory();
        let near = memory.staged.get(&id).or_else(|| memory.known.get(&id).map(|(_, object)| object)).cloned();
        drop(memory);
        let (found, payload) = match near {
            Some(found) => found,
            None => match self.read_file(id)? {
                Some(found) => found,
                None => self.in_packs(Some(kind), id)?.ok_or_else(missing)?,
            },
        };
        if found == kind { Ok(payload) } else { Err(wrong_kind(found)) }
    }

    /// The payload of an object that is to stay in the pack it is in: what was read before may have been collected since.
    pub(super) fn read_again(&self, kind: Kind, id: Id) -> Result<Arc<Vec<u8>>, LedgerError> {
        let pack = self.memory().known.get(&id).map(|(pack, _)| *pack);
        if let Some(pack) = pack
            && !self.place.is_file(&pack::path(self.root(), pack))?
        {
            self.memory().forget();
        }
        self.read(kind, id)
    }

    fn read_file(&self, id: Id) -> Result<Option<Object>, LedgerError> {
        let mut payload = Vec::new();
        let kind = object::copy(&self.place, id, &mut payload)?;
        Ok(kind.map(|kind| (kind, Arc::new(payload))))
    }

    /// Looks for an object in the packs that the logs name: in that which lists it, else newest first.
    fn in_packs(&self, kind: Option<Kind>, id: Id) -> Result<Option<Object>, LedgerError> {
        let seen = self.memory().places.get(&id).copied();
        if let Some(objects) = seen.and_then(|pack| self.open_pack(pack).ok()) {
            return Ok(objects.get(&id).cloned());
        }
        let listed = self.frames()?;
        let its_own = |entry: &&super::Listed| entry.entry.object().is_some_and(|(k, i)| i == id && Some(k) == kind);
        let own = listed.iter().find(its_own).and_then(|listed| listed.entry.pack());
        if let Some(pack) = own {
            return Ok(self.open_pack(pack)?.get(&id).cloned());
        }
        let gone = listing::buried(&listed);
        let mut first_error = None;
        let mut seen = self.memory().packs.clone();
        for entry in listed.iter().rev().map(|listed| &listed.entry) {
            let Some(pack) = entry.pack().filter(|pack| seen.insert(*pack)) else { continue };
            match self.open_pack(pack) {
                Ok(objects) => {
                    if let Some(found) = objects.get(&id) {
                        return Ok(Some(found.clone()));
                    }
                }
                // What a buried run needed may have been collected.
                Err(LedgerError::MissingPack(_)) if entry.object().is_some_and(|(_, id)| gone.contains(&id)) => {}
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        first_error.map_or(Ok(None), Err)
    }

    /// The objects of a pack, checked; they are held for the next reader.
    pub(super) fn open_pack(&self, name: Id) -> Result<Objects, LedgerError> {
        let objects = self.read_pack(name)?;
        self.memory().keep(name, &objects);
        Ok(objects)
    }

    /// The objects of a pack, read anew and checked.
    pub(super) fn read_pack(&self, name: Id) -> Result<Objects, LedgerError> {
        let path = pack::path(self.root(), name);
        let bytes = self.place.read(&path)?.ok_or_else(|| LedgerError::MissingPack(path.clone()))?;
        pack::read(name, &bytes).map_err(|what| LedgerError::Damaged { path, what })
    }

    /// Forgets what was put and has been packed under that name, and files that what is in it refers to.
    pub(super) fn unstage(&self, pack: Id, packed: &Objects, files: &BTreeSet<Id>) {
        let mut memory = self.memory();
        memory.staged.retain(|id, _| !packed.contains_key(id));
        memory.staged_bytes = memory.staged.values().map(|(_, payload)| payload.len()).sum();
        memory.keep(pack, packed);
        memory.durable.extend(files);
        memory.unsealed.retain(|id| !files.contains(id));
        if memory.unsealed.is_empty() {
            memory.writing = None;
        }
    }

    /// A file in the ledger's `index/`, where what is derived from the rest lies; none where it is not there.
    pub fn read_index(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.place.read(&self.root().join("index").join(name))
    }

    /// Replaces a file in `index/`; it may be lost at any time.
    pub fn write_index(&self, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.root().join("index").join(name);
        self.place.make_dir(path.parent().unwrap_or(self.root()))?;
        let (tmp, mut file) = self.place.temporary()?;
        file.append(bytes).map_err(io_error(&tmp, "write the index"))?;
        drop(file);
        self.place.publish(&tmp, &path)
    }
}
