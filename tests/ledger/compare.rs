//! Verdicts: the first difference is found and named, and nothing passes for equal that is not.

use metadsl::hash::{Canonical, Id, Kind};
use metadsl::ir::Precision;
use metadsl::ledger::*;

use super::fixture::{Fixture, Numbers, put_cell, put_input};

const POLICY: Tolerance = Tolerance { absolute: 1e-9, relative: 1e-3 };

struct Pair {
    fixture: Fixture,
    claims: [Vec<ClaimVerdict>; 2],
    epochs: [u32; 2],
}

impl Pair {
    fn new() -> Pair {
        let claim = ClaimVerdict { holds: true, left: 0.25, right: f64::NAN };
        Pair { fixture: Fixture::empty(), claims: [vec![claim.clone()], vec![claim]], epochs: [1, 1] }
    }

    fn under_other_numerics() -> Pair {
        Pair { epochs: [1, 2], ..Pair::new() }
    }

    fn outcome(&self, side: usize, cells: &[Numbers]) -> Outcome {
        let store = &self.fixture.store;
        let input = put_input(store, "maml_anil", self.epochs[side]);
        Outcome { input, cells: cells.iter().map(|c| put_cell(store, c)).collect(), claims: self.claims[side].clone() }
    }

    fn compare(&self, old: &[Numbers], new: &[Numbers]) -> Verdict {
        let verdict = compare(&self.fixture.store, &self.outcome(0, old), &self.outcome(1, new), &[], &POLICY);
        assert_eq!(Verdict::from_value(&verdict.to_value()).map(|v| v.to_string()), Ok(verdict.to_string()));
        verdict
    }
}

fn with(change: impl FnOnce(&mut Numbers)) -> Numbers {
    let mut numbers = Numbers::default();
    change(&mut numbers);
    numbers
}

/// The place of a divergence in words, with both sides.
fn diverged(verdict: Verdict) -> String {
    assert_eq!(verdict.exit_code(), 20, "{verdict}");
    verdict.to_string().strip_prefix("diverged: ").unwrap().to_owned()
}

#[test]
fn the_same_bits_are_identical() {
    let verdict = Pair::new().compare(&[Numbers::default()], &[Numbers::default()]);
    assert_eq!((verdict.exit_code(), verdict), (0, Verdict::Identical));
}

#[test]
fn one_bit_is_found_and_named() {
    let pair = Pair::new();
    let changed = with(|n| n.series[0].1[1].1 = f64::from_bits(0.5f64.to_bits() + 1));
    let verdict = pair.compare(&[Numbers::default()], &[changed]);
    let what = What::Series { measure: "angle".into() };
    let place = Place { arm: Some("maml".into()), seed: Some(0), what, step: Some(10) };
    let (left_bits, right_bits) = ("3fe0000000000000".to_owned(), "3fe0000000000001".to_owned());
    assert_eq!(verdict, Verdict::Diverged { place, left_bits, right_bits });
}

#[test]
fn the_sign_of_zero_and_the_payload_of_nan_count() {
    let pair = Pair::new();
    let at = |x: f64| with(|n| n.series[0].1[2].1 = x);
    let quiet = f64::from_bits(0x7ff8_0000_0000_0000);
    let payload = f64::from_bits(0x7ff8_0000_0000_0001);
    let words = diverged(pair.compare(&[at(0.0)], &[at(-0.0)]));
    assert_eq!(
        words,
        "series `angle` of arm `maml`, seed 0, at step 20: recorded 0000000000000000, replayed 8000000000000000"
    );
    assert!(diverged(pair.compare(&[at(quiet)], &[at(payload)])).contains("replayed 7ff8000000000001"));
    assert_eq!(pair.compare(&[at(payload)], &[at(payload)]), Verdict::Identical);
}

#[test]
fn the_first_step_comes_before_the_first_cell() {
    let pair = Pair::new();
    let cells = |first: f64, second: f64| {
        let late = with(|n| n.series[0].1[2].1 = first);
        let early = with(|n| (n.arm, n.series[0].1[1].1) = ("anil", second));
        [late, early]
    };
    let words = diverged(pair.compare(&cells(1.0, 1.0), &cells(2.0, 2.0)));
    assert!(words.starts_with("series `angle` of arm `anil`, seed 0, at step 10"), "{words}");
    let words = diverged(pair.compare(&cells(1.0, 1.0), &cells(2.0, 1.0)));
    assert!(words.starts_with("series `angle` of arm `maml`, seed 0, at step 20"), "{words}");
}

