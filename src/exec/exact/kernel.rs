//! A compiled program: its stages, the memory it works in, and how it runs.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use super::cases::groups;
use super::fold::Fold;
use super::fused;
use super::layout::{self, Entries, Outline, Sketch};
use super::reduce::Reduction;
use super::schedule::{Instruction, Origin, Output, Schedule};
use super::simd::{Dispatch, Path, Vectors};
use super::solve::Systems;
use super::spread::{Spread, spread};
use super::stage::{Group, Place, Source, Stage, Stages, Tuning};
use super::view::copy;
use super::watch::Operation;
use super::{Array, Need, Room, recompute};
use crate::exec::ExecError;
use crate::ir::Function;

/// A compiled program.
#[derive(Debug)]
pub struct Kernel<T: 'static> {
    schedule: Schedule,
    stages: Stages,
    tuning: Tuning,
    /// How many bytes of its own it keeps from run to run.
    kept: u64,
    memory: Memory<T>,
    /// The memory of every thread that takes part; the first is the one that calls. None before the first run and while it rests.
    desks: Vec<Desk<T>>,
}

/// The memory of a program, kept from run to run.
#[derive(Debug)]
struct Memory<T> {
    /// What more than one stage sees.
    shared: Vec<Vec<T>>,
    /// 0, 1, 2, ...
    positions: Vec<T>,
    /// What earlier runs gave, to be used again once nobody holds it.
    results: Vec<Vec<Arc<Vec<T>>>>,
    dims: Vec<Arc<[usize]>>,
    /// The whole buffers that the running stage fills.
    fills: Vec<Vec<T>>,
    /// What stands in the place of a result that is not finished.
    no_dims: Arc<[usize]>,
    no_data: Arc<Vec<T>>,
}

/// The memory of one thread.
#[derive(Debug)]
struct Desk<T: 'static> {
    locals: Vec<Vec<T>>,
    registers: Vec<Vec<T>>,
    factor: Vec<T>,
    /// Room for two lists, empty between stages.
    parts: Vec<&'static mut [T]>,
    rooms: Vec<Shelf<'static, T>>,
}

/// The most results of one output that are kept: what was given last, what was given before, and one to fill.
const KEPT: usize = 3;

/// A program that rests gives back what it works in where that is more: to be given pages anew costs about as much as to write them.
pub const LARGE: u64 = 32 << 20;

/// Who is told of every instruction once it is done, and for how many cases it was.
pub type Told<'a> = &'a mut dyn FnMut(&Instruction, usize);

/// A program made ready for elements of some size.
#[derive(Debug)]
pub struct Planned {
    schedule: Schedule,
    stages: Stages,
    /// What a run needs.
    pub need: Need,
}

/// Plans a verified program whose elements take that many bytes. Where it does not fit into its room, values are computed again.
pub fn plan(function: &Function, fuse: bool, tuning: Tuning, bytes: usize, room: Room) -> Result<Planned, ExecError> {
    let schedule = Schedule::new(function, fuse);
    let groups = groups(&schedule, tuning, bytes);
    let dims = function.input_dims().chain(function.output_dims());
    let ports: usize = dims.map(|dims| dims.iter().product::<usize>()).sum();
    let least = |entries: usize| (bytes * (ports + entries)) as u64;
    let need = |stages: &Stages, again: u64| {
        let Entries { kept, shared } = stages.entries(room.threads, tuning);
        let own = (bytes * (kept + positions(&schedule))) as u64;
        Need { bytes: least(kept + shared), again, kept: own, shared: (bytes * shared) as u64 }
    };
    let sketch = Sketch::new(&schedule);
    let outline = Outline::new(&schedule, &groups, tuning, bytes);
    let stages = Stages::new(&outline, &sketch, &groups);
    let (plain, given) = (need(&stages, 0), room.bytes.unwrap_or(u64::MAX));
    if plain.bytes <= given {
        drop(outline);
        return Ok(Planned { schedule, stages, need: plain });
    }
    let fit = |outline: &Outline, groups: &[Group]| {
        let entries = |sketch: &Sketch, groups: &[Group]| outline.entries(sketch, groups, room.threads);
        recompute::fit(&schedule, &sketch, groups, given, &|sketch, groups| least(entries(sketch, groups)))
    };
    let (outline, found) = match fit(&outline, &groups) {
        Err(fewest) => {
            let whole = [Group { cases: 1, members: (0..schedule.instructions.len()).collect() }];
            let outline = Outline::new(&schedule, &whole, tuning, bytes);
            let found = fit(&outline, &whole).map_err(|other| fewest.min(other));
            (outline, found)
        }
        found => (outline, found),
    };
    let wanting = |needed| ExecError::Memory { function: function.name.clone(), needed, given };
    let (again, some) = found.map_err(wanting)?;
    let stages = Stages::new(&outline, &again, &some);
    let need = need(&stages, flops(&schedule, &again, &some) - flops(&schedule, &sketch, &groups));
    drop(outline);
    Ok(Planned { schedule, stages, need })
}

