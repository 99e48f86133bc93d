//! The few file operations that a ledger is made of, behind a trait so that tests can let any of them fail.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

/// What stands at a path; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A plain file with its length in bytes.
    File(u64),
    /// A directory.
    Dir,
    /// A link, a pipe, a device.
    Other,
}

/// How a lock is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Alone, waiting for the others.
    Exclusive,
    /// Beside others who share.
    Shared,
    /// Alone, or not at all.
    Try,
}

/// A file that is being written.
pub trait VfsFile: Send {
    /// Appends all bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to a length.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Makes contents and length durable. After an error nothing that was written since the last sync may be trusted.
    fn sync(&mut self) -> io::Result<()>;
}

/// A held lock; ends with the value or with its process.
pub trait Guard: Debug + Send + Sync {}

/// A file system.
pub trait Vfs: Debug + Send + Sync {
    /// What stands there, if anything.
    fn look(&self, path: &Path) -> io::Result<Option<Entry>>;
    /// The contents of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A file's contents as a stream, unbuffered.
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>>;
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, Entry)>>;
    /// Makes one directory; fails where something stands.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes a new file; fails where something stands.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;
    /// Opens a file for appending, making it where there is none.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;
    /// Gives a file or directory another name; a plain file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks a file, making it where there is none; `None` where [`Lock::Try`] found it taken.
    fn lock(&self, path: &Path, how: Lock) -> io::Result<Option<Box<dyn Guard>>>;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl VfsFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Guard for File {}

fn entry(meta: &fs::Metadata) -> Entry {
    if meta.is_file() {
        Entry::File(meta.len())
    } else if meta.is_dir() {
        Entry::Dir
    } else {
        Entry::Other
    }
}

impl Vfs for Disk {
    fn look(&self, path: &Path) -> io::Result<Option<Entry>> {
        match fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(entry(&meta))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>> {
        Ok(Box::new(File::open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, Entry)>> {
        let read = |found: io::Result<fs::DirEntry>| {
            let found = found?;
            match found.metadata() {
                Ok(meta) => Ok(Some((found.file_name(), entry(&meta)))),
                // Another writer has renamed it meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        };
        fs::read_dir(dir)?.filter_map(|found| read(found).transpose()).collect()
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Only unix opens directories as files; elsewhere the system orders directory writes itself.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path, how: Lock) -> io::Result<Option<Box<dyn Guard>>> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        match how {
            Lock::Exclusive => file.lock()?,
            Lock::Shared => file.lock_shared()?,
            Lock::Try => match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(e),
            },
        }
        Ok(Some(Box::new(file)))
    }
}
