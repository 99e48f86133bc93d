//! Which instructions run case by case.
//!
//! A step of meta-learning computes the same for every task. Instruction by instruction, what all tasks have of a large matrix goes
//! through the caches once per instruction; task by task, the matrices of one task stay in the cache from one instruction to the next,
//! and what no other stage reads never leaves it. Nothing here knows of tasks: cases are any number by which the leading axes of
//! instructions divide, be it tasks, rows or images, so that case `i` of every result depends on case `i` of the operands alone.
//!
//! A number of cases is tried for every leading axis that occurs. Instructions are gathered alternately into a group of those that
//! cannot be cut so and a group of those that can, each group as long as can be; the number that keeps most entries within its groups
//! wins. Groups that have little to do and whose entries fit into the cache are left whole. Cutting changes no bit: every entry is computed by the same
//! operations in the same order, and sums over the cases are not cut.

use std::collections::HashMap;

use super::fold::Windows;
use super::layout::{Life, rooms};
use super::matmul::{Batch, Matrices, Product};
use super::schedule::{Buffer, Instruction, Origin, Output, Schedule};
use super::stage::{Group, Tuning};

/// How an instruction that is cut into cases reads a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub buffer: usize,
    /// How far it moves from one case to the next.
    pub step: usize,
    /// Whether a case reads only its own share of the buffer.
    own: bool,
}

/// A second operand with more entries that all cases share is better read once for all of them.
const SHARED: usize = 1 << 14;

/// How an instruction reads its operands, in the order of [`Instruction::each_read`], where it can be cut into that many cases.
pub(super) fn readings(instruction: &Instruction, cases: usize, buffers: &[Buffer]) -> Option<Vec<Reading>> {
    if cases == 1 {
        return Some(instruction.reads().into_iter().map(|buffer| Reading { buffer, step: 0, own: true }).collect());
    }
    let share = |n: usize| (n > 0 && n.is_multiple_of(cases)).then_some(n / cases);
    // The entries `offset..offset + extent` in the first case.
    let reading = |buffer: usize, offset: usize, step: usize, extent: usize| Reading {
        buffer,
        step,
        own: step * cases == buffers[buffer].len && offset + extent <= step,
    };
    match instruction {
        Instruction::Fused(fused) => {
            share(fused.len)?;
            let read = |(buffer, offset, axes): (usize, usize, &[(usize, usize)])| {
                let Some((&(size, stride), inner)) = axes.split_first() else {
                    return Some(reading(buffer, offset, 0, 1));
                };
                let size = share(size)?;
                let last = (size - 1) * stride + inner.iter().map(|(size, stride)| (size - 1) * stride).sum::<usize>();
                Some(reading(buffer, offset, size * stride, last + 1))
            };
            fused.readings().into_iter().map(|(buffer, offset, axes)| read((buffer, offset, &axes))).collect()
        }
        Instruction::Reduce { from, outer, size, inner, .. } => {
            let step = share(*outer)? * size * inner;
            (step > 0).then(|| vec![reading(from.0, from.1, step, step)])
        }
        Instruction::Pad { from, outer, row, .. } => {
            let step = share(*outer)? * row;
            (step > 0).then(|| vec![reading(from.0, from.1, step, step)])
        }
        Instruction::Fold { windows, from, .. } => {
            let one = cut_windows(windows, cases)?;
            let &(size, stride) = one.outer.first()?;
            (one.entries() * one.len > 0).then(|| vec![reading(from.0, from.1, size * stride, one.reach() + 1)])
        }
        // A number may name any row of its table, so that nothing is known of what a case reads.
        Instruction::Gather { .. } | Instruction::Scatter { .. } => None,
        Instruction::Solve { count, p, q, a, b, .. } => {
            let (count, a_len, b_len) = (share(*count)?, p * p, p * q);
            let operand = |place: &(usize, usize), len: usize| reading(place.0, place.1, count * len, count * len);
            (b_len > 0).then(|| vec![operand(a, a_len), operand(b, b_len)])
        }
        Instruction::Product { product, a, b, .. } => {
            let (p, step_a, step_b) = cut_product(product, cases)?;
            if p.m * p.k * p.n == 0 || (step_b == 0 && p.k * p.n > SHARED) {
                return None;
            }
            let last = [p.last_a(), p.last_b()];
            Some(vec![
                reading(*a, p.a.offset, step_a, last[0] - p.a.offset + 1),
                reading(*b, p.b.offset, step_b, last[1] - p.b.offset + 1),
            ])
        }
    }
}

