//! One object in one file: its header, its place, and the care with which it is written.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{LedgerError, io_error};
use crate::hash::{Id, Kind};

/// The first words of every object file, with the version of the object format.
const MAGIC: &str = "metadsl 1 ";

/// The line every object of this kind begins with.
pub(super) fn header(kind: Kind) -> String {
    format!("{MAGIC}{}\n", kind.name())
}

/// The kind and payload of an object file, or what is wrong with its header.
pub(super) fn split(bytes: &[u8]) -> Result<(Kind, &[u8]), String> {
    let wrong = || "its first line is not that of an object, such as `metadsl 1 series`".to_owned();
    let end = bytes.iter().take(64).position(|&b| b == b'\n').ok_or_else(wrong)?;
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| wrong())?;
    let name = line.strip_prefix(MAGIC).ok_or_else(wrong)?;
    let kind = Kind::from_name(name).ok_or_else(|| format!("`{name}` is no kind of object"))?;
    Ok((kind, &bytes[end + 1..]))
}

/// The kind and payload of the file that should hold the object `id`, or what is wrong with it.
pub(super) fn check(id: Id, bytes: &[u8]) -> Result<(Kind, &[u8]), String> {
    let (kind, payload) = split(bytes)?;
    let found = Id::of_bytes(kind, payload);
    if found == id {
        return Ok((kind, payload));
    }
    let meant = Kind::ALL.into_iter().find(|&other| Id::of_bytes(other, payload) == id);
    Err(match meant {
        Some(meant) => format!("it is a {} object that calls itself {}", meant.name(), kind.name()),
        None => format!("its {} payload hashes to {found}", kind.name()),
    })
}

/// `objects/ab/cd..` under the ledger's root.
pub(super) fn path(root: &Path, id: Id) -> PathBuf {
    let hex = id.to_string();
    root.join("objects").join(&hex[..2]).join(&hex[2..])
}

/// Whether a plain file is there; a link, a pipe or a directory in its place is an error.
pub(super) fn is_plain_file(path: &Path) -> Result<bool, LedgerError> {
    is_plain(path, "file", |meta| meta.is_file())
}

/// Whether a directory is there; something else in its place is an error.
pub(super) fn is_plain_dir(path: &Path) -> Result<bool, LedgerError> {
    is_plain(path, "directory", |meta| meta.is_dir())
}

fn is_plain(path: &Path, wanted: &'static str, fits: impl Fn(&Metadata) -> bool) -> Result<bool, LedgerError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if fits(&meta) => Ok(true),
        Ok(_) => Err(LedgerError::NotPlain { path: path.to_owned(), wanted }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_error(path, "look it up")(e)),
    }
}

/// The bytes of a plain file; `None` where nothing is there.
pub(super) fn read_plain(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    if !is_plain_file(path)? {
        return Ok(None);
    }
    fs::read(path).map(Some).map_err(io_error(path, "read the file"))
}

/// Makes a directory unless it is there.
pub(super) fn make_dir(path: &Path) -> Result<(), LedgerError> {
    if is_plain_dir(path)? {
        return Ok(());
    }
    match fs::create_dir(path) {
        // Another writer was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => is_plain_dir(path).map(|_| ()),
        done => done.map_err(io_error(path, "make the directory")),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), LedgerError> {
    // Only unix opens directories as files; elsewhere the system orders directory writes itself.
    if cfg!(unix) {
        File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error(path, "sync the directory"))?;
    }
    Ok(())
}

/// Writes a new file whole: temporary file, sync, rename. False where `path` exists already, which is left alone.
/// The new name is durable once its directory is synced.
pub(super) fn write_new(tmp: &Path, path: &Path, parts: &[&[u8]]) -> Result<bool, LedgerError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("put-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Readable as the umask allows, where temporary files are private by default.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(tmp).map_err(io_error(tmp, "make a temporary file"))?;
    for part in parts {
        file.write_all(part).map_err(io_error(file.path(), "write the file"))?;
    }
    file.as_file().sync_all().map_err(io_error(file.path(), "sync the file"))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(io_error(path, "name the file")(e.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_written() {
        for kind in Kind::ALL {
            let bytes = [header(kind).as_bytes(), b"payload\n"].concat();
            assert_eq!(split(&bytes), Ok((kind, &b"payload\n"[..])));
        }
        for wrong in
            ["", "metadsl 1 run", "metadsl 2 run\n", "metadsl 1 Run\n", "metadsl 1 run \n", "\n", "metadsl 1 \n"]
        {
            assert!(split(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(split(&[b'a'; 1000]).is_err());
    }

    #[test]
    fn a_kind_swap_is_named() {
        let id = Id::of_bytes(Kind::Trace, b"payload");
        let bytes = [header(Kind::Series).as_bytes(), b"payload"].concat();
        assert_eq!(check(id, &bytes), Err("it is a trace object that calls itself series".to_owned()));
        assert!(check(id, &[header(Kind::Trace).as_bytes(), b"payloae"].concat()).is_err());
        assert!(check(id, &[header(Kind::Trace).as_bytes(), b"payload"].concat()).is_ok());
    }
}
