//! `evaluate`: how tasks are measured.

use super::adaptation::{Around, adaptation, is_in_context};
use super::added::{Whole, whole};
use super::arm::Checked;
use super::augment::changes;
use super::calls::Names;
use super::fields::Fields;
use super::objective::{loss, objective};
use super::points::{Point, points};
use super::seen::Seen;
use super::source::task_source;
use super::train::{check_examples, check_whole_data};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Evaluation, Objective, TaskSource, Train};
use crate::syntax::ast::{Expr, Section};

/// A checked `evaluate` section.
pub(super) struct CheckedEvaluation {
    pub name: String,
    /// `None` after a mistake, which has been reported.
    pub plan: Option<Evaluation>,
    /// Where its measures are taken; `None` after a mistake, too.
    pub points: Option<Vec<Point>>,
    /// The model, where it is another than that of training.
    pub whole: Option<Whole>,
    /// The number of support examples, where the model reads them.
    pub support: Option<u64>,
    /// The place of each block of the adaptation.
    pub blocks: Vec<Span>,
    /// The place of the tasks.
    pub tasks: Span,
}

/// Checks an `evaluate` section. Its loss is the one of training unless it sets its own, and its model is the `trained_model`
/// unless it says `with` what it measures; `names` are those of the declared model.
pub(super) fn evaluation(
    section: &Section,
    (trained, loss_of_training): (Option<&Train>, Option<&Expr>),
    trained_model: &Whole,
    checked: &Checked,
    names: &Names,
    sink: &mut Sink,
) -> Option<CheckedEvaluation> {
    let name = section.name.as_ref()?.text.clone();
    let own = whole(section, checked, names, sink);
    let model = own.as_ref().unwrap_or(trained_model);
    let names = &model.names(names);
    let fields = Fields::read(section, sink);
    let tasks = fields.required("tasks", "tasks = fresh(linear, 100)", sink);
    let tasks = tasks.and_then(|e| task_source(e, checked, names, sink));
    let family = tasks.as_ref().and_then(|t| checked.family(t.family()));
    let around = Around { whole: model, family, checked, names };
    let adapt = fields.required("adapt", "adapt = none", sink).and_then(|e| adaptation(e, &around, sink));
    let (adapt, blocks) = match adapt {
        Some(adapt) => (Some(adapt.blocks), adapt.spans),
        None => (None, vec![]),
    };
    let augment = changes(&fields, family, names, sink);
    let loss = match fields.get("loss") {
        Some(field) => loss(&field.value, checked, names, sink),
        // A mistake in the loss of training has been reported there.
        None => trained.and(loss_of_training).and_then(|expr| loss(expr, checked, names, &mut Sink::new())),
    };
    let episodes = match fields.get("episodes") {
        Some(field) => names.constants.count(&field.value, 1, "`episodes`", sink),
        None => Some(1),
    };
    if let Some(tasks) = &tasks {
        check_tasks(tasks, trained, model, checked, &fields, sink);
    }
    let objective = match (loss, family) {
        (Some(loss), Some(family)) => {
            let seen = Seen { family, whole: model, checked, names, support: None };
            objective(&fields, &loss, seen, true, sink)
        }
        _ => None,
    };
    if let (Some(objective), Some(adapt)) = (&objective, &adapt) {
        check_examples(adapt, objective, &fields, sink);
        if *objective == Objective::Risk {
            check_whole_data(adapt, &fields, sink);
        }
    }
    let points = match (&adapt, &tasks, &objective) {
        (Some(adapt), Some(tasks), Some(objective)) => points(&fields, adapt, tasks, objective, names, sink),
        _ => None,
    };
    let in_context = fields.get("adapt").is_some_and(|field| is_in_context(&field.value));
    let support = match &objective {
        Some(Objective::Sample { support, .. }) if in_context => Some(*support),
        _ => None,
    };
    if let (Some(field), Some(true)) = (fields.get("augment"), adapt.as_ref().map(Vec::is_empty))
        && !in_context
    {
        let reason = "it changes what tasks adapt on, and these do not adapt; what is measured stays as it is";
        sink.push(Diagnostic::warning("W0501", field.path_span(), "`augment` has no effect here").help(reason));
    }
    let plan = || {
        Some(Evaluation {
            name: name.clone(),
            tasks: tasks?,
            objective: objective?,
            adapt: adapt?,
            episodes: episodes?,
            model: own.as_ref().and_then(|own| own.model.clone()),
            augment: augment?,
        })
    };
    let (plan, tasks) = (plan(), fields.span("tasks"));
    Some(CheckedEvaluation { plan, points, whole: own, support, name: name.clone(), blocks, tasks })
}

/// The tasks of an evaluation against those of training.
fn check_tasks(
    tasks: &TaskSource,
    trained: Option<&Train>,
    model: &Whole,
    checked: &Checked,
    fields: &Fields,
    sink: &mut Sink,
) {
    let at = fields.span("tasks");
    if let TaskSource::Pool { batch, .. } = tasks
        && Some(*batch as usize) != tasks.pool_size()
    {
        sink.push(
            Diagnostic::error("E0505", at, "an evaluation measures every task of its pool")
                .help("leave out `batch`, which belongs to training; choose fewer tasks with `strata` or `size`"),
        );
    }
    let source = checked.family(tasks.family()).and_then(|f| f.plan.source.as_ref());
    if let Some(source) = source
        && source.hold_out == 0.0
        && source.ways.is_none()
    {
        sink.push(
            Diagnostic::error("E0537", at, format!("`{}` holds out no examples to measure", tasks.family()))
                .help("clients are measured on examples that training does not see: set `hold_out` above 0"),
        );
    }
    let Some(trained) = trained else { return };
    let kept: Vec<&str> = trained.keep.iter().filter(|k| model.has(k)).map(String::as_str).collect();
    if kept.is_empty() {
        return;
    }
    // A `keep` on fresh tasks is a mistake of its own.
    if trained.tasks.pool().is_some() && tasks.pool() != trained.tasks.pool() {
        sink.push(
            Diagnostic::error("E0536", at, format!("these tasks have no {} of their own", kept.join(", ")))
                .help("parameters named in `keep` belong to the tasks of training; evaluate the same pool")
                .help("or keep nothing, and let the tasks adapt here"),
        );
    }
}
