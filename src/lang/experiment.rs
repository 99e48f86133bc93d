//! A whole experiment: base, arms, seeds, claims.

use super::arm::{DataFile, arm};
use super::calls::empty_range;
use super::claims::Claims;
use super::constant::Constants;
use super::duplicates::duplicates;
use super::renamed::{renew, renew_overrides};
use super::sweep::{self, Grid};
use super::{lints, overrides};
use crate::diag::{Diagnostic, Severity, Sink, Span};
use crate::plan::{Arm, DataSource, Plan};
use crate::syntax::ast::{Expr, ExprKind, Field, File, Item, ItemKind};

/// The editions this version reads.
const EDITIONS: [u32; 1] = [2026];

/// The name of the arm of an experiment that declares none.
const ONLY_ARM: &str = "main";

/// The most seeds of one experiment.
const MAX_SEEDS: u64 = 100_000;

/// A checked experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// What will happen.
    pub plan: Plan,
    /// The files it reads. Paths are not part of the plan: what identifies a run is their content.
    pub files: Vec<DataFile>,
}

/// Checks an experiment and makes its plan; `None` after an error. `set` are overrides from the command line, which hold
/// for every arm, before the arm's own.
pub fn compile(file: &File, set: &[Field], sink: &mut Sink) -> Option<Compiled> {
    let (file, set) = (&renew(file, sink), renew_overrides(set, sink));
    let start = Span::new(0, 0);
    if let Some((edition, span)) = file.edition
        && !EDITIONS.contains(&edition)
    {
        sink.push(
            Diagnostic::error("E0524", span, format!("this version of metadsl does not know edition {edition}"))
                .help("it reads edition 2026"),
        );
    }
    if file.name.is_none() {
        sink.push(
            Diagnostic::error("E0542", file.edition.map_or(start, |(_, span)| span), "the experiment has no name")
                .help("write `experiment my_experiment` after the edition"),
        );
    }
    duplicates(&file.items, file.imported, sink);
    let mut base = file.items.clone();
    set.iter().for_each(|field| overrides::apply(&mut base, field, sink));
    let at = file.name.as_ref().map_or(start, |n| n.span);
    let constants = Constants::collect(&base, &mut Sink::new());
    let seeds = seeds(&base, &constants, sink);
    let grid = Grid::collect(&base, &constants, sink);
    let declared = declared_arms(file, start);
    let variants = Arms::new(&declared, &set, &grid, start, sink);
    let arms = variants.check(&base, at, sink);

    let measures: Vec<String> = base
        .iter()
        .filter_map(|i| if let ItemKind::Measure { name, .. } = &i.kind { Some(name.text.clone()) } else { None })
        .collect();
    let declared: Vec<String> = declared.iter().map(|arm| arm.name.to_owned()).collect();
    let scope =
        Claims { constants: &constants, arms: &arms.plans, declared: &declared, grid: &grid, measures: &measures };
    let claims: Vec<_> = base
        .iter()
        .filter_map(|i| match &i.kind {
            ItemKind::Expect { left, cmp, right } => Some((i.span, scope.claim(left, *cmp, right, sink))),
            _ => None,
        })
        .collect();
    if sink.has_errors() {
        return None;
    }
    variants.warn_of_same(&arms.plans, sink);
    let spans: Vec<Span> = claims.iter().map(|(span, _)| *span).collect();
    let plan = Plan {
        edition: file.edition.map_or(EDITIONS[0], |(edition, _)| edition),
        experiment: file.name.as_ref()?.text.clone(),
        arms: arms.plans.into_iter().map(|(_, arm)| arm).collect::<Option<_>>()?,
        seeds: seeds?,
        claims: claims.into_iter().map(|(_, claim)| claim).collect::<Option<_>>()?,
    };
    lints::check(file, &plan, &spans, sink);
    Some(Compiled { plan, files: arms.files })
}

/// An arm as the text declares it.
struct Declared<'a> {
    name: &'a str,
    span: Span,
    fields: &'a [Field],
}

/// The arms of a text, or the only one where it declares none.
fn declared_arms(file: &File, start: Span) -> Vec<Declared<'_>> {
    let declared = file.items.iter().filter_map(|item| match &item.kind {
        ItemKind::Arm { name, fields } => Some(Declared { name: &name.text, span: item.span, fields }),
        _ => None,
    });
    let declared: Vec<Declared> = declared.collect();
    if declared.is_empty() { vec![Declared { name: ONLY_ARM, span: start, fields: &[] }] } else { declared }
}

