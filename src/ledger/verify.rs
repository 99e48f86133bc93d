//! Verifying a ledger: every byte of every object and log is checked, and no problem hides another.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::{LedgerError, io_error};
use super::store::{self, Store};
use super::{log, object, refs};
use crate::hash::{Id, Kind};

/// The kinds of problem; the exit code of `metadsl verify` is the sum of the bits of those that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Bit 1: an object's bytes are not those that were written.
    Object,
    /// Bit 2: an object that something refers to is missing.
    Missing,
    /// Bit 4: an intact object is not what its kind, or what refers to it, says.
    Malformed,
    /// Bit 8: a log is damaged.
    Log,
    /// Bit 16: a log ends with an unfinished frame; the next run cuts it off.
    TornTail,
    /// Bit 32: a run or verdict is stored that no log lists: the log was cut, or its writer died before the end.
    Unlisted,
    /// Bit 64: something cannot be read, or does not belong there.
    Stray,
}

impl Fault {
    /// The bit of the exit code.
    pub fn bit(self) -> u8 {
        match self {
            Fault::Object => 1,
            Fault::Missing => 2,
            Fault::Malformed => 4,
            Fault::Log => 8,
            Fault::TornTail => 16,
            Fault::Unlisted => 32,
            Fault::Stray => 64,
        }
    }
}

/// One thing that is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the ledger.
    pub file: PathBuf,
    /// What kind of problem it is.
    pub fault: Fault,
    /// What is wrong.
    pub what: String,
    /// The runs it touches, in the order of their ids.
    pub runs: Vec<Id>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)?;
        if !self.runs.is_empty() {
            let runs: Vec<String> = self.runs.iter().map(Id::short).collect();
            write!(f, " (runs {})", runs.join(", "))?;
        }
        Ok(())
    }
}

/// What was checked and what was found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// The object files read.
    pub objects: usize,
    /// The sound log frames read.
    pub frames: usize,
    /// The runs the logs list.
    pub runs: usize,
    /// What is wrong, by file.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// The sum of the bits of the faults found, 0 for a sound ledger; see [`Fault`].
    pub fn exit_code(&self) -> u8 {
        self.problems.iter().fold(0, |code, problem| code | problem.fault.bit())
    }
}

impl Store {
    /// Hashes and decodes every object, follows every reference, checks every frame of every log. Goes on past every
    /// problem. Other writers may work on.
    pub fn verify(&self) -> VerifyReport {
        let mut check =
            Check { store: self, report: VerifyReport::default(), nodes: BTreeMap::new(), found: Vec::new() };
        check.attempt("FORMAT", None, Store::check_format);
        check.objects();
        // Objects first: a run that is sealed meanwhile is then listed, and what it refers to is looked up below.
        let listed = check.logs();
        check.references(&listed);
        check.finish(&listed)
    }
}

/// What is known of an object.
enum Node {
    /// Its bytes are sound; these are its kind and references.
    Sound(Kind, Vec<(Kind, Id)>),
    /// It is there and a problem has been noted.
    Bad,
    /// It is not there.
    Missing,
}

struct Check<'a> {
    store: &'a Store,
    report: VerifyReport,
    nodes: BTreeMap<Id, Node>,
    /// Problems with the object they are about, until the runs are known.
    found: Vec<(Option<Id>, Problem)>,
}

