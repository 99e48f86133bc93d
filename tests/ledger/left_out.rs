//! Weights that a run did not keep: its record and its result stay what they are, and only what every run leaves out may be
//! missing.

use std::fs;

use metadsl::hash::{Canonical, Id, Kind, Value, cbor};
use metadsl::ir::Precision;
use metadsl::ledger::*;

use super::bundles::{EVIDENCE, forged, sections};
use super::evidence::{bundle, can_run_the_script, check, of_one_mind};
use super::fixture::{self, Fixture, Numbers};
use super::shelf::Shelf;

/// Parameters that lie in a pack, in a file of their own, and in chunks.
const LENGTHS: [usize; 3] = [2, 20_000, 700_000];

/// A run of one cell with so many parameters, all put.
fn put(store: &Store, n: u64, length: usize) -> (Run, Id) {
    let run = fixture::put_run(store, n);
    let values = fixture::noise(8 * length).chunks(8).map(|c| f64::from(c[0])).collect();
    let numbers = Numbers { seed: n, weights: vec![("w", Precision::F64, values)], ..Numbers::default() };
    let cell = fixture::put_cell(store, &numbers);
    let weights = cell.weights;
    let result = store.put(Kind::Result, &Outcome { input: run.input, cells: vec![cell], claims: vec![] }).unwrap();
    (Run { result, ..run }, weights)
}

/// A ledger with a run that left its weights out, which are not there.
fn without(length: usize) -> (Fixture, Run, Id) {
    let scratch = Fixture::empty();
    let (run, weights) = put(&scratch.store, 1, length);
    let run = Run { left_out: vec![weights], ..run };
    scratch.store.seal(&run).unwrap();
    // The test has put the weights there; a run that does not keep them never does.
    let fixture = Fixture::empty();
    copy(&scratch.fresh(), &fixture.store, &run);
    fixture.store.seal(&run).unwrap();
    assert!(!fixture.fresh().has(weights).unwrap());
    (fixture, run, weights)
}

/// Puts what a run refers to from another ledger, but for its weights.
fn copy(from: &Store, to: &Store, run: &Run) {
    let input: Input = from.get(Kind::Input, run.input).unwrap();
    to.put(Kind::Plan, &from.get::<Value>(Kind::Plan, input.plan).unwrap()).unwrap();
    to.put(Kind::Manifest, &from.get::<Manifest>(Kind::Manifest, input.manifest).unwrap()).unwrap();
    to.put(Kind::Numerics, &from.get::<metadsl::exec::Numerics>(Kind::Numerics, input.numerics).unwrap()).unwrap();
    to.put(Kind::Input, &input).unwrap();
    let outcome: Outcome = from.get(Kind::Result, run.result).unwrap();
    for cell in &outcome.cells {
        for series in &cell.series {
            to.put(Kind::Series, &from.get::<Series>(Kind::Series, series.id).unwrap()).unwrap();
        }
        to.put(Kind::Trace, &from.get::<Trace>(Kind::Trace, cell.trace).unwrap()).unwrap();
    }
    to.put(Kind::Result, &outcome).unwrap();
    to.put(Kind::Env, &from.get::<Env>(Kind::Env, run.env).unwrap()).unwrap();
    to.put(Kind::Source, &from.get::<String>(Kind::Source, run.source.unwrap()).unwrap()).unwrap();
}

#[test]
fn a_record_without_the_mark_has_the_bytes_it_had() {
    let fixture = Fixture::empty();
    let (run, weights) = put(&fixture.store, 1, 2);
    let Value::Map(map) = run.to_value() else { panic!("a map") };
    assert!(!map.contains_key("left_out"));
    let marked = Run { left_out: vec![weights], ..run.clone() };
    assert_eq!(Run::from_value(&marked.to_value()), Ok(marked.clone()));
    let id = Id::of(Kind::Run, &marked).to_string();
    assert_eq!(id, "04c00cf3a288ec2d7e9e6c4927c3ba4134c8902ee03ce551f58f6ec37b1c778c");
    // One form each: none is no list, and ids stand in their order, each once.
    let with = |ids: Vec<Id>| {
        let mut map = map.clone();
        map.insert("left_out".into(), ids.to_value());
        Run::from_value(&Value::Map(map)).map_err(|error| error.to_string())
    };
    assert!(with(vec![weights]).is_ok());
    assert_eq!(with(vec![]).unwrap_err(), "Run spells out the initial value of `left_out`");
    let (low, high) = (Id::from_bytes([1; 32]), Id::from_bytes([2; 32]));
    assert!(with(vec![low, high]).is_ok());
    for ids in [vec![high, low], vec![low, low]] {
        assert_eq!(with(ids).unwrap_err(), "left_out: ids in their order are wanted, each once");
    }
}

