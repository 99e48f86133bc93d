//! One step of a compiled program: which dfdx operations it runs, on which views of its flat operands.

use dfdx::prelude::*;

use super::device::{Backend, Element};
use super::host;
use crate::exec::rows::Rows;
use crate::ir::{Compare, Unary};

/// A contiguous tensor without its dims.
pub type Flat<E, D> = Tensor<(usize,), E, D>;

type Matrix<E, D> = Tensor<(usize, usize), E, D>;
type Matrices<E, D> = Tensor<(usize, usize, usize), E, D>;

/// A row-major tensor seen around one of its axes.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The product of the dims before the axis.
    pub outer: usize,
    /// The size of the axis.
    pub axis: usize,
    /// The product of the dims after the axis.
    pub inner: usize,
}

/// `[batch, m, k] x [batch, k, n]`, with transposed operands stored as `[batch, k, m]` and `[batch, n, k]`.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub batch: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

/// Operands are numbered as listed in each comment; all are flat and none is empty.
#[derive(Debug, Clone)]
pub enum Instruction<E: Element, D: Backend<E>> {
    /// No operand; `len` times one value.
    Fill { value: E, len: usize },
    /// No operand; positions along the axis.
    Iota { view: View },
    /// `f(x)`.
    Unary { f: Unary },
    /// `x * x`.
    Square,
    /// `1 / x`.
    Recip,
    /// `max(x, 0)`.
    Relu,
    /// 1 where `x > 0`, else 0, also where `x` is NaN.
    Step,
    /// `x + c`.
    AddScalar { c: E },
    /// `c - x`.
    SubFromScalar { c: E },
    /// `x * c`.
    MulScalar { c: E },
    /// `x / c`.
    DivScalar { c: E },
    /// `a + sign * b` for a sign of 1 or -1.
    Add { sign: f64 },
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// The larger of `a` and `b`; where one is NaN, the other.
    Max,
    /// The smaller of `a` and `b`; where one is NaN, the other.
    Min,
    /// `a`, `b`, ones, zeros: 1 where the comparison holds, else 0.
    Compare { f: Compare },
    /// `cond`, `a`, `b`: `a` where `cond` is not 0, else `b`.
    Select,
    /// `mask` of zeros and ones, `x`: `x` where the mask is 1, else 0, also where `x` is not finite.
    Keep,
    /// `x`: the sum over the axis, in dfdx's order.
    Sum { view: View },
    /// `x`: the maximum over the axis, NaN left out.
    MaxReduce { view: View },
    /// `x` without the axis, copied along it.
    Broadcast { view: View },
    /// `a`, `b`.
    MatMul(Product),
    /// `a`, `b` as in [`Instruction::MatMul`], with one and the same `a` for the whole batch.
    MatMulSharedLeft(Product),
    /// `x` as `[a, b, c, d]`, copied to `[a, c, b, d]`.
    Swap { dims: [usize; 4] },
    /// `x` as `[rows, width]`: columns `start..end`.
    Columns { rows: usize, width: usize, start: usize, end: usize },
    /// All operands one after the other.
    Concat { parts: usize },
    /// `x`, and one more row of the same width: the rows of these numbers.
    Rows { width: usize, index: Tensor<(usize,), usize, D> },
    /// A table and numbers, giving `len` entries; see [`crate::ir::Op::Gather`].
    Gather { rows: Rows, len: usize },
    /// Numbers and rows, giving `len` entries; see [`crate::ir::Op::Scatter`].
    Scatter { rows: Rows, len: usize },
    /// `a` as `[batch, p, p]`, `b` as `[batch, p, q]`; see [`crate::ir::Op::SolveSpd`].
    SolveSpd { batch: usize, p: usize, q: usize },
}

