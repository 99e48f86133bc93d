//! Measurements: of the state, and of tasks under an evaluation.

use super::TrainError;
use super::adapt::{Adaptation, Adapted, Begin};
use super::bind::Kernel;
use super::initial::initial;
use super::outer::State;
use super::tasks::{Setting, TaskMaker, Visit};
use crate::catalog::{Outer, Reduction, Simplex, StateMetric, Weights, Whose};
use crate::exec::Executor;
use crate::ir::Tensor;
use crate::numeric::{self, Matrix};
use crate::plan::lower::{EvaluationPrograms, Input, Programs};
use crate::plan::{Arm, Evaluation, Measure, Objective, PoolStratum, Slot, TaskSource, What};

/// The compiled programs of all measures of an arm.
pub(super) struct Measures<'a, E: Executor> {
    kernels: Vec<Option<Kernel<E>>>,
    evaluations: Vec<Protocol<'a, E>>,
}

/// One evaluation. Its tasks are the same at every measurement, so their visits are made once.
struct Protocol<'a, E: Executor> {
    maker: TaskMaker<'a, E>,
    visits: Vec<Visit<E>>,
    adapt: Adaptation<'a, E>,
    params: Vec<Source<E>>,
    /// The numbers of steps of the adaptation after which something is measured.
    stops: Vec<u64>,
    between: Option<Kernel<E>>,
    /// The parameters that the adaptation moves.
    moved: Vec<usize>,
}

/// Where a parameter of an evaluation comes from.
enum Source<E: Executor> {
    /// The parameter of training at that position.
    Trained(usize),
    /// Its initial value, where only the evaluation has it.
    Initial(E::Value),
}

impl<'a, E: Executor> Measures<'a, E> {
    pub fn new(setting: &Setting<'a, E>, programs: &Programs) -> Result<Self, TrainError> {
        let (exec, arm) = (setting.exec, setting.arm);
        let mut evaluations = Vec::new();
        for (evaluation, programs) in arm.evaluations.iter().zip(&programs.evaluations) {
            let own = (evaluation.name.as_str(), evaluation.augment.as_slice());
            let maker = TaskMaker::new(setting, &evaluation.tasks, &evaluation.objective, &programs.tasks, own)?;
            // Fresh tasks stay the same over the visits, too: only what an episode draws is new.
            let visits: Vec<Visit<E>> =
                (0..evaluation.episodes).map(|visit| maker.revisit(visit)).collect::<Result<_, _>>()?;
            maker.rest();
            if matches!(evaluation.objective, Objective::Sample { .. })
                && visits[0].query_counts().iter().all(|&n| n == 0)
            {
                return Err(TrainError::Data {
                    name: evaluation.tasks.family().to_owned(),
                    reason: format!(
                        "`{}` measures held-out examples, and none are held out; raise `hold_out`",
                        evaluation.name
                    ),
                });
            }
            let adapt = Adaptation::new(exec, arm.model_of(evaluation), &evaluation.adapt, &programs.adapt)?;
            let params = sources(setting, evaluation, programs)?;
            let between = programs.between.as_ref().map(|p| Kernel::compile(exec, p)).transpose()?;
            let (stops, moved) = (stops(arm, evaluation), evaluation.moved(arm.model_of(evaluation)));
            evaluations.push(Protocol { maker, visits, adapt, params, stops, between, moved });
        }
        let kernels = programs
            .measures
            .iter()
            .map(|p| Ok(p.as_ref().map(|p| Kernel::compile(exec, p)).transpose()?))
            .collect::<Result<_, TrainError>>()?;
        Ok(Measures { kernels, evaluations })
    }

    /// The values of the measures at the positions `due`, with these.
    pub fn take(
        &self,
        exec: &E,
        arm: &Arm,
        world: &[E::Value],
        state: &State<E>,
        due: &[usize],
    ) -> Result<Vec<(usize, f64)>, TrainError> {
        let mut adapted: Vec<Vec<Adapted<E>>> = self.evaluations.iter().map(|_| vec![]).collect();
        let mut values = Vec::new();
        for &i in due {
            let value = match &arm.measures[i].what {
                What::State { metric, .. } => self.state(exec, i, *metric, world, state)?,
                What::Mass { strata } => mass(arm, strata, &state.adversary),
                What::Evaluation { name, reduction, after, share, query, .. } => {
                    let position =
                        arm.evaluations.iter().position(|e| e.name == *name).expect("lowering found every evaluation");
                    let protocol = &self.evaluations[position];
                    if adapted[position].is_empty() {
                        adapted[position] = protocol.adapted(exec, world, state)?;
                    }
                    let params = adapted[position].iter().map(|adapted| protocol.at(exec, adapted, *after, *share));
                    let params: Vec<Vec<E::Value>> = params.collect::<Result<_, _>>()?;
                    let per_task = self.per_task(exec, i, protocol, world, &params)?;
                    let objective = &arm.evaluations[position].objective;
                    protocol.reduce(reduction, objective, *query, &per_task)
                }
            };
            values.push((i, value));
        }
        Ok(values)
    }

