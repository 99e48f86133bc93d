//! Dropout against the scalar formula: masks by their addresses, steps and derivatives through them, and where nothing is dropped.

use metadsl::exec::exact::{Exact, Path};
use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::plan::Plan;
use metadsl::rng::Stream;
use metadsl::train::{Cell, DataSets};

use crate::added::TOKENS;
use crate::compile::compile;
use crate::harness::arm;
use crate::run::run;

const RATE: f64 = 0.4;

/// Two tasks, each with one kind of example: `x = [c, 2 c]` and the target 1.
const TASKS: &str = "
tasks number {
  stratum low(1)  { c: [] = 0.5 }
  stratum high(1) { c: [] = -1.5 }
  example {
    at: [d] = 0
    x: [d] = c * (positions(at) + 1)
    y: [] = 1
  }
}
";

/// A model of these tasks that drops entries of its input.
const NUMBERS: &str = "
edition 2026
experiment dropped
dim d = 2
TASKS
model net(x: [d]) -> [] {
  param w: [d] = 0.75
  let kept = dropout(x, rate: 0.4)
  kept @ w
}
train {
  tasks = pool(number); split = { support: 2, query: 3 }; loss = half_squared; precision = f64
  TRAIN
}
evaluate tuned {
  tasks = pool(number); split = { support: 2, query: 3 }
  EVALUATE
}
measure mse = mean(squared) on tuned
";

const SCALES: [(&str, f64); 2] = [("low", 0.5), ("high", -1.5)];

/// A text with the tasks in it.
fn of_tasks(text: &str) -> String {
    text.replace("TASKS", TASKS)
}

fn plan(train: &str, evaluate: &str) -> Plan {
    compile(&of_tasks(NUMBERS).replace("TRAIN", train).replace("EVALUATE", evaluate), &[])
}

fn cell(plan: &Plan) -> Cell {
    run(&Reference::new(Precision::F64), arm(plan, "main"), 0, &DataSets::new())
}

/// What some examples of a task are behind the mask of `~kept`, by the address of their draws.
fn behind(scope: &str, task: usize, step: u64, path: &[u64], examples: usize) -> Vec<[f64; 2]> {
    let (stratum, c) = SCALES[task];
    let stream = Stream::new(0, &["dropout", scope, "number", stratum]).child(0).child(step);
    let stream = path.iter().fold(stream, |stream, &part| stream.child(part)).child(1).child_str("~kept");
    let entry = |i: usize, j: usize| {
        let kept = stream.uniform((2 * i + j) as u64) >= RATE;
        if kept { c * (j + 1) as f64 / (1.0 - RATE) } else { 0.0 }
    };
    (0..examples).map(|i| [entry(i, 0), entry(i, 1)]).collect()
}

fn loss(w: [f64; 2], examples: &[[f64; 2]]) -> f64 {
    let of_one = |x: &[f64; 2]| (x[0] * w[0] + x[1] * w[1] - 1.0).powi(2) / 2.0;
    examples.iter().map(of_one).sum::<f64>() / examples.len() as f64
}

/// One step of gradient descent on the mean of the loss.
fn step(w: [f64; 2], examples: &[[f64; 2]], rate: f64) -> [f64; 2] {
    let mut gradient = [0.0; 2];
    for x in examples {
        let gap = x[0] * w[0] + x[1] * w[1] - 1.0;
        gradient.iter_mut().zip(x).for_each(|(g, x)| *g += gap * x / examples.len() as f64);
    }
    [w[0] - rate * gradient[0], w[1] - rate * gradient[1]]
}

fn assert_near(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    let near = found.iter().zip(wanted).all(|(f, w)| (f - w).abs() <= tolerance);
    assert!(near, "{found:?}, not {wanted:?}");
}

