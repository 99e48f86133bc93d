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

/// A matrix whose entry `[i][j]` lies at `rows[i] + columns[j]`.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a, T> {
    /// The memory.
    pub data: &'a [T],
    /// What every row adds.
    pub rows: &'a [usize],
    /// What every column adds.
    pub columns: &'a [usize],
}

/// The first operand of a product, of which one entry at a time is read.
pub trait Left<T: Copy> {
    /// How it is read.
    type Read: Read<T>;
    /// Whether so many rows and columns, neither of them 0, lie within its memory.
    fn holds(&self, rows: usize, columns: usize) -> bool;
    /// A reader from entry `[0][0]` on.
    fn read(&self) -> Self::Read;
}

/// A reader of single entries.
pub trait Read<T: Copy>: Copy {
    /// Where a column lies.
    type At: Copy;
    /// The first column.
    fn first(self) -> Self::At;
    /// The next one.
    fn next(self, at: Self::At) -> Self::At;
    /// The entry of a row.
    ///
    /// # Safety
    /// The matrix must hold that row and column.
    unsafe fn entry(self, at: Self::At, row: usize) -> T;
    /// The same without the first so many rows.
    ///
    /// # Safety
    /// The matrix must hold as many rows.
    unsafe fn down(self, rows: usize) -> Self;
}

impl<T: Copy> Left<T> for Matrix<'_, T> {
    type Read = Place<*const T>;

    #[inline(always)]
    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }

    #[inline(always)]
    fn read(&self) -> Place<*const T> {
        Place { at: self.data.as_ptr(), row: self.row, column: self.column }
    }
}

impl<T: Copy> Read<T> for Place<*const T> {
    type At = *const T;

    #[inline(always)]
    fn first(self) -> *const T {
        self.at
    }

    #[inline(always)]
    fn next(self, at: *const T) -> *const T {
        at.wrapping_add(self.column)
    }

    #[inline(always)]
    unsafe fn entry(self, at: *const T, row: usize) -> T {
        // SAFETY: the caller vouches for the entry.
        unsafe { *at.add(row * self.row) }
    }

    #[inline(always)]
    unsafe fn down(self, rows: usize) -> Self {
        // SAFETY: the caller vouches for the rows.
        Place { at: unsafe { self.at.add(rows * self.row) }, ..self }
    }
}

impl<'a, T: Copy> Left<T> for Entries<'a, T> {
    type Read = Reader<T>;

    #[inline(always)]
    fn holds(&self, rows: usize, columns: usize) -> bool {
        let most = |list: &[usize]| list.iter().copied().max().unwrap_or(0);
        rows <= self.rows.len()
            && columns <= self.columns.len()
            && most(self.rows) + most(self.columns) < self.data.len()
    }

    #[inline(always)]
    fn read(&self) -> Reader<T> {
        Reader { at: self.data.as_ptr(), rows: self.rows.as_ptr(), columns: self.columns.as_ptr() }
    }
}

/// [`Entries`] by pointer.
#[derive(Clone, Copy)]
pub struct Reader<T> {
    at: *const T,
    rows: *const usize,
    columns: *const usize,
}

impl<T: Copy> Read<T> for Reader<T> {
    type At = *const usize;

    #[inline(always)]
    fn first(self) -> *const usize {
        self.columns
    }

    #[inline(always)]
    fn next(self, at: *const usize) -> *const usize {
        at.wrapping_add(1)
    }

    #[inline(always)]
    unsafe fn entry(self, at: *const usize, row: usize) -> T {
        // SAFETY: the caller vouches for the row and the column, and so for what the lists say of them.
        unsafe { *self.at.add(*self.rows.add(row)).add(*at) }
    }

    #[inline(always)]
    unsafe fn down(self, rows: usize) -> Self {
        // SAFETY: the caller vouches for the rows.
        Reader { rows: unsafe { self.rows.add(rows) }, ..self }
    }
}

/// `c[i][j] = sum over l of a[i][l] b[l][j]` for sizes `[m, k]` and `[k, n]`, added to what `c` holds where `resume` says so. `b` has
/// its columns side by side, and so has `c`, whose rows are `row_c` apart.
#[inline(always)]
pub fn multiply<T: Float, V: Vector<T>, L: Left<T>>(
    _here: Here<V>,
    (m, k, n): (usize, usize, usize),
    a: L,
    b: Matrix<T>,
    c: &mut [T],
    row_c: usize,
    resume: bool,
) {
    if m * n == 0 {
        return;
    }
    let a_fits = k == 0 || a.holds(m, k);
    let b_fits = k == 0 || (k - 1) * b.row + n <= b.data.len();
    let fits = a_fits && b_fits && b.column == 1 && (m - 1) * row_c + n <= c.len();
    assert!(fits, "every entry of a product lies in the memory it was given");
    let a = a.read();
    let b = Place { at: b.data.as_ptr(), row: b.row, column: 1 };
    let c = Place { at: c.as_mut_ptr(), row: row_c, column: 1 };
    // SAFETY: the bounds were just checked, and who holds a `Here<V>` has the instructions.
    unsafe { panel::<T, V, L::Read>(m, k, n, a, b, c, resume) };
}

