//! The standard library: one step of each method against its formula, written out for a small quadratic problem, or the
//! settings of a test elsewhere that checks them.

use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::numeric::simplex_projection;
use metadsl::plan::Plan;
use metadsl::train::{Cell, DataSets};

use crate::compile::compile;
use crate::harness::arm;
use crate::run::run;

/// A head that two clients pull to 1 and to -3, and a body.
const PROBLEM: &str = "
edition 2026
experiment problem
tasks clients {
  stratum up(1)   { c: [] = 1 }
  stratum down(1) { c: [] = -3 }
  risk = 0.5 * (w - c) ^ 2 + 0.5 * (v + w - 5) ^ 2
}
model point(x: []) -> [] {
  group head { param w: [] = 2 }
  group body { param v: [] = 1 }
  x * w + v
}
train {
  tasks  = pool(clients)
  loss   = risk
  update = sgd(rate: 0.3)
  steps  = 1
}
measure w = w
";

/// Both parameters, `[w, v]`.
type Point = [f64; 2];

const START: Point = [2.0, 1.0];
const CLIENTS: [f64; 2] = [1.0, -3.0];
/// The rate inside a task, and of the update.
const INNER: f64 = 0.1;
const OUTER: f64 = 0.3;
const HEAD: Point = [1.0, 0.0];
const BODY: Point = [0.0, 1.0];
const BOTH: Point = [1.0, 1.0];

fn risk(p: Point, c: f64) -> f64 {
    0.5 * (p[0] - c).powi(2) + 0.5 * (p[0] + p[1] - 5.0).powi(2)
}

fn slope(p: Point, c: f64) -> Point {
    let both = p[0] + p[1] - 5.0;
    [p[0] - c + both, both]
}

/// The curvature of the risk, `[[2, 1], [1, 1]]`, times a direction.
fn curved(p: Point) -> Point {
    [2.0 * p[0] + p[1], p[0] + p[1]]
}

/// `a + factor b`
fn plus(a: Point, factor: f64, b: Point) -> Point {
    [a[0] + factor * b[0], a[1] + factor * b[1]]
}

fn times(a: Point, b: Point) -> Point {
    [a[0] * b[0], a[1] * b[1]]
}

/// One step inside a task, of the parameters that `moves` marks.
fn adapted(p: Point, c: f64, moves: Point) -> Point {
    plus(p, -INNER, times(moves, slope(p, c)))
}

/// The gradient of the risk after that step: `(I - a H M) g(p')`.
fn through(p: Point, c: f64, moves: Point) -> Point {
    let g = slope(adapted(p, c, moves), c);
    plus(g, -INNER, curved(times(moves, g)))
}

/// The mean over clients.
fn mean(of: impl Fn(f64) -> Point) -> Point {
    plus([0.0; 2], 0.5, plus(of(CLIENTS[0]), 1.0, of(CLIENTS[1])))
}

/// A descent step along the mean of `of` over clients.
fn descent(of: impl Fn(f64) -> Point) -> Point {
    plus(START, -OUTER, mean(of))
}

fn with_method(method: &str, overrides: &[&str]) -> Plan {
    let text = PROBLEM.replace("train {", &format!("train {{\n  method = {method}"));
    compile(&text, overrides)
}

fn trained(method: &str, overrides: &[&str]) -> Cell {
    run(&Reference::new(Precision::F64), arm(&with_method(method, overrides), "main"), 3, &DataSets::new())
}

fn number(cell: &Cell, name: &str) -> f64 {
    cell.weights.iter().find(|(n, _)| n == name).expect("a parameter").1.data()[0]
}

fn assert_point(cell: &Cell, wanted: Point, method: &str) {
    for (name, wanted) in ["w", "v"].into_iter().zip(wanted) {
        let found = number(cell, name);
        assert!((found - wanted).abs() < 1e-12, "{method}: {name} is {found}, not {wanted}");
    }
}

/// No update: parameters are averaged.
const AVERAGED: &str = "train.update = sgd(rate: 1)";

