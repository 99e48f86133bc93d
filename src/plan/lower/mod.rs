//! From an arm of the plan to its tensor programs.
//!
//! Programs are written for one task, transformed (gradient through the adaptation) and then batched over the tasks of
//! a step, so that work on shared parameters stays one large product. The arm's sizes are all known here; what the
//! programs read is tagged with an [`Input`], by which training finds the values.

mod closed_form;
mod implicit;
mod outer;
mod sample;
mod summary;
mod task;

use thiserror::Error;

use super::types::{Arm, Clients, Evaluation, Family, Objective, TaskSource, What};
use crate::ir::{Builder, Function, MAX_ELEMENTS, NodeId, batch_some, largest};

/// What an input of a program is. Positions count the parameters of the model, the outputs of a sampler, the variables
/// of an example; `[T]` in a program's input is the tasks of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// A value of the world.
    World(usize),
    /// A parameter: shared, or `[T, ..]` where tasks have their own.
    Param(usize),
    /// A parameter as it was when the adaptation began, `[T, ..]`.
    Start(usize),
    /// A parameter after local adaptation, `[T, ..]`.
    Adapted(usize),
    /// What is added to the gradient of a parameter, `[T, ..]`.
    Correction(usize),
    /// What a solver remembers for a parameter.
    Memory {
        /// The parameter.
        param: usize,
        /// Which of the solver's memories.
        slot: usize,
    },
    /// A scalar of the solver's schedule.
    Schedule(usize),
    /// A variable of the task or, counted on, of the episode, `[T, ..]`.
    Latent(usize),
    /// A variable of the support examples, `[T, S, ..]`.
    Support(usize),
    /// A variable of the query examples, `[T, Q, ..]`.
    Query(usize),
    /// 1 for a support example, 0 for filling, `[T, S]`.
    SupportMask,
    /// 1 for a query example, 0 for filling, `[T, Q]`.
    QueryMask,
    /// The weights of the tasks, `[T]`.
    Weights,
    /// The number of each task within its stratum, `[T]`.
    Index,
    /// A draw of a world, init or task sampler.
    Draw(usize),
    /// A draw of an episode, `[T, ..]`.
    EpisodeDraw(usize),
    /// A draw of the support examples, `[T, S, ..]`.
    SupportDraw(usize),
    /// A draw of the query examples, `[T, Q, ..]`.
    QueryDraw(usize),
    /// A mask of the model, by position, for every example: `[T, S, ..]` or `[T, Q, ..]`.
    Mask {
        /// Which.
        at: usize,
        /// The number of the call of the model within a formula, from 1.
        call: usize,
        /// How often the program took a loss or mean of examples before.
        pass: usize,
    },
    /// The direction of a product with the curvature.
    Direction(usize),
}

/// A tensor program and what its inputs are.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The program.
    pub function: Function,
    /// One tag per input.
    pub inputs: Vec<Input>,
}

impl Program {
    /// The program of some outputs alone, by position, without the inputs that only the others need.
    pub fn of_outputs(&self, places: &[usize]) -> Program {
        let outputs = places.iter().map(|&i| self.function.outputs[i].clone()).collect();
        let mut b = Builder::new();
        let all = Function { outputs, ..self.function.clone() };
        let args: Vec<NodeId> =
            all.inputs.iter().zip(all.input_dims()).map(|(p, d)| b.input(p.name.clone(), d)).collect();
        let values = b.inline(&all, &args);
        let names = all.outputs.iter().map(|port| port.name.clone());
        let function = b.finish(all.name.clone(), names.zip(values).collect()).without_unread(|_| false);
        let tag = |name: &str| all.inputs.iter().position(|port| port.name == name).map(|i| self.inputs[i]);
        let inputs = function.inputs.iter().filter_map(|port| tag(&port.name)).collect();
        Program { function, inputs }
    }
}

/// The programs of one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Programs {
    /// Draws the world.
    pub world: Program,
    /// Draws the initial parameters, in the order of the model.
    pub init: Program,
    /// Makes the tasks of training.
    pub tasks: TaskPrograms,
    /// Moves the parameters.
    pub train: TrainPrograms,
    /// One per evaluation of the arm.
    pub evaluations: Vec<EvaluationPrograms>,
    /// One per measure of the arm; none for those that need no program.
    pub measures: Vec<Option<Program>>,
}

