//! The numerics contract of `docs/numerics.md` as plain loops over single numbers, and every operation against it.

use std::marker::PhantomData;

use super::super::float::Float;
use super::super::simd::Vectors;
use super::{Exact, bits, run};
use crate::catalog::operator::{self, Pool, Windows};
use crate::exec::Executor;
use crate::exec::testing::oracle::{Arithmetic, evaluate_in};
use crate::exec::testing::{noise, program, wild};
use crate::ir::{Binary, Compare, Function, Reduce, Tensor, Unary};
use crate::ir::{Builder, NodeId, Op, batch, grad};

/// The arithmetic of the contract in one float type.
pub(super) struct Contract<T>(PhantomData<T>);

impl<T> Contract<T> {
    pub fn new() -> Contract<T> {
        Contract(PhantomData)
    }
}

impl<T: Float> Arithmetic for Contract<T> {
    fn unary(&self, f: Unary, x: f64) -> f64 {
        let mut out = [T::ZERO];
        T::unary(f, &[T::from_f64(x)], &mut out);
        out[0].to_f64()
    }

    fn binary(&self, f: Binary, x: f64, y: f64) -> f64 {
        let (a, b) = (T::from_f64(x), T::from_f64(y));
        match f {
            Binary::Add => a.add(b).to_f64(),
            Binary::Sub => a.sub(b).to_f64(),
            Binary::Mul => a.mul(b).to_f64(),
            Binary::Div => a.div(b).to_f64(),
            Binary::Max => {
                if x > y || y.is_nan() {
                    x
                } else {
                    y
                }
            }
            Binary::Min => {
                if x < y || y.is_nan() {
                    x
                } else {
                    y
                }
            }
        }
    }

    fn sum(&self, terms: &[f64], adjacent: bool) -> f64 {
        let add = |a: f64, b: f64| T::from_f64(a).add(T::from_f64(b)).to_f64();
        let total = |terms: &mut dyn Iterator<Item = f64>| terms.reduce(add);
        if !adjacent {
            return total(&mut terms.chunks(64).filter_map(|c| total(&mut c.iter().copied()))).unwrap_or(0.0);
        }
        let mut lanes: Vec<Option<f64>> =
            (0..16).map(|lane| total(&mut terms.iter().copied().skip(lane).step_by(16))).collect();
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            let join = |i: usize| match (lanes[i], lanes[half + i]) {
                (Some(a), Some(b)) => Some(add(a, b)),
                (a, _) => a,
            };
            lanes = (0..half).map(join).collect();
        }
        lanes[0].unwrap_or(0.0)
    }

    fn products(&self, terms: &[(f64, f64)]) -> f64 {
        let step = |sum: T, &(x, y): &(f64, f64)| T::from_f64(x).fma(T::from_f64(y), sum);
        terms.iter().fold(T::ZERO, step).to_f64()
    }

    fn solve(&self, a: &[f64], b: &[f64], p: usize, q: usize) -> Vec<f64> {
        let t = |x: &f64| T::from_f64(*x);
        let (mut l, mut x): (Vec<T>, Vec<T>) = (a.iter().map(t).collect(), b.iter().map(t).collect());
        // `start - sum of x y`, one fused multiply-add after the other.
        let less = |start: T, terms: &mut dyn Iterator<Item = (T, T)>| {
            terms.fold(start, |rest, (x, y)| T::ZERO.sub(x).fma(y, rest))
        };
        for i in 0..p {
            for j in 0..=i {
                let rest = less(l[i * p + j], &mut (0..j).map(|k| (l[i * p + k], l[j * p + k])));
                l[i * p + j] = if i > j { rest.div(l[j * p + j]) } else { rest.sqrt() };
                let definite = rest > T::ZERO;
                if i == j && !definite {
                    return vec![f64::NAN; p * q];
                }
            }
        }
        for column in 0..q {
            for i in 0..p {
                let rest = less(x[i * q + column], &mut (0..i).map(|k| (l[i * p + k], x[k * q + column])));
                x[i * q + column] = rest.div(l[i * p + i]);
            }
            for i in (0..p).rev() {
                let rest = less(x[i * q + column], &mut (i + 1..p).map(|k| (l[k * p + i], x[k * q + column])));
                x[i * q + column] = rest.div(l[i * p + i]);
            }
        }
        x.into_iter().map(T::to_f64).collect()
    }

    fn round(&self, x: f64) -> f64 {
        T::from_f64(x).to_f64()
    }
}

