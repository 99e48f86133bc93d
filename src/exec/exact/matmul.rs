//! Batched matrix products: every entry is one chain of fused multiply-adds in increasing `k`, however the work is cut.

use std::sync::Arc;

use super::simd::{Dispatch, Entries, Here, Matrix, Path, Vector, Vectors, Work, multiply, turn};
use super::spread::{Spread, spread, threads};

/// How a batch of matrices lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrices {
    /// Where the first entry lies.
    pub offset: usize,
    /// From one matrix to the next.
    pub next: Batch,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

/// How the matrices of a batch follow each other: matrix `i` lies `i / near * jump + i % near * step` behind the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    pub near: usize,
    pub step: usize,
    pub jump: usize,
}

impl Batch {
    /// Where a matrix lies, seen from the first.
    fn at(&self, i: usize) -> usize {
        // Most batches need no division, which would take as long as a small product.
        if self.near == 1 { i * self.jump } else { i / self.near * self.jump + i % self.near * self.step }
    }

    /// From one to the next of groups of so many matrices, where that is always as far.
    pub fn stride(&self, count: usize) -> Option<usize> {
        count.is_multiple_of(self.near).then(|| count / self.near * self.jump)
    }

    /// How far the farthest of so many matrices lies behind the first.
    fn reach(&self, count: usize) -> usize {
        let last = count.saturating_sub(1);
        last / self.near * self.jump + last.min(self.near - 1) * self.step
    }
}

/// Where the entries of a matrix lie that no two strides can walk, such as the windows of a convolution: entry `(i, l)` lies at
/// `rows[first + i] + columns[l]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub rows: Arc<[usize]>,
    pub first: usize,
    pub columns: Arc<[usize]>,
    /// Where the farthest entry lies.
    pub reach: usize,
}

/// `c[i] = a[i] b[i]` for `count` matrices `[m, k]` and `[k, n]`; `c` is dense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    /// The number of the first matrix.
    pub first: usize,
    pub count: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: Matrices,
    pub b: Matrices,
    /// Where the entries of `a` lie, if two strides cannot say it.
    pub listed: Option<Listed>,
}

/// Products of fewer multiply-adds are done by one thread.
const PARALLEL: usize = 1 << 21;

/// The entries of `b` up to which it is read where it lies.
const SMALL: usize = 1 << 14;

/// The steps of `k` that a product of few rows makes at a time where it turns the second operand.
const DEPTH: usize = 256;

/// The bytes of a strip of a packed second operand: it stays in the nearest cache while the rows go by.
const STRIP_BYTES: usize = 1 << 15;

/// The most steps of `k` of such a strip, on any path.
const DEEP: usize = 512;

/// Of so few rows, a product does not pack the whole second operand, which would take longer.
const FEW: usize = 16;

/// The steps of `k` that such a product makes at a time where it reads the second operand in its place.
const SHALLOW: usize = 32;

/// From so many rows and columns on, entries that are listed are packed, and not found by the lists again for every strip of columns.
const WIDE: usize = 256;

/// The rows of `a` that are packed at a time.
const ROWS: usize = 96;

/// The columns of a second operand that such a product turns at a time, and the entries from which on it does so.
const STRIP: usize = 32;
/// The entries of a second operand that are multiplied at a time with a first one whose entries are listed.
const NEAR_PART: usize = 1 << 13;
const NEAR: usize = 1 << 12;

impl Product {
    /// Whether every entry that the product reads lies within buffers of these lengths.
    fn fits(&self, a: usize, b: usize, c: usize) -> bool {
        let empty = self.count * self.m * self.n * self.k == 0;
        c == self.count * self.m * self.n && (empty || self.last_a() < a && self.last_b() < b)
    }

    /// The farthest entry of `a` that is read; nothing is empty.
    pub fn last_a(&self) -> usize {
        let within = match &self.listed {
            Some(listed) => listed.reach,
            None => self.a.row * (self.m - 1) + self.a.column * (self.k - 1),
        };
        self.a.offset + self.a.next.reach(self.first + self.count) + within
    }

    /// The same of `b`.
    pub fn last_b(&self) -> usize {
        let within = self.b.row * (self.k - 1) + self.b.column * (self.n - 1);
        self.b.offset + self.b.next.reach(self.first + self.count) + within
    }

