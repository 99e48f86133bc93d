//! The inner loop of the matrix product: tiles of accumulators in vector registers. Every entry is one chain of fused multiply-adds
//! in increasing `k`, whichever tile it falls into.

use super::super::float::Float;
use super::{Here, Vector};

/// The entries of a matrix in memory: `[i][j]` lies at `i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    /// The memory, from entry (0, 0) on.
    pub data: &'a [T],
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

/// `c[i][j] = sum over l of a[i][l] b[l][j]` for sizes `[m, k]` and `[k, n]`, added to what `c` holds where `resume` says so. `b` has
/// its columns side by side, and so has `c`, whose rows are `row_c` apart.
#[inline(always)]
pub fn multiply<T: Float, V: Vector<T>>(
    _here: Here<V>,
    (m, k, n): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    c: &mut [T],
    row_c: usize,
    resume: bool,
) {
    if m * n == 0 {
        return;
    }
    let a_fits = k == 0 || (m - 1) * a.row + (k - 1) * a.column < a.data.len();
    let b_fits = k == 0 || (k - 1) * b.row + n <= b.data.len();
    let fits = a_fits && b_fits && b.column == 1 && (m - 1) * row_c + n <= c.len();
    assert!(fits, "every entry of a product lies in the memory it was given");
    let a = Place { at: a.data.as_ptr(), row: a.row, column: a.column };
    let b = Place { at: b.data.as_ptr(), row: b.row, column: 1 };
    let c = Place { at: c.as_mut_ptr(), row: row_c, column: 1 };
    // SAFETY: the bounds were just checked, and who holds a `Here<V>` has the instructions.
    unsafe { panel::<T, V>(m, k, n, a, b, c, resume) };
}

/// Copies a matrix of `rows` and `columns` so that its columns lie side by side, one row after the other. Here the source has its rows
/// side by side.
#[inline(always)]
pub fn turn<T: Float, V: Vector<T>>(
    _here: Here<V>,
    (rows, columns): (usize, usize),
    from: &[T],
    stride: usize,
    to: &mut [T],
) {
    if rows * columns == 0 {
        return;
    }
    let fits = (columns - 1) * stride + rows <= from.len() && rows * columns <= to.len();
    assert!(fits, "every entry lies in the memory it was given");
    let (whole_rows, whole_columns) = (rows - rows % 8, columns - columns % 8);
    for j in (0..whole_columns).step_by(8) {
        for i in (0..whole_rows).step_by(8) {
            let (from, to) = (&from[j * stride + i..], &mut to[i * columns + j..]);
            // SAFETY: eight entries of eight columns from here on lie within the bounds that were just checked.
            unsafe { V::turn(from.as_ptr(), stride, to.as_mut_ptr(), columns) };
        }
    }
    for j in 0..columns {
        let first = if j < whole_columns { whole_rows } else { 0 };
        (first..rows).for_each(|i| to[i * columns + j] = from[j * stride + i]);
    }
}

/// A matrix by pointer.
#[derive(Clone, Copy)]
struct Place<P> {
    /// Entry (0, 0).
    at: P,
    /// From one row to the next.
    row: usize,
    /// From one column to the next.
    column: usize,
}

/// A product in tiles: strips of up to three vectors of columns, and in each the rows, both cut as evenly as can be.
///
/// # Safety
/// As for [`tile`], for `m` rows and `n` columns.
#[inline(always)]
unsafe fn panel<T: Float, V: Vector<T>>(
    m: usize,
    k: usize,
    n: usize,
    a: Place<*const T>,
    b: Place<*const T>,
    c: Place<*mut T>,
    resume: bool,
) {
    let mut column = 0;
    while column < n {
        let left = n - column;
        // SAFETY: all offsets stay within `m` rows and `n` columns.
        unsafe {
            let (b, c) = (Place { at: b.at.add(column), ..b }, Place { at: c.at.add(column), ..c });
            if m == 1 && left >= 8 * V::LANES {
                tile::<T, V, 1, 8, true>(k, a, b, c, V::LANES, resume);
                column += 8 * V::LANES;
                continue;
            }
            let vectors = left.div_ceil(V::LANES);
            let vectors = vectors.div_ceil(vectors.div_ceil(3));
            let full = vectors * V::LANES <= left;
            let tail = if full { V::LANES } else { left - (vectors - 1) * V::LANES };
            match (vectors, full) {
                (1, true) => strip::<T, V, 1, true>(m, k, a, b, c, tail, resume),
                (1, false) => strip::<T, V, 1, false>(m, k, a, b, c, tail, resume),
                (2, true) => strip::<T, V, 2, true>(m, k, a, b, c, tail, resume),
                (2, false) => strip::<T, V, 2, false>(m, k, a, b, c, tail, resume),
                (_, true) => strip::<T, V, 3, true>(m, k, a, b, c, tail, resume),
                (_, false) => strip::<T, V, 3, false>(m, k, a, b, c, tail, resume),
            }
            column += vectors * V::LANES;
        }
    }
}

