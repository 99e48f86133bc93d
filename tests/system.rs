//! The ledger on a real system that refuses things: file sizes, open files, memory, a full and a read-only file system, stopped
//! processes, clocks and file times that are wrong, a folder that is copied while it is written.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "a test says what it counted and skipped")]

#[path = "common/bundles.rs"]
mod bundles;
#[path = "common/desk.rs"]
mod desk;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use desk::{Desk, HARMLESS, SMALL, code, copy, stderr, stdout};

/// Runs the command line behind some words of the shell, such as `ulimit -f 1`.
fn shell(desk: &Desk, words: &str, args: &str) -> Output {
    let line = format!("{words} && exec {} {args}", env!("CARGO_BIN_EXE_metadsl"));
    desk.command("bash").args(["-c", &line]).output().expect("bash runs")
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
    assert_eq!((desk.runs().len(), desk.verify() & !32), (2, 0), "{what}");
}

const AGAIN: [&str; 4] = ["run", "small.meta", "--set", "train.steps=10"];

#[test]
fn files_may_not_grow() {
    let mut failed = 0;
    // With the signal, which kills; and without it, as an error.
    for words in ["true", "trap '' XFSZ"] {
        for blocks in 0..8 {
            let (desk, _) = Desk::with_run();
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
        let (desk, _) = Desk::with_run();
        let output = shell(&desk, &format!("ulimit -n {limit}"), &format!("{} --threads 1", AGAIN.join(" ")));
        if output.status.code() == Some(127) {
            continue; // Not even the program's libraries could be opened.
        }
        failed += usize::from(!output.status.success());
        recovers(&desk, &output, &AGAIN, &format!("{limit} open files"));
    }
    println!("open file limits: 20, commands that failed: {failed}, runs lost: 0");
}

/// A list in CBOR that announces so many items.
fn list(announced: u32, items: Vec<u8>) -> Vec<u8> {
    [vec![0x9a], announced.to_be_bytes().to_vec(), items].concat()
}

#[test]
fn hostile_bundles_write_nothing_steer_no_terminal_and_stay_within_a_cap_of_memory() {
    use metadsl::hash::{Canonical, Kind, cbor};
    use metadsl::ledger::{Evidence, Store};

    let (from, run) = Desk::with_run();
    let (store, run) = (Store::open(from.path("ledger")).expect("a ledger"), run.parse().expect("an id"));
    let mut sound = Vec::new();
    store.bundle(&[run], &mut sound).expect("a bundle");
    let evidence = store.evidence(&[run]).expect("it is listed").remove(0);
    let named = |stream: String| cbor::encode(&Evidence { stream, ..evidence.clone() }.to_value());
    // The name of a stream is what its writer says; it must not become an order to the terminal.
    let steering = named("\u{1b}]0;x\u{7}\u{1b}[2J\u{202e}".to_owned());
    let mut objects = bundles::sections(&sound);
    objects.retain(|(code, _)| *code != bundles::EVIDENCE);
    let renamed = bundles::forged(&[&objects[..], &[(bundles::EVIDENCE, &steering)]].concat());
    let all = |code: u8, payloads: Vec<Vec<u8>>| {
        let sections: Vec<(u8, &[u8])> = payloads.iter().map(|payload| (code, &payload[..])).collect();
        bundles::forged(&sections)
    };
    let heads = (0..100_000).map(|n| named(n.to_string())).collect();
    let tiny = (0..=1u32 << 20).map(|n| [&[0x1a][..], &(n + 65_536).to_be_bytes()].concat()).collect();
    let plan = |payload| all(Kind::Plan.code(), vec![payload]);
    let mut announcing = plan(vec![0]);
    announcing[18..26].copy_from_slice(&(1u64 << 60).to_le_bytes());
    for (what, bytes, wanted) in [
        ("a stream whose name steers terminals", renamed, 0),
        ("a list of too many items", plan(list((1 << 22) + 1, vec![0; (1 << 22) + 1])), 1),
        ("as many lists as there may be", plan(list((1 << 21) - 2, [0x81, 0].repeat((1 << 21) - 2))), 0),
        ("too many tiny objects", all(Kind::Plan.code(), tiny), 1),
        ("many heads and no run", all(bundles::EVIDENCE, heads), 1),
        ("lists within lists", plan([vec![0x81; 10_000_000], vec![0]].concat()), 1),
        ("an announced length of 2^60", announcing, 1),
    ] {
        let desk = Desk::new();
        desk.write("bundle\u{1b}[2J", &bytes);
        let output = shell(&desk, "ulimit -v 900000", "verify 'bundle\u{1b}[2J'");
        assert_eq!(output.status.code(), Some(wanted), "{what}: {}{}", stdout(&output), stderr(&output));
        let said = stdout(&output) + &stderr(&output);
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']) && !said.contains("panicked"), "{what}: {said:?}");
        assert_eq!(files(&desk.path("")), 1, "{what}: something was written");
        println!("{what}: {} bytes, {}", bytes.len(), said.lines().next().unwrap_or_default());
    }
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
    assert_eq!(desk.runs().len(), count);
    println!("runs until 64 KiB were full: {count}, runs lost: 0");
    let goes_on = desk.run(&["run", "small.meta", "--set", "train.steps=300"]);
    assert_eq!((code(&goes_on), desk.runs().len()), (0, count + 1), "{}", stderr(&goes_on));
    assert_eq!(desk.verify() & !32, 0);
}

#[test]
fn a_read_only_folder_can_be_read() {
    if !can_mount() {
        return;
    }
    let (desk, run) = Desk::with_run();
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
        let output = desk.command("unshare").args(["-m", "bash", "-c", &script]).output().expect("unshare runs");
        assert_eq!(code(&output), wanted, "{args}: {}{}", stdout(&output), stderr(&output));
    }
    assert_eq!(desk.verify(), 0);
}

