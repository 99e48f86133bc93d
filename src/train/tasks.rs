//! The tasks of a step: which take part, and what they hold.

use std::borrow::Borrow;
use std::collections::HashMap;

use super::augment::{Changes, Side};
use super::bind::Kernel;
use super::clients::{self, ClientTables, Clients, Held};
use super::{DataSets, TrainError, draw};
use crate::catalog::{Augmentation, Weights};
use crate::exec::Executor;
use crate::ir::Tensor;
use crate::plan::lower::{Input, Part, TaskPrograms};
use crate::plan::{Arm, Draw, Family, Objective, PoolStratum, TaskSource};
use crate::rng::Stream;

/// A task: its stratum (by position in the source) and its number within it, or among all clients of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TaskId {
    pub stratum: usize,
    pub index: u64,
}

/// What the tasks of one step hold, on the executor.
pub(super) struct Visit<E: Executor> {
    /// Their positions in the pool (for fresh tasks, in the step).
    pub places: Vec<usize>,
    ids: Vec<TaskId>,
    latents: Vec<E::Value>,
    support: Examples<E>,
    query: Examples<E>,
}

/// One part of the examples of all tasks of a step.
struct Examples<E: Executor> {
    values: Vec<E::Value>,
    mask: Option<E::Value>,
    /// How many each task has.
    counts: Vec<usize>,
}

impl<E: Executor> Visit<E> {
    /// The value behind a tag that belongs to the tasks.
    pub fn find(&self, input: Input) -> Option<&E::Value> {
        match input {
            Input::Latent(i) => self.latents.get(i),
            Input::Support(i) => self.support.values.get(i),
            Input::Query(i) => self.query.values.get(i),
            Input::SupportMask => self.support.mask.as_ref(),
            Input::QueryMask => self.query.mask.as_ref(),
            _ => None,
        }
    }

    /// How many support examples each task has.
    pub fn support_counts(&self) -> &[usize] {
        &self.support.counts
    }

    /// How many query examples each task has.
    pub fn query_counts(&self) -> &[usize] {
        &self.query.counts
    }

    /// The support variables on the host, to be cut into batches.
    pub fn support_on_host(&self, exec: &E) -> Result<Vec<Tensor>, TrainError> {
        Ok(self.support.values.iter().map(|v| exec.download(v)).collect::<Result<_, _>>()?)
    }

    /// The tasks that take part.
    pub fn ids(&self) -> &[TaskId] {
        &self.ids
    }
}

/// Makes the tasks of one source, step by step.
pub(super) struct TaskMaker<'a, E: Executor> {
    exec: &'a E,
    family: &'a Family,
    source: &'a TaskSource,
    objective: &'a Objective,
    streams: Streams,
    world: &'a [E::Value],
    strata: Vec<Kernel<E>>,
    visit: Option<Kernel<E>>,
    support: Part,
    query: Part,
    /// The task variables of the whole pool, one tensor `[pool, ..]` per variable.
    pool: Option<Vec<Tensor>>,
    /// The same on the executor, for steps in which the whole pool takes part.
    whole: Vec<E::Value>,
    clients: Option<Clients<'a>>,
    /// How the examples of clients are changed; those that are measured are not.
    changes: Changes<'a>,
    /// How likely a step samples each task of the pool, in proportion; empty where all are alike.
    chances: Vec<f64>,
}

/// What a task maker works on.
pub(super) struct Setting<'a, E: Executor> {
    pub exec: &'a E,
    pub arm: &'a Arm,
    pub seed: u64,
    pub world: &'a [E::Value],
    pub tables: &'a ClientTables,
    pub sets: &'a DataSets,
}