#[test]
fn methods_of_meta_learning() {
    for (method, wanted) in [
        ("erm", descent(|c| slope(START, c))),
        ("maml(all, rate: 0.1)", descent(|c| through(START, c, BOTH))),
        ("fomaml(all, rate: 0.1)", descent(|c| slope(adapted(START, c, BOTH), c))),
        ("anil(head, rate: 0.1)", descent(|c| through(START, c, HEAD))),
        ("boil(body, rate: 0.1)", descent(|c| through(START, c, BODY))),
        ("reptile(rate: 0.1, steps: 2)", descent(|c| plus(START, -1.0, adapted(adapted(START, c, BOTH), c, BOTH)))),
        ("cvar_maml(all, rate: 0.1, q: 0.5)", plus(START, -OUTER, through(START, CLIENTS[1], BOTH))),
    ] {
        assert_point(&trained(method, &[]), wanted, method);
    }
}

#[test]
fn several_steps_inside() {
    // Two steps of the head alone: the chain rule goes through both.
    let wanted = descent(|c| {
        let (first, mut g) = (adapted(START, c, HEAD), [0.0; 2]);
        let second = adapted(first, c, HEAD);
        g = plus(g, 1.0, slope(second, c));
        for _ in 0..2 {
            g = plus(g, -INNER, curved(times(HEAD, g)));
        }
        g
    });
    assert_point(&trained("anil(head, rate: 0.1, steps: 2)", &[]), wanted, "anil");
}

#[test]
fn imaml() {
    let weight = 2.0;
    // Three steps near the start; then (I + H / 2) v = g with H = [[2, 1], [1, 1]], so (I + H / 2) = [[2, 0.5], [0.5, 1.5]].
    let wanted = descent(|c| {
        let mut p = START;
        for _ in 0..3 {
            p = plus(p, -INNER, plus(slope(p, c), weight, plus(p, -1.0, START)));
        }
        let g = slope(p, c);
        let determinant = 2.0 * 1.5 - 0.5 * 0.5;
        [(1.5 * g[0] - 0.5 * g[1]) / determinant, (2.0 * g[1] - 0.5 * g[0]) / determinant]
    });
    // Two rounds solve a system of two unknowns; a third must not spoil it.
    for cg in [2, 3, 5] {
        let method = format!("imaml(all, rate: 0.1, weight: 2, steps: 3, cg: {cg})");
        assert_point(&trained(&method, &[]), wanted, &method);
    }
}

#[test]
fn metasgd() {
    let cell = trained("metasgd(head, start: 0.1)", &[]);
    assert_point(&cell, descent(|c| through(START, c, HEAD)), "metasgd");
    // The rate's own gradient is -g(p') g(p) of what it moves.
    let to_rate = mean(|c| times(slope(adapted(START, c, HEAD), c), slope(START, c)))[0];
    assert!((number(&cell, "rates.w.rate") - (INNER + OUTER * to_rate)).abs() < 1e-12);
}

#[test]
fn r2d2() {
    // The head is (c + 5 - v) / (2 + penalty), wherever it began, and falls by 1 / (2 + penalty) where v grows by 1.
    let penalty = 0.5;
    let wanted = descent(|c| {
        let head = (c + 5.0 - START[1]) / (2.0 + penalty);
        let g = slope([head, START[1]], c);
        [0.0, g[1] - g[0] / (2.0 + penalty)]
    });
    assert_point(&trained("r2d2(head, penalty: 0.5)", &[]), wanted, "r2d2");
}

/// Two steps with weights of the clients that `climb` moves in between.
fn weighted(
    loss: impl Fn(Point, f64) -> f64,
    slope: impl Fn(Point, f64) -> Point,
    climb: impl Fn([f64; 2], [f64; 2]) -> Vec<f64>,
) -> Point {
    let (mut p, mut weights) = (START, [0.5, 0.5]);
    for _ in 0..2 {
        let losses = CLIENTS.map(|c| loss(p, c));
        let g = plus(times([weights[0]; 2], slope(p, CLIENTS[0])), weights[1], slope(p, CLIENTS[1]));
        p = plus(p, -OUTER, g);
        let climbed = climb(weights, losses);
        weights = [climbed[0], climbed[1]];
    }
    p
}

