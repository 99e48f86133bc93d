//! Pushing: what a remote lacks is sent, the log last, so that what it lists is there.

use std::collections::BTreeSet;

use super::{AT_A_TIME, MAX_FILE, Moved, Remote, checkpoint_name, get_one, segment_name, segments};
use crate::hash::{Id, Kind};
use crate::ledger::error::LedgerError;
use crate::ledger::frame::{self, Chain, Entry};
use crate::ledger::listing::buried;
use crate::ledger::sign;
use crate::ledger::store::{FORMAT, Store};
use crate::ledger::stream::{self, Head, Stream};
use crate::ledger::{left_out, object, pack, refs};

/// How often another pusher of the same stream may be faster.
const TRIES: usize = 16;
/// How much is held before it is sent.
const HELD: usize = 16 << 20;

impl Store {
    /// Sends every log stream, and what its frames name, as far as the remote lacks it. With the secret ed25519 key
    /// `secret`, checkpoints of the streams are sent too, by which others may trust them. What is sent is hashed before.
    pub fn push(&self, remote: &dyn Remote, secret: Option<&[u8; 32]>) -> Result<Vec<Moved>, LedgerError> {
        let format = format!("{FORMAT}\n").into_bytes();
        match get_one(remote, "FORMAT".to_owned())? {
            Some(found) if found == format => {}
            Some(_) => return Err(LedgerError::Remote("its FORMAT is another one than this program writes".into())),
            None => {
                remote.create(vec![("FORMAT".to_owned(), format)]).map_err(LedgerError::Remote)?;
            }
        }
        let gone = buried(&self.frames()?);
        let mut known = segments(remote, "log")?;
        let mut all = Vec::new();
        for name in stream::names(&self.place)? {
            let mut moved = Moved { stream: name.clone(), ..Moved::default() };
            let mut done = Ok(false);
            for _ in 0..TRIES {
                let ours = known.iter().filter(|(stream, _)| *stream == name).map(|(_, first)| *first).max();
                done = self.push_stream(remote, &name, ours, &gone, secret, &mut moved);
                if !matches!(done, Ok(false)) {
                    break;
                }
                known = segments(remote, &format!("log/{name}"))?;
            }
            moved.problem = match done {
                Ok(true) => None,
                Ok(false) => Some("others push the same stream all the time; try again".to_owned()),
                Err(e) => Some(e.to_string()),
            };
            all.push(moved);
        }
        Ok(all)
    }

    /// Sends one stream, of which the remote's last segment begins at frame `last`; false where another was faster.
    fn push_stream(
        &self,
        remote: &dyn Remote,
        name: &str,
        last: Option<u64>,
        gone: &BTreeSet<Id>,
        secret: Option<&[u8; 32]>,
        moved: &mut Moved,
    ) -> Result<bool, LedgerError> {
        let log = Stream::read(&self.place, name)?;
        let changed = |what: String| LedgerError::RolledBack { stream: name.to_owned(), what };
        if !log.is_sound() {
            return Err(changed("it is damaged, and damage is not pushed".to_owned()));
        }
        let payloads: Vec<&Vec<u8>> = log.frames().map(|(_, frame)| &frame.payload).collect();
        let chains = chains(name, &payloads);
        let known = match last {
            None => 0,
            Some(first) => {
                let theirs = chains_from(remote, name, first)?;
                // At the end of the shorter one, where both have a chain.
                let (ours, first) = (payloads.len(), usize::try_from(first).unwrap_or(usize::MAX));
                let end = first.saturating_add(theirs.len() - 1);
                let agree = end.min(ours).checked_sub(first).is_none_or(|at| chains.get(first + at) == theirs.get(at));
                if !agree {
                    return Err(changed("the remote has other frames of it".to_owned()));
                }
                if end > ours {
                    // Who pushed it has more of it than this clone, and signs it.
                    return Ok(true);
                }
                end
            }
        };
        let (sent, left_out) = (BTreeSet::new(), BTreeSet::new());
        let mut sender = Sender { store: self, remote, sent, left_out, waiting: Vec::new(), held: 0, moved };
        for payload in &payloads[known..] {
            let path = || std::path::Path::new("log").join(name);
            let entry = refs::read(payload).map_err(|error| LedgerError::Malformed { path: path(), error })?;
            sender.entry(&entry, gone)?;
        }
        sender.flush()?;
        for at in (known..payloads.len()).step_by(stream::SEGMENT) {
            let end = payloads.len().min(at + stream::SEGMENT);
            let frames = (at..end).map(|i| frame::frame(&chains[i], payloads[i]));
            let bytes = [chains[at].to_vec()].into_iter().chain(frames).collect::<Vec<_>>().concat();
            let file = (segment_name(name, at as u64), bytes);
            if remote.create(vec![file]).map_err(LedgerError::Remote)? != [true] {
                return Ok(false);
            }
            moved.frames += end - at;
        }
        let head = log.head(name);
        send_head(remote, &head)?;
        if let Some(secret) = secret {
            let key = sign::public_key(secret);
            let file = (checkpoint_name(name, head.frames, &key), sign::sign(&head, secret).into_bytes());
            remote.create(vec![file]).map_err(LedgerError::Remote)?;
            moved.signed = Some((key, head.frames));
        }
        Ok(true)
    }
}

