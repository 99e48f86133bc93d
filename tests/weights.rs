//! `--keep-weights`: what a run does not keep is no part of the ledger, and of everything that it proves.

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, SMALL, code, stderr, stdout};
use metadsl::hash::{Id, Kind};
use metadsl::ledger::{Outcome, Run, Store};

/// The final weights of a run's cells, and those that it says it left out.
fn weights(desk: &Desk, run: &str) -> (Vec<Id>, Vec<Id>) {
    let store = Store::open(desk.path("ledger")).expect("a ledger");
    let run: Run = store.get(Kind::Run, run.parse().expect("an id")).expect("a run");
    let outcome: Outcome = store.get(Kind::Result, run.result).expect("a result");
    (outcome.cells.iter().map(|cell| cell.weights).collect(), run.left_out)
}

fn holds(desk: &Desk, id: Id) -> bool {
    Store::open(desk.path("ledger")).expect("a ledger").has(id).expect("it can be read")
}

/// Runs `small.meta` with more options; gives the report.
fn run(desk: &Desk, options: &[&str]) -> serde_json::Value {
    desk.json(&[&["run", "small.meta", "--json"], options].concat())
}

fn id(report: &serde_json::Value) -> &str {
    report["run"].as_str().expect("a run")
}

fn small() -> Desk {
    let desk = Desk::new();
    desk.write("small.meta", SMALL);
    desk
}

