//! `measure NAME = ...`: metrics of the state, and metrics of tasks under an evaluation.

use super::added::Whole;
use super::arm::Checked;
use super::calls::{Names, assign, entry_wanted, unknown_entry};
use super::dims::{Dim, Types, describe, describe_sizes, same, sizes};
use super::evaluate::CheckedEvaluation;
use super::objective::is_expression;
use super::points::Point;
use super::seen::Seen;
use super::source::{has_examples, weighs_all};
use super::writer::Writer;
use crate::catalog::{self, Args, Entry, Initial, Kind, Loss, Metric, Outer, Reduction, StateMetric, Weights, Whose};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Evaluation, Measure, Objective, TaskSource, Train, What};
use crate::syntax::ast::{Arg, Expr, ExprKind, Item, ItemKind, Name};

const NO_DRAWS: &str = "a measurement that draws would change with every look";

/// What a measure can refer to.
pub(super) struct Measures<'a> {
    /// `None` where training has a mistake, which has been reported.
    pub train: Option<&'a Train>,
    /// The number of steps of all stages, at least 1; `None` where one of them has a mistake.
    pub steps: Option<u64>,
    pub evaluations: &'a [CheckedEvaluation],
    /// The model of training.
    pub trained_model: &'a Whole,
    pub checked: &'a Checked,
    pub names: &'a Names<'a>,
}

