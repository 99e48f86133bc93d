//! Euclidean projection onto the probability simplex.

/// The point of the simplex `{x >= 0, sum x = 1}` nearest to `y`. Empty for empty `y`; all NaN where `y` holds a
/// non-finite value. O(n log n).
///
/// Wang and Carreira-Perpinan: Projection onto the probability simplex, arXiv:1309.1541, 2013, algorithm 1.
pub fn simplex_projection(y: &[f64]) -> Vec<f64> {
    if y.iter().any(|v| !v.is_finite()) {
        return vec![f64::NAN; y.len()];
    }
    // The projection does not change when all entries shift; the largest at zero keeps the sums small.
    let largest = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shifted: Vec<f64> = y.iter().map(|v| v - largest).collect();
    let mut descending = shifted.clone();
    descending.sort_by(|a, b| b.total_cmp(a));

    let mut sum = 0.0;
    let mut threshold = 0.0;
    for (i, v) in descending.iter().enumerate() {
        sum += v;
        let candidate = (1.0 - sum) / (i + 1) as f64;
        if v + candidate <= 0.0 {
            break;
        }
        threshold = candidate;
    }
    shifted.iter().map(|v| (v + threshold).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::simplex_projection;
    use proptest::prelude::*;

    /// The threshold by bisection of the monotone function `sum max(y + t, 0) - 1`.
    fn by_bisection(y: &[f64]) -> Vec<f64> {
        let largest = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut low, mut high) = (-largest, 1.0 - largest);
        for _ in 0..200 {
            let t = 0.5 * (low + high);
            if y.iter().map(|v| (v + t).max(0.0)).sum::<f64>() > 1.0 { high = t } else { low = t }
        }
        y.iter().map(|v| (v + low).max(0.0)).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_bisection(y in prop::collection::vec(-3.0..3.0f64, 1..40)) {
            let x = simplex_projection(&y);
            prop_assert!((x.iter().sum::<f64>() - 1.0).abs() < 1e-13);
            for (a, b) in x.iter().zip(by_bisection(&y)) {
                prop_assert!((a - b).abs() < 1e-13);
            }
        }

        #[test]
        fn no_point_of_the_simplex_is_nearer(
            y in prop::collection::vec(-2.0..2.0f64, 5),
            other in prop::collection::vec(0.01..1.0f64, 5),
        ) {
            let total: f64 = other.iter().sum();
            let distance = |x: &[f64]| x.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            let other: Vec<f64> = other.iter().map(|v| v / total).collect();
            prop_assert!(distance(&simplex_projection(&y)) <= distance(&other) + 1e-12);
        }

        #[test]
        fn a_point_of_the_simplex_stays(y in prop::collection::vec(0.01..1.0f64, 1..20)) {
            let total: f64 = y.iter().sum();
            let point: Vec<f64> = y.iter().map(|v| v / total).collect();
            for (a, b) in simplex_projection(&point).iter().zip(&point) {
                prop_assert!((a - b).abs() < 1e-15 * 8.0);
            }
        }
    }

    #[test]
    fn edges() {
        assert!(simplex_projection(&[]).is_empty());
        assert_eq!(simplex_projection(&[-7.0]), [1.0]);
        assert_eq!(simplex_projection(&[3.0, 3.0, 0.0]), [0.5, 0.5, 0.0]);
        assert_eq!(simplex_projection(&[f64::MAX, -f64::MAX, 0.0]), [1.0, 0.0, 0.0]);
        assert!(simplex_projection(&[0.0, f64::NAN]).iter().all(|x| x.is_nan()));
        assert!(simplex_projection(&[0.0, f64::INFINITY]).iter().all(|x| x.is_nan()));
    }
}
