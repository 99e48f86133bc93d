//! `tasks = fresh(...)` and `tasks = pool(...)`: which tasks take part.

use super::arm::Checked;
use super::calls::Names;
use crate::catalog::{Kind, Weights};
use crate::diag::{Diagnostic, Sink};
use crate::plan::{Family, Objective, PoolStratum, TaskSource};
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
    let law = call.args.weights("law");
    let source = TaskSource::Pool { family: name, strata, batch, replace, law: law.clone() };
    let family = &family.plan;
    (can_sample(&law, family, expr, sink) && weighs_all(&law, &source, family, expr, sink)).then_some(source)
}

/// Whether the tasks of a family have what a law of sampling counts.
fn can_sample(law: &Weights, family: &Family, at: &Expr, sink: &mut Sink) -> bool {
    let (what, help) = match law {
        Weights::Examples if family.source.is_none() => (
            "no examples of their own",
            "the clients of a data set do; drawn tasks are weighed by their strata: `law: { easy: 1, hard: 3 }`",
        ),
        Weights::Episodes if family.source.as_ref().is_none_or(|source| source.ways.is_none()) => (
            "no episodes",
            "`from DATA` and `ways = 5` in the `tasks` block make each visit an episode of five classes",
        ),
        _ => return true,
    };
    let message = format!("the tasks of `{}` have {what} to be sampled by", family.name);
    sink.push(Diagnostic::error("E0563", at.span, message).help(help));
    false
}

/// Whether there are examples where weights count them.
pub(super) fn has_examples(weights: &Weights, objective: &Objective, at: &Expr, sink: &mut Sink) -> bool {
    let none = *weights == Weights::Examples && *objective == Objective::Risk;
    if none {
        let error = Diagnostic::error("E0563", at.span, "a risk has no examples to be weighed by");
        sink.push(error.help("leave out `weights`, or take the loss of examples"));
    }
    !none
}

/// Whether weights by stratum weigh every stratum of the tasks.
pub(super) fn weighs_all(weights: &Weights, tasks: &TaskSource, family: &Family, at: &Expr, sink: &mut Sink) -> bool {
    let Weights::Strata { of } = weights else { return true };
    let strata: Vec<&String> = match tasks {
        TaskSource::Fresh { .. } => family.strata.iter().map(|s| &s.name).collect(),
        TaskSource::Pool { strata, .. } => strata.iter().map(|s| &s.name).collect(),
    };
    let lacks: Vec<String> =
        strata.into_iter().filter(|&s| of.iter().all(|w| w.name != *s)).map(|s| format!("`{s}`")).collect();
    if !lacks.is_empty() {
        let message = format!("{} of `{}` has no weight", lacks.join(" and "), family.name);
        let help = "every stratum that takes part has a weight: `{ easy: 1, hard: 3 }`";
        sink.push(Diagnostic::error("E0564", at.span, message).help(help));
    }
    lacks.is_empty()
}
