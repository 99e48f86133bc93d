//! A bundle: some runs with all they need and the proof that a log lists them, in one file, for a paper's appendix.
//!
//! The file is the line `metadsl bundle 1`, sections, and 32 bytes that hash all before them. A section is its code
//! (1 byte: the number of an object's kind, or 255 for evidence), its length (8 bytes, little-endian) and its payload. Nothing is
//! compressed, so that a short program checks a bundle from the text of the format alone.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{Read, Write};

use super::error::LedgerError;
use super::frame::Entry;
use super::left_out::LeftOut;
use super::store::Store;
use super::stream::{self, Stream};
use super::{left_out, merkle, object, refs};
use crate::hash::{Bytes, Canonical, Id, Kind, cbor, record};

const MAGIC: &[u8] = b"metadsl bundle 1\n";
const KEY: &str = "metadsl 2026 bundle";
const EVIDENCE: u8 = 255;
/// The longest payload of a section that is read into memory; blobs may be longer.
const MAX_PAYLOAD: u64 = 256 << 20;
/// The longest proof: a frame and its path.
const MAX_EVIDENCE: u64 = 2 << 20;
/// How many sections, CBOR items in one of them and references in all of them a bundle has at most: each takes some hundred
/// bytes of memory, however few it takes in the file.
const MAX_SECTIONS: usize = 1 << 20;
const MAX_ITEMS: usize = 1 << 22;
const MAX_REFERENCES: usize = 1 << 22;

record! {
    /// The proof that a log lists a run: an inclusion proof of RFC 6962 under the root of a head.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Evidence {
        /// The log stream.
        pub stream: String,
        /// The number of frames under the root.
        pub frames: u64,
        /// The root of the Merkle tree.
        pub root: Id,
        /// The number of the frame, from 0.
        pub number: u64,
        /// The frame's payload.
        pub payload: Bytes,
        /// The audit path, from the bottom.
        pub path: Vec<Id>,
    }
}

/// What a sound bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundled {
    /// Its runs, each proved to be listed.
    pub runs: Vec<Id>,
    /// The objects it holds.
    pub objects: usize,
    /// The heads under which its runs are proved: stream, frames, root.
    pub heads: Vec<super::Head>,
}

impl Store {
    /// Writes a bundle of some runs; gives the number of objects.
    pub fn bundle(&self, runs: &[Id], out: impl Write) -> Result<usize, LedgerError> {
        let mut out = Hashing { out, hasher: blake3::Hasher::new_derive_key(KEY), written: 0 };
        out.write_all(MAGIC).map_err(writing)?;
        let (mut open, mut done) = (Vec::new(), BTreeSet::new());
        open.extend(runs.iter().map(|&id| (Kind::Run, id)));
        let excused = self.excused(runs)?;
        while let Some((kind, id)) = open.pop() {
            if !done.insert(id) {
                continue;
            }
            // Data that the ledger does not hold is not in the bundle either, nor what the runs leave out; its hash is.
            if (kind == Kind::Blob && !self.is_near(id)?) || (kind == Kind::Weights && excused.contains(&id)) {
                done.remove(&id);
                continue;
            }
            // Data may be larger than memory.
            if kind == Kind::Blob
                && let Some(length) = object::length(&self.place, id)?
            {
                out.head(kind.code(), length)?;
                let before = out.written;
                object::copy(&self.place, id, &mut out)?;
                if out.written - before != length {
                    let what = "its list of chunks gives them other lengths".to_owned();
                    return Err(LedgerError::Damaged { path: object::file(id), what });
                }
                continue;
            }
            let payload = self.read(kind, id)?;
            let malformed = |error| LedgerError::Malformed { path: object::file(id), error };
            open.extend(refs::references(kind, &payload).map_err(malformed)?);
            out.section(kind.code(), &payload)?;
        }
        for evidence in self.evidence(runs)? {
            out.section(EVIDENCE, &cbor::encode(&evidence.to_value()))?;
        }
        let check = *out.hasher.finalize().as_bytes();
        out.write_all(&check).and_then(|()| out.flush()).map_err(writing)?;
        Ok(done.len())
    }

    /// The weights that all of these runs leave out, as far as they name them.
    fn excused(&self, runs: &[Id]) -> Result<BTreeSet<Id>, LedgerError> {
        let mut left_out = LeftOut::default();
        for &run in runs {
            left_out.add(run, Kind::Run, &self.read(Kind::Run, run)?);
        }
        left_out.excused(|result| {
            let malformed = |error| LedgerError::Malformed { path: object::file(result), error };
            refs::references(Kind::Result, &self.read(Kind::Result, result)?).map_err(malformed)
        })
    }