#[test]
fn a_ledger_is_sound_without_weights_that_its_run_left_out() {
    for length in LENGTHS {
        let (fixture, run, weights) = without(length);
        for depth in [Depth::Structure, Depth::Sample(50), Depth::Full] {
            let report = fixture.fresh().verify_to(depth);
            assert_eq!((report.problems, report.left_out, report.runs), (vec![], 1, 1), "{length}, {depth:?}");
        }
        let store = fixture.fresh();
        assert_eq!(store.get::<Run>(Kind::Run, fixture::ids(&store)[0]).unwrap(), run);
        let error = store.get::<Weights>(Kind::Weights, weights).unwrap_err();
        assert!(matches!(error, LedgerError::Missing { kind: Kind::Weights, .. }), "{error}");
    }
}

#[test]
fn weights_that_no_run_leaves_out_are_damage_when_they_are_gone() {
    let fixture = Fixture::empty();
    let (run, weights) = put(&fixture.store, 1, LENGTHS[1]);
    let keeper = fixture.store.seal(&run).unwrap().run;
    let leaver = Run { started_ms: 5, left_out: vec![weights], ..run.clone() };
    let leaver = fixture.store.seal(&leaver).unwrap().run;
    assert_eq!(fixture.fresh().verify().problems, []);
    fs::remove_file(fixture.object(weights)).unwrap();
    // What one run keeps is missing, whatever another leaves out.
    let report = fixture.fresh().verify();
    assert_eq!((report.exit_code(), report.problems.len(), report.left_out), (Fault::Missing.bit(), 1, 0));
    assert!(report.problems[0].runs.contains(&keeper), "{report:?}");
    // With the keeper gone, nobody needs them.
    let store = fixture.fresh();
    store.bury(keeper).unwrap();
    store.gc(true, true).unwrap();
    let report = fixture.fresh().verify();
    assert_eq!((report.problems, report.left_out), (vec![], 1));
    assert_eq!(fixture::ids(&fixture.fresh()), [leaver]);
    // They are what is missing, and not the pack of the keeper, which was collected.
    let error = fixture.fresh().get::<Weights>(Kind::Weights, weights).unwrap_err();
    assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
}

#[test]
fn garbage_is_what_every_run_that_stays_leaves_out() {
    let fixture = Fixture::empty();
    let (run, weights) = put(&fixture.store, 1, LENGTHS[2]);
    let keeper = fixture.store.seal(&run).unwrap().run;
    fixture.store.seal(&Run { started_ms: 5, left_out: vec![weights], ..run.clone() }).unwrap();
    let store = fixture.fresh();
    assert_eq!(store.gc(false, false).unwrap().files, Vec::<std::path::PathBuf>::new());
    store.bury(keeper).unwrap();
    let garbage = store.gc(true, true).unwrap();
    assert!(garbage.files.iter().filter(|file| file.starts_with("objects")).count() > 2, "{garbage:?}");
    assert!(!fixture.fresh().has(weights).unwrap());
    assert_eq!(fixture.fresh().verify().problems, []);
}

