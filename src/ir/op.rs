//! The primitive operations and their shape rules.
//!
//! Everything else (softmax, losses, adaptation, updates) is composed from these. Truth values are the floats
//! 0 and 1; integers are floats that hold them exactly.

use std::hash::{Hash, Hasher};

use thiserror::Error;

use crate::hash::{Canonical, DecodeError, Value, variants};

/// A real constant that is equal to another exactly when their bits are.
#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Canonical for Real {
    fn to_value(&self) -> Value {
        self.0.to_value()
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        f64::from_value(value).map(Real)
    }
}

variants! {
    /// Elementwise functions of one operand.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Unary {
        /// `-x`
        Neg,
        /// `|x|`; the derivative at 0 is 0.
        Abs,
        /// `e^x`
        Exp,
        /// Natural logarithm.
        Ln,
        /// Square root.
        Sqrt,
        /// Sine of radians.
        Sin,
        /// Cosine of radians.
        Cos,
        /// Hyperbolic tangent.
        Tanh,
        /// The error function, `2 / sqrt(pi)` times the integral of `e^-t^2` from 0 to x.
        Erf,
    }
}

variants! {
    /// Elementwise functions of two operands of one shape.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Binary {
        /// `a + b`
        Add,
        /// `a - b`
        Sub,
        /// `a * b`
        Mul,
        /// `a / b`
        Div,
        /// The larger, `b` where equal; the gradient goes to the one chosen (so `max(x, 0)` has slope 0 at 0). A
        /// number is chosen against NaN.
        Max,
        /// The smaller, `b` where equal; the gradient goes to the one chosen. A number is chosen against NaN.
        Min,
    }
}

variants! {
    /// Elementwise comparisons; 1 where they hold, 0 elsewhere, no gradient.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Compare {
        /// `a < b`
        Lt,
        /// `a <= b`
        Le,
        /// `a == b`
        Eq,
    }
}

variants! {
    /// Reductions that remove one axis.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Reduce {
        /// The sum.
        Sum,
        /// The maximum; the gradient is shared equally by the entries that attain it.
        Max,
    }
}

variants! {
    /// One primitive operation.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    #[allow(missing_docs, reason = "the text of a variant says what its fields are")]
    pub enum Op {
        /// The program's input of that number.
        Input { index: usize, dims: Vec<usize> },
        /// A scalar constant, shape `[]`.
        Const { value: Real },
        /// `out[i] = i[axis]`: the position along `axis`, in a tensor of shape `dims`.
        Iota { dims: Vec<usize>, axis: usize },
        /// An elementwise function.
        Unary { f: Unary },
        /// An elementwise function of two operands of the same shape.
        Binary { f: Binary },
        /// A comparison of two operands of the same shape.
        Compare { f: Compare },
        /// `where(cond != 0, a, b)`; operands `cond, a, b` of one shape.
        Select,
        /// Removes `axis` by a reduction; `axis` has at least one entry for `Max`.
        Reduce { f: Reduce, axis: usize },
        /// Inserts a new axis of `size` copies at position `axis` (`axis <= rank`).
        Broadcast { axis: usize, size: usize },
        /// Batched matrix product over the last two axes; leading axes are equal batch axes.
        /// `transpose_a` reads `a` as `[.., k, m]`, `transpose_b` reads `b` as `[.., n, k]`; result `[.., m, n]`.
        MatMul { transpose_a: bool, transpose_b: bool },
        /// `out[i] = in` with `out.dims[j] = in.dims[order[j]]`.
        Permute { order: Vec<usize> },
        /// The same elements in row-major order under other dims.
        Reshape { dims: Vec<usize> },
        /// Entries `start..start + len` along `axis`.
        Slice { axis: usize, start: usize, len: usize },
        /// Zeros before and after along `axis`.
        Pad { axis: usize, before: usize, after: usize },
        /// Windows of `size` entries along `axis`, `dilation` apart, one beginning every `stride` entries:
        /// `out[.., o, i, ..] = in[.., o stride + i dilation, ..]`.
        Window { axis: usize, size: usize, stride: usize, dilation: usize },
        /// What windows over an axis of `len` entries cover, from their axes `axis` (which window) and `axis + 1` (which entry
        /// of it): `out[.., j, ..]` is the sum of `in[.., o, i, ..]` over `o stride + i dilation = j`.
        Fold { axis: usize, len: usize, stride: usize, dilation: usize },
        /// Rows of a table by number, under `batch` axes that both have: `[B.., n, R..]` at `[B.., I..]` is `[B.., I.., R..]`.
        /// Numbers lose their fraction; one outside of `0..n` gives zeros. No gradient reaches the numbers.
        Gather { batch: usize },
        /// A table of `size` rows, each the sum of the rows that have its number, under `batch` axes that both have: numbers
        /// `[B.., I..]` and rows `[B.., I.., R..]` give `[B.., size, R..]`. Numbers outside of the table are left out.
        Scatter { batch: usize, size: usize },
        /// `X` with `A X = B` for symmetric positive definite `A`: `[.., p, p]`, `B`: `[.., p, q]`, by Cholesky
        /// factorisation of the lower triangle. NaN where `A` is not positive definite.
        SolveSpd,
        /// The identity, through which no gradient passes.
        Detach,
        /// The mean over the cases that the program is batched over, each of which gets it; of one case, the case itself. It stands
        /// in programs of one example, and is gone once they are batched.
        CaseMean,
    }
}

