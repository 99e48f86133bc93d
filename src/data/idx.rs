//! The IDX format of MNIST and its successors: images in one file, labels in another; plain or packed with gzip.
//!
//! Layout (LeCun, "The MNIST database"): two zero bytes, a type byte, the number of dims, each dim as a big-endian u32, then the
//! values row-major.

use std::io::Read;

use super::source::{LIMIT, open};
use super::{DataError, DataSet, Features, Targets};

/// The type byte of unsigned bytes, the only one in use.
const UNSIGNED_BYTE: u8 = 0x08;

/// The dims of a file, read without reading its values.
pub fn idx_dims(bytes: &[u8]) -> Result<Vec<usize>, DataError> {
    header(&mut open(bytes, LIMIT))
}

/// Images and labels as one data set: inputs have the dims of one image, every value times `scale`.
///
/// Fails where a file is cut short or longer than it says, holds another type than bytes, or the numbers of images and labels
/// differ.
pub fn read_idx(images: &[u8], labels: &[u8], scale: f64) -> Result<DataSet, DataError> {
    let (dims, values) = read(images, "images")?;
    let (label_dims, label_values) = read(labels, "labels")?;
    let [count] = label_dims[..] else {
        return Err(wrong("labels", format!("they have {} dims, one is wanted", label_dims.len())));
    };
    let (rows, one) = dims.split_first().ok_or_else(|| wrong("images", "they have no dims".into()))?;
    if *rows != count {
        return Err(DataError::Counts { inputs: *rows, targets: count });
    }
    if count == 0 {
        return Err(DataError::Empty);
    }
    let labels = label_values.into_iter().map(u32::from).collect();
    Ok(DataSet { features: Features::bytes(one, values, scale), targets: Targets::classes(labels), owners: None })
}

fn read(bytes: &[u8], what: &'static str) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let mut reader = open(bytes, LIMIT);
    let dims = header(&mut reader)?;
    // 2^40 declared values are no reason to ask for the memory: what is there is read, and then counted.
    let declared = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    let mut values = Vec::new();
    reader.read_to_end(&mut values).map_err(super::source::io_error)?;
    if values.len() != declared {
        let found = values.len();
        return Err(wrong(what, format!("its header declares {dims:?}, {declared} values, and {found} follow")));
    }
    Ok((dims, values))
}

fn header(reader: &mut impl Read) -> Result<Vec<usize>, DataError> {
    let mut word = || -> Result<[u8; 4], DataError> {
        let mut word = [0; 4];
        reader.read_exact(&mut word).map_err(|_| wrong("file", "it ends within its header".into()))?;
        Ok(word)
    };
    let [zero, zero_too, kind, rank] = word()?;
    if (zero, zero_too) != (0, 0) {
        return Err(wrong("file", format!("it begins with {zero:#04x} {zero_too:#04x}, not with two zero bytes")));
    }
    if kind != UNSIGNED_BYTE {
        return Err(wrong("file", format!("its values are of type {kind:#04x}, and only bytes (0x08) are read")));
    }
    (0..rank).map(|_| word().map(|w| u32::from_be_bytes(w) as usize)).collect()
}

fn wrong(what: &'static str, reason: String) -> DataError {
    DataError::Format { what: "IDX file", reason: format!("{what}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    #[test]
    fn images_and_labels() {
        let images = idx(&[2, 1, 2], &[0, 255, 51, 102]);
        let labels = idx(&[2], &[3, 0]);
        let set = read_idx(&images, &labels, 1.0 / 255.0).unwrap();
        assert_eq!((set.features.dims(), set.classes()), (&[1, 2][..], 4));
        assert_eq!(set.features.tensor(2).data(), [0.0, 1.0, 51.0 / 255.0, 102.0 * (1.0 / 255.0)]);
        assert_eq!(idx_dims(&images).unwrap(), [2, 1, 2]);
    }

    #[test]
    fn faults() {
        let labels = idx(&[2], &[3, 0]);
        let message = |images: &[u8]| read_idx(images, &labels, 1.0).unwrap_err().to_string();
        assert!(message(&idx(&[2, 2], &[1, 2, 3])).contains("declares [2, 2], 4 values, and 3 follow"));
        assert!(message(&idx(&[2, 2], &[1, 2, 3, 4, 5])).contains("and 5 follow"));
        assert!(message(&idx(&[u32::MAX, 256, 256], &[1])).contains("and 1 follow"));
        assert!(message(&idx(&[3, 1], &[1, 2, 3])).contains("3 inputs and 2 targets"));
        assert!(message(&[0, 0, 8]).contains("ends within its header"));
        assert!(message(&[0, 0, 13, 1, 0, 0, 0, 0]).contains("only bytes"));
        assert!(message(b"P5 28 28").contains("two zero bytes"));
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "a skipped test says why")]
    fn fashion_mnist_where_it_is_installed() {
        let folder = std::path::Path::new("/usr/share/datasets/fashion-mnist");
        let file = |name: &str| std::fs::read(folder.join(name));
        let (Ok(images), Ok(labels)) = (file("t10k-images-idx3-ubyte.gz"), file("t10k-labels-idx1-ubyte.gz")) else {
            println!("skipped: the Debian package dataset-fashion-mnist is not installed");
            return;
        };
        let set = read_idx(&images, &labels, 1.0 / 255.0).unwrap();
        assert_eq!((set.len(), set.classes(), set.features.dims()), (10_000, 10, &[28, 28][..]));
    }
}
