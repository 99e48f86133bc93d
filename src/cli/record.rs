//! From what training gave to what the ledger keeps.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::{Device, Machine};
use super::device;
use super::failure::Failure;
use crate::hash::{Id, Kind};
use crate::ir::{Precision, Tensor};
use crate::ledger::{
    self, CellInput, CellSeries, ClaimVerdict, Env, FileHint, Input, Manifest, ManifestFile, Outcome, Run, Store,
    Trace, Weight, Weights,
};
use crate::plan::{Arm, DataSource, Plan, Verdict};
use crate::train::{Cell, Series, Status};

/// The largest data file that the ledger keeps itself, so that a replay needs no other.
pub const KEPT_DATA: usize = 16 << 20;

/// A data file as a record sees it.
pub struct DataFile<'a> {
    /// The data set's name.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Stores what a run is made from; gives its [`Input`].
pub fn put_input(store: &Store, plan: &Plan, files: &[DataFile], device: Device) -> Result<Input, Failure> {
    let mut listed = Vec::new();
    for file in files {
        let blob = if file.bytes.len() <= KEPT_DATA { store.put_blob(file.bytes)? } else { Id::of_file(file.bytes) };
        listed.push(ManifestFile { name: file.name.to_owned(), blob, bytes: file.bytes.len() as u64 });
    }
    Ok(Input {
        plan: store.put(Kind::Plan, plan)?,
        manifest: store.put(Kind::Manifest, &Manifest { files: listed })?,
        numerics: store.put(Kind::Numerics, &device::numerics(device, &plan.arms))?,
    })
}

/// What decides each cell of a plan: arm, seed, data, numerics.
pub struct CellKeys<'a> {
    plan: &'a Plan,
    manifest: Manifest,
    device: Device,
}

impl<'a> CellKeys<'a> {
    /// Of a plan that runs on the data of an input that was put.
    pub fn new(store: &Store, plan: &'a Plan, input: &Input, device: Device) -> Result<CellKeys<'a>, Failure> {
        Ok(CellKeys { plan, manifest: store.get(Kind::Manifest, input.manifest)?, device })
    }

    /// The key of the cell of an arm under a seed.
    pub fn key(&self, arm: &Arm, seed: u64) -> Id {
        let names: Vec<String> = arm.data.iter().flat_map(DataSource::file_names).collect();
        let files = self.manifest.files.iter().filter(|f| names.contains(&f.name)).cloned().collect();
        let numerics = device::numerics(self.device, [arm]);
        let input = CellInput {
            arm: Id::of(Kind::Arm, &Arm { name: String::new(), ..arm.clone() }),
            seed,
            manifest: Id::of(Kind::Manifest, &Manifest { files }),
            numerics: Id::of(Kind::Numerics, &numerics),
        };
        input.key()
    }
}

/// Stores everything that cells and claims gave, but for the weights that are not to be kept; the outcome itself is stored
/// by the caller. Cells that the ledger holds stand in `held` at their place. `keeps` tells of a cell, and the bytes of its
/// parameters, whether they are kept; the ids of those that are not come second, in their order.
pub fn put_outcome(
    store: &Store,
    keys: &CellKeys,
    input: Id,
    cells: &[Cell],
    held: &[Option<Held>],
    claims: &[Verdict],
    keeps: impl Fn(&Cell, u64) -> bool,
) -> Result<(Outcome, Vec<Id>), Failure> {
    let (mut put, mut kept_ids, mut left_out) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (place, cell) in cells.iter().enumerate() {
        let arm = keys.plan.arms.iter().find(|arm| arm.name == cell.arm).expect("a cell belongs to an arm of its plan");
        let kept = keeps(cell, bytes(cell));
        let (cell, kept) = match held.get(place).and_then(Option::as_ref) {
            // All of it is in the ledger, but for weights that no run keeps.
            Some(held) => (ledger::Cell { arm: cell.arm.clone(), ..held.cell.clone() }, kept && held.whole),
            None => (put_cell(store, keys.key(arm, cell.seed), cell, kept)?, kept),
        };
        if kept { &mut kept_ids } else { &mut left_out }.insert(cell.weights);
        put.push(cell);
    }
    let claims = claims.iter().map(|v| ClaimVerdict { holds: v.holds, left: v.left, right: v.right }).collect();
    // Cells may end with the same parameters, and one of them may keep what another leaves out.
    let left_out = left_out.difference(&kept_ids).copied().collect();
    Ok((Outcome { input, cells: put, claims }, left_out))
}

/// The bytes of the parameters that a cell ended with.
fn bytes(cell: &Cell) -> u64 {
    let width = if cell.precision == Precision::F32 { 4 } else { 8 };
    cell.weights.iter().map(|(_, tensor)| width * tensor.data().len() as u64).sum()
}

fn put_cell(store: &Store, key: Id, cell: &Cell, kept: bool) -> Result<ledger::Cell, Failure> {
    let mut series = Vec::new();
    for s in &cell.series {
        let object = ledger::Series::new(s.steps.clone(), &s.values)
            .map_err(|error| Failure::Decode { what: "series", error })?;
        series.push(CellSeries { measure: s.measure.clone(), id: store.put(Kind::Series, &object)? });
    }
    let weights = Weights {
        tensors: cell.weights.iter().map(|(name, tensor)| Weight::new(name, tensor, cell.precision)).collect(),
    };
    Ok(ledger::Cell {
        key,
        arm: cell.arm.clone(),
        seed: cell.seed,
        status: match cell.status {
            Status::Finished => ledger::Status::Finished,
            Status::Diverged { step } => ledger::Status::Diverged { step },
        },
        series,
        trace: store.put(Kind::Trace, &Trace::new(&cell.trace))?,
        weights: if kept { store.put(Kind::Weights, &weights)? } else { Id::of(Kind::Weights, &weights) },
    })
}

/// Stores the machine and seals the run: from then on it is listed.
pub fn seal(store: &Store, facts: Facts, machine: &Machine, cached: bool) -> Result<Id, Failure> {
    let env = store.put(Kind::Env, &environment(facts.device, machine))?;
    let run = Run {
        experiment: facts.plan.experiment.clone(),
        input: facts.input,
        result: facts.result,
        env,
        source: facts.source,
        files: facts.files.to_vec(),
        started_ms: facts.started_ms,
        finished_ms: now_ms(),
        left_out: facts.left_out,
    };
    Ok(if cached { store.seal(&run)? } else { store.seal_apart(&run)? }.run)
}

/// What a run's record is made from.
pub struct Facts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The device.
    pub device: Device,
    /// The id of the [`Input`].
    pub input: Id,
    /// The id of the [`Outcome`].
    pub result: Id,
    /// The id of the `.meta` text.
    pub source: Option<Id>,
    /// Where the data lay.
    pub files: &'a [FileHint],
    /// When it began.
    pub started_ms: u64,
    /// The weights that it does not keep.
    pub left_out: Vec<Id>,
}

