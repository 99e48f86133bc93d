//! A whole experiment: base, arms, seeds, claims.

use super::arm::{self, arm};
use super::claims::Claims;
use super::constant::Constants;
use super::overrides;
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::Plan;
use crate::syntax::ast::{Expr, ExprKind, Field, File, Item, ItemKind, Name};

pub use arm::DataFile;

/// The editions this version reads.
const EDITIONS: [u32; 1] = [2026];

/// A checked experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// What will happen.
    pub plan: Plan,
    /// The files it reads. Paths are not part of the plan: what identifies a run is their content.
    pub files: Vec<DataFile>,
}

/// Checks an experiment and makes its plan; `None` after an error. `overrides` come from the command line and hold for
/// every arm, before the arm's own.
pub fn compile(file: &File, set: &[Field], sink: &mut Sink) -> Option<Compiled> {
    let start = Span::new(0, 0);
    if let Some((edition, span)) = file.edition
        && !EDITIONS.contains(&edition)
    {
        sink.push(Diagnostic::error("E0524", span, format!("this version of metadsl does not know edition {edition}")).help("it reads edition 2026"));
    }
    if file.name.is_none() {
        sink.push(Diagnostic::error("E0517", start, "the experiment has no name").help("write `experiment my_experiment` after the edition"));
    }
    duplicates(&file.items, sink);

    let mut base = file.items.clone();
    set.iter().for_each(|field| overrides::apply(&mut base, field, sink));
    let mut declared: Vec<(&Name, &[Field])> =
        file.items.iter().filter_map(|i| if let ItemKind::Arm { name, fields } = &i.kind { Some((name, fields.as_slice())) } else { None }).collect();
    let main = Name { text: "main".into(), span: start };
    if declared.is_empty() {
        declared.push((&main, &[]));
    }
    let at = file.name.as_ref().map_or(start, |n| n.span);
    let (mut arms, mut files) = (Vec::new(), Vec::<DataFile>::new());
    for (name, fields) in &declared {
        let mut items = base.clone();
        fields.iter().for_each(|field| overrides::apply(&mut items, field, sink));
        if let Some((arm, read)) = arm(&name.text, &items, at, sink) {
            arms.push(arm);
            for file in read {
                check_same_file(&files, &file, sink);
                if !files.iter().any(|f| f.name == file.name) {
                    files.push(file);
                }
            }
        }
    }
    let constants = Constants::collect(&base, &mut Sink::new());
    let seeds = seeds(&base, &constants, sink);
    if arms.len() < declared.len() {
        // Claims about an arm that could not be checked would only repeat its mistakes.
        return None;
    }
    let claims_of = Claims { constants: &constants, arms: &arms };
    let claims: Vec<_> = base
        .iter()
        .filter_map(|i| if let ItemKind::Expect { left, cmp, right } = &i.kind { Some(claims_of.claim(left, *cmp, right, sink)) } else { None })
        .collect();
    if sink.has_errors() {
        return None;
    }
    let plan = Plan {
        edition: file.edition.map_or(EDITIONS[0], |(edition, _)| edition),
        experiment: file.name.as_ref()?.text.clone(),
        arms,
        seeds: seeds?,
        claims: claims.into_iter().collect::<Option<_>>()?,
    };
    Some(Compiled { plan, files })
}

/// All arms read one file under one name: a run's manifest has one entry for it.
fn check_same_file(files: &[DataFile], file: &DataFile, sink: &mut Sink) {
    if files.iter().any(|f| f.name == file.name && f.path != file.path) {
        sink.push(Diagnostic::error("E0525", file.span, format!("arms read `{}` from different files", file.name)).help("declare two `data` items and override `tasks.NAME` instead"));
    }
}

/// `sweep seed in 0..5`, or one seed, 0.
fn seeds(items: &[Item], constants: &Constants, sink: &mut Sink) -> Option<Vec<u64>> {
    let mut seeds = None;
    for item in items {
        let ItemKind::Sweep { name, values } = &item.kind else { continue };
        if name.text != "seed" {
            sink.push(Diagnostic::error("E0526", name.span, format!("`{}` cannot be swept", name.text)).help("sweeps range over `seed`; variants of the experiment are arms: `arm fast { train.update.rate = 1 }`"));
            continue;
        }
        if seeds.is_some() {
            sink.push(Diagnostic::error("E0217", item.span, "the seeds are given twice"));
        }
        seeds = Some(seed_values(values, constants, sink)?);
    }
    Some(seeds.unwrap_or_else(|| vec![0]))
}