/// Copies a matrix of `rows` and `columns` so that its columns lie side by side, one row after the other. Here the source has its rows
/// side by side, and its columns some way apart.
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
    let fits = stride > 0 && (columns - 1) * stride + rows <= from.len() && rows * columns <= to.len();
    assert!(fits, "every entry lies in the memory it was given");
    let (whole_rows, whole_columns) = (rows - rows % 8, columns - columns % 8);
    for j in (0..whole_columns).step_by(8) {
        for i in (0..whole_rows).step_by(8) {
            let (from, to) = (&from[j * stride + i..], &mut to[i * columns + j..]);
            // SAFETY: eight entries of eight columns from here on lie within the bounds that were just checked.
            unsafe { V::turn(from.as_ptr(), stride, to.as_mut_ptr(), columns) };
        }
    }
    // What is left of every row, or of every column, whichever are fewer.
    if rows < columns {
        for i in (0..rows).filter(|i| *i >= whole_rows || whole_columns < columns) {
            let first = if i < whole_rows { whole_columns } else { 0 };
            let row = to[i * columns..][..columns].iter_mut().skip(first);
            row.zip(from[first * stride + i..].iter().step_by(stride)).for_each(|(to, x)| *to = *x);
        }
    } else {
        for j in (0..columns).filter(|j| *j >= whole_columns || whole_rows < rows) {
            let first = if j < whole_columns { whole_rows } else { 0 };
            let column = to[first * columns + j..].iter_mut().step_by(columns);
            column.zip(&from[j * stride + first..j * stride + rows]).for_each(|(to, x)| *to = *x);
        }
    }
}

/// A matrix by pointer.
#[derive(Clone, Copy)]
pub struct Place<P> {
    /// Entry (0, 0).
    at: P,
    /// From one row to the next.
    row: usize,
    /// From one column to the next.
    column: usize,
}

/// A product in tiles: strips of a few vectors of columns, and in each the rows, both cut as evenly as can be.
///
/// # Safety
/// As for [`tile`], for `m` rows and `n` columns.
#[inline(always)]
unsafe fn panel<T: Float, V: Vector<T>, A: Read<T>>(
    m: usize,
    k: usize,
    n: usize,
    a: A,
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
                tile::<T, V, A, 1, 8, true>(k, a, b, c, V::LANES, resume);
                column += 8 * V::LANES;
                continue;
            }
            let vectors = left.div_ceil(V::LANES);
            let vectors = vectors.div_ceil(vectors.div_ceil(V::WIDTH));
            let full = vectors * V::LANES <= left;
            let tail = if full { V::LANES } else { left - (vectors - 1) * V::LANES };
            match (vectors, full) {
                (1, true) => strip::<T, V, A, 1, true>(m, k, a, b, c, tail, resume),
                (1, false) => strip::<T, V, A, 1, false>(m, k, a, b, c, tail, resume),
                (2, true) => strip::<T, V, A, 2, true>(m, k, a, b, c, tail, resume),
                (2, false) => strip::<T, V, A, 2, false>(m, k, a, b, c, tail, resume),
                (_, true) if V::WIDTH >= 3 => strip::<T, V, A, 3, true>(m, k, a, b, c, tail, resume),
                (_, false) if V::WIDTH >= 3 => strip::<T, V, A, 3, false>(m, k, a, b, c, tail, resume),
                _ => unreachable!("strips are no wider than the vector says"),
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
unsafe fn strip<T: Float, V: Vector<T>, A: Read<T>, const N: usize, const FULL: bool>(
    m: usize,
    k: usize,
    a: A,
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
            let (a, c) = (a.down(row), Place { at: c.at.add(row * c.row), ..c });
            let rows = (m - row).div_ceil((m - row).div_ceil(most));
            // The conditions are known when this is compiled: tiles that a vector has no registers for are left out.
            match rows {
                8 if most >= 8 => tile::<T, V, A, 8, N, FULL>(k, a, b, c, tail, resume),
                7 if most >= 8 => tile::<T, V, A, 7, N, FULL>(k, a, b, c, tail, resume),
                6 if most >= 6 => tile::<T, V, A, 6, N, FULL>(k, a, b, c, tail, resume),
                5 if most >= 6 => tile::<T, V, A, 5, N, FULL>(k, a, b, c, tail, resume),
                4 if most >= 4 => tile::<T, V, A, 4, N, FULL>(k, a, b, c, tail, resume),
                3 if most >= 4 => tile::<T, V, A, 3, N, FULL>(k, a, b, c, tail, resume),
                2 => tile::<T, V, A, 2, N, FULL>(k, a, b, c, tail, resume),
                _ => tile::<T, V, A, 1, N, FULL>(k, a, b, c, tail, resume),
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
unsafe fn tile<T: Float, V: Vector<T>, A: Read<T>, const M: usize, const N: usize, const FULL: bool>(
    k: usize,
    a: A,
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
        let (mut from_a, mut from_b) = (a.first(), b.at);
        for _ in 0..k {
            let mut columns = [V::splat(T::ZERO); N];
            for (n, v) in columns.iter_mut().enumerate() {
                *v = V::load(from_b.add(n * V::LANES), count(n));
            }
            for (i, row) in sum.iter_mut().enumerate() {
                let x = V::splat(a.entry(from_a, i));
                for (v, &column) in row.iter_mut().zip(&columns) {
                    *v = v.fma(x, column);
                }
            }
            from_a = a.next(from_a);
            from_b = from_b.wrapping_add(b.row);
        }
        for (i, row) in sum.iter().enumerate() {
            for (n, v) in row.iter().enumerate() {
                v.store(c.at.add(i * c.row + n * V::LANES), count(n));
            }
        }
    }
}
