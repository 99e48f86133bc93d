//! `metadsl bench`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::args::Bench as Options;
use super::failure::Failure;
use super::load::load;
use super::table::columns;
use crate::exec::Executor;
use crate::exec::exact::{Exact, Operation, Path, Watch};
use crate::ir::{Builder, Precision, Tensor};
use crate::plan::Arm;
use crate::report::text::number;
use crate::train::{DataSets, Observer, TrainError, run_cell};

/// What was measured of one arm.
struct Row {
    arm: String,
    precision: Precision,
    steps_per_second: f64,
    /// By kind of operation: seconds and floating-point operations in a step. `host` is what lies between programs.
    groups: BTreeMap<&'static str, (f64, f64)>,
}

/// Times the training steps of every arm, its measurements left out.
pub fn bench(options: &Options) -> Result<ExitCode, Failure> {
    let (experiment, _) = load(&options.file, &options.overrides)?.or_report()?;
    let path = options.cpu.unwrap_or_else(Path::detect);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(options.threads)).build()?;
    let seed = experiment.plan.seeds.first().copied().unwrap_or(0);
    let mut trace = options.trace.as_ref().map(|_| Vec::new());
    let (mut rows, mut peaks) = (Vec::new(), BTreeMap::new());
    for arm in &experiment.plan.arms {
        let mut arm = arm.clone();
        // Steps without end, which the clock ends, and nothing measured on the way.
        arm.train.steps = u64::MAX >> 8;
        arm.measures.clear();
        arm.evaluations.clear();
        let job = Job { arm: &arm, seed, sets: &experiment.sets, seconds: options.seconds };
        let precision = arm.train.precision;
        let row = pool.install(|| match precision {
            Precision::F32 => job.row(&Exact::<f32>::new(path), trace.as_mut()),
            Precision::F64 => job.row(&Exact::<f64>::new(path), trace.as_mut()),
        })?;
        if !peaks.contains_key(precision.name()) {
            let peak = pool.install(|| match precision {
                Precision::F32 => matmul_peak(&Exact::<f32>::new(path)),
                Precision::F64 => matmul_peak(&Exact::<f64>::new(path)),
            })?;
            peaks.insert(precision.name(), peak);
        }
        rows.push(row);
    }
    if let (Some(file), Some(events)) = (&options.trace, trace) {
        std::fs::write(file, json!({ "traceEvents": events }).to_string())?;
    }
    let mut out = anstream::stdout();
    if options.json {
        let arms: Vec<Json> = rows.iter().map(|row| row.json(peaks[row.precision.name()])).collect();
        let head = json!({ "experiment": experiment.plan.experiment, "cpu": path.name(), "threads": options.threads, "arms": arms });
        writeln!(out, "{head}")?;
    } else {
        let threads = if options.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", options.threads) };
        writeln!(out, "{}: exact on {}, {threads}", experiment.plan.experiment, path.name())?;
        for (precision, peak) in &peaks {
            writeln!(
                out,
                "matmul peak {} GFLOP/s in {precision}, the best of a 512 x 512 x 512 product here",
                number(*peak)
            )?;
        }
        write!(out, "\n{}", table(&rows, &peaks))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Row {
    fn flops(&self) -> f64 {
        self.groups.values().map(|(_, flops)| flops).sum()
    }

    fn json(&self, peak: f64) -> Json {
        let groups: BTreeMap<&str, Json> = self
            .groups
            .iter()
            .map(|(&group, (seconds, flops))| (group, json!({ "seconds": seconds, "flops": flops })))
            .collect();
        json!({
            "arm": self.arm, "precision": self.precision.name(), "steps_per_second": self.steps_per_second,
            "flops_per_step": self.flops(), "of_peak": self.flops() * self.steps_per_second / peak / 1e9, "groups": groups,
        })
    }
}

fn table(rows: &[Row], peaks: &BTreeMap<&str, f64>) -> String {
    let groups: Vec<&str> = ["matmul", "elementwise", "reduce", "solve", "pad", "fold", "gather", "scatter", "host"]
        .into_iter()
        .filter(|g| rows.iter().any(|r| r.groups.contains_key(g)))
        .collect();
    let head = ["arm", "steps/s", "MFLOP/step", "GFLOP/s", "of peak"].into_iter().chain(groups.iter().copied());
    let mut lines = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    for row in rows {
        let rate = row.flops() * row.steps_per_second / 1e9;
        let percent = |x: f64| format!("{:.0} %", 100.0 * x);
        let mut line = vec![
            row.arm.clone(),
            number(row.steps_per_second),
            number(row.flops() / 1e6),
            number(rate),
            percent(rate / peaks[row.precision.name()]),
        ];
        let total: f64 = row.groups.values().map(|(seconds, _)| seconds).sum();
        line.extend(groups.iter().map(|g| row.groups.get(g).map_or("-".to_owned(), |(s, _)| percent(s / total))));
        lines.push(line);
    }
    columns(&lines)
}

struct Job<'a> {
    arm: &'a Arm,
    seed: u64,
    sets: &'a DataSets,
    seconds: f64,
}

