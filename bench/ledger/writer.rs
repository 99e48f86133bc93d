//! The metadsl side of `bench/ledger`: seals runs of 100 points, each of a plan of its own; asks for some of them; and trains with and
//! without a ledger.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints what it saw"
)]

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use metadsl::catalog::Solver;
use metadsl::diag::Sink;
use metadsl::exec::Numerics;
use metadsl::exec::exact::{self, Exact};
use metadsl::hash::{Bytes, Id, Kind};
use metadsl::ir::{Precision, Tensor};
use metadsl::ledger::{
    self, About, CellSeries, Env, Input, Live, Manifest, Outcome, Row, Run, Store, Trace, Weight, Weights,
};
use metadsl::plan::Plan;
use metadsl::query;
use metadsl::train::{Cell, DataSets, Observer, Series, Snapshot, Status, run_cell};

type Failure = Box<dyn std::error::Error>;

const TEXT: &str = include_str!("small.meta");
/// A run that is worth ten seconds; `every 100` is as dense as its plots need.
const LONG: &str = include_str!("../maml_sine_h40.meta");

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, action, root, count] = &args[..] else {
        return Err("usage: ledger_bench write|ask DIR RUNS, or ledger_bench train DIR SECONDS".into());
    };
    match action.as_str() {
        "write" => write(Path::new(root), count.parse()?),
        "ask" => ask(Path::new(root)),
        _ => train(Path::new(root), count.parse()?),
    }
}

