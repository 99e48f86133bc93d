//! Pulling: what a remote lists is fetched, hashed, and given its name here before the frames that list it are appended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::trust::Mark;
use super::{AT_A_TIME, MAX_FILE, Moved, Remote, get_one, segment_name, segments};
use crate::hash::{Id, Kind};
use crate::ledger::error::LedgerError;
use crate::ledger::frame::{self, Chain, Entry};
use crate::ledger::left_out;
use crate::ledger::listing::buried;
use crate::ledger::object::{self, Chunk};
use crate::ledger::pack::{self, Objects};
use crate::ledger::place::Place;
use crate::ledger::refs;
use crate::ledger::sign;
use crate::ledger::store::{FORMAT, Store};
use crate::ledger::stream::{Appender, Head, Stream};

/// How many log streams a remote may have.
const MAX_STREAMS: usize = 4096;
/// The longest log that is taken from a remote at a time, in bytes.
const MAX_LOG: usize = 256 << 20;
/// The longest object that is put together from chunks, in bytes.
const MAX_WHOLE: u64 = 1 << 40;
/// After how many frames what was fetched is committed.
const COMMIT: usize = 64;

/// What a remote has of a stream beyond what is here.
struct News {
    stream: String,
    /// The number of the first frame that is new.
    first: usize,
    payloads: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    moved: Moved,
}

impl Store {
    /// Takes over every log stream of a remote, and what its frames name, as far as it is not here. Every file is hashed
    /// before it gets a name in this ledger; what does not hash to its name is set aside in `quarantine/`, and its stream
    /// is taken over up to there. Whatever is pulled can be read; its cells count as held where a trusted key has signed.
    pub fn pull(&self, remote: &dyn Remote) -> Result<Vec<Moved>, LedgerError> {
        match get_one(remote, "FORMAT".to_owned())? {
            Some(found) if found == format!("{FORMAT}\n").as_bytes() => {}
            Some(_) => return Err(LedgerError::Remote("its FORMAT is another one than this program reads".into())),
            None => return Err(LedgerError::Remote("it has no FORMAT file, so it is no ledger".into())),
        }
        let segments = segments(remote, "log")?;
        let streams: BTreeSet<&String> = segments.iter().map(|(stream, _)| stream).collect();
        if streams.len() > MAX_STREAMS {
            return Err(LedgerError::Remote(format!("it has more than {MAX_STREAMS} log streams")));
        }
        let (mut left, mut all) = (MAX_LOG, Vec::new());
        for stream in streams {
            let firsts: Vec<u64> =
                segments.iter().filter(|(name, _)| name == stream).map(|(_, first)| *first).collect();
            let mut news = News::of(stream);
            if let Err(e) = self.read_news(remote, &firsts, &mut left, &mut news) {
                news.moved.problem = Some(e.to_string());
            }
            all.push(news);
        }
        // What is buried anywhere need not be whole.
        let mut gone = buried(&self.frames()?);
        gone.extend(all.iter().flat_map(|news| news.entries.iter().filter_map(Entry::buries)));
        self.begin_writing()?;
        for news in &mut all {
            if let Err(e) = self.take_over(remote, news, &gone) {
                news.moved.problem.get_or_insert(e.to_string());
            }
        }
        // The lock that keeps `gc` away.
        self.memory().writing = None;
        let mut moved: Vec<Moved> = all.into_iter().map(|news| news.moved).collect();
        self.take_checkpoints(remote, &mut moved)?;
        Ok(moved)
    }

