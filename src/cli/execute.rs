//! Carrying a plan out: what the ledger holds is not run again, what runs is written down as it goes, and what was
//! interrupted goes on from where it was left.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::args::{Cache, Device, KeepWeights, Machine};
use super::device::{self, Batch};
use super::failure::Failure;
use super::progress::Progress;
use super::record::{self, CellKeys, Facts, Held};
use crate::hash::{Bytes, Id, Kind};
use crate::ledger::{About, FileHint, Input, Live, Outcome, Row, Run, Store};
use crate::plan::{Arm, Plan, Verdict};
use crate::train::{Cell, DataSets, Observer, Snapshot, TrainError};

/// A plan with all that it needs.
pub struct Job<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its data.
    pub sets: &'a DataSets,
    /// Plan, data and numerics; their objects have been put.
    pub input: Input,
    /// The device.
    pub device: Device,
    /// The text of the `.meta` file.
    pub source: Option<Id>,
    /// Where the data lay.
    pub files: Vec<FileHint>,
    /// When it began.
    pub started_ms: u64,
}

/// How a job is carried out.
pub struct How<'a> {
    /// Where programs run.
    pub machine: &'a Machine,
    /// What the ledger may give, and what it may give to later runs.
    pub cache: Cache,
    /// Save every cell after so many steps.
    pub save_every: Option<u64>,
    /// Which final parameters the ledger keeps; where nothing is said, those that an interrupted run was to keep, else all.
    pub keep_weights: Option<KeepWeights>,
}

/// What came of a job.
pub struct Done {
    /// The cells, arms in the order of the plan, and within an arm the seeds in theirs.
    pub cells: Vec<Cell>,
    /// What became of the claims.
    pub claims: Vec<Verdict>,
    /// The run.
    pub run: Id,
    /// What decided the result.
    pub input: Id,
    /// The result.
    pub result: Id,
    /// How many cells the ledger held.
    pub held: usize,
    /// Of how many cells the ledger does not keep the final parameters.
    pub left_out: usize,
}

/// How often a cell that takes long is saved.
const SAVE_EACH: Duration = Duration::from_secs(5);
/// What is shorter than this costs less to run again than to save.
const WORTH_SAVING: Duration = Duration::from_secs(1);