/// Runs a program on every path and compares every bit with the contract's.
pub(super) fn check<T: Vectors>(function: &Function, args: &[Tensor])
where
    Exact<T>: Executor,
{
    let round = |t: &Tensor| {
        let data = t.data().iter().map(|&x| T::from_f64(x).to_f64()).collect();
        Tensor::new(t.dims().to_vec(), data)
    };
    let args: Vec<Tensor> = args.iter().map(round).collect();
    let (found, wanted) = (run::<T>(function, &args), evaluate_in(&Contract::<T>::new(), function, &args));
    assert_eq!(bits(&found), bits(&wanted), "{function:?}");
}

fn both(inputs: &[&[usize]], body: impl Fn(&mut Builder, &[NodeId]) -> NodeId, args: &[Tensor]) {
    let function = program(inputs, |b, x| vec![body(b, x)]);
    check::<f32>(&function, args);
    check::<f64>(&function, args);
}

const LENGTHS: [usize; 9] = [0, 1, 2, 15, 17, 64, 511, 513, 1500];

#[test]
fn elementwise() {
    for n in LENGTHS {
        for values in [noise, wild] {
            let (x, y, z) = (values(&[n], 1), values(&[n], 2), wild(&[n], 3));
            use Unary::*;
            for f in [Neg, Abs, Exp, Ln, Sqrt, Sin, Cos, Tanh, Erf] {
                both(&[&[n]], |b, x| b.unary(f, x[0]), std::slice::from_ref(&x));
            }
            use Binary::*;
            for f in [Add, Sub, Mul, Div, Max, Min] {
                both(&[&[n], &[n]], |b, x| b.binary(f, x[0], x[1]), &[x.clone(), y.clone()]);
            }
            for f in [Compare::Lt, Compare::Le, Compare::Eq] {
                both(&[&[n], &[n]], |b, x| b.compare(f, x[0], x[1]), &[x.clone(), y.clone()]);
            }
            both(&[&[n], &[n], &[n]], |b, x| b.select(x[0], x[1], x[2]), &[z, x.clone(), y.clone()]);
        }
    }
}

/// A row and a column beside a matrix of more than one block, on either side: what a chain loads once, and what it looks up once a run.
#[test]
fn rows_and_columns_beside_a_matrix() {
    for (n, m) in [(100, 48), (90, 32), (70, 40), (300, 7), (17, 256)] {
        for values in [noise, wild] {
            let args = [values(&[n, m], 30), values(&[m], 31), values(&[n], 32)];
            let body = |b: &mut Builder, x: &[NodeId]| {
                let (row, column) = (b.broadcast(x[1], 0, n), b.broadcast(x[2], 1, m));
                let (less, more) = (b.sub(x[0], column), b.sub(column, x[0]));
                let (most, below) = (b.binary(Binary::Max, more, row), b.compare(Compare::Lt, column, less));
                let chosen = b.select(below, most, less);
                let sum = b.add(row, chosen);
                b.div(column, sum)
            };
            both(&[&[n, m], &[m], &[n]], body, &args);
        }
    }
}

#[test]
fn reductions() {
    for dims in [
        [1, 1, 1],
        [3, 17, 1],
        [2, 5, 33],
        [70, 2, 3],
        [4, 3, 4],
        [3, 12, 16],
        [2, 200, 31],
        [0, 3, 2],
        [2, 3, 0],
        [1, 1000, 1],
    ] {
        for (axis, values) in [(0, noise as fn(&[usize], u64) -> Tensor), (1, wild), (2, noise)] {
            let args = [values(&dims, 4)];
            both(&[&dims], |b, x| b.sum(x[0], axis), &args);
            if dims[axis] > 0 {
                both(&[&dims], |b, x| b.reduce_max(x[0], axis), &args);
            }
            // Of entries that do not lie side by side.
            both(
                &[&dims],
                |b, x| {
                    let turned = b.permute(x[0], &[2, 0, 1]);
                    b.apply(Op::Reduce { f: Reduce::Sum, axis }, &[turned])
                },
                &args,
            );
        }
    }
}

