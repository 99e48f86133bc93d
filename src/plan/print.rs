//! The plan as text: stable, one fact a line, so that two plans can be compared line by line.

use std::fmt::{self, Display, Write};

use super::types::*;
use crate::catalog::{
    Augmentation, BaseLaw, Budget, Column, Columns, Factor, Loss, Metric, Outer, Reader, Reduction, Sees, Simplex,
    Solver, Through, Weights, Whose,
};
use crate::ir::{Binary, Function, Node, NodeId, Op, Unary};

/// The text of a plan.
pub fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    write(&mut out, plan).expect("writing to a string does not fail");
    out
}

/// The text of one arm.
pub fn arm(arm: &Arm) -> String {
    let mut out = String::new();
    write_arm(&mut out, arm).expect("writing to a string does not fail");
    out
}

fn write(out: &mut String, plan: &Plan) -> fmt::Result {
    writeln!(out, "experiment {} (edition {})", plan.experiment, plan.edition)?;
    writeln!(out, "seeds {}", list(&plan.seeds))?;
    for arm in &plan.arms {
        writeln!(out)?;
        write_arm(out, arm)?;
    }
    if !plan.claims.is_empty() {
        writeln!(out, "\nclaims")?;
    }
    for claim in &plan.claims {
        writeln!(out, "  {claim}")?;
    }
    Ok(())
}

