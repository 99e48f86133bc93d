//! What windows cover: overlapping entries are added where they lie. Every entry is a sum from 0 over the positions in a window, in
//! increasing order.

use super::float::Float;
use super::simd::{Here, Vector, Vectors, Work};
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
    fn run<V: Vector<T>>(self, _here: Here<V>) {
        let Fold { windows, times, data, out } = self;
        out.fill(T::ZERO);
        let covered = windows.len * windows.inner.0;
        if windows.entries() == 0 || covered == 0 {
            return;
        }
        for (i, out) in out.chunks_exact_mut(covered).enumerate().take(windows.outer() * times) {
            // The place along every outer axis, the outermost one with as many positions as are left.
            let (mut at, mut rest) = (0, i);
            for (axis, &(size, stride)) in windows.outer.iter().enumerate().rev() {
                let position = if axis == 0 { rest } else { rest % size };
                (at, rest) = (at + position * stride, rest / size);
            }
            windows.add(&data[at..], out);
        }
    }
}

impl Windows {
    /// Adds the windows of one position outside.
    #[inline(always)]
    fn add<T: Float>(&self, data: &[T], out: &mut [T]) {
        let Windows { count, size, inner, stride, dilation, .. } = *self;
        if inner.0 == 1 {
            for entry in 0..size.0 {
                let (data, out) = (&data[entry * size.1..], &mut out[entry * dilation..]);
                if stride == 1 && count.1 == 1 {
                    out[..count.0].iter_mut().zip(data).for_each(|(total, &x)| *total = total.add(x));
                } else {
                    let terms = data.iter().step_by(count.1.max(1)).take(count.0);
                    out.iter_mut().step_by(stride).zip(terms).for_each(|(total, &x)| *total = total.add(x));
                }
            }
            return;
        }
        for entry in 0..size.0 {
            for window in 0..count.0 {
                let covered = &mut out[(window * stride + entry * dilation) * inner.0..][..inner.0];
                let terms = &data[window * count.1 + entry * size.1..];
                if inner.1 == 1 {
                    covered.iter_mut().zip(terms).for_each(|(total, &x)| *total = total.add(x));
                } else if inner.1 == 3 {
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
