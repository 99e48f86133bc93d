//! A ledger's directory on a file system: plain files only, and the care with which they are written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{LedgerError, io_error};
use super::vfs::{Entry, Guard, Lock, Vfs, VfsFile};

/// The directories of a ledger; any may be missing, which is the same as empty.
pub(super) const DIRS: [&str; 10] =
    ["objects", "packs", "log", "heads", "pulled", "active", "index", "tmp", "quarantine", "trash"];

/// A directory and the file system it lies on.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub fs: Arc<dyn Vfs>,
    pub root: PathBuf,
}

impl Place {
    /// Whether a plain file is there; a link, a pipe or a directory in its place is an error.
    pub fn is_file(&self, path: &Path) -> Result<bool, LedgerError> {
        match self.fs.look(path).map_err(io_error(path, "look it up"))? {
            None => Ok(false),
            Some(Entry::File(_)) => Ok(true),
            Some(_) => Err(LedgerError::NotPlain { path: path.to_owned(), wanted: "file" }),
        }
    }

    /// Whether a directory is there; something else in its place is an error.
    pub fn is_dir(&self, path: &Path) -> Result<bool, LedgerError> {
        match self.fs.look(path).map_err(io_error(path, "look it up"))? {
            None => Ok(false),
            Some(Entry::Dir) => Ok(true),
            Some(_) => Err(LedgerError::NotPlain { path: path.to_owned(), wanted: "directory" }),
        }
    }

    /// The bytes of a plain file; `None` where nothing is there. No directory on the way to it is a link.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
        self.check_parents(path)?;
        if !self.is_file(path)? {
            return Ok(None);
        }
        match self.fs.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(path, "read the file")(e)),
        }
    }

    /// Refuses a path within the ledger that leads through a link.
    pub fn check_parents(&self, path: &Path) -> Result<(), LedgerError> {
        for dir in path.ancestors().skip(1).take_while(|dir| *dir != self.root) {
            self.is_dir(dir)?;
        }
        Ok(())
    }

    /// The entries of a directory by name; none where it is missing.
    pub fn list(&self, dir: &Path) -> Result<BTreeMap<OsString, Entry>, LedgerError> {
        if !self.is_dir(dir)? {
            return Ok(BTreeMap::new());
        }
        Ok(self.fs.list(dir).map_err(io_error(dir, "list the directory"))?.into_iter().collect())
    }

    /// Makes a directory of the ledger, and those above it, unless it is there; its own name is then durable.
    pub fn make_dir(&self, path: &Path) -> Result<(), LedgerError> {
        if self.is_dir(path)? {
            return Ok(());
        }
        let above = path.parent().filter(|_| path != self.root);
        if let Some(above) = above {
            self.make_dir(above)?;
        }
        match self.fs.make_dir(path) {
            // Another writer was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.is_dir(path).map(|_| ())?,
            done => done.map_err(io_error(path, "make the directory"))?,
        }
        let Some(above) = above else { return Ok(()) };
        self.sync_dir(above).inspect_err(|_| {
            // A name that may not be durable must not be taken for one that is.
            let _ = self.fs.remove_dir(path);
        })
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, dir: &Path) -> Result<(), LedgerError> {
        self.fs.sync_dir(dir).map_err(io_error(dir, "sync the directory"))
    }

    /// A new file in `tmp/` that nobody else writes, with its path.
    pub fn temporary(&self) -> Result<(PathBuf, Box<dyn VfsFile>), LedgerError> {
        let dir = self.root.join("tmp");
        self.make_dir(&dir)?;
        loop {
            let path = dir.join(unique()?);
            match self.fs.create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(io_error(&path, "make a temporary file")(e)),
            }
        }
    }

    /// Writes a file whole: temporary file, sync, rename. What was there is replaced. The new name is durable once its
    /// directory is synced.
    pub fn write(&self, path: &Path, parts: &[&[u8]]) -> Result<(), LedgerError> {
        self.check_parents(path)?;
        self.make_dir(path.parent().unwrap_or(&self.root))?;
        let (tmp, mut file) = self.temporary()?;
        let written = parts.iter().try_for_each(|part| file.append(part)).map_err(io_error(&tmp, "write the file"));
        let synced = written.and_then(|()| file.sync().map_err(io_error(&tmp, "sync the file")));
        drop(file);
        synced.and_then(|()| self.publish(&tmp, path)).inspect_err(|_| {
            // Whatever is left in tmp/ is no part of the ledger.
            let _ = self.fs.remove(&tmp);
        })
    }

    /// Gives a synced temporary file its name.
    pub fn publish(&self, tmp: &Path, path: &Path) -> Result<(), LedgerError> {
        self.is_file(path)?;
        self.fs.rename(tmp, path).map_err(io_error(path, "name the file"))
    }

    /// Takes one of the ledger's locks, `active/<name>`.
    pub fn lock(&self, name: &str, how: Lock) -> Result<Option<Box<dyn Guard>>, LedgerError> {
        let path = self.root.join("active").join(name);
        self.make_dir(&self.root.join("active"))?;
        self.is_file(&path)?;
        self.fs.lock(&path, how).map_err(io_error(&path, "lock the file"))
    }

    /// Moves a file of the ledger into `quarantine/` or `trash/`, keeping its name behind what led to it.
    pub fn set_aside(&self, file: &Path, into: &str) -> Result<PathBuf, LedgerError> {
        let dir = self.root.join(into);
        self.make_dir(&dir)?;
        let name = file.to_string_lossy().replace(['/', '\\'], "-");
        let (mut to, mut copies) = (dir.join(&name), 1);
        while self.fs.look(&to).map_err(io_error(&to, "look it up"))?.is_some() {
            copies += 1;
            to = dir.join(format!("{name}.{copies}"));
        }
        self.fs.rename(&self.root.join(file), &to).map_err(io_error(file, "set the file aside"))?;
        Ok(to)
    }
}

/// A name of 16 hexadecimal digits that nobody else has.
pub(super) fn unique() -> Result<String, LedgerError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let random = getrandom::u64().map_err(|e| LedgerError::Random(e.to_string()))?;
    Ok(format!("{:016x}", random.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))))
}
