//! The command line as a user meets it: run, replay in a new process, log, show, verify, exit codes, messages.

#[path = "common/desk.rs"]
mod desk;
#[path = "common/shipped.rs"]
mod shipped;

use std::path::Path;

use desk::{Desk, code, stderr, stdout};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A small experiment that runs in a blink.
const SMALL: &str = "edition 2026
experiment small
dim d = 4
world { truth: [d] ~ normal }
tasks linear {
  shift: [] ~ normal
  example {
    x: [d] ~ normal
    y: [] = x @ truth + 0.1 * shift
  }
}
model line(x: [d]) -> [] {
  param w: [d] = 0
  param b: [] = 0
  x @ w + b
}
train {
  tasks = fresh(linear, 3)
  split = { support: 4, query: 4 }
  loss = half_squared
  adapt = gradient(b, rate: 0.1, steps: 1)
  outer = mean
  update = sgd(rate: 0.1)
  steps = 20
}
measure gap = sum((w - truth) ^ 2) every 5
sweep seed in 0..2
expect median(gap[20] / gap[0]) <= 0.9
";

#[test]
fn run_reports_claims_measures_and_identities() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let report = desk.json(&["run", file.to_str().unwrap(), "--json"]);
    for id in ["run", "input", "result"] {
        assert_eq!(report[id].as_str().map(str::len), Some(64), "{id} in {report}");
    }
    assert_eq!(report["status"], "finished");
    let claim = &report["claims"][0];
    assert_eq!(claim["text"], "median(main.gap[20] / main.gap[0]) <= 0.9");
    assert_eq!(claim["holds"], true);
    assert!(claim["left"].as_f64().unwrap() < claim["right"].as_f64().unwrap());
    assert!(report["measures"]["main"]["gap"]["1"].is_number());
}

#[test]
fn replay_in_a_new_process_is_identical_without_the_file() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let report = desk.json(&["run", file.to_str().unwrap(), "--json"]);
    std::fs::remove_file(file).unwrap();
    let run = report["run"].as_str().unwrap();
    let output = desk.run(&["replay", &run[..8]]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("identical"));
    let verdict = desk.json(&["replay", run, "--json", "--threads", "1"]);
    assert_eq!(verdict["verdict"], "identical");
    assert_eq!(code(&desk.run(&["verify"])), 0);
}

#[test]
fn a_replay_that_differs_or_cannot_be_made_is_recorded_and_overwrites_nothing() {
    use metadsl::hash::{Bytes, Id, Kind};
    use metadsl::ledger::{Input, Manifest, ManifestFile, Outcome, Run, Series, Store, Verdict};

    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let first = desk.json(&["run", file.to_str().unwrap(), "--json"])["run"].as_str().unwrap().to_owned();
    let store = Store::open(desk.path("ledger")).unwrap();
    let run: Run = store.get(Kind::Run, first.parse().unwrap()).unwrap();
    let outcome: Outcome = store.get(Kind::Result, run.result).unwrap();
    // A record that says one unit in the last place more at its last step.
    let mut changed = outcome.clone();
    let mut series: Series = store.get(Kind::Series, changed.cells[0].series[0].id).unwrap();
    let at = series.bits.0.len() - 8;
    series.bits = Bytes([&series.bits.0[..at], &[series.bits.0[at] ^ 1], &series.bits.0[at + 1..]].concat());
    changed.cells[0].series[0].id = store.put(Kind::Series, &series).unwrap();
    let result = store.put(Kind::Result, &changed).unwrap();
    let forged = store.seal(&Run { result, ..run.clone() }).unwrap().run.to_string();
    // One on data that is nowhere.
    let input: Input = store.get(Kind::Input, run.input).unwrap();
    let lost = ManifestFile { name: "lost".into(), blob: Id::from_bytes([7; 32]), bytes: 1 };
    let manifest = store.put(Kind::Manifest, &Manifest { files: vec![lost] }).unwrap();
    let input = store.put(Kind::Input, &Input { manifest, ..input }).unwrap();
    let result = store.put(Kind::Result, &Outcome { input, ..outcome.clone() }).unwrap();
    let homeless = store.seal(&Run { input, result, ..run.clone() }).unwrap().run.to_string();

    let output = desk.run(&["replay", &forged]);
    let said = stdout(&output);
    assert_eq!(
        (code(&output), said.starts_with("diverged: series `gap` of arm `main`, seed 0, at step 20")),
        (20, true),
        "{said}"
    );
    let bits = u64::from_le_bytes(series.bits.0[at..].try_into().unwrap());
    assert!(said.contains(&format!("recorded {bits:016x}, replayed {:016x}", bits ^ 1)), "{said}");
    let output = desk.run(&["replay", &homeless]);
    assert_eq!((code(&output), stdout(&output).contains("inconclusive")), (30, true), "{}", stdout(&output));
    assert_eq!(code(&desk.run(&["replay", &first])), 0);
    // Both realisations and both comparisons are there; what was recorded is what it was.
    let store = Store::open(desk.path("ledger")).unwrap();
    let verdicts: Vec<u8> = store.verdicts().unwrap().iter().map(|(_, found)| found.verdict.exit_code()).collect();
    assert_eq!(verdicts, [20, 0]);
    let found = store.verdicts().unwrap().remove(0).1;
    assert!(matches!(found.verdict, Verdict::Diverged { .. }) && found.new == run.result);
    assert_eq!(store.get::<Outcome>(Kind::Result, run.result).unwrap(), outcome);
    assert_eq!(store.get::<Outcome>(Kind::Result, found.old).unwrap(), changed);
    assert_eq!((desk.runs().len(), desk.verify()), (3, 0));
}

