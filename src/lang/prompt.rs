//! Where a prompt stands: at an input of the model, or at a value that the model names by `let`, such as the embedding of its
//! tokens. In the latter case the model falls into two programs: what comes before the value, and what comes behind it.

use super::arm::Checked;
use super::calls::Call;
use super::constant::Constants;
use super::dims::{Dim, Types, describe, sizes};
use super::model::{PREDICTION, body, known, model_of, named_value, param_types};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::Function;
use crate::plan::Slot;
use crate::syntax::ast::{Expr, ExprKind, ItemKind, Model};

/// The place of a prompt.
pub(super) struct Place {
    /// The input or value that the prompt changes.
    pub slot: Slot,
    /// The value from the model's inputs; `None` where it is an input itself.
    pub before: Option<Function>,
    /// The prediction from the value; `None` where it is the model as it is.
    pub behind: Option<Function>,
    /// The rows of the prediction that stand for the prompt's own and are left out.
    pub cut: usize,
}

/// The place that a call of `prompt` names; `first` says whether no other group has changed the prediction.
pub(super) fn place(item: &Expr, call: &Call, first: bool, checked: &Checked, sink: &mut Sink) -> Option<Place> {
    let (name, inputs) = (call.args.word("on"), &checked.model.inputs);
    let constants = Constants::collect(&checked.items, &mut Sink::new());
    let source = &model_of(&checked.items, &constants)?;
    let plan = checked.model.plan.as_ref()?;
    let declared = source.lets.iter().find(|decl| decl.name.text == name);
    let (dims, before) = match (inputs.get(name), declared) {
        (Some(dims), _) => {
            if !plan.forward.inputs.iter().any(|port| port.name == name) {
                let error = Diagnostic::error("E0544", item.span, format!("`prompt` cannot be added to `{name}`"));
                sink.push(error.help(format!("the prediction does not read `{name}`")));
                return None;
            }
            (dims.clone()?, None)
        }
        (None, Some(decl)) => {
            let known = known(source, &constants);
            let value = named_value(source, &decl.name, &known, &constants, &mut Sink::new());
            if value.is_none() {
                let label = format!("`{name}` cannot be computed by itself");
                sink.push(refusal(item.span, name, label, "name another value, or an input"));
            }
            let (dims, before) = value?;
            (dims, Some(before))
        }
        (None, None) => {
            let known = inputs.keys().chain(source.lets.iter().map(|decl| &decl.name.text));
            let known: Vec<&str> = known.map(String::as_str).collect();
            let error = Diagnostic::error("E0232", item.span, format!("the model has no input `{name}`"));
            sink.push(
                error.help(format!("a prompt changes an input, or a value named by `let`: {}", known.join(", "))),
            );
            return None;
        }
    };
    let slot = Slot { name: name.to_owned(), dims: sizes(&dims) };
    let length = call.args.count("length").map(|length| length as usize).filter(|_| dims.len() > 1);
    if before.is_none() && length.is_none() {
        return Some(Place { slot, before: None, behind: None, cut: 0 });
    }
    if !first {
        sink.push(refusal(
            item.span,
            name,
            "another group changes the model first".into(),
            "list this one before all others",
        ));
        return None;
    }
    let (behind, cut) = rest(item.span, name, dims, length, checked, sink)?;
    Some(Place { slot, before, behind: Some(behind), cut })
}

fn refusal(span: Span, name: &str, label: String, help: &str) -> Diagnostic {
    let message = format!("no prompt can stand before `{name}`");
    Diagnostic::error("E0558", span, message).label(label).help(help)
}

/// The prediction from an input or a value that has other rows before its own, and how many rows of it stand for these.
fn rest(
    span: Span,
    name: &str,
    mut dims: Vec<Dim>,
    length: Option<usize>,
    checked: &Checked,
    sink: &mut Sink,
) -> Option<(Function, usize)> {
    let mut items = checked.items.clone();
    let mut rows: Option<String> = None;
    if let (Some(length), Some(first)) = (length, dims.first_mut()) {
        let Some(dim) = first.name.clone() else {
            let help = "give the rows a dim of their own: `dim s = 20` and `x: [s, d]`";
            sink.push(refusal(span, name, format!("`{name}` has rows without a name"), help));
            return None;
        };
        first.size += length;
        for item in &mut items {
            if let ItemKind::Dim { name, value } = &mut item.kind
                && name.text == dim
            {
                value.kind = ExprKind::Number(first.size as f64);
            }
        }
        rows = Some(dim);
    }
    let mut found = Sink::new();
    let constants = Constants::collect(&items, &mut found);
    let source = &model_of(&items, &constants)?;
    let params = param_types(source, &constants, &mut found);
    let output = super::dims::read_dims(&source.output, &constants, &mut found)?;
    let mut known = known(source, &constants);
    known.insert(name.to_owned(), Some(dims));
    let lets = source.lets.iter().filter(|decl| decl.name.text != name).cloned().collect();
    let behind = body(&Model { lets, ..source.clone() }, &PREDICTION, &known, Some(&output), &constants, &mut found);

    let same = |a: &Types, b: &Types| {
        a.values().map(|d| d.as_deref().map(sizes)).eq(b.values().map(|d| d.as_deref().map(sizes)))
    };
    let before = checked.model.output.as_ref()?;
    let longer_rows = output.first().is_some_and(|dim| dim.name.is_some() && dim.name == rows);
    let cut = if longer_rows { length.unwrap_or(0) } else { 0 };
    let predicts_alike =
        sizes(&output).get(usize::from(longer_rows)..) == sizes(before).get(usize::from(longer_rows)..);
    // Whatever else is read, such as another input, must be as long as it was.
    let unread = |f: &Function| {
        f.inputs.iter().all(|port| {
            port.name == name
                || checked
                    .model
                    .inputs
                    .get(&port.name)
                    .is_none_or(|dims| dims.as_deref().map(sizes).as_deref() == Some(f.dims(port.node)))
        })
    };
    let fits = !found.has_errors() && same(&params, &checked.model.params) && predicts_alike;
    // Values before it may read inputs, too; what comes behind has no use for these.
    let behind = behind.map(|(behind, _)| if unread(&behind) { behind } else { behind.without_unread(|_| false) });
    match behind.filter(|behind| fits && unread(behind)) {
        Some(behind) if behind.inputs.iter().any(|port| port.name == name) => Some((behind, cut)),
        Some(_) => {
            sink.push(refusal(
                span,
                name,
                format!("the prediction does not read `{name}`"),
                "name something that it reads",
            ));
            None
        }
        None => {
            let label = match rows {
                Some(rows) => format!(
                    "with another `{rows}` the model has other parameters, inputs or a prediction other than {}",
                    describe(before)
                ),
                None => "the prediction cannot be computed from it".to_owned(),
            };
            sink.push(refusal(
                span,
                name,
                label,
                "only what the prompt changes, and what is computed of it, may have that dim",
            ));
            None
        }
    }
}
