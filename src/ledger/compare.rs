//! Comparing a replayed result with the recorded one, down to the first bit that differs.

use super::error::LedgerError;
use super::outcome::{Cell, CellSeries, ClaimVerdict, Outcome, Series, Status, Trace, Weight, Weights};
use super::record::Input;
use super::store::Store;
use super::verdict::{Place, Tolerance, Verdict, What};
use crate::hash::{Id, Kind, cbor};
use crate::ir::Precision;

const ABSENT: &str = "absent";

/// Compares two results whose objects the store holds. Where both ran under the same numerics every bit counts: the
/// sign of a zero, the payload of a NaN, the state digests, the final weights. Where the numerics differ, values are
/// held to `policy` instead and digests are left out. What cannot be read makes the verdict inconclusive.
///
/// Of weights that are `left_out` on either side only the ids are compared: under the same numerics they tell whether a
/// bit differs, and under others nothing, so that the verdict is inconclusive where all else agrees.
pub fn compare(store: &Store, old: &Outcome, new: &Outcome, left_out: &[Id], policy: &Tolerance) -> Verdict {
    if Id::of(Kind::Result, old) == Id::of(Kind::Result, new) {
        return Verdict::Identical;
    }
    try_compare(store, old, new, left_out, policy).unwrap_or_else(|e| Verdict::Inconclusive { reason: e.to_string() })
}

fn try_compare(
    store: &Store,
    old: &Outcome,
    new: &Outcome,
    left_out: &[Id],
    policy: &Tolerance,
) -> Result<Verdict, LedgerError> {
    let same_numerics = old.input == new.input;
    if !same_numerics {
        let (a, b): (Input, Input) = (store.get(Kind::Input, old.input)?, store.get(Kind::Input, new.input)?);
        if a.plan != b.plan {
            return Ok(Verdict::NotComparable {
                reason: format!("the plans are {} and {}", a.plan.short(), b.plan.short()),
            });
        }
        if a.manifest != b.manifest {
            let reason = format!("the data manifests are {} and {}", a.manifest.short(), b.manifest.short());
            return Ok(Verdict::NotComparable { reason });
        }
    }
    let policy = (!same_numerics).then_some(policy);
    let mut walk = Walk { store, policy, left_out, first: None, worst: (0.0, None), all_equal: true, unknown: None };
    let twin = |cells: &'_ [Cell], cell: &Cell| cells.iter().position(|c| c.arm == cell.arm && c.seed == cell.seed);
    let mut lacking = None;
    for (index, cell) in old.cells.iter().enumerate() {
        match twin(&new.cells, cell) {
            Some(at) => walk.cell(index, cell, &new.cells[at])?,
            None => lacking = lacking.or(Some(("replay", cell))),
        }
    }
    for cell in &new.cells {
        if twin(&old.cells, cell).is_none() {
            lacking = lacking.or(Some(("record", cell)));
        }
    }
    walk.claims(&old.claims, &new.claims);
    Ok(match (walk.first, lacking, policy, walk.unknown) {
        (Some(d), ..) => Verdict::Diverged { place: d.place, left_bits: d.left, right_bits: d.right },
        (None, Some((side, cell)), ..) => {
            let reason = format!("the {side} lacks arm `{}` under seed {}; all else agrees", cell.arm, cell.seed);
            Verdict::Inconclusive { reason }
        }
        (None, None, Some(_), Some(place)) => {
            Verdict::Inconclusive { reason: format!("{place} cannot be compared; all else is within tolerance") }
        }
        (None, None, Some(policy), None) if !walk.all_equal => {
            Verdict::WithinTolerance { policy: *policy, worst_relative: walk.worst.0, place: walk.worst.1 }
        }
        (None, None, ..) => Verdict::Identical,
    })
}

/// A difference with its rank: step (what lies at the end comes last), cell, part of the cell, item of that part.
struct Difference {
    rank: (u64, usize, u8, usize),
    place: Place,
    left: String,
    right: String,
}

struct Walk<'a> {
    store: &'a Store,
    /// The policy where numerics differ; without one every bit counts.
    policy: Option<&'a Tolerance>,
    /// The weights of which only the ids are known.
    left_out: &'a [Id],
    first: Option<Difference>,
    worst: (f64, Option<Place>),
    /// Whether no bit has differed so far, tolerated or not.
    all_equal: bool,
    /// The first place where values may differ that were not kept.
    unknown: Option<Place>,
}