/// An arm: one that the text declares, at one point of the sweeps.
struct Variant {
    name: String,
    /// The places of the text that are this arm's own.
    spans: Vec<Span>,
    fields: Vec<Field>,
}

/// The arms of an experiment: those that the text declares, each at every point of the sweeps.
struct Arms {
    variants: Vec<Variant>,
}

/// The arms after checking.
struct CheckedArms {
    /// Each arm by name; `None` where it has a mistake, which has been reported.
    plans: Vec<(String, Option<Arm>)>,
    files: Vec<DataFile>,
}

impl Arms {
    fn new(declared: &[Declared], set: &[Field], grid: &Grid, start: Span, sink: &mut Sink) -> Arms {
        declared.iter().for_each(|arm| overrides::check_twice(arm.fields, sink));
        let fields = declared.iter().flat_map(|arm| arm.fields).chain(set);
        fields.for_each(|field| grid.check_override(field, sink));
        let mut points = grid.len();
        if sweep::is_too_many(declared.len().saturating_mul(points)) {
            sink.push(sweep::too_many(grid.axes.last().map_or(start, |axis| axis.span)));
            points = 1;
        }
        let swept = grid.axes.iter().map(|axis| axis.span);
        let variant = |arm: &Declared, point| Variant {
            name: grid.name(arm.name, point),
            spans: swept.clone().chain([arm.span]).collect(),
            fields: arm.fields.iter().cloned().chain(grid.fields(point)).collect(),
        };
        let mut variants = Vec::new();
        for arm in declared {
            variants.extend((0..points).map(|point| variant(arm, point)));
        }
        Arms { variants }
    }

    /// Checks every arm. What is wrong in all of them is reported once, as a mistake of the base experiment.
    fn check(&self, base: &[Item], at: Span, sink: &mut Sink) -> CheckedArms {
        let mut found: Vec<(Diagnostic, Vec<usize>)> = vec![];
        let mut checked = CheckedArms { plans: vec![], files: vec![] };
        for (i, variant) in self.variants.iter().enumerate() {
            let mut own = Sink::new();
            let mut items = base.to_vec();
            variant.fields.iter().for_each(|field| overrides::apply(&mut items, field, &mut own));
            let result = arm(&variant.name, &items, at, &mut own);
            for diagnostic in own.finish() {
                match found.iter_mut().find(|(known, _)| *known == diagnostic) {
                    Some((_, arms)) => arms.push(i),
                    None => found.push((diagnostic, vec![i])),
                }
            }
            let (plan, files) = result.map_or((None, vec![]), |(plan, files)| (Some(plan), files));
            checked.plans.push((variant.name.clone(), plan));
            for file in files {
                self.check_data(&checked.plans, i, &file, sink);
                if !checked.files.iter().any(|f| f.name == file.name) {
                    checked.files.push(file);
                }
            }
        }
        found.into_iter().filter_map(|(diagnostic, arms)| self.placed(diagnostic, &arms)).for_each(|d| sink.push(d));
        checked
    }

    /// A diagnostic of some arms: if it stands in the text that arms share but not all have it, it says which do.
    fn placed(&self, mut diagnostic: Diagnostic, arms: &[usize]) -> Option<Diagnostic> {
        const NAMED: usize = 3;
        let at = diagnostic.span;
        let within = |span: &Span| span.start <= at.start && at.end <= span.end;
        let inside = |&i: &usize| self.variants[i].spans.iter().any(within);
        if arms.len() == self.variants.len() || arms.iter().all(inside) {
            return Some(diagnostic);
        }
        // A warning that holds in some arms alone is how an arm differs from the others.
        if diagnostic.severity == Severity::Warning {
            return None;
        }
        for &i in arms.iter().take(NAMED) {
            let variant = &self.variants[i];
            let span = *variant.spans.last().expect("an arm has a place");
            diagnostic = diagnostic.related(span, format!("in arm `{}`", variant.name));
        }
        Some(diagnostic)
    }

