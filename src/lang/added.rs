//! `with = ...`: groups of parameters added to the model. What comes out is a model like any other.

use super::arm::Checked;
use super::calls::{Call, Names};
use super::constant::Constants;
use super::dims::{Dim, Types, sizes};
use super::fields::Fields;
use super::function::Callable;
use super::model::CheckedModel;
use super::prompt::{Place, place};
use crate::catalog::{Added, Arg, BaseLaw, Kind, Site, Start};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Builder, Function, NodeId, Port};
use crate::plan::{Addition, Draw, Dropout, Model, Sampler, Slot, adapter};
use crate::syntax::ast::{Expr, ExprKind, Name, Section};

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
    /// The first group that changes what the model computes its values from.
    pub changed: Option<Changed>,
}

/// A group that changes an input of the model, or a value inside it.
pub(super) struct Changed {
    pub group: String,
    pub span: Span,
    /// What it changes.
    pub value: String,
}

impl Whole {
    /// The model as it is declared.
    pub fn declared(checked: &Checked, names: &Names) -> Whole {
        let CheckedModel { plan, params, .. } = &checked.model;
        let (params, types) = (names.params.to_vec(), params.clone());
        Whole { model: plan.clone(), params, types, callable: checked.callable.clone(), changed: None }
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
    /// Where a prompt stands.
    place: Option<Place>,
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
                    whole.add(group, item.span);
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
    fn add(&mut self, group: &Group, span: Span) {
        if let (Site::Input, [slot]) = (group.how.site(), group.on.as_slice()) {
            let (group, value) = (group.name.clone(), slot.name.clone());
            self.changed.get_or_insert(Changed { group, span, value });
        }
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
        place: None,
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
        Site::Input => {
            let first = before.iter().all(|group| group.how.site() == Site::Params);
            let place = place(item, &call, first, checked, sink)?;
            group.on = vec![place.slot.clone()];
            group.place = Some(place);
        }
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
        if matches!(group.how, Added::LowRank { dropout, .. } if dropout > 0.0)
            && let Some(model) = &whole.model
            && !adapter::in_products_alone(&model.forward, &slot.name)
        {
            let message = format!("nothing can be dropped in front of an adapter of `{}`", slot.name);
            sink.push(
                Diagnostic::error("E0544", item.span, message)
                    .label("the model reads it otherwise than as one side of a product")
                    .help("leave out `dropout`, or name matrices that are multiplied with what a layer takes"),
            );
            return None;
        }
        if before.iter().any(|g| g.name == name && g.on.iter().any(|known| known.name == slot.name)) {
            sink.push(twice(item.span, name, &slot.name));
            return None;
        }
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
    let Model { name, weights, mut dropout, .. } = model;
    if let Added::LowRank { dropout: rate, .. } = group.how
        && rate > 0.0
    {
        let mask = |base: &Slot| Dropout { name: adapter::mask_name(&group.name, &base.name), rate };
        dropout.extend(group.on.iter().map(mask));
    }
    Model { name, params, init, forward, added, weights, dropout }
}

/// The prediction with a group between an input and the model, or behind the model; `b` holds the group's own `parts`.
fn changed_forward(mut b: Builder, before: &Function, group: &Group, parts: &[NodeId]) -> Function {
    let mut inputs: Vec<(String, NodeId)> = vec![];
    let mut input = |b: &mut Builder, f: &Function, port: &Port| {
        if let Some((_, known)) = inputs.iter().find(|(name, _)| *name == port.name) {
            return *known;
        }
        let node = b.input(port.name.clone(), f.dims(port.node));
        inputs.push((port.name.clone(), node));
        node
    };
    let value = match &group.place {
        Some(Place { slot, before: first, behind, cut }) => {
            let bare = match first {
                Some(first) => {
                    let args: Vec<NodeId> = first.inputs.iter().map(|port| input(&mut b, first, port)).collect();
                    b.inline(first, &args)[0]
                }
                None => b.input(slot.name.clone(), &slot.dims),
            };
            let changed = group.how.compose(&mut b, bare, parts);
            let rest = behind.as_ref().unwrap_or(before);
            let mut args = Vec::new();
            for port in &rest.inputs {
                args.push(if port.name == slot.name { changed } else { input(&mut b, rest, port) });
            }
            let value = b.inline(rest, &args)[0];
            let rows = b.dims(value).first().copied().unwrap_or(0);
            if *cut > 0 { b.slice(value, 0, *cut, rows - cut) } else { value }
        }
        None => {
            let args: Vec<NodeId> = before.inputs.iter().map(|port| input(&mut b, before, port)).collect();
            let value = b.inline(before, &args)[0];
            group.how.compose(&mut b, value, parts)
        }
    };
    b.finish(before.name.clone(), vec![(before.outputs[0].name.clone(), value)])
}