#[test]
fn replay_on_another_executor_is_within_tolerance() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let report = desk.json(&["run", file.to_str().unwrap(), "--json", "--device", "reference"]);
    let run = report["run"].as_str().unwrap();
    assert_eq!(desk.json(&["replay", run, "--json"])["verdict"], "identical");
    if cfg!(feature = "dfdx") {
        let output = desk.run(&["replay", run, "--device", "dfdx", "--json"]);
        assert_eq!(code(&output), 10, "{}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn the_same_experiment_has_the_same_input_and_result_and_two_runs() {
    let desk = Desk::new();
    let plain = desk.write("small.meta", SMALL);
    let dressed = desk.write("dressed.meta", SMALL.replace("dim d = 4", "// a comment\nlet four = 4\ndim d = four"));
    let first = desk.json(&["run", plain.to_str().unwrap(), "--json"]);
    let second = desk.json(&["run", dressed.to_str().unwrap(), "--json", "--threads", "1", "--again"]);
    assert_eq!(first["input"], second["input"]);
    assert_eq!(first["result"], second["result"]);
    assert_ne!(first["run"], second["run"]);
    assert_eq!(desk.json(&["log", "--json"]).as_array().map(Vec::len), Some(2));
    let other = desk.json(&["run", plain.to_str().unwrap(), "--json", "--set", "train.update.rate=0.2"]);
    assert_ne!(first["input"], other["input"]);
}

#[test]
fn a_claim_that_fails_is_told_and_recorded() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL.replace("<= 0.9", "<= 1e-9"));
    let output = desk.run(&["run", file.to_str().unwrap()]);
    assert_eq!(code(&output), 3);
    assert!(stdout(&output).contains("FAILS  median(main.gap[20] / main.gap[0]) <= 1e-9"), "{}", stdout(&output));
    assert!(stdout(&desk.run(&["log"])).contains("0 of 1 hold"));
}

#[test]
fn divergence_is_recorded_and_counts_against_claims() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let report = desk.json(&["run", file.to_str().unwrap(), "--json", "--set", "train.update.rate=1e9"]);
    assert_eq!(report["status"], "diverged");
    assert_eq!(report["claims"][0]["holds"], false);
    let replay = desk.json(&["replay", report["run"].as_str().unwrap(), "--json"]);
    assert_eq!(replay["verdict"], "identical");
}

#[test]
fn an_experiment_with_errors_is_not_run() {
    let desk = Desk::new();
    let file = desk
        .write("broken.meta", SMALL.replace("loss = half_squared", "loss = half_sqared").replace("@ truth", "@ trut"));
    for command in ["check", "plan", "data", "run"] {
        let output = desk.run(&[command, file.to_str().unwrap()]);
        assert_eq!(code(&output), 1, "{command}");
        let text = stderr(&output);
        assert!(
            text.contains("half_squared") && text.contains("`truth`") && text.contains("2 errors"),
            "{command}: {text}"
        );
    }
    assert!(!desk.path("ledger").exists(), "nothing was written");
    let report = desk.json(&["check", file.to_str().unwrap(), "--json"]);
    assert_eq!(report["ok"], false);
    assert_eq!(report["diagnostics"].as_array().map(Vec::len), Some(2));
}