    /// Reads the frames of a stream that are not here. They follow from those that are.
    fn read_news(
        &self,
        remote: &dyn Remote,
        firsts: &[u64],
        left: &mut usize,
        news: &mut News,
    ) -> Result<(), LedgerError> {
        let log = Stream::read(&self.place, &news.stream)?;
        let changed = |what: &str| LedgerError::RolledBack { stream: news.stream.clone(), what: what.to_owned() };
        if !log.is_sound() {
            return Err(changed("it is damaged here; `metadsl verify` tells where"));
        }
        let ours: Vec<&Vec<u8>> = log.frames().map(|(_, frame)| &frame.payload).collect();
        news.first = ours.len();
        let begin = firsts.iter().rposition(|&first| first <= ours.len() as u64).unwrap_or(0);
        // The chain that the next segment begins with.
        let mut before: Option<Chain> = (firsts[begin] == 0).then(|| frame::origin(&news.stream));
        let mut next = firsts[begin];
        for &first in &firsts[begin..] {
            let file = segment_name(&news.stream, first);
            let refused = |what: &str| LedgerError::Refused { name: file.clone(), what: what.to_owned(), kept: None };
            let bytes = get_one(remote, file.clone())?.ok_or_else(|| refused("it is not there any more"))?;
            *left = left.checked_sub(bytes.len()).ok_or_else(|| refused("the logs are too long"))?;
            let scan = frame::scan(&bytes);
            let link = frame::chain_before(&bytes, frame::CHAIN).copied();
            if first != next
                || !scan.damage.is_empty()
                || scan.torn.is_some()
                || before.is_some_and(|b| Some(b) != link)
            {
                return Err(refused("it does not follow from what stands before it, or is damaged"));
            }
            for (number, frame) in (first..).zip(&scan.frames) {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                if number == ours.len()
                    && frame::chain_before(&bytes, frame.at).copied() != Some(log.chain(&news.stream))
                {
                    return Err(changed("the remote has other frames of it"));
                }
                if ours.get(number).is_some_and(|ours| **ours != frame.payload) {
                    return Err(changed("the remote has other frames of it"));
                }
                if number >= ours.len() {
                    let path = PathBuf::from(&file);
                    let entry = frame.entry().map_err(|error| LedgerError::Malformed { path, error })?;
                    news.payloads.push(frame.payload.clone());
                    news.entries.push(entry);
                }
            }
            before = frame::chain_before(&bytes, bytes.len()).copied();
            next = first + scan.frames.len() as u64;
        }
        if !news.payloads.is_empty() && *self.stream()? == news.stream {
            news.payloads.clear();
            news.entries.clear();
            let what = "the remote has more frames of it than this ledger, which writes it: an older copy was put back here; \
                        move it away, and pull into a new ledger";
            return Err(changed(what));
        }
        Ok(())
    }

    /// Fetches what new frames need, and appends them.
    fn take_over(&self, remote: &dyn Remote, news: &mut News, gone: &BTreeSet<Id>) -> Result<(), LedgerError> {
        if !news.payloads.is_empty() && self.mark(&news.stream)?.is_none() {
            // Before the first frame is here: nothing pulled may ever look like this ledger's own.
            let (stream, own) = (news.stream.clone(), news.first as u64);
            self.write_mark(&Mark { stream, own, checkpoint: String::new() })?;
        }
        let mut at = 0;
        while at < news.payloads.len() {
            let end = news.payloads.len().min(at + COMMIT);
            let (dirs, left_out) = (BTreeSet::new(), BTreeSet::new());
            let mut fetch = Fetch { store: self, remote, moved: &mut news.moved, dirs, left_out };
            // Of what is fetched in vain the frames before it still count.
            let (whole, stopped) = fetch.entries(&news.entries[at..end], gone);
            fetch.sync()?;
            let frames = &news.payloads[at..at + whole];
            Appender::lock(&self.place, &news.stream, self.segment_frames)?.extend(news.first + at, frames)?;
            news.moved.frames += whole;
            stopped?;
            at = end;
        }
        Ok(())
    }

    /// Keeps the newest checkpoint of each stream that a trusted key has signed.
    fn take_checkpoints(&self, remote: &dyn Remote, moved: &mut [Moved]) -> Result<(), LedgerError> {
        let trusted = self.trusted()?;
        if trusted.is_empty() {
            return Ok(());
        }
        let names = remote.list("checkpoints").map_err(LedgerError::Remote)?;
        for moved in moved {
            let Some(mut mark) = self.mark(&moved.stream)? else { continue };
            let log = Stream::read(&self.place, &moved.stream)?;
            let have = log.frames().count() as u64;
            let of_it = |name: &String| {
                let rest = name.strip_prefix("checkpoints/")?.strip_prefix(&moved.stream)?.strip_prefix('/')?;
                let (frames, key) = rest.split_once('-')?;
                let frames: u64 = frames.parse().ok().filter(|&frames| frames <= have)?;
                trusted.iter().any(|known| known == key).then(|| (frames, name.clone(), key.to_owned()))
            };
            let Some((frames, name, key)) = names.iter().filter_map(|(name, _)| of_it(name)).max() else { continue };
            let text = String::from_utf8(get_one(remote, name.clone())?.unwrap_or_default()).unwrap_or_default();
            let wanted = |head: &Head| head.stream == moved.stream && head.frames == frames;
            let what = match sign::read_checkpoints(&text).as_deref() {
                Ok([one]) if one.key == key && wanted(&one.head) => log.contradiction(&one.head),
                Ok(_) => Some("it is not what its name says".to_owned()),
                Err(what) => Some(what.clone()),
            };
            if let Some(what) = what {
                moved.problem.get_or_insert(LedgerError::Refused { name, what, kept: None }.to_string());
                continue;
            }
            mark.checkpoint = text;
            self.write_mark(&mark)?;
            moved.signed = Some((key, frames));
        }
        Ok(())
    }
}

