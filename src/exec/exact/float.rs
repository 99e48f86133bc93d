//! What kernels need of `f32` and `f64`.

use std::cell::Cell;
use std::ops::AddAssign;

use super::{math32, math64};
use crate::ir::{Binary, Compare, Precision, Unary};

/// A float type of the exact executor.
pub trait Float:
    Copy + Send + Sync + Default + PartialEq + PartialOrd + Into<f64> + AddAssign + std::fmt::Debug + 'static
{
    /// Its name and size.
    const PRECISION: Precision;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The one NaN that is written.
    const NAN: Self;

    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// Whether it is no number.
    fn is_nan(self) -> bool;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// The sum.
    fn add(self, b: Self) -> Self;
    /// The difference.
    fn sub(self, b: Self) -> Self;
    /// The product.
    fn mul(self, b: Self) -> Self;
    /// The quotient.
    fn div(self, b: Self) -> Self;
    /// The correctly rounded root.
    fn sqrt(self) -> Self;
    /// Lends a buffer that belongs to this thread, so that packing allocates once.
    fn with_buffer<R>(work: impl FnOnce(&mut Vec<Self>) -> R) -> R;
    /// Applies an elementwise function to every entry.
    fn unary(f: Unary, x: &[Self], out: &mut [Self]);
}

macro_rules! float {
    ($t:ident, $precision:ident, $math:ident) => {
        impl Float for $t {
            const PRECISION: Precision = Precision::$precision;
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            const NAN: $t = $t::NAN;

            #[inline(always)]
            fn from_f64(x: f64) -> $t {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn fma(self, b: $t, c: $t) -> $t {
                self.mul_add(b, c)
            }
            #[inline(always)]
            fn add(self, b: $t) -> $t {
                self + b
            }
            #[inline(always)]
            fn sub(self, b: $t) -> $t {
                self - b
            }
            #[inline(always)]
            fn mul(self, b: $t) -> $t {
                self * b
            }
            #[inline(always)]
            fn div(self, b: $t) -> $t {
                self / b
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }

            fn with_buffer<R>(work: impl FnOnce(&mut Vec<$t>) -> R) -> R {
                thread_local! {
                    static BUFFER: Cell<Vec<$t>> = const { Cell::new(Vec::new()) };
                }
                // It is taken out, so that whatever this thread does meanwhile finds an empty one and not a lock.
                BUFFER.with(|cell| {
                    let mut buffer = cell.take();
                    let result = work(&mut buffer);
                    cell.set(buffer);
                    result
                })
            }

            #[inline(always)]
            fn unary(f: Unary, x: &[$t], out: &mut [$t]) {
                match f {
                    Unary::Neg => map(x, out, |x| -x),
                    Unary::Abs => map(x, out, $t::abs),
                    Unary::Sqrt => map(x, out, $t::sqrt),
                    Unary::Exp => map(x, out, $math::exp),
                    Unary::Ln => map(x, out, $math::ln),
                    Unary::Tanh => map(x, out, $math::tanh),
                    Unary::Erf => $math::erf_all(x, out),
                    Unary::Sin => $math::sin_all(x, out),
                    Unary::Cos => $math::cos_all(x, out),
                }
            }
        }
    };
}

float!(f32, F32, math32);
float!(f64, F64, math64);

/// One function of every entry.
#[inline(always)]
pub(super) fn map<T: Float>(x: &[T], out: &mut [T], f: impl Fn(T) -> T) {
    out.iter_mut().zip(x).for_each(|(to, &x)| *to = f(x));
}

/// The larger, `b` where equal; a number is chosen against NaN.
#[inline(always)]
pub(super) fn max<T: Float>(a: T, b: T) -> T {
    // Two choices and not one, since the first is a single instruction.
    let larger = if a > b { a } else { b };
    if b.is_nan() { a } else { larger }
}

/// The smaller, `b` where equal; a number is chosen against NaN.
#[inline(always)]
fn min<T: Float>(a: T, b: T) -> T {
    let smaller = if a < b { a } else { b };
    if b.is_nan() { a } else { smaller }
}

/// A function of two entries, chosen once for many of them.
#[inline(always)]
pub(super) fn binary<T: Float>(f: Binary, apply: impl Pairs<T>) {
    match f {
        Binary::Add => apply.each(T::add),
        Binary::Sub => apply.each(T::sub),
        Binary::Mul => apply.each(T::mul),
        Binary::Div => apply.each(T::div),
        Binary::Max => apply.each(max),
        Binary::Min => apply.each(min),
    }
}

/// A comparison of two entries, chosen once for many of them.
#[inline(always)]
pub(super) fn compare<T: Float>(f: Compare, apply: impl Pairs<T>) {
    let truth = |holds: bool| if holds { T::ONE } else { T::ZERO };
    match f {
        Compare::Lt => apply.each(|a, b| truth(a < b)),
        Compare::Le => apply.each(|a, b| truth(a <= b)),
        Compare::Eq => apply.each(|a, b| truth(a == b)),
    }
}

/// Pairs of entries and where the results go.
pub(super) trait Pairs<T> {
    /// Applies a function to every pair.
    fn each(self, f: impl Fn(T, T) -> T);
}
