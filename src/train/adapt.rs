//! Local adaptation: every task moves its own parameters, in a loop over one program per block.

use std::ops::Range;

use super::TrainError;
use super::bind::Kernel;
use super::dropout::{Masks, Moment};
use super::tasks::{TaskMaker, Visit};
use crate::catalog::Budget;
use crate::exec::Executor;
use crate::ir::Tensor;
use crate::plan::lower::{AdaptPrograms, Input};
use crate::plan::{Block, Model, Rows};

/// What an adaptation begins with, by position in the model.
pub(super) struct Begin<'a, E: Executor> {
    /// A value for every shared parameter.
    pub shared: &'a [Option<E::Value>],
    /// The tasks' own ones, `[T, ..]`.
    pub kept: Vec<Option<E::Value>>,
    /// What is added to their gradients, `[T, ..]`.
    pub corrections: Vec<Option<E::Value>>,
}

/// The parameters of every task on the way of its adaptation, in the order of the model.
pub(super) struct Adapted<E: Executor> {
    /// Where they began.
    pub start: Vec<E::Value>,
    /// What they were after some numbers of steps.
    pub stopped: Vec<(u64, Vec<E::Value>)>,
    /// Where they ended.
    pub end: Vec<E::Value>,
}

/// The compiled programs of an adaptation.
pub(super) struct Adaptation<'a, E: Executor> {
    exec: &'a E,
    model: &'a Model,
    blocks: &'a [Block],
    spread: Kernel<E>,
    /// The positions of what is spread.
    moved: Vec<usize>,
    steps: Vec<Kernel<E>>,
}

impl<'a, E: Executor> Adaptation<'a, E> {
    pub fn new(
        exec: &'a E,
        model: &'a Model,
        blocks: &'a [Block],
        programs: &AdaptPrograms,
    ) -> Result<Self, TrainError> {
        Ok(Adaptation {
            exec,
            model,
            blocks,
            spread: Kernel::compile(exec, &programs.spread)?,
            moved: programs.moved.clone(),
            steps: programs.blocks.iter().map(|p| Kernel::compile(exec, p)).collect::<Result<_, _>>()?,
        })
    }

    /// Says that nothing will be adapted for a while.
    pub fn rest(&self) {
        self.steps.iter().chain([&self.spread]).for_each(|kernel| kernel.rest(self.exec));
    }

    /// Adapts the parameters of every task, `[T, ..]` each, in the order of the model, from where they begin; those that tasks do not move
    /// stay without the axis of the tasks. `stops` are numbers of steps (or of epochs, where that is what the block counts) of the last
    /// block after which the parameters are wanted, too.
    pub fn run(
        &self,
        maker: &TaskMaker<E>,
        visit: &Visit<E>,
        world: &[E::Value],
        begin: Begin<E>,
        step: u64,
        stops: &[u64],
    ) -> Result<Adapted<E>, TrainError> {
        let Begin { shared, kept, corrections } = begin;
        let spread = self.spread.run(self.exec, |input| match input {
            Input::Param(i) => shared[i].as_ref().expect("only shared parameters are spread"),
            other => unreachable!("spreading does not read {other:?}"),
        })?;
        let own = kept.into_iter().zip(shared).map(|(kept, shared)| kept.or_else(|| shared.clone()));
        let mut params: Vec<E::Value> = own.map(|p| p.expect("a parameter is shared or kept")).collect();
        self.moved.iter().zip(spread).for_each(|(&i, value)| params[i] = value);
        let start = params.clone();
        let mut stopped: Vec<(u64, Vec<E::Value>)> = vec![];
        for (number, (block, kernel)) in self.blocks.iter().zip(&self.steps).enumerate() {
            let mut batches = Batches::new(self.exec, block, maker, visit, step, number as u64)?;
            let on = self.model.positions(&block.on);
            let mut memory = self.zeros(block, &on, visit.places.len())?;
            let mut done = 0;
            let stops = if number + 1 == self.blocks.len() { stops } else { &[] };
            let unit = batches.unit;
            let stops_at = |done: u64| stops.iter().copied().find(|stop| stop.checked_mul(unit) == Some(done));
            stopped.extend(stops_at(0).map(|stop| (stop, params.clone())));
            while let Some(batch) = batches.next(self.exec)? {
                done += 1;
                let schedule: Vec<E::Value> = block
                    .solver
                    .schedule(done)
                    .into_iter()
                    .map(|x| self.exec.upload(&Tensor::scalar(x)))
                    .collect::<Result<_, _>>()?;
                let moment = Moment::Step { block: number as u64, number: done };
                let masks = Masks::draw(self.exec, kernel, self.model, maker, visit, (step, moment))?;
                let results = kernel.run(self.exec, |input| match input {
                    Input::World(i) => &world[i],
                    Input::Param(i) => &params[i],
                    Input::Start(i) => &start[i],
                    Input::Correction(i) => corrections[i].as_ref().expect("what is corrected has a correction"),
                    Input::Memory { param, slot } => {
                        let place = on.iter().position(|&i| i == param).expect("a solver remembers its own parameters");
                        &memory[place * block.solver.memory().len() + slot]
                    }
                    Input::Schedule(i) => &schedule[i],
                    _ => batch
                        .find(visit, input)
                        .or_else(|| masks.find(input))
                        .unwrap_or_else(|| unreachable!("a local step does not read {input:?}")),
                })?;
                let mut results = results.into_iter();
                for (&i, value) in on.iter().zip(results.by_ref()) {
                    params[i] = value;
                }
                memory = results.collect();
                stopped.extend(stops_at(done).map(|stop| (stop, params.clone())));
            }
        }
        Ok(Adapted { start, stopped, end: params })
    }

