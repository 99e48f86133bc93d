//! Weights that need not be there: a run may keep the ids alone of what its cells ended with.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Run;
use super::refs;
use super::verdict::Comparison;
use crate::hash::{Id, Kind};

/// What the runs and verdicts of a ledger, or of a part of it, say of weights that they leave out.
#[derive(Default)]
pub(super) struct LeftOut {
    /// All that any of them leaves out.
    named: BTreeSet<Id>,
    /// The runs by result, each with what it leaves out.
    runs: BTreeMap<Id, BTreeMap<Id, Vec<Id>>>,
}

impl LeftOut {
    /// Takes a run or a verdict into account; other objects leave nothing out.
    pub fn add(&mut self, id: Id, kind: Kind, payload: &[u8]) {
        self.named.extend(of(kind, payload));
        if kind == Kind::Run
            && let Ok(Run { result, left_out, .. }) = refs::read(payload)
        {
            self.runs.entry(result).or_default().insert(id, left_out);
        }
    }

    /// The weights that need not be there: something leaves them out, and no run whose result names them keeps them.
    /// `refs_of` gives what a result refers to; it is asked once for each.
    pub fn excused<E>(&self, mut refs_of: impl FnMut(Id) -> Result<Vec<(Kind, Id)>, E>) -> Result<BTreeSet<Id>, E> {
        let mut excused = self.named.clone();
        for (result, runs) in self.runs.iter().filter(|_| !self.named.is_empty()) {
            let mut counts: BTreeMap<Id, usize> = BTreeMap::new();
            runs.values().flatten().for_each(|id| *counts.entry(*id).or_default() += 1);
            for id in weights(&refs_of(*result)?) {
                if counts.get(&id) != Some(&runs.len()) {
                    excused.remove(&id);
                }
            }
        }
        Ok(excused)
    }

    /// The runs that leave out what is no weights of their result, with the first such id. `refs_of` gives what a result
    /// refers to, where that is known.
    pub fn strangers(&self, refs_of: impl Fn(Id) -> Option<Vec<(Kind, Id)>>) -> Vec<(Id, Id)> {
        let mut found = Vec::new();
        for (result, runs) in self.runs.iter().filter(|(_, runs)| runs.values().any(|ids| !ids.is_empty())) {
            let Some(refs) = refs_of(*result) else { continue };
            let known: BTreeSet<Id> = weights(&refs).collect();
            for (run, left_out) in runs {
                found.extend(left_out.iter().find(|id| !known.contains(id)).map(|id| (*run, *id)));
            }
        }
        found
    }
}

/// The weights that one object leaves out.
pub(super) fn of(kind: Kind, payload: &[u8]) -> Vec<Id> {
    match kind {
        Kind::Run => refs::read(payload).map(|run: Run| run.left_out).unwrap_or_default(),
        Kind::Verdict => refs::read(payload).map(|verdict: Comparison| verdict.left_out).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn weights(refs: &[(Kind, Id)]) -> impl Iterator<Item = Id> {
    refs.iter().filter(|(kind, _)| *kind == Kind::Weights).map(|(_, id)| *id)
}