/// Carries a job out and records it; goes on with `live` where that is given.
pub fn execute(store: &Store, job: &Job, how: &How, live: Option<Live>) -> Result<Done, Failure> {
    let keys = CellKeys::new(store, job.plan, &job.input, job.device)?;
    let input = store.put(Kind::Input, &job.input)?;
    if live.is_none()
        && how.cache.reads()
        && let Some(done) = held(store, job, how, input)?
    {
        return Ok(done);
    }
    let about = About {
        experiment: job.plan.experiment.clone(),
        input,
        source: job.source,
        files: job.files.clone(),
        started_ms: job.started_ms,
        keep_weights: how.keep_weights.and_then(KeepWeights::limit),
    };
    let live = match live {
        Some(live) => live,
        None if how.cache.reads() => store.begin(&about, || note("another process runs this; waiting for it"))?,
        None => store.begin_apart(&about)?,
    };
    // The process that this one waited for may have sealed the very run.
    if how.cache.reads()
        && let Some(done) = held(store, job, how, input)?
    {
        live.close()?;
        return Ok(done);
    }
    if live.is_resumed() {
        note("going on with a run that was interrupted");
    }
    let cells = device::cells(job.plan);
    let limit = how.keep_weights.map_or(live.keep_weights(), KeepWeights::limit);
    let (mut known, mut records) = (Vec::new(), Vec::new());
    let wanted: Vec<Id> = cells.iter().map(|(arm, seed)| keys.key(arm, *seed)).collect();
    let found = if how.cache.reads() { store.cells(&wanted)? } else { vec![None; cells.len()] };
    for (found, (arm, _)) in found.into_iter().zip(&cells) {
        let recall = |(run, cell)| record::recall(store, arm, &store.get(Kind::Run, run)?, cell, how.wants_all());
        let found = found.map(recall).transpose()?.filter(|(_, held)| how.takes(held));
        let (cell, record) = found.unzip();
        known.push(cell);
        records.push(record);
    }
    let held = known.iter().flatten().count();
    let cells = run_cells(job, how, &live, known);
    if let Some(row) = live.contradiction() {
        return Err(contradicted(job.plan, &row, live.name()));
    }
    let cells = match cells {
        Ok(cells) => cells,
        Err(Failure::Train(TrainError::Cancelled)) => return Err(Failure::Interrupted(live.name().to_owned())),
        // Nothing was measured, so there is nothing to go on from.
        Err(failure) if !live.is_resumed() && store.rows(live.name())?.is_empty() => {
            live.close()?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    let claims = job.plan.claims.iter().map(|c| c.evaluate(&record::at(job.plan, &cells))).collect::<Vec<_>>();
    let keeps = |_: &Cell, bytes| limit.is_none_or(|limit| bytes <= limit);
    let (outcome, weights) = record::put_outcome(store, &keys, input, &cells, &records, &claims, keeps)?;
    let left_out = outcome.cells.iter().filter(|cell| weights.contains(&cell.weights)).count();
    let result = store.put(Kind::Result, &outcome)?;
    let (source, files, started_ms) = (job.source, &job.files, live.started_ms());
    let facts =
        Facts { plan: job.plan, device: job.device, input, result, source, files, started_ms, left_out: weights };
    let run = record::seal(store, facts, how.machine, how.cache.writes())?;
    if let Some(error) = live.close()? {
        note(&format!("the run is recorded, but its journal was not whole: {error}"));
    }
    Ok(Done { cells, claims, run, input, result, held, left_out })
}

impl How<'_> {
    /// Whether a cell that the ledger holds is as good as one that is run: it may lack its final parameters, unless all are
    /// to be kept.
    fn takes(&self, held: &Held) -> bool {
        held.whole || !self.wants_all()
    }

    fn wants_all(&self) -> bool {
        self.keep_weights == Some(KeepWeights::All)
    }
}

/// The latest run of that input, where the ledger holds one.
fn held(store: &Store, job: &Job, how: &How, input: Id) -> Result<Option<Done>, Failure> {
    let Some(id) = store.run_of(input)? else { return Ok(None) };
    // What cannot be read is no hit; `verify` tells what is wrong with it.
    let Ok(run) = store.get::<Run>(Kind::Run, id) else { return Ok(None) };
    let Ok(outcome) = store.get::<Outcome>(Kind::Result, run.result) else { return Ok(None) };
    let left_out = outcome.cells.iter().filter(|cell| run.left_out.contains(&cell.weights)).count();
    let found = device::cells(job.plan).into_iter().zip(outcome.cells);
    let found: Result<Vec<(Cell, Held)>, Failure> =
        found.map(|((arm, _), cell)| record::recall(store, arm, &run, cell, how.wants_all())).collect();
    let Ok(found) = found else { return Ok(None) };
    if !found.iter().all(|(_, held)| how.takes(held)) {
        return Ok(None);
    }
    let cells: Vec<Cell> = found.into_iter().map(|(cell, _)| cell).collect();
    let claims = job.plan.claims.iter().map(|c| c.evaluate(&record::at(job.plan, &cells))).collect();
    let held = cells.len();
    Ok(Some(Done { cells, claims, run: id, input, result: run.result, held, left_out }))
}

fn run_cells(job: &Job, how: &How, live: &Live, known: Vec<Option<Cell>>) -> Result<Vec<Cell>, Failure> {
    let batch = Batch::new(job.device, how.machine, job.plan, job.sets, known)?;
    let progress = Progress::new(job.plan);
    let places = device::cells(job.plan).into_iter().zip(0..);
    let recorder = Recorder {
        progress: &progress,
        live,
        places: places.map(|((arm, seed), place)| ((arm.name.as_str(), seed), (arm, place))).collect(),
        save_every: how.save_every,
        began: Instant::now(),
        saved: Mutex::default(),
        interrupted: interrupted(),
    };
    let cells = batch.run(&recorder);
    progress.finish();
    cells
}

/// Says something beside the result.
pub fn note(text: &str) {
    // Nobody is left to tell where this fails.
    let _ = writeln!(anstream::stderr(), "note: {text}");
}

fn contradicted(plan: &Plan, row: &Row, name: &str) -> Failure {
    let cells = device::cells(plan);
    let cell = usize::try_from(row.cell).ok().and_then(|i| cells.get(i));
    let (arm, seed) = cell.map_or(("?", 0), |(arm, seed)| (arm.name.as_str(), *seed));
    let measure = cell.and_then(|(arm, _)| arm.measures.get(row.measure as usize)).map_or("?", |m| &m.name);
    Failure::Contradiction {
        place: format!("series `{measure}` of arm `{arm}`, seed {seed}, at step {}", row.step),
        name: name.to_owned(),
    }
}

/// Raised by the first Ctrl-C; the second ends the process.
fn interrupted() -> &'static AtomicBool {
    static RAISED: AtomicBool = AtomicBool::new(false);
    // A handler that is set already is this one.
    let _ = ctrlc::set_handler(|| {
        if RAISED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    &RAISED
}

/// Shows progress, and writes down what is measured and how far each cell has come.
struct Recorder<'a> {
    progress: &'a Progress,
    live: &'a Live,
    places: BTreeMap<(&'a str, u64), (&'a Arm, u64)>,
    save_every: Option<u64>,
    began: Instant,
    saved: Mutex<BTreeMap<u64, Instant>>,
    interrupted: &'static AtomicBool,
}

impl Observer for Recorder<'_> {
    fn stepped(&self, arm: &str, seed: u64, step: u64) {
        self.progress.stepped(arm, seed, step);
    }

    fn measured(&self, arm: &str, seed: u64, measure: &str, step: u64, value: f64) {
        self.progress.measured(arm, seed, measure, step, value);
        let Some((plan, cell)) = self.places.get(&(arm, seed)) else { return };
        let Some(measure) = plan.measures.iter().position(|m| m.name == measure) else { return };
        let bits = Bytes(value.to_le_bytes().to_vec());
        self.live.row(Row { cell: *cell, measure: measure as u64, step, bits });
    }

    fn cancelled(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.live.contradicted()
    }

    fn resume(&self, arm: &str, seed: u64) -> Option<Snapshot> {
        self.places.get(&(arm, seed)).and_then(|(_, cell)| self.live.saved(*cell))
    }

    fn wants_snapshot(&self, arm: &str, seed: u64, step: u64, last: bool) -> bool {
        if self.save_every.is_some_and(|every| last || step.is_multiple_of(every)) {
            return true;
        }
        // The clock is asked now and then: a step may take a microsecond.
        if !last && !step.is_multiple_of(16) {
            return false;
        }
        let now = Instant::now();
        if last {
            return now.duration_since(self.began) >= WORTH_SAVING;
        }
        let Some((_, cell)) = self.places.get(&(arm, seed)) else { return false };
        let Ok(mut saved) = self.saved.lock() else { return false };
        let before = saved.entry(*cell).or_insert(self.began);
        let due = now.duration_since(*before) >= SAVE_EACH;
        if due {
            *before = now;
        }
        due
    }

    fn save(&self, arm: &str, seed: u64, snapshot: Snapshot) {
        if let Some((_, cell)) = self.places.get(&(arm, seed)) {
            self.live.save(*cell, &snapshot);
        }
    }
}
