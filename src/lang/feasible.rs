//! Whether a checked arm can be run: sizes that fit into memory, and closed forms that exist.

use super::evaluate::CheckedEvaluation;
use super::train::CheckedTrain;
use crate::catalog::{Solver, Whose};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Function, Op};
use crate::plan::lower::{ClientSizes, LowerError, lower};
use crate::plan::{Arm, Block, Model, Objective, TaskSource, Train, What};

/// The most entries that the tensors of one step may have: 2 GiB in `f64`, and 8 times less than the programs allow, so
/// that derivatives have room.
const MAX_ENTRIES: u64 = 1 << 28;

/// Reports what of an arm cannot be run.
pub(super) fn check(arm: &Arm, train: &CheckedTrain, evaluations: &[&CheckedEvaluation], sink: &mut Sink) {
    let part = Part {
        source: &arm.train.tasks,
        objective: &arm.train.objective,
        adapt: &arm.train.adapt,
        model: &arm.model,
        averaged: if arm.train.is_local() { arm.moved() } else { vec![] },
        on_others: false,
    };
    check_size(arm, &part, train.tasks, sink);
    for (plan, checked) in arm.evaluations.iter().zip(evaluations) {
        let model = arm.model_of(plan);
        let on_others = |what: &What| match what {
            What::Evaluation { name, query, .. } => *name == plan.name && *query != Whose::Own,
            _ => false,
        };
        let on_others = arm.measures.iter().any(|m| on_others(&m.what));
        let averaged = vec![];
        let part =
            Part { source: &plan.tasks, objective: &plan.objective, adapt: &plan.adapt, model, averaged, on_others };
        check_size(arm, &part, checked.tasks, sink);
    }
    if !sink.has_errors() {
        check_closed_forms(arm, train, evaluations, sink);
    }
}

/// Training, or one evaluation.
struct Part<'a> {
    source: &'a TaskSource,
    objective: &'a Objective,
    adapt: &'a [Block],
    model: &'a Model,
    /// The parameters that are averaged afterwards, of which each task has its own.
    averaged: Vec<usize>,
    /// Whether each task is measured on the examples of all.
    on_others: bool,
}

fn check_size(arm: &Arm, part: &Part, span: Span, sink: &mut Sink) {
    let Some(family) = arm.family(part.source.family()) else { return };
    let (tasks, pool) = (part.source.per_step() as u64, part.source.pool_size().unwrap_or(0) as u64);
    let examples = match part.objective {
        Objective::Risk => 1,
        Objective::Sample { support, query, .. } => {
            let batches = part.adapt.iter().filter_map(|block| block.batch);
            batches.chain([*support, *query]).fold(1, u64::max)
        }
    };
    let variable = |name: &str| {
        family.example.function.outputs.iter().any(|p| p.name == name) || family.source.is_some() && name == "x"
    };
    let own = |name: &str| {
        let adapted = part.adapt.iter().any(|block| block.on.iter().any(|on| on == name));
        adapted
            || arm.train.keep.iter().any(|kept| kept == name)
            || part.model.position(name).is_some_and(|i| part.averaged.contains(&i))
    };
    // What no task moves is there once.
    let shared = |name: &str| part.model.position(name).is_some() && !own(name);
    let (per_task, per_example) = widths(&part.model.forward, variable, shared);
    let drawn = family.strata.iter().map(|s| &s.task.function).chain([&family.episode.function]);
    let risk = family.risk.iter().chain(part.model.added.iter().map(|group| &group.compose));
    let per_task = drawn.chain(risk).map(|f| widths(f, |_| false, shared).0).fold(per_task, u64::max);
    let per_example = widths(&family.example.function, |_| false, |_| false).0.max(per_example);
    let solved = part.adapt.iter().filter(|b| matches!(b.solver, Solver::ClosedForm { .. }));
    let solved = solved.map(|b| entries(part.model, &b.on)).max().unwrap_or(0);
    let largest = [
        pool.saturating_mul(per_task),
        tasks.saturating_mul(per_task),
        tasks.saturating_mul(examples).saturating_mul(per_example),
        if part.on_others {
            tasks.saturating_mul(tasks).saturating_mul(examples).saturating_mul(per_example)
        } else {
            0
        },
        tasks.saturating_mul(solved).saturating_mul(solved),
        tasks.saturating_mul(solved).saturating_mul(examples).saturating_mul(per_example),
    ];
    let largest = largest.into_iter().max().unwrap_or(0);
    if largest > MAX_ENTRIES {
        let mut error = Diagnostic::error("E0533", span, "these tasks are too large to be held in memory")
            .label(format!("{tasks} tasks at a time, {examples} examples each"));
        if part.on_others {
            error =
                error.help("each of them is measured on the examples of all: leave `query` out, or take fewer tasks");
        }
        if pool > tasks {
            error = error.help(format!("the pool has {pool} tasks"));
        }
        if solved > 0 {
            error =
                error.help(format!("a closed form solves for {solved} numbers in every task, and for their curvature"));
        }
        sink.push(error.help(format!("the largest tensor would have {largest} entries; the limit is 2^28")));
    }
}