impl<E: Element, D: Backend<E>> Instruction<E, D> {
    /// Runs the step. `take(i)` hands out operand `i`, each once and in order; `dying(i)` tells whether operand `i`
    /// is not used afterwards, so that its memory may be written.
    pub fn run(
        &self,
        device: &D,
        mut take: impl FnMut(usize) -> Flat<E, D>,
        dying: impl Fn(usize) -> bool,
    ) -> Result<Flat<E, D>, D::Err> {
        match self {
            Instruction::Fill { value, len } => device.try_tensor_from_vec(vec![*value; *len], (*len,)),
            Instruction::Iota { view } => {
                let run = |i: usize| std::iter::repeat_n(E::round_from(i as f64), view.inner);
                let data: Vec<E> = (0..view.outer).flat_map(|_| (0..view.axis).flat_map(run)).collect();
                let len = data.len();
                device.try_tensor_from_vec(data, (len,))
            }
            Instruction::Unary { f } => unary(device, *f, take(0)),
            Instruction::Square => take(0).try_square(),
            Instruction::Recip => take(0).try_recip(),
            Instruction::Relu => take(0).try_relu(),
            Instruction::Step => {
                // `relu` maps NaN to 0 and may leave -0; only the smallest numbers need both factors.
                take(0).try_relu()?.try_mul(E::STRETCH)?.try_mul(E::STRETCH)?.try_clamp(0.0, 1.0)?.try_abs()
            }
            Instruction::AddScalar { c } => take(0).try_add(*c),
            Instruction::SubFromScalar { c } => take(0).try_negate()?.try_add(*c),
            Instruction::MulScalar { c } => take(0).try_mul(*c),
            Instruction::DivScalar { c } => take(0).try_div(*c),
            Instruction::Add { sign } => {
                // `axpy` multiplies by 1 and -1, which is exact, and runs several times faster than `add`.
                let (mut a, mut b) = (take(0), take(1));
                if dying(1) && !dying(0) {
                    b.try_axpy(*sign, &a, 1.0)?;
                    return Ok(b);
                }
                a.try_axpy(1.0, &b, *sign)?;
                Ok(a)
            }
            Instruction::Mul => take(0).try_mul(take(1)),
            Instruction::Div => take(0).try_div(take(1)),
            Instruction::Max => take(0).try_maximum(take(1)),
            Instruction::Min => take(0).try_minimum(take(1)),
            Instruction::Compare { f } => {
                let (a, b) = (take(0), take(1));
                let holds = match f {
                    Compare::Lt => a.try_lt(&b)?,
                    Compare::Le => a.try_le(&b)?,
                    Compare::Eq => a.try_eq(&b)?,
                };
                holds.try_choose(take(2), take(3))
            }
            Instruction::Select => take(0).try_ne(E::default())?.try_choose(take(1), take(2)),
            Instruction::Keep => keep(take(0), take(1)),
            Instruction::Sum { view } => reduce_sum(take(0), *view),
            Instruction::MaxReduce { view } => reduce_max(take(0), *view),
            Instruction::Broadcast { view } => broadcast(take(0), *view),
            Instruction::MatMul(product) => product.run(take(0), take(1)),
            Instruction::MatMulSharedLeft(product) => product.run_shared_left(take(0), take(1)),
            Instruction::Swap { dims } => swap(take(0), *dims),
            Instruction::Columns { rows: 1, start, end, .. } => flat(take(0).try_slice((*start..*end,))?),
            Instruction::Columns { rows, width, start, end } => {
                flat(take(0).try_reshape_like(&(*rows, *width))?.try_slice((.., *start..*end))?)
            }
            Instruction::Concat { parts } => (1..*parts).try_fold(take(0), |x, i| concat(x, take(i))),
            Instruction::Rows { width, index } => {
                let rows = concat(take(0), take(1))?;
                let count = rows.shape().0 / width;
                flat(rows.try_reshape_like(&(count, *width))?.try_gather::<(usize, usize), _>(index.clone())?)
            }
            Instruction::Gather { rows, len } => {
                host::through_host(device, &[take(0), take(1)], *len, |args, out| rows.gather(&args[0], &args[1], out))
            }
            Instruction::Scatter { rows, len } => {
                host::through_host(device, &[take(0), take(1)], *len, |args, out| rows.scatter(&args[0], &args[1], out))
            }
            Instruction::SolveSpd { batch, p, q } => {
                let len = batch * p * q;
                host::through_host(device, &[take(0), take(1)], len, |args, out| {
                    host::solve_spd(&args[0], &args[1], *batch, *p, *q, out)
                })
            }
        }
    }
}

impl Product {
    fn run<E: Element, D: Backend<E>>(self, a: Flat<E, D>, b: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
        let Product { batch, m, k, n, transpose_a, transpose_b } = self;
        if batch == 1 {
            return flat(matrix(a, m, k, transpose_a)?.try_matmul(matrix(b, k, n, transpose_b)?)?);
        }
        flat(matrices(a, batch, m, k, transpose_a)?.try_matmul(matrices(b, batch, k, n, transpose_b)?)?)
    }

    fn run_shared_left<E: Element, D: Backend<E>>(self, a: Flat<E, D>, b: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
        let Product { batch, m, k, n, transpose_a, transpose_b } = self;
        let a = matrix(a, m, k, transpose_a)?.try_broadcast_like::<_, Axis<0>>(&(batch, m, k))?;
        flat(a.try_matmul(matrices(b, batch, k, n, transpose_b)?)?)
    }
}

/// `[rows, columns]`, a strided view where the data are stored as `[columns, rows]`.
fn matrix<E: Element, D: Backend<E>>(
    x: Flat<E, D>,
    rows: usize,
    columns: usize,
    transpose: bool,
) -> Result<Matrix<E, D>, D::Err> {
    if transpose {
        return x.try_reshape_like(&(columns, rows))?.try_permute::<_, Axes2<1, 0>>();
    }
    x.try_reshape_like(&(rows, columns))
}

