//! Reverse-mode differentiation: a program in, more nodes of the same program out.
//!
//! The gradient is made of the operations that it differentiates, so a gradient has a gradient. Every rule maps
//! the adjoint `g = dL/dout` of a node to the adjoint of one operand (Griewank and Walther, *Evaluating
//! Derivatives*, 2nd ed., section 3.2; for matrices Giles, *Collected Matrix Derivative Results*, 2008).

use super::Builder;
use super::function::{Function, NodeId};
use super::op::{Binary, Compare, Op, Reduce, Unary};

/// Adds the gradient of the sum of the entries of `y` (of `y` itself where it is a scalar) with respect to each
/// node of `wrt`; the results have the shapes of those nodes.
///
/// A node of `wrt` counts as a variable: its gradient is what `y` does when that node moves and everything
/// computed before it stays; other variables that it is computed from still see the path through it. A variable on
/// which `y` does not depend, or only through [`Op::Detach`] or a comparison, has gradient zero.
///
/// A variable must be a node of its own. Two equal constants are one node, and algebra sees through a constant, so
/// what starts as a constant is made an input of a [`Function`], differentiated there and then inlined; see
/// [`gradient`].
pub fn grad(b: &mut Builder, y: NodeId, wrt: &[NodeId]) -> Vec<NodeId> {
    let depends = dependents(b, y, wrt);
    let mut adjoints: Vec<Option<NodeId>> = vec![None; y.index() + 1];
    let dims = b.dims(y).to_vec();
    adjoints[y.index()] = Some(b.full(1.0, &dims));
    for i in (0..=y.index()).rev() {
        let (true, Some(g)) = (depends[i], adjoints[i]) else { continue };
        let node = NodeId::new(i);
        for (operand, arg) in b.node(node).args.clone().into_iter().enumerate() {
            if depends[arg.index()]
                && let Some(part) = pullback(b, node, operand, g)
            {
                let total = adjoints[arg.index()].map_or(part, |sum| b.add(sum, part));
                adjoints[arg.index()] = Some(total);
            }
        }
    }
    let zero = |b: &mut Builder, w: NodeId| {
        let dims = b.dims(w).to_vec();
        b.full(0.0, &dims)
    };
    wrt.iter().map(|&w| adjoints.get(w.index()).copied().flatten().unwrap_or_else(|| zero(b, w))).collect()
}

/// The program with the outputs of `f` and, after them, the gradient of its first output with respect to each of
/// the inputs `wrt`, named `d<output>/d<input>`. Safe for any argument that it is later inlined with.
pub fn gradient(f: &Function, wrt: &[usize]) -> Function {
    let mut b = Builder::new();
    let inputs: Vec<NodeId> = f.inputs.iter().map(|p| b.input(p.name.clone(), f.dims(p.node))).collect();
    let results = b.inline(f, &inputs);
    let variables: Vec<NodeId> = wrt.iter().map(|&i| inputs[i]).collect();
    let gradients = grad(&mut b, results[0], &variables);
    let names = wrt.iter().map(|&i| format!("d{}/d{}", f.outputs[0].name, f.inputs[i].name));
    let outputs = f.outputs.iter().map(|p| p.name.clone()).zip(results).chain(names.zip(gradients)).collect();
    b.finish(format!("{}.gradient", f.name), outputs)
}

/// Which nodes up to `y` a variable reaches along paths that carry a gradient.
fn dependents(b: &Builder, y: NodeId, wrt: &[NodeId]) -> Vec<bool> {
    let mut depends = vec![false; y.index() + 1];
    wrt.iter().filter(|w| w.index() <= y.index()).for_each(|w| depends[w.index()] = true);
    let first = wrt.iter().map(|w| w.index()).min().unwrap_or(y.index());
    for i in first..=y.index() {
        let node = b.node(NodeId::new(i));
        let carried = match node.op {
            Op::Detach | Op::Compare { .. } => &[],
            Op::Select | Op::Scatter { .. } => &node.args[1..],
            Op::Gather { .. } => &node.args[..1],
            _ => &node.args[..],
        };
        depends[i] |= carried.iter().any(|a| depends[a.index()]);
    }
    depends
}

