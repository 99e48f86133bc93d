//! Where what a program computes lies in memory, and how much that is. Of instructions only who reads and who fills which buffers is
//! needed here, so that many ways to run a program can be weighed before one of them is made ready.

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};

use super::cases::{cut, readings};
use super::schedule::{Buffer, Instruction, Origin, Output, Schedule};
use super::stage::{Group, Place, Source, Tuning};

/// Instructions as readers and writers of buffers: those of a schedule, and copies of them that work on other buffers.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub buffers: Vec<Buffer>,
    lines: Vec<Line>,
    /// What the lines read and fill.
    operands: Vec<usize>,
}

/// An instruction.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Its number in the schedule, or that of the one it is a copy of.
    original: usize,
    /// Where its reads begin among the operands, its writes, and where they end.
    reads: usize,
    writes: usize,
    end: usize,
}

impl Sketch {
    /// The instructions of a schedule.
    pub fn new(schedule: &Schedule) -> Sketch {
        let (mut lines, mut operands) = (Vec::with_capacity(schedule.instructions.len()), vec![]);
        for (original, instruction) in schedule.instructions.iter().enumerate() {
            let reads = operands.len();
            operands.extend(instruction.reads());
            let writes = operands.len();
            operands.extend(instruction.writes());
            lines.push(Line { original, reads, writes, end: operands.len() });
        }
        Sketch { buffers: schedule.buffers.clone(), lines, operands }
    }

    /// The instruction of the schedule that does this one's work.
    pub fn original(&self, instruction: usize) -> usize {
        self.lines[instruction].original
    }

    /// The buffers that an instruction reads, in the order of [`Instruction::each_read`].
    pub fn reads(&self, instruction: usize) -> &[usize] {
        let Line { reads, writes, .. } = self.lines[instruction];
        &self.operands[reads..writes]
    }

    /// The same, to name other buffers.
    pub fn reads_mut(&mut self, instruction: usize) -> &mut [usize] {
        let Line { reads, writes, .. } = self.lines[instruction];
        &mut self.operands[reads..writes]
    }

    /// The buffers that it fills.
    pub fn writes(&self, instruction: usize) -> &[usize] {
        let Line { writes, end, .. } = self.lines[instruction];
        &self.operands[writes..end]
    }

    /// A copy of an instruction that fills new buffers, in the order of those that the instruction fills.
    pub fn copy(&mut self, instruction: usize) -> usize {
        let Line { original, reads, writes, end } = self.lines[instruction];
        let first = self.operands.len();
        self.operands.extend_from_within(reads..writes);
        for i in writes..end {
            self.buffers.push(Buffer { origin: Origin::Computed, ..self.buffers[self.operands[i]] });
            self.operands.push(self.buffers.len() - 1);
        }
        let writes = first + writes - reads;
        self.lines.push(Line { original, reads: first, writes, end: self.operands.len() });
        self.lines.len() - 1
    }
}

/// An instruction of a schedule as its group runs it.
#[derive(Debug)]
struct Share<'s> {
    /// One case of it.
    one: Cow<'s, Instruction>,
    /// The buffers that it reads, and how far each moves from one case to the next.
    reads: Vec<(usize, usize)>,
    /// About how many multiply-adds a case takes.
    work: usize,
}

/// A schedule whose instructions, or copies of them, run in groups.
#[derive(Debug)]
pub(super) struct Outline<'s> {
    schedule: &'s Schedule,
    shares: Vec<Share<'s>>,
    tuning: Tuning,
    bytes: usize,
    /// By instruction, one case of it where outputs lie in the places of operands, for the ways that were met.
    in_place: RefCell<Vec<InPlace>>,
}

/// An output and the read in whose place it lies.
type Replaced = (usize, usize);

/// One case of an instruction for each choice of outputs that lie in the places of operands.
type InPlace = Vec<(Vec<Replaced>, Instruction)>;

