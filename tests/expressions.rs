//! What expressions mean: functions, the model called in losses and metrics, constant positions, agreement of codes.

#[path = "common/compile.rs"]
mod compile;
#[path = "common/run.rs"]
mod run;

use compile::compile;
use metadsl::catalog::Metric;
use metadsl::exec::Executor;
use metadsl::exec::reference::Reference;
use metadsl::ir::{Builder, Precision, Tensor};
use metadsl::train::DataSets;

/// Lines in three dims; `LOSS`, `MODEL` and further items are filled in.
const LINES: &str = "
edition 2026
experiment expressions
dim d = 3
dim n = 4
tasks lines {
  slope: [d] ~ normal
  example { x: [d] ~ normal; xs: [n, d] ~ normal; y: [] = x @ slope; label: [] = sign(y) }
}
model line(x: [d]) -> [] { param w: [d] = 0.5; x @ w }
train {
  tasks = fresh(lines, 2); split = { support: 5, query: 5 }; loss = LOSS
  adapt = gradient(w, rate: 0.1, steps: 1); outer = mean; update = sgd(rate: 0.1); steps = 3
}
evaluate test { tasks = fresh(lines, 3); split = { support: 1, query: 6 }; adapt = none }
measure value = mean(METRIC) on test every 1
";

/// The values of the measure at every step.
fn series(loss: &str, metric: &str, more: &str) -> Vec<f64> {
    let text = format!("{}{more}", LINES.replace("LOSS", loss).replace("METRIC", metric));
    let plan = compile(&text, &[]);
    plan.verify().expect("a whole plan");
    let cell = run::run(&Reference::new(Precision::F64), &plan.arms[0], 0, &DataSets::new());
    cell.series[0].values.clone()
}

#[track_caller]
fn assert_close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + a.abs())), "{a:?}\n{b:?}");
}

const SQUARE: &str = "fn square(a: [], b: []) -> [] { let gap = a - b; gap ^ 2 }\n";

#[test]
fn a_formula_is_the_loss_it_writes_out() {
    let built_in = series("squared", "squared", "");
    assert!(built_in[3] < built_in[0], "{built_in:?} falls");
    assert_close(&series("(line(x) - y) ^ 2", "squared", ""), &built_in);
    assert_close(&series("square(line(x), y)", "square(b: y, a: line(x))", SQUARE), &built_in);
    assert_close(
        &series("half_squared", "half_squared", ""),
        &series("square(y, line(x)) / 2", "0.5 * square(y, line(x))", SQUARE),
    );
}

#[test]
fn a_hinge_loss_is_one_minus_the_margin_where_that_is_positive() {
    let hinge = "relu(1 - label * line(x))";
    let found = series(hinge, hinge, "");
    assert!(found[0] != found[3], "{found:?} moves");
    // The mean of the positive part is the mean of the sum with the magnitude, halved.
    let halved = "0.5 * (1 - label * line(x) + abs(1 - label * line(x)))";
    assert_close(&found, &series(hinge, halved, ""));
}

#[test]
fn a_function_goes_along_a_further_dim() {
    let zero = vec![0.0; 4];
    // A linear model applied to each row of `xs`: the sum over rows is the model of the sum of the rows.
    let rows = "fn ones(x: []) -> [n] { 1 + 0 * x }\n";
    assert_close(&series("squared", "(sum(line(xs)) - line(ones(0) @ xs)) ^ 2", rows), &zero);
    let twice = "fn twice(a: [d]) -> [d] { 2 * a }\n";
    assert_close(&series("squared", "sum((twice(xs) - 2 * xs) ^ 2)", twice), &zero);
    let gap = "fn gap(a: [d], b: [d]) -> [] { sum(a - b) }\n";
    assert_close(&series("squared", "(sum(gap(xs, x)) - (sum(xs) - 4 * sum(x))) ^ 2", gap), &zero);
}

#[test]
fn positions_are_constant_and_counted_from_zero() {
    let zero = vec![0.0; 4];
    assert_close(&series("squared", "(x[0] + x[1] + x[d - 1] - sum(x)) ^ 2", ""), &zero);
    assert_close(&series("squared", "(xs[2][1] - xs[2, 1]) ^ 2", ""), &zero);
    assert_close(
        &series(
            "squared",
            "sum((xs[0] + xs[1] + xs[2] + xs[3] - ones(0) @ xs) ^ 2)",
            "fn ones(x: []) -> [n] { 1 + 0 * x }\n",
        ),
        &zero,
    );
}

#[test]
fn a_transposed_matrix_has_its_last_two_dims_swapped() {
    let zero = vec![0.0; 4];
    assert_close(
        &series(
            "squared",
            "sum((transpose(xs) @ y_times(y) - y_times(y) @ xs) ^ 2)",
            "fn y_times(y: []) -> [n] { y }\n",
        ),
        &zero,
    );
    assert_close(&series("squared", "(transpose(xs)[1, 2] - xs[2, 1]) ^ 2", ""), &zero);
}

/// A metric of outputs `[n, p]` and labels, with the examples that are there.
fn together(metric: &Metric, outputs: &[&[f64]], labels: &[f64], present: &[f64]) -> f64 {
    let (n, p) = (outputs.len(), outputs[0].len());
    let mut b = Builder::new();
    let (x, y, mask) = (b.input("x", &[n, p]), b.input("y", &[n]), b.input("mask", &[n]));
    let value = metric.lower_together(&mut b, x, y, mask).expect("a metric of all examples");
    let function = b.finish("metric", vec![("value".into(), value)]);
    let exec = Reference::new(Precision::F64);
    let kernel = exec.compile(&function).expect("compiles");
    let tensors = [
        Tensor::new(vec![n, p], outputs.concat()),
        Tensor::new(vec![n], labels.to_vec()),
        Tensor::new(vec![n], present.to_vec()),
    ];
    let args: Vec<_> = tensors.iter().map(|t| exec.upload(t).expect("uploads")).collect();
    let results = Executor::run(&exec, &kernel, &args.iter().collect::<Vec<_>>()).expect("runs");
    exec.download(&results[0]).expect("downloads").data()[0]
}

#[test]
fn agreement_of_sign_codes_and_classes() {
    let (nmi, purity) = (Metric::Nmi { classes: 3 }, Metric::Purity { classes: 3 });
    let all = [1.0; 4];
    let codes: [&[f64]; 4] = [&[-1.0, 0.5], &[-0.2, 3.0], &[0.1, -1.0], &[2.0, -0.3]];
    assert!((together(&nmi, &codes, &[1.0, 1.0, 0.0, 0.0], &all) - 1.0).abs() < 1e-12);
    assert!(together(&nmi, &codes, &[0.0, 1.0, 0.0, 1.0], &all).abs() < 1e-12);
    // sklearn.metrics.normalized_mutual_info_score([0, 0, 1, 2], [0, 0, 1, 1]) = 0.8
    assert!((together(&nmi, &codes, &[0.0, 0.0, 1.0, 2.0], &all) - 0.8).abs() < 1e-12);
    assert!((together(&purity, &codes, &[0.0, 0.0, 1.0, 2.0], &all) - 0.75).abs() < 1e-12);
    // An example that is not there counts nothing; one class and one code agree in nothing.
    assert!((together(&purity, &codes, &[0.0, 0.0, 1.0, 2.0], &[1.0, 1.0, 1.0, 0.0]) - 1.0).abs() < 1e-12);
    assert_eq!(together(&nmi, &codes[..2], &[0.0, 0.0], &all[..2]), 0.0);
}
