//! A file system on which two parties take turns: the second begins when the first has come to a chosen call, goes on until
//! it is done or waits for a lock, and then the first goes on. One of them is at work at a time, so the outcome is fixed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use metadsl::ledger::{DirEntry, Guard, Lock, Store, Vfs, VfsFile};

use super::memory::Memory;

/// How a lock is held: how often shared, and whether alone.
type Locks = Arc<Mutex<BTreeMap<PathBuf, (usize, bool)>>>;

/// What comes between.
type Between = Box<dyn FnOnce() + Send>;

enum Role {
    /// Makes way at its `at`-th call.
    First { calls: AtomicUsize, at: usize, between: Mutex<Option<Between>> },
    /// Tells when it waits, and waits until the first is done.
    Second { waits: Sender<()>, first_is_done: Mutex<Receiver<()>> },
}

/// The file system as one of the two sees it.
struct Turns {
    disk: Memory,
    locks: Locks,
    role: Arc<Role>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}

/// Lets the second party come in at the first party's `at`-th call; false where the first made fewer.
pub fn take_turns(
    disk: &Memory,
    at: usize,
    first: impl FnOnce(Store),
    second: impl FnOnce(Store) + Send + 'static,
) -> bool {
    let locks = Locks::default();
    let (waits, stopped) = channel();
    let (done, first_is_done) = channel();
    let role = Arc::new(Role::Second { waits: waits.clone(), first_is_done: Mutex::new(first_is_done) });
    let of_second = Turns { disk: disk.clone(), locks: locks.clone(), role };
    let started = Arc::new(Mutex::new(None));
    let between = {
        let started = started.clone();
        Box::new(move || {
            let thread = thread::spawn(move || {
                // Also where it panics the first goes on, and the panic is told in the end.
                let _waits_no_more = OnDrop(waits);
                second(open(of_second));
            });
            stopped.recv().unwrap();
            *started.lock().unwrap() = Some(thread);
        })
    };
    let role = Arc::new(Role::First { calls: AtomicUsize::new(0), at, between: Mutex::new(Some(between)) });
    first(open(Turns { disk: disk.clone(), locks, role }));
    drop(done);
    let thread = started.lock().unwrap().take();
    let came = thread.is_some();
    thread.into_iter().for_each(|thread| thread.join().unwrap());
    came
}

fn open(turns: Turns) -> Store {
    Store::open_on(Arc::new(turns), "/ledger").unwrap().with_stream("main").unwrap()
}

/// Sends word when it ends.
struct OnDrop(Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Role {
    /// Counts a call; makes way where it is its turn.
    fn call(&self) {
        let Role::First { calls, at, between } = self else { return };
        if calls.fetch_add(1, Ordering::Relaxed) == *at {
            let between = between.lock().unwrap().take();
            between.into_iter().for_each(|between| between());
        }
    }
}

struct Held {
    locks: Locks,
    path: PathBuf,
    alone: bool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Guard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap();
        let held = locks.entry(self.path.clone()).or_default();
        if self.alone { held.1 = false } else { held.0 -= 1 }
    }
}

/// A file whose calls count, too.
struct File(Arc<Role>, Box<dyn VfsFile>);

impl VfsFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.call();
        self.1.append(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.call();
        self.1.cut(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.call();
        self.1.sync()
    }
}

impl Vfs for Turns {
    fn look(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        self.role.call();
        self.disk.look(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.role.call();
        self.disk.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>> {
        self.role.call();
        self.disk.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(OsString, DirEntry)>> {
        self.role.call();
        self.disk.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.role.call();
        self.disk.make_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.role.call();
        Ok(Box::new(File(self.role.clone(), self.disk.create_new(path)?)))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.role.call();
        Ok(Box::new(File(self.role.clone(), self.disk.open_append(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.role.call();
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.role.call();
        self.disk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.role.call();
        self.disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.role.call();
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path, how: Lock) -> io::Result<Option<Box<dyn Guard>>> {
        self.role.call();
        let alone = how != Lock::Shared;
        for waited in [false, true] {
            let mut locks = self.locks.lock().unwrap();
            let held = locks.entry(path.to_owned()).or_default();
            if !held.1 && (held.0 == 0 || !alone) {
                if alone {
                    held.1 = true
                } else {
                    held.0 += 1
                }
                return Ok(Some(Box::new(Held { locks: self.locks.clone(), path: path.to_owned(), alone })));
            }
            drop(locks);
            match &*self.role {
                _ if how == Lock::Try => return Ok(None),
                Role::Second { waits, first_is_done } if !waited => {
                    let _ = waits.send(());
                    // The error says that the first is done; what it held is free.
                    let _ = first_is_done.lock().unwrap().recv();
                }
                _ => break,
            }
        }
        panic!("{} is waited for and never freed", path.display());
    }
}