#[test]
fn robust_methods() {
    let after = |p: Point, c: f64| risk(adapted(p, c, BOTH), c);
    let project = |p: [f64; 2], losses: [f64; 2]| simplex_projection(&plus(p, 0.02, losses));
    let grow = |p: [f64; 2], losses: [f64; 2]| {
        let grown = times(p, losses.map(|loss| (0.02 * loss).exp()));
        grown.map(|p| p / (grown[0] + grown[1])).to_vec()
    };
    let two = ["train.steps = 2"];
    let tr_maml = weighted(after, |p, c| through(p, c, BOTH), project);
    assert_point(&trained("tr_maml(all, rate: 0.1, ascent: 0.02)", &two), tr_maml, "tr_maml");
    assert_point(&trained("group_dro(ascent: 0.02)", &two), weighted(risk, slope, grow), "group_dro");
}

#[test]
fn a_task_counts_in_part_at_the_edge_of_the_tail() {
    // Three quarters of two tasks: the worse one, and half of the other.
    let (worse, other) = (through(START, CLIENTS[1], BOTH), through(START, CLIENTS[0], BOTH));
    let wanted = plus(START, -OUTER / 1.5, plus(worse, 0.5, other));
    assert_point(&trained("cvar_maml(all, rate: 0.1, q: 0.75)", &[]), wanted, "cvar_maml");
    let all = descent(|c| through(START, c, BOTH));
    assert_point(&trained("cvar_maml(all, rate: 0.1, q: 1)", &[]), all, "cvar_maml over all");
}

#[test]
fn federated_methods() {
    let step = |p: Point, c: f64| adapted(p, c, BOTH);
    assert_point(&trained("fedsgd(rate: 0.1)", &[AVERAGED]), mean(|c| step(START, c)), "fedsgd");
    let three = mean(|c| step(step(step(START, c), c), c));
    assert_point(&trained("local_sgd(rate: 0.1, steps: 3)", &[AVERAGED]), three, "local_sgd");
}

#[test]
fn per_fedavg() {
    // Two local steps of size 0.2, along the gradient of the loss after a step of size 0.1.
    let walk = |meta: fn(Point, f64) -> Point| {
        mean(|c| {
            let first = plus(START, -0.2, meta(START, c));
            plus(first, -0.2, meta(first, c))
        })
    };
    let exact = walk(|p, c| through(p, c, BOTH));
    assert_point(&trained("per_fedavg(rate: 0.1, local_rate: 0.2, steps: 2)", &[AVERAGED]), exact, "per_fedavg");
    let first_order = walk(|p, c| slope(adapted(p, c, BOTH), c));
    assert_point(&trained("per_fedavg_fo(rate: 0.1, local_rate: 0.2, steps: 2)", &[AVERAGED]), first_order, "FO");
}

/// Rounds of SCAFFOLD with two local steps and option II; the clients at `chosen` take part in each.
fn scaffold(rounds: &[&[usize]], global: f64) -> Point {
    let (mut x, mut own) = (START, [[0.0; 2]; 2]);
    for chosen in rounds {
        let all = plus([0.0; 2], 0.5, plus(own[0], 1.0, own[1]));
        let (mut moved, before) = ([0.0; 2], own);
        for &i in *chosen {
            let mut y = x;
            for _ in 0..2 {
                let corrected = plus(plus(slope(y, CLIENTS[i]), -1.0, before[i]), 1.0, all);
                y = plus(y, -INNER, corrected);
            }
            own[i] = plus(plus(before[i], -1.0, all), 1.0 / (2.0 * INNER), plus(x, -1.0, y));
            moved = plus(moved, 1.0 / chosen.len() as f64, plus(y, -1.0, x));
        }
        x = plus(x, global, moved);
    }
    x
}

#[test]
fn scaffold_corrects_the_drift_of_clients() {
    let method = "scaffold(rate: 0.1, steps: 2)";
    for rounds in 1..4 {
        let steps = format!("train.steps = {rounds}");
        let both: Vec<&[usize]> = vec![&[0, 1]; rounds];
        assert_point(&trained(method, &[AVERAGED, &steps]), scaffold(&both, 1.0), method);
        let global = trained(method, &[&steps]);
        assert_point(&global, scaffold(&both, OUTER), "with a global step size");
    }
    // Where it ends, the mean gradient is zero, which local steps without correction miss.
    let far = trained(method, &[AVERAGED, "train.steps = 400"]);
    assert_point(&far, [-1.0, 6.0], "the minimiser of the mean risk");
    let plain = trained("local_sgd(rate: 0.1, steps: 2)", &[AVERAGED, "train.steps = 400"]);
    assert!((number(&plain, "w") + 1.0).abs() < 1e-9, "equal curvatures leave no drift: {}", number(&plain, "w"));
}

