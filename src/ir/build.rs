//! Building programs: hash-consing and local algebra happen as nodes are added.
//!
//! A node that already exists is returned instead of made again (common subexpressions); identities that keep
//! every bit in every float type are applied: `x * 1`, `x - 0`, arithmetic on constants whose operands and result
//! are exact in `f32`. Identities that step over a node (a transpose of a transpose, `-(-x)`, a transpose in front
//! of a matrix product) wait for [`Builder::finish`], because until then any node may be asked for a gradient, and
//! a variable that was stepped over would seem to have none. `finish` also drops what no output needs.

use std::collections::HashMap;

use super::function::{Function, Node, NodeId, Port};
use super::op::{Binary, Compare, Op, Real, Reduce, Unary};

/// A program under construction. Methods panic on operands whose shapes do not fit: callers check first what
/// comes from a user.
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<Node>,
    inputs: Vec<Port>,
    known: HashMap<Node, NodeId>,
    /// Whether no more gradients will be asked for, so that simplification may step over nodes.
    closed: bool,
}

impl Builder {
    /// An empty program.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The shape of a node.
    pub fn dims(&self, node: NodeId) -> &[usize] {
        &self.nodes[node.index()].dims
    }

    /// A node by id.
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.index()]
    }

    /// The number of nodes so far.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing has been added yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A new input.
    pub fn input(&mut self, name: impl Into<String>, dims: &[usize]) -> NodeId {
        let node = self.apply(Op::Input { index: self.inputs.len(), dims: dims.to_vec() }, &[]);
        self.inputs.push(Port { name: name.into(), node });
        node
    }

    /// A scalar constant, shape `[]`.
    pub fn constant(&mut self, value: f64) -> NodeId {
        self.apply(Op::Const { value: Real(value) }, &[])
    }

    /// A constant repeated over `dims`.
    pub fn full(&mut self, value: f64, dims: &[usize]) -> NodeId {
        let scalar = self.constant(value);
        self.expand(scalar, dims)
    }

    /// A scalar repeated over `dims`.
    pub fn expand(&mut self, scalar: NodeId, dims: &[usize]) -> NodeId {
        dims.iter().rev().fold(scalar, |x, &size| self.broadcast(x, 0, size))
    }

    /// Positions along `axis`; see [`Op::Iota`].
    pub fn iota(&mut self, dims: &[usize], axis: usize) -> NodeId {
        self.apply(Op::Iota { dims: dims.to_vec(), axis }, &[])
    }

    /// The identity matrix, `[n, n]`.
    pub fn eye(&mut self, n: usize) -> NodeId {
        let (row, column) = (self.iota(&[n, n], 0), self.iota(&[n, n], 1));
        self.compare(Compare::Eq, row, column)
    }

    /// An elementwise function.
    pub fn unary(&mut self, f: Unary, x: NodeId) -> NodeId {
        self.apply(Op::Unary { f }, &[x])
    }

    /// An elementwise function of two operands of one shape.
    pub fn binary(&mut self, f: Binary, a: NodeId, b: NodeId) -> NodeId {
        self.apply(Op::Binary { f }, &[a, b])
    }

    /// A comparison of two operands of one shape.
    pub fn compare(&mut self, f: Compare, a: NodeId, b: NodeId) -> NodeId {
        self.apply(Op::Compare { f }, &[a, b])
    }

    /// `where(cond, a, b)`.
    pub fn select(&mut self, cond: NodeId, a: NodeId, b: NodeId) -> NodeId {
        self.apply(Op::Select, &[cond, a, b])
    }

    /// `a + b`
    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Binary::Add, a, b)
    }

    /// `a - b`
    pub fn sub(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Binary::Sub, a, b)
    }

    /// `a * b`
    pub fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Binary::Mul, a, b)
    }

    /// `a / b`
    pub fn div(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.binary(Binary::Div, a, b)
    }

    /// `-x`
    pub fn neg(&mut self, x: NodeId) -> NodeId {
        self.unary(Unary::Neg, x)
    }

    /// `c * x` for a constant `c`.
    pub fn scale(&mut self, x: NodeId, c: f64) -> NodeId {
        let dims = self.dims(x).to_vec();
        let c = self.full(c, &dims);
        self.mul(x, c)
    }

    /// `x + c` for a constant `c`.
    pub fn offset(&mut self, x: NodeId, c: f64) -> NodeId {
        let dims = self.dims(x).to_vec();
        let c = self.full(c, &dims);
        self.add(x, c)
    }

    /// The sum over one axis, which disappears.
    pub fn sum(&mut self, x: NodeId, axis: usize) -> NodeId {
        self.apply(Op::Reduce { f: Reduce::Sum, axis }, &[x])
    }

    /// The sum over every axis; last axis first.
    pub fn sum_all(&mut self, x: NodeId) -> NodeId {
        (0..self.dims(x).len()).rev().fold(x, |x, axis| self.sum(x, axis))
    }

    /// The mean over one axis, which disappears.
    pub fn mean(&mut self, x: NodeId, axis: usize) -> NodeId {
        let size = self.dims(x)[axis];
        let sum = self.sum(x, axis);
        self.scale(sum, 1.0 / size as f64)
    }

    /// The maximum over one axis, which disappears.
    pub fn reduce_max(&mut self, x: NodeId, axis: usize) -> NodeId {
        self.apply(Op::Reduce { f: Reduce::Max, axis }, &[x])
    }

    /// A new axis of `size` copies at position `axis`.
    pub fn broadcast(&mut self, x: NodeId, axis: usize, size: usize) -> NodeId {
        self.apply(Op::Broadcast { axis, size }, &[x])
    }

    /// Batched matrix product; see [`Op::MatMul`].
    pub fn matmul(&mut self, a: NodeId, b: NodeId, transpose_a: bool, transpose_b: bool) -> NodeId {
        self.apply(Op::MatMul { transpose_a, transpose_b }, &[a, b])
    }

    /// Axes in another order; see [`Op::Permute`].
    pub fn permute(&mut self, x: NodeId, order: &[usize]) -> NodeId {
        self.apply(Op::Permute { order: order.to_vec() }, &[x])
    }

    /// The last two axes exchanged.
    pub fn transpose(&mut self, x: NodeId) -> NodeId {
        let mut order: Vec<usize> = (0..self.dims(x).len()).collect();
        let last = order.len() - 1;
        order.swap(last - 1, last);
        self.permute(x, &order)
    }

    /// The same elements under other dims.
    pub fn reshape(&mut self, x: NodeId, dims: &[usize]) -> NodeId {
        self.apply(Op::Reshape { dims: dims.to_vec() }, &[x])
    }

    /// Entries `start..start + len` along `axis`.
    pub fn slice(&mut self, x: NodeId, axis: usize, start: usize, len: usize) -> NodeId {
        self.apply(Op::Slice { axis, start, len }, &[x])
    }

    /// Zeros around the entries along `axis`.
    pub fn pad(&mut self, x: NodeId, axis: usize, before: usize, after: usize) -> NodeId {
        self.apply(Op::Pad { axis, before, after }, &[x])
    }

    /// Windows over an axis; see [`Op::Window`].
    pub fn window(&mut self, x: NodeId, axis: usize, size: usize, stride: usize, dilation: usize) -> NodeId {
        self.apply(Op::Window { axis, size, stride, dilation }, &[x])
    }

    /// The sum of windows where they lie; see [`Op::Fold`].
    pub fn fold(&mut self, x: NodeId, axis: usize, len: usize, stride: usize, dilation: usize) -> NodeId {
        self.apply(Op::Fold { axis, len, stride, dilation }, &[x])
    }

    /// Rows of a table by number; see [`Op::Gather`].
    pub fn gather(&mut self, table: NodeId, numbers: NodeId, batch: usize) -> NodeId {
        self.apply(Op::Gather { batch }, &[table, numbers])
    }

    /// A table of sums of rows by number; see [`Op::Scatter`].
    pub fn scatter(&mut self, numbers: NodeId, rows: NodeId, batch: usize, size: usize) -> NodeId {
        self.apply(Op::Scatter { batch, size }, &[numbers, rows])
    }

    /// The solution of `A X = B`; see [`Op::SolveSpd`].
    pub fn solve_spd(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.apply(Op::SolveSpd, &[a, b])
    }

    /// The identity, through which no gradient passes.
    pub fn detach(&mut self, x: NodeId) -> NodeId {
        self.apply(Op::Detach, &[x])
    }

    /// The mean over the cases that the program is batched over; see [`Op::CaseMean`].
    pub fn case_mean(&mut self, x: NodeId) -> NodeId {
        self.apply(Op::CaseMean, &[x])
    }

    /// Copies another program's nodes into this one, its inputs replaced by `args`; returns its outputs.
    pub fn inline(&mut self, f: &Function, args: &[NodeId]) -> Vec<NodeId> {
        assert!(
            args.iter().map(|&a| self.dims(a)).eq(f.input_dims()),
            "{}: one argument per input, of its shape",
            f.name
        );
        let mut map: Vec<NodeId> = Vec::with_capacity(f.nodes.len());
        for node in &f.nodes {
            let id = match node.op {
                Op::Input { index, .. } => args[index],
                _ => {
                    let operands: Vec<NodeId> = node.args.iter().map(|a| map[a.index()]).collect();
                    self.apply(node.op.clone(), &operands)
                }
            };
            map.push(id);
        }
        f.outputs.iter().map(|p| map[p.node.index()]).collect()
    }

    /// Adds an operation, or returns the node that already holds its value.
    pub fn apply(&mut self, op: Op, args: &[NodeId]) -> NodeId {
        let operands: Vec<&[usize]> = args.iter().map(|&a| self.dims(a)).collect();
        let dims = op.shape(&operands).expect("operands were checked by the caller");
        if let Some(node) = self.simplify(&op, args, &dims) {
            return node;
        }
        let node = Node { op, args: args.to_vec(), dims };
        if let Some(&known) = self.known.get(&node) {
            return known;
        }
        let id = NodeId::new(self.nodes.len());
        self.known.insert(node.clone(), id);
        self.nodes.push(node);
        id
    }

    /// The program with these outputs, without the nodes that none of them needs. Inputs all stay, and come first.
    pub fn finish(self, name: impl Into<String>, outputs: Vec<(String, NodeId)>) -> Function {
        let open = self.pruned(name.into(), outputs);
        let mut closed = Builder { closed: true, ..Builder::default() };
        let inputs: Vec<NodeId> = open.inputs.iter().map(|p| closed.input(p.name.clone(), open.dims(p.node))).collect();
        let results = closed.inline(&open, &inputs);
        let outputs = open.outputs.into_iter().map(|p| p.name).zip(results).collect();
        closed.pruned(open.name, outputs)
    }

    /// The program as it stands, without the nodes that no output needs.
    fn pruned(self, name: String, outputs: Vec<(String, NodeId)>) -> Function {
        let mut needed = vec![false; self.nodes.len()];
        for node in outputs.iter().map(|(_, n)| *n).chain(self.inputs.iter().map(|p| p.node)) {
            needed[node.index()] = true;
        }
        // Operands have smaller numbers than their users, so one sweep down reaches everything.
        for i in (0..self.nodes.len()).rev() {
            if needed[i] {
                self.nodes[i].args.iter().for_each(|a| needed[a.index()] = true);
            }
        }
        let mut renamed = vec![None; self.nodes.len()];
        let mut nodes = Vec::new();
        for (i, node) in self.nodes.into_iter().enumerate().filter(|(i, _)| needed[*i]) {
            let args = node.args.iter().map(|a| renamed[a.index()].expect("operands come first")).collect();
            renamed[i] = Some(NodeId::new(nodes.len()));
            nodes.push(Node { args, ..node });
        }
        let rename = |node: NodeId| renamed[node.index()].expect("ports were marked");
        Function {
            name,
            inputs: self.inputs.into_iter().map(|p| Port { node: rename(p.node), ..p }).collect(),
            nodes,
            outputs: outputs.into_iter().map(|(name, node)| Port { name, node: rename(node) }).collect(),
        }
    }

    /// The constant that every entry of a node is, if it is one.
    pub fn splat(&self, node: NodeId) -> Option<f64> {
        let node = self.node(node);
        match &node.op {
            Op::Const { value } => Some(value.0),
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Detach => self.splat(node.args[0]),
            _ => None,
        }
    }

    /// An existing or simpler node with the same bits as `op(args)`.
    fn simplify(&mut self, op: &Op, args: &[NodeId], dims: &[usize]) -> Option<NodeId> {
        let simpler = match op {
            Op::Unary { f: Unary::Neg } => self.splat(args[0]).map(|value| self.full(-value, dims)),
            Op::Binary { f } => self.simplify_binary(*f, args[0], args[1], dims),
            Op::Reduce { f: _, axis } if self.dims(args[0])[*axis] == 1 => Some(self.reshape(args[0], dims)),
            Op::Broadcast { size: 1, .. } => Some(self.reshape(args[0], dims)),
            Op::Permute { order } if order.is_sorted() => Some(args[0]),
            // Where only axes of one entry move, the elements stay in their order.
            Op::Permute { order } if order.iter().filter(|&&o| self.dims(args[0])[o] != 1).is_sorted() => {
                Some(self.reshape(args[0], dims))
            }
            Op::Reshape { dims } if dims == self.dims(args[0]) => Some(args[0]),
            Op::Slice { start: 0, len, axis } if *len == self.dims(args[0])[*axis] => Some(args[0]),
            Op::Pad { before: 0, after: 0, .. } => Some(args[0]),
            Op::Detach => match self.node(args[0]).op {
                Op::Detach | Op::Const { .. } | Op::Iota { .. } => Some(args[0]),
                _ => None,
            },
            _ => None,
        };
        if simpler.is_none() && self.closed { self.step_over(op, args) } else { simpler }
    }

    /// A node that reads what is behind an operand of `op` rather than the operand.
    fn step_over(&mut self, op: &Op, args: &[NodeId]) -> Option<NodeId> {
        let behind = self.nodes[args.first()?.index()].clone();
        match (op, behind.op) {
            (Op::Unary { f: Unary::Neg }, Op::Unary { f: Unary::Neg }) => Some(behind.args[0]),
            (Op::Permute { order }, Op::Permute { order: first }) => {
                let composed: Vec<usize> = order.iter().map(|&o| first[o]).collect();
                Some(self.permute(behind.args[0], &composed))
            }
            (Op::Reshape { dims }, Op::Reshape { .. }) => Some(self.reshape(behind.args[0], dims)),
            (Op::MatMul { transpose_a, transpose_b }, _) => {
                let (a, flip_a) = self.untransposed(args[0]);
                let (b, flip_b) = self.untransposed(args[1]);
                (flip_a || flip_b).then(|| self.matmul(a, b, transpose_a ^ flip_a, transpose_b ^ flip_b))
            }
            _ => None,
        }
    }

    fn simplify_binary(&mut self, f: Binary, a: NodeId, b: NodeId, dims: &[usize]) -> Option<NodeId> {
        let negative_zero = |x: f64| x == 0.0 && x.is_sign_negative();
        let positive_zero = |x: f64| x == 0.0 && x.is_sign_positive();
        match (f, self.splat(a), self.splat(b)) {
            (Binary::Mul | Binary::Div, _, Some(1.0)) => Some(a),
            (Binary::Mul, Some(1.0), _) => Some(b),
            (Binary::Sub, _, Some(z)) if positive_zero(z) => Some(a),
            (Binary::Add, _, Some(z)) if negative_zero(z) => Some(a),
            (Binary::Add, Some(z), _) if negative_zero(z) => Some(b),
            (_, Some(x), Some(y)) => {
                let value = match f {
                    Binary::Add => x + y,
                    Binary::Sub => x - y,
                    Binary::Mul => x * y,
                    Binary::Div => x / y,
                    Binary::Max => {
                        if x > y {
                            x
                        } else {
                            y
                        }
                    }
                    Binary::Min => {
                        if x < y {
                            x
                        } else {
                            y
                        }
                    }
                };
                let exact = |x: f64| x as f32 as f64 == x;
                // What is not exact for 24-bit operands and still rounds to 24 bits in `f64` rounds to the same in `f32`.
                (exact(x) && exact(y) && exact(value)).then(|| self.full(value, dims))
            }
            _ => None,
        }
    }

    /// The matrix under a swap of the last two axes, and whether there was one.
    fn untransposed(&self, x: NodeId) -> (NodeId, bool) {
        let node = self.node(x);
        if let Op::Permute { order } = &node.op {
            let n = order.len();
            if order[..n - 2].iter().enumerate().all(|(i, &o)| i == o) && order[n - 2] == n - 1 {
                return (node.args[0], true);
            }
        }
        (x, false)
    }
}