impl Job<'_> {
    fn row<T: Clone>(&self, exact: &Exact<T>, trace: Option<&mut Vec<Json>>) -> Result<Row, Failure>
    where
        Exact<T>: Executor,
    {
        let plain = self.steps(exact)?;
        let profile = std::sync::Arc::new(Profile::new(trace.is_some()));
        let watched = self.steps(&exact.clone().watched(profile.clone()))?;
        let (groups, events) = profile.take();
        let steps = watched.steps as f64;
        let groups =
            groups.into_iter().map(|(g, (seconds, flops))| (g, (seconds / steps, flops as f64 / steps))).collect();
        if let Some(trace) = trace {
            trace.extend(events);
        }
        let steps_per_second = plain.steps as f64 / plain.seconds;
        Ok(Row { arm: self.arm.name.clone(), precision: exact.precision(), steps_per_second, groups })
    }

    /// Makes steps until the time is up; compilation and the first step are left out.
    fn steps<E: Executor>(&self, exec: &E) -> Result<Clocked, Failure> {
        let clock = Clock { limit: Duration::from_secs_f64(self.seconds), state: Mutex::default() };
        match run_cell(exec, self.arm, self.seed, self.sets, &clock) {
            Ok(_) | Err(TrainError::Cancelled) => {}
            Err(error) => return Err(error.into()),
        }
        let state = clock.state.into_inner().expect("nothing panicked while it held the clock");
        match (state.first, state.last) {
            (Some(first), Some(last)) if state.steps > 1 => {
                Ok(Clocked { steps: state.steps - 1, seconds: (last - first).as_secs_f64() })
            }
            _ => Err(Failure::Usage(format!(
                "one step of `{}` takes longer than {} s; raise --seconds",
                self.arm.name, self.seconds
            ))),
        }
    }
}

struct Clocked {
    steps: u64,
    seconds: f64,
}

/// Counts steps, and ends them when the time is up.
struct Clock {
    limit: Duration,
    state: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    steps: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Observer for Clock {
    fn stepped(&self, _arm: &str, _seed: u64, _step: u64) {
        let mut state = self.state.lock().expect("nothing panicked while it held the clock");
        let now = Instant::now();
        state.steps += 1;
        state.first.get_or_insert(now);
        state.last = Some(now);
    }

    fn measured(&self, _arm: &str, _seed: u64, _measure: &str, _step: u64, _value: f64) {}

    fn cancelled(&self) -> bool {
        let state = self.state.lock().expect("nothing panicked while it held the clock");
        state.steps > 1 && state.first.is_some_and(|first| first.elapsed() >= self.limit)
    }
}

/// Where the time goes, by kind of operation.
struct Profile {
    traced: bool,
    state: Mutex<Profiled>,
}

struct Profiled {
    start: Instant,
    last: Instant,
    groups: BTreeMap<&'static str, (f64, u64)>,
    events: Vec<Json>,
}

/// A trace of more events is of no use in a viewer.
const MOST_EVENTS: usize = 20_000;

impl Profile {
    fn new(traced: bool) -> Profile {
        let now = Instant::now();
        Profile {
            traced,
            state: Mutex::new(Profiled { start: now, last: now, groups: BTreeMap::new(), events: vec![] }),
        }
    }

    fn take(&self) -> (BTreeMap<&'static str, (f64, u64)>, Vec<Json>) {
        let mut state = self.state.lock().expect("nothing panicked while it held the profile");
        (std::mem::take(&mut state.groups), std::mem::take(&mut state.events))
    }

    fn note(&self, name: &str, group: &'static str, flops: u64, sizes: &str) {
        let now = Instant::now();
        let mut state = self.state.lock().expect("nothing panicked while it held the profile");
        let seconds = (now - state.last).as_secs_f64();
        let entry = state.groups.entry(group).or_default();
        entry.0 += seconds;
        entry.1 += flops;
        if self.traced && state.events.len() < MOST_EVENTS {
            let micros = |t: Duration| t.as_secs_f64() * 1e6;
            let event = json!({
                "name": group, "cat": name, "ph": "X", "pid": 1, "tid": 1, "ts": micros(state.last - state.start),
                "dur": micros(now - state.last), "args": { "program": name, "sizes": sizes, "flops": flops },
            });
            state.events.push(event);
        }
        state.last = Instant::now();
    }
}

impl Watch for Profile {
    fn begun(&self, program: &str) {
        self.note(program, "host", 0, "");
    }

    fn done(&self, program: &str, operation: &Operation) {
        self.note(program, operation.group, operation.flops, &operation.sizes);
    }
}

/// The fastest of some products of `512 x 512` matrices, in GFLOP/s.
fn matmul_peak<E: Executor>(exec: &E) -> Result<f64, Failure> {
    const N: usize = 512;
    let mut b = Builder::new();
    let (x, y) = (b.input("x", &[N, N]), b.input("y", &[N, N]));
    let product = b.matmul(x, y, false, false);
    let kernel = exec.compile(&b.finish("peak", vec![("z".to_owned(), product)])).map_err(TrainError::Exec)?;
    let value = exec.upload(&Tensor::full(&[N, N], 0.5)).map_err(TrainError::Exec)?;
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        exec.run(&kernel, &[&value, &value]).map_err(TrainError::Exec)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (N * N * N) as f64 / best / 1e9)
}
