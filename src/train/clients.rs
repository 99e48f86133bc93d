//! Clients of a data set: who holds what, and what a visit takes of it.

use std::collections::{BTreeMap, HashMap};

use super::augment::Side;
use super::tasks::TaskId;
use super::{DataSets, TrainError, augment};
use crate::data::{self, DataSet};
use crate::ir::Tensor;
use crate::plan::lower::ClientSizes;
use crate::plan::{Arm, Clients as Source, Family, Objective};
use crate::rng::Stream;

/// The examples of one client, by row of the data set.
#[derive(Debug, Clone)]
pub struct Client {
    /// What training sees.
    pub train: Vec<usize>,
    /// What evaluations alone see.
    pub held_out: Vec<usize>,
}

/// The clients of every family made from data.
pub type ClientTables = HashMap<String, Vec<Client>>;

/// Divides the data among clients; the same for every arm that asks the same, under one seed.
pub(super) fn divide(arm: &Arm, seed: u64, sets: &DataSets) -> Result<(ClientTables, ClientSizes), TrainError> {
    let (mut tables, mut sizes) = (ClientTables::new(), ClientSizes::default());
    for family in &arm.families {
        let Some(source) = &family.source else { continue };
        let set = data_set(source, sets)?;
        let partition = Stream::new(seed, &["partition", &family.name]);
        let wrong = |error| TrainError::Partition { family: family.name.clone(), data: source.data.clone(), error };
        let held = match source.rows {
            None => data::divide(&source.partition, set, &partition).map_err(wrong)?,
            Some(rows) if rows.end > set.len() as u64 => {
                let reason =
                    format!("it has {} examples, and `{}` takes {}..{}", set.len(), family.name, rows.first, rows.end);
                return Err(TrainError::Data { name: source.data.clone(), reason });
            }
            Some(rows) => {
                let (first, end) = (rows.first as usize, rows.end as usize);
                let mut held = data::divide(&source.partition, &set.labels(first..end), &partition).map_err(wrong)?;
                held.iter_mut().flatten().for_each(|row| *row += first);
                held
            }
        };
        let hold_out = Stream::new(seed, &["hold_out", &family.name]);
        let table: Vec<Client> = held
            .iter()
            .enumerate()
            .map(|(i, examples)| {
                let stream = hold_out.child(i as u64);
                let (train, held_out) = match source.hold_out {
                    0.0 => (examples.clone(), vec![]),
                    share => data::hold_out(examples, share, &stream),
                };
                Client { train, held_out }
            })
            .collect();
        sizes.train.insert(family.name.clone(), table.iter().map(|c| c.train.len()).max().unwrap_or(0).max(1));
        sizes.held_out.insert(family.name.clone(), table.iter().map(|c| c.held_out.len()).max().unwrap_or(0).max(1));
        tables.insert(family.name.clone(), table);
    }
    Ok((tables, sizes))
}

/// The data set of some clients, if it has the examples that the plan was made for.
pub(super) fn data_set<'d>(source: &Source, sets: &'d DataSets) -> Result<&'d DataSet, TrainError> {
    let wrong = |reason: String| TrainError::Data { name: source.data.clone(), reason };
    let set = sets.get(&source.data).ok_or_else(|| wrong("it is not loaded".into()))?;
    let (wanted, found) = (&source.example[0].dims, set.features.dims());
    if wanted.iter().product::<usize>() != set.features.row_len() {
        return Err(wrong(format!("its examples have dims {found:?}, the plan was made for {wanted:?}")));
    }
    Ok(set)
}

/// An example that a task holds at a visit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    /// Its row in the data set.
    pub row: usize,
    /// Its target there.
    pub target: f64,
    /// By how many quarters it is turned.
    pub quarters: usize,
}

/// The clients of one family.
pub(super) struct Clients<'a> {
    family: &'a Family,
    source: &'a Source,
    table: &'a [Client],
    set: &'a DataSet,
    /// The rows of each class of each client, where visits draw classes.
    classes: Vec<Vec<Vec<usize>>>,
    /// Whether queries are the examples held out.
    measures: bool,
    /// The stream of what visits take.
    root: Stream,
}

