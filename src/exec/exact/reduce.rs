//! Sums and maxima over one axis.
//!
//! The shape of a sum depends on the number of its terms alone. Terms that lie side by side (`inner` = 1) are dealt to 16 lanes, term
//! `i` to lane `i mod 16`; a lane adds its terms in increasing order, and the lanes are joined in a tree: 8 and 8, 4 and 4, 2 and 2,
//! 1 and 1, lanes without a term left out. Terms with others between them are added in increasing order within chunks of 64,
//! and then the chunks in increasing order. Which of the two it is, the program says; how the terms lie in memory is another matter.

use super::float::{Float, max};
use super::simd::{Dispatch, Here, Path, Vector, Vectors, Work};
use super::spread::{Spread, spread, threads};
use crate::ir::Reduce;

const LANES: usize = 16;
const CHUNK: usize = 64;

/// How many rows of terms side by side are reduced together.
const TOGETHER: usize = 8;

/// A reduction of `[outer, size, inner]` to `[outer, inner]`; `size` is not 0. `adjacent` chooses the tree.
pub(super) struct Reduction<'a, T> {
    pub f: Reduce,
    pub adjacent: bool,
    pub data: &'a [T],
    pub size: usize,
    pub inner: usize,
    pub out: &'a mut [T],
}

/// Reductions of fewer entries are done by one thread.
const PARALLEL: usize = 1 << 18;

impl<T: Vectors> Reduction<'_, T> {
    /// Reduces; many entries on all threads of the pool.
    pub fn run(self, path: Path) {
        let Reduction { f, adjacent, data, size, inner, out } = self;
        spread(Part { path, f, adjacent, data, size, inner, pitch: inner, out }, threads(data.len(), PARALLEL));
    }
}

/// Some of the rows, or some of the columns of the only row: these are `pitch` apart in memory.
struct Part<'a, T> {
    path: Path,
    f: Reduce,
    adjacent: bool,
    data: &'a [T],
    size: usize,
    inner: usize,
    pitch: usize,
    out: &'a mut [T],
}

impl<T: Vectors> Spread for Part<'_, T> {
    fn parts(&self) -> usize {
        let rows = self.out.len() / self.inner;
        if rows > 1 { rows } else { self.inner.div_ceil(BLOCK) }
    }

    fn cut(self, first: usize) -> (Self, Self) {
        let Part { path, f, adjacent, data, size, inner, pitch, out } = self;
        let (place, from, inners) = if out.len() > inner {
            (first * inner, first * size * pitch, (inner, inner))
        } else {
            (first * BLOCK, first * BLOCK, (first * BLOCK, inner - first * BLOCK))
        };
        let (before, after) = out.split_at_mut(place);
        let left = Part { path, f, adjacent, data, size, inner: inners.0, pitch, out: before };
        (left, Part { path, f, adjacent, data: &data[from..], size, inner: inners.1, pitch, out: after })
    }

    fn work(self) {
        self.path.run(self);
    }
}

impl<T: Vectors> Work<T> for Part<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self, _here: Here<V>) {
        match self.f {
            Reduce::Sum => self.with(T::add),
            Reduce::Max => self.with(max),
        }
    }
}

impl<T: Float> Part<'_, T> {
    #[inline(always)]
    fn with(self, join: impl Fn(T, T) -> T + Copy) {
        if self.adjacent && self.pitch == 1 && self.size >= LANES {
            let (blocks, rest) = self.out.as_chunks_mut::<TOGETHER>();
            let (some, others) = self.data.split_at(blocks.len() * TOGETHER * self.size);
            for (to, terms) in blocks.iter_mut().zip(some.chunks_exact(TOGETHER * self.size)) {
                *to = lanes(terms, self.size, join);
            }
            for (to, terms) in rest.iter_mut().zip(others.chunks_exact(self.size)) {
                [*to] = lanes(terms, self.size, join);
            }
            return;
        }
        if self.adjacent && self.pitch == 1 {
            for (to, terms) in self.out.iter_mut().zip(self.data.chunks_exact(self.size)) {
                *to = few(terms, join);
            }
            return;
        }
        for (to, rows) in self.out.chunks_exact_mut(self.inner).zip(self.data.chunks(self.size * self.pitch)) {
            if self.adjacent {
                trees(rows, self.size, self.pitch, to, join);
            } else {
                columns(rows, self.size, self.pitch, to, join);
            }
        }
    }
}

// Closures that the compiler leaves a function of their own lose the vectors of the path, so that the inner loops have none.

