//! Elementary functions of `f32`, within 2 ulp, the same bits on every processor: polynomials over `mul_add`.
//!
//! Nothing branches, so that loops over them become vector code. Ranges are reduced as in Muller, *Elementary Functions*, 3rd ed.;
//! the coefficients of `exp`, `ln` and `tanh` are those of Moshier's Cephes library, `sin` and `cos` are Taylor polynomials
//! evaluated in `f64`.

use std::f64::consts::FRAC_2_PI;

/// 1.5 * 2^23: adding and subtracting it rounds to the nearest integer, ties to even.
const ROUND: f32 = 12_582_912.0;

/// `ln 2` in two parts, the first with 9 trailing zero bits so that a product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4; // 355 / 512
const LN2_LOW: f32 = -2.121_944_4e-4;

/// 2^n for the integer `n` from -126 to 127 in the low bits of a sum with [`ROUND`], less those of another such sum.
#[inline(always)]
fn power_of_two(sum: u32) -> f32 {
    f32::from_bits(sum.wrapping_add(127) << 23)
}

/// `e^x`
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is infinite or 0; NaN passes through the selects below.
    let clamped = if x > 89.0 { 89.0 } else { x };
    let clamped = if clamped < -104.0 { -104.0 } else { clamped };
    let rounded = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // Two factors, since 2^n itself may be too large or too small.
    let half = n.mul_add(0.5, ROUND).to_bits();
    let result = p * power_of_two(half) * power_of_two(rounded.to_bits().wrapping_sub(half));
    if x.is_nan() { f32::NAN } else { result }
}

/// The natural logarithm; NaN below 0, `-inf` at 0.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // Denormal numbers are scaled up first.
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let shift = if tiny { -23.0 } else { 0.0 };
    // x = m * 2^e with m in [sqrt(1/2), sqrt(2))
    let bits = scaled.to_bits().wrapping_sub(0x3F35_04F3);
    let e = ((bits as i32) >> 23) as f32 + shift;
    let m = f32::from_bits((bits & 0x007F_FFFF) + 0x3F35_04F3);
    let f = m - 1.0;
    let p = 7.037_683_6e-2f32;
    let p = p.mul_add(f, -1.151_461e-1);
    let p = p.mul_add(f, 1.167_699_9e-1);
    let p = p.mul_add(f, -1.242_014_1e-1);
    let p = p.mul_add(f, 1.424_932_3e-1);
    let p = p.mul_add(f, -1.666_805_7e-1);
    let p = p.mul_add(f, 2.000_071_5e-1);
    let p = p.mul_add(f, -2.499_999_4e-1);
    let p = p.mul_add(f, 3.333_333e-1);
    let square = f * f;
    let tail = (p * f).mul_add(square, e * LN2_LOW);
    let tail = square.mul_add(-0.5, tail);
    let result = e.mul_add(LN2_HIGH, f + tail);
    let result = if x == f32::INFINITY { x } else { result };
    let result = if x == 0.0 { f32::NEG_INFINITY } else { result };
    if x >= 0.0 { result } else { f32::NAN }
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let p = -5.704_988e-3f32;
    let p = p.mul_add(square, 2.063_909e-2);
    let p = p.mul_add(square, -5.373_971_4e-2);
    let p = p.mul_add(square, 1.333_144_2e-1);
    let p = p.mul_add(square, -3.333_328e-1);
    let near = (p * square).mul_add(x, x);
    // 1 - 2 / (e^2|x| + 1), exactly 1 from about 9 on.
    let far = 1.0 - 2.0 / (exp(if size > 10.0 { 20.0 } else { 2.0 * size }) + 1.0);
    // The sign is taken from `x`, so that -0 stays -0.
    let result = (if size < 0.625 { near } else { far }).copysign(x);
    if x.is_nan() { f32::NAN } else { result }
}

/// Of `erf(x) / x`, the coefficients of the powers of `(x^2 - 8) / 8`, the highest first.
const ERF: [f64; 22] = [
    -4.589_225_207_791_306e-6,
    1.325_552_420_823_596_3e-5,
    -1.262_066_974_685_413_3e-5,
    3.107_438_403_556_471e-5,
    -0.000_126_527_064_235_504,
    0.000_299_180_998_130_682_45,
    -0.000_604_821_823_508_543_4,
    0.001_272_324_196_261_917_3,
    -0.002_583_060_913_961_789,
    0.004_864_627_516_159_754_5,
    -0.008_604_344_362_825_008,
    0.014_345_737_025_661_14,
    -0.022_474_034_182_490_357,
    0.033_061_469_146_980_6,
    -0.045_765_039_973_586_09,
    0.059_886_799_544_183_154,
    -0.074_727_871_655_255_52,
    0.090_209_000_916_463_47,
    -0.107_710_442_299_996_17,
    0.131_675_116_723_653_62,
    -0.176_576_233_303_980_87,
    0.353_530_995_644_115,
];

