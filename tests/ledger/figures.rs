//! Counts that do not depend on the machine: syncs and bytes per run.

use metadsl::hash::{Id, Kind};
use metadsl::ir::{Precision, Tensor};
use metadsl::ledger::*;

use super::fixture::{self, Fixture};

/// A run of ten parameters and a hundred points, its state digested at every tenth; the plan is a stand-in, a real one
/// adds about two kilobytes, and a digest at every point three.
fn small_run(store: &Store, n: u64) -> Id {
    let steps: Vec<u64> = (0..100).collect();
    // A loss as losses go: no two values share their bits.
    let values: Vec<f64> = steps.iter().map(|&s| 1.0 / (1.0 + s as f64 * 0.37 + n as f64)).collect();
    let series = store.put(Kind::Series, &Series::new(steps, &values).unwrap()).unwrap();
    let noise = fixture::noise(32 * 11);
    let digests: Vec<(u64, Id)> =
        (0..11).map(|i| (10 * i as u64, Id::of_bytes(Kind::Trace, &noise[32 * i..32 * i + 32]))).collect();
    let weights = Weight::new("w", &Tensor::new(vec![10], values[..10].to_vec()), Precision::F64);
    let run = fixture::put_run(store, n);
    let cell = Cell {
        key: Id::of(Kind::Cell, &n),
        arm: "main".into(),
        seed: n,
        status: Status::Finished,
        series: vec![CellSeries { measure: "loss".into(), id: series }],
        trace: store.put(Kind::Trace, &Trace::new(&digests)).unwrap(),
        weights: store.put(Kind::Weights, &Weights { tensors: vec![weights] }).unwrap(),
    };
    let outcome = Outcome { input: run.input, cells: vec![cell], claims: vec![] };
    let result = store.put(Kind::Result, &outcome).unwrap();
    store.seal(&Run { result, ..run }).unwrap().run
}

#[test]
fn a_small_run_takes_at_most_six_kilobytes() {
    let fixture = Fixture::empty();
    let size = || -> u64 {
        let files = fixture.files();
        files.iter().map(|f| std::fs::metadata(fixture.root().join(f)).unwrap().len()).sum()
    };
    small_run(&fixture.store, 0);
    let before = size();
    let runs = 50;
    for n in 1..=runs {
        small_run(&fixture.store, n);
    }
    let each = (size() - before) / runs;
    println!("bytes per run of 10 parameters and 100 points: {each}");
    assert!(each <= 6 << 10, "{each}");
    assert_eq!(fixture.fresh().verify().exit_code(), 0);
}
