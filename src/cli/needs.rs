//! What the cells of a plan need of the memory, found as closely as it matters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use rayon::prelude::*;

use super::admission::Limits;
use super::cost::bytes;
use super::failure::Failure;
use crate::exec::ExecError;
use crate::exec::exact::{self, Need, Room};
use crate::ir::{Function, Precision};
use crate::plan::Arm;
use crate::train::{DataSets, Forecast, Held};

/// What the cells of an arm need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmNeed {
    /// The arm.
    pub name: String,
    /// How many of its cells are to run.
    pub cells: usize,
    /// What one of them holds; nothing where all fit by far.
    pub held: Held,
    /// What one would hold at most without a limit.
    pub plain: u64,
    /// The most bytes that a program of it may have in use, where it would not fit otherwise.
    pub limit: Option<u64>,
}

/// What every arm with cells needs where they run; cells of an arm follow each other. Those of one arm hardly differ, so that one is
/// asked; none where there is no end of memory. The threads of this pool take part.
pub fn of(cells: &[(&Arm, u64)], sets: &DataSets, limits: Limits) -> Result<Vec<ArmNeed>, Failure> {
    let arms: Vec<&[(&Arm, u64)]> = cells.chunk_by(|(one, _), (other, _)| std::ptr::eq(*one, *other)).collect();
    let unknown = |cells: &&[(&Arm, u64)]| {
        let name = cells[0].0.name.clone();
        ArmNeed { name, cells: cells.len(), held: Held::default(), plain: 0, limit: None }
    };
    let mut needs: Vec<ArmNeed> = arms.iter().map(unknown).collect();
    if limits.free == u64::MAX {
        return Ok(needs);
    }
    // An arm that has no programs says why when it runs.
    let asked = arms.par_iter().map(|cells| {
        let (arm, seed) = cells[0];
        let place = Place { forecast: Forecast::new(arm, seed, sets).ok()?, precision: arm.train.precision, limits };
        let bound = place.bound().ok()?;
        Some((place, bound))
    });
    let asked: Vec<Option<(Place, Held)>> = asked.collect();
    for (need, asked) in needs.iter_mut().zip(&asked) {
        need.held = asked.as_ref().map_or(Held::default(), |(_, bound)| *bound);
    }
    // To ask closely is to plan every program, which may take longer than a small experiment in all.
    let close = largest(&needs, limits.lanes) > limits.free / 2;
    let found = asked.into_par_iter().zip(&needs).map(|(asked, need)| match asked.filter(|_| close) {
        Some((place, _)) => place.need(need),
        None => Ok(ArmNeed { held: Held::default(), ..need.clone() }),
    });
    // Of several that do not fit, the first is named.
    let found: Vec<Result<ArmNeed, Failure>> = found.collect();
    found.into_iter().collect()
}

/// What so many cells hold at once that hold the most.
fn largest(needs: &[ArmNeed], count: usize) -> u64 {
    let mut each: Vec<u64> = needs.iter().flat_map(|need| std::iter::repeat_n(need.held.most, need.cells)).collect();
    each.sort_unstable_by(|a, b| b.cmp(a));
    each.iter().take(count).fold(0, |sum, &bytes| sum.saturating_add(bytes))
}

/// What is to be said of these needs: which arms compute values again, and where fewer cells run side by side than could.
pub fn notes(needs: &[ArmNeed], limits: Limits) -> Vec<String> {
    let free = bytes(limits.free);
    let mut notes = vec![];
    let again: Vec<(&str, u64)> =
        needs.iter().filter(|need| need.limit.is_some()).map(|need| (&*need.name, need.plain)).collect();
    if !again.is_empty() {
        let what = "values are computed again in place of being kept, which takes longer and gives the same bits";
        notes.push(format!("{} and {free} are free: {what}", said(&again)));
    }
    let lanes = limits.lanes.min(needs.iter().map(|need| need.cells).sum());
    if largest(needs, lanes) > limits.free {
        let share = limits.free / lanes as u64;
        let large = needs.iter().filter(|need| need.limit.is_none() && need.held.most > share);
        let large: Vec<(&str, u64)> = large.map(|need| (&*need.name, need.held.most)).collect();
        let fit = (2..lanes).rev().find(|&count| largest(needs, count) <= limits.free).unwrap_or(1);
        let what = format!("only what fits runs side by side, at times {fit} in place of {lanes}");
        // Of an arm that computes values again this goes without saying.
        notes.extend((!large.is_empty()).then(|| format!("{} and {free} are free: {what}", said(&large))));
    }
    notes
}

/// How many arms are named each.
const NAMED: usize = 4;

/// ``arms `a` and `b` need up to 19.0 GB each``, of at least one arm.
fn said(arms: &[(&str, u64)]) -> String {
    let list = |words: &[String]| match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        words => words.concat(),
    };
    let names: Vec<String> = arms.iter().map(|(name, _)| format!("`{name}`")).collect();
    let most = bytes(arms.iter().map(|(_, size)| *size).max().unwrap_or(0));
    let alike = arms.iter().all(|(_, size)| bytes(*size) == most);
    match names.as_slice() {
        [name] => format!("arm {name} needs {most}"),
        names => {
            let who =
                if names.len() > NAMED { format!("{} arms", names.len()) } else { format!("arms {}", list(names)) };
            format!("{who} need {}{most} each", if alike { "" } else { "up to " })
        }
    }
}

/// A cell, and where it is to run.
struct Place<'s> {
    forecast: Forecast<'s>,
    precision: Precision,
    limits: Limits,
}

