//! Checkpoints larger than memory: they go in, out, and through verification, remotes and bundles piece by piece.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "a test says what it counted")]

#[path = "ledger/fixture.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod fixture;

use std::io::{Read, Write};
use std::path::PathBuf;

use metadsl::hash::{Id, Kind};
use metadsl::ledger::*;

use fixture::Fixture;

/// The length of the checkpoint, which no compressor shortens.
const LENGTH: u64 = 96 << 20;
/// The most memory that anything may take: a few chunks of at most 4 MiB, or eight that travel at a time.
const LIMIT: u64 = 40 << 20;

/// Bytes in which one may be changed.
struct Noise {
    xof: blake3::OutputReader,
    left: u64,
    changed: Option<u64>,
}

impl Noise {
    fn new(changed: Option<u64>) -> Noise {
        Noise { xof: blake3::Hasher::new().finalize_xof(), left: LENGTH, changed }
    }
}

impl Read for Noise {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = (out.len() as u64).min(self.left) as usize;
        self.xof.fill(&mut out[..length]);
        let from = LENGTH - self.left;
        if let Some(at) = self.changed.filter(|at| (from..from + length as u64).contains(at)) {
            out[(at - from) as usize] ^= 1;
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// A remote in a folder.
struct Folder(PathBuf);

impl Remote for Folder {
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String> {
        let mut found = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(self.0.join(&folder)).into_iter().flatten().flatten() {
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                match entry.metadata().map_err(|e| e.to_string())? {
                    meta if meta.is_dir() => open.push(name),
                    meta => found.push((name, meta.len())),
                }
            }
        }
        Ok(found)
    }

    fn get(&self, names: &[String], _: u64) -> Vec<Result<Option<Vec<u8>>, String>> {
        names.iter().map(|name| Ok(std::fs::read(self.0.join(name)).ok())).collect()
    }

    fn create(&self, files: Vec<(String, Vec<u8>)>) -> Result<Vec<bool>, String> {
        files.into_iter().map(|(name, bytes)| self.update(&name, &|_| Some(bytes.clone())).map(|()| true)).collect()
    }

    fn update(&self, name: &str, change: &dyn Fn(Option<Vec<u8>>) -> Option<Vec<u8>>) -> Result<(), String> {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).map_err(|e| e.to_string())?;
        let changed = change(std::fs::read(&path).ok());
        changed.map_or(Ok(()), |bytes| std::fs::write(&path, bytes)).map_err(|e| e.to_string())
    }
}

/// Hashes what it is given.
struct Hashing(blake3::Hasher);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Does something within the limit of memory.
fn within<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let mut done = None;
    let counted = allocation_counter::measure(|| done = Some(work()));
    println!("{what}: {} KiB of memory at most, for an object of {} KiB", counted.bytes_max >> 10, LENGTH >> 10);
    assert!(counted.bytes_max < LIMIT, "{what}: {} bytes", counted.bytes_max);
    done.unwrap()
}

#[test]
fn a_checkpoint_streams_and_is_stored_once() {
    let from = Fixture::empty();
    let size = |fixture: &Fixture| -> u64 {
        let files = fixture.files();
        files.iter().map(|file| std::fs::metadata(fixture.root().join(file)).unwrap().len()).sum()
    };
    let store = from.fresh();
    let id = within("put", || store.put_stream(Noise::new(None)).unwrap());
    let once = size(&from);
    // A later checkpoint that shares all but a byte adds one chunk.
    let later = within("put again", || store.put_stream(Noise::new(Some(LENGTH / 2))).unwrap());
    assert!(later != id && size(&from) - once < 9 << 20, "{} bytes added", size(&from) - once);
    let file = ManifestFile { name: "weights".into(), blob: id, bytes: LENGTH };
    let run = fixture::put_run_on(&store, 1, Manifest { files: vec![file] });
    let run = within("seal", || store.seal(&run).unwrap().run);
    drop(store);
    let store = from.fresh();
    let mut out = Hashing(blake3::Hasher::new());
    within("copy out", || store.copy_blob(id, &mut out).unwrap());
    assert_eq!(Id::from_bytes(*out.0.finalize().as_bytes()), id);
    let report = within("verify", || store.verify());
    assert_eq!(report.problems, []);

    let bundle = from.dir.path().join("a.bundle");
    within("bundle", || store.bundle(&[run], std::fs::File::create(&bundle).unwrap()).unwrap());
    let file = std::fs::File::open(&bundle).unwrap();
    let length = file.metadata().unwrap().len();
    let bundled = within("verify the bundle", || verify_bundle(std::io::BufReader::new(file), length).unwrap());
    assert_eq!((bundled.runs, length > LENGTH), (vec![run], true));

    let remote = Folder(from.dir.path().join("remote"));
    within("push", || assert_eq!(store.push(&remote, None).unwrap()[0].problem, None));
    let to = Fixture::empty();
    let store = to.fresh().with_stream("other").unwrap();
    within("pull", || assert_eq!(store.pull(&remote).unwrap()[0].problem, None));
    assert_eq!((to.fresh().verify().problems, fixture::ids(&to.fresh())), (vec![], vec![run]));
    within("collect", || drop(from.fresh().gc(true, true).unwrap()));
    assert!(from.fresh().has(id).unwrap() && !from.fresh().has(later).unwrap());
    assert_eq!(from.fresh().verify().problems, []);
    assert_eq!(from.fresh().get::<Run>(Kind::Run, run).unwrap().started_ms, 1000);
}
