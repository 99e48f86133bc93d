//! Verifying a ledger: every byte of every object and log is checked, and no problem hides another.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::LedgerError;
use super::frame::{self, Entry};
use super::left_out::LeftOut;
use super::remote::trust;
use super::store::Store;
use super::stream::{self, Stream};
use super::vfs::{self, Lock};
use super::{object, pack, refs};
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
    /// Bit 32: a pack is stored that no log names: the log was cut, or its writer died before the end.
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

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Logs, heads and packs whole; of large objects, that they are there and what they refer to.
    Structure,
    /// Also the bytes of that share of the large objects, in percent.
    Sample(u8),
    /// Every byte.
    Full,
}

impl Depth {
    /// Whether the bytes of this object are to be read. A sample is the same for every call.
    fn reads(self, id: Id) -> bool {
        match self {
            Depth::Structure => false,
            Depth::Sample(percent) => u32::from(id.as_bytes()[31]) * 100 < u32::from(percent) * 256,
            Depth::Full => true,
        }
    }
}

/// What was checked and what was found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// The objects checked, in packs and in files of their own.
    pub objects: usize,
    /// The bytes of the files read.
    pub bytes: u64,
    /// The sound log frames read.
    pub frames: usize,
    /// The runs the logs list.
    pub runs: usize,
    /// The weights that are not there because every run that names them leaves them out.
    pub left_out: usize,
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
        self.verify_to(Depth::Full)
    }

    /// The same to some depth.
    pub fn verify_to(&self, depth: Depth) -> VerifyReport {
        let report = VerifyReport::default();
        let mut check = Check {
            store: self,
            depth,
            report,
            nodes: BTreeMap::new(),
            packs: BTreeMap::new(),
            files: BTreeSet::new(),
            left_out: LeftOut::default(),
            found: Vec::new(),
        };
        check.attempt("FORMAT", &[], Store::check_format);
        // Packs and objects first: what is sealed meanwhile is then looked up when the logs name it.
        check.packs();
        check.objects();
        let listed = check.logs();
        check.references(&listed);
        check.finish(&listed)
    }

    /// Sets aside, in `quarantine/`, every file that a report calls damaged or out of place, and cuts torn tails. Logs
    /// are otherwise left as they are: their other frames still count. Gives where the files are now.
    pub fn repair(&self, report: &VerifyReport) -> Result<Vec<PathBuf>, LedgerError> {
        let mut moved = Vec::new();
        let mut done = BTreeSet::new();
        for problem in &report.problems {
            let in_log = problem.file.starts_with("log") || problem.file == Path::new("FORMAT");
            let damaged = matches!(problem.fault, Fault::Object | Fault::Malformed | Fault::Stray);
            let there = self.place.fs.look(&self.root().join(&problem.file)).is_ok_and(|entry| entry.is_some());
            if damaged && there && !in_log && done.insert(problem.file.clone()) {
                moved.push(self.place.set_aside(&problem.file, "quarantine")?);
            }
            if problem.fault == Fault::TornTail
                && let Some(name) = problem.file.parent().and_then(Path::file_name).and_then(|name| name.to_str())
            {
                stream::Appender::lock(&self.place, name, self.segment_frames)?.cut_torn_tail()?;
            }
        }
        Ok(moved)
    }
}

/// What is known of an object.
enum Node {
    /// Its bytes are sound; these are its kind, its references and the file it lies in.
    Sound(Kind, Vec<(Kind, Id)>, PathBuf),
    /// It is there and a problem has been noted.
    Bad,
    /// It is not there.
    Missing,
}

/// A frame that lists something.
struct Frame {
    file: PathBuf,
    entry: Entry,
}

struct Check<'a> {
    store: &'a Store,
    depth: Depth,
    report: VerifyReport,
    nodes: BTreeMap<Id, Node>,
    /// The packs read, and whether they are sound.
    packs: BTreeMap<Id, bool>,
    /// The object files read.
    files: BTreeSet<Id>,
    /// What runs and verdicts leave out.
    left_out: LeftOut,
    /// Problems with the objects they are about, until the runs are known.
    found: Vec<(Vec<Id>, Problem)>,
}