/// The product of one case, and how far its operands move from one case to the next: its matrices, or its rows where all cases are rows
/// of one matrix.
fn cut_product(product: &Product, cases: usize) -> Option<(Product, usize, usize)> {
    let Product { count, m, a, b, ref listed, .. } = *product;
    if cases > 1 && count == 1 && m.is_multiple_of(cases) && listed.is_none() {
        let (m, next) = (m / cases, |jump| Batch { near: 1, step: 0, jump });
        let (a, b) = (Matrices { next: next(m * a.row), ..a }, Matrices { next: next(0), ..b });
        return Some((Product { m, a, b, ..product.clone() }, m * a.row, 0));
    }
    if !count.is_multiple_of(cases) {
        return None;
    }
    let count = count / cases;
    let (step_a, step_b) = (a.next.stride(count)?, b.next.stride(count)?);
    Some((Product { count, ..product.clone() }, step_a, step_b))
}

/// The windows of one case.
fn cut_windows(windows: &Windows, cases: usize) -> Option<Windows> {
    let mut one = windows.clone();
    let outermost = one.outer.first_mut()?;
    outermost.0 = outermost.0.is_multiple_of(cases).then_some(outermost.0 / cases)?;
    Some(one)
}

/// One case of an instruction that can be cut; of those that cannot, there is one case.
pub(super) fn cut(instruction: &Instruction, cases: usize) -> Instruction {
    let mut one = instruction.clone();
    match &mut one {
        Instruction::Fused(fused) => fused.len /= cases,
        Instruction::Reduce { outer, .. } | Instruction::Pad { outer, .. } => *outer /= cases,
        Instruction::Fold { windows, .. } if cases > 1 => {
            *windows = cut_windows(windows, cases).expect("the windows can be cut");
        }
        Instruction::Fold { .. } => {}
        Instruction::Gather { .. } | Instruction::Scatter { .. } => {}
        Instruction::Solve { count, .. } => *count /= cases,
        Instruction::Product { product, .. } => {
            *product = cut_product(product, cases).expect("the product can be cut").0;
        }
    }
    one
}

/// The numbers of cases that are worth a try: the leading axes that occur.
fn candidates(schedule: &Schedule) -> Vec<usize> {
    let mut found: Vec<usize> = vec![];
    for instruction in &schedule.instructions {
        match instruction {
            Instruction::Fused(fused) => {
                found.extend(fused.readings().iter().filter_map(|(_, _, axes)| axes.first().map(|a| a.0)));
            }
            Instruction::Reduce { outer, .. } | Instruction::Pad { outer, .. } => found.push(*outer),
            Instruction::Fold { windows, .. } => found.push(windows.outer()),
            Instruction::Gather { .. } | Instruction::Scatter { .. } => {}
            Instruction::Solve { count, .. } => found.push(*count),
            Instruction::Product { product, .. } => found.push(product.count),
        }
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|&cases| cases > 1);
    found
}

/// The groups of a schedule, each instruction after what it reads.
pub(super) fn groups(schedule: &Schedule, tuning: Tuning, bytes: usize) -> Vec<Group> {
    let whole = vec![Group { cases: 1, members: (0..schedule.instructions.len()).collect() }];
    let large = schedule.buffers.iter().map(|b| b.len).sum::<usize>() * bytes > tuning.cache;
    if !large && schedule.instructions.iter().map(Instruction::work).sum::<usize>() < tuning.parallel {
        return whole;
    }
    let readers = readers(schedule);
    let cut = candidates(schedule).into_iter().map(|cases| {
        let mut groups = alternating(schedule, cases);
        let mut saved = 0;
        for group in groups.iter_mut().filter(|g| g.cases > 1) {
            let kept = within(schedule, &readers, group);
            let work: usize = group.members.iter().map(|&i| schedule.instructions[i].work()).sum();
            if kept * bytes > tuning.cache || work >= tuning.parallel {
                saved += kept;
            } else {
                group.cases = 1;
            }
        }
        (saved, groups)
    });
    // The last of several equals is the one with most cases.
    let Some((1.., mut groups)) = cut.max_by_key(|(saved, _)| *saved) else { return whole };
    groups.dedup_by(|next, group| {
        let joined = group.cases == 1 && next.cases == 1;
        if joined {
            group.members.append(&mut next.members);
        }
        joined
    });
    groups
}

/// Groups of instructions that cannot be cut and of those that can, in turns.
fn alternating(schedule: &Schedule, cases: usize) -> Vec<Group> {
    let Schedule { buffers, instructions, .. } = schedule;
    let whole = |i: &Instruction| readings(i, 1, buffers).expect("every instruction runs as a whole");
    let way = |i| readings(i, cases, buffers).map_or_else(|| (false, whole(i)), |cut| (true, cut));
    // Whether each can be cut, and what it reads then.
    let ways: Vec<(bool, Vec<Reading>)> = instructions.iter().map(way).collect();
    let mut group_of = vec![0; buffers.len()];
    let mut groups: Vec<Group> = vec![];
    for (i, (instruction, (cut, readings))) in instructions.iter().zip(ways).enumerate() {
        // The first group that can be after all that is read. A case may read what its own group computes only where that is its own share.
        let computed = readings.iter().filter(|r| buffers[r.buffer].origin == Origin::Computed);
        let first = computed.map(|r| group_of[r.buffer] + usize::from(!r.own)).max().unwrap_or(0);
        let number = first + usize::from((first % 2 == 1) != cut);
        instruction.writes().iter().for_each(|&b| group_of[b] = number);
        for number in groups.len()..=number {
            groups.push(Group { cases: if number % 2 == 1 { cases } else { 1 }, members: vec![] });
        }
        groups[number].members.push(i);
    }
    groups.retain(|g| !g.members.is_empty());
    groups
}

