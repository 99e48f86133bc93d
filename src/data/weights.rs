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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one tensor.
    fn file(name: &str, dtype: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
        let end = bytes.len();
        let header = format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), bytes].concat()
    }

    #[test]
    fn numbers_of_every_width() {
        let read = |dtype: &str, bytes: &[u8]| {
            let weights = read_safetensors(&file("a.w", dtype, "[2]", bytes)).unwrap();
            weights.find("a.w").unwrap().data().to_vec()
        };
        assert_eq!(read("F64", &[1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat()), [1.5, -2.0]);
        assert_eq!(read("F32", &[1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat()), [1.5, -2.0]);
        // One and a half, and the smallest half.
        assert_eq!(read("F16", &[0x00, 0x3e, 0x01, 0x00]), [1.5, 2f64.powi(-24)]);
        assert_eq!(read("BF16", &[0xc0, 0x3f, 0x00, 0xc0]), [1.5, -2.0]);
        assert_eq!(read("I32", &[7, 0, 0, 0, 255, 255, 255, 255]), [7.0, -1.0]);
        let refused = read_safetensors(&file("a.w", "BOOL", "[2]", &[0, 1])).unwrap_err();
        assert!(refused.to_string().contains("`a.w` holds numbers of type BOOL"), "{refused}");
    }

    #[test]
    fn names_from_their_end() {
        let weights = read_safetensors(&file("layer.0.weight", "F32", "[1]", &[0; 4])).unwrap();
        assert!(weights.find("net.encoder.layer.0.weight").is_some());
        assert!(weights.find("layer.0.weight").is_some());
        assert!(weights.find("0.weight").is_none() && weights.find("weight").is_none());
        let single = read_safetensors(&file("weight", "F32", "[1]", &[0; 4])).unwrap();
        assert!(single.find("weight").is_some() && single.find("net.weight").is_none());
    }

    #[test]
    fn damaged_files_are_refused() {
        let whole = file("a.w", "F32", "[2]", &[0; 8]);
        for cut in 0..whole.len() {
            assert!(read_safetensors(&whole[..cut]).is_err(), "{cut} bytes");
        }
        for header in ["18446744073709551615", "4294967296"] {
            assert!(read_safetensors(&file("a.w", "F32", &format!("[{header},{header}]"), &[0; 8])).is_err());
        }
        assert!(read_safetensors(&[255; 16]).is_err());
    }
}