#[test]
fn a_state_that_differs_before_any_measure_does_is_named() {
    let changed = with(|n| (n.trace[1].1, n.series[0].1[2].1) = (9, 7.0));
    let words = diverged(Pair::new().compare(&[Numbers::default()], &[changed]));
    assert!(words.starts_with("the training state of arm `maml`, seed 0, at step 10: recorded 0202"), "{words}");
}

#[test]
fn other_weights_under_the_same_metrics_diverge() {
    let pair = Pair::new();
    let changed = with(|n| n.weights[0].2[1] = 3.0);
    let words = diverged(pair.compare(&[Numbers::default()], &[changed]));
    assert!(words.starts_with("element 1 of the parameter `w` of arm `maml`, seed 0: recorded c000"), "{words}");
    let renamed = with(|n| n.weights[0].0 = "v");
    assert!(
        diverged(pair.compare(&[Numbers::default()], &[renamed]))
            .contains("recorded `w` [2] f64, replayed `v` [2] f64")
    );
    let narrow = with(|n| n.weights[0].1 = Precision::F32);
    assert!(diverged(pair.compare(&[Numbers::default()], &[narrow])).contains("replayed `w` [2] f32"));
    let more = with(|n| n.weights.push(("b", Precision::F64, vec![])));
    assert!(diverged(pair.compare(&[Numbers::default()], &[more])).contains("recorded absent"));
}

#[test]
fn points_that_only_one_side_has_are_differences() {
    let pair = Pair::new();
    let shorter = with(|n| n.series[0].1.truncate(2));
    let words = diverged(pair.compare(&[Numbers::default()], &[shorter]));
    assert!(words.ends_with("at step 20: recorded 3fd0000000000000, replayed absent"), "{words}");
    let denser = with(|n| n.series[0].1.insert(1, (5, 0.7)));
    let words = diverged(pair.compare(&[Numbers::default()], &[denser]));
    assert!(words.contains("at step 5: recorded absent"), "{words}");
    let renamed = with(|n| n.series[0].0 = "loss");
    let words = diverged(pair.compare(&[Numbers::default()], &[renamed]));
    assert!(words.starts_with("series `angle`") && words.ends_with("replayed absent"), "{words}");
}

#[test]
fn the_end_of_a_cell_counts() {
    let died = with(|n| n.status = Status::Diverged { step: 15 });
    let words = diverged(Pair::new().compare(&[Numbers::default()], &[died]));
    assert!(words.starts_with("the end of arm `maml`, seed 0, at step 15: recorded Finished"), "{words}");
}

#[test]
fn claims_count_and_have_one_nan() {
    let mut pair = Pair::new();
    pair.claims[1][0].right = f64::from_bits(0xfff8_0000_0000_0007);
    assert_eq!(pair.compare(&[Numbers::default()], &[Numbers::default()]), Verdict::Identical);
    pair.claims[1][0].left = 0.5;
    assert!(diverged(pair.compare(&[Numbers::default()], &[Numbers::default()])).starts_with("claim 1: recorded 3fd0"));
    pair.claims[1][0].holds = false;
    let words = diverged(pair.compare(&[Numbers::default()], &[Numbers::default()]));
    assert_eq!(words, "claim 1: recorded holds, replayed fails");
    pair.claims[1].clear();
    let words = diverged(pair.compare(&[Numbers::default()], &[Numbers::default()]));
    assert_eq!(words, "claim 1: recorded holds, replayed absent");
}

