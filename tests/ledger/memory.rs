//! A file system in memory that keeps apart what a reader sees and what a power failure leaves, and that fails when told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use metadsl::ledger::{DirEntry, Guard, Lock, Vfs, VfsFile};

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power: this operation and all later ones fail.
    Power,
    /// This operation alone fails and does nothing; a failed sync loses what it should have kept, as Linux does.
    Once(ErrorKind),
    /// An append writes half of its bytes and fails; other operations fail.
    Short,
    /// Every operation that writes fails from here on, and reading goes on: a full or read-only disk.
    ReadOnly(ErrorKind),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What a failed sync dropped: it is seen, and never becomes durable.
    lost: Vec<Range<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct Disk {
    inodes: Vec<Inode>,
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    operations: usize,
    fault: Option<(usize, Fault)>,
    struck: bool,
}

/// The file system; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Disk>>);

/// How much of what was not synced a power failure leaves.
#[derive(Debug, Clone, Copy)]
pub struct Leaves {
    /// 0 nothing, 1 everything, 2 half, 3 up to a multiple of 512 bytes, 4 the length with zeros; more: chosen per file.
    pub contents: u64,
    /// 0 no name, 1 every name; more: chosen per name.
    pub names: u64,
}

impl Memory {
    /// An empty file system with a root directory.
    pub fn new() -> Memory {
        let memory = Memory::default();
        memory.disk().seen.insert(PathBuf::from("/"), Node::Dir);
        memory.disk().durable.insert(PathBuf::from("/"), Node::Dir);
        memory
    }

    /// The same file system, which fails at its n-th operation that writes, from 0.
    pub fn failing(&self, at: usize, fault: Fault) -> Memory {
        let mut disk = self.disk().clone();
        (disk.operations, disk.fault, disk.struck) = (0, Some((at, fault)), false);
        Memory(Arc::new(Mutex::new(disk)))
    }

    /// Whether the fault came.
    pub fn struck(&self) -> bool {
        self.disk().struck
    }

