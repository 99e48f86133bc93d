//! A compiled program: its schedule, the memory it works in, and how it runs.

use std::sync::Arc;

use super::Array;
use super::fold::Fold;
use super::fused;
use super::reduce::Reduction;
use super::schedule::{Instruction, Origin, Output, Schedule};
use super::simd::{Path, Vectors};
use super::solve::Systems;
use crate::ir::Function;

/// A compiled program.
#[derive(Debug)]
pub struct Kernel<T> {
    schedule: Schedule,
    /// Where each computed buffer lies, by buffer.
    slots: Vec<Option<usize>>,
    memory: Memory<T>,
}

/// The memory of a program, kept from run to run.
#[derive(Debug)]
struct Memory<T> {
    slots: Vec<Vec<T>>,
    registers: Vec<Vec<T>>,
    factor: Vec<T>,
    /// 0, 1, 2, ...
    positions: Vec<T>,
    /// What earlier runs gave, to be used again once nobody holds it.
    results: Vec<Vec<Arc<Vec<T>>>>,
    dims: Vec<Arc<[usize]>>,
    /// The outputs of the chain that is running.
    outputs: Vec<Vec<T>>,
    /// What stands in the place of a result that is not finished.
    no_dims: Arc<[usize]>,
    no_data: Arc<Vec<T>>,
}

/// The most results of one output that are kept: what was given last, what was given before, and one to fill.
const KEPT: usize = 3;

impl<T: Vectors> Kernel<T> {
    /// Compiles a verified program.
    pub fn new(function: &Function, fuse: bool) -> Kernel<T> {
        let schedule = Schedule::new(function, fuse);
        let (slots, sizes) = assign(&schedule);
        let registers = schedule.instructions.iter().map(|i| match i {
            Instruction::Fused(chain) => (chain.registers, chain.block),
            _ => (0, 0),
        });
        let (count, size) = registers.fold((0, 0), |(c, s), (count, size)| (c.max(count), s.max(size)));
        let positions = schedule.buffers.iter().filter(|b| b.origin == Origin::Positions).map(|b| b.len).max();
        let memory = Memory {
            slots: sizes.into_iter().map(|len| vec![T::ZERO; len]).collect(),
            registers: vec![vec![T::ZERO; size]; count],
            factor: vec![],
            positions: (0..positions.unwrap_or(0)).map(|i| T::from_f64(i as f64)).collect(),
            results: schedule.outputs.iter().map(|_| Vec::with_capacity(KEPT)).collect(),
            dims: function.output_dims().map(Arc::from).collect(),
            outputs: vec![],
            no_dims: Arc::from([]),
            no_data: Arc::default(),
        };
        Kernel { schedule, slots, memory }
    }

