//! `train`: its fields, and whether they make sense together.

use super::adaptation::adaptation;
use super::arm::Checked;
use super::calls::Names;
use super::family::CheckedFamily;
use super::fields::{Fields, word};
use super::objective::{loss, objective};
use super::source::task_source;
use crate::catalog::{Budget, Kind, Outer, Simplex, Solver, Through};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::Precision;
use crate::plan::{Block, Objective, TaskSource, Train};
use crate::syntax::ast::{Field, Section};

const THROUGH: &[(&str, Through)] = &[
    ("exact", Through::Exact),
    ("first_order", Through::FirstOrder),
    ("stop", Through::Stop),
    ("difference", Through::Difference),
];

const PRECISION: &[(&str, Precision)] = &[("f32", Precision::F32), ("f64", Precision::F64)];

/// Differentiated steps are unrolled into the program of a step; more would not fit into memory.
const MAX_UNROLLED: u64 = 1000;

/// A checked `train` section.
pub(super) struct CheckedTrain {
    pub plan: Train,
    /// The place of each block of the adaptation.
    pub blocks: Vec<Span>,
    /// The place of the tasks.
    pub tasks: Span,
}

/// Checks the `train` section.
pub(super) fn train(section: &Section, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<CheckedTrain> {
    let fields = Fields::read(section, sink);
    let tasks = fields.required("tasks", "tasks = fresh(linear, 10)", sink);
    let tasks = tasks.and_then(|e| task_source(e, checked, names, sink));
    let loss = fields.required("loss", "loss = half_squared", sink).and_then(|e| loss(e, checked, names, sink));
    let adapt = fields.required("adapt", "adapt = none", sink).and_then(|e| adaptation(e, names, sink));
    let outer = fields.required("outer", "outer = mean", sink).and_then(|e| names.call(Kind::Outer, e, sink));
    let outer = outer.map(|call| Outer::from_args(call.entry.name, &call.args));
    let through = optional(&fields, "through", Through::Exact, |f| word(&f.value, "through", THROUGH, sink));
    let keep = optional(&fields, "keep", vec![], |f| names.groups(&f.value, sink));
    let update = optional(&fields, "update", None, |f| {
        names.call(Kind::Update, &f.value, sink).map(|c| Some(Solver::from_args(c.entry.name, &c.args)))
    });
    let precision = optional(&fields, "precision", Precision::F32, |f| word(&f.value, "precision", PRECISION, sink));
    let steps = fields.required("steps", "steps = 500", sink);
    let steps = steps.and_then(|e| names.constants.count(e, 0, "`steps`", sink));
    let family = tasks.as_ref().and_then(|t| checked.family(t.family()));
    let objective = match (loss, family) {
        (Some(loss), Some(family)) => objective(&fields, &loss, family, checked, false, names, sink),
        _ => None,
    };
    let adapt = adapt?;
    let plan = Train {
        tasks: tasks?,
        objective: objective?,
        adapt: adapt.blocks,
        through: through?,
        keep: keep?,
        outer: outer?,
        update: update?,
        steps: steps?,
        precision: precision?,
    };
    let check = Check { train: &plan, family: family?, params: checked.model.params.len(), fields: &fields };
    check.outer(sink);
    check.keep(sink);
    check.adaptation(sink);
    check.without_effect(sink);
    Some(CheckedTrain { plan, blocks: adapt.spans, tasks: fields.span("tasks") })
}

fn optional<'a, T>(
    fields: &Fields<'a>,
    name: &str,
    initial: T,
    read: impl FnOnce(&'a Field) -> Option<T>,
) -> Option<T> {
    fields.get(name).map_or(Some(initial), read)
}

/// Whether the settings of training make sense together.
struct Check<'a> {
    train: &'a Train,
    family: &'a CheckedFamily,
    /// The number of parameters.
    params: usize,
    fields: &'a Fields<'a>,
}

