//! The frames of a log stream: only ever appended, each chained to the one before it.
//!
//! A frame is its head (the payload's length and the complement of that length, 4 bytes little-endian each), the
//! payload (CBOR of an [`Entry`]) and its chain: BLAKE3 under the key `metadsl 2026 log` of the previous frame's
//! chain, head and payload. Before the first frame of a stream stands the BLAKE3 hash of its name under the key
//! `metadsl 2026 stream`, before the first frame of a later segment the chain of the frame before it. Flips, cuts in
//! the middle, reordering and a stream under another's name break a chain. The complement tells a length that was
//! damaged from a frame that was never finished, so only the latter is ever cut.

use std::sync::LazyLock;

use super::refs;
use crate::hash::{Bytes, Canonical, DecodeError, Id, Kind, cbor, variants};

const HEAD: usize = 8;
/// The bytes of a chain, which also begin every segment.
pub(super) const CHAIN: usize = 32;
/// Longer payloads are not written, so a length beyond this is damage.
const MAX_PAYLOAD: usize = 1 << 20;

/// A link of the chain.
pub(super) type Chain = [u8; CHAIN];

variants! {
    /// What a frame of the log says.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Entry {
        /// The run is complete and durable: it and what it needs lie in that pack. It answers that input; `cells` has the
        /// first 8 bytes of every cell's key, in the order of the result.
        Run { id: Id, pack: Id, input: Id, cells: Bytes },
        /// The comparison of a replay is durable.
        Verdict { id: Id, pack: Id },
        /// A note is durable.
        Note { id: Id, pack: Id },
        /// A run of another program is durable.
        Import { id: Id, pack: Id },
        /// The run is no longer wanted: it is not listed, and `gc` may set its pack aside.
        Tombstone { id: Id },
    }
}

impl Entry {
    /// The object that the entry lists; none for a tombstone.
    pub fn object(&self) -> Option<(Kind, Id)> {
        match self {
            Entry::Run { id, .. } => Some((Kind::Run, *id)),
            Entry::Verdict { id, .. } => Some((Kind::Verdict, *id)),
            Entry::Note { id, .. } => Some((Kind::Note, *id)),
            Entry::Import { id, .. } => Some((Kind::Imported, *id)),
            Entry::Tombstone { .. } => None,
        }
    }

    /// The pack that the entry makes part of the ledger.
    pub fn pack(&self) -> Option<Id> {
        match self {
            Entry::Run { pack, .. }
            | Entry::Verdict { pack, .. }
            | Entry::Note { pack, .. }
            | Entry::Import { pack, .. } => Some(*pack),
            Entry::Tombstone { .. } => None,
        }
    }

    /// The run that the entry lists.
    pub fn run(&self) -> Option<Id> {
        match self {
            Entry::Run { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The run that the entry takes off all listings.
    pub fn buries(&self) -> Option<Id> {
        match self {
            Entry::Tombstone { id } => Some(*id),
            _ => None,
        }
    }

    /// The first 8 bytes of the key of every cell of the run that the entry lists.
    pub fn cell_prefixes(&self) -> impl Iterator<Item = &[u8]> {
        let cells = match self {
            Entry::Run { cells, .. } => &cells.0[..],
            _ => &[],
        };
        cells.chunks_exact(8)
    }
}

/// A sound frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    /// The byte of its segment where it begins.
    pub at: usize,
    /// The encoded entry.
    pub payload: Vec<u8>,
}

impl Frame {
    /// What the frame says.
    pub fn entry(&self) -> Result<Entry, DecodeError> {
        refs::read(&self.payload)
    }
}

/// What the bytes of a segment say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    /// All sound frames, in their order.
    pub frames: Vec<Frame>,
    /// Damaged stretches.
    pub damage: Vec<Damage>,
    /// Where a frame begins that was never finished.
    pub torn: Option<usize>,
}

/// A stretch of a segment that is not a sound frame.
#[derive(Debug, PartialEq)]
pub(super) struct Damage {
    /// The byte where it begins.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What the frame says, where that can still be read.
    pub entry: Option<Entry>,
}

/// Whether a log stream may have this name: a plain file name on every system.
pub(super) fn is_stream_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// What stands before the first frame of a stream.
pub(super) fn origin(stream: &str) -> Chain {
    blake3::derive_key("metadsl 2026 stream", stream.as_bytes())
}

fn link(before: &Chain, framed: &[u8]) -> Chain {
    // The key is derived once for all frames.
    static LINK: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("metadsl 2026 log"));
    *LINK.clone().update(before).update(framed).finalize().as_bytes()
}