    /// The proofs that the logs list these runs.
    pub fn evidence(&self, runs: &[Id]) -> Result<Vec<Evidence>, LedgerError> {
        let mut left: BTreeSet<Id> = runs.iter().copied().collect();
        let mut found = Vec::new();
        for name in stream::names(&self.place)? {
            let log = Stream::read(&self.place, &name)?;
            let leaves = log.leaves();
            for (number, (_, frame)) in log.frames().enumerate() {
                let Ok(Entry::Run { id, .. }) = frame.entry() else { continue };
                if left.remove(&id) {
                    found.push(Evidence {
                        stream: name.clone(),
                        frames: leaves.len() as u64,
                        root: merkle::root(&leaves),
                        number: number as u64,
                        payload: Bytes(frame.payload.clone()),
                        path: merkle::inclusion(&leaves, number),
                    });
                }
            }
        }
        match left.first() {
            None => Ok(found),
            Some(id) => Err(LedgerError::UnknownRun { prefix: id.to_string(), ledger: self.root().to_owned() }),
        }
    }
}

fn writing(source: std::io::Error) -> LedgerError {
    LedgerError::Io { path: "the bundle".into(), doing: "write", source }
}

/// Writes, hashes and counts.
struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
    written: u64,
}

impl<W: Write> Hashing<W> {
    fn head(&mut self, code: u8, length: u64) -> Result<(), LedgerError> {
        self.write_all(&[code]).and_then(|()| self.write_all(&length.to_le_bytes())).map_err(writing)
    }

