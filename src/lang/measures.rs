//! `measure NAME = ...`: metrics of the state, and metrics of tasks under an evaluation.

use super::arm::Checked;
use super::calls::{Names, assign};
use super::tasks::Types;
use super::tensor::{Writer, show};
use crate::catalog::{self, Kind, Metric, Outer, Reduction, StateMetric};
use crate::diag::{Diagnostic, Sink};
use crate::plan::{Evaluation, Measure, Objective, TaskSource, Train, What};
use crate::syntax::ast::{Expr, ExprKind, Item, ItemKind, Name};

/// The measure that an item declares, if it declares one.
pub(super) fn measure(
    item: &Item,
    train: &Train,
    evaluations: &[(String, Option<Evaluation>)],
    checked: &Checked,
    names: &Names,
    sink: &mut Sink,
) -> Option<Measure> {
    let ItemKind::Measure { name, value, on, every } = &item.kind else { return None };
    let every = match every {
        Some(expr) => names.constants.count(expr, 1, "`every`", sink)?,
        None => train.steps.max(1),
    };
    let what = match on {
        Some(on) => {
            let Some((_, evaluation)) = evaluations.iter().find(|(n, _)| *n == on.text) else {
                let known = evaluations.iter().map(|(n, _)| n.as_str());
                sink.push(
                    Diagnostic::error("E0218", on.span, format!("no `evaluate` block is called `{}`", on.text))
                        .suggest(on.span, &on.text, known)
                        .help("a measure on tasks says how they are evaluated: `evaluate test { tasks = ...; adapt = ... }`"),
                );
                return None;
            };
            on_tasks(value, evaluation.as_ref()?, checked, names, sink)?
        }
        None => of_state(value, train, checked, names, sink)?,
    };
    Some(Measure { name: name.text.clone(), every, what })
}

