//! From a program to a flat list of instructions over numbered buffers.
//!
//! Reshapes, broadcasts, permutations, slices and windows become views, which cost nothing; elementwise operations of one size are fused
//! as far as nothing between them needs a whole result; the rest is one instruction each. Instructions are ordered by rank: an instruction
//! comes after everything it reads because its rank is larger.
//!
//! In which order the entries of a result lie is free: elementwise operations, sums and the like leave them as those of their operands
//! lie, and a product leaves them as it makes them. Only what is given away lies row by row.

use std::collections::HashMap;

use super::fold::Windows;
use super::fused::{Fused, Operand, Step, StepOp};
use super::matmul::Product;
use super::view::View;
use crate::exec::rows::Rows;
use crate::ir::{Function, Node, NodeId, Op, Reduce};

/// What a buffer holds, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An argument of the program.
    Input(usize),
    /// The numbers 0, 1, 2, ...
    Positions,
    /// An instruction.
    Computed,
}

/// A buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    pub origin: Origin,
    /// Its number of elements.
    pub len: usize,
}

/// One instruction; buffers are named by number.
#[derive(Debug, Clone)]
pub(super) enum Instruction {
    /// A chain of elementwise operations.
    Fused(Fused),
    /// A reduction of dense entries `[outer, size, inner]`; `adjacent` says which tree its terms make.
    Reduce { f: Reduce, adjacent: bool, from: (usize, usize), outer: usize, size: usize, inner: usize, to: usize },
    /// A batched matrix product.
    Product { product: Product, a: usize, b: usize, to: usize },
    /// Zeros before and after the dense rows `[outer, size * inner]`.
    Pad { from: (usize, usize), outer: usize, row: usize, before: usize, after: usize, to: usize },
    /// The sum of windows where they lie.
    Fold { windows: Windows, from: (usize, usize), to: usize },
    /// Rows of dense tables by dense numbers.
    Gather { rows: Rows, table: (usize, usize), numbers: (usize, usize), to: usize },
    /// Tables of sums of dense rows by dense numbers.
    Scatter { rows: Rows, numbers: (usize, usize), terms: (usize, usize), to: usize },
    /// The solution of symmetric positive definite systems `[count, p, p]`, `[count, p, q]`.
    Solve { count: usize, p: usize, q: usize, a: (usize, usize), b: (usize, usize), to: usize },
}

/// Where an output of the program comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Output {
    /// A buffer that an instruction fills and nothing else claims.
    Computed(usize),
    /// The dense entries of a buffer from an offset on.
    Part(usize, usize),
    /// One number, repeated.
    Constant(f64),
}

/// A compiled program, for any float type and path.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub buffers: Vec<Buffer>,
    pub instructions: Vec<Instruction>,
    pub outputs: Vec<Output>,
}

/// The value of a node.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Constant(f64),
    View(View),
}

/// Elementwise nodes that are computed together.
struct Group {
    rank: usize,
    len: usize,
    /// The members, in order: their buffers, operations and operands.
    members: Vec<(usize, StepOp, Vec<Value>)>,
}

/// What produces a buffer.
#[derive(Clone, Copy)]
enum Producer {
    Nothing,
    Group(usize),
    Single(usize),
}

/// A group with more members would not keep its intermediate results in the cache.
const MOST_MEMBERS: usize = 96;

pub(super) struct Scheduler<'f> {
    function: &'f Function,
    values: Vec<Value>,
    buffers: Vec<Buffer>,
    producers: Vec<Producer>,
    groups: Vec<Group>,
    singles: Vec<(usize, Instruction)>,
    /// The groups that a node of some length may join, by that length.
    open: HashMap<usize, Vec<usize>>,
    /// Whether instructions are to be fused.
    fuse: bool,
}

impl Schedule {
    /// The schedule of a verified program.
    pub fn new(function: &Function, fuse: bool) -> Schedule {
        let mut scheduler = Scheduler {
            function,
            values: Vec::with_capacity(function.nodes.len()),
            buffers: vec![],
            producers: vec![],
            groups: vec![],
            singles: vec![],
            open: HashMap::new(),
            fuse,
        };
        for node in &function.nodes {
            let value = scheduler.value(node);
            scheduler.values.push(value);
        }
        scheduler.finish()
    }
}

