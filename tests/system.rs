//! The ledger on a real system that refuses things: file sizes, open files, a full and a read-only file system, stopped
//! processes, clocks and file times that are wrong, a folder that is copied while it is written.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "a test says what it counted and skipped")]

#[path = "common/desk.rs"]
mod desk;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

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

/// What `verify` may find after a failure: a torn tail, a pack that no log names.
const HARMLESS: i32 = 16 | 32;

/// A desk with one run.
fn with_run() -> Desk {
    let desk = Desk::new();
    desk.write("small.meta", SMALL);
    desk.json(&["run", "small.meta", "--json"]);
    desk
}

fn runs(desk: &Desk) -> usize {
    desk.json(&["log", "--json"]).as_array().expect("rows").len()
}

/// Runs the command line behind some words of the shell, such as `ulimit -f 1`.
fn shell(desk: &Desk, words: &str, args: &str) -> Output {
    let mut command = Command::new("bash");
    let line = format!("{words} && exec {} {args}", env!("CARGO_BIN_EXE_metadsl"));
    command.args(["-c", &line]).current_dir(desk.path("")).env("METADSL_LEDGER", desk.path("ledger"));
    command.output().expect("bash runs")
}

/// After a failure: no panic, nothing lost or half there, and the command goes through once it may.
fn recovers(desk: &Desk, output: &Output, args: &[&str], what: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{what}: {text}");
    assert!(output.status.code().is_none_or(|code| [0, 4].contains(&code)), "{what}: {text}");
    assert!(output.status.success() || output.status.code().is_none() || text.contains("cannot"), "{what}: {text}");
    let verified = desk.run(&["verify"]);
    assert_eq!(code(&verified) & !HARMLESS, 0, "{what}: {}", stdout(&verified));
    let again = desk.run(args);
    assert_eq!(code(&again), 0, "{what}: {}", stderr(&again));
    assert_eq!((runs(desk), code(&desk.run(&["verify"])) & !32), (2, 0), "{what}");
}

const AGAIN: [&str; 4] = ["run", "small.meta", "--set", "train.steps=10"];

#[test]
fn files_may_not_grow() {
    let mut failed = 0;
    // With the signal, which kills; and without it, as an error.
    for words in ["true", "trap '' XFSZ"] {
        for blocks in 0..8 {
            let desk = with_run();
            let output = shell(&desk, &format!("{words} && ulimit -f {blocks}"), &AGAIN.join(" "));
            failed += usize::from(!output.status.success());
            recovers(&desk, &output, &AGAIN, &format!("{words}, files of {blocks} KiB"));
        }
    }
    println!("file size limits: 16, commands that failed: {failed}, runs lost: 0");
    assert!(failed > 4);
}

#[test]
fn files_may_not_be_opened() {
    let mut failed = 0;
    for limit in 4..24 {
        let desk = with_run();
        let output = shell(&desk, &format!("ulimit -n {limit}"), &format!("{} --threads 1", AGAIN.join(" ")));
        if output.status.code() == Some(127) {
            continue; // Not even the program's libraries could be opened.
        }
        failed += usize::from(!output.status.success());
        recovers(&desk, &output, &AGAIN, &format!("{limit} open files"));
    }
    println!("open file limits: 20, commands that failed: {failed}, runs lost: 0");
}

/// Whether file systems can be mounted in a namespace of one's own.
fn can_mount() -> bool {
    let output = Command::new("unshare").args(["-m", "bash", "-c", "d=$(mktemp -d) && mount -t tmpfs t $d"]).output();
    let can = output.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: file systems cannot be mounted here");
    }
    can
}

#[test]
fn a_file_system_of_64_kib_fills_up() {
    if !can_mount() {
        return;
    }
    let desk = Desk::new();
    desk.write("small.meta", SMALL);
    std::fs::create_dir(desk.path("full")).expect("a folder");
    // Runs until one fails for want of space; then what was acknowledged is there, whole, and can be taken elsewhere. The
    // one that failed may have come as far as its commit.
    let script = format!(
        "mount -t tmpfs -o size=64k t full && export METADSL_LEDGER=full/ledger && n=0 && \
         while {0} run small.meta --set train.steps=$((n + 1)) >out 2>err; do n=$((n + 1)); [ $n -lt 200 ] || exit 9; done; \
         ! grep -q panicked err && grep -q 'No space left' err || exit 8; \
         c=$({0} log --json | grep -o '\"run\":' | wc -l); [ $c = $n ] || [ $c = $((n + 1)) ] || exit 6; \
         {0} verify >out; [ $(($? & ~48)) = 0 ] || exit 7; cp -r full/ledger ledger; echo $c",
        env!("CARGO_BIN_EXE_metadsl")
    );
    let output = Command::new("unshare").args(["-m", "bash", "-c", &script]).current_dir(desk.path("")).output();
    let output = output.expect("unshare runs");
    let said = |name: &str| std::fs::read_to_string(desk.path(name)).unwrap_or_default();
    assert!(output.status.success(), "{:?} {}{}{}", output.status, stderr(&output), said("out"), said("err"));
    let count: usize = stdout(&output).trim().parse().expect("a number");
    assert_eq!(runs(&desk), count);
    println!("runs until 64 KiB were full: {count}, runs lost: 0");
    let goes_on = desk.run(&["run", "small.meta", "--set", "train.steps=300"]);
    assert_eq!((code(&goes_on), runs(&desk)), (0, count + 1), "{}", stderr(&goes_on));
    assert_eq!(code(&desk.run(&["verify"])) & !32, 0);
}

