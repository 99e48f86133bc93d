//! The ledger: what was run, what came of it, bit for bit, and whether a replay gave the same.
//!
//! A ledger is a directory of plain files. Objects are immutable and named by their hash, so the same thing is stored
//! once and a changed byte shows. A run refers to its input (plan, data, numerics) and its result (series, traces,
//! weights, verdicts of claims); one input may have several results, and none is ever overwritten. The log lists the
//! runs that are complete; its last frame is the commit point of a run. `ledger/FORMAT.md` draws every byte.
//!
//! Nothing here reads the clock or the environment: times and machine come in through [`Run`] and [`Env`].

mod compare;
mod error;
mod log;
mod object;
mod outcome;
mod record;
mod refs;
mod store;
mod verdict;
mod verify;

pub use compare::compare;
pub use error::LedgerError;
pub use outcome::{Cell, CellSeries, ClaimVerdict, Outcome, Series, Status, Trace, Weight, Weights};
pub use record::{Env, FileHint, Input, Manifest, ManifestFile, Run};
pub use store::{Listing, Sealed, Store, discover};
pub use verdict::{Comparison, Place, Tolerance, Verdict, What};
pub use verify::{Fault, Problem, VerifyReport};
