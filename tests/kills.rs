//! Commands that are killed, or whose calls fail, at their first, second, ... call of each system call that changes files: what was
//! acknowledged stays, nothing is half there, and the same command completes what was begun.
//!
//! A sample of the points in every test run; all of them with `METADSL_ALL_KILL_POINTS=1` (`just kill-points`).

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "a test asks for more by the environment")]
#![allow(clippy::print_stdout, reason = "a test says what it counted")]

#[path = "common/desk.rs"]
mod desk;

use std::path::Path;
use std::process::{Command, Output};

use desk::{Desk, code, stderr, stdout};

const SMALL: &str = "edition 2026
experiment small
dim d = 4
world { truth: [d] ~ normal }
tasks linear { example { x: [d] ~ normal; y: [] = x @ truth } }
model line(x: [d]) -> [] { param w: [d] = 0; x @ w }
train {
  tasks = fresh(linear, 3); split = { support: 4, query: 4 }; loss = half_squared
  adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 20
}
measure gap = sum((w - truth) ^ 2) every 5
sweep seed in 0..2
";

/// The system calls that change files.
const CALLS: [&str; 9] = ["mkdir", "openat", "write", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "flock"];
/// What `verify` may find after a failure: a torn tail, a pack that no log names.
const HARMLESS: i32 = 16 | 32;

/// Whether strace can trace here; says so where it cannot.
fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: strace cannot trace here");
    }
    can
}

/// Runs a command whose n-th call of a system call goes wrong so.
fn strike(desk: &Desk, call: &str, fault: &str, when: usize, args: &[&str]) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:{fault}:when={when}"), env!("CARGO_BIN_EXE_metadsl")]).args(args);
    strace.current_dir(desk.path("")).env("METADSL_LEDGER", desk.path("ledger")).env("NO_COLOR", "1");
    strace.output().expect("strace runs")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, target).expect("a copy");
        }
    }
}

/// The runs that a ledger lists.
fn runs(desk: &Desk) -> Vec<String> {
    let rows = desk.json(&["log", "--json"]);
    let mut runs: Vec<String> =
        rows.as_array().expect("rows").iter().map(|row| row["run"].as_str().expect("a run").to_owned()).collect();
    runs.sort();
    runs
}

/// How often a command makes a system call.
fn count(template: &Desk, call: &str, args: &[&str]) -> usize {
    let desk = copy_of(template);
    let log = desk.path("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", log.to_str().expect("UTF-8"), "-e", &format!("trace={call}")]);
    strace.arg(env!("CARGO_BIN_EXE_metadsl")).args(args).current_dir(desk.path(""));
    let output = strace.env("METADSL_LEDGER", desk.path("ledger")).output().expect("strace runs");
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    let text = std::fs::read_to_string(log).expect("a log");
    text.lines().filter(|line| line.contains(&format!(" {call}("))).count()
}

fn copy_of(template: &Desk) -> Desk {
    let desk = Desk::new();
    copy(&template.path(""), &desk.path(""));
    desk
}

/// Every how many calls a command is struck: at each where that is asked for.
fn step(sample: usize) -> usize {
    if std::env::var("METADSL_ALL_KILL_POINTS").is_ok() { 1 } else { sample }
}

/// Strikes a command at its points, each on a copy of a folder; `wanted` are the runs that the ledger lists in the end, where
/// they are known.
fn every_point(name: &str, template: &Desk, args: &[&str], wanted: Option<&[String]>) {
    // An asynchronous runtime wakes its threads by writes, which fail on no real system; without one it waits for ever.
    let wakes = args.iter().any(|arg| ["push", "pull"].contains(arg));
    let before = runs(template);
    let (mut struck, mut failed) = (0, 0);
    for (number, call) in CALLS.into_iter().enumerate() {
        let calls = count(template, call, args);
        for (fault, sample) in [("signal=SIGKILL", 5), ("error=ENOSPC", 13), ("error=EIO", 17)] {
            // A sample begins at another call for each system call.
            let step = step(sample);
            if wakes && call == "write" && fault.starts_with("error") {
                continue;
            }
            for when in (1 + number % step..=calls).step_by(step) {
                let desk = copy_of(template);
                let output = strike(&desk, call, fault, when, args);
                let what = format!("{name}: {call} {when} of {calls}, {fault}");
                assert!(!stderr(&output).contains("panicked"), "{what}: {}", stderr(&output));
                struck += 1;
                failed += usize::from(!output.status.success());
                let listed = runs(&desk);
                let kept = |run: &&String| listed.contains(run) || !before.contains(run);
                assert!(wanted.is_none_or(|wanted| wanted.iter().all(|run| kept(&run))), "{what}: a run is lost");
                let verified = desk.run(&["verify"]);
                assert_eq!(code(&verified) & !HARMLESS, 0, "{what}: {}", stdout(&verified));
                // The same command completes what was begun, and nothing is left of the failure.
                let again = desk.run(args);
                assert!(again.status.success() || nothing_left(&again), "{what}: {}", stderr(&again));
                assert!(wanted.is_none_or(|wanted| runs(&desk) == wanted), "{what}: {:?}", runs(&desk));
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
    let runs = runs(&desk);
    (desk, runs)
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
            let output = strike(&copied, call, "signal=SIGKILL", when, &args);
            if output.status.code().is_some_and(|code| code < 128) {
                break;
            }
            struck += 1;
            copied.run(&args);
            assert_eq!(code(&copied.run(&["verify"])), 0, "{call} {when}");
            assert_eq!(self::runs(&copied), runs, "{call} {when}");
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
        strike(&desk, "rename", "signal=SIGKILL", when, &["run", "small.meta", "--save-every", "3"]);
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
    let mut both = [self::runs(&other), runs].concat();
    both.sort();
    every_point("pull", &other, &["pull", "remote"], Some(&both));
}
