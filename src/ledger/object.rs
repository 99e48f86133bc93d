//! An object in a file of its own: what is too large for a pack.
//!
//! The file is the line `metadsl object 1 KIND CODEC`, the stored bytes, and 32 bytes that hash all before them. The
//! codec is `raw`, `zstd`, or `chunks`: then the stored bytes list blobs that, one after the other, are the payload.
//! Chunks are cut where their content says (FastCDC), so two checkpoints that share most bytes share most chunks.

use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use fastcdc::v2020::StreamCDC;

use super::error::{LedgerError, io_error};
use super::place::Place;
use super::refs;
use crate::hash::{Canonical, Id, Kind, cbor, record};

const MAGIC: &str = "metadsl object 1 ";
const FILE_KEY: &str = "metadsl 2026 file";
const CHECK: usize = 32;
/// Payloads beyond this are cut into chunks. Part of the format: FastCDC (2020) with chunks of these sizes.
const CHUNKED: usize = 4 << 20;
const MIN_CHUNK: usize = 256 << 10;
const MEAN_CHUNK: usize = 1 << 20;
const MAX_CHUNK: usize = 4 << 20;

record! {
    /// A piece of a large payload.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Chunk {
        /// The blob with its bytes.
        pub blob: Id,
        /// Its length.
        pub bytes: u64,
    }
}

/// How the payload lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Raw,
    Zstd,
    Chunks,
}

impl Codec {
    fn name(self) -> &'static str {
        match self {
            Codec::Raw => "raw",
            Codec::Zstd => "zstd",
            Codec::Chunks => "chunks",
        }
    }
}

