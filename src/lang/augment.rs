//! `augment = ..` and `turns = ..`: how examples are changed before a model sees them.

use super::calls::Names;
use super::dims::{describe_sizes, sizes};
use super::family::CheckedFamily;
use super::fields::Fields;
use crate::catalog::{Augmentation, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{ExprKind, Field};

/// The changes that a section makes of the examples of its tasks: `none`, one, or a list of them.
pub(super) fn changes(
    fields: &Fields,
    family: Option<&CheckedFamily>,
    names: &Names,
    sink: &mut Sink,
) -> Option<Vec<Augmentation>> {
    let Some(field) = fields.get("augment") else { return Some(vec![]) };
    let items = match &field.value.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&field.value),
    };
    let mut found = vec![];
    for item in items {
        let call = names.call(Kind::Augmentation, item, sink)?;
        let Some(change) = Augmentation::from_args(call.entry.name, &call.args) else { continue };
        // A mistake in the tasks has been reported.
        let family = family?;
        if family.plan.source.is_none() {
            let message = format!("the examples of `{}` are drawn as they are", family.plan.name);
            sink.push(
                Diagnostic::error("E0614", item.span, message)
                    .related(fields.span("tasks"), "these are no examples of a data set")
                    .help("write the change into their law: `x: [d] = image + 0.1 * normal`"),
            );
            return None;
        }
        if let Some(Some(dims)) = family.example.get("x")
            && let Some(reason) = change.refuses(&sizes(dims))
        {
            let message = format!("`{}` does not fit the examples of `{}`", call.entry.name, family.plan.name);
            let error = Diagnostic::error("E0614", item.span, message);
            sink.push(error.label(format!("their `x` is {}", describe_sizes(dims))).help(reason));
            return None;
        }
        found.push(change);
    }
    Some(found)
}

/// The classes that each class stands for, where `turns` says it; `x` has these dims.
pub(super) fn turns(
    field: Option<&Field>,
    (ways, from): (Option<u64>, Span),
    dims: &[super::dims::Dim],
    names: &Names,
    sink: &mut Sink,
) -> Option<u64> {
    let Some(field) = field else { return Some(1) };
    let turns = names.constants.count(&field.value, 1, "`turns`", sink)?;
    let refuse = |message: &str, help: &str| Diagnostic::error("E0615", field.value.span, message).help(help);
    if !matches!(turns, 1 | 2 | 4) {
        let help = "`turns = 4` for quarter turns, `turns = 2` for half a turn";
        sink.push(refuse("a class stands for one, two or four", help));
        return None;
    }
    if ways.is_none() {
        let help =
            "with `ways`, every visit numbers its classes anew; a change of examples is `augment = rotate` in `train`";
        sink.push(refuse("a turned class is another one only where visits number them", help));
        return None;
    }
    if turns > 1
        && let Some(reason) = Augmentation::refuses_turns(&sizes(dims))
    {
        let error = Diagnostic::error("E0614", field.value.span, "these examples cannot be turned");
        let label = format!("`x` of these examples is {}", describe_sizes(dims));
        sink.push(error.related(from, label).help(reason));
        return None;
    }
    Some(turns)
}