impl<'a, E: Executor> TaskMaker<'a, E> {
    /// `scope` names the stream of fresh tasks and visits: `train`, or the name of an evaluation; `augment` is how its examples are
    /// changed.
    pub fn new(
        setting: &Setting<'a, E>,
        source: &'a TaskSource,
        objective: &'a Objective,
        programs: &TaskPrograms,
        (scope, augment): (&'a str, &'a [Augmentation]),
    ) -> Result<Self, TrainError> {
        let exec = setting.exec;
        let dangling =
            || TrainError::Lower(crate::plan::lower::LowerError::Dangling(format!("tasks `{}`", source.family())));
        let family = setting.arm.family(source.family()).ok_or_else(dangling)?;
        let clients = match &family.source {
            Some(source) => {
                let table = setting.tables.get(&family.name).ok_or_else(dangling)?;
                let set = clients::data_set(source, setting.sets)?;
                let root = Stream::new(setting.seed, &["examples", scope, &family.name]);
                Some(Clients::new(family, source, table, set, scope != TRAIN, root))
            }
            None => None,
        };
        let mut maker = TaskMaker {
            exec,
            family,
            source,
            objective,
            streams: Streams::new(setting.seed, scope, family, source),
            world: setting.world,
            strata: programs.strata.iter().map(|p| Kernel::compile(exec, p)).collect::<Result<_, _>>()?,
            visit: programs.visit.as_ref().map(|p| Kernel::compile(exec, p)).transpose()?,
            support: programs.support,
            query: programs.query,
            pool: None,
            whole: vec![],
            clients,
            changes: Changes { list: augment, root: Stream::new(setting.seed, &["augment", scope, &family.name]) },
            chances: vec![],
        };
        if let TaskSource::Pool { strata, law, batch, replace, .. } = source {
            if *law != Weights::Uniform {
                let all: Vec<TaskId> = pool_ids(family, strata).collect();
                let held = maker.clients.as_ref().map_or_else(Vec::new, |clients| clients.train_counts(&all));
                maker.chances = maker.weights(law, &all, &held);
                let possible = maker.chances.iter().filter(|&&chance| chance > 0.0).count() as u64;
                if possible == 0 || !replace && possible < *batch {
                    return Err(TrainError::Data {
                        name: family.name.clone(),
                        reason: format!(
                            "a step samples {batch} tasks, and the law lets only {possible} of {} be drawn",
                            all.len()
                        ),
                    });
                }
            }
            let mut pool: Option<Vec<Tensor>> = None;
            for (s, stratum) in strata.iter().enumerate() {
                let ids: Vec<TaskId> = (0..stratum.count).map(|index| TaskId { stratum: s, index }).collect();
                let made = maker.downloaded(&maker.make(s, &ids)?)?;
                pool = Some(match pool {
                    None => made,
                    Some(before) => before.into_iter().zip(made).map(|(a, b)| append(a, &b)).collect(),
                });
            }
            maker.whole = maker.uploaded(pool.iter().flatten())?;
            maker.pool = pool;
        }
        if let Some(clients) = &maker.clients {
            clients.check(objective)?;
        }
        Ok(maker)
    }

    /// The task variables of the given tasks, which fill the program of their stratum.
    fn make(&self, s: usize, ids: &[TaskId]) -> Result<Vec<E::Value>, TrainError> {
        let stratum =
            self.family.stratum(stratum_name(self.family, self.source, s)).expect("lowering found every stratum");
        let streams = &self.streams.strata[s].task;
        let values = self.strata[s].run_made(self.exec, |input, dims| match input {
            Input::World(i) => Ok(self.world[i].clone()),
            Input::Index => self.exec.upload(&Tensor::new(dims.to_vec(), ids.iter().map(|t| t.index as f64).collect())),
            Input::Draw(i) => {
                let draw = &stratum.task.draws[i];
                self.exec.upload(&rows(draw, dims, ids.iter().map(|t| streams[i].child(t.index))))
            }
            other => unreachable!("a task program does not read {other:?}"),
        })?;
        Ok(values)
    }

    fn downloaded(&self, values: &[E::Value]) -> Result<Vec<Tensor>, TrainError> {
        Ok(values.iter().map(|v| self.exec.download(v)).collect::<Result<_, _>>()?)
    }

    fn uploaded(&self, tensors: impl IntoIterator<Item = impl Borrow<Tensor>>) -> Result<Vec<E::Value>, TrainError> {
        Ok(tensors.into_iter().map(|t| self.exec.upload(t.borrow())).collect::<Result<_, _>>()?)
    }

    /// The tasks of one step: the pool as a whole or a sample of it, or fresh ones.
    pub fn visit(&self, step: u64) -> Result<Visit<E>, TrainError> {
        self.visit_tasks_of(step, step)
    }

    /// The tasks of step 0 at another visit.
    pub fn revisit(&self, visit: u64) -> Result<Visit<E>, TrainError> {
        self.visit_tasks_of(0, visit)
    }

