//! The outer state: shared parameters, what the update remembers, kept parameters, the adversary's weights.

use super::TrainError;
use super::adapt::{Adaptation, Begin};
use super::bind::Kernel;
use super::control;
use super::dropout::{Masks, Moment};
use super::tasks::{TaskMaker, Visit};
use crate::catalog::{Outer, Sees, Simplex, Weights};
use crate::exec::Executor;
use crate::ir::Tensor;
use crate::numeric;
use crate::plan::lower::{Input, TrainPrograms};
use crate::plan::{Arm, TaskSource};

/// Everything that training moves.
pub(super) struct State<E: Executor> {
    /// The shared parameters, by position in the model; none where tasks keep their own.
    pub shared: Vec<Option<E::Value>>,
    /// What the update remembers, `[param][slot]`, of the parameters that it moves.
    pub memory: Vec<Vec<E::Value>>,
    /// The kept parameters of every task of the pool, `[pool, ..]`, by position; none where shared.
    pub kept: Vec<Option<Tensor>>,
    /// The adversary's weights over the simplex; empty without one.
    pub adversary: Vec<f64>,
    /// The control variates of every task of the pool, `[pool, ..]`, by position; empty without any.
    pub controls: Vec<Option<Tensor>>,
}

impl<E: Executor> State<E> {
    pub fn new(exec: &E, arm: &Arm, init: Vec<E::Value>, pool: usize) -> Result<State<E>, TrainError> {
        let (mut shared, mut kept) = (vec![None; init.len()], vec![None; init.len()]);
        let kept_params = arm.kept();
        for (i, value) in init.into_iter().enumerate() {
            if kept_params.contains(&i) {
                let one = exec.download(&value)?;
                kept[i] = Some(Tensor::stack(one.dims(), &vec![one.clone(); pool]));
            } else {
                shared[i] = Some(value);
            }
        }
        State::with(exec, arm, shared, kept, pool)
    }

    /// These parameters, with nothing remembered yet.
    fn with(
        exec: &E,
        arm: &Arm,
        shared: Vec<Option<E::Value>>,
        kept: Vec<Option<Tensor>>,
        pool: usize,
    ) -> Result<State<E>, TrainError> {
        let slots = arm.train.update.as_ref().map_or(0, |u| u.memory().len());
        let mut memory = vec![Vec::new(); arm.model.params.len()];
        for i in arm.moved() {
            let nothing = exec.upload(&Tensor::full(&arm.model.params[i].dims, 0.0))?;
            memory[i] = vec![nothing; slots];
        }
        let adversary = match &arm.train.outer {
            Outer::Worst { over, .. } => {
                let corners = match (over, &arm.train.tasks) {
                    (Simplex::Stratum, TaskSource::Pool { strata, .. }) => strata.len(),
                    _ => pool,
                };
                vec![1.0 / corners as f64; corners]
            }
            _ => vec![],
        };
        let controls = control::none_yet(arm, pool);
        Ok(State { shared, memory, kept, adversary, controls })
    }

    /// The state with which a stage begins after another one: what an update remembers is empty, control variates are zero,
    /// and an adversary is even.
    pub fn go_on(self, exec: &E, arm: &Arm) -> Result<State<E>, TrainError> {
        let pool = arm.train.tasks.pool_size().unwrap_or(0);
        let empty = arm.model.params.iter().map(|_| None).collect();
        let State { memory, adversary, controls, .. } = State::with(exec, arm, empty, vec![], pool)?;
        Ok(State { memory, adversary, controls, ..self })
    }

    /// The kept parameters of some tasks, on the executor.
    pub fn kept_rows(&self, exec: &E, places: &[usize]) -> Result<Vec<Option<E::Value>>, TrainError> {
        (0..self.kept.len()).map(|i| self.kept_of(exec, i, places)).collect()
    }

    /// One kept parameter of some tasks, on the executor; none where it is shared.
    pub fn kept_of(&self, exec: &E, i: usize, places: &[usize]) -> Result<Option<E::Value>, TrainError> {
        Ok(self.kept[i].as_ref().map(|table| exec.upload(&table.rows(places))).transpose()?)
    }

    /// Stores the kept parameters of some tasks.
    fn keep(&mut self, exec: &E, position: usize, places: &[usize], values: &E::Value) -> Result<(), TrainError> {
        let values = exec.download(values)?;
        let table = self.kept[position].as_mut().expect("the plan keeps this parameter");
        let len = table.row_len();
        for (i, &place) in places.iter().enumerate() {
            table.set_row(place, &values.data()[i * len..(i + 1) * len]);
        }
        Ok(())
    }
}