impl News {
    fn of(stream: &str) -> News {
        let moved = Moved { stream: stream.to_owned(), ..Moved::default() };
        News { stream: stream.to_owned(), first: 0, payloads: Vec::new(), entries: Vec::new(), moved }
    }
}

/// Fetches files, and gives each its name here once it is known to be what it should be.
struct Fetch<'a> {
    store: &'a Store,
    remote: &'a dyn Remote,
    moved: &'a mut Moved,
    dirs: BTreeSet<PathBuf>,
    /// The weights that what a frame names does without.
    left_out: BTreeSet<Id>,
}

impl Fetch<'_> {
    fn place(&self) -> &Place {
        &self.store.place
    }

    /// Fetches what some frames need. Gives how many are whole, and why the next one is not.
    fn entries(&mut self, entries: &[Entry], gone: &BTreeSet<Id>) -> (usize, Result<(), LedgerError>) {
        for (group, some) in entries.chunks(AT_A_TIME).enumerate() {
            let absent = |entry: &&Entry| entry.pack().is_some_and(|name| !self.has_pack(name));
            let names: Vec<String> =
                some.iter().filter(absent).filter_map(Entry::pack).map(|name| format!("packs/{name}")).collect();
            let mut found = self.remote.get(&names, MAX_FILE).into_iter().zip(&names);
            for (number, entry) in some.iter().enumerate() {
                let fetched = match entry.pack() {
                    Some(name) if !self.has_pack(name) => {
                        // A name may be asked for twice; the second answer is not needed then.
                        found.find(|(_, asked)| **asked == format!("packs/{name}")).map(|(bytes, _)| bytes)
                    }
                    _ => Some(Ok(None)),
                };
                let whole = match fetched.unwrap_or(Ok(None)) {
                    Ok(bytes) => self.entry(entry, bytes, gone),
                    Err(what) => Err(LedgerError::Remote(what)),
                };
                if let Err(e) = whole {
                    return (group * AT_A_TIME + number, Err(e));
                }
            }
        }
        (entries.len(), Ok(()))
    }

    fn has_pack(&self, name: Id) -> bool {
        self.place().is_file(&pack::path(self.store.root(), name)).unwrap_or(false)
    }

    /// Takes the pack that a frame names, and what it refers to.
    fn entry(&mut self, entry: &Entry, bytes: Option<Vec<u8>>, gone: &BTreeSet<Id>) -> Result<(), LedgerError> {
        let (Some(name), Some((kind, id))) = (entry.pack(), entry.object()) else { return Ok(()) };
        let file = format!("packs/{name}");
        let objects = match &bytes {
            Some(bytes) => pack::read(name, bytes).map_err(|what| self.quarantine(&file, bytes, what))?,
            None if self.has_pack(name) => self.store.read_pack(name)?,
            None if gone.contains(&id) => return Ok(()),
            None => return Err(LedgerError::Refused { name: file, what: "it is missing".into(), kept: None }),
        };
        if objects.get(&id).is_none_or(|(found, _)| *found != kind) {
            let what = format!("the {} that the log names is not in it", kind.name());
            return Err(self.quarantine(&file, bytes.as_deref().unwrap_or_default(), what));
        }
        self.left_out = objects.values().flat_map(|(kind, payload)| left_out::of(*kind, payload)).collect();
        // Runs are whole; what a verdict or a note is about may lie elsewhere.
        self.references(&objects, kind == Kind::Run && !gone.contains(&id))?;
        if let Some(bytes) = bytes {
            self.publish(&file, &bytes)?;
        }
        Ok(())
    }

    /// Takes what the objects of a pack refer to and is not among them.
    fn references(&mut self, objects: &Objects, whole: bool) -> Result<(), LedgerError> {
        for (kind, payload) in objects.values() {
            for (wanted, id) in self.read_references(*kind, payload)? {
                let there = objects.contains_key(&id) || self.is_left_out(wanted, id) || self.object(wanted, id)?;
                if !there && whole && wanted != Kind::Blob {
                    let what = format!("the {} that a {} needs is missing", wanted.name(), kind.name());
                    return Err(LedgerError::Refused { name: object::name(id), what, kept: None });
                }
            }
        }
        Ok(())
    }

    fn is_left_out(&self, kind: Kind, id: Id) -> bool {
        kind == Kind::Weights && self.left_out.contains(&id)
    }

    fn read_references(&self, kind: Kind, payload: &[u8]) -> Result<Vec<(Kind, Id)>, LedgerError> {
        let path = PathBuf::from(kind.name());
        refs::references(kind, payload).map_err(|error| LedgerError::Malformed { path, error })
    }

    /// Takes a large object with all it is made of; false where the remote has no file of it.
    fn object(&mut self, kind: Kind, id: Id) -> Result<bool, LedgerError> {
        let name = object::name(id);
        if self.place().is_file(&self.store.root().join(&name))? {
            return Ok(true);
        }
        let Some(bytes) = get_one(self.remote, name.clone())? else { return Ok(false) };
        let path = PathBuf::from(&name);
        let loose =
            object::check(&path, id, bytes.clone()).map_err(|e| self.quarantine(&name, &bytes, e.to_string()))?;
        if loose.kind != kind {
            let what = format!("it is a {} where a {} is wanted", loose.kind.name(), kind.name());
            return Err(self.quarantine(&name, &bytes, what));
        }
        if loose.payload.is_none() {
            self.chunks(&loose.chunks)?;
            let found = self.hash_of(kind, &loose.chunks)?;
            if found != id {
                return Err(self.quarantine(&name, &bytes, format!("its chunks hash to {found}")));
            }
        }
        // Last, so that an object that is here is whole.
        self.publish(&name, &bytes)?;
        if refs::has_references(kind) {
            let payload = self.store.read(kind, id)?;
            for (kind, id) in self.read_references(kind, &payload)? {
                if !self.is_left_out(kind, id) {
                    self.object(kind, id)?;
                }
            }
        }
        Ok(true)
    }

    fn chunks(&mut self, chunks: &[Chunk]) -> Result<(), LedgerError> {
        if chunks.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.bytes)).is_none_or(|sum| sum > MAX_WHOLE) {
            let what = format!("an object has more than {MAX_WHOLE} bytes");
            return Err(LedgerError::Remote(what));
        }
        for some in chunks.chunks(AT_A_TIME) {
            let mut absent: Vec<Id> = some.iter().map(|chunk| chunk.blob).collect();
            absent.sort_unstable();
            absent.dedup();
            absent.retain(|id| !self.place().is_file(&self.store.root().join(object::file(*id))).unwrap_or(false));
            let names: Vec<String> = absent.iter().map(|id| object::name(*id)).collect();
            for ((found, name), id) in self.remote.get(&names, MAX_FILE).into_iter().zip(&names).zip(&absent) {
                let missing = || LedgerError::Refused { name: name.clone(), what: "it is missing".into(), kept: None };
                let bytes = found.map_err(LedgerError::Remote)?.ok_or_else(missing)?;
                let path = PathBuf::from(name);
                let loose = object::check(&path, *id, bytes.clone())
                    .map_err(|e| self.quarantine(name, &bytes, e.to_string()))?;
                if loose.kind != Kind::Blob || loose.payload.is_none() {
                    return Err(self.quarantine(name, &bytes, "it is no chunk".to_owned()));
                }
                self.publish(name, &bytes)?;
            }
        }
        Ok(())
    }

    /// The id of an object whose chunks are here, in constant memory.
    fn hash_of(&self, kind: Kind, chunks: &[Chunk]) -> Result<Id, LedgerError> {
        let mut hasher = Id::hasher(kind);
        for chunk in chunks {
            let piece = object::read_loose(self.place(), chunk.blob)?.and_then(|loose| loose.payload);
            if let Some(piece) = piece.filter(|piece| piece.len() as u64 == chunk.bytes) {
                hasher.update(&piece);
            }
        }
        Ok(Id::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Gives checked bytes their name.
    fn publish(&mut self, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.store.root().join(name);
        self.place().write(&path, &[bytes])?;
        self.dirs.extend(path.parent().map(ToOwned::to_owned));
        self.moved.files += 1;
        self.moved.bytes += bytes.len() as u64;
        Ok(())
    }

    fn sync(&self) -> Result<(), LedgerError> {
        self.dirs.iter().try_for_each(|dir| self.place().sync_dir(dir))
    }

    /// Sets bytes aside that are not what their name says; gives the error that tells so.
    fn quarantine(&self, name: &str, bytes: &[u8], what: String) -> LedgerError {
        let file = PathBuf::from("quarantine").join(format!("pulled-{}", name.replace('/', "-")));
        match self.place().write(&self.store.root().join(&file), &[bytes]) {
            Ok(()) => LedgerError::Refused { name: name.to_owned(), what, kept: Some(file) },
            Err(e) => e,
        }
    }
}
