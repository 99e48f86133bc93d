//! A small ledger with two runs that share a plan, and ways to damage it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use metadsl::exec::Numerics;
use metadsl::hash::{Id, Kind, Value};
use metadsl::ir::{Precision, Tensor};
use metadsl::ledger::*;
use tempfile::TempDir;

/// A ledger in a directory of its own, which goes with it.
pub struct Fixture {
    pub dir: TempDir,
    pub store: Store,
}

impl Fixture {
    pub fn empty() -> Fixture {
        let dir = TempDir::new().unwrap();
        let store = Store::open_or_create(dir.path().join("ledger")).unwrap().with_stream("main").unwrap();
        Fixture { dir, store }
    }

    /// Two runs of one plan under other numerics epochs, and the verdict that compares them.
    pub fn with_two_runs() -> (Fixture, [Id; 2]) {
        let fixture = Fixture::empty();
        let runs = [1, 2].map(|n| seal(&fixture.store, n));
        let [old, new] = runs.map(|id| fixture.store.get::<Run>(Kind::Run, id).unwrap().result);
        fixture.store.put_verdict(&Comparison { old, new, verdict: Verdict::Identical, left_out: vec![] }).unwrap();
        (fixture, runs)
    }

    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// Every file, relative to the ledger, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        files(self.root())
    }

    /// The first segment of the log.
    pub fn log(&self) -> PathBuf {
        self.root().join("log/main/000000000000")
    }

    /// The pack that holds a run.
    pub fn pack(&self, run: Id) -> PathBuf {
        let frames = self.fresh().frames().unwrap();
        let listed = frames.iter().find(|listed| listed.entry.run() == Some(run)).expect("the run is listed");
        self.root().join("packs").join(listed.entry.pack().unwrap().to_string())
    }

    /// The file of a large object.
    pub fn object(&self, id: Id) -> PathBuf {
        let hex = id.to_string();
        self.root().join("objects").join(&hex[..2]).join(&hex[2..])
    }

    /// The same ledger as another process sees it.
    pub fn fresh(&self) -> Store {
        Store::open(self.root()).unwrap().with_stream("main").unwrap()
    }
}

/// Every file below a directory but for what belongs to this machine alone, relative to it, sorted.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("ledger/active") {
                    open.push(path);
                }
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub fn plan(name: &str) -> Value {
    Value::Map(BTreeMap::from([("experiment".to_owned(), Value::Text(name.to_owned()))]))
}

pub fn numerics(epoch: u32) -> Numerics {
    Numerics { executor: "reference".into(), precision: "f64".into(), epoch, random: "philox4x32-10/1".into() }
}

pub fn manifest() -> Manifest {
    let blob = Id::of_bytes(Kind::Blob, b"1,2,3\n");
    Manifest { files: vec![ManifestFile { name: "digits".into(), blob, bytes: 6 }] }
}

pub fn env() -> Env {
    Env {
        version: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpu: "a processor".into(),
        device: "cpu".into(),
        threads: 2,
    }
}

/// Puts the input of an experiment under a numerics epoch.
pub fn put_input(store: &Store, name: &str, epoch: u32) -> Id {
    put_input_on(store, name, epoch, manifest())
}

fn put_input_on(store: &Store, name: &str, epoch: u32, data: Manifest) -> Id {
    let plan = store.put(Kind::Plan, &plan(name)).unwrap();
    let manifest = store.put(Kind::Manifest, &data).unwrap();
    let numerics = store.put(Kind::Numerics, &numerics(epoch)).unwrap();
    store.put(Kind::Input, &Input { plan, manifest, numerics }).unwrap()
}

/// One cell as plain numbers.
#[derive(Clone)]
pub struct Numbers {
    pub arm: &'static str,
    pub seed: u64,
    pub status: Status,
    pub series: Vec<(&'static str, Vec<(u64, f64)>)>,
    pub trace: Vec<(u64, u8)>,
    pub weights: Vec<(&'static str, Precision, Vec<f64>)>,
}

impl Default for Numbers {
    fn default() -> Self {
        Numbers {
            arm: "maml",
            seed: 0,
            status: Status::Finished,
            series: vec![("angle", vec![(0, 1.0), (10, 0.5), (20, 0.25)])],
            trace: vec![(0, 1), (10, 2), (20, 3)],
            weights: vec![("w", Precision::F64, vec![1.0, -2.0])],
        }
    }
}

pub fn put_cell(store: &Store, numbers: &Numbers) -> Cell {
    let series = |(measure, points): &(&str, Vec<(u64, f64)>)| {
        let (steps, values): (Vec<u64>, Vec<f64>) = points.iter().copied().unzip();
        let id = store.put(Kind::Series, &Series::new(steps, &values).unwrap()).unwrap();
        CellSeries { measure: (*measure).to_owned(), id }
    };
    let digests: Vec<_> = numbers.trace.iter().map(|&(step, n)| (step, Id::from_bytes([n; 32]))).collect();
    let tensors = numbers.weights.iter().map(|(name, precision, values)| {
        Weight::new(*name, &Tensor::new(vec![values.len()], values.clone()), *precision)
    });
    let key = Id::of(Kind::Cell, &format!("{} {}", numbers.arm, numbers.seed));
    Cell {
        key,
        arm: numbers.arm.into(),
        seed: numbers.seed,
        status: numbers.status,
        series: numbers.series.iter().map(series).collect(),
        trace: store.put(Kind::Trace, &Trace::new(&digests)).unwrap(),
        weights: store.put(Kind::Weights, &Weights { tensors: tensors.collect() }).unwrap(),
    }
}

/// An object file with a right hash at its end, such as `blob raw` and some bytes.
pub fn object_file(title: &str, stored: &[u8]) -> Vec<u8> {
    let body = [format!("metadsl object 1 {title}\n").as_bytes(), stored].concat();
    [&body[..], &blake3::derive_key("metadsl 2026 file", &body)].concat()
}

/// Bytes that no compressor shortens, the same every time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A run that is put whole but for its own record.
pub fn put_run(store: &Store, n: u64) -> Run {
    put_run_on(store, n, manifest())
}

/// The same on other data.
pub fn put_run_on(store: &Store, n: u64, data: Manifest) -> Run {
    let input = put_input_on(store, "maml_anil", n as u32, data);
    let cells = vec![put_cell(store, &Numbers { seed: n, ..Numbers::default() })];
    let claims = vec![ClaimVerdict { holds: true, left: 0.25, right: f64::NAN }];
    Run {
        experiment: "maml_anil".into(),
        input,
        result: store.put(Kind::Result, &Outcome { input, cells, claims }).unwrap(),
        env: store.put(Kind::Env, &env()).unwrap(),
        source: Some(store.put(Kind::Source, &"edition 2026\n".to_owned()).unwrap()),
        files: vec![FileHint { name: "digits".into(), path: "../data/digits.csv".into() }],
        started_ms: 1_000 * n,
        finished_ms: 1_000 * n + 7,
        left_out: vec![],
    }
}

pub fn seal(store: &Store, n: u64) -> Id {
    let sealed = store.seal(&put_run(store, n)).unwrap();
    assert_eq!(sealed.cut, 0);
    sealed.run
}

pub fn ids(store: &Store) -> Vec<Id> {
    store.runs().unwrap().runs.into_iter().map(|(id, _)| id).collect()
}
