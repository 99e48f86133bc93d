//! `with = ...`: groups of parameters added to the model. What comes out is a model like any other.

use super::calls::Names;
use crate::catalog::{Added, BaseLaw, Kind, Start};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Builder, Function, NodeId};
use crate::plan::{Draw, Model, Sampler, Slot};
use crate::syntax::ast::{Expr, ExprKind};

/// One added group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AddedGroup {
    /// The name of the group its parameters form.
    pub name: String,
    /// The parameters that it changes.
    on: Vec<String>,
    how: Added,
}

/// `none`, one group, or a list of groups; checked against the model that they are added to.
pub(super) fn added(expr: &Expr, model: &Model, names: &Names, sink: &mut Sink) -> Option<Vec<AddedGroup>> {
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let mut groups: Vec<AddedGroup> = vec![];
    for item in items {
        let call = names.call(Kind::Added, item, sink)?;
        if call.entry.name == "none" {
            continue;
        }
        let (how, on) = (Added::from_args(call.entry.name, &call.args), call.args.names("on"));
        for name in &on {
            let slot = model.params.iter().find(|p| p.name == *name).expect("groups are parameters of the model");
            if let Some(reason) = how.refuses(&slot.dims) {
                let message = format!("`{}` cannot be added to `{name}`", call.entry.name);
                sink.push(
                    Diagnostic::error("E0544", item.span, message)
                        .label(format!("`{name}` is {:?}", slot.dims))
                        .help(reason),
                );
                return None;
            }
            if groups.iter().any(|g| g.name == call.entry.name && g.on.contains(name)) {
                sink.push(twice(item.span, call.entry.name, name));
                return None;
            }
        }
        if on.is_empty() {
            sink.push(
                Diagnostic::error("E0507", item.span, format!("`{}` is added to no parameters", call.entry.name))
                    .help("name some, or write `with = none`"),
            );
            return None;
        }
        groups.push(AddedGroup { name: call.entry.name.to_owned(), on, how });
    }
    Some(groups)
}

fn twice(span: Span, group: &str, param: &str) -> Diagnostic {
    Diagnostic::error("E0545", span, format!("`{group}` is added to `{param}` twice"))
        .help("one group of a kind for each parameter; a larger `rank` says more")
}

impl AddedGroup {
    /// Its parameters with what they are at the start: the name, shape, and the parameter they change.
    fn slots<'m>(&'m self, model: &'m Model) -> impl Iterator<Item = (&'m Slot, Slot, Start)> + 'm {
        let changed = model.params.iter().filter(|p| self.on.contains(&p.name));
        changed.flat_map(|base| {
            self.how.parts(&base.dims).into_iter().map(move |part| {
                let name = format!("{}.{}.{}", self.name, base.name, part.name);
                (base, Slot { name, dims: part.dims }, part.start)
            })
        })
    }
}

/// The names of all added parameters, each with its group.
pub(super) fn added_names(model: &Model, groups: &[AddedGroup]) -> Vec<(String, Option<String>)> {
    let of_group = |g: &AddedGroup| g.slots(model).map(|(_, s, _)| (s.name, Some(g.name.clone()))).collect::<Vec<_>>();
    groups.iter().flat_map(of_group).collect()
}

/// The model with groups added to it.
pub(super) fn with(model: &Model, groups: &[AddedGroup]) -> Model {
    if groups.is_empty() {
        return model.clone();
    }
    let mut b = Builder::new();
    let base = &model.init.function;
    let args: Vec<NodeId> = base.inputs.iter().map(|p| b.input(p.name.clone(), base.dims(p.node))).collect();
    let values = b.inline(base, &args);
    let mut outputs: Vec<(String, NodeId)> =
        base.outputs.iter().zip(&values).map(|(p, &n)| (p.name.clone(), n)).collect();
    let (mut params, mut draws) = (model.params.clone(), model.init.draws.clone());
    for (changed, slot, start) in groups.iter().flat_map(|g| g.slots(model)) {
        let node = match start {
            Start::Zero => b.full(0.0, &slot.dims),
            Start::Normal(std) => {
                let name = format!("~{}", slot.name);
                let draw = b.input(name.clone(), &slot.dims);
                draws.push(Draw { name, law: BaseLaw::Normal, dims: slot.dims.clone() });
                b.scale(draw, std)
            }
            Start::Same => {
                let position = base.outputs.iter().position(|p| p.name == changed.name);
                values[position.expect("the initial values are those of the parameters")]
            }
        };
        outputs.push((slot.name.clone(), node));
        params.push(slot);
    }
    let init = Sampler { draws, function: b.finish(base.name.clone(), outputs) };
    Model { init, params, compose: Some(compose(model, groups)), ..model.clone() }
}

/// The parameters as the model uses them: those that groups change, as functions of all parameters.
pub(super) fn compose(model: &Model, groups: &[AddedGroup]) -> Function {
    let mut b = Builder::new();
    let mut outputs = Vec::new();
    for base in &model.params {
        let mut value: Option<NodeId> = None;
        for group in groups.iter().filter(|g| g.on.contains(&base.name)) {
            let own = group.slots(model).filter(|(changed, ..)| changed.name == base.name);
            let parts: Vec<NodeId> = own.map(|(_, slot, _)| b.input(slot.name, &slot.dims)).collect();
            let before = value.unwrap_or_else(|| b.input(base.name.clone(), &base.dims));
            value = Some(group.how.compose(&mut b, before, &parts));
        }
        outputs.extend(value.map(|node| (base.name.clone(), node)));
    }
    b.finish("compose", outputs)
}