impl Check<'_> {
    fn note(&mut self, file: impl Into<PathBuf>, fault: Fault, what: impl Into<String>, about: Option<Id>) {
        let problem = Problem { file: file.into(), fault, what: what.into(), runs: Vec::new() };
        self.found.push((about, problem));
    }

    /// The result of a step, or a note of why it failed.
    fn attempt<T>(
        &mut self,
        file: impl Into<PathBuf>,
        about: Option<Id>,
        step: impl FnOnce(&Store) -> Result<T, LedgerError>,
    ) -> Option<T> {
        match step(self.store) {
            Ok(value) => Some(value),
            Err(e) => {
                self.note(file, Fault::Stray, e.to_string(), about);
                None
            }
        }
    }

    fn objects(&mut self) {
        let top = Path::new("objects");
        let Some(shards) = self.attempt(top, None, |s| store::names(&s.root().join(top))) else { return };
        for (shard, is_dir) in shards {
            let dir = top.join(&shard);
            if !is_dir || !is_hex(&shard, 2) {
                self.note(dir, Fault::Stray, "no object directory has this name", None);
                continue;
            }
            let Some(files) = self.attempt(&dir, None, |s| store::names(&s.root().join(&dir))) else { continue };
            for name in files.into_keys() {
                let id = format!("{}{}", shard.display(), name.display());
                match id.parse() {
                    Ok(id) => self.object(id),
                    Err(_) => self.note(dir.join(name), Fault::Stray, "no object has this name", None),
                }
            }
        }
    }

    /// Checks one object file and keeps what it refers to.
    fn object(&mut self, id: Id) {
        let file = object::path(Path::new(""), id);
        let read = self.attempt(&file, Some(id), |s| object::read_plain(&s.root().join(&file)));
        let node = match read {
            None => Node::Bad,
            Some(None) => Node::Missing,
            Some(Some(bytes)) => {
                self.report.objects += 1;
                let checked = object::check(id, &bytes).map_err(|what| (Fault::Object, what));
                let refs = checked.and_then(|(kind, payload)| match refs::references(kind, payload) {
                    Ok(refs) => Ok(Node::Sound(kind, refs)),
                    Err(e) => Err((Fault::Malformed, format!("the {} object cannot be read: {e}", kind.name()))),
                });
                refs.unwrap_or_else(|(fault, what)| {
                    self.note(file, fault, what, Some(id));
                    Node::Bad
                })
            }
        };
        self.nodes.insert(id, node);
    }

    /// Checks the logs; gives what they list, in order.
    fn logs(&mut self) -> Vec<(Kind, Id)> {
        let mut listed = Vec::new();
        let dir = Path::new("log");
        for name in self.attempt(dir, None, |s| store::names(&s.root().join(dir))).unwrap_or_default().into_keys() {
            let file = dir.join(&name);
            let Some(stream) = name.to_str().filter(|name| log::is_stream_name(name)) else {
                self.note(file, Fault::Stray, "no log stream has this name", None);
                continue;
            };
            let Some(Some(bytes)) = self.attempt(&file, None, |s| read_log(&s.root().join(&file))) else { continue };
            let scan = log::scan(stream, &bytes);
            self.found.extend(self.store.damage(stream, &scan).into_iter().map(|problem| (None, problem)));
            if let Some(at) = scan.torn {
                let what = format!("byte {at}: the last frame was never finished; the next run cuts it off");
                self.note(file, Fault::TornTail, what, None);
            }
            self.report.frames += scan.entries.len();
            listed.extend(scan.entries.iter().map(|entry| entry.object()));
        }
        listed
    }

    /// Follows every reference, those of objects that no run needs included.
    fn references(&mut self, listed: &[(Kind, Id)]) {
        let mut open = listed.to_vec();
        for node in self.nodes.values() {
            if let Node::Sound(_, refs) = node {
                open.extend(refs);
            }
        }
        let mut done = BTreeSet::new();
        while let Some((wanted, id)) = open.pop() {
            if !done.insert((wanted, id)) {
                continue;
            }
            if !self.nodes.contains_key(&id) {
                self.object(id);
            }
            let file = object::path(Path::new(""), id);
            match &self.nodes[&id] {
                // Data need not be kept.
                Node::Missing if wanted == Kind::Blob => {}
                Node::Missing => {
                    let what = format!("the {} object is referred to and missing", wanted.name());
                    self.note(file, Fault::Missing, what, Some(id));
                }
                Node::Sound(kind, _) if *kind != wanted => {
                    let what = format!("the {} object is referred to as a {}", kind.name(), wanted.name());
                    self.note(file, Fault::Malformed, what, Some(id));
                }
                Node::Sound(_, refs) => open.extend(refs),
                Node::Bad => {}
            }
        }
    }

    /// Finds the runs that each problem touches, and the runs that no log lists.
    fn finish(mut self, listed: &[(Kind, Id)]) -> VerifyReport {
        let listed: BTreeSet<(Kind, Id)> = listed.iter().copied().collect();
        let mut mismatched = Vec::new();
        let mut unlisted = Vec::new();
        for (&id, node) in &self.nodes {
            let Node::Sound(kind @ (Kind::Run | Kind::Verdict), refs) = node else { continue };
            if !listed.contains(&(*kind, id)) {
                unlisted.push((*kind, id));
            }
            if *kind == Kind::Run && !self.answers_its_input(refs) {
                mismatched.push(id);
            }
        }
        for (kind, id) in unlisted {
            let what = format!("no log lists this {}: the log was cut, or the writer died before the end", kind.name());
            self.note(object::path(Path::new(""), id), Fault::Unlisted, what, Some(id));
        }
        for id in mismatched {
            let what = "the run's result belongs to another input";
            self.note(object::path(Path::new(""), id), Fault::Malformed, what, Some(id));
        }
        let touched = self.touched(&listed);
        for (about, mut problem) in self.found {
            problem.runs.extend(about.and_then(|id| touched.get(&id)).into_iter().flatten());
            self.report.problems.push(problem);
        }
        self.report.problems.sort_by(|a, b| (&a.file, a.fault, &a.what).cmp(&(&b.file, b.fault, &b.what)));
        self.report.runs = listed.iter().filter(|(kind, _)| *kind == Kind::Run).count();
        self.report
    }

    /// Whether a run's result names the run's own input; true where that cannot be seen.
    fn answers_its_input(&self, refs: &[(Kind, Id)]) -> bool {
        let find = |refs: &[(Kind, Id)], kind| refs.iter().find(|(k, _)| *k == kind).map(|(_, id)| *id);
        let result = find(refs, Kind::Result).and_then(|id| self.nodes.get(&id));
        match result {
            Some(Node::Sound(Kind::Result, inner)) => find(inner, Kind::Input) == find(refs, Kind::Input),
            _ => true,
        }
    }

    /// The runs, listed or not, that need each object.
    fn touched(&self, listed: &BTreeSet<(Kind, Id)>) -> BTreeMap<Id, BTreeSet<Id>> {
        let stored = self.nodes.iter().filter(|(_, node)| matches!(node, Node::Sound(Kind::Run, _))).map(|(id, _)| *id);
        let named = listed.iter().filter(|(kind, _)| *kind == Kind::Run).map(|(_, id)| *id);
        let runs: BTreeSet<Id> = stored.chain(named).collect();
        let mut touched: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
        for run in runs {
            let mut open = vec![run];
            while let Some(id) = open.pop() {
                if touched.entry(id).or_default().insert(run)
                    && let Some(Node::Sound(_, refs)) = self.nodes.get(&id)
                {
                    open.extend(refs.iter().map(|(_, id)| *id));
                }
            }
        }
        touched
    }
}

/// The bytes of a log once no writer is at work on it.
fn read_log(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    if !object::is_plain_file(path)? {
        return Ok(None);
    }
    let file = File::open(path).map_err(io_error(path, "open the log"))?;
    // Where the file system knows no locks, an unfinished frame may be a writer's; the report says how it ends.
    let _locked = file.lock_shared();
    object::read_plain(path)
}

fn is_hex(name: &OsStr, digits: usize) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.len() == digits && bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