#[test]
fn a_read_only_folder_can_be_read() {
    if !can_mount() {
        return;
    }
    let desk = with_run();
    let run = desk.json(&["log", "--json"])[0]["run"].as_str().expect("a run").to_owned();
    for (args, wanted) in [
        ("log".to_owned(), 0),
        (format!("show {run}"), 0),
        (format!("export {run}"), 0),
        (format!("diff {run} {run}"), 0),
        (format!("report {run} -o /dev/null"), 0),
        (format!("bundle {run} -o /dev/shm/metadsl-test-$$; rm -f /dev/shm/metadsl-test-$$"), 0),
        ("verify".to_owned(), 0),
        ("resume --list".to_owned(), 0),
        ("run small.meta --set train.steps=3".to_owned(), 4),
        (format!("tag {run} x"), 4),
        ("gc --apply".to_owned(), 4),
    ] {
        let script = format!(
            "mount --bind . . && mount -o remount,ro,bind . && cd \"$PWD\" && {} {args}",
            env!("CARGO_BIN_EXE_metadsl")
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "bash", "-c", &script]).current_dir(desk.path(""));
        let output = command.env("METADSL_LEDGER", desk.path("ledger")).output().expect("unshare runs");
        assert_eq!(code(&output), wanted, "{args}: {}{}", stdout(&output), stderr(&output));
    }
    assert_eq!(code(&desk.run(&["verify"])), 0);
}

/// Whether strace can trace here; says so where it cannot.
fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: strace cannot trace here");
    }
    can
}

/// The program that a process traces, once it is stopped by a signal; none where the process ended before.
fn stopped(tracer: &mut Child) -> Option<u32> {
    loop {
        if tracer.try_wait().expect("it can be asked").is_some() {
            return None;
        }
        let children = format!("/proc/{0}/task/{0}/children", tracer.id());
        let child =
            std::fs::read_to_string(children).ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
        let threads = child.and_then(|child: u32| std::fs::read_dir(format!("/proc/{child}/task")).ok());
        // Under a tracer a stopped process shows as traced; it is stopped where all of its threads are.
        let is_stopped = |thread: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
        };
        let signalled = child.is_some_and(|child| {
            let status = std::fs::read_to_string(format!("/proc/{child}/wchan")).unwrap_or_default();
            status.contains("stop") || status == "0"
        });
        let all = threads.is_some_and(|threads| threads.flatten().all(is_stopped));
        if let (true, true, Some(child)) = (all, signalled, child) {
            return Some(child);
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_stopped_writer_holds_up_nobody_who_reads_and_breaks_nothing() {
    if !can_trace() {
        return;
    }
    let mut stops = 0;
    for when in 1..=4 {
        let desk = with_run();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]);
        strace.args([
            "-e",
            &format!("inject=fdatasync,fsync:signal=SIGSTOP:when={when}"),
            env!("CARGO_BIN_EXE_metadsl"),
        ]);
        strace.args(AGAIN).current_dir(desk.path("")).env("METADSL_LEDGER", desk.path("ledger"));
        let mut writer = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace runs");
        let Some(child) = stopped(&mut writer) else { break };
        stops += 1;
        // Readers read, `gc` keeps off, and the run is seen to be alive, for as long as it stands still.
        assert_eq!(runs(&desk), 1);
        assert_eq!(code(&desk.run(&["verify"])) & !HARMLESS, 0);
        let gc = desk.run(&["gc", "--apply"]);
        assert_eq!(code(&gc), 4, "{}", stdout(&gc));
        assert!(stdout(&desk.run(&["resume", "--list"])).contains("running"));
        let mut other = Command::new(env!("CARGO_BIN_EXE_metadsl"));
        other.args(["run", "small.meta", "--set", "train.steps=7"]).current_dir(desk.path(""));
        let mut other =
            other.env("METADSL_LEDGER", desk.path("ledger")).stdout(Stdio::null()).spawn().expect("it starts");
        let resumed = Command::new("kill").args(["-CONT", &child.to_string()]).status().expect("kill runs");
        assert!(resumed.success());
        assert!(
            writer.wait().expect("it ends").success() && other.wait().expect("it ends").success(),
            "stopped at {when}"
        );
        assert_eq!((runs(&desk), code(&desk.run(&["verify"]))), (3, 0), "stopped at {when}");
    }
    println!("writers stopped at a sync: {stops}, runs lost: 0");
    assert!(stops > 0);
}