/// How many of the numbers 0, 1, 2, ... a program reads.
fn positions(schedule: &Schedule) -> usize {
    let read = schedule.buffers.iter().filter(|buffer| buffer.origin == Origin::Positions);
    read.map(|buffer| buffer.len).max().unwrap_or(0)
}

/// The floating-point operations of some groups.
fn flops(schedule: &Schedule, sketch: &Sketch, groups: &[Group]) -> u64 {
    let members = groups.iter().flat_map(|group| &group.members);
    members.map(|&i| Operation::of(&schedule.instructions[sketch.original(i)], 1).flops).sum()
}

impl<T: Vectors> Kernel<T> {
    /// Compiles a verified program.
    pub fn new(function: &Function, fuse: bool, tuning: Tuning, room: Room) -> Result<Kernel<T>, ExecError> {
        let Planned { schedule, stages, need } = plan(function, fuse, tuning, size_of::<T>(), room)?;
        let memory = Memory {
            shared: vec![],
            positions: (0..positions(&schedule)).map(|i| T::from_f64(i as f64)).collect(),
            results: schedule.outputs.iter().map(|_| Vec::with_capacity(KEPT)).collect(),
            dims: function.output_dims().map(Arc::from).collect(),
            fills: vec![],
            no_dims: Arc::from([]),
            no_data: Arc::default(),
        };
        Ok(Kernel { schedule, stages, tuning, kept: need.kept, memory, desks: vec![] })
    }

    /// Gives back the memory that it works in, where that is much; the next run takes as much again.
    pub fn rest(&mut self) {
        if self.kept > LARGE {
            self.memory.shared.clear();
            self.memory.results.iter_mut().for_each(Vec::clear);
            self.desks.clear();
        }
    }

    /// Takes the memory that it works in.
    fn wake(&mut self) {
        if self.desks.is_empty() {
            self.memory.shared = self.stages.sizes.iter().map(|&len| vec![T::ZERO; len]).collect();
            self.desks.push(Desk::new(self.stages.stages.iter()));
        }
    }

    /// Runs the program on arguments of the right shapes, and appends its results.
    pub fn run(&mut self, path: Path, args: &[&Array<T>], results: &mut Vec<Array<T>>, mut told: Option<Told>) {
        self.wake();
        let Kernel { schedule, stages, memory, .. } = self;
        for (number, output) in schedule.outputs.iter().enumerate() {
            if let Output::Computed(buffer) = output {
                let slot = stages.memory[*buffer].expect("an output lies in memory");
                memory.shared[slot] = memory.result(number, schedule.buffers[*buffer].len);
            }
        }
        for number in 0..self.stages.stages.len() {
            self.stage(path, number, args, &mut told);
        }
        let Kernel { schedule, stages, memory, .. } = self;
        let nothing = Array { dims: Arc::clone(&memory.no_dims), data: Arc::clone(&memory.no_data) };
        results.resize(schedule.outputs.len(), nothing);
        // An output that is part of another one is copied before that one is given away.
        for late in [false, true] {
            for (number, output) in schedule.outputs.iter().enumerate() {
                if matches!(output, Output::Computed(_)) == late {
                    results[number] = memory.finish(schedule, &stages.memory, args, number, output);
                }
            }
        }
    }