/// How a group uses memory while it runs as a stage.
#[derive(Debug)]
pub(super) struct Layout {
    /// The number of cases; 1 where instructions run as a whole.
    pub cases: usize,
    /// How many cases run together.
    pub chunk: usize,
    /// The whole buffers that are filled: where they lie in the memory of the program, and the entries of a case.
    pub fills: Vec<(usize, usize)>,
    /// The entries of a case in every local room, the largest first.
    pub locals: Vec<usize>,
    /// About how many multiply-adds all cases take.
    pub work: usize,
    /// The outputs that lie in the places of operands, by instruction and in order.
    replaced: Vec<(usize, Vec<Replaced>)>,
}

/// The layouts of all groups, and the memory that outlives a stage.
#[derive(Debug)]
pub(super) struct Layouts {
    pub layouts: Vec<Layout>,
    /// Where every buffer lies in memory that more than one stage sees, if it is computed and does.
    pub memory: Vec<Option<usize>>,
    /// The entries of each piece of that memory; 0 for outputs, which get the room of a result when a run begins.
    pub sizes: Vec<usize>,
    /// The stage that computes a buffer, and where it lies while that runs.
    made: Vec<Option<(usize, Place)>>,
}

impl Layouts {
    /// Where a stage finds what it reads.
    pub fn read(&self, stage: usize, buffer: usize, origin: Origin, step: usize) -> Place {
        match (self.made[buffer], origin) {
            (Some((made, place)), _) if made == stage => place,
            (_, Origin::Input(i)) => Place { source: Source::Input(i), step },
            (_, Origin::Positions) => Place { source: Source::Positions, step },
            (_, Origin::Computed) => {
                let slot = self.memory[buffer].expect("what an earlier stage computes lies in memory");
                Place { source: Source::Memory(slot), step }
            }
        }
    }

    /// Where a stage leaves what it computes.
    pub fn written(&self, buffer: usize) -> Place {
        self.made[buffer].expect("a stage computes it").1
    }
}

/// The entries that lie between arguments and results at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    /// What a program has for itself.
    pub kept: usize,
    /// What all programs of a thread share.
    pub shared: usize,
}

/// The entries on so many threads, where more than one stage sees memory of these sizes and each stage needs such a desk.
pub(super) fn entries(sizes: &[usize], stages: &[(&Layout, Desk)], threads: usize, tuning: Tuning) -> Entries {
    let shared = || stages.iter().filter(|(layout, _)| layout.cases > 1);
    let most = shared().filter(|(l, _)| l.work >= tuning.parallel).map(|(l, _)| l.cases).max().unwrap_or(1);
    let helpers = threads.min(most).saturating_sub(1);
    let all = Desk::of(stages.iter().map(|(_, desk)| desk));
    let helping = Desk::of(shared().map(|(_, desk)| desk));
    Entries {
        kept: sizes.iter().sum::<usize>() + all.own() + helpers * helping.own(),
        shared: all.packed + helpers * helping.packed,
    }
}

/// The entries that a thread needs: of every local room, of every register, and of packed operands.
#[derive(Debug, Default, Clone)]
pub(super) struct Desk {
    pub locals: Vec<usize>,
    pub registers: Vec<usize>,
    pub packed: usize,
}

impl Desk {
    /// One at which any of these has room.
    pub fn of<'d>(desks: impl Iterator<Item = &'d Desk>) -> Desk {
        desks.fold(Desk::default(), |mut all, desk| {
            desk.locals.iter().enumerate().for_each(|(i, &len)| grow(&mut all.locals, i, len));
            desk.registers.iter().enumerate().for_each(|(i, &len)| grow(&mut all.registers, i, len));
            all.packed = all.packed.max(desk.packed);
            all
        })
    }

    /// What a stage needs whose instructions are these, one case of each.
    pub fn at<'i>(layout: &Layout, instructions: impl Iterator<Item = &'i Instruction>) -> Desk {
        let locals = layout.locals.iter().map(|each| each * layout.chunk).collect();
        let mut desk = Desk { locals, ..Desk::default() };
        for instruction in instructions {
            match instruction {
                Instruction::Fused(chain) => {
                    let block = chain.block.min(chain.len * layout.chunk);
                    (0..chain.registers).for_each(|i| grow(&mut desk.registers, i, block));
                }
                Instruction::Product { product, .. } => {
                    desk.packed = desk.packed.max(product.cases(layout.chunk).packed());
                }
                _ => {}
            }
        }
        desk
    }

    /// The entries of rooms and registers.
    fn own(&self) -> usize {
        self.locals.iter().chain(&self.registers).sum()
    }
}

