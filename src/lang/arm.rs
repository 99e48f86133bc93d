//! One arm: the items of an experiment, overrides applied, become one plan arm.

use indexmap::IndexMap;

use super::added::{Whole, whole};
use super::calls::{Call, Names};
use super::constant::Constants;
use super::dims::Types;
use super::evaluate::{CheckedEvaluation, evaluation};
use super::family::{CheckedFamily, DataSets, ModelTypes, family};
use super::feasible;
use super::function::Callable;
use super::layers;
use super::measures::Measures;
use super::methods;
use super::model::{CheckedModel, input_types, model, param_types};
use super::sampler::sampler;
use super::train::{CheckedTrain, stage, train};
use crate::catalog::{Column, Columns, Kind, Reader};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Arm, DataSource, Evaluation, Measure, Stage, What};
use crate::syntax::ast::{Decl, Item, ItemKind, Model, Name, Tasks};

/// The checked parts that sections refer to.
pub(super) struct Checked {
    pub world: Types,
    pub families: Vec<CheckedFamily>,
    pub model: CheckedModel,
    /// Where the model's inputs are declared.
    input_spans: Vec<(String, Span)>,
    /// The model as losses and metrics call it; `None` where it has a mistake, which has been reported.
    pub callable: Option<Callable>,
    /// All items of the arm.
    pub items: Vec<Item>,
}

impl Checked {
    /// The family of that name; `None` also where it has a mistake, which has been reported.
    pub fn family(&self, name: &str) -> Option<&CheckedFamily> {
        self.families.iter().find(|f| f.plan.name == name)
    }

    /// Where the model declares an input.
    pub fn input_span(&self, name: &str) -> Span {
        self.input_spans.iter().find(|(n, _)| n == name).map_or(Span::default(), |(_, span)| *span)
    }
}

/// A data file an arm reads.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Its name in a run's manifest.
    pub name: String,
    /// The data set's name.
    pub set: String,
    /// The path as written.
    pub path: String,
    /// Where it is written.
    pub span: Span,
}

