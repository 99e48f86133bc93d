//! Ridge heads and the meta-gradient through them; least squares where the loss is quadratic, and where it is not.

use metadsl::catalog::Solver;
use metadsl::diag::{Diagnostic, Severity, Sink};
use metadsl::ir::Tensor;
use metadsl::lang;
use metadsl::plan::lower::{self, ClientSizes, Input, LowerError};
use serde_json::Value as Json;

use crate::compile::{compile, fields, read};
use crate::harness::{adapt, arm, assert_close, difference, local_programs, reference, runners, step_program, tensor};
use crate::meta::LINEAR;

const RIDGE: &str = "train.adapt = ridge(w, penalty: 0.1)";

/// The errors that the checker finds.
fn mistakes(text: &str, overrides: &[&str]) -> Vec<Diagnostic> {
    let mut sink = Sink::new();
    assert!(lang::compile(&read(text), &fields(overrides), &mut sink).is_none(), "nothing wrong was found");
    sink.finish().into_iter().filter(|d| d.severity == Severity::Error).collect()
}

/// One task with six support examples.
fn one_task<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["train.tasks = fresh(linear, 1)", "train.split = { support: 6, query: 4 }"], more].concat()
}

/// The one task of `ridge.json`; the head starts somewhere, which must not matter.
fn ridge_input(inputs: &Json, input: Input) -> Tensor {
    let task = |name: &str| {
        let values = tensor(&inputs[name]);
        Tensor::stack(values.dims(), std::slice::from_ref(&values))
    };
    match input {
        Input::Param(0) => tensor(&inputs["B"]),
        Input::Param(1) => Tensor::new(vec![2], vec![0.8, -1.3]),
        Input::Support(0) => task("support_x"),
        Input::Support(1) => task("support_y"),
        Input::Query(0) => task("query_x"),
        Input::Query(1) => task("query_y"),
        Input::Weights => Tensor::full(&[1], 1.0),
        other => panic!("a task has no {other:?}"),
    }
}

#[test]
fn a_ridge_head() {
    let json = reference("ridge.json");
    let plan = compile(LINEAR, &one_task(&[RIDGE, "train.outer = average()"]));
    let arm = arm(&plan, "main");
    let (programs, _) = local_programs(arm, 6);
    for runner in runners() {
        let adapted = adapt(&*runner, arm, &programs, &|input| ridge_input(&json["inputs"], input));
        assert_close(&adapted["w"].row(0), &tensor(&json["outputs"]["w"]), runner.tolerance(), "w");
        assert_close(&adapted["B"].row(0), &tensor(&json["inputs"]["B"]), 1e-6, "B rests");
    }
}

#[test]
fn the_meta_gradient_through_a_ridge_head() {
    let json = reference("ridge.json");
    for (through, wanted) in [("exact", "gradient_B_through_the_solve"), ("first_order", "gradient_B_with_w_held")] {
        let plan = compile(LINEAR, &one_task(&[RIDGE, &format!("train.through = {through}")]));
        let program = step_program(arm(&plan, "main"));
        for runner in runners() {
            let after = runner.run(&program, &|input| ridge_input(&json["inputs"], input));
            let gradient = difference(&tensor(&json["inputs"]["B"]), &after["B"]);
            assert_close(&gradient, &tensor(&json["outputs"][wanted]), runner.tolerance(), wanted);
            assert_close(&after["losses"].row(0), &tensor(&json["outputs"]["query_loss"]), runner.tolerance(), "loss");
        }
        if through == "exact" {
            // The minimiser does not depend on where the head starts.
            let after = runners()[0].run(&program, &|input| ridge_input(&json["inputs"], input));
            let start = ridge_input(&json["inputs"], Input::Param(1));
            assert!(difference(&start, &after["w"]).data().iter().all(|g| g.abs() < 1e-12), "{:?}", after["w"]);
        }
    }
}

/// The `w` that minimises `|features w - y|^2` for two columns, by Cramer's rule on the normal equations.
fn least_squares(features: &[[f64; 2]], y: &[f64]) -> Tensor {
    let mut s = [[0.0; 2]; 2];
    let mut z = [0.0; 2];
    for (row, y) in features.iter().zip(y) {
        for i in 0..2 {
            z[i] += row[i] * y;
            (0..2).for_each(|j| s[i][j] += row[i] * row[j]);
        }
    }
    let det = s[0][0] * s[1][1] - s[0][1] * s[1][0];
    Tensor::new(vec![2], vec![(z[0] * s[1][1] - s[0][1] * z[1]) / det, (s[0][0] * z[1] - z[0] * s[1][0]) / det])
}

