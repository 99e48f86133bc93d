//! Stages: instructions that run one after the other over the same cases, a few cases at a time, and where their operands lie.

use std::collections::HashMap;

use super::cases::{Reading, cut, readings};
use super::schedule::{Instruction, Origin, Output, Schedule};

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
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// The number of cases; 1 where instructions run as a whole.
    pub cases: usize,
    /// How many cases run together.
    pub chunk: usize,
    /// For one case; buffers are positions in `places`.
    pub instructions: Vec<Instruction>,
    pub places: Vec<Place>,
    /// The whole buffers that are filled: where they lie in the memory of the program, and the entries of a case.
    pub fills: Vec<(usize, usize)>,
    /// The entries of a case in every local room, the largest first.
    pub locals: Vec<usize>,
    /// About how many multiply-adds all cases take.
    pub work: usize,
}

/// Instructions of a schedule, by number, that are to be one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub cases: usize,
    pub members: Vec<usize>,
}

/// From when until when a buffer is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub from: usize,
    pub to: usize,
    pub len: usize,
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
    pub fn new(schedule: &Schedule, groups: &[Group], tuning: Tuning, bytes: usize) -> Stages {
        let (memory, sizes) = shared(schedule, groups);
        let stages = groups.iter().map(|group| stage(schedule, group, &memory, tuning, bytes)).collect();
        Stages { stages, memory, sizes }
    }

    /// The entries that lie between arguments and results at once, on so many threads.
    pub fn entries(&self, threads: usize, tuning: Tuning) -> usize {
        let shared = || self.stages.iter().filter(|s| s.cases > 1);
        let most = shared().filter(|s| s.work >= tuning.parallel).map(|s| s.cases).max().unwrap_or(1);
        let helpers = threads.min(most).saturating_sub(1);
        self.sizes.iter().sum::<usize>() + at_desk(self.stages.iter()) + helpers * at_desk(shared())
    }
}

/// The entries that a thread needs for some stages.
fn at_desk<'s>(stages: impl Iterator<Item = &'s Stage> + Clone) -> usize {
    let (locals, registers) = desk(stages.clone());
    let packed = stages.flat_map(|stage| {
        let products = stage.instructions.iter().filter_map(|i| match i {
            Instruction::Product { product, .. } => Some(product),
            _ => None,
        });
        products.map(|product| product.cases(stage.chunk).packed())
    });
    locals.into_iter().chain(registers).sum::<usize>() + packed.max().unwrap_or(0)
}

/// The entries of the local rooms and of the registers that a thread needs for some stages.
pub(super) fn desk<'s>(stages: impl Iterator<Item = &'s Stage>) -> (Vec<usize>, Vec<usize>) {
    let (mut locals, mut registers): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
    let grow = |rooms: &mut Vec<usize>, number: usize, len: usize| {
        rooms.resize(rooms.len().max(number + 1), 0);
        rooms[number] = rooms[number].max(len);
    };
    for stage in stages {
        stage.locals.iter().enumerate().for_each(|(i, each)| grow(&mut locals, i, each * stage.chunk));
        for instruction in &stage.instructions {
            if let Instruction::Fused(chain) = instruction {
                let block = chain.block.min(chain.len * stage.chunk);
                (0..chain.registers).for_each(|i| grow(&mut registers, i, block));
            }
        }
    }
    (locals, registers)
}

/// The memory of buffers that live on after the stage that computes them.
fn shared(schedule: &Schedule, groups: &[Group]) -> (Vec<Option<usize>>, Vec<usize>) {
    let count = schedule.buffers.len();
    let mut made = vec![0; count];
    let mut last: Vec<Option<usize>> = vec![None; count];
    for (number, group) in groups.iter().enumerate() {
        for instruction in group.members.iter().map(|&i| &schedule.instructions[i]) {
            instruction.writes().iter().for_each(|&b| made[b] = number);
            for b in instruction.reads().into_iter().filter(|&b| schedule.buffers[b].origin == Origin::Computed) {
                if made[b] < number {
                    last[b] = Some(number);
                }
            }
        }
    }
    let mut given = vec![false; count];
    for output in &schedule.outputs {
        match *output {
            Output::Computed(b) => given[b] = true,
            Output::Part(b, _) if schedule.buffers[b].origin == Origin::Computed => last[b] = Some(usize::MAX),
            Output::Part(..) | Output::Constant(_) => {}
        }
    }
    let written = groups.iter().flat_map(|g| &g.members).flat_map(|&i| schedule.instructions[i].writes());
    let (mut memory, mut lives, mut owners) = (vec![None; count], vec![], vec![]);
    for &b in written {
        if let (false, Some(to)) = (given[b], last[b]) {
            lives.push(Life { from: made[b], to, len: schedule.buffers[b].len });
            owners.push(b);
        }
    }
    let (rooms, mut sizes) = rooms(&lives);
    owners.into_iter().zip(rooms).for_each(|(b, room)| memory[b] = Some(room));
    for b in (0..count).filter(|&b| given[b]) {
        memory[b] = Some(sizes.len());
        sizes.push(0);
    }
    (memory, sizes)
}

