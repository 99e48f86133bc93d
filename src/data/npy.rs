//! NumPy's `.npy` arrays and `.npz` archives of them (NEP 1).

use npyz::{DType, NpyFile, TypeChar};

use super::archive::Archive;
use super::{DataError, DataSet, Features, Owners, Targets};

/// The arrays of an `.npz` archive as a data set: inputs, targets and, where named, owners.
pub fn read_npz(bytes: &[u8], x: &str, y: &str, owner: Option<&str>, scale: f64) -> Result<DataSet, DataError> {
    let mut archive = Archive::open(bytes)?;
    let mut array = |name: &str| -> Result<Array, DataError> {
        let path = format!("{name}.npy");
        if !archive.paths().contains(&path) {
            let known: Vec<String> = archive.paths().iter().map(|p| p.trim_end_matches(".npy").to_owned()).collect();
            return Err(wrong(format!("it has no array `{name}`; it has {}", known.join(", "))));
        }
        read_npy(&archive.read(&path)?, name)
    };
    let (inputs, targets) = ((array(x)?, x), (array(y)?, y));
    let owners = owner.map(|name| array(name).map(|array| (array, name))).transpose()?;
    data_set(inputs, targets, owners, scale)
}

/// The same arrays, each in an `.npy` file of its own.
pub fn read_npys(x: &[u8], y: &[u8], owner: Option<&[u8]>, scale: f64) -> Result<DataSet, DataError> {
    let owners = owner.map(|bytes| read_npy(bytes, "owner").map(|array| (array, "owner"))).transpose()?;
    data_set((read_npy(x, "x")?, "x"), (read_npy(y, "y")?, "y"), owners, scale)
}

/// Arrays with their names as a data set.
///
/// `x` holds one example a row, any numeric type; `y` is one-dimensional: whole numbers are classes, floats are numbers
/// to be predicted. `owner` is one-dimensional.
fn data_set(
    (inputs, x): (Array, &str),
    (targets, y): (Array, &str),
    owners: Option<(Array, &str)>,
    scale: f64,
) -> Result<DataSet, DataError> {
    let Some((&rows, one)) = inputs.dims.split_first() else {
        return Err(wrong(format!("`{x}` is a single number; one example a row is wanted")));
    };
    if rows == 0 {
        return Err(DataError::Empty);
    }
    let features = match inputs.values {
        Values::Bytes(raw) => Features::bytes(one, raw, scale),
        Values::Single(values) if scale == 1.0 => Features::single(one, values),
        values => Features::double(one, values.into_doubles().into_iter().map(|v| v * scale).collect()),
    };
    if let Some(at) = (0..rows).find(|&row| {
        let mut values = vec![0.0; features.row_len()];
        features.copy_row(row, &mut values);
        values.iter().any(|v| !v.is_finite())
    }) {
        return Err(wrong(format!("row {at} of `{x}` holds a value that is not finite")));
    }
    let column = |array: Array, name: &str| -> Result<Array, DataError> {
        match array.dims[..] {
            [n] if n == rows => Ok(array),
            [n] => Err(DataError::Counts { inputs: rows, targets: n }),
            _ => Err(wrong(format!("`{name}` has dims {:?}; one value per example is wanted", array.dims))),
        }
    };
    let targets = column(targets, y)?;
    let targets = match &targets.values {
        Values::Single(_) | Values::Double(_) => {
            let values = targets.values.into_doubles();
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(wrong(format!("row {at} of `{y}` is not finite")));
            }
            Targets::Numbers(values)
        }
        _ => Targets::classes(classes(targets.values.into_doubles(), y)?),
    };
    let owners = match owners {
        None => None,
        Some((array, name)) => {
            let numbers = column(array, name)?.values.into_doubles();
            Some(Owners::from_names(&numbers.iter().map(f64::to_string).collect::<Vec<_>>()))
        }
    };
    Ok(DataSet { features, targets, owners })
}

fn classes(values: Vec<f64>, name: &str) -> Result<Vec<u32>, DataError> {
    let class = |(row, v): (usize, f64)| {
        let fits = (0.0..=f64::from(u32::MAX)).contains(&v);
        if fits { Ok(v as u32) } else { Err(wrong(format!("row {row} of `{name}` is {v}; classes count from 0"))) }
    };
    values.into_iter().enumerate().map(class).collect()
}

struct Array {
    dims: Vec<usize>,
    values: Values,
}

