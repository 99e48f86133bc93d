//! `metadsl replay --trace ops`: where a replay differs, the cell runs again with every operation compared.

use std::sync::atomic::{AtomicU64, Ordering};

use super::args::Device;
use super::device;
use super::failure::Failure;
use crate::exec::exact::Path;
use crate::exec::shadow::{Shadow, Watch};
use crate::hash::{Id, Kind};
use crate::ledger::{Cell, LedgerError, Outcome, Place, Store, Trace, Verdict};
use crate::plan::Plan;
use crate::train::{DataSets, Observer, TrainError, run_cell};

/// The steps of a cell between which a record and its replay part.
struct Window<'a> {
    cell: &'a Cell,
    /// The last step after which both had the same state.
    from: u64,
    /// The first step at which something differs.
    until: u64,
}

/// Names the first operation that has other bits on the executor of the replay than on that of the record, from the same
/// operands. Where both are of one class, it is compared with what that class is measured by.
pub fn operations(
    store: &Store,
    plan: &Plan,
    sets: &DataSets,
    [recorded, replayed]: [Option<Device>; 2],
    path: Path,
    verdict: &Verdict,
    [old, new]: [&Outcome; 2],
) -> Result<String, Failure> {
    let place = match verdict {
        Verdict::Diverged { place, .. } => Some(place),
        Verdict::WithinTolerance { place, .. } => place.as_ref(),
        _ => None,
    };
    let Some(window) = place.map(|place| window(store, place, old, new)).transpose()?.flatten() else {
        return Ok("operations: no cell differs, so there is none to name".to_owned());
    };
    let (Some(device), Some(recorded)) = (replayed, recorded) else {
        return Ok("operations: this version does not know the executor of the record".to_owned());
    };
    let (other, other_path) = match device {
        _ if recorded != device => (recorded, path),
        // The same bits on every processor are promised: those of plain instructions.
        Device::Exact => (device, Path::portable()),
        _ => (Device::Reference, path),
    };
    let name = |device, path: Path| match device {
        Device::Exact => format!("`{}` ({})", device::executor_name(device), path.name()),
        _ => format!("`{}`", device::executor_name(device)),
    };
    let sides = format!("operations of {} against {}", name(device, path), name(other, other_path));
    Ok(format!("{sides}: {}", follow([(device, path), (other, other_path)], plan, sets, &window)?))
}

/// The cell of a place, or the first that differs; and where it does.
fn window<'a>(
    store: &Store,
    place: &Place,
    old: &'a Outcome,
    new: &Outcome,
) -> Result<Option<Window<'a>>, LedgerError> {
    let is_meant = |cell: &Cell| place.arm.as_ref().is_none_or(|arm| *arm == cell.arm && place.seed == Some(cell.seed));
    let mut pairs = old.cells.iter().zip(&new.cells).filter(|(a, b)| is_meant(a) && a != b);
    let Some((cell, other)) = pairs.next() else { return Ok(None) };
    let digests = |id: Id| -> Result<Vec<(u64, Id)>, LedgerError> {
        let trace: Trace = store.get(Kind::Trace, id)?;
        Ok(trace.steps.into_iter().zip(trace.digests).collect())
    };
    let (left, right) = (digests(cell.trace)?, digests(other.trace)?);
    let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let step = |at: usize| left.get(at).or(right.get(at)).map(|(step, _)| *step);
    // Where the state is the same to the end, the measuring differs, at the step that the verdict names.
    let until = step(same).or(place.step).unwrap_or(u64::MAX);
    let from = left[..same].iter().rev().map(|(step, _)| *step).find(|step| *step < until).unwrap_or(0);
    Ok(Some(Window { cell, from, until }))
}

/// What the operations of two executors give in a window, in words.
fn follow(sides: [(Device, Path); 2], plan: &Plan, sets: &DataSets, window: &Window) -> Result<String, Failure> {
    let Window { cell, from, until } = window;
    let Some(arm) = plan.arms.iter().find(|arm| arm.name == cell.arm) else {
        return Ok(format!("the plan has no arm `{}`", cell.arm));
    };
    let [exec, other] = sides.map(|(device, path)| device::host(device, path, arm.train.precision));
    let (exec, other) = match (exec, other) {
        (Ok(exec), Ok(other)) => (exec, other),
        (Err(e), _) | (_, Err(e)) => return Ok(format!("they cannot be compared: {e}")),
    };
    let watch = Watch::default();
    let follower = Follower { watch: &watch, from: *from, until: *until, made: AtomicU64::new(0) };
    if *from == 0 {
        watch.begin();
    }
    let shadow = Shadow::new(exec.as_ref(), other.as_ref(), &watch);
    match run_cell(&shadow, arm, cell.seed, sets, &follower) {
        Ok(_) | Err(TrainError::Cancelled) => {}
        Err(e) => return Err(e.into()),
    }
    let place = format!("arm `{}`, seed {}", cell.arm, cell.seed);
    Ok(match watch.found() {
        Some(found) => format!("{place}, after {} steps: {found}", follower.made.load(Ordering::Relaxed)),
        None => format!(
            "{place}: all have the same bits from step {from} to {until}; what differs was computed elsewhere, or outside \
             tensor programs"
        ),
    })
}

/// Begins to compare where the window begins, and ends the run at the first finding or where the window ends.
struct Follower<'a> {
    watch: &'a Watch,
    from: u64,
    until: u64,
    made: AtomicU64,
}

impl Observer for Follower<'_> {
    fn stepped(&self, _: &str, _: u64, step: u64) {
        if self.watch.found().is_none() {
            self.made.store(step, Ordering::Relaxed);
        }
        if step >= self.from {
            self.watch.begin();
        }
    }

    fn measured(&self, _: &str, _: u64, _: &str, _: u64, _: f64) {}

    fn cancelled(&self) -> bool {
        self.watch.found().is_some() || self.made.load(Ordering::Relaxed) > self.until
    }
}
