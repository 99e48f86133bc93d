//! The store: objects by id, runs by log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::{LedgerError, io_error};
use super::log::{Appender, Entry, Scan};
use super::outcome::Outcome;
use super::record::Run;
use super::verdict::Comparison;
use super::verify::{Fault, Problem};
use super::{log, object, refs};
use crate::hash::{Canonical, Id, Kind, cbor};

/// The one line of a `FORMAT` file.
const FORMAT: &str = "metadsl ledger 1";

/// A directory that keeps runs. Any number of stores, threads and processes may work on one ledger at a time.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    stream: String,
    /// Objects whose names this store has seen synced.
    durable: Mutex<BTreeSet<Id>>,
}

/// A run that is durable and listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The run's id, the hash that people are given.
    pub run: Id,
    /// Bytes of a frame that some earlier writer did not live to finish, now cut off the log; almost always 0.
    pub cut: u64,
}

/// The runs of a ledger that can be read, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each run once, streams in the order of their names, runs in the order of the log.
    pub runs: Vec<(Id, Run)>,
    /// Damaged stretches of logs and runs that cannot be read.
    pub problems: Vec<Problem>,
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
        let store = Store { root: root.into(), stream: "main".to_owned(), durable: Mutex::default() };
        store.check_format()?;
        Ok(store)
    }

    /// Opens a ledger, making it (and the directories above it) where there is none.
    pub fn open_or_create(root: impl Into<PathBuf>) -> Result<Store, LedgerError> {
        let root = root.into();
        // FORMAT is written before anything else, so a ledger in the making by another process is no wreck.
        let used = object::is_plain_dir(&root.join("objects"))? || object::is_plain_dir(&root.join("log"))?;
        if !object::is_plain_file(&root.join("FORMAT"))? {
            if used {
                return Err(LedgerError::FormatLost(root));
            }
            fs::create_dir_all(&root).map_err(io_error(&root, "make the ledger"))?;
            let tmp = root.join("tmp");
            object::make_dir(&tmp)?;
            object::write_new(&tmp, &root.join("FORMAT"), &[FORMAT.as_bytes(), b"\n"])?;
            object::make_dir(&root.join("objects"))?;
            object::make_dir(&root.join("log"))?;
            object::sync_dir(&root)?;
            if let Some(parent) = root.parent().filter(|p| !p.as_os_str().is_empty()) {
                object::sync_dir(parent)?;
            }
        }
        Store::open(root)
    }

    /// The same ledger, written to under another log stream. Clones that write to streams of their own can be united
    /// by copying files.
    pub fn with_stream(self, name: &str) -> Result<Store, LedgerError> {
        if !log::is_stream_name(name) {
            return Err(LedgerError::StreamName(name.to_owned()));
        }
        Ok(Store { stream: name.to_owned(), ..self })
    }

    /// The ledger's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn check_format(&self) -> Result<(), LedgerError> {
        let path = self.root.join("FORMAT");
        let bytes = object::read_plain(&path)?.ok_or_else(|| LedgerError::NotALedger(self.root.clone()))?;
        if bytes != format!("{FORMAT}\n").as_bytes() {
            let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
            let found = String::from_utf8_lossy(&line[..line.len().min(80)]).escape_debug().to_string();
            return Err(LedgerError::Format { path, found, wanted: FORMAT.to_owned() });
        }
        Ok(())
    }

    /// Stores an object and gives its id. What is there already is compared and left alone. The object survives a power
    /// failure once something that refers to it has been sealed.
    pub fn put<T: Canonical>(&self, kind: Kind, object: &T) -> Result<Id, LedgerError> {
        let value = object.to_value();
        if value.depth() > cbor::MAX_DEPTH {
            return Err(LedgerError::TooDeep { kind, limit: cbor::MAX_DEPTH });
        }
        self.put_bytes(kind, &cbor::encode(&value))
    }

    /// Stores raw bytes; their id is what `b3sum` prints for them.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Id, LedgerError> {
        self.put_bytes(Kind::Blob, bytes)
    }

    fn put_bytes(&self, kind: Kind, payload: &[u8]) -> Result<Id, LedgerError> {
        let id = Id::of_bytes(kind, payload);
        let path = object::path(&self.root, id);
        if self.has(id)? {
            return self.read(kind, id).map(|_| id);
        }
        object::make_dir(&self.root.join("objects"))?;
        object::make_dir(path.parent().unwrap_or(&self.root))?;
        let tmp = self.root.join("tmp");
        object::make_dir(&tmp)?;
        if !object::write_new(&tmp, &path, &[object::header(kind).as_bytes(), payload])? {
            // Another writer was faster; its bytes must be the same.
            self.read(kind, id)?;
        }
        Ok(id)
    }

    /// Whether a file for this object is there. Its contents are checked when it is read.
    pub fn has(&self, id: Id) -> Result<bool, LedgerError> {
        let path = object::path(&self.root, id);
        for dir in path.ancestors().skip(1).take(2) {
            object::is_plain_dir(dir)?;
        }
        object::is_plain_file(&path)
    }

    /// The object of that kind and id; its bytes are hashed before they are trusted.
    pub fn get<T: Canonical>(&self, kind: Kind, id: Id) -> Result<T, LedgerError> {
        let payload = self.read(kind, id)?;
        refs::read(&payload).map_err(|error| LedgerError::Malformed { path: object::path(&self.root, id), error })
    }

    /// The raw bytes of that id.
    pub fn get_blob(&self, id: Id) -> Result<Vec<u8>, LedgerError> {
        self.read(Kind::Blob, id)
    }

    fn read(&self, kind: Kind, id: Id) -> Result<Vec<u8>, LedgerError> {
        let path = object::path(&self.root, id);
        let missing = || LedgerError::Missing { kind, id, path: path.clone() };
        if !self.has(id)? {
            return Err(missing());
        }
        let mut bytes = object::read_plain(&path)?.ok_or_else(missing)?;
        let damaged = |what| LedgerError::Damaged { path: path.clone(), what };
        let (found, payload) = object::check(id, &bytes).map_err(damaged)?;
        if found != kind {
            return Err(damaged(format!("it is a {} object where a {} is wanted", found.name(), kind.name())));
        }
        let start = bytes.len() - payload.len();
        bytes.drain(..start);
        Ok(bytes)
    }

    /// Writes a run and then lists it in the log, which is what commits it: when this returns, the run and all it
    /// refers to survive a power failure; when it does not return, the run is not listed. Everything the run refers to
    /// must have been put before.
    pub fn seal(&self, run: &Run) -> Result<Sealed, LedgerError> {
        let outcome: Outcome = self.get(Kind::Result, run.result)?;
        if outcome.input != run.input {
            return Err(LedgerError::InputMismatch { result: run.result, found: outcome.input, wanted: run.input });
        }
        let closure = self.closure(refs::of_run(run))?;
        // The lock is held while the run object appears, so a verifier that waits for it sees no unlisted run.
        let mut log = Appender::lock(&self.root, &self.stream)?;
        let id = self.put(Kind::Run, run)?;
        self.make_durable(closure.into_iter().chain([id]))?;
        let cut = log.append(Entry::Run { id })?;
        Ok(Sealed { run: id, cut })
    }

    /// Writes the outcome of a replay and lists it. Both results must have been put before.
    pub fn put_verdict(&self, comparison: &Comparison) -> Result<Id, LedgerError> {
        let closure = self.closure(vec![(Kind::Result, comparison.old), (Kind::Result, comparison.new)])?;
        let mut log = Appender::lock(&self.root, &self.stream)?;
        let id = self.put(Kind::Verdict, comparison)?;
        self.make_durable(closure.into_iter().chain([id]))?;
        log.append(Entry::Verdict { id })?;
        Ok(id)
    }

    /// Everything that these objects refer to, themselves included; all of it is there, of data what the ledger holds.
    fn closure(&self, roots: Vec<(Kind, Id)>) -> Result<BTreeSet<Id>, LedgerError> {
        let (mut found, mut open) = (BTreeSet::new(), roots);
        while let Some((kind, id)) = open.pop() {
            if found.contains(&id) || (kind == Kind::Blob && !self.has(id)?) {
                continue;
            }
            found.insert(id);
            if refs::has_references(kind) {
                let payload = self.read(kind, id)?;
                let path = object::path(&self.root, id);
                open.extend(refs::references(kind, &payload).map_err(|error| LedgerError::Malformed { path, error })?);
            } else if !self.has(id)? {
                return Err(LedgerError::Missing { kind, id, path: object::path(&self.root, id) });
            }
        }
        Ok(found)
    }

    /// Syncs the directories that name these objects, each directory once; their contents were synced when written.
    fn make_durable(&self, ids: impl Iterator<Item = Id>) -> Result<(), LedgerError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let new: BTreeSet<Id> = ids.filter(|id| !durable.contains(id)).collect();
        let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
        for &id in &new {
            dirs.extend(object::path(&self.root, id).parent().map(Path::to_owned));
        }
        if !dirs.is_empty() {
            dirs.insert(self.root.join("objects"));
        }
        dirs.iter().try_for_each(|dir| object::sync_dir(dir))?;
        durable.extend(new);
        Ok(())
    }

    /// All runs, in the order in which they were sealed. A damaged run or frame hides no other.
    pub fn runs(&self) -> Result<Listing, LedgerError> {
        let mut listing = Listing::default();
        for id in self.listed(Kind::Run, &mut listing.problems)? {
            match self.get(Kind::Run, id) {
                Ok(run) => listing.runs.push((id, run)),
                Err(e) => listing.problems.push(Problem {
                    file: object::path(Path::new(""), id),
                    fault: if matches!(e, LedgerError::Missing { .. }) { Fault::Missing } else { Fault::Object },
                    what: e.to_string(),
                    runs: vec![id],
                }),
            }
        }
        Ok(listing)
    }

    /// The outcomes of replays, in the order in which they were recorded.
    pub fn verdicts(&self) -> Result<Vec<(Id, Comparison)>, LedgerError> {
        let ids = self.listed(Kind::Verdict, &mut Vec::new())?;
        ids.into_iter().map(|id| Ok((id, self.get(Kind::Verdict, id)?))).collect()
    }

    /// The one run whose id begins with `prefix`, of 6 or more hexadecimal digits.
    pub fn resolve(&self, prefix: &str) -> Result<Id, LedgerError> {
        let digits = prefix.to_ascii_lowercase();
        if !(6..=64).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(LedgerError::Prefix(prefix.to_owned()));
        }
        let mut candidates = self.listed(Kind::Run, &mut Vec::new())?;
        candidates.retain(|id| id.to_string().starts_with(&digits));
        match candidates[..] {
            [id] => Ok(id),
            [] => Err(LedgerError::UnknownRun { prefix: prefix.to_owned(), ledger: self.root.clone() }),
            _ => Err(LedgerError::AmbiguousRun { prefix: prefix.to_owned(), candidates }),
        }
    }

    /// The ids of one kind that the logs list, each once.
    fn listed(&self, kind: Kind, problems: &mut Vec<Problem>) -> Result<Vec<Id>, LedgerError> {
        let (mut seen, mut ids) = (BTreeSet::new(), Vec::new());
        for stream in self.streams()? {
            let Some(bytes) = object::read_plain(&log::path(&self.root, &stream))? else { continue };
            // An unfinished frame is not reported: a writer may be at work on it just now.
            let scan = log::scan(&stream, &bytes);
            problems.extend(self.damage(&stream, &scan));
            let listed = scan.entries.iter().map(|entry| entry.object());
            ids.extend(listed.filter(|&(k, id)| k == kind && seen.insert(id)).map(|(_, id)| id));
        }
        Ok(ids)
    }

    /// The damage of a log stream as problems.
    pub(super) fn damage(&self, stream: &str, scan: &Scan) -> Vec<Problem> {
        let problem = |d: &log::Damage| Problem {
            file: log::path(Path::new(""), stream),
            fault: Fault::Log,
            what: format!("byte {}: {}", d.at, d.what),
            // The id itself may be what was damaged; then it names nothing that is stored.
            runs: d.entry.and_then(Entry::run).into_iter().filter(|&id| self.has(id).unwrap_or(false)).collect(),
        };
        scan.damage.iter().map(problem).collect()
    }

    /// The names of the log streams, sorted.
    pub(super) fn streams(&self) -> Result<Vec<String>, LedgerError> {
        let dir = self.root.join("log");
        let names = names(&dir)?;
        Ok(names
            .into_keys()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| log::is_stream_name(name))
            .collect())
    }
}

/// The entries of a directory, sorted by name, with whether each is itself a directory; none where it is missing.
pub(super) fn names(dir: &Path) -> Result<BTreeMap<std::ffi::OsString, bool>, LedgerError> {
    if !object::is_plain_dir(dir)? {
        return Ok(BTreeMap::new());
    }
    let read = || -> io::Result<_> {
        fs::read_dir(dir)?.map(|entry| entry.and_then(|e| Ok((e.file_name(), e.file_type()?.is_dir())))).collect()
    };
    read().map_err(io_error(dir, "list the directory"))
}
