//! Batched matrix products: every entry is one chain of fused multiply-adds in increasing `k`, however the work is cut.

use std::marker::PhantomData;

use super::path::{Path, Work};
use super::simd::{Lanes, Place, Vector, Vectors, tile};

/// How a batch of matrices lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrices {
    /// Where the first entry lies.
    pub offset: usize,
    /// From one matrix to the next; 0 where all are the same one.
    pub next: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

/// `c[i] = a[i] b[i]` for `count` matrices `[m, k]` and `[k, n]`; `c` is dense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    pub count: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: Matrices,
    pub b: Matrices,
}

/// Products of fewer multiply-adds are done by one thread.
const PARALLEL: usize = 1 << 21;

/// The entries of `b` up to which it is read where it lies.
const SMALL: usize = 1 << 14;

/// The steps of `k` for which a packed part of `b` stays in the second-level cache.
const DEPTH: usize = 256;

/// The rows of `a` that are packed at a time.
const ROWS: usize = 96;

impl Product {
    /// Whether every entry that the product reads lies within buffers of these lengths.
    fn fits(&self, a: usize, b: usize, c: usize) -> bool {
        let last = |p: &Matrices, rows: usize, columns: usize| {
            p.offset + p.next * (self.count - 1) + p.row * (rows - 1) + p.column * (columns - 1)
        };
        let empty = self.count * self.m * self.n * self.k == 0;
        c == self.count * self.m * self.n
            && (empty || last(&self.a, self.m, self.k) < a && last(&self.b, self.k, self.n) < b)
    }

    /// Computes the products; large ones on all threads of the pool.
    pub fn run<T: Vectors>(&self, path: Path, a: &[T], b: &[T], c: &mut [T]) {
        assert!(self.fits(a.len(), b.len(), c.len()), "the matrices lie within their buffers");
        if self.k == 0 {
            c.fill(T::ZERO);
            return;
        }
        let work = self.count * self.m * self.k * self.n;
        let threads = if work < PARALLEL { 1 } else { rayon::current_num_threads() };
        self.split(path, a, b, c, threads);
    }

    /// Cuts the batch, or else the rows, into about equal parts; the bits of an entry do not depend on it.
    fn split<T: Vectors>(&self, path: Path, a: &[T], b: &[T], c: &mut [T], threads: usize) {
        let parts = if self.count > 1 { self.count } else { self.m };
        if threads < 2 || parts < 2 {
            return self.on(path, a, b, c);
        }
        let first = parts * (threads / 2) / threads;
        let (mut one, mut other) = (self.clone(), self.clone());
        if self.count > 1 {
            (one.count, other.count) = (first, parts - first);
            other.a.offset += first * self.a.next;
            other.b.offset += first * self.b.next;
        } else {
            (one.m, other.m) = (first, parts - first);
            other.a.offset += first * self.a.row;
        }
        let (c, rest) = c.split_at_mut(one.count * one.m * one.n);
        rayon::join(|| one.split(path, a, b, c, threads / 2), || other.split(path, a, b, rest, threads - threads / 2));
    }

    fn on<T: Vectors>(&self, path: Path, a: &[T], b: &[T], c: &mut [T]) {
        T::with_buffer(|packed| match path {
            Path::Avx512 => path.run(Tiles::<T, T::Wide, 8> { product: self, a, b, c, packed, vector: PhantomData }),
            Path::Avx2 => path.run(Tiles::<T, T::Middle, 6> { product: self, a, b, c, packed, vector: PhantomData }),
            Path::Portable => {
                path.run(Tiles::<T, Lanes<T, 8>, 4> { product: self, a, b, c, packed, vector: PhantomData })
            }
        });
    }
}

/// A product in tiles of `M` rows and two vectors.
struct Tiles<'a, T, V, const M: usize> {
    product: &'a Product,
    a: &'a [T],
    b: &'a [T],
    c: &'a mut [T],
    /// Room for packed parts of the operands.
    packed: &'a mut Vec<T>,
    vector: PhantomData<V>,
}

