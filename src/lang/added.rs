//! `with = ...`: groups of parameters added to the model. What comes out is a model like any other.

use super::calls::Names;
use super::fields::Fields;
use crate::catalog::{Added, BaseLaw, Kind, Start};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Builder, NodeId};
use crate::plan::{Addition, Draw, Model, Sampler, Slot};
use crate::syntax::ast::{Expr, ExprKind, Section};

/// The model that a section works on: as it is declared, or with groups added.
pub(super) struct Whole {
    /// `None` where the declared model has a mistake, which has been reported.
    pub model: Option<Model>,
    /// Its parameters, each with its group.
    pub params: Vec<(String, Option<String>)>,
}

impl Whole {
    /// The model as it is declared.
    pub fn declared(model: Option<&Model>, names: &Names) -> Whole {
        Whole { model: model.cloned(), params: names.params.to_vec() }
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
    /// The parameters that it changes.
    on: Vec<String>,
    how: Added,
}

/// The model with what `with` adds to it; `None` where the section sets no `with`. The groups of an evaluation are other
/// than those of training, even where they have one name, so the evaluation's name stands before them.
pub(super) fn whole(section: &Section, base: Option<&Model>, names: &Names, sink: &mut Sink) -> Option<Whole> {
    let fields = Fields::read(section, &mut Sink::new());
    let expr = &fields.get("with")?.value;
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let owner = section.name.as_ref().map_or(String::new(), |name| format!("{}.", name.text));
    let mut whole = Whole::declared(base, names);
    let mut groups: Vec<Group> = vec![];
    for item in items {
        match (group(item, &owner, &groups, base, names, sink), &item.kind) {
            (Some(group), _) => groups.extend(group),
            // After a mistake its name is known, so that the mistake is reported once.
            (None, ExprKind::Call { callee, .. }) => whole.params.push((callee.text.clone(), None)),
            (None, _) => {}
        }
    }
    for group in &groups {
        whole.model = whole.model.map(|model| with(model, group));
    }
    if let (Some(model), Some(base)) = (&whole.model, base) {
        let group_of = |slot: &Slot| groups.iter().find(|g| slot.name.starts_with(&g.prefix)).map(|g| g.name.clone());
        whole.params.extend(model.params[base.params.len()..].iter().map(|slot| (slot.name.clone(), group_of(slot))));
    }
    Some(whole)
}

/// `Some(None)` is `none`.
fn group(
    item: &Expr,
    owner: &str,
    before: &[Group],
    base: Option<&Model>,
    names: &Names,
    sink: &mut Sink,
) -> Option<Option<Group>> {
    let call = names.call(Kind::Added, item, sink)?;
    if call.entry.name == "none" {
        return Some(None);
    }
    let (name, on) = (call.entry.name, call.args.names("on"));
    let how = Added::from_args(name, &call.args);
    if on.is_empty() {
        sink.push(
            Diagnostic::error("E0507", item.span, format!("`{name}` is added to no parameters"))
                .help("name some, or write `with = none`"),
        );
        return None;
    }
    if names.params.iter().any(|(param, group)| param == name || group.as_deref() == Some(name)) {
        sink.push(
            Diagnostic::error("E0545", item.span, format!("the model has a `{name}` already"))
                .help(format!("the added parameters form the group `{name}`; give the model's own another name")),
        );
        return None;
    }
    for param in &on {
        let slot = base.and_then(|model| model.params.iter().find(|p| p.name == *param));
        if let Some((slot, reason)) = slot.and_then(|slot| Some((slot, how.refuses(&slot.dims)?))) {
            sink.push(
                Diagnostic::error("E0544", item.span, format!("`{name}` cannot be added to `{param}`"))
                    .label(format!("`{param}` has the dims {:?}", slot.dims))
                    .help(reason),
            );
            return None;
        }
        if before.iter().any(|g| g.name == name && g.on.contains(param)) {
            sink.push(twice(item.span, name, param));
            return None;
        }
    }
    Some(Some(Group { name: name.to_owned(), prefix: format!("{owner}{name}."), on, how }))
}

fn twice(span: Span, group: &str, param: &str) -> Diagnostic {
    Diagnostic::error("E0546", span, format!("`{group}` is added to `{param}` twice"))
        .help("a parameter has one group of a kind; a larger `rank` says more")
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
    for base in model.params.iter().filter(|p| group.on.contains(&p.name)) {
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
            if group.how.changes() {
                parts.push(compose.input(slot.name.clone(), &slot.dims));
            }
            values.push((slot.name.clone(), value));
            params.push(slot);
        }
        if group.how.changes() {
            let value = compose.input(base.name.clone(), &base.dims);
            changed.push((base.name.clone(), group.how.compose(&mut compose, value, &parts)));
        }
    }
    let init = Sampler { draws, function: init.finish(before.name.clone(), values) };
    let mut added = model.added;
    added.push(Addition { name: group.name.clone(), compose: compose.finish(group.name.clone(), changed) });
    Model { name: model.name, params, init, forward: model.forward, added, weights: model.weights }
}
