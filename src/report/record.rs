//! A run read whole: the one place outside `ledger` that follows the references of a run.

use crate::exec::Numerics;
use crate::hash::{Id, Kind};
use crate::ledger::{Env, Input, LedgerError, Manifest, Outcome, Run, Series, Status, Store, Verdict};
use crate::numeric;
use crate::plan::Plan;

/// A run with everything that is shown of it.
#[derive(Debug, Clone)]
pub struct Record {
    /// The run's id.
    pub id: Id,
    /// The run.
    pub run: Run,
    /// What decided its result.
    pub input: Input,
    /// Its plan.
    pub plan: Plan,
    /// Its data by content.
    pub manifest: Manifest,
    /// The numerics that decide its bits.
    pub numerics: Numerics,
    /// The machine and program.
    pub env: Env,
    /// Its result.
    pub outcome: Outcome,
    /// The measured series, cell by cell in the order of [`Outcome::cells`].
    pub cells: Vec<CellRecord>,
    /// The text of the `.meta` file, where it was recorded and is text.
    pub source: Option<String>,
    /// What replays of this result found, in the order in which they were made.
    pub replays: Vec<Verdict>,
    /// What was noted to it, in the order in which it was noted.
    pub notes: Vec<String>,
}

/// The series of one arm under one seed.
#[derive(Debug, Clone)]
pub struct CellRecord {
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// Every measure with its points, in the order of the plan.
    pub series: Vec<(String, Vec<(u64, f64)>)>,
}

impl CellRecord {
    /// The points of a measure; none where the cell has no such measure.
    pub fn points(&self, measure: &str) -> &[(u64, f64)] {
        self.series.iter().find(|(name, _)| name == measure).map_or(&[], |(_, points)| points)
    }

    /// The value of a measure at a step; NaN where it was not reached.
    pub fn at(&self, measure: &str, step: u64) -> f64 {
        let points = self.points(measure);
        points.binary_search_by_key(&step, |p| p.0).map_or(f64::NAN, |i| points[i].1)
    }
}

/// Median, least and most of some values over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// How many seeds have a value.
    pub seeds: usize,
}

impl Spread {
    /// The spread of the values that are numbers; `None` where none is.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let known: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
        (!known.is_empty()).then(|| Spread {
            median: numeric::median(&known),
            min: numeric::quantile(&known, 0.0),
            max: numeric::quantile(&known, 1.0),
            seeds: known.len(),
        })
    }
}

impl Record {
    /// Reads a run and all that is shown of it; every object is hashed on the way.
    pub fn read(store: &Store, id: Id) -> Result<Record, LedgerError> {
        let mut record = Record::alone(store, id)?;
        let verdicts = store.verdicts()?.into_iter().map(|(_, comparison)| comparison);
        record.replays = verdicts.filter(|c| c.old == record.run.result).map(|c| c.verdict).collect();
        let notes = store.notes()?.into_iter().map(|(_, note)| note);
        record.notes = notes.filter(|n| n.about == id && n.key == "note").map(|n| n.text).collect();
        Ok(record)
    }

    /// Reads a run without what replays found of it and people noted, in a time that does not grow with the ledger.
    pub fn alone(store: &Store, id: Id) -> Result<Record, LedgerError> {
        let run: Run = store.get(Kind::Run, id)?;
        let input: Input = store.get(Kind::Input, run.input)?;
        let outcome: Outcome = store.get(Kind::Result, run.result)?;
        let mut cells = Vec::new();
        for cell in &outcome.cells {
            let mut series = Vec::new();
            for s in &cell.series {
                let object: Series = store.get(Kind::Series, s.id)?;
                let values = object.values();
                series.push((s.measure.clone(), object.steps.into_iter().zip(values).collect()));
            }
            cells.push(CellRecord { arm: cell.arm.clone(), seed: cell.seed, status: cell.status, series });
        }
        let source = run.source.map(|id| store.get::<String>(Kind::Source, id)).transpose()?;
        Ok(Record {
            id,
            plan: store.get(Kind::Plan, input.plan)?,
            manifest: store.get(Kind::Manifest, input.manifest)?,
            numerics: store.get(Kind::Numerics, input.numerics)?,
            env: store.get(Kind::Env, run.env)?,
            replays: Vec::new(),
            notes: Vec::new(),
            outcome,
            input,
            cells,
            source,
            run,
        })
    }

    /// The last values of a measure of an arm, one per seed; NaN for a cell that diverged before.
    pub fn last(&self, arm: &str, measure: &str) -> Vec<f64> {
        let steps = self.plan.arms.iter().find(|a| a.name == arm).map_or(0, |a| a.steps());
        self.cells.iter().filter(|c| c.arm == arm).map(|c| c.at(measure, steps)).collect()
    }

    /// The names of all measures, in the order in which arms name them first.
    pub fn measures(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.plan.arms.iter().flat_map(|a| a.measures.iter().map(|m| m.name.as_str())) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// How many cells diverged.
    pub fn diverged(&self) -> usize {
        self.outcome.cells.iter().filter(|c| c.status != Status::Finished).count()
    }

    /// `finished`, or how many cells diverged.
    pub fn status(&self) -> String {
        match self.diverged() {
            0 => "finished".into(),
            n => format!("{n} of {} diverged", self.cells.len()),
        }
    }

    /// How many claims hold.
    pub fn held(&self) -> usize {
        self.outcome.claims.iter().filter(|c| c.holds).count()
    }

    /// How long the run took, in seconds.
    pub fn seconds(&self) -> f64 {
        self.run.finished_ms.saturating_sub(self.run.started_ms) as f64 / 1000.0
    }
}
