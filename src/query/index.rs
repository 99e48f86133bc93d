//! The derived index: every field of every run in one file, small enough to be read whole for each query.
//!
//! ```text
//! "metadsl index 1\n"
//! 0x00, length u32, bytes                                   a text; texts are numbered from 0
//! 0x01, run id (32 bytes), count u32, count entries         a run
//!       entry: key u32 (a text), 0x00 and f64 bits, or 0x01 and u64 (a text)
//! BLAKE3 of all before (32 bytes)
//! ```
//!
//! Integers are little-endian. A file that is not exactly this is as good as none: the index is made anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::hash::{Id, Kind};

const HEAD: &[u8] = b"metadsl index 1\n";

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A value as a row holds it: texts by number.
#[derive(Debug, Clone, Copy)]
enum Stored {
    Number(f64),
    Text(u32),
}

/// The fields of the runs of a ledger.
#[derive(Debug, Default)]
pub struct Index {
    texts: Vec<String>,
    /// Which of the texts are keys; what they are asked is not asked of all that runs say.
    keys: Vec<bool>,
    numbers: HashMap<String, u32>,
    rows: Vec<(Id, std::ops::Range<usize>)>,
    /// The entries of all rows, one row behind the other.
    entries: Vec<(u32, Stored)>,
}

/// One run of an index.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    index: &'a Index,
    at: usize,
}

impl Index {
    /// Reads the bytes of an index; `None` where they are not exactly what [`Index::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Index> {
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Id::of_bytes(Kind::Blob, content).as_bytes() != hash {
            return None;
        }
        let mut reader = Reader(content.strip_prefix(HEAD)?);
        let mut index = Index::default();
        while !reader.0.is_empty() {
            match reader.byte()? {
                0 if index.rows.is_empty() => {
                    let length = reader.u32()? as usize;
                    index.texts.push(std::str::from_utf8(reader.take(length)?).ok()?.to_owned());
                    index.keys.push(false);
                }
                1 => {
                    let id = Id::from_bytes(reader.take(32)?.try_into().ok()?);
                    let start = index.entries.len();
                    for _ in 0..reader.u32()? {
                        let key = reader.known(index.texts.len())?;
                        let value = match reader.byte()? {
                            0 => Stored::Number(f64::from_bits(reader.u64()?)),
                            1 => Stored::Text(reader.known_long(index.texts.len())?),
                            _ => return None,
                        };
                        index.keys[key as usize] = true;
                        index.entries.push((key, value));
                    }
                    index.rows.push((id, start..index.entries.len()));
                }
                _ => return None,
            }
        }
        Some(index)
    }

    /// The bytes of the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = HEAD.to_vec();
        for text in &self.texts {
            out.push(0);
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }
        for (id, range) in &self.rows {
            out.push(1);
            out.extend(id.as_bytes());
            out.extend((range.len() as u32).to_le_bytes());
            for (key, value) in &self.entries[range.clone()] {
                out.extend(key.to_le_bytes());
                let (tag, word) = match value {
                    Stored::Number(x) => (0, x.to_bits()),
                    Stored::Text(i) => (1, u64::from(*i)),
                };
                out.push(tag);
                out.extend(word.to_le_bytes());
            }
        }
        let hash = Id::of_bytes(Kind::Blob, &out);
        out.extend(hash.as_bytes());
        out
    }

    /// The runs it holds.
    pub fn runs(&self) -> BTreeSet<Id> {
        self.rows.iter().map(|(id, _)| *id).collect()
    }

    /// Takes a run in.
    pub fn push(&mut self, id: Id, fields: Vec<(String, Entry)>) {
        if self.numbers.is_empty() {
            self.numbers = self.texts.iter().enumerate().map(|(i, t)| (t.clone(), i as u32)).collect();
        }
        let start = self.entries.len();
        for (key, value) in fields {
            let key = self.number(key);
            self.keys[key as usize] = true;
            let value = match value {
                Entry::Number(x) => Stored::Number(x),
                Entry::Text(text) => Stored::Text(self.number(text)),
            };
            self.entries.push((key, value));
        }
        self.rows.push((id, start..self.entries.len()));
    }

    fn number(&mut self, text: String) -> u32 {
        if let Some(&number) = self.numbers.get(&text) {
            return number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.clone(), number);
        self.texts.push(text);
        self.keys.push(false);
        number
    }

    /// Keeps the runs that are listed, in the order of the list.
    pub fn arrange(&mut self, listed: &[Id]) {
        let places: HashMap<Id, usize> = listed.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        self.rows.retain(|(id, _)| places.contains_key(id));
        self.rows.sort_by_key(|(id, _)| places[id]);
    }

    /// Its rows, in the order of [`Index::arrange`], else that in which they were taken in.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.rows.len()).map(|at| Row { index: self, at })
    }

    /// The keys that some run has.
    pub fn keys(&self) -> BTreeSet<&str> {
        self.kinds().into_keys().collect()
    }

    /// The same, and whether a run that is listed has a number there.
    pub(super) fn kinds(&self) -> BTreeMap<&str, bool> {
        let mut numbers = vec![false; self.texts.len()];
        for (_, row) in &self.rows {
            for (key, value) in &self.entries[row.clone()] {
                numbers[*key as usize] |= matches!(value, Stored::Number(_));
            }
        }
        let texts = self.texts.iter().map(String::as_str).zip(numbers);
        texts.zip(&self.keys).filter(|(_, is_key)| **is_key).map(|(found, _)| found).collect()
    }

    /// Which of the texts are keys that satisfy a condition.
    pub(super) fn keys_where(&self, wanted: impl Fn(&str) -> bool) -> Vec<bool> {
        self.texts.iter().zip(&self.keys).map(|(text, is_key)| *is_key && wanted(text)).collect()
    }
}