/// The number of entries of some parameters.
fn entries(model: &Model, names: &[String]) -> u64 {
    let slots = model.positions(names).into_iter().map(|i| &model.params[i]);
    slots.map(|slot| product(&slot.dims)).fold(0, u64::saturating_add)
}

fn product(dims: &[usize]) -> u64 {
    dims.iter().fold(1, |n, &d| n.saturating_mul(d as u64))
}

/// The largest tensors of a program: of those that each task has, and of those that each example has, which depend on an input that
/// `varies` names. What depends on `shared` inputs alone belongs to neither.
fn widths(f: &Function, varies: impl Fn(&str) -> bool, shared: impl Fn(&str) -> bool) -> (u64, u64) {
    let mut levels: Vec<usize> = Vec::with_capacity(f.nodes.len());
    let mut widths = [1, 1, 1];
    for node in &f.nodes {
        let level = match node.op {
            Op::Input { index, .. } if varies(&f.inputs[index].name) => 2,
            Op::Input { index, .. } if !shared(&f.inputs[index].name) => 1,
            _ => node.args.iter().map(|a| levels[a.index()]).max().unwrap_or(0),
        };
        levels.push(level);
        widths[level] = product(&node.dims).max(widths[level]);
    }
    (widths[1], widths[2])
}

/// A closed form exists where the loss is quadratic, which is known when the programs are made.
fn check_closed_forms(arm: &Arm, train: &CheckedTrain, evaluations: &[&CheckedEvaluation], sink: &mut Sink) {
    let alone = Arm { evaluations: vec![], measures: vec![], ..arm.clone() };
    check_closed_form(&alone, &arm.train.adapt, &train.blocks, sink);
    for (plan, checked) in arm.evaluations.iter().zip(evaluations) {
        let train = Train { adapt: vec![], ..arm.train.clone() };
        let alone = Arm { train, evaluations: vec![plan.clone()], measures: vec![], ..arm.clone() };
        check_closed_form(&alone, &plan.adapt, &checked.blocks, sink);
    }
}

fn check_closed_form(arm: &Arm, blocks: &[Block], spans: &[Span], sink: &mut Sink) {
    if !blocks.iter().any(|block| solves(block, None)) {
        return;
    }
    let Err(LowerError::NotQuadratic { names }) = lower(arm, &ClientSizes::default()) else { return };
    let guilty = blocks.iter().zip(spans).find(|(block, _)| solves(block, Some(&names)));
    let Some((_, &span)) = guilty else { return };
    sink.push(
        Diagnostic::error("E0531", span, format!("the loss is not quadratic in {}, so no closed form minimises it", names.join(", ")))
            .help("its curvature depends on these parameters; a squared loss of a prediction that is linear in them is quadratic")
            .help("solve for the last layer alone, or take steps: `gradient(w, rate: 0.1, steps: 5)`"),
    );
}

/// Whether a block, or one ahead of its loss, has a closed form for these parameters.
fn solves(block: &Block, names: Option<&Vec<String>>) -> bool {
    let own = matches!(block.solver, Solver::ClosedForm { .. }) && names.is_none_or(|names| block.on == *names);
    own || block.ahead.iter().flat_map(|ahead| &ahead.adapt).any(|block| solves(block, names))
}