/// A room for each of some lives, which are listed by when they begin, and the sizes of the rooms. A room is used again once a life
/// is over.
pub(super) fn rooms(lives: &[Life]) -> (Vec<usize>, Vec<usize>) {
    let (mut sizes, mut chosen): (Vec<usize>, Vec<usize>) = (vec![], Vec::with_capacity(lives.len()));
    let (mut free, mut taken): (Vec<usize>, Vec<(usize, usize)>) = (vec![], vec![]);
    for life in lives {
        taken.retain(|&(end, room)| {
            if end < life.from {
                free.push(room);
            }
            end >= life.from
        });
        // The smallest that is large enough, of equals the one that was used last and is still in the cache, else the largest, which grows.
        let fitting = (0..free.len()).rev().filter(|&f| sizes[free[f]] >= life.len).min_by_key(|&f| sizes[free[f]]);
        let found = fitting.or_else(|| (0..free.len()).max_by_key(|&f| sizes[free[f]]));
        let room = found.map_or_else(
            || {
                sizes.push(0);
                sizes.len() - 1
            },
            |f| free.swap_remove(f),
        );
        sizes[room] = sizes[room].max(life.len);
        taken.push((life.to, room));
        chosen.push(room);
    }
    (chosen, sizes)
}

/// One stage: each buffer that lives in it alone has a local room.
fn stage(schedule: &Schedule, group: &Group, memory: &[Option<usize>], tuning: Tuning, bytes: usize) -> Stage {
    let instructions: Vec<&Instruction> = group.members.iter().map(|&i| &schedule.instructions[i]).collect();
    let each = |b: usize| schedule.buffers[b].len / group.cases;
    let mut end: HashMap<usize, usize> = HashMap::new();
    for (number, instruction) in instructions.iter().enumerate() {
        instruction.reads().into_iter().chain(instruction.writes().iter().copied()).for_each(|b| {
            end.insert(b, number);
        });
    }
    let (mut lives, mut fills, mut written) = (vec![], vec![], HashMap::new());
    let (mut life_of, mut replaced): (HashMap<usize, usize>, Vec<usize>) = (HashMap::new(), vec![]);
    for (number, instruction) in instructions.iter().enumerate() {
        for &b in instruction.writes() {
            match memory[b] {
                Some(slot) => {
                    written.insert(b, Place { source: Source::Filled(fills.len()), step: each(b) });
                    fills.push((slot, each(b)));
                }
                None => {
                    // What is read here for the last time makes room for a result of its size.
                    let last = |r: &usize| end[r] == number && each(*r) == each(b) && !replaced.contains(r);
                    let operand = match instruction {
                        Instruction::Fused(chain) => instruction
                            .reads()
                            .into_iter()
                            .filter(last)
                            .find(|r| life_of.contains_key(r) && chain.may_replace(*r)),
                        _ => None,
                    };
                    let life = match operand {
                        Some(r) => {
                            replaced.push(r);
                            life_of[&r]
                        }
                        None => {
                            lives.push(Life { from: number, to: number, len: each(b) });
                            lives.len() - 1
                        }
                    };
                    lives[life].to = end[&b];
                    life_of.insert(b, life);
                }
            }
        }
    }
    let (chosen, sizes) = rooms(&lives);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&r| std::cmp::Reverse(sizes[r]));
    let locals: Vec<usize> = order.iter().map(|&r| sizes[r]).collect();
    for (b, life) in life_of {
        let room = chosen[life];
        let local = order.iter().position(|&r| r == room).expect("every room has a place in the order");
        written.insert(b, Place { source: Source::Local(local), step: each(b) });
    }

    let (mut places, mut known): (Vec<Place>, HashMap<Place, usize>) = (vec![], HashMap::new());
    let mut place = |place: Place| {
        *known.entry(place).or_insert_with(|| {
            places.push(place);
            places.len() - 1
        })
    };
    let mut cuts = Vec::with_capacity(instructions.len());
    for instruction in instructions {
        let mut cut = cut(instruction, group.cases);
        let found = readings(instruction, group.cases, &schedule.buffers).expect("members can be cut");
        let mut found = found.into_iter();
        cut.each_read(&mut |read| {
            let Reading { buffer, step, .. } = found.next().expect("one reading for every operand");
            *read = place(match (written.get(&buffer), schedule.buffers[buffer].origin) {
                (Some(&place), _) => place,
                (None, Origin::Input(i)) => Place { source: Source::Input(i), step },
                (None, Origin::Positions) => Place { source: Source::Positions, step },
                (None, Origin::Computed) => {
                    let slot = memory[buffer].expect("what an earlier stage computes lies in memory");
                    Place { source: Source::Memory(slot), step }
                }
            });
        });
        cut.writes_mut().iter_mut().for_each(|to| *to = place(written[to]));
        cuts.push(match cut {
            Instruction::Fused(chain) => Instruction::Fused(chain.in_place()),
            other => other,
        });
    }
    // What is read or filled beside the local rooms passes through the cache too.
    let passing = places.iter().filter(|p| !matches!(p.source, Source::Local(_))).map(|p| p.step).sum::<usize>();
    let each = bytes * (passing + locals.iter().sum::<usize>()).max(1);
    // All together where they fit, else so few that half of the cache is left to what they share.
    let chunk = if each * group.cases <= tuning.cache { group.cases } else { tuning.cache / 2 / each };
    let work = cuts.iter().map(Instruction::work).sum::<usize>() * group.cases;
    Stage { cases: group.cases, chunk: chunk.clamp(1, group.cases), instructions: cuts, places, fills, locals, work }
}