/// The payload of an object file as it was read, without another copy.
pub(super) struct Payload {
    bytes: Vec<u8>,
    start: usize,
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// An object file whose own bytes are sound.
struct Stored {
    kind: Kind,
    codec: Codec,
    bytes: Payload,
}

/// What an object file is, without what a chunked one refers to.
pub(super) struct Loose {
    /// Its kind.
    pub kind: Kind,
    /// The payload; none of an object in chunks, and none where it was not asked for.
    pub payload: Option<Payload>,
    /// Its chunks, in their order; a list that is read from a file may be empty.
    pub chunks: Vec<Chunk>,
}

/// `objects/ab/cd..`, as remotes name it.
pub(super) fn name(id: Id) -> String {
    let hex = id.to_string();
    format!("objects/{}/{}", &hex[..2], &hex[2..])
}

/// `objects/ab/cd..`, relative to the ledger.
pub(super) fn file(id: Id) -> PathBuf {
    PathBuf::from(name(id))
}

/// Stores a payload that comes piece by piece, in constant memory; gives its id. A file that is there already is
/// left alone.
pub(super) fn write(place: &Place, kind: Kind, payload: impl Read) -> Result<Id, LedgerError> {
    let mut hasher = Id::hasher(kind);
    let mut chunks = Vec::new();
    let mut small = Vec::new();
    let mut payload = payload;
    payload.by_ref().take(CHUNKED as u64 + 1).read_to_end(&mut small).map_err(reading)?;
    if small.len() <= CHUNKED {
        let id = Id::of_bytes(kind, &small);
        write_whole(place, kind, id, &small)?;
        return Ok(id);
    }
    let whole = io::Cursor::new(small).chain(payload);
    for piece in StreamCDC::new(whole, MIN_CHUNK, MEAN_CHUNK, MAX_CHUNK) {
        let piece = piece.map_err(|e| reading(e.into()))?.data;
        hasher.update(&piece);
        let blob = Id::of_bytes(Kind::Blob, &piece);
        write_whole(place, Kind::Blob, blob, &piece)?;
        chunks.push(Chunk { blob, bytes: piece.len() as u64 });
    }
    let id = Id::from_bytes(*hasher.finalize().as_bytes());
    write_file(place, kind, Codec::Chunks, id, &cbor::encode(&chunks.to_value()))?;
    Ok(id)
}

fn reading(source: io::Error) -> LedgerError {
    LedgerError::Io { path: PathBuf::from("the object"), doing: "read it", source }
}

fn write_whole(place: &Place, kind: Kind, id: Id, payload: &[u8]) -> Result<(), LedgerError> {
    let packed = zstd::bulk::compress(payload, 3).map_err(reading)?;
    // Weights hardly shrink; what does not is kept as it is, which reads faster.
    if packed.len() < payload.len() / 10 * 9 {
        write_file(place, kind, Codec::Zstd, id, &packed)
    } else {
        write_file(place, kind, Codec::Raw, id, payload)
    }
}

fn write_file(place: &Place, kind: Kind, codec: Codec, id: Id, stored: &[u8]) -> Result<(), LedgerError> {
    let path = place.root.join(file(id));
    if place.is_file(&path)? {
        // What is there is never replaced, and nothing damaged is built upon.
        return read_loose(place, id).map(|_| ());
    }
    let header = format!("{MAGIC}{} {}\n", kind.name(), codec.name());
    let mut check = blake3::Hasher::new_derive_key(FILE_KEY);
    check.update(header.as_bytes()).update(stored);
    place.write(&path, &[header.as_bytes(), stored, check.finalize().as_bytes()])
}

/// Reads an object file and checks it, but for the contents of chunks; none where there is no such file.
pub(super) fn read_loose(place: &Place, id: Id) -> Result<Option<Loose>, LedgerError> {
    let path = place.root.join(file(id));
    place.read(&path)?.map(|bytes| check(&path, id, bytes)).transpose()
}

/// Checks the bytes of an object file, but for the contents of chunks.
pub(super) fn check(path: &Path, id: Id, bytes: Vec<u8>) -> Result<Loose, LedgerError> {
    let damaged = |what| LedgerError::Damaged { path: path.to_owned(), what };
    let Stored { kind, codec, bytes } = open(bytes).map_err(damaged)?;
    if codec == Codec::Chunks {
        let path = path.to_owned();
        let chunks = refs::read(&bytes).map_err(|error| LedgerError::Malformed { path, error })?;
        return Ok(Loose { kind, payload: None, chunks });
    }
    let payload = match codec {
        Codec::Zstd => Payload { bytes: inflate(&bytes).map_err(damaged)?, start: 0 },
        _ => bytes,
    };
    let found = Id::of_bytes(kind, &payload);
    if found != id {
        let meant = Kind::ALL.into_iter().find(|&other| Id::of_bytes(other, &payload) == id);
        return Err(damaged(match meant {
            Some(meant) => format!("it is a {} object that calls itself {}", meant.name(), kind.name()),
            None => format!("its {} payload hashes to {found}", kind.name()),
        }));
    }
    Ok(Loose { kind, payload: Some(payload), chunks: Vec::new() })
}

/// What an object file is, from its first line; read whole only where it has chunks or references.
pub(super) fn peek(place: &Place, id: Id) -> Result<Option<Loose>, LedgerError> {
    match look(place, id)? {
        None => Ok(None),
        Some((kind, codec)) if codec == Codec::Chunks || refs::has_references(kind) => read_loose(place, id),
        Some((kind, _)) => Ok(Some(Loose { kind, payload: None, chunks: Vec::new() })),
    }
}

/// Whether an object file calls itself a list of chunks; one that cannot be read does not.
pub(super) fn is_chunked(place: &Place, id: Id) -> bool {
    look(place, id).is_ok_and(|found| found.is_some_and(|(_, codec)| codec == Codec::Chunks))
}

/// The first line of an object file; none where there is no such file.
fn look(place: &Place, id: Id) -> Result<Option<(Kind, Codec)>, LedgerError> {
    let path = place.root.join(file(id));
    if !place.is_file(&path)? {
        return Ok(None);
    }
    let mut line = Vec::new();
    let read = place.fs.open(&path).and_then(|file| file.take(64).read_to_end(&mut line));
    read.map_err(io_error(&path, "read the object"))?;
    match first_line(&line) {
        Ok((kind, codec, _)) => Ok(Some((kind, codec))),
        Err(what) => Err(LedgerError::Damaged { path, what }),
    }
}

/// The payload of a file that has been checked before, not hashed again: for a hash of more than this file, in which any
/// damage since then shows.
pub(super) fn read_checked(place: &Place, id: Id) -> Result<Option<Payload>, LedgerError> {
    let path = place.root.join(file(id));
    let Some(mut bytes) = place.read(&path)? else { return Ok(None) };
    let damaged = |what| LedgerError::Damaged { path: path.clone(), what };
    let (_, codec, start) = first_line(&bytes).map_err(damaged)?;
    bytes.truncate(bytes.len().saturating_sub(CHECK).max(start));
    match codec {
        Codec::Chunks => Ok(None),
        Codec::Zstd => Ok(Some(Payload { bytes: inflate(&bytes[start..]).map_err(damaged)?, start: 0 })),
        Codec::Raw => Ok(Some(Payload { bytes, start })),
    }
}

/// Decompresses a payload of at most [`CHUNKED`] bytes.
fn inflate(packed: &[u8]) -> Result<Vec<u8>, String> {
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|e| e.to_string())?;
    let mut payload = Vec::new();
    decoder.take(CHUNKED as u64 + 1).read_to_end(&mut payload).map_err(|e| format!("it does not decompress: {e}"))?;
    if payload.len() > CHUNKED {
        return Err(format!("it decompresses to more than {CHUNKED} bytes"));
    }
    Ok(payload)
}

