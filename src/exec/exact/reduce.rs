//! Sums and maxima over one axis.
//!
//! The shape of a sum depends on the number of its terms alone. Terms that lie side by side (`inner` = 1) are dealt to 16 lanes, term
//! `i` to lane `i mod 16`; a lane adds its terms in increasing order, and the lanes are joined in a tree: 8 and 8, 4 and 4, 2 and 2,
//! 1 and 1, lanes without a term left out. Terms with others between them are added in increasing order within chunks of 64,
//! and then the chunks in increasing order.

use super::float::{Float, max};
use super::simd::{Here, Vector, Vectors, Work};
use crate::ir::Reduce;

const LANES: usize = 16;
const CHUNK: usize = 64;

/// A reduction of `[outer, size, inner]` to `[outer, inner]`; `size` is not 0.
pub(super) struct Reduction<'a, T> {
    pub f: Reduce,
    pub data: &'a [T],
    pub size: usize,
    pub inner: usize,
    pub out: &'a mut [T],
}

impl<T: Vectors> Work<T> for Reduction<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self, _here: Here<V>) {
        match self.f {
            Reduce::Sum => self.with(T::add),
            Reduce::Max => self.with(max),
        }
    }
}

impl<T: Float> Reduction<'_, T> {
    #[inline(always)]
    fn with(self, join: impl Fn(T, T) -> T + Copy) {
        if self.inner == 1 {
            for (to, terms) in self.out.iter_mut().zip(self.data.chunks_exact(self.size)) {
                *to = lanes(terms, join);
            }
            return;
        }
        for (to, rows) in self.out.chunks_exact_mut(self.inner).zip(self.data.chunks_exact(self.size * self.inner)) {
            columns(rows, to, join);
        }
    }
}

/// Terms side by side.
#[inline(always)]
fn lanes<T: Float>(terms: &[T], join: impl Fn(T, T) -> T + Copy) -> T {
    let mut lane = [T::ZERO; LANES];
    let filled = terms.len().min(LANES);
    lane[..filled].copy_from_slice(&terms[..filled]);
    let mut rows = terms[filled..].chunks_exact(LANES);
    for row in &mut rows {
        lane.iter_mut().zip(row).for_each(|(l, &x)| *l = join(*l, x));
    }
    lane.iter_mut().zip(rows.remainder()).for_each(|(l, &x)| *l = join(*l, x));
    let (mut width, mut filled) = (LANES, filled);
    while width > 1 {
        width /= 2;
        for i in 0..filled.saturating_sub(width).min(width) {
            lane[i] = join(lane[i], lane[width + i]);
        }
        filled = filled.min(width);
    }
    lane[0]
}

/// How many columns are added up in registers at once.
const BLOCK: usize = 32;

/// Rows of terms, added column by column.
#[inline(always)]
fn columns<T: Float>(rows: &[T], out: &mut [T], join: impl Fn(T, T) -> T + Copy) {
    let inner = out.len();
    let size = rows.len() / inner;
    let mut first = 0;
    while first + BLOCK <= inner {
        let mut total = [T::ZERO; BLOCK];
        for chunk in (0..size).step_by(CHUNK) {
            let row = |i: usize| -> &[T; BLOCK] {
                rows[i * inner + first..i * inner + first + BLOCK].try_into().expect("a slice of that length")
            };
            let mut sum = *row(chunk);
            for i in chunk + 1..(chunk + CHUNK).min(size) {
                let row = row(i);
                for c in 0..BLOCK {
                    sum[c] = join(sum[c], row[c]);
                }
            }
            for c in 0..BLOCK {
                total[c] = if chunk == 0 { sum[c] } else { join(total[c], sum[c]) };
            }
        }
        out[first..first + BLOCK].copy_from_slice(&total);
        first += BLOCK;
    }
    for c in first..inner {
        let mut total = T::ZERO;
        for chunk in (0..size).step_by(CHUNK) {
            let mut sum = rows[chunk * inner + c];
            for i in chunk + 1..(chunk + CHUNK).min(size) {
                sum = join(sum, rows[i * inner + c]);
            }
            total = if chunk == 0 { sum } else { join(total, sum) };
        }
        out[c] = total;
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::Path;
    use super::*;

    /// The tree as the text above says it.
    fn tree(terms: &[f64]) -> f64 {
        let mut lanes: Vec<Option<f64>> =
            (0..16).map(|l| terms.iter().skip(l).step_by(16).copied().reduce(|a, b| a + b)).collect();
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            lanes = (0..half)
                .map(|i| match (lanes[i], lanes[half + i]) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, _) => a,
                })
                .collect();
        }
        lanes[0].expect("a term")
    }

    fn chunks(terms: &[f64]) -> f64 {
        terms
            .chunks(64)
            .map(|c| c.iter().copied().reduce(|a, b| a + b).expect("a term"))
            .reduce(|a, b| a + b)
            .expect("a chunk")
    }

    #[test]
    fn sums_have_the_shape_that_is_promised() {
        for size in (1..70).chain([127, 128, 129, 1000]) {
            for inner in [1, 2, 31, 32, 33, 70] {
                let data: Vec<f64> =
                    (0..2 * size * inner).map(|i| (i as f64 * 0.7).sin() * 1e3f64.powi(i as i32 % 3)).collect();
                for path in Path::available() {
                    let mut out = vec![0.0; 2 * inner];
                    path.run(Reduction { f: Reduce::Sum, data: &data, size, inner, out: &mut out });
                    for (at, found) in out.iter().enumerate() {
                        let (o, i) = (at / inner, at % inner);
                        let terms: Vec<f64> = (0..size).map(|s| data[(o * size + s) * inner + i]).collect();
                        let wanted = if inner == 1 { tree(&terms) } else { chunks(&terms) };
                        assert_eq!(found.to_bits(), wanted.to_bits(), "{size} terms, inner {inner}, {}", path.name());
                    }
                }
            }
        }
    }
}
