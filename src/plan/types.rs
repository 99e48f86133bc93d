//! The plan: what will happen, without spans and with every default explicit. This is what is hashed and replayed.

use crate::catalog::{
    Augmentation, BaseLaw, Budget, Loss, Metric, Outer, Partition, Reader, Reduction, Retraction, Solver, StateMetric,
    Through, Weights, Whose,
};
use crate::hash::{record, variants};
use crate::ir::{Function, Port, Precision};

record! {
    /// A whole experiment: every arm spelled out, seeds, claims.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Plan {
        /// The edition of the language it was written in.
        pub edition: u32,
        /// The experiment's name.
        pub experiment: String,
        /// The arms, in the order of the file.
        pub arms: Vec<Arm>,
        /// The seeds; every arm runs once per seed, all arms on the same random streams.
        pub seeds: Vec<u64>,
        /// What the experiment asserts.
        pub claims: Vec<Claim>,
    }
}

record! {
    /// One arm: the base experiment with its overrides applied.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Arm {
        /// Its name.
        pub name: String,
        /// The data sets it reads; their files are named by the run's manifest.
        pub data: Vec<DataSource>,
        /// Drawn once per seed.
        pub world: Sampler,
        /// The families of tasks in use.
        pub families: Vec<Family>,
        /// The model.
        pub model: Model,
        /// Training.
        pub train: Train,
        /// What follows it, in order: each begins with the state in which the one before ended.
        pub stages: Vec<Stage> = vec![],
        /// Evaluation protocols in use.
        pub evaluations: Vec<Evaluation>,
        /// What is measured.
        pub measures: Vec<Measure>,
    }
}

record! {
    /// A data set.
    #[derive(Debug, Clone, PartialEq)]
    pub struct DataSource {
        /// Its name in the experiment.
        pub name: String,
        /// How its files are read.
        pub reader: Reader,
        /// The number of its files.
        pub files: u64,
    }
}

record! {
    /// A named tensor type.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Slot {
        /// Its name.
        pub name: String,
        /// Its shape; batch-like axes are not part of it.
        pub dims: Vec<usize>,
    }
}

record! {
    /// One standard draw that a sampler takes as an input.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Draw {
        /// The input's name and the leaf of its stream path: `~` and the declared name, with `.2`, `.3`... for
        /// further draws of one declaration.
        pub name: String,
        /// The law.
        pub law: BaseLaw,
        /// The shape.
        pub dims: Vec<usize>,
    }
}

record! {
    /// A program that makes random values. Its inputs are the draws and values already known, all by name.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Sampler {
        /// The draws among the inputs of `function`.
        pub draws: Vec<Draw>,
        /// The program; every output is one declared value.
        pub function: Function,
    }
}

record! {
    /// A family of tasks.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Family {
        /// Its name.
        pub name: String,
        /// Kinds of task; one, named `all`, where the family declares none.
        pub strata: Vec<Stratum>,
        /// Drawn at every visit.
        pub episode: Sampler,
        /// Drawn once per example; outputs are the example's variables.
        pub example: Sampler,
        /// The closed-form population risk of the parameters for one task: inputs by name, one scalar output.
        pub risk: Option<Function>,
        /// The data set behind the tasks, where they are clients and not draws.
        pub source: Option<Clients>,
    }
}

record! {
    /// A kind of task with laws of its own.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Stratum {
        /// Its name.
        pub name: String,
        /// How many tasks of it a pool holds, and its weight among fresh tasks.
        pub count: u64,
        /// Drawn once per task; may read `index`, the number of the task within the stratum.
        pub task: Sampler,
    }
}

record! {
    /// Tasks that are the clients of a data set.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Clients {
        /// The data set's name.
        pub data: String,
        /// Who holds what.
        pub partition: Partition,
        /// The share of each client's shuffled examples that only evaluations see.
        pub hold_out: f64,
        /// The number of classes that a visit draws and numbers anew; all of them, as they are, where absent.
        pub ways: Option<u64>,
        /// The features of one example, `x`, and its target, `y`.
        pub example: Vec<Slot>,
        /// The examples of the data set that are divided, where not all are.
        pub rows: Option<Rows> = None,
        /// The classes that each class of a visit stands for: itself, and itself turned by quarters (four) or a half (two).
        pub turns: u64 = 1,
    }
}

