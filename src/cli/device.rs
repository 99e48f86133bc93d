//! Choosing an executor, and running all cells of a plan on it.

use super::admission::{self, Limits, Queue};
use super::args::{Device, Machine};
use super::execute::note;
use super::failure::Failure;
use super::memory::free as free_memory;
use super::progress::Progress;
use super::{needs, record};
use crate::exec::exact::{self, Exact, Path};
use crate::exec::reference::Reference;
use crate::exec::shadow::Host;
use crate::exec::{ExecError, Numerics};
use crate::ir::Precision;
use crate::plan::{Arm, Plan, Verdict};
use crate::rng;
use crate::train::{Cell, DataSets, Held, Observer, TrainError, run_cell};

/// Raised whenever the same plan may give other bits on the same executor.
const NUMERICS_EPOCH: u32 = 1;

/// The device of a run: what was asked for, or the exact executor.
pub fn choose(machine: &Machine) -> Device {
    machine.device.unwrap_or(Device::Exact)
}

/// The name of a device's executor class.
pub fn executor_name(device: Device) -> &'static str {
    match device {
        Device::Exact => "exact",
        Device::Dfdx => "dfdx-cpu",
        Device::Cuda => "dfdx-cuda",
        Device::Reference => "reference",
    }
}

/// The device whose executor class has that name.
pub fn by_executor_name(name: &str) -> Option<Device> {
    [Device::Exact, Device::Dfdx, Device::Cuda, Device::Reference].into_iter().find(|&d| executor_name(d) == name)
}

/// What decides the bits of a run on a device, besides plan, data and seed.
pub fn numerics<'a>(device: Device, arms: impl IntoIterator<Item = &'a Arm>) -> Numerics {
    let mut precisions: Vec<&str> = arms.into_iter().map(|a| a.train.precision.name()).collect();
    precisions.sort_unstable();
    precisions.dedup();
    Numerics {
        executor: executor_name(device).to_owned(),
        precision: precisions.join("+"),
        epoch: if device == Device::Exact { exact::EPOCH } else { NUMERICS_EPOCH },
        random: rng::GENERATOR.to_owned(),
    }
}

/// The cells of a plan: arms in their order, and within an arm the seeds in theirs.
pub fn cells(plan: &Plan) -> Vec<(&Arm, u64)> {
    plan.arms.iter().flat_map(|arm| plan.seeds.iter().map(move |&seed| (arm, seed))).collect()
}

/// Runs a plan anew with progress shown: its cells, and what became of its claims.
pub fn run_plan(
    device: Device,
    machine: &Machine,
    plan: &Plan,
    sets: &DataSets,
) -> Result<(Vec<Cell>, Vec<Verdict>), Failure> {
    let known = cells(plan).iter().map(|_| None).collect();
    let batch = Batch::new(device, machine, plan, sets, known)?;
    let progress = Progress::new(plan);
    let cells = batch.run(&progress);
    progress.finish();
    let cells = cells?;
    let claims = plan.claims.iter().map(|c| c.evaluate(&record::at(plan, &cells))).collect();
    Ok((cells, claims))
}

/// The cells of a plan on a device, of which those that are not known are to be run.
pub struct Batch<'a> {
    device: Device,
    path: Path,
    sets: &'a DataSets,
    pool: rayon::ThreadPool,
    known: Vec<Option<Cell>>,
    missing: Vec<Missing<'a>>,
    limits: Limits,
}

/// A cell that is to be run.
struct Missing<'a> {
    arm: &'a Arm,
    seed: u64,
    /// The most bytes that a program may have in use.
    memory: Option<u64>,
    held: Held,
}

impl<'a> Batch<'a> {
    /// Finds how many cells can run side by side, and says where that is fewer than there are threads.
    pub fn new(
        device: Device,
        machine: &Machine,
        plan: &'a Plan,
        sets: &'a DataSets,
        known: Vec<Option<Cell>>,
    ) -> Result<Batch<'a>, Failure> {
        let threads = machine.threads.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let path = machine.cpu.unwrap_or_else(Path::detect);
        if machine.memory.is_some() && device != Device::Exact {
            return Err(Failure::Usage("only the exact device knows what it has in use; leave `--memory` out".into()));
        }
        let all = cells(plan).into_iter().zip(&known);
        let missing: Vec<(&Arm, u64)> = all.filter(|(_, known)| known.is_none()).map(|(cell, _)| cell).collect();
        let lanes = pool.current_num_threads();
        let side_by_side = missing.len().clamp(1, lanes) as u64;
        let memory = machine.memory.map(|bytes| bytes / side_by_side);
        let asks = device == Device::Exact && memory.is_none();
        let free = asks.then(|| machine.free_memory.or_else(free_memory)).flatten();
        let limits = Limits { lanes, free: free.unwrap_or(u64::MAX) };
        let needs = pool.install(|| needs::of(&missing, sets, limits))?;
        needs::notes(&needs, limits).iter().for_each(|text| note(text));
        let needs = needs.iter().flat_map(|need| std::iter::repeat_n((need.held, need.limit.or(memory)), need.cells));
        let missing = missing.into_iter().zip(needs);
        let missing = missing.map(|((arm, seed), (held, memory))| Missing { arm, seed, memory, held }).collect();
        Ok(Batch { device, path, sets, pool, known, missing, limits })
    }

    /// Runs the cells that are not known; gives all, in the order of the plan.
    pub fn run(self, observer: &dyn Observer) -> Result<Vec<Cell>, Failure> {
        let Batch { device, path, sets, pool, known, missing, limits } = self;
        let queue = Queue::new(limits, missing.iter().map(|cell| cell.held).collect());
        let run = |i: usize| {
            let Missing { arm, seed, memory, .. } = missing[i];
            cell(device, Chip { path, memory }, arm, seed, sets, observer)
        };
        let mut made = pool.install(|| admission::run(queue, run))?.into_iter();
        let all = known.into_iter().map(|known| known.or_else(|| made.next()));
        Ok(all.map(|cell| cell.expect("what was not known was run")).collect())
    }
}

