//! Rows of measured values as Apache Parquet.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::export::Row;
use super::failure::Failure;

/// The columns of `metadsl export`; a run of another program has no seed.
const SCHEMA: &str = "message rows {
  required binary run (utf8);
  required binary experiment (utf8);
  required binary arm (utf8);
  optional int64 seed;
  required binary measure (utf8);
  required int64 step;
  required double value;
}";
/// How many rows are kept together.
const GROUP: usize = 1 << 20;

/// Writes rows as one file; values keep every bit.
pub fn write(rows: &[Row], out: impl Write + Send) -> Result<(), Failure> {
    write_rows(rows, out).map_err(|e| Failure::Write(std::io::Error::other(e)))
}

fn write_rows(rows: &[Row], out: impl Write + Send) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
    for rows in rows.chunks(GROUP) {
        let mut group = file.next_row_group()?;
        let texts = |text: fn(&Row) -> &str| rows.iter().map(|row| ByteArray::from(text(row))).collect::<Vec<_>>();
        column::<ByteArrayType>(&mut group, &texts(|row| &row.run), None)?;
        column::<ByteArrayType>(&mut group, &texts(|row| &row.experiment), None)?;
        column::<ByteArrayType>(&mut group, &texts(|row| &row.arm), None)?;
        let seeds: Vec<i64> = rows.iter().filter_map(|row| row.seed).map(|seed| seed.cast_signed()).collect();
        let there: Vec<i16> = rows.iter().map(|row| i16::from(row.seed.is_some())).collect();
        column::<Int64Type>(&mut group, &seeds, Some(&there))?;
        column::<ByteArrayType>(&mut group, &texts(|row| &row.measure), None)?;
        column::<Int64Type>(&mut group, &rows.iter().map(|row| row.step.cast_signed()).collect::<Vec<_>>(), None)?;
        column::<DoubleType>(&mut group, &rows.iter().map(|row| row.value).collect::<Vec<_>>(), None)?;
        group.close()?;
    }
    file.close().map(|_| ())
}

/// Writes the next column; `there` says of an optional one which rows have a value.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    there: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("a column is missing".to_owned()))?;
    column.typed::<T>().write_batch(values, there, None)?;
    column.close()
}