/// How the tasks of a source are made.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPrograms {
    /// One per stratum in use: the task's variables, for all its tasks at once.
    pub strata: Vec<Program>,
    /// One visit: the episode's variables, then the support and the query examples. Absent where there is nothing to
    /// draw.
    pub visit: Option<Program>,
    /// The examples that adaptation sees.
    pub support: Part,
    /// The examples that the outer loss or a metric sees.
    pub query: Part,
}

/// A set of examples of every task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// The number of places; 0 where no examples are used.
    pub size: usize,
    /// Whether tasks fill them unequally, so that a mask says which are filled.
    pub masked: bool,
}

/// How the parameters move.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainPrograms {
    /// One differentiated program per step. Outputs: shared parameters, their memory, the tasks' losses, kept parameters.
    Step(Program),
    /// Tasks adapt by themselves, then their parameters are reduced.
    Local {
        /// The adaptation.
        adapt: AdaptPrograms,
        /// The reduction. Outputs: shared parameters, their memory.
        reduce: Program,
    },
}

/// Adaptation of all tasks of a step, one program per block.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptPrograms {
    /// Shared parameters repeated for every task, in the order of the model: those that tasks move.
    pub spread: Program,
    /// The positions of these.
    pub moved: Vec<usize>,
    /// One step of each block. Outputs: the block's parameters, then their memory.
    pub blocks: Vec<Program>,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationPrograms {
    /// Draws the initial parameters of its own model, where it has one.
    pub init: Option<Program>,
    /// Makes its tasks.
    pub tasks: TaskPrograms,
    /// Adapts them.
    pub adapt: AdaptPrograms,
    /// From where the parameters that move began and ended to a point between; absent where none is measured.
    pub between: Option<Program>,
}

/// The largest number of examples that a client holds, per family made from data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientSizes {
    /// Of those seen in training, by family.
    pub train: std::collections::BTreeMap<String, usize>,
    /// Of those held out.
    pub held_out: std::collections::BTreeMap<String, usize>,
}

/// Why an arm has no programs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LowerError {
    /// A closed form was asked of a loss that has none.
    #[error("the loss is not quadratic in {}: its curvature depends on them", names.join(", "))]
    NotQuadratic {
        /// The parameters that were to be solved for.
        names: Vec<String>,
    },
    /// A value of all tasks or examples at once would have too many entries.
    #[error(
        "a value of all tasks and examples at once would have {entries} entries; the limit is 2^31. Fewer examples \
         (`examples = 0..500` of a data set, `hold_out`, `split`) or fewer tasks at a time (`batch`) make it smaller"
    )]
    TooLarge {
        /// As many.
        entries: usize,
    },
    /// The plan refers to something it does not contain; a plan made by `lang` never does.
    #[error("the plan refers to {0}, which it does not contain")]
    Dangling(String),
}

/// Makes the programs of an arm.
pub fn lower(arm: &Arm, sizes: &ClientSizes) -> Result<Programs, LowerError> {
    let family = family(arm, &arm.train.tasks)?;
    let tasks = sample::tasks(arm, family, &arm.train.tasks, training_parts(arm, family, sizes))?;
    let train = if arm.train.is_local() {
        TrainPrograms::Local {
            adapt: outer::adapt(
                &outer::Local {
                    arm,
                    model: &arm.model,
                    family,
                    objective: &arm.train.objective,
                    tasks: arm.train.tasks.per_step(),
                    support: tasks.support,
                    averaged: arm.moved(),
                    corrected: if arm.train.controls() { arm.moved() } else { vec![] },
                    evaluates: false,
                },
                &arm.train.adapt,
            )?,
            reduce: outer::reduce(arm),
        }
    } else {
        TrainPrograms::Step(outer::step(arm, family, &tasks)?)
    };
    let evaluations: Vec<EvaluationPrograms> =
        arm.evaluations.iter().map(|e| evaluation(arm, e, sizes)).collect::<Result<_, _>>()?;
    let measures = arm.measures.iter().map(|m| measure(arm, &m.what, &evaluations)).collect::<Result<_, _>>()?;
    Ok(Programs {
        world: sample::once(arm, &arm.world, "world"),
        init: sample::once(arm, &arm.model.init, "init"),
        tasks,
        train,
        evaluations,
        measures,
    })
}

