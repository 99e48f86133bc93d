//! Vectorisation: a program for one case becomes nodes for many cases at once.
//!
//! What depends on shared arguments alone is computed once, without the new axis. The rules are those of `vmap`
//! in JAX (Bradbury et al., 2018) with the new axis always in front.

use super::Builder;
use super::function::{Function, NodeId};
use super::op::{Binary, Op};

/// A value within the batched program, and whether it carries the axis of the cases.
#[derive(Clone, Copy)]
struct Lane {
    node: NodeId,
    mapped: bool,
}

/// Inlines `f` applied to `size` cases at once. Arguments with `mapped[i]` carry a leading axis of `size`, the
/// others are shared by all cases; every output has a leading axis of `size`. Panics where the arguments do not
/// have the shapes that `f` takes.
pub fn batch(b: &mut Builder, f: &Function, args: &[NodeId], mapped: &[bool], size: usize) -> Vec<NodeId> {
    batch_some(b, f, args, mapped, size, None)
}

/// The same, where `present: [size]` is 1 for the cases that are there and 0 for filling, which no [`Op::CaseMean`] counts.
pub fn batch_some(
    b: &mut Builder,
    f: &Function,
    args: &[NodeId],
    mapped: &[bool],
    size: usize,
    present: Option<NodeId>,
) -> Vec<NodeId> {
    assert_eq!((args.len(), mapped.len()), (f.inputs.len(), f.inputs.len()), "{}: one argument per input", f.name);
    for ((&arg, &mapped), dims) in args.iter().zip(mapped).zip(f.input_dims()) {
        let fits = if mapped { b.dims(arg) == [&[size], dims].concat() } else { b.dims(arg) == dims };
        assert!(fits, "{}: an argument of shape {:?} for {dims:?}, mapped: {mapped}", f.name, b.dims(arg));
    }
    let mut lanes: Vec<Lane> = Vec::with_capacity(f.nodes.len());
    for node in &f.nodes {
        let operands: Vec<Lane> = node.args.iter().map(|a| lanes[a.index()]).collect();
        lanes.push(match node.op {
            Op::Input { index, .. } => Lane { node: args[index], mapped: mapped[index] },
            // The mean of equal values is that value.
            Op::CaseMean if !operands[0].mapped => operands[0],
            Op::CaseMean => Lane { node: case_mean(b, operands[0].node, present), mapped: false },
            _ if operands.iter().all(|l| !l.mapped) => {
                let shared: Vec<NodeId> = operands.iter().map(|l| l.node).collect();
                Lane { node: b.apply(node.op.clone(), &shared), mapped: false }
            }
            _ => Lane { node: apply_batched(b, &node.op, &operands, size), mapped: true },
        });
    }
    f.outputs.iter().map(|p| spread(b, lanes[p.node.index()], size)).collect()
}

/// The entries of the largest value that [`batch`] makes.
pub fn largest(f: &Function, mapped: &[bool], size: usize) -> usize {
    let entries = |dims: &[usize]| dims.iter().fold(size, |n, &dim| n.saturating_mul(dim));
    let mut lanes: Vec<bool> = Vec::with_capacity(f.nodes.len());
    let mut most = 0;
    for node in &f.nodes {
        let is_mapped = match node.op {
            Op::Input { index, .. } => mapped[index],
            Op::CaseMean => false,
            _ => node.args.iter().any(|a| lanes[a.index()]),
        };
        lanes.push(is_mapped);
        if is_mapped {
            most = most.max(entries(&node.dims));
            // Operands that all cases share are copied, but for those of a product and a table.
            let shared = !matches!(node.op, Op::MatMul { .. } | Op::SolveSpd | Op::Gather { batch: 0 });
            let copies = node.args.iter().filter(|a| shared && !lanes[a.index()]);
            most = copies.map(|a| entries(f.dims(*a))).fold(most, usize::max);
        }
    }
    f.outputs.iter().map(|port| entries(f.dims(port.node))).fold(most, usize::max)
}

/// The value with the axis of the cases, as copies where it has none.
fn spread(b: &mut Builder, lane: Lane, size: usize) -> NodeId {
    if lane.mapped { lane.node } else { b.broadcast(lane.node, 0, size) }
}