/// How often every buffer is read, by instructions or as an output.
fn readers(schedule: &Schedule) -> Vec<usize> {
    let mut readers = vec![0; schedule.buffers.len()];
    schedule.instructions.iter().flat_map(Instruction::reads).for_each(|b| readers[b] += 1);
    for output in &schedule.outputs {
        if let Output::Computed(b) | Output::Part(b, _) = *output {
            readers[b] += 1;
        }
    }
    readers
}

/// The most entries of buffers that only this group uses which live at once; none where it is not cut.
fn within(schedule: &Schedule, readers: &[usize], group: &Group) -> usize {
    if group.cases == 1 {
        return 0;
    }
    let members = || group.members.iter().map(|&i| &schedule.instructions[i]);
    let mut here: HashMap<usize, (usize, usize)> = HashMap::new();
    for (number, instruction) in members().enumerate() {
        for b in instruction.reads() {
            let (reads, last) = here.entry(b).or_default();
            (*reads, *last) = (*reads + 1, number);
        }
    }
    let mut lives = vec![];
    for (number, instruction) in members().enumerate() {
        for &b in instruction.writes() {
            let (reads, last) = here.get(&b).copied().unwrap_or((0, number));
            if reads == readers[b] {
                lives.push(Life { from: number, to: last, len: schedule.buffers[b].len });
            }
        }
    }
    rooms(&lives).1.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::operator;
    use crate::exec::testing::program;
    use crate::ir::{Builder, Function, NodeId, Unary};

    const LARGE: Tuning = Tuning { cache: 1 << 18, parallel: usize::MAX };

    /// How many instructions each group has, and how many cases.
    fn shape(function: &Function, tuning: Tuning) -> Vec<(usize, usize)> {
        let schedule = Schedule::new(function, true);
        groups(&schedule, tuning, 4).iter().map(|g| (g.cases, g.members.len())).collect()
    }

    fn tanh_of_product(b: &mut Builder, x: NodeId, y: NodeId) -> NodeId {
        let z = b.matmul(x, y, false, false);
        b.unary(Unary::Tanh, z)
    }

    #[test]
    fn what_all_tasks_have_of_their_own_runs_task_by_task() {
        let tasks = program(&[&[25, 64, 64], &[25, 64, 64]], |b, x| {
            let y = tanh_of_product(b, x[0], x[1]);
            let z = tanh_of_product(b, y, x[1]);
            vec![b.sum(z, 0)]
        });
        // Two products and two chains of every task; the sum over tasks is left whole.
        assert_eq!(shape(&tasks, LARGE), [(25, 4), (1, 1)]);
        let small = Tuning { cache: 1 << 30, ..LARGE };
        assert_eq!(shape(&tasks, small), [(1, 5)], "what fits into the cache is left whole");
        let busy = Tuning { parallel: 1 << 20, ..small };
        assert_eq!(shape(&tasks, busy), [(25, 4), (1, 1)], "much work is cut for the threads");
    }

    #[test]
    fn rows_are_cases_too() {
        let softmax = program(&[&[4096, 64]], |b, x| vec![operator::softmax(b, x[0])]);
        assert_eq!(shape(&softmax, LARGE), [(4096, 4)]);
    }

    #[test]
    fn a_case_reads_nothing_that_another_one_of_its_group_computes() {
        let turned = program(&[&[32, 64, 64], &[32, 64, 64]], |b, x| {
            let y = tanh_of_product(b, x[0], x[1]);
            // The tasks change places with the rows.
            let y = b.permute(y, &[1, 0, 2]);
            let y = b.reshape(y, &[32, 64, 64]);
            let z = tanh_of_product(b, y, x[1]);
            vec![b.unary(Unary::Exp, z)]
        });
        let shape = shape(&turned, LARGE);
        assert!(shape.len() > 1 && shape.iter().any(|g| g.0 > 1), "{shape:?}");
    }

    #[test]
    fn a_large_matrix_that_all_tasks_share_is_read_once() {
        let shared = program(&[&[25, 64, 256], &[256, 256]], |b, x| {
            let rows = b.reshape(x[0], &[25 * 64, 256]);
            let y = b.matmul(rows, x[1], false, false);
            vec![b.unary(Unary::Tanh, y)]
        });
        assert!(shape(&shared, LARGE).iter().all(|g| g.1 == 1 || g.0 == 1));
    }
}
