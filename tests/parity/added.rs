//! Added groups, lifetimes and proximal terms: whole runs against steps written out by hand.

use metadsl::exec::reference::Reference;
use metadsl::ir::{Precision, Tensor};
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::harness::{arm, assert_close};
use crate::run::run;

/// Two tasks whose matrices differ by a product of low rank: the model needs `A`, and an adapter for each.
const ADAPTERS: &str = "
edition 2026
experiment adapters
dim d = 3
dim k = 1
world { truth: [d, d] ~ normal; turn: [d, d] ~ normal; u: [d, k] ~ normal }
tasks shifted {
  stratum near(1) { target: [d, d] = truth + turn @ truth }
  stratum far(1)  { target: [d, d] = truth + 2 * truth @ turn }
  risk = 0.5 * sum((A - target) ^ 2)
}
model linear(x: [d]) -> [d] { param A: [d, d] ~ normal; A @ x }
train {
  tasks   = pool(shifted)
  loss    = risk
  with    = lora(on: A, rank: 2, alpha: 3, zero: false)
  keep    = lora
  adapt   = gradient(lora, rate: 0.02, steps: 2)
  through = stop
  outer   = mean
  update  = sgd(rate: 0.1)
  steps   = 1
}
evaluate bare    { tasks = pool(shifted); adapt = none; with = none }
evaluate begun   { tasks = pool(shifted); adapt = none; with = lora(on: A, rank: 1) }
evaluate tuned   { tasks = pool(shifted); with = lora(on: A, rank: 1); adapt = gradient(lora, rate: 0.02, steps: 400) }
evaluate full    { tasks = pool(shifted); with = lora(on: A, rank: 3); adapt = gradient(lora, rate: 0.05, steps: 600) }
evaluate kept    { tasks = pool(shifted); adapt = none }
measure bare  = mean(risk) on bare
measure begun = mean(risk) on begun
measure tuned = mean(risk) on tuned
measure full  = mean(risk) on full
measure kept  = mean(risk) on kept
measure u = sum(u)
";

fn cell(text: &str, overrides: &[&str]) -> Cell {
    let plan = compile(text, overrides);
    run(&Reference::new(Precision::F64), arm(&plan, "main"), 3, &DataSets::new())
}

fn weight(cell: &Cell, name: &str) -> Tensor {
    let found = cell.weights.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no parameter `{name}`"));
    found.1.clone()
}

/// What a run starts from: no step is made.
fn start(text: &str, overrides: &[&str]) -> Cell {
    cell(text, &[overrides, &["train.steps = 0"]].concat())
}

/// An evaluation with adapters of its own may draw other tasks, and more of them, than the pool whose tasks keep theirs.
#[test]
fn new_tasks_get_adapters_of_their_own() {
    let pool = "evaluate full    { tasks = pool(shifted);";
    assert!(ADAPTERS.contains(pool));
    let text = ADAPTERS.replace(pool, "evaluate full    { tasks = fresh(shifted, 7);");
    let cell = cell(&text, &[]);
    let series = cell.series.iter().find(|s| s.measure == "full").expect("it is measured");
    assert!(series.values.iter().all(|x| (0.0..1e3).contains(x)), "{:?}", series.values);
}

/// A matrix of rows.
type Rows = Vec<Vec<f64>>;

fn rows(tensor: &Tensor) -> Rows {
    let width = tensor.dims()[tensor.dims().len() - 1];
    tensor.data().chunks(width).map(<[f64]>::to_vec).collect()
}

fn times(a: &Rows, b: &Rows) -> Rows {
    let entry = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(x, other)| x * other[j]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|j| entry(row, j)).collect()).collect()
}

fn transposed(a: &Rows) -> Rows {
    (0..a[0].len()).map(|j| a.iter().map(|row| row[j]).collect()).collect()
}

/// `a + factor b`
fn plus(a: &Rows, factor: f64, b: &Rows) -> Rows {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + factor * b).collect()).collect()
}

fn assert_rows(found: &Tensor, wanted: &Rows, what: &str) {
    let wanted = Tensor::new(found.dims().to_vec(), wanted.concat());
    assert_close(found, &wanted, 1e-12, what);
}

