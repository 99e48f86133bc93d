//! The content of a file, shared by all who read it.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::MmapMut;

/// The bytes of a file. A clone shares them.
#[derive(Debug, Clone)]
pub struct FileBytes(Arc<Content>);

#[derive(Debug)]
enum Content {
    Small(Vec<u8>),
    /// Pages of their own. A file is never mapped: what was hashed must be what is read later, whatever becomes of the file.
    Large(MmapMut),
}

impl FileBytes {
    /// As many bytes as `len` says, written by `fill`, in pages of 2 MiB where the system has them: to be given a page of 4 KiB takes
    /// several times as long as to write it.
    pub fn large(len: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<FileBytes> {
        let mut pages = MmapMut::map_anon(len)?;
        // Without them it works as well.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        fill(&mut pages)?;
        Ok(FileBytes(Arc::new(Content::Large(pages))))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Content::Small(bytes) => bytes,
            Content::Large(pages) => pages,
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes(Arc::new(Content::Small(bytes)))
    }
}

impl Default for FileBytes {
    fn default() -> FileBytes {
        Vec::new().into()
    }
}

impl PartialEq for FileBytes {
    fn eq(&self, other: &FileBytes) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_pages_are_those_in_a_vector() {
        let numbers: Vec<u8> = (0..9_000_000u32).map(|i| (i % 251) as u8).collect();
        let pages = FileBytes::large(numbers.len(), |out| {
            out.copy_from_slice(&numbers);
            Ok(())
        });
        assert!(pages.unwrap() == numbers.into());
        let none = FileBytes::large(0, |_| Ok(())).unwrap();
        assert_eq!(none, FileBytes::default());
        let failed = FileBytes::large(1, |_| Err(io::Error::other("no")));
        assert_eq!(failed.unwrap_err().to_string(), "no");
    }
}