/// Kind and codec of an object file, and where its first line ends.
fn first_line(bytes: &[u8]) -> Result<(Kind, Codec, usize), String> {
    let wrong = || "its first line is not that of an object, such as `metadsl object 1 weights raw`".to_owned();
    let end = bytes.iter().take(64).position(|&b| b == b'\n').ok_or_else(wrong)?;
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| wrong())?;
    let (kind, codec) = line.strip_prefix(MAGIC).and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
    let kind = Kind::from_name(kind).ok_or_else(wrong)?;
    let codecs = [Codec::Raw, Codec::Zstd, Codec::Chunks];
    let codec = codecs.into_iter().find(|c| c.name() == codec).ok_or_else(wrong)?;
    Ok((kind, codec, end + 1))
}

fn open(mut bytes: Vec<u8>) -> Result<Stored, String> {
    let (kind, codec, start) = first_line(&bytes)?;
    let whole = bytes.len().checked_sub(CHECK).filter(|&whole| whole >= start).ok_or("it ends early")?;
    if blake3::derive_key(FILE_KEY, &bytes[..whole]) != bytes[whole..] {
        return Err("its last 32 bytes are not the hash of the others".to_owned());
    }
    bytes.truncate(whole);
    Ok(Stored { kind, codec, bytes: Payload { bytes, start } })
}

/// How many bytes the payload of an object file has; none where there is no such file.
pub(super) fn length(place: &Place, id: Id) -> Result<Option<u64>, LedgerError> {
    let length = |loose: Loose| match loose.payload {
        Some(payload) => payload.len() as u64,
        None => loose.chunks.iter().fold(0, |sum: u64, chunk| sum.saturating_add(chunk.bytes)),
    };
    Ok(read_loose(place, id)?.map(length))
}

/// Writes an object's payload out, chunk by chunk, and checks its id at the end: what was written must not be used
/// where this fails. None where there is no such object file.
pub(super) fn copy(place: &Place, id: Id, out: &mut impl Write) -> Result<Option<Kind>, LedgerError> {
    let path = place.root.join(file(id));
    let Some(loose) = read_loose(place, id)? else { return Ok(None) };
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(io_error(&path, "copy the object"));
    if let Some(payload) = loose.payload {
        put(&payload)?;
        return Ok(Some(loose.kind));
    }
    let mut hasher = Id::hasher(loose.kind);
    for chunk in loose.chunks {
        let missing =
            || LedgerError::Missing { kind: Kind::Blob, id: chunk.blob, path: place.root.join(file(chunk.blob)) };
        let piece = read_loose(place, chunk.blob)?.and_then(|loose| loose.payload).ok_or_else(missing)?;
        hasher.update(&piece);
        put(&piece)?;
    }
    let found = Id::from_bytes(*hasher.finalize().as_bytes());
    if found != id {
        let what = format!("its chunks hash to {found}");
        return Err(LedgerError::Damaged { path, what });
    }
    Ok(Some(loose.kind))
}
