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

use super::layout::Sketch;
use super::schedule::{Output, Schedule};
use super::stage::Group;

/// Cutting once more is worth it where it saves this share of what is in use.
const WORTH: u64 = 16;

/// How often segments are cut into segments again, at most.
const ROUNDS: usize = 8;

/// Where more segments need so many times what fewer need, still more are not tried: they keep ever more checkpoints.
const TOO_MANY: u64 = 2;

/// The instructions of a schedule and their groups, where they must be changed until `need` of them is at most `limit`, by as few segments as
/// do; or the least need that was found.
pub(super) fn fit(
    schedule: &Schedule,
    sketch: &Sketch,
    groups: &[Group],
    limit: u64,
    need: &dyn Fn(&Sketch, &[Group]) -> u64,
) -> Result<(Sketch, Vec<Group>), u64> {
    let mut best = (sketch.clone(), groups.to_vec());
    let mut least = need(sketch, groups);
    if least <= limit {
        return Ok(best);
    }
    for _ in 0..ROUNDS {
        let (mut better, before) = (None, least);
        let own = own(schedule, &best.0, &best.1);
        let line = Line::most(&best.0, &best.1, &own);
        let (mut segments, mut fewer) = (2, u64::MAX);
        while let Some(ends) = line.ends(segments) {
            let (sketch, members) = line.cut(&ends);
            let mut groups = best.1.clone();
            groups[line.group].members = members;
            let found = need(&sketch, &groups);
            if found <= limit {
                return Ok((sketch, groups));
            }
            if found < least {
                (least, better) = (found, Some((sketch, groups)));
            }
            if found / TOO_MANY > fewer {
                break;
            }
            fewer = fewer.min(found);
            segments += segments / 2;
        }
        match better {
            // Segments are cut themselves.
            Some(found) if before - least > before / WORTH => best = found,
            _ => break,
        }
    }
    Err(least)
}

/// A buffer that one group alone makes and reads.
#[derive(Debug, Clone, Copy)]
struct Own {
    group: usize,
    /// The place of the instruction that makes it.
    made: usize,
    /// The place where it is used last.
    last: usize,
}

/// The buffers, by number, that one group alone makes and reads.
fn own(schedule: &Schedule, sketch: &Sketch, groups: &[Group]) -> Vec<Option<Own>> {
    let mut own: Vec<Option<Own>> = vec![None; sketch.buffers.len()];
    for (group, Group { members, .. }) in groups.iter().enumerate() {
        for (place, &i) in members.iter().enumerate() {
            for &b in sketch.reads(i) {
                own[b] = own[b].filter(|own| own.group == group).map(|own| Own { last: place, ..own });
            }
            sketch.writes(i).iter().for_each(|&b| own[b] = Some(Own { group, made: place, last: place }));
        }
    }
    for output in &schedule.outputs {
        if let Output::Computed(b) | Output::Part(b, _) = *output {
            own[b] = None;
        }
    }
    own
}

/// A group as a line of instructions; places are positions in it.
struct Line<'s> {
    sketch: &'s Sketch,
    group: usize,
    members: &'s [usize],
    own: &'s [Option<Own>],
    /// The place where most is in use.
    turn: usize,
    /// By buffer, where behind the turn its own ones are read first.
    behind: Vec<Option<usize>>,
    /// By place before the turn: the entries read behind it of all that was made so far, and those that pass to the next place.
    made: Vec<usize>,
    passes: Vec<usize>,
}

