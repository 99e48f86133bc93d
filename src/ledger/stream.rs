//! A log stream: its segments on disk, its head, and how a frame is appended.
//!
//! One clone of a ledger writes one stream, so that clones are united by copying files.

use std::path::{Path, PathBuf};

use super::error::{LedgerError, io_error};
use super::frame::{self, CHAIN, Chain, Damage, Entry, Frame};
use super::merkle;
use super::place::{Place, unique};
use super::refs;
use super::vfs::{Guard, Lock};
use crate::hash::{Canonical, Id, cbor, record};

/// How many frames a segment has before the next one begins.
pub(super) const SEGMENT: usize = 4096;
const HEAD_KEY: &str = "metadsl 2026 head";

record! {
    /// How far a log stream has come: what its frames amount to after that many. What anyone keeps of a head, apart from
    /// the ledger, proves later that nothing before it was changed.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Head {
        /// The stream's name.
        pub stream: String,
        /// The number of frames.
        pub frames: u64,
        /// The root of the Merkle tree over their payloads.
        pub root: Id,
    }
}

/// What is known of a segment.
pub(super) struct Segment {
    /// Its file, relative to the ledger.
    pub file: PathBuf,
    /// The number of its first frame in the stream.
    pub first: u64,
    /// Its length in bytes.
    pub len: usize,
    /// The chain at its end, or where its torn tail begins; none where not even the first link is there.
    pub chain: Option<Chain>,
    /// Its sound frames.
    pub frames: Vec<Frame>,
    /// Damaged stretches.
    pub damage: Vec<Damage>,
    /// Where a frame begins that was never finished.
    pub torn: Option<usize>,
}

/// A log stream as it was read.
pub(super) struct Stream {
    /// Its segments, in their order.
    pub segments: Vec<Segment>,
}

impl Stream {
    /// Reads all segments. What is damaged hides nothing else.
    pub fn read(place: &Place, name: &str) -> Result<Stream, LedgerError> {
        let dir = Path::new("log").join(name);
        let mut segments: Vec<Segment> = Vec::new();
        let (mut next, mut chain) = (0, Some(frame::origin(name)));
        for (file, _) in place.list(&place.root.join(&dir))? {
            let Some(first) = segment_number(&file.to_string_lossy()) else { continue };
            let file = dir.join(file);
            let Some(bytes) = place.read(&place.root.join(&file))? else { continue };
            let mut scan = frame::scan(&bytes);
            let mut note = |what: String| scan.damage.insert(0, Damage { at: 0, what, entry: None });
            if first != next {
                note(format!("the frames from {} up to {} are missing", next.min(first), next.max(first)));
            } else if scan.torn != Some(0) && chain.is_some() && chain.as_ref() != frame::chain_before(&bytes, CHAIN) {
                note("it does not continue what stands before it".to_owned());
            }
            // Only the end of the last segment can be an unfinished write.
            if let Some(before) = segments.last_mut()
                && let Some(at) = before.torn.take()
            {
                before.damage.push(Damage { at, what: "the segment ends within a frame".to_owned(), entry: None });
            }
            let whole = scan.torn.unwrap_or(bytes.len());
            chain = frame::chain_before(&bytes, whole).copied();
            let damaged = scan.damage.iter().filter(|d| d.at >= CHAIN).count();
            next = first + (scan.frames.len() + damaged) as u64;
            let (frames, damage, torn) = (scan.frames, scan.damage, scan.torn);
            segments.push(Segment { file, first, len: bytes.len(), chain, frames, damage, torn });
        }
        Ok(Stream { segments })
    }

    /// The sound frames with their segment.
    pub fn frames(&self) -> impl Iterator<Item = (&Segment, &Frame)> {
        self.segments.iter().flat_map(|segment| segment.frames.iter().map(move |frame| (segment, frame)))
    }

    /// The leaves of the Merkle tree.
    pub fn leaves(&self) -> Vec<Id> {
        self.frames().map(|(_, frame)| merkle::leaf(&frame.payload)).collect()
    }

    /// Whether every byte up to a torn tail is as it was written.
    pub fn is_sound(&self) -> bool {
        self.segments.iter().all(|segment| segment.damage.is_empty())
    }

    /// The chain at the end of the last whole frame.
    pub fn chain(&self, name: &str) -> Chain {
        self.segments.iter().rev().find_map(|segment| segment.chain).unwrap_or_else(|| frame::origin(name))
    }

    /// How far the stream has come.
    pub fn head(&self, name: &str) -> Head {
        head(name, &self.leaves())
    }

    /// Where the log says something else than a head did, or less.
    pub fn contradiction(&self, head: &Head) -> Option<String> {
        contradiction(&self.leaves(), head)
    }
}

/// The same of the leaves of a log.
fn contradiction(leaves: &[Id], head: &Head) -> Option<String> {
    let count = usize::try_from(head.frames).unwrap_or(usize::MAX);
    match leaves.get(..count) {
        None => Some(format!("the log has {} frames and had {}: it was rolled back or cut", leaves.len(), head.frames)),
        Some(known) if merkle::root(known) != head.root => {
            Some(format!("the first {count} frames of the log are not those that were written"))
        }
        Some(_) => None,
    }
}

