//! Values that are computed again where they are read, in place of being kept until then.
//!
//! A gradient through many steps reads backwards what the steps made forwards, so that all of it is in use in the middle, at the turn.
//! Where a run may not have so much, what comes before the turn is cut into segments. Of a segment only that is kept which later
//! segments begin with, its checkpoints; the rest is computed again just before the first instruction behind the turn that reads it, by the
//! same instructions from the same operands, and so with the same bits. With one segment for about the root of the number of steps,
//! as much is in use as the root of the number of steps needs, at the cost of going through the steps once more. (Chen et al., Training
//! Deep Nets with Sublinear Memory Cost, 2016, section 3; Griewank and Walther, Evaluating Derivatives, 2nd ed., chapter 12.)
//!
//! Nothing here knows of steps: segments make about as many entries that are read behind the turn, and meet where the fewest entries
//! pass from one to the next.

use std::collections::{HashMap, HashSet};

use super::schedule::{Buffer, Instruction, Origin, Output, Schedule};
use super::stage::Group;

/// Cutting once more is worth it where it saves this share of what is in use.
const WORTH: u64 = 16;

/// A schedule and its groups, changed until `need` of them is at most `limit`, by as few segments as do; or the least need that was found.
pub(super) fn fit(
    schedule: &Schedule,
    groups: &[Group],
    limit: u64,
    need: &dyn Fn(&Schedule, &[Group]) -> u64,
) -> Result<(Schedule, Vec<Group>), u64> {
    let mut best = (schedule.clone(), groups.to_vec());
    let mut least = need(schedule, groups);
    loop {
        let (mut better, before) = (None, least);
        let mut segments = 2;
        while let Some(tried) = cut(&best.0, &best.1, segments) {
            let found = need(&tried.0, &tried.1);
            if found <= limit {
                return Ok(tried);
            }
            if found < least {
                (least, better) = (found, Some(tried));
            }
            segments += segments / 2;
        }
        match better {
            // Segments are cut themselves.
            Some(found) if before - least > before / WORTH => best = found,
            _ => return Err(least),
        }
    }
}

/// The same program, where what the group with the most entries in use makes before its turn is computed again segment by segment; none
/// where it has not so many segments.
fn cut(schedule: &Schedule, groups: &[Group], segments: usize) -> Option<(Schedule, Vec<Group>)> {
    let lines = groups.iter().map(|group| Line::new(schedule, groups, group));
    let (number, line) = lines.enumerate().max_by_key(|(_, line)| line.profile().iter().copied().max())?;
    let turn = line.turn();
    let ends = line.ends(turn, segments)?;
    let (mut schedule, mut groups) = (schedule.clone(), groups.to_vec());
    let again = line.again(turn, &ends);
    groups[number].members = line.inserted(&mut schedule, turn, again);
    Some((schedule, groups))
}

/// A buffer that one group alone makes and reads.
struct Own {
    /// The place of the instruction that makes it.
    made: usize,
    /// The places of those that read it, in order.
    read: Vec<usize>,
    len: usize,
}

/// A group as a line of instructions; places are positions in it.
struct Line<'s> {
    instructions: Vec<&'s Instruction>,
    members: &'s [usize],
    own: HashMap<usize, Own>,
}

/// What is computed again of a segment.
struct Again {
    /// The places of the instructions, in order.
    places: Vec<usize>,
    /// The place before which that is done.
    before: usize,
    /// The buffers that stand for others from there on, in the instructions behind the turn.
    wanted: HashSet<usize>,
    /// The buffers that are read as they are, since they were kept.
    kept: HashSet<usize>,
}

