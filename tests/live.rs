//! What the ledger holds is not run again; what was killed goes on, and ends as if nothing had happened.

#![allow(clippy::print_stdout, reason = "a test says what it counted")]

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, SMALL, all_points, can_trace, code, stderr, stdout};

/// A desk with two arms of the small experiment, which differ in their rate; and their text.
fn with_two_arms() -> (Desk, String) {
    let desk = Desk::new();
    let text = SMALL.replace("measure", "arm slow {}\narm quick { train.update.rate = 0.2 }\nmeasure");
    desk.write("small.meta", &text);
    (desk, text)
}

#[test]
fn a_cell_that_the_ledger_holds_is_not_run_again() {
    let (desk, text) = with_two_arms();
    let run = |more: &[&str]| desk.json(&[&["run", "small.meta", "--json"], more].concat());
    let first = run(&[]);
    assert_eq!(first["held"], 0);
    let again = run(&[]);
    assert_eq!((&again["run"], &again["held"]), (&first["run"], &4.into()), "the very run is in the ledger");
    // Another arm, another seed: what is new is run, what is not is taken; the results are those of a whole run.
    desk.write("small.meta", text.replace("arm quick", "arm slower { train.update.rate = 0.05 }\narm quick"));
    let wider = run(&[]);
    assert_eq!(wider["held"], 4);
    let whole = run(&["--again"]);
    assert_eq!((&whole["held"], &whole["result"]), (&0.into(), &wider["result"]));
    assert_ne!(whole["run"], wider["run"], "one result may have many runs");
    // The same arm under another name is the same cell.
    desk.write("small.meta", text.replace("arm quick", "arm fast"));
    assert_eq!(run(&[])["held"], 4);
    // Any other numerics are another cell.
    assert_eq!(run(&["--device", "reference", "--set", "train.steps=20"])["held"], 0);
}

#[test]
fn the_cache_can_be_kept_out() {
    let (desk, _) = with_two_arms();
    let run = |cache: &str| desk.json(&["run", "small.meta", "--json", "--cache", cache]);
    for (cache, held) in [("off", 0), ("read", 0), ("rw", 0), ("write", 0), ("read", 4), ("rw", 4), ("off", 0)] {
        assert_eq!(run(cache)["held"], held, "{cache}");
    }
}

#[test]
fn divergence_is_a_result_and_held_like_any_other() {
    let (desk, text) = with_two_arms();
    desk.write("small.meta", text.replace("rate = 0.2", "rate = 1e9"));
    let run = || desk.json(&["run", "small.meta", "--json"]);
    let first = run();
    assert_eq!(first["status"], "diverged");
    let second = run();
    assert_eq!((&second["run"], &second["held"], &second["diverged"]), (&first["run"], &4.into(), &first["diverged"]));
}

/// The run is killed at its n-th write to a file, for some n; what is left is taken up, and ends with the result of a
/// run that nothing interrupted.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_result() {
    if !can_trace() {
        return;
    }
    let wanted = with_two_arms().0.json(&["run", "small.meta", "--json"])["result"].clone();
    let (mut killed, mut resumed) = (0, 0);
    for call in ["write", "rename", "unlink", "fdatasync"] {
        for when in (1..).step_by(if call == "write" && !all_points() { 4 } else { 1 }) {
            let (desk, _) = with_two_arms();
            let output = desk.struck(call, "signal=SIGKILL", when, &["run", "small.meta", "--save-every", "3"]);
            if output.status.success() {
                break;
            }
            killed += 1;
            if desk.path("ledger/FORMAT").exists() {
                // Nothing that is not finished is listed, and nothing that is listed is damaged.
                let output = desk.run(&["verify"]);
                assert!(matches!(code(&output), 0 | 16 | 32 | 48), "{call} {when}: {}", stdout(&output));
                let output = desk.run(&["resume", "--json"]);
                if code(&output) == 0 {
                    resumed += 1;
                } else {
                    assert!(stderr(&output).contains("no unfinished run"), "{call} {when}: {}", stderr(&output));
                }
            }
            assert_eq!(desk.json(&["run", "small.meta", "--json"])["result"], wanted, "{call} {when}");
            assert!(matches!(desk.verify(), 0 | 32), "{call} {when}");
            assert_eq!(stdout(&desk.run(&["resume", "--list"])), "no run is unfinished\n", "{call} {when}");
        }
    }
    println!("runs killed: {killed}, resumed: {resumed}, results changed: 0, runs lost: 0");
    assert!(killed > 20 && resumed > 5, "{killed} {resumed}");
}