fn compile(text: &str) -> Result<Plan, Failure> {
    let tree = metadsl::syntax::parse(text, &mut Sink::new());
    Ok(metadsl::lang::compile(&tree, &[], &mut Sink::new()).ok_or("the plan compiles")?.plan)
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Prints the milliseconds that a run takes.
fn write(root: &Path, count: usize) -> Result<(), Failure> {
    let store = Store::open_or_create(root)?;
    let plan = compile(TEXT)?;
    let start = Instant::now();
    for number in 0..count {
        let (plan, cell) = one(&plan, number)?;
        let about = begin(&store, &plan, number as u64)?;
        seal(&store, &about, &cell)?;
    }
    println!("{}", ms(start) / count as f64);
    Ok(())
}

/// A plan with a rate and a seed of its own, and what it might have given.
fn one(plan: &Plan, number: usize) -> Result<(Plan, Cell), Failure> {
    let mut plan = plan.clone();
    let rate = 1e-3 * (number % 997 + 1) as f64;
    if let Some(Solver::Sgd { rate: r, .. }) = &mut plan.arms[0].train.update {
        *r = rate;
    }
    plan.seeds = vec![number as u64];
    let values: Vec<f64> = (0..100).map(|i| 1.0 / (1.0 + rate * f64::from(i))).collect();
    let cell = Cell {
        arm: plan.arms[0].name.clone(),
        seed: number as u64,
        status: Status::Finished,
        weights: vec![("w".into(), Tensor::new(vec![10], values[..10].to_vec()))],
        series: vec![Series { measure: "gap".into(), steps: (0..100).collect(), values }],
        // As training gives them: digests of states that have nothing in common.
        trace: (0..=50).map(|i| (2 * i, Id::of(Kind::Trace, &format!("{number} {i}")))).collect(),
        precision: Precision::F32,
    };
    Ok((plan, cell))
}

/// Puts what a run is made from.
fn begin(store: &Store, plan: &Plan, started_ms: u64) -> Result<About, Failure> {
    let numerics = Numerics { executor: "none".into(), precision: "f32".into(), epoch: 1, random: "none".into() };
    let input = Input {
        plan: store.put(Kind::Plan, plan)?,
        manifest: store.put(Kind::Manifest, &Manifest { files: vec![] })?,
        numerics: store.put(Kind::Numerics, &numerics)?,
    };
    let source = Some(store.put(Kind::Source, &TEXT.to_owned())?);
    let input = store.put(Kind::Input, &input)?;
    Ok(About { experiment: plan.experiment.clone(), input, source, files: vec![], started_ms, keep_weights: None })
}

/// Puts what a run gave, and seals it.
fn seal(store: &Store, about: &About, cell: &Cell) -> Result<Id, Failure> {
    let mut series = Vec::new();
    for s in &cell.series {
        let id = store.put(Kind::Series, &ledger::Series::new(s.steps.clone(), &s.values)?)?;
        series.push(CellSeries { measure: s.measure.clone(), id });
    }
    let weight = |(name, tensor): &(String, Tensor)| Weight::new(name, tensor, cell.precision);
    let recorded = ledger::Cell {
        key: Id::of(Kind::Cell, &format!("{} {}", about.input, cell.seed)),
        arm: cell.arm.clone(),
        seed: cell.seed,
        status: ledger::Status::Finished,
        series,
        trace: store.put(Kind::Trace, &Trace::new(&cell.trace))?,
        weights: store.put(Kind::Weights, &Weights { tensors: cell.weights.iter().map(weight).collect() })?,
    };
    let outcome = Outcome { input: about.input, cells: vec![recorded], claims: vec![] };
    let env = Env {
        version: "bench".into(),
        os: "linux".into(),
        arch: "any".into(),
        cpu: "any".into(),
        device: "none".into(),
        threads: 1,
    };
    let run = Run {
        experiment: about.experiment.clone(),
        input: about.input,
        result: store.put(Kind::Result, &outcome)?,
        env: store.put(Kind::Env, &env)?,
        source: about.source,
        files: vec![],
        started_ms: about.started_ms,
        finished_ms: about.started_ms + 1,
        left_out: vec![],
    };
    Ok(store.seal(&run)?.run)
}

/// Prints the milliseconds of the first question, which builds the index; the median of nine later ones, each with everything
/// read anew; and how many runs answered.
fn ask(root: &Path) -> Result<(), Failure> {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..10 {
        let start = Instant::now();
        let asked = query::parse("plan.train.update.rate < 0.1 and last(gap) < 0.5 order by last(gap) limit 20")
            .map_err(|d| d.message)?;
        let store = Store::open(root)?;
        let seen = query::refresh(&store)?;
        found = query::select(&asked, &seen.index, &seen.tags).len();
        times.push(ms(start));
    }
    let first = times.remove(0);
    times.sort_by(f64::total_cmp);
    println!("{first} {} {found}", times[4]);
    Ok(())
}

/// Writes down what the command line writes down, and how long that takes.
struct Recording {
    live: Live,
    saved: Mutex<Instant>,
    spent: Mutex<Duration>,
}

impl Recording {
    fn timed(&self, work: impl FnOnce(&Live)) {
        let start = Instant::now();
        work(&self.live);
        *self.spent.lock().expect("no thread panics") += start.elapsed();
    }
}

impl Observer for Recording {
    fn stepped(&self, _: &str, _: u64, _: u64) {}

    fn measured(&self, _: &str, _: u64, _: &str, step: u64, value: f64) {
        let bits = Bytes(value.to_le_bytes().to_vec());
        self.timed(|live| live.row(Row { cell: 0, measure: 0, step, bits }));
    }

    /// Every five seconds, and at the end.
    fn wants_snapshot(&self, _: &str, _: u64, step: u64, last: bool) -> bool {
        let mut saved = self.saved.lock().expect("no thread panics");
        let due = last || (step.is_multiple_of(16) && saved.elapsed() >= Duration::from_secs(5));
        if due {
            *saved = Instant::now();
        }
        due
    }

    fn save(&self, _: &str, _: u64, snapshot: Snapshot) {
        self.timed(|live| live.save(0, &snapshot));
    }
}

struct Unwatched;

impl Observer for Unwatched {
    fn stepped(&self, _: &str, _: u64, _: u64) {}
    fn measured(&self, _: &str, _: u64, _: &str, _: u64, _: f64) {}
}

/// Trains one cell for about so many seconds, in turn without and with a ledger, three times. Prints the median
/// milliseconds without, with, and of the calls to the ledger, from opening it to the sealed run.
fn train(root: &Path, seconds: f64) -> Result<(), Failure> {
    let exec = Exact::<f32>::new(exact::Path::detect());
    let (mut plan, sets) = (compile(&LONG.replace("1_000_000", "100"))?, DataSets::new());
    let mut trial = |steps: u64, observer: &dyn Observer| {
        plan.arms[0].train.steps = steps;
        let start = Instant::now();
        run_cell(&exec, &plan.arms[0], 0, &sets, observer).map(|cell| (cell, ms(start), plan.clone()))
    };
    let (_, trial_ms, _) = trial(2000, &Unwatched)?;
    let steps = (2000.0 * seconds * 1e3 / trial_ms) as u64 / 100 * 100;
    let (mut without, mut with, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let (_, bare, plan) = trial(steps, &Unwatched)?;
        without.push(bare);
        let start = Instant::now();
        let store = Store::open_or_create(root)?;
        let about = begin(&store, &plan, round)?;
        let live = store.begin_apart(&about)?;
        let recording = Recording { live, saved: Mutex::new(start), spent: Mutex::new(start.elapsed()) };
        let (cell, _, _) = trial(steps, &recording)?;
        let trained = Instant::now();
        seal(&store, &about, &cell)?;
        let spent = *recording.spent.lock().map_err(|_| "no thread panics")?;
        recording.live.close()?.map_or(Ok(()), Err)?;
        calls.push(ms(trained) + spent.as_secs_f64() * 1e3);
        with.push(ms(start));
    }
    for times in [&mut without, &mut with, &mut calls] {
        times.sort_by(f64::total_cmp);
    }
    println!("{} {} {} {steps}", without[1], with[1], calls[1]);
    Ok(())
}
