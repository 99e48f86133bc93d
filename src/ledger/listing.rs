//! What the logs list, and how a hash is looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::LedgerError;
use super::frame::{Damage, Entry};
use super::outcome::{Cell, Outcome};
use super::pack;
use super::record::{Note, Run};
use super::store::Store;
use super::stream::{self, Head, Segment, Stream};
use super::verdict::Comparison;
use super::verify::{Fault, Problem};
use crate::hash::{Id, Kind};

/// A frame of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its stream.
    pub stream: String,
    /// What it says.
    pub entry: Entry,
}

/// What the logs list and nobody buried, each once, in the order of the log.
#[derive(Debug, Default)]
pub struct ListedIds {
    /// The runs.
    pub runs: Vec<Id>,
    /// The runs of other programs.
    pub imports: Vec<Id>,
    /// The notes.
    pub notes: Vec<Id>,
}

/// The runs of a ledger that can be read, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each run once, streams in the order of their names, runs in the order of the log.
    pub runs: Vec<(Id, Run)>,
    /// Damaged stretches of logs and runs that cannot be read.
    pub problems: Vec<Problem>,
}

impl Store {
    /// The sound frames of all logs, streams in the order of their names, frames in the order of the log.
    pub fn frames(&self) -> Result<Vec<Listed>, LedgerError> {
        self.frames_and(&mut Vec::new())
    }

    fn frames_and(&self, problems: &mut Vec<Problem>) -> Result<Vec<Listed>, LedgerError> {
        let mut listed = Vec::new();
        for name in stream::names(&self.place)? {
            // An unfinished frame is not reported: a writer may be at work on it just now.
            let log = Stream::read(&self.place, &name)?;
            problems.extend(self.damage(&log));
            for (segment, frame) in log.frames() {
                match frame.entry() {
                    Ok(entry) => {
                        if let (Some((_, id)), Some(pack)) = (entry.object(), entry.pack()) {
                            self.memory().places.insert(id, pack);
                        }
                        listed.push(Listed { stream: name.clone(), entry });
                    }
                    Err(e) => problems.push(Problem {
                        file: segment.file.clone(),
                        fault: Fault::Log,
                        what: format!("byte {}: the frame says nothing this version knows: {e}", frame.at),
                        runs: Vec::new(),
                    }),
                }
            }
        }
        Ok(listed)
    }

    /// The ids of all that is listed, with one look at the logs; damaged stretches of logs become problems.
    pub fn ids(&self, problems: &mut Vec<Problem>) -> Result<ListedIds, LedgerError> {
        let frames = self.frames_and(problems)?;
        let of = |kind| ids_of(kind, &frames).into_iter().map(|(id, _)| id).collect();
        Ok(ListedIds { runs: of(Kind::Run), imports: of(Kind::Imported), notes: of(Kind::Note) })
    }

    /// All runs, in the order in which they were sealed. A damaged run or frame hides no other.
    pub fn runs(&self) -> Result<Listing, LedgerError> {
        let mut listing = Listing::default();
        for (id, pack) in self.listed(Kind::Run, &mut listing.problems)? {
            match self.get(Kind::Run, id) {
                Ok(run) => listing.runs.push((id, run)),
                Err(e) => listing.problems.push(Problem {
                    file: pack::path(Path::new(""), pack),
                    fault: match e {
                        LedgerError::Missing { .. } | LedgerError::MissingPack(_) => Fault::Missing,
                        _ => Fault::Object,
                    },
                    what: e.to_string(),
                    runs: vec![id],
                }),
            }
        }
        Ok(listing)
    }

    /// The outcomes of replays, in the order in which they were recorded.
    pub fn verdicts(&self) -> Result<Vec<(Id, Comparison)>, LedgerError> {
        let listed = self.listed(Kind::Verdict, &mut Vec::new())?;
        listed.into_iter().map(|(id, _)| Ok((id, self.get(Kind::Verdict, id)?))).collect()
    }

    /// The notes, in the order in which they were made.
    pub fn notes(&self) -> Result<Vec<(Id, Note)>, LedgerError> {
        let listed = self.listed(Kind::Note, &mut Vec::new())?;
        listed.into_iter().map(|(id, _)| Ok((id, self.get(Kind::Note, id)?))).collect()
    }

    /// The runs of other programs, in the order in which they were imported.
    pub fn imports(&self) -> Result<Vec<Id>, LedgerError> {
        Ok(self.ids(&mut Vec::new())?.imports)
    }

    /// The ids of the runs that are listed.
    pub fn run_ids(&self) -> Result<Vec<Id>, LedgerError> {
        Ok(self.ids(&mut Vec::new())?.runs)
    }

    /// The one run whose id begins with `prefix`, of 6 or more hexadecimal digits.
    pub fn resolve(&self, prefix: &str) -> Result<Id, LedgerError> {
        match self.find(prefix)? {
            (Kind::Run, id) => Ok(id),
            (_, id) => Err(LedgerError::IsImported(id)),
        }
    }