#[test]
fn scaffold_with_partial_participation() {
    // Which client takes part is drawn; the two orders differ, and one of them is what happened.
    let method = "scaffold(rate: 0.1, steps: 2)";
    let cell = trained(method, &[AVERAGED, "train.steps = 3", "train.tasks = pool(clients, batch: 1)"]);
    let orders = (0..8).map(|bits| [bits & 1, bits >> 1 & 1, bits >> 2]);
    let fits = |order: [usize; 3]| {
        let rounds: Vec<&[usize]> = order.iter().map(|&i| if i == 0 { &[0][..] } else { &[1][..] }).collect();
        let wanted = scaffold(&rounds, 1.0);
        (number(&cell, "w") - wanted[0]).abs() < 1e-12 && (number(&cell, "v") - wanted[1]).abs() < 1e-12
    };
    assert_eq!(orders.filter(|order| fits(*order)).count(), 1);
}

/// A copy after `steps` steps near `anchor` in the head, with the body as it is.
fn personal(mut own: f64, body: f64, c: f64, anchor: f64, steps: usize) -> f64 {
    for _ in 0..steps {
        own -= INNER * (slope([own, body], c)[0] + 0.5 * (own - anchor));
    }
    own
}

#[test]
fn methods_with_personal_copies() {
    let ditto = trained("ditto(head, rate: 0.1, weight: 0.5, own_steps: 2)", &[AVERAGED]);
    let wanted = mean(|c| adapted(START, c, HEAD));
    assert_point(&ditto, wanted, "ditto");
    let copies = |cell: &Cell| cell.weights.iter().find(|(n, _)| n == "personal.w.copy").expect("copies").1.clone();
    for (found, c) in copies(&ditto).data().iter().zip(CLIENTS) {
        let wanted = personal(START[0], START[1], c, adapted(START, c, HEAD)[0], 2);
        assert!((found - wanted).abs() < 1e-12, "ditto's copy");
    }
    // w - eta lambda (w - copy): the loss reads the copy alone.
    let pfedme = trained("pfedme(head, rate: 0.2, own_rate: 0.1, weight: 0.5, own_steps: 3)", &[AVERAGED]);
    let wanted = mean(|c| {
        let own = personal(START[0], START[1], c, START[0], 3);
        [START[0] - 0.2 * 0.5 * (START[0] - own), START[1]]
    });
    assert_point(&pfedme, wanted, "pfedme");
}

