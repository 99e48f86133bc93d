//! A pack: the small objects of one run, or of one batch, in one file that is named by its hash.
//!
//! The file is the line `metadsl pack 1`, the length of the body (8 bytes, little-endian) and the body as one zstd frame.
//! The body is, for each object, its kind (1 byte), its length (4 bytes, little-endian) and its payload. Ids are not
//! stored: they are recomputed whenever a pack is read.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hash::{Id, Kind};

const MAGIC: &[u8] = b"metadsl pack 1\n";
/// The longest body; a pack that announces more is refused before anything is set aside for it.
pub(super) const MAX_BODY: usize = 64 << 20;
/// Objects longer than this are kept in files of their own.
pub(super) const MAX_OBJECT: usize = 64 << 10;

/// How many objects a pack has at most: each takes more memory than its bytes.
pub(super) const MAX_OBJECTS: usize = 1 << 20;

/// An object: its kind and its payload.
pub(super) type Object = (Kind, Arc<Vec<u8>>);

/// Objects by id.
pub(super) type Objects = BTreeMap<Id, Object>;

/// The bytes of a pack of these objects, and its name.
pub(super) fn build(objects: &Objects) -> (Id, Vec<u8>) {
    let mut order: Vec<(u8, &Id, &Arc<Vec<u8>>)> =
        objects.iter().map(|(id, (kind, payload))| (kind.code(), id, payload)).collect();
    // Like beside like, for the compressor; the order is fixed, so the same objects make the same pack.
    order.sort_unstable();
    let mut body = Vec::new();
    for (kind, _, payload) in order {
        let length = u32::try_from(payload.len()).expect("objects in packs are small");
        body.push(kind);
        body.extend(length.to_le_bytes());
        body.extend_from_slice(payload);
    }
    let level = if body.len() <= 1 << 20 { 15 } else { 3 };
    let packed = zstd::bulk::compress(&body, level).expect("writing to memory cannot fail");
    let bytes = [MAGIC, &(body.len() as u64).to_le_bytes(), &packed].concat();
    (Id::of_bytes(Kind::Blob, &bytes), bytes)
}

/// The objects of the pack of that name, or what is wrong with it.
pub(super) fn read(name: Id, bytes: &[u8]) -> Result<Objects, String> {
    let found = Id::of_bytes(Kind::Blob, bytes);
    if found != name {
        return Err(format!("the pack hashes to {found}"));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or("its first line is not that of a pack")?;
    let (length, packed) = rest.split_first_chunk::<8>().ok_or("it ends before its body")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_BODY {
        return Err(format!("it announces {length} bytes, more than {MAX_BODY}"));
    }
    let body = inflate(packed, length)?;
    let mut objects = Objects::new();
    let mut rest = &body[..];
    while !rest.is_empty() {
        let cut = || "an object in it ends early".to_owned();
        let (head, tail) = rest.split_first_chunk::<5>().ok_or_else(cut)?;
        let kind = Kind::from_code(head[0]).ok_or_else(|| format!("{} is no kind of object", head[0]))?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let payload = tail.get(..length).ok_or_else(cut)?;
        if length > MAX_OBJECT || objects.len() == MAX_OBJECTS {
            return Err(format!("it has objects of more than {MAX_OBJECT} bytes, or more than {MAX_OBJECTS} of them"));
        }
        objects.insert(Id::of_bytes(kind, payload), (kind, Arc::new(payload.to_vec())));
        rest = &tail[length..];
    }
    Ok(objects)
}

/// Decompresses to exactly that many bytes; sets nothing aside for what is only announced.
pub(super) fn inflate(packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|e| e.to_string())?;
    let mut body = Vec::new();
    decoder.take(length as u64 + 1).read_to_end(&mut body).map_err(|e| format!("it does not decompress: {e}"))?;
    if body.len() != length {
        return Err(format!("it decompresses to another length than the {length} bytes it announces"));
    }
    Ok(body)
}

/// Where the pack of that name lies.
pub(super) fn path(root: &Path, name: Id) -> PathBuf {
    root.join("packs").join(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Objects {
        let entry = |kind, payload: &[u8]| (Id::of_bytes(kind, payload), (kind, Arc::new(payload.to_vec())));
        BTreeMap::from([entry(Kind::Blob, b"a"), entry(Kind::Series, b""), entry(Kind::Blob, &[7; 1000])])
    }

    #[test]
    fn what_is_packed_comes_back() {
        for objects in [objects(), Objects::new()] {
            let (name, bytes) = build(&objects);
            assert_eq!(read(name, &bytes), Ok(objects));
        }
    }

    #[test]
    fn every_bit_of_a_pack_counts() {
        let (name, bytes) = build(&objects());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(read(name, &flipped).is_err(), "bit {bit} of byte {at}");
            }
            assert!(read(name, &bytes[..at]).is_err());
        }
    }

    #[test]
    fn a_pack_cannot_announce_what_it_does_not_hold() {
        let named = |bytes: &[u8]| read(Id::of_bytes(Kind::Blob, bytes), bytes);
        let (_, bytes) = build(&objects());
        for length in [0u64, 1, 1 << 20, 1 << 60, u64::MAX] {
            let mut lying = bytes.clone();
            lying[MAGIC.len()..MAGIC.len() + 8].copy_from_slice(&length.to_le_bytes());
            assert!(named(&lying).is_err(), "{length}");
        }
        // A bomb: many megabytes of zeros in some kilobytes.
        let bomb = zstd::stream::encode_all(std::io::repeat(0).take(1 << 26), 3).unwrap();
        let bomb = [MAGIC, &(1u64 << 20).to_le_bytes(), &bomb].concat();
        assert!(named(&bomb).is_err());
        for body in [&[12, 5, 0, 0, 0, 1][..], &[200, 0, 0, 0, 0], &[12, 255, 255, 255, 255], &[12, 0]] {
            let packed = zstd::bulk::compress(body, 3).unwrap();
            let bytes = [MAGIC, &(body.len() as u64).to_le_bytes(), &packed].concat();
            assert!(named(&bytes).is_err(), "{body:?}");
        }
    }
}
