//! From recorded series to the curves of a figure: medians over seeds with bands.

use std::collections::BTreeSet;

use super::record::Record;
use super::text::{count, number};
use crate::ledger::Status;
use crate::numeric;
use crate::plan::{Arm, print};

/// What is drawn in one coordinate system.
#[derive(Debug, Clone)]
pub struct Figure {
    /// A name for a file, made of letters, digits, `_` and `-`.
    pub name: String,
    /// The measure.
    pub title: String,
    /// What it measures, in words.
    pub subtitle: String,
    /// What the bands are.
    pub note: String,
    /// One curve per arm.
    pub curves: Vec<Curve>,
}

/// One arm in a figure.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The arm, with the run where several runs are compared.
    pub label: String,
    /// Which colour and dash it has; the same arm has the same in every figure.
    pub style: usize,
    /// The points by step.
    pub points: Vec<Point>,
    /// The last point of every seed that diverged.
    pub diverged: Vec<(u64, f64)>,
    /// The last values in words, for who points at the curve.
    pub hint: String,
}

/// The seeds at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The step.
    pub step: u64,
    /// The median over the seeds that have a value.
    pub mid: f64,
    /// The lower end of the band.
    pub low: f64,
    /// The upper end of the band.
    pub high: f64,
}

/// From this many seeds on a band shows the central four fifths of them and not all.
const MANY_SEEDS: usize = 10;

/// One figure for every measure of these runs. Runs that take the same measure share its figure.
pub fn figures(records: &[Record]) -> Vec<Figure> {
    let mut names: Vec<&str> = Vec::new();
    for name in records.iter().flat_map(Record::measures) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.iter().map(|name| figure(records, name)).collect()
}

fn figure(records: &[Record], measure: &str) -> Figure {
    let mut curves = Vec::new();
    let mut style = 0;
    let mut seeds = 0;
    for record in records {
        seeds = seeds.max(record.plan.seeds.len());
        for arm in &record.plan.arms {
            let label = match records {
                [_] => arm.name.clone(),
                _ => format!("{} {}", arm.name, &record.id.short()[..6]),
            };
            if arm.measures.iter().any(|m| m.name == measure) {
                curves.extend(curve(record, &arm.name, measure, label, style));
            }
            style += 1;
        }
    }
    let described = |arm: &Arm| {
        let found = arm.measures.iter().find(|m| m.name == measure)?;
        Some(print::measured(arm, &found.what))
    };
    let file: String = measure.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    Figure {
        name: match records {
            [record] => format!("{}.{file}", record.run.experiment.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
            _ => format!("compared.{file}"),
        },
        title: measure.to_owned(),
        subtitle: records.iter().flat_map(|r| &r.plan.arms).find_map(described).unwrap_or_default(),
        note: band_words(seeds),
        curves,
    }
}

/// What the bands of so many seeds are.
pub(super) fn band_words(seeds: usize) -> String {
    match seeds {
        0 | 1 => "one seed".to_owned(),
        n if n < MANY_SEEDS => format!("line: median of {}; band: least to most", count(n, "seed")),
        n => format!("line: median of {}; band: quantiles 0.1 to 0.9", count(n, "seed")),
    }
}

fn curve(record: &Record, arm: &str, measure: &str, label: String, style: usize) -> Option<Curve> {
    let cells: Vec<_> = record.cells.iter().filter(|c| c.arm == arm).collect();
    let steps: BTreeSet<u64> = cells.iter().flat_map(|c| c.points(measure)).map(|p| p.0).collect();
    let end = if cells.len() < MANY_SEEDS { 0.0 } else { 0.1 };
    let points: Vec<Point> = steps
        .into_iter()
        .filter_map(|step| {
            let values: Vec<f64> = cells.iter().map(|c| c.at(measure, step)).filter(|x| x.is_finite()).collect();
            let q = |q| numeric::quantile(&values, q);
            (!values.is_empty()).then(|| Point { step, mid: q(0.5), low: q(end), high: q(1.0 - end) })
        })
        .collect();
    let diverged = cells
        .iter()
        .filter(|c| c.status != Status::Finished)
        .filter_map(|c| c.points(measure).iter().copied().rev().find(|p| p.1.is_finite()))
        .collect();
    let last = points.last()?;
    let hint =
        format!("{label}: {} [{}, {}] at step {}", number(last.mid), number(last.low), number(last.high), last.step);
    Some(Curve { label, style, points, diverged, hint })
}

impl Curve {
    /// The same curve with at most some 1,200 points: of each of 300 stretches of steps the first, the last, the lowest and
    /// the highest median, so that no peak is lost (M4: Jugel et al., VLDB 2014).
    pub(super) fn thinned(&self) -> Vec<Point> {
        const STRETCHES: usize = 300;
        if self.points.len() <= 4 * STRETCHES {
            return self.points.clone();
        }
        let per = self.points.len().div_ceil(STRETCHES);
        let mut kept = Vec::new();
        for stretch in self.points.chunks(per) {
            let by = |a: &&Point, b: &&Point| a.mid.total_cmp(&b.mid);
            let extremes = [stretch.first(), stretch.iter().min_by(by), stretch.iter().max_by(by), stretch.last()];
            let mut four: Vec<Point> = extremes.into_iter().flatten().copied().collect();
            four.sort_by_key(|p| p.step);
            four.dedup_by_key(|p| p.step);
            kept.extend(four);
        }
        kept
    }
}