record! {
    /// Examples of a data set by their place in it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rows {
        /// The first.
        pub first: u64,
        /// The one after the last.
        pub end: u64,
    }
}

record! {
    /// A model.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Model {
        /// Its name.
        pub name: String,
        /// The parameters, in order.
        pub params: Vec<Slot>,
        /// Initial values; outputs in the order of `params`.
        pub init: Sampler,
        /// The prediction for one example: inputs by name (parameters and the example's variables), one output.
        pub forward: Function,
        /// Groups of parameters that were added to it, in the order in which they act.
        pub added: Vec<Addition> = vec![],
        /// The data set that holds the initial values of parameters by name; those that it lacks are drawn.
        pub weights: Option<String> = None,
        /// The masks among the inputs of the prediction.
        pub dropout: Vec<Dropout> = vec![],
    }
}

record! {
    /// A mask that the prediction multiplies by: for every entry 0 or `1 / (1 - rate)` while parameters move, else 1.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Dropout {
        /// The input's name and the leaf of its stream path: `~` and the name of the value, with `:2`, `:3`... for further
        /// masks in one value. Where a formula calls the model again, `#2`, `#3`... follow in the formula's inputs.
        pub name: String,
        /// The chance of 0.
        pub rate: f64,
    }
}

record! {
    /// A group of parameters that changes other parameters before predictions and risks read them.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Addition {
        /// The group's name.
        pub name: String,
        /// From parameters, by name, to those that it changes, by name.
        pub compose: Function,
    }
}

variants! {
    /// Which tasks take part.
    #[derive(Debug, Clone, PartialEq)]
    pub enum TaskSource {
        /// New tasks at every step.
        Fresh { family: String, count: u64 },
        /// A fixed set: so many tasks of each stratum, or all clients; `batch` of them at each step, sampled by a law.
        Pool {
            family: String,
            strata: Vec<PoolStratum>,
            batch: u64,
            replace: bool,
            law: Weights = Weights::Uniform,
        },
    }
}

record! {
    /// The tasks of one stratum in a pool.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PoolStratum {
        /// The stratum's name.
        pub name: String,
        /// How many.
        pub count: u64,
    }
}

variants! {
    /// What is minimised.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Objective {
        /// The family's closed-form risk.
        Risk,
        /// The mean of a loss over examples; generated tasks draw `support` and `query` examples at each visit,
        /// clients use those they hold (both numbers 0).
        Sample { loss: Loss, support: u64, query: u64 },
    }
}

record! {
    /// One block of adaptation.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Block {
        /// The parameters that move.
        pub on: Vec<String>,
        /// How.
        pub solver: Solver,
        /// How long.
        pub budget: Budget,
        /// The examples of one step; all of them where absent.
        pub batch: Option<u64>,
        /// The added groups that this block's loss leaves out.
        pub without: Vec<String> = vec![],
        /// What the parameters are held near.
        pub toward: Option<Toward> = None,
        /// Parameters that multiply the gradients: one for each parameter that moves, of its shape or a scalar.
        pub rates: Vec<String> = vec![],
        /// The adaptation after which the loss of each step is taken.
        pub ahead: Option<Ahead> = None,
        /// The support examples that it sees, by their place, where not all are.
        pub examples: Option<Rows> = None,
    }
}

record! {
    /// An adaptation within a step: the step's gradient is that of the loss after it.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Ahead {
        /// Its blocks, in order.
        pub adapt: Vec<Block>,
        /// What passes through it.
        pub through: Through,
    }
}

record! {
    /// A proximal term of a block's loss: `weight / 2 * |parameters - anchor|^2`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Toward {
        /// Where it pulls.
        pub anchor: Anchor,
        /// How strongly.
        pub weight: f64,
    }
}

variants! {
    /// Where a proximal term pulls.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Anchor {
        /// To where the task's adaptation began.
        Start,
        /// To other parameters as they are then; one for each parameter that moves, in order.
        Params { names: Vec<String> },
    }
}