impl<'s> Line<'s> {
    fn new(schedule: &'s Schedule, groups: &[Group], group: &'s Group) -> Line<'s> {
        let instructions: Vec<&Instruction> = group.members.iter().map(|&i| &schedule.instructions[i]).collect();
        let mut own: HashMap<usize, Own> = HashMap::new();
        for (place, instruction) in instructions.iter().enumerate() {
            for b in instruction.reads() {
                if let Some(own) = own.get_mut(&b) {
                    own.read.push(place);
                }
            }
            for &b in instruction.writes() {
                own.insert(b, Own { made: place, read: vec![], len: schedule.buffers[b].len / group.cases });
            }
        }
        let others = groups.iter().filter(|other| !std::ptr::eq(*other, group)).flat_map(|other| &other.members);
        others.flat_map(|&i| schedule.instructions[i].reads()).for_each(|b| {
            own.remove(&b);
        });
        for output in &schedule.outputs {
            if let Output::Computed(b) | Output::Part(b, _) = output {
                own.remove(b);
            }
        }
        Line { instructions, members: &group.members, own }
    }

    /// The entries of own buffers that are in use at every place.
    fn profile(&self) -> Vec<usize> {
        let spans = self.own.values().map(|own| (own.made, own.read.last().copied().unwrap_or(own.made) + 1, own.len));
        running(self.instructions.len(), spans)
    }

    /// The place where most is in use.
    fn turn(&self) -> usize {
        let profile = self.profile();
        (0..profile.len()).rev().max_by_key(|&place| profile[place]).unwrap_or(0)
    }

    /// Where the segments before the turn end, the last one left out, since nothing lies between it and the turn.
    fn ends(&self, turn: usize, segments: usize) -> Option<Vec<usize>> {
        // What is read behind the turn of all that was made so far.
        let crosses = |own: &&Own| own.made < turn && own.read.last().is_some_and(|&last| last >= turn);
        let made = running(turn, self.own.values().filter(crosses).map(|own| (own.made, turn, own.len)));
        // What passes from one instruction to the next, before the turn.
        let last = |own: &Own| own.read.iter().rev().copied().find(|&place| place < turn).unwrap_or(own.made);
        let passes = running(turn, self.own.values().map(|own| (own.made, last(own), own.len)));
        let all = made.last().copied().unwrap_or(0);
        let share = |number: usize| all * number / (2 * segments);
        let place = |share: usize| made.partition_point(|&sum| sum < share);
        let near = |end: usize| place(share(2 * end - 1))..place(share(2 * end + 1));
        let away = |end: usize, place: usize| made[place].abs_diff(share(2 * end));
        let ends = (1..segments).filter_map(|end| near(end).min_by_key(|&place| (passes[place], away(end, place))));
        let ends: Vec<usize> = ends.map(|place| place + 1).collect();
        // Most ends lie within one instruction where there are more segments than the entries can be shared among.
        (2 * ends.len() >= segments).then_some(ends)
    }

    /// What is computed again of every segment. A segment reads what earlier ones made, which is therefore kept.
    fn again(&self, turn: usize, ends: &[usize]) -> Vec<Again> {
        let mut kept: HashSet<usize> = HashSet::new();
        let mut all = vec![];
        for (number, &end) in ends.iter().enumerate().rev() {
            let start = if number == 0 { 0 } else { ends[number - 1] };
            let here = |b: &usize| self.own.get(b).is_some_and(|own| (start..end).contains(&own.made));
            let writes = |place: usize| self.instructions[place].writes().iter();
            let lost = (start..end).flat_map(writes).copied().filter(|b| here(b) && !kept.contains(b));
            let behind = |b: &usize| self.own[b].read.iter().copied().find(|&place| place >= turn);
            let wanted: HashMap<usize, usize> = lost.filter_map(|b| Some((b, behind(&b)?))).collect();
            let Some(before) = wanted.values().copied().min() else { continue };
            let wanted: HashSet<usize> = wanted.into_keys().collect();
            let (mut needed, mut places) = (wanted.clone(), vec![]);
            for place in (start..end).rev() {
                if writes(place).any(|b| needed.contains(b)) {
                    places.push(place);
                    needed.extend(self.instructions[place].reads().into_iter().filter(|b| !kept.contains(b)));
                }
            }
            places.reverse();
            let read = kept.clone();
            kept.extend(needed.into_iter().filter(|b| !here(b)));
            all.push(Again { places, before, wanted, kept: read });
        }
        all
    }

    /// The members with all that is computed again in its place, and without what nothing reads any more.
    fn inserted(&self, schedule: &mut Schedule, turn: usize, again: Vec<Again>) -> Vec<usize> {
        let copies = schedule.buffers.len();
        // What stands for a buffer behind the turn, and what is inserted before a place.
        let mut stands: HashMap<usize, usize> = HashMap::new();
        let mut inserted: HashMap<usize, Vec<usize>> = HashMap::new();
        for Again { places, before, wanted, kept } in again {
            let mut copy_of: HashMap<usize, usize> = HashMap::new();
            for place in places {
                let mut copy = self.instructions[place].clone();
                copy.each_read(&mut |b| *b = copy_of.get(b).copied().filter(|_| !kept.contains(b)).unwrap_or(*b));
                for to in copy.writes_mut() {
                    schedule.buffers.push(Buffer { origin: Origin::Computed, len: schedule.buffers[*to].len });
                    copy_of.insert(*to, schedule.buffers.len() - 1);
                    *to = schedule.buffers.len() - 1;
                }
                schedule.instructions.push(copy);
                inserted.entry(before).or_default().push(schedule.instructions.len() - 1);
            }
            stands.extend(wanted.into_iter().map(|b| (b, copy_of[&b])));
        }
        let mut members = self.members[..turn].to_vec();
        for (place, &member) in self.members.iter().enumerate().skip(turn) {
            members.extend(inserted.remove(&place).unwrap_or_default());
            schedule.instructions[member].each_read(&mut |b| *b = stands.get(b).copied().unwrap_or(*b));
            members.push(member);
        }
        self.read(schedule, members, copies)
    }

    /// The members whose results something reads; of the buffers from `copies` on each stands for one of this line's own.
    fn read(&self, schedule: &Schedule, mut members: Vec<usize>, copies: usize) -> Vec<usize> {
        let mut read: HashSet<usize> = HashSet::new();
        members.reverse();
        members.retain(|&member| {
            let instruction = &schedule.instructions[member];
            let given = |b: &usize| *b < copies && !self.own.contains_key(b);
            let needed = instruction.writes().iter().any(|b| read.contains(b) || given(b));
            if needed {
                read.extend(instruction.reads());
            }
            needed
        });
        members.reverse();
        members
    }
}

