//! Exact MAML: the slope through a gradient step of a two-layer tanh network.

use metadsl::ir::{Builder, Function, NodeId, Tensor, Unary, batch, gradient};

use crate::derivatives::differences;
use crate::support::{Rng, assert_close, program, run};

const PARAMETERS: [&[usize]; 4] = [&[1, 5], &[5], &[5, 1], &[1]];
const EXAMPLES: usize = 6;

/// Mean squared error of `tanh(x W1 + b1) W2 + b2`; inputs `W1 b1 W2 b2 x y`.
fn loss() -> Function {
    let [w1, b1, w2, b2] = PARAMETERS;
    program(&[w1, b1, w2, b2, &[EXAMPLES, 1], &[EXAMPLES, 1]], |b, p| {
        let affine = |b: &mut Builder, x: NodeId, w: NodeId, bias: NodeId| {
            let product = b.matmul(x, w, false, false);
            let bias = b.broadcast(bias, 0, EXAMPLES);
            b.add(product, bias)
        };
        let hidden = affine(b, p[4], p[0], p[1]);
        let hidden = b.unary(Unary::Tanh, hidden);
        let y = affine(b, hidden, p[2], p[3]);
        let error = b.sub(y, p[5]);
        let square = b.mul(error, error);
        let total = b.sum_all(square);
        vec![b.scale(total, 1.0 / EXAMPLES as f64)]
    })
}

/// Query loss after `steps` gradient steps of `rate` on the support set; inputs: parameters, support x y, query x y.
fn adapted_loss(steps: usize, rate: f64) -> Function {
    let (loss, slopes) = (loss(), gradient(&loss(), &[0, 1, 2, 3]));
    let data: &[usize] = &[EXAMPLES, 1];
    let inputs: Vec<&[usize]> = PARAMETERS.iter().copied().chain([data; 4]).collect();
    program(&inputs, |b, x| {
        let mut theta = x[..4].to_vec();
        for _ in 0..steps {
            let slope = b.inline(&slopes, &[&theta[..], &x[4..6]].concat())[1..].to_vec();
            for (p, slope) in theta.iter_mut().zip(slope) {
                let change = b.scale(slope, rate);
                *p = b.sub(*p, change);
            }
        }
        b.inline(&loss, &[&theta[..], &x[6..8]].concat())
    })
}

fn arguments(rng: &mut Rng) -> Vec<Tensor> {
    let parameters: Vec<Tensor> = PARAMETERS.iter().map(|d| rng.tensor(d, -1.0, 1.0)).collect();
    let data = (0..4).map(|_| rng.tensor(&[EXAMPLES, 1], -2.0, 2.0));
    parameters.into_iter().chain(data).collect()
}

#[test]
fn the_meta_gradient_is_exact_through_several_steps() {
    for steps in [1, 3] {
        let f = adapted_loss(steps, 0.3);
        let args = arguments(&mut Rng(42));
        let exact = run(&gradient(&f, &[0, 1, 2, 3]), &args);
        for (i, measured) in differences(&f, 0, &args).iter().take(4).enumerate() {
            assert_close(&exact[1 + i], measured, 1e-7, &format!("{steps} steps, parameter {i}"));
        }
    }
}

#[test]
fn the_meta_gradient_over_tasks_is_the_sum_over_tasks() {
    let (f, tasks) = (adapted_loss(2, 0.1), 3);
    let mapped = [false, false, false, false, true, true, true, true];
    let data: &[usize] = &[tasks, EXAMPLES, 1];
    let inputs: Vec<&[usize]> = PARAMETERS.iter().copied().chain([data; 4]).collect();
    let all = program(&inputs, |b, x| {
        let losses = batch(b, &f, x, &mapped, tasks)[0];
        vec![b.sum_all(losses)]
    });
    let mut rng = Rng(7);
    let parameters: Vec<Tensor> = PARAMETERS.iter().map(|d| rng.tensor(d, -1.0, 1.0)).collect();
    let data: Vec<Tensor> = (0..4).map(|_| rng.tensor(data, -2.0, 2.0)).collect();
    let together = run(&gradient(&all, &[0, 1, 2, 3]), &[&parameters[..], &data].concat());
    let single = gradient(&f, &[0, 1, 2, 3]);
    let mut total: Vec<Tensor> = [&[][..]].into_iter().chain(PARAMETERS).map(|d| Tensor::full(d, 0.0)).collect();
    for task in 0..tasks {
        let data: Vec<Tensor> = data.iter().map(|t| t.row(task)).collect();
        for (total, part) in total.iter_mut().zip(run(&single, &[&parameters[..], &data].concat())) {
            total.data_mut().iter_mut().zip(part.data()).for_each(|(t, x)| *t += x);
        }
    }
    for (i, (together, total)) in together.iter().zip(&total).enumerate() {
        assert_close(together, total, 1e-12, &format!("output {i}"));
    }
}