/// The matrices of the two tasks: a whole step of training on one of them alone, `A - (A - target)`, shows it.
fn targets() -> [Rows; 2] {
    let of = |stratum: &str| {
        let tasks = format!("train.tasks = pool(shifted, strata: {stratum})");
        let overrides =
            [tasks.as_str(), "train.with = none", "train.keep = []", "train.adapt = none", "train.update.rate = 1"];
        let text = ADAPTERS.replace("evaluate kept", "evaluate other").replace("on kept", "on other");
        rows(&weight(&cell(&text, &overrides), "A"))
    };
    [of("near"), of("far")]
}

#[test]
fn adapters_that_stay_with_their_task() {
    let (before, after) = (start(ADAPTERS, &[]), cell(ADAPTERS, &[]));
    let a = rows(&weight(&before, "A"));
    let mut mean = plus(&a, -1.0, &a);
    let (u_after, v_after) = (rows(&weight(&after, "lora.A.U")), rows(&weight(&after, "lora.A.V")));
    let (all_u, all_v) = (rows(&weight(&before, "lora.A.U")), rows(&weight(&before, "lora.A.V")));
    for (t, target) in targets().iter().enumerate() {
        let (mut u, mut v) = (all_u[3 * t..3 * t + 3].to_vec(), all_v[3 * t..3 * t + 3].to_vec());
        let residual = |u: &Rows, v: &Rows| plus(&plus(&a, -1.0, target), 1.5, &times(u, &transposed(v)));
        for _ in 0..2 {
            // The gradients of |A + s U V' - M|^2 / 2 with s = alpha / rank = 1.5.
            let r = residual(&u, &v);
            let (to_u, to_v) = (times(&r, &v), times(&transposed(&r), &u));
            (u, v) = (plus(&u, -0.02 * 1.5, &to_u), plus(&v, -0.02 * 1.5, &to_v));
        }
        assert_close(
            &Tensor::new(vec![3, 2], u_after[3 * t..3 * t + 3].concat()),
            &Tensor::new(vec![3, 2], u.concat()),
            1e-12,
            "U",
        );
        assert_close(
            &Tensor::new(vec![3, 2], v_after[3 * t..3 * t + 3].concat()),
            &Tensor::new(vec![3, 2], v.concat()),
            1e-12,
            "V",
        );
        mean = plus(&mean, 0.5, &residual(&u, &v));
    }
    assert_rows(&weight(&after, "A"), &plus(&a, -0.1, &mean), "A");
}

#[test]
fn symmetric_adapters() {
    let overrides = ["train.with = lora(on: A, rank: 1, symmetric: true)"];
    let (before, after) = (start(ADAPTERS, &overrides), cell(ADAPTERS, &overrides));
    let a = rows(&weight(&before, "A"));
    let (all, found) = (rows(&weight(&before, "lora.A.U")), rows(&weight(&after, "lora.A.U")));
    for (t, target) in targets().iter().enumerate() {
        let mut u = all[3 * t..3 * t + 3].to_vec();
        for _ in 0..2 {
            let r = plus(&plus(&a, -1.0, target), 1.0, &times(&u, &transposed(&u)));
            u = plus(&u, -0.02, &times(&plus(&r, 1.0, &transposed(&r)), &u));
        }
        assert_close(
            &Tensor::new(vec![3], found[3 * t..3 * t + 3].concat()),
            &Tensor::new(vec![3], u.concat()),
            1e-12,
            "U",
        );
    }
}

#[test]
fn an_evaluation_adds_groups_of_its_own() {
    let cell = cell(ADAPTERS, &["train.steps = 20"]);
    let last = |name: &str| cell.series.iter().find(|s| s.measure == name).expect("measured").at(20);
    // V starts at zero, so an adapter changes nothing before it moves.
    assert_eq!(last("begun"), last("bare"));
    assert!(last("tuned") < 0.9 * last("begun"), "an adapter of rank 1 helps: {} {}", last("tuned"), last("begun"));
    assert!(last("full") < 1e-3 * last("bare"), "one of full rank is enough: {}", last("full"));
    // Without `with` of its own it measures what training has made: the adapters that the tasks keep.
    assert!(last("kept") < 0.9 * last("bare"), "{} {}", last("kept"), last("bare"));
}

