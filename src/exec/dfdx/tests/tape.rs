//! A derivative written by hand, run by the executor, against dfdx's own tape.

use dfdx::prelude::*;

use super::{Tensor as Host, assert_close, noise, program, run};
use crate::ir::{Builder, NodeId, Unary};

const EXAMPLES: usize = 6;
const HIDDEN: usize = 5;

/// The gradient of `mean (tanh(x W + b) V - y)^2` by the chain rule; inputs `x [n, 2]`, `y [n, 1]`, `W`, `b`, `V`.
fn gradient(g: &mut Builder, inputs: &[NodeId]) -> Vec<NodeId> {
    let &[x, y, w, b, v] = inputs else { panic!("five inputs") };
    let a = g.matmul(x, w, false, false);
    let bias = g.broadcast(b, 0, EXAMPLES);
    let a = g.add(a, bias);
    let h = g.unary(Unary::Tanh, a);
    let output = g.matmul(h, v, false, false);
    let error = g.sub(output, y);
    let d_output = g.scale(error, 2.0 / EXAMPLES as f64);
    let d_v = g.matmul(h, d_output, true, false);
    let d_h = g.matmul(d_output, v, false, true);
    let squared = g.mul(h, h);
    let one = g.full(1.0, &[EXAMPLES, HIDDEN]);
    let slope = g.sub(one, squared);
    let d_a = g.mul(d_h, slope);
    vec![g.matmul(x, d_a, true, false), g.sum(d_a, 0), d_v]
}

#[test]
fn a_small_mlp_has_the_gradient_of_the_tape() {
    let shapes: [&[usize]; 5] = [&[EXAMPLES, 2], &[EXAMPLES, 1], &[2, HIDDEN], &[HIDDEN], &[HIDDEN, 1]];
    let args: Vec<Host> = shapes.iter().enumerate().map(|(i, dims)| noise(dims, i as u64 + 30)).collect();
    let found = run::<f64>(&program(&shapes, gradient), &args);

    let device = Cpu::default();
    let data = |i: usize| args[i].data().to_vec();
    let x = device.tensor_from_vec(data(0), (EXAMPLES, Const::<2>));
    let y = device.tensor_from_vec(data(1), (EXAMPLES, Const::<1>));
    let w: Tensor<Rank2<2, HIDDEN>, f64, _> = device.tensor_from_vec(data(2), Default::default());
    let b: Tensor<Rank1<HIDDEN>, f64, _> = device.tensor_from_vec(data(3), Default::default());
    let v: Tensor<Rank2<HIDDEN, 1>, f64, _> = device.tensor_from_vec(data(4), Default::default());
    let a = x.leaky_trace().matmul(w.clone()) + b.leaky_trace().broadcast_like(&(EXAMPLES, Const::<HIDDEN>));
    let loss = (a.tanh().matmul(v.clone()) - y).square().mean::<Rank0, _>();
    let gradients = loss.backward();
    let wanted = [gradients.get(&w).as_vec(), gradients.get(&b).as_vec(), gradients.get(&v).as_vec()];
    for ((found, wanted), dims) in found.iter().zip(wanted).zip(&shapes[2..]) {
        assert_close(found, &Host::new(dims.to_vec(), wanted), 1e-12, &"gradient");
    }
}