#[test]
fn a_meta_gradient_goes_through_the_masks_of_every_inner_step() {
    let train = "adapt = gradient(w, rate: 0.05, steps: 2); outer = mean; update = sgd(rate: 0.02); steps = 2";
    let cell = cell(&plan(train, "adapt = none"));
    // The passes of a step's program: two inner steps on the support examples, then the query examples.
    let objective = |w: [f64; 2], number: u64| {
        let of_task = |task: usize| {
            let inner = (0..2).fold(w, |w, pass| step(w, &behind("train", task, number, &[0, pass], 2), 0.05));
            loss(inner, &behind("train", task, number, &[0, 2], 3))
        };
        (of_task(0) + of_task(1)) / 2.0
    };
    let mut w = [0.75, 0.75];
    for number in 1..=2 {
        let along = |i: usize| {
            let moved = |by: f64| std::array::from_fn(|j| w[j] + if i == j { by } else { 0.0 });
            (objective(moved(1e-5), number) - objective(moved(-1e-5), number)) / 2e-5
        };
        w = [w[0] - 0.02 * along(0), w[1] - 0.02 * along(1)];
    }
    assert_near(cell.weights[0].1.data(), &w, 1e-9);
    // What is measured sees the examples as they are.
    let whole = |c: f64| 2.0 * loss(w, &[[c, 2.0 * c]]);
    assert_near(&[cell.series[0].values[1]], &[(whole(0.5) + whole(-1.5)) / 2.0], 1e-8);
}

#[test]
fn an_evaluation_drops_while_its_tasks_take_steps_and_not_where_it_measures() {
    let train = "adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 0";
    let cell = cell(&plan(train, "adapt = gradient(w, rate: 0.2, steps: 3)"));
    let of_task = |task: usize| {
        let steps = 1..=3;
        let w = steps.fold([0.75, 0.75], |w, n| step(w, &behind("tuned", task, 0, &[1, n, 0], 2), 0.2));
        2.0 * loss(w, &[[SCALES[task].1, 2.0 * SCALES[task].1]])
    };
    assert_near(&[cell.series[0].values[0]], &[(of_task(0) + of_task(1)) / 2.0], 1e-12);
}

#[test]
fn averaged_parameters_come_from_steps_with_masks_of_their_own() {
    let train = "adapt = [sgd(w, rate: 0.1, steps: 1), sgd(w, rate: 0.2, steps: 2)]; outer = average; steps = 2";
    let cell = cell(&plan(train, "adapt = none"));
    let mut w = [0.75, 0.75];
    for number in 1..=2 {
        let of_task = |task: usize| {
            let seen = |block: u64, n: u64| behind("train", task, number, &[1 + block, n, 0], 2);
            let w = step(w, &seen(0, 1), 0.1);
            step(step(w, &seen(1, 1), 0.2), &seen(1, 2), 0.2)
        };
        let (a, b) = (of_task(0), of_task(1));
        w = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    }
    assert_near(cell.weights[0].1.data(), &w, 1e-12);
}

