//! Rows of tables by number: what [`crate::ir::Op::Gather`] and [`crate::ir::Op::Scatter`] do, in any float type.

use std::fmt;
use std::ops::AddAssign;

/// Tables of rows, one for every entry of the batch axes, and how many numbers are looked up in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// How many tables there are.
    tables: usize,
    /// The rows of one table.
    count: usize,
    /// The entries of one row.
    width: usize,
    /// The numbers that are looked up in one table.
    lookups: usize,
}

impl Rows {
    /// Tables `[B.., n, R..]` and numbers `[B.., I..]`.
    pub fn new(table: &[usize], numbers: &[usize], batch: usize) -> Rows {
        let [width, lookups] = [&table[batch + 1..], &numbers[batch..]].map(|dims| dims.iter().product());
        Rows { tables: table[..batch].iter().product(), count: table[batch], width, lookups }
    }

    /// Fills `out` with the row of every number, zeros where there is none. `numbers` may go on after those.
    pub fn gather<T: Copy + Default + Into<f64>>(&self, tables: &[T], numbers: &[T], out: &mut [T]) {
        for (place, (number, out)) in numbers.iter().zip(out.chunks_exact_mut(self.width.max(1))).enumerate() {
            match self.find(*number, place) {
                Some(row) => out.copy_from_slice(&tables[row * self.width..(row + 1) * self.width]),
                None => out.fill(T::default()),
            }
        }
    }

    /// Fills `out` with tables whose every row is the sum, in the order of the numbers, of the rows that have its number.
    pub fn scatter<T: Copy + Default + Into<f64> + AddAssign>(&self, numbers: &[T], rows: &[T], out: &mut [T]) {
        out.fill(T::default());
        let numbers = &numbers[..self.tables * self.lookups];
        for (place, (number, row)) in numbers.iter().zip(rows.chunks_exact(self.width.max(1))).enumerate() {
            if let Some(to) = self.find(*number, place) {
                let totals = &mut out[to * self.width..(to + 1) * self.width];
                totals.iter_mut().zip(row).for_each(|(total, &x)| *total += x);
            }
        }
    }

    /// How many entries are looked up.
    pub fn entries(&self) -> usize {
        self.tables * self.lookups * self.width
    }

    /// The row among those of all tables that the number at `place` names.
    fn find(&self, number: impl Into<f64>, place: usize) -> Option<usize> {
        let number = number.into();
        (number > -1.0 && number < self.count as f64).then(|| place / self.lookups * self.count + number as usize)
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} of [{}, {}]", self.tables, self.lookups, self.count, self.width)
    }
}
