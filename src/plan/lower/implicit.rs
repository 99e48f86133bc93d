//! The implicit gradient of an adaptation that is held near its start.
//!
//! At the minimiser `phi` of `L(phi) + weight / 2 |phi - theta|^2` the outer gradient is `(I + H / weight)^-1 grad F(phi)` with `H`
//! the curvature of `L` there, however `phi` was found (Rajeswaran et al. 2019, equation 6). The system is solved by
//! conjugate gradients, which need products with `H` alone.

use super::LowerError;
use super::task::{Task, Which};
use crate::ir::{Binary, Builder, NodeId, grad};
use crate::plan::types::{Block, Objective};

/// What a vanishing product counts as, so that a system solved before the last round stays solved.
const TINY: f64 = 1e-30;

/// The outer loss with the implicit gradient by the parameters `start` of the block: the same number, for what is added is zero.
pub(super) fn reach(
    task: &mut Task,
    objective: &Objective,
    block: &Block,
    (start, adapted): (&[NodeId], &[NodeId]),
    loss: NodeId,
    rounds: u64,
) -> Result<NodeId, LowerError> {
    let weight = block.toward.as_ref().map(|toward| toward.weight).filter(|weight| *weight > 0.0);
    let weight = weight.ok_or_else(|| LowerError::Dangling("a proximal term".into()))?;
    let on = task.model.positions(&block.on);
    let at: Vec<NodeId> = on.iter().map(|&i| adapted[i]).collect();
    let local = task.loss(objective, adapted, Which::Support(block.examples), &block.without)?;
    let b = &mut task.ports.b;
    let local = grad(b, local, &at);
    let outer = grad(b, loss, &at);
    // The solution, what is left of the right side, and the direction: constants as far as derivatives go.
    let mut left = detached(b, &outer);
    let mut direction = left.clone();
    let mut solution: Vec<NodeId> = at.iter().map(|&x| zeros(b, x)).collect();
    let mut square = dot(b, &left, &left);
    for _ in 0..rounds {
        let along = dot(b, &local, &direction);
        let curved = grad(b, along, &at);
        let curved = detached(b, &curved);
        let product = plus(b, &direction, 1.0 / weight, &curved);
        let length = dot(b, &direction, &product);
        let step = ratio(b, square, length);
        solution = plus_scaled(b, &solution, step, &direction);
        let back = b.neg(step);
        left = plus_scaled(b, &left, back, &product);
        let next = dot(b, &left, &left);
        let share = ratio(b, next, square);
        direction = plus_scaled(b, &left, share, &direction);
        square = next;
    }
    let mut total = loss;
    for (&i, &v) in on.iter().zip(&solution) {
        let fixed = b.detach(start[i]);
        let zero = b.sub(start[i], fixed);
        let term = b.mul(v, zero);
        let term = b.sum_all(term);
        total = b.add(total, term);
    }
    Ok(total)
}

fn detached(b: &mut Builder, parts: &[NodeId]) -> Vec<NodeId> {
    parts.iter().map(|&x| b.detach(x)).collect()
}

fn zeros(b: &mut Builder, like: NodeId) -> NodeId {
    let dims = b.dims(like).to_vec();
    b.full(0.0, &dims)
}

/// The inner product over all parts.
fn dot(b: &mut Builder, x: &[NodeId], y: &[NodeId]) -> NodeId {
    let mut total = b.constant(0.0);
    for (&x, &y) in x.iter().zip(y) {
        let product = b.mul(x, y);
        let product = b.sum_all(product);
        total = b.add(total, product);
    }
    total
}

/// `x + factor y`
fn plus(b: &mut Builder, x: &[NodeId], factor: f64, y: &[NodeId]) -> Vec<NodeId> {
    let factor = b.constant(factor);
    plus_scaled(b, x, factor, y)
}

/// `x + factor y` for a scalar of the program.
fn plus_scaled(b: &mut Builder, x: &[NodeId], factor: NodeId, y: &[NodeId]) -> Vec<NodeId> {
    let sum = |(&x, &y): (&NodeId, &NodeId)| {
        let dims = b.dims(y).to_vec();
        let factor = b.expand(factor, &dims);
        let scaled = b.mul(y, factor);
        b.add(x, scaled)
    };
    x.iter().zip(y).map(sum).collect()
}

/// `x / y` of two scalars that are not negative.
fn ratio(b: &mut Builder, x: NodeId, y: NodeId) -> NodeId {
    let tiny = b.constant(TINY);
    let y = b.binary(Binary::Max, y, tiny);
    b.div(x, y)
}