#[test]
fn a_closed_form_drops_in_training_and_not_in_an_evaluation() {
    let train = "adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 0";
    let solved = cell(&plan(train, "adapt = ridge(w, penalty: 0.5)")).series[0].values[0];
    // The minimiser of (x w - 1)^2 / 2 + |w|^2 / 4 along x.
    let of_task = |c: f64| {
        let square = 5.0 * c * c;
        let prediction = square / (square + 0.5);
        (prediction - 1.0).powi(2)
    };
    assert_near(&[solved], &[(of_task(0.5) + of_task(-1.5)) / 2.0], 1e-12);
    let train = "adapt = ridge(w, penalty: 0.5); outer = average; steps = 1";
    let trained = cell(&plan(train, "adapt = none"));
    let of_task = |task: usize| {
        // The normal equations of two examples behind their masks.
        let seen = behind("train", task, 1, &[1, 1, 0], 2);
        let sum = |f: &dyn Fn(&[f64; 2]) -> f64| seen.iter().map(f).sum::<f64>() / 2.0;
        let (a, b, c) = (sum(&|x| x[0] * x[0]) + 0.5, sum(&|x| x[0] * x[1]), sum(&|x| x[1] * x[1]) + 0.5);
        let (p, q) = (sum(&|x| x[0]), sum(&|x| x[1]));
        let determinant = a * c - b * b;
        [(c * p - b * q) / determinant, (a * q - b * p) / determinant]
    };
    let (a, b) = (of_task(0), of_task(1));
    assert_near(trained.weights[0].1.data(), &[(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0], 1e-12);
}

#[test]
fn a_formula_that_calls_the_model_twice_drops_twice() {
    let text = of_tasks(NUMBERS).replace("loss = half_squared", "loss = (net(x) - net(x)) ^ 2");
    let train = "adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 1";
    let text = text.replace("TRAIN", train).replace("EVALUATE", "adapt = none");
    let plan = compile(&text.replace("mean(squared)", "mean((net(x) - net(x)) ^ 2)"), &[]);
    let cell = cell(&plan);
    assert_eq!(cell.series[0].values, [0.0, 0.0]);
    assert_ne!(cell.weights[0].1.data(), [0.75, 0.75]);
}

#[test]
fn a_rate_of_zero_leaves_the_plan_as_it_is() {
    let evaluated = "adapt = gradient(w, rate: 0.2, steps: 3)";
    let train = "adapt = none; outer = mean; update = sgd(rate: 0.1); steps = 1";
    let text = of_tasks(NUMBERS).replace("TRAIN", train).replace("EVALUATE", evaluated);
    let zero = compile(&text.replace("rate: 0.4", "rate: 0"), &[]);
    let without = compile(&text.replace("dropout(x, rate: 0.4)", "x"), &[]);
    assert_eq!(zero, without);
    assert_ne!(compile(&text, &[]), without);
    let unread = text.replace("  kept @ w", "  let never = dropout(kept, rate: 0.4)\n  kept @ w");
    assert_eq!(compile(&unread, &[]), compile(&text, &[]), "nothing is drawn for a value that nothing reads");
}

/// A network whose blocks drop everywhere, weights of attention among it.
const BLOCKS: &str = "
edition 2026
experiment blocks
dim rows = 3
dim width = 4
tasks waves {
  phase: [width] ~ normal
  example { x: [rows, width] ~ normal; y: [] = mean(sin(x + phase)) }
}
model net(x: [rows, width]) -> [] {
  let blocks = repeat(encoder_block(x, heads: 2, inner: 5, dropout: 0.2), times: 2)
  let mixed  = mixer_block(blocks, rows: 3, columns: 5, dropout: 0.1)
  let head   = linear(flatten(mixed), 1)
  head[0]
}
train {
  tasks = fresh(waves, 4); split = { support: 3, query: 3 }; loss = squared
  adapt = gradient(head, rate: 0.1, steps: 2); outer = mean; update = adam(rate: 0.01); steps = 3
}
evaluate tuned { tasks = fresh(waves, 5); split = { support: 3, query: 3 }; adapt = gradient(all, rate: 0.01, steps: 2) }
measure mse = mean(squared) on tuned every 1
";

#[test]
fn masks_are_the_same_on_any_number_of_threads() {
    let plan = compile(BLOCKS, &[]);
    let masks = &arm(&plan, "main").model.dropout;
    let names: Vec<&str> = masks.iter().map(|mask| mask.name.as_str()).collect();
    assert_eq!(names.len(), 12, "{names:?}");
    assert!(names.contains(&"~blocks.1.attention.mixed"), "{names:?}");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| run(&Exact::<f32>::new(Path::detect()), arm(&plan, "main"), 0, &DataSets::new()))
    };
    let one = on(1);
    assert_eq!(one, on(3));
    assert!(one.series[0].values.iter().all(|value| value.is_finite()));
}

#[test]
fn rows_of_a_prompt_have_masks_of_their_own() {
    let values = "let z = dropout(2 * x, rate: 0.25); let kept = dropout(tanh(z), rate: 0.5); kept @ v";
    let steps = "with = prompt(on: z, length: 6); adapt = gradient(prompt, rate: 0.1, steps: 1); steps = 2";
    let plan = compile(&TOKENS.replace("MODEL", values).replace("TRAIN", steps), &[]);
    let model = &arm(&plan, "main").model;
    let rates: Vec<(&str, f64)> = model.dropout.iter().map(|mask| (mask.name.as_str(), mask.rate)).collect();
    assert_eq!(rates, [("~z", 0.25), ("~kept", 0.5)]);
    let port = |name: &str| model.forward.inputs.iter().find(|port| port.name == name).expect("a mask");
    assert_eq!(model.forward.dims(port("~z").node), [3, 2]);
    assert_eq!(model.forward.dims(port("~kept").node), [9, 2]);
    let cell = run(&Reference::new(Precision::F64), arm(&plan, "main"), 0, &DataSets::new());
    assert!(cell.series[0].values.iter().all(|value| value.is_finite()));
}

/// A frozen matrix with an adapter.
const ADAPTED: &str = "
edition 2026
experiment adapted
dim d = 2
dim k = 3
TASKS
model net(x: [d]) -> [] {
  param W: [d, k] = 0.25
  sum(x @ W)
}
train {
  tasks = pool(number); split = { support: 2, query: 3 }; loss = half_squared; precision = f64; freeze = W
  with = lora(on: W, rank: 2, alpha: 3, std: 0.5, dropout: 0.4)
  adapt = none; outer = mean; update = sgd(rate: 0.005); steps = STEPS
}
evaluate own { tasks = pool(number); split = { support: 2, query: 3 }; adapt = none }
measure mse = mean(squared) on own every 1
";

