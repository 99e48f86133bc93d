//! Bases of column spaces and the angle between two of them.

use super::{Matrix, dot, symmetric_eigenvalues};

/// An orthonormal basis of the column space of a matrix `[d, k]`: as many vectors of length `d` as its rank.
///
/// Gram-Schmidt in the order of the columns, each orthogonalised twice, which keeps the vectors orthogonal to a few
/// ulp (Giraud, Langou, Rozloznik, van den Eshof, Numerische Mathematik 101, 2005). A column counts as dependent on
/// those before it when less than `16 max(d, k)` ulp of it remains. `k` vectors of NaN where the matrix holds a
/// non-finite value.
pub fn orthonormal_basis(matrix: Matrix) -> Vec<Vec<f64>> {
    let (d, k) = (matrix.rows, matrix.cols);
    if !matrix.is_finite() {
        return vec![vec![f64::NAN; d]; k];
    }
    let negligible = 16.0 * d.max(k) as f64 * f64::EPSILON;
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(d.min(k));
    for j in 0..k {
        if basis.len() == d {
            break;
        }
        let mut column = matrix.column(j);
        // The direction alone matters; without its size no square overflows or vanishes.
        let scale = column.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        if scale == 0.0 {
            continue;
        }
        column.iter_mut().for_each(|x| *x /= scale);
        let before = dot(&column, &column).sqrt();
        remove_components(&mut column, &basis);
        if dot(&column, &column).sqrt() <= negligible * before {
            continue;
        }
        remove_components(&mut column, &basis);
        let norm = dot(&column, &column).sqrt();
        column.iter_mut().for_each(|x| *x /= norm);
        basis.push(column);
    }
    basis
}

/// The distance of two column spaces, `a` of a matrix `[d, k]` and `b` of one `[d, l]`: the sine of the largest
/// principal angle, `|| (I - Qa Qa^T) Qb ||_2` with orthonormal bases `Qa`, `Qb`; absolute accuracy a few ulp of 1.
///
/// 0 where `a` holds all of `b`, 1 where some direction of `b` is orthogonal to `a`; symmetric for `k = l`. Where the
/// columns of `b` are dependent the distance is 1: a direction that collapsed is not one that was found. NaN where a
/// matrix holds a non-finite value. The measure of Collins et al., ICML 2021 (FedRep), definition 1.
pub fn subspace_distance(a: Matrix, b: Matrix) -> f64 {
    match missed(a, b) {
        Some(residuals) => {
            let l = residuals.len();
            let gram: Vec<f64> = (0..l * l).map(|at| dot(&residuals[at / l], &residuals[at % l])).collect();
            let largest = symmetric_eigenvalues(Matrix::new(l, l, &gram)).last().copied().unwrap_or(0.0);
            largest.clamp(0.0, 1.0).sqrt()
        }
        None => collapsed(a, b, 1.0),
    }
}

/// The chordal distance of two column spaces: the root of the sum of the squared sines of all principal angles,
/// `|| (I - Qa Qa^T) Qb ||_F`, from 0 to the root of `l`. Else as [`subspace_distance`], which is its spectral
/// counterpart; dependent columns of `b` give the largest distance.
pub fn chordal_distance(a: Matrix, b: Matrix) -> f64 {
    match missed(a, b) {
        Some(residuals) => residuals.iter().map(|r| dot(r, r)).sum::<f64>().sqrt(),
        None => collapsed(a, b, (b.cols as f64).sqrt()),
    }
}

/// What an orthonormal basis of `b` has outside of the column space of `a`; `None` where `b` has no such basis.
fn missed(a: Matrix, b: Matrix) -> Option<Vec<Vec<f64>>> {
    assert_eq!(a.rows, b.rows, "two subspaces of one space");
    if !a.is_finite() || !b.is_finite() {
        return None;
    }
    let span = orthonormal_basis(a);
    let mut residuals = orthonormal_basis(b);
    if residuals.len() < b.cols {
        return None;
    }
    // The residual itself, not 1 - cos^2: the latter cannot see a sine below 1e-8.
    residuals.iter_mut().for_each(|r| remove_components(r, &span));
    Some(residuals)
}

/// The distance where there is no basis to compare: the farthest for dependent columns, NaN after a divergence.
fn collapsed(a: Matrix, b: Matrix, farthest: f64) -> f64 {
    if a.is_finite() && b.is_finite() { farthest } else { f64::NAN }
}