record! {
    /// Training.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Train {
        /// Which tasks take part in a step.
        pub tasks: TaskSource,
        /// What tasks minimise.
        pub objective: Objective,
        /// How a task adapts the parameters; blocks in order.
        pub adapt: Vec<Block>,
        /// What passes through the adaptation.
        pub through: Through,
        /// Parameters that belong to the tasks of the pool and stay with them between steps.
        pub keep: Vec<String>,
        /// Parameters that never move.
        pub freeze: Vec<String> = vec![],
        /// Parameters that tasks adapt, and that begin every episode where they began training.
        pub reset: Vec<String> = vec![],
        /// The outer reduction.
        pub outer: Outer,
        /// The rule that moves the shared parameters; absent where they are averaged.
        pub update: Option<Solver>,
        /// What brings parameters back to their sets after each update, in order.
        pub retract: Vec<Retract> = vec![],
        /// The number of outer steps (rounds).
        pub steps: u64,
        /// The float type of every tensor.
        pub precision: Precision,
        /// How examples are changed at every visit, in order.
        pub augment: Vec<Augmentation> = vec![],
    }
}

record! {
    /// A stage of training after the first.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Stage {
        /// Its name.
        pub name: String,
        /// How it trains; what tasks keep and the float type are those of the first.
        pub train: Train,
    }
}

record! {
    /// Parameters that are brought back to a set.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Retract {
        /// The parameters.
        pub on: Vec<String>,
        /// The map onto the set.
        pub by: Retraction,
    }
}

record! {
    /// An evaluation protocol.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Evaluation {
        /// Its name.
        pub name: String,
        /// The tasks, the same at every measurement.
        pub tasks: TaskSource,
        /// What adaptation minimises, and the examples measured.
        pub objective: Objective,
        /// How a task adapts first.
        pub adapt: Vec<Block>,
        /// How many visits to each task are averaged before tasks are compared.
        pub episodes: u64,
        /// The model, where it is another than that of training. Parameters that training has not keep their initial values
        /// until the tasks adapt them.
        pub model: Option<Model> = None,
        /// How the support examples are changed, in order.
        pub augment: Vec<Augmentation> = vec![],
    }
}

record! {
    /// A measured series.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Measure {
        /// Its name; behind it in brackets, where the text lists several, at which point of the evaluation it is taken:
        /// `accuracy[after: 5, query: others]`.
        pub name: String,
        /// Steps between measurements; step 0 and the last step are always measured.
        pub every: u64,
        /// What is measured.
        pub what: What,
    }
}

variants! {
    /// What a measure takes.
    #[derive(Debug, Clone, PartialEq)]
    pub enum What {
        /// A number of the state: `function` gives the metric's arguments from parameters and world, by name.
        State { metric: StateMetric, function: Function },
        /// A metric of the query examples of an evaluation's tasks, reduced over tasks: after so many steps (or epochs) of its
        /// adaptation, or all; at the parameters on the way from its start (0) to its end (1); on the examples of whom.
        Evaluation {
            name: String,
            metric: Metric,
            reduction: Reduction,
            after: Option<u64> = None,
            share: Option<f64> = None,
            query: Whose = Whose::Own,
        },
        /// The adversary's weight on some strata.
        Mass { strata: Vec<String> },
    }
}

record! {
    /// An inequality that should hold.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Claim {
        /// The left side.
        pub left: Quantity,
        /// The relation.
        pub relation: Relation,
        /// The right side.
        pub right: Quantity,
    }
}

variants! {
    /// The relation a claim states.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Relation {
        /// `<=`
        AtMost,
        /// `<`
        Below,
        /// `>=`
        AtLeast,
        /// `>`
        Above,
    }
}

variants! {
    /// A number, or one number per seed, computed from measurements.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Quantity {
        /// A constant.
        Number { value: f64 },
        /// The value of a series at a step, one per seed.
        At { arm: String, measure: String, step: u64 },
        /// A reduction over seeds.
        OverSeeds { reduction: SeedReduction, of: Box<Quantity> },
        /// Arithmetic, seed by seed.
        Arithmetic { operator: Arithmetic, left: Box<Quantity>, right: Box<Quantity> },
        /// A reduction of the values at several steps or points of a sweep, seed by seed; `over` is the name of what varies.
        Along { over: String, reduction: Along, of: Vec<Quantity> },
        /// The same quantity at every point of the sweeps; only as a whole side of a claim, which must hold at each.
        Each { of: Vec<Quantity> },
    }
}