/// The number of a step, from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Counted through all stages.
    pub step: u64,
    /// Counted from the beginning of its stage.
    pub of_stage: u64,
}

/// The compiled programs of training.
pub(super) enum Trainer<'a, E: Executor> {
    Step(Kernel<E>),
    Local { adapt: Adaptation<'a, E>, reduce: Kernel<E> },
}

impl<'a, E: Executor> Trainer<'a, E> {
    pub fn new(exec: &'a E, arm: &'a Arm, programs: &TrainPrograms) -> Result<Self, TrainError> {
        Ok(match programs {
            TrainPrograms::Step(step) => Trainer::Step(Kernel::compile(exec, step)?),
            TrainPrograms::Local { adapt, reduce } => Trainer::Local {
                adapt: Adaptation::new(exec, &arm.model, &arm.train.adapt, adapt)?,
                reduce: Kernel::compile(exec, reduce)?,
            },
        })
    }

    /// Makes a step.
    pub fn step(
        &self,
        exec: &E,
        arm: &Arm,
        maker: &TaskMaker<E>,
        world: &[E::Value],
        state: &mut State<E>,
        turn: Turn,
    ) -> Result<(), TrainError> {
        let Turn { step, of_stage } = turn;
        let visit = maker.visit(step - 1)?;
        let schedule: Vec<E::Value> = match &arm.train.update {
            Some(update) => update
                .schedule(of_stage)
                .into_iter()
                .map(|x| exec.upload(&Tensor::scalar(x)))
                .collect::<Result<_, _>>()?,
            None => vec![],
        };
        let kept = state.kept_rows(exec, &visit.places)?;
        match self {
            Trainer::Step(kernel) => {
                let factors = factors(arm, maker, &state.adversary, &visit);
                let weights = exec.upload(&Tensor::new(vec![factors.len()], factors.clone()))?;
                let masks = Masks::draw(exec, kernel, &arm.model, maker, &visit, (step, Moment::Whole))?;
                let results = kernel.run(exec, |input| match input {
                    Input::World(i) => &world[i],
                    Input::Param(i) => {
                        state.shared[i].as_ref().or(kept[i].as_ref()).expect("a parameter is shared or kept")
                    }
                    Input::Memory { param, slot } => &state.memory[param][slot],
                    Input::Schedule(i) => &schedule[i],
                    Input::Weights => &weights,
                    _ => visit
                        .find(input)
                        .or_else(|| masks.find(input))
                        .unwrap_or_else(|| unreachable!("a step does not read {input:?}")),
                })?;
                let mut results = results.into_iter();
                take_update(arm, state, &mut results);
                let losses = results.next().expect("a step gives the losses");
                for (i, values) in arm.kept().into_iter().zip(results) {
                    state.keep(exec, i, &visit.places, &values)?;
                }
                if let Outer::Worst { sees, .. } = arm.train.outer {
                    let losses = exec.download(&losses)?.into_data();
                    let seen = |(loss, factor): (f64, &f64)| if sees == Sees::Raw { loss } else { factor * loss };
                    let losses: Vec<f64> = losses.into_iter().zip(&factors).map(seen).collect();
                    ascend(arm, &mut state.adversary, &visit, &losses);
                }
            }
            Trainer::Local { adapt, reduce } => {
                let corrections = control::corrections(exec, &state.controls, &visit.places)?;
                let begin = Begin { shared: &state.shared, kept, corrections };
                let adapted = adapt.run(maker, &visit, world, begin, step, &[])?.end;
                control::renew(exec, arm, state, &visit, &adapted)?;
                for i in arm.kept() {
                    state.keep(exec, i, &visit.places, &adapted[i])?;
                }
                let weights = average_weights(arm, maker, &visit);
                let weights = exec.upload(&Tensor::new(vec![weights.len()], weights))?;
                let results = reduce.run(exec, |input| match input {
                    Input::Param(i) => state.shared[i].as_ref().expect("only shared parameters are reduced"),
                    Input::Adapted(i) => &adapted[i],
                    Input::Memory { param, slot } => &state.memory[param][slot],
                    Input::Schedule(i) => &schedule[i],
                    Input::Weights => &weights,
                    other => unreachable!("a reduction does not read {other:?}"),
                })?;
                take_update(arm, state, &mut results.into_iter());
            }
        }
        Ok(())
    }
}

