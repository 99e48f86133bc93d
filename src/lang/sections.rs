//! `train` and `evaluate`: fields, adaptation blocks, and whether they make sense together.

use super::arm::Checked;
use super::calls::Names;
use super::tasks::CheckedFamily;
use super::tensor::{same, show, sizes};
use crate::catalog::{Budget, Kind, Loss, Outer, Solver, Through};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::Precision;
use crate::plan::{Block, Evaluation, Objective, PoolStratum, TaskSource, Train};
use crate::syntax::ast::{Expr, ExprKind, Field, Section};

const TRAIN: &[&str] = &["tasks", "split", "loss", "adapt", "through", "keep", "outer", "update", "steps", "precision"];
const EVALUATE: &[&str] = &["tasks", "split", "loss", "adapt", "episodes"];

const THROUGH: &[(&str, Through)] =
    &[("exact", Through::Exact), ("first_order", Through::FirstOrder), ("stop", Through::Stop), ("difference", Through::Difference)];

/// The fields of a section, each known and set once.
struct Fields<'a> {
    section: &'a Section,
    what: String,
}

impl<'a> Fields<'a> {
    fn read(section: &'a Section, allowed: &[&str], sink: &mut Sink) -> Fields<'a> {
        let what = match &section.name {
            Some(name) => format!("`evaluate {}`", name.text),
            None => "`train`".to_owned(),
        };
        for (i, field) in section.fields.iter().enumerate() {
            let name = &field.path[0];
            if field.path.len() > 1 {
                sink.push(Diagnostic::error("E0216", field.path_span(), "a path can be overridden in an arm, not here").help(format!("write the argument into the call that `{}` holds", name.text)));
            } else if !allowed.contains(&name.text.as_str()) {
                sink.push(Diagnostic::error("E0216", name.span, format!("{what} has no field `{}`", name.text)).suggest(name.span, &name.text, allowed.iter().copied()));
            } else if let Some(first) = section.fields[..i].iter().find(|f| f.path.len() == 1 && f.path[0].text == name.text) {
                sink.push(Diagnostic::error("E0217", name.span, format!("`{}` is set twice", name.text)).related(first.path_span(), "first set here"));
            }
        }
        Fields { section, what }
    }

    fn get(&self, name: &str) -> Option<&'a Field> {
        self.section.fields.iter().find(|f| f.path.len() == 1 && f.path[0].text == name)
    }

    fn required(&self, name: &str, example: &str, sink: &mut Sink) -> Option<&'a Expr> {
        let found = self.get(name).map(|f| &f.value);
        if found.is_none() {
            sink.push(Diagnostic::error("E0504", self.section.keyword.span, format!("{} does not set `{name}`", self.what)).help(format!("for example `{example}`")));
        }
        found
    }

    /// The place of a field, or of the section where it is absent.
    fn span(&self, name: &str) -> Span {
        self.get(name).map_or(self.section.keyword.span, |f| f.value.span)
    }
}