/// Two tasks that pull a number to 1 and to -3, and a second number that both want at 5.
const PULLED: &str = "
edition 2026
experiment pulled
tasks pulled {
  stratum up(1)   { c: [] = 1 }
  stratum down(1) { c: [] = -3 }
  risk = 0.5 * (w - c) ^ 2 + 0.5 * (v + w - 5) ^ 2
}
model point(x: []) -> [] { param w: [] = 2; param v: [] = 1; x * w + v }
train {
  tasks = pool(pulled)
  loss  = risk
  adapt = gradient(all, rate: 0.1, steps: 3)
  outer = average
  steps = 2
}
measure w = w
";

/// The gradient of the risk with the target `c`.
fn pull(w: f64, v: f64, c: f64) -> (f64, f64) {
    (w - c + (v + w - 5.0), v + w - 5.0)
}

fn number(cell: &Cell, name: &str) -> f64 {
    weight(cell, name).data()[0]
}

fn assert_number(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() < 1e-12, "{what}: {found} is not {wanted}");
}

#[test]
fn fedprox_holds_clients_near_where_the_round_began() {
    let after = cell(PULLED, &["train.adapt.toward = start", "train.adapt.weight = 0.5"]);
    let (mut w, mut v) = (2.0, 1.0);
    for _ in 0..2 {
        let ends = [1.0, -3.0].map(|c| {
            let (mut a, mut b) = (w, v);
            for _ in 0..3 {
                let (da, db) = pull(a, b, c);
                (a, b) = (a - 0.1 * (da + 0.5 * (a - w)), b - 0.1 * (db + 0.5 * (b - v)));
            }
            (a, b)
        });
        (w, v) = ((ends[0].0 + ends[1].0) / 2.0, (ends[0].1 + ends[1].1) / 2.0);
    }
    assert_number(number(&after, "w"), w, "w");
    assert_number(number(&after, "v"), v, "v");
}

#[test]
fn a_proximal_term_is_differentiated_with_the_step() {
    // With start s: w1 = s - a g(s), w2 = w1 - a (g(w1) + l (w1 - s)) for g(w) = w - c, and F = (w2 - c)^2 / 2.
    let text = PULLED.replace(" + 0.5 * (v + w - 5) ^ 2", "");
    let overrides = [
        "train.adapt = gradient(w, rate: 0.1, steps: 2, toward: start, weight: 0.5)",
        "train.outer = mean",
        "train.update = sgd(rate: 1)",
        "train.steps = 1",
    ];
    let after = cell(&text, &overrides);
    let gradient: f64 = [1.0, -3.0]
        .iter()
        .map(|c| {
            let (first, slope) = (2.0 - 0.1 * (2.0 - c), 0.9);
            let second = first - 0.1 * (first - c + 0.5 * (first - 2.0));
            (second - c) * (slope - 0.1 * (slope + 0.5 * (slope - 1.0)))
        })
        .sum();
    assert_number(number(&after, "w"), 2.0 - gradient / 2.0, "w");
}

#[test]
fn ditto_trains_a_personal_copy_near_the_average() {
    let overrides = [
        "train.with = personal(on: w)",
        "train.keep = personal",
        "train.adapt = [gradient([w, v], rate: 0.1, steps: 1, without: personal), gradient(personal, rate: 0.2, steps: 2, toward: w, weight: 0.5)]",
    ];
    let after = cell(PULLED, &overrides);
    let (mut w, mut v, mut own) = (2.0, 1.0, [2.0, 2.0]);
    for _ in 0..2 {
        let mut ends = [(0.0, 0.0); 2];
        for (t, c) in [1.0, -3.0].into_iter().enumerate() {
            let (dw, dv) = pull(w, v, c);
            let (local_w, local_v) = (w - 0.1 * dw, v - 0.1 * dv);
            for _ in 0..2 {
                own[t] -= 0.2 * (pull(own[t], local_v, c).0 + 0.5 * (own[t] - local_w));
            }
            ends[t] = (local_w, local_v);
        }
        (w, v) = ((ends[0].0 + ends[1].0) / 2.0, (ends[0].1 + ends[1].1) / 2.0);
    }
    assert_number(number(&after, "w"), w, "w");
    assert_number(number(&after, "v"), v, "v");
    assert_close(&weight(&after, "personal.w.copy"), &Tensor::new(vec![2], own.to_vec()), 1e-12, "the copies");
}

