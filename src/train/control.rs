//! Control variates of tasks (Karimireddy et al., SCAFFOLD, ICML 2020, algorithm 1 with option II).
//!
//! Each task of the pool keeps c_i, at first zero; c is their mean. A local step follows g - c_i + c, and after its K steps of
//! size eta from x to y a task has c_i - c + (x - y) / (K eta).

use super::TrainError;
use super::adapt::steps_made;
use super::outer::State;
use super::tasks::Visit;
use crate::catalog::Solver;
use crate::exec::{ExecError, Executor};
use crate::ir::Tensor;
use crate::plan::{Arm, Objective};

/// The control variates of a pool at the start, by position in the model; empty where the arm keeps none.
pub(super) fn none_yet(arm: &Arm, pool: usize) -> Vec<Option<Tensor>> {
    if !arm.train.controls() {
        return vec![];
    }
    let moved = arm.moved();
    let table = |(i, slot): (usize, &crate::plan::Slot)| {
        moved.contains(&i).then(|| Tensor::full(&[&[pool], slot.dims.as_slice()].concat(), 0.0))
    };
    arm.model.params.iter().enumerate().map(table).collect()
}

/// `c - c_i` of some tasks, `[T, ..]`, by position in the model.
pub(super) fn corrections<E: Executor>(
    exec: &E,
    controls: &[Option<Tensor>],
    places: &[usize],
) -> Result<Vec<Option<E::Value>>, ExecError> {
    let correction = |table: &Option<Tensor>| table.as_ref().map(|t| exec.upload(&away(t, places))).transpose();
    controls.iter().map(correction).collect()
}

/// The mean over the pool minus the rows of some tasks.
fn away(table: &Tensor, places: &[usize]) -> Tensor {
    let (len, pool) = (table.row_len(), table.dims()[0]);
    let mut mean = vec![0.0; len];
    for row in table.data().chunks_exact(len) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    mean.iter_mut().for_each(|sum| *sum /= pool as f64);
    let mut rows = table.rows(places);
    for row in rows.data_mut().chunks_exact_mut(len) {
        row.iter_mut().zip(&mean).for_each(|(x, mean)| *x = mean - *x);
    }
    rows
}

/// Gives the tasks of a round that moved their new control variates; before the shared parameters move.
pub(super) fn renew<E: Executor>(
    exec: &E,
    arm: &Arm,
    state: &mut State<E>,
    visit: &Visit<E>,
    adapted: &[E::Value],
) -> Result<(), TrainError> {
    if state.controls.is_empty() {
        return Ok(());
    }
    for block in &arm.train.adapt {
        let steps = match arm.train.objective {
            // Under a risk there are no examples to lack.
            Objective::Risk => steps_made(block, &vec![1; visit.places.len()]),
            Objective::Sample { .. } => steps_made(block, visit.support_counts()),
        };
        let Solver::Sgd { rate, .. } = block.solver else { continue };
        for i in arm.model.positions(&block.on) {
            let (Some(Some(table)), Some(start)) = (state.controls.get_mut(i), &state.shared[i]) else { continue };
            let (start, end) = (exec.download(start)?, exec.download(&adapted[i])?);
            let (corrections, len) = (away(table, &visit.places), table.row_len());
            for (t, (&place, &steps)) in
                visit.places.iter().zip(&steps).enumerate().filter(|(_, (_, steps))| **steps > 0)
            {
                let scale = 1.0 / (steps as f64 * rate);
                let row = t * len..(t + 1) * len;
                let parts = corrections.data()[row.clone()].iter().zip(&end.data()[row]).zip(start.data());
                let renewed: Vec<f64> = parts.map(|((correction, y), x)| (x - y) * scale - correction).collect();
                table.set_row(place, &renewed);
            }
        }
    }
    Ok(())
}
