//! Apache Parquet: one example a row.

use super::{DataError, DataSet};

/// Which columns are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnOptions<'a> {
    /// The column of the inputs, of numbers or nested lists of them; or several columns of numbers.
    pub x: &'a [String],
    /// The column of the target: whole numbers are classes, floats are numbers.
    pub y: &'a str,
    /// The column that names the owner.
    pub owner: Option<&'a str>,
    /// What every input is multiplied by.
    pub scale: f64,
}

/// Says that this build reads no Parquet.
#[cfg(not(feature = "parquet"))]
pub fn read_parquet(_: &[u8], _: ColumnOptions) -> Result<DataSet, DataError> {
    let reason = "this build has no reader of it: `cargo build --release --features parquet` has".into();
    Err(DataError::Format { what: "Parquet file", reason })
}

#[cfg(feature = "parquet")]
pub use there::read_parquet;

#[cfg(feature = "parquet")]
mod there {
    use parquet::errors::ParquetError;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};
    use parquet::schema::types::Type;
    use serde_json::Value;

    use super::super::rows::{Rows, numbers};
    use super::super::source::LIMIT;
    use super::{ColumnOptions, DataError, DataSet};

    /// Reads a file whole; rows are counted from 0.
    pub fn read_parquet(bytes: &[u8], options: ColumnOptions) -> Result<DataSet, DataError> {
        // The crate panics on some files that are damaged inside a page.
        std::panic::catch_unwind(|| read(bytes, options)).unwrap_or_else(|_| Err(wrong("it is damaged".into())))
    }

    fn read(bytes: &[u8], options: ColumnOptions) -> Result<DataSet, DataError> {
        let file = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).map_err(unreadable)?;
        let schema = file.metadata().file_metadata().schema();
        let wanted = projection(schema, options)?;
        let mut rows = Rows::default();
        for (number, row) in file.get_row_iter(Some(wanted)).map_err(unreadable)?.enumerate() {
            let at = |reason: String| wrong(format!("row {number}: {reason}"));
            let row = row.map_err(|e| at(e.to_string()))?;
            let column = |name: &str| value(&row, name).map_err(|reason| at(format!("column `{name}`: {reason}")));
            let x = match options.x {
                [one] => column(one)?,
                several => Value::Array(several.iter().map(|name| column(name)).collect::<Result<_, _>>()?),
            };
            let owner = match options.owner.map(column).transpose()? {
                None => None,
                Some(Value::String(name)) => Some(name),
                Some(other) => Some(other.to_string()),
            };
            rows.push(|out| numbers(&x, options.scale, out), &column(options.y)?, owner).map_err(at)?;
            if rows.size() > LIMIT {
                return Err(DataError::TooLarge(LIMIT));
            }
        }
        rows.finish()
    }

    fn wrong(reason: String) -> DataError {
        DataError::Format { what: "Parquet file", reason }
    }

    fn unreadable(error: ParquetError) -> DataError {
        wrong(error.to_string())
    }

    /// The schema of the columns that are read, in the order of the file.
    fn projection(schema: &Type, options: ColumnOptions) -> Result<Type, DataError> {
        let there: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        let wanted: Vec<&str> = options.x.iter().map(String::as_str).chain([options.y]).chain(options.owner).collect();
        if let Some(missing) = wanted.iter().find(|name| !there.contains(name)) {
            return Err(wrong(format!("it has no column `{missing}`; it has {}", there.join(", "))));
        }
        let fields = schema.get_fields().iter().filter(|field| wanted.contains(&field.name())).cloned().collect();
        Type::group_type_builder(schema.name()).with_fields(fields).build().map_err(unreadable)
    }

    /// What stands in a column of a row.
    fn value(row: &Row, name: &str) -> Result<Value, String> {
        let (_, field) = row.get_column_iter().find(|(column, _)| *column == name).ok_or("it is missing")?;
        json(field)
    }

    fn json(field: &Field) -> Result<Value, String> {
        let float =
            |x: f64| serde_json::Number::from_f64(x).map(Value::Number).ok_or("the number is not finite".into());
        match field {
            Field::Bool(x) => Ok(u8::from(*x).into()),
            Field::Byte(x) => Ok((*x).into()),
            Field::Short(x) => Ok((*x).into()),
            Field::Int(x) => Ok((*x).into()),
            Field::Long(x) => Ok((*x).into()),
            Field::UByte(x) => Ok((*x).into()),
            Field::UShort(x) => Ok((*x).into()),
            Field::UInt(x) => Ok((*x).into()),
            Field::ULong(x) => Ok((*x).into()),
            Field::Float16(x) => float(f64::from(f32::from(*x))),
            Field::Float(x) => float(f64::from(*x)),
            Field::Double(x) => float(*x),
            Field::Str(text) => Ok(Value::String(text.clone())),
            Field::ListInternal(list) => list.elements().iter().map(json).collect::<Result<_, _>>().map(Value::Array),
            Field::Null => Err("nothing stands there".into()),
            other => Err(format!("`{other}` is neither a number, nor a text, nor a list of numbers")),
        }
    }
}