fn write_arm(out: &mut String, arm: &Arm) -> fmt::Result {
    writeln!(out, "arm {}", arm.name)?;
    for source in &arm.data {
        writeln!(out, "  data {}", source.name)?;
        writeln!(out, "    {}", reader_name(&source.reader))?;
    }
    if !arm.world.is_empty() {
        writeln!(out, "  world, once per seed")?;
        write_sampler(out, &arm.world)?;
    }
    for family in &arm.families {
        write_family(out, family)?;
    }
    writeln!(out, "  model {}", arm.model.name)?;
    write_model(out, &arm.model)?;
    writeln!(out, "  train for {} in {}", count(arm.train.steps, "step"), arm.train.precision.name())?;
    write_train(out, &arm.train)?;
    for stage in &arm.stages {
        writeln!(out, "  then stage {} for {}", stage.name, count(stage.train.steps, "step"))?;
        write_train(out, &stage.train)?;
    }
    for e in &arm.evaluations {
        writeln!(out, "  evaluate {}", e.name)?;
        writeln!(out, "    tasks: {}, the same at every measurement", Tasks(&e.tasks))?;
        if arm.family(e.tasks.family()).is_some_and(|f| f.source.is_some()) {
            writeln!(out, "    measured on: the examples held out")?;
        }
        if e.episodes > 1 {
            writeln!(out, "    episodes: the mean of {} visits to each task", e.episodes)?;
        }
        write_objective(out, &e.objective)?;
        write_adapt(out, &e.adapt)?;
        write_changes(out, "support examples", &e.augment)?;
        if let Some(model) = &e.model {
            writeln!(out, "    model of its own; what training lacks begins at its initial value")?;
            write_model(out, model)?;
        }
    }
    for m in &arm.measures {
        writeln!(out, "  measure {} every {}", m.name, count(m.every, "step"))?;
        writeln!(out, "    {}", measured(arm, &m.what))?;
        match &m.what {
            What::State { function, .. }
            | What::Evaluation { metric: Metric::Loss { loss: Loss::Expression { function } }, .. } => {
                write_function(out, function)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_model(out: &mut String, model: &Model) -> fmt::Result {
    if let Some(weights) = &model.weights {
        writeln!(out, "      parameters that {weights} has begin as they are there")?;
    }
    write_sampler(out, &model.init)?;
    write_function(out, &model.forward)?;
    for mask in &model.dropout {
        let rate = shortest(mask.rate);
        writeln!(out, "      {}: while parameters move, 0 with chance {rate}, else 1 / (1 - {rate})", mask.name)?;
    }
    for group in &model.added {
        writeln!(out, "    with {}", group.name)?;
        write_function(out, &group.compose)?;
    }
    Ok(())
}

/// What a measure of an arm takes, in one line.
pub fn measured(arm: &Arm, what: &What) -> String {
    match what {
        What::State { metric, .. } => format!("{} of the state", metric.describe()),
        What::Evaluation { name, metric, reduction, after, share, query } => {
            let whose = match query {
                Whose::Own => "",
                Whose::Others => " on the examples of all others",
                Whose::All => " on the examples of all",
            };
            let adapt = arm.evaluation(name).and_then(|evaluation| length(&evaluation.adapt));
            let unit = if matches!(adapt, Some(Budget::Epochs { .. })) { "epoch" } else { "step" };
            let after = after.map_or_else(String::new, |n| format!(", after {} of its adaptation", count(n, unit)));
            let share = share.map_or_else(String::new, |share| format!(", {} of the way to its end", shortest(share)));
            let (reduction, metric) = (reduction_name(reduction), metric_name(metric));
            format!("{reduction} over tasks of {metric}{whose} under {name}{after}{share}")
        }
        What::Mass { strata } => format!("weight of the tasks in {}", list(strata)),
    }
}

fn reader_name(reader: &Reader) -> String {
    let owners = |owner: &Option<String>| owner.as_ref().map_or(String::new(), |name| format!(", owner = {name}"));
    match reader {
        Reader::Csv { first_feature, end_feature, target, regression, owner, scale } => {
            let kind = if *regression { "number" } else { "class" };
            let owner = owner.map_or(String::new(), |column| format!(", owner = column {column}"));
            format!(
                "csv, x = columns {first_feature}..{end_feature} times {scale}, y = {kind} in column {target}{owner}"
            )
        }
        Reader::Table { features, target, regression, owner, scale } => {
            let one = |column: &Column| match column {
                Column::At { number } => number.to_string(),
                Column::Named { name } => name.clone(),
            };
            let features = match features {
                Columns::Range { first, end } => format!("{first}..{end}"),
                Columns::Named { names } => list(names),
            };
            let kind = if *regression { "number" } else { "class" };
            let owner = owner.as_ref().map_or(String::new(), |column| format!(", owner = column {}", one(column)));
            format!("csv, x = columns {features} times {scale}, y = {kind} in column {}{owner}", one(target))
        }
        Reader::Idx { scale } => format!("idx, x = images times {scale}, y = class"),
        Reader::Cifar { classes, part, scale } => {
            format!("cifar{classes}, {part}, x = pixels times {scale}, y = class")
        }
        Reader::Npz { x, y, owner, scale } => format!("npz, x = {x} times {scale}, y = {y}{}", owners(owner)),
        Reader::Npy { owner, scale } => {
            let owner = if *owner { ", owner = third file" } else { "" };
            format!("npy, x = first file times {scale}, y = second file{owner}")
        }
        Reader::Jsonl { x, y, owner, scale } => format!("jsonl, x = {x} times {scale}, y = {y}{}", owners(owner)),
        Reader::Texts { text, y, owner, length } => {
            format!("texts, x = {length} tokens of {text}, y = {y}{}", owners(owner))
        }
        Reader::Parquet { x, y, owner, scale } => {
            format!("parquet, x = {} times {scale}, y = {y}{}", list(x), owners(owner))
        }
        Reader::Convai { length, history } => {
            let history = history.map_or_else(String::new, |n| format!(" of the last {n} messages"));
            format!("convai2, x = {length} tokens{history} and every candidate, y = right candidate, owner = persona")
        }
        Reader::Instructions { length, candidates } => {
            format!(
                "natural_instructions, x = {length} tokens and each of {candidates} answers, y = right answer, owner = task"
            )
        }
        Reader::Leaf { part, scale } => format!("leaf, {part}, x times {scale}, owner = user"),
        Reader::Safetensors {} => "safetensors, parameters by name".into(),
        Reader::Images { size, channels, invert, owner } => {
            let inverted = if *invert { ", inverted" } else { "" };
            let owner = if *owner { ", owner = folder above the class" } else { "" };
            format!("images, {channels} x {size} x {size}{inverted}, y = folder{owner}")
        }
    }
}

fn write_family(out: &mut String, family: &Family) -> fmt::Result {
    writeln!(out, "  tasks {}", family.name)?;
    if let Some(source) = &family.source {
        let rows = source.rows.map_or_else(String::new, |rows| format!(", examples {}..{}", rows.first, rows.end));
        writeln!(out, "    from {}{rows}, {}", source.data, source.partition.describe())?;
        match source.ways {
            Some(ways) => {
                let turns = match source.turns {
                    1 => String::new(),
                    turns => format!(", the {turns} turns of each as classes of their own"),
                };
                writeln!(out, "    at every visit {ways} classes of a client, numbered anew{turns}")?;
            }
            None => writeln!(out, "    {} of each client's examples held out", source.hold_out)?,
        }
    }
    for stratum in &family.strata {
        if family.strata.len() > 1 || stratum.name != "all" {
            writeln!(out, "    stratum {} of {}", stratum.name, stratum.count)?;
        }
        if !stratum.task.is_empty() {
            writeln!(out, "    once per task")?;
            write_sampler(out, &stratum.task)?;
        }
    }
    for (when, sampler) in [("once per visit", &family.episode), ("once per example", &family.example)] {
        if !sampler.is_empty() {
            writeln!(out, "    {when}")?;
            write_sampler(out, sampler)?;
        }
    }
    if let Some(risk) = &family.risk {
        writeln!(out, "    risk")?;
        write_function(out, risk)?;
    }
    Ok(())
}

fn write_train(out: &mut String, train: &Train) -> fmt::Result {
    writeln!(out, "    tasks: {}", Tasks(&train.tasks))?;
    write_objective(out, &train.objective)?;
    write_adapt(out, &train.adapt)?;
    if !train.adapt.is_empty() && !matches!(train.outer, Outer::Average { .. }) {
        let through = match train.through {
            Through::Exact => "exact, to second order through every inner step".to_owned(),
            Through::FirstOrder => "first order, inner gradients count as constants".to_owned(),
            Through::Stop => "stopped, adapted parameters count as constants".to_owned(),
            Through::Difference => "none, the outer gradient is start minus mean end".to_owned(),
            Through::Implicit { cg } => {
                format!("implicit, at the minimiser near the start, by {} of conjugate gradients", count(cg, "round"))
            }
        };
        writeln!(out, "    through: {through}")?;
    }
    if !train.keep.is_empty() {
        writeln!(out, "    keep: {} with their task between steps", list(&train.keep))?;
    }
    if !train.freeze.is_empty() {
        writeln!(out, "    freeze: {} as they begin", list(&train.freeze))?;
    }
    if !train.reset.is_empty() {
        writeln!(out, "    reset: {} at the start of every episode", list(&train.reset))?;
    }
    let outer = match &train.outer {
        Outer::Mean { weights: Weights::Uniform } => "mean over tasks".to_owned(),
        Outer::Mean { weights } => format!("mean over tasks, {}", WeightsText(weights)),
        Outer::Cvar { q } => format!("mean over the worst {} of the tasks", shortest(*q)),
        Outer::Worst { over, ascent, sees, exponential } => format!(
            "worst mixture over {}, ascent {} on {} losses{}",
            if *over == Simplex::Task { "tasks" } else { "strata" },
            shortest(*ascent),
            if *sees == Sees::Raw { "raw" } else { "weighted" },
            if *exponential { ", exponential" } else { "" }
        ),
        Outer::Average { weights, control } => {
            format!(
                "average of the adapted parameters, {}{}",
                WeightsText(weights),
                if *control { ", gradients corrected by control variates" } else { "" }
            )
        }
    };
    writeln!(out, "    outer: {outer}")?;
    if let Some(update) = &train.update {
        writeln!(out, "    update: {}", SolverText(update))?;
    }
    for retract in &train.retract {
        writeln!(out, "    retract: {} by {}", list(&retract.on), retract.by.name())?;
    }
    write_changes(out, "examples", &train.augment)
}

/// How examples are changed.
fn write_changes(out: &mut String, which: &str, changes: &[Augmentation]) -> fmt::Result {
    for change in changes {
        writeln!(out, "    {which} at every visit: {}", change.describe())?;
    }
    Ok(())
}

fn write_objective(out: &mut String, objective: &Objective) -> fmt::Result {
    match objective {
        Objective::Risk => writeln!(out, "    loss: population risk"),
        Objective::Sample { loss, support: 0, .. } => {
            writeln!(out, "    loss: {} over all examples a client holds", loss.name())
        }
        Objective::Sample { loss, support, query } => {
            writeln!(out, "    loss: {} over {support} support and {query} query examples", loss.name())
        }
    }?;
    match objective {
        Objective::Sample { loss: Loss::Expression { function }, .. } => write_function(out, function),
        _ => Ok(()),
    }
}

fn write_adapt(out: &mut String, blocks: &[Block]) -> fmt::Result {
    if blocks.is_empty() {
        return writeln!(out, "    adapt: none");
    }
    for block in blocks {
        let budget = match (block.budget, &block.solver) {
            (_, Solver::ClosedForm { .. } | Solver::Mean { .. }) => String::new(),
            (Budget::Steps { count: n }, _) => format!(", {}", count(n, "step")),
            (Budget::Epochs { count: n }, _) => format!(", {}", count(n, "epoch")),
        };
        let batch = block.batch.map(|b| format!(" of batches of {b}")).unwrap_or_default();
        writeln!(out, "    adapt: {} by {}{budget}{batch}", list(&block.on), SolverText(&block.solver))?;
        if let Some(Toward { anchor, weight }) = &block.toward {
            let anchor = match anchor {
                Anchor::Start => "where it began".to_owned(),
                Anchor::Params { names } => list(names),
            };
            writeln!(out, "      plus {} / 2 times the squared distance to {anchor}", shortest(*weight))?;
        }
        if !block.rates.is_empty() {
            writeln!(out, "      times the learned step sizes {}", list(&block.rates))?;
        }
        if let Some(Rows { first, end }) = block.examples {
            writeln!(out, "      on the support examples {first}..{end}")?;
        }
        if !block.without.is_empty() {
            writeln!(out, "      without {}", list(&block.without))?;
        }
        if let Solver::Mean { of, .. } = &block.solver {
            write_function(out, of)?;
        }
        if let Some(Ahead { adapt, through }) = &block.ahead {
            let sees = if *through == Through::Exact { "exact" } else { "first order" };
            writeln!(out, "      of the loss after an adaptation, through it: {sees}")?;
            write_adapt(out, adapt)?;
        }
    }
    Ok(())
}

fn write_sampler(out: &mut String, sampler: &Sampler) -> fmt::Result {
    for draw in &sampler.draws {
        writeln!(out, "      {}: {:?} ~ {}", draw.name, draw.dims, law_name(draw.law))?;
    }
    write_function(out, &sampler.function)
}

/// A function as one formula per output; values used more than once get a line of their own.
fn write_function(out: &mut String, f: &Function) -> fmt::Result {
    let mut uses = vec![0usize; f.nodes.len()];
    f.nodes.iter().flat_map(|n| &n.args).for_each(|a| uses[a.index()] += 1);
    let own_line = |i: usize| {
        uses[i] > 1
            && !matches!(f.nodes[i].op, Op::Input { .. } | Op::Const { .. } | Op::Broadcast { .. } | Op::Reshape { .. })
    };
    for i in (0..f.nodes.len()).filter(|&i| own_line(i)) {
        writeln!(out, "      %{i}: {:?} = {}", f.nodes[i].dims, formula(f, NodeId::new(i), &own_line, true))?;
    }
    for port in &f.outputs {
        writeln!(out, "      {}: {:?} = {}", port.name, f.dims(port.node), formula(f, port.node, &own_line, false))?;
    }
    Ok(())
}

fn formula(f: &Function, node: NodeId, own_line: &dyn Fn(usize) -> bool, top: bool) -> String {
    if !top && own_line(node.index()) {
        return format!("%{}", node.index());
    }
    let Node { op, args, .. } = &f.nodes[node.index()];
    let arg = |i: usize| formula(f, args[i], own_line, false);
    match op {
        Op::Input { index, .. } => f.inputs[*index].name.clone(),
        Op::Const { value } => shortest(value.0),
        // Shape changes carry no meaning of their own here; the dims are shown at the left.
        Op::Broadcast { .. } | Op::Reshape { .. } => arg(0),
        Op::Unary { f: Unary::Neg } => format!("-{}", arg(0)),
        Op::Binary { f: b @ (Binary::Add | Binary::Sub | Binary::Mul | Binary::Div) } => {
            let sign = match b {
                Binary::Add => "+",
                Binary::Sub => "-",
                Binary::Mul => "*",
                _ => "/",
            };
            format!("({} {sign} {})", arg(0), arg(1))
        }
        Op::MatMul { transpose_a, transpose_b } => {
            let mark = |t: &bool| if *t { "'" } else { "" };
            format!("({}{} @ {}{})", arg(0), mark(transpose_a), arg(1), mark(transpose_b))
        }
        Op::Reduce { axis, .. } => format!("{}({}, axis {axis})", op.name(), arg(0)),
        Op::Iota { dims, axis } => format!("iota({dims:?}, axis {axis})"),
        Op::Permute { order } => format!("permute({}, {order:?})", arg(0)),
        Op::Slice { axis, start, len } => format!("slice({}, axis {axis}, {start}..{})", arg(0), start + len),
        Op::Pad { axis, before, after } => format!("pad({}, axis {axis}, {before}, {after})", arg(0)),
        Op::Window { axis, size, stride, dilation } => {
            format!("window({}, axis {axis}, {size}, stride {stride}, dilation {dilation})", arg(0))
        }
        Op::Fold { axis, len, stride, dilation } => {
            format!("fold({}, axis {axis}, {len}, stride {stride}, dilation {dilation})", arg(0))
        }
        Op::Scatter { size, .. } => format!("scatter({}, {}, {size})", arg(0), arg(1)),
        Op::Unary { .. }
        | Op::Binary { .. }
        | Op::Compare { .. }
        | Op::Select
        | Op::Gather { .. }
        | Op::SolveSpd
        | Op::Detach
        | Op::CaseMean => {
            let args: Vec<String> = (0..args.len()).map(arg).collect();
            format!("{}({})", op.name(), args.join(", "))
        }
    }
}

struct WeightsText<'a>(&'a Weights);

impl Display for WeightsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Weights::Uniform => write!(f, "uniform"),
            Weights::Examples => write!(f, "by examples"),
            Weights::Episodes => write!(f, "by episodes"),
            Weights::Strata { of } => {
                let parts: Vec<String> = of.iter().map(|s| format!("{} {}", s.name, shortest(s.weight))).collect();
                write!(f, "by stratum ({})", parts.join(", "))
            }
        }
    }
}