/// Checks the items of one arm. `at` is where to point when something is missing altogether.
pub(super) fn arm(name: &str, items: &[Item], at: Span, sink: &mut Sink) -> Option<(Arm, Vec<DataFile>)> {
    let items = &methods::expand(items, sink);
    let constants = Constants::collect(items, sink);
    let tasks: Vec<&Tasks> =
        items.iter().filter_map(|i| if let ItemKind::Tasks(t) = &i.kind { Some(t) } else { None }).collect();
    let declared: Vec<(String, Vec<String>)> =
        tasks.iter().map(|t| (t.name.text.clone(), t.strata.iter().map(|s| s.name.text.clone()).collect())).collect();
    let model_ast = one(items, "model", "model linear(x: [d]) -> [] { ... }", at, sink, |kind| match kind {
        ItemKind::Model(model) => Some(model),
        _ => None,
    });
    let model_ast = model_ast.map(|model| layers::expand(model, items, &constants, sink));
    let model_ast = model_ast.as_ref();
    let train_ast = one(items, "train", "train { ... }", at, sink, |kind| match kind {
        ItemKind::Section(section) if section.keyword.text == "train" => Some(section),
        _ => None,
    });
    let params: Vec<(String, Option<String>)> = model_ast
        .iter()
        .flat_map(|m| &m.params)
        .map(|p| (p.decl.name.text.clone(), p.group.as_ref().map(|g| g.text.clone())))
        .collect();
    let names = Names { constants: &constants, params: &params, families: &declared, added: &[] };

    let (data, files) = data(items, &names, sink);
    let world: Vec<&Decl> = items
        .iter()
        .filter_map(|i| if let ItemKind::World { decls } = &i.kind { Some(decls) } else { None })
        .flatten()
        .collect();
    let (world, world_types) = sampler("world", &world, &Types::new(), &constants, sink);
    let model_ast = model_ast?;
    let types =
        ModelTypes { params: param_types(model_ast, &constants, sink), inputs: input_types(model_ast, &constants) };
    let families = tasks.iter().filter_map(|t| family(t, &world_types, &data, &types, &names, sink)).collect();
    let input_spans = model_ast.inputs.iter().map(|(n, dims)| (n.text.clone(), n.span.to(dims.span))).collect();
    weights(model_ast, &data, &constants, sink);
    let model = model(model_ast, &world_types, types.params, &constants, sink);
    let callable = model.callable();
    let items_of_arm = items.clone();
    let checked = Checked { world: world_types, families, model, input_spans, callable, items: items_of_arm };

    let trained_model = train_ast.and_then(|section| whole(section, &checked, &names, sink));
    let trained_model = trained_model.unwrap_or_else(|| Whole::declared(&checked, &names));
    let train_names = trained_model.names(&names);
    let train = train_ast.and_then(|section| train(section, &trained_model, &checked, &train_names, sink));
    let trained = train.as_ref().map(|t| &t.plan);
    let loss_of_training = train_ast
        .and_then(|section| section.fields.iter().find(|f| matches!(f.path.as_slice(), [name] if name.text == "loss")))
        .map(|field| &field.value);
    let evaluations: Vec<CheckedEvaluation> = items
        .iter()
        .filter_map(|i| match &i.kind {
            ItemKind::Section(s) if s.keyword.text == "evaluate" => {
                evaluation(s, (trained, loss_of_training), &trained_model, &checked, &names, sink)
            }
            _ => None,
        })
        .collect();
    let stages: Vec<(&Name, Option<CheckedTrain>)> = items
        .iter()
        .filter_map(|i| match (&i.kind, train_ast) {
            (ItemKind::Section(s), Some(first)) if s.keyword.text == "stage" => {
                let checked = stage(s, first, trained, &trained_model, &checked, &train_names, sink);
                Some((s.name.as_ref()?, checked))
            }
            _ => None,
        })
        .collect();
    let stage_steps = stages.iter().map(|(_, checked)| checked.as_ref().map(|checked| checked.plan.steps));
    let steps = std::iter::once(trained.map(|train| train.steps)).chain(stage_steps);
    let steps: Option<Vec<u64>> = steps.collect();
    let scope = Measures {
        train: trained,
        steps: steps.map(|all| all.into_iter().fold(0, u64::saturating_add).max(1)),
        evaluations: &evaluations,
        trained_model: &trained_model,
        checked: &checked,
        names: &names,
    };
    let measures: Vec<Measure> = items.iter().filter_map(|item| scope.measure(item, sink)).flatten().collect();
    if sink.has_errors() {
        return None;
    }

    let train = train?;
    let used = |name: &str| measures.iter().any(|m| matches!(&m.what, What::Evaluation { name: n, .. } if n == name));
    // Evaluations, families and data sets are found by name, so the order of the text is no part of the plan.
    let mut in_use: Vec<&CheckedEvaluation> = evaluations.iter().filter(|e| used(&e.name)).collect();
    in_use.sort_by(|a, b| a.name.cmp(&b.name));
    let evaluations: Vec<Evaluation> = in_use.iter().filter_map(|e| e.plan.clone()).collect();
    let sources: Vec<&str> = std::iter::once(&train)
        .chain(stages.iter().filter_map(|(_, checked)| checked.as_ref()))
        .map(|checked| checked.plan.tasks.family())
        .chain(evaluations.iter().map(|e| e.tasks.family()))
        .collect();
    let runs = |family: &str| sources.contains(&family);
    let mut families: Vec<_> = checked.families.into_iter().map(|f| f.plan).filter(|f| runs(&f.name)).collect();
    families.sort_by(|a, b| a.name.cmp(&b.name));
    let model = trained_model.model?;
    let of_family = |name: &str| families.iter().any(|f| f.source.as_ref().is_some_and(|s| s.data == name));
    let reads = |name: &str| of_family(name) || model.weights.as_deref() == Some(name);
    let data = data.into_iter().filter(|(n, _)| reads(n));
    let mut data: Vec<DataSource> = data.filter_map(|(_, source)| source).collect();
    data.sort_by(|a, b| a.name.cmp(&b.name));
    let files = files.into_iter().filter(|f| reads(&f.set)).collect();
    let arm = Arm {
        name: name.to_owned(),
        data,
        world,
        families,
        model: model.clone(),
        train: train.plan.clone(),
        stages: stages
            .iter()
            .map(|(name, checked)| Some(Stage { name: name.text.clone(), train: checked.as_ref()?.plan.clone() }))
            .collect::<Option<_>>()?,
        evaluations,
        measures,
    };
    let checked = std::iter::once(&train).chain(stages.iter().filter_map(|(_, checked)| checked.as_ref()));
    for (phase, checked) in arm.phases().iter().zip(checked) {
        feasible::check(phase, checked, &in_use, sink);
        if sink.has_errors() {
            return None;
        }
    }
    (!sink.has_errors()).then_some((arm, files))
}