    /// What the block's solver remembers at the start: zeros for every task.
    fn zeros(&self, block: &Block, on: &[usize], tasks: usize) -> Result<Vec<E::Value>, TrainError> {
        let mut memory = Vec::new();
        for &i in on {
            let dims = [&[tasks], self.model.params[i].dims.as_slice()].concat();
            for _ in block.solver.memory() {
                memory.push(self.exec.upload(&Tensor::full(&dims, 0.0))?);
            }
        }
        Ok(memory)
    }
}

/// How many of the support examples of a task a block sees, and which is the first.
fn seen(block: &Block, held: usize) -> Range<usize> {
    match block.examples {
        Some(Rows { first, end }) => (first as usize).min(held)..(end as usize).min(held),
        None => 0..held,
    }
}

/// How many steps of a block each task makes that holds so many examples: it rests where others have more batches.
pub(super) fn steps_made(block: &Block, held: &[usize]) -> Vec<u64> {
    let held: Vec<usize> = held.iter().map(|&held| seen(block, held).len()).collect();
    let (Budget::Steps { count } | Budget::Epochs { count }) = block.budget;
    let Some(size) = block.batch else {
        return held.iter().map(|&n| if n == 0 { 0 } else { count }).collect();
    };
    let batches = |n: usize| (n as u64).div_ceil(size);
    let per_epoch = held.iter().map(|&n| batches(n)).max().unwrap_or(0).max(1);
    let (epochs, rest) = match block.budget {
        Budget::Epochs { count } => (count, 0),
        Budget::Steps { count } => (count / per_epoch, count % per_epoch),
    };
    held.iter().map(|&n| epochs * batches(n) + rest.min(batches(n))).collect()
}

/// The batches of one block, in order: all examples each time, or shuffled parts of them.
struct Batches<'a, E: Executor> {
    left: u64,
    /// The batches of what the budget counts: one step, or one epoch.
    unit: u64,
    cut: Option<Cut<'a, E>>,
}

/// Cutting the tasks' examples into batches. Tasks are in step: where one has fewer batches in an epoch than
/// another, it rests, so that no example counts more than once an epoch.
struct Cut<'a, E: Executor> {
    maker: &'a TaskMaker<'a, E>,
    visit: &'a Visit<E>,
    host: Vec<Tensor>,
    size: usize,
    step: u64,
    block: &'a Block,
    /// The place of the block in the adaptation.
    number: u64,
    per_epoch: usize,
    position: usize,
    epoch: u64,
    orders: Vec<Vec<usize>>,
}

/// The examples of one local step.
enum Batch<E: Executor> {
    Whole,
    Part { values: Vec<E::Value>, mask: E::Value },
}

impl<E: Executor> Batch<E> {
    fn find<'v>(&'v self, visit: &'v Visit<E>, input: Input) -> Option<&'v E::Value> {
        match (self, input) {
            (Batch::Part { values, .. }, Input::Support(i)) => values.get(i),
            (Batch::Part { mask, .. }, Input::SupportMask) => Some(mask),
            _ => visit.find(input),
        }
    }
}

