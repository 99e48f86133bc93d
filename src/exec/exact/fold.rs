//! What windows cover: overlapping entries are added where they lie. Every entry is a sum from 0 over the positions in a window, in
//! increasing order.

use super::float::Float;
use super::simd::{Here, Vector, Vectors, Work};

/// The sum of `[outer, count, size, inner]` windows into `[outer, len, inner]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    pub outer: usize,
    pub count: usize,
    pub size: usize,
    pub inner: usize,
    pub len: usize,
    pub stride: usize,
    pub dilation: usize,
}

/// A sum of windows, with its entries.
pub(super) struct Fold<'a, T> {
    pub windows: Windows,
    pub data: &'a [T],
    pub out: &'a mut [T],
}

impl<T: Vectors> Work<T> for Fold<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self, _here: Here<V>) {
        let Fold { windows, data, out } = self;
        let Windows { count, size, inner, len, .. } = windows;
        out.fill(T::ZERO);
        let (block, covered) = (count * size * inner, len * inner);
        if block == 0 || covered == 0 {
            return;
        }
        for (data, out) in data.chunks_exact(block).zip(out.chunks_exact_mut(covered)) {
            match inner {
                1 => windows.add_entries(data, out),
                _ => windows.add_rows(data, out),
            }
        }
    }
}

impl Windows {
    /// Windows of numbers.
    #[inline(always)]
    fn add_entries<T: Float>(&self, data: &[T], out: &mut [T]) {
        for entry in 0..self.size {
            let covered = out[entry * self.dilation..].iter_mut().step_by(self.stride);
            let terms = data[entry..].iter().step_by(self.size);
            covered.zip(terms).for_each(|(total, &x)| *total = total.add(x));
        }
    }

    /// Windows of rows.
    #[inline(always)]
    fn add_rows<T: Float>(&self, data: &[T], out: &mut [T]) {
        let Windows { count, size, inner, stride, dilation, .. } = *self;
        for entry in 0..size {
            for window in 0..count {
                let covered = &mut out[(window * stride + entry * dilation) * inner..][..inner];
                let terms = &data[(window * size + entry) * inner..][..inner];
                covered.iter_mut().zip(terms).for_each(|(total, &x)| *total = total.add(x));
            }
        }
    }
}