/// Operand shapes that an operation does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{op} does not accept operands of shape {operands:?}: {reason}")]
pub struct ShapeError {
    /// The operation's name.
    pub op: &'static str,
    /// The shapes it was given.
    pub operands: Vec<Vec<usize>>,
    /// What is wrong.
    pub reason: String,
}

/// Tensors with more elements than this are refused before anything is allocated.
pub const MAX_ELEMENTS: usize = 1 << 31;

impl Op {
    /// The name in printed programs.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Const { .. } => "const",
            Op::Iota { .. } => "iota",
            Op::Unary { f } => match f {
                Unary::Neg => "neg",
                Unary::Abs => "abs",
                Unary::Exp => "exp",
                Unary::Ln => "ln",
                Unary::Sqrt => "sqrt",
                Unary::Sin => "sin",
                Unary::Cos => "cos",
                Unary::Tanh => "tanh",
                Unary::Erf => "erf",
            },
            Op::Binary { f } => match f {
                Binary::Add => "add",
                Binary::Sub => "sub",
                Binary::Mul => "mul",
                Binary::Div => "div",
                Binary::Max => "max",
                Binary::Min => "min",
            },
            Op::Compare { f } => match f {
                Compare::Lt => "lt",
                Compare::Le => "le",
                Compare::Eq => "eq",
            },
            Op::Select => "select",
            Op::Reduce { f: Reduce::Sum, .. } => "sum",
            Op::Reduce { f: Reduce::Max, .. } => "reduce_max",
            Op::Broadcast { .. } => "broadcast",
            Op::MatMul { .. } => "matmul",
            Op::Permute { .. } => "permute",
            Op::Reshape { .. } => "reshape",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Window { .. } => "window",
            Op::Fold { .. } => "fold",
            Op::Gather { .. } => "gather",
            Op::Scatter { .. } => "scatter",
            Op::SolveSpd => "solve_spd",
            Op::Detach => "detach",
            Op::CaseMean => "case_mean",
        }
    }

    /// How many operands the operation takes.
    pub fn arity(&self) -> usize {
        match self {
            Op::Input { .. } | Op::Const { .. } | Op::Iota { .. } => 0,
            Op::Unary { .. }
            | Op::Reduce { .. }
            | Op::Broadcast { .. }
            | Op::Permute { .. }
            | Op::Reshape { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Window { .. }
            | Op::Fold { .. }
            | Op::Detach
            | Op::CaseMean => 1,
            Op::Binary { .. }
            | Op::Compare { .. }
            | Op::MatMul { .. }
            | Op::Gather { .. }
            | Op::Scatter { .. }
            | Op::SolveSpd => 2,
            Op::Select => 3,
        }
    }

    /// The shape of the result, or why the operands do not fit.
    pub fn shape(&self, operands: &[&[usize]]) -> Result<Vec<usize>, ShapeError> {
        let wrong = |reason: String| ShapeError {
            op: self.name(),
            operands: operands.iter().map(|d| d.to_vec()).collect(),
            reason,
        };
        if operands.len() != self.arity() {
            return Err(wrong(format!("{} operands are wanted", self.arity())));
        }
        let axis_within = |axis: usize, bound: usize| {
            if axis < bound { Ok(()) } else { Err(wrong(format!("axis {axis} does not exist"))) }
        };
        let dims = match self {
            Op::Input { dims, .. } => dims.clone(),
            Op::Const { .. } => vec![],
            Op::Iota { dims, axis } => {
                axis_within(*axis, dims.len())?;
                dims.clone()
            }
            Op::Unary { .. } | Op::Detach | Op::CaseMean => operands[0].to_vec(),
            Op::Binary { .. } | Op::Compare { .. } | Op::Select => {
                if operands.iter().any(|d| d != &operands[0]) {
                    return Err(wrong("the shapes must be equal".into()));
                }
                operands[0].to_vec()
            }
            Op::Reduce { f, axis } => {
                axis_within(*axis, operands[0].len())?;
                if *f == Reduce::Max && operands[0][*axis] == 0 {
                    return Err(wrong("the maximum of nothing is undefined".into()));
                }
                let mut dims = operands[0].to_vec();
                dims.remove(*axis);
                dims
            }
            Op::Broadcast { axis, size } => {
                axis_within(*axis, operands[0].len() + 1)?;
                let mut dims = operands[0].to_vec();
                dims.insert(*axis, *size);
                dims
            }
            Op::MatMul { transpose_a, transpose_b } => {
                let (a, b) = (operands[0], operands[1]);
                if a.len() < 2 || a.len() != b.len() || a[..a.len() - 2] != b[..b.len() - 2] {
                    return Err(wrong("two matrices under equal batch axes are wanted".into()));
                }
                let (batch, last) = a.split_at(a.len() - 2);
                let (m, k) = if *transpose_a { (last[1], last[0]) } else { (last[0], last[1]) };
                let last = &b[batch.len()..];
                let (l, n) = if *transpose_b { (last[1], last[0]) } else { (last[0], last[1]) };
                if k != l {
                    return Err(wrong(format!("the inner sizes {k} and {l} differ")));
                }
                [batch, &[m, n]].concat()
            }
            Op::Permute { order } => {
                let mut seen = vec![false; operands[0].len()];
                for &axis in order {
                    axis_within(axis, seen.len())?;
                    seen[axis] = true;
                }
                if order.len() != seen.len() || seen.contains(&false) {
                    return Err(wrong(format!("{order:?} is not an order of its axes")));
                }
                order.iter().map(|&axis| operands[0][axis]).collect()
            }
            Op::Reshape { dims } => {
                if elements(dims) != elements(operands[0]) {
                    return Err(wrong(format!("{dims:?} has another number of elements")));
                }
                dims.clone()
            }
            Op::Slice { axis, start, len } => {
                axis_within(*axis, operands[0].len())?;
                if start.checked_add(*len).is_none_or(|end| end > operands[0][*axis]) {
                    return Err(wrong(format!("{start}..{start}+{len} reaches past the end")));
                }
                let mut dims = operands[0].to_vec();
                dims[*axis] = *len;
                dims
            }
            Op::Pad { axis, before, after } => {
                axis_within(*axis, operands[0].len())?;
                let mut dims = operands[0].to_vec();
                dims[*axis] = dims[*axis].saturating_add(*before).saturating_add(*after);
                dims
            }
            Op::Window { axis, size, stride, dilation } => {
                axis_within(*axis, operands[0].len())?;
                let reach = reach(*size, *dilation);
                if *stride == 0 || reach.is_none_or(|reach| reach > operands[0][*axis]) {
                    return Err(wrong(format!("no window of {size} entries, {dilation} apart, fits")));
                }
                let count = (operands[0][*axis] - reach.unwrap_or(0)) / stride + 1;
                let mut dims = operands[0].to_vec();
                dims.splice(*axis..=*axis, [count, *size]);
                dims
            }
            Op::Fold { axis, len, stride, dilation } => {
                axis_within(axis.saturating_add(1), operands[0].len())?;
                let (count, size) = (operands[0][*axis], operands[0][*axis + 1]);
                let last = count.checked_sub(1).and_then(|last| last.checked_mul(*stride));
                let end = last.zip(reach(size, *dilation)).and_then(|(last, reach)| last.checked_add(reach));
                if *stride == 0 || end.is_none_or(|end| end > *len) {
                    return Err(wrong(format!("{count} windows of {size} entries reach past {len} entries")));
                }
                let mut dims = operands[0].to_vec();
                dims.splice(*axis..*axis + 2, [*len]);
                dims
            }
            Op::Gather { batch } => {
                let (table, numbers) = (operands[0], operands[1]);
                if table.len() <= *batch || numbers.len() < *batch || table[..*batch] != numbers[..*batch] {
                    return Err(wrong(format!("[B.., n, R..] and [B.., I..] with {batch} axes B are wanted")));
                }
                [numbers, &table[*batch + 1..]].concat()
            }
            Op::Scatter { batch, size } => {
                let (numbers, rows) = (operands[0], operands[1]);
                if numbers.len() < *batch || !rows.starts_with(numbers) {
                    return Err(wrong(format!("[B.., I..] and [B.., I.., R..] with {batch} axes B are wanted")));
                }
                [&numbers[..*batch], &[*size], &rows[numbers.len()..]].concat()
            }
            Op::SolveSpd => {
                let (a, b) = (operands[0], operands[1]);
                let rank = a.len();
                if rank < 2 || b.len() != rank || a[rank - 1] != a[rank - 2] || a[..rank - 1] != b[..rank - 1] {
                    return Err(wrong("[.., p, p] and [.., p, q] are wanted".into()));
                }
                b.to_vec()
            }
        };
        match elements(&dims) {
            Some(n) if n <= MAX_ELEMENTS => Ok(dims),
            _ => Err(wrong(format!("the result {dims:?} has more than 2^31 elements"))),
        }
    }
}

/// How many entries a window spans; `None` where it has none or spans too many.
fn reach(size: usize, dilation: usize) -> Option<usize> {
    size.checked_sub(1)?.checked_mul(dilation).filter(|_| dilation > 0)?.checked_add(1)
}

/// The number of elements of a shape, `None` where it overflows.
fn elements(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}
