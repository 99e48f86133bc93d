//! A remote behind `object_store`: a folder, or a bucket of S3 and whatever speaks like it.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::{AT_A_TIME, Remote};
use crate::ledger::error::{LedgerError, io_error};

/// How many names a remote may list at a time.
const MAX_NAMES: usize = 1 << 20;
/// How often another may be faster in replacing a file.
const TRIES: usize = 16;

/// A remote behind `object_store`.
#[derive(Debug)]
pub struct Bucket {
    runtime: Runtime,
    store: Arc<dyn ObjectStore>,
    /// What stands before every name.
    base: Path,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

impl Bucket {
    /// A folder; it is made where `make` says so.
    pub fn folder(path: &FilePath, make: bool) -> Result<Bucket, LedgerError> {
        if make {
            std::fs::create_dir_all(path).map_err(io_error(path, "make the directory"))?;
        }
        let store = LocalFileSystem::new_with_prefix(path).map_err(|e| LedgerError::Remote(e.to_string()))?;
        Bucket::new(Arc::new(store.with_fsync(true)), Path::default(), Some(path.to_owned()))
    }

    /// What a URL such as `s3://bucket/prefix` names. Settings are those of `object_store`, as `aws_endpoint`.
    pub fn open(url: &str, settings: impl IntoIterator<Item = (String, String)>) -> Result<Bucket, LedgerError> {
        let wrong = |e: String| LedgerError::Remote(format!("`{url}`: {e}"));
        let parsed = Url::parse(url).map_err(|e| wrong(e.to_string()))?;
        // A provider that is set already serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (store, base) = object_store::parse_url_opts(&parsed, settings).map_err(|e| wrong(e.to_string()))?;
        Bucket::new(Arc::from(store), base, None)
    }

    fn new(store: Arc<dyn ObjectStore>, base: Path, folder: Option<PathBuf>) -> Result<Bucket, LedgerError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| LedgerError::Remote(format!("no runtime: {e}")))?;
        Ok(Bucket { runtime, store, base, folder })
    }

    fn path(&self, name: &str) -> Path {
        self.base.parts().chain(Path::from(name).parts()).collect()
    }

    /// Refuses what is no plain file in plain folders: a link leads elsewhere, a pipe never answers.
    fn check_plain(&self, name: &str) -> Result<(), String> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(name);
        for step in path.ancestors().take_while(|step| step != folder) {
            let Ok(meta) = std::fs::symlink_metadata(step) else { continue };
            if if step == path { !meta.is_file() } else { !meta.is_dir() } {
                return Err(format!("`{}` is no plain file or folder", step.display()));
            }
        }
        Ok(())
    }

    async fn read(&self, name: &str, limit: u64) -> Result<Option<(Vec<u8>, UpdateVersion)>, String> {
        self.check_plain(name)?;
        let found = match self.store.get(&self.path(name)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(|e| e.to_string())?,
        };
        let too_long = || format!("it has more than {limit} bytes");
        if found.meta.size > limit {
            return Err(too_long());
        }
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let (mut pieces, mut bytes) = (found.into_stream(), Vec::new());
        while let Some(piece) = pieces.try_next().await.map_err(|e| e.to_string())? {
            // A server may send more than it announces.
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some((bytes, version)))
    }

    async fn write(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<bool, Error> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.path(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Remote for Bucket {
    fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, String> {
        let path = self.path(folder);
        let found = self.store.list(Some(&path)).take(MAX_NAMES + 1).try_collect::<Vec<_>>();
        let found = self.runtime.block_on(found).map_err(|e| e.to_string())?;
        if found.len() > MAX_NAMES {
            return Err(format!("it lists more than {MAX_NAMES} files in `{folder}`"));
        }
        let name = |path: &Path| Some(path.prefix_match(&self.base)?.map(|part| part.as_ref().to_owned()).collect());
        let named = found.into_iter().filter_map(|meta| {
            let parts: Vec<String> = name(&meta.location)?;
            Some((parts.join("/"), meta.size))
        });
        Ok(named.collect())
    }

    fn get(&self, names: &[String], limit: u64) -> Vec<Result<Option<Vec<u8>>, String>> {
        let reads = names.iter().map(|name| async move { Ok(self.read(name, limit).await?.map(|(bytes, _)| bytes)) });
        self.runtime.block_on(stream::iter(reads).buffered(AT_A_TIME).collect())
    }

    fn create(&self, files: Vec<(String, Vec<u8>)>) -> Result<Vec<bool>, String> {
        let writes = files.into_iter().map(|(name, bytes)| async move {
            self.check_plain(&name)?;
            self.write(&name, bytes, PutMode::Create).await.map_err(|e| e.to_string())
        });
        self.runtime.block_on(stream::iter(writes).buffered(AT_A_TIME).try_collect())
    }

    fn update(&self, name: &str, change: &dyn Fn(Option<Vec<u8>>) -> Option<Vec<u8>>) -> Result<(), String> {
        for _ in 0..TRIES {
            let (found, version) = match self.runtime.block_on(self.read(name, super::MAX_FILE))? {
                Some((bytes, version)) => (Some(bytes), Some(version)),
                None => (None, None),
            };
            let Some(bytes) = change(found) else { return Ok(()) };
            let mode = version.map_or(PutMode::Create, PutMode::Update);
            match self.runtime.block_on(self.write(name, bytes.clone(), mode)) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // A folder replaces a file whole, and cannot compare it first.
                Err(Error::NotImplemented { .. }) => {
                    let done = self.runtime.block_on(self.write(name, bytes, PutMode::Overwrite));
                    return done.map(|_| ()).map_err(|e| e.to_string());
                }
                Err(e) => return Err(e.to_string()),
            }
        }
        Err(format!("others replace `{name}` all the time; try again"))
    }
}
