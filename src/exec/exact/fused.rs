//! Chains of elementwise operations, computed block by block so that intermediate results never leave the cache.

use std::ops::{DerefMut, Range};

use super::float::{Float, Pairs, binary, compare};
use super::simd::{Dispatch, Here, Path, Vector, Vectors, Work};
use super::spread::{Spread, spread, threads};
use super::view::{Axes, load};
use crate::ir::{Binary, Compare, Unary};

/// How many entries of all registers together stay in the nearest cache: 32 KiB of `f32`.
const CACHED: usize = 8192;

/// The fewest entries that are worth a block.
const LEAST: usize = 256;

/// Where entries side by side are the same one, their number is a multiple of this: a few whole vectors.
const RUN: usize = 16;

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StepOp {
    /// Brings entries of a buffer into order.
    Load {
        buffer: usize,
        offset: usize,
        axes: Axes,
    },
    /// The same number.
    Copy,
    /// What lies in the place of an output before it is written.
    Before(usize),
    Unary(Unary),
    Binary(Binary),
    Compare(Compare),
    /// The second operand where the first is not 0, else the third.
    Select,
}

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operand {
    Constant(f64),
    /// Entry `offset + i` of a buffer.
    Dense {
        buffer: usize,
        offset: usize,
    },
    /// One entry of a buffer.
    Scalar {
        buffer: usize,
        at: usize,
    },
    /// What an earlier step gave.
    Step(usize),
    /// What lies in the place of an output before it is written: in its step or an earlier one.
    Output(usize),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub op: StepOp,
    pub args: Vec<Operand>,
    /// The output it is written to, if it is one.
    pub output: Option<usize>,
}

/// Where a step leaves its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// In a register, which holds one block.
    Register(usize),
    /// In its place of an output.
    Output(usize),
}

/// A chain of steps over `len` entries.
#[derive(Debug, Clone)]
pub(super) struct Fused {
    pub len: usize,
    /// The most entries that are computed at a time.
    pub block: usize,
    /// The buffers that are filled.
    pub outputs: Vec<usize>,
    /// The number of registers that are in use at the same time.
    pub registers: usize,
    steps: Vec<Step>,
    targets: Vec<Target>,
    /// By step: of a load that brings the same entries for every block, over how many entries it does.
    spans: Vec<Option<usize>>,
    /// By step: of a load of entries that each stand for many side by side, for how many; one of each is brought.
    runs: Vec<Option<usize>>,
}

/// A row of entries that is read again and again, and how often: a shift of every channel, for example.
fn repeated(op: &StepOp) -> Option<(usize, usize)> {
    let StepOp::Load { axes, .. } = op else { return None };
    match axes[..] {
        [.., (times, 0), (row, 1)] => Some((row, times)),
        _ => None,
    }
}

/// How many entries side by side are the same one where these steps load it, such as the sum of a row beside the row; whole vectors.
/// Nothing but pairs with other entries may read it.
fn run_of(steps: &[Step], step: usize) -> Option<usize> {
    let StepOp::Load { axes, .. } = &steps[step].op else { return None };
    let [.., _, (run, 0)] = axes[..] else { return None };
    let of_runs = |arg: &Operand| *arg == Operand::Step(step);
    let entries = |arg: &Operand| match *arg {
        Operand::Dense { .. } | Operand::Output(_) => true,
        Operand::Step(other) => !matches!(steps[other].op, StepOp::Load { .. }),
        Operand::Constant(_) | Operand::Scalar { .. } => false,
    };
    let paired = |reader: &Step| match (&reader.op, &reader.args[..]) {
        (StepOp::Binary(_) | StepOp::Compare(_), [a, b]) => (of_runs(a) && entries(b)) || (entries(a) && of_runs(b)),
        _ => false,
    };
    let mut readers = steps.iter().filter(|reader| reader.args.iter().any(of_runs));
    (run.is_multiple_of(RUN) && readers.all(paired)).then_some(run)
}

/// The least number that both divide.
fn least_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