impl<'s> Line<'s> {
    /// The group that has most in use of its own.
    fn most(sketch: &'s Sketch, groups: &'s [Group], own: &'s [Option<Own>]) -> Line<'s> {
        let mut spans = vec![vec![]; groups.len()];
        for (b, own) in own.iter().enumerate() {
            if let Some(Own { group, made, last }) = *own {
                spans[group].push((made, last + 1, sketch.buffers[b].len / groups[group].cases));
            }
        }
        let profiles =
            spans.into_iter().zip(groups).map(|(spans, group)| running(group.members.len(), spans.into_iter()));
        let most = profiles.enumerate().max_by_key(|(_, profile)| profile.iter().copied().max());
        let (group, profile) = most.expect("what is too large has instructions");
        let turn = (0..profile.len()).rev().max_by_key(|&place| profile[place]).unwrap_or(0);
        let Group { cases, members } = &groups[group];
        let here = |b: usize| own[b].filter(|own| own.group == group);

        let (mut behind, mut before) = (vec![None; own.len()], vec![None; own.len()]);
        for (place, &i) in members.iter().enumerate() {
            for &b in sketch.reads(i) {
                let read = if place < turn { &mut before[b] } else { &mut behind[b] };
                *read = if place < turn { Some(place) } else { read.or(Some(place)) };
            }
        }
        let all = || (0..own.len()).filter_map(|b| here(b).map(|own| (b, own, sketch.buffers[b].len / cases)));
        let crosses = all().filter(|(_, own, _)| own.made < turn && own.last >= turn);
        let made = running(turn, crosses.map(|(_, own, len)| (own.made, turn, len)));
        let passes = running(turn, all().map(|(b, own, len)| (own.made, before[b].unwrap_or(own.made), len)));
        Line { sketch, group, members, own, turn, behind, made, passes }
    }

    /// A buffer of its own.
    fn own(&self, b: usize) -> Option<Own> {
        self.own.get(b).copied().flatten().filter(|own| own.group == self.group)
    }

    /// Where the segments before the turn end, the last one left out, since nothing lies between it and the turn.
    fn ends(&self, segments: usize) -> Option<Vec<usize>> {
        let Line { made, passes, .. } = self;
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

    /// The same instructions, where those of the segments that end at these places are done again where something behind the turn reads
    /// what they make, and the members of the group then. A segment reads what earlier ones made, which is therefore kept.
    fn cut(&self, ends: &[usize]) -> (Sketch, Vec<usize>) {
        let mut sketch = self.sketch.clone();
        let count = sketch.buffers.len();
        let mut kept = vec![false; count];
        // By buffer: the last segment that needs it, its copy in the last segment that has one, and what stands for it behind the turn.
        let (mut needs, mut copies, mut stands) = (vec![None; count], vec![(None, 0); count], vec![None; count]);
        // What is inserted before a place.
        let mut inserted: Vec<(usize, Vec<usize>)> = vec![];
        for (number, &end) in ends.iter().enumerate().rev() {
            let start = if number == 0 { 0 } else { ends[number - 1] };
            let here = |b: usize| self.own(b).is_some_and(|own| (start..end).contains(&own.made));
            let writes = |place: usize| self.sketch.writes(self.members[place]);
            let lost = (start..end).flat_map(writes).copied().filter(|&b| here(b) && !kept[b]);
            let wanted: Vec<usize> = lost.filter(|&b| self.behind[b].is_some()).collect();
            let Some(before) = wanted.iter().filter_map(|&b| self.behind[b]).min() else { continue };
            wanted.iter().for_each(|&b| needs[b] = Some(number));
            let (mut places, mut taken) = (vec![], vec![]);
            for place in (start..end).rev() {
                if writes(place).iter().any(|&b| needs[b] == Some(number)) {
                    places.push(place);
                    for &b in self.sketch.reads(self.members[place]).iter().filter(|&&b| !kept[b]) {
                        needs[b] = Some(number);
                        taken.push(b);
                    }
                }
            }
            let again = places.into_iter().rev().map(|place| {
                let copy = sketch.copy(self.members[place]);
                for b in sketch.reads_mut(copy).iter_mut().filter(|b| copies[**b].0 == Some(number) && !kept[**b]) {
                    *b = copies[*b].1;
                }
                writes(place).iter().zip(sketch.writes(copy)).for_each(|(&b, &to)| copies[b] = (Some(number), to));
                copy
            });
            inserted.push((before, again.collect()));
            wanted.into_iter().for_each(|b| stands[b] = Some(copies[b].1));
            taken.into_iter().filter(|&b| !here(b)).for_each(|b| kept[b] = true);
        }
        inserted.sort_by_key(|(before, _)| *before);
        let mut inserted = inserted.into_iter().peekable();
        let mut members = self.members[..self.turn].to_vec();
        for (place, &member) in self.members.iter().enumerate().skip(self.turn) {
            while let Some((_, again)) = inserted.next_if(|(before, _)| *before == place) {
                members.extend(again);
            }
            sketch.reads_mut(member).iter_mut().for_each(|b| *b = stands[*b].unwrap_or(*b));
            members.push(member);
        }
        self.read(&sketch, &mut members);
        (sketch, members)
    }

    /// Leaves the members whose results something reads; buffers that this line does not know stand for its own.
    fn read(&self, sketch: &Sketch, members: &mut Vec<usize>) {
        let mut read = vec![false; sketch.buffers.len()];
        members.reverse();
        members.retain(|&member| {
            let given = |b: usize| b < self.own.len() && self.own(b).is_none();
            let needed = sketch.writes(member).iter().any(|&b| read[b] || given(b));
            if needed {
                sketch.reads(member).iter().for_each(|&b| read[b] = true);
            }
            needed
        });
        members.reverse();
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
    use std::cell::Cell;

    use super::super::cases::groups;
    use super::super::layout::Outline;
    use super::super::stage::Tuning;
    use super::super::{Exact, Path, Room, need};
    use super::*;
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

    /// Two layers with a product between whose rows are measured: it is done a few rows at a time, and all at once needs less room on many
    /// threads, without anything that could be computed again.
    fn layers() -> Function {
        program(&[&[512, 64], &[64, 64], &[64, 64]], |b, x| {
            let first = b.matmul(x[0], x[1], false, false);
            let squares = b.mul(first, first);
            let sizes = b.sum(squares, 1);
            let sizes = b.broadcast(sizes, 1, 64);
            let scaled = b.mul(sizes, first);
            vec![b.matmul(scaled, x[2], false, false)]
        })
    }

    #[test]
    fn what_a_refusal_says_is_needed_does() {
        for (function, threads) in [(maml(1), 1), (maml(1), 16), (layers(), 1), (layers(), 2), (layers(), 16)] {
            let within = |bytes| need(&function, Precision::F32, Room { threads, bytes });
            let Err(ExecError::Memory { needed, .. }) = within(Some(1000)) else { panic!("it cannot fit") };
            let found = within(Some(needed)).map(|need| need.bytes);
            let plain = within(None).map(|need| need.bytes);
            assert!(found.is_ok_and(|bytes| bytes <= needed), "{threads} threads need {needed} of {plain:?}");
        }
    }

    #[test]
    fn a_search_for_what_cannot_fit_ends_soon() {
        let schedule = Schedule::new(&maml(72), true);
        let groups = groups(&schedule, Tuning::default(), 4);
        let outline = Outline::new(&schedule, &groups, Tuning::default(), 4);
        let tries = Cell::new(0);
        let need = |sketch: &Sketch, groups: &[Group]| {
            tries.set(tries.get() + 1);
            outline.entries(sketch, groups, 1) as u64
        };
        let sketch = Sketch::new(&schedule);
        let least = fit(&schedule, &sketch, &groups, 0, &need).expect_err("nothing fits");
        let plain = need(&sketch, &groups);
        assert!(least < plain / 2 && tries.get() < 100, "{least} of {plain}, {} tries", tries.get());
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
