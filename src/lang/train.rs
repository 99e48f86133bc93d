//! `train` and `stage`: their fields, and whether they make sense together.

use super::adaptation::{Around, adaptation};
use super::added::Whole;
use super::arm::Checked;
use super::augment::changes;
use super::calls::Names;
use super::family::CheckedFamily;
use super::fields::{Fields, word};
use super::objective::{loss, objective};
use super::seen::Seen;
use super::source::{has_examples, task_source, weighs_all};
use crate::catalog::{Budget, Kind, Outer, Retraction, Simplex, Solver, Through, Weights};
use crate::diag::{Diagnostic, Severity, Sink, Span};
use crate::ir::Precision;
use crate::plan::{Anchor, Block, Objective, Retract, TaskSource, Train, means, named_rows};
use crate::syntax::ast::{Expr, ExprKind, Field, Section};

const PRECISION: &[(&str, Precision)] = &[("f32", Precision::F32), ("f64", Precision::F64)];

/// Differentiated steps are unrolled into the program of a step; more would not fit into memory.
pub(super) const MAX_UNROLLED: u64 = 1000;

/// A checked `train` section.
pub(super) struct CheckedTrain {
    pub plan: Train,
    /// The place of each block of the adaptation.
    pub blocks: Vec<Span>,
    /// The place of the tasks.
    pub tasks: Span,
}

/// Checks the `train` section, which works on the `whole` model.
pub(super) fn train(
    section: &Section,
    whole: &Whole,
    checked: &Checked,
    names: &Names,
    sink: &mut Sink,
) -> Option<CheckedTrain> {
    let fields = Fields::read(section, sink);
    let tasks = fields.required("tasks", "tasks = fresh(linear, 10)", sink);
    let tasks = tasks.and_then(|e| task_source(e, checked, names, sink));
    let loss = fields.required("loss", "loss = half_squared", sink).and_then(|e| loss(e, checked, names, sink));
    let family = tasks.as_ref().and_then(|t| checked.family(t.family()));
    let around = Around { whole, family, checked, names };
    let adapt = fields.required("adapt", "adapt = none", sink).and_then(|e| adaptation(e, &around, sink));
    let outer = fields.required("outer", "outer = mean", sink).and_then(|e| names.call(Kind::Outer, e, sink));
    let outer = outer.map(|call| Outer::from_args(call.entry.name, &call.args));
    let through = optional(&fields, "through", Through::Exact, |f| {
        names.call(Kind::Through, &f.value, sink).map(|c| Through::from_args(c.entry.name, &c.args))
    });
    let keep = optional(&fields, "keep", vec![], |f| names.groups(&f.value, sink));
    let freeze = optional(&fields, "freeze", vec![], |f| names.groups(&f.value, sink));
    let reset = optional(&fields, "reset", vec![], |f| names.groups(&f.value, sink));
    let update = optional(&fields, "update", None, |f| {
        names.call(Kind::Update, &f.value, sink).map(|c| Some(Solver::from_args(c.entry.name, &c.args)))
    });
    let retract = optional(&fields, "retract", vec![], |f| retractions(&f.value, whole, names, sink));
    let augment = changes(&fields, family, names, sink);
    let precision = optional(&fields, "precision", Precision::F32, |f| word(&f.value, "precision", PRECISION, sink));
    let steps = fields.required("steps", "steps = 500", sink);
    let steps = steps.and_then(|e| names.constants.count(e, 0, "`steps`", sink));
    let objective = match (loss, family) {
        (Some(loss), Some(family)) => {
            let seen = Seen { family, whole, checked, names, support: None };
            objective(&fields, &loss, seen, false, sink)
        }
        _ => None,
    };
    let adapt = adapt?;
    let plan = Train {
        tasks: tasks?,
        objective: objective?,
        adapt: adapt.blocks,
        through: through?,
        keep: keep?,
        freeze: freeze?,
        reset: reset?,
        outer: outer?,
        update: update?,
        retract: retract?,
        steps: steps?,
        precision: precision?,
        augment: augment?,
    };
    let check = Check { train: &plan, family: family?, params: whole.params.len(), fields: &fields };
    check.outer(sink);
    check.keep(sink);
    check.control(sink);
    check.lifetimes(sink);
    check.retract(sink);
    check.adaptation(sink);
    check.without_effect(sink);
    Some(CheckedTrain { plan, blocks: adapt.spans, tasks: fields.span("tasks") })
}