    fn section(&mut self, code: u8, payload: &[u8]) -> Result<(), LedgerError> {
        self.head(code, payload.len() as u64)?;
        self.write_all(payload).map_err(writing)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Checks a bundle of `length` bytes without any ledger; writes nothing. Gives what it holds, or what is wrong with it. Memory does not
/// depend on what the bundle announces: what is not there is not waited for, and there is a limit to what is kept of it.
pub fn verify_bundle(bundle: impl Read, length: u64) -> Result<Bundled, String> {
    let mut file = Hashed { file: bundle, hasher: blake3::Hasher::new_derive_key(KEY) };
    let mut magic = [0; MAGIC.len()];
    file.fill(&mut magic)?;
    if magic != MAGIC {
        return Err("its first line is not that of a bundle".to_owned());
    }
    let mut left = length.checked_sub(MAGIC.len() as u64 + 32).ok_or("it ends early")?;
    let (mut objects, mut proved) = (BTreeMap::new(), Proved::default());
    let (mut sections, mut references, mut left_out) = (0, 0, LeftOut::default());
    while left > 0 {
        let mut head = [0; 9];
        left = left.checked_sub(9).ok_or("a section ends early")?;
        file.fill(&mut head)?;
        let [code, size @ ..] = head;
        let size = u64::from_le_bytes(size);
        left = left.checked_sub(size).ok_or("a section announces more than there is")?;
        sections += 1;
        if sections > MAX_SECTIONS {
            return Err(format!("it has more than {MAX_SECTIONS} sections"));
        }
        match Kind::from_code(code) {
            Some(Kind::Blob) => {
                let id = file.skim(size)?;
                objects.insert(id, (Kind::Blob, Vec::new()));
            }
            Some(kind) => {
                let payload = file.take(size, MAX_PAYLOAD)?;
                if cbor::has_more_items(&payload, MAX_ITEMS) {
                    return Err(format!("a section has more than {MAX_ITEMS} items"));
                }
                let id = Id::of_bytes(kind, &payload);
                let what = |e| format!("the {} object {} cannot be read: {e}", kind.name(), id.short());
                let refs = refs::references(kind, &payload).map_err(what)?;
                left_out.add(id, kind, &payload);
                references += refs.len() + left_out::of(kind, &payload).len();
                if references > MAX_REFERENCES {
                    return Err(format!("its objects refer to more than {MAX_REFERENCES} others"));
                }
                objects.insert(id, (kind, refs));
            }
            None if code == EVIDENCE => {
                let payload = file.take(size, MAX_EVIDENCE)?;
                let evidence = refs::read(&payload).map_err(|e| format!("evidence cannot be read: {e}"))?;
                proved.add(evidence)?;
            }
            None => return Err(format!("{code} is the code of no section")),
        }
    }
    let wanted = *file.hasher.finalize().as_bytes();
    let mut check = [0; 32];
    file.fill(&mut check)?;
    if check != wanted {
        return Err("its last 32 bytes are not the hash of the others".to_owned());
    }
    let known = |result: Id| objects.get(&result).map(|(_, refs)| refs.clone());
    if let Some((run, id)) = left_out.strangers(known).first() {
        return Err(format!("the run {} leaves out {}, which is no weights of its result", run.short(), id.short()));
    }
    let Ok(excused) = left_out.excused(|result| Ok::<_, Infallible>(known(result).unwrap_or_default()));
    for (kind, refs) in objects.values() {
        for (wanted, id) in refs {
            match objects.get(id) {
                Some((found, _)) if found == wanted => {}
                // Data need not be there, nor what all runs leave out.
                None if *wanted == Kind::Blob || (*wanted == Kind::Weights && excused.contains(id)) => {}
                Some((found, _)) => {
                    return Err(format!("a {} object is referred to as a {}", found.name(), wanted.name()));
                }
                None => {
                    return Err(format!(
                        "the {} {} that a {} needs is not in it",
                        wanted.name(),
                        id.short(),
                        kind.name()
                    ));
                }
            }
        }
    }
    proved.match_with(&objects)
}

type Known = BTreeMap<Id, (Kind, Vec<(Kind, Id)>)>;

/// What the evidence of a bundle proves.
#[derive(Default)]
struct Proved {
    runs: BTreeSet<Id>,
    /// Stream, frames and root of every head.
    heads: BTreeSet<(String, u64, Id)>,
}

impl Proved {
    fn add(&mut self, proof: Evidence) -> Result<(), String> {
        let entry: Entry = refs::read(&proof.payload.0).map_err(|e| format!("a frame cannot be read: {e}"))?;
        let Some(run) = entry.run() else { return Err("evidence is not about a run".to_owned()) };
        let leaf = merkle::leaf(&proof.payload.0);
        if !merkle::verify_inclusion(leaf, proof.number, proof.frames, &proof.path, proof.root) {
            return Err(format!("the proof that a log lists the run {} does not lead to its root", run.short()));
        }
        self.runs.insert(run);
        self.heads.insert((proof.stream, proof.frames, proof.root));
        Ok(())
    }

    /// Refuses runs that are not proved, and proofs of runs that are not there.
    fn match_with(self, objects: &Known) -> Result<Bundled, String> {
        let input = |refs: &[(Kind, Id)]| refs.iter().find(|(kind, _)| *kind == Kind::Input).map(|(_, id)| *id);
        for (id, (_, refs)) in objects.iter().filter(|(_, (kind, _))| *kind == Kind::Run) {
            let results = refs.iter().filter(|(kind, _)| *kind == Kind::Result).filter_map(|(_, id)| objects.get(id));
            if results.into_iter().any(|(_, result)| input(result) != input(refs)) {
                return Err(format!("the result of the run {} belongs to another input", id.short()));
            }
            if !self.runs.contains(id) {
                return Err(format!("nothing proves that a log lists the run {}", id.short()));
            }
        }
        if let Some(run) = self.runs.iter().find(|run| !objects.contains_key(run)) {
            return Err(format!("the run {} is proved and not there", run.short()));
        }
        let heads = self.heads.into_iter().map(|(stream, frames, root)| super::Head { stream, frames, root });
        Ok(Bundled { runs: self.runs.into_iter().collect(), objects: objects.len(), heads: heads.collect() })
    }
}

/// Reads and hashes.
struct Hashed<R> {
    file: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Hashed<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.file.read_exact(bytes).map_err(|e| format!("it cannot be read: {e}"))?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// A payload of at most `limit` bytes, into memory.
    fn take(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, String> {
        if size > limit {
            return Err(format!("a section has {size} bytes, more than {limit}"));
        }
        let mut payload = Vec::new();
        self.file.by_ref().take(size).read_to_end(&mut payload).map_err(|e| format!("it cannot be read: {e}"))?;
        if payload.len() as u64 != size {
            return Err("a section ends early".to_owned());
        }
        self.hasher.update(&payload);
        Ok(payload)
    }

    /// The id of a blob, which is not kept.
    fn skim(&mut self, size: u64) -> Result<Id, String> {
        let mut hasher = Id::hasher(Kind::Blob);
        let mut left = size;
        let mut piece = vec![0; size.min(1 << 16) as usize];
        while left > 0 {
            let part = &mut piece[..left.min(1 << 16) as usize];
            self.fill(part)?;
            hasher.update(part);
            left -= part.len() as u64;
        }
        Ok(Id::from_bytes(*hasher.finalize().as_bytes()))
    }
}
