//! The exact minimiser of a loss that is quadratic in some parameters.
//!
//! For such a loss one Newton step from anywhere is exact: `w - (H + c I)^-1 (grad L(w) + c w)`. The curvature `H` is the
//! gradient of `<grad L, v>` batched over the basis vectors `v`; that it does not depend on `w` is checked on the
//! program itself, so "quadratic" is proved and not assumed.

use super::task::{Task, Which};
use super::{Input, LowerError, Program, batch};
use crate::ir::{Builder, NodeId, Op, grad};
use crate::plan::types::{Block, Objective};

/// The steps to subtract from the parameters of the block, in the order of the model, at the current values of all parameters.
pub(super) fn solve(
    task: &mut Task,
    objective: &Objective,
    block: &Block,
    penalty: f64,
    params: &[NodeId],
) -> Result<Vec<NodeId>, LowerError> {
    let curvature = curvature(task, objective, block)?;
    let on = task.model.positions(&block.on);
    let slots = &task.model.params;
    let sizes: Vec<usize> = on.iter().map(|&i| slots[i].dims.iter().product()).collect();
    let total: usize = sizes.iter().sum();

    // Every input of the curvature that is not a direction is the task's own.
    let eye = task.ports.b.eye(total);
    let (mut args, mut mapped) = (Vec::new(), Vec::new());
    for (&input, port) in curvature.inputs.iter().zip(&curvature.function.inputs) {
        let dims = curvature.function.dims(port.node);
        mapped.push(matches!(input, Input::Direction(_)));
        args.push(match input {
            Input::Param(i) => params[i],
            Input::Direction(k) => {
                let start = sizes[..k].iter().sum();
                let columns = task.ports.b.slice(eye, 1, start, sizes[k]);
                task.ports.b.reshape(columns, &[&[total], dims].concat())
            }
            // Masks among them: they are those of the loss below.
            _ => task.ports.get(input, &port.name, dims),
        });
    }
    let rows = batch(&mut task.ports.b, &curvature.function, &args, &mapped, total, None)?;
    let loss = task.loss(objective, params, Which::Support(block.examples), &block.without)?;
    let at: Vec<NodeId> = on.iter().map(|&i| params[i]).collect();
    let gradients = grad(&mut task.ports.b, loss, &at);

    let b = &mut task.ports.b;
    let mut hessian = join(b, &rows, &sizes, total);
    let columns: Vec<NodeId> = gradients.iter().map(|&g| leading_one(b, g)).collect();
    let mut gradient = join(b, &columns, &sizes, 1);
    if penalty != 0.0 {
        let ridge = b.scale(eye, penalty);
        hessian = b.add(hessian, ridge);
        let values: Vec<NodeId> = at.iter().map(|&w| leading_one(b, w)).collect();
        let values = join(b, &values, &sizes, 1);
        let pull = b.scale(values, penalty);
        gradient = b.add(gradient, pull);
    }
    let gradient = b.transpose(gradient);
    let step = b.solve_spd(hessian, gradient);
    let mut start = 0;
    let mut steps = Vec::new();
    for (&i, &size) in on.iter().zip(&sizes) {
        let part = b.slice(step, 0, start, size);
        steps.push(b.reshape(part, &slots[i].dims));
        start += size;
    }
    Ok(steps)
}

/// The gradient of `<grad L, v>` with respect to the parameters of the block; refused where it depends on them.
fn curvature(task: &Task, objective: &Objective, block: &Block) -> Result<Program, LowerError> {
    let mut one = task.another();
    let on = task.model.positions(&block.on);
    let params = one.params();
    let slots = &one.model.params;
    let loss = one.loss(objective, &params, Which::Support(block.examples), &block.without)?;
    let at: Vec<NodeId> = on.iter().map(|&i| params[i]).collect();
    let gradients = grad(&mut one.ports.b, loss, &at);
    let mut product = one.ports.b.constant(-0.0);
    for (k, (&i, &g)) in on.iter().zip(&gradients).enumerate() {
        let direction = one.ports.get(Input::Direction(k), &format!("direction.{}", slots[i].name), &slots[i].dims);
        let b = &mut one.ports.b;
        let along = b.mul(g, direction);
        let along = b.sum_all(along);
        product = b.add(product, along);
    }
    let rows = grad(&mut one.ports.b, product, &at);
    let names: Vec<String> = on.iter().map(|&i| slots[i].name.clone()).collect();
    let program = one.ports.finish("curvature", names.iter().cloned().zip(rows).collect());
    let reached = reached(&program);
    match on.iter().any(|&i| reached.contains(&Input::Param(i))) {
        true => Err(LowerError::NotQuadratic { names }),
        false => Ok(program),
    }
}

/// The inputs that some output depends on.
fn reached(program: &Program) -> Vec<Input> {
    let f = &program.function;
    let mut needed = vec![false; f.nodes.len()];
    f.outputs.iter().for_each(|p| needed[p.node.index()] = true);
    let mut inputs = Vec::new();
    for i in (0..f.nodes.len()).rev() {
        if needed[i] {
            f.nodes[i].args.iter().for_each(|a| needed[a.index()] = true);
            if let Op::Input { index, .. } = f.nodes[i].op {
                inputs.push(program.inputs[index]);
            }
        }
    }
    inputs
}

/// `[1, ..]`
fn leading_one(b: &mut Builder, x: NodeId) -> NodeId {
    let dims = [&[1], b.dims(x)].concat();
    b.reshape(x, &dims)
}

/// Tensors `[rows, ..]` of these row sizes side by side, `[rows, sum of sizes]`.
fn join(b: &mut Builder, parts: &[NodeId], sizes: &[usize], rows: usize) -> NodeId {
    let total: usize = sizes.iter().sum();
    let mut start = 0;
    let mut joined = None;
    for (&part, &size) in parts.iter().zip(sizes) {
        let flat = b.reshape(part, &[rows, size]);
        let padded = b.pad(flat, 1, start, total - start - size);
        joined = Some(joined.map_or(padded, |sum| b.add(sum, padded)));
        start += size;
    }
    joined.expect("a block names at least one parameter")
}
