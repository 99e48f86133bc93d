//! Data sets: from the bytes of a file to labelled examples, and from examples to clients.
//!
//! Nothing here opens a file: the caller reads the bytes, and hashes them for the ledger.

mod archive;
mod choices;
mod cifar;
mod columns;
mod content;
mod convai;
mod csv;
mod error;
mod idx;
mod images;
mod instructions;
mod json;
mod npy;
mod partition;
mod read;
mod rows;
mod set;
mod source;
mod texts;
mod weights;

pub use archive::pack;
pub use cifar::{Cifar, read_cifar};
pub use columns::{ColumnOptions, read_parquet};
pub use content::FileBytes;
pub use convai::read_convai;
pub use csv::{CsvOptions, Header, Preview, preview, read_csv};
pub use error::DataError;
pub use idx::{idx_dims, read_idx};
pub use images::{ImageOptions, read_images};
pub use instructions::read_instructions;
pub use json::{JsonlOptions, read_jsonl, read_leaf};
pub use npy::{read_npys, read_npz};
pub use partition::{PartitionError, divide, hold_out};
pub use read::read;
pub use set::{DataSet, Features, Owners, Targets};
pub use texts::{PADDING, read_texts};
pub use weights::{Weights, read_safetensors, write_safetensors};