variants! {
    /// How the values along steps or a sweep become one number.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Along {
        /// As over seeds.
        Reduce { reduction: SeedReduction },
        /// The least-squares slope of their logarithms against those of `at`.
        Slope { at: Vec<f64> },
        /// The smallest difference from one to the next.
        Rise,
    }
}

variants! {
    /// Arithmetic in claims.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Arithmetic {
        /// `+`
        Add,
        /// `-`
        Sub,
        /// `*`
        Mul,
        /// `/`
        Div,
    }
}

variants! {
    /// How per-seed values become one number.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum SeedReduction {
        /// The median.
        Median,
        /// The mean.
        Mean,
        /// The least.
        Min,
        /// The most.
        Max,
        /// The sample standard deviation.
        Std,
        /// The quantile, by linear interpolation.
        Quantile { q: f64 },
        /// The number of seeds without a finite value.
        Diverged,
    }
}

impl DataSource {
    /// The names of its files in a run's manifest, in the order of the reader's paths.
    pub fn file_names(&self) -> Vec<String> {
        match self.files {
            1 => vec![self.name.clone()],
            n => (0..n).map(|i| format!("{}[{i}]", self.name)).collect(),
        }
    }
}

impl Sampler {
    /// Whether it makes nothing.
    pub fn is_empty(&self) -> bool {
        self.function.outputs.is_empty()
    }
}

impl Family {
    /// The variable of the support examples that an input of a model or loss reads: `support_x` is `x` of all of them.
    pub fn support_variable<'n>(&self, input: &'n str) -> Option<&'n str> {
        let variable = |name: &str| match &self.source {
            Some(source) => source.example.iter().any(|slot| slot.name == name),
            None => self.example.function.outputs.iter().any(|port| port.name == name),
        };
        input.strip_prefix("support_").filter(|name| variable(name) && !variable(input))
    }

    /// Whether the model, or the loss itself, reads the support set.
    pub fn in_context(&self, model: &Model, objective: &Objective) -> bool {
        let reads = |f: &Function| f.inputs.iter().any(|port| self.support_variable(&port.name).is_some());
        let loss = match objective {
            Objective::Sample { loss: Loss::Expression { function }, .. } => reads(function),
            _ => false,
        };
        loss || reads(&model.forward)
    }

    /// The stratum of that name.
    pub fn stratum(&self, name: &str) -> Option<&Stratum> {
        self.strata.iter().find(|s| s.name == name)
    }
}

impl TaskSource {
    /// The family the tasks come from.
    pub fn family(&self) -> &str {
        match self {
            TaskSource::Fresh { family, .. } | TaskSource::Pool { family, .. } => family,
        }
    }

    /// How many tasks take part in a step.
    pub fn per_step(&self) -> usize {
        match self {
            TaskSource::Fresh { count, .. } => *count as usize,
            TaskSource::Pool { batch, .. } => *batch as usize,
        }
    }

    /// The family and strata of a fixed set of tasks; what a step samples from it is no part of them.
    pub fn pool(&self) -> Option<(&str, &[PoolStratum])> {
        match self {
            TaskSource::Fresh { .. } => None,
            TaskSource::Pool { family, strata, .. } => Some((family, strata)),
        }
    }

    /// How many tasks there are, where that is a fixed number.
    pub fn pool_size(&self) -> Option<usize> {
        match self {
            TaskSource::Fresh { .. } => None,
            TaskSource::Pool { strata, .. } => Some(strata.iter().map(|s| s.count as usize).sum()),
        }
    }
}

