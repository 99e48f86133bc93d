//! Runs that are not finished: a folder under `active/` with what they are made from, a journal of what they
//! measured, and where each cell was last saved. Whether one is alive is told by its lock, which ends with its process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::{LedgerError, io_error};
use super::frame::{self, Chain};
use super::place::{Place, unique};
use super::record::FileHint;
use super::store::Store;
use super::vfs::{Guard, Lock, VfsFile};
use super::{pack, refs};
use crate::hash::{Bytes, Canonical, Id, Kind, cbor, record};

/// Names longer than `run-` and an input's id are of runs that share their input with no other process.
const APART: usize = 4 + 64;
const STATE_KEY: &str = "metadsl 2026 state";

record! {
    /// What an unfinished run is.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct About {
        /// The experiment's name.
        pub experiment: String,
        /// The [`Input`](super::Input).
        pub input: Id,
        /// The text of the `.meta` file.
        pub source: Option<Id>,
        /// Where the data lay.
        pub files: Vec<FileHint>,
        /// When it began, in milliseconds since 1970-01-01 UTC.
        pub started_ms: u64,
        /// The most bytes of final weights that it keeps of a cell; none where it keeps all.
        pub keep_weights: Option<u64> = None,
    }
}

record! {
    /// Something that was measured.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Row {
        /// The cell: arms in the order of the plan, and within an arm the seeds in theirs.
        pub cell: u64,
        /// The measure, by position in the arm.
        pub measure: u64,
        /// After how many steps.
        pub step: u64,
        /// The value: IEEE 754 binary64, little-endian.
        pub bits: Bytes,
    }
}

impl Row {
    /// The value, where the bits are those of one.
    pub fn value(&self) -> Option<f64> {
        self.bits.0.as_slice().try_into().ok().map(f64::from_le_bytes)
    }
}

/// An unfinished run as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The name of its folder, by which `resume` finds it.
    pub name: String,
    /// What it is.
    pub about: About,
    /// Whether a process is at work on it.
    pub alive: bool,
}

/// An unfinished run that this process is at work on.
pub struct Live {
    place: Place,
    /// The folder.
    dir: PathBuf,
    /// The name of the folder.
    name: String,
    /// When the run began.
    started_ms: u64,
    /// The most bytes of weights that it was begun to keep of a cell.
    keep_weights: Option<u64>,
    journal: Mutex<Journal>,
    contradicted: AtomicBool,
    _guard: Option<Box<dyn Guard>>,
}

struct Journal {
    file: Box<dyn VfsFile>,
    chain: Chain,
    /// What an earlier process measured: the cell, measure and step, and the bits.
    before: BTreeMap<(u64, u64, u64), Bytes>,
    /// The first row that came out otherwise than before.
    contradiction: Option<Row>,
    /// The first failure to write.
    failed: Option<LedgerError>,
}

impl Store {
    /// Begins a run, or goes on with one of the same input that was interrupted, once no other process is at work on that
    /// input. `wait` is called before this waits for one. Everything the run is made from must have been put.
    pub fn begin(&self, about: &About, wait: impl FnOnce()) -> Result<Live, LedgerError> {
        let name = format!("run-{}", about.input);
        let lock = format!("{name}.lock");
        let guard = match self.place.lock(&lock, Lock::Try)? {
            Some(guard) => guard,
            None => {
                wait();
                self.place.lock(&lock, Lock::Exclusive)?.ok_or(LedgerError::Busy(name.clone()))?
            }
        };
        self.live(name, about, guard)
    }

    /// Begins a run of its own, whatever else is at work on its input.
    pub fn begin_apart(&self, about: &About) -> Result<Live, LedgerError> {
        let name = format!("run-{}-{}", about.input, unique()?);
        let guard = self.place.lock(&format!("{name}.lock"), Lock::Try)?.ok_or(LedgerError::Busy(name.clone()))?;
        self.live(name, about, guard)
    }

    /// Goes on with an interrupted run. What it is made from can be read from this store then.
    pub fn take_up(&self, name: &str) -> Result<(About, Live), LedgerError> {
        let busy = || LedgerError::Busy(name.to_owned());
        let guard = self.place.lock(&format!("{name}.lock"), Lock::Try)?.ok_or_else(busy)?;
        let about = self.look_at(name)?;
        let live = self.live(name.to_owned(), &about, guard)?;
        Ok((about, live))
    }