struct Tasks<'a>(&'a TaskSource);

impl Display for Tasks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TaskSource::Fresh { family, count } => write!(f, "{count} fresh draws of {family}"),
            TaskSource::Pool { family, strata, batch, replace, law } => {
                let total: u64 = strata.iter().map(|s| s.count).sum();
                match (*batch == total && !replace, strata.as_slice()) {
                    (true, [_]) => write!(f, "all {total} tasks of {family}")?,
                    (_, [_]) => write!(f, "{batch} of {total} tasks of {family}")?,
                    _ => {
                        let parts: Vec<String> = strata.iter().map(|s| format!("{} {}", s.count, s.name)).collect();
                        write!(f, "{batch} of {total} tasks of {family} ({})", parts.join(", "))?;
                    }
                }
                if *replace {
                    write!(f, ", with replacement")?;
                }
                if *law == Weights::Uniform { Ok(()) } else { write!(f, ", sampled {}", WeightsText(law)) }
            }
        }
    }
}

struct SolverText<'a>(&'a Solver);

impl Display for SolverText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Solver::Sgd { rate, momentum, weight_decay, schedule } => {
                write!(
                    f,
                    "sgd, rate {}{}, momentum {momentum}, weight decay {}",
                    shortest(*rate),
                    Factors(schedule),
                    shortest(*weight_decay)
                )
            }
            Solver::Adam { rate, beta1, beta2, epsilon, weight_decay, schedule } => {
                let (rate, epsilon) = (shortest(*rate), shortest(*epsilon));
                write!(f, "adam, rate {rate}{}, beta {beta1} and {beta2}, epsilon {epsilon}", Factors(schedule))?;
                match weight_decay {
                    0.0 => Ok(()),
                    decay => write!(f, ", weight decay {} of its own", shortest(*decay)),
                }
            }
            Solver::Mean { by_class: false, .. } => write!(f, "the mean over the support examples"),
            Solver::Mean { by_class: true, .. } => write!(f, "the mean over the support examples of each class"),
            Solver::ClosedForm { penalty } => write!(f, "closed form, penalty {}", shortest(*penalty)),
        }
    }
}