#[test]
fn what_is_frozen_never_moves() {
    for overrides in [
        ["train.freeze = v", "train.adapt.on = w", "train.outer = average"],
        ["train.freeze = v; train.update = sgd(rate: 0.1)", "train.adapt = none", "train.outer = mean"],
    ] {
        let after = cell(PULLED, &overrides);
        assert_eq!(number(&after, "v"), 1.0);
        assert_ne!(number(&after, "w"), 2.0);
    }
}

#[test]
fn what_is_reset_begins_every_step_anew() {
    // v moves in each task and then w takes the gradient there; the next step begins with v = 1 again.
    let overrides = [
        "train.reset = v",
        "train.adapt = gradient(v, rate: 0.1, steps: 1)",
        "train.outer = mean",
        "train.update = sgd(rate: 0.1)",
        "train.through = first_order",
    ];
    let after = cell(PULLED, &overrides);
    let mut w = 2.0;
    for _ in 0..2 {
        let step = |c: f64| {
            let moved = 1.0 - 0.1 * pull(w, 1.0, c).1;
            pull(w, moved, c).0
        };
        w -= 0.1 * (step(1.0) + step(-3.0)) / 2.0;
    }
    assert_number(number(&after, "w"), w, "w");
    assert_eq!(number(&after, "v"), 1.0);
}

/// A regression on vectors, whose input may get a prompt, and whose features a head.
const FEATURES: &str = "
edition 2026
experiment features
dim d = 3
dim h = 2
dim classes = 2
tasks lines { slope: [d] ~ normal; example { x: [d] ~ normal; y: [] = (1 + sign(x @ slope)) / 2 } }
MODEL
train {
  ADDED
  tasks = fresh(lines, 3); split = { support: 4, query: 5 }; loss = cross_entropy
  adapt = gradient(all, rate: 0.2, steps: 2); outer = mean; update = sgd(rate: 0.1); steps = 3
}
evaluate test { tasks = fresh(lines, 4); split = { support: 4, query: 5 }; adapt = gradient(all, rate: 0.2, steps: 2) }
measure loss = mean(cross_entropy) on test
";

fn features(model: &str, added: &str) -> Cell {
    cell(&FEATURES.replace("MODEL", model).replace("ADDED", added), &[])
}

fn assert_same(added: &Cell, declared: &Cell, names: &[(&str, &str)]) {
    for (left, right) in added.series[0].values.iter().zip(&declared.series[0].values) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }
    for (new, own) in names {
        assert_close(&weight(added, new), &weight(declared, own), 1e-12, new);
    }
}

#[test]
fn a_prompt_is_added_to_an_input() {
    let body = "param W: [d, classes] = 0.5; param b: [classes] = 0;";
    let prompted =
        features(&format!("model net(x: [d]) -> [classes] {{ {body} tanh(x) @ W + b }}"), "with = prompt(on: x)");
    let by_hand = format!("model net(x: [d]) -> [classes] {{ {body} param p: [d] = 0; tanh(x + p) @ W + b }}");
    assert_same(&prompted, &features(&by_hand, ""), &[("prompt.x.vector", "p"), ("W", "W")]);
}

#[test]
fn a_head_stands_behind_the_prediction() {
    let body = "param W: [d, h] ~ normal;";
    let headed = features(
        &format!("model net(x: [d]) -> [h] {{ {body} tanh(x @ W) }}"),
        "with = head(outputs: classes, std: 0)",
    );
    let own = "param H: [h, classes] = 0; param c: [classes] = 0;";
    let by_hand = format!("model net(x: [d]) -> [classes] {{ {body} {own} tanh(x @ W) @ H + c }}");
    let names = [("head.prediction.weight", "H"), ("head.prediction.bias", "c"), ("W", "W")];
    assert_same(&headed, &features(&by_hand, ""), &names);
    let evaluated = |settings: &str| {
        let own = FEATURES.replace("adapt = gradient(all, rate: 0.2, steps: 2) }", &format!("{settings} }}"));
        compile(
            &own.replace("MODEL", &format!("model net(x: [d]) -> [h] {{ {body} tanh(x @ W) }}"))
                .replace("ADDED", "with = head(outputs: classes)"),
            &[],
        )
        .arms
    };
    let long = evaluated("with = head(outputs: classes, std: 0); adapt = gradient(head, rate: 0.1, steps: 4)");
    assert_eq!(evaluated("method = linear_probe(classes, rate: 0.1, steps: 4)"), long, "linear_probe");
}

