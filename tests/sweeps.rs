//! Sweeps: every point is an arm as `--set` would make it, and claims go over points and steps.

#[path = "common/compile.rs"]
mod compile;

use compile::compile;
use metadsl::plan::{Along, Arm, Quantity};

const BASE: &str = "
edition 2026
experiment sweeps
dim d = 3
let noise = 0.1
tasks lines {
  slope: [d] ~ normal
  example { x: [d] ~ normal; y: [] = x @ slope + noise * normal }
}
model line(x: [d]) -> [] { param w: [d] = 0; x @ w }
train {
  tasks = fresh(lines, 2); split = { support: 2, query: 2 }; loss = squared
  adapt = gradient(w, rate: 0.1, steps: 1); outer = mean; update = sgd(rate: 0.1); steps = 45
}
measure size = sum(w ^ 2) every 10
sweep seed in 0..2
";

fn arms(more: &str) -> Vec<Arm> {
    compile(&format!("{BASE}{more}"), &[]).arms
}

/// The arm that `--set` makes, under another name.
fn set(overrides: &[&str], name: &str) -> Arm {
    let arm = compile(BASE, overrides).arms.remove(0);
    Arm { name: name.into(), ..arm }
}

#[test]
fn a_point_is_what_set_makes_of_it() {
    let found = arms("sweep d in [2, 5]\nsweep train.adapt.rate in log(1e-3, 1e-1, 3)");
    let expected: Vec<Arm> = [(2, "0.001"), (2, "0.01"), (2, "0.1"), (5, "0.001"), (5, "0.01"), (5, "0.1")]
        .iter()
        .map(|(d, rate)| {
            let overrides = [format!("d = {d}"), format!("train.adapt.rate = {rate}")];
            let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
            set(&overrides, &format!("main[d: {d}, rate: {rate}]"))
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn arms_and_points_are_combined_and_values_need_not_be_numbers() {
    let sweep = "sweep train.adapt in [none, gradient(w, rate: 0.2, steps: 1)]";
    let found = arms(&format!("arm fast {{ train.update.rate = 1 }}\narm slow {{}}\n{sweep}"));
    let names: Vec<&str> = found.iter().map(|arm| arm.name.as_str()).collect();
    let points = ["[adapt: none]", "[adapt: gradient(w, rate: 0.2, steps: 1)]"];
    let expected: Vec<String> =
        ["fast", "slow"].iter().flat_map(|arm| points.map(|point| format!("{arm}{point}"))).collect();
    assert_eq!(names, expected);
    assert_eq!(found[1], set(&["train.update.rate = 1", "train.adapt = gradient(w, rate: 0.2, steps: 1)"], names[1]));
}

#[test]
fn paths_that_vary_together() {
    let listed = arms("sweep [d, train.steps] in [[2, 10], [3, 20], [4, 30]]");
    assert_eq!(listed, arms("sweep [d, train.steps] in zip([2..5, lin(10, 30, 3)])"));
    assert_eq!(listed[1], set(&["d = 3", "train.steps = 20"], "main[d: 3, steps: 20]"));
}

#[test]
fn random_points_depend_on_their_seed_alone_and_stay_between_the_ends() {
    let swept = |seed| {
        let found = arms(&format!("sweep [train.adapt.rate, d] in random(20, seed: {seed}, of: [log(1e-3, 1), 2..4])"));
        found.into_iter().map(|arm| arm.name).collect::<Vec<_>>()
    };
    let names = swept(1);
    assert_eq!(names, swept(1));
    assert_ne!(names, swept(2));
    assert_eq!(names.len(), 20, "rates are drawn from a continuum, so none comes twice");
    let mut small = 0;
    for name in &names {
        let (rate, d) = name.trim_start_matches("main[rate: ").trim_end_matches(']').split_once(", d: ").expect(name);
        let rate: f64 = rate.parse().expect(name);
        assert!((1e-3..=1.0).contains(&rate) && ["2", "3"].contains(&d), "{name}");
        small += usize::from(rate < 0.0316);
    }
    assert!((5..=15).contains(&small), "half of them below the geometric mean, not {small}");
    let choices = arms("sweep d in random(50, seed: 3, of: [2, 3])");
    assert_eq!(choices.len(), 2, "a point that is drawn again is taken once");
}

/// The left side of the only claim, and its text.
fn claim(more: &str) -> (Quantity, String) {
    let claim = compile(&format!("{BASE}{more}"), &[]).claims.remove(0);
    let text = claim.to_string();
    (claim.left, text)
}

fn at(arm: &str, step: u64) -> Quantity {
    Quantity::At { arm: arm.into(), measure: "size".into(), step }
}

#[test]
fn a_claim_holds_at_every_point_unless_it_chooses_or_reduces() {
    let sweep = "sweep d in [2, 3]\n";
    let (left, text) = claim(&format!("{sweep}expect size[last] <= 1"));
    assert_eq!(left, Quantity::Each { of: vec![at("main[d: 2]", 45), at("main[d: 3]", 45)] });
    assert_eq!(text, "main[d: 2].size[45], .. <= 1");
    let (left, _) = claim(&format!("{sweep}expect size[last, d: 3] <= 1"));
    assert_eq!(left, at("main[d: 3]", 45));
    let (left, text) = claim(&format!("{sweep}expect max(size[last], over: d) <= 1"));
    let Quantity::Along { over, of, .. } = left else { panic!("{text}") };
    assert_eq!((over.as_str(), of), ("d", vec![at("main[d: 2]", 45), at("main[d: 3]", 45)]));
    assert_eq!(text, "max(main[d: 2].size[45], .., over: d) <= 1");
    // Of two sweeps, the one that is not reduced over is still gone through.
    let both = format!("{sweep}sweep noise in [0.1, 0.2, 0.3]\nexpect max(size[last], over: d) <= 1");
    let Quantity::Each { of } = claim(&both).0 else { panic!("at every noise") };
    assert_eq!(of.len(), 3);
}

#[test]
fn a_slope_goes_along_increasing_numbers() {
    let (left, text) = claim("sweep noise in [0.3, 0.1]\nexpect slope(median(size[last]), over: noise) <= 1");
    let Quantity::Along { reduction: Along::Slope { at }, of, .. } = left else { panic!("{text}") };
    assert_eq!(at, [0.1, 0.3]);
    assert_eq!(of[0].to_string(), "median(main[noise: 0.1].size[45])");
}

#[test]
fn windows_of_steps() {
    let steps = |claimed: &str| match claim(claimed) {
        (Quantity::Along { of, .. }, _) => of,
        (_, text) => panic!("{text}"),
    };
    let all: Vec<Quantity> = [0, 10, 20, 30, 40, 45].map(|step| at("main", step)).into();
    assert_eq!(steps("expect max(size, over: steps) <= 1"), all);
    assert_eq!(steps("expect mean(size[last(2)], over: steps) <= 1"), all[4..]);
    let (left, _) = claim("expect rise(size - size[0], over: steps) <= 1");
    let Quantity::Along { reduction: Along::Rise, of, .. } = left else { panic!("a rise") };
    assert_eq!(of[5].to_string(), "main.size[45] - main.size[0]");
}

#[test]
fn stages_have_first_and_last_steps_in_claims() {
    let plan = compile(
        &format!(
            "{BASE}
stage polish {{ steps = 20 }}
stage rest {{ steps = 35 }}
measure often = sum(w ^ 2) every 5
measure ends  = sum(w ^ 2)
expect often[polish.first] >= 0
expect often[polish.last]  >= 0
expect often[rest.first]   >= 0
expect often[train.first]  >= 0
expect mean(often[rest.last] / often[train.last]) >= 0
"
        ),
        &[],
    );
    let steps = |quantity: &Quantity| match quantity {
        Quantity::At { step, .. } => *step,
        other => panic!("{other:?}"),
    };
    assert_eq!(plan.claims[..4].iter().map(|claim| steps(&claim.left)).collect::<Vec<_>>(), [45, 65, 65, 0]);
    let Quantity::OverSeeds { of, .. } = &plan.claims[4].left else { panic!("{:?}", plan.claims[4]) };
    let Quantity::Arithmetic { left, right, .. } = &**of else { panic!("{of:?}") };
    assert_eq!((steps(left), steps(right)), (100, 45));
    // Without `every`, a measure is taken at the first and at the last step of all.
    assert_eq!(plan.arms[0].measures.iter().find(|m| m.name == "ends").map(|m| m.every), Some(100));
}

#[test]
fn a_count_may_have_its_unit() {
    let counted = BASE.replace("gradient(w, rate: 0.1, steps: 1)", "gradient(w, rate: 0.1, 1 step)");
    assert_eq!(compile(&counted, &[]), compile(BASE, &[]));
    let local = |adapt: &str| {
        BASE.replace("gradient(w, rate: 0.1, steps: 1)", adapt).replace("outer = mean", "outer = average")
    };
    let epochs = compile(&local("sgd(w, rate: 0.1, 3 epochs, batch: 2)"), &[]);
    assert_eq!(epochs, compile(&local("sgd(w, rate: 0.1, epochs: 3, batch: 2)"), &[]));
    assert_eq!(epochs, compile(&local("sgd(w, rate: 0.1, epochs: 3 epochs, batch: 2)"), &[]));
}
