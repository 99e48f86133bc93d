//! `with = ...`: groups of parameters added to the model. What comes out is a model like any other.

use super::arm::Checked;
use super::calls::{Call, Names};
use super::constant::Constants;
use super::dims::{Dim, Types, describe, sizes};
use super::fields::Fields;
use super::function::Callable;
use super::model::{CheckedModel, model, param_types};
use crate::catalog::{Added, Arg, BaseLaw, Kind, Site, Start};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Builder, Function, NodeId};
use crate::plan::{Addition, Draw, Model, Sampler, Slot};
use crate::syntax::ast::{Expr, ExprKind, ItemKind, Name, Section};

/// The model that a section works on: as it is declared, or with groups added.
pub(super) struct Whole {
    /// `None` where the declared model has a mistake, which has been reported.
    pub model: Option<Model>,
    /// Its parameters, each with its group.
    pub params: Vec<(String, Option<String>)>,
    /// Their types.
    pub types: Types,
    /// The model as losses and metrics call it; `None` where it has a mistake, too.
    pub callable: Option<Callable>,
}

impl Whole {
    /// The model as it is declared.
    pub fn declared(checked: &Checked, names: &Names) -> Whole {
        let CheckedModel { plan, params, .. } = &checked.model;
        let (params, types) = (names.params.to_vec(), params.clone());
        Whole { model: plan.clone(), params, types, callable: checked.callable.clone() }
    }

    /// The names that a section which works on it can refer to.
    pub fn names<'a>(&'a self, base: &Names<'a>) -> Names<'a> {
        let added = self.model.as_ref().map_or(&[][..], |model| &model.added);
        Names { params: &self.params, added, ..*base }
    }

    /// Whether it has that parameter.
    pub fn has(&self, name: &str) -> bool {
        self.params.iter().any(|(param, _)| param == name)
    }
}

/// One added group.
struct Group {
    /// The name of the group its parameters form.
    name: String,
    /// What its parameters' names begin with.
    prefix: String,
    /// What it changes: parameters, an input, or the prediction.
    on: Vec<Slot>,
    how: Added,
    /// The last dim of the prediction, where the group changes it.
    output: Option<Dim>,
    /// The model with a longer input, where the group lengthens it.
    longer: Option<Function>,
}

