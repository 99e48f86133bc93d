//! One arm under one seed, from the first draw to the last measurement.

use super::clients;
use super::evaluate::{Measures, is_due};
use super::initial::{initial, sample_once};
use super::outer::{State, Trainer, Turn};
use super::prefix;
use super::snapshot::{self, Points, Snapshot};
use super::tasks::{Setting, TRAIN, TaskMaker};
use super::{DataSets, Observer, TrainError};
use crate::exec::Executor;
use crate::hash::{Id, Kind};
use crate::ir::{Precision, Tensor};
use crate::plan::Arm;
use crate::plan::lower::{self, Programs};

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All steps were made.
    Finished,
    /// A parameter or a measured value was not finite at that step, and training stopped there.
    Diverged {
        /// The step.
        step: u64,
    },
}

/// One measured series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The measure's name.
    pub measure: String,
    /// The steps at which it was taken.
    pub steps: Vec<u64>,
    /// The values.
    pub values: Vec<f64>,
}

impl Series {
    /// The value at a step; NaN where none was taken, as after a divergence.
    pub fn at(&self, step: u64) -> f64 {
        self.steps.iter().position(|&s| s == step).map_or(f64::NAN, |i| self.values[i])
    }
}

/// What one arm gave under one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// The series, in the order of the arm's measures.
    pub series: Vec<Series>,
    /// Digests of the parameters, at every step where something was measured.
    pub trace: Vec<(u64, Id)>,
    /// The parameters at the end: shared ones, and `[pool, ..]` for those that tasks keep.
    pub weights: Vec<(String, Tensor)>,
    /// The float type of the weights.
    pub precision: Precision,
}

/// Runs one arm under one seed.
pub fn run_cell<E: Executor>(
    exec: &E,
    arm: &Arm,
    seed: u64,
    sets: &DataSets,
    observer: &dyn Observer,
) -> Result<Cell, TrainError> {
    let (tables, sizes) = clients::divide(arm, seed, sets)?;
    let phases = arm.phases();
    let first = lower::lower(&phases[0], &sizes)?;
    let world = sample_once(exec, &first.world, &arm.world, seed, "world", &[])?;
    let init = initial(exec, &first.init, &arm.model, seed, &world, sets)?;
    let mut way = match observer.resume(&arm.name, seed) {
        Some(snapshot) => Way::back(arm, snapshot.state(exec, &init)?, &snapshot),
        None => Way::start(arm, State::new(exec, arm, init, arm.train.tasks.pool_size().unwrap_or(0))?),
    };
    // Behind a frozen prefix everything else is as it was: the same parameters, tasks and random streams.
    let behind = prefix::computed_once(exec, arm, &way.state.shared, &tables, sets)?;
    let (arm, sets) = behind.as_ref().map_or((arm, sets), |(arm, sets)| (arm, sets));
    let (phases, first) = match &behind {
        Some((arm, _)) => (arm.phases(), lower::lower(&arm.phases()[0], &sizes)?),
        None => (phases, first),
    };
    let (mut before, unmoved) = (0, arm.unmoved());
    for (number, phase) in phases.iter().enumerate() {
        let span = Span { before, end: before + phase.train.steps };
        before = span.end;
        if way.status != Status::Finished || way.next > span.end {
            continue;
        }
        if number > 0 && way.next == span.before + 1 {
            way.state = way.state.go_on(exec, phase)?;
        }
        let own = if number > 0 { Some(lower::lower(phase, &sizes)?) } else { None };
        let setting = Setting { exec, arm: phase, seed, world: &world, tables: &tables, sets };
        let stage = Stage { programs: own.as_ref().unwrap_or(&first), span, last: arm.steps(), unmoved: &unmoved };
        way = run_stage(way, &setting, &stage, observer)?;
    }
    let weights = weights(exec, arm, &way.state)?;
    let Way { status, series, trace, .. } = way;
    Ok(Cell { arm: arm.name.clone(), seed, status, series, trace, weights, precision: exec.precision() })
}

/// The steps of a stage.
#[derive(Clone, Copy)]
struct Span {
    /// The steps of the stages before it.
    before: u64,
    /// Its last step.
    end: u64,
}

/// What of a cell is one stage's.
struct Stage<'a> {
    programs: &'a Programs,
    span: Span,
    /// The last step of the last stage.
    last: u64,
    /// The parameters that no stage moves.
    unmoved: &'a [usize],
}