    /// Runs one stage, on several threads where there are many cases and much to do. Who is told is told by this thread.
    fn stage(&mut self, path: Path, number: usize, args: &[&Array<T>], told: &mut Option<Told>) {
        let stage = &self.stages.stages[number];
        let alone = stage.layout.cases == 1 || stage.layout.work < self.tuning.parallel || told.is_some();
        let threads = if alone { 1 } else { rayon::current_num_threads().min(stage.layout.cases) };
        while self.desks.len() < threads {
            self.desks.push(Desk::new(self.stages.stages.iter().filter(|s| s.layout.cases > 1)));
        }
        let Memory { shared, positions, fills, .. } = &mut self.memory;
        fills.extend(stage.layout.fills.iter().map(|&(slot, _)| std::mem::take(&mut shared[slot])));
        let at = At { path, stage, args, positions, shared };
        let mut parts = recycled(std::mem::take(&mut self.desks[0].parts));
        parts.extend(
            fills.iter_mut().zip(&stage.layout.fills).map(|(fill, &(_, each))| &mut fill[..each * stage.layout.cases]),
        );
        if let [desk] = &mut self.desks[..threads] {
            at.cases(desk, parts, 0..stage.layout.cases, told);
        } else {
            spread(Crew { at: &at, desks: &mut self.desks[..threads], parts, cases: 0..stage.layout.cases }, threads);
        }
        stage.layout.fills.iter().zip(fills.drain(..)).for_each(|(&(slot, _), fill)| shared[slot] = fill);
    }
}

impl<T: Vectors> Desk<T> {
    /// What a thread needs for some stages.
    fn new<'s>(stages: impl Iterator<Item = &'s Stage>) -> Desk<T> {
        let layout::Desk { locals, registers, .. } = Stage::desk(stages);
        let rooms = |sizes: Vec<usize>| sizes.into_iter().map(|len| vec![T::ZERO; len]).collect();
        Desk { locals: rooms(locals), registers: rooms(registers), factor: vec![], parts: vec![], rooms: vec![] }
    }
}

/// The room of an empty list, for a list of another lifetime.
fn recycled<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

/// A stage at work.
struct At<'a, T> {
    path: Path,
    stage: &'a Stage,
    args: &'a [&'a Array<T>],
    positions: &'a [T],
    shared: &'a [Vec<T>],
}

impl<'a, T: Vectors> At<'a, T> {
    /// Runs some cases at one desk, as many at a time as were planned.
    fn cases(&self, desk: &mut Desk<T>, parts: Vec<&mut [T]>, cases: Range<usize>, told: &mut Option<Told>) {
        let Desk { locals, registers, factor, parts: kept_parts, rooms: kept_rooms } = desk;
        let rooms = recycled(std::mem::take(kept_rooms));
        let mut bench = Bench { at: self, first: cases.start, parts, locals, rooms };
        let mut start = cases.start;
        while start < cases.end {
            let chunk = start..(start + self.stage.layout.chunk).min(cases.end);
            for instruction in &self.stage.instructions {
                bench.step(instruction, chunk.clone(), registers, factor);
                if let Some(told) = told {
                    told(instruction, chunk.len());
                }
            }
            start = chunk.end;
        }
        let Bench { parts, rooms, .. } = bench;
        (*kept_parts, *kept_rooms) = (recycled(parts), recycled(rooms));
    }
}

/// Threads that share the cases of a stage.
struct Crew<'c, T: 'static> {
    at: &'c At<'c, T>,
    desks: &'c mut [Desk<T>],
    /// The whole buffers that are filled, from the first of these cases on.
    parts: Vec<&'c mut [T]>,
    cases: Range<usize>,
}

