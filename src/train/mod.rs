//! Training: an arm and a seed become series of measurements and trained parameters.
//!
//! A [`Cell`] is one arm under one seed. It is a pure function of the arm, the seed, the data and the executor's
//! numerics: random numbers are addressed (seed, path, number), never by order of execution, so arms see the same tasks and a
//! further measurement changes no number. Nothing here knows the ledger or the terminal; progress goes to an [`Observer`].

mod adapt;
mod augment;
mod bind;
mod cell;
mod clients;
mod control;
mod draw;
mod dropout;
mod evaluate;
mod footprint;
mod forecast;
mod initial;
mod merge;
mod outer;
mod prefix;
mod snapshot;
mod tasks;

pub use cell::{Cell, Series, Status, run_cell};
pub use clients::{Client, ClientTables};
pub use footprint::{Footprint, footprint};
pub use forecast::{Forecast, Held};
pub use merge::merged;
pub use snapshot::{Points, Saved, Snapshot};

use std::collections::BTreeMap;

use thiserror::Error;

use crate::data::{DataSet, PartitionError, Weights};
use crate::exec::ExecError;
use crate::plan::Arm;
use crate::plan::lower::{ClientSizes, LowerError};

/// What a run reads, by name: examples, and parameters of trained networks.
#[derive(Debug, Default)]
pub struct DataSets {
    examples: BTreeMap<String, DataSet>,
    weights: BTreeMap<String, Weights>,
}

impl DataSets {
    /// Nothing yet.
    pub fn new() -> DataSets {
        DataSets::default()
    }

    /// Adds examples.
    pub fn insert(&mut self, name: String, set: DataSet) {
        self.examples.insert(name, set);
    }

    /// Adds parameters.
    pub fn insert_weights(&mut self, name: String, weights: Weights) {
        self.weights.insert(name, weights);
    }

    /// The examples of that name.
    pub fn get(&self, name: &str) -> Option<&DataSet> {
        self.examples.get(name)
    }

    /// The bytes that all of them hold.
    pub fn bytes(&self) -> u64 {
        let files = self.weights.values().map(Weights::bytes);
        self.examples.values().map(DataSet::bytes).chain(files).sum::<usize>() as u64
    }

    /// The parameters of that name.
    pub fn weights(&self, name: &str) -> Option<&Weights> {
        self.weights.get(name)
    }
}

impl<const N: usize> From<[(String, DataSet); N]> for DataSets {
    fn from(sets: [(String, DataSet); N]) -> DataSets {
        DataSets { examples: BTreeMap::from(sets), ..DataSets::default() }
    }
}

/// The largest numbers of examples that clients hold under a seed, which the shapes of programs depend on.
pub fn client_sizes(arm: &Arm, seed: u64, sets: &DataSets) -> Result<ClientSizes, TrainError> {
    clients::divide(arm, seed, sets).map(|(_, sizes)| sizes)
}

/// Who holds what under a seed, for every family of an arm that is made from data.
pub fn client_tables(arm: &Arm, seed: u64, sets: &DataSets) -> Result<ClientTables, TrainError> {
    clients::divide(arm, seed, sets).map(|(tables, _)| tables)
}

/// Who watches a run. Calls come from many threads.
pub trait Observer: Sync {
    /// A step was made.
    fn stepped(&self, arm: &str, seed: u64, step: u64);
    /// Something was measured after `step` steps.
    fn measured(&self, arm: &str, seed: u64, measure: &str, step: u64, value: f64);
    /// Whether the run should end as soon as it can.
    fn cancelled(&self) -> bool {
        false
    }
    /// Where a cell was left, if it is to go on from there.
    fn resume(&self, _arm: &str, _seed: u64) -> Option<Snapshot> {
        None
    }
    /// Whether the cell is to be saved after this step, which may be its last.
    fn wants_snapshot(&self, _arm: &str, _seed: u64, _step: u64, _last: bool) -> bool {
        false
    }
    /// Saves a cell, because that was wanted or because the run is to end.
    fn save(&self, _arm: &str, _seed: u64, _snapshot: Snapshot) {}
}

/// Why a cell could not be run. Divergence is not among them: it is a result.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The executor failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The plan has no programs.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The data cannot be divided as the plan says.
    #[error("tasks `{family}` from `{data}`: {error}")]
    Partition {
        /// The family.
        family: String,
        /// The data set.
        data: String,
        /// Why.
        error: PartitionError,
    },
    /// A data set is missing or does not have the examples the plan was made for.
    #[error("data `{name}`: {reason}")]
    Data {
        /// The data set.
        name: String,
        /// What is wrong, and how to mend it.
        reason: String,
    },
    /// The run was asked to end.
    #[error("the run was interrupted")]
    Cancelled,
}