/// Checks the `train` section.
pub(super) fn train(section: &Section, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<Train> {
    let fields = Fields::read(section, TRAIN, sink);
    let tasks = fields.required("tasks", "tasks = fresh(linear, 10)", sink).and_then(|e| task_source(e, checked, names, sink));
    let family = tasks.as_ref().and_then(|t| checked.family(t.family()));
    let loss = fields.required("loss", "loss = half_squared", sink).and_then(|e| loss(e, names, sink));
    let adapt = fields.required("adapt", "adapt = none", sink).and_then(|e| adaptation(e, names, sink));
    let outer = fields.required("outer", "outer = mean", sink).and_then(|e| names.call(Kind::Outer, e, sink)).map(|c| Outer::from_args(c.entry.name, &c.args));
    let through = match fields.get("through") {
        Some(field) => word(&field.value, "through", THROUGH, sink)?,
        None => Through::Exact,
    };
    let keep = match fields.get("keep") {
        Some(field) => names.groups(&field.value, sink)?,
        None => vec![],
    };
    let update = match fields.get("update") {
        Some(field) => Some(names.call(Kind::Update, &field.value, sink).map(|c| Solver::from_args(c.entry.name, &c.args))?),
        None => None,
    };
    let precision = match fields.get("precision") {
        Some(field) => word(&field.value, "precision", &[("f32", Precision::F32), ("f64", Precision::F64)], sink)?,
        None => Precision::F32,
    };
    let steps = fields.required("steps", "steps = 500", sink).and_then(|e| names.constants.count(e, 0, "`steps`", sink));
    let (tasks, family, loss, adapt, outer, steps) = (tasks?, family?, loss?, adapt?, outer?, steps?);
    let objective = objective(&fields, loss, family, checked, names, sink)?;
    let train = Train { tasks, objective, adapt, through, keep, outer, update, steps, precision };
    check_train(&train, family, checked, &fields, sink);
    Some(train)
}

/// Checks an `evaluate` section. Its loss is the one of training unless it sets its own.
pub(super) fn evaluation(section: &Section, trained: &Train, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<Evaluation> {
    let fields = Fields::read(section, EVALUATE, sink);
    let tasks = fields.required("tasks", "tasks = fresh(linear, 100)", sink).and_then(|e| task_source(e, checked, names, sink));
    let family = tasks.as_ref().and_then(|t| checked.family(t.family()));
    let adapt = fields.required("adapt", "adapt = none", sink).and_then(|e| adaptation(e, names, sink));
    let loss = match fields.get("loss") {
        Some(field) => loss(&field.value, names, sink)?,
        None => match trained.objective {
            Objective::Risk => None,
            Objective::Sample { loss, .. } => Some(loss),
        },
    };
    let (tasks, family, adapt) = (tasks?, family?, adapt?);
    if let TaskSource::Pool { batch, .. } = &tasks
        && Some(*batch as usize) != tasks.pool_size()
    {
        sink.push(Diagnostic::error("E0505", fields.span("tasks"), "an evaluation measures every task of its pool; `batch` belongs to training"));
    }
    let objective = objective(&fields, loss, family, checked, names, sink)?;
    if matches!(objective, Objective::Risk) {
        check_whole_data(&adapt, &fields, sink);
    }
    let episodes = match fields.get("episodes") {
        Some(field) => names.constants.count(&field.value, 1, "`episodes`", sink)?,
        None => 1,
    };
    let name = section.name.as_ref()?.text.clone();
    Some(Evaluation { name, tasks, objective, adapt, episodes })
}

fn task_source(expr: &Expr, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<TaskSource> {
    let call = names.call(Kind::Tasks, expr, sink)?;
    let name = call.args.names("family").pop()?;
    let family = checked.family(&name)?;
    let declared: Vec<PoolStratum> = family.plan.strata.iter().map(|s| PoolStratum { name: s.name.clone(), count: s.count }).collect();
    let has_strata = declared.len() > 1 || declared[0].name != "all";
    let is_data = family.plan.source.is_some();
    if call.entry.name == "fresh" {
        if is_data {
            sink.push(Diagnostic::error("E0506", expr.span, format!("the clients of `{name}` are a fixed set; none can be drawn afresh")).help(format!("write `pool({name})`")));
            return None;
        }
        return Some(TaskSource::Fresh { family: name, count: call.args.count("count")? });
    }
    let chosen = call.args.names("strata");
    let strata = match (call.args.count("size"), has_strata || is_data) {
        (Some(_), true) => {
            sink.push(Diagnostic::error("E0506", expr.span, format!("`{name}` already says how many tasks it has; leave out `size`")));
            return None;
        }
        (Some(size), false) => vec![PoolStratum { name: "all".into(), count: size }],
        (None, true) => declared.into_iter().filter(|s| chosen.is_empty() || chosen.contains(&s.name)).collect(),
        (None, false) => {
            sink.push(Diagnostic::error("E0407", expr.span, format!("`pool` needs `size`: `{name}` has neither strata nor data")).help(format!("for example `pool({name}, size: 100)`")));
            return None;
        }
    };
    let total: u64 = strata.iter().map(|s| s.count).sum();
    let (batch, replace) = (call.args.count("batch").unwrap_or(total), call.args.bool("replace"));
    if batch > total && !replace {
        sink.push(Diagnostic::error("E0408", expr.span, format!("`batch` asks for {batch} of {total} tasks")).help("allow repeats with `replace: true`, or take fewer"));
        return None;
    }
    Some(TaskSource::Pool { family: name, strata, batch, replace })
}

/// `Some(None)` is `risk`.
fn loss(expr: &Expr, names: &Names, sink: &mut Sink) -> Option<Option<Loss>> {
    names.call(Kind::Loss, expr, sink).map(|call| Loss::find(call.entry.name))
}

/// The value that a word stands for.
fn word<T: Copy>(expr: &Expr, field: &str, words: &[(&str, T)], sink: &mut Sink) -> Option<T> {
    let name = super::calls::single(expr);
    let found = words.iter().find(|(word, _)| name.is_some_and(|n| n.text == *word));
    if found.is_none() && !matches!(expr.kind, ExprKind::Error) {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let error = Diagnostic::error("E0411", expr.span, format!("`{field}` is one of {}", known.join(", ")));
        sink.push(match name {
            Some(name) => error.suggest(name.span, &name.text, known),
            None => error,
        });
    }
    found.map(|(_, value)| *value)
}

/// `none`, one block, or a list of blocks.
fn adaptation(expr: &Expr, names: &Names, sink: &mut Sink) -> Option<Vec<Block>> {
    let blocks: Vec<Option<Option<Block>>> = match &expr.kind {
        ExprKind::List(items) => items.iter().map(|e| block(e, names, sink)).collect(),
        _ => vec![block(expr, names, sink)],
    };
    let blocks: Option<Vec<Option<Block>>> = blocks.into_iter().collect();
    Some(blocks?.into_iter().flatten().collect())
}

/// `Some(None)` is `none`.
fn block(expr: &Expr, names: &Names, sink: &mut Sink) -> Option<Option<Block>> {
    let call = names.call(Kind::Adaptation, expr, sink)?;
    if call.entry.name == "none" {
        return Some(None);
    }
    let on = call.args.names("on");
    if on.is_empty() {
        sink.push(Diagnostic::error("E0507", expr.span, format!("`{}` adapts no parameters", call.entry.name)).help("name some, or write `adapt = none`"));
        return None;
    }
    let solver = Solver::from_args(call.entry.name, &call.args);
    let budget = match (call.args.count("steps"), call.args.count("epochs"), &solver) {
        (None, None, Solver::ClosedForm { .. }) => Budget::Steps { count: 1 },
        (Some(count), None, _) => Budget::Steps { count },
        (None, Some(count), _) => Budget::Epochs { count },
        (Some(_), Some(_), _) => {
            sink.push(Diagnostic::error("E0406", expr.span, "`steps` and `epochs` cannot both be given"));
            return None;
        }
        (None, None, _) => {
            let epochs = if call.entry.params.iter().any(|p| p.name == "epochs") { " or `epochs`" } else { "" };
            sink.push(Diagnostic::error("E0407", expr.span, format!("`{}` needs `steps`{epochs}", call.entry.name)).help(format!("for example `{}`", call.entry.example)));
            return None;
        }
    };
    Some(Some(Block { on, solver, budget, batch: call.args.count("batch") }))
}

fn objective(fields: &Fields, loss: Option<Loss>, family: &CheckedFamily, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<Objective> {
    let Some(loss) = loss else {
        if family.plan.risk.is_none() {
            sink.push(
                Diagnostic::error("E0508", fields.span("loss"), format!("`{}` declares no `risk`", family.plan.name))
                    .help("write the closed form into the `tasks` block: `risk = ...`, or choose a loss of examples"),
            );
            return None;
        }
        if let Some(split) = fields.get("split") {
            sink.push(Diagnostic::error("E0509", split.path_span(), "a risk is an expectation over all examples; there is nothing to split"));
        }
        return Some(Objective::Risk);
    };
    check_example(loss, family, checked, fields, sink)?;
    let (mut support, mut query) = (0, 0);
    match fields.get("split") {
        Some(field) => {
            let ExprKind::Record(entries) = &field.value.kind else {
                sink.push(Diagnostic::error("E0412", field.value.span, "`split` says how many examples a task gets").help("for example `split = { support: 10, query: 10 }`"));
                return None;
            };
            for (key, value) in entries {
                let slot = match key.text.as_str() {
                    "support" => &mut support,
                    "query" => &mut query,
                    _ => {
                        sink.push(Diagnostic::error("E0405", key.span, format!("`split` has no part `{}`", key.text)).suggest(key.span, &key.text, ["support", "query"]));
                        continue;
                    }
                };
                *slot = names.constants.count(value, 1, &format!("`{}`", key.text), sink)?;
            }
            for (part, count) in [("support", support), ("query", query)] {
                if count == 0 {
                    sink.push(Diagnostic::error("E0407", field.value.span, format!("`split` needs `{part}`")).help("for example `split = { support: 10, query: 10 }`"));
                    return None;
                }
            }
        }
        None if family.plan.source.is_none() => {
            sink.push(
                Diagnostic::error("E0504", fields.section.keyword.span, format!("{} does not set `split`", fields.what))
                    .help("tasks that are drawn need the number of examples to adapt on and to measure: `split = { support: 10, query: 10 }`"),
            );
            return None;
        }
        None => {}
    }
    Some(Objective::Sample { loss, support, query })
}

/// The model must fit the family's examples, and the loss the target `y`.
fn check_example(loss: Loss, family: &CheckedFamily, checked: &Checked, fields: &Fields, sink: &mut Sink) -> Option<()> {
    let name = &family.plan.name;
    if family.example.is_empty() {
        sink.push(
            Diagnostic::error("E0510", fields.span("loss"), format!("`{}` draws no examples, so no loss of examples can be taken", name))
                .help("add an `example { ... }` block to the tasks, or use `loss = risk`"),
        );
        return None;
    }
    for (input, dims) in &checked.model.inputs {
        match family.example.get(input) {
            Some(found) if same(found, dims) => {}
            Some(found) => {
                sink.push(Diagnostic::error("E0309", fields.span("tasks"), format!("the model reads `{input}` as {}, but an example of `{name}` has {}", show(dims), show(found))));
                return None;
            }
            None => {
                let known: Vec<&str> = family.example.keys().map(String::as_str).collect();
                sink.push(Diagnostic::error("E0309", fields.span("tasks"), format!("the model reads `{input}`, which an example of `{name}` does not have")).help(format!("it has {}", known.join(", "))));
                return None;
            }
        }
    }
    let Some(target) = family.example.get("y") else {
        sink.push(Diagnostic::error("E0510", fields.span("tasks"), format!("an example of `{name}` has no target `y`")).help("the variable that the prediction is compared with is called `y`"));
        return None;
    };
    let output = &checked.model.output;
    if let Some(reason) = loss.refuses(&sizes(output), &sizes(target)) {
        sink.push(
            Diagnostic::error("E0309", fields.span("loss"), format!("`{}` does not fit: {reason}", loss.name()))
                .help(format!("the model predicts {}, the target `y` is {}", show(output), show(target))),
        );
        return None;
    }
    let named_apart = loss != Loss::CrossEntropy && !same(output, target);
    if named_apart {
        sink.push(Diagnostic::error("E0309", fields.span("loss"), format!("the model predicts {} but the target `y` is {}", show(output), show(target))));
        return None;
    }
    Some(())
}

fn check_train(train: &Train, family: &CheckedFamily, checked: &Checked, fields: &Fields, sink: &mut Sink) {
    let pool = matches!(train.tasks, TaskSource::Pool { .. });
    let adapt_span = fields.span("adapt");
    let clients = family.plan.source.is_some();
    let split = matches!(train.objective, Objective::Sample { support, .. } if support > 0);
    match &train.outer {
        Outer::Average { .. } => {
            if train.adapt.is_empty() {
                sink.push(Diagnostic::error("E0511", fields.span("outer"), "`average` averages adapted parameters, and `adapt = none` moves none").help("give tasks some local steps: `adapt = sgd(all, rate: 0.1, epochs: 1, batch: 10)`"));
            }
            if let Some(field) = fields.get("through") {
                sink.push(Diagnostic::warning("W0501", field.path_span(), "`through` has no effect: nothing is differentiated when parameters are averaged"));
            }
        }
        _ if train.update.is_none() => sink.push(
            Diagnostic::error("E0504", fields.section.keyword.span, format!("{} does not set `update`", fields.what)).help("for example `update = adam(rate: 1e-3)`"),
        ),
        Outer::Worst { .. } if !pool => sink.push(
            Diagnostic::error("E0512", fields.span("outer"), "`worst` keeps a weight for every task, and fresh tasks are never seen again").help("use a fixed set: `tasks = pool(...)`"),
        ),
        Outer::Worst { .. } if train.through == Through::Difference => sink.push(
            Diagnostic::error("E0512", fields.span("through"), "`worst` needs the gradient of the losses; `difference` takes none"),
        ),
        _ => {}
    }
    if train.through == Through::Difference && train.adapt.is_empty() {
        sink.push(Diagnostic::error("E0511", adapt_span, "`through = difference` compares adapted with shared parameters, and `adapt = none` moves none"));
    }
    if !train.keep.is_empty() && !pool {
        sink.push(Diagnostic::error("E0513", fields.span("keep"), "`keep` stores parameters with their task, and fresh tasks are never seen again").help("use a fixed set: `tasks = pool(...)`"));
    }
    if train.is_local() {
        if matches!(train.objective, Objective::Risk) {
            check_whole_data(&train.adapt, fields, sink);
        }
        if clients && split {
            sink.push(Diagnostic::error("E0509", fields.span("split"), "clients train on all examples they hold here; `split` has no use").help("what evaluations see is set by `hold_out`"));
        }
        return;
    }
    let looped = train.adapt.iter().find(|b| b.batch.is_some() || matches!(b.budget, Budget::Epochs { .. }));
    if looped.is_some() {
        sink.push(
            Diagnostic::error("E0514", adapt_span, "epochs and batches loop over a task's examples; that loop is not differentiated")
                .help("use `steps` without `batch`, or train without differentiating through it: `outer = average(...)` or `through = difference`"),
        );
    }
    if clients && !split && !train.adapt.is_empty() {
        sink.push(
            Diagnostic::error("E0515", fields.section.keyword.span, "clients that adapt before the outer loss need separate examples for both")
                .help("add for example `split = { support: 10, query: 10 }`"),
        );
    }
    if train.keep.len() == checked.model.params.len() {
        sink.push(Diagnostic::error("E0516", fields.span("keep"), "every parameter is kept by its task, so `update` has nothing to move").help("purely local training is `outer = average()` with `keep = all`"));
    }
}

/// Under a risk there are no examples to batch or to pass over.
fn check_whole_data(adapt: &[Block], fields: &Fields, sink: &mut Sink) {
    if adapt.iter().any(|b| b.batch.is_some() || matches!(b.budget, Budget::Epochs { .. })) {
        sink.push(Diagnostic::error("E0509", fields.span("adapt"), "a risk is an expectation over all examples; there are none to batch or pass over").help("use `steps` without `batch`"));
    }
}
