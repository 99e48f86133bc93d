//! Random programs: a list of numbers becomes a raw list of nodes, untouched by the builder.

use metadsl::ir::{Binary, Compare, Function, Node, NodeId, Op, Port, Real, Reduce, Tensor, Unary};

use crate::support::Rng;

/// A program as its choices say, and arguments for it.
#[derive(Debug, Clone)]
pub struct Sample {
    pub f: Function,
    pub args: Vec<Tensor>,
}

/// The inputs of every random program.
pub const INPUTS: [&[usize]; 3] = [&[2, 3], &[3, 2], &[3]];

/// Builds a program with two outputs: the last node and one in the middle. Values stay of order one. With
/// `detach`, some nodes are detached, which central differences cannot see.
pub fn sample(choices: &[u32], seed: u64, detach: bool) -> Sample {
    let mut pool = Pool { nodes: vec![] };
    for (index, dims) in INPUTS.iter().enumerate() {
        pool.push(Op::Input { index, dims: dims.to_vec() }, &[]).expect("an input");
    }
    for &choice in choices {
        pool.step(choice as usize % 28, choice as usize / 28, detach);
    }
    let last = pool.nodes.len() - 1;
    let mut rng = Rng(seed);
    let port = |name: &str, node: usize| Port { name: name.into(), node: NodeId::new(node) };
    let f = Function {
        name: "random".into(),
        inputs: (0..INPUTS.len()).map(|i| port(&format!("x{i}"), i)).collect(),
        outputs: vec![port("last", last), port("middle", INPUTS.len().max(last / 2).min(last))],
        nodes: pool.nodes,
    };
    f.verify().expect("every node was checked");
    Sample { f, args: INPUTS.iter().map(|d| rng.tensor(d, -1.0, 1.0)).collect() }
}

struct Pool {
    nodes: Vec<Node>,
}

impl Pool {
    fn dims(&self, node: NodeId) -> &[usize] {
        &self.nodes[node.index()].dims
    }

    /// Adds a node if its operands fit and it stays small.
    fn push(&mut self, op: Op, args: &[NodeId]) -> Option<NodeId> {
        let operands: Vec<&[usize]> = args.iter().map(|&a| self.dims(a)).collect();
        let dims = op.shape(&operands).ok()?;
        let small = dims.len() <= 4 && (1..=36).contains(&dims.iter().product::<usize>());
        small.then(|| {
            self.nodes.push(Node { op, args: args.to_vec(), dims });
            NodeId::new(self.nodes.len() - 1)
        })
    }

    /// One of the latest nodes.
    fn recent(&self, r: usize) -> NodeId {
        NodeId::new(self.nodes.len() - 1 - r % self.nodes.len().min(4))
    }

    /// Adds `op(a, other)` for the first other operand that fits, counted from `r`.
    fn pair(&mut self, op: Op, r: usize) -> Option<NodeId> {
        let a = self.recent(r);
        let count = self.nodes.len();
        (0..count).find_map(|i| self.push(op.clone(), &[a, NodeId::new((i + r / 4) % count)]))
    }

    fn unary(&mut self, f: Unary, x: NodeId) -> Option<NodeId> {
        self.push(Op::Unary { f }, &[x])
    }

    /// A constant in the shape of `like`.
    fn full(&mut self, value: f64, like: NodeId) -> Option<NodeId> {
        let dims = self.dims(like).to_vec();
        let scalar = self.push(Op::Const { value: Real(value) }, &[])?;
        dims.iter().rev().try_fold(scalar, |x, &size| self.push(Op::Broadcast { axis: 0, size }, &[x]))
    }

    /// `x^2 + 1`
    fn above_one(&mut self, x: NodeId) -> Option<NodeId> {
        let one = self.full(1.0, x)?;
        let square = self.push(Op::Binary { f: Binary::Mul }, &[x, x])?;
        self.push(Op::Binary { f: Binary::Add }, &[square, one])
    }