/// The chain that stands before byte `at` of a segment.
pub(super) fn chain_before(bytes: &[u8], at: usize) -> Option<&Chain> {
    at.checked_sub(CHAIN).and_then(|start| bytes.get(start..at)).and_then(|chain| chain.try_into().ok())
}

/// The bytes of a frame.
pub(super) fn frame(before: &Chain, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload is within its limit");
    let mut bytes = [&length.to_le_bytes()[..], &(!length).to_le_bytes(), payload].concat();
    let chain = link(before, &bytes);
    bytes.extend_from_slice(&chain);
    bytes
}

/// The encoding of an entry; too long a one is refused.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, DecodeError> {
    let payload = cbor::encode(&entry.to_value());
    if payload.len() > MAX_PAYLOAD {
        return Err(DecodeError::new(format!("an entry of the log has at most {MAX_PAYLOAD} bytes")));
    }
    Ok(payload)
}

/// What stands at a byte of a segment.
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

/// Reads a segment; whatever is damaged, the sound frames around it are found.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    if bytes.len() < CHAIN || bytes.iter().all(|&b| b == 0) {
        scan.torn = Some(0);
        return scan;
    }
    let mut at = CHAIN;
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
            At::Frame { framed, end, .. } => {
                let payload = framed[HEAD..].to_vec();
                if is_sound(bytes, at) {
                    scan.frames.push(Frame { at, payload });
                } else {
                    let entry = refs::read(&payload).ok();
                    // A power failure may also keep the length and lose the end of the last frame.
                    if end == bytes.len() && tail_is_lost(&bytes[at..]) {
                        scan.torn = Some(at);
                        break;
                    }
                    scan.damage.push(Damage { at, what: "the frame breaks the chain".to_owned(), entry });
                }
                at = end;
            }
            At::Wrong => {
                scan.damage.push(Damage { at, what: "no frame begins here".to_owned(), entry: None });
                at = (at + 1..bytes.len()).find(|&next| is_sound(bytes, next)).unwrap_or(bytes.len());
            }
        }
    }
    scan
}

/// Whether the last frame ends in a block of zeros where its chain should be, as a lost write leaves it.
fn tail_is_lost(frame: &[u8]) -> bool {
    frame[frame.len() - CHAIN..].iter().all(|&b| b == 0)
}

