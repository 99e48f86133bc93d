//! Sums of rows that overlap, in vector registers: what becomes of the windows of a convolution in its gradient.

use super::super::float::Float;
use super::{Here, Vector};

/// Rows in which windows of `size` entries begin one entry apart.
#[derive(Debug, Clone, Copy)]
pub struct Overlap {
    /// How many rows, and from one to the next.
    pub rows: (usize, usize),
    /// How many windows; they lie side by side.
    pub count: usize,
    /// How many entries a window has, and from one to the next.
    pub size: (usize, usize),
    /// How many places later each entry of a window is added.
    pub dilation: usize,
}

/// How many rows are added up at once, so that none waits for another.
const TOGETHER: usize = 4;

/// The sums of rows, of which `out` has one after the other: place `p` of a row is the sum from 0 over the entries `e` of windows, in
/// increasing order, of those of window `p - e * dilation`, where there is one.
#[inline(always)]
pub fn overlap<T: Float, V: Vector<T>>(_here: Here<V>, data: &[T], of: Overlap, out: &mut [T]) {
    let Overlap { rows: (rows, next), count, size, .. } = of;
    if rows * count * size.0 == 0 {
        return out.fill(T::ZERO);
    }
    let fits = (rows - 1) * next + (size.0 - 1) * size.1 + count <= data.len();
    assert!(fits && out.len().is_multiple_of(rows), "every entry of a sum lies in the memory it was given");
    let len = out.len() / rows;
    for first in (0..len).step_by(V::LANES) {
        let lanes = V::LANES.min(len - first);
        let mut row = 0;
        // SAFETY: the bounds were just checked, and who holds a `Here<V>` has the instructions.
        unsafe {
            while row + TOGETHER <= rows {
                let (from, to) = (&data[row * next..], &mut out[row * len + first..]);
                sums::<T, V, TOGETHER>(from.as_ptr(), of, (first, lanes), to.as_mut_ptr(), len);
                row += TOGETHER;
            }
            while row < rows {
                let (from, to) = (&data[row * next..], &mut out[row * len + first..]);
                sums::<T, V, 1>(from.as_ptr(), of, (first, lanes), to.as_mut_ptr(), len);
                row += 1;
            }
        }
    }
}

/// So many places of `N` rows, from the place `first` on; the rows of the sums are `pitch` apart.
///
/// # Safety
/// All windows of `N` rows must lie in the memory behind `data`, and `lanes` places of `N` rows behind `to`; the processor must have the
/// vector's instructions.
#[inline(always)]
unsafe fn sums<T: Float, V: Vector<T>, const N: usize>(
    data: *const T,
    of: Overlap,
    (first, lanes): (usize, usize),
    to: *mut T,
    pitch: usize,
) {
    let Overlap { rows: (_, next), count, size, dilation } = of;
    // SAFETY: lanes are read between the first and the last window of an entry, and only so many are written.
    unsafe {
        let mut sum = [V::splat(T::ZERO); N];
        for entry in 0..size.0 {
            // Lane `l` has window `first + l - later`. In other lanes 0 is added, which changes no sum from 0.
            let later = entry * dilation;
            let begin = later.saturating_sub(first).min(lanes);
            let end = (later + count).saturating_sub(first).min(lanes);
            if begin < end {
                let at = data.add(entry * size.1).wrapping_add(first).wrapping_sub(later);
                for (row, sum) in sum.iter_mut().enumerate() {
                    *sum = sum.add(V::load_between(at.wrapping_add(row * next), begin, end));
                }
            }
        }
        for (row, sum) in sum.iter().enumerate() {
            sum.store(to.add(row * pitch), lanes);
        }
    }
}
