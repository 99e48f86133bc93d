//! Running one arm under one seed, unwatched.

use metadsl::exec::Executor;
use metadsl::plan::Arm;
use metadsl::train::{Cell, DataSets, Observer, run_cell};

struct Unwatched;

impl Observer for Unwatched {
    fn stepped(&self, _: &str, _: u64, _: u64) {}
    fn measured(&self, _: &str, _: u64, _: &str, _: u64, _: f64) {}
}

/// The cell of an arm and a seed.
pub fn run<E: Executor>(exec: &E, arm: &Arm, seed: u64, sets: &DataSets) -> Cell {
    run_cell(exec, arm, seed, sets, &Unwatched)
        .unwrap_or_else(|error| panic!("`{}` under seed {seed}: {error}", arm.name))
}