/// How the exact executor computes.
#[derive(Clone, Copy)]
struct Chip {
    path: Path,
    /// The most bytes that a program may have in use.
    memory: Option<u64>,
}

fn cell(
    device: Device,
    Chip { path, memory }: Chip,
    arm: &Arm,
    seed: u64,
    sets: &DataSets,
    observer: &dyn Observer,
) -> Result<Cell, TrainError> {
    let precision = arm.train.precision;
    match (device, precision) {
        (Device::Exact, Precision::F32) => run_cell(&Exact::<f32>::new(path).within(memory), arm, seed, sets, observer),
        (Device::Exact, Precision::F64) => run_cell(&Exact::<f64>::new(path).within(memory), arm, seed, sets, observer),
        (Device::Reference, _) => run_cell(&Reference::new(precision), arm, seed, sets, observer),
        #[cfg(feature = "dfdx")]
        (Device::Dfdx, Precision::F32) => {
            run_cell(&crate::exec::dfdx::Dfdx::<f32, _>::cpu(), arm, seed, sets, observer)
        }
        #[cfg(feature = "dfdx")]
        (Device::Dfdx, Precision::F64) => {
            run_cell(&crate::exec::dfdx::Dfdx::<f64, _>::cpu(), arm, seed, sets, observer)
        }
        #[cfg(feature = "cuda")]
        (Device::Cuda, Precision::F32) => {
            run_cell(&crate::exec::dfdx::Dfdx::<f32, _>::cuda()?, arm, seed, sets, observer)
        }
        #[cfg(feature = "cuda")]
        (Device::Cuda, Precision::F64) => {
            run_cell(&crate::exec::dfdx::Dfdx::<f64, _>::cuda()?, arm, seed, sets, observer)
        }
        #[cfg(not(feature = "dfdx"))]
        (Device::Dfdx, Precision::F32 | Precision::F64) => {
            Err(absent("dfdx", "cargo build --release", "--device reference").into())
        }
        #[cfg(not(feature = "cuda"))]
        (Device::Cuda, Precision::F32 | Precision::F64) => {
            Err(absent("cuda", "cargo build --release --features cuda", "--device dfdx").into())
        }
    }
}

/// The executor of a device behind one type, for work that need not be fast.
pub fn host(device: Device, path: Path, precision: Precision) -> Result<Box<dyn Host>, ExecError> {
    Ok(match (device, precision) {
        (Device::Exact, Precision::F32) => Box::new(Exact::<f32>::new(path)),
        (Device::Exact, Precision::F64) => Box::new(Exact::<f64>::new(path)),
        (Device::Reference, _) => Box::new(Reference::new(precision)),
        #[cfg(feature = "dfdx")]
        (Device::Dfdx, Precision::F32) => Box::new(crate::exec::dfdx::Dfdx::<f32, _>::cpu()),
        #[cfg(feature = "dfdx")]
        (Device::Dfdx, Precision::F64) => Box::new(crate::exec::dfdx::Dfdx::<f64, _>::cpu()),
        #[cfg(feature = "cuda")]
        (Device::Cuda, Precision::F32) => Box::new(crate::exec::dfdx::Dfdx::<f32, _>::cuda()?),
        #[cfg(feature = "cuda")]
        (Device::Cuda, Precision::F64) => Box::new(crate::exec::dfdx::Dfdx::<f64, _>::cuda()?),
        #[cfg(not(feature = "dfdx"))]
        (Device::Dfdx, _) => return Err(absent("dfdx", "cargo build --release", "--device reference")),
        #[cfg(not(feature = "cuda"))]
        (Device::Cuda, _) => return Err(absent("cuda", "cargo build --release --features cuda", "--device dfdx")),
    })
}

/// A device that this build was made without.
#[cfg(not(feature = "cuda"))]
fn absent(device: &str, build: &str, instead: &str) -> ExecError {
    let advice = format!("this build has no device `{device}`; build it with `{build}`, or run with `{instead}`");
    ExecError::Unavailable(advice)
}