#[test]
fn an_adapter_sees_less_and_its_matrix_does_not() {
    let run_for = |steps: &str| cell(&compile(&of_tasks(ADAPTED).replace("STEPS", steps), &[]));
    let begin = run_for("0");
    let end = run_for("3");
    let part = |cell: &Cell, name: &str| -> Vec<f64> {
        cell.weights.iter().find(|(known, _)| known == name).expect("a part").1.data().to_vec()
    };
    let (u, v) = (part(&begin, "lora.W.U"), part(&begin, "lora.W.V"));
    // Of `x W` and of `(m x) U V^T`, summed; the last six numbers are those of `V`.
    let predict = |parts: &[f64], x: [f64; 2], dropped: [f64; 2]| {
        let product: f64 = (0..2)
            .map(|r| {
                let left: f64 = (0..2).map(|i| dropped[i] * parts[2 * i + r]).sum();
                let right: f64 = (0..3).map(|j| parts[4 + 2 * j + r]).sum();
                left * right
            })
            .sum();
        0.75 * (x[0] + x[1]) + 1.5 * product
    };
    let objective = |parts: &[f64], number: u64| {
        let of_task = |task: usize| {
            let (stratum, c) = SCALES[task];
            let stream = Stream::new(0, &["dropout", "train", "number", stratum]).child(0).child(number);
            let stream = stream.child(0).child(0).child(1).child_str("~lora.W");
            let of_one = |i: u64| {
                let x = [c, 2.0 * c];
                let kept = |j: usize| if stream.uniform(2 * i + j as u64) < RATE { 0.0 } else { x[j] / (1.0 - RATE) };
                (predict(parts, x, [kept(0), kept(1)]) - 1.0).powi(2) / 2.0
            };
            (0..3).map(of_one).sum::<f64>() / 3.0
        };
        (of_task(0) + of_task(1)) / 2.0
    };
    let mut parts = [u, v].concat();
    for number in 1..=3 {
        let along = |i: usize| {
            let moved = |by: f64| {
                let mut moved = parts.clone();
                moved[i] += by;
                objective(&moved, number)
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        };
        parts = (0..parts.len()).map(|i| parts[i] - 0.005 * along(i)).collect();
    }
    assert_near(&[part(&end, "lora.W.U"), part(&end, "lora.W.V")].concat(), &parts, 1e-8);
    let measured = |c: f64| (predict(&parts, [c, 2.0 * c], [c, 2.0 * c]) - 1.0).powi(2);
    assert_near(&[end.series[0].values[3]], &[(measured(0.5) + measured(-1.5)) / 2.0], 1e-8);
}

#[test]
fn every_product_of_an_adapted_network_has_a_mask() {
    let text = BLOCKS.replace(", dropout: 0.2", "").replace(", dropout: 0.1", "");
    let with = "freeze = blocks; with = lora(on: [\"*.query.weight\", \"*.value.weight\"], rank: 1, dropout: 0.1)";
    let text = text.replace("adapt = gradient(head, rate", &format!("{with}; adapt = gradient(lora, rate"));
    let plan = compile(&text, &[]);
    let model = &arm(&plan, "main").model;
    let names: Vec<&str> = model.dropout.iter().map(|mask| mask.name.as_str()).collect();
    let wanted = ["0.attention.query", "0.attention.value", "1.attention.query", "1.attention.value"];
    assert_eq!(names, wanted.map(|name| format!("~lora.blocks.{name}.weight")));
    let exact = run(&Exact::<f32>::new(Path::detect()), arm(&plan, "main"), 0, &DataSets::new());
    assert!(exact.series[0].values.iter().all(|value| value.is_finite()));
}

#[test]
fn an_adapter_that_another_value_stands_in_front_of_drops_nothing() {
    let ended = |dropout: &str| {
        let text = of_tasks(ADAPTED).replace(", dropout: 0.4)", dropout).replace("lora(", "[lora(");
        cell(&compile(&text.replace("STEPS", "2"), &[])).weights
    };
    let with = ended(", dropout: 0.4), personal(on: W)]");
    assert_eq!(with, ended("), personal(on: W)]"));
    let copy = &with.iter().find(|(name, _)| name == "personal.W.copy").expect("a copy").1;
    assert_ne!(copy.data(), [0.25; 6]);
}