#[test]
fn tolerance_is_for_other_numerics_only() {
    let near = || with(|n| (n.series[0].1[1].1, n.trace[2].1) = (0.5001, 8));
    assert_eq!(Pair::new().compare(&[Numbers::default()], &[near()]).exit_code(), 20);
    let verdict = Pair::under_other_numerics().compare(&[Numbers::default()], &[near()]);
    let Verdict::WithinTolerance { policy, worst_relative, place: Some(place) } = &verdict else { panic!("{verdict}") };
    assert_eq!((*policy, place.step, verdict.exit_code()), (POLICY, Some(10), 10));
    assert!((worst_relative - 0.0001 / 0.5001).abs() < 1e-12);
    assert!(verdict.to_string().contains("in series `angle` of arm `maml`, seed 0, at step 10"), "{verdict}");

    let pair = Pair::under_other_numerics();
    assert_eq!(pair.compare(&[Numbers::default()], &[Numbers::default()]), Verdict::Identical);
    let far = with(|n| n.series[0].1[1].1 = 0.51);
    assert!(diverged(pair.compare(&[Numbers::default()], &[far])).contains("at step 10"));
    let far = with(|n| n.weights[0].2[0] = 1.1);
    assert!(diverged(pair.compare(&[Numbers::default()], &[far])).starts_with("element 0 of the parameter `w`"));
    let narrow = with(|n| n.weights[0].1 = Precision::F32);
    let verdict = pair.compare(&[Numbers::default()], &[narrow]);
    assert!(matches!(verdict, Verdict::WithinTolerance { worst_relative: 0.0, place: None, .. }), "{verdict}");
    let lost = with(|n| n.series[0].1[2].1 = f64::NAN);
    assert!(diverged(pair.compare(&[Numbers::default()], &[lost])).contains("at step 20"));
}

#[test]
fn tolerance_treats_what_is_not_finite_strictly() {
    let inf = f64::INFINITY;
    for (a, b, allowed) in [
        (1.0, 1.001, true),
        (1.0, 1.0011, false),
        (0.0, 1e-9, true),
        (0.0, -2e-9, false),
        (0.0, -0.0, true),
        (f64::NAN, f64::NAN, true),
        (f64::NAN, 0.0, false),
        (inf, inf, true),
        (inf, -inf, false),
        (inf, 1e300, false),
    ] {
        assert_eq!(POLICY.allows(a, b), allowed, "{a} {b}");
        assert_eq!(POLICY.allows(b, a), allowed, "{b} {a}");
    }
}

#[test]
fn other_plans_are_not_comparable() {
    let pair = Pair::new();
    let old = pair.outcome(0, &[Numbers::default()]);
    let other = put_input(&pair.fixture.store, "another", 1);
    let verdict = compare(&pair.fixture.store, &old, &Outcome { input: other, ..old.clone() }, &[], &POLICY);
    assert!(verdict.to_string().starts_with("not comparable: the plans are"), "{verdict}");
    assert_eq!(verdict.exit_code(), 40);
    let input: Input = pair.fixture.store.get(Kind::Input, old.input).unwrap();
    let manifest = pair.fixture.store.put(Kind::Manifest, &Manifest { files: vec![] }).unwrap();
    let other = pair.fixture.store.put(Kind::Input, &Input { manifest, ..input }).unwrap();
    let verdict = compare(&pair.fixture.store, &old, &Outcome { input: other, ..old.clone() }, &[], &POLICY);
    assert!(verdict.to_string().starts_with("not comparable: the data"), "{verdict}");
}

#[test]
fn what_cannot_be_seen_is_inconclusive() {
    let pair = Pair::new();
    let second = with(|n| n.seed = 1);
    let verdict = pair.compare(&[Numbers::default(), second.clone()], &[Numbers::default()]);
    assert_eq!(verdict.exit_code(), 30);
    assert!(verdict.to_string().contains("the replay lacks arm `maml` under seed 1"), "{verdict}");
    let verdict = pair.compare(&[Numbers::default()], &[Numbers::default(), second]);
    assert!(verdict.to_string().contains("the record lacks"), "{verdict}");

    let changed = with(|n| n.series[0].1[1].1 = 7.0);
    let (mut old, new) = (pair.outcome(0, &[Numbers::default()]), pair.outcome(1, &[changed]));
    old.cells[0].series[0].id = Id::from_bytes([4; 32]);
    let verdict = compare(&pair.fixture.store, &old, &new, &[], &POLICY);
    assert!(matches!(&verdict, Verdict::Inconclusive { reason } if reason.contains("missing")), "{verdict}");
    let lost = Outcome { input: Id::from_bytes([3; 32]), ..old.clone() };
    assert_eq!(compare(&pair.fixture.store, &old, &lost, &[], &POLICY).exit_code(), 30);
}