/// Rows of terms side by side, at least as many as there are lanes; several rows together, so that none waits for another.
#[inline(always)]
fn lanes<T: Float, const ROWS: usize>(rows: &[T], size: usize, join: impl Fn(T, T) -> T + Copy) -> [T; ROWS] {
    let mut lane = [[T::ZERO; LANES]; ROWS];
    for (lane, terms) in lane.iter_mut().zip(rows.chunks_exact(size)) {
        let (first, terms) = terms.split_first_chunk::<LANES>().expect("as many terms as lanes");
        let (whole, rest) = terms.as_chunks::<LANES>();
        let mut sum = *first;
        for terms in whole {
            for i in 0..LANES {
                sum[i] = join(sum[i], terms[i]);
            }
        }
        *lane = sum;
        for (l, &x) in lane.iter_mut().zip(rest) {
            *l = join(*l, x);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in &mut lane {
            for i in 0..half {
                lane[i] = join(lane[i], lane[half + i]);
            }
        }
        half /= 2;
    }
    let mut out = [T::ZERO; ROWS];
    for (to, lane) in out.iter_mut().zip(&lane) {
        *to = lane[0];
    }
    out
}

/// Fewer terms than there are lanes.
#[inline(always)]
fn few<T: Float>(terms: &[T], join: impl Fn(T, T) -> T + Copy) -> T {
    let mut lane = [T::ZERO; LANES];
    lane[..terms.len()].copy_from_slice(terms);
    let (mut width, mut filled) = (LANES, terms.len());
    while width > 1 {
        width /= 2;
        for i in 0..filled.saturating_sub(width).min(width) {
            lane[i] = join(lane[i], lane[width + i]);
        }
        filled = filled.min(width);
    }
    lane[0]
}

/// How many columns have their lanes in the nearest cache at once.
const NARROW: usize = 16;

/// `size` rows of terms, `pitch` apart, every column joined like terms side by side.
#[inline(always)]
fn trees<T: Float>(rows: &[T], size: usize, pitch: usize, out: &mut [T], join: impl Fn(T, T) -> T + Copy) {
    let mut first = 0;
    while first < out.len() {
        let width = NARROW.min(out.len() - first);
        if width == NARROW && size >= LANES / 2 {
            let mut eight = [[T::ZERO; NARROW]; LANES / 2];
            for (l, to) in eight.iter_mut().enumerate() {
                *to = lane(rows, (l, size), pitch, first, join);
                if l + LANES / 2 < size {
                    *to = joined(*to, &lane(rows, (l + LANES / 2, size), pitch, first, join), join);
                }
            }
            let mut half = LANES / 4;
            while half > 0 {
                for l in 0..half {
                    eight[l] = joined(eight[l], &eight[l + half], join);
                }
                half /= 2;
            }
            out[first..first + NARROW].copy_from_slice(&eight[0]);
            first += NARROW;
            continue;
        }
        let mut lanes = [[T::ZERO; NARROW]; LANES];
        let filled = size.min(LANES);
        for i in 0..size {
            let row = &rows[i * pitch + first..][..width];
            if i < LANES {
                lanes[i][..width].copy_from_slice(row);
            } else {
                for (l, &x) in lanes[i % LANES].iter_mut().zip(row) {
                    *l = join(*l, x);
                }
            }
        }
        let (mut half, mut left) = (LANES, filled);
        while half > 1 {
            half /= 2;
            let (to, others) = lanes.split_at_mut(half);
            for (to, other) in to.iter_mut().zip(others).take(left.saturating_sub(half)) {
                *to = joined(*to, other, join);
            }
            left = left.min(half);
        }
        out[first..first + width].copy_from_slice(&lanes[0][..width]);
        first += width;
    }
}

/// The terms of a lane of [`NARROW`] columns, added in order: those of row `l` of `size`, and of every 16th one behind it.
#[inline(always)]
fn lane<T: Float>(
    rows: &[T],
    (l, size): (usize, usize),
    pitch: usize,
    first: usize,
    join: impl Fn(T, T) -> T + Copy,
) -> [T; NARROW] {
    let mut sum: [T; NARROW] = *block(rows, l * pitch + first);
    let mut i = l + LANES;
    while i < size {
        sum = joined(sum, block(rows, i * pitch + first), join);
        i += LANES;
    }
    sum
}

/// So many entries from a place on.
#[inline(always)]
pub(super) fn block<T, const N: usize>(entries: &[T], from: usize) -> &[T; N] {
    entries[from..from + N].try_into().expect("a slice of that length")
}

/// Some terms, each joined with its partner.
#[inline(always)]
pub(super) fn joined<T: Float, const N: usize>(
    mut terms: [T; N],
    partners: &[T; N],
    join: impl Fn(T, T) -> T,
) -> [T; N] {
    for i in 0..N {
        terms[i] = join(terms[i], partners[i]);
    }
    terms
}

/// How many columns are added up in registers at once.
const BLOCK: usize = 32;

/// `size` rows of terms, `pitch` apart, added column by column.
#[inline(always)]
fn columns<T: Float>(rows: &[T], size: usize, pitch: usize, out: &mut [T], join: impl Fn(T, T) -> T + Copy) {
    let inner = out.len();
    let mut first = 0;
    while first + BLOCK <= inner {
        let mut total = [T::ZERO; BLOCK];
        for chunk in (0..size).step_by(CHUNK) {
            let mut sum: [T; BLOCK] = *block(rows, chunk * pitch + first);
            for i in chunk + 1..(chunk + CHUNK).min(size) {
                sum = joined(sum, block(rows, i * pitch + first), join);
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
            let mut sum = rows[chunk * pitch + c];
            for i in chunk + 1..(chunk + CHUNK).min(size) {
                sum = join(sum, rows[i * pitch + c]);
            }
            total = if chunk == 0 { sum } else { join(total, sum) };
        }
        out[c] = total;
    }
}

#[cfg(test)]
mod tests {
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
                for (path, adjacent) in Path::available().into_iter().flat_map(|p| [(p, true), (p, false)]) {
                    let mut out = vec![0.0; 2 * inner];
                    Reduction { f: Reduce::Sum, adjacent, data: &data, size, inner, out: &mut out }.run(path);
                    for (at, found) in out.iter().enumerate() {
                        let (o, i) = (at / inner, at % inner);
                        let terms: Vec<f64> = (0..size).map(|s| data[(o * size + s) * inner + i]).collect();
                        let wanted = if adjacent { tree(&terms) } else { chunks(&terms) };
                        let what = format!("{size} terms, inner {inner}, {adjacent}, {}", path.name());
                        assert_eq!(found.to_bits(), wanted.to_bits(), "{what}");
                    }
                }
            }
        }
    }
}
