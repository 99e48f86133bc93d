//! What can go wrong with a ledger: where, what, and how to mend it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::hash::{DecodeError, Id, Kind};

/// Why a ledger could not be opened, read or written.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The operating system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as in "read the object".
        doing: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// There is no ledger there.
    #[error("{} is not a ledger: it has no FORMAT file; `metadsl run` makes one", .0.display())]
    NotALedger(PathBuf),
    /// Something called a ledger has contents but no `FORMAT`.
    #[error("{} has a ledger's directories but no FORMAT file; restore it, or choose another directory with --ledger", .0.display())]
    FormatLost(PathBuf),
    /// The ledger's format is not the one this program knows.
    #[error(
        "{} says `{found}`; this program reads `{wanted}`: use the version of metadsl that wrote it, or restore the file",
        path.display()
    )]
    Format {
        /// The `FORMAT` file.
        path: PathBuf,
        /// Its first line.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// A link, a pipe or another thing stands where the ledger has a plain file or directory.
    #[error("{} is not a plain {wanted}; a ledger follows no links: put the thing itself there", path.display())]
    NotPlain {
        /// Where.
        path: PathBuf,
        /// `file` or `directory`.
        wanted: &'static str,
    },
    /// An object is referred to and not there.
    #[error("{}: the {} object is missing; restore the file from a copy of the ledger, or run the experiment again", path.display(), kind.name())]
    Missing {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Id,
        /// Where it should be.
        path: PathBuf,
    },
    /// A pack that the log names is not there.
    #[error("{}: the pack is missing; restore the file from a copy of the ledger, or run the experiment again", .0.display())]
    MissingPack(PathBuf),
    /// The log is shorter than, or other than, it has been.
    #[error(
        "the log stream `{stream}` was changed behind the ledger's back: {what}; restore `log/{stream}` from a copy, \
         or remove `heads/{stream}` to go on from what is left"
    )]
    RolledBack {
        /// The stream.
        stream: String,
        /// What it says now, and what it said.
        what: String,
    },
    /// A remote cannot be reached, or does not answer as one.
    #[error("the remote: {0}")]
    Remote(String),
    /// What a remote sent is not what was asked for.
    #[error("what the remote has as {name} was refused: {what}{}", kept.as_ref().map_or(String::new(), |path| format!("; it was set aside as {}", path.display())))]
    Refused {
        /// Its name on the remote.
        name: String,
        /// What is wrong with it.
        what: String,
        /// Where it lies in quarantine.
        kept: Option<PathBuf>,
    },
    /// Another process is at work on the run.
    #[error("another process is at work on {0}; wait for it, or end it")]
    Busy(String),
    /// No unfinished run has this name.
    #[error("{0} is no unfinished run; `metadsl resume --list` lists them")]
    NotUnfinished(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for the name of a file: {0}")]
    Random(String),
    /// The bytes of an object are not those that were written.
    #[error("{}: {what}; restore the file from a copy of the ledger, or delete it and run the experiment again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// An intact object is not what its kind or its reader asks for.
    #[error("{}: {error}; it was written by another version of metadsl or another program", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in the object, and what is wrong.
        error: DecodeError,
    },
    /// An object nests deeper than the encoding allows.
    #[error("the {} object nests lists and maps deeper than {limit} and could not be read back", kind.name())]
    TooDeep {
        /// Its kind.
        kind: Kind,
        /// The limit.
        limit: usize,
    },
    /// A run and its result do not belong together.
    #[error("the result {result} belongs to the input {found}, not to the run's input {wanted}")]
    InputMismatch {
        /// The result.
        result: Id,
        /// The input it names.
        found: Id,
        /// The input the run names.
        wanted: Id,
    },
    /// A run leaves out what is no part of it.
    #[error("the run leaves out {left_out}, which is no weights of its result {result}")]
    NotItsWeights {
        /// What the run leaves out.
        left_out: Id,
        /// The run's result.
        result: Id,
    },
    /// A name that no log stream may have.
    #[error("`{0}` cannot name a log stream: 1 to 64 of the characters a-z, 0-9 and `-` are wanted")]
    StreamName(String),
    /// Not the beginning of a hash.
    #[error("`{0}` is not the beginning of a hash: 6 to 64 of the digits 0-9 and a-f are wanted")]
    Prefix(String),
    /// No run has such a hash.
    #[error("no run in {} begins with `{prefix}`; `metadsl log` lists the runs", ledger.display())]
    UnknownRun {
        /// What was asked for.
        prefix: String,
        /// Where it was looked for.
        ledger: PathBuf,
    },
    /// A run that another program made, where one of this program is wanted.
    #[error(
        "run {0} was imported from another program, so there is no plan of it: it can be shown, asked for, tagged and exported"
    )]
    IsImported(Id),
    /// Several runs have such a hash.
    #[error("`{prefix}` begins {} runs: {}; give more digits", candidates.len(), list(candidates))]
    AmbiguousRun {
        /// What was asked for.
        prefix: String,
        /// The runs it could mean, in the order of the log.
        candidates: Vec<Id>,
    },
}

/// Enough digits of each id to tell it from a neighbour; at most eight ids.
fn list(ids: &[Id]) -> String {
    let shown: Vec<String> = ids.iter().take(8).map(|id| id.to_string()[..16].to_owned()).collect();
    let rest = if ids.len() > shown.len() { ", ..." } else { "" };
    shown.join(", ") + rest
}

/// The conversion of an [`io::Error`] at a place, for `map_err`.
pub(super) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { path, doing, source }
}
