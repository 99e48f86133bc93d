//! Labelled examples in memory.

use std::ops::Range;

use crate::ir::Tensor;

/// The inputs of all examples, one row each, in the smallest type that holds them exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    dims: Vec<usize>,
    values: Values,
    /// What stands where there is no example; zeros, if nothing.
    filling: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    /// Each stands for `scale` times itself.
    Bytes {
        raw: Vec<u8>,
        scale: f64,
    },
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Features {
    /// Rows of bytes, each of which stands for `scale` times itself; `dims` are those of one example.
    pub fn bytes(dims: &[usize], raw: Vec<u8>, scale: f64) -> Features {
        Features::of(dims, Values::Bytes { raw, scale })
    }

    /// Rows of 32-bit numbers.
    pub fn single(dims: &[usize], values: Vec<f32>) -> Features {
        Features::of(dims, Values::Single(values))
    }

    /// Rows of 64-bit numbers.
    pub fn double(dims: &[usize], values: Vec<f64>) -> Features {
        Features::of(dims, Values::Double(values))
    }

    fn of(dims: &[usize], values: Values) -> Features {
        Features { dims: dims.to_vec(), values, filling: vec![] }
    }

    /// The same, with one example's numbers to stand where there is no example.
    pub fn filled_with(self, filling: Vec<f64>) -> Features {
        Features { filling, ..self }
    }

    /// What stands where there is no example, written over zeros.
    pub fn fill(&self, out: &mut [f64]) {
        out.iter_mut().zip(&self.filling).for_each(|(to, x)| *to = *x);
    }

    /// The dims of one example.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The number of elements of one example.
    pub fn row_len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Writes one example, row-major.
    pub fn copy_row(&self, row: usize, out: &mut [f64]) {
        let at = row * out.len()..(row + 1) * out.len();
        match &self.values {
            Values::Bytes { raw, scale } => {
                out.iter_mut().zip(&raw[at]).for_each(|(to, &x)| *to = f64::from(x) * scale)
            }
            Values::Single(values) => out.iter_mut().zip(&values[at]).for_each(|(to, &x)| *to = f64::from(x)),
            Values::Double(values) => out.copy_from_slice(&values[at]),
        }
    }

    /// All rows as one tensor `[rows, ..]`.
    pub fn tensor(&self, rows: usize) -> Tensor {
        let len = self.row_len();
        let mut data = vec![0.0; rows * len];
        if len > 0 {
            data.chunks_mut(len).enumerate().for_each(|(row, out)| self.copy_row(row, out));
        }
        Tensor::new([&[rows], self.dims.as_slice()].concat(), data)
    }
}

/// What is to be predicted of every example.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// A class, numbered from 0, below `count`.
    Classes {
        /// The class of each example.
        labels: Vec<u32>,
        /// One more than the largest label.
        count: usize,
    },
    /// A finite number.
    Numbers(Vec<f64>),
}

impl Targets {
    /// Classes, as many as the largest label says.
    pub fn classes(labels: Vec<u32>) -> Targets {
        let count = labels.iter().max().map_or(0, |&largest| largest as usize + 1);
        Targets::Classes { labels, count }
    }

    /// Classes by name, in the order of their names.
    pub(super) fn named(of: &[String]) -> Targets {
        Targets::classes(numbered(of).0)
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Numbers(values) => values.len(),
        }
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target of one example as a number.
    pub fn number(&self, row: usize) -> f64 {
        match self {
            Targets::Classes { labels, .. } => f64::from(labels[row]),
            Targets::Numbers(values) => values[row],
        }
    }
}

/// Whom the examples belong to by themselves: a school, a writer, an alphabet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// The owner of each example, below the number of names.
    pub of: Vec<u32>,
    /// The owners' names, in ascending order.
    pub names: Vec<String>,
}

impl Owners {
    /// Numbers the owners in the order of their names; names that are all whole numbers count as numbers, so that 10
    /// comes after 9.
    pub fn from_names(of: &[String]) -> Owners {
        let (of, names) = numbered(of);
        Owners { of, names }
    }
}

/// The number of every name, and the names in order.
fn numbered(of: &[String]) -> (Vec<u32>, Vec<String>) {
    let mut names: Vec<String> = of.to_vec();
    match of.iter().map(|name| name.parse::<i64>()).collect::<Result<Vec<i64>, _>>() {
        Ok(_) => names.sort_by_key(|name| (name.parse::<i64>().ok(), name.clone())),
        Err(_) => names.sort(),
    }
    names.dedup();
    let numbers: std::collections::HashMap<&str, u32> =
        names.iter().enumerate().map(|(i, name)| (name.as_str(), i as u32)).collect();
    (of.iter().map(|name| numbers[name.as_str()]).collect(), names)
}

/// Examples: inputs, targets and, where the file says so, owners.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// The inputs, every element finite.
    pub features: Features,
    /// The targets, one per example.
    pub targets: Targets,
    /// The owners, one per example.
    pub owners: Option<Owners>,
}

impl DataSet {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        let features = match &self.features.values {
            Values::Bytes { raw, .. } => raw.len(),
            Values::Single(values) => size_of_val(&values[..]),
            Values::Double(values) => size_of_val(&values[..]),
        };
        let targets = match &self.targets {
            Targets::Classes { labels, .. } => size_of_val(&labels[..]),
            Targets::Numbers(values) => size_of_val(&values[..]),
        };
        features + targets + self.owners.as_ref().map_or(0, |owners| size_of_val(&owners.of[..]))
    }

    /// What partitions look at, of the examples in a range: targets and owners, without the features.
    pub fn labels(&self, rows: Range<usize>) -> DataSet {
        let targets = match &self.targets {
            Targets::Classes { labels, count } => {
                Targets::Classes { labels: labels[rows.clone()].to_vec(), count: *count }
            }
            Targets::Numbers(values) => Targets::Numbers(values[rows.clone()].to_vec()),
        };
        let owners = self.owners.as_ref();
        let owners = owners.map(|o| Owners { of: o.of[rows].to_vec(), names: o.names.clone() });
        DataSet { features: Features::double(&[0], vec![]), targets, owners }
    }

    /// The number of classes; 0 where the targets are numbers.
    pub fn classes(&self) -> usize {
        match &self.targets {
            Targets::Classes { count, .. } => *count,
            Targets::Numbers(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_every_storage() {
        let stored = [
            Features::bytes(&[2], vec![1, 2, 3, 4], 0.5),
            Features::single(&[2], vec![0.5, 1.0, 1.5, 2.0]),
            Features::double(&[2], vec![0.5, 1.0, 1.5, 2.0]),
        ];
        for features in stored {
            assert_eq!(features.tensor(2), Tensor::new(vec![2, 2], vec![0.5, 1.0, 1.5, 2.0]));
            let mut row = [0.0; 2];
            features.copy_row(1, &mut row);
            assert_eq!(row, [1.5, 2.0]);
        }
    }

    #[test]
    fn owners_are_numbered_by_name() {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let owners = Owners::from_names(&names(&["10", "9", "10"]));
        assert_eq!((owners.of, owners.names), (vec![1, 0, 1], names(&["9", "10"])));
        let owners = Owners::from_names(&names(&["b", "a", "10"]));
        assert_eq!((owners.of, owners.names), (vec![2, 1, 0], names(&["10", "a", "b"])));
    }
}