/// A data problem, for the methods that pass over examples.
const EXAMPLES: &str = "
edition 2026
experiment examples
dim d = 3
data table = csv(\"table.csv\", features: 0..3, target: 3)
tasks clients from table { partition = iid(clients: 4); hold_out = 0.5 }
model net(x: [d]) -> [] {
  group body { param B: [d, d] ~ normal }
  group head { param w: [d] = 0 }
  x @ B @ w
}
train {
  tasks = pool(clients)
  loss  = half_squared
  METHOD
  steps = 1
}
evaluate test { tasks = pool(clients); TUNED }
measure mse = mean(squared) on test
";

fn examples(method: &str, tuned: &str) -> Plan {
    compile(&EXAMPLES.replace("METHOD", method).replace("TUNED", tuned), &[])
}

#[test]
fn methods_that_stand_for_settings_checked_elsewhere() {
    let update = "update = sgd(rate: 0.3)";
    for (method, settings) in [
        // tests/parity/federated.rs
        ("fedavg(rate: 0.1)", "adapt = sgd(all, rate: 0.1, epochs: 1, batch: 10); outer = average(weights: examples)".to_owned()),
        (
            "fedper(head, rate: 0.1, epochs: 2)",
            "adapt = sgd(all, rate: 0.1, epochs: 2, batch: 10); outer = average(weights: examples); keep = head".to_owned(),
        ),
        (
            "lg_fedavg(body, rate: 0.1)",
            "adapt = sgd(all, rate: 0.1, epochs: 1, batch: 10); outer = average(weights: examples); keep = body".to_owned(),
        ),
        (
            "fedrep(head, body, rate: 0.1, head_epochs: 3)",
            "adapt = [sgd(head, rate: 0.1, epochs: 3, batch: 10), sgd(body, rate: 0.1, epochs: 1, batch: 10)]; keep = head; outer = average".to_owned(),
        ),
        // tests/parity/added.rs
        (
            "fedprox(rate: 0.1, weight: 0.5)",
            "adapt = sgd(all, rate: 0.1, epochs: 1, batch: 10, toward: start, weight: 0.5); outer = average(weights: examples)".to_owned(),
        ),
        (
            "input_prompt(x, rest: [body, head])",
            format!("with = prompt(on: x); freeze = [body, head]; adapt = none; outer = mean; {update}"),
        ),
    ] {
        let outer = if method.starts_with("input_prompt") { update } else { "" };
        let short = examples(&format!("method = {method}\n{outer}"), "adapt = none");
        assert_eq!(short.arms, examples(&settings, "adapt = none").arms, "{method}");
    }
    let trained = format!("adapt = none; outer = mean; {update}");
    for (method, settings) in [
        ("fine_tuning(head, rate: 0.1, steps: 5)", "adapt = gradient(head, rate: 0.1, steps: 5)"),
        (
            "lora_tuning(B, rank: 1, rate: 0.1, steps: 5)",
            "with = lora(on: B, rank: 1); adapt = gradient(lora, rate: 0.1, steps: 5)",
        ),
        // A method of training says how tasks adapt.
        ("fedavg(rate: 0.1, epochs: 2)", "adapt = sgd(all, rate: 0.1, epochs: 2, batch: 10)"),
        ("fomaml(head, rate: 0.1)", "adapt = gradient(head, rate: 0.1, steps: 1)"),
        (
            "ditto(head, rate: 0.1, weight: 2)",
            "with = personal(on: head); adapt = [gradient(head, rate: 0.1, steps: 1, without: personal), gradient(personal, rate: 0.1, steps: 1, toward: head, weight: 2)]",
        ),
    ] {
        let short = examples(&trained, &format!("method = {method}"));
        assert_eq!(short.arms, examples(&trained, settings).arms, "{method}");
    }
    let lora = examples(
        &format!("method = meta_lora(B, rank: 2, rate: 0.1); {update}; split = {{ support: 2, query: 2 }}"),
        "adapt = none; with = none",
    );
    let settings = "with = lora(on: B, rank: 2, symmetric: true, zero: false); keep = lora; adapt = gradient(lora, rate: 0.1, steps: 10); through = stop; outer = mean";
    let long =
        examples(&format!("{settings}; {update}; split = {{ support: 2, query: 2 }}"), "adapt = none; with = none");
    assert_eq!(lora.arms, long.arms, "meta_lora");
}

#[test]
fn a_section_overrides_its_method_and_an_arm_its_arguments() {
    let own = "
method gently(on, rate: 0.1) { method = maml(on, rate: rate); through = first_order }
arm main  {}
arm fast  { train.method.rate = 0.2 }
arm exact { train.through = exact }
";
    let text = PROBLEM.replace("train {", "train {\n  method = gently(all)") + own;
    let plan = compile(&text, &[]);
    let long = |settings: &str| {
        compile(&PROBLEM.replace("train {", &format!("train {{\n  {settings}")), &[]).arms[0].train.clone()
    };
    let of = |name: &str| arm(&plan, name).train.clone();
    assert_eq!(of("main"), long("adapt = gradient(all, rate: 0.1, steps: 1); through = first_order; outer = mean"));
    assert_eq!(of("fast"), long("adapt = gradient(all, rate: 0.2, steps: 1); through = first_order; outer = mean"));
    assert_eq!(of("exact"), long("adapt = gradient(all, rate: 0.1, steps: 1); through = exact; outer = mean"));
}

#[test]
fn the_page_of_algorithms_shows_the_library() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let page = read("docs/algorithms.md");
    for part in ["meta", "fed", "peft"] {
        let text = read(&format!("src/std/{part}.meta"));
        let (_, methods) = text.split_once("edition 2026\n").expect("the edition comes first");
        assert!(page.contains(methods.trim()), "src/std/{part}.meta is not shown as it is");
    }
}
