//! Laws that are not one elementwise transform of a uniform or normal draw.

use thiserror::Error;

use super::Stream;
use super::normal::normal_quantiles;
use crate::numeric::{Matrix, orthonormal_basis};

/// The standard normal distribution function at -2.
const PHI_MINUS_2: f64 = 0.022_750_131_948_179_21;

/// A law asked for what it does not have.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LawError {
    /// There are no `columns` orthonormal vectors of that length.
    #[error("{columns} orthonormal columns do not fit into {rows} dimensions: at most {rows} do")]
    TooManyColumns {
        /// The length of a column.
        rows: usize,
        /// How many were asked for.
        columns: usize,
    },
    /// A shape or concentration parameter out of range.
    #[error("{0} is no concentration: it must lie between 1e-6 and 1e6")]
    Concentration(f64),
}

/// A matrix `[d, k]`, row-major, with orthonormal columns, uniform (Haar) on the Stiefel manifold.
///
/// The orthonormal factor of a standard normal matrix whose triangular factor has a positive diagonal, which is
/// what Gram-Schmidt gives: Mezzadri, Notices of the AMS 54(5), 2007. Fails where `k > d`.
pub fn stiefel(stream: &Stream, d: usize, k: usize) -> Result<Vec<f64>, LawError> {
    if k > d {
        return Err(LawError::TooManyColumns { rows: d, columns: k });
    }
    let mut normal = vec![0.0; d * k];
    let mut attempt = 0;
    let columns = loop {
        stream.child(attempt).fill_normal(&mut normal);
        let columns = orthonormal_basis(Matrix::new(d, k, &normal));
        // A normal matrix has full rank with probability 1, up to rounding.
        if columns.len() == k {
            break columns;
        }
        attempt += 1;
    };
    Ok((0..d * k).map(|i| columns[i % k][i / k]).collect())
}

/// Fills `out` with standard normal draws restricted to [-2, 2], one per counter, by inversion: the quantile of
/// `Phi(-2) + u (1 - 2 Phi(-2))`. Its standard deviation is 0.8796.
pub fn fill_truncated_normal(stream: &Stream, out: &mut [f64]) {
    stream.fill_open_uniform(out);
    out.iter_mut().for_each(|u| *u = PHI_MINUS_2 + *u * (1.0 - 2.0 * PHI_MINUS_2));
    normal_quantiles(out);
    out.iter_mut().for_each(|x| *x = x.clamp(-2.0, 2.0));
}

/// A vector of `d` elements, uniform on the unit sphere: a normalised standard normal vector (Muller 1959).
pub fn sphere(stream: &Stream, d: usize) -> Vec<f64> {
    let mut x = vec![0.0; d];
    stream.fill_normal(&mut x);
    // No normal draw is exactly zero, see `Stream::open_uniform`.
    let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
    x.iter_mut().for_each(|v| *v /= norm);
    x
}

/// A point of the simplex of `n` entries under the symmetric Dirichlet law of concentration `alpha` in [1e-6, 1e6]:
/// normalised gamma draws, one per child of the stream.
pub fn dirichlet(stream: &Stream, alpha: f64, n: usize) -> Result<Vec<f64>, LawError> {
    if !(1e-6..=1e6).contains(&alpha) {
        return Err(LawError::Concentration(alpha));
    }
    let logs: Vec<f64> = (0..n as u64).map(|i| log_of_gamma(&stream.child(i), alpha)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|x| libm::exp(x - largest)).collect();
    let total: f64 = weights.iter().sum();
    Ok(weights.iter().map(|w| w / total).collect())
}

