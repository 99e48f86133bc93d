//! Singular values of matrices, and the numbers that are read off them.

use super::{Matrix, dot, orthonormal_basis, remove_components};

/// The singular values of a matrix `[d, k]`, descending, `min(d, k)` of them; small ones to about `max(d, k)` ulp of
/// the largest. All NaN where an element is not finite.
///
/// One-sided Jacobi (Hestenes): the shorter side's vectors are turned in pairs until all are orthogonal. Unlike the
/// eigenvalues of the Gram matrix it resolves values below 1e-8 of the largest. Golub and Van Loan, Matrix
/// Computations (4th ed.), section 8.6.3.
pub fn singular_values(matrix: Matrix) -> Vec<f64> {
    let count = matrix.rows.min(matrix.cols);
    if !matrix.is_finite() {
        return vec![f64::NAN; count];
    }
    // Largest element 1: no square overflows.
    let scale = matrix.data.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    if scale == 0.0 {
        return vec![0.0; count];
    }
    let mut vectors: Vec<Vec<f64>> = if matrix.cols <= matrix.rows {
        (0..matrix.cols).map(|j| matrix.column(j)).collect()
    } else {
        matrix.data.chunks(matrix.cols).map(<[f64]>::to_vec).collect()
    };
    vectors.iter_mut().flatten().for_each(|x| *x /= scale);
    // Convergence is quadratic: ten sweeps are rarely needed, and the bound only guards against an endless loop.
    for _ in 0..60 {
        let mut turned = false;
        for q in 1..count {
            for p in 0..q {
                let (head, tail) = vectors.split_at_mut(q);
                turned |= orthogonalise(&mut head[p], &mut tail[0]);
            }
        }
        if !turned {
            break;
        }
    }
    let mut values: Vec<f64> = vectors.iter().map(|v| dot(v, v).sqrt() * scale).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// Turns two vectors within their plane so that they are orthogonal; whether they were not.
fn orthogonalise(a: &mut [f64], b: &mut [f64]) -> bool {
    let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
    if ab.abs() <= f64::EPSILON * (aa * bb).sqrt() {
        return false;
    }
    let zeta = (bb - aa) / (2.0 * ab);
    let t = 1.0f64.copysign(zeta) / (zeta.abs() + (zeta * zeta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for (x, y) in a.iter_mut().zip(b) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
    true
}

/// The spectral norm: the largest singular value.
pub fn spectral_norm(matrix: Matrix) -> f64 {
    singular_values(matrix).first().copied().unwrap_or(0.0)
}

/// The smallest singular value over the largest, in [0, 1]: the inverse of the condition number. 0 for the zero matrix.
pub fn inverse_condition(matrix: Matrix) -> f64 {
    match singular_values(matrix).as_slice() {
        [] | [0.0, ..] => 0.0,
        [largest, .., smallest] => smallest / largest,
        // A vector has one singular value.
        [_] => 1.0,
    }
}

/// The numerical rank: how many singular values are above `tolerance` times the largest. NaN where an element is not
/// finite.
pub fn numerical_rank(matrix: Matrix, tolerance: f64) -> f64 {
    let values = singular_values(matrix);
    match values.first() {
        Some(largest) if largest.is_nan() => f64::NAN,
        Some(&largest) => values.iter().filter(|&&x| x > tolerance * largest).count() as f64,
        None => 0.0,
    }
}

/// How much of a matrix `a` `[d, m]` lies in the column space of `b` `[d, r]` against how much lies outside:
/// `||P a||^2 / ||a - P a||^2` in Frobenius norms, for the orthogonal projection `P`. Infinite where nothing lies
/// outside, NaN for the zero matrix and for elements that are not finite.
///
/// Of isotropic columns it is about `r / (d - r)`. Collins et al., ICML 2024 (multi-task ReLU).
pub fn energy_ratio(a: Matrix, b: Matrix) -> f64 {
    assert_eq!(a.rows, b.rows, "two matrices with columns of one space");
    if !a.is_finite() || !b.is_finite() {
        return f64::NAN;
    }
    let basis = orthonormal_basis(b);
    let (mut inside, mut outside) = (0.0, 0.0);
    for j in 0..a.cols {
        let mut column = a.column(j);
        inside += basis.iter().map(|q| dot(q, &column)).map(|along| along * along).sum::<f64>();
        remove_components(&mut column, &basis);
        outside += dot(&column, &column);
    }
    inside / outside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, law};
    use proptest::prelude::*;

    /// `u diag(s) v^T` for orthonormal `u` `[d, n]`, `v` `[k, n]`.
    fn composed(d: usize, k: usize, s: &[f64]) -> Vec<f64> {
        let n = s.len();
        let u = law::stiefel(&Stream::new(1, &["u"]), d, n).unwrap();
        let v = law::stiefel(&Stream::new(1, &["v"]), k, n).unwrap();
        (0..d * k).map(|at| (0..n).map(|i| u[at / k * n + i] * s[i] * v[at % k * n + i]).sum()).collect()
    }

    #[test]
    fn known_values() {
        // numpy.linalg.svd([[3, 0], [4, 5]]): sqrt(45), sqrt(5).
        let values = singular_values(Matrix::new(2, 2, &[3.0, 0.0, 4.0, 5.0]));
        assert!((values[0] - 45f64.sqrt()).abs() < 1e-14 && (values[1] - 5f64.sqrt()).abs() < 1e-14, "{values:?}");
        let vector = [3.0, 4.0];
        assert_eq!(spectral_norm(Matrix::new(1, 2, &vector)), 5.0);
        assert_eq!(inverse_condition(Matrix::new(2, 1, &vector)), 1.0);
    }

    #[test]
    fn small_values_are_resolved() {
        let chosen = [2.0, 1e-5, 1e-11];
        for (d, k) in [(7, 3), (4, 9)] {
            let data = composed(d, k, &chosen);
            let values = singular_values(Matrix::new(d, k, &data));
            for (value, exact) in values.iter().zip(chosen) {
                assert!((value - exact).abs() < 1e-14, "{values:?}");
            }
            let rank = |tolerance| numerical_rank(Matrix::new(d, k, &data), tolerance);
            assert_eq!([rank(1e-3), rank(1e-8), rank(1e-13)], [1.0, 2.0, 3.0]);
        }
    }

    #[test]
    fn zero_and_divergence() {
        let zero = Matrix::new(2, 3, &[0.0; 6]);
        assert_eq!(singular_values(zero), [0.0, 0.0]);
        assert_eq!([spectral_norm(zero), inverse_condition(zero), numerical_rank(zero, 1e-6)], [0.0; 3]);
        assert_eq!(spectral_norm(Matrix::new(2, 2, &[1e300, 0.0, 0.0, 1e300])), 1e300);
        let broken = Matrix::new(2, 2, &[1.0, f64::INFINITY, 0.0, 1.0]);
        assert!(singular_values(broken).iter().all(|x| x.is_nan()));
        assert!(numerical_rank(broken, 1e-6).is_nan() && inverse_condition(broken).is_nan());
        assert!(energy_ratio(broken, zero_columns()).is_nan() && energy_ratio(zero_columns(), broken).is_nan());
    }

    fn zero_columns() -> Matrix<'static> {
        Matrix::new(2, 1, &[0.0; 2])
    }

    #[test]
    fn energy_inside_and_outside() {
        // Columns (3, 0, 4) and (0, 1, 0) against the plane of the first two axes: 9 + 1 inside, 16 outside.
        let a = [3.0, 0.0, 0.0, 1.0, 4.0, 0.0];
        let plane = [2.0, 1.0, 0.0, 5.0, 0.0, 0.0];
        let ratio = energy_ratio(Matrix::new(3, 2, &a), Matrix::new(3, 2, &plane));
        assert!((ratio - 10.0 / 16.0).abs() < 1e-15, "{ratio}");
        assert_eq!(energy_ratio(Matrix::new(3, 2, &plane), Matrix::new(3, 2, &plane)), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn squares_add_up_to_the_frobenius_norm(seed: u64, d in 1usize..9, k in 1usize..9) {
            let mut data = vec![0.0; d * k];
            Stream::new(seed, &["m"]).fill_normal(&mut data);
            let values = singular_values(Matrix::new(d, k, &data));
            prop_assert!(values.windows(2).all(|w| w[0] >= w[1]));
            let (sum, norm) = (dot(&values, &values), dot(&data, &data));
            prop_assert!((sum - norm).abs() <= 1e-13 * norm);
        }
    }
}