/// `mean(squared)`, `worst(accuracy)`, `quantile(squared, q: 0.9)`
fn on_tasks(value: &Expr, evaluation: &Evaluation, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<What> {
    let wanted = || {
        Diagnostic::error("E0208", value.span, "a reduction over tasks of a metric is wanted here").help("for example `mean(squared)`, `worst(accuracy)`, `quantile(squared, q: 0.9)`")
    };
    let ExprKind::Call { callee, args } = &value.kind else {
        if !matches!(value.kind, ExprKind::Error) {
            sink.push(wanted());
        }
        return None;
    };
    let Some(entry) = catalog::find(Kind::Reduction, &callee.text) else {
        let known = catalog::of_kind(Kind::Reduction).map(|e| e.name);
        sink.push(Diagnostic::error("E0207", callee.span, format!("`{}` is not a reduction over tasks", callee.text)).suggest(callee.span, &callee.text, known));
        return None;
    };
    let assigned = assign(entry, args, value.span, sink)?;
    let metric = metric(assigned[0]?, evaluation, checked, sink)?;
    let reduction = match entry.name {
        "mean" => Reduction::Mean,
        "worst" if metric.higher_is_better() => Reduction::Min,
        "worst" => Reduction::Max,
        "std" => Reduction::Std,
        _ => {
            let expr = assigned[1]?;
            let q = names.constants.number(expr, sink)?;
            if !(0.0..=1.0).contains(&q) {
                sink.push(Diagnostic::error("E0408", expr.span, format!("`q` is a share from 0 to 1, not {q}")));
                return None;
            }
            Reduction::Quantile { q }
        }
    };
    Some(What::Evaluation { name: evaluation.name.clone(), metric, reduction })
}

fn metric(expr: &Expr, evaluation: &Evaluation, checked: &Checked, sink: &mut Sink) -> Option<Metric> {
    let name = super::calls::single(expr);
    let Some(metric) = name.and_then(|n| Metric::find(&n.text)) else {
        let known: Vec<&str> = catalog::of_kind(Kind::ExampleMetric).map(|e| e.name).collect();
        let error = Diagnostic::error("E0207", expr.span, "a metric of examples is wanted here");
        sink.push(match name {
            Some(name) => Diagnostic { message: format!("`{}` is not a metric of examples", name.text), ..error }.suggest(name.span, &name.text, known),
            None => error.help(format!("known here: {}", known.join(", "))),
        });
        return None;
    };
    let family = checked.family(evaluation.tasks.family())?;
    let output = super::tensor::sizes(&checked.model.output);
    let target = family.example.get("y").map(|d| super::tensor::sizes(d));
    let refused = match (metric, &evaluation.objective) {
        (Metric::Risk, _) if family.plan.risk.is_none() => Some(format!("`{}` declares no `risk`", family.plan.name)),
        (Metric::Risk, _) => None,
        (_, Objective::Risk) => Some(format!("`{}` is evaluated by its risk and draws no examples", evaluation.name)),
        (Metric::Loss { loss }, _) => loss.refuses(&output, &target?),
        (Metric::Accuracy, _) if output.len() == 1 && target?.is_empty() => None,
        (Metric::Accuracy, _) => Some("it needs a prediction `[classes]` and a class number as target".into()),
    };
    if let Some(reason) = refused {
        sink.push(Diagnostic::error("E0309", expr.span, format!("this metric does not fit: {reason}")));
        return None;
    }
    Some(metric)
}

/// `subspace_distance(B, truth)`, `mass(hard)`, or any scalar expression of parameters and world.
fn of_state(value: &Expr, train: &Train, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<What> {
    if let ExprKind::Call { callee, args } = &value.kind {
        if catalog::find(Kind::Reduction, &callee.text).is_some() && args.first().and_then(|a| super::calls::single(&a.value)).is_some_and(|n| Metric::find(&n.text).is_some()) {
            sink.push(
                Diagnostic::error("E0218", value.span, format!("`{}` is taken over tasks, and this measure names none", callee.text))
                    .help("say which evaluation: `measure mse = mean(squared) on test every 100`"),
            );
            return None;
        }
        match callee.text.as_str() {
            "mass" => return mass(value, train, names, callee, sink),
            "subspace_distance" => {
                let entry = catalog::find(Kind::StateMetric, "subspace_distance")?;
                let assigned = assign(entry, args, value.span, sink)?;
                return subspace_distance(assigned[0]?, assigned[1]?, train, checked, names, sink);
            }
            _ => {}
        }
    }
    let known = state(train, checked);
    let mut writer = Writer::new(names.constants, &known, Some("a measurement must not draw: it would change with every look"));
    let scalar = writer.expr(value, sink)?;
    if !scalar.dims.is_empty() {
        sink.push(Diagnostic::error("E0308", value.span, format!("a measure is one number, and this is {}", show(&scalar.dims))).help("reduce it with `sum` or `mean`"));
        return None;
    }
    let function = writer.into_function("measure", vec![("value".into(), scalar.node)]);
    Some(What::State { metric: StateMetric::Value, function })
}

/// Parameters that are shared, and the world.
fn state(train: &Train, checked: &Checked) -> Types {
    let shared = checked.model.params.iter().filter(|(name, _)| !train.keep.contains(name));
    checked.world.iter().chain(shared).map(|(n, d)| (n.clone(), d.clone())).collect()
}

fn subspace_distance(a: &Expr, b: &Expr, train: &Train, checked: &Checked, names: &Names, sink: &mut Sink) -> Option<What> {
    let known = state(train, checked);
    let mut writer = Writer::new(names.constants, &known, Some("a measurement must not draw: it would change with every look"));
    let (left, right) = (writer.expr(a, sink), writer.expr(b, sink));
    let (left, right) = (left?, right?);
    for (expr, value) in [(a, &left), (b, &right)] {
        if value.dims.len() != 2 {
            sink.push(Diagnostic::error("E0309", expr.span, format!("`subspace_distance` compares matrices, and this is {}", show(&value.dims))));
            return None;
        }
    }
    let (rows, columns) = (left.dims[0].size, left.dims[1].size);
    if !super::tensor::same(&left.dims[..1], &right.dims[..1]) || columns > rows || right.dims[1].size > columns {
        sink.push(
            Diagnostic::error("E0309", a.span.to(b.span), format!("`subspace_distance` compares column spaces, and {} does not fit {}", show(&left.dims), show(&right.dims)))
                .help("both need the same rows, at least as many rows as columns, and the second at most as many columns as the first"),
        );
        return None;
    }
    let function = writer.into_function("measure", vec![("a".into(), left.node), ("b".into(), right.node)]);
    Some(What::State { metric: StateMetric::SubspaceDistance, function })
}

fn mass(value: &Expr, train: &Train, names: &Names, callee: &Name, sink: &mut Sink) -> Option<What> {
    let call = names.call(Kind::StateMetric, value, sink)?;
    let strata = call.args.names("strata");
    let TaskSource::Pool { strata: pool, .. } = &train.tasks else {
        sink.push(Diagnostic::error("E0518", callee.span, "`mass` measures the adversary's weights, and training has none").help("they exist under `outer = worst(...)`"));
        return None;
    };
    // An arm without an adversary weighs all tasks alike; its mass is then a constant worth comparing with.
    let weighed = matches!(train.outer, Outer::Worst { .. } | Outer::Mean);
    let outside = strata.iter().find(|s| !pool.iter().any(|p| p.name == **s));
    if !weighed || outside.is_some() {
        let reason = outside.map_or("training has no weights over tasks".to_owned(), |s| format!("stratum `{s}` takes no part in training"));
        sink.push(Diagnostic::error("E0518", value.span, format!("`mass` cannot be measured: {reason}")));
        return None;
    }
    Some(What::Mass { strata })
}
