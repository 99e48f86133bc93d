//! One loop nest per operation; a sum always runs in index order.

use super::Array;
use crate::exec::rows::Rows;
use crate::ir::{Binary, Compare, Op, Reduce, Unary};

/// Appends the elements of `op(operands)`, whose shape is `dims`, to the empty buffer `out`.
pub fn compute(op: &Op, operands: &[&Array], dims: &[usize], out: &mut Vec<f64>) {
    let data = |i: usize| &operands[i].data[..];
    let shape = |i: usize| &operands[i].dims[..];
    match op {
        // These move nothing: the executor shares the elements.
        Op::Input { .. } | Op::Reshape { .. } | Op::Detach | Op::CaseMean => {}
        Op::Const { value } => out.push(value.0),
        Op::Iota { axis, .. } => {
            let (outer, size, inner) = around(dims, *axis);
            for _ in 0..outer {
                (0..size).for_each(|i| out.extend(std::iter::repeat_n(i as f64, inner)));
            }
        }
        Op::Unary { f } => out.extend(data(0).iter().map(|&x| unary(*f, x))),
        Op::Binary { f } => out.extend(data(0).iter().zip(data(1)).map(|(&a, &b)| binary(*f, a, b))),
        Op::Compare { f } => {
            out.extend(data(0).iter().zip(data(1)).map(|(a, b)| f64::from(u8::from(compare(*f, *a, *b)))));
        }
        Op::Select => {
            let choices = data(1).iter().zip(data(2));
            out.extend(data(0).iter().zip(choices).map(|(&c, (&a, &b))| if c != 0.0 { a } else { b }));
        }
        Op::Reduce { f, axis } => reduce(*f, data(0), around(shape(0), *axis), out),
        Op::Broadcast { axis, size } => {
            let inner: usize = shape(0)[*axis..].iter().product();
            let outer: usize = shape(0)[..*axis].iter().product();
            for block in 0..outer {
                (0..*size).for_each(|_| out.extend_from_slice(&data(0)[block * inner..(block + 1) * inner]));
            }
        }
        Op::MatMul { transpose_a, transpose_b } => {
            let a = Matrices::new(operands[0], *transpose_a);
            let b = Matrices::new(operands[1], *transpose_b);
            matmul(&a, &b, out);
        }
        Op::Permute { order } => permute(data(0), shape(0), order, out),
        Op::Slice { axis, start, len } => {
            let (outer, size, inner) = around(shape(0), *axis);
            for block in 0..outer {
                let first = (block * size + start) * inner;
                out.extend_from_slice(&data(0)[first..first + len * inner]);
            }
        }
        Op::Pad { axis, before, after } => {
            let (outer, size, inner) = around(shape(0), *axis);
            for block in 0..outer {
                out.extend(std::iter::repeat_n(0.0, before * inner));
                out.extend_from_slice(&data(0)[block * size * inner..(block + 1) * size * inner]);
                out.extend(std::iter::repeat_n(0.0, after * inner));
            }
        }
        Op::Window { axis, size, stride, dilation } => {
            let (outer, len, inner) = around(shape(0), *axis);
            for block in 0..outer {
                for window in 0..dims[*axis] {
                    for entry in 0..*size {
                        let first = (block * len + window * stride + entry * dilation) * inner;
                        out.extend_from_slice(&data(0)[first..first + inner]);
                    }
                }
            }
        }
        Op::Fold { axis, len, stride, dilation } => {
            let (outer, count, rest) = around(shape(0), *axis);
            let size = shape(0)[axis + 1];
            let inner: usize = shape(0)[axis + 2..].iter().product();
            out.resize(outer * len * inner, 0.0);
            for (block, windows) in data(0).chunks_exact((count * rest).max(1)).enumerate() {
                for entry in 0..size {
                    for window in 0..count {
                        let to = (block * len + window * stride + entry * dilation) * inner;
                        let terms = &windows[(window * size + entry) * inner..];
                        out[to..to + inner].iter_mut().zip(terms).for_each(|(total, &x)| *total += x);
                    }
                }
            }
        }
        Op::Gather { batch } => {
            out.resize(dims.iter().product(), 0.0);
            Rows::new(shape(0), shape(1), *batch).gather(data(0), data(1), out);
        }
        Op::Scatter { batch, .. } => {
            out.resize(dims.iter().product(), 0.0);
            Rows::new(dims, shape(0), *batch).scatter(data(0), data(1), out);
        }
        Op::SolveSpd => {
            let (p, q) = (dims[dims.len() - 2], dims[dims.len() - 1]);
            let mut factor = vec![0.0; p * p];
            for case in 0..dims[..dims.len() - 2].iter().product() {
                let (a, b) = (&data(0)[case * p * p..(case + 1) * p * p], &data(1)[case * p * q..(case + 1) * p * q]);
                out.extend_from_slice(b);
                let x = &mut out[case * p * q..];
                factor.copy_from_slice(a);
                if factorise(&mut factor, p) { solve(&factor, x, p, q) } else { x.fill(f64::NAN) }
            }
        }
    }
}

/// How many blocks lie outside an axis, its size, and how many elements lie inside.
fn around(dims: &[usize], axis: usize) -> (usize, usize, usize) {
    (dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product())
}

fn unary(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Exp => libm::exp(x),
        Unary::Ln => libm::log(x),
        Unary::Sqrt => libm::sqrt(x),
        Unary::Sin => libm::sin(x),
        Unary::Cos => libm::cos(x),
        Unary::Tanh => libm::tanh(x),
        Unary::Erf => libm::erf(x),
    }
}