fn family<'a>(arm: &'a Arm, source: &TaskSource) -> Result<&'a Family, LowerError> {
    arm.family(source.family()).ok_or_else(|| LowerError::Dangling(format!("tasks `{}`", source.family())))
}

/// The examples of a task in training: drawn in fixed numbers, or all that a client has.
fn training_parts(arm: &Arm, family: &Family, sizes: &ClientSizes) -> (Part, Part) {
    let held = Part { size: sizes.train.get(&family.name).copied().unwrap_or(1), masked: true };
    match arm.train.objective {
        Objective::Risk => (Part::default(), Part::default()),
        Objective::Sample { support, query, .. } if support > 0 => {
            let fixed = |size: u64| Part { size: size as usize, masked: false };
            let used = |part: Part, yes: bool| if yes { part } else { Part::default() };
            let seen = !arm.train.adapt.is_empty() || family.in_context(&arm.model, &arm.train.objective);
            (used(fixed(support), seen), used(fixed(query), !arm.train.is_local()))
        }
        Objective::Sample { .. } if arm.train.is_local() => (held, Part::default()),
        Objective::Sample { .. } => (Part::default(), held),
    }
}

/// The examples of a task in an evaluation: clients are measured on what was held out.
fn evaluation_parts(arm: &Arm, evaluation: &Evaluation, family: &Family, sizes: &ClientSizes) -> (Part, Part) {
    let all = |from: &std::collections::BTreeMap<String, usize>| Part {
        size: from.get(&family.name).copied().unwrap_or(1),
        masked: true,
    };
    match evaluation.objective {
        Objective::Risk => (Part::default(), Part::default()),
        Objective::Sample { support, query, .. } => {
            let fixed = |size: u64| Part { size: size as usize, masked: false };
            let (seen, measured) = match (&family.source, support) {
                (None | Some(Clients { ways: Some(_), .. }), _) => (fixed(support), fixed(query)),
                (Some(_), 0) => (all(&sizes.train), all(&sizes.held_out)),
                (Some(_), _) => (fixed(support), all(&sizes.held_out)),
            };
            let in_context = family.in_context(arm.model_of(evaluation), &evaluation.objective);
            (if evaluation.adapt.is_empty() && !in_context { Part::default() } else { seen }, measured)
        }
    }
}

fn evaluation(arm: &Arm, evaluation: &Evaluation, sizes: &ClientSizes) -> Result<EvaluationPrograms, LowerError> {
    let family = family(arm, &evaluation.tasks)?;
    let tasks = sample::tasks(arm, family, &evaluation.tasks, evaluation_parts(arm, evaluation, family, sizes))?;
    let model = arm.model_of(evaluation);
    let local = outer::Local {
        arm,
        model,
        family,
        objective: &evaluation.objective,
        tasks: evaluation.tasks.per_step(),
        support: tasks.support,
        averaged: vec![],
        corrected: vec![],
        evaluates: true,
    };
    let adapt = outer::adapt(&local, &evaluation.adapt)?;
    let init = evaluation.model.as_ref().map(|model| sample::once(arm, &model.init, "init"));
    let on = |what: &What| matches!(what, What::Evaluation { name, share: Some(_), .. } if *name == evaluation.name);
    let between = arm.measures.iter().any(|m| on(&m.what)).then(|| outer::between(model, evaluation));
    Ok(EvaluationPrograms { init, tasks, adapt, between })
}