/// Subtracts from `vector` its component along each vector of an orthonormal basis, one after the other.
pub(super) fn remove_components(vector: &mut [f64], basis: &[Vec<f64>]) {
    for q in basis {
        let along = dot(vector, q);
        vector.iter_mut().zip(q).for_each(|(v, x)| *v -= along * x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, law};
    use proptest::prelude::*;

    fn normal(seed: u64, d: usize, k: usize) -> Vec<f64> {
        let mut data = vec![0.0; d * k];
        Stream::new(seed, &["m"]).fill_normal(&mut data);
        data
    }

    /// `a @ m` for `a` `[d, k]` and `m` `[k, l]`.
    fn product(d: usize, k: usize, l: usize, a: &[f64], m: &[f64]) -> Vec<f64> {
        (0..d * l).map(|at| (0..k).map(|i| a[at / l * k + i] * m[i * l + at % l]).sum()).collect()
    }

    fn assert_orthonormal(basis: &[Vec<f64>]) {
        for (i, a) in basis.iter().enumerate() {
            for (j, b) in basis.iter().enumerate() {
                assert!((dot(a, b) - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn nearly_dependent_columns_give_orthonormal_vectors() {
        for tiny in [1e-4, 1e-8, 1e-12] {
            let basis = orthonormal_basis(Matrix::new(3, 3, &[1.0, 1.0, 1.0, 0.0, tiny, 0.0, 0.0, 0.0, tiny]));
            assert_eq!(basis.len(), 3);
            assert_orthonormal(&basis);
        }
    }

    #[test]
    fn rank_is_the_number_of_vectors() {
        let rank = |rows, cols, data: &[f64]| orthonormal_basis(Matrix::new(rows, cols, data)).len();
        assert_eq!(rank(2, 2, &[0.0; 4]), 0);
        assert_eq!(rank(2, 2, &[0.1, 0.3, 0.7, 2.1]), 1);
        assert_eq!(rank(2, 3, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), 2);
        assert_eq!(rank(2, 2, &[1e-300, 1e300, -1e-300, 1e300]), 2);
        let low = product(8, 2, 5, &normal(1, 8, 2), &normal(2, 2, 5));
        assert_eq!(rank(8, 5, &low), 2);
    }

    #[test]
    fn known_angles() {
        for angle in [0.0, 1e-15, 1e-12, 1e-8, 1e-3, 0.5, std::f64::consts::FRAC_PI_2] {
            let b = [2.0 * angle.cos(), 2.0 * angle.sin()];
            let distance = subspace_distance(Matrix::new(2, 1, &[3.0, 0.0]), Matrix::new(2, 1, &b));
            assert!((distance - angle.sin()).abs() < 1e-16 * 4.0, "{angle}: {distance}");
        }
    }

    #[test]
    fn the_largest_of_two_angles_counts() {
        // span(e1, e2) against span(cos s e1 + sin s e3, cos t e2 + sin t e4).
        let (s, t) = (0.3f64, 0.7f64);
        let a = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let b = [s.cos(), 0.0, 0.0, t.cos(), s.sin(), 0.0, 0.0, t.sin()];
        let distance = subspace_distance(Matrix::new(4, 2, &a), Matrix::new(4, 2, &b));
        assert!((distance - t.sin()).abs() < 1e-15);
        let chordal = chordal_distance(Matrix::new(4, 2, &a), Matrix::new(4, 2, &b));
        assert!((chordal - (s.sin() * s.sin() + t.sin() * t.sin()).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn collapse_is_far_and_divergence_is_nan() {
        let truth = normal(1, 5, 2);
        let zero = [0.0; 10];
        let (truth, zero) = (Matrix::new(5, 2, &truth), Matrix::new(5, 2, &zero));
        assert_eq!(subspace_distance(zero, truth), 1.0);
        assert_eq!(subspace_distance(truth, zero), 1.0);
        assert_eq!(chordal_distance(truth, zero), 2f64.sqrt());
        let broken = [f64::NAN; 10];
        assert!(subspace_distance(Matrix::new(5, 2, &broken), truth).is_nan());
        assert!(subspace_distance(truth, Matrix::new(5, 2, &broken)).is_nan());
        assert!(chordal_distance(truth, Matrix::new(5, 2, &broken)).is_nan());
    }

    proptest! {
        #[test]
        fn a_change_of_basis_is_no_distance(seed: u64, d in 3usize..12, k in 1usize..4) {
            let a = law::stiefel(&Stream::new(seed, &["a"]), d, k).unwrap();
            let turn = law::stiefel(&Stream::new(seed, &["turn"]), k, k).unwrap();
            let b = product(d, k, k, &a, &turn);
            prop_assert!(subspace_distance(Matrix::new(d, k, &a), Matrix::new(d, k, &b)) < 1e-14);
        }

        #[test]
        fn symmetric_and_within_one(seed: u64, d in 4usize..12, k in 1usize..4) {
            let (a, b) = (normal(seed, d, k), normal(seed ^ 1, d, k));
            let (a, b) = (Matrix::new(d, k, &a), Matrix::new(d, k, &b));
            let (ab, ba) = (subspace_distance(a, b), subspace_distance(b, a));
            prop_assert!((ab - ba).abs() < 1e-13 && (0.0..=1.0).contains(&ab));
        }

        #[test]
        fn a_larger_space_holds_its_part(seed: u64, d in 4usize..12) {
            let a = normal(seed, d, 3);
            let part: Vec<f64> = a.chunks(3).flat_map(|row| [row[0] + row[1], row[2]]).collect();
            let (a, part) = (Matrix::new(d, 3, &a), Matrix::new(d, 2, &part));
            prop_assert!(subspace_distance(a, part) < 1e-13);
            prop_assert!(subspace_distance(part, a) > 0.99);
        }
    }
}
