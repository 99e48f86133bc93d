//! Elementary functions of `f64`, the same bits on every processor.
//!
//! `exp` is written out so that loops over it become vector code; the others are those of the `libm` crate, plain
//! Rust that uses nothing of the platform and stays within 1 ulp.

/// 1.5 * 2^52: adding and subtracting it rounds to the nearest integer, ties to even.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `ln 2` in two parts, the first with 21 trailing zero bits so that a product with an exponent is exact.
const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// 2^n for an integer-valued `n` from -1022 to 1023.
#[inline(always)]
fn power_of_two(n: f64) -> f64 {
    f64::from_bits((n + ROUND).to_bits().wrapping_add(1023) << 52)
}

/// `e^x`: Taylor's polynomial of degree 13 on `|r| <= ln(2) / 2`, whose remainder is below 2^-57.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let clamped = if x > 710.0 { 710.0 } else { x };
    let clamped = if clamped < -746.0 { -746.0 } else { clamped };
    let n = (clamped.mul_add(std::f64::consts::LOG2_E, ROUND)) - ROUND;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let p = 1.0 / 6_227_020_800.0f64;
    let p = p.mul_add(r, 1.0 / 479_001_600.0);
    let p = p.mul_add(r, 1.0 / 39_916_800.0);
    let p = p.mul_add(r, 1.0 / 3_628_800.0);
    let p = p.mul_add(r, 1.0 / 362_880.0);
    let p = p.mul_add(r, 1.0 / 40_320.0);
    let p = p.mul_add(r, 1.0 / 5_040.0);
    let p = p.mul_add(r, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    let half = (n.mul_add(0.5, ROUND)) - ROUND;
    let result = p * power_of_two(half) * power_of_two(n - half);
    if x.is_nan() { f64::NAN } else { result }
}

/// The natural logarithm.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    number(libm::log(x))
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    number(libm::tanh(x))
}

/// The error function of every entry.
#[inline(always)]
pub fn erf_all(x: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(x).for_each(|(to, &x)| *to = number(libm::erf(x)));
}

/// The sine of every entry.
#[inline(always)]
pub fn sin_all(x: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(x).for_each(|(to, &x)| *to = number(libm::sin(x)));
}

/// The cosine of every entry.
#[inline(always)]
pub fn cos_all(x: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(x).for_each(|(to, &x)| *to = number(libm::cos(x)));
}

/// The same number, or the one NaN.
#[inline(always)]
fn number(x: f64) -> f64 {
    if x.is_nan() { f64::NAN } else { x }
}