    /// Says that no tasks will be made for a while.
    pub fn rest(&self) {
        self.strata.iter().chain(&self.visit).for_each(|kernel| kernel.rest(self.exec));
    }

    /// The tasks chosen for `step`, with the episodes and examples of visit number `visit`.
    fn visit_tasks_of(&self, step: u64, visit: u64) -> Result<Visit<E>, TrainError> {
        let (places, ids, mut values): (Vec<usize>, Vec<TaskId>, Vec<E::Value>) = match self.source {
            TaskSource::Fresh { count, .. } => {
                let (ids, values) = self.fresh(step, *count)?;
                ((0..ids.len()).collect(), ids, values)
            }
            TaskSource::Pool { strata, batch, replace, .. } => {
                let all: Vec<TaskId> = pool_ids(self.family, strata).collect();
                let batch = *batch as usize;
                let stream = self.streams.sample.child(step);
                let places = match (*replace, batch == all.len()) {
                    (false, true) => (0..batch).collect(),
                    _ if !self.chances.is_empty() => stream.sample_weighted(&self.chances, batch, *replace),
                    (true, _) => stream.sample_with_replacement(all.len(), batch),
                    (false, false) => stream.sample_without_replacement(all.len(), batch),
                };
                let values = if places.iter().copied().eq(0..all.len()) {
                    self.whole.clone()
                } else {
                    self.uploaded(self.pool.iter().flatten().map(|t| t.rows(&places)))?
                };
                let ids = places.iter().map(|&p| all[p]).collect();
                (places, ids, values)
            }
        };
        let (support, query) = match &self.clients {
            Some(clients) => {
                let repeats = self.repeats(&ids);
                let (support, query) = clients.examples(self.objective, &ids, &repeats, visit);
                let seen = |side| {
                    let (ids, repeats) = (&ids, &repeats);
                    move |x: &mut Tensor, held: &[Vec<Held>]| {
                        if !clients.measured(side) {
                            self.changes.apply(x, held, ids, repeats, (visit, side));
                        }
                    }
                };
                (
                    self.gather(&support, self.support, clients, seen(Side::Support))?,
                    self.gather(&query, self.query, clients, seen(Side::Query))?,
                )
            }
            None => self.drawn(visit, &ids, &mut values)?,
        };
        Ok(Visit { places, ids, latents: values, support, query })
    }

    /// The numbers and strata of the tasks drawn afresh for a step, and their variables.
    fn fresh(&self, step: u64, count: u64) -> Result<(Vec<TaskId>, Vec<E::Value>), TrainError> {
        let numbers = step * count..(step + 1) * count;
        let weights: Vec<u64> = self.family.strata.iter().map(|s| s.count).collect();
        let total: u64 = weights.iter().sum();
        let stream = &self.streams.stratum;
        let ids: Vec<TaskId> = numbers
            .map(|index| {
                if let [_] = weights[..] {
                    return TaskId { stratum: 0, index };
                }
                let mut left = stream.below(index, total as usize) as u64;
                let stratum = weights.iter().position(|&w| {
                    let hit = left < w;
                    left = left.saturating_sub(w);
                    hit
                });
                TaskId { stratum: stratum.expect("the number lies below the sum of the weights"), index }
            })
            .collect();
        let mut strata = (0..self.family.strata.len()).filter(|&s| ids.iter().any(|t| t.stratum == s));
        let Some(first) = strata.next() else { return Ok((ids, vec![])) };
        let made = self.make(first, &ids)?;
        let mut others = strata.peekable();
        if others.peek().is_none() {
            return Ok((ids, made));
        }
        let mut latents = self.downloaded(&made)?;
        for s in others {
            for (all, of_stratum) in latents.iter_mut().zip(self.downloaded(&self.make(s, &ids)?)?) {
                let len = all.row_len();
                for i in (0..ids.len()).filter(|&i| ids[i].stratum == s) {
                    all.set_row(i, &of_stratum.data()[i * len..(i + 1) * len]);
                }
            }
        }
        let values = self.uploaded(&latents)?;
        Ok((ids, values))
    }