fn seed_values(values: &Expr, constants: &Constants, sink: &mut Sink) -> Option<Vec<u64>> {
    const MOST: u64 = 100_000;
    let seeds: Vec<u64> = match &values.kind {
        ExprKind::Range(lo, hi) => {
            let (lo, hi) = (constants.count(lo, 0, "a seed", sink), constants.count(hi, 0, "a seed", sink));
            let (lo, hi) = (lo?, hi?);
            if hi.saturating_sub(lo) > MOST {
                sink.push(Diagnostic::error("E0403", values.span, format!("{} seeds are too many; the limit is {MOST}", hi - lo)));
                return None;
            }
            (lo..hi).collect()
        }
        ExprKind::List(items) => items.iter().map(|e| constants.count(e, 0, "a seed", sink)).collect::<Option<_>>()?,
        _ => vec![constants.count(values, 0, "a seed", sink)?],
    };
    let mut sorted = seeds.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if seeds.is_empty() || sorted.len() < seeds.len() {
        let reason = if seeds.is_empty() { "no seed is left" } else { "a seed is listed twice" };
        sink.push(Diagnostic::error("E0409", values.span, format!("{reason}: a sweep needs different seeds, such as `0..5`")));
        return None;
    }
    Some(seeds)
}

/// Names that are defined twice where one meaning is wanted.
fn duplicates(items: &[Item], sink: &mut Sink) {
    let mut values: Vec<&Name> = vec![];
    let mut sections: Vec<(&str, &Name)> = vec![];
    let mut families: Vec<Vec<&Name>> = vec![];
    let mut lets: Vec<&Name> = vec![];
    for item in items {
        match &item.kind {
            ItemKind::Dim { name, .. } | ItemKind::Let { name, .. } => values.push(name),
            ItemKind::World { decls } => values.extend(decls.iter().map(|d| &d.name)),
            ItemKind::Data { name, .. } => sections.push(("data", name)),
            ItemKind::Model(model) => {
                values.extend(model.params.iter().map(|p| &p.decl.name));
                lets.extend(model.inputs.iter().map(|(n, _)| n).chain(model.lets.iter().map(|d| &d.name)));
            }
            ItemKind::Tasks(tasks) => {
                sections.push(("tasks", &tasks.name));
                let own = tasks.decls.iter().chain(&tasks.episode).chain(&tasks.example).map(|d| &d.name);
                families.push(own.collect());
                // Strata are alternatives: each is compared with the common declarations, not with the others.
                families.extend(tasks.strata.iter().map(|s| s.decls.iter().chain(&tasks.decls).chain(&tasks.episode).chain(&tasks.example).map(|d| &d.name).collect::<Vec<_>>()));
            }
            ItemKind::Section(section) => sections.extend(section.name.as_ref().map(|n| ("evaluate", n))),
            ItemKind::Arm { name, .. } => sections.push(("arm", name)),
            ItemKind::Measure { name, .. } => sections.push(("measure", name)),
            ItemKind::Sweep { .. } | ItemKind::Expect { .. } => {}
        }
    }
    let twice = |name: &Name, first: &Name, sink: &mut Sink| {
        sink.push(Diagnostic::error("E0221", name.span, format!("`{}` is defined twice", name.text)).related(first.span, "first defined here"));
    };
    let within = |names: &[&Name], sink: &mut Sink| {
        for (i, name) in names.iter().enumerate() {
            if ["pi", "index", "all", "last"].contains(&name.text.as_str()) {
                sink.push(Diagnostic::error("E0222", name.span, format!("`{}` has a meaning of its own and cannot be defined", name.text)));
            }
            if let Some(first) = names[..i].iter().find(|n| n.text == name.text) {
                twice(name, first, sink);
            }
        }
    };
    within(&values, sink);
    for own in &families {
        within(&values.iter().chain(own).copied().collect::<Vec<_>>(), sink);
    }
    within(&values.iter().chain(&lets).copied().collect::<Vec<_>>(), sink);
    for (i, (kind, name)) in sections.iter().enumerate() {
        if let Some((_, first)) = sections[..i].iter().find(|(k, n)| k == kind && n.text == name.text) {
            twice(name, first, sink);
        }
    }
}