impl<T: Vectors> Spread for Crew<'_, T> {
    fn parts(&self) -> usize {
        self.desks.len()
    }

    fn cut(self, first: usize) -> (Self, Self) {
        let Crew { at, desks, parts, cases } = self;
        let count = cases.len() * first / desks.len();
        let (left, right) = desks.split_at_mut(first);
        let shares = at.stage.layout.fills.iter().map(|&(_, each)| each * count);
        let (before, after) = parts.into_iter().zip(shares).map(|(part, share)| part.split_at_mut(share)).unzip();
        let middle = cases.start + count;
        (
            Crew { at, desks: left, parts: before, cases: cases.start..middle },
            Crew { at, desks: right, parts: after, cases: middle..cases.end },
        )
    }

    fn work(self) {
        let [desk] = self.desks else { unreachable!("as many threads as desks") };
        self.at.cases(desk, self.parts, self.cases, &mut None);
    }
}

/// Where one thread computes its cases of a stage.
struct Bench<'b, T: 'static> {
    at: &'b At<'b, T>,
    /// The first of its cases.
    first: usize,
    /// The whole buffers that are filled, from that case on.
    parts: Vec<&'b mut [T]>,
    locals: &'b mut [Vec<T>],
    /// What the running chain fills.
    rooms: Vec<Shelf<'b, T>>,
}

/// What an instruction fills, taken out of its place meanwhile, so that its operands can be read.
#[derive(Debug)]
enum Shelf<'b, T> {
    Local(Vec<T>),
    Part { whole: &'b mut [T], from: usize },
}

impl<T> Default for Shelf<'_, T> {
    fn default() -> Self {
        Shelf::Local(vec![])
    }
}

impl<T> Deref for Shelf<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Shelf::Local(room) => room,
            Shelf::Part { whole, from } => &whole[*from..],
        }
    }
}

impl<T> DerefMut for Shelf<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Shelf::Local(room) => room,
            Shelf::Part { whole, from } => &mut whole[*from..],
        }
    }
}

impl<'b, T: Vectors> Bench<'b, T> {
    fn place(&self, number: usize) -> Place {
        self.at.stage.places[number]
    }

    /// Takes out what an instruction fills for the cases from `start` on.
    fn take(&mut self, number: usize, start: usize) -> Shelf<'b, T> {
        let Place { source, step } = self.place(number);
        match source {
            Source::Local(local) => Shelf::Local(std::mem::take(&mut self.locals[local])),
            Source::Filled(part) => {
                Shelf::Part { whole: std::mem::take(&mut self.parts[part]), from: step * (start - self.first) }
            }
            other => unreachable!("{other:?} is not filled"),
        }
    }

    /// Puts it back.
    fn put(&mut self, number: usize, room: Shelf<'b, T>) {
        match (self.place(number).source, room) {
            (Source::Local(local), Shelf::Local(room)) => self.locals[local] = room,
            (Source::Filled(part), Shelf::Part { whole, .. }) => self.parts[part] = whole,
            (other, _) => unreachable!("{other:?} is not where this was taken from"),
        }
    }

    fn step(&mut self, instruction: &Instruction, cases: Range<usize>, registers: &mut [Vec<T>], factor: &mut Vec<T>) {
        let (start, count) = (cases.start, cases.len());
        if let Instruction::Fused(chain) = instruction {
            let mut rooms = std::mem::take(&mut self.rooms);
            for &to in &chain.outputs {
                rooms.push(self.take(to, start));
            }
            let find = |number: usize| find(self, number, start);
            fused::run(self.at.path, chain, count, find, registers, &mut rooms);
            chain.outputs.iter().zip(rooms.drain(..)).for_each(|(&to, room)| self.put(to, room));
            self.rooms = rooms;
            return;
        }
        let to = instruction.writes()[0];
        let mut room = self.take(to, start);
        let out = &mut room[..self.place(to).step * count];
        let find = |number: usize| find(self, number, start);
        match instruction {
            Instruction::Fused(_) => unreachable!("chains were done above"),
            Instruction::Reduce { f, adjacent, from, outer, size, inner, .. } => {
                if *size == 0 {
                    out.fill(T::ZERO);
                } else if !out.is_empty() {
                    let data = &find(from.0)[from.1..from.1 + count * outer * size * inner];
                    Reduction { f: *f, adjacent: *adjacent, data, size: *size, inner: *inner, out }.run(self.at.path);
                }
            }
            Instruction::Product { product, a, b, .. } => {
                product.cases(count).run(self.at.path, find(*a), find(*b), out);
            }
            Instruction::Pad { from, outer, row, before, after, .. } => {
                out.fill(T::ZERO);
                let data = &find(from.0)[from.1..from.1 + count * outer * row];
                if *row > 0 {
                    for (to, from) in out.chunks_exact_mut(before + row + after).zip(data.chunks_exact(*row)) {
                        copy(from, &mut to[*before..before + row]);
                    }
                }
            }
            Instruction::Fold { windows, from, .. } => {
                self.at.path.run(Fold { windows, times: count, data: &find(from.0)[from.1..], out });
            }
            Instruction::Gather { rows, table, numbers, .. } => {
                rows.gather(&find(table.0)[table.1..], &find(numbers.0)[numbers.1..], out);
            }
            Instruction::Scatter { rows, numbers, terms, .. } => {
                rows.scatter(&find(numbers.0)[numbers.1..], &find(terms.0)[terms.1..], out);
            }
            Instruction::Solve { count: each, p, q, a, b, .. } => {
                let count = count * each;
                let (a, b) = (&find(a.0)[a.1..a.1 + count * p * p], &find(b.0)[b.1..b.1 + count * p * q]);
                self.at.path.run(Systems { p: *p, q: *q, a, b, x: out, factor });
            }
        }
        self.put(to, room);
    }
}

