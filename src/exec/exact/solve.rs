//! Symmetric positive definite systems by Cholesky factorisation, every entry a chain of fused multiply-adds in increasing `k`.

use super::float::Float;
use super::simd::{Here, Vector, Vectors, Work};

/// Systems `A X = B`: `a` is `[count, p, p]` of which the lower triangle is read, `b` and `x` are `[count, p, q]`.
pub(super) struct Systems<'a, T> {
    pub p: usize,
    pub q: usize,
    pub a: &'a [T],
    pub b: &'a [T],
    pub x: &'a mut [T],
    /// Room for one factor.
    pub factor: &'a mut Vec<T>,
}

impl<T: Vectors> Work<T> for Systems<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self, _here: Here<V>) {
        let Systems { p, q, a, b, x, factor } = self;
        if p * q == 0 {
            return;
        }
        factor.resize(p * p, T::ZERO);
        x.copy_from_slice(b);
        for (a, x) in a.chunks_exact(p * p).zip(x.chunks_exact_mut(p * q)) {
            factor.copy_from_slice(a);
            if factorise(factor, p) { substitute(factor, x, p, q) } else { x.fill(T::NAN) }
        }
    }
}

/// Replaces the lower triangle by `L` with `L L^T` equal to it; false where the matrix is not positive definite (Golub and Van Loan,
/// *Matrix Computations*, 4th ed., algorithm 4.2.1).
#[inline(always)]
fn factorise<T: Float>(a: &mut [T], p: usize) -> bool {
    for i in 0..p {
        for j in 0..=i {
            let mut rest = a[i * p + j];
            for k in 0..j {
                rest = T::ZERO.sub(a[i * p + k]).fma(a[j * p + k], rest);
            }
            if i > j {
                a[i * p + j] = rest.div(a[j * p + j]);
            } else if rest > T::ZERO {
                a[i * p + i] = rest.sqrt();
            } else {
                return false;
            }
        }
    }
    true
}

/// Replaces `x` by the solution of `L L^T X = x`: forward, then backward substitution.
#[inline(always)]
fn substitute<T: Float>(l: &[T], x: &mut [T], p: usize, q: usize) {
    for i in 0..p {
        for k in 0..i {
            subtract(x, q, i, k, l[i * p + k]);
        }
        x[i * q..(i + 1) * q].iter_mut().for_each(|v| *v = v.div(l[i * p + i]));
    }
    for i in (0..p).rev() {
        for k in i + 1..p {
            subtract(x, q, i, k, l[k * p + i]);
        }
        x[i * q..(i + 1) * q].iter_mut().for_each(|v| *v = v.div(l[i * p + i]));
    }
}

/// Row `i` minus `factor` times row `k`.
#[inline(always)]
fn subtract<T: Float>(x: &mut [T], q: usize, i: usize, k: usize, factor: T) {
    let minus = T::ZERO.sub(factor);
    for column in 0..q {
        x[i * q + column] = minus.fma(x[k * q + column], x[i * q + column]);
    }
}
