//! Many writers on one ledger that none of them has made yet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use metadsl::hash::Id;
use metadsl::ledger::Store;
use tempfile::TempDir;

use super::fixture;

const WRITERS: u64 = 8;
const RUNS: u64 = 4;
/// Tells this test program that it is one of the writers.
const ROLE: &str = "METADSL_TEST_WRITER";

fn write(root: &Path, writer: u64) -> BTreeSet<Id> {
    let store = Store::open_or_create(root).unwrap();
    // Half of the objects of a run are shared with other writers.
    (0..RUNS).map(|n| fixture::seal(&store, 1000 * writer + n)).collect()
}

fn check(root: &Path) {
    let store = Store::open(root).unwrap();
    let listed = fixture::ids(&store);
    assert_eq!(listed.len() as u64, WRITERS * RUNS);
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len());
    let report = store.verify();
    assert_eq!((&report.problems[..], report.runs as u64), (&[][..], WRITERS * RUNS));
    assert_eq!(fixture::files(&root.join("tmp")), Vec::<PathBuf>::new());
}

#[test]
fn eight_threads_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("ledger");
    let sealed: BTreeSet<Id> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let root = &root;
                    move || write(root, writer)
                })
            })
            .collect();
        // A verifier among them sees no run that is not listed and nothing torn.
        let mut seen = 0;
        while seen < WRITERS * RUNS {
            if let Ok(store) = Store::open(&root) {
                let report = store.verify();
                assert_eq!(report.problems, []);
                seen = report.runs as u64;
            }
        }
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    check(&root);
    assert_eq!(sealed, fixture::ids(&Store::open(&root).unwrap()).into_iter().collect());
}

#[test]
fn eight_processes_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("ledger");
    let program = std::env::current_exe().unwrap();
    let start = |writer: u64| {
        let mut command = Command::new(&program);
        command
            .args(["--exact", "writers::one_of_eight", "--ignored"])
            .env(ROLE, format!("{writer} {}", root.display()));
        command.output()
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || start(writer))).collect();
        for writer in writers {
            let output = writer.join().unwrap().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    });
    check(&root);
}

#[test]
#[ignore = "a part of `eight_processes_lose_nothing`, which starts it"]
fn one_of_eight() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (writer, root) = role.split_once(' ').unwrap();
    write(Path::new(root), writer.parse().unwrap());
}
