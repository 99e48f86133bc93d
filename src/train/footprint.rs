//! How much memory one arm under one seed holds at once, said before it runs.

use super::DataSets;
use crate::catalog::Budget;
use crate::exec::ExecError;
use crate::exec::exact::{LARGE, Need};
use crate::ir::Function;
use crate::plan::lower::{AdaptPrograms, Input, Program, Programs, TaskPrograms, TrainPrograms};
use crate::plan::{Arm, Block, TaskSource, What};

/// The most bytes that are held at once, by what they are for. Plans, lists of instructions and what is written down are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The data sets.
    pub data: u64,
    /// Parameters, and what updates remember of them.
    pub parameters: u64,
    /// Tasks and their examples, and what programs gave.
    pub values: u64,
    /// What compiled programs work in, which they keep from run to run.
    pub programs: u64,
}

impl Footprint {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.data + self.parameters + self.values + self.programs
    }
}

/// What the exact executor keeps of the results of a program for later runs, of each at most so many.
const KEPT: u64 = 3;

/// The footprint of an arm of one stage on one thread; `need` is what a program needs there.
pub fn footprint(
    arm: &Arm,
    programs: &Programs,
    sets: &DataSets,
    need: &dyn Fn(&Function) -> Result<Need, ExecError>,
) -> Result<Footprint, ExecError> {
    let width = arm.train.precision.bytes();
    let mut tally =
        Tally { width, need, kept: 0, awake: None, resting: 0, shared: 0, held: 0, training: 0, measuring: 0 };
    tally.held += tally.outputs(&programs.world);
    let train = &programs.train;
    let readers: Vec<&Program> = match train {
        TrainPrograms::Step(step) => vec![step],
        TrainPrograms::Local { adapt, .. } => adapt.blocks.iter().collect(),
    };
    tally.tasks(&arm.train.tasks, &programs.tasks, &readers, None)?;
    tally.training += readers.iter().map(|program| tally.masks(program)).max().unwrap_or(0);
    match train {
        TrainPrograms::Step(step) => tally.updating(step)?,
        TrainPrograms::Local { adapt, reduce } => {
            tally.training += tally.adapting(&arm.train.adapt, adapt, 1, programs.tasks.support.size)?;
            tally.updating(reduce)?;
        }
    }
    let measures = &programs.measures;
    for (evaluation, programs) in arm.evaluations.iter().zip(&programs.evaluations) {
        let of_it = |what: &What| matches!(what, What::Evaluation { name, .. } if *name == evaluation.name);
        let measuring = arm.measures.iter().zip(measures).filter(|(measure, _)| of_it(&measure.what));
        let measuring = measuring.filter_map(|(_, program)| program.as_ref());
        let readers: Vec<&Program> = programs.adapt.blocks.iter().chain(&programs.between).chain(measuring).collect();
        tally.resting(|t| t.tasks(&evaluation.tasks, &programs.tasks, &readers, Some(evaluation.episodes)))?;
        let support = programs.tasks.support.size;
        let meanwhile =
            tally.resting(|t| t.adapting(&evaluation.adapt, &programs.adapt, evaluation.episodes, support))?;
        tally.measuring += meanwhile;
        tally.held += programs.init.as_ref().map_or(0, |init| tally.outputs(init));
        if let Some(between) = &programs.between {
            tally.compiled(between)?;
            tally.measuring += tally.outputs(between) * evaluation.episodes;
        }
    }
    for measure in measures.iter().flatten() {
        tally.resting(|t| t.compiled(measure))?;
        tally.held += tally.outputs(measure);
    }
    let size = |i: usize| arm.model.params[i].dims.iter().map(|&d| d as u64).product::<u64>();
    let all: u64 = (0..arm.model.params.len()).map(size).sum();
    let kept: u64 = arm.kept().into_iter().map(size).sum();
    let moved: u64 = arm.moved().into_iter().map(size).sum();
    let pool = arm.train.tasks.pool_size().unwrap_or(0) as u64;
    let slots = arm.train.update.as_ref().map_or(0, |update| update.memory().len()) as u64;
    // Parameters of a task of its own lie in a table on the host; those of the tasks at hand are copied one after the other.
    let largest = arm.kept().into_iter().map(size).max().unwrap_or(0);
    let copied = |source: &TaskSource| tasks(source) * (width * kept + HOST * largest);
    tally.training += copied(&arm.train.tasks);
    tally.measuring += arm.evaluations.iter().map(|evaluation| copied(&evaluation.tasks)).max().unwrap_or(0);
    // What is measured is preceded by a digest of all.
    tally.measuring += HOST * (all - kept + pool * kept);
    Ok(Footprint {
        data: sets.bytes(),
        parameters: width * (all - kept + slots * moved) + HOST * pool * kept,
        values: tally.held + tally.training.max(tally.measuring),
        programs: tally.kept + tally.resting + tally.shared,
    })
}

/// How many tasks take part at once.
fn tasks(source: &TaskSource) -> u64 {
    match source {
        TaskSource::Fresh { count, .. } => *count,
        TaskSource::Pool { batch, .. } => *batch,
    }
}

/// The bytes of a number on the host.
pub(super) const HOST: u64 = 8;

