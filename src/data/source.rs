//! The bytes of a file as a stream, unpacked where they are packed, and never more than a limit of them.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::DataError;

/// The most that a packed file may unpack to: 1 GiB.
pub(super) const LIMIT: u64 = 1 << 30;

/// The first two bytes of a gzip member (RFC 1952).
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// A reader of the text in `bytes`: gzip is recognised by its first bytes, anything else is read as it is.
pub(super) fn open(bytes: &[u8], limit: u64) -> Box<dyn Read + '_> {
    if bytes.starts_with(&GZIP) {
        Box::new(Unpack { inner: MultiGzDecoder::new(bytes), read: 0, limit })
    } else {
        Box::new(bytes)
    }
}

/// The line, from 1, of the first text at or after byte `offset` of what [`open`] reads. The file is read again for
/// it: the `csv` crate loses count at empty lines and at line ends of two bytes, and only a fault needs the line.
pub(super) fn line_at(bytes: &[u8], offset: u64) -> u64 {
    let mut line = 1;
    for (at, byte) in BufReader::new(open(bytes, LIMIT)).bytes().map_while(Result::ok).enumerate() {
        match byte {
            b'\n' => line += 1,
            b'\r' => {}
            _ if at as u64 >= offset => break,
            _ => {}
        }
    }
    line
}

/// The whole text in `bytes`.
pub(super) fn read_text(bytes: &[u8]) -> Result<String, DataError> {
    let mut text = String::new();
    open(bytes, LIMIT).read_to_string(&mut text).map_err(io_error)?;
    Ok(text)
}

/// The error that a failed read of a table stands for.
pub(super) fn error_of(error: csv::Error) -> DataError {
    match error.kind() {
        csv::ErrorKind::Io(io) => ours(io).unwrap_or_else(|| DataError::Unreadable(error.to_string())),
        _ => DataError::Unreadable(error.to_string()),
    }
}

/// The error that a failed read stands for.
pub(super) fn io_error(error: io::Error) -> DataError {
    ours(&error).unwrap_or_else(|| DataError::Unreadable(error.to_string()))
}

/// The error of our own that went through a reader.
fn ours(error: &io::Error) -> Option<DataError> {
    error.get_ref()?.downcast_ref::<DataError>().cloned()
}

/// Unpacks, and fails beyond the limit: a few kilobytes of gzip can hold gigabytes.
struct Unpack<R> {
    inner: R,
    read: u64,
    limit: u64,
}

impl<R: Read> Read for Unpack<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        if self.read > self.limit {
            return Err(io::Error::other(DataError::TooLarge(self.limit)));
        }
        Ok(n)
    }
}
