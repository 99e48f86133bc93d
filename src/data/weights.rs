//! Tensors by name: the parameters of a trained network, in the safetensors format.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{DataError, FileBytes};
use crate::ir::{Precision, Tensor};

/// Tensors by name. Their numbers stay in the file's content until they are asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    file: FileBytes,
    tensors: BTreeMap<String, Place>,
    /// Other names that a tensor goes by, each where it names one alone: without its first word, which says what task the network was
    /// trained for (`bert.encoder.layer.0` is `encoder.layer.0`), and the present spelling of `gamma` and `beta`.
    aliases: BTreeMap<String, Option<String>>,
}

/// Where a tensor lies in the file.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    dims: Vec<usize>,
    dtype: Dtype,
    bytes: Range<usize>,
}

impl Weights {
    /// The tensor of a parameter: the one that has its name, else the one whose name is the longest end of it after a dot, so that
    /// `encoder.layer.0.weight` is found for `net.encoder.layer.0.weight`. Numbers of every width become `f64`, whole numbers too.
    pub fn find(&self, parameter: &str) -> Option<Tensor> {
        let place = self.place(parameter)?;
        let data = numbers(place.dtype, &self.file[place.bytes.clone()])?;
        Some(Tensor::new(place.dims.clone(), data))
    }

    /// The numbers of the tensor of a parameter, row-major, where the file has them in 32 bits: a copy of them.
    pub fn single(&self, parameter: &str) -> Option<Vec<f32>> {
        let place = self.place(parameter).filter(|place| place.dtype == Dtype::F32)?;
        let (words, _) = self.file[place.bytes.clone()].as_chunks::<4>();
        Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> usize {
        self.file.len()
    }

    /// The dims of the tensor of a parameter.
    pub fn dims(&self, parameter: &str) -> Option<&[usize]> {
        self.place(parameter).map(|place| place.dims.as_slice())
    }

    /// The name that the tensor of a parameter has in the file.
    pub fn name_of(&self, parameter: &str) -> Option<&str> {
        let ends = parameter.match_indices('.').map(|(dot, _)| &parameter[dot + 1..]);
        // The last word alone, such as `weight`, says nothing.
        let ends = ends.filter(|end| end.contains('.'));
        let known = |name: &str| match self.tensors.get_key_value(name) {
            Some((name, _)) => Some(name.as_str()),
            None => self.aliases.get(name)?.as_deref(),
        };
        std::iter::once(parameter).chain(ends).find_map(known)
    }

    fn place(&self, parameter: &str) -> Option<&Place> {
        self.tensors.get(self.name_of(parameter)?)
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

/// Reads the head of a safetensors file, and checks that all that it announces is there.
pub fn read_safetensors(file: FileBytes) -> Result<Weights, DataError> {
    let whole = SafeTensors::deserialize(&file).map_err(|e| wrong(e.to_string()))?;
    let mut weights = Weights::default();
    for (name, view) in whole.tensors() {
        let (dtype, bytes) = (view.dtype(), view.data());
        if numbers(dtype, &[]).is_none() {
            return Err(wrong(format!("`{name}` holds numbers of type {dtype:?}, which are not read")));
        }
        let start = bytes.as_ptr() as usize - file.as_ptr() as usize;
        let place = Place { dims: view.shape().to_vec(), dtype, bytes: start..start + bytes.len() };
        for alias in aliases(&name) {
            let one = |known: &mut Option<String>| *known = None;
            weights.aliases.entry(alias).and_modify(one).or_insert_with(|| Some(name.clone()));
        }
        weights.tensors.insert(name, place);
    }
    Ok(Weights { file, ..weights })
}

fn aliases(name: &str) -> Vec<String> {
    let modern = match name.rsplit_once('.') {
        Some((layer, "gamma")) => format!("{layer}.weight"),
        Some((layer, "beta")) => format!("{layer}.bias"),
        _ => name.to_owned(),
    };
    // What begins with the number of a layer says nothing of which layers.
    let says = |rest: &&str| rest.contains('.') && !rest.starts_with(|c: char| c.is_ascii_digit());
    let short = modern.split_once('.').map(|(_, rest)| rest).filter(says).map(str::to_owned);
    std::iter::once(modern).chain(short).filter(|alias| alias != name).collect()
}

/// The numbers of a type in little-endian bytes; `None` where the type is none that is read.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Option<Vec<f64>> {
        Some(bytes.chunks_exact(N).map(|chunk| number(chunk.try_into().expect("chunks of that size"))).collect())
    }
    match dtype {
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        Dtype::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F16 => each(bytes, |b| half(u16::from_le_bytes(b))),
        // The upper half of an f32.
        Dtype::BF16 => each(bytes, |b: [u8; 2]| f64::from(f32::from_le_bytes([0, 0, b[0], b[1]]))),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        _ => None,
    }
}

/// A safetensors file of tensors by name, in the order of names. Those of `before`, a file as well, come along as they are where
/// `tensors` has none of their name.
pub fn write_safetensors(
    before: Option<&[u8]>,
    tensors: &BTreeMap<String, Tensor>,
    precision: Precision,
) -> Result<Vec<u8>, DataError> {
    let dtype = if precision == Precision::F32 { Dtype::F32 } else { Dtype::F64 };
    let damaged = |e: safetensors::SafeTensorError| wrong(e.to_string());
    let bytes: Vec<(&String, Vec<u8>)> = tensors.iter().map(|(name, t)| (name, t.to_le_bytes(precision))).collect();
    let file = before.map(SafeTensors::deserialize).transpose().map_err(damaged)?;
    let mut views: BTreeMap<String, TensorView> = BTreeMap::new();
    for (name, kept) in file.iter().flat_map(|file| file.tensors()) {
        views.insert(name, kept);
    }
    for (name, bytes) in &bytes {
        let view = TensorView::new(dtype, tensors[*name].dims().to_vec(), bytes).map_err(damaged)?;
        views.insert((*name).clone(), view);
    }
    // What `transformers` asks a file for before it opens it.
    let origin = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(origin)).map_err(damaged)
}

