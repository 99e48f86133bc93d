//! Overrides: one mechanism, a path and a value, for arms and the command line alike.
//!
//! `train.steps`, `evaluate.test.adapt`, `tasks.clients.hold_out` name fields; `train.adapt.rate` names an argument of the
//! call that a field holds; a single name is a `dim` or a `let`. The override is made on the syntax tree, so what it
//! leads to is checked, and explained, like everything else.

use crate::catalog::{self, Kind};
use crate::diag::{Diagnostic, Sink};
use crate::syntax::ast::{Arg, Expr, ExprKind, Field, Item, ItemKind, Name};

/// Reports paths that one arm overrides twice. On a command line the later one wins, so that a default can be replaced.
pub(super) fn check_twice(fields: &[Field], sink: &mut Sink) {
    for (i, field) in fields.iter().enumerate() {
        if let Some(first) = fields[..i].iter().find(|f| text(&f.path) == text(&field.path)) {
            sink.push(
                Diagnostic::error("E0217", field.path_span(), format!("`{}` is set twice", text(&field.path)))
                    .related(first.path_span(), "first set here"),
            );
        }
    }
}

/// What a path names.
enum Target<'i, 'p> {
    /// The value of a `dim` or `let`.
    Constant(&'i mut Expr),
    /// A field, and the rest of the path.
    Field(&'i mut Vec<Field>, &'p [Name]),
}

/// Applies an override to the items of an experiment.
pub(super) fn apply(items: &mut [Item], field: &Field, sink: &mut Sink) {
    let path = field.path.as_slice();
    let known = names(items, path);
    match find(items, path) {
        Some(Target::Constant(value)) => *value = field.value.clone(),
        Some(Target::Field(fields, rest)) => set(fields, rest, field, sink),
        None => {
            let error = Diagnostic::error(
                "E0213",
                field.path_span(),
                format!("`{}` names nothing that can be overridden", text(path)),
            );
            let blocks = ["train", "stage", "evaluate", "tasks"];
            let error = match path {
                [name] => error.suggest(name.span, &name.text, known.iter().map(String::as_str)),
                [head, ..] if !blocks.contains(&head.text.as_str()) => error.suggest(head.span, &head.text, blocks),
                [_, name, ..] => error.suggest(name.span, &name.text, known.iter().map(String::as_str)),
                [] => return,
            };
            sink.push(error.help("an override names a field (`train.steps`, `evaluate.test.adapt`, `tasks.clients.hold_out`), an argument of its call (`train.adapt.rate`), a `dim` or a `let`"));
        }
    }
}

fn text(path: &[Name]) -> String {
    path.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(".")
}

fn find<'i, 'p>(items: &'i mut [Item], path: &'p [Name]) -> Option<Target<'i, 'p>> {
    items.iter_mut().find_map(|item| match (&mut item.kind, path) {
        (ItemKind::Dim { name, value } | ItemKind::Let { name, value }, [only]) => {
            (name.text == only.text).then_some(Target::Constant(value))
        }
        (ItemKind::Section(section), [head, rest @ ..]) if section.keyword.text == head.text => {
            let rest = match (&section.name, rest) {
                (None, rest) => rest,
                (Some(name), [first, rest @ ..]) if name.text == first.text => rest,
                (Some(_), _) => return None,
            };
            (!rest.is_empty()).then_some(Target::Field(&mut section.fields, rest))
        }
        (ItemKind::Tasks(tasks), [head, first, rest @ ..]) => {
            let meant = head.text == "tasks" && tasks.name.text == first.text && !rest.is_empty();
            meant.then_some(Target::Field(&mut tasks.fields, rest))
        }
        _ => None,
    })
}

/// The names that could stand where a path goes wrong: constants and blocks at its start, the blocks of its kind after.
fn names(items: &[Item], path: &[Name]) -> Vec<String> {
    let head = path.first().map(|n| n.text.as_str());
    let name = |item: &Item| match (&item.kind, path.len()) {
        (ItemKind::Dim { name, .. } | ItemKind::Let { name, .. }, 1) => Some(name.text.clone()),
        (ItemKind::Section(s), 2..) if head == Some(&s.keyword.text) => s.name.as_ref().map(|n| n.text.clone()),
        (ItemKind::Tasks(t), 2..) if head == Some("tasks") => Some(t.name.text.clone()),
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

/// Sets `steps`, or the argument `adapt.rate` of the call that `adapt` holds.
fn set(fields: &mut Vec<Field>, rest: &[Name], field: &Field, sink: &mut Sink) {
    let [name, keys @ ..] = rest else { return };
    let existing = fields.iter_mut().find(|f| f.path.len() == 1 && f.path[0].text == name.text);
    match (existing, keys) {
        (Some(existing), []) => *existing = Field { path: vec![name.clone()], value: field.value.clone() },
        (None, []) => fields.push(Field { path: vec![name.clone()], value: field.value.clone() }),
        (Some(existing), [key]) => set_argument(existing, key, field, sink),
        (existing, _) => {
            let what = if existing.is_some() {
                "a path names a field and one argument, no more"
            } else {
                "the field is not set"
            };
            sink.push(
                Diagnostic::error(
                    "E0214",
                    field.path_span(),
                    format!("`{}` names no argument of a call", text(&field.path)),
                )
                .label(what)
                .help(format!(
                    "override the whole field: `{} = ...`",
                    text(&field.path[..field.path.len() - keys.len()])
                )),
            );
        }
    }
}

fn set_argument(target: &mut Field, key: &Name, field: &Field, sink: &mut Sink) {
    let kind = kind_of(&target.path[0].text);
    let value = &mut target.value;
    // A bare name is a call without arguments.
    if let ExprKind::Path(path) = &value.kind
        && let [callee] = path.as_slice()
    {
        value.kind = ExprKind::Call { callee: callee.clone(), args: vec![] };
    }
    match &mut value.kind {
        ExprKind::Record(entries) => match entries.iter_mut().find(|(k, _)| k.text == key.text) {
            Some((_, value)) => *value = field.value.clone(),
            None => entries.push((key.clone(), field.value.clone())),
        },
        ExprKind::Call { callee, args } => {
            // A positional argument is found by the order of the entry's parameters.
            let entry = kind.and_then(|kind| catalog::find(kind, &callee.text));
            let position = entry.and_then(|e| e.params.iter().position(|p| p.name == key.text));
            let plain = |i: usize| args.get(..=i).is_some_and(|args| args.iter().all(|a| a.key.is_none()));
            let keyed = args.iter().position(|a| a.key.as_ref().is_some_and(|k| k.text == key.text));
            match keyed.or(position.filter(|&i| plain(i))) {
                Some(i) => args[i].value = field.value.clone(),
                None => args.push(Arg { key: Some(key.clone()), value: field.value.clone() }),
            }
        }
        ExprKind::Error => {}
        other => {
            let what = if matches!(other, ExprKind::List(_)) {
                "a list of blocks, each with arguments of its own"
            } else {
                "not a call"
            };
            sink.push(
                Diagnostic::error(
                    "E0214",
                    field.path_span(),
                    format!("`{}` names no argument of a call", text(&field.path)),
                )
                .related(value.span, format!("the field is {what}"))
                .help(format!("override the whole field: `{} = ...`", text(&field.path[..field.path.len() - 1]))),
            );
        }
    }
}

/// The kind of entry that a field holds.
pub(super) fn kind_of(field: &str) -> Option<Kind> {
    Some(match field {
        "adapt" => Kind::Adaptation,
        "outer" => Kind::Outer,
        "through" => Kind::Through,
        "update" => Kind::Update,
        "tasks" => Kind::Tasks,
        "partition" => Kind::Partition,
        "loss" => Kind::Loss,
        "with" => Kind::Added,
        "retract" => Kind::Retraction,
        "augment" => Kind::Augmentation,
        _ => return None,
    })
}