/// How a step size changes.
struct Factors<'a>(&'a [Factor]);

impl Display for Factors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for factor in self.0 {
            match factor {
                Factor::Warmup { steps } => write!(f, " after a warm-up of {}", count(*steps, "step"))?,
                Factor::Cosine { to, over } => write!(f, " by a cosine to {to} of it over {}", count(*over, "step"))?,
                Factor::Linear { to, over } => write!(f, " by a line to {to} of it over {}", count(*over, "step"))?,
                Factor::Step { by, every } => write!(f, " times {by} after every {}", count(*every, "step"))?,
            }
        }
        Ok(())
    }
}

fn metric_name(metric: &Metric) -> String {
    match metric {
        Metric::Loss { loss } => loss.name().into(),
        Metric::Accuracy => "accuracy".into(),
        Metric::Risk => "risk".into(),
        Metric::Nmi { classes } => format!("nmi of sign codes and {classes} classes"),
        Metric::Purity { classes } => format!("purity of sign codes for {classes} classes"),
    }
}

fn reduction_name(reduction: &Reduction) -> String {
    match reduction {
        Reduction::Mean { weights: Weights::Uniform } => "mean".into(),
        Reduction::Mean { weights } => format!("mean {}", WeightsText(weights)),
        Reduction::Max => "maximum".into(),
        Reduction::Min => "minimum".into(),
        Reduction::Std => "standard deviation".into(),
        Reduction::Quantile { q } => format!("quantile {q}"),
    }
}

fn law_name(law: BaseLaw) -> &'static str {
    match law {
        BaseLaw::Uniform => "uniform on [0, 1)",
        BaseLaw::Normal => "standard normal",
        BaseLaw::TruncatedNormal => "standard normal within [-2, 2]",
        BaseLaw::Stiefel => "stiefel",
        BaseLaw::Sphere => "unit sphere",
    }
}

/// `1 step`, `2 steps`
fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A number in its shortest form that reads back the same.
fn shortest(x: f64) -> String {
    let (plain, scientific) = (format!("{x}"), format!("{x:e}"));
    if scientific.len() < plain.len() { scientific } else { plain }
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