/// Checks a `stage` section: the fields of the `first` section of training, save those that it sets itself.
pub(super) fn stage(
    section: &Section,
    first: &Section,
    trained: Option<&Train>,
    whole: &Whole,
    checked: &Checked,
    names: &Names,
    sink: &mut Sink,
) -> Option<CheckedTrain> {
    let own = Fields::read(section, sink);
    for field in ["with", "precision"] {
        if let Some(found) = own.get(field) {
            sink.push(
                Diagnostic::error("E0553", found.path_span(), format!("`{field}` cannot change between stages"))
                    .help("a stage goes on with the state in which the one before ended; set it in `train`"),
            );
            return None;
        }
    }
    let inherited = first.fields.iter().filter(|f| f.path.len() == 1 && own.get(&f.path[0].text).is_none());
    let fields = section.fields.iter().chain(inherited.clone()).cloned().collect();
    // What is wrong with the fields of `train` has been reported there, so a stage is checked after it.
    let trained = trained?;
    let mut found = Sink::new();
    let checked = train(&Section { fields, ..section.clone() }, whole, checked, names, &mut found);
    for diagnostic in found.finish() {
        let at = diagnostic.span;
        let within = |f: &Field| f.path_span().start <= at.start && at.end <= f.value.span.end;
        if diagnostic.severity == Severity::Error || !inherited.clone().any(within) {
            sink.push(diagnostic);
        }
    }
    let checked = checked?;
    let plan = &checked.plan;
    let place = if plan.keep != trained.keep {
        Some("keep")
    } else {
        (!plan.keep.is_empty() && plan.tasks.pool() != trained.tasks.pool()).then_some("tasks")
    };
    if let Some(field) = place {
        sink.push(
            Diagnostic::error("E0553", own.span(field), "a stage has the tasks of `train` keep what they kept there")
                .help("`keep` cannot change between stages, nor the pool of tasks that keep something"),
        );
        return None;
    }
    Some(checked)
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
        if let Some(field) = self.fields.get("outer") {
            let (weights, counts) = match &self.train.outer {
                Outer::Mean { weights } => (weights, true),
                Outer::Average { weights, .. } => (weights, false),
                Outer::Worst { .. } | Outer::Cvar { .. } => (&Weights::Uniform, false),
            };
            weighs_all(weights, &self.train.tasks, &self.family.plan, &field.value, sink);
            if counts {
                has_examples(weights, &self.train.objective, &field.value, sink);
            }
        }
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
        }
        let weighs = match self.train.outer {
            Outer::Worst { .. } => Some("worst"),
            Outer::Cvar { .. } => Some("cvar"),
            Outer::Mean { .. } | Outer::Average { .. } => None,
        };
        if let (Some(weighs), Through::Difference) = (weighs, self.train.through) {
            sink.push(
                Diagnostic::error(
                    "E0530",
                    self.fields.span("through"),
                    format!("`difference` takes no gradient of the losses, which `{weighs}` weighs"),
                )
                .related(at, "the worst case is over these losses")
                .help("use `through = exact` or `first_order`"),
            );
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
    }

    /// Control variates are mean gradients, which only plain descent of a pool's tasks tells.
    fn control(&self, sink: &mut Sink) {
        if !self.train.controls() {
            return;
        }
        let plain = |block: &Block| match &block.solver {
            Solver::Sgd { momentum, schedule, .. } => *momentum == 0.0 && schedule.is_empty() && block.rates.is_empty(),
            _ => false,
        };
        let twice = |name: &String| self.train.adapt.iter().filter(|b| b.on.contains(name)).count() > 1;
        let (place, reason) = match &self.train.tasks {
            TaskSource::Fresh { .. } => ("tasks", "fresh tasks are never seen again"),
            TaskSource::Pool { replace: true, .. } => ("tasks", "a task that a step samples twice would have two"),
            TaskSource::Pool { .. } if !self.train.adapt.iter().all(plain) => {
                ("adapt", "they are mean gradients, and these steps are not along gradients alone")
            }
            TaskSource::Pool { .. } if self.train.adapt.iter().flat_map(|block| &block.on).any(twice) => {
                ("adapt", "a parameter that two blocks move has two mean gradients")
            }
            TaskSource::Pool { .. } => return,
        };
        sink.push(
            Diagnostic::error("E0562", self.fields.span("outer"), "tasks cannot keep control variates here")
                .related(self.fields.span(place), reason)
                .help("use a fixed set of tasks and `gradient` or `sgd` without momentum, schedule or learned rates"),
        );
    }

    /// Each parameter has one lifetime, which its adaptation respects, and something is left for `update`.
    fn lifetimes(&self, sink: &mut Sink) {
        let train = self.train;
        let lists = [("keep", &train.keep), ("freeze", &train.freeze), ("reset", &train.reset)];
        for (i, (field, names)) in lists.iter().enumerate() {
            let mut earlier = lists[..i].iter();
            let shared = earlier.find_map(|(other, known)| Some((other, names.iter().find(|n| known.contains(n))?)));
            if let Some((other, name)) = shared {
                sink.push(
                    Diagnostic::error("E0548", self.fields.span(field), format!("`{name}` has two lifetimes"))
                        .related(self.fields.span(other), format!("`{other}` names it, too"))
                        .help("`keep` stays with its task, `freeze` never moves, `reset` begins every episode anew"),
                );
                return;
            }
        }
        let adapted = |name: &&String| train.adapt.iter().any(|block| block.on.contains(name));
        if let Some(name) = train.freeze.iter().find(adapted) {
            sink.push(
                Diagnostic::error(
                    "E0549",
                    self.fields.span("freeze"),
                    format!("`{name}` is frozen, and `adapt` moves it"),
                )
                .related(self.fields.span("adapt"), "this adapts it")
                .help("write `reset` for parameters that tasks adapt, but that begin every episode as they were"),
            );
        } else if let Some(name) = train.reset.iter().find(|name| !adapted(name)) {
            sink.push(
                Diagnostic::error(
                    "E0549",
                    self.fields.span("reset"),
                    format!("`{name}` is reset, and nothing adapts it"),
                )
                .related(self.fields.span("adapt"), "this does not move it")
                .help("write `freeze` for parameters that never move"),
            );
        }
        let held: usize = lists.iter().map(|(_, names)| names.len()).sum();
        if held > 0 && held == self.params && train.update.is_some() {
            let field = lists.iter().find(|(_, names)| !names.is_empty()).map_or("keep", |(field, _)| field);
            sink.push(
                Diagnostic::error("E0516", self.fields.whole_span("update"), "`update` has nothing to move")
                    .related(self.fields.span(field), "every parameter stays with its task or where it is")
                    .help("purely local training is `outer = average` with `keep = all`, without `update`"),
            );
        }
    }

    /// What is brought back to its set is what the outer step moves.
    fn retract(&self, sink: &mut Sink) {
        let train = self.train;
        let held = [("keep", &train.keep), ("freeze", &train.freeze), ("reset", &train.reset)];
        for name in train.retract.iter().flat_map(|retract| &retract.on) {
            if let Some((field, _)) = held.iter().find(|(_, names)| names.contains(name)) {
                sink.push(
                    Diagnostic::error("E0552", self.fields.span("retract"), format!("no update moves `{name}`"))
                        .related(self.fields.span(field), format!("`{field}` names it"))
                        .help("a retraction follows each outer step, for the parameters that tasks share"),
                );
                return;
            }
        }
    }

    /// The adaptation against the examples there are, and against the derivative that is wanted of it.
    fn adaptation(&self, sink: &mut Sink) {
        let (at, clients) = (self.fields.span("adapt"), self.family.plan.source.is_some());
        let split = matches!(self.train.objective, Objective::Sample { support, .. } if support > 0);
        check_examples(&self.train.adapt, &self.train.objective, self.fields, sink);
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
        let near = |block: &Block| {
            block.ahead.is_none()
                && block.toward.as_ref().is_some_and(|toward| toward.anchor == Anchor::Start && toward.weight > 0.0)
        };
        if matches!(self.train.through, Through::Implicit { .. })
            && !matches!(self.train.adapt.as_slice(), [block] if near(block))
        {
            sink.push(
                Diagnostic::error(
                    "E0554",
                    self.fields.span("through"),
                    "an implicit gradient is one of a minimiser near the start",
                )
                .related(at, "this has no such minimiser")
                .help(
                    "use one block that is held there: `gradient(w, rate: 0.1, steps: 10, toward: start, weight: 1)`",
                ),
            );
        }
        let rounds = if let Through::Implicit { cg } = self.train.through { cg } else { 0 };
        let steps: u64 =
            self.train.adapt.iter().map(|b| if let Budget::Steps { count } = b.budget { count } else { 0 }).sum();
        let steps = steps.saturating_add(rounds);
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

/// `none`, one retraction, or a list of them.
fn retractions(expr: &Expr, whole: &Whole, names: &Names, sink: &mut Sink) -> Option<Vec<Retract>> {
    let items = match &expr.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let mut found = vec![];
    for item in items {
        let call = names.call(Kind::Retraction, item, sink)?;
        if call.entry.name == "none" {
            continue;
        }
        let (by, on) = (Retraction::from_args(call.entry.name), call.args.names("on"));
        let slots = whole.model.iter().flat_map(|model| &model.params).filter(|slot| on.contains(&slot.name));
        let refused = slots.filter_map(|slot| Some((slot, by.refuses(&slot.dims)?))).next();
        if let Some((slot, reason)) = refused {
            sink.push(
                Diagnostic::error("E0551", item.span, format!("`{}` has no meaning for `{}`", by.name(), slot.name))
                    .label(format!("`{}` has the dims {:?}", slot.name, slot.dims))
                    .help(reason),
            );
            return None;
        }
        found.push(Retract { on, by });
    }
    Some(found)
}

/// Whether some block loops over the examples of a task.
fn loops(adapt: &[Block]) -> bool {
    adapt.iter().any(|b| b.batch.is_some() || matches!(b.budget, Budget::Epochs { .. }))
}

/// The examples that blocks name are among those that every task has.
pub(super) fn check_examples(adapt: &[Block], objective: &Objective, fields: &Fields, sink: &mut Sink) {
    let held = if let Objective::Sample { support, .. } = objective { *support } else { 0 };
    let Some(rows) = named_rows(adapt).find(|rows| rows.end > held) else { return };
    let (message, help) = match (objective, held) {
        (Objective::Risk, _) => (
            "under a risk there are no examples to choose from".to_owned(),
            "choose a loss of examples: `loss = half_squared`",
        ),
        (_, 0) => (
            "the tasks have no fixed number of support examples to choose from".to_owned(),
            "clients that are not split hold as many as they have; with `split = { support: 10, query: 10 }`, each has ten",
        ),
        _ => (
            format!("`examples: {}..{}` are not among the {held} support examples", rows.first, rows.end),
            "count from 0",
        ),
    };
    sink.push(Diagnostic::error("E0565", fields.span("adapt"), message).help(help));
}

/// Under a risk there are no examples to batch, to pass over or to take a mean of.
pub(super) fn check_whole_data(adapt: &[Block], fields: &Fields, sink: &mut Sink) {
    if means(adapt) {
        let error =
            Diagnostic::error("E0560", fields.span("adapt"), "under a risk there are no examples to take the mean of");
        sink.push(error.help("choose a loss of examples: `loss = half_squared`"));
    }
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
