//! Arrays as `numpy.save` writes them.

use npyz::WriterBuilder;

/// The bytes of an array.
pub fn npy<T: npyz::AutoSerialize>(dims: &[u64], values: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(dims).writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
    bytes
}