impl<'a> Clients<'a> {
    /// The clients of a family in the scope of training or of an evaluation; `measures` in the latter.
    pub fn new(
        family: &'a Family,
        source: &'a Source,
        table: &'a [Client],
        set: &'a DataSet,
        measures: bool,
        root: Stream,
    ) -> Clients<'a> {
        let by_class = |client: &Client| {
            let mut classes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for &row in &client.train {
                // Classes are whole numbers from 0, whose bits ascend with them.
                classes.entry(set.targets.number(row).to_bits()).or_default().push(row);
            }
            classes.into_values().collect()
        };
        let classes = if source.ways.is_some() { table.iter().map(by_class).collect() } else { vec![] };
        Clients { family, source, table, set, classes, measures, root }
    }

    /// Clients that draw a fixed number of examples must have that many.
    pub fn check(&self, objective: &Objective) -> Result<(), TrainError> {
        let Objective::Sample { support, query, .. } = objective else { return Ok(()) };
        let wrong = |reason: String| TrainError::Data { name: self.family.name.clone(), reason };
        if let Some(ways) = self.source.ways {
            let each = (support + query) / ways;
            let rich = |client: usize| self.rich_classes(client, each as usize).count();
            let turns = self.source.turns;
            return match (0..self.table.len()).find(|&client| (rich(client) as u64 * turns) < ways) {
                Some(client) => Err(wrong(format!(
                    "client {client} has {} classes of {each} examples or more{}, and a visit draws {ways}; lower `split` or `ways`",
                    rich(client),
                    if turns > 1 { format!(", each in {turns} turns") } else { String::new() }
                ))),
                None => Ok(()),
            };
        }
        let wanted = (support + if self.measures { 0 } else { *query }) as usize;
        match self.table.iter().position(|c| c.train.len() < wanted) {
            Some(i) => Err(wrong(format!(
                "client {i} has {} training examples, and a visit draws {wanted}; lower `split` or use fewer clients",
                self.table[i].train.len()
            ))),
            None => Ok(()),
        }
    }

    /// Whether something is measured on the examples of a side.
    pub fn measured(&self, side: Side) -> bool {
        self.measures && matches!(side, Side::Query)
    }

    /// How many training examples each of these clients holds.
    pub fn train_counts(&self, ids: &[TaskId]) -> Vec<usize> {
        ids.iter().map(|id| self.table[id.index as usize].train.len()).collect()
    }

    /// How many sets of classes the episodes of a client can have: `C(classes, ways)`, turned ones among the classes.
    pub fn episodes(&self, objective: &Objective, client: usize) -> f64 {
        let (Some(ways), Objective::Sample { support, query, .. }) = (self.source.ways, objective) else { return 0.0 };
        let classes = self.rich_classes(client, ((support + query) / ways) as usize).count() as u64 * self.source.turns;
        (0..ways).map(|i| classes.saturating_sub(i) as f64 / (ways - i) as f64).product()
    }

    /// The classes of which a client holds at least so many examples.
    fn rich_classes(&self, client: usize, each: usize) -> impl Iterator<Item = &[usize]> {
        self.classes[client].iter().map(Vec::as_slice).filter(move |rows| rows.len() >= each)
    }

    /// What each task holds at a visit: support and query. `repeats` counts how often a task came before in this step.
    pub fn examples(
        &self,
        objective: &Objective,
        ids: &[TaskId],
        repeats: &[u64],
        visit: u64,
    ) -> (Vec<Vec<Held>>, Vec<Vec<Held>>) {
        let Objective::Sample { support, query, .. } = *objective else {
            return (vec![vec![]; ids.len()], vec![vec![]; ids.len()]);
        };
        let (support, query) = (support as usize, query as usize);
        let held = |&row: &usize| Held { row, target: self.target(row), quarters: 0 };
        let with_targets = |rows: &[usize]| rows.iter().map(held).collect();
        ids.iter()
            .zip(repeats)
            .map(|(id, &repeat)| {
                let client = &self.table[id.index as usize];
                let stream = self.root.child(id.index).child(visit).child(repeat);
                if let Some(ways) = self.source.ways {
                    return self.episode(id.index as usize, ways as usize, (support, query), &stream);
                }
                let held_out = || with_targets(&client.held_out);
                if support == 0 {
                    let query = if self.measures { held_out() } else { with_targets(&client.train) };
                    return (with_targets(&client.train), query);
                }
                let mut rows = client.train.clone();
                stream.shuffle(&mut rows);
                let query = if self.measures { held_out() } else { with_targets(&rows[support..support + query]) };
                (with_targets(&rows[..support]), query)
            })
            .unzip()
    }

    /// The target of a row, as its client numbers them.
    fn target(&self, row: usize) -> f64 {
        self.source.partition.target(self.set.targets.number(row))
    }

    /// An N-way episode (Vinyals et al. 2016): classes drawn without replacement and numbered in the order of the draw, then
    /// support and query examples of each, none twice. Where classes are turned, each turn of one is a class by itself (Santoro et al. 2016).
    fn episode(
        &self,
        client: usize,
        ways: usize,
        (support, query): (usize, usize),
        stream: &Stream,
    ) -> (Vec<Held>, Vec<Held>) {
        let (shots, queries) = (support / ways, query / ways);
        let classes: Vec<&[usize]> = self.rich_classes(client, shots + queries).collect();
        let turns = self.source.turns as usize;
        let drawn = stream.child_str("classes").sample_without_replacement(classes.len() * turns, ways);
        let (mut seen, mut asked) = (Vec::with_capacity(support), Vec::with_capacity(query));
        for (label, &class) in drawn.iter().enumerate() {
            let (rows, quarters) = (classes[class / turns], class % turns * (4 / turns));
            let chosen = stream.child(label as u64).sample_without_replacement(rows.len(), shots + queries);
            let mut held = chosen.iter().map(|&i| Held { row: rows[i], target: label as f64, quarters });
            seen.extend(held.by_ref().take(shots));
            asked.extend(held);
        }
        (seen, asked)
    }

    /// Inputs `[tasks, size, ..]`, targets and a mask `[tasks, size]` of what tasks hold, filled up where a task holds fewer.
    pub fn gather(&self, held: &[Vec<Held>], size: usize) -> [Tensor; 3] {
        let dims = self.source.example[0].dims.as_slice();
        let len: usize = dims.iter().product();
        let mut x = Tensor::full(&[&[held.len(), size], dims].concat(), 0.0);
        let mut y = Tensor::full(&[held.len(), size], 0.0);
        let mut mask = Tensor::full(&[held.len(), size], 0.0);
        for (t, examples) in held.iter().enumerate() {
            for (i, &Held { row, target, quarters }) in examples.iter().enumerate() {
                let at = t * size + i;
                let place = &mut x.data_mut()[at * len..(at + 1) * len];
                self.set.features.copy_row(row, place);
                augment::turn(place, dims, quarters);
                y.data_mut()[at] = target;
                mask.data_mut()[at] = 1.0;
            }
            self.fill(&mut x.data_mut()[(t * size + examples.len()) * len..(t + 1) * size * len], len);
        }
        [x, y, mask]
    }

    /// Writes what stands where there is no example over the zeros of some inputs, `len` numbers each.
    pub fn fill(&self, missing: &mut [f64], len: usize) {
        missing.chunks_mut(len.max(1)).for_each(|out| self.set.features.fill(out));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalog::Partition;
    use crate::data::{Features, Targets};
    use crate::ir::{Builder, Function};
    use crate::plan::{Sampler, Slot};

    fn nothing() -> Function {
        Builder::new().finish("nothing", vec![])
    }

    /// A family of one client with all of `classes * 6` examples; example `i` is of class `i % classes`.
    fn family(classes: u64, ways: u64) -> Family {
        let sampler = || Sampler { draws: vec![], function: nothing() };
        let slot = |name: &str| Slot { name: name.into(), dims: vec![] };
        let source = Source {
            data: "data".into(),
            partition: Partition::Classes { first: 0, end: classes, further: vec![] },
            hold_out: 0.0,
            ways: Some(ways),
            example: vec![slot("x"), slot("y")],
            rows: None,
            turns: 1,
        };
        let source = Some(source);
        Family { name: "few".into(), strata: vec![], episode: sampler(), example: sampler(), risk: None, source }
    }

    #[test]
    fn an_episode_numbers_its_classes_and_shares_no_example() {
        let (classes, ways) = (7, 4);
        let family = family(classes, ways);
        let labels: Vec<u32> = (0..classes as u32 * 6).map(|i| i % classes as u32).collect();
        let rows = labels.len();
        let set = DataSet {
            features: Features::double(&[], (0..rows).map(|i| i as f64).collect()),
            targets: Targets::classes(labels),
            owners: None,
        };
        let table = [Client { train: (0..rows).collect(), held_out: vec![] }];
        let source = family.source.as_ref().expect("it has one");
        let clients = Clients::new(&family, source, &table, &set, false, Stream::new(3, &["few"]));
        let objective = |query| Objective::Sample { loss: crate::catalog::Loss::CrossEntropy, support: 8, query };
        clients.check(&objective(12)).expect("five examples of each class");
        assert!(clients.check(&objective(24)).is_err(), "eight examples of each class");
        let id = TaskId { stratum: 0, index: 0 };
        let (support, query) = clients.examples(&objective(12), &[id, id], &[0, 1], 5);
        for (support, query) in support.iter().zip(&query) {
            let held: BTreeSet<usize> = support.iter().chain(query).map(|held| held.row).collect();
            assert_eq!((support.len(), query.len(), held.len()), (8, 12, 20));
            for label in 0..4 {
                let class = |part: &[Held]| -> Vec<usize> {
                    part.iter().filter(|held| held.target == f64::from(label)).map(|held| held.row % 7).collect()
                };
                let (seen, asked) = (class(support), class(query));
                assert_eq!((seen.len(), asked.len()), (2, 3));
                assert!(seen.iter().chain(&asked).all(|c| *c == seen[0]), "one class has one number");
            }
        }
        assert_eq!(clients.episodes(&objective(12), 0), 35.0, "four of seven classes");
        assert_ne!(support[0], support[1], "the same task twice in a step has two episodes");
        let again = clients.examples(&objective(12), &[id], &[0], 5);
        assert_eq!(again.0[0], support[0]);
        let [x, y, mask] = clients.gather(&support, 8);
        assert_eq!((x.dims(), y.dims(), mask.data()), (&[2, 8][..], &[2, 8][..], &[1.0; 16][..]));
        assert!(x.data().iter().zip(support.concat()).all(|(x, held)| *x == held.row as f64));
    }

    #[test]
    fn a_turned_class_is_another_one() {
        let mut family = family(2, 4);
        let source = family.source.as_mut().expect("it has one");
        (source.turns, source.example[0].dims) = (4, vec![2, 2]);
        let family = family;
        let source = family.source.as_ref().expect("it has one");
        // Example `i` of class `i % 2` has a mark of that class in its first corner, and its number in the second.
        let pixels = (0..8).flat_map(|i| [f64::from(i % 2) + 1.0, 10.0 + f64::from(i), 0.0, 0.0]).collect();
        let set = DataSet {
            features: Features::double(&[2, 2], pixels),
            targets: Targets::classes((0..8).map(|i| i % 2).collect()),
            owners: None,
        };
        let table = [Client { train: (0..8).collect(), held_out: vec![] }];
        let clients = Clients::new(&family, source, &table, &set, false, Stream::new(3, &["few"]));
        let objective = Objective::Sample { loss: crate::catalog::Loss::CrossEntropy, support: 4, query: 8 };
        clients.check(&objective).expect("eight classes of four examples");
        assert_eq!(clients.episodes(&objective, 0), 70.0, "four of eight classes");
        // The corners, against the clock from the first: a quarter turn moves each to the next.
        let corners = |image: &[f64]| [image[0], image[2], image[3], image[1]];
        let mut seen = BTreeSet::new();
        for visit in 0..40 {
            let id = TaskId { stratum: 0, index: 0 };
            let (support, query) = clients.examples(&objective, &[id], &[0], visit);
            let [x, y, _] = clients.gather(&support, 4);
            let [asked, targets, _] = clients.gather(&query, 8);
            let class_of = |image: &[f64]| {
                let corners = corners(image);
                let mark = (0..4).find(|&i| (1.0..=2.0).contains(&corners[i])).expect("a mark");
                assert!(corners[(mark + 3) % 4] >= 10.0, "{corners:?}");
                (corners[mark] as usize, mark)
            };
            let classes: Vec<(usize, usize)> = x.data().chunks(4).map(class_of).collect();
            assert_eq!(classes.iter().collect::<BTreeSet<_>>().len(), 4, "four classes in each episode");
            assert_eq!(y.data(), [0.0, 1.0, 2.0, 3.0]);
            for (image, target) in asked.data().chunks(4).zip(targets.data()) {
                assert_eq!(class_of(image), classes[*target as usize], "one number for each class");
            }
            seen.extend(classes);
        }
        assert_eq!(seen.len(), 8, "both classes in all four turns: {seen:?}");
    }
}