impl<T: Vectors, V: Vector<T>, const M: usize> Work for Tiles<'_, T, V, M> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Product { m, k, n, count, a, b } = *self.product;
        for case in 0..count {
            let a = Matrices { offset: a.offset + case * a.next, ..a };
            let b = Matrices { offset: b.offset + case * b.next, ..b };
            let c = case * m * n;
            let (from_a, from_b) = (&self.a[a.offset..], &self.b[b.offset..]);
            let to = &mut self.c[c..c + m * n];
            if n == 1 && a.row != 1 {
                vector(from_a, a, from_b, b, k, to);
            } else if n == 1 {
                // A column is the row of a product of transposed matrices.
                let turned = |x: Matrices| Matrices { row: x.column, column: x.row, ..x };
                rows::<T, V, M>((from_b, turned(b)), (from_a, turned(a)), (1, k, m), to);
            } else if k * n <= SMALL && b.column == 1 {
                rows::<T, V, M>((from_a, a), (from_b, b), (m, k, n), to);
            } else if k * n <= SMALL {
                self.packed.resize(k * n, T::ZERO);
                copy(from_b, Matrices { offset: 0, ..b }, (k, n), self.packed);
                rows::<T, V, M>((from_a, a), (self.packed, Matrices { row: n, column: 1, ..b }), (m, k, n), to);
            } else {
                self.blocks(a, b, c);
            }
        }
    }
}

/// All rows of a product whose second operand, with columns side by side, is small enough to be read again and again.
#[inline(always)]
#[allow(unsafe_code, reason = "the inner loop works on pointers")]
fn rows<T: Vectors, V: Vector<T>, const M: usize>(
    (a, place_a): (&[T], Matrices),
    (b, place_b): (&[T], Matrices),
    (m, k, n): (usize, usize, usize),
    c: &mut [T],
) {
    let a = Place { at: a.as_ptr(), row: place_a.row, column: place_a.column };
    let b = Place { at: b.as_ptr(), row: place_b.row, column: 1 };
    let c = Place { at: c.as_mut_ptr(), row: n, column: 1 };
    // SAFETY: `Product::run` has checked that all entries lie within the buffers; a packed operand has `k * n` entries.
    unsafe { panel::<T, V, M>(m, k, n, a, b, c, false) };
}

/// A matrix times a vector: sixteen rows at a time.
#[inline(always)]
fn vector<T: Vectors>(a: &[T], place_a: Matrices, b: &[T], place_b: Matrices, k: usize, c: &mut [T]) {
    for (group, to) in c.chunks_mut(16).enumerate() {
        let mut sum = [T::ZERO; 16];
        for l in 0..k {
            let x = b[l * place_b.row];
            let a = &a[group * 16 * place_a.row + l * place_a.column..];
            for (i, s) in sum.iter_mut().enumerate().take(to.len()) {
                *s = a[i * place_a.row].fma(x, *s);
            }
        }
        to.copy_from_slice(&sum[..to.len()]);
    }
}