    /// Reads what an unfinished run is made from, whoever is at work on it: it can be read from this store then.
    pub fn look_at(&self, name: &str) -> Result<About, LedgerError> {
        let dir = self.root().join("active").join(name);
        let about = read_about(&self.place, &dir)?.ok_or(LedgerError::NotUnfinished(name.to_owned()))?;
        let path = dir.join("pack");
        let damaged = |what| LedgerError::Damaged { path: path.clone(), what };
        let bytes = self.place.read(&path)?.ok_or_else(|| LedgerError::MissingPack(path.clone()))?;
        let objects = pack::read(Id::of_bytes(Kind::Blob, &bytes), &bytes).map_err(damaged)?;
        self.memory().staged.extend(objects);
        Ok(about)
    }

    /// The runs that are not finished, by name.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, LedgerError> {
        let active = self.root().join("active");
        let mut found = Vec::new();
        for name in self.place.list(&active)?.into_keys().filter_map(|name| name.into_string().ok()) {
            // A folder that cannot be read is no run that could go on.
            let Ok(Some(about)) = read_about(&self.place, &active.join(&name)) else { continue };
            let alive = self.place.lock(&format!("{name}.lock"), Lock::Try)?.is_none();
            found.push(Unfinished { name, about, alive });
        }
        Ok(found)
    }

    /// What an unfinished run has measured so far, in the order in which it did.
    pub fn rows(&self, name: &str) -> Result<Vec<Row>, LedgerError> {
        let path = self.root().join("active").join(name).join("journal");
        let bytes = self.place.read(&path)?.unwrap_or_default();
        let frames = frame::scan(&bytes).frames;
        Ok(frames.iter().filter_map(|frame| refs::read(&frame.payload).ok()).collect())
    }

    fn live(&self, name: String, about: &About, guard: Box<dyn Guard>) -> Result<Live, LedgerError> {
        // As long as the run is at work, `gc` keeps away.
        self.begin_writing()?;
        let dir = self.root().join("active").join(&name);
        let place = self.place.clone();
        let known = read_about(&place, &dir).ok().flatten().filter(|known| known.input == about.input);
        if !place.is_dir(&dir)? {
            place.fs.make_dir(&dir).map_err(io_error(&dir, "make the directory"))?;
        }
        if known.is_none() {
            clear(&place, &dir)?;
            let staged = self.memory().staged.clone();
            let (_, packed) = pack::build(&staged);
            replace(&place, &dir.join("pack"), &packed)?;
            replace(&place, &dir.join("about"), &cbor::encode(&about.to_value()))?;
        }
        let path = dir.join("journal");
        let bytes = place.read(&path)?.unwrap_or_default();
        let scan = frame::scan(&bytes);
        let whole = scan.torn.unwrap_or(bytes.len());
        let mut file = place.fs.open_append(&path).map_err(io_error(&path, "open the journal"))?;
        if whole < bytes.len() {
            file.cut(whole as u64).map_err(io_error(&path, "cut the unfinished row off the journal"))?;
        }
        let chain = match frame::chain_before(&bytes, whole) {
            Some(chain) => *chain,
            None => {
                let chain = frame::origin(&name);
                file.append(&chain).map_err(io_error(&path, "write the journal"))?;
                chain
            }
        };
        let rows = scan.frames.iter().filter_map(|frame| refs::read::<Row>(&frame.payload).ok());
        let before = rows.map(|row| ((row.cell, row.measure, row.step), row.bits)).collect();
        let journal = Mutex::new(Journal { file, chain, before, contradiction: None, failed: None });
        let About { started_ms, keep_weights, .. } = known.unwrap_or_else(|| about.clone());
        let contradicted = AtomicBool::new(false);
        Ok(Live { place, dir, name, started_ms, keep_weights, journal, contradicted, _guard: Some(guard) })
    }
}

impl Live {
    /// The name by which `resume` finds the run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the run began, by the first process that was at work on it.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// The most bytes of final weights that the first process at work on it was to keep of a cell; none for all.
    pub fn keep_weights(&self) -> Option<u64> {
        self.keep_weights
    }

    /// Whether an earlier process has left something to go on from.
    pub fn is_resumed(&self) -> bool {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        !journal.before.is_empty()
    }

