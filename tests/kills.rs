//! Commands that are killed, or whose calls fail, at their first, second, ... call of each system call that changes files: what was
//! acknowledged stays, nothing is half there, and the same command completes what was begun.
//!
//! A sample of the points in every test run; all of them with `METADSL_ALL_KILL_POINTS=1` (`just kill-points`).

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "a test says what it counted")]

#[path = "common/desk.rs"]
mod desk;

use std::process::Output;

use desk::{Desk, HARMLESS, SMALL, all_points, can_trace, code, copy, stderr, stdout};

/// The system calls that change files.
const CALLS: [&str; 9] = ["mkdir", "openat", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "flock"];
fn copy_of(template: &Desk) -> Desk {
    let desk = Desk::new();
    copy(&template.path(""), &desk.path(""));
    desk
}

/// Every how many calls a command is struck: at each where that is asked for.
fn step(sample: usize) -> usize {
    if all_points() { 1 } else { sample }
}

/// Strikes a command at its points, each on a copy of a folder; `wanted` are the runs that the ledger lists in the end, where
/// they are known.
fn every_point(name: &str, template: &Desk, args: &[&str], wanted: Option<&[String]>) {
    // An asynchronous runtime wakes its threads by writes, which fail on no real system; without one it waits for ever.
    let wakes = args.iter().any(|arg| ["push", "pull"].contains(arg));
    let before = template.runs();
    // What `gc` takes away is not wanted.
    let kept = before.iter().filter(|run| wanted.is_none_or(|wanted| wanted.contains(run)));
    let (mut struck, mut failed) = (0, 0);
    for (number, call) in CALLS.into_iter().enumerate() {
        let calls = copy_of(template).calls(call, args);
        for (fault, sample) in [("signal=SIGKILL", 5), ("error=ENOSPC", 13), ("error=EIO", 17)] {
            // A sample begins at another call for each system call.
            let step = step(sample);
            if wakes && call == "write" && fault.starts_with("error") {
                continue;
            }
            for when in (1 + number % step..=calls).step_by(step) {
                let desk = copy_of(template);
                let output = desk.struck(call, fault, when, args);
                let what = format!("{name}: {call} {when} of {calls}, {fault}");
                assert!(!stderr(&output).contains("panicked"), "{what}: {}", stderr(&output));
                struck += 1;
                failed += usize::from(!output.status.success());
                let listed = desk.runs();
                assert!(kept.clone().all(|run| listed.contains(run)), "{what}: a run is lost");
                let verified = desk.run(&["verify"]);
                assert_eq!(code(&verified) & !HARMLESS, 0, "{what}: {}", stdout(&verified));
                // The same command completes what was begun, and nothing is left of the failure.
                let again = desk.run(args);
                assert!(again.status.success() || nothing_left(&again), "{what}: {}", stderr(&again));
                let listed = desk.runs();
                assert!(kept.clone().all(|run| listed.contains(run)), "{what}: a run is lost");
                assert!(wanted.is_none_or(|wanted| listed == wanted), "{what}: {listed:?}");
                let verified = desk.run(&["verify"]);
                assert_eq!(code(&verified) & !32, 0, "{what}: {}", stdout(&verified));
            }
        }
    }
    println!("{name}: calls struck: {struck}, commands that failed: {failed}, runs lost: 0");
    assert!(failed > 0, "{name} was never struck");
}

/// Whether a command found its work done, by one that was struck at the very end.
fn nothing_left(output: &Output) -> bool {
    ["no unfinished run", "has no tag"].iter().any(|words| stderr(output).contains(words))
}

fn with_two_runs() -> (Desk, Vec<String>) {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    for steps in ["train.steps=5", "train.steps=10"] {
        desk.json(&["run", file.to_str().expect("UTF-8"), "--json", "--set", steps]);
    }
    let runs = desk.runs();
    (desk, runs)
}