impl Arm {
    /// The family of that name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|f| f.name == name)
    }

    /// The evaluation of that name.
    pub fn evaluation(&self, name: &str) -> Option<&Evaluation> {
        self.evaluations.iter().find(|e| e.name == name)
    }

    /// The number of outer steps of all stages.
    pub fn steps(&self) -> u64 {
        self.stages.iter().fold(self.train.steps, |steps, stage| steps.saturating_add(stage.train.steps))
    }

    /// How every stage trains, the first included.
    pub fn trains(&self) -> impl Iterator<Item = &Train> {
        std::iter::once(&self.train).chain(self.stages.iter().map(|stage| &stage.train))
    }

    /// Every stage as an arm of its own, the first included.
    pub fn phases(&self) -> Vec<Arm> {
        let of = |train: &Train| Arm { train: train.clone(), stages: vec![], ..self.clone() };
        self.trains().map(of).collect()
    }

    /// The model that an evaluation measures.
    pub fn model_of<'a>(&'a self, evaluation: &'a Evaluation) -> &'a Model {
        evaluation.model.as_ref().unwrap_or(&self.model)
    }

    /// The parameters that stay with their task, by position in the model.
    pub fn kept(&self) -> Vec<usize> {
        self.model.positions(&self.train.keep)
    }

    /// The shared parameters that training moves, by position in the model.
    pub fn moved(&self) -> Vec<usize> {
        let train = &self.train;
        self.model.others(&[&train.keep, &train.freeze, &train.reset])
    }

    /// The shared parameters that no stage moves, by position in the model: they are always as they began.
    pub fn unmoved(&self) -> Vec<usize> {
        let stays =
            |name: &String| self.trains().all(|train| train.freeze.contains(name) || train.reset.contains(name));
        (0..self.model.params.len()).filter(|&i| stays(&self.model.params[i].name)).collect()
    }
}

/// The budget of an adaptation that is one block of steps: what can be stopped on its way.
pub fn length(adapt: &[Block]) -> Option<Budget> {
    match adapt {
        [Block { solver, budget, .. }] if solver.steps() => Some(*budget),
        _ => None,
    }
}

impl Evaluation {
    /// The parameters that its adaptation moves, by position in its model.
    pub fn moved(&self, model: &Model) -> Vec<usize> {
        let adapted = |name: &String| self.adapt.iter().any(|block| block.on.contains(name));
        (0..model.params.len()).filter(|&i| adapted(&model.params[i].name)).collect()
    }
}

impl Measure {
    /// The name that the text gives it, and the point of the evaluation that the rest of its name says: pairs of what
    /// varies and its value.
    pub fn point(&self) -> (&str, Vec<(&str, &str)>) {
        let Some((name, rest)) = self.name.split_once('[') else { return (&self.name, vec![]) };
        (name, rest.trim_end_matches(']').split(", ").filter_map(|part| part.split_once(": ")).collect())
    }
}

impl Model {
    /// The positions of named parameters.
    pub fn positions(&self, names: &[String]) -> Vec<usize> {
        (0..self.params.len()).filter(|&i| names.contains(&self.params[i].name)).collect()
    }

    /// The positions of the parameters that no list names.
    pub fn others(&self, lists: &[&Vec<String>]) -> Vec<usize> {
        (0..self.params.len()).filter(|&i| !lists.iter().any(|names| names.contains(&self.params[i].name))).collect()
    }

    /// Parameters of added groups that stand in the place of another one, each with that one, by position.
    pub fn copies(&self) -> Vec<(usize, usize)> {
        let stands = |group: &Addition, port: &Port| {
            let copy = group.compose.inputs.iter().find(|input| input.node == port.node)?;
            let (copy, base) = (self.position(&copy.name)?, self.position(&port.name)?);
            (copy != base).then_some((copy, base))
        };
        self.added
            .iter()
            .flat_map(|group| group.compose.outputs.iter().filter_map(|port| stands(group, port)))
            .collect()
    }

    /// The mask behind the input of a program that predicts, by position, and the number of the call among those of a
    /// formula, from 1; none where it is something else.
    pub fn mask(&self, input: &str) -> Option<(usize, usize)> {
        let (name, call) = match input.rsplit_once('#') {
            Some((name, call)) => (name, call.parse().ok()?),
            None => (input, 1),
        };
        self.dropout.iter().position(|mask| mask.name == name).map(|at| (at, call))
    }

    /// The position of a parameter.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }
}

impl Train {
    /// Whether tasks keep control variates.
    pub fn controls(&self) -> bool {
        matches!(self.outer, Outer::Average { control: true, .. })
    }

    /// Whether tasks adapt in a loop of their own programs, because nothing is differentiated through it.
    pub fn is_local(&self) -> bool {
        matches!(self.outer, Outer::Average { .. }) || self.through == Through::Difference
    }
}