    fn state(
        &self,
        exec: &E,
        i: usize,
        metric: StateMetric,
        world: &[E::Value],
        state: &State<E>,
    ) -> Result<f64, TrainError> {
        let kernel = self.kernels[i].as_ref().expect("a metric of the state has a program");
        let results = kernel.run(exec, |input| match input {
            Input::World(i) => &world[i],
            Input::Param(i) => {
                state.shared[i].as_ref().expect("the checker lets measures read shared parameters alone")
            }
            other => unreachable!("a measure does not read {other:?}"),
        })?;
        let results: Vec<Tensor> = results.iter().map(|v| exec.download(v)).collect::<Result<_, _>>()?;
        Ok(match metric {
            StateMetric::Value => results[0].data()[0],
            StateMetric::SubspaceDistance => numeric::subspace_distance(matrix(&results[0]), matrix(&results[1])),
            StateMetric::ChordalDistance => numeric::chordal_distance(matrix(&results[0]), matrix(&results[1])),
            StateMetric::EnergyRatio => numeric::energy_ratio(matrix(&results[0]), matrix(&results[1])),
            StateMetric::SpectralNorm => numeric::spectral_norm(matrix(&results[0])),
            StateMetric::InverseCondition => numeric::inverse_condition(matrix(&results[0])),
            StateMetric::Rank { tolerance } => numeric::numerical_rank(matrix(&results[0]), tolerance),
        })
    }

    /// The metric of every task, averaged over its visits.
    fn per_task(
        &self,
        exec: &E,
        i: usize,
        protocol: &Protocol<E>,
        world: &[E::Value],
        adapted: &[Vec<E::Value>],
    ) -> Result<Vec<f64>, TrainError> {
        let kernel = self.kernels[i].as_ref().expect("a metric of tasks has a program");
        let mut visits = Vec::new();
        for (visit, params) in protocol.visits.iter().zip(adapted) {
            let results = kernel.run(exec, |input| match input {
                Input::World(i) => &world[i],
                Input::Param(i) => &params[i],
                _ => visit.find(input).unwrap_or_else(|| unreachable!("a metric does not read {input:?}")),
            })?;
            visits.push(exec.download(&results[0])?.into_data());
        }
        kernel.rest(exec);
        Ok((0..visits[0].len())
            .map(|task| numeric::mean(&visits.iter().map(|v| v[task]).collect::<Vec<_>>()))
            .collect())
    }
}

impl<E: Executor> Protocol<'_, E> {
    /// One number of the values of the tasks that have something to be measured on.
    fn reduce(&self, reduction: &Reduction, objective: &Objective, whose: Whose, values: &[f64]) -> f64 {
        let visit = &self.visits[0];
        let all: usize = visit.query_counts().iter().sum();
        let seen = |own: usize| match whose {
            Whose::Own => own,
            Whose::Others => all - own,
            Whose::All => all,
        };
        let counts: Vec<usize> = visit.query_counts().iter().map(|&own| seen(own)).collect();
        let measured = |task: &usize| matches!(objective, Objective::Risk) || counts[*task] > 0;
        let chosen = |of: &[f64]| (0..of.len()).filter(measured).map(|task| of[task]).collect::<Vec<f64>>();
        let values = chosen(values);
        match reduction {
            Reduction::Mean { weights: Weights::Uniform } => numeric::mean(&values),
            Reduction::Mean { weights } => {
                let weights = chosen(&self.maker.weights(weights, visit.ids(), &counts));
                let weighted: Vec<f64> = values.iter().zip(&weights).map(|(value, weight)| value * weight).collect();
                numeric::mean(&weighted) / numeric::mean(&weights)
            }
            Reduction::Max => numeric::quantile(&values, 1.0),
            Reduction::Min => numeric::quantile(&values, 0.0),
            Reduction::Std => numeric::population_std(&values),
            Reduction::Quantile { q } => numeric::quantile(&values, *q),
        }
    }

    /// The parameters at the point of an adaptation that a measure takes.
    fn at(
        &self,
        exec: &E,
        adapted: &Adapted<E>,
        after: Option<u64>,
        share: Option<f64>,
    ) -> Result<Vec<E::Value>, TrainError> {
        let stopped = after.and_then(|after| adapted.stopped.iter().find(|(stop, _)| *stop == after));
        let end = stopped.map_or(&adapted.end, |(_, params)| params);
        let (Some(share), Some(between)) = (share, &self.between) else { return Ok(end.clone()) };
        let share = exec.upload(&Tensor::scalar(share))?;
        let moved = between.run(exec, |input| match input {
            Input::Start(i) => &adapted.start[i],
            Input::Adapted(i) => &end[i],
            Input::Schedule(_) => &share,
            other => unreachable!("a point between does not read {other:?}"),
        })?;
        let mut params = end.clone();
        self.moved.iter().zip(moved).for_each(|(&i, value)| params[i] = value);
        Ok(params)
    }

    /// The parameters of every task on the way of its adaptation, visit by visit.
    fn adapted(&self, exec: &E, world: &[E::Value], state: &State<E>) -> Result<Vec<Adapted<E>>, TrainError> {
        let shared: Vec<Option<E::Value>> = self
            .params
            .iter()
            .map(|source| match source {
                Source::Trained(i) => state.shared[*i].clone(),
                Source::Initial(value) => Some(value.clone()),
            })
            .collect();
        let numbered = self.visits.iter().zip(0..);
        let adapted = numbered
            .map(|(visit, number)| {
                // Only parameters that the evaluation shares with training: its tasks need not be those of the pool.
                let kept = |source: &Source<E>| match source {
                    Source::Trained(i) => state.kept_of(exec, *i, &visit.places),
                    Source::Initial(_) => Ok(None),
                };
                let kept = self.params.iter().map(kept).collect::<Result<_, _>>()?;
                let begin = Begin { shared: &shared, kept, corrections: vec![] };
                self.adapt.run(&self.maker, visit, world, begin, number, &self.stops)
            })
            .collect();
        self.adapt.rest();
        adapted
    }
}

