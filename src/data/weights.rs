//! Tensors by name: the parameters of a trained network, in the safetensors format.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::DataError;
use crate::ir::Tensor;

/// Tensors by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// The tensor of a parameter: the one that has its name, else the one whose name is the longest end of it after a dot, so that
    /// `encoder.layer.0.weight` is found for `net.encoder.layer.0.weight`.
    pub fn find(&self, parameter: &str) -> Option<&Tensor> {
        let ends = parameter.match_indices('.').map(|(dot, _)| &parameter[dot + 1..]);
        // The last word alone, such as `weight`, says nothing.
        let ends = ends.filter(|end| end.contains('.'));
        std::iter::once(parameter).chain(ends).find_map(|name| self.0.get(name))
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Reads a safetensors file; numbers of every width become `f64`, whole numbers too.
pub fn read_safetensors(bytes: &[u8]) -> Result<Weights, DataError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
    let read = |(name, view): (String, TensorView)| Ok((name.clone(), tensor(&name, &view)?));
    file.tensors().into_iter().map(read).collect::<Result<_, _>>().map(Weights)
}

fn wrong(reason: String) -> DataError {
    DataError::Format { what: "safetensors file", reason }
}

fn tensor(name: &str, view: &TensorView) -> Result<Tensor, DataError> {
    fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.chunks_exact(N).map(|chunk| number(chunk.try_into().expect("chunks of that size"))).collect()
    }
    let bytes = view.data();
    let data = match view.dtype() {
        Dtype::F64 => numbers(bytes, f64::from_le_bytes),
        Dtype::F32 => numbers(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F16 => numbers(bytes, |b| half(u16::from_le_bytes(b))),
        // The upper half of an f32.
        Dtype::BF16 => numbers(bytes, |b: [u8; 2]| f64::from(f32::from_le_bytes([0, 0, b[0], b[1]]))),
        Dtype::I64 => numbers(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => numbers(bytes, |b| f64::from(i32::from_le_bytes(b))),
        other => return Err(wrong(format!("`{name}` holds numbers of type {other:?}, which are not read"))),
    };
    if data.len() != view.shape().iter().product::<usize>() {
        return Err(wrong(format!("`{name}` does not have as many numbers as its shape says")));
    }
    Ok(Tensor::new(view.shape().to_vec(), data))
}

/// The value of an IEEE 754 half: 1 bit of sign, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * libm::exp2(-24.0),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * libm::exp2(f64::from(exponent - 15)),
    };
    if bits >> 15 == 1 { -size } else { size }
}