impl Fused {
    /// Finds a register for every step that is no output; a register is free again after its last reader. A row that is read again and
    /// again has its register for good.
    pub fn new(len: usize, steps: Vec<Step>, outputs: Vec<usize>) -> Fused {
        let rows = steps.iter().filter_map(|step| repeated(&step.op)).map(|(row, _)| row);
        let runs: Vec<Option<usize>> = (0..steps.len()).map(|i| run_of(&steps, i)).collect();
        // Where blocks are whole rows of all kinds, every block begins alike.
        let whole = rows.chain(runs.iter().copied().flatten()).fold(1, least_multiple);
        let runs: Vec<Option<usize>> = runs.into_iter().map(|run| run.filter(|_| whole <= LEAST)).collect();
        let span = |step: &Step| match repeated(&step.op) {
            Some((row, times)) if whole <= LEAST => Some(row * times),
            _ => None,
        };
        let spans: Vec<Option<usize>> = steps.iter().map(span).collect();
        let mut last = vec![0; steps.len()];
        for (i, step) in steps.iter().enumerate() {
            for arg in &step.args {
                if let Operand::Step(read) = arg {
                    last[*read] = i;
                }
            }
        }
        let (mut free, mut registers, mut targets) = (Vec::new(), 0, Vec::with_capacity(steps.len()));
        for (i, step) in steps.iter().enumerate() {
            // The result may not lie where an operand of this very step lies, so those are freed afterwards.
            targets.push(match step.output {
                Some(output) => Target::Output(output),
                None => {
                    // What is kept from block to block lies where no other step writes.
                    let reused = if spans[i].is_none() { free.pop() } else { None };
                    Target::Register(reused.unwrap_or_else(|| {
                        registers += 1;
                        registers - 1
                    }))
                }
            });
            let mut done: Vec<usize> =
                step.args.iter().filter_map(|a| if let Operand::Step(s) = a { Some(*s) } else { None }).collect();
            done.push(i);
            done.sort_unstable();
            done.dedup();
            let over = |s: &usize| spans[*s].is_none() && (last[*s] == i || (*s == i && last[*s] == 0));
            for step in done.into_iter().filter(over) {
                if let Target::Register(register) = targets[step] {
                    free.push(register);
                }
            }
        }
        let block = (CACHED / registers.max(1)).clamp(LEAST, 2048);
        let block = if whole <= LEAST { block / whole * whole } else { block };
        Fused { len, block, outputs, registers, steps, targets, spans, runs }
    }

    /// The number of steps that compute something.
    pub fn arithmetic(&self) -> usize {
        let moves = |op: &StepOp| matches!(op, StepOp::Load { .. } | StepOp::Copy | StepOp::Before(_));
        self.steps.iter().filter(|s| !moves(&s.op)).count()
    }

    /// Whether an output may lie where this buffer does: entry `i` of it is read for entry `i` of the outputs and nothing else.
    pub fn may_replace(&self, buffer: usize) -> bool {
        let loaded = |op: &StepOp| matches!(op, StepOp::Load { buffer: b, .. } if *b == buffer);
        let elsewhere = |arg: &Operand| match *arg {
            Operand::Dense { buffer: b, offset } => b == buffer && offset > 0,
            Operand::Scalar { buffer: b, .. } => b == buffer,
            Operand::Constant(_) | Operand::Step(_) | Operand::Output(_) => false,
        };
        !self.steps.iter().any(|step| loaded(&step.op) || step.args.iter().any(elsewhere))
    }

    /// The same chain where outputs lie in the places of operands: these are read before they are written over.
    pub fn in_place(self) -> Fused {
        let read = |buffer: usize| {
            let args = self.steps.iter().flat_map(|step| &step.args);
            args.into_iter().any(|arg| matches!(*arg, Operand::Dense { buffer: b, .. } if b == buffer))
        };
        let replaced: Vec<usize> = (0..self.outputs.len()).filter(|&o| read(self.outputs[o])).collect();
        if replaced.is_empty() {
            return self;
        }
        let copied: Vec<usize> = replaced.iter().copied().filter(|&o| self.reads_late(o)).collect();
        let before = |output: &usize| Step { op: StepOp::Before(*output), args: vec![], output: None };
        let mut steps: Vec<Step> = copied.iter().map(before).collect();
        for mut step in self.steps {
            for arg in &mut step.args {
                let output = |buffer: usize| replaced.iter().copied().find(|&o| self.outputs[o] == buffer);
                *arg = match *arg {
                    Operand::Step(i) => Operand::Step(copied.len() + i),
                    Operand::Dense { buffer, .. } => match output(buffer) {
                        Some(o) => copied.iter().position(|&c| c == o).map_or(Operand::Output(o), Operand::Step),
                        None => *arg,
                    },
                    other => other,
                };
            }
            steps.push(step);
        }
        Fused::new(self.len, steps, self.outputs)
    }

