//! `adapt = ...`: none, one block, or several in order.

use super::calls::Names;
use crate::catalog::{Budget, Kind, Solver};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::Block;
use crate::syntax::ast::{Expr, ExprKind};

/// A checked adaptation.
pub(super) struct Adaptation {
    pub blocks: Vec<Block>,
    /// The place of each block.
    pub spans: Vec<Span>,
}

/// `none`, one block, or a list of blocks.
pub(super) fn adaptation(expr: &Expr, names: &Names, sink: &mut Sink) -> Option<Adaptation> {
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let found: Vec<Option<Option<Block>>> = items.iter().map(|e| block(e, names, sink)).collect();
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
fn block(expr: &Expr, names: &Names, sink: &mut Sink) -> Option<Option<Block>> {
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
    Some(Some(Block { on, solver, budget, batch: call.args.count("batch") }))
}