#[test]
fn a_head_and_a_prompt_together_and_losses_that_call_the_model() {
    let body = "param W: [d, h] ~ normal;";
    let with = "with = [prompt(on: x), head(outputs: classes, std: 0)]";
    let added = features(&format!("model net(x: [d]) -> [h] {{ {body} tanh(x @ W) }}"), with);
    let own = "param p: [d] = 0; param H: [h, classes] = 0; param c: [classes] = 0;";
    let by_hand = format!("model net(x: [d]) -> [classes] {{ {body} {own} tanh((x + p) @ W) @ H + c }}");
    assert_same(&added, &features(&by_hand, ""), &[("prompt.x.vector", "p"), ("head.prediction.weight", "H")]);
    let formula = |text: String| cell(&text.replace("loss = cross_entropy", "loss = sum(net(x) ^ 2) + (1 - y)"), &[]);
    let left =
        FEATURES.replace("MODEL", &format!("model net(x: [d]) -> [h] {{ {body} tanh(x @ W) }}")).replace("ADDED", with);
    let right = FEATURES.replace("MODEL", &by_hand).replace("ADDED", "");
    let (left, right) = (formula(left), formula(right));
    assert_close(&weight(&left, "prompt.x.vector"), &weight(&right, "p"), 1e-12, "a loss that calls the model");
}

#[test]
fn rows_stand_before_those_of_an_input() {
    let text = "
edition 2026
experiment tokens
dim s = 3
dim d = 2
tasks lines { example { x: [s, d] ~ normal; y: [] = 2 } }
model net(x: [s, d]) -> [] { param v: [d] = 0.5; mean(x @ v) }
train {
  with = prompt(on: x, length: 5)
  tasks = fresh(lines, 1); split = { support: 1, query: 1 }; loss = half_squared
  freeze = v; adapt = none; outer = mean; update = sgd(rate: 1); steps = 1
}
measure size = sum(v)
";
    let method = text.replace(
        "with = prompt(on: x, length: 5)",
        "method = prompt_tuning(x, length: 5, rest: v); with = prompt(on: x, length: 5)",
    );
    let method = method.replace("freeze = v; adapt = none; outer = mean; ", "");
    assert_eq!(compile(&method, &[]).arms, compile(text, &[]).arms, "prompt_tuning");
    let prompted = weight(&cell(text, &[]), "prompt.x.vector");
    assert_eq!(prompted.dims(), &[5, 2]);
    // The prediction is sum(x v) / 8, and each row moves by (2 - prediction) v / 8.
    let row = prompted.data()[0];
    assert!(prompted.data().iter().all(|x| (x - row).abs() < 1e-15), "{prompted:?}");
    let prediction = 2.0 - row * 8.0 / 0.5;
    let bare = text.replace("with = prompt(on: x, length: 5)", "").replace("freeze = v;", "");
    let without = weight(&cell(&bare, &[]), "v");
    // Without the prompt, v moves by (2 - q) mean(x), where q = mean(x) v: so the same sum, over three rows.
    let moved: f64 = without.data().iter().map(|v| v - 0.5).sum();
    let (error, q) = (2.0 - prediction * 8.0 / 3.0, prediction * 8.0 / 3.0);
    assert!((moved - error * q / 0.5).abs() < 1e-12, "{moved} is not {}", error * q / 0.5);
}

