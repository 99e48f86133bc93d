//! Compiled programs: which instructions run, where their operands lie, and when each value is dropped.

use std::sync::Arc;

use super::device::{Backend, Element};
use super::instruction::{Flat, Instruction};
use super::lower::{Lowered, Place, lower};
use super::{Value, device_error};
use crate::exec::{ExecError, Signature};
use crate::ir::Function;

/// A compiled program.
pub struct Kernel<E: Element, D: Backend<E>> {
    pub(super) signature: Signature,
    constants: Vec<Flat<E, D>>,
    steps: Vec<Step<E, D>>,
    /// How many values are kept between steps.
    slots: usize,
    outputs: Vec<Output>,
}

struct Step<E: Element, D: Backend<E>> {
    instruction: Instruction<E, D>,
    args: Box<[Source]>,
    /// Where the result is kept.
    slot: usize,
    op: &'static str,
}

struct Output {
    source: Source,
    dims: Arc<[usize]>,
}

/// Where an operand is found.
#[derive(Debug, Clone, Copy)]
enum Source {
    Empty,
    Argument(usize),
    Constant(usize),
    Slot {
        slot: usize,
        /// Whether this is the last use, which takes the value away.
        last: bool,
    },
}

impl<E: Element, D: Backend<E>> Kernel<E, D> {
    /// Compiles a verified program and computes what depends on none of its inputs.
    pub(super) fn compile(device: &D, function: &Function, signature: Signature) -> Result<Self, ExecError> {
        let (code, outputs) = lower(device, function)?;
        let live = live(&code, &outputs);
        let values = evaluate_constants(device, &code, &live)?;
        let mut planner = Planner::new(&code, &live, &outputs);
        let mut steps = Vec::new();
        for (i, lowered) in code.into_iter().enumerate().filter(|(i, lowered)| live[*i] && !lowered.constant) {
            let args = planner.operands(&lowered.args, i);
            let slot = planner.assign(i);
            steps.push(Step { instruction: lowered.instruction, args, slot, op: lowered.op });
        }
        let sources = planner.operands(&outputs, OUTPUT);
        let dims = function.output_dims().map(Arc::from);
        Ok(Kernel {
            signature,
            constants: planner.constants.iter().filter_map(|&i| values[i].clone()).collect(),
            steps,
            slots: planner.slots,
            outputs: sources.iter().zip(dims).map(|(&source, dims)| Output { source, dims }).collect(),
        })
    }

    /// Runs the program on arguments whose dims were checked.
    pub(super) fn run(&self, device: &D, args: &[&Value<E, D>]) -> Result<Vec<Value<E, D>>, ExecError> {
        let mut slots: Vec<Option<Flat<E, D>>> = vec![None; self.slots];
        for step in &self.steps {
            let take = |i: usize| self.fetch(step.args[i], args, &mut slots).expect("operands of steps have elements");
            let dying = |i: usize| matches!(step.args[i], Source::Slot { last: true, .. });
            let result = step.instruction.run(device, take, dying).map_err(|e| device_error::<D>(step.op, e))?;
            slots[step.slot] = Some(result);
        }
        let fetch =
            |output: &Output| Value { dims: output.dims.clone(), data: self.fetch(output.source, args, &mut slots) };
        Ok(self.outputs.iter().map(fetch).collect())
    }

    /// How many values are kept between steps.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// How many instructions a run takes.
    #[cfg(test)]
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    fn fetch(&self, source: Source, args: &[&Value<E, D>], slots: &mut [Option<Flat<E, D>>]) -> Option<Flat<E, D>> {
        match source {
            Source::Empty => None,
            Source::Argument(i) => args[i].data.clone(),
            Source::Constant(i) => Some(self.constants[i].clone()),
            Source::Slot { slot, last: true } => slots[slot].take(),
            Source::Slot { slot, last: false } => slots[slot].clone(),
        }
    }
}