    /// Draws episodes and examples; the episode's variables join the latents.
    fn drawn(
        &self,
        visit: u64,
        ids: &[TaskId],
        latents: &mut Vec<E::Value>,
    ) -> Result<(Examples<E>, Examples<E>), TrainError> {
        let repeats = self.repeats(ids);
        let mut outputs = Vec::new();
        if let Some(kernel) = &self.visit {
            let filled = |leaf: Leaf, i: usize, draw: &Draw, dims: &[usize]| {
                let numbered = ids.iter().zip(&repeats);
                let streams = numbered.map(|(t, &r)| {
                    self.streams.strata[t.stratum].visit[leaf as usize][i].child(t.index).child(visit).child(r)
                });
                self.exec.upload(&rows(draw, dims, streams))
            };
            let inputs: &[E::Value] = latents;
            outputs = kernel.run_made(self.exec, |input, dims| match input {
                Input::World(i) => Ok(self.world[i].clone()),
                Input::Latent(i) => Ok(inputs[i].clone()),
                Input::EpisodeDraw(i) => filled(Leaf::Episode, i, &self.family.episode.draws[i], dims),
                Input::SupportDraw(i) => filled(Leaf::Support, i, &self.family.example.draws[i], dims),
                Input::QueryDraw(i) => filled(Leaf::Query, i, &self.family.example.draws[i], dims),
                other => unreachable!("a visit does not read {other:?}"),
            })?;
        }
        let mut outputs = outputs.into_iter();
        latents.extend(outputs.by_ref().take(self.family.episode.function.outputs.len()));
        let variables = self.family.example.function.outputs.len();
        let mut part = |part: Part| Examples {
            values: if part.size > 0 { outputs.by_ref().take(variables).collect() } else { vec![] },
            mask: None,
            counts: vec![part.size; ids.len()],
        };
        let support = part(self.support);
        let query = part(self.query);
        Ok((support, query))
    }

    /// The examples of all clients after a change, filled up to the part's size.
    fn gather(
        &self,
        held: &[Vec<Held>],
        part: Part,
        clients: &Clients,
        change: impl Fn(&mut Tensor, &[Vec<Held>]),
    ) -> Result<Examples<E>, TrainError> {
        let counts: Vec<usize> = held.iter().map(Vec::len).collect();
        if part.size == 0 {
            return Ok(Examples { values: vec![], mask: None, counts });
        }
        let [mut x, y, mask] = clients.gather(held, part.size);
        change(&mut x, held);
        let mask = if part.masked { Some(self.exec.upload(&mask)?) } else { None };
        Ok(Examples { values: vec![self.exec.upload(&x)?, self.exec.upload(&y)?], mask, counts })
    }

    /// How many times each task came before in this step: a task that a step holds twice is visited twice, with draws of its own.
    fn repeats(&self, ids: &[TaskId]) -> Vec<u64> {
        if !matches!(self.source, TaskSource::Pool { replace: true, .. }) {
            return vec![0; ids.len()];
        }
        let mut visits: HashMap<TaskId, u64> = HashMap::new();
        let mut count = |id: &TaskId| {
            let count = visits.entry(*id).or_insert(0);
            *count += 1;
            *count - 1
        };
        ids.iter().map(&mut count).collect()
    }

    /// How much each of these tasks counts, where they have so many examples.
    pub fn weights(&self, weights: &Weights, ids: &[TaskId], examples: &[usize]) -> Vec<f64> {
        let weight = |(i, id): (usize, &TaskId)| {
            let episodes =
                || self.clients.as_ref().map_or(0.0, |clients| clients.episodes(self.objective, id.index as usize));
            weights.of(stratum_name(self.family, self.source, id.stratum), || examples[i] as f64, episodes)
        };
        ids.iter().enumerate().map(weight).collect()
    }

    /// How likely a step samples each task of the pool, in proportion; empty where all are alike.
    pub fn chances(&self) -> &[f64] {
        &self.chances
    }

    /// Writes what stands where there is no example over the zeros of the first variable of some, `len` numbers each.
    pub fn fill(&self, missing: &mut [f64], len: usize) {
        if let Some(clients) = &self.clients {
            clients.fill(missing, len);
        }
    }

    /// The stream of what a task drops.
    pub fn dropout_stream(&self, id: TaskId, step: u64) -> Stream {
        self.streams.strata[id.stratum].dropout.child(id.index).child(step)
    }