/// The rows of one strip.
///
/// # Safety
/// As for [`tile`], for `m` rows.
#[inline(always)]
unsafe fn strip<T: Float, V: Vector<T>, const N: usize, const FULL: bool>(
    m: usize,
    k: usize,
    a: Place<*const T>,
    b: Place<*const T>,
    c: Place<*mut T>,
    tail: usize,
    resume: bool,
) {
    let most = V::ROWS[N - 1];
    let mut row = 0;
    // SAFETY: all offsets stay within `m` rows.
    unsafe {
        while row < m {
            let (a, c) = (Place { at: a.at.add(row * a.row), ..a }, Place { at: c.at.add(row * c.row), ..c });
            let rows = (m - row).div_ceil((m - row).div_ceil(most));
            // The conditions are known when this is compiled: tiles that a vector has no registers for are left out.
            match rows {
                8 if most >= 8 => tile::<T, V, 8, N, FULL>(k, a, b, c, tail, resume),
                7 if most >= 8 => tile::<T, V, 7, N, FULL>(k, a, b, c, tail, resume),
                6 if most >= 6 => tile::<T, V, 6, N, FULL>(k, a, b, c, tail, resume),
                5 if most >= 6 => tile::<T, V, 5, N, FULL>(k, a, b, c, tail, resume),
                4 if most >= 4 => tile::<T, V, 4, N, FULL>(k, a, b, c, tail, resume),
                3 if most >= 4 => tile::<T, V, 3, N, FULL>(k, a, b, c, tail, resume),
                2 => tile::<T, V, 2, N, FULL>(k, a, b, c, tail, resume),
                _ => tile::<T, V, 1, N, FULL>(k, a, b, c, tail, resume),
            }
            row += rows;
        }
    }
}

/// `c[i][j] (+)= sum over k of a[i][k] b[k][j]` for `M` rows and `N` vectors of columns; the last vector has `tail` lanes, all of them
/// where `FULL`. `b` and `c` have their columns side by side. Starts from what `c` holds where `resume` says so.
///
/// # Safety
/// The matrices must lie within valid memory for those sizes, and the processor must have the vector's instructions.
#[inline(always)]
unsafe fn tile<T: Float, V: Vector<T>, const M: usize, const N: usize, const FULL: bool>(
    k: usize,
    a: Place<*const T>,
    b: Place<*const T>,
    c: Place<*mut T>,
    tail: usize,
    resume: bool,
) {
    let count = |n: usize| if FULL || n + 1 < N { V::LANES } else { tail };
    // SAFETY: the caller vouches for every entry named by these sizes and strides.
    unsafe {
        let mut sum = [[V::splat(T::ZERO); N]; M];
        if resume {
            for (i, row) in sum.iter_mut().enumerate() {
                for (n, v) in row.iter_mut().enumerate() {
                    *v = V::load(c.at.add(i * c.row + n * V::LANES), count(n));
                }
            }
        }
        let (mut from_a, mut from_b) = (a.at, b.at);
        for _ in 0..k {
            let mut columns = [V::splat(T::ZERO); N];
            for (n, v) in columns.iter_mut().enumerate() {
                *v = V::load(from_b.add(n * V::LANES), count(n));
            }
            for (i, row) in sum.iter_mut().enumerate() {
                let x = V::splat(*from_a.add(i * a.row));
                for (v, &column) in row.iter_mut().zip(&columns) {
                    *v = v.fma(x, column);
                }
            }
            from_a = from_a.wrapping_add(a.column);
            from_b = from_b.wrapping_add(b.row);
        }
        for (i, row) in sum.iter().enumerate() {
            for (n, v) in row.iter().enumerate() {
                v.store(c.at.add(i * c.row + n * V::LANES), count(n));
            }
        }
    }
}