/// One operation over all cases; at least one operand is mapped.
fn apply_batched(b: &mut Builder, op: &Op, operands: &[Lane], size: usize) -> NodeId {
    let shifted = match op {
        Op::MatMul { transpose_a, transpose_b } => match (operands[0], operands[1]) {
            (Lane { node: x, mapped: true }, Lane { node: shared, mapped: false }) => {
                let product = OneSided { x, transpose_x: *transpose_a, shared, transpose_shared: *transpose_b };
                return product.build(b, size, false);
            }
            // (A B)^T = B^T A^T makes the mapped operand the left one.
            (Lane { node: shared, mapped: false }, Lane { node: x, mapped: true }) => {
                let product = OneSided { x, transpose_x: !*transpose_b, shared, transpose_shared: !*transpose_a };
                return product.build(b, size, true);
            }
            _ => op.clone(),
        },
        Op::CaseMean => unreachable!("a mean over cases is no operation on each"),
        Op::SolveSpd => match (operands[0], operands[1]) {
            (Lane { node: a, mapped: false }, Lane { node: x, mapped: true }) => return solve_shared(b, a, x, size),
            _ => op.clone(),
        },
        Op::Gather { batch } => match (operands[0], operands[1]) {
            // One table for all cases: their numbers are further numbers, if none of them is bound to a part of the table.
            (Lane { node: table, mapped: false }, Lane { node: numbers, mapped: true }) if *batch == 0 => {
                return b.gather(table, numbers, 0);
            }
            _ => Op::Gather { batch: batch + 1 },
        },
        Op::Scatter { batch, size } => Op::Scatter { batch: batch + 1, size: *size },
        Op::Input { .. }
        | Op::Const { .. }
        | Op::Iota { .. }
        | Op::Unary { .. }
        | Op::Binary { .. }
        | Op::Compare { .. }
        | Op::Select
        | Op::Detach => op.clone(),
        Op::Reduce { f, axis } => Op::Reduce { f: *f, axis: axis + 1 },
        Op::Broadcast { axis, size } => Op::Broadcast { axis: axis + 1, size: *size },
        Op::Permute { order } => Op::Permute { order: [0].into_iter().chain(order.iter().map(|o| o + 1)).collect() },
        Op::Reshape { dims } => Op::Reshape { dims: [&[size], &dims[..]].concat() },
        Op::Slice { axis, start, len } => Op::Slice { axis: axis + 1, start: *start, len: *len },
        Op::Pad { axis, before, after } => Op::Pad { axis: axis + 1, before: *before, after: *after },
        Op::Window { axis, size, stride, dilation } => {
            Op::Window { axis: axis + 1, size: *size, stride: *stride, dilation: *dilation }
        }
        Op::Fold { axis, len, stride, dilation } => {
            Op::Fold { axis: axis + 1, len: *len, stride: *stride, dilation: *dilation }
        }
    };
    let operands: Vec<NodeId> = operands.iter().map(|&l| spread(b, l, size)).collect();
    b.apply(shifted, &operands)
}

/// The mean of `[T, ..]` over the cases that are there, 0 where there are none.
fn case_mean(b: &mut Builder, x: NodeId, present: Option<NodeId>) -> NodeId {
    let Some(present) = present else { return b.mean(x, 0) };
    let dims = b.dims(x).to_vec();
    let there = dims.iter().enumerate().skip(1).fold(present, |node, (axis, &size)| b.broadcast(node, axis, size));
    let nothing = b.full(0.0, &dims);
    let counted = b.select(there, x, nothing);
    let (total, count, one) = (b.sum(counted, 0), b.sum(present, 0), b.constant(1.0));
    let count = b.binary(Binary::Max, count, one);
    let count = b.expand(count, &dims[1..]);
    b.div(total, count)
}

/// The products `op(x_t) op(shared)` of mapped matrices with one shared matrix, under batch axes `D` of their own:
/// `x` is `[T, D.., p, k]`, `shared` is `[D.., k, q]` (transposed where the flags say so).
struct OneSided {
    x: NodeId,
    transpose_x: bool,
    shared: NodeId,
    transpose_shared: bool,
}

impl OneSided {
    /// `[T, D.., p, q]`, or `[T, D.., q, p]` where `flip` is set: by stacking the cases as rows of one large matrix,
    /// or by copying the shared matrix, whichever moves fewer elements. Both sum over `k` in the same order.
    fn build(&self, b: &mut Builder, cases: usize, flip: bool) -> NodeId {
        let dims = b.dims(self.x).to_vec();
        let inner = &dims[1..dims.len() - 2];
        let last = &dims[dims.len() - 2..];
        let (p, k) = if self.transpose_x { (last[1], last[0]) } else { (last[0], last[1]) };
        let shared = b.dims(self.shared);
        let q = shared[shared.len() - if self.transpose_shared { 2 } else { 1 }];

        let moved_in = if inner.is_empty() && !self.transpose_x { 0 } else { p * k };
        let moved_out = if inner.is_empty() && !flip { 0 } else { p * q };
        if moved_in + moved_out > k * q {
            let copies = b.broadcast(self.shared, 0, cases);
            return match flip {
                false => b.matmul(self.x, copies, self.transpose_x, self.transpose_shared),
                true => b.matmul(copies, self.x, !self.transpose_shared, !self.transpose_x),
            };
        }
        // The axis of the cases moves next to the rows and back.
        let n = inner.len();
        let (row, column) = if self.transpose_x { (n + 2, n + 1) } else { (n + 1, n + 2) };
        let order: Vec<usize> = (1..=n).chain([0, row, column]).collect();
        let x = b.permute(self.x, &order);
        let x = b.reshape(x, &[inner, &[cases * p, k]].concat());
        let product = b.matmul(x, self.shared, false, self.transpose_shared);
        let product = b.reshape(product, &[inner, &[cases, p, q]].concat());
        let (row, column) = if flip { (n + 2, n + 1) } else { (n + 1, n + 2) };
        let order: Vec<usize> = [n].into_iter().chain(0..n).chain([row, column]).collect();
        b.permute(product, &order)
    }
}

/// Solutions of `A X_t = B_t` for one shared `A`: `[D.., p, p]`, `B`: `[T, D.., p, q]`. The cases become columns of
/// one right-hand side, so `A` is factorised once.
fn solve_shared(b: &mut Builder, a: NodeId, x: NodeId, cases: usize) -> NodeId {
    let dims = b.dims(x).to_vec();
    let (inner, last) = (&dims[1..dims.len() - 2], &dims[dims.len() - 2..]);
    let (n, p, q) = (inner.len(), last[0], last[1]);
    let order: Vec<usize> = (1..=n + 1).chain([0, n + 2]).collect();
    let columns = b.permute(x, &order);
    let columns = b.reshape(columns, &[inner, &[p, cases * q]].concat());
    let solution = b.solve_spd(a, columns);
    let solution = b.reshape(solution, &[inner, &[p, cases, q]].concat());
    let order: Vec<usize> = [n + 1].into_iter().chain(0..=n).chain([n + 2]).collect();
    b.permute(solution, &order)
}
