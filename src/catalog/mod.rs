//! The open vocabulary: every name a `.meta` file can call, as typed data.
//!
//! An [`Entry`] says what a name takes and means; the checker, `metadsl plan` and the messages read this one table.
//! The typed value that a checked call becomes (a [`Solver`], an [`Outer`]...) lives beside its entries, together with
//! its lowering to tensor programs. To add an entry: its file, and one line in [`ENTRIES`].

mod added;
mod args;
mod augment;
mod cluster;
mod entry;
mod function;
mod law;
mod loss;
mod metric;
pub mod operator;
mod outer;
pub mod page;
mod partition;
mod reader;
mod retract;
mod schedule;
mod solver;
mod sweep;
mod tasks;
mod weights;

pub use added::{Added, AddedPart, Site, Start};
pub use args::{Arg, Args};
pub use augment::Augmentation;
pub use entry::{Entry, Initial, Kind, Param, Ty};
pub use function::{Elementwise, ScalarFunction, TensorFunction};
pub use law::{BaseLaw, Law};
pub use loss::{Loss, one_hot};
pub use metric::{Metric, Reduction, StateMetric, Whose};
pub use operator::{Pool, Reducer, Windows};
pub use outer::{Outer, Sees, Simplex, Through};
pub use partition::{Partition, Stretch};
pub use reader::{Column, Columns, Reader};
pub use retract::Retraction;
pub use schedule::{Factor, Rate};
pub use solver::{Budget, Solver};
pub use weights::{StratumWeight, Weights};

/// Every entry, grouped by kind.
pub const ENTRIES: &[&[Entry]] = &[
    added::ENTRIES,
    augment::ENTRIES,
    law::ENTRIES,
    function::ENTRIES,
    operator::ENTRIES,
    loss::ENTRIES,
    metric::ENTRIES,
    outer::ENTRIES,
    partition::ENTRIES,
    reader::ENTRIES,
    retract::ENTRIES,
    schedule::ENTRIES,
    solver::ENTRIES,
    sweep::ENTRIES,
    tasks::ENTRIES,
];

/// The entries of one kind, in the order of the table.
pub fn of_kind(kind: Kind) -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().flat_map(|group| group.iter()).filter(move |e| e.kind == kind)
}

/// The entry of that kind and name.
pub fn find(kind: Kind, name: &str) -> Option<&'static Entry> {
    of_kind(kind).find(|e| e.name == name)
}