#[test]
fn products() {
    let sizes =
        [(1, 1, 1), (2, 3, 4), (10, 40, 40), (25, 7, 17), (1, 64, 33), (33, 5, 1), (3, 0, 2), (0, 2, 3), (2, 3, 0)];
    for (m, k, n) in sizes.into_iter().chain([(70, 300, 65)]) {
        for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let a = |count: usize| if transpose_a { [count, k, m] } else { [count, m, k] };
            let c = |count: usize| if transpose_b { [count, n, k] } else { [count, k, n] };
            let product = |b: &mut Builder, x: &[NodeId]| b.matmul(x[0], x[1], transpose_a, transpose_b);
            both(&[&a(3), &c(3)], product, &[noise(&a(3), 5), noise(&c(3), 6)]);
            // A matrix that all cases share, on either side.
            let (one_a, one_c) = (a(1)[1..].to_vec(), c(1)[1..].to_vec());
            let shared_right = |b: &mut Builder, x: &[NodeId]| {
                let right = b.broadcast(x[1], 0, 3);
                b.matmul(x[0], right, transpose_a, transpose_b)
            };
            both(&[&a(3), &one_c], shared_right, &[noise(&a(3), 5), noise(&one_c, 6)]);
            let shared_left = |b: &mut Builder, x: &[NodeId]| {
                let left = b.broadcast(x[0], 0, 3);
                b.matmul(left, x[1], transpose_a, transpose_b)
            };
            both(&[&one_a, &c(3)], shared_left, &[noise(&one_a, 5), wild(&c(3), 6)]);
        }
    }
}

#[test]
fn solutions() {
    for (count, p, q) in [(1, 1, 1), (3, 5, 2), (2, 17, 3), (1, 0, 2), (2, 3, 0)] {
        let (square, right) = ([count, p, p], [count, p, q]);
        let solve = |b: &mut Builder, x: &[NodeId]| {
            let gram = b.matmul(x[0], x[0], true, false);
            b.solve_spd(gram, x[1])
        };
        both(&[&square, &right], solve, &[noise(&square, 7), noise(&right, 8)]);
        // Not positive definite.
        both(&[&square, &right], |b, x| b.solve_spd(x[0], x[1]), &[noise(&square, 9), noise(&right, 8)]);
    }
}

#[test]
fn windows() {
    let dims = [2, 11, 3];
    for (axis, size, stride, dilation) in
        [(0, 1, 1, 1), (1, 3, 1, 1), (1, 3, 2, 2), (1, 1, 4, 1), (1, 11, 1, 1), (2, 2, 1, 2)]
    {
        for values in [noise, wild] {
            both(&[&dims], |b, x| b.window(x[0], axis, size, stride, dilation), &[values(&dims, 12)]);
        }
    }
    // Windows of a broadcast and of a turned tensor, read by a product.
    let product = |b: &mut Builder, x: &[NodeId]| {
        let turned = b.transpose(x[0]);
        let windows = b.window(turned, 2, 3, 2, 1);
        let windows = b.reshape(windows, &[2, 15, 3]);
        let copies = b.broadcast(x[1], 0, 2);
        b.matmul(copies, windows, false, true)
    };
    both(&[&dims, &[4, 3]], product, &[noise(&dims, 13), noise(&[4, 3], 14)]);
    let dims = [3, 4, 2, 5];
    for (axis, len, stride, dilation) in [(0, 6, 1, 1), (1, 9, 2, 1), (2, 10, 1, 2), (2, 7, 2, 1), (1, 30, 3, 7)] {
        for values in [noise, wild] {
            both(&[&dims], |b, x| b.fold(x[0], axis, len, stride, dilation), &[values(&dims, 15)]);
        }
    }
    both(&[&[0, 2, 3]], |b, x| b.fold(x[0], 1, 4, 1, 1), &[noise(&[0, 2, 3], 15)]);
}

/// Sums of windows that lie one entry apart, in rows shorter and longer than vectors, and of windows whose entries are rows.
#[test]
fn windows_that_lie_entry_by_entry() {
    let entries = [(1, 3, 1), (5, 3, 14), (7, 2, 3), (4, 5, 31), (9, 1, 16), (3, 7, 40)].map(|(r, s, c)| (r, s, c, 1));
    let rows = [(3, 5, 3), (3, 4, 6), (2, 3, 9), (3, 14, 16), (3, 3, 30), (2, 5, 70)].map(|(s, c, i)| (2, s, c, i));
    for (rows, size, count, inner) in entries.into_iter().chain(rows) {
        let dims = [rows, 2, size, count, inner];
        for (stride, dilation) in [(1, 1), (1, 2), (1, 20), (2, 1), (3, 2)] {
            let len = (count - 1) * stride + (size - 1) * dilation + 1;
            let fold = |b: &mut Builder, x: &[NodeId]| {
                let windows = b.permute(x[0], &[0, 1, 3, 2, 4]);
                b.fold(windows, 2, len + rows % 2, stride, dilation)
            };
            for values in [noise, wild] {
                both(&[&dims], fold, &[values(&dims, 23)]);
            }
        }
    }
}