    /// Whether what lies in the place of an output is read once that is written, or as it is written but in no pair with other entries.
    fn reads_late(&self, output: usize) -> bool {
        let before = |arg: &Operand| matches!(*arg, Operand::Dense { buffer, .. } if buffer == self.outputs[output]);
        let loaded =
            |arg: &Operand| matches!(*arg, Operand::Step(i) if matches!(self.steps[i].op, StepOp::Load { .. }));
        let paired = |step: &Step| match (&step.op, &step.args[..]) {
            (StepOp::Binary(_) | StepOp::Compare(_), [a, b]) => before(a) != before(b) && !loaded(a) && !loaded(b),
            _ => false,
        };
        let mut written = false;
        self.steps.iter().any(|step| {
            let late = written;
            let now = step.output == Some(output);
            written |= now;
            step.args.iter().any(before) && (late || now && !paired(step))
        })
    }

    /// What is read: buffers, from where on, and the axes.
    pub fn readings(&self) -> Vec<(usize, usize, Axes)> {
        let mut found = vec![];
        for step in &self.steps {
            if let StepOp::Load { buffer, offset, axes } = &step.op {
                found.push((*buffer, *offset, axes.clone()));
            }
            for arg in &step.args {
                match *arg {
                    Operand::Dense { buffer, offset } => found.push((buffer, offset, vec![(self.len, 1)])),
                    Operand::Scalar { buffer, at } => found.push((buffer, at, vec![])),
                    Operand::Constant(_) | Operand::Step(_) | Operand::Output(_) => {}
                }
            }
        }
        found
    }

    /// Goes through what is read in the order of [`readings`](Fused::readings), to name other buffers.
    pub fn each_read(&mut self, f: &mut dyn FnMut(&mut usize)) {
        for step in &mut self.steps {
            if let StepOp::Load { buffer, .. } = &mut step.op {
                f(buffer);
            }
            for arg in &mut step.args {
                if let Operand::Dense { buffer, .. } | Operand::Scalar { buffer, .. } = arg {
                    f(buffer);
                }
            }
        }
    }
}

/// The entries of an operand in one block.
#[derive(Clone, Copy)]
enum Source<'a, T> {
    Entries(&'a [T]),
    Repeated(T),
    /// Each stands for so many entries, a multiple of [`RUN`].
    Runs(&'a [T], usize),
    /// Those that are written over; they stand in a pair with entries or one that is repeated.
    Own,
}

/// [`Fused::new`] and [`Fused::in_place`] leave runs, and what is written over, in pairs with entries alone.
#[cold]
fn alone() -> ! {
    unreachable!("these are read in pairs with entries")
}

/// Chains of fewer steps, all entries counted, are done by one thread.
const PARALLEL: usize = 1 << 18;

/// Runs a chain over all entries of some cases, on several threads where there are many. The registers hold one block each.
pub(super) fn run<'a, T: Vectors, F: Fn(usize) -> &'a [T] + Sync, O: DerefMut<Target = [T]> + Default>(
    path: Path,
    fused: &Fused,
    cases: usize,
    find: F,
    registers: &mut [Vec<T>],
    outputs: &mut [O],
) {
    let entries = 0..fused.len * cases;
    let threads = threads(entries.len() * fused.steps.len(), PARALLEL);
    if threads < 2 {
        return path.run(Run { fused, find: &find, registers, outputs, entries });
    }
    let outputs = outputs.iter_mut().map(|o| &mut o[..entries.len()]).collect();
    spread(Part { path, fused, find: &find, outputs, entries }, threads);
}

/// Some entries of a chain that several threads share.
struct Part<'r, T, F> {
    path: Path,
    fused: &'r Fused,
    find: &'r F,
    outputs: Vec<&'r mut [T]>,
    entries: Range<usize>,
}

