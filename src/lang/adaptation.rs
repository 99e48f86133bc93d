//! `adapt = ...`: none, one block, or several in order.

use super::added::Whole;
use super::arm::Checked;
use super::calls::{Call, Names, assign};
use super::dims::{describe, same};
use super::family::CheckedFamily;
use super::seen::Seen;
use super::train::MAX_UNROLLED;
use crate::catalog::{Arg, Args, Budget, Entry, Kind, Solver, Through};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Ahead, Anchor, Block, Model, Rows, Toward, rates_fit};
use crate::syntax::ast::{self, Expr, ExprKind};

/// A checked adaptation.
pub(super) struct Adaptation {
    pub blocks: Vec<Block>,
    /// The place of each block.
    pub spans: Vec<Span>,
}

/// What an adaptation works on: a model, and tasks; each may have a mistake of its own.
pub(super) struct Around<'a> {
    pub whole: &'a Whole,
    pub family: Option<&'a CheckedFamily>,
    pub checked: &'a Checked,
    pub names: &'a Names<'a>,
}

/// Whether the model is to read the support set itself.
pub(super) fn is_in_context(expr: &Expr) -> bool {
    expr.single().is_some_and(|name| name.text == "in_context")
}

/// `none`, `in_context`, one block, or a list of blocks.
pub(super) fn adaptation(expr: &Expr, around: &Around, sink: &mut Sink) -> Option<Adaptation> {
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    if let (ExprKind::List(_), Some(item)) = (&expr.kind, items.iter().find(|item| is_in_context(item))) {
        let error = Diagnostic::error("E0561", item.span, "`in_context` is no block: nothing moves");
        sink.push(error.help("write it alone: `adapt = in_context`"));
        return None;
    }
    let found: Vec<Option<Option<Block>>> = items.iter().map(|e| block(e, around, sink)).collect();
    let (mut blocks, mut spans) = (vec![], vec![]);
    for (item, block) in items.iter().zip(found) {
        if let Some(block) = block? {
            blocks.push(block);
            spans.push(item.span);
        }
    }
    Some(Adaptation { blocks, spans })
}

/// `Some(None)` is `none` or `in_context`.
fn block(expr: &Expr, around: &Around, sink: &mut Sink) -> Option<Option<Block>> {
    let model = around.whole.model.as_ref();
    let call = around.names.call(Kind::Adaptation, expr, sink)?;
    if matches!(call.entry.name, "none" | "in_context") {
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
    if matches!(call.entry.name, "mean" | "class_mean") {
        return mean(expr, &call, on, around, sink).map(Some);
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
    let ahead = ahead(expr, call.entry, &call.args, around, sink)?;
    let examples = examples(&call.args);
    Some(Some(Block { on, solver, budget, batch, without, toward, rates, ahead, examples }))
}

/// The support examples that a block sees, where it names some.
fn examples(args: &Args) -> Option<Rows> {
    args.get("examples").is_some().then(|| args.range("examples")).map(|(first, end)| Rows { first, end })
}

/// The argument of a call that the entry's reader leaves to this module.
fn argument<'e>(expr: &'e Expr, entry: &'static Entry, name: &str) -> Option<&'e Expr> {
    let args: &[ast::Arg] = if let ExprKind::Call { args, .. } = &expr.kind { args } else { &[] };
    let assigned = assign(entry, args, expr.span, &mut Sink::new())?;
    entry.params.iter().position(|param| param.name == name).and_then(|i| assigned[i])
}

/// The adaptation after which the loss of a block is taken; `Some(None)` where it has none.
fn ahead(expr: &Expr, entry: &'static Entry, args: &Args, around: &Around, sink: &mut Sink) -> Option<Option<Ahead>> {
    let through = args.get("through").map(|_| args.word("through"));
    let Some(given) = argument(expr, entry, "ahead") else {
        if through.is_some() {
            let error = Diagnostic::error("E0407", expr.span, "a block with `through` needs `ahead`");
            sink.push(error.help("it says what the block's gradient sees of the adaptation `ahead` of its loss"));
            return None;
        }
        return Some(None);
    };
    let adapt = adaptation(given, around, sink)?.blocks;
    let loops = |block: &Block| block.batch.is_some() || matches!(block.budget, Budget::Epochs { .. });
    if adapt.is_empty() || adapt.iter().any(loops) || is_in_context(given) {
        sink.push(
            Diagnostic::error("E0559", given.span, "what is `ahead` of a loss is differentiated, so it is some steps")
                .help("count `steps`, without `batch`: `ahead: gradient(w, rate: 0.1, steps: 1)`"),
        );
        return None;
    }
    let steps = adapt
        .iter()
        .map(|b| if let Budget::Steps { count } = b.budget { count } else { 0 })
        .fold(0, u64::saturating_add);
    if steps > MAX_UNROLLED {
        let message = format!("{steps} steps are too many to differentiate through; the limit is {MAX_UNROLLED}");
        sink.push(Diagnostic::error("E0532", given.span, message).help("every step becomes part of one program"));
        return None;
    }
    let through = if through == Some("first_order") { Through::FirstOrder } else { Through::Exact };
    Some(Some(Ahead { adapt, through }))
}

/// `mean(r, of: ..)` and `class_mean(P, of: ..)`.
fn mean(expr: &Expr, call: &Call, on: Vec<String>, around: &Around, sink: &mut Sink) -> Option<Block> {
    let entry = call.entry;
    let of = argument(expr, entry, "of")?;
    let by_class = entry.name == "class_mean";
    let family = around.family?;
    if family.example.is_empty() {
        let message = format!("`{}` has no examples to take the mean of", family.plan.name);
        sink.push(Diagnostic::error("E0560", expr.span, message).help("declare `example { .. }` in the tasks"));
        return None;
    }
    let reason = "a mean is taken over the examples there are; what is random belongs into `tasks`";
    let Around { whole, checked, names, .. } = *around;
    let (value, function) = Seen { family, whole, checked, names, support: None }.formula(of, reason, sink)?;
    let wrong = |label: String, help: &str| {
        Diagnostic::error("E0560", expr.span, format!("`{}` cannot set this", entry.name)).label(label).help(help)
    };
    if by_class && !matches!(family.example.get("y"), Some(Some(dims)) if dims.is_empty()) {
        sink.push(wrong(
            "the examples have no class number `y: []`".to_owned(),
            "a class mean is over the targets `y`",
        ));
        return None;
    }
    for name in &on {
        let dims = around.whole.types.get(name)?.as_ref()?;
        let rows = if by_class { dims.get(1..) } else { Some(dims.as_slice()) };
        if !rows.is_some_and(|rows| same(rows, &value)) {
            let label = format!("`{name}` is {}, the formula {}", describe(dims), describe(&value));
            let help = if by_class {
                "the parameter has the dims of the formula behind one for the classes, as in `P: [classes, h]`"
            } else {
                "the parameter has the dims of the formula"
            };
            sink.push(wrong(label, help));
            return None;
        }
    }
    let (solver, budget) = (Solver::Mean { of: function, by_class }, Budget::Steps { count: 1 });
    let examples = examples(&call.args);
    Some(Block { on, solver, budget, batch: None, without: vec![], toward: None, rates: vec![], ahead: None, examples })
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