/// The part of the adjoint of operand number `operand` that comes from `node`, whose adjoint is `g`; `None` where
/// no gradient passes.
fn pullback(b: &mut Builder, node: NodeId, operand: usize, g: NodeId) -> Option<NodeId> {
    let first = operand == 0;
    let (op, args) = (b.node(node).op.clone(), b.node(node).args.clone());
    let arg = |i: usize| args[i];
    let part = match op {
        Op::Input { .. } | Op::Const { .. } | Op::Iota { .. } | Op::Compare { .. } | Op::Detach => return None,
        Op::Unary { f } => unary(b, f, arg(0), node, g),
        Op::Binary { f } => binary(b, f, (arg(0), arg(1)), node, first, g),
        Op::Select => match operand {
            0 => return None,
            1 => masked(b, arg(0), g),
            _ => masked_off(b, arg(0), g),
        },
        Op::Reduce { f, axis } => {
            let size = b.dims(arg(0))[axis];
            match f {
                // out = sum_i x_i: dL/dx_i = g
                Reduce::Sum => b.broadcast(g, axis, size),
                // out = max_i x_i: dL/dx_i = g / #{j: x_j = out} where x_i = out
                Reduce::Max => {
                    let top = b.broadcast(node, axis, size);
                    let attained = b.compare(Compare::Eq, arg(0), top);
                    let count = b.sum(attained, axis);
                    let share = b.div(g, count);
                    let share = b.broadcast(share, axis, size);
                    masked(b, attained, share)
                }
            }
        }
        // Every copy adds its adjoint.
        Op::Broadcast { axis, .. } => b.sum(g, axis),
        // C = A B: dA = g B^T, dB = A^T g; a transposed operand has the transposed adjoint.
        Op::MatMul { transpose_a, transpose_b } => match (first, transpose_a, transpose_b) {
            (true, false, _) => b.matmul(g, arg(1), false, !transpose_b),
            (true, true, _) => b.matmul(arg(1), g, transpose_b, true),
            (false, _, false) => b.matmul(arg(0), g, !transpose_a, false),
            (false, _, true) => b.matmul(g, arg(0), true, transpose_a),
        },
        Op::Permute { order } => {
            let mut inverse = vec![0; order.len()];
            order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
            b.permute(g, &inverse)
        }
        Op::Reshape { .. } => {
            let dims = b.dims(arg(0)).to_vec();
            b.reshape(g, &dims)
        }
        Op::Slice { axis, start, len } => {
            let after = b.dims(arg(0))[axis] - start - len;
            b.pad(g, axis, start, after)
        }
        Op::Pad { axis, before, .. } => {
            let len = b.dims(arg(0))[axis];
            b.slice(g, axis, before, len)
        }
        // Both are linear, and each the other's transpose.
        Op::Window { axis, stride, dilation, .. } => {
            let len = b.dims(arg(0))[axis];
            b.fold(g, axis, len, stride, dilation)
        }
        Op::Fold { axis, stride, dilation, .. } => {
            let dims = b.dims(arg(0));
            let (count, size) = (dims[axis], dims[axis + 1]);
            let windows = b.window(g, axis, size, stride, dilation);
            // The axis may be longer than what the windows cover.
            b.slice(windows, axis, 0, count)
        }
        // The mean of the adjoints, as every case has a share of the mean.
        Op::CaseMean => b.case_mean(g),
        // No gradient reaches the numbers.
        Op::Gather { .. } if !first => return None,
        Op::Scatter { .. } if first => return None,
        Op::Gather { batch } => {
            let size = b.dims(arg(0))[batch];
            b.scatter(arg(1), g, batch, size)
        }
        Op::Scatter { batch, .. } => b.gather(g, arg(0), batch),
        // X = A^-1 B: dB = A^-T g = A^-1 g and dA = -dB X^T. `A` counts as a full matrix, not as its lower triangle:
        // the sum of dA * E is the derivative along every symmetric E, which is what a symmetric `A` can move along.
        Op::SolveSpd => {
            let right = b.solve_spd(arg(0), g);
            if first {
                let product = b.matmul(right, node, false, true);
                b.neg(product)
            } else {
                right
            }
        }
    };
    Some(part)
}