    /// Writes a row down with one write, unless an earlier process did; compares it with what that one measured. A
    /// failure ends no run: it is told at the end.
    pub fn row(&self, row: Row) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        match journal.before.get(&(row.cell, row.measure, row.step)) {
            Some(bits) if *bits == row.bits => return,
            Some(_) => {
                journal.contradiction.get_or_insert(row);
                self.contradicted.store(true, Ordering::Relaxed);
                return;
            }
            None => {}
        }
        let bytes = frame::frame(&journal.chain, &cbor::encode(&row.to_value()));
        match journal.file.append(&bytes) {
            Ok(()) => {
                let chain = frame::chain_before(&bytes, bytes.len()).expect("a frame ends with its chain");
                journal.chain = *chain;
            }
            Err(e) => {
                let path = self.dir.join("journal");
                journal.failed.get_or_insert_with(|| io_error(&path, "write the journal")(e));
            }
        }
    }

    /// Keeps the state of a cell; that before it is replaced. A failure ends no run: it is told at the end.
    pub fn save<T: Canonical>(&self, cell: u64, state: &T) {
        let payload = cbor::encode(&state.to_value());
        let check = blake3::derive_key(STATE_KEY, &payload);
        let path = self.dir.join(format!("cell-{cell}"));
        if let Err(e) = replace(&self.place, &path, &[&payload[..], &check].concat()) {
            self.journal.lock().unwrap_or_else(PoisonError::into_inner).failed.get_or_insert(e);
        }
    }

    /// The state of a cell, where it was saved and can be read.
    pub fn saved<T: Canonical>(&self, cell: u64) -> Option<T> {
        let bytes = self.place.read(&self.dir.join(format!("cell-{cell}"))).ok()??;
        let (payload, check) = bytes.split_last_chunk::<32>()?;
        // What a power failure has torn is not gone on from.
        (blake3::derive_key(STATE_KEY, payload) == *check).then(|| refs::read(payload).ok())?
    }

    /// Ends a run that is sealed, or whose result is worth nothing: its folder is removed. Gives why the journal was not
    /// whole, if it was not.
    pub fn close(self) -> Result<Option<LedgerError>, LedgerError> {
        let journal = self.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(journal.file);
        clear(&self.place, &self.dir)?;
        self.place.fs.remove_dir(&self.dir).map_err(io_error(&self.dir, "remove the directory"))?;
        // The lock of an input stays, since others may wait for it; nobody waits for a run of its own.
        if self.name.len() > APART {
            let lock = self.place.root.join("active").join(format!("{}.lock", self.name));
            self.place.fs.remove(&lock).map_err(io_error(&lock, "remove the lock"))?;
        }
        Ok(journal.failed)
    }

    /// Whether something came out otherwise than in an interrupted process; cheap to ask at every step.
    pub fn contradicted(&self) -> bool {
        self.contradicted.load(Ordering::Relaxed)
    }

    /// A row that an interrupted process had measured otherwise, so far.
    pub fn contradiction(&self) -> Option<Row> {
        if !self.contradicted() {
            return None;
        }
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).contradiction.clone()
    }
}

fn read_about(place: &Place, dir: &Path) -> Result<Option<About>, LedgerError> {
    let path = dir.join("about");
    let Some(bytes) = place.read(&path)? else { return Ok(None) };
    refs::read(&bytes).map(Some).map_err(|error| LedgerError::Malformed { path, error })
}

/// Removes the files of a folder, `about` first: without it the rest is no run.
fn clear(place: &Place, dir: &Path) -> Result<(), LedgerError> {
    let about = dir.join("about");
    if place.is_file(&about)? {
        place.fs.remove(&about).map_err(io_error(&about, "remove the file"))?;
    }
    for name in place.list(dir)?.into_keys() {
        let path = dir.join(name);
        place.fs.remove(&path).map_err(io_error(&path, "remove the file"))?;
    }
    Ok(())
}

/// Replaces a file of an unfinished run: whole or not at all where the process dies, and not at all to be relied on
/// after a power failure, which costs steps and no result.
fn replace(place: &Place, path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let (tmp, mut file) = place.temporary()?;
    let written = file.append(bytes).map_err(io_error(&tmp, "write the file"));
    drop(file);
    written.and_then(|()| place.publish(&tmp, path)).inspect_err(|_| {
        let _ = place.fs.remove(&tmp);
    })
}