#[test]
fn two_processes_do_not_run_one_input_at_a_time() {
    let (desk, text) = with_two_arms();
    desk.write("small.meta", text.replace("steps = 20", "steps = 2000"));
    let args = ["run", "small.meta", "--json"];
    let reports: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| desk.json(&args))).collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    assert_eq!(desk.runs().len(), 1);
    assert!(reports.iter().all(|report| report["run"] == reports[0]["run"]), "a waiter becomes a hit");
    assert_eq!(reports.iter().filter(|report| report["held"] == 0).count(), 1);
}

#[test]
fn a_journal_that_says_otherwise_is_told() {
    let (desk, text) = with_two_arms();
    desk.write("small.meta", text.replace("steps = 20", "steps = 200000"));
    let mut command = desk.command(env!("CARGO_BIN_EXE_metadsl"));
    let mut child = command.args(["run", "small.meta", "--save-every", "1000000"]).spawn().expect("the binary starts");
    // Until there are rows; a run that ends before that was too short for this test.
    let rows = loop {
        let store = metadsl::ledger::Store::open(desk.path("ledger"));
        let rows = store.and_then(|store| {
            let unfinished = store.unfinished()?;
            unfinished.first().map_or(Ok(vec![]), |run| store.rows(&run.name))
        });
        if let Ok(rows) = rows
            && rows.len() > 3
        {
            break rows;
        }
        assert!(child.try_wait().expect("it can be asked").is_none(), "the run ended too early");
        std::thread::yield_now();
    };
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert!(rows.iter().all(|row| row.value().is_some()));
    // A journal whose rows are those of another run: what is measured again contradicts it.
    let store = metadsl::ledger::Store::open(desk.path("ledger")).expect("a ledger");
    let name = store.unfinished().expect("readable").remove(0).name;
    let folder = desk.path("ledger/active").join(&name);
    std::fs::remove_file(folder.join("journal")).expect("it is there");
    let (_, live) = store.take_up(&name).expect("nobody is at work on it");
    let twice = metadsl::ledger::Store::open(desk.path("ledger")).expect("a ledger").take_up(&name).map(|_| ());
    assert!(matches!(twice, Err(metadsl::ledger::LedgerError::Busy(_))), "one process at a time takes a run up");
    for row in &rows {
        live.row(metadsl::ledger::Row { bits: metadsl::hash::Bytes(vec![1; 8]), ..row.clone() });
    }
    drop(live);
    let output = desk.run(&["resume"]);
    assert_eq!(code(&output), 20, "{}", stderr(&output));
    assert!(stderr(&output).contains("came out otherwise than before"), "{}", stderr(&output));
    assert_eq!(stdout(&desk.run(&["log", "--json"])), "[]\n", "nothing was recorded");
}

/// The input and the result of a run.
fn ids(desk: &Desk, env: &[(&str, String)], args: &[&str]) -> (String, String) {
    let output = desk.run_with(env, &[&["run", "data.meta", "--json", "--again"], args].concat());
    let report: serde_json::Value =
        serde_json::from_str(stdout(&output).trim()).unwrap_or_else(|e| panic!("{e} {}", stderr(&output)));
    let id = |key: &str| report[key].as_str().expect("an id").to_owned();
    (id("input"), id("result"))
}

