//! A whole experiment: base, arms, seeds, claims.

use super::arm::{DataFile, arm};
use super::calls::empty_range;
use super::claims::Claims;
use super::constant::Constants;
use super::duplicates::duplicates;
use super::{lints, overrides};
use crate::diag::{Diagnostic, Severity, Sink, Span};
use crate::plan::{Arm, DataSource, Plan};
use crate::syntax::ast::{Expr, ExprKind, Field, File, Item, ItemKind, Name};

/// The editions this version reads.
const EDITIONS: [u32; 1] = [2026];

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
    duplicates(&file.items, sink);
    let mut base = file.items.clone();
    set.iter().for_each(|field| overrides::apply(&mut base, field, sink));
    let at = file.name.as_ref().map_or(start, |n| n.span);
    let arms = Arms::declared(file, start).check(&base, at, sink);
    let constants = Constants::collect(&base, &mut Sink::new());
    let seeds = seeds(&base, &constants, sink);

    let measures: Vec<String> = base
        .iter()
        .filter_map(|i| if let ItemKind::Measure { name, .. } = &i.kind { Some(name.text.clone()) } else { None })
        .collect();
    let scope = Claims { constants: &constants, arms: &arms.plans, measures: &measures };
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

/// The arms as the text declares them.
struct Arms<'a> {
    declared: Vec<(String, Span, &'a [Field])>,
}

/// The arms after checking.
struct CheckedArms {
    /// Each arm by name; `None` where it has a mistake, which has been reported.
    plans: Vec<(String, Option<Arm>)>,
    files: Vec<DataFile>,
}

impl<'a> Arms<'a> {
    fn declared(file: &'a File, start: Span) -> Arms<'a> {
        let mut declared: Vec<(String, Span, &[Field])> = file
            .items
            .iter()
            .filter_map(|i| match &i.kind {
                ItemKind::Arm { name, fields } => Some((name.text.clone(), i.span, fields.as_slice())),
                _ => None,
            })
            .collect();
        if declared.is_empty() {
            declared.push(("main".into(), start, &[]));
        }
        Arms { declared }
    }

    /// Checks every arm. What is wrong in all of them is reported once, as a mistake of the base experiment.
    fn check(&self, base: &[Item], at: Span, sink: &mut Sink) -> CheckedArms {
        let mut found: Vec<(Diagnostic, Vec<usize>)> = vec![];
        let mut checked = CheckedArms { plans: vec![], files: vec![] };
        for (i, (name, _, fields)) in self.declared.iter().enumerate() {
            let mut own = Sink::new();
            let mut items = base.to_vec();
            overrides::check_twice(fields, &mut own);
            fields.iter().for_each(|field| overrides::apply(&mut items, field, &mut own));
            let result = arm(name, &items, at, &mut own);
            for diagnostic in own.finish() {
                match found.iter_mut().find(|(known, _)| *known == diagnostic) {
                    Some((_, arms)) => arms.push(i),
                    None => found.push((diagnostic, vec![i])),
                }
            }
            let (plan, files) = result.map_or((None, vec![]), |(plan, files)| (Some(plan), files));
            checked.plans.push((name.clone(), plan));
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
        let inside = |&i: &usize| {
            let (_, span, _) = self.declared[i];
            span.start <= diagnostic.span.start && diagnostic.span.end <= span.end
        };
        if arms.len() == self.declared.len() || arms.iter().all(inside) {
            return Some(diagnostic);
        }
        // A warning that holds in some arms alone is how an arm differs from the others.
        if diagnostic.severity == Severity::Warning {
            return None;
        }
        for &i in arms.iter().take(NAMED) {
            let (name, span, _) = &self.declared[i];
            diagnostic = diagnostic.related(*span, format!("in arm `{name}`"));
        }
        Some(diagnostic)
    }

    /// All arms read one file under one name: a run's manifest has one entry for it.
    fn check_data(&self, plans: &[(String, Option<Arm>)], i: usize, file: &DataFile, sink: &mut Sink) {
        let source = |arm: &(String, Option<Arm>)| -> Option<DataSource> {
            arm.1.as_ref()?.data.iter().find(|d| d.name == file.set).cloned()
        };
        let own = source(&plans[i]);
        let other = plans[..i].iter().find(|arm| source(arm).is_some_and(|s| Some(s) != own));
        if let Some((other, _)) = other {
            let (name, span, _) = &self.declared[i];
            sink.push(
                Diagnostic::error(
                    "E0525",
                    file.span,
                    format!("arms `{other}` and `{name}` read `{}` differently", file.set),
                )
                .related(*span, "this arm overrides a number that stands here")
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
        let ItemKind::Sweep { name, values } = &item.kind else { continue };
        if name.text != "seed" {
            sink.push(not_swept(name));
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

fn not_swept(name: &Name) -> Diagnostic {
    Diagnostic::error("E0526", name.span, format!("`{}` cannot be swept", name.text))
        .help("a sweep ranges over `seed`: `sweep seed in 0..5`")
        .help("other variants of the experiment are arms: `arm fast { train.update.rate = 1 }`")
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