/// `x . B` for every row of `x`.
fn features(x: &Tensor, b: &Tensor) -> Vec<[f64; 2]> {
    let times = |row: &[f64], j: usize| row.iter().zip(b.data().chunks(2)).map(|(x, b)| x * b[j]).sum();
    x.data().chunks(5).map(|row| [times(row, 0), times(row, 1)]).collect()
}

#[test]
fn least_squares_is_exact_on_examples() {
    let json = reference("ridge.json");
    let plan = compile(LINEAR, &one_task(&["train.adapt = least_squares(w)", "train.outer = average()"]));
    let arm = arm(&plan, "main");
    let (programs, _) = local_programs(arm, 6);
    let inputs = &json["inputs"];
    let wanted = least_squares(
        &features(&tensor(&inputs["support_x"]), &tensor(&inputs["B"])),
        tensor(&inputs["support_y"]).data(),
    );
    for runner in runners() {
        let adapted = adapt(&*runner, arm, &programs, &|input| ridge_input(inputs, input));
        assert_close(&adapted["w"].row(0), &wanted, 10.0 * runner.tolerance(), "w");
    }
}

/// The population loss of the linear model: no examples at all.
const RISK: &str = "
edition 2026
experiment population
dim d = 5
dim k = 2
tasks linear {
  target: [d] ~ normal
  risk = 0.5 * sum((B @ w - target) ^ 2)
}
model linrep(x: [d]) -> [] {
  param B: [d, k] ~ normal
  param w: [k] ~ normal
  x @ B @ w
}
train {
  tasks = fresh(linear, 2)
  loss  = risk
  adapt = least_squares(w)
  outer = average()
  steps = 1
}
";

#[test]
fn least_squares_is_exact_on_a_risk() {
    let inputs = &reference("ridge.json")["inputs"];
    let plan = compile(RISK, &[]);
    let arm = arm(&plan, "main");
    let (programs, _) = local_programs(arm, 1);
    let b = tensor(&inputs["B"]);
    let targets = tensor(&inputs["support_x"]).rows(&[0, 1]);
    let rows: Vec<[f64; 2]> = b.data().chunks(2).map(|r| [r[0], r[1]]).collect();
    for runner in runners() {
        let adapted = adapt(&*runner, arm, &programs, &|input| match input {
            Input::Latent(0) => targets.clone(),
            other => ridge_input(inputs, other),
        });
        for task in 0..2 {
            let wanted = least_squares(&rows, targets.row(task).data());
            assert_close(&adapted["w"].row(task), &wanted, 10.0 * runner.tolerance(), "w");
        }
    }
}

/// What lowering says to a closed form over `on`, put into the plan behind the checker's back.
fn solved_for(text: &str, on: &str, penalty: f64) -> Result<(), LowerError> {
    let mut plan = compile(text, &[&format!("train.adapt = gradient({on}, rate: 0.1, steps: 1)")]);
    plan.arms[0].train.adapt[0].solver = Solver::ClosedForm { penalty };
    lower::lower(&plan.arms[0], &ClientSizes::default()).map(drop)
}

#[test]
fn least_squares_is_refused_where_the_loss_is_not_quadratic() {
    let refused = |text: &str, on: &str, penalty: f64, names: &[&str]| {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(solved_for(text, on, penalty), Err(LowerError::NotQuadratic { names }), "{on}");
    };
    // Quadratic in either factor of `B @ w`, but not in both at once.
    for (text, penalty) in [(RISK, 0.0), (LINEAR, 0.1)] {
        refused(text, "[B, w]", penalty, &["B", "w"]);
        assert_eq!(solved_for(text, "B", penalty), Ok(()));
        assert_eq!(solved_for(text, "w", penalty), Ok(()));
    }
    let bent = LINEAR.replace("x @ B @ w", "tanh(x @ B @ w)");
    refused(&bent, "w", 0.1, &["w"]);
    // A network's head is a linear model, its body is not.
    let bent = LINEAR.replace("x @ B @ w", "tanh(x @ B) @ w");
    refused(&bent, "B", 0.1, &["B"]);
    assert_eq!(solved_for(&bent, "w", 0.1), Ok(()));
}

#[test]
fn the_checker_says_where_least_squares_has_no_closed_form() {
    let refused = |text: &str, overrides: &[&str], names: &str| {
        let found = mistakes(text, overrides);
        let told: Vec<&str> = found.iter().map(|d| d.code).collect();
        assert_eq!(told, ["E0531"], "{found:?}");
        assert!(found[0].message.contains(&format!("not quadratic in {names}")), "{}", found[0].message);
    };
    refused(RISK, &["train.adapt = least_squares([B, w])"], "B, w");
    refused(LINEAR, &one_task(&["train.adapt = ridge(all, penalty: 0.1)"]), "B, w");
    refused(&LINEAR.replace("x @ B @ w", "tanh(x @ B @ w)"), &one_task(&[RIDGE]), "w");
}