/// Gives every file in a folder another time.
fn touch(dir: &Path, time: SystemTime) {
    for entry in std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            touch(&entry, time);
        } else {
            std::fs::File::options().append(true).open(&entry).expect("a file").set_modified(time).expect("a time");
        }
    }
}

#[test]
fn clocks_and_file_times_decide_nothing() {
    use metadsl::hash::Kind;
    use metadsl::ledger::{Run, Store};

    let desk = with_run();
    let year = Duration::from_secs(365 * 24 * 3600);
    let epoch = SystemTime::UNIX_EPOCH;
    for time in [epoch, epoch + 10 * year, epoch + 200 * year] {
        touch(&desk.path("ledger"), time);
        assert_eq!((runs(&desk), code(&desk.run(&["verify"]))), (1, 0));
        let held = desk.json(&["run", "small.meta", "--json"]);
        assert_eq!(held["held"], 2, "the cache asks no clock");
    }
    // Runs of a machine whose clock goes back a year and forward two between them.
    let store = Store::open(desk.path("ledger")).expect("a ledger");
    let id = store.run_ids().expect("listed")[0];
    let first: Run = store.get(Kind::Run, id).expect("whole");
    let mut wanted = vec![id];
    for shift in [-365_i64, 730, 0] {
        let moved = |ms: u64| ms.saturating_add_signed(shift * 24 * 3600 * 1000 + 1);
        let run = Run { started_ms: moved(first.started_ms), finished_ms: moved(first.finished_ms), ..first.clone() };
        wanted.push(store.seal(&run).expect("sealed").run);
    }
    // One that ended before it began.
    wanted.push(store.seal(&Run { finished_ms: 0, ..first }).expect("sealed").run);
    assert_eq!(store.run_ids().expect("listed"), wanted, "the log's order is that of sealing");
    assert_eq!(code(&desk.run(&["verify"])), 0);
    assert_eq!(runs(&desk), 5);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    // In an order that is as bad as can be: packs before the logs that name them.
    let mut entries: Vec<_> = std::fs::read_dir(from).expect("a folder").flatten().map(|entry| entry.path()).collect();
    entries.sort_by_key(|path| (path.ends_with("heads"), path.ends_with("log")));
    for entry in entries {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else if let Ok(bytes) = std::fs::read(&entry) {
            // What a writer has renamed meanwhile is not there any more.
            std::fs::write(target, bytes).expect("a copy");
        }
    }
}

#[test]
fn a_folder_that_is_copied_while_it_is_written_is_told_and_completed() {
    let desk = with_run();
    let mut writers: Vec<Child> = Vec::new();
    for steps in 1..=6 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metadsl"));
        command.args(["run", "small.meta", "--set", &format!("train.steps={steps}")]).current_dir(desk.path(""));
        writers
            .push(command.env("METADSL_LEDGER", desk.path("ledger")).stdout(Stdio::null()).spawn().expect("it starts"));
    }
    let (mut copies, mut told) = (Vec::new(), 0);
    while writers.iter_mut().any(|writer| writer.try_wait().expect("it can be asked").is_none()) {
        let other = Desk::new();
        copy(&desk.path("ledger"), &other.path("ledger"));
        let verified = other.run(&["verify"]);
        // A pack that was not copied, a head that is ahead of its log: told, and nothing else is.
        assert_eq!(code(&verified) & !(HARMLESS | 2 | 8), 0, "{}", stdout(&verified));
        told += usize::from(code(&verified) != 0);
        copies.push(other);
    }
    assert!(writers.iter_mut().all(|writer| writer.wait().expect("it ends").success()));
    for other in &copies {
        copy(&desk.path("ledger"), &other.path("ledger"));
        assert_eq!((runs(other), code(&other.run(&["verify"]))), (7, 0));
    }
    println!(
        "copies of a ledger in use: {}, told to be incomplete: {told}, completed by a second copy: all",
        copies.len()
    );
}