impl<'a, E: Executor> Batches<'a, E> {
    fn new(
        exec: &E,
        block: &'a Block,
        maker: &'a TaskMaker<'a, E>,
        visit: &'a Visit<E>,
        step: u64,
        number: u64,
    ) -> Result<Self, TrainError> {
        let Some(size) = block.batch else {
            let (Budget::Steps { count } | Budget::Epochs { count }) = block.budget;
            return Ok(Batches { left: count, unit: 1, cut: None });
        };
        let size = size as usize;
        let longest = visit.support_counts().iter().map(|&held| seen(block, held).len()).max().unwrap_or(0);
        let per_epoch = longest.div_ceil(size);
        let (count, unit) = match block.budget {
            Budget::Steps { count } => (count, 1),
            Budget::Epochs { count } => (count, per_epoch as u64),
        };
        let host = visit.support_on_host(exec)?;
        let cut =
            Cut { maker, visit, host, size, step, block, number, per_epoch, position: 0, epoch: 0, orders: vec![] };
        Ok(Batches { left: count * unit, unit, cut: Some(cut) })
    }

    fn next(&mut self, exec: &E) -> Result<Option<Batch<E>>, TrainError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match &mut self.cut {
            None => Ok(Some(Batch::Whole)),
            Some(cut) => cut.next(exec).map(Some),
        }
    }
}

impl<E: Executor> Cut<'_, E> {
    fn next(&mut self, exec: &E) -> Result<Batch<E>, TrainError> {
        if self.position == 0 {
            self.orders = self
                .visit
                .ids()
                .iter()
                .zip(self.visit.support_counts())
                .map(|(&id, &count)| {
                    let mut order: Vec<usize> = seen(self.block, count).collect();
                    self.maker.shuffle_stream(id, self.step).child(self.number).child(self.epoch).shuffle(&mut order);
                    order
                })
                .collect();
        }
        let tasks = self.orders.len();
        let mut mask = Tensor::full(&[tasks, self.size], 0.0);
        let mut values: Vec<Tensor> =
            self.host.iter().map(|t| Tensor::full(&[&[tasks, self.size], &t.dims()[2..]].concat(), 0.0)).collect();
        for (t, order) in self.orders.iter().enumerate() {
            let held = order.iter().skip(self.position * self.size).take(self.size).count();
            if let Some(x) = values.first_mut() {
                let len: usize = x.dims()[2..].iter().product();
                self.maker.fill(&mut x.data_mut()[(t * self.size + held) * len..(t + 1) * self.size * len], len);
            }
            for (slot, &example) in order.iter().skip(self.position * self.size).take(self.size).enumerate() {
                let at = t * self.size + slot;
                mask.data_mut()[at] = 1.0;
                for (to, from) in values.iter_mut().zip(&self.host) {
                    let len: usize = from.dims()[2..].iter().product();
                    let source = (t * from.dims()[1] + example) * len;
                    to.data_mut()[at * len..(at + 1) * len].copy_from_slice(&from.data()[source..source + len]);
                }
            }
        }
        self.position += 1;
        if self.position == self.per_epoch {
            (self.position, self.epoch) = (0, self.epoch + 1);
        }
        let values = values.iter().map(|v| exec.upload(v)).collect::<Result<_, _>>()?;
        Ok(Batch::Part { values, mask: exec.upload(&mask)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Solver;

    #[test]
    fn a_task_rests_where_others_have_more_batches() {
        let block = |budget, batch| Block {
            on: vec![],
            solver: Solver::ClosedForm { penalty: 0.0 },
            budget,
            batch,
            without: vec![],
            toward: None,
            rates: vec![],
            ahead: None,
            examples: None,
        };
        let held = [7, 3, 0, 8];
        // Batches of two: four, two, none and four an epoch.
        assert_eq!(steps_made(&block(Budget::Epochs { count: 2 }, Some(2)), &held), [8, 4, 0, 8]);
        assert_eq!(steps_made(&block(Budget::Steps { count: 5 }, Some(2)), &held), [5, 3, 0, 5]);
        assert_eq!(steps_made(&block(Budget::Steps { count: 3 }, Some(2)), &held), [3, 2, 0, 3]);
        // All examples at once.
        assert_eq!(steps_made(&block(Budget::Epochs { count: 6 }, None), &held), [6, 6, 0, 6]);
        // Of the examples from the third to the sixth alone: four, one, none and four.
        let part = Block { examples: Some(Rows { first: 2, end: 6 }), ..block(Budget::Epochs { count: 2 }, Some(2)) };
        assert_eq!(steps_made(&part, &held), [4, 2, 0, 4]);
    }
}
