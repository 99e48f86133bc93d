//! What a section minimises, and whether the model, the loss and the examples of the tasks fit together.

use super::adaptation::is_in_context;
use super::arm::Checked;
use super::calls::Names;
use super::dims::{describe, describe_sizes, same, same_sizes, sizes};
use super::family::CheckedFamily;
use super::fields::Fields;
use super::seen::Seen;
use crate::catalog::{self, Kind, Loss};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::Objective;
use crate::syntax::ast::{Expr, ExprKind};

/// What `loss = ...` says.
#[derive(Debug, Clone)]
pub(super) enum Stated<'e> {
    Risk,
    Entry(Loss),
    /// A formula of the example's variables, in which the model is a function.
    Expression(&'e Expr),
}

/// Reads a loss.
pub(super) fn loss<'e>(expr: &'e Expr, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<Stated<'e>> {
    if is_expression(expr, checked, names) {
        return Some(Stated::Expression(expr));
    }
    let call = names.call(Kind::Loss, expr, sink)?;
    Some(Loss::find(call.entry.name).map_or(Stated::Risk, Stated::Entry))
}

/// Whether something is a formula and no name of the catalog: it has an operator, or calls a function.
pub(super) fn is_expression(expr: &Expr, checked: &Checked, names: &Names) -> bool {
    match &expr.kind {
        ExprKind::Neg(_) | ExprKind::Binary(..) => true,
        ExprKind::Call { callee, .. } => {
            let is_model = checked.callable.as_ref().is_some_and(|model| model.name == callee.text);
            let is_function = names.constants.functions.contains_key(&callee.text);
            is_model || is_function || catalog::find(Kind::Function, &callee.text).is_some()
        }
        _ => false,
    }
}

/// The objective of a section. `measures` says whether it is an evaluation's, for
/// which clients are measured on what is held out.
pub(super) fn objective(
    fields: &Fields,
    loss: &Stated,
    mut seen: Seen,
    measures: bool,
    sink: &mut Sink,
) -> Option<Objective> {
    let Seen { family, checked, names, .. } = seen;
    let in_context = fields.get("adapt").is_some_and(|field| is_in_context(&field.value));
    if matches!(loss, Stated::Risk) {
        if in_context {
            let message = "under a risk there is no support set to read";
            sink.push(Diagnostic::error("E0561", fields.span("adapt"), message).help("choose a loss of examples"));
            return None;
        }
        return risk(fields, family, sink);
    }
    let ways = family.plan.source.as_ref().and_then(|source| source.ways);
    let held_out = measures && family.plan.source.is_some() && ways.is_none();
    let parts = match (fields.get("split"), &family.plan.source) {
        (Some(field), _) => split(&field.value, held_out, names, sink),
        (None, Some(_)) if ways.is_none() => Some((0, 0)),
        (None, _) => {
            let both = match ways {
                None => "tasks that are drawn need the number of examples to adapt on and to measure",
                Some(_) => "tasks with `ways` need the number of examples of each class to adapt on and to measure",
            };
            sink.push(fields.missing("split").help(format!("{both}: `split = {{ support: 10, query: 10 }}`")));
            None
        }
    };
    // With `ways`, a split counts the examples of each class.
    let each = ways.unwrap_or(1);
    let parts = parts.map(|(support, query)| (support.saturating_mul(each), query.saturating_mul(each)));
    seen.support = parts.map(|(support, _)| support).filter(|_| in_context);
    let loss = match loss {
        Stated::Expression(_) | Stated::Entry(_) if in_context && parts.is_none() => None,
        Stated::Entry(loss) => check_example(loss, &seen, fields, sink).map(|()| loss.clone()),
        Stated::Expression(_) if family.example.is_empty() => {
            sink.push(no_examples(fields.span("tasks"), "a formula", &family.plan.name));
            None
        }
        Stated::Expression(expr) => seen.check_context(fields, sink).and_then(|()| seen.loss(expr, sink)),
        Stated::Risk => None,
    };
    if let Some(Loss::Expression { function }) = &loss
        && !measures
        && !function.inputs.iter().any(|port| checked.model.params.contains_key(&port.name))
    {
        sink.push(
            Diagnostic::error("E0713", fields.span("loss"), "this loss does not depend on the model")
                .help("call the model in it, as in `(net(x) - y) ^ 2`"),
        );
        return None;
    }
    let ((support, query), loss) = (parts?, loss?);
    Some(Objective::Sample { loss, support, query })
}

fn risk(fields: &Fields, family: &CheckedFamily, sink: &mut Sink) -> Option<Objective> {
    if family.plan.risk.is_none() && !family.risk_is_wrong {
        sink.push(
            Diagnostic::error("E0508", fields.span("loss"), format!("`{}` declares no `risk`", family.plan.name))
                .help("write the closed form into the `tasks` block: `risk = ...`, or choose a loss of examples"),
        );
        return None;
    }
    if let Some(split) = fields.get("split") {
        sink.push(
            Diagnostic::error("E0509", split.path_span(), "there is nothing to split under a risk")
                .help("a risk is an expectation over all examples; leave `split` out, or choose a loss of examples"),
        );
    }
    Some(Objective::Risk)
}