/// Runs one stage from where a cell stands.
fn run_stage<E: Executor>(
    mut way: Way<E>,
    setting: &Setting<E>,
    stage: &Stage,
    observer: &dyn Observer,
) -> Result<Way<E>, TrainError> {
    let Stage { programs, span, last, unmoved } = *stage;
    let Setting { exec, arm, seed, world, .. } = *setting;
    let own = (TRAIN, arm.train.augment.as_slice());
    let maker = TaskMaker::new(setting, &arm.train.tasks, &arm.train.objective, &programs.tasks, own)?;
    let trainer = Trainer::new(exec, arm, &programs.train)?;
    let measures = Measures::new(setting, programs)?;
    while way.goes_on(span.end) {
        if observer.cancelled() {
            if way.next > 0 {
                observer.save(&arm.name, seed, way.snapshot(exec, unmoved)?);
            }
            return Err(TrainError::Cancelled);
        }
        let step = way.next;
        if step > 0 {
            let turn = Turn { step, of_stage: step - span.before };
            trainer.step(exec, arm, &maker, world, &mut way.state, turn)?;
            observer.stepped(&arm.name, seed, step);
        }
        let due: Vec<usize> = (0..arm.measures.len()).filter(|&i| is_due(&arm.measures[i], step, last)).collect();
        if step == last || !due.is_empty() {
            let weights = weights(exec, arm, &way.state)?;
            way.trace.push((step, digest(&weights, exec.precision())));
            let mut finite = weights.iter().all(|(_, t)| t.data().iter().all(|x| x.is_finite()));
            for (i, value) in measures.take(exec, arm, world, &way.state, &due)? {
                finite &= value.is_finite();
                way.series[i].steps.push(step);
                way.series[i].values.push(value);
                observer.measured(&arm.name, seed, &arm.measures[i].name, step, value);
            }
            if !finite {
                way.status = Status::Diverged { step };
            }
        }
        way.next = step + 1;
        if observer.wants_snapshot(&arm.name, seed, step, !way.goes_on(last)) {
            observer.save(&arm.name, seed, way.snapshot(exec, unmoved)?);
        }
    }
    Ok(way)
}

/// How far a cell has come.
struct Way<E: Executor> {
    state: State<E>,
    series: Vec<Series>,
    trace: Vec<(u64, Id)>,
    status: Status,
    /// The step to be made next; step 0 only measures.
    next: u64,
}

impl<E: Executor> Way<E> {
    fn start(arm: &Arm, state: State<E>) -> Way<E> {
        let series = arm.measures.iter().map(|m| Series { measure: m.name.clone(), steps: vec![], values: vec![] });
        Way { state, series: series.collect(), trace: Vec::new(), status: Status::Finished, next: 0 }
    }

    fn goes_on(&self, end: u64) -> bool {
        self.status == Status::Finished && self.next <= end
    }

    fn snapshot(&self, exec: &E, unmoved: &[usize]) -> Result<Snapshot, TrainError> {
        let points = |s: &Series| Points { steps: s.steps.clone(), bits: snapshot::bits(&s.values) };
        let (traced, digests) = self.trace.iter().copied().unzip();
        Ok(Snapshot {
            step: self.next - 1,
            diverged: self.status != Status::Finished,
            series: self.series.iter().map(points).collect(),
            traced,
            digests,
            ..Snapshot::of_state(exec, &self.state, unmoved)?
        })
    }

    fn back(arm: &Arm, state: State<E>, snapshot: &Snapshot) -> Way<E> {
        let mut way = Way::start(arm, state);
        for (series, points) in way.series.iter_mut().zip(&snapshot.series) {
            (series.steps, series.values) = (points.steps.clone(), snapshot::values(&points.bits));
        }
        way.trace = snapshot.traced.iter().copied().zip(snapshot.digests.iter().copied()).collect();
        if snapshot.diverged {
            way.status = Status::Diverged { step: snapshot.step };
        }
        way.next = snapshot.step + 1;
        way
    }
}

fn weights<E: Executor>(exec: &E, arm: &Arm, state: &State<E>) -> Result<Vec<(String, Tensor)>, TrainError> {
    let mut weights = Vec::new();
    for (i, slot) in arm.model.params.iter().enumerate() {
        let mut tensor = match (&state.shared[i], &state.kept[i]) {
            (Some(value), _) => exec.download(value)?,
            (None, Some(table)) => table.clone(),
            (None, None) => unreachable!("a parameter is shared or kept"),
        };
        tensor.data_mut().iter_mut().for_each(|x| *x = one_nan(*x));
        weights.push((slot.name.clone(), tensor));
    }
    Ok(weights)
}

/// The number, or the one NaN that is hashed: which NaN an operation gives depends on the processor.
fn one_nan(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x }
}

/// The digest of the parameters' bits, in the order of the model.
fn digest(weights: &[(String, Tensor)], precision: Precision) -> Id {
    let mut bytes = Vec::new();
    for (_, tensor) in weights {
        bytes.extend(tensor.to_le_bytes(precision));
    }
    Id::of_bytes(Kind::Trace, &bytes)
}
