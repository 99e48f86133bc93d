//! What windows cover: overlapping entries are added where they lie. Every entry is a sum from 0 over the positions in a window, in
//! increasing order.

use super::float::Float;
use super::reduce::{block, joined};
use super::simd::{Here, Overlap, Vector, Vectors, Work, overlap};
use super::view::Axes;

/// The sum of windows `[outer, count, size, inner]`, which strides walk, into dense `[outer, len, inner]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows {
    pub outer: Axes,
    /// How many windows, and from one to the next.
    pub count: (usize, usize),
    /// How many entries a window has, and from one to the next.
    pub size: (usize, usize),
    /// How many numbers an entry has, and from one to the next.
    pub inner: (usize, usize),
    pub len: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Windows {
    /// How often windows lie over so many entries.
    pub fn outer(&self) -> usize {
        self.outer.iter().map(|(size, _)| size).product()
    }

    /// The number of all entries of all windows.
    pub fn entries(&self) -> usize {
        self.outer() * self.count.0 * self.size.0 * self.inner.0
    }

    /// How far the last entry lies behind the first.
    pub fn reach(&self) -> usize {
        let parts = self.outer.iter().chain([&self.count, &self.size, &self.inner]);
        parts.map(|(size, stride)| size.saturating_sub(1) * stride).sum()
    }
}

/// A sum of windows, with its entries. The first `times` as many of the outermost axis are there.
pub(super) struct Fold<'a, T> {
    pub windows: &'a Windows,
    pub times: usize,
    pub data: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Vectors> Work<T> for Fold<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self, here: Here<V>) {
        let Fold { windows, times, data, out } = self;
        let covered = windows.len * windows.inner.0;
        if windows.entries() == 0 || covered == 0 {
            return out.fill(T::ZERO);
        }
        // Rows of single entries are added together along the last axis outside, which is the outermost one where there is no other.
        let in_rows = windows.in_rows();
        let (rows, outer) = match windows.outer.split_last() {
            Some((&(count, next), [])) if in_rows => ((count * times, next), &[][..]),
            Some((&rows, outer)) if in_rows => (rows, outer),
            _ => ((1, 0), &windows.outer[..]),
        };
        for (i, out) in out.chunks_exact_mut(covered * rows.0).enumerate() {
            // The place along every outer axis, the outermost one with as many positions as are left.
            let (mut at, mut rest) = (0, i);
            for (axis, &(size, stride)) in outer.iter().enumerate().rev() {
                let position = if axis == 0 { rest } else { rest % size };
                (at, rest) = (at + position * stride, rest / size);
            }
            let data = &data[at..];
            if in_rows {
                let Windows { count: (count, _), size, dilation, .. } = *windows;
                overlap(here, data, Overlap { rows, count, size, dilation }, out);
            } else if windows.inner.1 == 1 {
                windows.sums(data, out);
            } else {
                out.fill(T::ZERO);
                windows.add(data, out);
            }
        }
    }
}

impl Windows {
    /// Whether windows are one entry apart, and lie so.
    fn in_rows(&self) -> bool {
        self.inner.0 == 1 && self.stride == 1 && self.count.1 == 1
    }

    /// The window whose entry of that number lies at a place.
    #[inline(always)]
    fn at(&self, place: usize, entry: usize) -> Option<usize> {
        let from = place.checked_sub(entry * self.dilation)?;
        let window = match self.stride {
            1 => from,
            stride if from.is_multiple_of(stride) => from / stride,
            _ => return None,
        };
        (window < self.count.0).then_some(window)
    }

    /// The windows of one position outside, where the numbers of an entry lie side by side.
    #[inline(always)]
    fn sums<T: Float>(&self, data: &[T], out: &mut [T]) {
        match self.inner.0 {
            0..4 => self.sums_of::<1, T>(data, out),
            4..8 => self.sums_of::<4, T>(data, out),
            8..16 => self.sums_of::<8, T>(data, out),
            16..64 => self.sums_of::<16, T>(data, out),
            _ => self.sums_of::<64, T>(data, out),
        }
    }

    /// The same for so many numbers at a time; those behind the last whole chunk are the end of one that is computed twice in part.
    #[inline(always)]
    fn sums_of<const N: usize, T: Float>(&self, data: &[T], out: &mut [T]) {
        let Windows { count, size, inner: (inner, _), .. } = *self;
        for (place, out) in out.chunks_exact_mut(inner).enumerate() {
            let mut first = 0;
            while first < inner {
                first = first.min(inner - N);
                let mut sum = [T::ZERO; N];
                for entry in 0..size.0 {
                    if let Some(window) = self.at(place, entry) {
                        sum = joined(sum, block(data, window * count.1 + entry * size.1 + first), T::add);
                    }
                }
                out[first..first + N].copy_from_slice(&sum);
                first += N;
            }
        }
    }

    /// Adds the windows of one position outside, which lie in any way.
    #[inline(always)]
    fn add<T: Float>(&self, data: &[T], out: &mut [T]) {
        let Windows { count, size, inner, stride, dilation, .. } = *self;
        if inner.0 == 1 {
            for entry in 0..size.0 {
                let (data, out) = (&data[entry * size.1..], &mut out[entry * dilation..]);
                let terms = data.iter().step_by(count.1.max(1)).take(count.0);
                out.iter_mut().step_by(stride).zip(terms).for_each(|(total, &x)| *total = total.add(x));
            }
            return;
        }
        for entry in 0..size.0 {
            for window in 0..count.0 {
                let covered = &mut out[(window * stride + entry * dilation) * inner.0..][..inner.0];
                let terms = &data[window * count.1 + entry * size.1..];
                if inner.1 == 3 {
                    // The windows of most convolutions.
                    let (terms, last) = terms[..3 * inner.0 - 2].as_chunks::<3>();
                    covered.iter_mut().zip(terms).for_each(|(total, [x, _, _])| *total = total.add(*x));
                    covered.iter_mut().skip(terms.len()).zip(last).for_each(|(total, &x)| *total = total.add(x));
                } else {
                    let terms = terms.iter().step_by(inner.1);
                    covered.iter_mut().zip(terms).for_each(|(total, &x)| *total = total.add(x));
                }
            }
        }
    }
}
