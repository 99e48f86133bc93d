//! From the contents of files to a data set, as a reader says.

use super::{
    Cifar, ColumnOptions, CsvOptions, DataError, DataSet, Header, ImageOptions, JsonlOptions, read_cifar, read_convai,
    read_csv, read_idx, read_images, read_instructions, read_jsonl, read_leaf, read_npys, read_npz, read_parquet,
    read_texts,
};
use crate::catalog::{Column, Columns, Reader};

/// The data set in the contents of its files, in the order of their paths.
pub fn read(reader: &Reader, files: &[&[u8]]) -> Result<DataSet, DataError> {
    let missing = || DataError::Format { what: "data set", reason: "a file of it is missing".into() };
    let first = *files.first().ok_or_else(missing)?;
    match reader {
        Reader::Csv { first_feature, end_feature, target, regression, owner, scale } => {
            let options = CsvOptions {
                features: Columns::Range { first: *first_feature, end: *end_feature },
                target: Column::At { number: *target },
                regression: *regression,
                owner: owner.map(|number| Column::At { number }),
                scale: *scale,
                header: Header::Auto,
            };
            read_csv(first, &options)
        }
        Reader::Table { features, target, regression, owner, scale } => {
            let (features, target, owner) = (features.clone(), target.clone(), owner.clone());
            let (regression, scale, header) = (*regression, *scale, Header::Present);
            read_csv(first, &CsvOptions { features, target, regression, owner, scale, header })
        }
        Reader::Idx { scale } => read_idx(first, files.get(1).ok_or_else(missing)?, *scale),
        Reader::Cifar { classes, part, scale } => {
            read_cifar(first, if *classes == 10 { Cifar::Ten } else { Cifar::Hundred }, part, *scale)
        }
        Reader::Npz { x, y, owner, scale } => read_npz(first, x, y, owner.as_deref(), *scale),
        Reader::Npy { owner, scale } => {
            let owners = if *owner { Some(*files.get(2).ok_or_else(missing)?) } else { None };
            read_npys(first, files.get(1).ok_or_else(missing)?, owners, *scale)
        }
        Reader::Jsonl { x, y, owner, scale } => {
            read_jsonl(first, JsonlOptions { x, y, owner: owner.as_deref(), scale: *scale })
        }
        Reader::Texts { text, y, owner, length } => {
            let options = JsonlOptions { x: text, y, owner: owner.as_deref(), scale: 1.0 };
            read_texts(first, files.get(1).ok_or_else(missing)?, options, *length as usize)
        }
        Reader::Parquet { x, y, owner, scale } => {
            read_parquet(first, ColumnOptions { x, y, owner: owner.as_deref(), scale: *scale })
        }
        Reader::Convai { length, history } => {
            read_convai(first, files.get(1).ok_or_else(missing)?, *length as usize, *history)
        }
        Reader::Instructions { length, candidates } => {
            let (tokenizer, archives) = files.split_last().ok_or_else(missing)?;
            read_instructions(archives, tokenizer, *length as usize, *candidates as usize)
        }
        Reader::Leaf { part, scale } => read_leaf(first, part, *scale),
        Reader::Safetensors {} => {
            Err(DataError::Format { what: "data set", reason: "it holds parameters and no examples".into() })
        }
        Reader::Images { size, channels, invert, owner } => {
            let (size, channels) = (*size as usize, *channels as usize);
            read_images(files, ImageOptions { size, channels, invert: *invert, owner: *owner })
        }
    }
}