    /// Runs the program on arguments of the right shapes, and appends its results; `watch` is told of every instruction once
    /// it is done.
    pub fn run(
        &mut self,
        path: Path,
        args: &[&Array<T>],
        results: &mut Vec<Array<T>>,
        mut watch: impl FnMut(&Instruction),
    ) {
        let Kernel { schedule, slots, memory } = self;
        for (number, output) in schedule.outputs.iter().enumerate() {
            if let Output::Computed(buffer) = output {
                let slot = slots[*buffer].expect("an output has a slot");
                memory.slots[slot] = memory.result(number, schedule.buffers[*buffer].len);
            }
        }
        for instruction in &schedule.instructions {
            memory.step(path, instruction, schedule, slots, args);
            watch(instruction);
        }
        let nothing = Array { dims: Arc::clone(&memory.no_dims), data: Arc::clone(&memory.no_data) };
        results.resize(schedule.outputs.len(), nothing);
        // An output that is part of another one is copied before that one is given away.
        for late in [false, true] {
            for (number, output) in schedule.outputs.iter().enumerate() {
                if matches!(output, Output::Computed(_)) == late {
                    results[number] = memory.finish(schedule, slots, args, number, output);
                }
            }
        }
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
        slots: &[Option<usize>],
        args: &[&Array<T>],
        number: usize,
        output: &Output,
    ) -> Array<T> {
        let len = self.dims[number].iter().product();
        let data = match *output {
            Output::Computed(buffer) => std::mem::take(&mut self.slots[slots[buffer].expect("an output has a slot")]),
            Output::Part(buffer, offset) => {
                let mut data = self.result(number, len);
                data.copy_from_slice(&self.find(schedule, slots, args, buffer)[offset..offset + len]);
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

    /// The elements of a buffer.
    fn find<'m>(
        &'m self,
        schedule: &Schedule,
        slots: &[Option<usize>],
        args: &'m [&Array<T>],
        buffer: usize,
    ) -> &'m [T] {
        let Memory { slots: memory, positions, .. } = self;
        find(memory, positions, schedule, slots, args, buffer)
    }

    fn step(
        &mut self,
        path: Path,
        instruction: &Instruction,
        schedule: &Schedule,
        slots: &[Option<usize>],
        args: &[&Array<T>],
    ) {
        let slot = |buffer: usize| slots[buffer].expect("a computed buffer has a slot");
        if let Instruction::Fused(chain) = instruction {
            let mut outputs = std::mem::take(&mut self.outputs);
            outputs.extend(chain.outputs.iter().map(|&b| std::mem::take(&mut self.slots[slot(b)])));
            let Memory { slots: memory, positions, registers, .. } = self;
            let find = |buffer: usize| find(memory, positions, schedule, slots, args, buffer);
            fused::run(path, chain, find, registers, &mut outputs);
            chain.outputs.iter().zip(outputs.drain(..)).for_each(|(&b, o)| self.slots[slot(b)] = o);
            self.outputs = outputs;
            return;
        }
        let to = instruction.writes()[0];
        let len = schedule.buffers[to].len;
        let mut taken = std::mem::take(&mut self.slots[slot(to)]);
        let out = &mut taken[..len];
        let Memory { slots: memory, positions, factor, .. } = self;
        let find = |buffer: usize| find(memory, positions, schedule, slots, args, buffer);
        match instruction {
            Instruction::Fused(_) => unreachable!("chains were done above"),
            Instruction::Reduce { f, from, outer, size, inner, .. } => {
                if *size == 0 {
                    out.fill(T::ZERO);
                } else if len > 0 {
                    let data = &find(from.0)[from.1..from.1 + outer * size * inner];
                    path.run(Reduction { f: *f, data, size: *size, inner: *inner, out });
                }
            }
            Instruction::Product { product, a, b, .. } => product.run(path, find(*a), find(*b), out),
            Instruction::Pad { from, outer, row, before, after, .. } => {
                out.fill(T::ZERO);
                let data = &find(from.0)[from.1..from.1 + outer * row];
                if *row > 0 {
                    for (to, from) in out.chunks_exact_mut(before + row + after).zip(data.chunks_exact(*row)) {
                        to[*before..before + row].copy_from_slice(from);
                    }
                }
            }
            Instruction::Fold { windows, from, .. } => {
                let len = windows.outer * windows.count * windows.size * windows.inner;
                path.run(Fold { windows: *windows, data: &find(from.0)[from.1..from.1 + len], out });
            }
            Instruction::Gather { rows, table, numbers, .. } => {
                rows.gather(&find(table.0)[table.1..], &find(numbers.0)[numbers.1..], out);
            }
            Instruction::Scatter { rows, numbers, terms, .. } => {
                let numbers = &find(numbers.0)[numbers.1..];
                rows.scatter(numbers, &find(terms.0)[terms.1..], out);
            }
            Instruction::Solve { count, p, q, a, b, .. } => {
                let (a, b) = (&find(a.0)[a.1..a.1 + count * p * p], &find(b.0)[b.1..b.1 + count * p * q]);
                path.run(Systems { p: *p, q: *q, a, b, x: out, factor });
            }
        }
        self.slots[slot(to)] = taken;
    }
}

/// The elements of a buffer.
fn find<'m, T>(
    memory: &'m [Vec<T>],
    positions: &'m [T],
    schedule: &Schedule,
    slots: &[Option<usize>],
    args: &'m [&Array<T>],
    buffer: usize,
) -> &'m [T] {
    let Some(&known) = schedule.buffers.get(buffer) else { unreachable!("a schedule names its own buffers") };
    match known.origin {
        Origin::Input(index) => &args[index].data,
        Origin::Positions => &positions[..known.len],
        Origin::Computed => &memory[slots[buffer].expect("a computed buffer has a slot")][..known.len],
    }
}

/// A slot for every computed buffer, and the sizes of the slots. A slot is used again once its buffer was read for the last time;
/// outputs have one of their own.
fn assign(schedule: &Schedule) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut last = vec![0; schedule.buffers.len()];
    for (i, instruction) in schedule.instructions.iter().enumerate() {
        instruction.reads().into_iter().for_each(|b| last[b] = i);
    }
    let mut kept = vec![false; schedule.buffers.len()];
    for output in &schedule.outputs {
        match output {
            Output::Computed(b) => kept[*b] = true,
            Output::Part(b, _) => last[*b] = usize::MAX,
            Output::Constant(_) => {}
        }
    }
    let (mut slots, mut sizes): (Vec<Option<usize>>, Vec<usize>) = (vec![None; schedule.buffers.len()], vec![]);
    let mut free: Vec<usize> = Vec::new();
    let mut ends: Vec<(usize, usize)> = Vec::new();
    for (i, instruction) in schedule.instructions.iter().enumerate() {
        for &buffer in instruction.writes() {
            let len = schedule.buffers[buffer].len;
            if kept[buffer] {
                // Filled with the room of a result when a run begins.
                sizes.push(0);
                slots[buffer] = Some(sizes.len() - 1);
                continue;
            }
            // The smallest that is large enough, else the largest, which grows.
            let fitting = (0..free.len()).filter(|&f| sizes[free[f]] >= len).min_by_key(|&f| sizes[free[f]]);
            let chosen = fitting.or_else(|| (0..free.len()).max_by_key(|&f| sizes[free[f]]));
            let slot = chosen.map_or_else(
                || {
                    sizes.push(0);
                    sizes.len() - 1
                },
                |f| free.swap_remove(f),
            );
            sizes[slot] = sizes[slot].max(len);
            slots[buffer] = Some(slot);
            ends.push((last[buffer].max(i), slot));
        }
        ends.retain(|&(end, slot)| {
            if end <= i {
                free.push(slot);
            }
            end > i
        });
    }
    (slots, sizes)
}