/// Whether a frame begins here that continues what stands before it.
fn is_sound(bytes: &[u8], at: usize) -> bool {
    match (look(bytes, at), chain_before(bytes, at)) {
        (At::Frame { framed, chain, .. }, Some(before)) => link(before, framed) == *chain,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u8) -> Vec<Entry> {
        (0..count).map(|i| Entry::Tombstone { id: Id::from_bytes([i; 32]) }).collect()
    }

    /// A segment of these entries, and where each frame ends.
    fn log(entries: &[Entry]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (origin("main").to_vec(), Vec::new());
        for entry in entries {
            append(&mut bytes, entry);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn append(bytes: &mut Vec<u8>, entry: &Entry) {
        let next = frame(chain_before(bytes, bytes.len()).unwrap(), &encode(entry).unwrap());
        bytes.extend(next);
    }

    fn found(scan: &Scan) -> Vec<Entry> {
        scan.frames.iter().map(|frame| frame.entry().unwrap()).collect()
    }

    #[test]
    fn the_first_frame_is_fixed() {
        let (bytes, _) = log(&entries(1));
        assert_eq!(
            Id::of_bytes(Kind::Blob, &bytes).to_string(),
            "eb950761414c6590be9b2a8bcfc2376a41fddea6cbe107d31ec8a8b682a660b1"
        );
        let length = bytes.len() as u8 - 72;
        assert_eq!(bytes[CHAIN..CHAIN + HEAD], [length, 0, 0, 0, 255 - length, 255, 255, 255]);
    }

    #[test]
    fn a_whole_segment_is_read_whole() {
        let (bytes, _) = log(&entries(4));
        let scan = scan(&bytes);
        assert_eq!((found(&scan), &scan.damage[..], scan.torn), (entries(4), &[][..], None));
    }

    #[test]
    fn every_cut_within_a_frame_is_a_torn_tail() {
        let (bytes, ends) = log(&entries(3));
        for cut in 0..bytes.len() {
            let scan = scan(&bytes[..cut]);
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let start = match (whole, cut >= CHAIN) {
                (0, true) => CHAIN,
                (0, false) => 0,
                _ => ends[whole - 1],
            };
            assert_eq!(found(&scan), entries(whole as u8), "cut at {cut}");
            assert_eq!(scan.torn, (cut > start || cut == 0).then_some(start), "cut at {cut}");
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
                let scan = scan(&flipped);
                assert!(!scan.damage.is_empty(), "bit {bit} of byte {at}");
                assert_eq!(scan.torn, None, "bit {bit} of byte {at}: what was acknowledged is never cut");
                let hit = ends.iter().position(|&end| at < end).unwrap();
                for (i, entry) in entries(4).iter().enumerate() {
                    // A flip in a chain also leaves the next frame without its proof.
                    let in_doubt = i == hit || (i == hit + 1 && at >= ends[hit] - CHAIN);
                    assert_eq!(found(&scan).contains(entry), !in_doubt, "bit {bit} of byte {at}, entry {i}");
                }
            }
        }
    }

    #[test]
    fn frames_taken_out_swapped_or_doubled_break_the_chain() {
        let (bytes, ends) = log(&entries(3));
        let part = |i: usize| &bytes[if i == 0 { CHAIN } else { ends[i - 1] }..ends[i]];
        for frames in [&[0, 2][..], &[1, 2], &[0, 2, 1], &[1, 0, 2], &[0, 1, 1, 2], &[0, 1, 2, 0]] {
            let frames = frames.iter().map(|&i| part(i)).collect::<Vec<_>>().concat();
            assert!(!scan(&[&bytes[..CHAIN], &frames].concat()).damage.is_empty(), "{frames:?}");
        }
        assert!(!scan(&[&origin("other")[..], &bytes[CHAIN..]].concat()).damage.is_empty());
    }

    #[test]
    fn zeros_after_a_crash_are_torn_and_garbage_is_damage() {
        let (mut bytes, ends) = log(&entries(2));
        bytes.extend([0; 100]);
        assert_eq!(scan(&bytes).torn, Some(ends[1]));
        bytes.extend([7; 100]);
        let damaged = scan(&bytes);
        assert_eq!((damaged.torn, damaged.damage.len()), (None, 1));
        // A frame appended after garbage is found again.
        append(&mut bytes, &entries(3)[2]);
        assert_eq!(found(&scan(&bytes)), entries(3));
        // Nothing but zeros is a segment that was never begun; a last chain of zeros is a frame never finished.
        assert_eq!(scan(&[0; 100]).torn, Some(0));
        let (mut bytes, ends) = log(&entries(2));
        bytes[ends[1] - CHAIN..].fill(0);
        assert_eq!((scan(&bytes).torn, found(&scan(&bytes))), (Some(ends[0]), entries(1)));
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
