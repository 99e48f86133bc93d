//! Summaries of a list of numbers. Each is NaN for an empty list and for a list that holds a NaN.

/// The arithmetic mean, summed from the first to the last.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation with divisor `n`: of the values as the whole population.
pub fn population_std(values: &[f64]) -> f64 {
    std_with_divisor(values, values.len() as f64)
}

/// The standard deviation with divisor `n - 1`: of the law the values were drawn from. NaN for a single value.
pub fn sample_std(values: &[f64]) -> f64 {
    std_with_divisor(values, values.len() as f64 - 1.0)
}

/// Two passes: the squares of the values themselves would cancel.
fn std_with_divisor(values: &[f64], divisor: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let centre = mean(values);
    (values.iter().map(|x| (x - centre) * (x - centre)).sum::<f64>() / divisor).sqrt()
}

/// The least-squares slope of `ys` against `xs`; NaN where fewer than two distinct `xs` are given.
pub fn slope(xs: &[f64], ys: &[f64]) -> f64 {
    let (x, y) = (mean(xs), mean(ys));
    let across: f64 = xs.iter().zip(ys).map(|(a, b)| (a - x) * (b - y)).sum();
    let spread: f64 = xs.iter().map(|a| (a - x) * (a - x)).sum();
    across / spread
}

/// The median: the middle value, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The quantile at `q` in [0, 1]; NaN for any other `q`.
///
/// Linear interpolation between the order statistics at `(n - 1) q`: type 7 of Hyndman and Fan, The American
/// Statistician 50(4), 1996, the default of NumPy and R.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    if values.is_empty() || values.iter().any(|x| x.is_nan()) || !(0.0..=1.0).contains(&q) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() - 1) as f64 * q;
    let below = place.floor() as usize;
    let between = place - below as f64;
    let low = sorted[below];
    match sorted.get(below + 1) {
        // Equal infinities must not meet in a difference, nor infinity a weight of zero.
        Some(&high) if between > 0.0 && high != low => low + (high - low) * between,
        _ => low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_lists() {
        let v = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(mean(&v), 2.5);
        assert_eq!(median(&v), 2.5);
        assert_eq!(median(&[5.0, 1.0, 3.0]), 3.0);
        assert_eq!(population_std(&v), 1.25f64.sqrt());
        assert_eq!(sample_std(&v), (5.0f64 / 3.0).sqrt());
        assert_eq!(quantile(&v, 0.0), 1.0);
        assert_eq!(quantile(&v, 1.0), 4.0);
        // numpy.quantile([4, 1, 3, 2], 0.4) = 2.2
        assert!((quantile(&v, 0.4) - 2.2).abs() < 1e-15);
    }

    #[test]
    fn a_line_has_its_slope() {
        assert_eq!(slope(&[0.0, 1.0, 3.0], &[1.0, 3.0, 7.0]), 2.0);
        // numpy.polyfit([0, 1, 2], [0, 1, 0.5], 1)[0] = 0.25
        assert_eq!(slope(&[0.0, 1.0, 2.0], &[0.0, 1.0, 0.5]), 0.25);
        assert!(slope(&[1.0, 1.0], &[0.0, 1.0]).is_nan());
    }

    #[test]
    fn nan_in_nan_out() {
        for f in [mean, median, population_std, sample_std] {
            assert!(f(&[]).is_nan());
            assert!(f(&[1.0, f64::NAN, 2.0]).is_nan());
        }
        assert!(sample_std(&[1.0]).is_nan());
        assert_eq!(population_std(&[1.0]), 0.0);
        for q in [-0.1, 1.1, f64::NAN] {
            assert!(quantile(&[1.0, 2.0], q).is_nan());
        }
    }

    #[test]
    fn infinity_is_ordered() {
        let v = [f64::INFINITY, 1.0, 2.0, f64::INFINITY];
        assert_eq!(quantile(&v, 0.0), 1.0);
        assert_eq!(median(&v), f64::INFINITY);
        assert_eq!(quantile(&v, 1.0), f64::INFINITY);
        assert_eq!(quantile(&v, 1.0 / 3.0), 2.0);
    }

    #[test]
    fn a_large_offset_does_not_cancel() {
        let v = [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0];
        assert_eq!(sample_std(&v), 30f64.sqrt());
    }

    proptest! {
        #[test]
        fn quantile_has_its_share_on_each_side(v in prop::collection::vec(-9.0..9.0f64, 1..30), q in 0.0..=1.0f64) {
            let x = quantile(&v, q);
            let place = (v.len() - 1) as f64 * q;
            prop_assert!(v.iter().filter(|y| **y < x).count() as f64 <= place.floor() + 1.0);
            prop_assert!(v.iter().filter(|y| **y <= x + 1e-12).count() as f64 >= place.floor() + 1.0);
        }

        #[test]
        fn median_splits_the_list(v in prop::collection::vec(-9.0..9.0f64, 1..30)) {
            let mirrored: Vec<f64> = v.iter().map(|x| -x).collect();
            prop_assert!((median(&v) + median(&mirrored)).abs() < 1e-14);
        }
    }
}
