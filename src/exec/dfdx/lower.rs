//! From the nodes of a program to dfdx instructions: which way of computing each operation is taken.
//!
//! Operations that only rename their operand (reshapes, axes of one entry) leave no instruction. What depends on no
//! input is lowered as well and computed once, when the program is compiled.

use std::collections::HashMap;

use super::device::{Backend, Element};
use super::device_error;
use super::instruction::{Instruction, Product, View};
use crate::exec::ExecError;
use crate::exec::rows::Rows;
use crate::ir::{Binary, Compare, Function, Node, Op, Reduce};

/// From this many elements per entry of a batch on, a product with ones is faster than dfdx's strided loop.
const WORTH_A_PRODUCT: usize = 64;

/// From this many elements on, ten fast operations take less time than one choice by truth values.
const WORTH_ARITHMETIC: usize = 256;

/// Where the value of a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has no elements.
    Empty,
    /// An argument of the program.
    Argument(usize),
    /// The result of an instruction.
    Result(usize),
}

/// An instruction with its operands.
pub struct Lowered<E: Element, D: Backend<E>> {
    pub instruction: Instruction<E, D>,
    pub args: Vec<Place>,
    /// The operation it belongs to, for error messages.
    pub op: &'static str,
    /// Whether it depends on no argument.
    pub constant: bool,
}

/// Instructions, operands before their users.
pub type Code<E, D> = Vec<Lowered<E, D>>;

/// The instructions made so far.
struct Lowering<'d, E: Element, D: Backend<E>> {
    device: &'d D,
    code: Code<E, D>,
    /// Constant tensors made so far, by the bits of their value and their length.
    fills: HashMap<(u64, usize), Place>,
    /// The operation being lowered.
    op: &'static str,
}

/// The instructions of a verified program, and the places of its outputs.
pub fn lower<E: Element, D: Backend<E>>(
    device: &D,
    function: &Function,
) -> Result<(Code<E, D>, Vec<Place>), ExecError> {
    let mut lowering = Lowering { device, code: Vec::new(), fills: HashMap::new(), op: "" };
    let mut places = Vec::with_capacity(function.nodes.len());
    let mut splats: Vec<Option<f64>> = Vec::with_capacity(function.nodes.len());
    for node in &function.nodes {
        let operands = Operands {
            places: node.args.iter().map(|a| places[a.index()]).collect(),
            splats: node.args.iter().map(|a| splats[a.index()]).collect(),
            dims: node.args.iter().map(|&a| function.dims(a)).collect(),
        };
        let splat = match node.op {
            Op::Const { value } => Some(value.0),
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Detach => {
                operands.splats[0]
            }
            _ => None,
        };
        lowering.op = node.op.name();
        let place = lowering.node(node, &operands, splat).map_err(|e| device_error::<D>(node.op.name(), e))?;
        places.push(place);
        splats.push(splat);
    }
    Ok((lowering.code, function.outputs.iter().map(|p| places[p.node.index()]).collect()))
}

/// What is known of a node's operands.
struct Operands<'f> {
    places: Vec<Place>,
    /// The value that every entry has, where that is known.
    splats: Vec<Option<f64>>,
    dims: Vec<&'f [usize]>,
}

