//! The log: frames that are only ever appended, each chained to the one before it.
//!
//! A frame is its head (the payload's length and the complement of that length, 4 bytes little-endian each), the
//! payload (CBOR of an [`Entry`]) and its chain: BLAKE3 under the key `metadsl 2026 log` of the previous frame's
//! chain, head and payload. Before the first frame stands the BLAKE3 hash of the stream's name under the key
//! `metadsl 2026 stream`. Flips, cuts in the middle, reordering and a stream under another's name break a chain. The
//! complement tells a length that was damaged from a frame that was never finished, so only the latter is ever cut.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::error::{LedgerError, io_error};
use super::{object, refs};
use crate::hash::{Canonical, Id, Kind, cbor, variants};

const HEAD: usize = 8;
const CHAIN: usize = 32;
/// Longer payloads are not written, so a length beyond this is damage.
const MAX_PAYLOAD: usize = 1 << 16;

variants! {
    /// What a frame says.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Entry {
        /// The run is complete and durable.
        Run { id: Id },
        /// The comparison of a replay is durable.
        Verdict { id: Id },
    }
}

impl Entry {
    /// The object that the entry lists.
    pub(super) fn object(self) -> (Kind, Id) {
        match self {
            Entry::Run { id } => (Kind::Run, id),
            Entry::Verdict { id } => (Kind::Verdict, id),
        }
    }

    /// The run that the entry lists.
    pub(super) fn run(self) -> Option<Id> {
        match self {
            Entry::Run { id } => Some(id),
            Entry::Verdict { .. } => None,
        }
    }
}

/// What the bytes of a log stream say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    /// The entries of all sound frames, in their order.
    pub entries: Vec<Entry>,
    /// Damaged stretches.
    pub damage: Vec<Damage>,
    /// Where a frame begins that was never finished.
    pub torn: Option<usize>,
}

/// A stretch of a log that is not a sound frame.
#[derive(Debug, PartialEq)]
pub(super) struct Damage {
    /// The byte where it begins.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
    /// What the frame says, where that can still be read.
    pub entry: Option<Entry>,
}

/// Whether a log stream may have this name: a plain file name on every system.
pub(super) fn is_stream_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn origin(stream: &str) -> [u8; CHAIN] {
    blake3::derive_key("metadsl 2026 stream", stream.as_bytes())
}

fn link(before: &[u8; CHAIN], framed: &[u8]) -> [u8; CHAIN] {
    *blake3::Hasher::new_derive_key("metadsl 2026 log").update(before).update(framed).finalize().as_bytes()
}

/// The chain that stands before byte `at`.
fn chain_before(stream: &str, bytes: &[u8], at: usize) -> [u8; CHAIN] {
    let stored = at.checked_sub(CHAIN).and_then(|start| bytes.get(start..at)).and_then(|chain| chain.try_into().ok());
    stored.unwrap_or_else(|| origin(stream))
}

fn frame(before: &[u8; CHAIN], entry: &Entry) -> Vec<u8> {
    let payload = cbor::encode(&entry.to_value());
    let length = u32::try_from(payload.len()).expect("an entry is some fifty bytes");
    let mut bytes = [&length.to_le_bytes()[..], &(!length).to_le_bytes(), &payload].concat();
    let chain = link(before, &bytes);
    bytes.extend_from_slice(&chain);
    bytes
}

/// What stands at a byte of a log.
enum At<'a> {
    /// A whole frame with head and payload, its chain, and the byte after it.
    Frame { framed: &'a [u8], chain: &'a [u8], end: usize },
    /// The beginning of a frame.
    Torn,
    /// No frame.
    Wrong,
}

fn look(bytes: &[u8], at: usize) -> At<'_> {
    let rest = &bytes[at..];
    if rest.len() < HEAD {
        return At::Torn;
    }
    let word = |i: usize| u32::from_le_bytes([rest[i], rest[i + 1], rest[i + 2], rest[i + 3]]);
    let length = word(0) as usize;
    if word(0) != !word(4) || length == 0 || length > MAX_PAYLOAD {
        return At::Wrong;
    }
    match rest.get(..HEAD + length + CHAIN) {
        Some(whole) => {
            let (framed, chain) = whole.split_at(HEAD + length);
            At::Frame { framed, chain, end: at + whole.len() }
        }
        None => At::Torn,
    }
}

