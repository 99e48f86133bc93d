//! Choosing an executor, and running all cells of a plan on it.

use rayon::prelude::*;

use super::args::{Device, Machine};
use super::failure::Failure;
use super::progress::Progress;
use super::record;
use crate::exec::exact::{self, Exact, Path};
use crate::exec::reference::Reference;
use crate::exec::shadow::Host;
use crate::exec::{ExecError, Numerics};
use crate::ir::Precision;
use crate::plan::{Arm, Plan, Verdict};
use crate::rng;
use crate::train::{Cell, DataSets, Observer, TrainError, run_cell};

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
    let progress = Progress::new(plan);
    let known = cells(plan).iter().map(|_| None).collect();
    let cells = run_cells(device, machine, plan, sets, &progress, known);
    progress.finish();
    let cells = cells?;
    let claims = plan.claims.iter().map(|c| c.evaluate(&record::at(plan, &cells))).collect();
    Ok((cells, claims))
}

/// Runs every cell that is not `known`, side by side.
pub fn run_cells(
    device: Device,
    machine: &Machine,
    plan: &Plan,
    sets: &DataSets,
    observer: &dyn Observer,
    known: Vec<Option<Cell>>,
) -> Result<Vec<Cell>, Failure> {
    let threads = machine.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let path = machine.cpu.unwrap_or_else(Path::detect);
    if machine.memory.is_some() && device != Device::Exact {
        return Err(Failure::Usage("only the exact device knows what it has in use; leave `--memory` out".into()));
    }
    let work: Vec<((&Arm, u64), Option<Cell>)> = cells(plan).into_iter().zip(known).collect();
    let missing = work.iter().filter(|(_, known)| known.is_none()).count();
    let side_by_side = missing.clamp(1, pool.current_num_threads()) as u64;
    let chip = Chip { path, memory: machine.memory.map(|bytes| bytes / side_by_side) };
    let run = |((arm, seed), known): ((&Arm, u64), Option<Cell>)| match known {
        Some(cell) => Ok(cell),
        None => cell(device, chip, arm, seed, sets, observer),
    };
    let cells: Result<Vec<Cell>, TrainError> = pool.install(|| work.into_par_iter().map(run).collect());
    Ok(cells?)
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