fn wrong(reason: String) -> DataError {
    DataError::Format { what: "safetensors file", reason }
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

    fn parsed(bytes: Vec<u8>) -> Result<Weights, DataError> {
        read_safetensors(bytes.into())
    }

    #[test]
    fn numbers_of_every_width() {
        let read = |dtype: &str, bytes: &[u8]| {
            let weights = parsed(file("a.w", dtype, "[2]", bytes)).unwrap();
            weights.find("a.w").unwrap().data().to_vec()
        };
        assert_eq!(read("F64", &[1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat()), [1.5, -2.0]);
        let single = [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat();
        assert_eq!(read("F32", &single), [1.5, -2.0]);
        assert_eq!(parsed(file("a.w", "F32", "[2]", &single)).unwrap().single("a.w"), Some(vec![1.5, -2.0]));
        assert_eq!(parsed(file("a.w", "I32", "[2]", &single)).unwrap().single("a.w"), None);
        // One and a half, and the smallest half.
        assert_eq!(read("F16", &[0x00, 0x3e, 0x01, 0x00]), [1.5, 2f64.powi(-24)]);
        assert_eq!(read("BF16", &[0xc0, 0x3f, 0x00, 0xc0]), [1.5, -2.0]);
        assert_eq!(read("I32", &[7, 0, 0, 0, 255, 255, 255, 255]), [7.0, -1.0]);
        let refused = parsed(file("a.w", "BOOL", "[2]", &[0, 1])).unwrap_err();
        assert!(refused.to_string().contains("`a.w` holds numbers of type BOOL"), "{refused}");
    }

    #[test]
    fn names_from_their_end() {
        let weights = parsed(file("layer.0.weight", "F32", "[1]", &[0; 4])).unwrap();
        assert!(weights.find("net.encoder.layer.0.weight").is_some());
        assert!(weights.find("layer.0.weight").is_some());
        assert!(weights.find("0.weight").is_none() && weights.find("weight").is_none());
        let single = parsed(file("weight", "F32", "[1]", &[0; 4])).unwrap();
        assert!(single.find("weight").is_some() && single.find("net.weight").is_none());
    }

    #[test]
    fn names_of_other_spellings() {
        let tensors = ["bert.a.LayerNorm.gamma", "bert.a.LayerNorm.beta", "cls.b.c.weight", "other.b.c.weight"];
        let tensors =
            tensors.iter().zip(0..).map(|(name, i)| ((*name).to_owned(), Tensor::scalar(f64::from(i)))).collect();
        let weights = parsed(write_safetensors(None, &tensors, Precision::F64).unwrap()).unwrap();
        let found = |name: &str| weights.find(name).map(|tensor| tensor.data()[0]);
        assert_eq!((found("net.a.LayerNorm.weight"), found("net.a.LayerNorm.bias")), (Some(0.0), Some(1.0)));
        assert_eq!(weights.name_of("a.LayerNorm.weight"), Some("bert.a.LayerNorm.gamma"));
        assert_eq!((found("b.c.weight"), found("net.cls.b.c.weight")), (None, Some(2.0)), "the short name names two");
    }

    #[test]
    fn what_is_written_keeps_what_was_there() {
        let before = file("a.w", "I64", "[1]", &7i64.to_le_bytes());
        let tensors = BTreeMap::from([("b.w".to_owned(), Tensor::new(vec![2], vec![0.5, 1.5]))]);
        let weights = parsed(write_safetensors(Some(&before), &tensors, Precision::F32).unwrap()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a.w", "b.w"]);
        assert_eq!((weights.tensors["a.w"].dtype, weights.tensors["b.w"].dtype), (Dtype::I64, Dtype::F32));
        assert_eq!(weights.find("b.w").unwrap().data(), [0.5, 1.5]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let whole = file("a.w", "F32", "[2]", &[0; 8]);
        for cut in 0..whole.len() {
            assert!(parsed(whole[..cut].to_vec()).is_err(), "{cut} bytes");
        }
        for header in ["18446744073709551615", "4294967296"] {
            assert!(parsed(file("a.w", "F32", &format!("[{header},{header}]"), &[0; 8])).is_err());
        }
        assert!(parsed(vec![255; 16]).is_err());
    }
}
