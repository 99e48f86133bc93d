//! The ledger: what was run, what came of it, bit for bit, and whether a replay gave the same.
//!
//! A ledger is a directory of plain files. Objects are immutable and named by their hash, so a changed byte shows. A run
//! refers to its input (plan, data, numerics) and its result (series, traces, weights, verdicts of claims); one input may
//! have several results, and none is ever overwritten. What a run needs lies in one pack, large objects in files of
//! their own. The log lists the runs that are complete; its frame is the commit point of a run. `ledger/FORMAT.md`
//! draws every byte.
//!
//! Nothing here reads the clock or the environment: times and machine come in through [`Run`] and [`Env`].

mod bundle;
mod commit;
mod compare;
mod error;
mod frame;
mod gc;
mod left_out;
mod listing;
mod live;
mod merkle;
mod object;
mod outcome;
mod pack;
mod place;
mod record;
mod refs;
mod remote;
mod sign;
mod store;
mod stream;
mod verdict;
mod verify;
mod vfs;

pub use bundle::{Bundled, Evidence, verify_bundle};
pub use commit::Sealed;
pub use compare::compare;
pub use error::LedgerError;
pub use frame::Entry;
pub use gc::Garbage;
pub use listing::{Listed, ListedIds, Listing};
pub use live::{About, Live, Row, Unfinished};
pub use merkle::{consistency, inclusion, leaf, root, verify_consistency, verify_inclusion};
pub use outcome::{Cell, CellSeries, ClaimVerdict, Outcome, Series, Status, Trace, Weight, Weights};
pub use record::{CellInput, Env, FileHint, Imported, Input, Manifest, ManifestFile, Note, Run, Setting};
#[cfg(feature = "remote")]
pub use remote::Bucket;
pub use remote::{Moved, Remote};
pub use sign::{Checkpoint, new_secret, public_key, read_checkpoints, read_key, sign};
pub use store::{Store, discover};
pub use stream::Head;
pub use verdict::{Comparison, Place, Tolerance, Verdict, What};
pub use verify::{Depth, Fault, Problem, VerifyReport};
pub use vfs::{Disk, Entry as DirEntry, Guard, Lock, Vfs, VfsFile};