/// The one item of a kind that an experiment must have.
fn one<'i, T>(
    items: &'i [Item],
    what: &str,
    example: &str,
    at: Span,
    sink: &mut Sink,
    pick: impl Fn(&'i ItemKind) -> Option<&'i T>,
) -> Option<&'i T> {
    let mut found = items.iter().filter_map(|i| pick(&i.kind).map(|t| (t, i.span)));
    let first = found.next();
    if let (Some((_, first)), Some((_, second))) = (first, found.next()) {
        sink.push(
            Diagnostic::error("E0225", second, format!("an experiment has one `{what}`"))
                .related(first, "the first one")
                .help("variants of it are arms: `arm fast { train.steps = 100 }`"),
        );
    }
    if first.is_none() {
        sink.push(
            Diagnostic::error("E0517", at, format!("the experiment has no `{what}`")).help(format!("add `{example}`")),
        );
    }
    first.map(|(t, _)| t)
}

fn data(items: &[Item], names: &Names, sink: &mut Sink) -> (DataSets, Vec<DataFile>) {
    let (mut sets, mut files) = (IndexMap::new(), Vec::new());
    for item in items {
        let ItemKind::Data { name, value } = &item.kind else { continue };
        let source = names.call(Kind::Data, value, sink).and_then(|call| {
            check_target(&call, value.span, sink)?;
            let (reader, paths) = Reader::from_args(call.entry.name, &call.args);
            let source = DataSource { name: name.text.clone(), reader, files: paths.len() as u64 };
            files.extend(source.file_names().into_iter().zip(paths).map(|(file, path)| DataFile {
                name: file,
                set: name.text.clone(),
                path,
                span: value.span,
            }));
            Some(source)
        });
        sets.insert(name.text.clone(), source);
    }
    (sets, files)
}

/// The file that a model's parameters come from holds parameters.
fn weights(model: &Model, data: &DataSets, constants: &Constants, sink: &mut Sink) {
    let Some(name) = &model.from else { return };
    match data.get(&name.text) {
        None => {
            let error = Diagnostic::error("E0215", name.span, format!("no `data` is called `{}`", name.text));
            sink.push(constants.elsewhere(error, name, data.keys().map(String::as_str)));
        }
        Some(Some(source)) if !source.reader.is_weights() => sink.push(
            Diagnostic::error("E0606", name.span, format!("`{}` holds examples and no parameters", name.text))
                .help("parameters come from a file such as `data base = safetensors(\"model.safetensors\")`"),
        ),
        Some(_) => {}
    }
}

/// A table has one target, which is none of its features.
fn check_target(call: &Call, span: Span, sink: &mut Sink) -> Option<()> {
    if call.entry.name != "csv" {
        return Some(());
    }
    let (label, target) = (call.args.column("label"), call.args.column("target"));
    let two = label.is_some() && target.is_some();
    let (Some(column), false) = (label.or(target), two) else {
        sink.push(
            Diagnostic::error("E0611", span, "a table needs one column to predict: `label` or `target`")
                .help("`label: 64` is the column of a class number, `target: 64` the column of a number"),
        );
        return None;
    };
    let (column, features) = match (column, call.args.columns("features")) {
        (Column::At { number }, Columns::Range { first, end }) if (first..end).contains(&number) => {
            (format!("column {number}"), format!("columns {first} to {}", end - 1))
        }
        (Column::Named { name }, Columns::Named { names }) if names.contains(&name) => {
            (format!("column `{name}`"), format!("`{}`", names.join("`, `")))
        }
        // A number and a name are compared once the file is open.
        _ => return Some(()),
    };
    sink.push(
        Diagnostic::error("E0610", span, format!("{column} is the label and one of the features"))
            .label(format!("the features are {features}"))
            .help("a model that reads the label has nothing to learn; columns are counted from 0"),
    );
    None
}
