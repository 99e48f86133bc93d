//! The binary version of CIFAR-10 and CIFAR-100 (Krizhevsky 2009): records of label bytes and 3 x 32 x 32 pixels.

use super::archive::Archive;
use super::{DataError, DataSet, Features, Targets};

/// Channels, height and width of one image.
const IMAGE: [usize; 3] = [3, 32, 32];

/// The bytes of one image.
const PIXELS: usize = 3 * 32 * 32;

/// Which labels a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cifar {
    /// One of 10 classes.
    Ten,
    /// A coarse class of 20, then a fine one of 100; the fine one is the target.
    Hundred,
}

/// All `.bin` files of an archive whose names begin with `part`, in the order of their names: `data_batch` or `test_batch`
/// of CIFAR-10, `train` or `test` of CIFAR-100. For CIFAR-100 the owner of an example is its coarse class.
pub fn read_cifar(bytes: &[u8], version: Cifar, part: &str, scale: f64) -> Result<DataSet, DataError> {
    let mut archive = Archive::open(bytes)?;
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let wanted: Vec<String> =
        archive.paths().into_iter().filter(|p| file_name(p).starts_with(part) && p.ends_with(".bin")).collect();
    if wanted.is_empty() {
        return Err(wrong(format!("there is no file `{part}*.bin`")));
    }
    let (mut labels, mut coarse, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
    for path in wanted {
        let content = archive.read(&path)?;
        let heads = if version == Cifar::Ten { 1 } else { 2 };
        if content.len() % (heads + PIXELS) != 0 {
            let (len, record) = (content.len(), heads + PIXELS);
            return Err(wrong(format!("`{path}` has {len} bytes, which is no multiple of a record's {record}")));
        }
        for (number, record) in content.chunks_exact(heads + PIXELS).enumerate() {
            let (head, image) = record.split_at(heads);
            let label = head[heads - 1];
            let classes = if version == Cifar::Ten { 10 } else { 100 };
            if label >= classes {
                return Err(wrong(format!("record {number} of `{path}` has label {label}, and there are {classes}")));
            }
            labels.push(u32::from(label));
            coarse.push(format!("{}", head[0]));
            pixels.extend_from_slice(image);
        }
    }
    let owners = (version == Cifar::Hundred).then(|| super::Owners::from_names(&coarse));
    if labels.is_empty() {
        return Err(DataError::Empty);
    }
    Ok(DataSet { features: Features::bytes(&IMAGE, pixels, scale), targets: Targets::classes(labels), owners })
}

fn wrong(reason: String) -> DataError {
    DataError::Format { what: "CIFAR in its binary version", reason }
}

#[cfg(test)]
mod tests {
    use super::super::archive::pack;
    use super::*;

    fn record(heads: &[u8], pixel: u8) -> Vec<u8> {
        [heads, &[pixel; PIXELS]].concat()
    }

    #[test]
    fn ten_and_hundred() {
        let ten = pack(vec![
            ("cifar-10-batches-bin/data_batch_2.bin".into(), record(&[9], 255)),
            ("cifar-10-batches-bin/data_batch_1.bin".into(), [record(&[3], 0), record(&[1], 51)].concat()),
            ("cifar-10-batches-bin/test_batch.bin".into(), record(&[0], 1)),
        ])
        .unwrap();
        let set = read_cifar(&ten, Cifar::Ten, "data_batch", 1.0 / 255.0).unwrap();
        assert_eq!(set.targets, Targets::Classes { labels: vec![3, 1, 9], count: 10 });
        assert_eq!(set.features.tensor(3).data()[2 * PIXELS], 1.0);
        assert_eq!(read_cifar(&ten, Cifar::Ten, "test_batch", 1.0).unwrap().len(), 1);

        let hundred = pack(vec![("train.bin".into(), [record(&[7, 99], 0), record(&[19, 5], 0)].concat())]).unwrap();
        let set = read_cifar(&hundred, Cifar::Hundred, "train", 1.0).unwrap();
        assert_eq!(set.targets, Targets::Classes { labels: vec![99, 5], count: 100 });
        assert_eq!(set.owners.unwrap().names, ["7", "19"]);
    }

    #[test]
    fn faults() {
        let message = |name: &str, bytes: Vec<u8>| {
            let packed = pack(vec![(name.into(), bytes)]).unwrap();
            read_cifar(&packed, Cifar::Ten, "data_batch", 1.0).unwrap_err().to_string()
        };
        assert!(message("data_batch_1.bin", vec![0; 3074]).contains("no multiple of a record's 3073"));
        assert!(message("data_batch_1.bin", record(&[10], 0)).contains("has label 10"));
        assert!(message("other.bin", vec![]).contains("no file `data_batch*.bin`"));
    }
}