impl<'a, T: Vectors, F: Fn(usize) -> &'a [T] + Sync> Spread for Part<'_, T, F> {
    fn parts(&self) -> usize {
        self.entries.len().div_ceil(self.fused.block)
    }

    fn cut(self, first: usize) -> (Self, Self) {
        let Part { path, fused, find, outputs, entries } = self;
        let first = first * fused.block;
        let middle = entries.start + first;
        let (left, right) = outputs.into_iter().map(|o| o.split_at_mut(first)).unzip();
        let part = |outputs, entries| Part { path, fused, find, outputs, entries };
        (part(left, entries.start..middle), part(right, middle..entries.end))
    }

    fn work(mut self) {
        let Part { path, fused, find, entries, .. } = self;
        let mut registers = vec![vec![T::ZERO; fused.block]; fused.registers];
        path.run(Run { fused, find, registers: &mut registers, outputs: &mut self.outputs, entries });
    }
}

/// A chain over a range of its entries.
struct Run<'r, T, F, O> {
    fused: &'r Fused,
    /// Finds the elements of a buffer.
    find: &'r F,
    registers: &'r mut [Vec<T>],
    /// The outputs, from the first of these entries on.
    outputs: &'r mut [O],
    entries: Range<usize>,
}

impl<'a, T: Vectors, F: Fn(usize) -> &'a [T], O: DerefMut<Target = [T]> + Default> Work<T> for Run<'_, T, F, O> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self, here: Here<V>) {
        let Range { mut start, end } = self.entries;
        let first = start;
        // A row that repeats all along these entries is brought once; the first block is the longest.
        let kept = |span: &Option<usize>| span.is_some_and(|span| first / span == (end - 1) / span);
        while start < end {
            let block = start..(start + self.fused.block).min(end);
            let place = block.start - first..block.end - first;
            for (number, (step, &target)) in self.fused.steps.iter().zip(&self.fused.targets).enumerate() {
                if start > first && kept(&self.fused.spans[number]) {
                    continue;
                }
                // The result is taken out while it is written, so that the operands can be borrowed.
                let (mut register, mut output) = (vec![], O::default());
                let out = match target {
                    Target::Register(r) => {
                        register = std::mem::take(&mut self.registers[r]);
                        &mut register[..block.len()]
                    }
                    Target::Output(o) => {
                        output = std::mem::take(&mut self.outputs[o]);
                        &mut output[place.clone()]
                    }
                };
                let source = |operand: &Operand| match *operand {
                    Operand::Constant(x) => Source::Repeated(T::from_f64(x)),
                    Operand::Dense { buffer, offset } => {
                        Source::Entries(&(self.find)(buffer)[offset + block.start..offset + block.end])
                    }
                    Operand::Scalar { buffer, at } => Source::Repeated((self.find)(buffer)[at]),
                    Operand::Output(o) if target == Target::Output(o) => Source::Own,
                    Operand::Output(o) => Source::Entries(&self.outputs[o][place.clone()]),
                    Operand::Step(step) => match (self.fused.targets[step], self.fused.runs[step]) {
                        (Target::Register(r), Some(run)) => Source::Runs(&self.registers[r][..block.len() / run], run),
                        (Target::Register(r), None) => Source::Entries(&self.registers[r][..block.len()]),
                        (Target::Output(o), _) => Source::Entries(&self.outputs[o][place.clone()]),
                    },
                };
                match (&step.op, &step.args[..]) {
                    (StepOp::Load { buffer, offset, axes }, _) => match self.fused.runs[number] {
                        Some(run) => {
                            let (few, outer) = (&mut out[..block.len() / run], &axes[..axes.len() - 1]);
                            load(here, (self.find)(*buffer), (*offset, outer), block.start / run, few);
                        }
                        None => load(here, (self.find)(*buffer), (*offset, axes), block.start, out),
                    },
                    (StepOp::Before(output), _) => out.copy_from_slice(&self.outputs[*output][place.clone()]),
                    (StepOp::Copy, [a]) => match source(a) {
                        Source::Entries(a) => out.copy_from_slice(a),
                        Source::Repeated(a) => out.fill(a),
                        Source::Runs(..) | Source::Own => alone(),
                    },
                    (StepOp::Unary(f), [a]) => match source(a) {
                        Source::Entries(a) => T::unary(*f, a, out),
                        Source::Repeated(a) => {
                            let mut one = [a];
                            T::unary(*f, &[a], &mut one);
                            out.fill(one[0]);
                        }
                        Source::Runs(..) | Source::Own => alone(),
                    },
                    (StepOp::Binary(f), [a, b]) => binary(*f, Two { a: source(a), b: source(b), out }),
                    (StepOp::Compare(f), [a, b]) => compare(*f, Two { a: source(a), b: source(b), out }),
                    (StepOp::Select, [c, a, b]) => select(source(c), source(a), source(b), out),
                    (op, args) => unreachable!("{op:?} does not take {} operands", args.len()),
                }
                match target {
                    Target::Register(r) => self.registers[r] = register,
                    Target::Output(o) => self.outputs[o] = output,
                }
            }
            start = block.end;
        }
    }
}