fn head(name: &str, leaves: &[Id]) -> Head {
    Head { stream: name.to_owned(), frames: leaves.len() as u64, root: merkle::root(leaves) }
}

/// The first frame that a segment's file name tells.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.len() == 12 && name.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten()
}

/// The file of a stream's head, relative to the ledger.
pub(super) fn head_file(name: &str) -> PathBuf {
    Path::new("heads").join(name)
}

/// The bytes of a head's file.
pub(super) fn encode_head(head: &Head) -> Vec<u8> {
    let payload = cbor::encode(&head.to_value());
    let check = blake3::derive_key(HEAD_KEY, &payload);
    [&payload[..], &check].concat()
}

/// The head whose file has these bytes, or what is wrong with them.
pub(super) fn decode_head(bytes: &[u8]) -> Result<Head, String> {
    let (payload, check) = bytes.split_last_chunk::<32>().ok_or("it is too short for a head")?;
    if blake3::derive_key(HEAD_KEY, payload) != *check {
        return Err("its last 32 bytes are not the hash of the others".to_owned());
    }
    refs::read(payload).map_err(|e| e.to_string())
}

/// A stream's head; none where it has none yet.
pub(super) fn read_head(place: &Place, name: &str) -> Result<Option<Head>, LedgerError> {
    let path = place.root.join(head_file(name));
    let Some(bytes) = place.read(&path)? else { return Ok(None) };
    match decode_head(&bytes) {
        Ok(head) if head.stream == name => Ok(Some(head)),
        Ok(head) => {
            let what = format!("it is the head of the stream `{}`", head.stream);
            Err(LedgerError::Damaged { path, what })
        }
        Err(what) => Err(LedgerError::Damaged { path, what }),
    }
}

/// The names of the streams, sorted.
pub(super) fn names(place: &Place) -> Result<Vec<String>, LedgerError> {
    let names = place.list(&place.root.join("log"))?;
    Ok(names.into_keys().filter_map(|n| n.into_string().ok()).filter(|n| frame::is_stream_name(n)).collect())
}

/// The stream that this clone of a ledger writes: a name of its own, found again by the identity of its directory.
pub(super) fn of_this_clone(place: &Place) -> Result<String, LedgerError> {
    let _guard = place.lock("clone.lock", Lock::Exclusive)?;
    let path = place.root.join("active").join(format!("clone-{}", identity(&place.root)));
    if let Some(bytes) = place.read(&path)?
        && let Ok(name) = String::from_utf8(bytes)
        && frame::is_stream_name(&name)
    {
        return Ok(name);
    }
    let name = unique()?;
    place.write(&path, &[name.as_bytes()])?;
    Ok(name)
}

/// A directory's identity on this machine, which a copy of it does not share.
#[cfg(unix)]
fn identity(root: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(root).map(|meta| format!("{}-{}", meta.dev(), meta.ino()));
    inode.unwrap_or_else(|_| "unknown".to_owned())
}

/// A directory's identity on this machine, which a copy of it elsewhere does not share.
#[cfg(not(unix))]
fn identity(root: &Path) -> String {
    Id::of_bytes(crate::hash::Kind::Blob, root.as_os_str().as_encoded_bytes()).short()
}

/// A stream under the kernel's lock, which ends with this value or with its process.
pub(super) struct Appender<'a> {
    place: &'a Place,
    name: &'a str,
    segment_frames: usize,
    _guard: Option<Box<dyn Guard>>,
}