impl<'f> Scheduler<'f> {
    fn value(&mut self, node: &'f Node) -> Value {
        let args: Vec<Value> = node.args.iter().map(|a| self.values[a.index()].clone()).collect();
        let function = self.function;
        let shapes: Vec<&[usize]> = node.args.iter().map(|&a| function.dims(a)).collect();
        let view = |make: &dyn Fn(&View) -> View| match &args[0] {
            Value::Constant(x) => Value::Constant(*x),
            Value::View(view) => Value::View(make(view)),
        };
        match &node.op {
            Op::Const { value } => Value::Constant(value.0),
            Op::Input { index, dims } => Value::View(self.buffer(Origin::Input(*index), dims)),
            Op::Iota { dims, axis } => {
                let positions = self.buffer(Origin::Positions, &[dims[*axis]]);
                let others = dims.iter().enumerate().filter(|(i, _)| i != axis);
                Value::View(others.fold(positions, |view, (i, &size)| view.broadcast(i, size)))
            }
            Op::Detach | Op::CaseMean => args[0].clone(),
            Op::Broadcast { axis, size } => view(&|v| v.broadcast(*axis, *size)),
            Op::Permute { order } => view(&|v| v.permute(order)),
            Op::Slice { axis, start, len } => self.viewed(&args[0], shapes[0], &|v| v.slice(*axis, *start, *len)),
            Op::Reshape { dims } => self.viewed(&args[0], shapes[0], &|v| v.reshape(dims)),
            Op::Window { axis, stride, dilation, .. } => {
                let counts = (node.dims[*axis], node.dims[axis + 1]);
                self.viewed(&args[0], shapes[0], &|v| v.window(*axis, counts, *stride, *dilation))
            }
            Op::Unary { f } => self.elementwise(StepOp::Unary(*f), args, &node.dims),
            Op::Binary { f } => self.elementwise(StepOp::Binary(*f), args, &node.dims),
            Op::Compare { f } => self.elementwise(StepOp::Compare(*f), args, &node.dims),
            Op::Select => self.elementwise(StepOp::Select, args, &node.dims),
            Op::Reduce { f, axis } => self.reduce(*f, *axis, &args[0], shapes[0]),
            Op::Pad { axis, before, after } => self.pad(*axis, (*before, *after), &args[0], shapes[0]),
            Op::Fold { axis, len, stride, dilation } => {
                self.fold(*axis, (*len, *stride, *dilation), &args[0], shapes[0])
            }
            Op::Gather { .. } | Op::Scatter { .. } => {
                let [a, b] = [0, 1].map(|i| self.dense(&args[i], shapes[i]));
                let places = [&a, &b].map(|view| (view.buffer, view.offset));
                let to = self.buffer(Origin::Computed, &node.dims);
                let instruction = match &node.op {
                    Op::Gather { batch } => Instruction::Gather {
                        rows: Rows::new(shapes[0], shapes[1], *batch),
                        table: places[0],
                        numbers: places[1],
                        to: to.buffer,
                    },
                    Op::Scatter { batch, .. } => Instruction::Scatter {
                        rows: Rows::new(&node.dims, shapes[0], *batch),
                        numbers: places[0],
                        terms: places[1],
                        to: to.buffer,
                    },
                    _ => unreachable!("one of the two"),
                };
                self.single(instruction, &[a.buffer, b.buffer], to)
            }
            Op::SolveSpd => {
                let dims = shapes[1].to_vec();
                let (p, q) = (dims[dims.len() - 2], dims[dims.len() - 1]);
                let a = self.dense(&args[0], shapes[0]);
                let b = self.dense(&args[1], &dims);
                let to = self.buffer(Origin::Computed, &node.dims);
                let count = dims[..dims.len() - 2].iter().product();
                let (from_a, from_b) = ((a.buffer, a.offset), (b.buffer, b.offset));
                let instruction = Instruction::Solve { count, p, q, a: from_a, b: from_b, to: to.buffer };
                self.single(instruction, &[a.buffer, b.buffer], to)
            }
            Op::MatMul { transpose_a, transpose_b } => {
                let turned = |view: View, turn: bool| {
                    let rank = view.axes.len();
                    let mut order: Vec<usize> = (0..rank).collect();
                    if turn {
                        order.swap(rank - 2, rank - 1);
                    }
                    view.permute(&order)
                };
                let [a, b] = [0, 1].map(|i| self.placed(&args[i], shapes[i]));
                self.product(turned(a, *transpose_a), turned(b, *transpose_b))
            }
        }
    }