/// The parameters of an evaluation's model.
fn sources<E: Executor>(
    setting: &Setting<E>,
    evaluation: &Evaluation,
    programs: &EvaluationPrograms,
) -> Result<Vec<Source<E>>, TrainError> {
    let Setting { exec, arm, seed, world, .. } = *setting;
    let (Some(model), Some(program)) = (&evaluation.model, &programs.init) else {
        return Ok((0..arm.model.params.len()).map(Source::Trained).collect());
    };
    let initial = initial(exec, program, model, seed, world, setting.sets)?;
    let source = |(slot, value): (&Slot, E::Value)| match arm.model.position(&slot.name) {
        Some(i) => Source::Trained(i),
        None => Source::Initial(value),
    };
    Ok(model.params.iter().zip(initial).map(source).collect())
}

/// Whether a measure is taken after `step` of `last` steps.
pub(super) fn is_due(measure: &Measure, step: u64, last: u64) -> bool {
    step.is_multiple_of(measure.every) || step == last
}

/// The numbers of steps of an adaptation after which the measures of an arm take something.
fn stops(arm: &Arm, evaluation: &Evaluation) -> Vec<u64> {
    let after = |what: &What| match what {
        What::Evaluation { name, after, .. } if *name == evaluation.name => *after,
        _ => None,
    };
    let mut stops: Vec<u64> = arm.measures.iter().filter_map(|m| after(&m.what)).collect();
    stops.sort_unstable();
    stops.dedup();
    stops
}

/// The share of the adversary's weights on some strata of the training pool; without an adversary, of its tasks.
fn mass(arm: &Arm, strata: &[String], adversary: &[f64]) -> f64 {
    let TaskSource::Pool { strata: pool, .. } = &arm.train.tasks else { return f64::NAN };
    let chosen = |name: &String| strata.contains(name);
    match arm.train.outer {
        Outer::Worst { over: Simplex::Stratum, .. } => {
            pool.iter().zip(adversary).filter(|(s, _)| chosen(&s.name)).map(|(_, p)| p).sum()
        }
        Outer::Worst { over: Simplex::Task, .. } => {
            let owners = pool.iter().flat_map(|s| std::iter::repeat_n(&s.name, s.count as usize));
            owners.zip(adversary).filter(|(name, _)| chosen(name)).map(|(_, p)| p).sum()
        }
        Outer::Mean { .. } | Outer::Cvar { .. } | Outer::Average { .. } => {
            let weight = |s: &PoolStratum| match &arm.train.outer {
                Outer::Mean { weights: by @ Weights::Strata { .. } } => s.count as f64 * by.of(&s.name, || 1.0, || 1.0),
                _ => s.count as f64,
            };
            let total: f64 = pool.iter().map(weight).sum();
            pool.iter().filter(|s| chosen(&s.name)).map(|s| weight(s) / total).sum()
        }
    }
}

fn matrix(tensor: &Tensor) -> Matrix<'_> {
    Matrix::new(tensor.dims()[0], tensor.dims()[1], tensor.data())
}