impl<E: Element, D: Backend<E>> Lowering<'_, E, D> {
    fn emit(&mut self, instruction: Instruction<E, D>, args: &[Place]) -> Place {
        let constant = args.iter().all(|&a| match a {
            Place::Result(i) => self.code[i].constant,
            Place::Empty | Place::Argument(_) => false,
        });
        self.code.push(Lowered { instruction, args: args.to_vec(), op: self.op, constant });
        Place::Result(self.code.len() - 1)
    }

    fn fill(&mut self, value: f64, len: usize) -> Place {
        if let Some(&known) = self.fills.get(&(value.to_bits(), len)) {
            return known;
        }
        let place = self.emit(Instruction::Fill { value: E::round_from(value), len }, &[]);
        self.fills.insert((value.to_bits(), len), place);
        place
    }

    fn node(&mut self, node: &Node, operands: &Operands, splat: Option<f64>) -> Result<Place, D::Err> {
        let len: usize = node.dims.iter().product();
        if len == 0 {
            return Ok(Place::Empty);
        }
        if let Some(value) = splat {
            return Ok(self.fill(value, len));
        }
        let is_empty = operands.places.contains(&Place::Empty);
        // Sums of nothing, products over nothing, zeros around nothing.
        if is_empty {
            return Ok(self.fill(0.0, len));
        }
        let places = &operands.places;
        Ok(match &node.op {
            Op::Input { index, .. } => Place::Argument(*index),
            Op::Const { value } => self.fill(value.0, len),
            Op::Iota { dims, axis } => self.emit(Instruction::Iota { view: view(dims, *axis) }, &[]),
            Op::Detach | Op::CaseMean | Op::Reshape { .. } => places[0],
            Op::Unary { f } => self.emit(Instruction::Unary { f: *f }, places),
            Op::Binary { f } => self.binary(*f, places[0], places[1], &operands.splats),
            Op::Compare { f } => self.compare(*f, places[0], places[1], &operands.splats, len),
            Op::Select => self.select(places, &operands.splats, len),
            Op::Reduce { f, axis } => self.reduce(*f, places[0], view(operands.dims[0], *axis)),
            Op::Broadcast { axis, .. } => self.broadcast(places[0], view(&node.dims, *axis)),
            Op::MatMul { transpose_a, transpose_b } => {
                let product = product(operands.dims[0], operands.dims[1], *transpose_a, *transpose_b);
                self.emit(Instruction::MatMul(product), places)
            }
            Op::Permute { order } => self.permute(places[0], operands.dims[0], order),
            Op::Slice { axis, start, len } => self.slice(places[0], view(operands.dims[0], *axis), *start, *len),
            Op::Pad { axis, before, after } => self.pad(places[0], view(operands.dims[0], *axis), *before, *after)?,
            Op::Window { axis, size, stride, dilation } => {
                let View { outer, axis: len, inner } = view(operands.dims[0], *axis);
                let place = |block, window, entry| block * len + window * stride + entry * dilation;
                let count = node.dims[*axis];
                let windows = (0..outer).flat_map(|block| (0..count).map(move |window| (block, window)));
                let rows = windows.flat_map(|(b, w)| (0..*size).map(move |entry| Some(place(b, w, entry))));
                self.rows(places[0], inner, outer * len, rows)?
            }
            Op::Fold { axis, len, stride, dilation } => {
                self.fold(places[0], operands.dims[0], *axis, (*len, *stride, *dilation))?
            }
            Op::Gather { batch } => {
                let rows = Rows::new(operands.dims[0], operands.dims[1], *batch);
                self.emit(Instruction::Gather { rows, len }, places)
            }
            Op::Scatter { batch, .. } => {
                let rows = Rows::new(&node.dims, operands.dims[0], *batch);
                self.emit(Instruction::Scatter { rows, len }, places)
            }
            Op::SolveSpd => {
                let [batch @ .., p, q] = operands.dims[1] else { return Ok(Place::Empty) };
                let batch = batch.iter().product();
                self.emit(Instruction::SolveSpd { batch, p: *p, q: *q }, places)
            }
        })
    }

    fn binary(&mut self, f: Binary, a: Place, b: Place, splats: &[Option<f64>]) -> Place {
        let scalar = |c: f64| E::round_from(c);
        let (instruction, x) = match (f, splats[0], splats[1]) {
            (Binary::Add, None, Some(c)) => (Instruction::AddScalar { c: scalar(c) }, a),
            (Binary::Add, Some(c), None) => (Instruction::AddScalar { c: scalar(c) }, b),
            (Binary::Sub, None, Some(c)) => (Instruction::AddScalar { c: scalar(-c) }, a),
            (Binary::Sub, Some(c), None) => (Instruction::SubFromScalar { c: scalar(c) }, b),
            (Binary::Mul, None, Some(c)) => (Instruction::MulScalar { c: scalar(c) }, a),
            (Binary::Mul, Some(c), None) => (Instruction::MulScalar { c: scalar(c) }, b),
            (Binary::Div, None, Some(c)) => (Instruction::DivScalar { c: scalar(c) }, a),
            (Binary::Div, Some(1.0), None) => (Instruction::Recip, b),
            (Binary::Max, None, Some(0.0)) => (Instruction::Relu, a),
            (Binary::Max, Some(0.0), None) => (Instruction::Relu, b),
            (Binary::Add, None, None) if a == b => (Instruction::MulScalar { c: scalar(2.0) }, a),
            (Binary::Mul, None, None) if a == b => (Instruction::Square, a),
            _ => return self.emit(elementwise(f), &[a, b]),
        };
        self.emit(instruction, &[x])
    }

    /// `a < b` exactly where `b - a > 0`, with gradual underflow and with infinities, whose difference with
    /// themselves is NaN. dfdx's comparison gives truth values, and choosing by them takes twenty times as long.
    fn compare(&mut self, f: Compare, a: Place, b: Place, splats: &[Option<f64>], len: usize) -> Place {
        if f == Compare::Lt {
            let difference = match splats[0] {
                Some(0.0) => b,
                _ => self.binary(Binary::Sub, b, a, &[splats[1], splats[0]]),
            };
            return self.emit(Instruction::Step, &[difference]);
        }
        let (ones, zeros) = (self.fill(1.0, len), self.fill(0.0, len));
        self.emit(Instruction::Compare { f }, &[a, b, ones, zeros])
    }

    /// What a mask drops is 0 in most selections, those of gradients, which arithmetic does three times as fast.
    fn select(&mut self, places: &[Place], splats: &[Option<f64>], len: usize) -> Place {
        let is_mask = matches!(places[0], Place::Result(i)
            if matches!(self.code[i].instruction, Instruction::Step | Instruction::Compare { .. }));
        if D::CLAMP_KEEPS_NAN && is_mask && len >= WORTH_ARITHMETIC {
            if splats[2] == Some(0.0) {
                return self.emit(Instruction::Keep, &places[..2]);
            }
            if splats[1] == Some(0.0) {
                let inverse = self.emit(Instruction::SubFromScalar { c: E::round_from(1.0) }, &places[..1]);
                return self.emit(Instruction::Keep, &[inverse, places[2]]);
            }
        }
        self.emit(Instruction::Select, places)
    }

    fn reduce(&mut self, f: Reduce, x: Place, view: View) -> Place {
        let View { outer, axis, inner } = view;
        if axis == 1 {
            return x;
        }
        if f == Reduce::Max {
            return self.emit(Instruction::MaxReduce { view }, &[x]);
        }
        let by_rows = outer == 1 || inner == 1;
        if D::ORDERED_SUM && !by_rows && axis * inner < WORTH_A_PRODUCT {
            return self.emit(Instruction::Sum { view }, &[x]);
        }
        let ones = self.fill(1.0, axis);
        let (transpose_a, transpose_b) = (false, false);
        if inner == 1 {
            let product = Product { batch: 1, m: outer, k: axis, n: 1, transpose_a, transpose_b };
            return self.emit(Instruction::MatMul(product), &[x, ones]);
        }
        let product = Product { batch: outer, m: 1, k: axis, n: inner, transpose_a, transpose_b };
        self.emit(shared_left(product), &[ones, x])
    }

    fn broadcast(&mut self, x: Place, view: View) -> Place {
        let View { outer, axis, inner } = view;
        if axis == 1 {
            return x;
        }
        let by_rows = outer == 1 || inner == 1;
        if D::FAST_STRIDES || (!by_rows && axis * inner < WORTH_A_PRODUCT) {
            return self.emit(Instruction::Broadcast { view }, &[x]);
        }
        let ones = self.fill(1.0, axis);
        let (transpose_a, transpose_b) = (false, false);
        if inner == 1 {
            let product = Product { batch: 1, m: outer, k: 1, n: axis, transpose_a, transpose_b };
            return self.emit(Instruction::MatMul(product), &[x, ones]);
        }
        let product = Product { batch: outer, m: axis, k: 1, n: inner, transpose_a, transpose_b };
        self.emit(shared_left(product), &[ones, x])
    }

    /// Any order of axes as swaps of two neighbouring groups; most orders in use are one such swap.
    fn permute(&mut self, x: Place, dims: &[usize], order: &[usize]) -> Place {
        let (mut dims, mut order) = merge_axes(dims, order);
        let mut place = x;
        while let Some(i) = (0..order.len()).find(|&i| order[i] != i) {
            let from = order[i];
            let span = |r: std::ops::Range<usize>| dims[r].iter().product::<usize>();
            let swapped = [span(0..i), span(i..from), dims[from], span(from + 1..dims.len())];
            place = self.emit(Instruction::Swap { dims: swapped }, &[place]);
            dims[i..=from].rotate_right(1);
            // Axes `i..from` of the source stand one further back now, and axis `from` at `i`.
            for o in &mut order {
                match *o {
                    o2 if o2 == from => *o = i,
                    o2 if (i..from).contains(&o2) => *o += 1,
                    _ => {}
                }
            }
        }
        place
    }

    fn slice(&mut self, x: Place, view: View, start: usize, len: usize) -> Place {
        let View { outer, axis, inner } = view;
        if len == axis {
            return x;
        }
        let (start, end) = (start * inner, (start + len) * inner);
        self.emit(Instruction::Columns { rows: outer, width: axis * inner, start, end }, &[x])
    }

    fn pad(&mut self, x: Place, view: View, before: usize, after: usize) -> Result<Place, D::Err> {
        let View { outer, axis, inner } = view;
        if before + after == 0 {
            return Ok(x);
        }
        if outer == 1 {
            let mut args = vec![x];
            if before > 0 {
                args.insert(0, self.fill(0.0, before * inner));
            }
            if after > 0 {
                args.push(self.fill(0.0, after * inner));
            }
            return Ok(self.emit(Instruction::Concat { parts: args.len() }, &args));
        }
        let row = |o: usize, i: usize| i.checked_sub(before).filter(|&i| i < axis).map(|i| o * axis + i);
        let padded = before + axis + after;
        self.rows(x, inner, outer * axis, (0..outer).flat_map(|o| (0..padded).map(move |i| row(o, i))))
    }

    /// Rows of `x`, which has `count` of this width, by number; zeros for none.
    fn rows(
        &mut self,
        x: Place,
        width: usize,
        count: usize,
        rows: impl Iterator<Item = Option<usize>>,
    ) -> Result<Place, D::Err> {
        // One row of zeros after all others.
        let index: Vec<usize> = rows.map(|row| row.unwrap_or(count)).collect();
        let shape = (index.len(),);
        let index = self.device.try_tensor_from_vec(index, shape)?;
        let zeros = self.fill(0.0, width);
        Ok(self.emit(Instruction::Rows { width, index }, &[x, zeros]))
    }

    /// The sum, over the entries of a window, of what those entries cover.
    fn fold(
        &mut self,
        x: Place,
        dims: &[usize],
        axis: usize,
        (len, stride, dilation): (usize, usize, usize),
    ) -> Result<Place, D::Err> {
        let View { outer, axis: count, .. } = view(dims, axis);
        let View { axis: size, inner, .. } = view(dims, axis + 1);
        let mut total = None;
        for entry in 0..size {
            let window = |j: usize| {
                let past = j.checked_sub(entry * dilation)?;
                (past % stride == 0 && past / stride < count).then_some(past / stride)
            };
            let row = |block: usize, j: usize| window(j).map(|w| (block * count + w) * size + entry);
            let rows = (0..outer).flat_map(|block| (0..len).map(move |j| row(block, j)));
            let part = self.rows(x, inner, outer * count * size, rows)?;
            total = Some(match total {
                Some(total) => self.emit(Instruction::Add { sign: 1.0 }, &[total, part]),
                None => part,
            });
        }
        Ok(total.unwrap_or(Place::Empty))
    }
}