impl<'a> Appender<'a> {
    /// Waits for the lock.
    pub fn lock(place: &'a Place, name: &'a str, segment_frames: usize) -> Result<Appender<'a>, LedgerError> {
        let _guard = place.lock(&format!("stream-{name}.lock"), Lock::Exclusive)?;
        Ok(Appender { place, name, segment_frames, _guard })
    }

    /// Appends an entry, first cutting a frame that was never finished; nothing where the stream lists it already. When
    /// this returns, the entry is durable; the number is the bytes that were cut.
    pub fn append(&mut self, entry: &Entry) -> Result<u64, LedgerError> {
        let payload = frame::encode(entry)
            .map_err(|error| LedgerError::Malformed { path: Path::new("log").join(self.name), error })?;
        let mut stream = Stream::read(self.place, self.name)?;
        let mut leaves = stream.leaves();
        if let Some(head) = read_head(self.place, self.name)?
            && stream.is_sound()
            && let Some(what) = contradiction(&leaves, &head)
        {
            return Err(LedgerError::RolledBack { stream: self.name.to_owned(), what });
        }
        let known = stream.frames().any(|(_, frame)| frame.payload == payload);
        let cut = self.cut(&mut stream)?;
        if known {
            // Listed by a writer that may not have lived to see it durable.
            for segment in &stream.segments {
                let path = self.place.root.join(&segment.file);
                self.open(&path)?.sync().map_err(io_error(&path, "sync the log"))?;
            }
        } else {
            self.write(&stream, std::slice::from_ref(&payload))?;
        }
        if stream.is_sound() {
            leaves.extend((!known).then(|| merkle::leaf(&payload)));
            self.write_head(&leaves)?;
        }
        Ok(cut)
    }

    /// Appends frames that another clone wrote, of which the first is number `first` of the stream; nothing that is there
    /// already.
    pub fn extend(&mut self, first: usize, payloads: &[Vec<u8>]) -> Result<(), LedgerError> {
        let mut stream = Stream::read(self.place, self.name)?;
        let head = read_head(self.place, self.name)?;
        let held: Vec<&Vec<u8>> = stream.frames().map(|(_, frame)| &frame.payload).collect();
        let forked = held.len() < first || held[first..].iter().zip(payloads).any(|(ours, theirs)| *ours != theirs);
        let new = payloads.get(held.len().saturating_sub(first)..).unwrap_or_default();
        let what = match head.and_then(|head| stream.contradiction(&head)) {
            Some(what) => Some(what),
            None if forked || !stream.is_sound() => Some("other frames stand where these belong".to_owned()),
            None => None,
        };
        if let Some(what) = what {
            return Err(LedgerError::RolledBack { stream: self.name.to_owned(), what });
        }
        self.cut(&mut stream)?;
        if !new.is_empty() {
            self.write(&stream, new)?;
            let mut leaves = stream.leaves();
            leaves.extend(new.iter().map(|payload| merkle::leaf(payload)));
            self.write_head(&leaves)?;
        }
        Ok(())
    }

    /// Cuts a frame that was never finished off the stream; gives the bytes that were cut.
    pub fn cut_torn_tail(&mut self) -> Result<u64, LedgerError> {
        self.cut(&mut Stream::read(self.place, self.name)?)
    }

    fn cut(&self, stream: &mut Stream) -> Result<u64, LedgerError> {
        let Some(last) = stream.segments.last_mut() else { return Ok(0) };
        let Some(at) = last.torn else { return Ok(0) };
        let path = self.place.root.join(&last.file);
        let mut file = self.open(&path)?;
        file.cut(at as u64).map_err(io_error(&path, "cut the unfinished frame off the log"))?;
        let cut = (last.len - at) as u64;
        last.len = at;
        Ok(cut)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn super::vfs::VfsFile>, LedgerError> {
        self.place.check_parents(path)?;
        self.place.is_file(path)?;
        self.place.fs.open_append(path).map_err(io_error(path, "open the log"))
    }

    /// Writes frames at the end, with one sync for each segment that they reach.
    fn write(&self, stream: &Stream, payloads: &[Vec<u8>]) -> Result<(), LedgerError> {
        let dir = self.place.root.join("log").join(self.name);
        self.place.make_dir(&dir)?;
        let last = stream.segments.last();
        let mut next = last.map_or(0, |last| last.first + last.frames.len() as u64 + last.damage.len() as u64);
        let mut chain = stream.chain(self.name);
        let mut open = last.filter(|last| last.frames.len() < self.segment_frames || last.chain.is_none());
        let mut left = payloads;
        while !left.is_empty() {
            let (path, len, held) = match open.take() {
                Some(last) => (self.place.root.join(&last.file), last.chain.map_or(0, |_| last.len), last.frames.len()),
                None => (dir.join(format!("{next:012}")), 0, 0),
            };
            let (now, later) = left.split_at(self.segment_frames.saturating_sub(held).clamp(1, left.len()));
            if held == 0 {
                // Before its first frame: a segment whose name may not be durable has none.
                drop(self.open(&path)?);
                self.place.sync_dir(&dir)?;
            }
            chain = self.write_segment(&path, len, chain, now)?;
            next += now.len() as u64;
            left = later;
        }
        Ok(())
    }

    /// Appends frames to a segment of that length, in one write; gives the chain at its end.
    fn write_segment(
        &self,
        path: &Path,
        len: usize,
        mut chain: Chain,
        payloads: &[Vec<u8>],
    ) -> Result<Chain, LedgerError> {
        let mut bytes = if len == 0 { chain.to_vec() } else { Vec::new() };
        for payload in payloads {
            bytes.extend(frame::frame(&chain, payload));
            chain = *frame::chain_before(&bytes, bytes.len()).expect("a frame ends with its chain");
        }
        let mut file = self.open(path)?;
        if let Err(e) = file.append(&bytes).and_then(|()| file.sync()) {
            // Not acknowledged, so it should not be listed; where even this fails, the next append repairs it.
            let _ = file.cut(len as u64);
            return Err(io_error(path, "append to the log")(e));
        }
        Ok(chain)
    }

    fn write_head(&self, leaves: &[Id]) -> Result<(), LedgerError> {
        let bytes = encode_head(&head(self.name, leaves));
        self.place.write(&self.place.root.join(head_file(self.name)), &[&bytes])
    }
}
