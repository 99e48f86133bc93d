//! What frozen parameters make of an example is computed once: every bit is as if it were computed in every step.

use metadsl::data::{DataSet, Features, Targets};
use metadsl::exec::exact::{Exact, Path};
use metadsl::plan::Arm;
use metadsl::plan::prefix::split;
use metadsl::train::DataSets;

use crate::compile::compile;
use crate::run::run;

/// Short texts of numbers; a layer of which the head's weights stand before a division by what the example says.
const TEXT: &str = r#"
edition 2026
experiment frozen
dim tokens = 5
dim width = 8
dim classes = 3
data texts = csv("texts.csv", features: 0..5, label: 5)
tasks clients from texts { partition = lognormal(clients: 6, spread: 1); hold_out = 0.3 }
layer encoder(x: [t], mask: [t]) -> [t, width] {
  let words = embedding(mask * x, 12, width)
  let first = linear(words, 32)
  let out   = linear(gelu(first), width)
  let tail  = norm(out)
  tail
}
model net(x: [tokens]) -> [classes] {
  let mask = sign(x + 1)
  let base = encoder(x, mask)
  group head {
    param W: [width, classes] ~ normal
    param b: [classes] = 0
  }
  sum(mask * (base @ W), over: tokens) / sum(mask) + b
}
train {
  tasks  = pool(clients, batch: 3)
  loss   = cross_entropy
  adapt  = adam(head, rate: 0.1, epochs: 2, batch: 4)
  outer  = average(weights: examples)
  steps  = 3
  freeze = base
}
evaluate local { tasks = pool(clients); adapt = sgd(head, rate: 0.1, epochs: 1, batch: 3) }
arm once  {}
arm moved { evaluate.local.adapt.on = all }
measure loss = mean(cross_entropy) on local every 1
measure accuracy = mean(accuracy) on local every 1
"#;

fn texts() -> DataSets {
    let rows = 61;
    let token = |row: usize, i: usize| if i > row % 4 { -1.0 } else { ((row * 7 + i * 5) % 12) as f64 };
    let numbers = (0..rows).flat_map(|row| (0..5).map(move |i| token(row, i))).collect();
    let labels = (0..rows as u32).map(|row| row * row % 3).collect();
    let set = DataSet { features: Features::double(&[5], numbers), targets: Targets::classes(labels), owners: None };
    DataSets::from([("texts".to_owned(), set)])
}

#[test]
fn every_bit_is_as_if_it_were_computed_in_every_step() {
    let plan = compile(TEXT, &[]);
    let [once, moved] = &plan.arms[..] else { panic!("two arms") };
    let behind = split(once).expect("it has a frozen prefix").arm;
    let x = behind.families[0].source.as_ref().expect("clients").example[0].dims.clone();
    // The rows of the encoder, the mask and its sum.
    assert_eq!(x, [5 * 8 + 5 + 1]);
    assert_eq!(split(moved), None);
    assert_same(once, &compile(&seen(TEXT), &[]).arms[0]);
}

#[test]
fn masks_behind_what_is_frozen_are_drawn_in_every_step() {
    let text = TEXT.replace("(base @ W)", "(dropout(base, rate: 0.3) @ W)");
    let once = &compile(&text, &[]).arms[0];
    let masks = split(once).expect("it has a frozen prefix").arm.model.dropout;
    assert_eq!(masks.len(), 1);
    assert_same(once, &compile(&seen(&text), &[]).arms[0]);
    // A mask before the frozen layers leaves nothing to be computed once.
    let before = TEXT.replace("let first = linear(words, 32)", "let first = linear(dropout(words, rate: 0.3), 32)");
    assert_same(&compile(&before, &[]).arms[0], &compile(&seen(&before), &[]).arms[0]);
}

/// Whether two arms, of which one computes a prefix once, give the same bits.
fn assert_same(once: &Arm, each: &Arm) {
    assert!(split(each).is_none());
    let sets = texts();
    let single = Exact::<f32>::new(Path::detect());
    let double = Exact::<f64>::new(Path::detect());
    for [one, other] in
        [[once, each].map(|arm| run(&single, arm, 3, &sets)), [once, each].map(|arm| run(&double, arm, 3, &sets))]
    {
        assert!(one.trace == other.trace && one.weights == other.weights, "the parameters");
        assert_eq!(one.series[0], other.series[0]);
        assert!(one.series[0].values.iter().all(|x| x.is_finite()), "{:?}", one.series[0].values);
    }
}

/// The same with a measure that looks at the input itself.
fn seen(text: &str) -> String {
    text.replace("measure accuracy = mean(accuracy)", "measure shown = mean(sum(net(x)) + sum(x))")
}

#[test]
fn what_else_looks_at_the_input_keeps_it() {
    assert_eq!(split(&compile(&seen(TEXT), &[]).arms[0]), None);
    let together = TEXT.replace("let tail  = norm(out)", "let tail = batch_norm(out)");
    let behind = split(&compile(&together, &[]).arms[0]).expect("what comes before the other examples");
    assert!(behind.arm.model.forward.cost().flops < behind.prefix.cost().flops);
}