    /// Warns of what sets arms apart in the text, and changes nothing.
    fn warn_of_same(&self, plans: &[(String, Option<Arm>)], sink: &mut Sink) {
        let nameless = |(_, arm): &(String, Option<Arm>)| arm.clone().map(|arm| Arm { name: String::new(), ..arm });
        let plans: Vec<Option<Arm>> = plans.iter().map(nameless).collect();
        let mut told: Vec<Span> = vec![];
        for (i, plan) in plans.iter().enumerate() {
            let Some(first) = plans[..i].iter().position(|other| other == plan) else { continue };
            let (own, other) = (&self.variants[i], &self.variants[first]);
            // Two points of the sweeps, or two arms of the text.
            let apart = own.spans.last() != other.spans.last();
            let place = if apart { own.spans.last() } else { own.spans.first() };
            let place = *place.expect("an arm has a place");
            if told.contains(&place) {
                continue;
            }
            told.push(place);
            let message = format!("arms `{}` and `{}` do the same", other.name, own.name);
            let warning = Diagnostic::warning("W0508", place, message);
            let is_method = |field: &Field| field.path.last().is_some_and(|name| name.text == "method");
            sink.push(warning.help(match apart {
                false => "nothing that is run depends on what the sweep changes",
                true if own.fields.iter().any(is_method) => {
                    "a method gives way to what `train` states itself: leave those settings to the arms, or to the methods"
                }
                true => "set what should differ, or leave one of them out",
            }));
        }
    }

    /// All arms read one file under one name: a run's manifest has one entry for it.
    fn check_data(&self, plans: &[(String, Option<Arm>)], i: usize, file: &DataFile, sink: &mut Sink) {
        let source = |arm: &(String, Option<Arm>)| -> Option<DataSource> {
            arm.1.as_ref()?.data.iter().find(|d| d.name == file.set).cloned()
        };
        let own = source(&plans[i]);
        let other = plans[..i].iter().find(|arm| source(arm).is_some_and(|s| Some(s) != own));
        if let Some((other, _)) = other {
            let variant = &self.variants[i];
            sink.push(
                Diagnostic::error(
                    "E0525",
                    file.span,
                    format!("arms `{other}` and `{}` read `{}` differently", variant.name, file.set),
                )
                .related(
                    *variant.spans.last().expect("an arm has a place"),
                    "this arm overrides a number that stands here",
                )
                .help("a data set is read once for all arms; declare a second `data` item"),
            );
        }
    }
}

/// `sweep seed in 0..5`, or one seed, 0.
fn seeds(items: &[Item], constants: &Constants, sink: &mut Sink) -> Option<Vec<u64>> {
    let mut first: Option<Span> = None;
    let mut seeds = Some(vec![0]);
    for item in items {
        let ItemKind::Sweep { paths, values } = &item.kind else { continue };
        if !matches!(paths.as_slice(), [path] if sweep::is_seed(path)) {
            continue;
        }
        if let Some(first) = first {
            sink.push(
                Diagnostic::error("E0225", item.span, "an experiment has one `sweep seed`")
                    .related(first, "the first one"),
            );
        }
        first = first.or(Some(item.span));
        seeds = seed_values(values, constants, sink);
    }
    seeds
}

fn seed_values(values: &Expr, constants: &Constants, sink: &mut Sink) -> Option<Vec<u64>> {
    let seeds: Vec<u64> = match &values.kind {
        ExprKind::Range(lo, hi) => {
            let (lo, hi) = (constants.count(lo, 0, "a seed", sink), constants.count(hi, 0, "a seed", sink));
            let (lo, hi) = (lo?, hi?);
            if lo >= hi {
                sink.push(empty_range(lo, hi, values.span));
                return None;
            }
            if hi - lo > MAX_SEEDS {
                let message = format!("{} seeds are too many; the limit is {MAX_SEEDS}", hi - lo);
                sink.push(Diagnostic::error("E0403", values.span, message));
                return None;
            }
            (lo..hi).collect()
        }
        ExprKind::List(items) => items.iter().map(|e| constants.count(e, 0, "a seed", sink)).collect::<Option<_>>()?,
        _ => vec![constants.count(values, 0, "a seed", sink)?],
    };
    let mut sorted = seeds.clone();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    if seeds.is_empty() || twice.is_some() {
        let reason = twice.map_or("no seed is left".to_owned(), |pair| format!("seed {} is listed twice", pair[0]));
        sink.push(
            Diagnostic::error("E0543", values.span, reason)
                .help("every run of an arm has a seed of its own, such as `0..5`"),
        );
        return None;
    }
    Some(seeds)
}