/// `{ support: 10, query: 10 }`: the two numbers. Where queries are held out, only `support` can be chosen.
fn split(expr: &Expr, held_out: bool, names: &Names, sink: &mut Sink) -> Option<(u64, u64)> {
    let example = if held_out { "`split = { support: 10 }`" } else { "`split = { support: 10, query: 10 }`" };
    let entries = match &expr.kind {
        ExprKind::Record(entries) => entries,
        ExprKind::Error => return None,
        _ => {
            sink.push(
                Diagnostic::error("E0412", expr.span, "`split` says how many examples a task gets")
                    .help(format!("for example {example}")),
            );
            return None;
        }
    };
    let (mut fine, mut support, mut query) = (true, None, None);
    for (i, (key, value)) in entries.iter().enumerate() {
        let slot = match key.text.as_str() {
            "support" => &mut support,
            "query" => &mut query,
            _ => {
                fine = false;
                let error = Diagnostic::error("E0405", key.span, format!("`split` has no part `{}`", key.text));
                sink.push(error.suggest(key.span, &key.text, ["support", "query"]));
                continue;
            }
        };
        if let Some((first, _)) = entries[..i].iter().find(|(k, _)| k.text == key.text) {
            fine = false;
            sink.push(
                Diagnostic::error("E0406", key.span, format!("`{}` is given twice", key.text))
                    .related(first.span, "first given here"),
            );
        } else if held_out && key.text == "query" {
            sink.push(
                Diagnostic::warning("W0501", key.span, "`query` has no effect here")
                    .help("clients are measured on all examples that `hold_out` keeps from training"),
            );
        }
        *slot = names.constants.count(value, 1, &format!("`{}`", key.text), sink);
        fine &= slot.is_some();
    }
    let missing = if support.is_none() { Some("support") } else { (query.is_none() && !held_out).then_some("query") };
    if let (true, Some(part)) = (fine, missing) {
        sink.push(
            Diagnostic::error("E0407", expr.span, format!("`split` needs `{part}`"))
                .help(format!("for example {example}")),
        );
        fine = false;
    }
    fine.then(|| Some((support?, if held_out { 0 } else { query? }))).flatten()
}

fn no_examples(tasks: Span, loss: &str, family: &str) -> Diagnostic {
    Diagnostic::error("E0510", tasks, format!("{loss} is a loss of examples, and `{family}` draws none"))
        .help("add an `example { ... }` block to the tasks, or use `loss = risk`")
}

/// The model must fit the family's examples, and the loss the target `y`.
fn check_example(loss: &Loss, seen: &Seen, fields: &Fields, sink: &mut Sink) -> Option<()> {
    let Seen { family, checked, .. } = seen;
    let name = &family.plan.name;
    let tasks = fields.span("tasks");
    if family.example.is_empty() {
        sink.push(no_examples(tasks, &format!("`{}`", loss.name()), name));
        return None;
    }
    seen.check_context(fields, sink)?;
    let mut fine = Some(());
    for (input, dims) in &checked.model.inputs {
        let at = checked.input_span(input);
        match seen.variable(input) {
            Some(found) => {
                let (Some(found), Some(dims)) = (&found, dims) else { continue };
                if same(found, dims) {
                    continue;
                }
                let error = Diagnostic::error(
                    "E0316",
                    at,
                    format!("the model cannot read `{input}` of `{name}`: the dims differ"),
                )
                .label(format!("the model reads {}", describe_sizes(dims)))
                .related(tasks, format!("here `{input}` is {}", describe_sizes(found)));
                let equal = same_sizes(found, dims);
                sink.push(if equal { error.help("the sizes are equal, but dims agree by name") } else { error });
            }
            None => {
                let known: Vec<&str> = family.example.keys().map(String::as_str).collect();
                sink.push(
                    Diagnostic::error(
                        "E0315",
                        at,
                        format!("the model reads `{input}`, which the examples of `{name}` do not have"),
                    )
                    .related(tasks, format!("an example of these tasks has {}", known.join(", ")))
                    .help("an input of the model is a variable of the example, by name"),
                );
            }
        }
        fine = None;
    }
    let Some(target) = family.example.get("y") else {
        sink.push(
            Diagnostic::error("E0529", tasks, format!("the examples of `{name}` have no target `y`"))
                .help("the variable that a loss compares the prediction with is called `y`"),
        );
        return None;
    };
    let (output, target) = (&seen.whole.callable.as_ref()?.output, target.as_ref()?);
    let reason = loss.refuses(&sizes(output), &sizes(target));
    let renamed = *loss != Loss::CrossEntropy && !same(output, target);
    let reason = reason.or_else(|| renamed.then(|| "the sizes are equal, but dims agree by name".to_owned()));
    if let Some(reason) = reason {
        sink.push(
            Diagnostic::error(
                "E0309",
                fields.span("loss"),
                format!("`{}` does not fit the model and the examples of `{name}`", loss.name()),
            )
            .label(format!("the model predicts {}, the target `y` is {}", describe(output), describe(target)))
            .help(reason),
        );
        return None;
    }
    fine
}
