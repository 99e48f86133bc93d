//! Whether a plan is whole: every program well formed, every name it uses present with the same shape.
//!
//! Plans made by `lang` always are. A plan that was read from a ledger is checked before anything is made of it, so
//! that a damaged or forged one is an error and not a crash.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::adapter;
use super::types::*;
use crate::catalog::{Augmentation, Budget, Loss, Metric, Outer, Reduction, Solver, Through, Weights, Whose};
use crate::ir::{Function, Port};

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("arm `{arm}`: {reason}")]
pub struct PlanError {
    /// The arm.
    pub arm: String,
    /// The part and what is wrong with it.
    pub reason: String,
}

/// Shapes by name.
type Shapes = BTreeMap<String, Vec<usize>>;

impl Plan {
    /// Checks every arm.
    pub fn verify(&self) -> Result<(), PlanError> {
        for arm in &self.arms {
            let error = |reason| PlanError { arm: arm.name.clone(), reason };
            for phase in arm.phases() {
                Checker { arm: &phase }.check().map_err(error)?;
            }
            let first = &arm.train;
            for Stage { name, train } in &arm.stages {
                let pool = first.keep.is_empty() || train.tasks.pool() == first.tasks.pool();
                let same = train.keep == first.keep && train.precision == first.precision && pool;
                ensure(same, || format!("stage `{name}` begins with another kind of state")).map_err(error)?;
            }
        }
        Ok(())
    }
}

struct Checker<'a> {
    arm: &'a Arm,
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

/// Checks a program and that its inputs are known; gives its outputs.
fn function(f: &Function, known: &Shapes, what: &str) -> Result<Shapes, String> {
    f.verify().map_err(|e| format!("{what}: {e}"))?;
    for port in &f.inputs {
        ensure(known.get(&port.name).is_some_and(|d| d == f.dims(port.node)), || {
            format!("{what} reads `{}`, which is not there in that shape", port.name)
        })?;
    }
    let outputs: Shapes = f.outputs.iter().map(|p| (p.name.clone(), f.dims(p.node).to_vec())).collect();
    ensure(outputs.len() == f.outputs.len(), || format!("{what} has two outputs of one name"))?;
    Ok(outputs)
}

fn sampler(sampler: &Sampler, known: &Shapes, what: &str) -> Result<Shapes, String> {
    let mut known = known.clone();
    for draw in &sampler.draws {
        if let Some(reason) = draw.law.refuses(&draw.dims) {
            return Err(format!("{what}: {reason}"));
        }
        known.insert(draw.name.clone(), draw.dims.clone());
    }
    function(&sampler.function, &known, what)
}

/// The same for a program that predicts, which reads masks of whatever shape, each once. Those in front of adapters come later.
fn predicting(f: &Function, known: &Shapes, model: &Model, what: &str) -> Result<Shapes, String> {
    let masks: Vec<(&Port, (usize, usize))> =
        f.inputs.iter().filter_map(|port| Some((port, model.mask(&port.name)?))).collect();
    let distinct: BTreeSet<(usize, usize)> = masks.iter().map(|(_, key)| *key).collect();
    let read = |at: usize| model.forward.inputs.iter().any(|port| port.name == model.dropout[at].name);
    ensure(distinct.len() == masks.len() && distinct.iter().all(|(at, _)| read(*at)), || {
        format!("{what} reads a mask twice, or one that is not its own")
    })?;
    f.verify().map_err(|e| format!("{what}: {e}"))?;
    let masks: Shapes = masks.iter().map(|(port, _)| (port.name.clone(), f.dims(port.node).to_vec())).collect();
    function(f, &joined(known, &masks), what)
}

fn joined(a: &Shapes, b: &Shapes) -> Shapes {
    a.iter().chain(b).map(|(n, d)| (n.clone(), d.clone())).collect()
}

fn shapes(model: &Model) -> Shapes {
    model.params.iter().map(|p| (p.name.clone(), p.dims.clone())).collect()
}