enum Values {
    Bytes(Vec<u8>),
    Whole(Vec<f64>),
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Values {
    fn into_doubles(self) -> Vec<f64> {
        match self {
            Values::Bytes(v) => v.into_iter().map(f64::from).collect(),
            Values::Single(v) => v.into_iter().map(f64::from).collect(),
            Values::Whole(v) | Values::Double(v) => v,
        }
    }
}

fn read_npy(bytes: &[u8], name: &str) -> Result<Array, DataError> {
    let fault = |e: std::io::Error| wrong(format!("`{name}`: {e}"));
    let file = NpyFile::new(bytes).map_err(fault)?;
    let dims: Vec<usize> = file.shape().iter().map(|&d| d as usize).collect();
    if dims.len() > 1 && file.order() != npyz::Order::C {
        return Err(wrong(format!("`{name}` is in Fortran order; save `numpy.ascontiguousarray({name})`")));
    }
    let DType::Plain(kind) = file.dtype() else {
        return Err(wrong(format!("`{name}` is a structured array; plain numbers are wanted")));
    };
    // The declared size is compared with what is there before memory is asked for.
    let declared = file.len().checked_mul(kind.size_field());
    if declared.is_none_or(|n| n > bytes.len() as u64) {
        return Err(wrong(format!("`{name}` declares dims {dims:?}, and the file is shorter than that")));
    }
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Uint, 1) => Values::Bytes(file.into_vec().map_err(fault)?),
        (TypeChar::Bool, 1) => {
            Values::Whole(file.into_vec::<bool>().map_err(fault)?.into_iter().map(f64::from).collect())
        }
        (TypeChar::Uint, 2) => {
            Values::Whole(file.into_vec::<u16>().map_err(fault)?.into_iter().map(f64::from).collect())
        }
        (TypeChar::Uint, 4) => {
            Values::Whole(file.into_vec::<u32>().map_err(fault)?.into_iter().map(f64::from).collect())
        }
        (TypeChar::Int, 1) => Values::Whole(file.into_vec::<i8>().map_err(fault)?.into_iter().map(f64::from).collect()),
        (TypeChar::Int, 2) => {
            Values::Whole(file.into_vec::<i16>().map_err(fault)?.into_iter().map(f64::from).collect())
        }
        (TypeChar::Int, 4) => {
            Values::Whole(file.into_vec::<i32>().map_err(fault)?.into_iter().map(f64::from).collect())
        }
        (TypeChar::Int, 8) => {
            Values::Whole(file.into_vec::<i64>().map_err(fault)?.into_iter().map(|v| v as f64).collect())
        }
        (TypeChar::Uint, 8) => {
            Values::Whole(file.into_vec::<u64>().map_err(fault)?.into_iter().map(|v| v as f64).collect())
        }
        (TypeChar::Float, 4) => Values::Single(file.into_vec().map_err(fault)?),
        (TypeChar::Float, 8) => Values::Double(file.into_vec().map_err(fault)?),
        _ => return Err(wrong(format!("`{name}` is of type {kind}; integers, float32 and float64 are read"))),
    };
    Ok(Array { dims, values })
}

fn wrong(reason: String) -> DataError {
    DataError::Format { what: "NumPy file", reason }
}

#[cfg(test)]
#[path = "../../tests/common/npy.rs"]
mod written;

#[cfg(test)]
mod tests {
    use super::super::archive::pack;
    use super::written::npy;
    use super::*;

    fn npz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        pack(files.iter().map(|(name, bytes)| (format!("{name}.npy"), bytes.clone())).collect()).unwrap()
    }

    #[test]
    fn classes_numbers_and_owners() {
        let bytes = npz(&[
            ("x", npy::<f32>(&[2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
            ("y", npy::<i64>(&[2], [1, 0])),
            ("score", npy::<f64>(&[2], [0.25, -1.0])),
            ("school", npy::<i32>(&[2], [10, 9])),
        ]);
        let set = read_npz(&bytes, "x", "y", Some("school"), 1.0).unwrap();
        assert_eq!(set.features.dims(), [3]);
        assert_eq!(set.targets, Targets::Classes { labels: vec![1, 0], count: 2 });
        assert_eq!(set.owners.unwrap().of, [1, 0]);
        let set = read_npz(&bytes, "x", "score", None, 0.5).unwrap();
        assert_eq!(set.targets, Targets::Numbers(vec![0.25, -1.0]));
        assert_eq!(set.features.tensor(2).data()[5], 2.5);
    }

    #[test]
    fn arrays_in_files_of_their_own() {
        let (x, y) = (npy::<u8>(&[2, 2, 1], [0, 255, 51, 0]), npy::<i32>(&[2], [1, 0]));
        let owner = npy::<i64>(&[2], [7, 7]);
        let set = read_npys(&x, &y, Some(&owner), 1.0 / 255.0).unwrap();
        assert_eq!((set.features.dims(), &set.features.tensor(2).data()[..2]), (&[2, 1][..], &[0.0, 1.0][..]));
        assert_eq!(set.targets, Targets::Classes { labels: vec![1, 0], count: 2 });
        assert_eq!(set.owners.unwrap().names, ["7"]);
        assert_eq!(read_npys(&x, &y, None, 1.0).unwrap().owners, None);
        let short = npy::<i32>(&[1], [1]);
        assert_eq!(read_npys(&x, &short, None, 1.0), Err(DataError::Counts { inputs: 2, targets: 1 }));
        assert!(read_npys(b"\x93NUMPY", &y, None, 1.0).unwrap_err().to_string().contains("NumPy file: `x`"));
    }

    #[test]
    fn faults() {
        let x = || ("x", npy::<f32>(&[2, 1], [0.0, f32::NAN]));
        let message = |files: &[(&str, Vec<u8>)]| read_npz(&npz(files), "x", "y", None, 1.0).unwrap_err().to_string();
        assert!(message(&[x()]).contains("no array `y`; it has x"));
        assert!(
            message(&[x(), ("y", npy::<i32>(&[2], [0, 1]))]).contains("row 1 of `x` holds a value that is not finite")
        );
        let fine = || ("x", npy::<f32>(&[2, 1], [0.0, 1.0]));
        assert!(message(&[fine(), ("y", npy::<i32>(&[3], [0, 1, 2]))]).contains("2 inputs and 3 targets"));
        assert!(message(&[fine(), ("y", npy::<i32>(&[2], [0, -1]))]).contains("row 1 of `y` is -1"));
        let mut cut = npy::<f32>(&[2, 1], [0.0, 1.0]);
        cut.truncate(cut.len() - 1);
        assert!(read_npz(&npz(&[("x", cut)]), "x", "x", None, 1.0).is_err());
    }
}