/// The chain before every frame, and at the end.
fn chains(name: &str, payloads: &[&Vec<u8>]) -> Vec<Chain> {
    let mut chains = vec![frame::origin(name)];
    for payload in payloads {
        let bytes = frame::frame(&chains[chains.len() - 1], payload);
        chains.push(*frame::chain_before(&bytes, bytes.len()).expect("a frame ends with its chain"));
    }
    chains
}

/// The chains before every frame of a remote's segment, and at its end.
fn chains_from(remote: &dyn Remote, name: &str, first: u64) -> Result<Vec<Chain>, LedgerError> {
    let file = segment_name(name, first);
    let damaged = |what: &str| LedgerError::Refused { name: file.clone(), what: what.to_owned(), kept: None };
    let bytes = get_one(remote, file.clone())?.ok_or_else(|| damaged("it is not there any more"))?;
    let scan = frame::scan(&bytes);
    if !scan.damage.is_empty() || scan.torn.is_some() {
        return Err(damaged("it is damaged"));
    }
    let places = scan.frames.iter().map(|frame| frame.at).chain([bytes.len()]);
    let chains = places.map(|at| frame::chain_before(&bytes, at).copied());
    chains.collect::<Option<_>>().ok_or_else(|| damaged("it is damaged"))
}

/// A head is replaced by one of more frames only.
fn send_head(remote: &dyn Remote, head: &Head) -> Result<(), LedgerError> {
    let change = |found: Option<Vec<u8>>| {
        let known = found.and_then(|bytes| stream::decode_head(&bytes).ok());
        known.is_none_or(|known| known.frames < head.frames).then(|| stream::encode_head(head))
    };
    remote.update(&format!("heads/{}", head.stream), &change).map_err(LedgerError::Remote)
}

/// Sends files, some at a time.
struct Sender<'a> {
    store: &'a Store,
    remote: &'a dyn Remote,
    sent: BTreeSet<Id>,
    /// The weights that what a frame names does without.
    left_out: BTreeSet<Id>,
    waiting: Vec<(String, Vec<u8>)>,
    held: usize,
    moved: &'a mut Moved,
}

impl Sender<'_> {
    /// Sends what a frame names.
    fn entry(&mut self, entry: &Entry, gone: &BTreeSet<Id>) -> Result<(), LedgerError> {
        let Some(name) = entry.pack().filter(|name| self.sent.insert(*name)) else { return Ok(()) };
        let path = pack::path(self.store.root(), name);
        let Some(bytes) = self.store.place.read(&path)? else {
            // What a buried run needed may have been collected.
            let buried = entry.run().is_some_and(|run| gone.contains(&run));
            return if buried { Ok(()) } else { Err(LedgerError::MissingPack(path)) };
        };
        let objects = pack::read(name, &bytes).map_err(|what| LedgerError::Damaged { path, what })?;
        self.left_out = objects.values().flat_map(|(kind, payload)| left_out::of(*kind, payload)).collect();
        for (kind, payload) in objects.values() {
            let malformed = |error| LedgerError::Malformed { path: pack::path(self.store.root(), name), error };
            for (kind, id) in refs::references(*kind, payload).map_err(malformed)? {
                if !objects.contains_key(&id) {
                    self.object(kind, id)?;
                }
            }
        }
        self.send(format!("packs/{name}"), bytes)
    }

    /// Sends a large object with what it is made of; nothing where it has no file of its own.
    fn object(&mut self, kind: Kind, id: Id) -> Result<(), LedgerError> {
        let file = object::file(id);
        let path = self.store.root().join(&file);
        if self.sent.contains(&id) || (kind == Kind::Weights && self.left_out.contains(&id)) {
            return Ok(());
        }
        let Some(bytes) = self.store.place.read(&path)? else { return Ok(()) };
        self.sent.insert(id);
        let loose = object::check(&path, id, bytes.clone())?;
        for chunk in &loose.chunks {
            self.object(Kind::Blob, chunk.blob)?;
        }
        if refs::has_references(kind) {
            let payload = self.store.read(kind, id)?;
            let malformed = |error| LedgerError::Malformed { path, error };
            for (kind, id) in refs::references(kind, &payload).map_err(malformed)? {
                self.object(kind, id)?;
            }
        }
        self.send(object::name(id), bytes)
    }

    fn send(&mut self, name: String, bytes: Vec<u8>) -> Result<(), LedgerError> {
        if bytes.len() as u64 > MAX_FILE {
            let what = format!("it has more than {MAX_FILE} bytes, which no ledger takes back");
            return Err(LedgerError::Refused { name, what, kept: None });
        }
        self.held += bytes.len();
        self.waiting.push((name, bytes));
        if self.held >= HELD || self.waiting.len() >= AT_A_TIME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LedgerError> {
        let files = std::mem::take(&mut self.waiting);
        let lengths: Vec<u64> = files.iter().map(|(_, bytes)| bytes.len() as u64).collect();
        self.held = 0;
        let new = self.remote.create(files).map_err(LedgerError::Remote)?;
        for length in lengths.iter().zip(new).filter(|(_, new)| *new).map(|(length, _)| length) {
            self.moved.files += 1;
            self.moved.bytes += length;
        }
        Ok(())
    }
}
