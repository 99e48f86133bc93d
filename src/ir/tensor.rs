//! A dense tensor on the host, the currency between programs, data and metrics.

use crate::hash::variants;

variants! {
    /// The float type of every tensor in a run.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Precision {
        /// 32 bits.
        F32,
        /// 64 bits.
        F64,
    }
}

impl Precision {
    /// `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        }
    }

    /// The bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }
}

/// Row-major values with their dims. Elements are `f64`, which holds every `f32` exactly; an executor rounds
/// to its own float type when it takes a tensor in.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Vec<f64>,
}

impl Tensor {
    /// A tensor of the given dims; `data` holds their product of elements, in row-major order.
    pub fn new(dims: Vec<usize>, data: Vec<f64>) -> Tensor {
        assert_eq!(dims.iter().product::<usize>(), data.len(), "as many elements as the dims say");
        Tensor { dims, data }
    }

    /// A tensor of rank 0.
    pub fn scalar(value: f64) -> Tensor {
        Tensor { dims: vec![], data: vec![value] }
    }

    /// A tensor of one repeated value.
    pub fn full(dims: &[usize], value: f64) -> Tensor {
        Tensor { dims: dims.to_vec(), data: vec![value; dims.iter().product()] }
    }

    /// The dims, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// The elements in row-major order, to be written.
    pub fn data_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    /// The elements as little-endian bytes of that float type.
    pub fn to_le_bytes(&self, precision: Precision) -> Vec<u8> {
        match precision {
            Precision::F32 => self.data.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            Precision::F64 => self.data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// The elements alone.
    pub fn into_data(self) -> Vec<f64> {
        self.data
    }

    /// Row `i` along the first axis, as a tensor of one rank less.
    pub fn row(&self, i: usize) -> Tensor {
        let len = self.row_len();
        Tensor { dims: self.dims[1..].to_vec(), data: self.data[i * len..(i + 1) * len].to_vec() }
    }

    /// The number of elements in one row along the first axis.
    pub fn row_len(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// The chosen rows along the first axis, in that order.
    pub fn rows(&self, chosen: &[usize]) -> Tensor {
        let len = self.row_len();
        let mut data = Vec::with_capacity(chosen.len() * len);
        for &i in chosen {
            data.extend_from_slice(&self.data[i * len..(i + 1) * len]);
        }
        let mut dims = self.dims.clone();
        dims[0] = chosen.len();
        Tensor { dims, data }
    }

    /// Overwrites row `i` along the first axis.
    pub fn set_row(&mut self, i: usize, row: &[f64]) {
        let len = self.row_len();
        self.data[i * len..(i + 1) * len].copy_from_slice(row);
    }

    /// Tensors of one shape under a new first axis; `dims` is that shape.
    pub fn stack(dims: &[usize], parts: &[Tensor]) -> Tensor {
        let data = parts.iter().flat_map(|p| p.data.iter().copied()).collect();
        Tensor::new([&[parts.len()], dims].concat(), data)
    }
}