impl Check<'_> {
    fn note(&mut self, file: impl Into<PathBuf>, fault: Fault, what: impl Into<String>, about: &[Id]) {
        let problem = Problem { file: file.into(), fault, what: what.into(), runs: Vec::new() };
        self.found.push((about.to_vec(), problem));
    }

    /// The result of a step, or a note of why it failed.
    fn attempt<T>(
        &mut self,
        file: impl Into<PathBuf>,
        about: &[Id],
        step: impl FnOnce(&Store) -> Result<T, LedgerError>,
    ) -> Option<T> {
        match step(self.store) {
            Ok(value) => Some(value),
            Err(e) => {
                let fault = match &e {
                    LedgerError::Damaged { .. } => Fault::Object,
                    LedgerError::Missing { .. } => Fault::Missing,
                    LedgerError::Malformed { .. } => Fault::Malformed,
                    _ => Fault::Stray,
                };
                let what = match e {
                    LedgerError::Damaged { what, .. } => what,
                    e => e.to_string(),
                };
                self.note(file, fault, what, about);
                None
            }
        }
    }

    /// The names in a directory of the ledger.
    fn names(&mut self, dir: &Path) -> Vec<(String, vfs::Entry)> {
        let names = self.attempt(dir, &[], |s| s.place.list(&s.root().join(dir))).unwrap_or_default();
        names.into_iter().map(|(name, entry)| (name.to_string_lossy().into_owned(), entry)).collect()
    }

    /// Checks logs and heads; gives what they list, in order.
    fn logs(&mut self) -> Vec<Frame> {
        let mut listed = Vec::new();
        let top = Path::new("log");
        let mut streams = BTreeSet::new();
        for (name, entry) in self.names(top) {
            let dir = top.join(&name);
            if entry != vfs::Entry::Dir || !frame::is_stream_name(&name) {
                self.note(dir, Fault::Stray, "no log stream has this name", &[]);
                continue;
            }
            for (file, entry) in self.names(&dir) {
                if stream::segment_number(&file).is_none() || !matches!(entry, vfs::Entry::File(_)) {
                    self.note(dir.join(file), Fault::Stray, "no segment of a log has this name", &[]);
                }
            }
            streams.insert(name.clone());
            self.log(&name, &mut listed);
        }
        for (name, _) in self.names(Path::new("heads")) {
            let file = stream::head_file(&name);
            if !frame::is_stream_name(&name) {
                self.note(file, Fault::Stray, "no log stream has this name", &[]);
            } else if !streams.contains(&name) {
                self.log(&name, &mut listed);
            }
        }
        for (name, _) in self.names(Path::new("pulled")) {
            let file = trust::mark_file(&name);
            if frame::is_stream_name(&name) {
                self.attempt(file, &[], |s| s.mark(&name));
            } else {
                self.note(file, Fault::Stray, "no log stream has this name", &[]);
            }
        }
        self.report.frames = listed.len();
        listed
    }

    fn log(&mut self, name: &str, listed: &mut Vec<Frame>) {
        // The head is read first: a frame is there before the head that counts it. An unfinished frame may be a writer's,
        // so it is looked at once no writer is at work; where the file system has no locks, it is reported.
        let head = self.attempt(stream::head_file(name), &[], |s| stream::read_head(&s.place, name)).flatten();
        let dir = Path::new("log").join(name);
        let Some(mut log) = self.attempt(&dir, &[], |s| Stream::read(&s.place, name)) else { return };
        if log.segments.iter().any(|segment| segment.torn.is_some()) {
            let lock = format!("stream-{name}.lock");
            let _guard = self.store.place.lock(&lock, Lock::Shared);
            log = self.attempt(&dir, &[], |s| Stream::read(&s.place, name)).unwrap_or(log);
        }
        let damage = self.store.damage(&log);
        self.found.extend(damage.into_iter().map(|problem| (Vec::new(), problem)));
        for segment in &log.segments {
            if let Some(at) = segment.torn {
                let what = format!("byte {at}: the last frame was never finished; the next run cuts it off");
                self.note(&segment.file, Fault::TornTail, what, &[]);
            }
        }
        if let Some(head) = head.filter(|_| log.is_sound())
            && let Some(what) = log.contradiction(&head)
        {
            self.note(dir, Fault::Log, what, &[]);
        }
        for (segment, frame) in log.frames() {
            match frame.entry() {
                Ok(entry) => listed.push(Frame { file: segment.file.clone(), entry }),
                Err(e) => {
                    let what = format!("byte {}: the frame says nothing this version knows: {e}", frame.at);
                    self.note(&segment.file, Fault::Log, what, &[]);
                }
            }
        }
    }

    /// Follows every reference, those of objects that no run needs included.
    fn references(&mut self, listed: &[Frame]) {
        let mut open = Vec::new();
        let buried: BTreeSet<Id> = listed.iter().filter_map(|frame| frame.entry.buries()).collect();
        for frame in listed {
            // What a buried run needed may have been collected.
            if frame.entry.object().is_some_and(|(_, id)| buried.contains(&id)) {
                continue;
            }
            let (Some((kind, id)), Some(name)) = (frame.entry.object(), frame.entry.pack()) else { continue };
            if !self.packs.contains_key(&name) {
                self.pack(name, &[id]);
            }
            match self.packs.get(&name) {
                None => {
                    let file = pack::path(Path::new(""), name);
                    let what = format!("the pack is missing that {} names", frame.file.display());
                    self.note(file, Fault::Missing, what, &[id]);
                }
                Some(true) if !self.nodes.contains_key(&id) => {
                    let file = pack::path(Path::new(""), name);
                    let what =
                        format!("the {} object {} is not in the pack that should hold it", kind.name(), id.short());
                    self.note(file, Fault::Malformed, what, &[id]);
                }
                Some(true) => open.push((kind, id)),
                Some(false) => {
                    let file = pack::path(Path::new(""), name);
                    if let Some((about, _)) = self.found.iter_mut().find(|(_, problem)| problem.file == file) {
                        about.push(id);
                    }
                }
            }
        }
        for node in self.nodes.values() {
            if let Node::Sound(_, refs, _) = node {
                open.extend(refs);
            }
        }
        let excused = self.excused();
        let mut done = BTreeSet::new();
        while let Some((wanted, id)) = open.pop() {
            if !done.insert((wanted, id)) {
                continue;
            }
            if !self.nodes.contains_key(&id) {
                self.file(id);
            }
            match &self.nodes[&id] {
                // Data need not be kept.
                Node::Missing if wanted == Kind::Blob && !self.is_chunk(id) => {}
                Node::Missing if wanted == Kind::Weights && excused.contains(&id) => self.report.left_out += 1,
                Node::Missing => {
                    // Where it was in a damaged pack, that has been noted.
                    let what = format!("the {} object is referred to and missing", wanted.name());
                    self.note(object::file(id), Fault::Missing, what, &[id]);
                }
                Node::Sound(kind, _, file) if *kind != wanted => {
                    let what = format!("the {} object is referred to as a {}", kind.name(), wanted.name());
                    self.note(file.clone(), Fault::Malformed, what, &[id]);
                }
                Node::Sound(_, refs, _) => open.extend(refs),
                Node::Bad => {}
            }
        }
    }

    /// The weights that need not be there.
    fn excused(&mut self) -> BTreeSet<Id> {
        let left_out = std::mem::take(&mut self.left_out);
        let excused = left_out.excused(|result| {
            // What is sealed meanwhile has not been looked at yet.
            if !self.nodes.contains_key(&result) {
                self.file(result);
            }
            Ok::<_, Infallible>(self.refs_of(result).unwrap_or_default())
        });
        self.left_out = left_out;
        let Ok(excused) = excused;
        excused
    }

    /// What a sound object refers to.
    fn refs_of(&self, id: Id) -> Option<Vec<(Kind, Id)>> {
        match self.nodes.get(&id) {
            Some(Node::Sound(_, refs, _)) => Some(refs.clone()),
            _ => None,
        }
    }

    /// Whether a large object is made of this blob, among others.
    fn is_chunk(&self, blob: Id) -> bool {
        self.nodes.values().any(|node| match node {
            Node::Sound(kind, refs, _) => !refs::has_references(*kind) && refs.contains(&(Kind::Blob, blob)),
            _ => false,
        })
    }

    /// Finds the runs that each problem touches, and the packs that no log names.
    fn finish(mut self, listed: &[Frame]) -> VerifyReport {
        let mut named: BTreeSet<Id> = listed.iter().filter_map(|frame| frame.entry.pack()).collect();
        let mut unnamed: Vec<Id> = self.packs.keys().filter(|name| !named.contains(name)).copied().collect();
        if !unnamed.is_empty() {
            // A writer between its pack and its frame holds this lock.
            match self.store.place.lock("writers.lock", Lock::Try) {
                Ok(None) => unnamed.clear(),
                Ok(Some(_)) | Err(_) => {
                    let frames = self.store.frames().unwrap_or_default();
                    named.extend(frames.iter().filter_map(|listed| listed.entry.pack()));
                    unnamed.retain(|name| !named.contains(name));
                }
            }
        }
        for name in unnamed {
            let what = "no log names this pack: the log was cut, or the writer died before the end";
            self.note(pack::path(Path::new(""), name), Fault::Unlisted, what, &[]);
        }
        let mismatched: Vec<(Id, PathBuf)> = self
            .nodes
            .iter()
            .filter_map(|(&id, node)| match node {
                Node::Sound(Kind::Run, refs, file) if !self.answers_its_input(refs) => Some((id, file.clone())),
                _ => None,
            })
            .collect();
        for (id, file) in mismatched {
            self.note(file, Fault::Malformed, "the run's result belongs to another input", &[id]);
        }
        // Of a result in chunks that was not put together it is not known what it refers to; of any other, its input is.
        let whole = |refs: &Vec<(Kind, Id)>| refs.iter().any(|(kind, _)| *kind == Kind::Input);
        for (run, id) in self.left_out.strangers(|result| self.refs_of(result).filter(whole)) {
            let Some(Node::Sound(_, _, file)) = self.nodes.get(&run) else { continue };
            let what = format!("the run leaves out {}, which is no weights of its result", id.short());
            self.note(file.clone(), Fault::Malformed, what, &[run]);
        }
        let objects = listed.iter().filter_map(|frame| frame.entry.object());
        let runs: BTreeSet<Id> = objects.filter(|(kind, _)| is_run(*kind)).map(|(_, id)| id).collect();
        let touched = self.touched(&runs);
        for (about, mut problem) in self.found {
            let named = about.iter().filter_map(|id| touched.get(id)).flatten().copied();
            let known: BTreeSet<Id> = named.chain(std::mem::take(&mut problem.runs)).collect();
            problem.runs = known.into_iter().collect();
            self.report.problems.push(problem);
        }
        self.report.problems.sort_by(|a, b| (&a.file, a.fault, &a.what).cmp(&(&b.file, b.fault, &b.what)));
        self.report.runs = runs.len();
        self.report
    }

    /// Whether a run's result names the run's own input; true where that cannot be seen.
    fn answers_its_input(&self, refs: &[(Kind, Id)]) -> bool {
        let find = |refs: &[(Kind, Id)], kind| refs.iter().find(|(k, _)| *k == kind).map(|(_, id)| *id);
        let result = find(refs, Kind::Result).and_then(|id| self.nodes.get(&id));
        match result {
            Some(Node::Sound(Kind::Result, inner, _)) => find(inner, Kind::Input) == find(refs, Kind::Input),
            _ => true,
        }
    }

    /// The runs, listed or not, that need each object.
    fn touched(&self, listed: &BTreeSet<Id>) -> BTreeMap<Id, BTreeSet<Id>> {
        let stored = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node, Node::Sound(kind, ..) if is_run(*kind)))
            .map(|(id, _)| *id);
        let runs: BTreeSet<Id> = stored.chain(listed.iter().copied()).collect();
        let mut touched: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
        for run in runs {
            let mut open = vec![run];
            while let Some(id) = open.pop() {
                if touched.entry(id).or_default().insert(run)
                    && let Some(Node::Sound(_, refs, _)) = self.nodes.get(&id)
                {
                    open.extend(refs.iter().map(|(_, id)| *id));
                }
            }
        }
        touched
    }
}

/// Whether it is a run, of this program or another.
fn is_run(kind: Kind) -> bool {
    matches!(kind, Kind::Run | Kind::Imported)
}