#[test]
fn only_weights_of_its_own_result_are_left_out() {
    let fixture = Fixture::empty();
    let (run, _) = put(&fixture.store, 1, 2);
    let (_, other) = put(&fixture.store, 2, 3);
    let wrong = Run { left_out: vec![other], ..run.clone() };
    let error = fixture.store.seal(&wrong).unwrap_err();
    assert!(matches!(error, LedgerError::NotItsWeights { left_out, .. } if left_out == other), "{error}");
    let trace = fixture.store.get::<Outcome>(Kind::Result, run.result).unwrap().cells[0].trace;
    assert!(fixture.store.seal(&Run { left_out: vec![trace], ..run.clone() }).is_err(), "a trace is always kept");
    // Who forges such a record is found out; it excuses nothing.
    let fixture = Fixture::empty();
    let (run, _) = put(&fixture.store, 1, 2);
    let sealed = fixture.store.seal(&run).unwrap().run;
    let wrong = Run { left_out: vec![other], ..run };
    let sound = bundle(&fixture, &[sealed]);
    let (old, new) =
        (cbor::encode(&fixture.fresh().get::<Run>(Kind::Run, sealed).unwrap().to_value()), wrong.to_value());
    let new = cbor::encode(&new);
    let swapped =
        sections(&sound).into_iter().map(|(code, payload)| (code, if payload == old { &new[..] } else { payload }));
    let error = check(&forged(&swapped.collect::<Vec<_>>())).unwrap_err();
    assert!(error.contains("is no weights of its result"), "{error}");
}

#[test]
fn bundles_hold_what_their_runs_keep() {
    for length in LENGTHS {
        let (fixture, run, weights) = without(length);
        let id = fixture::ids(&fixture.fresh())[0];
        let sound = bundle(&fixture, &[id]);
        assert_eq!(check(&sound).unwrap().runs, [id]);
        // The same record without the mark is not whole.
        let plain = cbor::encode(&Run { left_out: vec![], ..run.clone() }.to_value());
        let marked = cbor::encode(&run.to_value());
        let parts = sections(&sound)
            .into_iter()
            .map(|(code, payload)| (code, if payload == marked { &plain[..] } else { payload }));
        let parts: Vec<(u8, &[u8])> = parts.filter(|(code, _)| *code != EVIDENCE).collect();
        let error = check(&forged(&parts)).unwrap_err();
        assert!(error.contains("the weights") && error.contains(&weights.short()), "{error}");
    }
    // Beside one that keeps them they are there.
    let fixture = Fixture::empty();
    let (run, weights) = put(&fixture.store, 1, LENGTHS[1]);
    let leaver = fixture.store.seal(&Run { started_ms: 5, left_out: vec![weights], ..run.clone() }).unwrap().run;
    let keeper = fixture.store.seal(&run).unwrap().run;
    let (alone, both) = (bundle(&fixture, &[leaver]), bundle(&fixture, &[leaver, keeper]));
    let holds = |bytes: &[u8]| sections(bytes).iter().any(|(code, _)| *code == Kind::Weights.code());
    assert_eq!((holds(&alone), holds(&both)), (false, true));
    assert!(check(&alone).is_ok() && check(&both).is_ok());
    let cut: Vec<(u8, &[u8])> = sections(&both).into_iter().filter(|(code, _)| *code != Kind::Weights.code()).collect();
    assert!(check(&forged(&cut)).unwrap_err().contains("the weights"));
}

#[test]
fn the_script_agrees_on_what_may_be_left_out() {
    if !can_run_the_script() {
        return;
    }
    let (alone, run, weights) = without(2);
    let sound = bundle(&alone, &[fixture::ids(&alone.fresh())[0]]);
    let fixture = Fixture::empty();
    let (kept, _) = put(&fixture.store, 1, 2);
    let keeper = fixture.store.seal(&kept).unwrap().run;
    let leaver = fixture.store.seal(&Run { started_ms: 5, left_out: vec![weights], ..kept.clone() }).unwrap().run;
    let both = bundle(&fixture, &[keeper, leaver]);
    let marked = cbor::encode(&run.to_value());
    let with = |ids: Value| {
        let Value::Map(mut map) = run.to_value() else { panic!("a map") };
        map.insert("left_out".into(), ids);
        cbor::encode(&Value::Map(map))
    };
    let mut doubted = vec![(sound.clone(), true), (both.clone(), true), (bundle(&fixture, &[leaver]), true)];
    let without_weights = sections(&both).into_iter().filter(|(code, _)| *code != Kind::Weights.code());
    doubted.push((forged(&without_weights.collect::<Vec<_>>()), false));
    let stranger = Id::from_bytes([255; 32]);
    for ids in [vec![], vec![weights, weights], vec![weights, stranger], vec![stranger]] {
        let wrong = with(ids.to_value());
        let parts = sections(&sound).into_iter();
        let parts = parts.map(|(code, payload)| (code, if payload == marked { &wrong[..] } else { payload }));
        doubted.push((forged(&parts.collect::<Vec<_>>()), false));
    }
    for (number, (bytes, fine)) in doubted.iter().enumerate() {
        of_one_mind(bytes, &format!("bundle {number}"));
        assert_eq!(check(bytes).is_ok(), *fine, "bundle {number}: {:?}", check(bytes));
    }
}

