//! Stages: instructions that run one after the other over the same cases, a few cases at a time, and where their operands lie.

use std::collections::HashMap;

use super::layout::{Desk, Entries, Layout, Layouts, Outline, Sketch, entries};
use super::schedule::Instruction;

/// How a program is cut into stages and over threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// The bytes of a second-level cache that cases which run together should not exceed.
    pub cache: usize,
    /// Stages of fewer multiply-adds are done by one thread.
    pub parallel: usize,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { cache: 1 << 20, parallel: 1 << 21 }
    }
}

/// Where entries lie while a stage runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// In an argument of the program.
    Input(usize),
    /// Among the numbers 0, 1, 2, ...
    Positions,
    /// In the memory of the program, filled by an earlier stage.
    Memory(usize),
    /// In a whole buffer that this stage fills.
    Filled(usize),
    /// In room that only the cases which run together use.
    Local(usize),
}

/// An operand or result of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub source: Source,
    /// How far it moves from one case to the next; of what a stage computes, the entries of a case.
    pub step: usize,
}

/// Instructions that run one after the other over the same cases.
#[derive(Debug)]
pub(super) struct Stage {
    pub layout: Layout,
    /// For one case; buffers are positions in `places`.
    pub instructions: Vec<Instruction>,
    pub places: Vec<Place>,
}

/// Instructions of a schedule, by number, that are to be one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub cases: usize,
    pub members: Vec<usize>,
}

/// The stages of a program and the memory that outlives a stage.
#[derive(Debug)]
pub(super) struct Stages {
    pub stages: Vec<Stage>,
    /// Where every buffer lies in memory that more than one stage sees, if it is computed and does.
    pub memory: Vec<Option<usize>>,
    /// The entries of each piece of that memory; 0 for outputs, which get the room of a result when a run begins.
    pub sizes: Vec<usize>,
}

impl Stages {
    /// The stages of these groups, which hold every instruction once, each after what it reads.
    pub fn new(outline: &Outline, sketch: &Sketch, groups: &[Group]) -> Stages {
        let mut found = outline.layouts(sketch, groups);
        let layouts = std::mem::take(&mut found.layouts);
        let stages = layouts.into_iter().zip(groups).enumerate();
        let stages = stages.map(|(number, (layout, group))| {
            let (instructions, places) = placed(outline, sketch, group, number, &found);
            Stage { layout, instructions, places }
        });
        let stages = stages.collect();
        Stages { stages, memory: found.memory, sizes: found.sizes }
    }

    /// The entries that lie between arguments and results at once, on so many threads.
    pub fn entries(&self, threads: usize, tuning: Tuning) -> Entries {
        let desk = |stage: &Stage| Desk::at(&stage.layout, stage.instructions.iter());
        let stages: Vec<(&Layout, Desk)> = self.stages.iter().map(|stage| (&stage.layout, desk(stage))).collect();
        entries(&self.sizes, &stages, threads, tuning)
    }
}

impl Stage {
    /// What a thread needs for some stages.
    pub fn desk<'s>(stages: impl Iterator<Item = &'s Stage>) -> Desk {
        let desks: Vec<Desk> = stages.map(|stage| Desk::at(&stage.layout, stage.instructions.iter())).collect();
        Desk::of(desks.iter())
    }
}

/// One case of every instruction of the stage of that number, with places in place of buffers.
fn placed(
    outline: &Outline,
    sketch: &Sketch,
    group: &Group,
    number: usize,
    found: &Layouts,
) -> (Vec<Instruction>, Vec<Place>) {
    let (mut places, mut known): (Vec<Place>, HashMap<Place, usize>) = (vec![], HashMap::new());
    let mut place = |place: Place| {
        *known.entry(place).or_insert_with(|| {
            places.push(place);
            places.len() - 1
        })
    };
    let instructions = group.members.iter().map(|&member| {
        let (one, steps) = outline.one(sketch.original(member));
        let mut one = one.clone();
        let mut reads = sketch.reads(member).iter().zip(steps);
        one.each_read(&mut |read| {
            let (&b, step) = reads.next().expect("one place for every operand");
            *read = place(found.read(number, b, sketch.buffers[b].origin, step));
        });
        let writes = sketch.writes(member);
        one.writes_mut().iter_mut().zip(writes).for_each(|(to, &b)| *to = place(found.written(b)));
        match one {
            Instruction::Fused(chain) => Instruction::Fused(chain.in_place()),
            other => other,
        }
    });
    (instructions.collect(), places)
}