/// A comparison chooses between equal numbers and against NaN, so that the bits are those of one operand.
fn binary(f: Binary, a: f64, b: f64) -> f64 {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => {
            if a > b || b.is_nan() {
                a
            } else {
                b
            }
        }
        Binary::Min => {
            if a < b || b.is_nan() {
                a
            } else {
                b
            }
        }
    }
}

fn compare(f: Compare, a: f64, b: f64) -> bool {
    match f {
        Compare::Lt => a < b,
        Compare::Le => a <= b,
        Compare::Eq => a == b,
    }
}

/// Starts from the first entry, so that the sum of one number is that number, the sign of a zero included.
fn reduce(f: Reduce, data: &[f64], (outer, size, inner): (usize, usize, usize), out: &mut Vec<f64>) {
    for block in 0..outer {
        let start = out.len();
        let rows = &data[block * size * inner..(block + 1) * size * inner];
        if size == 0 {
            out.resize(start + inner, 0.0);
            continue;
        }
        out.extend_from_slice(&rows[..inner]);
        for i in 1..size {
            for (total, &x) in out[start..].iter_mut().zip(&rows[i * inner..(i + 1) * inner]) {
                *total = match f {
                    Reduce::Sum => *total + x,
                    Reduce::Max => binary(Binary::Max, *total, x),
                };
            }
        }
    }
}

/// Matrices under batch axes, read with a transpose where asked.
struct Matrices<'a> {
    data: &'a [f64],
    count: usize,
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrices<'a> {
    fn new(array: &'a Array, transposed: bool) -> Matrices<'a> {
        let (batch, last) = array.dims.split_at(array.dims.len() - 2);
        let (rows, columns) = if transposed { (last[1], last[0]) } else { (last[0], last[1]) };
        Matrices { data: &array.data, count: batch.iter().product(), rows, columns, transposed }
    }

    /// Copies matrix `i` into `out`, row-major as it is read.
    fn pack(&self, i: usize, out: &mut [f64]) {
        let matrix = &self.data[i * out.len()..(i + 1) * out.len()];
        if self.transposed {
            for (c, column) in matrix.chunks_exact(self.rows.max(1)).enumerate() {
                column.iter().enumerate().for_each(|(r, &x)| out[r * self.columns + c] = x);
            }
        } else {
            out.copy_from_slice(matrix);
        }
    }
}

/// Every entry is one sum over increasing `k`, which starts from 0.
fn matmul(a: &Matrices, b: &Matrices, out: &mut Vec<f64>) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let (mut left, mut right) = (vec![0.0; m * k], vec![0.0; k * n]);
    out.resize(a.count * m * n, 0.0);
    for case in 0..a.count {
        a.pack(case, &mut left);
        b.pack(case, &mut right);
        for i in 0..m {
            let row = &mut out[(case * m + i) * n..(case * m + i + 1) * n];
            for (l, &x) in left[i * k..(i + 1) * k].iter().enumerate() {
                row.iter_mut().zip(&right[l * n..(l + 1) * n]).for_each(|(total, &y)| *total += x * y);
            }
        }
    }
}

fn permute(data: &[f64], dims: &[usize], order: &[usize], out: &mut Vec<f64>) {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    let axes: Vec<(usize, usize)> = order.iter().map(|&axis| (dims[axis], strides[axis])).collect();
    gather(data, &axes, 0, out);
}

/// Appends the entries at `offset` plus all multiples of the strides, the last axis running fastest.
fn gather(data: &[f64], axes: &[(usize, usize)], offset: usize, out: &mut Vec<f64>) {
    match axes {
        [] => out.push(data[offset]),
        [(size, stride)] => out.extend((0..*size).map(|i| data[offset + i * stride])),
        [(size, stride), rest @ ..] => (0..*size).for_each(|i| gather(data, rest, offset + i * stride, out)),
    }
}

/// Cholesky: replaces the lower triangle of a `p` by `p` matrix by `L` with `L L^T` equal to it; false where the matrix is not
/// positive definite (Golub and Van Loan, *Matrix Computations*, 4th ed., algorithm 4.2.1).
fn factorise(a: &mut [f64], p: usize) -> bool {
    for i in 0..p {
        for j in 0..=i {
            let mut rest = a[i * p + j];
            (0..j).for_each(|k| rest -= a[i * p + k] * a[j * p + k]);
            if i > j {
                a[i * p + j] = rest / a[j * p + j];
            } else if rest > 0.0 {
                a[i * p + i] = libm::sqrt(rest);
            } else {
                return false;
            }
        }
    }
    true
}

/// Replaces the `p` by `q` right-hand side `x` by the solution of `L L^T X = x`: forward, then backward substitution.
fn solve(l: &[f64], x: &mut [f64], p: usize, q: usize) {
    for i in 0..p {
        for k in 0..i {
            subtract_row(x, q, i, k, l[i * p + k]);
        }
        x[i * q..(i + 1) * q].iter_mut().for_each(|v| *v /= l[i * p + i]);
    }
    for i in (0..p).rev() {
        for k in i + 1..p {
            subtract_row(x, q, i, k, l[k * p + i]);
        }
        x[i * q..(i + 1) * q].iter_mut().for_each(|v| *v /= l[i * p + i]);
    }
}

/// Row `i` minus `factor` times row `k`.
fn subtract_row(x: &mut [f64], q: usize, i: usize, k: usize, factor: f64) {
    for column in 0..q {
        x[i * q + column] -= factor * x[k * q + column];
    }
}