/// A network of one convolution over some cases, its gradient, and the gradient of that: windows, folds, pools and products whose
/// operands and results lie in many ways.
#[test]
fn convolutions() {
    for (channels, filters, size, stride, padding) in
        [(1, 3, 3, 1, 1), (3, 17, 3, 1, 1), (2, 16, 2, 2, 0), (17, 20, 3, 2, 0)]
    {
        let (image, kernel) = ([channels, 7, 6], [filters, channels, size, size]);
        let one = program(&[&image, &kernel, &[filters]], |b, x| {
            let over = [Windows { size, stride, dilation: 1, padding }; 2];
            let y = operator::conv(b, x[0], x[1], &over, 1);
            let normal = operator::normalise_examples(b, y, 1e-5);
            let dims = b.dims(y).to_vec();
            let gain = (1..3).fold(x[2], |gain, axis| b.broadcast(gain, axis, dims[axis]));
            let y = b.mul(normal, gain);
            let zero = b.full(0.0, &dims);
            let y = b.binary(Binary::Max, y, zero);
            let pooled = operator::pool(b, y, &[Windows { size: 2, stride: 2, dilation: 1, padding: 0 }; 2], Pool::Max);
            vec![b.sum_all(pooled)]
        });
        let cases = [3, channels, 7, 6];
        let function = program(&[&cases, &kernel, &[filters]], |b, x| {
            let sums = batch(b, &one, x, &[true, false, false], 3)[0];
            let first = grad(b, sums, x);
            let squares: Vec<NodeId> = first.iter().map(|&g| b.mul(g, g)).collect();
            let sizes: Vec<NodeId> = squares.into_iter().map(|s| b.sum_all(s)).collect();
            let total = sizes.into_iter().reduce(|a, c| b.add(a, c)).expect("three");
            let second = grad(b, total, &x[1..]);
            [vec![sums], first, second].concat()
        });
        for values in [noise, wild] {
            let args = [values(&cases, 20), noise(&kernel, 21), noise(&[filters], 22)];
            check::<f32>(&function, &args);
            check::<f64>(&function, &args);
        }
    }
}

#[test]
fn rows() {
    let number = |dims: &[usize], seed: u64| {
        let data = wild(dims, seed).data().iter().map(|x| x * 2.0 + 1.0).collect();
        Tensor::new(dims.to_vec(), data)
    };
    for (batch, table, numbers) in [
        (0, &[4, 3][..], &[9][..]),
        (0, &[4], &[2, 5]),
        (1, &[2, 4, 3], &[2, 7]),
        (1, &[2, 4, 0], &[2, 7]),
        (2, &[2, 1, 3], &[2, 1]),
    ] {
        let rows = [numbers, &table[batch + 1..]].concat();
        let (x, n) = (wild(table, 16), number(numbers, 17));
        both(&[table, numbers], |b, x| b.gather(x[0], x[1], batch), &[x, n.clone()]);
        both(&[numbers, &rows], |b, x| b.scatter(x[0], x[1], batch, 4), &[n, wild(&rows, 18)]);
    }
}

#[test]
fn moves() {
    let dims = [3, 4, 5];
    let args = [wild(&dims, 10)];
    both(&[&dims], |b, x| b.permute(x[0], &[2, 0, 1]), &args);
    both(&[&dims], |b, x| b.pad(x[0], 1, 2, 3), &args);
    both(&[&dims], |b, x| b.slice(x[0], 2, 1, 3), &args);
    both(&[&dims], |b, x| b.broadcast(x[0], 1, 7), &args);
    let turned = |b: &mut Builder, x: &[NodeId]| {
        let turned = b.permute(x[0], &[1, 2, 0]);
        let flat = b.reshape(turned, &[10, 6]);
        b.slice(flat, 0, 3, 5)
    };
    both(&[&dims], turned, &args);
    both(&[], |b, _| b.iota(&[4, 3], 1), &[]);
    both(&[], |b, _| b.full(0.1, &[2, 2]), &[]);
}
