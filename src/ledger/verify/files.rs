//! The files that hold objects: each is read, hashed and decoded once, and what it refers to is kept.

use std::path::Path;

use super::{Check, Fault, Node};
use crate::hash::{Id, Kind};
use crate::ledger::error::LedgerError;
use crate::ledger::object::{self, Loose, Payload};
use crate::ledger::{pack, refs, vfs};

impl Check<'_> {
    /// Checks all packs.
    pub(super) fn packs(&mut self) {
        let dir = Path::new("packs");
        for (name, _) in self.names(dir) {
            match name.parse() {
                Ok(id) => self.pack(id, &[]),
                Err(_) => self.note(dir.join(name), Fault::Stray, "no pack has this name", &[]),
            }
        }
    }

    /// Checks one pack and keeps what its objects refer to.
    pub(super) fn pack(&mut self, name: Id, about: &[Id]) {
        let file = pack::path(Path::new(""), name);
        let read = self.attempt(&file, about, |s| match s.read_pack(name) {
            Err(LedgerError::MissingPack(_)) => Ok(None),
            read => read.map(Some),
        });
        let Some(read) = read else {
            self.packs.insert(name, false);
            return;
        };
        let Some(objects) = read else { return };
        self.packs.insert(name, true);
        for (id, (kind, payload)) in objects {
            self.report.objects += 1;
            self.report.bytes += payload.len() as u64;
            self.object(id, kind, &payload, &file);
        }
    }

    /// Keeps what an object with sound bytes refers to, and what it leaves out.
    fn object(&mut self, id: Id, kind: Kind, payload: &[u8], file: &Path) {
        self.left_out.add(id, kind, payload);
        let node = match refs::references(kind, payload) {
            Ok(refs) => Node::Sound(kind, refs, file.to_owned()),
            Err(e) => {
                let what = format!("the {} object {} cannot be read: {e}", kind.name(), id.short());
                self.note(file, Fault::Malformed, what, &[id]);
                Node::Bad
            }
        };
        // The same object may lie in several packs; a sound one is enough.
        if !matches!(self.nodes.get(&id), Some(Node::Sound(..))) {
            self.nodes.insert(id, node);
        }
    }

    /// Checks all object files.
    pub(super) fn objects(&mut self) {
        let top = Path::new("objects");
        let mut found = Vec::new();
        for (shard, entry) in self.names(top) {
            let dir = top.join(&shard);
            if entry != vfs::Entry::Dir || !is_hex(&shard, 2) {
                self.note(dir, Fault::Stray, "no object directory has this name", &[]);
                continue;
            }
            for (name, _) in self.names(&dir) {
                match format!("{shard}{name}").parse() {
                    Ok(id) => found.push(id),
                    Err(_) => self.note(dir.join(name), Fault::Stray, "no object has this name", &[]),
                }
            }
        }
        // Those in chunks first: a chunk is then read once for its own sake and for theirs.
        let in_chunks = |id: &Id| self.depth.reads(*id) && object::is_chunked(&self.store.place, *id);
        let (first, others): (Vec<Id>, Vec<Id>) = found.into_iter().partition(in_chunks);
        first.into_iter().chain(others).for_each(|id| self.file(id));
    }

    /// Checks one object file, unless that has been done.
    pub(super) fn file(&mut self, id: Id) {
        let reads = self.depth.reads(id);
        if self.files.contains(&id) {
            return;
        }
        let Some(loose) = self.loose(id, reads).filter(|loose| reads && loose.payload.is_none()) else { return };
        match (self.together(id, &loose), self.nodes.get_mut(&id)) {
            (Ok(inner), Some(Node::Sound(_, refs, _))) => refs.extend(inner),
            (Ok(_), _) => {}
            (Err((fault, what)), _) => {
                self.note(object::file(id), fault, what, &[id]);
                self.nodes.insert(id, Node::Bad);
            }
        }
    }

    /// Reads one object file; keeps what its payload refers to, or that there is none.
    fn loose(&mut self, id: Id, reads: bool) -> Option<Loose> {
        let file = object::file(id);
        self.files.insert(id);
        let read = self.attempt(&file, &[id], |s| {
            if reads { object::read_loose(&s.place, id) } else { object::peek(&s.place, id) }
        });
        let loose = match read {
            Some(Some(loose)) => loose,
            not => {
                let node = if not.is_none() { Node::Bad } else { Node::Missing };
                self.nodes.entry(id).or_insert(node);
                return None;
            }
        };
        self.report.objects += 1;
        match &loose.payload {
            Some(payload) => {
                self.report.bytes += payload.len() as u64;
                self.object(id, loose.kind, payload, &file);
            }
            // In chunks, or not read: what is known of it without its payload.
            None => {
                let refs = loose.chunks.iter().map(|chunk| (Kind::Blob, chunk.blob)).collect();
                self.nodes.insert(id, Node::Sound(loose.kind, refs, file));
            }
        }
        Some(loose)
    }

    /// Checks that the chunks of an object are together what it should be; gives what that refers to.
    fn together(&mut self, id: Id, loose: &Loose) -> Result<Vec<(Kind, Id)>, (Fault, String)> {
        let mut hasher = Id::hasher(loose.kind);
        let mut payload = Vec::new();
        for chunk in &loose.chunks {
            let piece =
                self.chunk(chunk.blob).map_err(|fault| (fault, "one of its chunks cannot be read".to_owned()))?;
            if piece.len() as u64 != chunk.bytes {
                return Err((Fault::Malformed, "its list of chunks gives them other lengths".to_owned()));
            }
            hasher.update(&piece);
            // Only of what refers to others more than the hash is needed; a checkpoint may be larger than memory.
            if refs::has_references(loose.kind) {
                payload.extend_from_slice(&piece);
            }
        }
        let found = Id::from_bytes(*hasher.finalize().as_bytes());
        if found != id {
            return Err((Fault::Object, format!("its chunks hash to {found}")));
        }
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        refs::references(loose.kind, &payload).map_err(|e| (Fault::Malformed, format!("it cannot be read: {e}")))
    }

    /// The payload of a chunk, which is checked by itself the first time.
    fn chunk(&mut self, blob: Id) -> Result<Payload, Fault> {
        if !self.files.contains(&blob) {
            let payload = self.loose(blob, true).and_then(|loose| loose.payload);
            if let Some(payload) = payload {
                return Ok(payload);
            }
        }
        match self.nodes.get(&blob) {
            Some(Node::Missing) => Err(Fault::Missing),
            Some(Node::Sound(Kind::Blob, ..)) => {
                let read = self.attempt(object::file(blob), &[blob], |s| object::read_checked(&s.place, blob));
                read.flatten().ok_or(Fault::Object)
            }
            _ => Err(Fault::Object),
        }
    }
}

fn is_hex(name: &str, digits: usize) -> bool {
    name.len() == digits && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