    /// The products of several cases, where `self` is those of one. Rows of one second matrix that follow each other become one matrix.
    pub fn cases(&self, cases: usize) -> Product {
        let Product { count, m, a, b, ref listed, .. } = *self;
        let count = count * cases;
        let rows = a.next.stride(1) == Some(m * a.row) && listed.is_none();
        if b.next.reach(count) == 0 && rows {
            return Product { count: 1, m: count * m, ..self.clone() };
        }
        Product { count, ..self.clone() }
    }

    /// Whether it is computed in blocks, with packed operands.
    fn large(&self) -> bool {
        let Product { m, k, n, b, ref listed, .. } = *self;
        match listed {
            Some(_) => m.min(n) >= WIDE,
            None => n > 1 && k * n > SMALL && (m > FEW || b.column != 1 && b.row != 1),
        }
    }

    /// About how many entries of packed operands one thread holds meanwhile.
    pub fn packed(&self) -> usize {
        let Product { m, k, n, b, ref listed, .. } = *self;
        match k * n {
            _ if self.large() => DEEP.min(k) * (n + ROWS),
            all if listed.is_some() => all * usize::from(b.column != 1),
            _ if n == 1 => k * ROWS.min(m) * usize::from(m * k > NEAR),
            small if small <= SMALL => small * usize::from(b.column != 1),
            _ => DEPTH * STRIP,
        }
    }

    /// Computes the products; large ones on all threads of the pool.
    pub fn run<T: Vectors>(&self, path: Path, a: &[T], b: &[T], c: &mut [T]) {
        assert!(self.fits(a.len(), b.len(), c.len()), "the matrices lie within their buffers");
        if self.k == 0 || c.is_empty() {
            c.fill(T::ZERO);
            return;
        }
        let threads = threads(self.count * self.m * self.k * self.n, PARALLEL);
        spread(Part { product: self.clone(), path, a, b, c }, threads);
    }
}

/// Some matrices of a batch, or some rows of one.
struct Part<'a, T> {
    product: Product,
    path: Path,
    a: &'a [T],
    b: &'a [T],
    c: &'a mut [T],
}

impl<T: Vectors> Spread for Part<'_, T> {
    fn parts(&self) -> usize {
        if self.product.count > 1 { self.product.count } else { self.product.m }
    }

    fn cut(self, first: usize) -> (Self, Self) {
        let Part { product, path, a, b, c } = self;
        let (mut one, mut other) = (product.clone(), product);
        if one.count > 1 {
            (one.count, other.count) = (first, other.count - first);
            other.first += first;
        } else {
            (one.m, other.m) = (first, other.m - first);
            match &mut other.listed {
                Some(listed) => listed.first += first,
                None => other.a.offset += first * other.a.row,
            }
        }
        let (c, rest) = c.split_at_mut(one.count * one.m * one.n);
        (Part { product: one, path, a, b, c }, Part { product: other, path, a, b, c: rest })
    }

    fn work(self) {
        let Part { product, path, a, b, c } = self;
        T::with_buffer(|packed| path.run(Tiles { product: &product, a, b, c, packed }));
    }
}

/// The products of one thread.
struct Tiles<'a, T> {
    product: &'a Product,
    a: &'a [T],
    b: &'a [T],
    c: &'a mut [T],
    /// Room for packed parts of the operands.
    packed: &'a mut Vec<T>,
}

