//! The elementary functions: how far from the true value, specials, signs of zero, monotony.

use super::super::float::Float;
use crate::ir::Unary;

fn all<T: Float>(f: Unary, x: &[T]) -> Vec<T> {
    let mut out = vec![T::ZERO; x.len()];
    T::unary(f, x, &mut out);
    out
}

/// The distance of two `f32` in units of the last place of the true value.
fn ulp32(found: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    if found.to_bits() == nearest.to_bits() || (found.is_nan() && nearest.is_nan()) {
        return 0.0;
    }
    let exponent = (f64::from(nearest).abs().max(f64::from(f32::MIN_POSITIVE))).log2().floor();
    (f64::from(found) - truth).abs() / (exponent - 23.0).exp2()
}

/// A million numbers of all sizes and both signs, with the special ones.
fn f32_everywhere() -> Vec<f32> {
    let strewn = (0..=u32::MAX).step_by(4099).map(f32::from_bits).filter(|x| !x.is_nan());
    let edges = [0.0, 1.0, 0.625, 9.0, 10.0, 88.72, 89.0, 87.3, 103.9, 104.0, 1_048_576.0, 1_048_577.0, f32::MAX];
    let tiny = [f32::MIN_POSITIVE, f32::from_bits(1), f32::INFINITY];
    strewn.chain(edges).chain(tiny).flat_map(|x| [x, -x]).collect()
}

type Truth = fn(f64) -> f64;
const TRUTHS: [(Unary, Truth); 6] = [
    (Unary::Exp, libm::exp),
    (Unary::Ln, libm::log),
    (Unary::Tanh, libm::tanh),
    (Unary::Erf, libm::erf),
    (Unary::Sin, libm::sin),
    (Unary::Cos, libm::cos),
];

#[test]
fn functions_of_f32_are_within_two_ulp_everywhere() {
    let x = f32_everywhere();
    for (f, truth) in TRUTHS {
        let found = all(f, &x);
        let worst = x.iter().zip(&found).map(|(&x, &y)| (ulp32(y, truth(f64::from(x))), x));
        let (worst, at) = worst.fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
        assert!(worst <= 2.0, "{f:?} is {worst} ulp off at {at:e}");
    }
}

#[test]
fn functions_of_f64_are_within_two_ulp_of_libm() {
    let x: Vec<f64> = (0..200_000u64).map(|i| (i as f64 - 100_000.0) * 0.0071).collect();
    for (f, truth) in TRUTHS {
        for (&x, &y) in x.iter().zip(&all(f, &x)) {
            let wanted = truth(x);
            let apart = (y.to_bits() as i64).abs_diff(wanted.to_bits() as i64);
            assert!(apart <= 2 || (y.is_nan() && wanted.is_nan()), "{f:?} of {x}: {y}, not {wanted}");
        }
    }
}

fn specials<T: Float>(nan: T, infinity: T) {
    let bits = |x: &T| if !x.is_nan() { x.to_f64().to_bits() } else { f64::NAN.to_bits() };
    let (zero, one, minus) = (T::ZERO, T::ONE, |x: T| T::from_f64(-x.to_f64()));
    let inputs = [zero, minus(zero), infinity, minus(infinity), nan];
    let table = [
        (Unary::Exp, [one, one, infinity, zero, nan]),
        (Unary::Ln, [minus(infinity), minus(infinity), infinity, nan, nan]),
        (Unary::Tanh, [zero, minus(zero), one, minus(one), nan]),
        (Unary::Erf, [zero, minus(zero), one, minus(one), nan]),
        (Unary::Sin, [zero, minus(zero), nan, nan, nan]),
        (Unary::Cos, [one, one, nan, nan, nan]),
        (Unary::Sqrt, [zero, minus(zero), infinity, nan, nan]),
    ];
    for (f, wanted) in table {
        let found = all(f, &inputs);
        assert_eq!(found.iter().map(bits).collect::<Vec<_>>(), wanted.iter().map(bits).collect::<Vec<_>>(), "{f:?}");
    }
}

#[test]
fn special_values() {
    specials(f32::NAN, f32::INFINITY);
    specials(f64::NAN, f64::INFINITY);
}

#[test]
fn growing_functions_grow() {
    // Neighbours around many places.
    let around = |start: f32| (0..64).map(move |i| f32::from_bits(start.to_bits() + i));
    let places: Vec<f32> = (0..4000).map(|i| 1e-4 * 1.0035f32.powi(i)).filter(|x| *x < 1e4).collect();
    for f in [Unary::Exp, Unary::Ln, Unary::Tanh, Unary::Erf] {
        for &place in &places {
            let y = all(f, &around(place).collect::<Vec<_>>());
            assert!(y.windows(2).all(|w| w[0] <= w[1]), "{f:?} falls near {place}");
        }
    }
}

#[test]
fn denormal_numbers_are_kept() {
    let tiny = f32::from_bits(7);
    assert_eq!(all(Unary::Neg, &[tiny])[0].to_bits(), (-tiny).to_bits());
    // 7 and 3.5 are 10.5, which is rounded to even.
    assert_eq!(tiny.fma(0.5, tiny).to_bits(), 10);
    assert!(all(Unary::Exp, &[-100.0f32])[0] > 0.0);
    assert_eq!(all(Unary::Sin, &[tiny])[0], tiny);
}