/// Takes the parameters that moved and their memory from a program's results.
fn take_update<E: Executor>(arm: &Arm, state: &mut State<E>, results: &mut impl Iterator<Item = E::Value>) {
    let moved = arm.moved();
    for &i in &moved {
        state.shared[i] = results.next();
    }
    let slots = arm.train.update.as_ref().map_or(0, |u| u.memory().len());
    for &i in &moved {
        state.memory[i] = results.by_ref().take(slots).collect();
    }
}

/// The corner of the simplex that a task of the pool belongs to.
fn corner(arm: &Arm, place: usize) -> usize {
    match (&arm.train.outer, &arm.train.tasks) {
        (Outer::Worst { over: Simplex::Stratum, .. }, TaskSource::Pool { strata, .. }) => {
            let mut end = 0;
            strata
                .iter()
                .position(|s| {
                    end += s.count as usize;
                    place < end
                })
                .expect("a place lies within the pool")
        }
        _ => place,
    }
}

/// How many tasks of the pool share each corner.
fn corner_sizes(arm: &Arm, corners: usize) -> Vec<usize> {
    match (&arm.train.outer, &arm.train.tasks) {
        (Outer::Worst { over: Simplex::Stratum, .. }, TaskSource::Pool { strata, .. }) => {
            strata.iter().map(|s| s.count as usize).collect()
        }
        _ => vec![1; corners],
    }
}

/// What each sampled loss is multiplied by. With an adversary `p_i` over the chance of a draw to hit corner `i`, so that the mean
/// over the sample estimates `sum_i p_i F_i`; with weights `w_i` over their mean.
fn factors<E: Executor>(arm: &Arm, maker: &TaskMaker<E>, adversary: &[f64], visit: &Visit<E>) -> Vec<f64> {
    let tasks = visit.places.len();
    if let Outer::Mean { weights } = &arm.train.outer
        && *weights != Weights::Uniform
    {
        let shares = shares(maker.weights(weights, visit.ids(), visit.query_counts()));
        return shares.into_iter().map(|share| share * tasks as f64).collect();
    }
    if adversary.is_empty() {
        return vec![1.0; tasks];
    }
    let corners = visit.places.iter().map(|&place| corner(arm, place));
    match maker.chances() {
        [] => {
            let sizes = corner_sizes(arm, adversary.len());
            let pool: usize = sizes.iter().sum();
            corners.map(|c| adversary[c] * pool as f64 / sizes[c] as f64).collect()
        }
        chances => {
            let mut of_corner = vec![0.0; adversary.len()];
            chances.iter().enumerate().for_each(|(place, chance)| of_corner[corner(arm, place)] += chance);
            let total: f64 = chances.iter().sum();
            corners.map(|c| adversary[c] * total / of_corner[c]).collect()
        }
    }
}

/// One ascent step: `p_i += ascent * loss` for every sampled task, then the Euclidean projection onto the simplex; or `p_i *=
/// exp(ascent * loss)`, then division by the sum.
fn ascend<E: Executor>(arm: &Arm, adversary: &mut Vec<f64>, visit: &Visit<E>, losses: &[f64]) {
    let Outer::Worst { ascent, exponential, .. } = arm.train.outer else { return };
    let mut climb = vec![0.0; adversary.len()];
    for (&place, &loss) in visit.places.iter().zip(losses) {
        climb[corner(arm, place)] += ascent * loss;
    }
    if !exponential {
        let climbed: Vec<f64> = adversary.iter().zip(&climb).map(|(p, climb)| p + climb).collect();
        *adversary = numeric::simplex_projection(&climbed);
        return;
    }
    // Only differences of the exponents count, so the largest is taken away first.
    let most = climb.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    adversary.iter_mut().zip(&climb).for_each(|(p, climb)| *p *= libm::exp(climb - most));
    let total: f64 = adversary.iter().sum();
    adversary.iter_mut().for_each(|p| *p /= total);
}

/// How much each task counts in an average; sums to 1.
fn average_weights<E: Executor>(arm: &Arm, maker: &TaskMaker<E>, visit: &Visit<E>) -> Vec<f64> {
    let weights = match &arm.train.outer {
        Outer::Average { weights, .. } | Outer::Mean { weights } => weights,
        Outer::Worst { .. } | Outer::Cvar { .. } => &Weights::Uniform,
    };
    shares(maker.weights(weights, visit.ids(), visit.support_counts()))
}

/// Weights over their sum. Where there are no examples to count, as an average of tasks with a risk has none, all are alike.
fn shares(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    if total == 0.0 {
        vec![1.0 / weights.len() as f64; weights.len()]
    } else {
        weights.iter().map(|w| w / total).collect()
    }
}