    /// One step of the given kind; where nothing fits, no step.
    fn step(&mut self, kind: usize, r: usize, detach: bool) -> Option<NodeId> {
        let x = self.recent(r);
        let rank = self.dims(x).len();
        let axis = (r / 4) % rank.max(1);
        match kind {
            0 => self.unary([Unary::Tanh, Unary::Sin, Unary::Cos, Unary::Erf][r / 4 % 4], x),
            1 => self.unary([Unary::Neg, Unary::Abs][r / 4 % 2], x),
            2 => {
                let bounded = self.unary(Unary::Tanh, x)?;
                self.unary(Unary::Exp, bounded)
            }
            3 => {
                let positive = self.above_one(x)?;
                self.unary([Unary::Ln, Unary::Sqrt][r / 4 % 2], positive)
            }
            4 | 5 => self.pair(Op::Binary { f: [Binary::Add, Binary::Sub][kind - 4] }, r),
            6 => {
                let product = self.pair(Op::Binary { f: Binary::Mul }, r)?;
                self.unary(Unary::Sin, product)
            }
            7 => {
                let positive = self.above_one(x)?;
                self.pair_with(Op::Binary { f: Binary::Div }, positive, r)
            }
            8 => self.pair(Op::Binary { f: [Binary::Max, Binary::Min][r / 4 % 2] }, r),
            9 => {
                let f = [Compare::Lt, Compare::Le][r / 4 % 2];
                let cond = self.pair(Op::Compare { f }, r)?;
                let cosine = self.unary(Unary::Cos, x)?;
                self.push(Op::Select, &[cond, x, cosine])
            }
            10 | 11 => self.push(Op::Reduce { f: [Reduce::Sum, Reduce::Max][kind - 10], axis }, &[x]),
            12 => self.push(Op::Broadcast { axis: (r / 4) % (rank + 1), size: 1 + r / 16 % 3 }, &[x]),
            13..=16 => {
                let (transpose_a, transpose_b) = (kind & 1 == 0, kind & 2 == 0);
                let product = self.pair(Op::MatMul { transpose_a, transpose_b }, r)?;
                self.unary(Unary::Tanh, product)
            }
            17 => {
                let mut order: Vec<usize> = (0..rank).collect();
                order.rotate_left(axis);
                if r / 16 % 2 == 1 && rank > 1 {
                    order.swap(rank - 1, rank - 2);
                }
                self.push(Op::Permute { order }, &[x])
            }
            18 => {
                let size: usize = self.dims(x).iter().product();
                let rows = (1..=3).filter(|&d| size.is_multiple_of(d)).max().unwrap_or(1);
                let dims = [vec![rows, size / rows], vec![size], vec![1, size / rows, rows]][r / 4 % 3].clone();
                self.push(Op::Reshape { dims }, &[x])
            }
            19 => {
                let size = *self.dims(x).get(axis)?;
                let start = r / 16 % size;
                self.push(Op::Slice { axis, start, len: size - start }, &[x])
            }
            20 => self.push(Op::Pad { axis, before: r / 16 % 2, after: r / 32 % 2 }, &[x]),
            21 => {
                let square = self.push(Op::MatMul { transpose_a: false, transpose_b: true }, &[x, x])?;
                let dims = self.dims(square).to_vec();
                let row = self.push(Op::Iota { dims: dims.clone(), axis: dims.len() - 1 }, &[])?;
                let column = self.push(Op::Iota { dims: dims.clone(), axis: dims.len() - 2 }, &[])?;
                let eye = self.push(Op::Compare { f: Compare::Eq }, &[row, column])?;
                let two = self.full(2.0, eye)?;
                let ridge = self.push(Op::Binary { f: Binary::Mul }, &[two, eye])?;
                let a = self.push(Op::Binary { f: Binary::Add }, &[square, ridge])?;
                self.push(Op::SolveSpd, &[a, x])
            }
            22 => {
                let value = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1][r / 4 % 7];
                let constant = self.full(value, x)?;
                let f = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min][r / 28 % 5];
                let args = if r / 140 % 2 == 1 { [x, constant] } else { [constant, x] };
                self.push(Op::Binary { f }, &args)
            }
            23 => self.push(Op::Window { axis, size: 1 + r / 16 % 2, stride: 1 + r / 32 % 2, dilation: 1 }, &[x]),
            24 => {
                let len = self.dims(x).get(axis)? + self.dims(x).get(axis + 1)?;
                self.push(Op::Fold { axis, len, stride: 1, dilation: 1 }, &[x])
            }
            25 => {
                let numbers = self.push(Op::Iota { dims: vec![4], axis: 0 }, &[])?;
                self.push(Op::Gather { batch: 0 }, &[x, numbers])
            }
            26 => {
                let numbers = self.push(Op::Iota { dims: vec![*self.dims(x).first()?], axis: 0 }, &[])?;
                self.push(Op::Scatter { batch: 0, size: 2 }, &[numbers, x])
            }
            _ if detach => self.push(Op::Detach, &[x]),
            _ => self.unary(Unary::Neg, x),
        }
    }

    /// Adds `op(other, b)` for the first other operand that fits, counted from `r`.
    fn pair_with(&mut self, op: Op, b: NodeId, r: usize) -> Option<NodeId> {
        let count = self.nodes.len();
        (0..count).find_map(|i| self.push(op.clone(), &[NodeId::new((i + r / 4) % count), b]))
    }
}