impl<T: Vectors, V: Vector<T>, const M: usize> Tiles<'_, T, V, M> {
    /// A large product, in blocks that stay in the caches (Goto and van de Geijn, ACM TOMS 34(3), 2008).
    #[inline(always)]
    #[allow(unsafe_code, reason = "the inner loop works on pointers")]
    fn blocks(&mut self, a: Matrices, b: Matrices, c: usize) {
        let Product { m, k, n, .. } = *self.product;
        let width = 2 * V::LANES;
        let strips = n.div_ceil(width);
        let depth = DEPTH.min(k);
        self.packed.resize(depth * strips * width + depth * ROWS, T::ZERO);
        for from in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - from);
            let (packed_b, packed_a) = self.packed.split_at_mut(strips * width * depth);
            for (strip, to) in packed_b.chunks_exact_mut(width * depth).enumerate() {
                let columns = width.min(n - strip * width);
                for (l, to) in to.chunks_exact_mut(width).enumerate() {
                    let at = b.offset + (from + l) * b.row + strip * width * b.column;
                    if b.column == 1 {
                        to[..columns].copy_from_slice(&self.b[at..at + columns]);
                    } else {
                        to[..columns].iter_mut().enumerate().for_each(|(j, to)| *to = self.b[at + j * b.column]);
                    }
                }
            }
            for top in (0..m).step_by(ROWS) {
                let rows = ROWS.min(m - top);
                // Rows are packed in groups of `M`, entry by entry of a group, so that a tile reads them in order.
                for (group, to) in packed_a.chunks_mut(M * depth).enumerate().take(rows.div_ceil(M)) {
                    let count = M.min(rows - group * M);
                    for (l, to) in to.chunks_mut(M).enumerate().take(depth) {
                        let at = a.offset + (top + group * M) * a.row + (from + l) * a.column;
                        to.iter_mut().take(count).enumerate().for_each(|(i, to)| *to = self.a[at + i * a.row]);
                    }
                }
                for (strip, b) in packed_b.chunks_exact(width * depth).enumerate() {
                    let columns = width.min(n - strip * width);
                    let b = Place { at: b.as_ptr(), row: width, column: 1 };
                    for (group, a) in packed_a.chunks(M * depth).enumerate().take(rows.div_ceil(M)) {
                        let count = M.min(rows - group * M);
                        let a = Place { at: a.as_ptr(), row: 1, column: M };
                        let first = c + (top + group * M) * n + strip * width;
                        let c = Place { at: self.c[first..].as_mut_ptr(), row: n, column: 1 };
                        // SAFETY: the packed parts hold `depth` steps, and the result has `count` rows and `columns` columns here.
                        unsafe { panel::<T, V, M>(count, depth, columns, a, b, c, from > 0) };
                    }
                }
            }
        }
    }
}

/// Copies a matrix `[rows, columns]` row by row.
#[inline(always)]
fn copy<T: Copy>(data: &[T], from: Matrices, (rows, columns): (usize, usize), to: &mut [T]) {
    if from.row == 1 {
        // The source is read in order: it is the one that is larger than a line of the cache apart.
        for j in 0..columns {
            let column = &data[from.offset + j * from.column..][..rows];
            column.iter().enumerate().for_each(|(i, &x)| to[i * columns + j] = x);
        }
        return;
    }
    for (i, to) in to.chunks_exact_mut(columns).enumerate().take(rows) {
        let at = from.offset + i * from.row;
        to.iter_mut().enumerate().for_each(|(j, to)| *to = data[at + j * from.column]);
    }
}

/// A product in tiles: strips of two vectors of columns, and in each the rows by `M`, then 4, 2 and 1.
///
/// # Safety
/// As for [`tile`], for `m` rows and `n` columns.
#[inline(always)]
#[allow(unsafe_code, reason = "the inner loop works on pointers")]
unsafe fn panel<T: Vectors, V: Vector<T>, const M: usize>(
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
            if m == 1 && left >= 4 * V::LANES {
                tile::<T, V, 1, 4, true>(k, a, b, c, V::LANES, resume);
                column += 4 * V::LANES;
            } else if left >= 2 * V::LANES {
                strip::<T, V, M, 2, true>(m, k, a, b, c, V::LANES, resume);
                column += 2 * V::LANES;
            } else if left > V::LANES {
                strip::<T, V, M, 2, false>(m, k, a, b, c, left - V::LANES, resume);
                column = n;
            } else if left == V::LANES {
                strip::<T, V, M, 1, true>(m, k, a, b, c, left, resume);
                column = n;
            } else {
                strip::<T, V, M, 1, false>(m, k, a, b, c, left, resume);
                column = n;
            }
        }
    }
}

