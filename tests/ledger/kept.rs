//! A ledger that an earlier version wrote is kept here, and read by every later one.

use std::fs;
use std::path::{Path, PathBuf};

use metadsl::hash::{Id, Kind};
use metadsl::ledger::*;

use super::fixture;

const RUNS: u64 = 3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ledger/kept/format-2")
}

/// What the kept ledger was made by; the ids come out the same for ever.
fn write(root: &Path) -> Vec<Id> {
    let store = Store::open_or_create(root).unwrap().with_stream("main").unwrap().with_segments_of(4);
    let large = store.put_blob(&vec![b'a'; 100_000]).unwrap();
    let file = ManifestFile { name: "digits".into(), blob: large, bytes: 100_000 };
    let data = Manifest { files: vec![file] };
    let runs: Vec<Id> =
        (0..RUNS).map(|n| store.seal(&fixture::put_run_on(&store, n, data.clone())).unwrap().run).collect();
    let result = |run| store.get::<Run>(Kind::Run, run).unwrap().result;
    let (old, new) = (result(runs[0]), result(runs[1]));
    store.put_verdict(&Comparison { old, new, verdict: Verdict::Identical, left_out: vec![] }).unwrap();
    store.annotate(&Note { about: runs[1], key: "tag".into(), text: "baseline".into(), at_ms: 9 }).unwrap();
    store.bury(runs[2]).unwrap();
    runs[..2].to_vec()
}

#[test]
fn a_ledger_of_format_2_is_still_read() {
    let store = Store::open(folder()).unwrap();
    let runs = fixture::ids(&store);
    let elsewhere = tempfile::TempDir::new().unwrap();
    assert_eq!(runs, write(&elsewhere.path().join("ledger")), "the ids are those of today");
    assert_eq!(store.verify().problems, []);
    assert_eq!((store.verdicts().unwrap().len(), store.notes().unwrap().len()), (1, 1));
    for run in runs {
        let run: Run = store.get(Kind::Run, run).unwrap();
        let outcome: Outcome = store.get(Kind::Result, run.result).unwrap();
        let series: Series = store.get(Kind::Series, outcome.cells[0].series[0].id).unwrap();
        assert_eq!(series.values(), [1.0, 0.5, 0.25]);
        let input: Input = store.get(Kind::Input, run.input).unwrap();
        let manifest: Manifest = store.get(Kind::Manifest, input.manifest).unwrap();
        assert_eq!(store.get_blob(manifest.files[0].blob).unwrap().len(), 100_000);
    }
}

#[test]
#[ignore = "writes the kept ledger: only for a new format, which gets a folder of its own"]
fn write_the_kept_ledger() {
    assert!(!folder().exists(), "what is kept is not written again");
    fs::create_dir_all(folder().parent().unwrap()).unwrap();
    write(&folder());
    fs::remove_dir_all(folder().join("active")).unwrap();
    fs::remove_dir_all(folder().join("tmp")).unwrap();
}