impl<'a> Row<'a> {
    /// The run.
    pub fn id(self) -> Id {
        self.index.rows[self.at].0
    }

    /// The values under the keys that are marked, in the order of the row.
    pub(super) fn values(self, keys: &'a [bool]) -> impl Iterator<Item = Shown<'a>> {
        let range = self.index.rows[self.at].1.clone();
        self.index.entries[range].iter().filter(|(key, _)| keys.get(*key as usize) == Some(&true)).map(move |(_, v)| {
            match v {
                Stored::Number(x) => Shown::Number(*x),
                Stored::Text(i) => Shown::Text(&self.index.texts[*i as usize]),
            }
        })
    }
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shown<'a> {
    /// A number.
    Number(f64),
    /// A text.
    Text(&'a str),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn known(&mut self, texts: usize) -> Option<u32> {
        self.u32().filter(|&i| (i as usize) < texts)
    }

    fn known_long(&mut self, texts: usize) -> Option<u32> {
        self.u64().filter(|&i| i < texts as u64).map(|i| i as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for i in 0..3 {
            let id = Id::of_bytes(Kind::Blob, &[i]);
            index.push(id, vec![("a".into(), Entry::Number(f64::from(i))), ("b".into(), Entry::Text("x".into()))]);
        }
        index
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = index().to_bytes();
        let read = Index::from_bytes(&bytes).expect("it was just written");
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.keys(), BTreeSet::from(["a", "b"]));
        let keys = read.keys_where(|k| k == "a");
        let values: Vec<Shown> = read.rows().flat_map(|row| row.values(&keys).collect::<Vec<_>>()).collect();
        assert_eq!(values, [0.0, 1.0, 2.0].map(Shown::Number));
    }

    #[test]
    fn a_damaged_index_is_none() {
        let bytes = index().to_bytes();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(Index::from_bytes(&flipped).is_none(), "byte {at}");
            assert!(Index::from_bytes(&bytes[..at]).is_none(), "length {at}");
        }
    }
}