/// Two operands and the result.
struct Two<'a, T> {
    a: Source<'a, T>,
    b: Source<'a, T>,
    out: &'a mut [T],
}

impl<T: Float> Pairs<T> for Two<'_, T> {
    #[inline(always)]
    fn each(self, f: impl Fn(T, T) -> T) {
        match (self.a, self.b) {
            (Source::Entries(a), Source::Entries(b)) => {
                self.out.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (&a, &b))| *to = f(a, b));
            }
            (Source::Entries(a), Source::Repeated(b)) => self.out.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a, b)),
            (Source::Repeated(a), Source::Entries(b)) => self.out.iter_mut().zip(b).for_each(|(to, &b)| *to = f(a, b)),
            (Source::Repeated(a), Source::Repeated(b)) => self.out.fill(f(a, b)),
            (Source::Entries(a), Source::Runs(b, run)) => runs(self.out, a, b, run, f),
            (Source::Runs(a, run), Source::Entries(b)) => runs(self.out, b, a, run, |b, a| f(a, b)),
            (Source::Own, Source::Entries(b)) => self.out.iter_mut().zip(b).for_each(|(to, &b)| *to = f(*to, b)),
            (Source::Entries(a), Source::Own) => self.out.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a, *to)),
            (Source::Own, Source::Repeated(b)) => self.out.iter_mut().for_each(|to| *to = f(*to, b)),
            (Source::Repeated(a), Source::Own) => self.out.iter_mut().for_each(|to| *to = f(a, *to)),
            (Source::Runs(..) | Source::Own, _) | (_, Source::Runs(..)) => alone(),
        }
    }
}

/// Pairs of entries with the one that stands beside each run of them.
#[inline(always)]
fn runs<T: Float>(out: &mut [T], entries: &[T], beside: &[T], run: usize, f: impl Fn(T, T) -> T) {
    for ((out, entries), &y) in out.chunks_exact_mut(run).zip(entries.chunks_exact(run)).zip(beside) {
        out.iter_mut().zip(entries).for_each(|(to, &x)| *to = f(x, y));
    }
}

#[inline(always)]
fn select<T: Float>(c: Source<T>, a: Source<T>, b: Source<T>, out: &mut [T]) {
    let c = match c {
        Source::Entries(c) => c,
        Source::Repeated(c) => {
            match if c != T::ZERO { a } else { b } {
                Source::Entries(x) => out.copy_from_slice(x),
                Source::Repeated(x) => out.fill(x),
                Source::Runs(..) | Source::Own => alone(),
            }
            return;
        }
        Source::Runs(..) | Source::Own => alone(),
    };
    let choose = |c: T, a: T, b: T| if c != T::ZERO { a } else { b };
    let pairs = out.iter_mut().zip(c);
    match (a, b) {
        (Source::Entries(a), Source::Entries(b)) => {
            pairs.zip(a.iter().zip(b)).for_each(|((to, &c), (&a, &b))| *to = choose(c, a, b));
        }
        (Source::Entries(a), Source::Repeated(b)) => pairs.zip(a).for_each(|((to, &c), &a)| *to = choose(c, a, b)),
        (Source::Repeated(a), Source::Entries(b)) => pairs.zip(b).for_each(|((to, &c), &b)| *to = choose(c, a, b)),
        (Source::Repeated(a), Source::Repeated(b)) => pairs.for_each(|(to, &c)| *to = choose(c, a, b)),
        (Source::Runs(..) | Source::Own, _) | (_, Source::Runs(..) | Source::Own) => alone(),
    }
}