/// The logarithm of a gamma draw of that shape and scale 1; a draw of small shape underflows, its logarithm does not.
///
/// Marsaglia and Tsang: A Simple Method for Generating Gamma Variables, ACM TOMS 26(3), 2000. A shape below 1 is
/// raised by one and the draw multiplied by `u^(1/shape)`.
fn log_of_gamma(stream: &Stream, shape: f64) -> f64 {
    if shape < 1.0 {
        let boost = libm::log(stream.open_uniform(0)) / shape;
        return log_of_gamma(&stream.child(0), shape + 1.0) + boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut counter = 0;
    loop {
        let x = stream.normal(counter);
        let u = stream.open_uniform(counter + 1);
        let root = 1.0 + c * x;
        let v = root * root * root;
        if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return libm::log(d * v);
        }
        counter += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stiefel_columns_are_orthonormal() {
        for (d, k) in [(1, 1), (5, 0), (20, 3), (30, 30)] {
            let q = stiefel(&Stream::new(1, &["q"]), d, k).unwrap();
            assert_eq!(q.len(), d * k);
            for a in 0..k {
                for b in 0..k {
                    let dot: f64 = (0..d).map(|i| q[i * k + a] * q[i * k + b]).sum();
                    assert!((dot - f64::from(u8::from(a == b))).abs() < 1e-14);
                }
            }
        }
    }

    #[test]
    fn stiefel_is_haar_in_sign_and_spread() {
        let (d, k, n) = (4, 2, 4000);
        let (mut sum, mut square, mut fourth) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        for i in 0..n {
            let q = stiefel(&Stream::new(2, &["haar"]).child(i), d, k).unwrap();
            for (j, x) in q.into_iter().enumerate() {
                sum[j] += x / n as f64;
                square[j] += x * x / n as f64;
                fourth[j] += x * x * x * x / n as f64;
            }
        }
        // On the sphere in d dimensions: E x = 0, E x^2 = 1 / d, E x^4 = 3 / (d (d + 2)).
        for j in 0..d * k {
            assert!(sum[j].abs() < 0.04, "{sum:?}");
            assert!((square[j] - 0.25).abs() < 0.02, "{square:?}");
            assert!((fourth[j] - 0.125).abs() < 0.015, "{fourth:?}");
        }
    }

    /// A change here needs a new number in `GENERATOR`.
    #[test]
    fn golden_stiefel() {
        let q = stiefel(&Stream::new(0, &["world", "truth"]), 3, 2).unwrap();
        assert_eq!(
            q,
            [
                0.8680917084648881,
                -0.4086464176879101,
                -0.4444979049736532,
                -0.8926495036374087,
                -0.22099411342509725,
                0.19022347112468976,
            ]
        );
    }

    #[test]
    fn stiefel_needs_room() {
        let wrong = stiefel(&Stream::new(0, &[]), 2, 3);
        assert_eq!(wrong, Err(LawError::TooManyColumns { rows: 2, columns: 3 }));
    }

    #[test]
    fn truncated_normal_law() {
        assert!((PHI_MINUS_2 - 0.5 * libm::erfc(std::f64::consts::SQRT_2)).abs() < 1e-17);
        let n = 40_000;
        let mut x = vec![0.0; n];
        fill_truncated_normal(&Stream::new(3, &["t"]), &mut x);
        assert!(x.iter().all(|v| v.abs() <= 2.0));
        assert!(x.iter().any(|v| *v > 1.99) && x.iter().any(|v| *v < -1.99));
        let mean = x.iter().sum::<f64>() / n as f64;
        let variance = x.iter().map(|v| v * v).sum::<f64>() / n as f64;
        // 1 - 4 phi(2) / (1 - 2 Phi(-2)) = 0.773741.
        assert!(mean.abs() < 0.02);
        assert!((variance - 0.773_741).abs() < 0.02, "{variance}");
    }

    #[test]
    fn sphere_has_unit_norm_and_no_direction() {
        let mut sum = [0.0; 3];
        for i in 0..3000 {
            let x = sphere(&Stream::new(4, &["s"]).child(i), 3);
            assert!((x.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-15 * 4.0);
            sum.iter_mut().zip(&x).for_each(|(s, v)| *s += v / 3000.0);
        }
        // Five standard errors of a coordinate of variance 1 / 3.
        assert!(sum.iter().all(|s| s.abs() < 5.0 / 9000f64.sqrt()), "{sum:?}");
        assert!(sphere(&Stream::new(4, &[]), 0).is_empty());
    }

    #[test]
    fn dirichlet_moments() {
        for alpha in [0.05, 0.5, 1.0, 3.0] {
            let (n, k) = (20_000, 4);
            let (mut mean, mut square) = (0.0, 0.0);
            for i in 0..n {
                let p = dirichlet(&Stream::new(5, &["d"]).child(i), alpha, k).unwrap();
                assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                mean += p[1] / n as f64;
                square += p[1] * p[1] / n as f64;
            }
            // E p = 1/k, E p^2 = (alpha + 1) / (k (k alpha + 1)).
            let second = (alpha + 1.0) / (4.0 * (4.0 * alpha + 1.0));
            assert!((mean - 0.25).abs() < 0.016, "{alpha}: {mean}");
            assert!((square - second).abs() < 0.016, "{alpha}: {square} for {second}");
        }
    }

    #[test]
    fn dirichlet_at_the_ends_of_its_range() {
        let s = Stream::new(6, &[]);
        let sparse = dirichlet(&s, 1e-6, 10).unwrap();
        assert!(sparse.iter().any(|p| *p > 0.999));
        let even = dirichlet(&s, 1e6, 10).unwrap();
        assert!(even.iter().all(|p| (p - 0.1).abs() < 1e-3));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7] {
            assert!(dirichlet(&s, wrong, 10).is_err());
        }
    }
}
