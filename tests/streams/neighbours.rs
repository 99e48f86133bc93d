//! Arms of one seed see the same draws, and nothing that stands beside an arm changes its numbers.

use metadsl::train::Cell;

use crate::compile::compile;
use crate::shipped;
use crate::short::{arm, bits, cell, overrides, plan, text};

/// The cell of an arm in a changed experiment.
fn changed(name: &str, arm: &str, change: impl Fn(String) -> String) -> Cell {
    cell(&compile(&change(text(name)), &overrides(name)), arm, 1)
}

/// Fails unless all that `before` holds stands in `after` as it was, bit by bit; `after` may hold more.
fn assert_kept(before: &Cell, after: &Cell) {
    for series in &before.series {
        let kept = after.series.iter().find(|s| s.measure == series.measure).expect("the measure is still taken");
        assert_eq!(series.steps, kept.steps);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&series.values), bits(&kept.values), "{}", series.measure);
    }
    for entry in &before.trace {
        assert!(after.trace.contains(entry), "the parameters after step {} are others", entry.0);
    }
    assert_eq!(before.weights, after.weights);
}

/// A measure of every experiment, and the arms that measure it in the same way.
const STARTS: [(&str, &str, &[&str]); 4] = [
    ("maml_anil", "angle", &["anil", "maml", "fo_anil", "fo_maml", "erm"]),
    ("maml_sine", "mse0", &["maml", "fomaml", "anil"]),
    ("tr_maml", "mean_mse", &["tr_maml", "maml"]),
    ("fedrep_digits", "accuracy", &["fedrep", "fedavg", "local"]),
];

#[test]
fn all_arms_start_from_the_same_tasks_and_parameters() {
    for (name, measure, arms) in STARTS {
        let plan = plan(name, &["train.steps = 0"]);
        let start = |arm: &str, seed: u64| {
            let cell = cell(&plan, arm, seed);
            let series = cell.series.iter().find(|s| s.measure == measure).expect("a measure");
            (series.at(0).to_bits(), cell.trace[0].1)
        };
        let (measured, digest) = start(arms[0], 1);
        for other in &arms[1..] {
            let found = start(other, 1);
            assert_eq!(found.0, measured, "{name}: `{other}` measures other tasks");
            // Parameters that tasks keep are traced for each of them, so only arms that keep the same compare.
            let comparable = arm(&plan, other).train.keep == arm(&plan, arms[0]).train.keep;
            assert!(!comparable || found.1 == digest, "{name}: `{other}` starts elsewhere");
        }
        assert_ne!(start(arms[0], 2).0, measured, "{name}: another seed is another world");
    }
}

#[test]
fn arms_draw_the_same_tasks_and_examples_in_training() {
    // With equal weights the worst case is the mean, so the arms' first steps are the same where they sample the same
    // tasks and examples; the second steps differ by the adversary's first move.
    let plan = plan("tr_maml", &["train.outer.ascent = 0.01", "evaluate.test.adapt = none"]);
    let every_step = |name: &str| {
        let mut plan = plan.clone();
        plan.arms.iter_mut().flat_map(|a| &mut a.measures).for_each(|m| m.every = 1);
        cell(&plan, name, 1).trace
    };
    let (worst, mean) = (every_step("tr_maml"), every_step("maml"));
    assert_eq!(worst[..2], mean[..2]);
    assert_ne!(worst[2], mean[2]);
}

#[test]
fn equal_arms_have_equal_cells() {
    for name in shipped::NAMES {
        let base = plan(name, &[]).arms[0].name.clone();
        let text = text(name) + "arm twin {}\n";
        let plan = compile(&text, &overrides(name));
        let (one, twin) = (cell(&plan, &base, 3), cell(&plan, "twin", 3));
        assert_eq!(bits(&one), bits(&twin), "{name}");
        assert_eq!(one.trace, twin.trace, "{name}");
    }
}

#[test]
fn a_further_measure_changes_no_number() {
    let before = cell(&plan("maml_sine", &[]), "maml", 1);
    let after = changed("maml_sine", "maml", |text| {
        text + "evaluate further { tasks = fresh(sine, 4); split = { support: 3, query: 3 }; adapt = gradient(head, rate: 0.1, steps: 2) }\n\
                measure spread = std(squared) on further every 1\n\
                measure worst = worst(squared) on one_step every 2\n"
    });
    assert_kept(&before, &after);
    assert_eq!(after.series.len(), before.series.len() + 2);
    let before = cell(&plan("tr_maml", &[]), "tr_maml", 1);
    let after = changed("tr_maml", "tr_maml", |text| text + "measure bias = b3 every 1\n");
    assert_kept(&before, &after);
}

#[test]
fn further_arms_and_their_order_change_no_number() {
    let before = cell(&plan("maml_sine", &[]), "fomaml", 1);
    let added = changed("maml_sine", "fomaml", |text| text + "arm reptile { train.through = difference }\n");
    assert_kept(&before, &added);
    let reversed = changed("maml_sine", "fomaml", |text| {
        let (arms, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| l.starts_with("arm "));
        others.into_iter().chain(arms.into_iter().rev()).collect::<Vec<_>>().join("\n") + "\n"
    });
    assert_kept(&before, &reversed);
}

#[test]
fn further_seeds_change_no_arm() {
    let before = plan("maml_sine", &[]);
    let after = compile(&text("maml_sine").replace("in 0..2", "in [7, 1, 0]"), &overrides("maml_sine"));
    assert_eq!(after.seeds, [7, 1, 0]);
    assert_eq!(before.arms, after.arms);
    assert_kept(&cell(&before, "anil", 1), &cell(&after, "anil", 1));
}

#[test]
fn seeds_are_worlds_of_their_own() {
    let plan = plan("fedrep_digits", &[]);
    let cells: Vec<Cell> = (0..3).map(|seed| cell(&plan, &arm(&plan, "fedavg").name, seed)).collect();
    assert_ne!(cells[0].trace[0], cells[1].trace[0]);
    assert_ne!(cells[1].weights, cells[2].weights);
}