/// Checks a model; gives the shapes of its parameters.
fn model(model: &Model, world: &Shapes) -> Result<Shapes, String> {
    let params = shapes(model);
    ensure(params.len() == model.params.len(), || "two parameters have one name".into())?;
    let init = sampler(&model.init, world, "the initial parameters")?;
    let order = model.init.function.outputs.iter().map(|p| &p.name);
    ensure(init == params && order.eq(model.params.iter().map(|p| &p.name)), || {
        "the initial parameters are not those of the model".into()
    })?;
    ensure(model.forward.outputs.len() == 1, || "the model has not one prediction".into())?;
    model.forward.verify().map_err(|e| format!("the model: {e}"))?;
    let names: BTreeSet<&String> = model.dropout.iter().map(|mask| &mask.name).collect();
    let fine = |mask: &Dropout| {
        let adapts = |group: &Addition, port: &Port| {
            adapter::mask_name(&group.name, &port.name) == mask.name
                && adapter::in_products_alone(&model.forward, &port.name)
        };
        let adapts = |group: &Addition| group.compose.outputs.iter().any(|port| adapts(group, port));
        let read = model.forward.inputs.iter().any(|port| port.name == mask.name) || model.added.iter().any(adapts);
        mask.name.starts_with('~') && !mask.name.contains('#') && read && mask.rate > 0.0 && mask.rate <= 1.0
    };
    ensure(names.len() == model.dropout.len() && model.dropout.iter().all(fine), || {
        "a mask has no chance, or none reads it".into()
    })?;
    ensure(!params.keys().any(|name| names.contains(name)), || "a mask has the name of a parameter".into())?;
    for group in &model.added {
        let changed = function(&group.compose, &params, &group.name)?;
        let fit = changed.iter().all(|(name, dims)| params.get(name) == Some(dims));
        ensure(fit, || format!("`{}` changes something else than parameters", group.name))?;
    }
    Ok(params)
}

/// Whether these say how much each task counts in a mean.
fn counts(weights: &Weights, tasks: &TaskSource, family: &Family) -> bool {
    *weights != Weights::Episodes && weigh(weights, tasks, family)
}

/// Whether these are weights of the tasks: one above 0 for each stratum where they go by stratum.
fn weigh(weights: &Weights, tasks: &TaskSource, family: &Family) -> bool {
    let Weights::Strata { of } = weights else { return true };
    let weighed = |name: &String| of.iter().any(|s| s.name == *name && s.weight > 0.0 && s.weight.is_finite());
    match tasks {
        TaskSource::Fresh { .. } => family.strata.iter().all(|s| weighed(&s.name)),
        TaskSource::Pool { strata, .. } => strata.iter().all(|s| weighed(&s.name)),
    }
}

/// Whether changes of examples have a meaning for those of a family.
fn change(augment: &[Augmentation], family: &Family) -> bool {
    let fits = |source: &Clients| augment.iter().all(|change| change.refuses(&source.example[0].dims).is_none());
    augment.is_empty() || family.source.as_ref().is_some_and(fits)
}

fn there(model: &Model, names: &[String]) -> bool {
    names.iter().all(|n| model.position(n).is_some())
}

/// Whether what a block holds its parameters near is there: one of the same shape for each.
fn anchored(model: &Model, block: &Block) -> bool {
    let Some(Toward { anchor: Anchor::Params { names }, .. }) = &block.toward else { return true };
    let dims = |names: &[String]| model.positions(names).into_iter().map(|i| &model.params[i].dims).collect::<Vec<_>>();
    there(model, names) && dims(names) == dims(&block.on)
}

/// Whether learned step sizes are there: none, or one for each parameter, a scalar or of its shape.
pub(crate) fn rates_fit(model: &Model, on: &[String], rates: &[String]) -> bool {
    let dims = |names: &[String]| model.positions(names).into_iter().map(|i| &model.params[i].dims).collect::<Vec<_>>();
    let (on, sizes) = (dims(on), dims(rates));
    let fit = sizes.len() == on.len() && sizes.iter().zip(&on).all(|(rate, dims)| rate.is_empty() || rate == dims);
    there(model, rates) && (rates.is_empty() || fit)
}