#[test]
fn a_run_without_its_weights_has_the_same_result_and_replays() {
    let (plain, desk) = (small(), small());
    let (whole, report) = (run(&plain, &[]), run(&desk, &["--keep-weights", "none"]));
    assert_eq!((&whole["result"], &whole["input"]), (&report["result"], &report["input"]));
    assert_eq!((&whole["weights_left_out"], &report["weights_left_out"]), (&0.into(), &2.into()));
    let (made, left_out) = weights(&desk, id(&report));
    assert_eq!((made.len(), left_out.len()), (2, 2));
    assert!(made.iter().all(|id| left_out.contains(id) && !holds(&desk, *id)));
    assert!(made.iter().all(|id| holds(&plain, *id)));
    // Everything that needs no weights works as it does with them.
    let output = desk.run(&["verify"]);
    let said = stdout(&output);
    assert_eq!((code(&output), said.contains("not here: 2 weights objects")), (0, true), "{said}");
    assert_eq!(desk.json(&["verify", "--json"])["left_out"], 2);
    let shown = stdout(&desk.run(&["show", id(&report)]));
    assert!(shown.contains("left out   the final parameters of 2 of 2 cells were not kept"), "{shown}");
    assert_eq!(desk.json(&["show", id(&report), "--json"])["left_out"].as_array().map(Vec::len), Some(2));
    for args in [&["replay", id(&report)][..], &["replay", id(&report), "--threads", "1"]] {
        let output = desk.run(args);
        assert_eq!((code(&output), stdout(&output).starts_with("identical")), (0, true), "{}", stderr(&output));
    }
    assert!(made.iter().all(|id| !holds(&desk, *id)), "a replay brings no weights in");
    for args in [&["report", id(&report), "-o", "page.html"][..], &["export", id(&report)], &["gc"], &["log"]] {
        assert_eq!(code(&desk.run(args)), 0, "{args:?}");
    }
    assert_eq!(desk.verify(), 0);
    let output = desk.run(&["bundle", id(&report), "-o", "a.bundle"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(code(&desk.run(&["verify", "a.bundle"])), 0);
}

#[test]
fn parameters_that_were_not_kept_are_not_exported_and_the_way_to_them_is_told() {
    let desk = small();
    let report = run(&desk, &["--keep-weights", "none"]);
    let export = |run: &str| desk.run(&["export", run, "--seed", "1", "--model", "out"]);
    let output = export(id(&report));
    let said = stderr(&output);
    assert_eq!(code(&output), 2, "{said}");
    assert!(said.contains("did not keep the final parameters of arm `main` under seed 1"), "{said}");
    assert!(said.contains("`metadsl run FILE --keep-weights all`"), "{said}");
    // For figures the record is as good as any other; whoever wants the parameters says so.
    let again = run(&desk, &[]);
    assert_eq!((&again["held"], &again["run"]), (&2.into(), &report["run"]));
    let whole = run(&desk, &["--keep-weights", "all"]);
    assert_eq!((&whole["held"], &whole["weights_left_out"]), (&0.into(), &0.into()));
    assert_eq!(whole["result"], report["result"]);
    assert_eq!(code(&export(id(&whole))), 0);
    // They are there now, whichever run one names, and a later run that wants them is a hit.
    assert_eq!(code(&export(id(&report))), 0);
    assert_eq!(run(&desk, &["--keep-weights", "all"])["run"], whole["run"]);
    assert_eq!(desk.verify(), 0);
}

#[test]
fn cells_of_other_runs_are_taken_without_their_weights() {
    let of_seeds = |desk: &Desk, count: usize, options: &[&str]| {
        desk.write("small.meta", SMALL.replace("0..2", &format!("0..{count}")));
        run(desk, options)
    };
    let desk = Desk::new();
    of_seeds(&desk, 1, &["--keep-weights", "none"]);
    // Of three cells one is held and lacks its weights; the others keep theirs.
    let more = of_seeds(&desk, 3, &[]);
    assert_eq!((&more["held"], &more["weights_left_out"]), (&1.into(), &1.into()), "{more}");
    let (made, left_out) = weights(&desk, id(&more));
    assert_eq!(made.iter().filter(|id| holds(&desk, **id)).count(), 2);
    assert!(left_out.len() == 1 && made.contains(&left_out[0]));
    assert_eq!(of_seeds(&Desk::new(), 3, &[])["result"], more["result"]);
    let whole = run(&desk, &["--keep-weights", "all"]);
    assert_eq!((&whole["held"], &whole["weights_left_out"]), (&2.into(), &0.into()), "{whole}");
    assert_eq!(desk.verify(), 0);
    // In a ledger from which runs were taken it is the same.
    run(&desk, &["--set", "train.steps=10"]);
    let gone = run(&desk, &["--keep-weights", "none", "--set", "train.steps=15"]);
    let buried = run(&desk, &["--set", "train.steps=5"]);
    assert_eq!(code(&desk.run(&["gc", "--bury", id(&buried), "--apply"])), 0);
    let longer = run(&desk, &["--set", "train.steps=15"]);
    assert_eq!((&longer["run"], &longer["held"]), (&gone["run"], &3.into()));
    let wider = of_seeds(&desk, 4, &["--set", "train.steps=15"]);
    assert_eq!((&wider["held"], &wider["weights_left_out"]), (&3.into(), &3.into()));
    let output = desk.run(&["export", id(&gone), "--seed", "1", "--model", "out"]);
    assert!(stderr(&output).contains("did not keep the final parameters"), "{}", stderr(&output));
    of_seeds(&desk, 3, &[]);
    // What is there may be left out, too: that run does not need it, and those that keep it do.
    let without = run(&desk, &["--keep-weights", "none", "--again"]);
    assert_eq!(without["weights_left_out"], 3);
    assert_eq!((weights(&desk, id(&without)).1.len(), desk.verify()), (3, 0));
}

#[test]
fn a_limit_keeps_what_is_small() {
    let desk = Desk::new();
    // 4 parameters of 4 bytes each in one arm, and 40 in the other.
    desk.write("small.meta", format!("{SMALL}arm wide {{ d = 40 }}\n").replace("measure", "arm narrow { }\nmeasure"));
    let report = run(&desk, &["--keep-weights", "100"]);
    assert_eq!(report["weights_left_out"], 2, "{report}");
    let (made, left_out) = weights(&desk, id(&report));
    assert_eq!((made.len(), left_out.len()), (4, 2));
    assert!(made.iter().all(|id| left_out.contains(id) != holds(&desk, *id)));
    assert_eq!(run(&desk, &["--keep-weights", "160B", "--again"])["weights_left_out"], 0);
    for wrong in ["some", "0", "1XB"] {
        let output = desk.run(&["run", "small.meta", "--keep-weights", wrong]);
        let wanted = "`all`, `none` or a number of bytes is wanted, such as 1MB";
        assert_eq!((code(&output), stderr(&output).contains(wanted)), (2, true), "{wrong}: {}", stderr(&output));
    }
}

#[test]
fn a_replay_on_another_executor_says_what_it_cannot_compare() {
    let desk = small();
    let report = run(&desk, &["--keep-weights", "none"]);
    let output = desk.run(&["replay", id(&report), "--device", "reference"]);
    let said = stdout(&output);
    assert_eq!(code(&output), 30, "{said}");
    assert!(said.contains("of which the record kept the id alone, of arm `main`, seed 0 cannot be compared"), "{said}");
    let (made, _) = weights(&desk, id(&report));
    assert!(made.iter().all(|id| !holds(&desk, *id)));
    assert_eq!(desk.verify(), 0);
}

#[test]
fn an_interrupted_run_goes_on_as_it_was_begun() {
    if !desk::can_trace() {
        return;
    }
    let interrupted = |options: &[&str]| {
        let args = [&["run", "small.meta", "--threads", "1", "--save-every", "5"], options].concat();
        let desks = (1..60).map(|when| {
            let desk = small();
            desk.struck("rename", "signal=SIGKILL", when, &args);
            desk
        });
        let unfinished = |desk: &Desk| stdout(&desk.run(&["resume", "--list"])).contains("interrupted");
        desks.into_iter().find(unfinished).expect("a run that can be resumed")
    };
    for (begun, resumed, wanted) in [
        (&["--keep-weights", "none"][..], &["resume", "--json"][..], 2),
        (&["--keep-weights", "none"], &["run", "small.meta", "--json"], 2),
        (&["--keep-weights", "none"], &["resume", "--json", "--keep-weights", "all"], 0),
        (&[], &["resume", "--json", "--keep-weights", "none"], 2),
        (&[], &["resume", "--json"], 0),
    ] {
        let desk = interrupted(begun);
        let report = desk.json(resumed);
        assert_eq!(report["weights_left_out"], wanted, "{begun:?}, {resumed:?}");
        assert_eq!(desk.verify() & !desk::HARMLESS, 0);
    }
    let desk = small();
    assert_eq!(code(&desk.run(&["resume", "--list", "--keep-weights", "none"])), 2);
}
