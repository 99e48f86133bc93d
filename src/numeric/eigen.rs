//! Eigenvalues of symmetric matrices.

use super::Matrix;

/// The eigenvalues of a symmetric matrix `[n, n]`, ascending, to about n ulp of the largest. Only the upper triangle
/// is read. All NaN where an element of it is not finite.
///
/// Cyclic Jacobi: Golub and Van Loan, Matrix Computations (4th ed.), section 8.5.
pub fn symmetric_eigenvalues(matrix: Matrix) -> Vec<f64> {
    let n = matrix.rows;
    assert_eq!(n, matrix.cols, "a symmetric matrix is square");
    let upper = |i: usize, j: usize| matrix.data[i.min(j) * n + i.max(j)];
    let mut a: Vec<f64> = (0..n * n).map(|at| upper(at / n, at % n)).collect();
    if a.iter().any(|x| !x.is_finite()) {
        return vec![f64::NAN; n];
    }
    // Largest element 1: no square overflows, and "negligible" is an absolute size.
    let scale = a.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    if scale == 0.0 {
        return vec![0.0; n];
    }
    a.iter_mut().for_each(|x| *x /= scale);

    // Convergence is quadratic: ten sweeps are rarely needed, and the bound only guards against an endless loop.
    for _ in 0..60 {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q].abs() > f64::EPSILON * f64::EPSILON {
                    rotate(&mut a, n, p, q);
                    rotated = true;
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let mut values: Vec<f64> = (0..n).map(|i| a[i * n + i] * scale).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Turns the plane of axes `p` and `q` so that the element between them vanishes.
fn rotate(a: &mut [f64], n: usize, p: usize, q: usize) {
    let (app, aqq, apq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
    let theta = (aqq - app) / (2.0 * apq);
    let t = 1.0f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (akp, akq) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * akp - s * akq;
        a[k * n + q] = s * akp + c * akq;
        a[p * n + k] = a[k * n + p];
        a[q * n + k] = a[k * n + q];
    }
    a[p * n + p] = app - t * apq;
    a[q * n + q] = aqq + t * apq;
    a[p * n + q] = 0.0;
    a[q * n + p] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, law};
    use proptest::prelude::*;

    #[test]
    fn known_spectra() {
        let two = symmetric_eigenvalues(Matrix::new(2, 2, &[2.0, 1.0, 1.0, 2.0]));
        assert!((two[0] - 1.0).abs() < 1e-15 && (two[1] - 3.0).abs() < 1e-15);
        // The second difference of n points: 2 - 2 cos(pi k / (n + 1)).
        let n = 12;
        let element = |i: usize, j: usize| if i == j { 2.0 } else { -f64::from(u8::from(i.abs_diff(j) == 1)) };
        let data: Vec<f64> = (0..n * n).map(|at| element(at / n, at % n)).collect();
        for (k, value) in symmetric_eigenvalues(Matrix::new(n, n, &data)).iter().enumerate() {
            let exact = 2.0 - 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos();
            assert!((value - exact).abs() < 1e-14, "{value} for {exact}");
        }
    }

    #[test]
    fn edges() {
        assert!(symmetric_eigenvalues(Matrix::new(0, 0, &[])).is_empty());
        assert_eq!(symmetric_eigenvalues(Matrix::new(2, 2, &[0.0; 4])), [0.0, 0.0]);
        assert_eq!(symmetric_eigenvalues(Matrix::new(2, 2, &[0.0, 1e300, 1e300, 0.0])), [-1e300, 1e300]);
        assert!(symmetric_eigenvalues(Matrix::new(2, 2, &[1.0, f64::NAN, 0.0, 1.0])).iter().all(|x| x.is_nan()));
    }

    proptest! {
        #[test]
        fn recovers_a_chosen_spectrum(seed: u64, mut spectrum in prop::collection::vec(-5.0..5.0f64, 1..9)) {
            let n = spectrum.len();
            let q = law::stiefel(&Stream::new(seed, &[]), n, n).unwrap();
            let element = |i: usize, j: usize| (0..n).map(|k| q[i * n + k] * spectrum[k] * q[j * n + k]).sum();
            let data: Vec<f64> = (0..n * n).map(|at| element(at / n, at % n)).collect();
            spectrum.sort_by(f64::total_cmp);
            for (value, exact) in symmetric_eigenvalues(Matrix::new(n, n, &data)).iter().zip(&spectrum) {
                prop_assert!((value - exact).abs() < 1e-13);
            }
        }
    }
}