#[test]
fn running_and_replaying() {
    if !can_trace() {
        return;
    }
    let (desk, runs) = with_two_runs();
    // What is recorded anew has an id that no earlier attempt had; the runs that are there are not touched.
    every_point("run", &desk, &["run", "small.meta"], None);
    every_point("replay", &desk, &["replay", &runs[0]], Some(&runs));
}

#[test]
fn notes_imports_and_repair() {
    if !can_trace() {
        return;
    }
    let (desk, runs) = with_two_runs();
    every_point("note", &desk, &["note", &runs[0], "a remark"], Some(&runs));
    desk.write("table.csv", "step,loss\n0,1.5\n1,1.0\n");
    every_point("import", &desk, &["import", "csv", "table.csv"], None);
    // A torn tail and a stray pack.
    let log = std::fs::read_dir(desk.path("ledger/log")).expect("logs").next().expect("one").expect("an entry").path();
    let segment = log.join("000000000000");
    let bytes = std::fs::read(&segment).expect("a segment");
    std::fs::write(&segment, [&bytes[..], &bytes[32..60]].concat()).expect("it is written");
    desk.write("ledger/packs/stray", "?");
    assert_eq!(code(&desk.run(&["verify"])), 64 | 16);
    let (mut struck, args) = (0, ["verify", "--repair"]);
    for call in ["mkdir", "write", "rename", "ftruncate", "flock"] {
        for when in (1..).step_by(step(2)) {
            let copied = copy_of(&desk);
            let output = copied.struck(call, "signal=SIGKILL", when, &args);
            if output.status.code().is_some_and(|code| code < 128) {
                break;
            }
            struck += 1;
            copied.run(&args);
            assert_eq!(copied.verify(), 0, "{call} {when}");
            assert_eq!(copied.runs(), runs, "{call} {when}");
        }
    }
    println!("verify --repair: killed {struck} times, runs lost: 0");
    assert!(struck > 0);
}

#[test]
fn collecting_garbage() {
    if !can_trace() {
        return;
    }
    let (desk, runs) = with_two_runs();
    desk.write("ledger/tmp/0123456789abcdef", "half");
    assert_eq!(code(&desk.run(&["gc", "--bury", &runs[0]])), 0);
    let left = vec![runs[1].clone()];
    every_point("gc --apply", &desk, &["gc", "--apply"], Some(&left));
    assert_eq!(code(&desk.run(&["gc", "--apply"])), 0);
    every_point("gc --empty-trash", &desk, &["gc", "--empty-trash"], Some(&left));
}

#[test]
fn resuming() {
    if !can_trace() {
        return;
    }
    let whole = Desk::new();
    let file = whole.write("small.meta", SMALL);
    let run = whole.json(&["run", file.to_str().expect("UTF-8"), "--json"]);
    // Killed at the first name it gives behind its first saved states.
    let desk = (6..).map(|when| {
        let desk = Desk::new();
        desk.write("small.meta", SMALL);
        desk.struck("rename", "signal=SIGKILL", when, &["run", "small.meta", "--save-every", "3"]);
        desk
    });
    let desk = desk.take(40).find(|desk| stdout(&desk.run(&["resume", "--list"])).contains("interrupted"));
    let desk = desk.expect("a run that can be resumed");
    every_point("resume", &desk, &["resume", "--save-every", "3"], None);
    let report = desk.json(&["resume", "--json"]);
    assert_eq!(report["result"], run["result"]);
}

#[cfg(feature = "remote")]
#[test]
fn pushing_and_pulling() {
    if !can_trace() {
        return;
    }
    let (desk, runs) = with_two_runs();
    every_point("push", &desk, &["push", "remote"], Some(&runs));
    assert_eq!(code(&desk.run(&["push", "remote"])), 0);
    let other = Desk::new();
    copy(&desk.path("remote"), &other.path("remote"));
    let file = other.write("small.meta", SMALL);
    other.json(&["run", file.to_str().expect("UTF-8"), "--json"]);
    let mut both = [other.runs(), runs].concat();
    both.sort();
    every_point("pull", &other, &["pull", "remote"], Some(&both));
}