/// The model with what `with` adds to it; `None` where the section sets no `with`. The groups of an evaluation are other
/// than those of training, even where they have one name, so the evaluation's name stands before them.
pub(super) fn whole(section: &Section, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<Whole> {
    let fields = Fields::read(section, &mut Sink::new());
    let expr = &fields.get("with")?.value;
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let owner = section.name.as_ref().map_or(String::new(), |name| format!("{}.", name.text));
    let base = checked.model.plan.as_ref();
    let mut whole = Whole::declared(checked, names);
    let mut groups: Vec<Group> = vec![];
    for item in items {
        match (group(item, &owner, &groups, &whole, (checked, names), sink), &item.kind) {
            (Some(group), _) => {
                if let Some(group) = &group {
                    whole.add(group);
                }
                groups.extend(group);
            }
            // After a mistake its name is known, so that the mistake is reported once.
            (None, ExprKind::Call { callee, .. }) => whole.params.push((callee.text.clone(), None)),
            (None, _) => {}
        }
    }
    if let (Some(model), Some(base)) = (&whole.model, base) {
        let group_of = |slot: &Slot| groups.iter().find(|g| slot.name.starts_with(&g.prefix)).map(|g| g.name.clone());
        let new = &model.params[base.params.len()..];
        whole.params.extend(new.iter().map(|slot| (slot.name.clone(), group_of(slot))));
        let unnamed = |slot: &Slot| slot.dims.iter().map(|&size| Dim { name: None, size }).collect();
        whole.types.extend(new.iter().map(|slot| (slot.name.clone(), Some(unnamed(slot)))));
    }
    Some(whole)
}

impl Whole {
    /// Adds a group.
    fn add(&mut self, group: &Group) {
        self.model = self.model.take().map(|model| with(model, group));
        if let (Some(callable), Some(model)) = (&mut self.callable, &self.model) {
            callable.program = model.forward.clone();
            if let (Some(dim), Some(last)) = (&group.output, callable.output.last_mut()) {
                *last = dim.clone();
            }
        }
    }
}

/// `Some(None)` is `none`.
fn group(
    item: &Expr,
    owner: &str,
    before: &[Group],
    whole: &Whole,
    (checked, names): (&Checked, &Names),
    sink: &mut Sink,
) -> Option<Option<Group>> {
    let call = names.call(Kind::Added, item, sink)?;
    if call.entry.name == "none" {
        return Some(None);
    }
    let name = call.entry.name;
    let mut group = Group {
        name: name.to_owned(),
        prefix: format!("{owner}{name}."),
        on: vec![],
        how: Added::from_args(name, &call.args),
        output: None,
        longer: None,
    };
    if names.params.iter().any(|(param, group)| param == name || group.as_deref() == Some(name)) {
        sink.push(
            Diagnostic::error("E0545", item.span, format!("the model has a `{name}` already"))
                .help(format!("the added parameters form the group `{name}`; give the model's own another name")),
        );
        return None;
    }
    match group.how.site() {
        Site::Params => group.on = params(item.span, &call, checked, sink)?,
        Site::Input => group.on = vec![input(item, &call, checked, sink)?],
        Site::Output => {
            let callable = whole.callable.as_ref()?;
            group.on = vec![Slot { name: "prediction".into(), dims: sizes(&callable.output) }];
            group.output = outputs(item, &call, callable, names.constants, sink)?;
            if let (Added::Head { outputs, .. }, Some(dim)) = (&mut group.how, &group.output) {
                *outputs = dim.size;
            }
        }
    }
    for slot in &group.on {
        if let Some(reason) = group.how.refuses(&slot.dims) {
            sink.push(
                Diagnostic::error("E0544", item.span, format!("`{name}` cannot be added to `{}`", slot.name))
                    .label(format!("`{}` has the dims {:?}", slot.name, slot.dims))
                    .help(reason),
            );
            return None;
        }
        if before.iter().any(|g| g.name == name && g.on.iter().any(|known| known.name == slot.name)) {
            sink.push(twice(item.span, name, &slot.name));
            return None;
        }
    }
    if let Added::Prompt { length: Some(length), .. } = group.how {
        group.longer = Some(longer(item.span, &group.on[0], length, before, checked, sink)?);
    }
    Some(Some(group))
}

fn twice(span: Span, group: &str, param: &str) -> Diagnostic {
    Diagnostic::error("E0546", span, format!("`{group}` is added to `{param}` twice"))
        .help("a parameter has one group of a kind; a larger `rank` says more")
}

/// The parameters that a group changes.
fn params(span: Span, call: &Call, checked: &Checked, sink: &mut Sink) -> Option<Vec<Slot>> {
    let (name, on) = (call.entry.name, call.args.names("on"));
    if on.is_empty() {
        sink.push(
            Diagnostic::error("E0507", span, format!("`{name}` is added to no parameters"))
                .help("name some, or write `with = none`"),
        );
        return None;
    }
    let params = checked.model.plan.iter().flat_map(|model| &model.params);
    Some(params.filter(|slot| on.contains(&slot.name)).cloned().collect())
}

/// The input that a group changes.
fn input(item: &Expr, call: &Call, checked: &Checked, sink: &mut Sink) -> Option<Slot> {
    let (name, inputs) = (call.args.word("on"), &checked.model.inputs);
    let Some(dims) = inputs.get(name) else {
        let error = Diagnostic::error("E0232", item.span, format!("the model has no input `{name}`"));
        let known: Vec<&str> = inputs.keys().map(String::as_str).collect();
        sink.push(error.help(format!("its inputs are {}", known.join(", "))));
        return None;
    };
    let read = checked.model.plan.as_ref()?.forward.inputs.iter().any(|port| port.name == name);
    if !read {
        let error = Diagnostic::error("E0544", item.span, format!("`{}` cannot be added to `{name}`", call.entry.name));
        sink.push(error.help(format!("the prediction does not read `{name}`")));
        return None;
    }
    Some(Slot { name: name.to_owned(), dims: sizes(dims.as_ref()?) })
}

/// The last dim of the prediction behind a head.
fn outputs(item: &Expr, call: &Call, model: &Callable, constants: &Constants, sink: &mut Sink) -> Option<Option<Dim>> {
    let Some(Arg::Word(name)) = call.args.get("outputs") else { return Some(model.output.last().cloned()) };
    let Some(size) = constants.dims.get(name) else {
        let error = Diagnostic::error("E0202", item.span, format!("no dim is called `{name}`"));
        let name = Name { text: name.clone(), span: item.span };
        sink.push(constants.elsewhere(error, &name, constants.dims.keys().map(String::as_str)));
        return None;
    };
    Some(Some(Dim { name: Some(name.clone()), size: (*size)? }))
}

/// The model where an input has so many rows more.
fn longer(
    span: Span,
    slot: &Slot,
    length: usize,
    before: &[Group],
    checked: &Checked,
    sink: &mut Sink,
) -> Option<Function> {
    let refuse = |label: String, help: &str| {
        let message = format!("no rows can stand before those of `{}`", slot.name);
        Diagnostic::error("E0558", span, message).label(label).help(help)
    };
    if before.iter().any(|group| group.how.site() != Site::Params) {
        sink.push(refuse("another group changes the model first".into(), "list this one before all others"));
        return None;
    }
    let rows = checked.model.inputs.get(&slot.name)?.as_ref()?.first()?.clone();
    let Some(name) = rows.name else {
        let help = "give the rows a dim of their own: `dim s = 20` and `x: [s, d]`";
        sink.push(refuse(format!("`{}` has rows without a name", slot.name), help));
        return None;
    };
    let found = lengthened(checked, &name, rows.size + length);
    let same = |longer: &CheckedModel| {
        let dims = |model: &CheckedModel| {
            model.params.iter().map(|(n, d)| (n.clone(), d.as_deref().map(sizes))).collect::<Vec<_>>()
        };
        let output = |model: &CheckedModel| model.output.as_deref().map(sizes);
        dims(longer) == dims(&checked.model) && output(longer) == output(&checked.model)
    };
    match found.filter(same).and_then(|longer| longer.plan) {
        Some(longer) => Some(longer.forward),
        None => {
            let output = checked.model.output.as_deref().map_or_else(String::new, describe);
            let label =
                format!("with another `{name}` the model does not have the same parameters and prediction {output}");
            sink.push(refuse(label, "only the input and what is computed of it may have that dim"));
            None
        }
    }
}

/// The model where a dim has another size; `None` where it has a mistake then.
fn lengthened(checked: &Checked, dim: &str, size: usize) -> Option<CheckedModel> {
    let mut items = checked.items.clone();
    for item in &mut items {
        if let ItemKind::Dim { name, value } = &mut item.kind
            && name.text == dim
        {
            value.kind = ExprKind::Number(size as f64);
        }
    }
    let mut sink = Sink::new();
    let constants = Constants::collect(&items, &mut sink);
    let found =
        items.iter().find_map(|item| if let ItemKind::Model(model) = &item.kind { Some(model) } else { None })?;
    let types = param_types(found, &constants, &mut sink);
    let longer = model(found, &checked.world, types, &constants, &mut sink);
    (!sink.has_errors()).then_some(longer)
}

/// The model with one group added to it.
fn with(model: Model, group: &Group) -> Model {
    let (mut init, mut compose) = (Builder::new(), Builder::new());
    let before = &model.init.function;
    let args: Vec<NodeId> = before.inputs.iter().map(|p| init.input(p.name.clone(), before.dims(p.node))).collect();
    let values = init.inline(before, &args);
    let mut values: Vec<(String, NodeId)> =
        before.outputs.iter().zip(values).map(|(port, node)| (port.name.clone(), node)).collect();
    let (mut params, mut draws, mut changed) = (model.params.clone(), model.init.draws.clone(), Vec::new());
    let mut forward = Builder::new();
    let mut inserted = Vec::new();
    for base in &group.on {
        let mut parts = Vec::new();
        for part in group.how.parts(&base.dims) {
            let slot = Slot { name: format!("{}{}.{}", group.prefix, base.name, part.name), dims: part.dims };
            let value = match part.start {
                Start::Constant(x) => init.full(x, &slot.dims),
                Start::Normal(std) => {
                    let name = format!("~{}", slot.name);
                    let draw = init.input(name.clone(), &slot.dims);
                    draws.push(Draw { name, law: BaseLaw::Normal, dims: slot.dims.clone() });
                    init.scale(draw, std)
                }
                Start::Same => {
                    let same = values.iter().find(|(name, _)| *name == base.name);
                    same.expect("every parameter has an initial value").1
                }
            };
            match group.how.site() {
                Site::Params if group.how.changes() => parts.push(compose.input(slot.name.clone(), &slot.dims)),
                Site::Params => {}
                Site::Input | Site::Output => inserted.push(forward.input(slot.name.clone(), &slot.dims)),
            }
            values.push((slot.name.clone(), value));
            params.push(slot);
        }
        if group.how.changes() {
            let value = compose.input(base.name.clone(), &base.dims);
            changed.push((base.name.clone(), group.how.compose(&mut compose, value, &parts)));
        }
    }
    let forward = match group.how.site() {
        Site::Params => model.forward,
        Site::Input | Site::Output => changed_forward(forward, &model.forward, group, &inserted),
    };
    let init = Sampler { draws, function: init.finish(before.name.clone(), values) };
    let mut added = model.added;
    added.push(Addition { name: group.name.clone(), compose: compose.finish(group.name.clone(), changed) });
    Model { name: model.name, params, init, forward, added }
}

/// The prediction with a group between an input and the model, or behind the model; `b` holds the group's own `parts`.
fn changed_forward(mut b: Builder, before: &Function, group: &Group, parts: &[NodeId]) -> Function {
    let at_input = group.how.site() == Site::Input;
    let mut args = Vec::new();
    for port in &before.inputs {
        let node = b.input(port.name.clone(), before.dims(port.node));
        let changed = at_input && group.on.iter().any(|slot| slot.name == port.name);
        args.push(if changed { group.how.compose(&mut b, node, parts) } else { node });
    }
    let mut value = b.inline(group.longer.as_ref().unwrap_or(before), &args)[0];
    if !at_input {
        value = group.how.compose(&mut b, value, parts);
    }
    b.finish(before.name.clone(), vec![(before.outputs[0].name.clone(), value)])
}