#[test]
fn overrides_are_checked_like_the_file() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let output = desk.run(&["run", file.to_str().unwrap(), "--set", "train.stepz=3"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("did you mean `steps`?"), "{}", stderr(&output));
    assert_eq!(code(&desk.run(&["run", file.to_str().unwrap(), "--set", "nonsense"])), 2);
}

#[test]
fn files_devices_and_hashes_that_are_not_there() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let output = desk.run(&["run", "absent.meta"]);
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("absent.meta"));
    let output = desk.run(&["run", file.to_str().unwrap(), "--device", "cuda"]);
    if !cfg!(feature = "cuda") {
        assert_eq!(code(&output), 4);
        assert!(
            stderr(&output).contains("--features cuda") && stderr(&output).contains("--device dfdx"),
            "{}",
            stderr(&output)
        );
    }
    desk.json(&["run", file.to_str().unwrap(), "--json"]);
    for hash in ["000000", "abc", "not-a-hash"] {
        let output = desk.run(&["replay", hash]);
        assert_eq!(code(&output), 4, "{hash}");
        assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
    }
}

#[test]
fn a_damaged_object_is_found_and_the_run_is_named() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let report = desk.json(&["run", file.to_str().unwrap(), "--json"]);
    let pack = std::fs::read_dir(desk.path("ledger/packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let output = desk.run(&["verify"]);
    assert_ne!(code(&output), 0);
    assert!(stdout(&output).contains(&report["run"].as_str().unwrap()[..12]), "{}", stdout(&output));
    assert_eq!(code(&desk.run(&["replay", &report["run"].as_str().unwrap()[..12]])), 4);
}

#[test]
fn data_is_replayed_from_the_ledger() {
    let desk = Desk::new();
    let digits = std::fs::read(Path::new(ROOT).join("experiments/data/digits.csv.gz")).unwrap();
    let digits = desk.write("data/digits.csv.gz", digits);
    let file = desk.write("fedrep/digits.meta", shipped::text("fedrep_digits"));
    let quick = ["--set", "train.steps=1", "--set", "train.tasks.batch=2", "--json"];
    let report = desk.json(&[&["run", file.to_str().unwrap()], &quick[..]].concat());
    std::fs::remove_file(digits).unwrap();
    assert_eq!(desk.json(&["replay", report["run"].as_str().unwrap(), "--json"])["verdict"], "identical");
    let output = desk.run(&["check", file.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("E0601"), "{}", stderr(&output));
}

#[test]
fn data_shows_who_holds_what() {
    let desk = Desk::new();
    let digits = std::fs::read(Path::new(ROOT).join("experiments/data/digits.csv.gz")).unwrap();
    desk.write("data/digits.csv.gz", digits);
    let file = desk.write("fedrep/digits.meta", shipped::text("fedrep_digits"));
    let uneven = "tasks.clients.partition=dirichlet(clients: 12, alpha: 0.2)";
    let args = ["data", file.to_str().unwrap(), "--set", uneven, "--set", "train.tasks.batch=2"];
    let output = desk.run(&[&args[..], &["--clients", "8"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    insta::assert_snapshot!("data_table", stdout(&output));
    insta::assert_snapshot!("data_plot", stdout(&desk.run(&[&args[..], &["--plot"]].concat())));
    let all = desk.json(&[&args[..], &["--json", "--seed", "3"]].concat());
    let clients = all[0]["clients"].as_array().unwrap();
    let held = |client: &serde_json::Value| client["train"].as_u64().unwrap() + client["held_out"].as_u64().unwrap();
    let labels = |client: &serde_json::Value| -> u64 {
        client["labels"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum()
    };
    assert_eq!((clients.len(), clients.iter().map(held).sum::<u64>()), (12, 1797));
    assert!(clients.iter().all(|client| labels(client) == held(client)), "{all}");
    let small = desk.write("small.meta", SMALL);
    assert_eq!(code(&desk.run(&["data", small.to_str().unwrap()])), 2);
}

#[test]
fn groups_of_classes_need_a_model_of_their_size() {
    let desk = Desk::new();
    let digits = std::fs::read(Path::new(ROOT).join("experiments/data/digits.csv.gz")).unwrap();
    desk.write("data/digits.csv.gz", digits);
    let file = desk.write("fedrep/digits.meta", shipped::unclaimed("fedrep_digits"));
    let groups = "tasks.clients.partition=class_groups(0..10, size: 5)";
    let settings = ["--set", groups, "--set", "train.tasks.batch=2", "--set", "train.steps=1", "--set", "seeds=1"];
    let run = |classes: &str| desk.run(&[&["run", file.to_str().unwrap(), "--set", classes], &settings[..]].concat());
    assert_eq!(code(&run("classes=5")), 0, "{}", stderr(&run("classes=5")));
    let output = run("classes=4");
    assert!(stderr(&output).contains("the data has 5 classes, but the model predicts 4"), "{}", stderr(&output));
    let held = desk.json(&[&["data", file.to_str().unwrap(), "--json"], &settings[..]].concat());
    let labels = |client: usize| held[0]["clients"][client]["labels"].as_array().unwrap().clone();
    assert!(labels(0)[5..].iter().chain(&labels(1)[..5]).all(|n| n == 0), "{held}");
}

#[test]
fn clients_are_shown_with_their_strata() {
    let desk = Desk::new();
    let digits = std::fs::read(Path::new(ROOT).join("experiments/data/digits.csv.gz")).unwrap();
    desk.write("digits.csv.gz", digits);
    let strata = "class_groups([0, 1, 4, 6, 8..10], size: 2)
  stratum easy(2) {}
  stratum hard(1) {}";
    let text = include_str!("../docs/codes/clients.meta").replace("iid(clients: 20)", strata);
    let file = desk.write("clients.meta", text.replace("batch: 5", "batch: 2").replace("classes = 10", "classes = 2"));
    let text = stdout(&desk.run(&["data", file.to_str().unwrap()]));
    assert!(text.contains("the classes 0..1, 1..2, 4..5, 6..7, 8..10 as 3 clients, 2 each"), "{text}");
    let held = desk.json(&["data", file.to_str().unwrap(), "--json"]);
    let of = |client: usize| {
        let labels = held[0]["clients"][client]["labels"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap());
        labels.zip(0..).filter(|(n, _)| *n > 0).map(|(_, label)| label).collect::<Vec<usize>>()
    };
    assert_eq!([0, 1, 2].map(of), [[0, 1], [4, 6], [8, 9]]);
    let stratum = |client: usize| held[0]["clients"][client]["stratum"].as_str().unwrap().to_owned();
    assert_eq!([0, 1, 2].map(stratum), ["easy", "easy", "hard"]);
    assert!(text.lines().any(|line| line.starts_with("client  stratum  examples")), "{text}");
}

#[test]
fn show_tells_the_whole_run() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let report = desk.json(&["run", file.to_str().unwrap(), "--json"]);
    let run = &report["run"].as_str().unwrap()[..10];
    let text = stdout(&desk.run(&["show", run, "--series"]));
    for wanted in ["experiment small", "holds  median(main.gap[20]", "main  1     gap      15", "replay it with"] {
        assert!(text.contains(wanted), "`{wanted}` in\n{text}");
    }
    let shown = desk.json(&["show", run, "--json"]);
    assert_eq!(shown["cells"][1]["series"]["gap"]["steps"], serde_json::json!([0, 5, 10, 15, 20]));
    assert!(stdout(&desk.run(&["show", run, "--plan"])).contains("experiment"));
}

#[test]
fn help_teaches() {
    let desk = Desk::new();
    let commands = "check plan data run replay log show verify report diff tag note watch import push pull gc resume";
    for command in commands.split(' ') {
        let output = desk.run(&[command, "--help"]);
        assert_eq!(code(&output), 0);
        let text = stdout(&output);
        assert!(text.contains("--json") && text.len() > 200, "{command}: {text}");
    }
    assert!(stdout(&desk.run(&["--help"])).contains("Exit codes"));
    assert_eq!(code(&desk.run(&["run"])), 2);
}

#[test]
fn plans_and_programs_of_the_shipped_experiments() {
    let desk = Desk::new();
    for name in shipped::NAMES {
        let output = desk.run(&["plan", shipped::path(name).to_str().unwrap(), "--programs"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        insta::assert_snapshot!(format!("plan_{name}"), stdout(&output));
    }
}

/// Foreign spellings are put right, what needs a guess stays and is told; a second time there is nothing to do.
#[test]
fn check_fix_writes_what_needs_no_guess() {
    let desk = Desk::new();
    let foreign = SMALL
        .replace("dim d = 4", "dim d: 4   # entries")
        .replace("steps: 1", "steps = 1")
        .replace("rate: 0.1", "rate: .1")
        .replace("steps = 20", "steps -> 20,")
        .replace("outer = mean", "outer = maen");
    let file = desk.write("foreign.meta", foreign);
    let path = file.to_str().unwrap();
    let output = desk.run(&["check", path, "--fix"]);
    assert_eq!(code(&output), 1);
    let shown = stdout(&output);
    for change in ["-dim d: 4   # entries\n", "+dim d = 4   // entries\n", "+  steps = 20\n"] {
        assert!(shown.contains(change), "{change:?} in\n{shown}");
    }
    assert!(
        stderr(&output).contains("E0207") && stderr(&output).contains("did you mean `mean`?"),
        "{}",
        stderr(&output)
    );
    let mended = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mended, SMALL.replace("dim d = 4", "dim d = 4   // entries").replace("outer = mean", "outer = maen"));
    assert_eq!(stdout(&desk.run(&["check", path, "--fix"])), "");
}

/// What `new` writes is formatted, has no mistake, and runs with its claims holding.
#[test]
fn every_template_runs_as_it_is() {
    for template in ["maml", "fedavg", "risk"] {
        let desk = Desk::new();
        assert_eq!(code(&desk.run(&["new", "first_try", "--template", template])), 0);
        for command in ["fmt --check", "check"] {
            let mut args: Vec<&str> = command.split(' ').collect();
            args.push("first_try.meta");
            let output = desk.run(&args);
            let said = stderr(&output);
            assert!(code(&output) == 0 && said.is_empty(), "{template}: {command}: {}{said}", stdout(&output));
        }
        if cfg!(debug_assertions) {
            continue; // Slow where nothing is optimised.
        }
        let report = desk.json(&["run", "first_try.meta", "--json"]);
        assert_eq!(report["status"], "finished", "{template}");
        assert!(report["claims"].as_array().unwrap().iter().all(|claim| claim["holds"] == true), "{report}");
    }
}

#[test]
fn new_overwrites_nothing_and_refuses_what_is_no_name() {
    let desk = Desk::new();
    desk.write("mine.meta", "my work");
    let output = desk.run(&["new", "mine"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("`mine.meta` is there already"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(desk.path("mine.meta")).unwrap(), "my work");
    let output = desk.run(&["new", "a/../b"]);
    assert!(code(&output) == 2 && stderr(&output).contains("names are made of"), "{}", stderr(&output));
}

/// The plan in other views: what it costs, what sets another one apart, what can be overridden.
#[test]
fn plans_are_compared_costed_and_their_parameters_listed() {
    let desk = Desk::new();
    let file = desk.write("small.meta", SMALL);
    let other = desk.write(
        "other.meta",
        SMALL.replace("rate: 0.1, steps", "rate: 0.2, steps").replace("dim d = 4", "dim d = 4 // four"),
    );
    let (path, other) = (file.to_str().unwrap(), other.to_str().unwrap());
    let cost = stdout(&desk.run(&["plan", path, "--cost"]));
    assert!(cost.contains("5 parameters, 20 B: w 4, b 1"), "{cost}");
    let step = cost.lines().find(|l| l.trim_start().starts_with("step ")).expect("the step is listed");
    assert!(step.split_whitespace().nth(1) == Some("1") && step.contains("k"), "{step}");
    let rows = desk.json(&["plan", path, "--diff", other, "--json"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    assert_eq!(rows[0]["left"], "0.1", "{rows}");
    assert!(rows[0]["path"].as_str().unwrap().starts_with("arms.main.train.adapt[0].solver"), "{rows}");
    assert!(stdout(&desk.run(&["plan", path, "--diff", path])).starts_with("the plans are the same"));
    let params = desk.json(&["plan", path, "--help-params", "--json"]);
    for row in params.as_array().unwrap() {
        // What is listed can be overridden: with its own value, nothing changes.
        let (path_of, value) = (row["path"].as_str().unwrap(), row["value"].as_str().unwrap());
        if value != "-" {
            let set = format!("{path_of}={value}");
            let same = desk.json(&["plan", path, "--set", &set, "--json"]);
            assert_eq!(same["plan"], desk.json(&["plan", path, "--json"])["plan"], "{set}");
        }
    }
    assert!(params.as_array().unwrap().len() > 15, "{params}");
}
