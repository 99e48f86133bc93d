//! Why a command could not do its work.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

use crate::exec::ExecError;
use crate::hash::DecodeError;
use crate::ledger::LedgerError;
use crate::plan::PlanError;
use crate::train::TrainError;

/// A command's failure; each says what to do about it.
#[derive(Debug, Error)]
pub enum Failure {
    /// The experiment has errors, which have been printed.
    #[error("the experiment has errors")]
    Experiment,
    /// A query or a list of columns has mistakes, which have been printed.
    #[error("the query has mistakes")]
    Refused,
    /// An option that does not fit, beyond what the parser of options sees.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read.
    #[error("`{path}` cannot be read: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file could not be written.
    #[error("`{path}` cannot be written: {error}", path = path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The output could not be written.
    #[error("the output cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// The device failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A cell needs more memory than there is, whatever is computed again.
    #[error(
        "arm `{arm}` holds {least} at once even if it computes values again in place of keeping them, and {free} are free: make it smaller \
         by fewer tasks or examples a step, or say by `--free-memory SIZE` that there is more"
    )]
    Memory {
        /// The arm.
        arm: String,
        /// The fewest bytes that were found to do.
        least: String,
        /// What is free.
        free: String,
    },
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A stored object is not what it should be.
    #[error("the stored {what} cannot be read: {error}; `metadsl verify` tells what is damaged")]
    Decode {
        /// The object.
        what: &'static str,
        /// Why.
        error: DecodeError,
    },
    /// A stored plan is not whole.
    #[error("the stored plan is not whole: {0}; `metadsl verify` tells what is damaged")]
    Plan(#[from] PlanError),
    /// Ctrl-C, or a request to end.
    #[error("interrupted; `metadsl resume` goes on from here ({0})")]
    Interrupted(String),
    /// A resumed run gave something else than before it was interrupted.
    #[error(
        "{place} came out otherwise than before the run was interrupted: this executor does not give the same bits twice here; \
         nothing was recorded, and `{name}` is kept: remove `active/{name}` from the ledger to begin anew"
    )]
    Contradiction {
        /// What differs.
        place: String,
        /// The unfinished run.
        name: String,
    },
    /// The threads could not be started.
    #[error("the worker threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl Failure {
    /// Prints the failure; gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Failure::Experiment | Failure::Refused) {
            // Nobody is left to tell where this fails.
            let _ = writeln!(anstream::stderr(), "error: {self}");
        }
        match self {
            Failure::Experiment => ExitCode::from(1),
            Failure::Usage(_) | Failure::Refused => ExitCode::from(2),
            Failure::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Failure::Interrupted(_) => ExitCode::from(130),
            Failure::Contradiction { .. } => ExitCode::from(20),
            _ => ExitCode::from(4),
        }
    }
}
