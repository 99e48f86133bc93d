//! The quantile function of the standard normal law.

const CENTRE_P: [f64; 8] = [
    3.3871328727963665,
    133.14166789178438,
    1971.5909503065513,
    13731.69376550946,
    45921.95393154987,
    67265.7709270087,
    33430.57558358813,
    2509.0809287301227,
];
const CENTRE_Q: [f64; 8] = [
    1.0,
    42.31333070160091,
    687.1870074920579,
    5394.196021424751,
    21213.794301586597,
    39307.89580009271,
    28729.085735721943,
    5226.495278852854,
];
const MIDDLE_P: [f64; 8] = [
    1.4234371107496835,
    4.630337846156546,
    5.769497221460691,
    3.6478483247632045,
    1.2704582524523684,
    0.2417807251774506,
    0.022723844989269184,
    0.0007745450142783414,
];
const MIDDLE_Q: [f64; 8] = [
    1.0,
    2.053191626637759,
    1.6763848301838038,
    0.6897673349851,
    0.14810397642748008,
    0.015198666563616457,
    0.0005475938084995345,
    1.0507500716444169e-09,
];
const TAIL_P: [f64; 8] = [
    6.657904643501103,
    5.463784911164114,
    1.7848265399172913,
    0.29656057182850487,
    0.026532189526576124,
    0.0012426609473880784,
    2.7115555687434876e-05,
    2.0103343992922881e-07,
];
const TAIL_Q: [f64; 8] = [
    1.0,
    0.599832206555888,
    0.1369298809227358,
    0.014875361290850615,
    0.0007868691311456133,
    1.8463183175100548e-05,
    1.421511758316446e-07,
    2.0442631033899397e-15,
];

/// The quantile of the standard normal law at probability `p`: accurate to a few ulp.
///
/// Infinite at 0 and 1, NaN outside [0, 1]. Wichura: Algorithm AS 241 (PPND16), Applied Statistics 37(3), 1988.
#[inline]
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= CENTRE { centre(q) } else { tail(p, q) }
}

/// Replaces each probability by its [`normal_quantile`]: the rational function of the central region is evaluated for all, without
/// a branch, and those outside it are gathered and mended together.
#[inline(always)]
pub(super) fn normal_quantiles(probabilities: &mut [f64]) {
    for chunk in probabilities.chunks_mut(CHUNK) {
        let (mut near, mut place, mut outside) = ([0.5; CHUNK], [0; CHUNK], 0);
        for (i, p) in chunk.iter_mut().enumerate() {
            let q = *p - 0.5;
            near[outside] = *p;
            place[outside] = i;
            outside += usize::from(q.abs() > CENTRE);
        }
        for p in chunk.iter_mut() {
            *p = centre(*p - 0.5);
        }
        for (near, place) in near[..outside].chunks_mut(EIGHT).zip(place.chunks(EIGHT)) {
            let mut eight = [0.5; EIGHT];
            eight[..near.len()].copy_from_slice(near);
            let mended = middle(eight);
            for ((&p, &i), x) in near.iter().zip(place).zip(mended) {
                let q = p - 0.5;
                chunk[i] = if (FAR..=1.0 - FAR).contains(&p) { x } else { tail(p, q) };
            }
        }
    }
}

/// How many probabilities are worked on at a time, and how many of the outer regions.
const CHUNK: usize = 128;
const EIGHT: usize = 8;

/// `exp(-25)`, rounded up: from here on to the centre, the middle region is right.
const FAR: f64 = 1.4e-11;

/// The middle region for several probabilities below or above the centre.
#[inline(always)]
fn middle(p: [f64; EIGHT]) -> [f64; EIGHT] {
    p.map(|p| {
        let q = p - 0.5;
        let near = if q < 0.0 { p } else { 1.0 - p };
        let r = (-log(near)).sqrt() - 1.6;
        (polynomial(&MIDDLE_P, r) / polynomial(&MIDDLE_Q, r)).copysign(q)
    })
}

/// The bits of `libm::log` for a positive normal number, without its branches (Sun Microsystems, fdlibm, `e_log.c`).
#[inline(always)]
fn log(x: f64) -> f64 {
    // x = m * 2^k with m from sqrt(1/2) to sqrt(2).
    const ROOT: u64 = 0x3FE6_A09E << 32;
    let bits = x.to_bits().wrapping_add((0x3FF0_0000 << 32) - ROOT);
    let k = (bits >> 52) as i32 - 0x3FF;
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) + ROOT);
    let f = m - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (LOG[1] + w * (LOG[3] + w * LOG[5]));
    let odd = z * (LOG[0] + w * (LOG[2] + w * (LOG[4] + w * LOG[6])));
    let k = f64::from(k);
    s * (half_square + (odd + even)) + k * LN_2[1] - half_square + f + k * LN_2[0]
}

/// `ln 2` in two parts.
const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];

const LOG: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];

/// How far from 1/2 the central region reaches.
const CENTRE: f64 = 0.425;

/// The central region.
#[inline(always)]
fn centre(q: f64) -> f64 {
    let r = 0.180625 - q * q;
    q * polynomial(&CENTRE_P, r) / polynomial(&CENTRE_Q, r)
}

/// The two outer regions, which 15 of 100 draws reach.
fn tail(p: f64, q: f64) -> f64 {
    let near = if q < 0.0 { p } else { 1.0 - p };
    if near == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = libm::sqrt(-libm::log(near));
    let x = if r <= 5.0 {
        polynomial(&MIDDLE_P, r - 1.6) / polynomial(&MIDDLE_Q, r - 1.6)
    } else {
        polynomial(&TAIL_P, r - 5.0) / polynomial(&TAIL_Q, r - 5.0)
    };
    x.copysign(q)
}

/// Horner's scheme; coefficients in increasing degree.
#[inline(always)]
fn polynomial(&[lower @ .., highest]: &[f64; 8], x: f64) -> f64 {
    lower.iter().rev().fold(highest, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::{normal_quantile, normal_quantiles};

    /// The distribution function, by an independent route.
    fn phi(x: f64) -> f64 {
        0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
    }

    #[test]
    fn inverts_the_distribution_function() {
        let exponents = (1..=300).map(|e| 10f64.powi(-e));
        let centre = (1..1000).map(|i| i as f64 / 2000.0);
        for p in exponents.chain(centre) {
            let x = normal_quantile(p);
            // An error of x is multiplied by about x^2 in the relative error of phi(x): this allows four ulp of x.
            assert!((phi(x) / p - 1.0).abs() < 9e-16 * (4.0 + x * x), "p = {p}: {x}");
        }
    }

    #[test]
    fn many_at_once_are_the_same_bits() {
        let p: Vec<f64> = (0..=1000).map(|i| i as f64 / 1000.0).chain([f64::NAN, 1e-300]).collect();
        let mut many = p.clone();
        normal_quantiles(&mut many);
        assert!(many.iter().zip(&p).all(|(x, &p)| x.to_bits() == normal_quantile(p).to_bits()));
    }

    #[test]
    fn table_values() {
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-15);
        assert!((normal_quantile(0.25) + 0.674_489_750_196_081_7).abs() < 1e-15);
        assert_eq!(normal_quantile(0.5), 0.0);
    }

    #[test]
    fn ends_and_outside() {
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert!(normal_quantile(-0.1).is_nan());
        assert!(normal_quantile(1.1).is_nan());
        assert!(normal_quantile(f64::NAN).is_nan());
    }
}