impl Measures<'_> {
    /// The measure that an item declares, if it declares one, at every point of its evaluation.
    pub fn measure(&self, item: &Item, sink: &mut Sink) -> Option<Vec<Measure>> {
        let ItemKind::Measure { name, value, on, every } = &item.kind else { return None };
        let every = match every {
            Some(expr) => self.names.constants.count(expr, 1, "`every`", sink),
            None => self.steps,
        };
        let one = |what: What| vec![(name.text.clone(), what)];
        let taken = match on {
            Some(on) => self.on_tasks(name, value, on, sink),
            None => self.of_state(value, sink).map(one),
        };
        let (every, taken) = (every?, taken?);
        Some(taken.into_iter().map(|(name, what)| Measure { name, every, what }).collect())
    }

    /// `mean(squared)`, `worst(accuracy)`, `quantile(squared, q: 0.9)`, each with the name of what is taken
    fn on_tasks(&self, named: &Name, value: &Expr, on: &Name, sink: &mut Sink) -> Option<Vec<(String, What)>> {
        let evaluation = self.evaluations.iter().find(|e| e.name == on.text);
        if evaluation.is_none() {
            let known = self.evaluations.iter().map(|e| e.name.as_str());
            let error = Diagnostic::error("E0218", on.span, format!("no `evaluate` block is called `{}`", on.text));
            sink.push(
                self.names
                    .constants
                    .elsewhere(error, on, known)
                    .help("it says how tasks are measured: `evaluate test { tasks = ...; adapt = ... }`"),
            );
        }
        let ExprKind::Call { callee, args } = &value.kind else {
            if !matches!(value.kind, ExprKind::Error) {
                sink.push(
                    entry_wanted(Kind::Reduction, value.span).help("for example `mean(squared)` or `worst(accuracy)`"),
                );
            }
            return None;
        };
        let Some(entry) = catalog::find(Kind::Reduction, &callee.text) else {
            sink.push(unknown_entry(Kind::Reduction, callee));
            return None;
        };
        let assigned = assign(entry, args, value.span, sink)?;
        let expr = assigned[0]?;
        let expression = is_expression(expr, self.checked, self.names);
        let entry_metric = if expression { None } else { Some(self.metric(expr, sink)?) };
        let falls = entry_metric.as_ref().is_none_or(|metric| !metric.higher_is_better());
        let reduction = match entry.name {
            "mean" => Reduction::Mean { weights: self.weights(entry, assigned[1], sink)? },
            "worst" if falls => Reduction::Max,
            "worst" => Reduction::Min,
            "best" if falls => Reduction::Min,
            "best" => Reduction::Max,
            "median" => Reduction::Quantile { q: 0.5 },
            "std" => Reduction::Std,
            _ => Reduction::Quantile { q: self.names.real(entry, &entry.params[1], assigned[1]?, sink)? },
        };
        let CheckedEvaluation { plan: Some(evaluation), points: Some(points), whole, support, .. } = evaluation? else {
            return None;
        };
        let family = self.checked.family(evaluation.tasks.family())?;
        if let Reduction::Mean { weights } = &reduction
            && !(weighs_all(weights, &evaluation.tasks, &family.plan, value, sink)
                && has_examples(weights, &evaluation.objective, value, sink))
        {
            return None;
        }
        let whole = whole.as_ref().unwrap_or(self.trained_model);
        let seen = Seen { family, whole, checked: self.checked, names: self.names, support: *support };
        let metric = match entry_metric {
            Some(metric) => metric,
            None => Metric::Loss { loss: seen.loss(expr, sink)? },
        };
        check_metric(&metric, expr, evaluation, &seen, sink)?;
        if metric == Metric::Risk && points.iter().any(|point| point.query != Whose::Own) {
            sink.push(
                Diagnostic::error("E0557", expr.span, "a risk belongs to its task, and has no examples of others")
                    .help("measure a metric of examples, or leave `query` out of the evaluation"),
            );
            return None;
        }
        let at = |point: &Point| {
            let (after, share, query) = (point.after, point.share, point.query);
            let (name, metric, reduction) = (evaluation.name.clone(), metric.clone(), reduction.clone());
            (point.name(&named.text), What::Evaluation { name, metric, reduction, after, share, query })
        };
        Some(points.iter().map(at).collect())
    }

    /// How much tasks count in a mean.
    fn weights(&self, entry: &'static Entry, given: Option<&Expr>, sink: &mut Sink) -> Option<Weights> {
        let Some(given) = given else { return Some(Weights::Uniform) };
        let mut args = Args::new();
        args.set("weights", self.names.argument(entry, &entry.params[1], given, None, sink)?);
        Some(args.weights("weights"))
    }

    /// A metric of the catalog.
    fn metric(&self, expr: &Expr, sink: &mut Sink) -> Option<Metric> {
        let call = self.names.call(Kind::ExampleMetric, expr, sink)?;
        Some(Metric::from_args(call.entry.name, &call.args))
    }

    /// `subspace_distance(B, truth)`, `mass(hard)`, or any scalar expression of parameters and world.
    fn of_state(&self, value: &Expr, sink: &mut Sink) -> Option<What> {
        if let ExprKind::Call { callee, args } = &value.kind {
            let of_metric = args
                .first()
                .and_then(|a| a.value.single())
                .is_some_and(|n| catalog::find(Kind::ExampleMetric, &n.text).is_some());
            if of_metric && catalog::find(Kind::Reduction, &callee.text).is_some() {
                sink.push(
                    Diagnostic::error("E0226", value.span, "this is taken over tasks, and the measure names none")
                        .help("say which evaluation: `measure mse = mean(squared) on test every 100`"),
                );
                return None;
            }
            match callee.text.as_str() {
                "mass" => return self.mass(value, callee, sink),
                name => {
                    if let Some(entry) = catalog::find(Kind::StateMetric, name) {
                        return self.of_matrices(entry, args, value.span, sink);
                    }
                }
            }
        }
        let known = self.state();
        let mut writer = Writer::new(self.names.constants, &known, Some(NO_DRAWS));
        let scalar = writer.expr(value, sink)?;
        if !scalar.dims.is_empty() {
            sink.push(
                Diagnostic::error("E0308", value.span, "a measure must be a scalar")
                    .label(format!("this is {}", describe(&scalar.dims)))
                    .help("reduce it with `sum` or `mean`"),
            );
            return None;
        }
        let function = writer.into_function("measure", vec![("value".into(), scalar.node)]);
        Some(What::State { metric: StateMetric::Value, function })
    }

    /// Parameters that are shared, and the world.
    fn state(&self) -> Types {
        let kept = |name: &String| self.train.is_some_and(|t| t.keep.contains(name));
        let shared = self.checked.model.params.iter().filter(|(name, _)| !kept(name));
        self.checked.world.iter().chain(shared).map(|(n, d)| (n.clone(), d.clone())).collect()
    }

    /// A metric of matrices, which come first among its parameters.
    fn of_matrices(&self, entry: &'static Entry, args: &[Arg], span: Span, sink: &mut Sink) -> Option<What> {
        let assigned = assign(entry, args, span, sink)?;
        let metric = match entry.name {
            "subspace_distance" => StateMetric::SubspaceDistance,
            "chordal_distance" => StateMetric::ChordalDistance,
            "energy_ratio" => StateMetric::EnergyRatio,
            "spectral_norm" => StateMetric::SpectralNorm,
            "inverse_condition" => StateMetric::InverseCondition,
            "rank" => {
                let param = &entry.params[1];
                let tolerance = match (assigned[1], param.initial) {
                    (Some(given), _) => self.names.real(entry, param, given, sink)?,
                    (None, Initial::Real(x)) => x,
                    (None, other) => unreachable!("a tolerance starts as a number, not as {other:?}"),
                };
                StateMetric::Rank { tolerance }
            }
            other => unreachable!("`{other}` is not in the table of metrics of the state"),
        };
        let operands: Vec<&Expr> = assigned.into_iter().take(metric.operands().len()).flatten().collect();
        let known = self.state();
        let mut writer = Writer::new(self.names.constants, &known, Some(NO_DRAWS));
        let tensors: Vec<_> = operands.iter().map(|e| writer.expr(e, sink)).collect();
        let tensors: Vec<_> = tensors.into_iter().collect::<Option<_>>()?;
        let shapes: Vec<Vec<usize>> = tensors.iter().map(|t| sizes(&t.dims)).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let reason = metric.refuses(&shapes).or_else(|| match tensors.as_slice() {
            [a, b] if !same(&a.dims[..1], &b.dims[..1]) => Some("dims agree by name: both need the same rows"),
            _ => None,
        });
        if let Some(reason) = reason {
            let found: Vec<String> = tensors.iter().map(|t| describe_sizes(&t.dims)).collect();
            let at = operands.first()?.span.to(operands.last()?.span);
            sink.push(
                Diagnostic::error("E0317", at, format!("`{}` cannot be taken of this", entry.name))
                    .label(found.join(" and "))
                    .help(reason),
            );
            return None;
        }
        let outputs = metric.operands().iter().zip(tensors).map(|(name, t)| ((*name).to_owned(), t.node)).collect();
        Some(What::State { metric, function: writer.into_function("measure", outputs) })
    }

    fn mass(&self, value: &Expr, callee: &Name, sink: &mut Sink) -> Option<What> {
        let call = self.names.call(Kind::StateMetric, value, sink)?;
        let strata = call.args.names("strata");
        let train = self.train?;
        let reason = match &train.tasks {
            TaskSource::Fresh { .. } => {
                Some("training draws new tasks at every step, which have no weights".to_owned())
            }
            // An arm without an adversary weighs all tasks alike; its mass is then a constant worth comparing with.
            TaskSource::Pool { .. } if matches!(train.outer, Outer::Average { .. }) => {
                Some("training averages parameters and has no weights over tasks".to_owned())
            }
            TaskSource::Pool { strata: pool, .. } => strata
                .iter()
                .find(|s| !pool.iter().any(|p| p.name == **s))
                .map(|outside| format!("stratum `{outside}` takes no part in training")),
        };
        if let Some(reason) = reason {
            sink.push(
                Diagnostic::error("E0518", callee.span.to(value.span), "there is no such mass to measure")
                    .label(reason)
                    .help("`mass` adds up the weights that `outer = worst(...)` keeps for the tasks of a pool"),
            );
            return None;
        }
        Some(What::Mass { strata })
    }
}