/// Which instructions the outputs need.
fn live<E: Element, D: Backend<E>>(code: &[Lowered<E, D>], outputs: &[Place]) -> Vec<bool> {
    let mut live = vec![false; code.len()];
    let mark = |live: &mut [bool], places: &[Place]| {
        for place in places {
            if let Place::Result(i) = place {
                live[*i] = true;
            }
        }
    };
    mark(&mut live, outputs);
    for i in (0..code.len()).rev() {
        if live[i] {
            mark(&mut live, &code[i].args);
        }
    }
    live
}

/// The results of the live instructions that depend on no argument.
fn evaluate_constants<E: Element, D: Backend<E>>(
    device: &D,
    code: &[Lowered<E, D>],
    live: &[bool],
) -> Result<Vec<Option<Flat<E, D>>>, ExecError> {
    let mut values: Vec<Option<Flat<E, D>>> = Vec::with_capacity(code.len());
    for (lowered, live) in code.iter().zip(live) {
        let value = if *live && lowered.constant {
            let take = |i: usize| {
                let value = match lowered.args[i] {
                    Place::Result(j) => values[j].clone(),
                    Place::Empty | Place::Argument(_) => None,
                };
                value.expect("operands of live constants are live constants")
            };
            let result = lowered.instruction.run(device, take, |_| false);
            Some(result.map_err(|e| device_error::<D>(lowered.op, e))?)
        } else {
            None
        };
        values.push(value);
    }
    Ok(values)
}

/// Gives each result a slot from its instruction to its last use.
struct Planner {
    /// The instruction that uses a result last; [`OUTPUT`] for an output.
    last_use: Vec<usize>,
    /// The slot of each result that has been assigned one.
    slot_of: Vec<usize>,
    free: Vec<usize>,
    slots: usize,
    is_constant: Vec<bool>,
    /// The position of each constant among those in use, and these in the order of their first use.
    constant_of: Vec<Option<usize>>,
    constants: Vec<usize>,
}

/// The user of an output, after all instructions.
const OUTPUT: usize = usize::MAX;

impl Planner {
    fn new<E: Element, D: Backend<E>>(code: &[Lowered<E, D>], live: &[bool], outputs: &[Place]) -> Planner {
        let mut last_use = vec![0; code.len()];
        let users = code.iter().enumerate().filter(|(i, _)| live[*i]).map(|(i, lowered)| (i, &lowered.args[..]));
        for (user, args) in users.chain([(OUTPUT, outputs)]) {
            for arg in args {
                if let Place::Result(i) = arg {
                    last_use[*i] = user;
                }
            }
        }
        Planner {
            last_use,
            slot_of: vec![0; code.len()],
            free: Vec::new(),
            slots: 0,
            is_constant: code.iter().map(|lowered| lowered.constant).collect(),
            constant_of: vec![None; code.len()],
            constants: Vec::new(),
        }
    }

    /// Where the operands of an instruction are found; the slots of those it uses last become free.
    fn operands(&mut self, args: &[Place], user: usize) -> Box<[Source]> {
        let source = |position: usize| match args[position] {
            Place::Empty => Source::Empty,
            Place::Argument(i) => Source::Argument(i),
            Place::Result(i) if self.is_constant[i] => {
                let known = *self.constant_of[i].get_or_insert_with(|| {
                    self.constants.push(i);
                    self.constants.len() - 1
                });
                Source::Constant(known)
            }
            Place::Result(i) => {
                let again = args[position + 1..].contains(&args[position]);
                let last = self.last_use[i] == user && !again;
                if last {
                    self.free.push(self.slot_of[i]);
                }
                Source::Slot { slot: self.slot_of[i], last }
            }
        };
        (0..args.len()).map(source).collect()
    }

    /// A slot for the result of an instruction.
    fn assign(&mut self, result: usize) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.slot_of[result] = slot;
        slot
    }
}