/// The shapes of the variables of an example.
fn variables(family: &Family) -> Shapes {
    let f = &family.example.function;
    match &family.source {
        Some(source) => source.example.iter().map(|s| (s.name.clone(), s.dims.clone())).collect(),
        None => f.outputs.iter().map(|p| (p.name.clone(), f.dims(p.node).to_vec())).collect(),
    }
}

/// The number of support examples that a model can read by itself: where nothing else adapts it.
fn context(adapt: &[Block], objective: &Objective) -> u64 {
    match objective {
        Objective::Sample { support, .. } if adapt.is_empty() => *support,
        _ => 0,
    }
}

/// The shapes of what a model or loss can read: parameters, the variables of an example and those of `context` support
/// examples.
fn readable(family: &Family, model: &Model, context: u64) -> Shapes {
    let own = variables(family);
    let of_all = |(name, dims): (&String, &Vec<usize>)| {
        (format!("support_{name}"), [&[context as usize], dims.as_slice()].concat())
    };
    let of_support: Shapes = own.iter().filter(|_| context > 0).map(of_all).collect();
    joined(&joined(&of_support, &own), &shapes(model))
}

/// The examples that the blocks of an adaptation name, and those of adaptations ahead of their losses.
pub(crate) fn named_rows(adapt: &[Block]) -> impl Iterator<Item = Rows> {
    let ahead = adapt.iter().filter_map(|block| block.ahead.as_ref()).flat_map(|ahead| &ahead.adapt);
    adapt.iter().chain(ahead).filter_map(|block| block.examples)
}

/// Whether some block takes a mean over examples.
pub(crate) fn means(adapt: &[Block]) -> bool {
    let ahead = |block: &Block| block.ahead.as_ref().is_some_and(|ahead| means(&ahead.adapt));
    adapt.iter().any(|block| matches!(block.solver, Solver::Mean { .. }) || ahead(block))
}

/// Checks the blocks of an adaptation.
fn blocks(adapt: &[Block], family: &Family, model: &Model, what: &str) -> Result<(), String> {
    for block in adapt {
        let named = !block.on.is_empty() && there(model, &block.on) && block.batch != Some(0);
        ensure(named, || format!("{what} adapts parameters that are not there"))?;
        ensure(rates_fit(model, &block.on, &block.rates), || format!("{what} has step sizes of other shapes"))?;
        ensure(anchored(model, block), || format!("{what} holds parameters near others unlike them"))?;
        if let Solver::Mean { of, by_class } = &block.solver {
            let mean = predicting(of, &readable(family, model, 0), model, "a mean")?;
            let rows = |i: usize| {
                let dims = &model.params[i].dims;
                if *by_class { dims.get(1..).unwrap_or(&[]) } else { dims.as_slice() }
            };
            let fit = mean.len() == 1
                && mean.values().all(|dims| model.positions(&block.on).into_iter().all(|i| rows(i) == dims.as_slice()));
            let ranks = model.positions(&block.on).into_iter().all(|i| !(*by_class && model.params[i].dims.is_empty()));
            let target = !*by_class || variables(family).get("y").is_some_and(Vec::is_empty);
            ensure(fit && ranks && target, || format!("{what} takes a mean of another shape"))?;
        }
        if let Some(ahead) = &block.ahead {
            let unrolled = |b: &Block| b.batch.is_none() && matches!(b.budget, Budget::Steps { .. });
            let through = matches!(ahead.through, Through::Exact | Through::FirstOrder);
            let fine = block.solver.steps() && through && ahead.adapt.iter().all(unrolled);
            ensure(fine, || format!("{what} looks ahead through a loop"))?;
            blocks(&ahead.adapt, family, model, what)?;
        }
    }
    Ok(())
}

/// Whether a metric can be taken of the family's examples.
fn fits(metric: &Metric, family: &Family, model: &Model, context: u64) -> Result<(), String> {
    let known = readable(family, model, context);
    if let Metric::Loss { loss: Loss::Expression { function: f } } = metric {
        let outputs = predicting(f, &known, model, "the loss")?;
        return ensure(outputs.len() == 1 && outputs.values().all(Vec::is_empty), || {
            "the loss is not one scalar".into()
        });
    }
    let outputs = predicting(&model.forward, &known, model, "the model")?;
    let target = variables(family).get("y").cloned().ok_or_else(|| format!("`{}` has no target `y`", family.name))?;
    match metric.refuses(&outputs.into_values().next().unwrap_or_default(), &target) {
        Some(reason) => Err(reason),
        None => Ok(()),
    }
}

