//! A remote in memory that can be damaged, that can lie, and that stops answering when told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use metadsl::hash::{Canonical, cbor};
use metadsl::ledger::{Entry, Remote};

/// The remote.
#[derive(Debug, Default, Clone)]
pub struct Shelf {
    /// Its files by name.
    pub files: RefCell<BTreeMap<String, Vec<u8>>>,
    /// How many operations it still carries out; the one after those fails, and all later ones.
    pub lives: Cell<Option<usize>>,
    /// How many requests were made.
    pub requests: Cell<usize>,
}

impl Shelf {
    fn operation(&self) -> Result<(), String> {
        self.requests.set(self.requests.get() + 1);
        match self.lives.get() {
            Some(0) => Err("the connection is gone".to_owned()),
            Some(left) => {
                self.lives.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The same files, on a remote that answers so many requests.
    pub fn dying_after(&self, requests: usize) -> Shelf {
        Shelf { files: self.files.clone(), lives: Cell::new(Some(requests)), requests: Cell::default() }
    }

    /// The names that begin so.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.files.borrow().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

impl Remote for Shelf {
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String> {
        self.operation()?;
        let folder = format!("{folder}/");
        let files = self.files.borrow();
        let inside = files.iter().filter(|(name, _)| name.starts_with(&folder));
        Ok(inside.map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
    }

    fn get(&self, names: &[String], limit: u64) -> Vec<Result<Option<Vec<u8>>, String>> {
        let read = |name: &String| {
            self.operation()?;
            let bytes = self.files.borrow().get(name).cloned();
            match bytes {
                Some(bytes) if bytes.len() as u64 > limit => Err(format!("it has more than {limit} bytes")),
                found => Ok(found),
            }
        };
        names.iter().map(read).collect()
    }

    fn create(&self, files: Vec<(String, Vec<u8>)>) -> Result<Vec<bool>, String> {
        let create = |(name, bytes): (String, Vec<u8>)| {
            self.operation()?;
            let mut known = self.files.borrow_mut();
            let new = !known.contains_key(&name);
            known.entry(name).or_insert(bytes);
            Ok(new)
        };
        files.into_iter().map(create).collect()
    }

    fn update(&self, name: &str, change: &dyn Fn(Option<Vec<u8>>) -> Option<Vec<u8>>) -> Result<(), String> {
        self.operation()?;
        let found = self.files.borrow().get(name).cloned();
        if let Some(bytes) = change(found) {
            self.files.borrow_mut().insert(name.to_owned(), bytes);
        }
        Ok(())
    }
}

/// A sound segment of one frame of the stream `main`.
pub fn segment(entry: &Entry) -> Vec<u8> {
    let origin = blake3::derive_key("metadsl 2026 stream", b"main");
    let payload = cbor::encode(&entry.to_value());
    let length = payload.len() as u32;
    let framed = [&length.to_le_bytes()[..], &(!length).to_le_bytes(), &payload].concat();
    let chain =
        *blake3::Hasher::new_derive_key("metadsl 2026 log").update(&origin).update(&framed).finalize().as_bytes();
    [&origin[..], &framed, &chain].concat()
}
