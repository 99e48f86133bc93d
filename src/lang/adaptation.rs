//! `adapt = ...`: none, one block, or several in order.

use super::calls::Names;
use crate::catalog::{Arg, Args, Budget, Kind, Solver};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Anchor, Block, Model, Toward, rates_fit};
use crate::syntax::ast::{Expr, ExprKind};

/// A checked adaptation.
pub(super) struct Adaptation {
    pub blocks: Vec<Block>,
    /// The place of each block.
    pub spans: Vec<Span>,
}

/// `none`, one block, or a list of blocks, of a model that may have a mistake of its own.
pub(super) fn adaptation(expr: &Expr, model: Option<&Model>, names: &Names, sink: &mut Sink) -> Option<Adaptation> {
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let found: Vec<Option<Option<Block>>> = items.iter().map(|e| block(e, model, names, sink)).collect();
    let (mut blocks, mut spans) = (vec![], vec![]);
    for (item, block) in items.iter().zip(found) {
        if let Some(block) = block? {
            blocks.push(block);
            spans.push(item.span);
        }
    }
    Some(Adaptation { blocks, spans })
}

/// `Some(None)` is `none`.
fn block(expr: &Expr, model: Option<&Model>, names: &Names, sink: &mut Sink) -> Option<Option<Block>> {
    let call = names.call(Kind::Adaptation, expr, sink)?;
    if call.entry.name == "none" {
        return Some(None);
    }
    let on = call.args.names("on");
    if on.is_empty() {
        sink.push(
            Diagnostic::error("E0507", expr.span, format!("`{}` adapts no parameters", call.entry.name))
                .help("name some, or write `adapt = none`"),
        );
        return None;
    }
    let solver = Solver::from_args(call.entry.name, &call.args);
    let budget = match (call.args.count("steps"), call.args.count("epochs"), &solver) {
        (None, None, Solver::ClosedForm { .. }) => Budget::Steps { count: 1 },
        (Some(count), None, _) => Budget::Steps { count },
        (None, Some(count), _) => Budget::Epochs { count },
        (Some(_), Some(_), _) => {
            sink.push(
                Diagnostic::error("E0413", expr.span, "`steps` and `epochs` cannot both be given")
                    .help("`steps` counts single steps, `epochs` passes over the task's examples"),
            );
            return None;
        }
        (None, None, _) => {
            let epochs = call.entry.params.iter().any(|p| p.name == "epochs");
            let either = if epochs { " or `epochs`" } else { "" };
            sink.push(
                Diagnostic::error("E0407", expr.span, format!("`{}` needs `steps`{either}", call.entry.name))
                    .help(format!("for example `{}`", call.entry.example)),
            );
            return None;
        }
    };
    let toward = toward(expr.span, &on, model, &call.args, sink)?;
    let (without, batch) = (call.args.names("without"), call.args.count("batch"));
    let rates = match call.args.get("rate") {
        Some(Arg::Rate(rate)) => rate.learned.clone(),
        _ => vec![],
    };
    if let Some(model) = model.filter(|model| !rates_fit(model, &on, &rates)) {
        let shapes = |names: &[String]| described(model, names);
        sink.push(
            Diagnostic::error("E0550", expr.span, "a learned step size is a scalar, or has the shape of what it moves")
                .label(format!("{} at the rates {}", shapes(&on), shapes(&rates)))
                .help("one for each parameter: `with = rates(on: w, start: 0.1)` and `gradient(w, rate: rates)`"),
        );
        return None;
    }
    Some(Some(Block { on, solver, budget, batch, without, toward, rates }))
}

/// The proximal term of a block; `Some(None)` where it has none.
fn toward(span: Span, on: &[String], model: Option<&Model>, args: &Args, sink: &mut Sink) -> Option<Option<Toward>> {
    let (anchor, weight) = match (args.get("toward"), args.get("weight")) {
        (None, None) => return Some(None),
        (Some(anchor), Some(_)) => (anchor, args.real("weight")),
        (given, _) => {
            let lacks = if given.is_some() { "weight" } else { "toward" };
            sink.push(
                Diagnostic::error("E0407", span, format!("a block that holds parameters near others needs `{lacks}`"))
                    .help("for example `gradient(w, rate: 0.1, steps: 5, toward: start, weight: 0.01)`"),
            );
            return None;
        }
    };
    let Arg::Names(names) = anchor else { return Some(Some(Toward { anchor: Anchor::Start, weight })) };
    let Some(model) = model else { return Some(None) };
    let dims = |names: &[String]| model.positions(names).into_iter().map(|i| &model.params[i].dims).collect::<Vec<_>>();
    if dims(on) != dims(names) || names.iter().any(|name| on.contains(name)) {
        sink.push(
            Diagnostic::error(
                "E0547",
                span,
                "each parameter is held near one of its own shape that does not move with it",
            )
            .label(format!("{} toward {}", described(model, on), described(model, names)))
            .help("for example `toward: start`, or `sgd(personal, ..., toward: w)` with `with = personal(on: w)`"),
        );
        return None;
    }
    Some(Some(Toward { anchor: Anchor::Params { names: names.clone() }, weight }))
}

/// `B [20, 3], w [3]`
fn described(model: &Model, names: &[String]) -> String {
    let slots = model.positions(names).into_iter().map(|i| &model.params[i]);
    slots.map(|slot| format!("{} {:?}", slot.name, slot.dims)).collect::<Vec<_>>().join(", ")
}
