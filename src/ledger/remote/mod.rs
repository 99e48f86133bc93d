//! Ledgers elsewhere: what `push` and `pull` speak to, and how far what was pulled is trusted.
//!
//! A remote has the layout of a ledger, so one in a folder can be opened and verified like any other. But for its heads,
//! files are written once and never replaced: every push begins a new segment of a log, which the format allows, under the
//! condition that nobody else has begun it. What comes back is hashed before it gets a name in this ledger.

#[cfg(feature = "remote")]
mod bucket;
mod pull;
mod push;
pub(super) mod trust;

#[cfg(feature = "remote")]
pub use bucket::Bucket;

use super::error::LedgerError;
use super::frame;
use super::stream;

/// The longest file that is taken from a remote: a pack, a chunk, a list of chunks, a segment.
const MAX_FILE: u64 = 64 << 20;
/// How many files are asked for at a time.
const AT_A_TIME: usize = 8;

/// A place with files by name, such as `packs/<id>`. Errors are texts: what went wrong, in the remote's words.
pub trait Remote {
    /// The names that begin with `folder` and a slash, with the lengths of the files in bytes.
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String>;
    /// The contents of some files; none where there is no such file. More than `limit` bytes are an error, and not read.
    fn get(&self, names: &[String], limit: u64) -> Vec<Result<Option<Vec<u8>>, String>>;
    /// Makes files, each whole or not at all; false where a file of that name was there, which is left alone.
    fn create(&self, files: Vec<(String, Vec<u8>)>) -> Result<Vec<bool>, String>;
    /// Replaces a file by what `change` makes of it, unless another does so meanwhile: then it is asked again.
    fn update(&self, name: &str, change: &dyn Fn(Option<Vec<u8>>) -> Option<Vec<u8>>) -> Result<(), String>;
}

/// What was moved of one log stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The stream.
    pub stream: String,
    /// How many frames are new on the other side.
    pub frames: usize,
    /// How many files were moved, and their bytes.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The key of the checkpoint that vouches for the stream, and for how many frames.
    pub signed: Option<(String, u64)>,
    /// Why not everything was moved.
    pub problem: Option<String>,
}

/// The one file of that name.
fn get_one(remote: &dyn Remote, name: String) -> Result<Option<Vec<u8>>, LedgerError> {
    let found = remote.get(std::slice::from_ref(&name), MAX_FILE).pop();
    found.unwrap_or(Ok(None)).map_err(|what| LedgerError::Remote(format!("{name}: {what}")))
}

/// The segments that a remote has of one log stream, or of all, by stream and first frame.
fn segments(remote: &dyn Remote, folder: &str) -> Result<Vec<(String, u64)>, LedgerError> {
    let names = remote.list(folder).map_err(LedgerError::Remote)?;
    let segment = |(name, _): &(String, u64)| {
        let (name, number) = name.strip_prefix("log/")?.split_once('/')?;
        frame::is_stream_name(name).then_some((name.to_owned(), stream::segment_number(number)?))
    };
    // What has another name is no part of a ledger.
    let mut found: Vec<(String, u64)> = names.iter().filter_map(segment).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn segment_name(stream: &str, first: u64) -> String {
    format!("log/{stream}/{first:012}")
}

/// The name of a checkpoint on a remote: its stream, its frames, and who signed it.
fn checkpoint_name(stream: &str, frames: u64, key: &str) -> String {
    format!("checkpoints/{stream}/{frames:012}-{key}")
}
