//! Seals runs of 100 points, each of a plan of its own, and asks for some of them: the metadsl side of `bench/ledger`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints what it saw"
)]

use std::time::Instant;

use metadsl::catalog::Solver;
use metadsl::diag::Sink;
use metadsl::exec::Numerics;
use metadsl::hash::{Id, Kind};
use metadsl::ir::{Precision, Tensor};
use metadsl::ledger::{
    Cell, CellSeries, Env, Input, Manifest, Outcome, Run, Series, Status, Store, Trace, Weight, Weights,
};
use metadsl::plan::Plan;
use metadsl::query;

const TEXT: &str = "edition 2026
experiment bench
dim d = 10
world { truth: [d] ~ normal }
tasks linear { example { x: [d] ~ normal; y: [] = x @ truth } }
model line(x: [d]) -> [] { param w: [d] = 0; x @ w }
train {
  tasks = fresh(linear, 3); split = { support: 4, query: 4 }; loss = half_squared
  adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 99
}
measure gap = sum((w - truth) ^ 2) every 1
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, action, root, count] = &args[..] else { return Err("usage: ledger_bench write|ask DIR RUNS".into()) };
    let count: usize = count.parse()?;
    let store = Store::open_or_create(root)?;
    match action.as_str() {
        "write" => {
            let tree = metadsl::syntax::parse(TEXT, &mut Sink::new());
            let plan = metadsl::lang::compile(&tree, &[], &mut Sink::new()).ok_or("the plan compiles")?.plan;
            let start = Instant::now();
            for number in 0..count {
                seal(&store, &plan, number)?;
            }
            println!("{}", start.elapsed().as_secs_f64() * 1e3 / count as f64);
        }
        // The median of five questions, each with everything read anew.
        _ => {
            query::refresh(&store)?;
            let mut times = Vec::new();
            for _ in 0..5 {
                let start = Instant::now();
                let asked =
                    query::parse("plan.train.update.rate < 0.1 and last(gap) < 0.5 order by last(gap) limit 20")
                        .map_err(|d| d.message)?;
                let store = Store::open(root)?;
                let seen = query::refresh(&store)?;
                let found = query::select(&asked, &seen.index, &seen.tags).len();
                times.push((start.elapsed().as_secs_f64() * 1e3, found));
            }
            times.sort_by(|a, b| a.0.total_cmp(&b.0));
            println!("{} {}", times[2].0, times[2].1);
        }
    }
    Ok(())
}

fn seal(store: &Store, plan: &Plan, number: usize) -> Result<Id, Box<dyn std::error::Error>> {
    let mut plan = plan.clone();
    let rate = 1e-3 * (number % 997 + 1) as f64;
    if let Some(Solver::Sgd { rate: r, .. }) = &mut plan.arms[0].train.update {
        *r = rate;
    }
    plan.seeds = vec![number as u64];
    let values: Vec<f64> = (0..100).map(|i| 1.0 / (1.0 + rate * f64::from(i))).collect();
    let numerics = Numerics { executor: "none".into(), precision: "f32".into(), epoch: 1, random: "none".into() };
    let manifest = store.put(Kind::Manifest, &Manifest { files: vec![] })?;
    let numerics = store.put(Kind::Numerics, &numerics)?;
    let input = store.put(Kind::Input, &Input { plan: store.put(Kind::Plan, &plan)?, manifest, numerics })?;
    let series = store.put(Kind::Series, &Series::new((0..100).collect(), &values)?)?;
    // As training gives them: digests of states that have nothing in common, and parameters.
    let digests: Vec<(u64, Id)> = (0..=50).map(|i| (2 * i, Id::of(Kind::Trace, &format!("{number} {i}")))).collect();
    let weights = Weight::new("w", &Tensor::new(vec![10], values[..10].to_vec()), Precision::F32);
    let cell = Cell {
        key: Id::of(Kind::Plan, &plan),
        arm: plan.arms[0].name.clone(),
        seed: number as u64,
        status: Status::Finished,
        series: vec![CellSeries { measure: "gap".into(), id: series }],
        trace: store.put(Kind::Trace, &Trace::new(&digests))?,
        weights: store.put(Kind::Weights, &Weights { tensors: vec![weights] })?,
    };
    let result = store.put(Kind::Result, &Outcome { input, cells: vec![cell], claims: vec![] })?;
    let env = Env {
        version: "bench".into(),
        os: "linux".into(),
        arch: "any".into(),
        cpu: "any".into(),
        device: "none".into(),
        threads: 1,
    };
    let run = Run {
        experiment: "bench".into(),
        input,
        result,
        env: store.put(Kind::Env, &env)?,
        source: Some(store.put(Kind::Source, &TEXT.to_owned())?),
        files: vec![],
        started_ms: number as u64,
        finished_ms: number as u64 + 1,
    };
    Ok(store.seal(&run)?.run)
}
