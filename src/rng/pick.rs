//! Permutations and samples of indices.

use std::collections::BTreeMap;

use super::Stream;

impl Stream {
    /// Shuffles `items` uniformly: the Fisher-Yates shuffle on the draws 0, 1, 2, ...
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for (counter, i) in (1..items.len()).rev().enumerate() {
            items.swap(i, self.below(counter as u64, i + 1));
        }
    }

    /// `k` distinct indices of `0..n` in random order, on the draws `0..k`; all `n` of them where `k` exceeds `n`.
    ///
    /// The first `k` swaps of a forward Fisher-Yates shuffle, with only the displaced entries stored: O(k log k).
    pub fn sample_without_replacement(&self, n: usize, k: usize) -> Vec<usize> {
        let mut displaced = BTreeMap::new();
        let pick = |i: usize| {
            let j = i + self.below(i as u64, n - i);
            let at_i = displaced.get(&i).copied().unwrap_or(i);
            let at_j = displaced.get(&j).copied().unwrap_or(j);
            displaced.insert(j, at_i);
            at_j
        };
        (0..k.min(n)).map(pick).collect()
    }

    /// `k` independent indices of `0..n`, on the draws `0..k`; none where `n` is 0.
    pub fn sample_with_replacement(&self, n: usize, k: usize) -> Vec<usize> {
        let k = if n == 0 { 0 } else { k };
        (0..k).map(|i| self.below(i as u64, n)).collect()
    }

    /// `k` indices, each in proportion to its weight, on the draws `0..k`: independent ones with `replace`, otherwise one after the
    /// other from those that are left. Fewer where no weight above 0 is left. O(k n).
    pub fn sample_weighted(&self, weights: &[f64], k: usize, replace: bool) -> Vec<usize> {
        let mut left = weights.to_vec();
        let mut sample = Vec::with_capacity(k);
        while sample.len() < k {
            let total: f64 = left.iter().sum();
            // Rounding may leave the sum of all weights before the last one above it.
            let Some(last) = left.iter().rposition(|&w| w > 0.0) else { break };
            let mut at = self.uniform(sample.len() as u64) * total;
            let hit = left.iter().position(|&w| {
                let hit = at < w;
                at -= w;
                hit
            });
            let chosen = hit.unwrap_or(last);
            sample.push(chosen);
            if !replace {
                left[chosen] = 0.0;
            }
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_weighted_sample_follows_its_weights() {
        let weights = [1.0, 0.0, 2.0, 5.0];
        let stream = Stream::new(7, &["weighted"]);
        let sample = stream.sample_weighted(&weights, 8000, true);
        for (i, weight) in weights.iter().enumerate() {
            let share = sample.iter().filter(|&&s| s == i).count() as f64 / 8000.0;
            assert!((share - weight / 8.0).abs() < 0.02, "{i}: {share}");
        }
        for i in 0..100 {
            let mut sample = stream.child(i).sample_weighted(&weights, 3, false);
            sample.sort_unstable();
            assert_eq!(sample, [0, 2, 3], "without replacement, all that can be drawn are");
            assert_eq!(stream.child(i).sample_weighted(&weights, 9, false).len(), 3);
        }
        let first = |i| stream.child(i).sample_weighted(&weights, 2, false);
        let heavy = (0..2000).filter(|&i| first(i)[0] == 3).count() as f64 / 2000.0;
        assert!((heavy - 5.0 / 8.0).abs() < 0.04, "{heavy}");
    }

    #[test]
    fn every_permutation_is_as_likely() {
        let parent = Stream::new(0, &["shuffle"]);
        let mut counts: BTreeMap<[usize; 4], f64> = BTreeMap::new();
        for i in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            parent.child(i).shuffle(&mut items);
            *counts.entry(items).or_default() += 1.0;
        }
        assert_eq!(counts.len(), 24);
        let chi2: f64 = counts.values().map(|c| (c - 1000.0) * (c - 1000.0) / 1000.0).sum();
        assert!(chi2 < 49.7, "the 0.999 quantile of chi-squared with 23 degrees of freedom, found {chi2}");
    }

    #[test]
    fn every_ordered_sample_is_as_likely() {
        let parent = Stream::new(0, &["sample"]);
        let mut counts: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
        (0..20_000).for_each(|i| *counts.entry(parent.child(i).sample_without_replacement(5, 2)).or_default() += 1.0);
        assert_eq!(counts.len(), 20);
        let chi2: f64 = counts.values().map(|c| (c - 1000.0) * (c - 1000.0) / 1000.0).sum();
        assert!(chi2 < 43.8, "the 0.999 quantile of chi-squared with 19 degrees of freedom, found {chi2}");
    }

    #[test]
    fn edges() {
        let s = Stream::new(0, &["edges"]);
        s.shuffle::<usize>(&mut []);
        assert!(s.sample_with_replacement(0, 5).is_empty());
        assert!(s.sample_without_replacement(0, 5).is_empty());
        assert_eq!(s.sample_without_replacement(usize::MAX, 3).len(), 3);
        assert_eq!(s.sample_with_replacement(3, 100).iter().max(), Some(&2));
    }

    proptest! {
        #[test]
        fn a_sample_without_replacement_has_no_repeats(seed: u64, n in 0usize..60, k in 0usize..80) {
            let mut sample = Stream::new(seed, &[]).sample_without_replacement(n, k);
            prop_assert_eq!(sample.len(), k.min(n));
            sample.sort_unstable();
            sample.dedup();
            prop_assert_eq!(sample.len(), k.min(n));
            prop_assert!(sample.iter().all(|&i| i < n));
        }

        #[test]
        fn a_shuffle_keeps_the_items(seed: u64, n in 0usize..60) {
            let mut items: Vec<usize> = (0..n).collect();
            Stream::new(seed, &[]).shuffle(&mut items);
            items.sort_unstable();
            prop_assert_eq!(items, (0..n).collect::<Vec<_>>());
        }
    }
}