/// Sends a process a signal.
fn signal(name: &str, process: &Child) {
    let sent = Command::new("kill").args([name, &process.id().to_string()]).status().expect("kill runs");
    assert!(sent.success(), "{name}");
}

/// Stops a process once something is to be seen; false where it ended before.
fn stop_when(process: &mut Child, seen: impl Fn() -> bool) -> bool {
    let mut sent = false;
    loop {
        if process.try_wait().expect("it can be asked").is_some() {
            return false;
        }
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
        match stat.rsplit(')').next().map(str::trim_start) {
            Some(rest) if rest.starts_with('T') => return true,
            Some(rest) if !sent && !rest.starts_with('Z') && seen() => {
                signal("-STOP", process);
                sent = true;
            }
            _ => {}
        }
        std::thread::yield_now();
    }
}

/// How many files are in a folder; none where it is missing.
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_stopped_writer_holds_up_nobody_who_reads_and_breaks_nothing() {
    let mut stops = 0;
    // At work on its steps; between its pack and its frame, or about there.
    for late in [false, true, true, true] {
        let (desk, _) = Desk::with_run();
        let packs = desk.path("ledger/packs");
        let active = desk.path("ledger/active");
        let (before, idle) = (files(&packs), files(&active));
        let start = |steps: &str| {
            let mut command = desk.command(env!("CARGO_BIN_EXE_metadsl"));
            command.args(["run", "small.meta", "--set", &format!("train.steps={steps}")]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
        };
        let mut writer = start("20000");
        let is_stopped =
            stop_when(&mut writer, || if late { files(&packs) > before } else { files(&active) > idle + 1 });
        if is_stopped {
            stops += 1;
            // Readers read, `gc` keeps off, and another run goes through, for as long as this one stands still.
            assert!(!desk.runs().is_empty());
            assert!(desk.json(&["resume", "--list", "--json"])[0]["state"] != "interrupted");
            assert_eq!(code(&desk.run(&["show", &desk.runs()[0]])), 0);
            assert!([0, 4].contains(&code(&desk.run(&["gc", "--apply"]))));
            let mut other = start("7");
            signal("-CONT", &writer);
            assert!(other.wait().expect("it ends").success());
        } else {
            assert!(start("7").wait().expect("it ends").success());
        }
        assert!(writer.wait().expect("it ends").success());
        assert_eq!((desk.runs().len(), desk.verify()), (3, 0));
    }
    println!("writers stopped: {stops} of 4, runs lost: 0");
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

    let (desk, _) = Desk::with_run();
    let year = Duration::from_secs(365 * 24 * 3600);
    let epoch = SystemTime::UNIX_EPOCH;
    for time in [epoch, epoch + 10 * year, epoch + 200 * year] {
        touch(&desk.path("ledger"), time);
        assert_eq!((desk.runs().len(), desk.verify()), (1, 0));
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
    assert_eq!(desk.verify(), 0);
    assert_eq!(desk.runs().len(), 5);
}

#[test]
fn a_folder_that_is_copied_while_it_is_written_is_told_and_completed() {
    let (desk, _) = Desk::with_run();
    let mut writers: Vec<Child> = Vec::new();
    for steps in 1..=6 {
        let mut command = desk.command(env!("CARGO_BIN_EXE_metadsl"));
        command.args(["run", "small.meta", "--set", &format!("train.steps={steps}")]).stdout(Stdio::null());
        writers.push(command.spawn().expect("it starts"));
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
        assert_eq!((other.runs().len(), other.verify()), (7, 0));
    }
    println!(
        "copies of a ledger in use: {}, told to be incomplete: {told}, completed by a second copy: all",
        copies.len()
    );
}
