//! Many writers on one ledger that none of them has made yet, and writers that are killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use metadsl::hash::Id;
use metadsl::ledger::{Fault, Store};
use tempfile::TempDir;

use super::fixture;

const WRITERS: u64 = 8;
const RUNS: u64 = 4;
/// Tells this test program that it is one of the writers.
const ROLE: &str = "METADSL_TEST_WRITER";

fn write(root: &Path, writer: u64, runs: u64) -> BTreeSet<Id> {
    let store = Store::open_or_create(root).unwrap();
    // Half of the objects of a run are shared with other writers.
    (0..runs).map(|n| fixture::seal(&store, 1000 * writer + n)).collect()
}

fn check(root: &Path, writers: u64, runs: u64) {
    let store = Store::open(root).unwrap();
    let listed = fixture::ids(&store);
    assert_eq!(listed.len() as u64, writers * runs);
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), listed.len());
    let report = store.verify();
    assert_eq!((&report.problems[..], report.runs as u64), (&[][..], writers * runs));
    assert_eq!(fixture::files(&root.join("tmp")), Vec::<PathBuf>::new());
    println!("{writers} writers of {runs} runs each on a ledger that none had made: runs lost 0, errors 0");
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
                    move || write(root, writer, RUNS)
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
    check(&root, WRITERS, RUNS);
    assert_eq!(sealed, fixture::ids(&Store::open(&root).unwrap()).into_iter().collect());
}

#[test]
fn eight_processes_lose_nothing() {
    processes(WRITERS, RUNS);
}

#[test]
fn sixty_four_processes_lose_nothing() {
    processes(64, 1);
}

fn processes(writers: u64, runs: u64) {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("ledger");
    let program = std::env::current_exe().unwrap();
    let start = |writer: u64| role(&mut Command::new(&program), &root, writer, runs).output();
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..writers).map(|writer| scope.spawn(move || start(writer))).collect();
        for writer in started {
            let output = writer.join().unwrap().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    });
    check(&root, writers, runs);
}

/// Makes the command play a writer.
fn role<'a>(command: &'a mut Command, root: &Path, writer: u64, runs: u64) -> &'a mut Command {
    let role = format!("{writer} {runs} {}", root.display());
    command.args(["--exact", "writers::one_of_eight", "--ignored", "--nocapture"]).env(ROLE, role)
}

#[test]
#[ignore = "a part of other tests, which start it"]
fn one_of_eight() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [writer, runs, root] = role.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    for run in write(Path::new(root), writer.parse().unwrap(), runs.parse().unwrap()) {
        println!("sealed {run}");
    }
}

/// The writer is killed at its first, second, ... call of every system call that changes files, until it lives.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_writer_loses_nothing_it_was_promised() {
    let program = std::env::current_exe().unwrap();
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: strace cannot trace here");
        return;
    }
    for call in ["mkdir", "write", "fsync", "rename", "flock"] {
        let mut killed = 0;
        for when in 1.. {
            let dir = TempDir::new().unwrap();
            let root = dir.path().join("ledger");
            // One sealed run is there before and must be untouched.
            let before = write(&root, 7, 1);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")]).arg(&program);
            let output = role(&mut strace, &root, 0, 1).output().unwrap();

            let store = Store::open(&root).unwrap();
            let listed: BTreeSet<Id> = fixture::ids(&store).into_iter().collect();
            assert!(listed.is_superset(&before), "{call} {when}");
            let text = String::from_utf8_lossy(&output.stdout);
            let acknowledged =
                text.lines().filter_map(|line| line.split("sealed ").nth(1)).map(|id| id.parse().unwrap());
            for id in acknowledged {
                assert!(listed.contains(&id), "{call} {when}: {id} was acknowledged");
            }
            let harmless = Fault::TornTail.bit() | Fault::Unlisted.bit();
            assert_eq!(store.verify().exit_code() & !harmless, 0, "{call} {when}: {:?}", store.verify().problems);
            // Whoever comes next completes what was begun.
            let again = write(&root, 0, 1);
            assert_eq!(fixture::ids(&store).into_iter().collect::<BTreeSet<_>>(), &before | &again);
            assert_eq!(store.verify().problems, [], "{call} {when}");
            if output.status.success() {
                break;
            }
            killed += 1;
        }
        assert!(killed > 0, "{call} was never called");
    }
}