/// Reads a log stream; whatever is damaged, the sound frames around it are found.
pub(super) fn scan(stream: &str, bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        match look(bytes, at) {
            At::Torn => {
                scan.torn = Some(at);
                break;
            }
            // A power failure may keep a file's new length and lose what was written there.
            At::Wrong if bytes[at..].iter().all(|&b| b == 0) => {
                scan.torn = Some(at);
                break;
            }
            At::Frame { framed, chain, end } => {
                let entry: Option<Entry> = refs::read(&framed[HEAD..]).ok();
                let sound = link(&chain_before(stream, bytes, at), framed) == *chain;
                match entry {
                    Some(entry) if sound => scan.entries.push(entry),
                    _ => {
                        let what = if sound {
                            "the frame says nothing this version knows"
                        } else {
                            "the frame breaks the chain"
                        };
                        scan.damage.push(Damage { at, what, entry });
                    }
                }
                at = end;
            }
            At::Wrong => {
                scan.damage.push(Damage { at, what: "no frame begins here", entry: None });
                at = (at + 1..bytes.len()).find(|&next| is_sound(stream, bytes, next)).unwrap_or(bytes.len());
            }
        }
    }
    scan
}

/// Whether a frame begins here that continues what stands before it.
fn is_sound(stream: &str, bytes: &[u8], at: usize) -> bool {
    match look(bytes, at) {
        At::Frame { framed, chain, .. } => link(&chain_before(stream, bytes, at), framed) == *chain,
        At::Torn | At::Wrong => false,
    }
}

/// The file of a stream.
pub(super) fn path(root: &Path, stream: &str) -> PathBuf {
    root.join("log").join(stream)
}

/// A log stream under the kernel's lock, which ends with this value or with its process.
pub(super) struct Appender {
    file: File,
    path: PathBuf,
    stream: String,
}

impl Appender {
    /// Opens the stream, making it where there is none, and waits for the lock.
    pub fn lock(root: &Path, stream: &str) -> Result<Appender, LedgerError> {
        let dir = root.join("log");
        object::make_dir(&dir)?;
        let path = path(root, stream);
        // Refuses a link; a file that appears in between is a log that another writer made.
        object::is_plain_file(&path)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(&path).map_err(io_error(&path, "open the log"))?;
        file.lock().map_err(io_error(&path, "lock the log"))?;
        Ok(Appender { file, path, stream: stream.to_owned() })
    }