impl Walk<'_> {
    fn differ(&mut self, place: Place, (cell, part, item): (usize, u8, usize), left: String, right: String) {
        let rank = (place.step.unwrap_or(u64::MAX), cell, part, item);
        if self.first.as_ref().is_none_or(|first| rank < first.rank) {
            self.first = Some(Difference { rank, place, left, right });
        }
    }

    /// Whether two numbers agree as far as is asked here; keeps account of the worst that is tolerated.
    fn agree(&mut self, a: Number, b: Number, place: impl Fn() -> Place) -> bool {
        if a.same_bits(b) {
            return true;
        }
        self.all_equal = false;
        let (a, b) = (a.value(), b.value());
        let agree = self.policy.is_some_and(|policy| policy.allows(a, b));
        if agree && a != b && !a.is_nan() {
            let relative = (a - b).abs() / a.abs().max(b.abs());
            if relative > self.worst.0 {
                self.worst = (relative, Some(place()));
            }
        }
        agree
    }

    fn cell(&mut self, index: usize, old: &Cell, new: &Cell) -> Result<(), LedgerError> {
        let place = |what, step| Place { arm: Some(old.arm.clone()), seed: Some(old.seed), what, step };
        if old.status != new.status {
            let step = [old.status, new.status].into_iter().filter_map(diverged_at).min();
            self.differ(
                place(What::Status, step),
                (index, 3, 0),
                format!("{:?}", old.status),
                format!("{:?}", new.status),
            );
        }
        for (item, series) in old.series.iter().enumerate() {
            let other = new.series.iter().find(|s| s.measure == series.measure).map(|s| s.id);
            self.series((index, 0, item), series, Some(series.id), other, &place)?;
        }
        for (item, series) in new.series.iter().enumerate() {
            if old.series.iter().all(|s| s.measure != series.measure) {
                self.series((index, 0, old.series.len() + item), series, None, Some(series.id), &place)?;
            }
        }
        if old.trace != new.trace {
            self.trace(index, old.trace, new.trace, &place)?;
        }
        if old.weights != new.weights {
            self.weights(index, old.weights, new.weights, &place)?;
        }
        Ok(())
    }

    fn series(
        &mut self,
        rank: (usize, u8, usize),
        named: &CellSeries,
        old: Option<Id>,
        new: Option<Id>,
        place: &impl Fn(What, Option<u64>) -> Place,
    ) -> Result<(), LedgerError> {
        if old == new {
            return Ok(());
        }
        let points = |id: Option<Id>| -> Result<Vec<(u64, Number)>, LedgerError> {
            let Some(id) = id else { return Ok(Vec::new()) };
            let series: Series = self.store.get(Kind::Series, id)?;
            let values = series.values().into_iter().map(Number::F64);
            Ok(series.steps.iter().copied().zip(values).collect())
        };
        let (left, right) = (points(old)?, points(new)?);
        let here = |step| place(What::Series { measure: named.measure.clone() }, Some(step));
        if let Some((step, a, b)) = first_unpaired(&left, &right, |step, a, b| self.agree(*a, *b, || here(step))) {
            let hex = |n: Option<&Number>| n.map_or(ABSENT.to_owned(), |n| n.hex());
            self.differ(here(step), rank, hex(a), hex(b));
        }
        Ok(())
    }

    fn trace(
        &mut self,
        index: usize,
        old: Id,
        new: Id,
        place: &impl Fn(What, Option<u64>) -> Place,
    ) -> Result<(), LedgerError> {
        self.all_equal = false;
        if self.policy.is_some() {
            return Ok(());
        }
        let digests = |id: Id| -> Result<Vec<(u64, Id)>, LedgerError> {
            let trace: Trace = self.store.get(Kind::Trace, id)?;
            Ok(trace.steps.into_iter().zip(trace.digests).collect())
        };
        let (left, right) = (digests(old)?, digests(new)?);
        if let Some((step, a, b)) = first_unpaired(&left, &right, |_, a, b| a == b) {
            let text = |id: Option<&Id>| id.map_or(ABSENT.to_owned(), Id::to_string);
            self.differ(place(What::Trace, Some(step)), (index, 1, 0), text(a), text(b));
        }
        Ok(())
    }

    fn weights(
        &mut self,
        index: usize,
        old: Id,
        new: Id,
        place: &impl Fn(What, Option<u64>) -> Place,
    ) -> Result<(), LedgerError> {
        self.all_equal = false;
        if [old, new].iter().any(|id| self.left_out.contains(id)) {
            let here = place(What::AllWeights, None);
            match self.policy {
                None => self.differ(here, (index, 2, 0), old.to_string(), new.to_string()),
                Some(_) => self.unknown = self.unknown.take().or(Some(here)),
            }
            return Ok(());
        }
        let old: Weights = self.store.get(Kind::Weights, old)?;
        let new: Weights = self.store.get(Kind::Weights, new)?;
        for item in 0..old.tensors.len().max(new.tensors.len()) {
            let (a, b) = (old.tensors.get(item), new.tensors.get(item));
            let Some(name) = a.or(b).map(|w| w.name.clone()) else { continue };
            let here = |element| place(What::Weights { name: name.clone(), element }, None);
            let rank = (index, 2, item);
            match (a, b) {
                (Some(a), Some(b))
                    if a.name == b.name
                        && a.dims == b.dims
                        && (a.precision == b.precision || self.policy.is_some()) =>
                {
                    let (left, right) = (numbers(a), numbers(b));
                    let apart =
                        left.iter().zip(&right).enumerate().find(|(i, (x, y))| !self.agree(**x, **y, || here(*i)));
                    if let Some((i, (x, y))) = apart {
                        self.differ(here(i), rank, x.hex(), y.hex());
                    }
                }
                _ => {
                    let shape = |w: Option<&Weight>| {
                        w.map_or(ABSENT.to_owned(), |w| format!("`{}` {:?} {}", w.name, w.dims, w.precision.name()))
                    };
                    self.differ(here(0), rank, shape(a), shape(b));
                }
            }
        }
        Ok(())
    }

    fn claims(&mut self, old: &[ClaimVerdict], new: &[ClaimVerdict]) {
        for index in 0..old.len().max(new.len()) {
            let here = || Place { arm: None, seed: None, what: What::Claim { index }, step: None };
            let rank = (usize::MAX, 4, index);
            match (old.get(index), new.get(index)) {
                (Some(a), Some(b)) if a.holds == b.holds => {
                    for (x, y) in [(a.left, b.left), (a.right, b.right)] {
                        let (x, y) = (Number::one_nan(x), Number::one_nan(y));
                        if !self.agree(x, y, here) {
                            self.differ(here(), rank, x.hex(), y.hex());
                        }
                    }
                }
                (a, b) => {
                    let word = |c: Option<&ClaimVerdict>| c.map_or(ABSENT, |c| if c.holds { "holds" } else { "fails" });
                    self.differ(here(), rank, word(a).to_owned(), word(b).to_owned());
                }
            }
        }
    }
}

