//! What frozen parameters make of every example, computed once.

use std::collections::{BTreeMap, BTreeSet};

use super::clients::{ClientTables, data_set};
use super::{DataSets, TrainError};
use crate::data::{DataSet, Features};
use crate::exec::{ExecError, Executor};
use crate::ir::{Builder, Function, NodeId, Precision, Tensor, batch};
use crate::plan::prefix::{Split, split};
use crate::plan::{Arm, Model};

/// How many examples go through a prefix together.
const ROWS: usize = 16;

/// The most numbers that are kept of all examples of a data set: 1 GiB of single precision.
const MOST: usize = 1 << 28;

/// An arm behind its frozen prefix.
pub(super) struct Behind {
    /// The prefix, and the arm as it goes on from there.
    pub split: Split,
    /// By data set, how many numbers the prefix makes of all its examples.
    pub numbers: BTreeMap<String, usize>,
}

/// An arm behind its frozen prefix; none where it has none, or where too many numbers would be kept.
pub(super) fn behind(arm: &Arm, sets: &DataSets) -> Result<Option<Behind>, TrainError> {
    let Some(split) = split(arm) else { return Ok(None) };
    let mut numbers = BTreeMap::new();
    for source in arm.families.iter().filter_map(|family| family.source.as_ref()) {
        let all = data_set(source, sets)?.len().saturating_mul(width(&split.prefix));
        if all > MOST {
            return Ok(None);
        }
        numbers.insert(source.data.clone(), all);
    }
    Ok(Some(Behind { split, numbers }))
}

/// An arm and its data behind the arm's frozen prefix; none where it has none.
pub(super) fn computed_once<E: Executor>(
    exec: &E,
    arm: &Arm,
    shared: &[Option<E::Value>],
    tables: &ClientTables,
    sets: &DataSets,
) -> Result<Option<(Arm, DataSets)>, TrainError> {
    let Some(Behind { split: Split { prefix, arm: behind }, .. }) = behind(arm, sets)? else { return Ok(None) };
    let mut found = DataSets { weights: sets.weights.clone(), ..DataSets::default() };
    for source in arm.families.iter().filter_map(|family| family.source.as_ref()) {
        if found.get(&source.data).is_some() {
            continue;
        }
        let set = data_set(source, sets)?;
        let same = arm.families.iter().filter(|f| f.source.as_ref().is_some_and(|other| other.data == source.data));
        let clients = same.filter_map(|family| tables.get(&family.name)).flatten();
        let rows: BTreeSet<usize> = clients.flat_map(|c| c.train.iter().chain(&c.held_out).copied()).collect();
        let rows: Vec<usize> = rows.into_iter().collect();
        let features =
            Prefix { exec, model: &arm.model, program: &prefix, shared }.of(&set.features, &rows, set.len())?;
        found.insert(
            source.data.clone(),
            DataSet { features, targets: set.targets.clone(), owners: set.owners.clone() },
        );
    }
    Ok(Some((behind, found)))
}

/// How many numbers a prefix makes of an example.
fn width(prefix: &Function) -> usize {
    prefix.output_dims().map(|dims| dims.iter().product::<usize>()).sum()
}

/// A prefix with the parameters that it reads.
struct Prefix<'a, E: Executor> {
    exec: &'a E,
    model: &'a Model,
    program: &'a Function,
    shared: &'a [Option<E::Value>],
}

impl<E: Executor> Prefix<'_, E> {
    /// What it makes of some rows of `all`, and of the zeros that fill up where a task has fewer examples than others.
    fn of(&self, features: &Features, rows: &[usize], all: usize) -> Result<Features, TrainError> {
        let (width, len) = (width(self.program), features.row_len());
        let mut numbers = vec![0.0; all * width];
        let mut filling = vec![0.0; width];
        let kernel = self.exec.compile(&batched(self.model, self.program))?;
        // The zeros go first.
        let places: Vec<Option<usize>> = std::iter::once(None).chain(rows.iter().copied().map(Some)).collect();
        for chunk in places.chunks(ROWS) {
            let mut x = vec![0.0; ROWS * len];
            for (place, out) in chunk.iter().zip(x.chunks_mut(len.max(1))) {
                place.iter().for_each(|&row| features.copy_row(row, out));
            }
            let values = self.run(&kernel, x)?;
            for (i, place) in chunk.iter().enumerate() {
                let out = match place {
                    Some(row) => &mut numbers[row * width..(row + 1) * width],
                    None => &mut filling,
                };
                let made = values.iter().flat_map(|v| &v.data()[i * v.row_len()..(i + 1) * v.row_len()]);
                out.iter_mut().zip(made).for_each(|(to, x)| *to = *x);
            }
        }
        let features = match self.exec.precision() {
            Precision::F32 => Features::single(&[width], numbers.into_iter().map(|x| x as f32).collect()),
            Precision::F64 => Features::double(&[width], numbers),
        };
        Ok(features.filled_with(filling))
    }

    fn run(&self, kernel: &E::Kernel, x: Vec<f64>) -> Result<Vec<Tensor>, ExecError> {
        let position = |name: &str| self.model.position(name);
        let of_example =
            self.program.inputs.iter().zip(self.program.input_dims()).find(|(p, _)| position(&p.name).is_none());
        let (_, dims) = of_example.expect("a prefix reads the input of an example");
        let x = self.exec.upload(&Tensor::new([&[ROWS], dims].concat(), x))?;
        let value = |name: &str| match position(name) {
            Some(i) => self.shared[i].as_ref().expect("frozen parameters are shared"),
            None => &x,
        };
        let args: Vec<&E::Value> = self.program.inputs.iter().map(|port| value(&port.name)).collect();
        self.exec.run(kernel, &args)?.iter().map(|value| self.exec.download(value)).collect()
    }
}

/// A prefix for many examples at once.
pub(super) fn batched(model: &Model, prefix: &Function) -> Function {
    let mut b = Builder::new();
    let mapped: Vec<bool> = prefix.inputs.iter().map(|port| model.position(&port.name).is_none()).collect();
    let ports = prefix.inputs.iter().zip(prefix.input_dims()).zip(&mapped);
    let args = ports.map(|((port, dims), mapped)| match mapped {
        true => b.input(port.name.clone(), &[&[ROWS], dims].concat()),
        false => b.input(port.name.clone(), dims),
    });
    let args: Vec<NodeId> = args.collect();
    let values = batch(&mut b, prefix, &args, &mapped, ROWS);
    b.finish("prefix", prefix.outputs.iter().map(|port| port.name.clone()).zip(values).collect())
}