    /// Appends an entry unless it is listed already, first cutting a frame that was never finished. When this returns,
    /// the entry is durable; the number is the bytes that were cut.
    pub fn append(&mut self, entry: Entry) -> Result<u64, LedgerError> {
        let failed = |doing| io_error(&self.path, doing);
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map_err(failed("read the log"))?;
        let scan = scan(&self.stream, &bytes);
        let whole = scan.torn.unwrap_or(bytes.len());
        let cut = (bytes.len() - whole) as u64;
        if cut > 0 {
            self.file.set_len(whole as u64).map_err(failed("cut the unfinished frame off the log"))?;
        }
        if !scan.entries.contains(&entry) {
            let frame = frame(&chain_before(&self.stream, &bytes, whole), &entry);
            if let Err(e) = self.file.write_all(&frame).and_then(|()| self.file.sync_all()) {
                // Not acknowledged, so it should not be listed; where even this fails, the next append repairs it.
                let _ = self.file.set_len(whole as u64);
                return Err(failed("append to the log")(e));
            }
        } else {
            self.file.sync_all().map_err(failed("sync the log"))?;
        }
        if whole == 0 {
            object::sync_dir(self.path.parent().unwrap_or(&self.path))?;
        }
        Ok(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u8) -> Vec<Entry> {
        (0..count).map(|i| Entry::Run { id: Id::from_bytes([i; 32]) }).collect()
    }

    /// A log of these entries, and where each frame ends.
    fn log(entries: &[Entry]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for entry in entries {
            let next = frame(&chain_before("main", &bytes, bytes.len()), entry);
            bytes.extend(next);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn the_first_frame_is_fixed() {
        let (bytes, _) = log(&entries(1));
        assert_eq!(
            Id::of_bytes(Kind::Blob, &bytes).to_string(),
            "2cc56f5c8db16b7b46552bdfce46b72a545ead28df1fb56d7701c3474b235564"
        );
        assert_eq!(bytes[..HEAD], [bytes.len() as u8 - 40, 0, 0, 0, 255 - (bytes.len() as u8 - 40), 255, 255, 255]);
    }

    #[test]
    fn a_whole_log_is_read_whole() {
        let (bytes, _) = log(&entries(4));
        assert_eq!(scan("main", &bytes), Scan { entries: entries(4), ..Scan::default() });
        assert_eq!(scan("main", &[]), Scan::default());
    }

    #[test]
    fn every_cut_within_a_frame_is_a_torn_tail() {
        let (bytes, ends) = log(&entries(3));
        for cut in 0..bytes.len() {
            let scan = scan("main", &bytes[..cut]);
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let start = if whole == 0 { 0 } else { ends[whole - 1] };
            assert_eq!(scan.entries, entries(whole as u8), "cut at {cut}");
            assert_eq!(scan.torn, (cut > start).then_some(start), "cut at {cut}");
            assert_eq!(scan.damage, [], "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_damage_and_leaves_the_others_readable() {
        let (bytes, ends) = log(&entries(4));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let scan = scan("main", &flipped);
                assert!(!scan.damage.is_empty(), "bit {bit} of byte {at}");
                assert_eq!(scan.torn, None, "bit {bit} of byte {at}: what was acknowledged is never cut");
                let hit = ends.iter().position(|&end| at < end).unwrap();
                for (i, entry) in entries(4).iter().enumerate() {
                    // A flip in a chain also leaves the next frame without its proof.
                    let in_doubt = i == hit || (i == hit + 1 && at >= ends[hit] - CHAIN);
                    assert_eq!(scan.entries.contains(entry), !in_doubt, "bit {bit} of byte {at}, entry {i}");
                }
            }
        }
    }

    #[test]
    fn frames_taken_out_swapped_doubled_or_renamed_break_the_chain() {
        let (bytes, ends) = log(&entries(3));
        let part = |i: usize| &bytes[if i == 0 { 0 } else { ends[i - 1] }..ends[i]];
        for frames in [&[0, 2][..], &[1, 2], &[0, 2, 1], &[1, 0, 2], &[0, 1, 1, 2], &[0, 1, 2, 0]] {
            let log = frames.iter().map(|&i| part(i)).collect::<Vec<_>>().concat();
            assert!(!scan("main", &log).damage.is_empty(), "{frames:?}");
        }
        assert!(!scan("other", &bytes).damage.is_empty());
    }

    #[test]
    fn zeros_after_a_crash_are_torn_and_garbage_is_damage() {
        let (mut bytes, ends) = log(&entries(2));
        bytes.extend([0; 100]);
        assert_eq!(scan("main", &bytes).torn, Some(ends[1]));
        bytes.extend([7; 100]);
        let found = scan("main", &bytes);
        assert_eq!((found.torn, found.damage.len()), (None, 1));
        // A frame appended after garbage is found again.
        let next = frame(&chain_before("main", &bytes, bytes.len()), &entries(3)[2]);
        bytes.extend(next);
        assert_eq!(scan("main", &bytes).entries, entries(3));
    }

    #[test]
    fn stream_names_stay_in_their_directory() {
        for name in ["main", "a", "0-9"] {
            assert!(is_stream_name(name));
        }
        for name in ["", ".", "..", "a/b", "A", "a.b", "nul\0", "é", &"a".repeat(65)] {
            assert!(!is_stream_name(name), "{name}");
        }
    }
}