impl<T: Vectors> Work<T> for Tiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(mut self, here: Here<V>) {
        let Product { first, m, k, n, count, a, b, ref listed } = *self.product;
        let (large, mut packed) = (self.product.large(), None);
        for case in first..first + count {
            let a = Matrices { offset: a.offset + a.next.at(case), ..a };
            let b = Matrices { offset: b.offset + b.next.at(case), ..b };
            let c = (case - first) * m * n;
            let (from_a, from_b) = (&self.a[a.offset..], &self.b[b.offset..]);
            let to = &mut self.c[c..c + m * n];
            if large {
                self.blocks(here, a, b, c);
            } else if let Some(listed) = listed {
                let again = packed.replace(b.offset) == Some(b.offset);
                self.listed(here, listed, from_a, (b, again), c);
            } else if n == 1 && a.row != 1 && m * k <= NEAR {
                let column = Matrix { data: from_b, row: b.row, column: 1 };
                multiply(here, (m, k, 1), Matrix { data: from_a, row: a.row, column: a.column }, column, to, 1, false);
            } else if n == 1 && a.row != 1 {
                self.column(here, a, b, c);
            } else if n == 1 {
                // A column is the row of a product of transposed matrices.
                let column = Matrix { data: from_b, row: b.column, column: b.row };
                let turned = Matrix { data: from_a, row: a.column, column: a.row };
                multiply(here, (1, k, m), column, turned, to, m, false);
            } else if b.column != 1 && 2 * m * (k + n) < k * n && k * n <= SMALL {
                self.swapped(here, a, b, c);
            } else if m <= FEW && b.row == 1 && k * n > NEAR {
                self.turned(here, a, b, c);
            } else {
                let place_b = if b.column == 1 {
                    Matrix { data: from_b, row: b.row, column: 1 }
                } else {
                    if packed.replace(b.offset) != Some(b.offset) {
                        self.packed.resize(k * n, T::ZERO);
                        copy(here, from_b, b, (k, n), self.packed);
                    }
                    Matrix { data: self.packed, row: n, column: 1 }
                };
                let place_a = Matrix { data: from_a, row: a.row, column: a.column };
                // A part of `k` at a time, so that what is read of a large second operand lies in the nearest cache.
                let depth = if k * n <= SMALL { k } else { SHALLOW };
                for from in (0..k).step_by(depth) {
                    let place_a = Matrix { data: &place_a.data[from * a.column..], ..place_a };
                    let place_b = Matrix { data: &place_b.data[from * place_b.row..], ..place_b };
                    multiply(here, (m, depth.min(k - from), n), place_a, place_b, to, n, from > 0);
                }
            }
        }
    }
}