    /// What a view makes of a value, copied first where strides cannot say it.
    pub(super) fn viewed(&mut self, value: &Value, dims: &[usize], make: &dyn Fn(&View) -> Option<View>) -> Value {
        let Value::View(view) = value else { return value.clone() };
        let made = make(view).unwrap_or_else(|| make(&self.dense(value, dims)).expect("dense entries have any dims"));
        Value::View(made)
    }

    pub(super) fn buffer(&mut self, origin: Origin, dims: &[usize]) -> View {
        self.buffers.push(Buffer { origin, len: dims.iter().product() });
        self.producers.push(Producer::Nothing);
        View::whole(self.buffers.len() - 1, dims)
    }

    fn rank(&self, buffer: usize) -> usize {
        match self.producers[buffer] {
            Producer::Nothing => 0,
            Producer::Group(group) => self.groups[group].rank,
            Producer::Single(single) => self.singles[single].0,
        }
    }

    pub(super) fn single(&mut self, instruction: Instruction, reads: &[usize], to: View) -> Value {
        let rank = 1 + reads.iter().map(|&b| self.rank(b)).max().unwrap_or(0);
        self.producers[to.buffer] = Producer::Single(self.singles.len());
        self.singles.push((rank, instruction));
        Value::View(to)
    }

    /// The entries row by row, copied if they are not.
    pub(super) fn dense(&mut self, value: &Value, dims: &[usize]) -> View {
        match value {
            Value::View(view) if view.is_dense() => View { axes: View::whole(0, dims).axes, ..*view },
            _ => self.member(StepOp::Copy, vec![value.clone()], dims),
        }
    }

    /// The entries side by side in the order of some axes, copied if they are in none, and that order.
    pub(super) fn compact(&mut self, value: &Value, dims: &[usize]) -> (View, Vec<usize>) {
        if let Value::View(view) = value {
            let order = view.order();
            let sorted = view.permute(&order);
            if sorted.is_dense() {
                return (sorted, order);
            }
            if view.is_full() {
                let dims: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
                return (self.dense(&Value::View(sorted), &dims), order);
            }
        }
        (self.dense(value, dims), (0..dims.len()).collect())
    }

    /// The view of a value, which gets a buffer if it is a constant.
    pub(super) fn placed(&mut self, value: &Value, dims: &[usize]) -> View {
        match value {
            Value::View(view) => view.clone(),
            Value::Constant(_) => self.dense(value, dims),
        }
    }

    /// An elementwise operation, whose result lies as its operands do where none of them lies row by row. What is the same all along an
    /// axis is computed once.
    pub(super) fn elementwise(&mut self, op: StepOp, args: Vec<Value>, dims: &[usize]) -> Value {
        let views = args.iter().filter_map(|a| if let Value::View(v) = a { Some(v) } else { None });
        let repeats = |axis: usize| dims[axis] > 1 && views.clone().all(|v| v.stride(axis) == Some(0));
        if views.clone().next().is_some()
            && let Some(axis) = (0..dims.len()).find(|&axis| repeats(axis))
        {
            let one = |arg: &Value| match arg {
                Value::View(view) => Value::View(view.at(axis, 0).expect("an axis of one stride")),
                constant => constant.clone(),
            };
            let rest = [&dims[..axis], &dims[axis + 1..]].concat();
            let once = self.elementwise(op, args.iter().map(one).collect(), &rest);
            let Value::View(view) = once else { unreachable!("what is computed has a buffer") };
            return Value::View(view.broadcast(axis, dims[axis]));
        }
        let full: Vec<&View> = views.filter(|v| v.is_full()).collect();
        let dense = |v: &&&View| v.permute(&v.order()).is_dense();
        let leader = full.iter().find(dense).or(full.first()).filter(|_| !full.iter().any(|v| v.is_dense()));
        let Some(order) = leader.map(|v| v.order()) else { return Value::View(self.member(op, args, dims)) };
        let permuted = |arg: Value| match arg {
            Value::View(view) => Value::View(view.permute(&order)),
            constant => constant,
        };
        let dims: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
        let args = args.into_iter().map(permuted).collect();
        Value::View(self.member(op, args, &dims).unpermute(&order))
    }

