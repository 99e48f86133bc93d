//! Host maths in f64 whose bits are the same on every machine: only `+ - * /` and the square root, in a fixed order.
//!
//! Common to all of it: an input that holds a NaN (where stated, any non-finite value) gives NaN, so a diverged run
//! stays visible in what is measured.

mod eigen;
mod simplex;
mod singular;
mod stats;
mod subspace;

pub use eigen::symmetric_eigenvalues;
pub use simplex::simplex_projection;
pub use singular::{energy_ratio, inverse_condition, numerical_rank, singular_values, spectral_norm};
pub use stats::{mean, median, population_std, quantile, sample_std, slope};
use subspace::remove_components;
pub use subspace::{chordal_distance, orthonormal_basis, subspace_distance};

/// A view of a row-major matrix `[rows, cols]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix<'a> {
    rows: usize,
    cols: usize,
    data: &'a [f64],
}

impl<'a> Matrix<'a> {
    /// A view of `data`, which holds `rows * cols` elements in row-major order.
    pub fn new(rows: usize, cols: usize, data: &'a [f64]) -> Matrix<'a> {
        assert_eq!(rows * cols, data.len(), "as many elements as rows and columns say");
        Matrix { rows, cols, data }
    }

    fn column(&self, j: usize) -> Vec<f64> {
        (0..self.rows).map(|i| self.data[i * self.cols + j]).collect()
    }

    fn is_finite(&self) -> bool {
        self.data.iter().all(|x| x.is_finite())
    }
}

/// The sum of products, from the first element to the last.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