fn elementwise<E: Element, D: Backend<E>>(f: Binary) -> Instruction<E, D> {
    match f {
        Binary::Add => Instruction::Add { sign: 1.0 },
        Binary::Sub => Instruction::Add { sign: -1.0 },
        Binary::Mul => Instruction::Mul,
        Binary::Div => Instruction::Div,
        Binary::Max => Instruction::Max,
        Binary::Min => Instruction::Min,
    }
}

fn shared_left<E: Element, D: Backend<E>>(product: Product) -> Instruction<E, D> {
    if product.batch == 1 { Instruction::MatMul(product) } else { Instruction::MatMulSharedLeft(product) }
}

fn view(dims: &[usize], axis: usize) -> View {
    View { outer: dims[..axis].iter().product(), axis: dims[axis], inner: dims[axis + 1..].iter().product() }
}

fn product(a: &[usize], b: &[usize], transpose_a: bool, transpose_b: bool) -> Product {
    let matrix = |dims: &[usize], transpose: bool| {
        let (rows, columns) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        if transpose { (columns, rows) } else { (rows, columns) }
    };
    let ((m, k), (_, n)) = (matrix(a, transpose_a), matrix(b, transpose_b));
    let batch = a[..a.len() - 2].iter().product();
    // A matrix of one row or column is its own transpose in memory.
    let flips = |transpose: bool, rows: usize, columns: usize| transpose && rows > 1 && columns > 1;
    Product { batch, m, k, n, transpose_a: flips(transpose_a, m, k), transpose_b: flips(transpose_b, k, n) }
}

/// The same reordering over fewer axes: those of one entry are dropped, those that stay neighbours become one.
fn merge_axes(dims: &[usize], order: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let order: Vec<usize> = order.iter().copied().filter(|&axis| dims[axis] > 1).collect();
    let joined =
        |i: usize| i > 0 && (order[i - 1] + 1..order[i]).all(|axis| dims[axis] == 1) && order[i - 1] < order[i];
    // Groups of source axes, in the order of the result.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, &axis) in order.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if joined(i) => group.push(axis),
            _ => groups.push(vec![axis]),
        }
    }
    let mut sorted: Vec<usize> = (0..groups.len()).collect();
    sorted.sort_by_key(|&g| groups[g][0]);
    let mut rank = vec![0; groups.len()];
    sorted.iter().enumerate().for_each(|(position, &g)| rank[g] = position);
    (sorted.iter().map(|&g| groups[g].iter().map(|&axis| dims[axis]).product()).collect(), rank)
}