impl<T: Vectors> Tiles<'_, T> {
    /// A product whose first operand is read entry by entry wherever it lies; `again` says that the second one was packed before.
    #[inline(always)]
    fn listed<V: Vector<T>>(
        &mut self,
        here: Here<V>,
        listed: &Listed,
        a: &[T],
        (b, again): (Matrices, bool),
        c: usize,
    ) {
        let Product { m, k, n, .. } = *self.product;
        let from = &self.b[b.offset..];
        let right = if b.column == 1 {
            Matrix { data: from, row: b.row, column: 1 }
        } else {
            if !again {
                self.packed.resize(k * n, T::ZERO);
                copy(here, from, b, (k, n), self.packed);
            }
            Matrix { data: self.packed, row: n, column: 1 }
        };
        let rows = &listed.rows[listed.first..listed.first + m];
        // A part of `k` at a time, so that what is read of the second operand stays in the nearest cache.
        let depth = (NEAR_PART / n).clamp(SHALLOW, k.max(SHALLOW));
        for from in (0..k).step_by(depth) {
            let columns = &listed.columns[from..k.min(from + depth)];
            let right = Matrix { data: &right.data[from * right.row..], ..right };
            let left = Entries { data: a, rows, columns };
            multiply(here, (m, columns.len(), n), left, right, &mut self.c[c..c + m * n], n, from > 0);
        }
    }

    /// A product of few rows with a small matrix that does not lie row by row, computed as `b' a'`, so that less must be turned: the first
    /// operand and the result.
    #[inline(always)]
    fn swapped<V: Vector<T>>(&mut self, here: Here<V>, a: Matrices, b: Matrices, c: usize) {
        let Product { m, k, n, .. } = *self.product;
        self.packed.resize(k * m + n * m, T::ZERO);
        let (right, result) = self.packed.split_at_mut(k * m);
        copy(here, &self.a[a.offset..], Matrices { row: a.column, column: a.row, ..a }, (k, m), right);
        let left = Matrix { data: &self.b[b.offset..], row: b.column, column: b.row };
        multiply(here, (n, k, m), left, Matrix { data: right, row: m, column: 1 }, result, m, false);
        for (i, row) in self.c[c..c + m * n].chunks_exact_mut(n).enumerate() {
            row.iter_mut().zip(result.iter().skip(i).step_by(m)).for_each(|(to, x)| *to = *x);
        }
    }

    /// A matrix times a vector: some rows at a time are turned, so that their chains run side by side.
    #[inline(always)]
    fn column<V: Vector<T>>(&mut self, here: Here<V>, a: Matrices, b: Matrices, c: usize) {
        let Product { m, k, .. } = *self.product;
        let row = Matrix { data: &self.b[b.offset..], row: b.column, column: b.row };
        self.packed.resize(k * ROWS.min(m), T::ZERO);
        for top in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - top);
            let from = &self.a[a.offset + top * a.row..];
            copy(here, from, Matrices { row: a.column, column: a.row, ..a }, (k, rows), self.packed);
            let turned = Matrix { data: self.packed, row: rows, column: 1 };
            multiply(here, (1, k, rows), row, turned, &mut self.c[c + top..], rows, false);
        }
    }

    /// A product of few rows with a large matrix that lies column by column: some columns at a time are turned in the nearest cache.
    #[inline(always)]
    fn turned<V: Vector<T>>(&mut self, here: Here<V>, a: Matrices, b: Matrices, c: usize) {
        let Product { m, k, n, .. } = *self.product;
        self.packed.resize(DEPTH * STRIP, T::ZERO);
        for from in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - from);
            let rows = Matrix { data: &self.a[a.offset + from * a.column..], row: a.row, column: a.column };
            for first in (0..n).step_by(STRIP) {
                let columns = STRIP.min(n - first);
                let place = &self.b[b.offset + from * b.row + first * b.column..];
                copy(here, place, b, (depth, columns), self.packed);
                let strip = Matrix { data: self.packed, row: columns, column: 1 };
                multiply(here, (m, depth, columns), rows, strip, &mut self.c[c + first..], n, from > 0);
            }
        }
    }

    /// A large product, in blocks that stay in the caches (Goto and van de Geijn, ACM TOMS 34(3), 2008).
    #[inline(always)]
    fn blocks<V: Vector<T>>(&mut self, here: Here<V>, a: Matrices, b: Matrices, c: usize) {
        let Product { m, k, n, ref listed, .. } = *self.product;
        let (width, height) = (2 * V::LANES, V::ROWS[1]);
        let strips = n.div_ceil(width);
        let deep = (STRIP_BYTES / (width * size_of::<T>())).min(k);
        // Rows that lie side by side are read in their place.
        let in_place = a.column == 1 && listed.is_none();
        let mut packed = std::mem::take(self.packed);
        packed.resize(deep * (strips * width + ROWS), T::ZERO);
        for from in (0..k).step_by(deep) {
            let depth = deep.min(k - from);
            let (packed_b, packed_a) = packed.split_at_mut(strips * width * depth);
            self.pack_b(here, Matrices { offset: b.offset + from * b.row, ..b }, depth, packed_b);
            for top in (0..m).step_by(ROWS) {
                let rows = ROWS.min(m - top);
                let packed_a = &mut packed_a[..if in_place { 0 } else { rows.next_multiple_of(height) * depth }];
                self.pack_a(here, a, (top, rows), (from, depth), packed_a);
                for (strip, b) in packed_b.chunks_exact(width * depth).enumerate() {
                    let columns = width.min(n - strip * width);
                    let b = Matrix { data: b, row: width, column: 1 };
                    let c = &mut self.c[c + top * n + strip * width..];
                    if in_place {
                        let a = Matrix { data: &self.a[a.offset + top * a.row + from..], row: a.row, column: 1 };
                        multiply(here, (rows, depth, columns), a, b, c, n, from > 0);
                    }
                    for (group, a) in packed_a.chunks_exact(height * depth).enumerate() {
                        let count = height.min(rows - group * height);
                        let a = Matrix { data: a, row: 1, column: height };
                        multiply(here, (count, depth, columns), a, b, &mut c[group * height * n..], n, from > 0);
                    }
                }
            }
        }
        *self.packed = packed;
    }

    /// Packs some rows of the second operand in strips as wide as a tile.
    #[inline(always)]
    fn pack_b<V: Vector<T>>(&self, here: Here<V>, b: Matrices, rows: usize, to: &mut [T]) {
        let width = 2 * V::LANES;
        for (strip, to) in to.chunks_exact_mut(width * rows).enumerate() {
            let columns = width.min(self.product.n - strip * width);
            let data = &self.b[b.offset + strip * width * b.column..];
            if b.row == 1 && b.column > 0 && columns == width {
                turn(here, (rows, width), data, b.column, to);
                continue;
            }
            for (l, to) in to.chunks_exact_mut(width).enumerate() {
                let row = &data[l * b.row..];
                if b.column == 1 && columns == width {
                    // The length is known when this is compiled, so that it becomes two loads and not a call.
                    to.copy_from_slice(&row[..width]);
                } else if b.column == 1 {
                    to[..columns].copy_from_slice(&row[..columns]);
                } else {
                    to[..columns].iter_mut().enumerate().for_each(|(j, to)| *to = row[j * b.column]);
                }
            }
        }
    }

    /// Packs some rows and columns of the first operand in groups as high as a tile, so that a tile reads them in order.
    #[inline(always)]
    fn pack_a<V: Vector<T>>(
        &self,
        _here: Here<V>,
        a: Matrices,
        (top, rows): (usize, usize),
        (from, columns): (usize, usize),
        to: &mut [T],
    ) {
        let height = V::ROWS[1];
        for (group, to) in to.chunks_exact_mut(height * columns).enumerate() {
            let (first, count) = (top + group * height, height.min(rows - group * height));
            for (l, to) in to.chunks_exact_mut(height).enumerate() {
                let to = &mut to[..count];
                if let Some(listed) = &self.product.listed {
                    let column = &self.a[a.offset + listed.columns[from + l]..];
                    let places = &listed.rows[listed.first + first..];
                    to.iter_mut().zip(places).for_each(|(to, &place)| *to = column[place]);
                    continue;
                }
                let column = &self.a[a.offset + first * a.row + (from + l) * a.column..];
                if a.row == 1 && count == height {
                    // The length is known, as above.
                    to.copy_from_slice(&column[..height]);
                } else {
                    to.iter_mut().enumerate().for_each(|(i, to)| *to = column[i * a.row]);
                }
            }
        }
    }
}

