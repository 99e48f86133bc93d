//! What a cell holds at once as it runs, said before it runs: all its stages, behind its frozen prefix where it has one.

use super::footprint::HOST;
use super::prefix::{self, Behind};
use super::{DataSets, TrainError, client_sizes, footprint};
use crate::exec::ExecError;
use crate::exec::exact::Need;
use crate::ir::Function;
use crate::plan::Arm;
use crate::plan::lower::{self, Programs};

/// The programs of a cell, from which it can be told what it will hold.
pub struct Forecast<'s> {
    /// The stages, each as an arm of one stage.
    stages: Vec<(Arm, Programs)>,
    prefix: Option<Prefix>,
    sets: &'s DataSets,
}

/// What is made of all examples before the first step.
struct Prefix {
    program: Function,
    /// How many numbers that gives, of all data sets and of the largest.
    all: u64,
    largest: u64,
}

/// The bytes that a cell holds; the data sets, which cells share, are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// The most at once, while it runs.
    pub most: u64,
    /// What its result holds.
    pub after: u64,
}

impl<'s> Forecast<'s> {
    /// Lowers an arm as it will run under a seed.
    pub fn new(arm: &Arm, seed: u64, sets: &'s DataSets) -> Result<Forecast<'s>, TrainError> {
        let sizes = client_sizes(arm, seed, sets)?;
        let behind = prefix::behind(arm, sets)?;
        let arm_that_runs = behind.as_ref().map_or(arm, |behind| &behind.split.arm);
        let lowered = |stage: Arm| lower::lower(&stage, &sizes).map(|programs| (stage, programs));
        let stages = arm_that_runs.phases().into_iter().map(lowered).collect::<Result<_, _>>()?;
        let prefix = behind.map(|Behind { split, numbers }| {
            let numbers = || numbers.values().map(|&n| n as u64);
            let program = prefix::batched(&arm.model, &split.prefix);
            Prefix { program, all: numbers().sum(), largest: numbers().max().unwrap_or(0) }
        });
        Ok(Forecast { stages, prefix, sets })
    }

    /// What the cell holds; `need` is what a program needs where it is to run.
    pub fn held(&self, need: &dyn Fn(&Function) -> Result<Need, ExecError>) -> Result<Held, ExecError> {
        let mut held = Held::default();
        for (arm, programs) in &self.stages {
            let found = footprint(arm, programs, self.sets, need)?;
            held.most = held.most.max(found.total() - found.data);
            held.after = result(arm);
        }
        let (Some(Prefix { program, all, largest }), Some((arm, _))) = (&self.prefix, self.stages.first()) else {
            return Ok(held);
        };
        let width = arm.train.precision.bytes();
        // The numbers of a data set are made on the host, beside the parameters and what is kept of the data sets before it.
        let Need { bytes, .. } = need(program)?;
        let parameters = result(arm) / HOST * width;
        let making = parameters + bytes + HOST * largest + width * all;
        held.most = (held.most + width * all).max(making);
        Ok(held)
    }
}

/// The bytes of the parameters that a cell ends with, on the host.
fn result(arm: &Arm) -> u64 {
    let size = |i: usize| arm.model.params[i].dims.iter().map(|&d| d as u64).product::<u64>();
    let all: u64 = (0..arm.model.params.len()).map(size).sum();
    let kept: u64 = arm.kept().into_iter().map(size).sum();
    HOST * (all - kept + arm.train.tasks.pool_size().unwrap_or(0) as u64 * kept)
}