    /// What a machine finds that starts again.
    pub fn after_power_failure(&self, leaves: Leaves) -> Memory {
        let disk = self.disk();
        let choose = |what: u64, salt: &[u8], among: u64| {
            let hash = blake3::hash(&[&what.to_le_bytes(), salt].concat());
            u64::from(hash.as_bytes()[0]) % among
        };
        let mut after = Disk::default();
        for (number, inode) in disk.inodes.iter().enumerate() {
            let how = match leaves.contents {
                simple @ 0..=4 => simple,
                seed => choose(seed, &number.to_le_bytes(), 5),
            };
            let fresh = inode.durable.len()..inode.seen.len().max(inode.durable.len());
            let mut seen = inode.seen.clone();
            for range in &inode.lost {
                seen[range.clone()].fill(0);
            }
            let bytes = match how {
                0 => inode.durable.clone(),
                1 => seen,
                2 => seen[..(fresh.start + fresh.len() / 2).min(seen.len())].to_vec(),
                3 => seen[..(fresh.end / 512 * 512).max(fresh.start).min(seen.len())].to_vec(),
                _ if seen.len() <= fresh.start => inode.durable.clone(),
                _ => [&seen[..fresh.start], &vec![0; fresh.len()]].concat(),
            };
            after.inodes.push(Inode { seen: bytes.clone(), durable: bytes, lost: Vec::new() });
        }
        let paths: std::collections::BTreeSet<&PathBuf> = disk.seen.keys().chain(disk.durable.keys()).collect();
        for path in paths {
            let keeps_new = match leaves.names {
                0 => false,
                1 => true,
                seed => choose(seed, path.as_os_str().as_encoded_bytes(), 2) == 1,
            };
            let node = if keeps_new { disk.seen.get(path) } else { disk.durable.get(path) };
            let parent_is_there = path.parent().is_none_or(|parent| after.seen.contains_key(parent));
            if let Some(node) = node.filter(|_| parent_is_there) {
                after.seen.insert(path.clone(), *node);
            }
        }
        after.durable = after.seen.clone();
        Memory(Arc::new(Mutex::new(after)))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// Counts an operation that writes; fails where that is its turn.
    fn operation(&self) -> io::Result<()> {
        let mut disk = self.disk();
        let turn = disk.operations;
        disk.operations += 1;
        match disk.fault {
            Some((at, fault)) if turn == at || (turn > at && matches!(fault, Fault::Power | Fault::ReadOnly(_))) => {
                disk.struck = true;
                Err(match fault {
                    Fault::Power => io::Error::other("the power is gone"),
                    Fault::Once(kind) | Fault::ReadOnly(kind) => kind.into(),
                    Fault::Short => ErrorKind::StorageFull.into(),
                })
            }
            _ => Ok(()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.disk().seen.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> usize {
        let mut disk = self.disk();
        disk.inodes.push(Inode::default());
        let inode = disk.inodes.len() - 1;
        disk.seen.insert(path.to_owned(), Node::File(inode));
        inode
    }
}

/// A file that is open for appending.
struct Open(Memory, usize);

impl VfsFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let done = self.0.operation();
        let mut disk = self.0.disk();
        let short = disk.fault.is_some_and(|(_, fault)| fault == Fault::Short);
        let written = match done {
            Ok(()) => bytes.len(),
            Err(_) if short => bytes.len() / 2,
            Err(_) => 0,
        };
        disk.inodes[self.1].seen.extend_from_slice(&bytes[..written]);
        done
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.operation()?;
        let inode = &mut self.0.disk().inodes[self.1];
        inode.seen.truncate(len as usize);
        inode.lost.retain(|range| range.end <= len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let done = self.0.operation();
        let inode = &mut self.0.disk().inodes[self.1];
        if done.is_err() {
            let from = inode.durable.len().min(inode.seen.len());
            inode.lost.push(from..inode.seen.len());
        } else {
            inode.durable = inode.seen.clone();
            for range in &inode.lost {
                inode.durable[range.clone()].fill(0);
            }
        }
        done
    }
}

#[derive(Debug)]
struct Held;

impl Guard for Held {}

impl Vfs for Memory {
    fn look(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        let disk = self.disk();
        Ok(disk.seen.get(path).map(|node| match node {
            Node::Dir => DirEntry::Dir,
            Node::File(inode) => DirEntry::File(disk.inodes[*inode].seen.len() as u64),
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = self.file(path)?;
        Ok(self.disk().inodes[inode].seen.clone())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>> {
        Ok(Box::new(io::Cursor::new(self.read(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, DirEntry)>> {
        let paths: Vec<PathBuf> = self.disk().seen.keys().filter(|p| p.parent() == Some(dir)).cloned().collect();
        let entry = |path: &PathBuf| Some((path.file_name()?.to_owned(), self.look(path).ok()??));
        Ok(paths.iter().filter_map(entry).collect())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.operation()?;
        if self.disk().seen.contains_key(dir) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.disk().seen.insert(dir.to_owned(), Node::Dir);
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.operation()?;
        if self.disk().seen.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(Open(self.clone(), self.create(path))))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let inode = match self.file(path) {
            Ok(inode) => inode,
            Err(_) => {
                self.operation()?;
                self.create(path)
            }
        };
        Ok(Box::new(Open(self.clone(), inode)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        let mut disk = self.disk();
        let node = disk.seen.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.seen.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        self.disk().seen.remove(path).map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.remove(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operation()?;
        let mut disk = self.disk();
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        let new: Vec<(PathBuf, Node)> =
            disk.seen.iter().filter(|(path, _)| inside(path)).map(|(path, node)| (path.clone(), *node)).collect();
        disk.durable.retain(|path, _| !inside(path));
        disk.durable.extend(new);
        Ok(())
    }

    fn lock(&self, _: &Path, _: Lock) -> io::Result<Option<Box<dyn Guard>>> {
        Ok(Some(Box::new(Held)))
    }
}