/// What adds up over the programs of an arm.
struct Tally<'n> {
    width: u64,
    need: &'n dyn Fn(&Function) -> Result<Need, ExecError>,
    /// What programs keep from run to run, each for itself, and what they share.
    kept: u64,
    shared: u64,
    /// What large programs that rest afterwards keep until then, where it is such that are looked at, and the most of it.
    awake: Option<u64>,
    resting: u64,
    /// Values that are always there, and those that are there while a step is made or something is measured.
    held: u64,
    training: u64,
    measuring: u64,
}

impl Tally<'_> {
    fn compiled(&mut self, program: &Program) -> Result<(), ExecError> {
        let Need { kept, shared, .. } = (self.need)(&program.function)?;
        match &mut self.awake {
            Some(awake) if kept > LARGE => *awake += kept,
            _ => self.kept += kept,
        }
        self.shared = self.shared.max(shared);
        Ok(())
    }

    /// Looks at programs that rest together afterwards.
    fn resting<R>(&mut self, look: impl FnOnce(&mut Self) -> R) -> R {
        self.awake = Some(0);
        let found = look(self);
        self.resting = self.resting.max(self.awake.take().unwrap_or(0));
        found
    }

    fn bytes<'d>(&self, dims: impl Iterator<Item = &'d [usize]>) -> u64 {
        dims.map(|dims| self.width * dims.iter().map(|&d| d as u64).product::<u64>()).sum()
    }

    fn outputs(&self, program: &Program) -> u64 {
        self.bytes(program.function.output_dims())
    }

    /// The inputs that are of some kind, each once.
    fn inputs(&self, programs: &[&Program], wanted: fn(&Input) -> bool) -> u64 {
        let mut seen: Vec<Input> = vec![];
        let mut bytes = 0;
        for program in programs {
            for (&input, dims) in program.inputs.iter().zip(program.function.input_dims()) {
                if wanted(&input) && !seen.contains(&input) {
                    seen.push(input);
                    bytes += self.bytes(std::iter::once(dims));
                }
            }
        }
        bytes
    }

    /// The masks of dropout that a run of a program reads; the host draws one after the other.
    fn masks(&self, program: &Program) -> u64 {
        let inputs = program.inputs.iter().zip(program.function.input_dims());
        let masks = inputs.filter(|(input, _)| matches!(input, Input::Mask { .. }));
        let bytes = masks.map(|(_, dims)| self.bytes(std::iter::once(dims)));
        let (all, largest) = bytes.fold((0, 0), |(all, largest), bytes| (all + bytes, bytes.max(largest)));
        all + largest / self.width * HOST
    }

    /// Tasks and their examples, which `readers` read: anew at every step, or so many visits that are held.
    fn tasks(
        &mut self,
        source: &TaskSource,
        programs: &TaskPrograms,
        readers: &[&Program],
        visits: Option<u64>,
    ) -> Result<(), ExecError> {
        let made: Vec<&Program> = programs.strata.iter().chain(&programs.visit).collect();
        made.iter().try_for_each(|program| self.compiled(program))?;
        let strata: u64 = programs.strata.iter().map(|program| self.outputs(program)).sum();
        let drawn = made.iter().map(|program| self.outputs(program)).sum::<u64>();
        if matches!(source, TaskSource::Pool { .. }) {
            // The pool, on the host too.
            self.held += strata + strata / self.width * HOST;
        }
        let support = self.inputs(readers, |input| matches!(input, Input::Support(_) | Input::SupportMask));
        let query = self.inputs(readers, |input| matches!(input, Input::Query(_) | Input::QueryMask));
        let latents = self.inputs(readers, |input| matches!(input, Input::Latent(_)));
        let draws = |input: &Input| !matches!(input, Input::World(_) | Input::Latent(_));
        // Draws are made on the host, one after the other, and so are the examples of a data set.
        let making = made.iter().map(|program| self.inputs(&[program], draws) * (1 + HOST / self.width)).max();
        let making = making.unwrap_or(0).max(support.max(query) / self.width * HOST);
        let visit = drawn.max(support + query + latents);
        match visits {
            None => {
                self.held += drawn;
                self.training += visit - drawn + making;
            }
            Some(visits) => self.held += visits * visit + drawn,
        }
        Ok(())
    }

    /// A program that gives new parameters and what is remembered of them, while those before are there.
    fn updating(&mut self, program: &Program) -> Result<(), ExecError> {
        self.compiled(program)?;
        self.held += self.outputs(program);
        Ok(())
    }

    /// An adaptation of so many visits one after the other. What programs gave is held from run to run; gives what is held meanwhile.
    fn adapting(
        &mut self,
        blocks: &[Block],
        programs: &AdaptPrograms,
        visits: u64,
        support: usize,
    ) -> Result<u64, ExecError> {
        self.compiled(&programs.spread)?;
        let mut meanwhile = self.given(&programs.spread, visits);
        for (block, program) in blocks.iter().zip(&programs.blocks) {
            self.compiled(program)?;
            let once = matches!(block.budget, Budget::Steps { count: 1 });
            meanwhile += self.given(program, visits + u64::from(!once));
            if block.batch.is_some() && support > 0 {
                meanwhile += self.inputs(&[program], |input| matches!(input, Input::Support(_))) / self.width * HOST;
            }
        }
        Ok(meanwhile)
    }

    /// So many copies of what a program gives: some are held from run to run, and the number of bytes of the others.
    fn given(&mut self, program: &Program, copies: u64) -> u64 {
        let each = self.outputs(program);
        self.held += each * copies.min(KEPT);
        each * copies.saturating_sub(KEPT)
    }
}