/// So many polynomials are computed side by side, since the terms of one wait for each other.
const TOGETHER: usize = 16;

/// The error function: `x P(x^2)` with the Chebyshev interpolant `P` of `erf(x) / x` up to 4, from where on it rounds to 1.
#[inline(always)]
fn erf(x: &[f32; TOGETHER]) -> [f32; TOGETHER] {
    let (mut size, mut u, mut p, mut out) = ([0.0; TOGETHER], [0.0; TOGETHER], [ERF[0]; TOGETHER], [0.0; TOGETHER]);
    for i in 0..TOGETHER {
        size[i] = f64::from(if x[i].abs() > 4.0 { 4.0 } else { x[i].abs() });
        u[i] = size[i].mul_add(size[i], -8.0) * 0.125;
    }
    for &c in &ERF[1..] {
        for i in 0..TOGETHER {
            p[i] = p[i].mul_add(u[i], c);
        }
    }
    for i in 0..TOGETHER {
        // The sign is taken from `x`, so that -0 stays -0.
        let result = ((p[i] * size[i]) as f32).copysign(x[i]);
        out[i] = if x[i].is_nan() { f32::NAN } else { result };
    }
    out
}

/// The error function of every entry.
#[inline(always)]
pub fn erf_all(x: &[f32], out: &mut [f32]) {
    let ((x, left), (out, rest)) = (x.as_chunks(), out.as_chunks_mut());
    for (to, x) in out.iter_mut().zip(x) {
        *to = erf(x);
    }
    if !left.is_empty() {
        let mut last = [0.0; TOGETHER];
        last[..left.len()].copy_from_slice(left);
        rest.copy_from_slice(&erf(&last)[..left.len()]);
    }
}

/// Up to here a product of an integer with `pi / 2` in two parts of `f64` leaves less than 2^-40 of error.
const REDUCED: f32 = 1_048_576.0;

/// `pi / 2` in two parts, the first with 24 trailing zero bits.
const HALF_PI_HIGH: f64 = 1.570_796_325_802_803;
const HALF_PI_LOW: f64 = 9.920_935_796_805_404e-10;

/// The sine or, a quarter turn further, the cosine of a number of at most [`REDUCED`].
#[inline(always)]
fn sine(x: f32, quarters: f64) -> f32 {
    /// 1.5 * 2^52
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = f64::from(x);
    let shifted = x.mul_add(FRAC_2_PI, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-HALF_PI_HIGH, x);
    let r = n.mul_add(-HALF_PI_LOW, r);
    let square = r * r;
    let s = -2.505_210_838_544_172e-8f64;
    let s = s.mul_add(square, 2.755_731_922_398_589e-6);
    let s = s.mul_add(square, -1.984_126_984_126_984e-4);
    let s = s.mul_add(square, 8.333_333_333_333_333e-3);
    let s = s.mul_add(square, -1.666_666_666_666_666_6e-1);
    // -0 stays -0.
    let s = if r == 0.0 { r } else { (s * square).mul_add(r, r) };
    let c = 2.087_675_698_786_81e-9f64;
    let c = c.mul_add(square, -2.755_731_922_398_589e-7);
    let c = c.mul_add(square, 2.480_158_730_158_73e-5);
    let c = c.mul_add(square, -1.388_888_888_888_889e-3);
    let c = c.mul_add(square, 4.166_666_666_666_666_4e-2);
    let c = c.mul_add(square, -0.5);
    let c = c.mul_add(square, 1.0);
    let quadrant = (shifted + quarters).to_bits();
    let value = if quadrant & 1 == 0 { s } else { c };
    (if quadrant & 2 == 0 { value } else { -value }) as f32
}

/// The sine of every entry.
#[inline(always)]
pub fn sin_all(x: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(x).for_each(|(to, &x)| *to = sine(x, 0.0));
    mend(x, out, libm::sin);
}

/// The cosine of every entry.
#[inline(always)]
pub fn cos_all(x: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(x).for_each(|(to, &x)| *to = sine(x, 1.0));
    mend(x, out, libm::cos);
}

/// Large angles need hundreds of digits of pi: they are rare, and each goes the long way.
#[inline(always)]
fn mend(x: &[f32], out: &mut [f32], exactly: impl Fn(f64) -> f64) {
    let largest = x.iter().fold(0.0f32, |m, &x| if x.abs() > m { x.abs() } else { m });
    let all_numbers = x.iter().fold(true, |fine, &x| fine & !x.is_nan());
    if largest <= REDUCED && all_numbers {
        return;
    }
    for (to, &x) in out.iter_mut().zip(x) {
        if x.is_nan() | (x.abs() > REDUCED) {
            let value = exactly(f64::from(x)) as f32;
            *to = if value.is_nan() { f32::NAN } else { value };
        }
    }
}