#[test]
fn identities_depend_on_what_is_computed_and_on_nothing_around_it() {
    const TEXT: &str = "edition 2026
experiment clients
data points = csv(\"points.csv\", features: 0..2, target: 2)
tasks clients from points { partition = iid(clients: 2); hold_out = 0.5 }
model line(x: [2]) -> [] { param w: [2] = 0; x @ w }
train {
  tasks = pool(clients, batch: 2); loss = half_squared
  adapt = sgd(w, rate: 0.01, epochs: 1, batch: 2); outer = average(weights: examples); steps = 4
}
measure size = sum(w ^ 2) every 2
sweep seed in 0..2
";
    let rows: String = (0..16).map(|i| format!("{},{},{}\n", i % 5, i % 3, i % 7)).collect();
    let desk = Desk::new();
    desk.write("data.meta", TEXT);
    desk.write("points.csv", &rows);
    let wanted = ids(&desk, &[], &[]);
    let env = |key, value: &str| vec![(key, value.to_owned())];
    for (env, args) in [
        (env("LC_ALL", "de_DE.UTF-8"), &[][..]),
        (env("LANG", "tr_TR"), &[]),
        (env("TZ", "Pacific/Chatham"), &[]),
        (env("HOME", "/nonexistent"), &[]),
        (env("RAYON_NUM_THREADS", "7"), &[]),
        (vec![], &["--threads", "1"]),
        (vec![], &["--threads", "3"]),
        (vec![], &["--save-every", "1"]),
    ] {
        assert_eq!(ids(&desk, &env, args), wanted, "{env:?} {args:?}");
    }
    // Another folder, with comments and blank lines.
    let other = Desk::new();
    other.write("data.meta", TEXT.replace("train {", "// a remark\n\ntrain {   // another"));
    other.write("points.csv", &rows);
    assert_eq!(ids(&other, &[], &[]), wanted);
    // Whatever is computed otherwise has another identity.
    let mut seen = std::collections::BTreeSet::from([wanted.clone()]);
    let changed = rows.replacen("1,1,1\n", "1,1,2\n", 1);
    assert_eq!(changed.len(), rows.len());
    desk.write("points.csv", &changed);
    assert!(seen.insert(ids(&desk, &[], &[])), "one byte of the data");
    desk.write("points.csv", &rows);
    for args in
        [&["--set", "train.steps=5"][..], &["--set", "train.adapt.rate=0.02"], &["--set", "train.precision=f64"]]
    {
        assert!(seen.insert(ids(&desk, &[], args)), "{args:?}");
    }
    desk.write("data.meta", TEXT.replace("0..2\n", "1..3\n"));
    assert!(seen.insert(ids(&desk, &[], &[])), "the seeds");
}

/// The bytes of all files of a ledger, but for what belongs to this machine alone.
fn bytes(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    let size = |path: std::path::PathBuf| match path.is_dir() {
        true if path.ends_with("active") => 0,
        true => bytes(&path),
        false => std::fs::metadata(path).expect("a file").len(),
    };
    entries.map(size).sum()
}

#[test]
fn a_run_of_ten_parameters_and_a_hundred_points_takes_six_kilobytes() {
    let desk = Desk::new();
    // What `bench/ledger` measures with.
    desk.write("bench.meta", include_str!("../bench/ledger/small.meta"));
    let run = |rate: &str| {
        desk.json(&["run", "bench.meta", "--json", "--set", &format!("train.update.rate={rate}")]);
        bytes(&desk.path("ledger"))
    };
    let sizes = ["0.1", "0.2", "0.05"].map(run);
    let each = (sizes[1] - sizes[0]).max(sizes[2] - sizes[1]);
    println!("bytes of a run of 10 parameters and 100 points, with its text, plan, digests and weights: {each}");
    assert!(each <= 6 << 10, "{each}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_is_synced_four_times_however_much_it_measures() {
    if !can_trace() {
        return;
    }
    let syncs = "fsync,fdatasync,sync_file_range";
    let (desk, text) = with_two_arms();
    // The first run makes the ledger.
    desk.run(&["run", "small.meta"]);
    for every in ["every 5", "every 1"] {
        desk.write("small.meta", text.replace("every 5", every));
        let count = desk.calls(syncs, &["run", "small.meta", "--again"]);
        println!("syncs of a run that measures {every}: {count}");
        assert_eq!(count, 4, "{every}");
    }
    assert_eq!(desk.calls(syncs, &["run", "small.meta"]), 0, "what the ledger holds costs nothing");
}