fn measure(arm: &Arm, what: &What, evaluations: &[EvaluationPrograms]) -> Result<Option<Program>, LowerError> {
    match what {
        What::State { metric, function } => {
            let mut ports = Ports::new();
            let outputs = ports.inline_state(arm, function)?;
            let outputs = metric.operands().iter().zip(outputs).map(|(n, o)| ((*n).to_owned(), o)).collect();
            Ok(Some(ports.finish("measure", outputs)))
        }
        What::Evaluation { name, metric, query: whose, .. } => {
            let position = arm
                .evaluations
                .iter()
                .position(|e| e.name == *name)
                .ok_or_else(|| LowerError::Dangling(format!("evaluation `{name}`")))?;
            let evaluation = &arm.evaluations[position];
            let family = family(arm, &evaluation.tasks)?;
            let (tasks, query) = (evaluation.tasks.per_step(), evaluations[position].tasks.query);
            let model = (arm.model_of(evaluation), evaluation.adapt.as_slice());
            outer::metric(arm, model, family, metric, (tasks, query, *whose)).map(Some)
        }
        What::Mass { .. } => Ok(None),
    }
}

/// A program under construction whose inputs are made when first asked for.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub b: Builder,
    inputs: Vec<Input>,
    nodes: Vec<NodeId>,
}

impl Ports {
    pub fn new() -> Ports {
        Ports::default()
    }

    /// The node of an input, made under that name and shape when new.
    pub fn get(&mut self, input: Input, name: &str, dims: &[usize]) -> NodeId {
        if let Some(i) = self.inputs.iter().position(|known| *known == input) {
            return self.nodes[i];
        }
        let node = self.b.input(name, dims);
        self.inputs.push(input);
        self.nodes.push(node);
        node
    }

    /// A world value, `None` where the world has no such name.
    pub fn world(&mut self, arm: &Arm, name: &str) -> Option<NodeId> {
        let function = &arm.world.function;
        let position = function.outputs.iter().position(|p| p.name == name)?;
        let dims = function.dims(function.outputs[position].node).to_vec();
        Some(self.get(Input::World(position), name, &dims))
    }

    /// Inlines a function of parameters and world values.
    fn inline_state(&mut self, arm: &Arm, function: &Function) -> Result<Vec<NodeId>, LowerError> {
        let mut args = Vec::new();
        for port in &function.inputs {
            let node = match arm.model.position(&port.name) {
                Some(i) => self.get(Input::Param(i), &port.name, &arm.model.params[i].dims),
                None => self.world(arm, &port.name).ok_or_else(|| LowerError::Dangling(format!("`{}`", port.name)))?,
            };
            args.push(node);
        }
        Ok(self.b.inline(function, &args))
    }

    /// Runs a program written for one task on `tasks` of them: inputs for which `mapped` holds get a leading axis.
    pub fn batch(
        &mut self,
        program: &Program,
        tasks: usize,
        mapped: impl Fn(Input) -> bool,
    ) -> Result<Vec<NodeId>, LowerError> {
        let f = &program.function;
        let flags: Vec<bool> = program.inputs.iter().map(|&i| mapped(i)).collect();
        let mut args = Vec::new();
        for (i, port) in f.inputs.iter().enumerate() {
            let mut dims = f.dims(port.node).to_vec();
            if flags[i] {
                dims.insert(0, tasks);
            }
            args.push(self.get(program.inputs[i], &port.name, &dims));
        }
        batch(&mut self.b, f, &args, &flags, tasks, None)
    }

    pub fn finish(self, name: &str, outputs: Vec<(String, NodeId)>) -> Program {
        Program { function: self.b.finish(name, outputs), inputs: self.inputs }
    }
}

/// Inlines `f` applied to `size` cases at once (see [`batch_some`]), unless a value becomes too large.
fn batch(
    b: &mut Builder,
    f: &Function,
    args: &[NodeId],
    mapped: &[bool],
    size: usize,
    present: Option<NodeId>,
) -> Result<Vec<NodeId>, LowerError> {
    small_enough(largest(f, mapped, size))?;
    Ok(batch_some(b, f, args, mapped, size, present))
}

/// Refuses a value of so many entries where they are too many.
fn small_enough(entries: usize) -> Result<(), LowerError> {
    if entries > MAX_ELEMENTS { Err(LowerError::TooLarge { entries }) } else { Ok(()) }
}