impl Place<'_> {
    /// No less than the cell holds, found without planning its programs.
    fn bound(&self) -> Result<Held, ExecError> {
        self.forecast.held(&|function| Ok(exact::bound(function, self.precision, self.limits.lanes)))
    }

    /// What the cell needs; where it does not fit into what is free, with its programs limited so that it does.
    fn need(&self, arm: &ArmNeed) -> Result<ArmNeed, Failure> {
        let known = RefCell::new(HashMap::new());
        let plain = |function: &Function| {
            let need = self.plan(function, None)?;
            known.borrow_mut().insert(std::ptr::from_ref(function), need);
            Ok(need)
        };
        // A program that cannot be planned says why when it runs.
        let Ok(held) = self.forecast.held(&plain) else { return Ok(ArmNeed { held: Held::default(), ..arm.clone() }) };
        let (arm, free) = (ArmNeed { held, plain: held.most, ..arm.clone() }, self.limits.free);
        if held.most <= free {
            return Ok(arm);
        }
        match self.limited(&known.into_inner())? {
            (limit, held) if held.most <= free => Ok(ArmNeed { held, limit: Some(limit), ..arm }),
            (_, held) => Err(Failure::Memory { arm: arm.name, least: bytes(held.most), free: bytes(free) }),
        }
    }

    fn plan(&self, function: &Function, bytes: Option<u64>) -> Result<Need, ExecError> {
        exact::need(function, self.precision, Room { threads: self.limits.lanes, bytes })
    }

    /// The largest limit of programs under which the cell fits into what is free, and what it holds then; where there is none, the
    /// smallest that all programs can keep to. `plain` is what they need without.
    fn limited(&self, plain: &HashMap<*const Function, Need>) -> Result<(u64, Held), ExecError> {
        let of = |function: &Function| plain[&std::ptr::from_ref(function)];
        // A program under a limit has in use what the limit says, or less.
        let under = |limit: u64| {
            self.forecast.held(&|function| match of(function) {
                need if need.bytes <= limit => Ok(need),
                Need { bytes, again, kept, shared } => {
                    Ok(Need { bytes: limit, again, kept: (kept + shared).saturating_sub(bytes - limit), shared })
                }
            })
        };
        let (mut limit, mut above) = (0, plain.values().map(|need| need.bytes).max().unwrap_or(0));
        while above - limit > 1 {
            let middle = limit + (above - limit) / 2;
            let fits = under(middle)?.most <= self.limits.free;
            (limit, above) = if fits { (middle, above) } else { (limit, middle) };
        }
        loop {
            let wanting = Cell::new(0);
            let held = self.forecast.held(&|function| match of(function) {
                need if need.bytes <= limit => Ok(need),
                plain => match self.plan(function, Some(limit)) {
                    Err(ExecError::Memory { needed, .. }) => {
                        wanting.set(needed.max(wanting.get()));
                        Ok(plain)
                    }
                    found => found,
                },
            })?;
            if wanting.get() <= limit {
                return Ok((limit, held));
            }
            limit = wanting.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str, cells: usize, most: u64) -> ArmNeed {
        ArmNeed { name: name.to_owned(), cells, held: Held { most, after: 0 }, plain: most, limit: None }
    }

    const GB: u64 = 1_000_000_000;

    #[test]
    fn what_waits_is_named_with_what_it_needs() {
        let mails = [("adam", 6), ("sgd", 6), ("fedsgd", 19), ("central", 19), ("mild", 5)];
        let mails = mails.map(|(name, most)| need(name, 1, most * GB));
        let said = notes(&mails, Limits { lanes: 2, free: 21 * GB });
        let all = "arms `fedsgd` and `central` need 19.0 GB each and 21.0 GB are free: only what fits runs side by side, at times 1 in \
                   place of 2";
        assert_eq!(said, [all]);
        assert_eq!(notes(&mails, Limits { lanes: 2, free: 38 * GB }), [""; 0]);
        assert_eq!(notes(&mails, Limits { lanes: 1, free: 20 * GB }), [""; 0]);

        let one = [need("maml", 10, 3 * GB), need("erm", 10, GB)];
        let all = "arm `maml` needs 3.00 GB and 21.0 GB are free: only what fits runs side by side, at times 7 in place of 16";
        assert_eq!(notes(&one, Limits { lanes: 16, free: 21 * GB }), [all]);
        assert_eq!(notes(&one[1..], Limits { lanes: 16, free: 21 * GB }), [""; 0]);
        let two = [need("a", 1, 3 * GB), need("b", 1, 4 * GB), need("c", 1, 4 * GB)];
        let all = "arms `a`, `b` and `c` need up to 4.00 GB each and 8.00 GB are free: only what fits runs side by side, at times 2 \
                   in place of 3";
        assert_eq!(notes(&two, Limits { lanes: 4, free: 8 * GB }), [all]);
        let many: Vec<ArmNeed> = (1..9).map(|i| need(&format!("a[{i}]"), 1, (4 + i / 8) * GB)).collect();
        let all = "8 arms need up to 5.00 GB each and 8.00 GB are free: only what fits runs side by side, at times 1 in place of 4";
        assert_eq!(notes(&many, Limits { lanes: 4, free: 8 * GB }), [all]);
    }

    #[test]
    fn what_is_computed_again_is_named() {
        let limited = ArmNeed { held: Held { most: 7 * GB, after: 0 }, limit: Some(GB), ..need("maml", 1, 9 * GB) };
        let all = "arm `maml` needs 9.00 GB and 8.00 GB are free: values are computed again in place of being kept, which takes longer and \
                   gives the same bits";
        assert_eq!(notes(&[limited], Limits { lanes: 4, free: 8 * GB }), [all]);
    }
}