#[test]
fn remotes_take_and_give_runs_without_what_they_left_out() {
    for length in LENGTHS {
        let (source, run, weights) = without(length);
        let shelf = Shelf::default();
        let moved = source.fresh().push(&shelf, None).unwrap();
        assert!(moved.iter().all(|stream| stream.problem.is_none()), "{moved:?}");
        let target = Fixture::empty();
        let store = Store::open(target.root()).unwrap().with_stream("other").unwrap();
        let moved = store.pull(&shelf).unwrap();
        assert!(moved.iter().all(|stream| stream.problem.is_none()), "{moved:?}");
        let report = target.fresh().verify();
        assert_eq!((report.problems, report.left_out, report.runs), (vec![], 1, 1));
        assert!(!target.fresh().has(weights).unwrap());
        assert_eq!(target.fresh().get::<Run>(Kind::Run, fixture::ids(&store)[0]).unwrap(), run);
    }
    // What a run keeps is not taken over without it.
    let source = Fixture::empty();
    let (run, weights) = put(&source.store, 1, LENGTHS[1]);
    source.store.seal(&run).unwrap();
    let shelf = Shelf::default();
    source.fresh().push(&shelf, None).unwrap();
    let hex = weights.to_string();
    shelf.files.borrow_mut().remove(&format!("objects/{}/{}", &hex[..2], &hex[2..])).unwrap();
    let target = Fixture::empty();
    let moved = Store::open(target.root()).unwrap().with_stream("other").unwrap().pull(&shelf).unwrap();
    assert!(moved[0].problem.as_ref().unwrap().contains("the weights that a result needs is missing"), "{moved:?}");
}

#[test]
fn a_replay_without_the_recorded_weights_compares_their_ids() {
    let (fixture, run, weights) = without(2);
    let store = &fixture.store;
    let old: Outcome = store.get(Kind::Result, run.result).unwrap();
    let policy = Tolerance { absolute: 1e-9, relative: 1e-3 };
    assert_eq!(compare(store, &old, &old, &[weights], &policy), Verdict::Identical);
    let mut new = old.clone();
    new.cells[0].weights = Id::from_bytes([9; 32]);
    let verdict = compare(store, &old, &new, &[weights, new.cells[0].weights], &policy);
    let words = format!(
        "diverged: the final parameters, of which the record kept the id alone, of arm `maml`, seed 1: recorded {weights}, \
         replayed {}",
        new.cells[0].weights
    );
    assert_eq!((verdict.exit_code(), verdict.to_string()), (20, words));
    // Without the mark they are missing, which is no proof of anything.
    let verdict = compare(store, &old, &new, &[], &policy);
    assert!(matches!(verdict, Verdict::Inconclusive { .. }), "{verdict}");
    // Under other numerics ids tell nothing.
    new.input = fixture::put_input(store, "maml_anil", 77);
    let verdict = compare(store, &old, &new, &[weights, new.cells[0].weights], &policy);
    assert_eq!(verdict.exit_code(), 30, "{verdict}");
    assert!(verdict.to_string().ends_with("cannot be compared; all else is within tolerance"), "{verdict}");
    // The verdict is recorded without weights of either result.
    let new_id = store.put(Kind::Result, &new).unwrap();
    let mut left_out = vec![weights, new.cells[0].weights];
    left_out.sort();
    store.put_verdict(&Comparison { old: run.result, new: new_id, verdict, left_out }).unwrap();
    assert_eq!(fixture.fresh().verify().problems, []);
}
