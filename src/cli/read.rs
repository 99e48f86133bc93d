//! Reading data files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::data::{self, FileBytes};

/// A file of as many bytes is read by several threads.
const LARGE: usize = 4 << 20;

/// The content of a file; a folder becomes the archive that stands for it.
pub fn read_path(path: &Path) -> Result<FileBytes, String> {
    if !path.is_dir() {
        return read_file(path).map_err(|e| e.to_string());
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| e.to_string())? {
            let inner = entry.map_err(|e| e.to_string())?.path();
            if inner.is_dir() {
                folders.push(inner);
                continue;
            }
            let name = inner.strip_prefix(path).expect("it lies within the folder").components();
            let name = name.map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            files.push((name, std::fs::read(&inner).map_err(|e| format!("{}: {e}", inner.display()))?));
        }
    }
    data::pack(files).map(FileBytes::from).map_err(|e| e.to_string())
}

fn read_file(path: &Path) -> io::Result<FileBytes> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    match usize::try_from(about.len()) {
        Ok(len) if len >= LARGE && about.is_file() => read_large(&file, len),
        _ => {
            let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0).min(LARGE));
            file.read_to_end(&mut bytes)?;
            Ok(bytes.into())
        }
    }
}

fn read_large(file: &File, len: usize) -> io::Result<FileBytes> {
    let changed = || io::Error::other("its length changed while it was read");
    let bytes = FileBytes::large(len, |out| fill(file, out)).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => changed(),
        _ => error,
    })?;
    if file.metadata()?.len() == len as u64 { Ok(bytes) } else { Err(changed()) }
}

#[cfg(unix)]
fn fill(file: &File, out: &mut [u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;

    use rayon::prelude::*;

    // A large page at a time.
    const PIECE: usize = 2 << 20;
    let pieces = out.par_chunks_mut(PIECE).enumerate();
    pieces.try_for_each(|(i, piece)| file.read_exact_at(piece, (i * PIECE) as u64))
}

#[cfg(not(unix))]
fn fill(mut file: &File, out: &mut [u8]) -> io::Result<()> {
    file.read_exact(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for len in [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 5] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert!(read_path(&path).unwrap() == bytes.into(), "{len} bytes");
        }
        let file = File::open(&path).unwrap();
        for wrong in [2 * LARGE, 4 * LARGE] {
            assert_eq!(read_large(&file, wrong).unwrap_err().to_string(), "its length changed while it was read");
        }
    }
}
