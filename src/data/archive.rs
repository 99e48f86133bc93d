//! Many files as one: a zip archive, or a folder that was packed into one.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::DataError;
use super::source::LIMIT;

/// The most files that one archive may hold.
const MOST_FILES: usize = 1_000_000;

/// The files of an archive, by path in ascending order.
pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The paths with `/` between folders, each with its place in the archive.
    paths: Vec<(String, usize)>,
    /// How many bytes may still be unpacked.
    left: u64,
}

impl<'a> Archive<'a> {
    /// Reads the list of files. Folders, and names that systems add (`__MACOSX`, `.DS_Store`), are left out.
    pub fn open(bytes: &'a [u8]) -> Result<Archive<'a>, DataError> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
        if zip.len() > MOST_FILES {
            return Err(DataError::Format {
                what: "archive of data",
                reason: format!("it lists {} files, and {MOST_FILES} are the most", zip.len()),
            });
        }
        let mut paths = Vec::new();
        for i in 0..zip.len() {
            let file = zip.by_index_raw(i).map_err(unreadable)?;
            let name = file.name().map_err(unreadable)?.into_owned();
            let hidden = name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
            if file.is_file() && !hidden {
                paths.push((name, i));
            }
        }
        paths.sort();
        Ok(Archive { zip, paths, left: LIMIT })
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<String> {
        self.paths.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The content of a file that [`Archive::paths`] lists.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, DataError> {
        let at = self
            .paths
            .binary_search_by(|(p, _)| p.as_str().cmp(path))
            .map_err(|_| DataError::Format { what: "archive of data", reason: format!("it has no file `{path}`") })?;
        let file = self.zip.by_index(self.paths[at].1).map_err(unreadable)?;
        let mut content = Vec::new();
        // A declared size is not believed: what comes out is counted.
        file.take(self.left + 1)
            .read_to_end(&mut content)
            .map_err(|e| DataError::Unreadable(format!("{path}: {e}")))?;
        self.left = self.left.checked_sub(content.len() as u64).ok_or(DataError::TooLarge(LIMIT))?;
        Ok(content)
    }
}

fn unreadable(error: zip::result::ZipError) -> DataError {
    DataError::Unreadable(error.to_string())
}

/// Packs files into the archive that stands for a folder: the same bytes for the same names and contents, whatever the
/// order they come in. Nothing is compressed and no time is kept.
pub fn pack(mut files: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, DataError> {
    files.sort();
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        writer.start_file(path, options).map_err(unreadable)?;
        writer.write_all(&content).map_err(|e| DataError::Unreadable(e.to_string()))?;
    }
    Ok(writer.finish().map_err(unreadable)?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        list.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_folder_packs_to_the_same_bytes_in_any_order() {
        let one = pack(files(&[("b/x", "1"), ("a", "22")])).unwrap();
        let other = pack(files(&[("a", "22"), ("b/x", "1")])).unwrap();
        assert_eq!(one, other);
        let mut archive = Archive::open(&one).unwrap();
        assert_eq!(archive.paths(), ["a", "b/x"]);
        assert_eq!(archive.read("b/x").unwrap(), b"1");
        assert!(archive.read("c").is_err());
    }

    #[test]
    fn what_systems_add_is_left_out() {
        let packed = pack(files(&[("__MACOSX/a", ""), (".DS_Store", ""), ("a/.hidden", ""), ("a/b", "")])).unwrap();
        assert_eq!(Archive::open(&packed).unwrap().paths(), ["a/b"]);
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("bomb", options).unwrap();
        writer.write_all(&vec![0; 4 << 20]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert!(bytes.len() < 8192);
        let mut archive = Archive::open(&bytes).unwrap();
        archive.left = 1 << 20;
        assert_eq!(archive.read("bomb"), Err(DataError::TooLarge(LIMIT)));
    }

    #[test]
    fn damage_is_an_error() {
        let packed = pack(files(&[("a", "some content")])).unwrap();
        assert!(Archive::open(&packed[..packed.len() - 4]).is_err());
        let mut flipped = packed.clone();
        let at = flipped.windows(4).position(|w| w == b"some").unwrap();
        flipped[at] ^= 1;
        assert!(matches!(Archive::open(&flipped).unwrap().read("a"), Err(DataError::Unreadable(_))));
    }
}