/// A cell of the ledger.
pub struct Held {
    /// As it is there.
    pub cell: ledger::Cell,
    /// Whether its weights are there, too.
    pub whole: bool,
}

/// A cell of a run that the ledger holds, as one of this arm; without parameters where the run left them out. Whether another run
/// keeps them is looked up where `all` are wanted: that takes a look into every pack.
pub fn recall(store: &Store, arm: &Arm, run: &Run, held: ledger::Cell, all: bool) -> Result<(Cell, Held), Failure> {
    let mut series = Vec::new();
    for named in &held.series {
        let points: ledger::Series = store.get(Kind::Series, named.id)?;
        series.push(Series { measure: named.measure.clone(), values: points.values(), steps: points.steps });
    }
    let trace: Trace = store.get(Kind::Trace, held.trace)?;
    let whole = !run.left_out.contains(&held.weights) || (all && store.has(held.weights)?);
    let weights: Option<Weights> = whole.then(|| store.get(Kind::Weights, held.weights)).transpose()?;
    let tensor = |w: Weight| (w.name.clone(), Tensor::new(w.dims.clone(), w.values()));
    let cell = Cell {
        arm: arm.name.clone(),
        seed: held.seed,
        status: match held.status {
            ledger::Status::Finished => Status::Finished,
            ledger::Status::Diverged { step } => Status::Diverged { step },
        },
        series,
        trace: trace.steps.into_iter().zip(trace.digests).collect(),
        weights: weights.into_iter().flat_map(|weights| weights.tensors).map(tensor).collect(),
        precision: arm.train.precision,
    };
    Ok((cell, Held { cell: held, whole }))
}

/// Milliseconds since 1970-01-01 UTC; 0 for a clock that stands before.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn environment(device: Device, machine: &Machine) -> Env {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Env {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: cpu_name(),
        device: device::executor_name(device).to_owned(),
        threads: machine.threads.map_or(cores as u64, u64::from),
    }
}

/// The processor's own name, where the system tells it.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find_map(|l| l.strip_prefix("model name").and_then(|rest| rest.split_once(':')));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The values of a series at a step, one per seed, for a claim.
pub fn at<'a>(plan: &'a Plan, cells: &'a [Cell]) -> impl Fn(&str, &str, u64) -> Vec<f64> + 'a {
    move |arm, measure, step| {
        let of_seed = |seed: &u64| {
            let cell = cells.iter().find(|c| c.arm == arm && c.seed == *seed);
            cell.and_then(|c| c.series.iter().find(|s| s.measure == measure)).map_or(f64::NAN, |s| s.at(step))
        };
        plan.seeds.iter().map(of_seed).collect()
    }
}