/// Soft tokens before the words of a transformer: the mask comes from the rows, so that those of a prompt count once it is more than zeros.
#[test]
fn rows_stand_before_the_words_of_a_transformer() {
    let text = "
edition 2026
experiment soft
dim tokens = 5; dim rows = tokens; dim width = 8
tasks texts { example { kind: [tokens] ~ uniform(0, 9); y: [] = 1 } }
model net(kind: [tokens]) -> [] {
  let embeddings = bert_embeddings(kind - 1, 20, width, 9, 1e-12, 0)
  let words: [rows, width] = reshape(sign(kind - 4) * embeddings, [rows, width])
  let mask    = sign(sum(words ^ 2, over: width))
  let encoder = bert_encoder(words, mask, 2, 2, 12, 1e-12, 0)
  sum(mask * encoder ^ 3) / sum(mask)
}
train {
  tasks = fresh(texts, 2); split = { support: 1, query: 1 }; loss = half_squared
  adapt = none; outer = mean; update = sgd(rate: 1); steps = 0
}
evaluate test { WITH tasks = fresh(texts, 4); split = { support: 1, query: 2 }; loss = half_squared; adapt = none }
measure loss = mean(squared) on test
";
    let loss = |with: &str| cell(&text.replace("WITH", with), &[]).series[0].values[0];
    let bare = loss("");
    let silent = loss("with = prompt(on: words, length: 3);");
    assert!((silent - bare).abs() <= 1e-12 * bare, "{silent} is not {bare}");
    let heard = loss("with = prompt(on: words, length: 3, std: 1);");
    assert!((heard - bare).abs() > 1e-3 * bare, "{heard} is {bare}");
}

#[test]
fn a_prompt_at_a_value_that_the_model_names() {
    let body = "param W: [d, h] ~ normal; param H: [h, classes] = 0.5;";
    let at = |name: &str| {
        let model =
            format!("model net(x: [d]) -> [classes] {{ {body} let z = tanh(x @ W); let a = z * z; a @ H + mean(z) }}");
        features(&model, &format!("with = prompt(on: {name})"))
    };
    let by_hand = |p: &str, z: &str, a: &str| {
        let model = format!(
            "model net(x: [d]) -> [classes] {{ {body} param p: [h] = {p}; let z = {z}; let a = {a}; a @ H + mean(z) }}"
        );
        features(&model, "")
    };
    let first = by_hand("0", "tanh(x @ W) + p", "z * z");
    assert_same(&at("z"), &first, &[("prompt.z.vector", "p"), ("W", "W"), ("H", "H")]);
    let second = by_hand("0", "tanh(x @ W)", "z * z + p");
    assert_same(&at("a"), &second, &[("prompt.a.vector", "p"), ("W", "W"), ("H", "H")]);
}

/// Rows of an input, of which `MODEL` predicts one number each, under what `TRAIN` says.
pub const TOKENS: &str = "
edition 2026
experiment tokens
dim s = 3
dim d = 2
tasks lines { example { x: [s, d] ~ normal; y: [s] = 2 } }
model net(x: [s, d]) -> [s] {
  param v: [d] = 0.5
  MODEL
}
train {
  tasks = fresh(lines, 1); split = { support: 1, query: 1 }; loss = half_squared
  outer = mean; update = sgd(rate: 0.1)
  TRAIN
}
measure size = sum(v)
";

#[test]
fn rows_before_an_embedding_and_a_prediction_for_every_row() {
    // The prediction has a row for every row of the input, and none for those of the prompt.
    let text =
        TOKENS.replace("MODEL", "let z = 2 * x; z @ v + mean(z)").replace("TRAIN", "ADDED; adapt = none; steps = 1");
    let with = |added: &str| cell(&text.replace("ADDED", added), &[]);
    let prompted = with("with = prompt(on: z, length: 6)");
    assert_eq!(weight(&prompted, "prompt.z.vector").dims(), &[6, 2]);
    // A prompt of zeros only dilutes the mean over all rows: 3 of 9.
    let diluted = cell(&text.replace("ADDED; ", "").replace("mean(z)", "mean(z) / 3"), &[]);
    assert_close(&weight(&prompted, "v"), &weight(&diluted, "v"), 1e-12, "v");
}

#[test]
fn rows_before_a_value_that_others_come_before() {
    let text = TOKENS.replace("TRAIN", "with = prompt(on: z, length: 6); adapt = none; steps = 2");
    let with = |values: &str| cell(&text.replace("MODEL", &format!("{values}; z @ v + mean(z)")), &[]);
    let one = with("let z = tanh(2 * x)");
    let two = with("let a = 2 * x; let z = tanh(a)");
    assert_eq!(weight(&one, "v"), weight(&two, "v"));
    assert_eq!(weight(&one, "prompt.z.vector"), weight(&two, "prompt.z.vector"));
}