    /// A member of a group: of one that computes an operand, or of another of the same length, if all it reads comes before.
    fn member(&mut self, op: StepOp, args: Vec<Value>, dims: &[usize]) -> View {
        let len = dims.iter().product();
        let views = |args: &[Value]| -> Vec<View> {
            args.iter().filter_map(|a| if let Value::View(v) = a { Some(v.clone()) } else { None }).collect()
        };
        let reads = views(&args);
        // An operand that is computed in the group is there entry by entry; every other one must be complete.
        let joins = |this: &Self, group: usize| {
            let of_group = |v: &View| matches!(this.producers[v.buffer], Producer::Group(g) if g == group);
            reads.iter().all(|v| match of_group(v) {
                true => v.is_dense() && v.offset == 0 && this.buffers[v.buffer].len == len,
                false => this.rank(v.buffer) < this.groups[group].rank,
            }) && this.groups[group].members.len() < MOST_MEMBERS
        };
        let open = self.open.get(&len).filter(|_| self.fuse);
        let found = open.and_then(|open| open.iter().rev().copied().find(|&group| joins(self, group)));
        let group = found.unwrap_or_else(|| {
            let rank = 1 + reads.iter().map(|v| self.rank(v.buffer)).max().unwrap_or(0);
            self.groups.push(Group { rank, len, members: vec![] });
            self.open.entry(len).or_default().push(self.groups.len() - 1);
            self.groups.len() - 1
        });
        let to = self.buffer(Origin::Computed, dims);
        self.producers[to.buffer] = Producer::Group(group);
        self.groups[group].members.push((to.buffer, op, args));
        to
    }

    fn finish(mut self) -> Schedule {
        let outputs: Vec<Output> = self.outputs();
        // A member is written to memory where something outside its group reads it.
        let mut outside = vec![false; self.buffers.len()];
        for (_, instruction) in &self.singles {
            instruction.reads().into_iter().for_each(|b| outside[b] = true);
        }
        for (number, group) in self.groups.iter().enumerate() {
            for view in group.members.iter().flat_map(|(_, _, args)| args) {
                if let Value::View(v) = view
                    && !matches!(self.producers[v.buffer], Producer::Group(g) if g == number)
                {
                    outside[v.buffer] = true;
                }
            }
        }
        for output in &outputs {
            if let Output::Computed(b) | Output::Part(b, _) = output {
                outside[*b] = true;
            }
        }
        let mut ranked: Vec<(usize, Instruction)> = std::mem::take(&mut self.singles);
        for group in &self.groups {
            ranked.push((group.rank, Instruction::Fused(fused(group, &outside))));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        let instructions = ranked.into_iter().map(|(_, i)| i).collect();
        Schedule { buffers: self.buffers, instructions, outputs }
    }

    /// Where outputs come from. One that is no whole buffer of its own is copied by an instruction or, where dense, at the end.
    fn outputs(&mut self) -> Vec<Output> {
        let nodes: Vec<NodeId> = self.function.outputs.iter().map(|p| p.node).collect();
        let mut claimed = Vec::new();
        let mut outputs = Vec::new();
        for node in nodes {
            let dims = self.function.dims(node).to_vec();
            let view = match self.values[node.index()].clone() {
                Value::Constant(x) => {
                    outputs.push(Output::Constant(x));
                    continue;
                }
                value => self.dense(&value, &dims),
            };
            let whole = view.offset == 0 && self.buffers[view.buffer].len == view.len();
            let own = whole && self.buffers[view.buffer].origin == Origin::Computed && !claimed.contains(&view.buffer);
            claimed.push(view.buffer);
            outputs.push(if own { Output::Computed(view.buffer) } else { Output::Part(view.buffer, view.offset) });
        }
        outputs
    }
}

/// The steps of a group: operands that are not in the group and not dense are loaded just before their first use.
fn fused(group: &Group, outside: &[bool]) -> Fused {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside: HashMap<usize, Operand> = HashMap::new();
    let mut loaded: Vec<(View, Operand)> = Vec::new();
    let mut outputs: Vec<usize> = Vec::new();
    for (buffer, op, args) in &group.members {
        let args: Vec<Operand> = args
            .iter()
            .map(|arg| match arg {
                Value::Constant(x) => Operand::Constant(*x),
                Value::View(view) if inside.contains_key(&view.buffer) => inside[&view.buffer],
                Value::View(view) if view.is_dense() => Operand::Dense { buffer: view.buffer, offset: view.offset },
                Value::View(view) if view.is_scalar() => Operand::Scalar { buffer: view.buffer, at: view.offset },
                Value::View(view) => match loaded.iter().find(|(v, _)| v == view) {
                    Some((_, operand)) => *operand,
                    None => {
                        let load = StepOp::Load { buffer: view.buffer, offset: view.offset, axes: view.merged() };
                        steps.push(Step { op: load, args: vec![], output: None });
                        let operand = Operand::Step(steps.len() - 1);
                        loaded.push((view.clone(), operand));
                        operand
                    }
                },
            })
            .collect();
        let output = outside[*buffer].then(|| {
            outputs.push(*buffer);
            outputs.len() - 1
        });
        steps.push(Step { op: op.clone(), args, output });
        inside.insert(*buffer, Operand::Step(steps.len() - 1));
    }
    Fused::new(group.len, steps, outputs)
}

impl Instruction {
    /// The buffers it reads.
    pub fn reads(&self) -> Vec<usize> {
        match self {
            Instruction::Fused(fused) => fused.readings().into_iter().map(|(buffer, _, _)| buffer).collect(),
            Instruction::Reduce { from, .. } | Instruction::Pad { from, .. } => vec![from.0],
            Instruction::Product { a, b, .. } => vec![*a, *b],
            Instruction::Fold { from, .. } => vec![from.0],
            Instruction::Gather { table: a, numbers: b, .. } | Instruction::Scatter { numbers: a, terms: b, .. } => {
                vec![a.0, b.0]
            }
            Instruction::Solve { a, b, .. } => vec![a.0, b.0],
        }
    }