/// An operand, for the cases from `start` on.
fn find<'m, T>(bench: &'m Bench<T>, number: usize, start: usize) -> &'m [T] {
    let Place { source, step } = bench.at.stage.places[number];
    match source {
        Source::Input(input) => &bench.at.args[input].data[step * start..],
        Source::Positions => &bench.at.positions[step * start..],
        Source::Memory(slot) => &bench.at.shared[slot][step * start..],
        Source::Filled(part) => &bench.parts[part][step * (start - bench.first)..],
        Source::Local(local) => &bench.locals[local],
    }
}

impl<T: Vectors> Memory<T> {
    /// Room for a result: that of an earlier run which nobody holds any more, else new.
    fn result(&mut self, number: usize, len: usize) -> Vec<T> {
        let free = self.results[number].iter_mut().find_map(|r| Arc::get_mut(r).filter(|r| r.len() == len));
        free.map_or_else(|| vec![T::ZERO; len], std::mem::take)
    }

    /// Wraps a result, in the shell that it was taken from if there is one.
    fn give(&mut self, number: usize, data: Vec<T>) -> Arc<Vec<T>> {
        let kept = &mut self.results[number];
        for shell in kept.iter_mut() {
            if let Some(empty) = Arc::get_mut(shell).filter(|r| r.is_empty()) {
                *empty = data;
                return Arc::clone(shell);
            }
        }
        let result = Arc::new(data);
        if kept.len() < KEPT {
            kept.push(Arc::clone(&result));
        }
        result
    }

    /// An output of the program.
    fn finish(
        &mut self,
        schedule: &Schedule,
        memory: &[Option<usize>],
        args: &[&Array<T>],
        number: usize,
        output: &Output,
    ) -> Array<T> {
        let len = self.dims[number].iter().product();
        let data = match *output {
            Output::Computed(buffer) => {
                std::mem::take(&mut self.shared[memory[buffer].expect("an output lies in memory")])
            }
            Output::Part(buffer, offset) => {
                let mut data = self.result(number, len);
                data.copy_from_slice(&self.whole(schedule, memory, args, buffer)[offset..offset + len]);
                data
            }
            Output::Constant(x) => {
                let mut data = self.result(number, len);
                data.fill(T::from_f64(x));
                data
            }
        };
        Array { dims: Arc::clone(&self.dims[number]), data: self.give(number, data) }
    }

    /// The elements of a whole buffer.
    fn whole<'m>(
        &'m self,
        schedule: &Schedule,
        memory: &[Option<usize>],
        args: &'m [&Array<T>],
        buffer: usize,
    ) -> &'m [T] {
        match schedule.buffers[buffer].origin {
            Origin::Input(index) => &args[index].data,
            Origin::Positions => &self.positions,
            Origin::Computed => &self.shared[memory[buffer].expect("an output lies in memory")],
        }
    }
}