    /// The same among the runs of other programs, too: with its kind, [`Kind::Run`] or [`Kind::Imported`].
    pub fn find(&self, prefix: &str) -> Result<(Kind, Id), LedgerError> {
        let digits = prefix.to_ascii_lowercase();
        if !(6..=64).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(LedgerError::Prefix(prefix.to_owned()));
        }
        let ids = self.ids(&mut Vec::new())?;
        let imports = ids.imports.into_iter().map(|id| (Kind::Imported, id));
        let mut found: Vec<(Kind, Id)> = ids.runs.into_iter().map(|id| (Kind::Run, id)).chain(imports).collect();
        found.retain(|(_, id)| id.to_string().starts_with(&digits));
        match found[..] {
            [one] => Ok(one),
            [] => Err(LedgerError::UnknownRun { prefix: prefix.to_owned(), ledger: self.root().to_owned() }),
            _ => {
                let candidates = found.into_iter().map(|(_, id)| id).collect();
                Err(LedgerError::AmbiguousRun { prefix: prefix.to_owned(), candidates })
            }
        }
    }

    /// What the ledger holds of a cell of that key, newest first: the cell and the run it belongs to.
    pub fn cell(&self, key: Id) -> Result<Option<(Id, Cell)>, LedgerError> {
        Ok(self.cells(&[key])?.pop().flatten())
    }

    /// The same of many cells, with one look at the logs.
    pub fn cells(&self, keys: &[Id]) -> Result<Vec<Option<(Id, Cell)>>, LedgerError> {
        let frames = self.frames()?;
        let mut found = vec![None; keys.len()];
        // The keys that are looked for, by what a frame tells of them.
        let mut open: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (place, key) in keys.iter().enumerate() {
            open.entry(&key.as_bytes()[..8]).or_default().push(place);
        }
        if !frames.iter().any(|listed| listed.entry.cell_prefixes().any(|prefix| open.contains_key(prefix))) {
            return Ok(found);
        }
        let (buried, counted) = (buried(&frames), self.counted(&frames)?);
        for (listed, _) in frames.iter().zip(counted).rev().filter(|(_, counts)| *counts) {
            let places = listed.entry.cell_prefixes().filter_map(|prefix| open.get(prefix));
            let places: BTreeSet<usize> = places.flatten().copied().collect();
            let Some(id) = listed.entry.run().filter(|id| !places.is_empty() && !buried.contains(id)) else { continue };
            // A run that cannot be read is no hit; `verify` tells what is wrong with it.
            let Ok(run) = self.get::<Run>(Kind::Run, id) else { continue };
            let Ok(outcome) = self.get::<Outcome>(Kind::Result, run.result) else { continue };
            for place in places {
                let Some(cell) = outcome.cells.iter().find(|cell| cell.key == keys[place]) else { continue };
                found[place] = Some((id, cell.clone()));
                open.entry(&keys[place].as_bytes()[..8]).or_default().retain(|&other| other != place);
            }
        }
        Ok(found)
    }

    /// The latest run of that input whose cells may be taken.
    pub fn run_of(&self, input: Id) -> Result<Option<Id>, LedgerError> {
        let frames = self.frames()?;
        let (buried, counted) = (buried(&frames), self.counted(&frames)?);
        let run_of_it = |(listed, counts): (&Listed, bool)| match &listed.entry {
            Entry::Run { id, input: found, cells, .. } if counts && *found == input && !cells.0.is_empty() => Some(*id),
            _ => None,
        };
        Ok(frames.iter().zip(counted).rev().filter_map(run_of_it).find(|id| !buried.contains(id)))
    }

    /// How far each log stream has come.
    pub fn heads(&self) -> Result<Vec<Head>, LedgerError> {
        let names = stream::names(&self.place)?;
        names.iter().map(|name| Ok(Stream::read(&self.place, name)?.head(name))).collect()
    }

    fn listed(&self, kind: Kind, problems: &mut Vec<Problem>) -> Result<Vec<(Id, Id)>, LedgerError> {
        Ok(ids_of(kind, &self.frames_and(problems)?))
    }

    /// The damage of a log stream as problems.
    pub(super) fn damage(&self, log: &Stream) -> Vec<Problem> {
        let problem = |segment: &Segment, d: &Damage| Problem {
            file: segment.file.clone(),
            fault: Fault::Log,
            what: format!("byte {}: {}", d.at, d.what),
            // The entry itself may be what was damaged; then it names nothing that is stored.
            runs: match &d.entry {
                Some(Entry::Run { id, pack, .. }) if self.read_pack(*pack).is_ok_and(|o| o.contains_key(id)) => {
                    vec![*id]
                }
                _ => Vec::new(),
            },
        };
        log.segments.iter().flat_map(|s| s.damage.iter().map(move |d| problem(s, d))).collect()
    }
}

/// The ids of one kind that the logs list and nobody buried, each once, with its pack.
fn ids_of(kind: Kind, frames: &[Listed]) -> Vec<(Id, Id)> {
    let (mut seen, mut ids) = (buried(frames), Vec::new());
    for listed in frames {
        if let (Some((k, id)), Some(pack)) = (listed.entry.object(), listed.entry.pack())
            && k == kind
            && seen.insert(id)
        {
            ids.push((id, pack));
        }
    }
    ids
}

/// The runs that were taken off the listings.
pub(super) fn buried(frames: &[Listed]) -> BTreeSet<Id> {
    frames.iter().filter_map(|listed| listed.entry.buries()).collect()
}