/// Copies a matrix `[rows, columns]`, neither of them 0, row by row.
#[inline(always)]
fn copy<T: Vectors, V: Vector<T>>(
    here: Here<V>,
    data: &[T],
    from: Matrices,
    (rows, columns): (usize, usize),
    to: &mut [T],
) {
    if from.row == 1 && from.column > 0 {
        return turn(here, (rows, columns), data, from.column, to);
    }
    for (i, to) in to.chunks_exact_mut(columns).enumerate().take(rows) {
        let row = &data[i * from.row..];
        match from.column {
            0 => to.fill(row[0]),
            stride => to.iter_mut().zip(row.iter().step_by(stride)).for_each(|(to, x)| *to = *x),
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
            Matrices { offset: 3, next: Batch { near: 1, step: 0, jump: next }, row, column }
        };
        let a = lay(m, k, turned.0, m * k);
        let b = lay(k, n, turned.1, if shared { 0 } else { k * n });
        let product = Product { first: 0, count, m, k, n, a, b, listed: None };
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
                        let x = data_a[3 + a.next.at(case) + i * a.row + l * a.column];
                        (x, data_b[3 + b.next.at(case) + l * b.row + j * b.column])
                    };
                    wanted.push((0..k).map(entry).fold(T::ZERO, |sum, (x, y)| x.fma(y, sum)).to_f64().to_bits());
                }
            }
        }
        let listed = Listed::new(&vec![(m, a.row)], &vec![(k, a.column)]);
        let products = [product.clone(), Product { listed: Some(listed), ..product }];
        for (path, product) in Path::available().into_iter().flat_map(|path| products.iter().map(move |p| (path, p))) {
            for threads in [1, 3] {
                let mut c = vec![T::NAN; count * m * n];
                let part = Part { product: product.clone(), path, a: &data_a, b: &data_b, c: &mut c };
                spread(part, threads);
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
                (20, 600, 40),
                (257, 3, 259),
            ] {
                check::<f32>(1, m, k, n, turned, false);
                check::<f64>(2, m, k, n, turned, true);
                check::<f32>(3, m, k, n, turned, false);
            }
        }
    }

    #[test]
    fn nothing_to_add_is_zero() {
        let none = Matrices { offset: 0, next: Batch { near: 1, step: 0, jump: 0 }, row: 1, column: 1 };
        let mut c = [f32::NAN; 6];
        let product = Product { first: 0, count: 1, m: 2, k: 0, n: 3, a: none, b: none, listed: None };
        product.run(Path::detect(), &[], &[], &mut c);
        assert_eq!(c, [0.0; 6]);
    }
}