/// As [`matrix`], for each entry of a first axis.
fn matrices<E: Element, D: Backend<E>>(
    x: Flat<E, D>,
    batch: usize,
    rows: usize,
    columns: usize,
    transpose: bool,
) -> Result<Matrices<E, D>, D::Err> {
    if transpose {
        return x.try_reshape_like(&(batch, columns, rows))?.try_permute::<_, Axes3<0, 2, 1>>();
    }
    x.try_reshape_like(&(batch, rows, columns))
}

/// The same contiguous elements under one axis.
fn flat<S: Shape, E: Element, D: Backend<E>>(x: Tensor<S, E, D>) -> Result<Flat<E, D>, D::Err> {
    let len = x.shape().num_elements();
    x.try_reshape_like(&(len,))
}

fn unary<E: Element, D: Backend<E>>(device: &D, f: Unary, x: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
    match f {
        Unary::Neg => x.try_negate(),
        Unary::Abs => x.try_abs(),
        Unary::Exp => x.try_exp(),
        Unary::Ln => x.try_ln(),
        Unary::Sqrt => x.try_sqrt(),
        Unary::Sin => x.try_sin(),
        Unary::Cos => x.try_cos(),
        Unary::Tanh => x.try_tanh(),
        Unary::Erf => {
            let len = x.shape().0;
            host::through_host(device, &[x], len, |args, out| {
                out.iter_mut().zip(&args[0]).for_each(|(to, &x)| *to = libm::erf(x));
            })
        }
    }
}

/// `mask * x`, but 0 instead of NaN where `x` is not finite and dropped, and NaN where it is NaN and kept.
fn keep<E: Element, D: Backend<E>>(mask: Flat<E, D>, x: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
    // -1 where `x` is NaN and -0 elsewhere, then NaN where it is kept too. Adding -0 changes no number.
    let lost = x.clone().try_clamp(-1.0, 1.0)?.try_abs()?.try_mul(E::round_from(-0.0))?.try_nans_to(-1.0)?;
    let lost = lost.try_mul(mask.clone())?.try_sqrt()?;
    let mut kept = x.try_mul(mask)?.try_nans_to(0.0)?;
    kept.try_axpy(1.0, &lost, 1.0)?;
    Ok(kept)
}

fn reduce_sum<E: Element, D: Backend<E>>(x: Flat<E, D>, view: View) -> Result<Flat<E, D>, D::Err> {
    let View { outer, axis, inner } = view;
    if inner == 1 {
        return x.try_reshape_like(&(outer, axis))?.try_sum::<(usize,), Axis<1>>();
    }
    flat(x.try_reshape_like(&(outer, axis, inner))?.try_sum::<(usize, usize), Axis<1>>()?)
}

fn reduce_max<E: Element, D: Backend<E>>(x: Flat<E, D>, view: View) -> Result<Flat<E, D>, D::Err> {
    let View { outer, axis, inner } = view;
    if inner == 1 {
        return x.try_reshape_like(&(outer, axis))?.try_max::<(usize,), Axis<1>>();
    }
    flat(x.try_reshape_like(&(outer, axis, inner))?.try_max::<(usize, usize), Axis<1>>()?)
}

// Slicing everything is the copy of a strided view: dfdx's `contiguous` compiles its GPU kernel at run time.
fn broadcast<E: Element, D: Backend<E>>(x: Flat<E, D>, view: View) -> Result<Flat<E, D>, D::Err> {
    let View { outer, axis, inner } = view;
    let x = x.try_reshape_like(&(outer, inner))?.try_broadcast_like::<_, Axis<1>>(&(outer, axis, inner))?;
    flat(x.try_slice((.., .., ..))?)
}

fn swap<E: Element, D: Backend<E>>(x: Flat<E, D>, dims: [usize; 4]) -> Result<Flat<E, D>, D::Err> {
    let [a, b, c, d] = dims;
    if d > 1 {
        let x = x.try_reshape_like(&(a, b, c, d))?.try_permute::<_, Axes4<0, 2, 1, 3>>()?;
        return flat(x.try_slice((.., .., .., ..))?);
    }
    if a > 1 {
        return flat(matrices(x, a, c, b, true)?.try_slice((.., .., ..))?);
    }
    flat(matrix(x, c, b, true)?.try_slice((.., ..))?)
}

// dfdx advises `concat_along` instead, which compiles its GPU kernel at run time.
#[allow(deprecated)]
fn concat<E: Element, D: Backend<E>>(a: Flat<E, D>, b: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
    a.try_concat(b)
}