    /// Goes through the operands in the order of [`reads`](Instruction::reads), to name other buffers.
    pub fn each_read(&mut self, f: &mut dyn FnMut(&mut usize)) {
        match self {
            Instruction::Fused(fused) => fused.each_read(f),
            Instruction::Reduce { from, .. } | Instruction::Pad { from, .. } => f(&mut from.0),
            Instruction::Product { a, b, .. } => {
                f(a);
                f(b);
            }
            Instruction::Fold { from, .. } => f(&mut from.0),
            Instruction::Gather { table: a, numbers: b, .. }
            | Instruction::Scatter { numbers: a, terms: b, .. }
            | Instruction::Solve { a, b, .. } => {
                f(&mut a.0);
                f(&mut b.0);
            }
        }
    }

    /// The buffers it fills.
    pub fn writes(&self) -> &[usize] {
        match self {
            Instruction::Fused(fused) => &fused.outputs,
            Instruction::Reduce { to, .. }
            | Instruction::Pad { to, .. }
            | Instruction::Fold { to, .. }
            | Instruction::Gather { to, .. }
            | Instruction::Scatter { to, .. }
            | Instruction::Product { to, .. }
            | Instruction::Solve { to, .. } => std::slice::from_ref(to),
        }
    }

    /// The same, to name other buffers.
    pub fn writes_mut(&mut self) -> &mut [usize] {
        match self {
            Instruction::Fused(fused) => &mut fused.outputs,
            Instruction::Reduce { to, .. }
            | Instruction::Pad { to, .. }
            | Instruction::Fold { to, .. }
            | Instruction::Gather { to, .. }
            | Instruction::Scatter { to, .. }
            | Instruction::Product { to, .. }
            | Instruction::Solve { to, .. } => std::slice::from_mut(to),
        }
    }

    /// About how many multiply-adds it takes; an elementwise operation counts as a few, since it waits for memory.
    pub fn work(&self) -> usize {
        match self {
            Instruction::Fused(fused) => 4 * fused.len * fused.arithmetic().max(1),
            Instruction::Reduce { outer, size, inner, .. } => 4 * outer * size * inner,
            Instruction::Product { product: p, .. } => p.count * p.m * p.k * p.n,
            Instruction::Pad { outer, row, before, after, .. } => 4 * outer * (before + row + after),
            Instruction::Fold { windows: w, .. } => 4 * w.entries(),
            Instruction::Gather { rows, .. } | Instruction::Scatter { rows, .. } => 4 * rows.entries(),
            Instruction::Solve { count, p, q, .. } => count * p * p * (p + q),
        }
    }
}
