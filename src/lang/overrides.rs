//! Overrides: one mechanism, a path and a value, for arms and the command line alike.
//!
//! `train.steps`, `evaluate.test.adapt`, `tasks.clients.hold_out` name fields; `train.adapt.rate` names an argument of the
//! call that a field holds; a single name is a `dim` or a `let`. The override is made on the syntax tree, so what it
//! leads to is checked, and explained, like everything else.

use crate::catalog::{self, Kind};
use crate::diag::{Diagnostic, Sink};
use crate::syntax::ast::{Arg, Expr, ExprKind, Field, Item, ItemKind, Name};

/// Applies an override to the items of an experiment.
pub(super) fn apply(items: &mut [Item], field: &Field, sink: &mut Sink) {
    let path = field.path.as_slice();
    let Some(head) = path.first() else { return };
    let found = match path {
        [name] => constant(items, name),
        [_, rest @ ..] if head.text == "train" => section(items, "train", None).map(|fields| (fields, rest)).map(Target::Field),
        [_, name, rest @ ..] if head.text == "evaluate" && !rest.is_empty() => {
            section(items, "evaluate", Some(name)).map(|fields| (fields, rest)).map(Target::Field)
        }
        [_, name, rest @ ..] if head.text == "tasks" && !rest.is_empty() => task_fields(items, name).map(|fields| (fields, rest)).map(Target::Field),
        _ => None,
    };
    match found {
        Some(Target::Constant(value)) => *value = field.value.clone(),
        Some(Target::Field((fields, rest))) => set(fields, rest, field, sink),
        None => {
            let text: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
            sink.push(
                Diagnostic::error("E0213", field.path_span(), format!("`{}` names nothing that can be overridden", text.join(".")))
                    .help("an override names a field (`train.steps`, `evaluate.test.adapt`, `tasks.clients.hold_out`), an argument of its call (`train.adapt.rate`), a `dim` or a `let`"),
            );
        }
    }
}

enum Target<'i, 'p> {
    Constant(&'i mut Expr),
    Field((&'i mut Vec<Field>, &'p [Name])),
}

fn constant<'i, 'p>(items: &'i mut [Item], name: &Name) -> Option<Target<'i, 'p>> {
    items.iter_mut().find_map(|item| match &mut item.kind {
        ItemKind::Dim { name: n, value } | ItemKind::Let { name: n, value } if n.text == name.text => Some(Target::Constant(value)),
        _ => None,
    })
}

fn section<'i>(items: &'i mut [Item], keyword: &str, name: Option<&Name>) -> Option<&'i mut Vec<Field>> {
    items.iter_mut().find_map(|item| match &mut item.kind {
        ItemKind::Section(s) if s.keyword.text == keyword && s.name.as_ref().map(|n| &n.text) == name.map(|n| &n.text) => Some(&mut s.fields),
        _ => None,
    })
}

fn task_fields<'i>(items: &'i mut [Item], name: &Name) -> Option<&'i mut Vec<Field>> {
    items.iter_mut().find_map(|item| match &mut item.kind {
        ItemKind::Tasks(t) if t.name.text == name.text => Some(&mut t.fields),
        _ => None,
    })
}

/// Sets `steps`, or the argument `adapt.rate` of the call that `adapt` holds.
fn set(fields: &mut Vec<Field>, rest: &[Name], field: &Field, sink: &mut Sink) {
    let name = &rest[0];
    let existing = fields.iter_mut().find(|f| f.path.len() == 1 && f.path[0].text == name.text);
    match (existing, rest) {
        (Some(existing), [_]) => existing.value = field.value.clone(),
        (None, [_]) => fields.push(Field { path: vec![name.clone()], value: field.value.clone() }),
        (Some(existing), [_, key]) => set_argument(&mut existing.value, key, field, sink),
        _ => sink.push(
            Diagnostic::error("E0214", field.path_span(), format!("`{}` holds no call whose argument could be overridden", name.text))
                .help(format!("override the whole field: `{} = ...`", name.text)),
        ),
    }
}

fn set_argument(target: &mut Expr, key: &Name, field: &Field, sink: &mut Sink) {
    if let ExprKind::Record(entries) = &mut target.kind {
        match entries.iter_mut().find(|(k, _)| k.text == key.text) {
            Some((_, value)) => *value = field.value.clone(),
            None => entries.push((key.clone(), field.value.clone())),
        }
        return;
    }
    let ExprKind::Call { callee, args } = &mut target.kind else {
        let what = if matches!(target.kind, ExprKind::List(_)) { "a list of blocks" } else { "not a call" };
        sink.push(
            Diagnostic::error("E0214", field.path_span(), format!("`{}` cannot be overridden: the field is {what}", key.text))
                .related(target.span, "the field is set here")
                .help("override the whole field"),
        );
        return;
    };
    // A positional argument is found by the order of the entry's parameters, whatever kind of entry it is.
    let kinds = [Kind::Adaptation, Kind::Outer, Kind::Update, Kind::Tasks, Kind::Partition, Kind::Data];
    let position = kinds
        .iter()
        .filter_map(|&kind| catalog::find(kind, &callee.text))
        .find_map(|entry| entry.params.iter().position(|p| p.name == key.text));
    let keyed = args.iter().position(|a| a.key.as_ref().is_some_and(|k| k.text == key.text));
    let positional = position.filter(|&i| args.get(i).is_some_and(|a| a.key.is_none()) && args[..i].iter().all(|a| a.key.is_none()));
    match keyed.or(positional) {
        Some(i) => args[i].value = field.value.clone(),
        None => args.push(Arg { key: Some(key.clone()), value: field.value.clone() }),
    }
}