/// The metric must fit the model and the examples of the tasks.
fn check_metric(metric: &Metric, expr: &Expr, evaluation: &Evaluation, seen: &Seen, sink: &mut Sink) -> Option<()> {
    let family = seen.family;
    let name = &family.plan.name;
    let (reason, label) = match (metric, &evaluation.objective) {
        (Metric::Risk, _) if family.plan.risk.is_some() || family.risk_is_wrong => return Some(()),
        (Metric::Risk, _) => (
            format!("write it into the block: `tasks {name} {{ risk = ... }}`"),
            format!("`{name}` declares no `risk`"),
        ),
        (_, Objective::Risk) => (
            format!("set for example `loss = squared` and `split` in `evaluate {}`", evaluation.name),
            format!("`{}` takes the risk of its tasks and draws no examples", evaluation.name),
        ),
        (Metric::Loss { loss: Loss::Expression { .. } }, _) => return Some(()),
        _ if !fits_examples(seen) => (
            "it compares what the model predicts with the target `y`; a formula can do without: `mean((net(x) - z) ^ 2)`"
                .to_owned(),
            format!("the examples of `{name}` have not all that the model reads, and a target `y`"),
        ),
        _ => {
            let output = &seen.whole.callable.as_ref()?.output;
            let target = family.example.get("y")?.as_ref()?;
            let Some(reason) = metric.refuses(&sizes(output), &sizes(target)) else { return Some(()) };
            (reason, format!("the model predicts {}, the target `y` is {}", describe(output), describe(target)))
        }
    };
    sink.push(
        Diagnostic::error("E0318", expr.span, format!("this metric cannot be taken on `{}`", evaluation.name))
            .label(label)
            .help(reason),
    );
    None
}

/// Whether the model can be applied to the examples of a family, and its prediction be compared with a target.
fn fits_examples(seen: &Seen) -> bool {
    let has = |name: &str, dims: &Option<Vec<Dim>>| match (seen.variable(name), dims) {
        (Some(Some(found)), Some(dims)) => same(&found, dims),
        (found, _) => found.is_some(),
    };
    seen.family.example.contains_key("y") && seen.checked.model.inputs.iter().all(|(name, dims)| has(name, dims))
}
