//! The values that parameters begin with.

use rayon::prelude::*;

use super::bind::Kernel;
use super::{DataSets, TrainError, draw};
use crate::exec::Executor;
use crate::plan::lower::{Input, Program};
use crate::plan::{Model, Sampler, Slot};
use crate::rng::Stream;

/// Runs a sampler that is drawn once per seed.
pub(super) fn sample_once<E: Executor>(
    exec: &E,
    program: &Program,
    sampler: &Sampler,
    seed: u64,
    scope: &str,
    world: &[E::Value],
) -> Result<Vec<E::Value>, TrainError> {
    let kernel = Kernel::compile(exec, program)?;
    let values = kernel.run_made(exec, |input, _| match input {
        Input::World(i) => Ok(world[i].clone()),
        Input::Draw(i) => {
            let draw = &sampler.draws[i];
            exec.upload(&draw::tensor(draw, &Stream::new(seed, &[scope, &draw.name])))
        }
        other => unreachable!("a sampler does not read {other:?}"),
    })?;
    Ok(values)
}

/// The initial parameters of a model: those that its file has, and draws of the others. A copy begins where its original does.
pub(super) fn initial<E: Executor>(
    exec: &E,
    program: &Program,
    model: &Model,
    seed: u64,
    world: &[E::Value],
    sets: &DataSets,
) -> Result<Vec<E::Value>, TrainError> {
    let Some(name) = &model.weights else { return sample_once(exec, program, &model.init, seed, "init", world) };
    let mut values = in_file(exec, model, name, sets)?;
    let copies = model.copies();
    let is_copy = |i: usize| copies.iter().any(|(copy, _)| *copy == i);
    let copied = |i: usize| copies.iter().any(|(copy, base)| *copy == i && !is_copy(*base));
    let drawn = |i: &usize| values[*i].is_none() && !copied(*i);
    let drawn: Vec<usize> = (0..values.len()).filter(drawn).collect();
    if !drawn.is_empty() {
        // Every draw has an address of its own: it is the same whichever others are made.
        let others = program.of_outputs(&drawn);
        let made = sample_once(exec, &others, &model.init, seed, "init", world)?;
        drawn.into_iter().zip(made).for_each(|(i, value)| values[i] = Some(value));
    }
    for (copy, base) in copies {
        if let Some(value) = values[base].clone() {
            values[copy] = Some(value);
        }
    }
    Ok(values.into_iter().map(|value| value.expect("it is in the file, drawn or a copy")).collect())
}

/// The parameters that the model's file has.
fn in_file<E: Executor>(
    exec: &E,
    model: &Model,
    name: &str,
    sets: &DataSets,
) -> Result<Vec<Option<E::Value>>, TrainError> {
    let wrong = |reason: &str| TrainError::Data { name: name.to_owned(), reason: reason.to_owned() };
    let weights = sets.weights(name).ok_or_else(|| wrong("it is missing"))?;
    for slot in &model.params {
        if let Some(dims) = weights.dims(&slot.name).filter(|dims| *dims != slot.dims) {
            return Err(wrong(&format!("`{}` has dims {dims:?} there, not {:?}", slot.name, slot.dims)));
        }
    }
    let upload = |slot: &Slot| match weights.single(&slot.name) {
        Some(numbers) => exec.upload_single(&slot.dims, numbers).map(Some),
        None => weights.find(&slot.name).map(|tensor| exec.upload(&tensor)).transpose(),
    };
    Ok(model.params.par_iter().map(upload).collect::<Result<_, _>>()?)
}
