//! `tasks = fresh(...)` and `tasks = pool(...)`: which tasks take part.

use super::arm::Checked;
use super::calls::Names;
use crate::catalog::Kind;
use crate::diag::{Diagnostic, Sink};
use crate::plan::{PoolStratum, TaskSource};
use crate::syntax::ast::Expr;

/// The tasks that a section names.
pub(super) fn task_source(expr: &Expr, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<TaskSource> {
    let call = names.call(Kind::Tasks, expr, sink)?;
    let name = call.args.names("family").pop()?;
    let family = checked.family(&name)?;
    let has_strata = names.families.iter().any(|(f, strata)| *f == name && !strata.is_empty());
    let is_data = family.plan.source.is_some();
    if call.entry.name == "fresh" {
        if is_data {
            let replacement = match call.args.count("count") {
                Some(count) => format!("pool({name}, batch: {count})"),
                None => format!("pool({name})"),
            };
            sink.push(
                Diagnostic::error("E0506", expr.span, format!("no new tasks can be drawn from `{name}`"))
                    .label("these are the clients of a data set, which are always the same")
                    .fix(expr.span, replacement, "let some of them take part in each step"),
            );
            return None;
        }
        return Some(TaskSource::Fresh { family: name, count: call.args.count("count")? });
    }
    let chosen = call.args.names("strata");
    let declared = family.plan.strata.iter().map(|s| PoolStratum { name: s.name.clone(), count: s.count });
    let strata: Vec<PoolStratum> = match (call.args.count("size"), has_strata || is_data) {
        (Some(_), true) => {
            let what = if is_data { "the partition" } else { "the list of strata" };
            sink.push(
                Diagnostic::error(
                    "E0527",
                    expr.span,
                    format!("`size` has no place here: {what} of `{name}` says how many tasks there are"),
                )
                .help("leave out `size`; `batch` is the number of tasks that take part in one step"),
            );
            return None;
        }
        (Some(size), false) => vec![PoolStratum { name: "all".into(), count: size }],
        (None, true) => declared.filter(|s| chosen.is_empty() || chosen.contains(&s.name)).collect(),
        (None, false) => {
            sink.push(
                Diagnostic::error("E0407", expr.span, "`pool` needs `size`")
                    .help(format!(
                        "`{name}` has neither strata nor data, so the number of its tasks is yours to choose"
                    ))
                    .help(format!("for example `pool({name}, size: 100)`")),
            );
            return None;
        }
    };
    let total: u64 = strata.iter().map(|s| s.count).sum();
    let (batch, replace) = (call.args.count("batch").unwrap_or(total), call.args.bool("replace"));
    if batch > total && !replace {
        sink.push(
            Diagnostic::error("E0414", expr.span, format!("`batch` asks for {batch} different tasks of {total}"))
                .help("take fewer, or allow repeats with `replace: true`"),
        );
        return None;
    }
    Some(TaskSource::Pool { family: name, strata, batch, replace })
}
