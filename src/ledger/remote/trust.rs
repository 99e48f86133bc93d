//! How far pulled streams are trusted: cells that others ran count as held only where a trusted key signed for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::hash::{Canonical, cbor, record};
use crate::ledger::error::LedgerError;
use crate::ledger::frame;
use crate::ledger::listing::Listed;
use crate::ledger::refs;
use crate::ledger::sign::{self, Checkpoint};
use crate::ledger::store::Store;
use crate::ledger::stream::Stream;
use crate::ledger::vfs::Lock;

const MARK_KEY: &str = "metadsl 2026 pulled";

record! {
    /// That a stream, or its end, came by `pull`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Mark {
        /// The stream.
        pub stream: String,
        /// How many of its frames were here before.
        pub own: u64,
        /// The newest checkpoint by a key that was trusted when it was pulled; empty where there was none.
        pub checkpoint: String,
    }
}

/// The file of a mark, relative to the ledger.
pub(in crate::ledger) fn mark_file(stream: &str) -> PathBuf {
    Path::new("pulled").join(stream)
}

impl Store {
    /// The mark of a stream; none where none of it was pulled.
    pub(in crate::ledger) fn mark(&self, stream: &str) -> Result<Option<Mark>, LedgerError> {
        let path = self.root().join(mark_file(stream));
        let Some(bytes) = self.place.read(&path)? else { return Ok(None) };
        let damaged = |what: &str| LedgerError::Damaged { path: path.clone(), what: what.to_owned() };
        let (payload, check) = bytes.split_last_chunk::<32>().ok_or_else(|| damaged("it is too short for a mark"))?;
        if blake3::derive_key(MARK_KEY, payload) != *check {
            return Err(damaged("its last 32 bytes are not the hash of the others"));
        }
        let mark: Mark = refs::read(payload).map_err(|error| LedgerError::Malformed { path: path.clone(), error })?;
        if mark.stream == stream { Ok(Some(mark)) } else { Err(damaged("it is the mark of another stream")) }
    }

    pub(super) fn write_mark(&self, mark: &Mark) -> Result<(), LedgerError> {
        let payload = cbor::encode(&mark.to_value());
        let path = self.root().join(mark_file(&mark.stream));
        self.place.write(&path, &[&payload, &blake3::derive_key(MARK_KEY, &payload)])?;
        self.place.sync_dir(&self.root().join("pulled"))
    }

    /// The keys whose checkpoints make pulled cells count here, as 64 hexadecimal digits each.
    pub fn trusted(&self) -> Result<Vec<String>, LedgerError> {
        let bytes = self.place.read(&self.trust_file())?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(text.lines().filter(|line| sign::read_key(line).is_some()).map(ToOwned::to_owned).collect())
    }

    /// Trusts a key, or no longer does.
    pub fn trust(&self, key: &str, trusted: bool) -> Result<(), LedgerError> {
        let _writing = self.place.lock("writers.lock", Lock::Shared)?;
        let mut keys = self.trusted()?;
        keys.retain(|known| known != key);
        keys.extend(trusted.then(|| key.to_owned()));
        let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
        self.place.write(&self.trust_file(), &[text.as_bytes()])
    }

    /// Trust is this machine's own: a copy of the ledger does not take it along.
    fn trust_file(&self) -> PathBuf {
        self.root().join("active").join("trusted")
    }

    /// For each frame, whether its cells count as held here.
    pub(in crate::ledger) fn counted(&self, frames: &[Listed]) -> Result<Vec<bool>, LedgerError> {
        let mut limits = BTreeMap::new();
        for name in self.place.list(&self.root().join("pulled"))?.into_keys() {
            let name = name.to_string_lossy().into_owned();
            if frame::is_stream_name(&name) {
                // Of a stream whose mark cannot be read nothing counts; `verify` names it.
                limits.insert(name.clone(), self.limit(&name).unwrap_or(0));
            }
        }
        let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
        let counts = frames.iter().map(|listed| {
            let number = numbers.entry(&listed.stream).or_default();
            *number += 1;
            limits.get(&listed.stream).is_none_or(|limit| *number <= *limit)
        });
        Ok(counts.collect())
    }

    /// How many frames of a pulled stream count.
    fn limit(&self, name: &str) -> Result<u64, LedgerError> {
        let Some(mark) = self.mark(name)? else { return Ok(u64::MAX) };
        let trusted = self.trusted()?;
        let signed = sign::read_checkpoints(&mark.checkpoint).unwrap_or_default();
        let vouched = |checkpoint: &Checkpoint| checkpoint.head.stream == name && trusted.contains(&checkpoint.key);
        let Some(checkpoint) = signed.into_iter().find(vouched) else { return Ok(mark.own) };
        let log = Stream::read(&self.place, name)?;
        let holds = log.is_sound() && log.contradiction(&checkpoint.head).is_none();
        Ok(if holds { mark.own.max(checkpoint.head.frames) } else { mark.own })
    }
}