/// At every place the sum of the numbers whose span, from a place and up to another, holds it.
fn running(places: usize, spans: impl Iterator<Item = (usize, usize, usize)>) -> Vec<usize> {
    let (mut begin, mut end) = (vec![0; places + 1], vec![0; places + 1]);
    for (from, to, number) in spans.filter(|(from, to, _)| from < to && *from < places) {
        begin[from] += number;
        end[to.min(places)] += number;
    }
    let mut sum = 0;
    (0..places)
        .map(|place| {
            sum = sum + begin[place] - end[place];
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Exact, Path, Room, need};
    use crate::exec::testing::{bits, noise, program};
    use crate::exec::{ExecError, Executor};
    use crate::ir::{Builder, Function, NodeId, Precision, Tensor, Unary, batch, grad};

    /// What a network of two convolutions with 16 filters loses on 5 images.
    fn loss(b: &mut Builder, params: &[NodeId], images: NodeId) -> NodeId {
        let rows = b.window(images, 1, 3, 1, 1);
        let windows = b.window(rows, 3, 3, 1, 1);
        let windows = b.permute(windows, &[0, 1, 3, 2, 4]);
        let windows = b.reshape(windows, &[5 * 64, 9]);
        let layers = params.iter().fold(windows, |x, &w| {
            let x = b.matmul(x, w, false, false);
            b.unary(Unary::Tanh, x)
        });
        let squares = b.mul(layers, layers);
        b.sum_all(squares)
    }

    /// The gradient through so many steps of gradient descent, summed over 3 tasks.
    fn maml(steps: usize) -> Function {
        let shapes: [&[usize]; 3] = [&[9, 16], &[16, 16], &[5, 10, 10]];
        let one = program(&shapes, |b, x| {
            let mut params = x[..2].to_vec();
            for _ in 0..steps {
                let inner = loss(b, &params, x[2]);
                let gradients = grad(b, inner, &params);
                for (param, gradient) in params.iter_mut().zip(gradients) {
                    let step = b.scale(gradient, 0.001);
                    *param = b.sub(*param, step);
                }
            }
            let outer = loss(b, &params, x[2]);
            grad(b, outer, &x[..2])
        });
        program(&[shapes[0], shapes[1], &[3, 5, 10, 10]], |b, x| {
            let all = batch(b, &one, x, &[false, false, true], 3);
            all.into_iter().map(|gradient| b.sum(gradient, 0)).collect()
        })
    }

    /// A pool of one thread, in which [`bytes`] speaks of what is run.
    fn alone() -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()
    }

    fn outputs(exec: &Exact<f32>, function: &Function) -> Result<Vec<Tensor>, ExecError> {
        let kernel = exec.compile(function)?;
        let args: Vec<_> = function.input_dims().map(|dims| exec.upload(&noise(dims, 1)).unwrap()).collect();
        let results = exec.run(&kernel, &args.iter().collect::<Vec<_>>())?;
        results.iter().map(|result| exec.download(result)).collect()
    }

    fn bytes(function: &Function, bytes: Option<u64>) -> Result<super::super::Need, ExecError> {
        need(function, Precision::F32, Room { threads: 1, bytes })
    }

    #[test]
    fn less_memory_gives_the_same_bits() {
        let function = maml(12);
        let plain = bytes(&function, None).unwrap();
        assert_eq!(plain.again, 0);
        let exec = Exact::<f32>::new(Path::detect());
        let wanted = alone().install(|| outputs(&exec, &function)).unwrap();
        for percent in [80, 60, 45] {
            let limit = plain.bytes * percent / 100;
            let found = bytes(&function, Some(limit)).unwrap();
            assert!(found.bytes <= limit && found.again > 0, "{percent} % of {plain:?}: {found:?}");
            let less = alone().install(|| outputs(&exec.clone().within(Some(limit)), &function)).unwrap();
            assert_eq!(bits(&less), bits(&wanted), "{percent} %");
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_with_what_it_needs() {
        let function = maml(12);
        let Err(ExecError::Memory { needed, .. }) = bytes(&function, Some(100_000)) else { panic!("it cannot fit") };
        assert!(bytes(&function, Some(needed)).unwrap().bytes <= needed);
        assert!(matches!(bytes(&function, Some(needed - 1)), Err(ExecError::Memory { .. })));
    }

    #[test]
    fn steps_need_memory_like_their_root() {
        let least = |steps: usize| match bytes(&maml(steps), Some(0)) {
            Err(ExecError::Memory { needed, .. }) => needed as f64,
            other => panic!("{other:?}"),
        };
        let (few, many) = (least(8), least(72));
        let plain = [8, 72].map(|steps| bytes(&maml(steps), None).unwrap().bytes as f64);
        assert!(plain[1] > 6.0 * plain[0], "without a limit, steps need memory each: {plain:?}");
        assert!(many < 3.0 * few, "{few} for 8 steps, {many} for 72");
    }
}