/// Makes one of some rooms large enough.
fn grow(rooms: &mut Vec<usize>, number: usize, len: usize) {
    rooms.resize(rooms.len().max(number + 1), 0);
    rooms[number] = rooms[number].max(len);
}

impl<'s> Outline<'s> {
    /// A schedule whose instructions run in these groups.
    pub fn new(schedule: &'s Schedule, groups: &[Group], tuning: Tuning, bytes: usize) -> Outline<'s> {
        let mut cases = vec![1; schedule.instructions.len()];
        groups.iter().for_each(|group| group.members.iter().for_each(|&i| cases[i] = group.cases));
        let shares = schedule.instructions.iter().zip(cases).map(|(instruction, cases)| {
            let found = readings(instruction, cases, &schedule.buffers).expect("members can be cut");
            let one = if cases == 1 { Cow::Borrowed(instruction) } else { Cow::Owned(cut(instruction, cases)) };
            let work = one.work();
            Share { one, reads: found.iter().map(|reading| (reading.buffer, reading.step)).collect(), work }
        });
        let in_place = RefCell::new(vec![vec![]; schedule.instructions.len()]);
        Outline { schedule, shares: shares.collect(), tuning, bytes, in_place }
    }

    /// One case of an instruction, and how far its operands move from one case to the next.
    pub fn one(&self, original: usize) -> (&Instruction, impl Iterator<Item = usize>) {
        let Share { one, reads, .. } = &self.shares[original];
        (one, reads.iter().map(|(_, step)| *step))
    }

    /// Where everything lies if these groups run one after the other. They hold every instruction once, each after what it reads.
    pub fn layouts(&self, sketch: &Sketch, groups: &[Group]) -> Layouts {
        let (memory, sizes) = self.shared(sketch, groups);
        let made = vec![None; sketch.buffers.len()];
        let mut all = Layouts { layouts: Vec::with_capacity(groups.len()), memory, sizes, made };
        // Local buffers are of one stage alone, so that one list of their last uses and lives does for all.
        let mut last = vec![(0, usize::MAX); sketch.buffers.len()];
        groups.iter().for_each(|group| self.layout(sketch, group, &mut all, &mut last));
        all
    }

    /// The memory of buffers that live on after the stage that computes them.
    fn shared(&self, sketch: &Sketch, groups: &[Group]) -> (Vec<Option<usize>>, Vec<usize>) {
        let count = sketch.buffers.len();
        let mut made = vec![0; count];
        let mut last: Vec<Option<usize>> = vec![None; count];
        for (number, group) in groups.iter().enumerate() {
            for &i in &group.members {
                sketch.writes(i).iter().for_each(|&b| made[b] = number);
                for &b in sketch.reads(i) {
                    if made[b] < number && sketch.buffers[b].origin == Origin::Computed {
                        last[b] = Some(number);
                    }
                }
            }
        }
        let mut given = vec![false; count];
        for output in &self.schedule.outputs {
            match *output {
                Output::Computed(b) => given[b] = true,
                Output::Part(b, _) if sketch.buffers[b].origin == Origin::Computed => last[b] = Some(usize::MAX),
                Output::Part(..) | Output::Constant(_) => {}
            }
        }
        let written = groups.iter().flat_map(|g| &g.members).flat_map(|&i| sketch.writes(i));
        let (mut memory, mut lives, mut owners) = (vec![None; count], vec![], vec![]);
        for &b in written {
            if let (false, Some(to)) = (given[b], last[b]) {
                lives.push(Life { from: made[b], to, len: sketch.buffers[b].len });
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

    /// Adds the layout of one group: each buffer that lives in it alone has a local room. By buffer, `last` has the place of its last use
    /// and the number of its life.
    fn layout(&self, sketch: &Sketch, group: &Group, all: &mut Layouts, last: &mut [(usize, usize)]) {
        let number = all.layouts.len();
        let each = |b: usize| sketch.buffers[b].len / group.cases;
        for (place, &i) in group.members.iter().enumerate() {
            sketch.reads(i).iter().chain(sketch.writes(i)).for_each(|&b| last[b].0 = place);
        }
        let (mut lives, mut fills, mut local, mut all_replaced): (Vec<Life>, _, Vec<usize>, _) =
            (vec![], vec![], vec![], vec![]);
        for (place, &i) in group.members.iter().enumerate() {
            let (reads, share) = (sketch.reads(i), &self.shares[sketch.original(i)]);
            let mut replaced: Vec<Replaced> = vec![];
            for (output, &b) in sketch.writes(i).iter().enumerate() {
                if let Some(slot) = all.memory[b] {
                    all.made[b] = Some((number, Place { source: Source::Filled(fills.len()), step: each(b) }));
                    fills.push((slot, each(b)));
                    continue;
                }
                // What is read here for the last time makes room for a result of its size.
                let free = |read: usize| {
                    let r = reads[read];
                    let local = all.memory[r].is_none() && last[r].1 != usize::MAX;
                    let taken = replaced.iter().any(|&(_, other)| reads[other] == r);
                    local && last[r].0 == place && each(r) == each(b) && !taken
                };
                let operand = match &*share.one {
                    Instruction::Fused(chain) => {
                        (0..reads.len()).filter(|&read| free(read)).find(|&read| chain.may_replace(share.reads[read].0))
                    }
                    _ => None,
                };
                let life = match operand {
                    Some(read) => {
                        replaced.push((output, read));
                        last[reads[read]].1
                    }
                    None => {
                        lives.push(Life { from: place, to: place, len: each(b) });
                        lives.len() - 1
                    }
                };
                lives[life].to = last[b].0;
                last[b].1 = life;
                local.push(b);
            }
            if !replaced.is_empty() {
                all_replaced.push((i, replaced));
            }
        }
        let (chosen, sizes) = rooms(&lives);
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&room| Reverse(sizes[room]));
        let locals: Vec<usize> = order.iter().map(|&room| sizes[room]).collect();
        let mut place_of = vec![0; sizes.len()];
        order.into_iter().enumerate().for_each(|(place, room)| place_of[room] = place);
        for b in local {
            let source = Source::Local(place_of[chosen[last[b].1]]);
            all.made[b] = Some((number, Place { source, step: each(b) }));
        }
        let chunk = if group.cases == 1 { 1 } else { self.chunk(sketch, group, all, &locals) };
        let work = group.members.iter().map(|&i| self.shares[sketch.original(i)].work).sum::<usize>() * group.cases;
        all.layouts.push(Layout { cases: group.cases, chunk, fills, locals, work, replaced: all_replaced });
    }

    /// How many cases of a group run together, which is the next to get a layout.
    fn chunk(&self, sketch: &Sketch, group: &Group, all: &Layouts, locals: &[usize]) -> usize {
        let mut outside: HashSet<Place> = HashSet::new();
        for &i in &group.members {
            let reads = sketch.reads(i).iter().zip(&self.shares[sketch.original(i)].reads);
            let read = reads.map(|(&b, &(_, step))| all.read(all.layouts.len(), b, sketch.buffers[b].origin, step));
            let written = sketch.writes(i).iter().map(|&b| all.written(b));
            outside.extend(read.chain(written).filter(|place| !matches!(place.source, Source::Local(_))));
        }
        // What is read or filled beside the local rooms passes through the cache too.
        let passing = outside.iter().map(|place| place.step).sum::<usize>();
        let each = self.bytes * (passing + locals.iter().sum::<usize>()).max(1);
        // All together where they fit, else so few that half of the cache is left to what they share.
        let chunk = if each * group.cases <= self.tuning.cache { group.cases } else { self.tuning.cache / 2 / each };
        chunk.clamp(1, group.cases)
    }

    /// The entries that lie between arguments and results at once where these groups run, on so many threads.
    pub fn entries(&self, sketch: &Sketch, groups: &[Group], threads: usize) -> usize {
        let all = self.layouts(sketch, groups);
        let mut in_place = self.in_place.borrow_mut();
        for (i, replaced) in all.layouts.iter().flat_map(|layout| &layout.replaced) {
            let original = sketch.original(*i);
            if !in_place[original].iter().any(|(met, _)| met == replaced) {
                in_place[original].push((replaced.clone(), self.replacing(original, replaced)));
            }
        }
        // What a copy needs at the desk is no more than the original needs.
        let mut seen: Vec<Vec<&[Replaced]>> = vec![vec![]; self.shares.len()];
        let desks = all.layouts.iter().zip(groups).map(|(layout, group)| {
            let mut replaced = layout.replaced.iter().peekable();
            let instructions = group.members.iter().filter_map(|&i| {
                let original = sketch.original(i);
                let replaced = replaced.next_if(|(other, _)| *other == i).map_or(&[][..], |(_, replaced)| replaced);
                if seen[original].contains(&replaced) {
                    return None;
                }
                seen[original].push(replaced);
                let met = in_place[original].iter().find(|(met, _)| met == replaced);
                Some(met.map_or(&*self.shares[original].one, |(_, one)| one))
            });
            (layout, Desk::at(layout, instructions))
        });
        let Entries { kept, shared } = entries(&all.sizes, &desks.collect::<Vec<_>>(), threads, self.tuning);
        kept + shared
    }

    /// One case of a chain whose outputs lie in the places of operands.
    fn replacing(&self, original: usize, replaced: &[Replaced]) -> Instruction {
        let Share { one, reads, .. } = &self.shares[original];
        let Instruction::Fused(chain) = &**one else { unreachable!("only chains replace what they read") };
        let mut chain = chain.clone();
        replaced.iter().for_each(|&(output, read)| chain.outputs[output] = reads[read].0);
        Instruction::Fused(chain.in_place())
    }
}

/// From when until when a buffer is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub from: usize,
    pub to: usize,
    pub len: usize,
}

/// A room for each of some lives, which are listed by when they begin, and the sizes of the rooms. A room is used again once a life
/// is over.
pub(super) fn rooms(lives: &[Life]) -> (Vec<usize>, Vec<usize>) {
    let (mut sizes, mut chosen): (Vec<usize>, Vec<usize>) = (vec![], Vec::with_capacity(lives.len()));
    let mut free = Free::default();
    // The lives that go on, the one that ends first on top.
    let mut taken: BinaryHeap<Reverse<(usize, usize, usize)>> = BinaryHeap::new();
    let mut over: Vec<(usize, usize)> = vec![];
    for (number, life) in lives.iter().enumerate() {
        while let Some(&Reverse((to, began, room))) = taken.peek()
            && to < life.from
        {
            taken.pop();
            over.push((began, room));
        }
        over.sort_unstable();
        over.drain(..).for_each(|(_, room)| free.push(room, sizes[room]));
        let room = free.take(life.len).unwrap_or_else(|| {
            sizes.push(0);
            sizes.len() - 1
        });
        sizes[room] = sizes[room].max(life.len);
        taken.push(Reverse((life.to, number, room)));
        chosen.push(room);
    }
    (chosen, sizes)
}

/// Rooms that are free, and the same by size and by place in the list.
#[derive(Default)]
struct Free {
    list: Vec<(usize, usize)>,
    sorted: BTreeSet<(usize, usize)>,
}

impl Free {
    fn push(&mut self, room: usize, size: usize) {
        self.sorted.insert((size, self.list.len()));
        self.list.push((room, size));
    }

    /// The smallest that is large enough, of equals the one that was used last and is still in the cache, else the largest, which grows.
    fn take(&mut self, len: usize) -> Option<usize> {
        let last = || self.sorted.last().copied();
        let fitting = self
            .sorted
            .range((len, 0)..)
            .next()
            .and_then(|&(size, _)| self.sorted.range(..=(size, usize::MAX)).next_back().copied());
        let (size, place) = fitting.or_else(last)?;
        self.sorted.remove(&(size, place));
        // The last one of the list takes its place.
        let moved = self.list.len() - 1;
        if place < moved {
            let size = self.list[moved].1;
            self.sorted.remove(&(size, moved));
            self.sorted.insert((size, place));
        }
        Some(self.list.swap_remove(place).0)
    }
}