/// `dL/dx` for `y = f(x)`.
fn unary(b: &mut Builder, f: Unary, x: NodeId, y: NodeId, g: NodeId) -> NodeId {
    match f {
        Unary::Neg => b.neg(g),
        // g sign(x)
        Unary::Abs => {
            let dims = b.dims(x).to_vec();
            let zero = b.full(0.0, &dims);
            let (above, below) = (b.compare(Compare::Lt, zero, x), b.compare(Compare::Lt, x, zero));
            let sign = b.sub(above, below);
            b.mul(g, sign)
        }
        // g e^x
        Unary::Exp => b.mul(g, y),
        // g / x
        Unary::Ln => b.div(g, x),
        // g / (2 sqrt x)
        Unary::Sqrt => {
            let half = b.scale(g, 0.5);
            b.div(half, y)
        }
        // g cos x
        Unary::Sin => {
            let slope = b.unary(Unary::Cos, x);
            b.mul(g, slope)
        }
        // -g sin x
        Unary::Cos => {
            let sin = b.unary(Unary::Sin, x);
            let slope = b.neg(sin);
            b.mul(g, slope)
        }
        // g 2 / sqrt(pi) e^-x^2
        Unary::Erf => {
            let square = b.mul(x, x);
            let down = b.neg(square);
            let density = b.unary(Unary::Exp, down);
            let slope = b.scale(density, std::f64::consts::FRAC_2_SQRT_PI);
            b.mul(g, slope)
        }
        // g (1 - tanh^2 x)
        Unary::Tanh => {
            let dims = b.dims(x).to_vec();
            let (one, square) = (b.full(1.0, &dims), b.mul(y, y));
            let slope = b.sub(one, square);
            b.mul(g, slope)
        }
    }
}

/// `dL/da` (`first`) or `dL/db` for `y = f(a, b)`.
fn binary(b: &mut Builder, f: Binary, (l, r): (NodeId, NodeId), y: NodeId, first: bool, g: NodeId) -> NodeId {
    match (f, first) {
        (Binary::Add, _) | (Binary::Sub, true) => g,
        (Binary::Sub, false) => b.neg(g),
        (Binary::Mul, true) => b.mul(g, r),
        (Binary::Mul, false) => b.mul(g, l),
        // g / b
        (Binary::Div, true) => b.div(g, r),
        // -g a / b^2 = -(g / b) y
        (Binary::Div, false) => {
            let quotient = b.div(g, r);
            let product = b.mul(quotient, y);
            b.neg(product)
        }
        (Binary::Max | Binary::Min, _) => {
            let (low, high) = if f == Binary::Max { (r, l) } else { (l, r) };
            let chose_first = b.compare(Compare::Lt, low, high);
            if first { masked(b, chose_first, g) } else { masked_off(b, chose_first, g) }
        }
    }
}

/// `g` where `mask` holds, 0 elsewhere; unlike a product, 0 also where `g` is not finite.
fn masked(b: &mut Builder, mask: NodeId, g: NodeId) -> NodeId {
    let dims = b.dims(g).to_vec();
    let zero = b.full(0.0, &dims);
    b.select(mask, g, zero)
}

/// `g` where `mask` does not hold, 0 elsewhere.
fn masked_off(b: &mut Builder, mask: NodeId, g: NodeId) -> NodeId {
    let dims = b.dims(g).to_vec();
    let zero = b.full(0.0, &dims);
    b.select(mask, zero, g)
}