/// The rows of one strip.
///
/// # Safety
/// As for [`tile`], for `m` rows.
#[inline(always)]
#[allow(unsafe_code, reason = "the inner loop works on pointers")]
unsafe fn strip<T: Vectors, V: Vector<T>, const M: usize, const N: usize, const FULL: bool>(
    m: usize,
    k: usize,
    a: Place<*const T>,
    b: Place<*const T>,
    c: Place<*mut T>,
    tail: usize,
    resume: bool,
) {
    let mut row = 0;
    // SAFETY: all offsets stay within `m` rows.
    unsafe {
        while row < m {
            let (a, c) = (Place { at: a.at.add(row * a.row), ..a }, Place { at: c.at.add(row * c.row), ..c });
            match m - row {
                left if left >= M => tile::<T, V, M, N, FULL>(k, a, b, c, tail, resume),
                4.. => tile::<T, V, 4, N, FULL>(k, a, b, c, tail, resume),
                2.. => tile::<T, V, 2, N, FULL>(k, a, b, c, tail, resume),
                _ => tile::<T, V, 1, N, FULL>(k, a, b, c, tail, resume),
            }
            row += match m - row {
                left if left >= M => M,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::float::Float;
    use super::*;

    /// A number that a sum of products cannot represent exactly.
    fn number<T: Float>(i: usize) -> T {
        T::from_f64(((i * 7919 + 13) % 1009) as f64 / 504.0 - 1.0)
    }

    fn check<T: Vectors>(count: usize, m: usize, k: usize, n: usize, turned: (bool, bool), shared: bool) {
        let lay = |rows: usize, columns: usize, turned: bool, next: usize| {
            let (row, column) = if turned { (1, rows) } else { (columns, 1) };
            Matrices { offset: 3, next, row, column }
        };
        let a = lay(m, k, turned.0, m * k);
        let b = lay(k, n, turned.1, if shared { 0 } else { k * n });
        let product = Product { count, m, k, n, a, b };
        let data_a: Vec<T> = (0..3 + count * m * k).map(number).collect();
        let mut data_b: Vec<T> = (0..3 + count * k * n).map(|i| number(i + 5)).collect();
        if k * n > 2 {
            data_b[4] = T::from_f64(f64::INFINITY);
        }
        let mut wanted = Vec::new();
        for case in 0..count {
            for i in 0..m {
                for j in 0..n {
                    let entry = |l: usize| {
                        let x = data_a[3 + case * a.next + i * a.row + l * a.column];
                        (x, data_b[3 + case * b.next + l * b.row + j * b.column])
                    };
                    wanted.push((0..k).map(entry).fold(T::ZERO, |sum, (x, y)| x.fma(y, sum)).to_f64().to_bits());
                }
            }
        }
        for path in Path::ALL.into_iter().filter(|p| p.is_available()) {
            for threads in [1, 3] {
                let mut c = vec![T::NAN; count * m * n];
                product.split(path, &data_a, &data_b, &mut c, threads);
                let found: Vec<u64> = c.iter().map(|x| x.to_f64().to_bits()).collect();
                assert_eq!(found, wanted, "{product:?} on {} with {threads} threads", path.name());
            }
        }
    }

    #[test]
    fn every_entry_is_one_chain() {
        let turns = [(false, false), (true, false), (false, true), (true, true)];
        for turned in turns {
            for (m, k, n) in [
                (1, 1, 1),
                (10, 40, 40),
                (7, 3, 17),
                (40, 10, 1),
                (33, 5, 1),
                (1, 25, 130),
                (13, 300, 70),
                (100, 260, 66),
                (5, 0, 3),
            ] {
                if k == 0 {
                    continue;
                }
                check::<f32>(1, m, k, n, turned, false);
                check::<f64>(2, m, k, n, turned, true);
                check::<f32>(3, m, k, n, turned, false);
            }
        }
    }

    #[test]
    fn nothing_to_add_is_zero() {
        let none = Matrices { offset: 0, next: 0, row: 1, column: 1 };
        let mut c = [f32::NAN; 6];
        Product { count: 1, m: 2, k: 0, n: 3, a: none, b: none }.run(Path::Portable, &[], &[], &mut c);
        assert_eq!(c, [0.0; 6]);
    }
}