impl Check<'_> {
    fn pool(&self) -> Option<usize> {
        match &self.train.tasks {
            TaskSource::Pool { strata, .. } => Some(strata.len()),
            TaskSource::Fresh { .. } => None,
        }
    }

    /// The outer reduction against the tasks and what passes through the adaptation.
    fn outer(&self, sink: &mut Sink) {
        let at = self.fields.span("outer");
        if let Outer::Worst { over, .. } = self.train.outer {
            match self.pool() {
                None => sink.push(
                    Diagnostic::error(
                        "E0512",
                        at,
                        "`worst` keeps a weight for every task, and fresh tasks are never seen again",
                    )
                    .related(self.fields.span("tasks"), "these tasks are new at every step")
                    .help("use a fixed set: `tasks = pool(...)`"),
                ),
                Some(1) if over == Simplex::Stratum => sink.push(
                    Diagnostic::error(
                        "E0535",
                        at,
                        "`worst(over: stratum)` weighs strata against each other, and here is only one",
                    )
                    .related(self.fields.span("tasks"), "these tasks are of one stratum")
                    .help("use `over: task`, or declare strata in the `tasks` block"),
                ),
                _ => {}
            }
            if self.train.through == Through::Difference {
                sink.push(
                    Diagnostic::error(
                        "E0530",
                        self.fields.span("through"),
                        "`difference` takes no gradient of the losses, which `worst` weighs",
                    )
                    .related(at, "the worst case is over these losses")
                    .help("use `through = exact` or `first_order`"),
                );
            }
        }
        if !matches!(self.train.outer, Outer::Average { .. }) && self.train.update.is_none() {
            sink.push(self.fields.missing("update").help("for example `update = adam(rate: 1e-3)`"));
        }
        let (what, moves) = match self.train.through {
            _ if matches!(self.train.outer, Outer::Average { .. }) => {
                ("outer", "`average` averages adapted parameters")
            }
            Through::Difference => ("through", "`difference` compares adapted parameters with those before"),
            _ => return,
        };
        if self.train.adapt.is_empty() {
            sink.push(
                Diagnostic::error("E0511", self.fields.span(what), format!("{moves}, and no adaptation moves any"))
                    .related(self.fields.whole_span("adapt"), "nothing moves here")
                    .help("give tasks some local steps: `adapt = sgd(all, rate: 0.1, epochs: 1, batch: 10)`"),
            );
        }
    }

    /// Parameters that stay with their task.
    fn keep(&self, sink: &mut Sink) {
        let at = self.fields.span("keep");
        if self.train.keep.is_empty() {
            return;
        }
        match &self.train.tasks {
            TaskSource::Fresh { .. } => sink.push(
                Diagnostic::error(
                    "E0513",
                    at,
                    "`keep` stores parameters with their task, and fresh tasks are never seen again",
                )
                .related(self.fields.span("tasks"), "these tasks are new at every step")
                .help("use a fixed set: `tasks = pool(...)`"),
            ),
            TaskSource::Pool { replace: true, .. } => sink.push(
                Diagnostic::error("E0538", at, "a task that a step samples twice would have two states to keep")
                    .related(self.fields.span("tasks"), "`replace: true` allows that")
                    .help("sample without replacement, or keep no parameters"),
            ),
            TaskSource::Pool { .. } => {}
        }
        if self.train.keep.len() == self.params && self.train.update.is_some() {
            sink.push(
                Diagnostic::error("E0516", self.fields.whole_span("update"), "`update` has nothing to move")
                    .related(at, "every parameter stays with its task")
                    .help("purely local training is `outer = average` with `keep = all`, without `update`"),
            );
        }
    }

    /// The adaptation against the examples there are, and against the derivative that is wanted of it.
    fn adaptation(&self, sink: &mut Sink) {
        let (at, clients) = (self.fields.span("adapt"), self.family.plan.source.is_some());
        let split = matches!(self.train.objective, Objective::Sample { support, .. } if support > 0);
        if matches!(self.train.objective, Objective::Risk) {
            check_whole_data(&self.train.adapt, self.fields, sink);
        } else if !self.train.is_local() && loops(&self.train.adapt) {
            sink.push(
                Diagnostic::error("E0514", at, "epochs and batches are a loop, which cannot be differentiated")
                    .help("count `steps`, without `batch`; or train without a derivative of the adaptation: `outer = average(...)` or `through = difference`"),
            );
        }
        if self.train.is_local() {
            if clients && split {
                sink.push(
                    Diagnostic::error(
                        "E0509",
                        self.fields.whole_span("split"),
                        "there is nothing to split: clients train on all examples they hold",
                    )
                    .help("what evaluations see is set by `hold_out`"),
                );
            }
            return;
        }
        if clients && !split && !self.train.adapt.is_empty() {
            sink.push(
                Diagnostic::error(
                    "E0515",
                    at,
                    "clients that adapt before the outer loss is taken need separate examples for both",
                )
                .help("add for example `split = { support: 10, query: 10 }`"),
            );
        }
        let steps: u64 =
            self.train.adapt.iter().map(|b| if let Budget::Steps { count } = b.budget { count } else { 0 }).sum();
        if steps > MAX_UNROLLED {
            sink.push(
                Diagnostic::error("E0532", at, format!("{steps} steps are too many to differentiate through; the limit is {MAX_UNROLLED}"))
                    .help("every step becomes part of one program; a loop without a derivative has no limit: `through = difference`"),
            );
        }
    }

    fn without_effect(&self, sink: &mut Sink) {
        let Some(field) = self.fields.get("through") else { return };
        let reason = if matches!(self.train.outer, Outer::Average { .. }) {
            "nothing is differentiated where parameters are averaged"
        } else if self.train.adapt.is_empty() && self.train.through != Through::Difference {
            "there is no adaptation to differentiate through"
        } else {
            return;
        };
        sink.push(Diagnostic::warning("W0501", field.path_span(), "`through` has no effect here").help(reason));
    }
}

/// Whether some block loops over the examples of a task.
fn loops(adapt: &[Block]) -> bool {
    adapt.iter().any(|b| b.batch.is_some() || matches!(b.budget, Budget::Epochs { .. }))
}

/// Under a risk there are no examples to batch or to pass over.
pub(super) fn check_whole_data(adapt: &[Block], fields: &Fields, sink: &mut Sink) {
    if loops(adapt) {
        sink.push(
            Diagnostic::error(
                "E0528",
                fields.span("adapt"),
                "under a risk there are no examples to batch or to pass over",
            )
            .help("a risk is an expectation over all examples; count `steps`, without `batch`"),
        );
    }
}