impl Checker<'_> {
    fn check(&self) -> Result<(), String> {
        let arm = self.arm;
        let world = sampler(&arm.world, &Shapes::new(), "the world")?;
        let params = model(&arm.model, &world)?;
        for family in &arm.families {
            self.family(family, &world, &params)?;
        }
        let train = &arm.train;
        let lifetimes: Vec<&String> = train.keep.iter().chain(&train.freeze).chain(&train.reset).collect();
        ensure(lifetimes.iter().all(|k| params.contains_key(*k)), || "a lifetime is that of no parameter".into())?;
        let distinct: BTreeSet<&String> = lifetimes.iter().copied().collect();
        ensure(distinct.len() == lifetimes.len(), || "a parameter has two lifetimes".into())?;
        let moved: Vec<&String> = arm.moved().into_iter().map(|i| &arm.model.params[i].name).collect();
        for retract in &train.retract {
            ensure(retract.on.iter().all(|name| moved.contains(&name)), || "what is retracted never moves".into())?;
            let mut named = arm.model.positions(&retract.on).into_iter();
            let refused = named.find_map(|i| retract.by.refuses(&arm.model.params[i].dims));
            ensure(refused.is_none(), || format!("`{}` does not fit", retract.by.name()))?;
        }
        ensure(train.update.is_some() || matches!(train.outer, Outer::Average { .. }), || "there is no update".into())?;
        ensure(!matches!(train.update, Some(Solver::ClosedForm { .. })), || "a closed form is no update".into())?;
        let pool = matches!(train.tasks, TaskSource::Pool { .. });
        ensure(pool || (train.keep.is_empty() && !matches!(train.outer, Outer::Worst { .. })), || {
            "fresh tasks cannot be remembered".into()
        })?;
        let near = |b: &Block| {
            b.ahead.is_none() && b.toward.as_ref().is_some_and(|t| t.anchor == Anchor::Start && t.weight > 0.0)
        };
        let implicit = matches!(train.through, Through::Implicit { .. });
        ensure(!implicit || matches!(train.adapt.as_slice(), [block] if near(block)), || {
            "an implicit gradient has no minimiser".into()
        })?;
        if train.controls() {
            let plain = |b: &Block| match &b.solver {
                Solver::Sgd { momentum, schedule, .. } => *momentum == 0.0 && schedule.is_empty() && b.rates.is_empty(),
                _ => false,
            };
            let once = |name: &String| train.adapt.iter().filter(|b| b.on.contains(name)).count() < 2;
            let fixed = matches!(train.tasks, TaskSource::Pool { replace: false, .. });
            let fine = fixed && train.adapt.iter().all(|b| plain(b) && b.on.iter().all(once));
            ensure(fine, || "control variates are of plain gradient descent in a pool".into())?;
        }
        let weighs = matches!(train.outer, Outer::Worst { .. } | Outer::Cvar { .. });
        ensure(!(weighs && train.through == Through::Difference), || "weights of losses need a gradient".into())?;
        self.protocol(&train.tasks, &train.objective, &train.adapt, &arm.model, "train")?;
        let changed = |tasks: &TaskSource, augment: &[Augmentation]| {
            arm.family(tasks.family()).is_some_and(|family| change(augment, family))
        };
        let fit = arm.evaluations.iter().all(|e| changed(&e.tasks, &e.augment));
        ensure(fit && changed(&train.tasks, &train.augment), || "a change of examples does not fit them".into())?;
        if let (Outer::Mean { weights } | Outer::Average { weights, .. }, Some(family)) =
            (&train.outer, arm.family(train.tasks.family()))
        {
            ensure(counts(weights, &train.tasks, family), || "training weighs no tasks".into())?;
        }
        for e in &arm.evaluations {
            // What tasks keep is found by a task's place in the pool of training.
            let remembered = arm.model_of(e).positions(&train.keep).is_empty() || e.tasks.pool() == train.tasks.pool();
            ensure(remembered, || format!("`{}` measures tasks that keep nothing", e.name))?;
            ensure(e.episodes > 0, || format!("`{}` has no episodes", e.name))?;
            if let Some(own) = &e.model {
                let shapes = model(own, &world)?;
                let agree = shapes.iter().all(|(name, dims)| params.get(name).is_none_or(|known| known == dims));
                ensure(agree, || format!("`{}` has a parameter of another shape than training", e.name))?;
            }
            self.protocol(&e.tasks, &e.objective, &e.adapt, arm.model_of(e), &e.name)?;
        }
        for measure in &arm.measures {
            self.measure(measure, &world, &params)?;
        }
        Ok(())
    }

    fn family(&self, family: &Family, world: &Shapes, params: &Shapes) -> Result<(), String> {
        let name = &family.name;
        let with_index = joined(world, &Shapes::from([("index".to_owned(), vec![])]));
        let mut task: Option<Shapes> = None;
        for stratum in &family.strata {
            ensure(stratum.count > 0, || format!("stratum `{}` is empty", stratum.name))?;
            let made = sampler(&stratum.task, &with_index, &format!("stratum `{}`", stratum.name))?;
            let names = |s: &Stratum| s.task.function.outputs.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
            ensure(names(stratum) == names(&family.strata[0]), || format!("the strata of `{name}` differ"))?;
            ensure(task.get_or_insert_with(|| made.clone()) == &made, || format!("the strata of `{name}` differ"))?;
        }
        let task = task.ok_or_else(|| format!("`{name}` has no strata"))?;
        let mut known = joined(world, &task);
        let episode = sampler(&family.episode, &known, &format!("an episode of `{name}`"))?;
        known.extend(episode);
        sampler(&family.example, &known, &format!("an example of `{name}`"))?;
        if let Some(risk) = &family.risk {
            known.extend(params.clone());
            let outputs = function(risk, &known, "the risk")?;
            ensure(outputs.len() == 1 && outputs.values().all(Vec::is_empty), || "the risk is not one scalar".into())?;
        }
        if let Some(source) = &family.source {
            ensure((0.0..1.0).contains(&source.hold_out), || "the share held out is not below 1".into())?;
            ensure(self.arm.data.iter().any(|d| d.name == source.data), || {
                format!("`{name}` reads data that is not there")
            })?;
            let fits =
                matches!(source.example.as_slice(), [x, y] if x.name == "x" && y.name == "y" && y.dims.is_empty());
            ensure(fits, || format!("an example of `{name}` is not features and a target"))?;
            let rows = source.rows.is_none_or(|rows| rows.first < rows.end);
            ensure(rows, || format!("the tasks of `{name}` have no examples"))?;
            let turned = matches!(source.turns, 2 | 4)
                && source.ways.is_some()
                && Augmentation::refuses_turns(&source.example[0].dims).is_none();
            ensure(source.turns == 1 || turned, || format!("the tasks of `{name}` cannot be turned"))?;
            let clients = family.strata.iter().try_fold(0u64, |sum, s| sum.checked_add(s.count));
            let fits = clients.is_some_and(|sum| sum <= source.partition.clients());
            ensure(fits && source.partition.twice().is_none(), || format!("`{name}` does not divide its data"))?;
            ensure(source.ways != Some(0), || format!("the tasks of `{name}` have no classes"))?;
        }
        Ok(())
    }

    fn protocol(
        &self,
        tasks: &TaskSource,
        objective: &Objective,
        adapt: &[Block],
        model: &Model,
        what: &str,
    ) -> Result<(), String> {
        let family = self
            .arm
            .family(tasks.family())
            .ok_or_else(|| format!("{what} uses tasks `{}`, which are not there", tasks.family()))?;
        ensure(tasks.per_step() > 0, || format!("{what} uses no tasks"))?;
        if let TaskSource::Pool { strata, batch, replace, law, .. } = tasks {
            let known = strata.iter().all(|s| family.stratum(&s.name).is_some() && s.count > 0);
            let total: u64 = strata.iter().map(|s| s.count).sum();
            ensure(known && (*replace || *batch <= total), || format!("the pool of {what} does not exist"))?;
            let episodes = family.source.as_ref().is_some_and(|source| source.ways.is_some());
            ensure(weigh(law, tasks, family) && (*law != Weights::Episodes || episodes), || {
                format!("the law of {what} does not fit its tasks")
            })?;
            let of_clients = |s: &PoolStratum| family.stratum(&s.name).is_some_and(|whole| s.count <= whole.count);
            let clients = family.source.is_none() || strata.iter().all(of_clients);
            ensure(clients, || format!("the pool of {what} has more tasks than clients"))?;
        } else {
            ensure(family.source.is_none(), || format!("{what} draws clients afresh"))?;
        }
        blocks(adapt, family, model, what)?;
        let held = if let Objective::Sample { support, .. } = objective { *support } else { 0 };
        let among = |rows: &Rows| rows.first < rows.end && rows.end <= held;
        ensure(named_rows(adapt).all(|rows| among(&rows)), || format!("{what} adapts to examples that are not there"))?;
        match objective {
            Objective::Risk => {
                ensure(!means(adapt), || format!("{what} takes means of no examples"))?;
                ensure(family.risk.is_some(), || format!("`{}` has no risk", family.name))
            }
            Objective::Sample { loss, support, query } => {
                ensure(family.source.is_some() || (*support > 0 && *query > 0), || format!("{what} has no examples"))?;
                fits(&Metric::Loss { loss: loss.clone() }, family, model, context(adapt, objective))
            }
        }
    }

    fn measure(&self, measure: &Measure, world: &Shapes, params: &Shapes) -> Result<(), String> {
        ensure(measure.every > 0, || format!("`{}` is measured never", measure.name))?;
        match &measure.what {
            What::State { metric, function: f } => {
                let shared: Shapes = params
                    .iter()
                    .filter(|(n, _)| !self.arm.train.keep.contains(n))
                    .map(|(n, d)| (n.clone(), d.clone()))
                    .collect();
                function(f, &joined(world, &shared), &measure.name)?;
                let shapes: Vec<&[usize]> = f.output_dims().collect();
                ensure(metric.refuses(&shapes).is_none(), || {
                    format!("`{}` measures something else than it says", measure.name)
                })
            }
            What::Evaluation { name, metric, reduction, after, share, query } => {
                let evaluation = self.arm.evaluation(name).ok_or_else(|| format!("`{name}` is not there"))?;
                let counted = |after: &u64| match length(&evaluation.adapt) {
                    Some(Budget::Steps { count } | Budget::Epochs { count }) => *after <= count,
                    None => false,
                };
                ensure(after.as_ref().is_none_or(counted), || format!("`{name}` does not adapt that long"))?;
                let within = |share: &f64| (0.0..=1.0).contains(share);
                ensure(share.as_ref().is_none_or(within), || "a point between lies outside".into())?;
                let several =
                    matches!(evaluation.objective, Objective::Sample { .. }) && evaluation.tasks.per_step() > 1;
                ensure(*query == Whose::Own || several, || {
                    format!("the tasks of `{name}` have no examples of others")
                })?;
                let family =
                    self.arm.family(evaluation.tasks.family()).ok_or_else(|| format!("`{name}` has no tasks"))?;
                if let Reduction::Mean { weights } = reduction {
                    ensure(counts(weights, &evaluation.tasks, family), || format!("`{name}` weighs no tasks"))?;
                }
                match (metric, &evaluation.objective) {
                    (Metric::Risk, _) => ensure(family.risk.is_some(), || format!("`{}` has no risk", family.name)),
                    (_, Objective::Risk) => Err(format!("`{name}` has no examples")),
                    (_, objective) => {
                        fits(metric, family, self.arm.model_of(evaluation), context(&evaluation.adapt, objective))
                    }
                }
            }
            What::Mass { .. } => Ok(()),
        }
    }
}
