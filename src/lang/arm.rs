//! One arm: the items of an experiment, overrides applied, become one plan arm.

use indexmap::IndexMap;

use super::calls::Names;
use super::constant::Constants;
use super::tasks::{self, CheckedFamily, CheckedModel, Types};
use super::{measures, sections};
use crate::catalog::{Csv, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Arm, DataSource, Evaluation, Measure, What};
use crate::syntax::ast::{Decl, Item, ItemKind, Model, Section};

/// The checked parts that sections refer to.
pub(super) struct Checked {
    pub world: Types,
    pub families: Vec<CheckedFamily>,
    pub model: CheckedModel,
}

impl Checked {
    /// The family of that name.
    pub fn family(&self, name: &str) -> Option<&CheckedFamily> {
        self.families.iter().find(|f| f.plan.name == name)
    }
}

/// A data file an arm reads.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// The data set's name.
    pub name: String,
    /// The path as written.
    pub path: String,
    /// Where it is written.
    pub span: Span,
}

/// Checks the items of one arm. `at` is where to point when something is missing altogether.
pub(super) fn arm(name: &str, items: &[Item], at: Span, sink: &mut Sink) -> Option<(Arm, Vec<DataFile>)> {
    let constants = Constants::collect(items, sink);
    let no_names = Names { constants: &constants, params: &[], families: &[] };
    let (data, files) = data(items, &no_names, sink);

    let world_decls: Vec<&Decl> = items.iter().flat_map(|i| if let ItemKind::World { decls } = &i.kind { decls.as_slice() } else { &[] }).collect();
    let (world, world_types) = tasks::sampler("world", &world_decls, &Types::new(), &constants, sink);

    let model_ast = one(items, "model", "model linear(x: [d]) -> [] { ... }", at, sink, |k| if let ItemKind::Model(m) = k { Some(m) } else { None });
    let train_ast = one(items, "train", "train { ... }", at, sink, |k| match k {
        ItemKind::Section(s) if s.keyword.text == "train" => Some(s),
        _ => None,
    });
    let model_ast: &Model = model_ast?;
    let param_types = tasks::param_types(model_ast, &constants, sink);
    let params: Vec<(String, Option<String>)> =
        model_ast.params.iter().map(|p| (p.decl.name.text.clone(), p.group.as_ref().map(|g| g.text.clone()))).collect();
    let model = tasks::model(model_ast, &world_types, param_types.clone(), &constants, sink);

    let families: Vec<CheckedFamily> = items
        .iter()
        .filter_map(|i| if let ItemKind::Tasks(t) = &i.kind { Some(t) } else { None })
        .filter_map(|t| tasks::family(t, &world_types, &data, &param_types, &no_names, sink))
        .collect();
    let declared: Vec<(String, Vec<String>)> = items
        .iter()
        .filter_map(|i| if let ItemKind::Tasks(t) = &i.kind { Some(t) } else { None })
        .map(|t| (t.name.text.clone(), t.strata.iter().map(|s| s.name.text.clone()).collect()))
        .collect();
    let names = Names { constants: &constants, params: &params, families: &declared };
    let checked = Checked { world: world_types, families, model: model? };

    let train = sections::train(train_ast?, &checked, &names, sink)?;
    let evaluations: Vec<(String, Option<Evaluation>)> = items
        .iter()
        .filter_map(|i| match &i.kind {
            ItemKind::Section(s) if s.keyword.text == "evaluate" => Some(s),
            _ => None,
        })
        .filter_map(|s: &Section| {
            let name = s.name.as_ref()?.text.clone();
            Some((name, sections::evaluation(s, &train, &checked, &names, sink)))
        })
        .collect();
    let measures: Vec<Measure> =
        items.iter().filter_map(|item| measures::measure(item, &train, &evaluations, &checked, &names, sink)).collect();

    let used = |name: &str| measures.iter().any(|m| matches!(&m.what, What::Evaluation { name: n, .. } if n == name));
    let mut evaluations: Vec<Evaluation> = evaluations.into_iter().filter_map(|(_, e)| e).filter(|e| used(&e.name)).collect();
    // Evaluations, families and data sets are found by name, so the order of the text is no part of the plan.
    evaluations.sort_by(|a, b| a.name.cmp(&b.name));
    let in_use = |family: &str| train.tasks.family() == family || evaluations.iter().any(|e| e.tasks.family() == family);
    let mut families: Vec<_> = checked.families.into_iter().map(|f| f.plan).filter(|f| in_use(&f.name)).collect();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let reads = |name: &str| families.iter().any(|f| f.source.as_ref().is_some_and(|s| s.data == name));
    let mut data: Vec<DataSource> = data.into_iter().filter(|(n, _)| reads(n)).map(|(name, csv)| DataSource { name, csv }).collect();
    data.sort_by(|a, b| a.name.cmp(&b.name));
    let files = files.into_iter().filter(|f| reads(&f.name)).collect();
    let arm = Arm { name: name.to_owned(), data, world, families, model: checked.model.plan, train, evaluations, measures };
    Some((arm, files))
}

/// The one item of a kind that an experiment must have.
fn one<'i, T>(items: &'i [Item], what: &str, example: &str, at: Span, sink: &mut Sink, pick: impl Fn(&'i ItemKind) -> Option<&'i T>) -> Option<&'i T> {
    let mut found = items.iter().filter_map(|i| pick(&i.kind).map(|t| (t, i.span)));
    let first = found.next();
    if let (Some((_, first)), Some((_, second))) = (first, found.next()) {
        sink.push(Diagnostic::error("E0217", second, format!("an experiment has one `{what}`")).related(first, "the first one"));
    }
    if first.is_none() {
        sink.push(Diagnostic::error("E0517", at, format!("the experiment has no `{what}`")).help(format!("add `{example}`")));
    }
    first.map(|(t, _)| t)
}

fn data(items: &[Item], names: &Names, sink: &mut Sink) -> (IndexMap<String, Csv>, Vec<DataFile>) {
    let (mut sets, mut files) = (IndexMap::new(), Vec::new());
    for item in items {
        let ItemKind::Data { name, value } = &item.kind else { continue };
        if let Some(call) = names.call(Kind::Data, value, sink) {
            sets.insert(name.text.clone(), Csv::from_args(&call.args));
            files.push(DataFile { name: name.text.clone(), path: call.args.text("path").to_owned(), span: value.span });
        }
    }
    (sets, files)
}
