//! `metadsl replay`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{Device, Machine, Replay as Options, Traced};
use super::device;
use super::failure::Failure;
use super::load::read_sets;
use super::record;
use super::trace;
use super::whereabouts::{check_given, contents};
use crate::exec::Numerics;
use crate::exec::exact::Path;
use crate::hash::{Id, Kind};
use crate::ledger::{self, Comparison, Input, Manifest, Outcome, Run, Store, Tolerance, Verdict};
use crate::plan::Plan;
use crate::report::text::visible;
use crate::train::{Cell, DataSets};

/// Runs a recorded experiment again and compares every bit.
pub fn replay(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    let id = store.resolve(&options.run)?;
    let run: Run = store.get(Kind::Run, id)?;
    let input: Input = store.get(Kind::Input, run.input)?;
    let plan: Plan = store.get(Kind::Plan, input.plan)?;
    plan.verify()?;
    let manifest: Manifest = store.get(Kind::Manifest, input.manifest)?;
    let numerics: Numerics = store.get(Kind::Numerics, input.numerics)?;
    let old: Outcome = store.get(Kind::Result, run.result)?;

    let device = choose_device(&options.machine, &numerics)?;
    check_given(&options.data, &manifest)?;
    let data = contents(&store, &manifest, &run.files, &options.data).and_then(|contents| read_sets(&plan, &contents));
    let done = match data {
        Ok(sets) => {
            let mut done = again(&store, options, device, &plan, &sets, &run, &old)?;
            if let (Some(Traced::Ops), Some(new)) = (options.trace, &done.new) {
                let devices = [device::by_executor_name(&numerics.executor), Some(device)];
                let path = options.machine.cpu.unwrap_or_else(Path::detect);
                let traced = trace::operations(&store, &plan, &sets, devices, path, &done.verdict, [&old, new])?;
                done.operations = Some(traced);
            }
            done
        }
        Err(reason) => Done { verdict: Verdict::Inconclusive { reason }, record: None, new: None, operations: None },
    };

    let mut out = anstream::stdout();
    if options.json {
        let value = json!({
            "run": id.to_string(), "verdict": word(&done.verdict), "detail": done.verdict.to_string(),
            "record": done.record.map(|id| id.to_string()), "operations": done.operations,
        });
        writeln!(out, "{value}")?;
    } else {
        writeln!(out, "{}", done.verdict)?;
        if let Some(operations) = &done.operations {
            writeln!(out, "{}", visible(operations))?;
        }
        writeln!(out, "run {id}")?;
    }
    Ok(ExitCode::from(done.verdict.exit_code()))
}

/// How far apart two executors may be: what rounding in `f32` leaves after a few hundred steps of a run that converges.
const ACROSS_EXECUTORS: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-2 };

/// What a replay found.
struct Done {
    verdict: Verdict,
    /// The stored comparison; none where there was nothing to compare.
    record: Option<Id>,
    /// What came out this time.
    new: Option<Outcome>,
    /// The first operation that differs, in words, where that was asked for.
    operations: Option<String>,
}

/// The verdict in one word, for programs.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "identical",
        Verdict::WithinTolerance { .. } => "within-tolerance",
        Verdict::Diverged { .. } => "diverged",
        Verdict::Inconclusive { .. } => "inconclusive",
        Verdict::NotComparable { .. } => "not-comparable",
    }
}

/// The ledger of a command that reads.
pub fn existing_ledger(explicit: &Option<std::path::PathBuf>) -> Result<Store, Failure> {
    let here = std::env::current_dir()?;
    Ok(Store::open(ledger::discover(&here, explicit.as_deref()))?)
}

/// The device that was asked for, else the one of the run.
pub fn choose_device(machine: &Machine, numerics: &Numerics) -> Result<Device, Failure> {
    machine.device.or_else(|| device::by_executor_name(&numerics.executor)).ok_or_else(|| {
        Failure::Usage(format!(
            "the run was made by `{}`, which this version does not know; choose a device with `--device`",
            numerics.executor
        ))
    })
}

/// Runs the plan and compares what comes out with what was recorded. Nothing recorded is overwritten.
fn again(
    store: &Store,
    options: &Options,
    device: Device,
    plan: &Plan,
    sets: &DataSets,
    run: &Run,
    old: &Outcome,
) -> Result<Done, Failure> {
    let (cells, claims) = device::run_plan(device, &options.machine, plan, sets)?;
    // Plan and data are the very same objects; only the executor may be another one.
    let recorded: Input = store.get(Kind::Input, run.input)?;
    let input = Input { numerics: store.put(Kind::Numerics, &device::numerics(device, &plan.arms))?, ..recorded };
    let keys = record::CellKeys::new(store, plan, &input, device)?;
    let input = store.put(Kind::Input, &input)?;
    // Of what the record does not keep there is nothing to compare weights with: the replay needs none of its own.
    let keeps = |cell: &Cell, _| {
        let old = old.cells.iter().find(|old| old.arm == cell.arm && old.seed == cell.seed);
        old.is_none_or(|old| !run.left_out.contains(&old.weights))
    };
    let (new, replayed) = record::put_outcome(store, &keys, input, &cells, &[], &claims, keeps)?;
    let left_out: BTreeSet<Id> = run.left_out.iter().copied().chain(replayed).collect();
    let left_out: Vec<Id> = left_out.into_iter().collect();
    let verdict = ledger::compare(store, old, &new, &left_out, &ACROSS_EXECUTORS);
    let comparison = Comparison {
        old: store.put(Kind::Result, old)?,
        new: store.put(Kind::Result, &new)?,
        verdict: verdict.clone(),
        left_out,
    };
    let record = store.put_verdict(&comparison)?;
    Ok(Done { verdict, record: Some(record), new: Some(new), operations: None })
}