/// A number with the width it was stored in.
#[derive(Clone, Copy)]
enum Number {
    F32(f32),
    F64(f64),
}

impl Number {
    /// A number out of a claim, where NaN has no payload.
    fn one_nan(x: f64) -> Number {
        Number::F64(if x.is_nan() { f64::from_bits(cbor::CANONICAL_NAN) } else { x })
    }

    fn value(self) -> f64 {
        match self {
            Number::F32(x) => f64::from(x),
            Number::F64(x) => x,
        }
    }

    fn same_bits(self, other: Number) -> bool {
        match (self, other) {
            (Number::F32(a), Number::F32(b)) => a.to_bits() == b.to_bits(),
            (Number::F64(a), Number::F64(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }

    fn hex(self) -> String {
        match self {
            Number::F32(x) => format!("{:08x}", x.to_bits()),
            Number::F64(x) => format!("{:016x}", x.to_bits()),
        }
    }
}

fn numbers(weight: &Weight) -> Vec<Number> {
    match weight.precision {
        // Exact both ways, but for the quiet bit of a signalling NaN, so the bits are taken as they lie.
        Precision::F32 => {
            let words = weight.bits.0.chunks_exact(4);
            words.map(|c| Number::F32(f32::from_le_bytes([c[0], c[1], c[2], c[3]]))).collect()
        }
        Precision::F64 => weight.values().into_iter().map(Number::F64).collect(),
    }
}

fn diverged_at(status: Status) -> Option<u64> {
    match status {
        Status::Finished => None,
        Status::Diverged { step } => Some(step),
    }
}

/// The first step at which two series of points do not pair up or do not agree; none beside a point that is absent.
fn first_unpaired<'a, T>(
    left: &'a [(u64, T)],
    right: &'a [(u64, T)],
    mut agree: impl FnMut(u64, &T, &T) -> bool,
) -> Option<(u64, Option<&'a T>, Option<&'a T>)> {
    for i in 0..left.len().max(right.len()) {
        match (left.get(i), right.get(i)) {
            (Some((s, a)), Some((t, b))) if s == t => {
                if !agree(*s, a, b) {
                    return Some((*s, Some(a), Some(b)));
                }
            }
            (Some((s, a)), Some((t, _))) if s < t => return Some((*s, Some(a), None)),
            (_, Some((t, b))) => return Some((*t, None, Some(b))),
            (Some((s, a)), None) => return Some((*s, Some(a), None)),
            (None, None) => return None,
        }
    }
    None
}
