//! Data sets: from the bytes of a file to labelled examples, and from examples to clients.
//!
//! Nothing here opens a file: the caller reads the bytes, and hashes them for the ledger.

mod csv;
mod error;
mod partition;
mod source;

pub use csv::{CsvOptions, Header, Preview, preview, read_csv};
pub use error::DataError;
pub use partition::{PartitionError, divide, hold_out};

use crate::ir::Tensor;

/// Labelled examples.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// The inputs `[n, d]`, one example a row, every element finite.
    pub features: Tensor,
    /// The class of each example, below `classes`.
    pub labels: Vec<u32>,
    /// One more than the largest label.
    pub classes: usize,
}