    /// The stream that shuffles a task's examples into batches.
    pub fn shuffle_stream(&self, id: TaskId, step: u64) -> Stream {
        self.streams.strata[id.stratum].shuffle.child(id.index).child(step)
    }
}

/// The tasks of a pool, stratum by stratum. Clients of a data set have one number among all of their family.
fn pool_ids<'f>(family: &'f Family, strata: &'f [PoolStratum]) -> impl Iterator<Item = TaskId> {
    let before = |name: &str| family.strata.iter().take_while(|s| s.name != name).map(|s| s.count).sum();
    strata.iter().enumerate().flat_map(move |(stratum, s)| {
        let first = if family.source.is_some() { before(&s.name) } else { 0 };
        (first..first + s.count).map(move |index| TaskId { stratum, index })
    })
}

/// What a visit draws: an episode's variables, and the examples of its two parts.
#[derive(Clone, Copy)]
enum Leaf {
    Episode,
    Support,
    Query,
}

/// The streams of a task source, named once, since a name is hashed.
struct Streams {
    /// Which tasks of a pool take part in a step.
    sample: Stream,
    /// Which stratum a fresh task is of.
    stratum: Stream,
    strata: Vec<StratumStreams>,
}

struct StratumStreams {
    /// By draw of a task.
    task: Vec<Stream>,
    /// By [`Leaf`] and draw.
    visit: [Vec<Stream>; 3],
    shuffle: Stream,
    dropout: Stream,
}

impl Streams {
    fn new(seed: u64, scope: &str, family: &Family, source: &TaskSource) -> Streams {
        let count = match source {
            TaskSource::Fresh { .. } => family.strata.len(),
            TaskSource::Pool { strata, .. } => strata.len(),
        };
        let strata = (0..count).map(|s| {
            let name = stratum_name(family, source, s);
            // Tasks of a pool are the same for training and every evaluation; fresh ones belong to who draws them.
            let task = match source {
                TaskSource::Pool { .. } => Stream::new(seed, &["tasks", &family.name, name]),
                TaskSource::Fresh { .. } => Stream::new(seed, &["fresh", scope, &family.name, name]),
            };
            let named = |root: &Stream, draws: &[Draw]| draws.iter().map(|d| root.child_str(&d.name)).collect();
            let visit = Stream::new(seed, &["visit", scope, &family.name, name]);
            let leaf = |leaf: &str, draws: &[Draw]| named(&visit.child_str(leaf), draws);
            let (episode, example) = (&family.episode.draws, &family.example.draws);
            StratumStreams {
                task: family.stratum(name).map_or_else(Vec::new, |stratum| named(&task, &stratum.task.draws)),
                visit: [leaf("episode", episode), leaf("support", example), leaf("query", example)],
                shuffle: Stream::new(seed, &["shuffle", scope, &family.name, name]),
                dropout: Stream::new(seed, &["dropout", scope, &family.name, name]),
            }
        });
        Streams {
            sample: Stream::new(seed, &["sample", scope, &family.name]),
            stratum: Stream::new(seed, &["fresh", scope, &family.name]).child_str("stratum"),
            strata: strata.collect(),
        }
    }
}

/// The name of a stratum of a source.
fn stratum_name<'n>(family: &'n Family, source: &'n TaskSource, s: usize) -> &'n str {
    match source {
        TaskSource::Fresh { .. } => &family.strata[s].name,
        TaskSource::Pool { strata, .. } => &strata[s].name,
    }
}

/// The scope of training's streams.
pub(super) const TRAIN: &str = "train";

/// A draw for every task, `dims` = `[tasks, ..]`.
fn rows(draw: &Draw, dims: &[usize], streams: impl Iterator<Item = Stream>) -> Tensor {
    let mut out = Tensor::full(dims, 0.0);
    let len = out.row_len();
    if len > 0 {
        for (row, stream) in out.data_mut().chunks_mut(len).zip(streams) {
            draw::fill(draw, &stream, row);
        }
    }
    out
}

fn append(a: Tensor, b: &Tensor) -> Tensor {
    let mut dims = a.dims().to_vec();
    dims[0] += b.dims()[0];
    let mut data = a.into_data();
    data.extend_from_slice(b.data());
    Tensor::new(dims, data)
}
