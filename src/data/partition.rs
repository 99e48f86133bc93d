//! Partitions: which client holds which examples.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use thiserror::Error;

use super::{DataSet, Targets};
use crate::catalog::Partition;
use crate::rng::{Stream, law};

/// Why a data set cannot be divided like that.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PartitionError {
    /// No clients, or clients without classes.
    #[error("a partition needs at least one client and each client at least one class")]
    Nobody,
    /// Some client would have no example.
    #[error("{clients} clients cannot share {examples} examples: each needs at least one")]
    TooFewExamples {
        /// The number of clients.
        clients: usize,
        /// The number of examples.
        examples: usize,
    },
    /// A client cannot hold that many labels.
    #[error("a client cannot hold {classes} labels: the data set has {labels}")]
    TooFewLabels {
        /// The labels wanted for each client.
        classes: usize,
        /// The labels that occur.
        labels: usize,
    },
    /// Some label would be held by nobody.
    #[error(
        "{clients} clients with {classes} labels each leave out some of the {labels} labels: examples would be dropped"
    )]
    LabelsLeftOut {
        /// The number of clients.
        clients: usize,
        /// The labels of each.
        classes: usize,
        /// The labels that occur.
        labels: usize,
    },
    /// The labels cannot be cut into that many shards of distinct clients.
    #[error(
        "{clients} clients with {classes} labels each need {clients} x {classes} shards, the examples allow {possible}"
    )]
    TooManyShards {
        /// The number of clients.
        clients: usize,
        /// The labels of each.
        classes: usize,
        /// The most shards possible: a label has no more than its examples, nor than there are clients.
        possible: usize,
    },
    /// A division by label of examples whose targets are numbers.
    #[error("the targets are numbers, and only classes can be divided by label")]
    NoClasses,
    /// A division by owner of examples without owners.
    #[error("the examples have no owners")]
    NoOwners,
    /// A feature that examples do not have.
    #[error("there is no feature {by}: an example has {features}")]
    NoFeature {
        /// The feature asked for.
        by: u64,
        /// How many there are.
        features: usize,
    },
    /// A range that reaches past the last owner or class.
    #[error("the range reaches to {end}, and the data set has {found} {what}")]
    Range {
        /// `owners` or `classes`.
        what: &'static str,
        /// One past the last one asked for.
        end: u64,
        /// How many there are.
        found: usize,
    },
    /// A concentration out of range.
    #[error(transparent)]
    Law(#[from] law::LawError),
}

/// The examples of each client, as ascending indices into the data set; a function of its targets, its owners and the stream
/// alone. Each client gets at least one example, and no example goes to two. None is left out but those of owners and classes
/// that the partition does not name.
///
/// Shards, after McMahan et al. 2017 (AISTATS), who sort by label, cut into shards and deal them, and the code of Collins
/// et al. 2021 (FedRep), which cuts within labels: each label is cut into shards, `clients * classes` in all, the next
/// shard always going to the label whose shards are largest, so that shards are as equal as the labels allow; the
/// examples of a label are shuffled and its shards differ by at most one example. Then the clients, in random order, draw
/// `classes` shards of distinct labels, a label as likely as it has shards left. A label with as many shards as there are
/// clients still to serve is taken first, so the deal always comes out.
///
/// Dirichlet, after Yurochkin et al. (ICML 2019) and Li et al. (ICDE 2022): a client left with nothing takes one example of
/// the client that then holds most.
pub fn divide(partition: &Partition, set: &DataSet, stream: &Stream) -> Result<Vec<Vec<usize>>, PartitionError> {
    let (clients, examples) = (partition.clients() as usize, set.len());
    if clients == 0 {
        return Err(PartitionError::Nobody);
    }
    if clients > examples {
        return Err(PartitionError::TooFewExamples { clients, examples });
    }
    let labels = || match &set.targets {
        Targets::Classes { labels, .. } => Ok(labels.as_slice()),
        Targets::Numbers(_) => Err(PartitionError::NoClasses),
    };
    let mut held = match partition {
        Partition::Iid { .. } => iid(examples, clients, stream),
        Partition::Shards { classes, .. } => shards(labels()?, clients, *classes as usize, stream)?,
        Partition::Dirichlet { alpha, .. } => dirichlet(labels()?, clients, *alpha, stream)?,
        Partition::LogNormal { spread, .. } => log_normal(examples, clients, *spread, stream),
        Partition::Owners { .. } => {
            let owners = set.owners.as_ref().ok_or(PartitionError::NoOwners)?;
            grouped("owners", &owners.of, partition, owners.names.len())?
        }
        Partition::Classes { .. } => vec![grouped("classes", labels()?, partition, set.classes())?.concat()],
        Partition::ClassGroups { size, .. } => {
            let classes = grouped("classes", labels()?, partition, set.classes())?;
            classes.chunks(*size as usize).map(<[_]>::concat).collect()
        }
        Partition::Intervals { by, .. } => {
            let features = set.features.row_len();
            match *by {
                Some(by) if by >= features as u64 => return Err(PartitionError::NoFeature { by, features }),
                Some(by) => {
                    let mut row = vec![0.0; features];
                    intervals(examples, clients, |example| {
                        set.features.copy_row(example, &mut row);
                        row[by as usize]
                    })
                }
                None => intervals(examples, clients, |example| set.targets.number(example)),
            }
        }
    };
    held.iter_mut().for_each(|client| client.sort_unstable());
    Ok(held)
}

/// The examples of each owner or class that a partition names, of `found` that there are.
fn grouped(
    what: &'static str,
    numbers: &[u32],
    partition: &Partition,
    found: usize,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    let end = partition.stretches().map(|s| s.end).max().unwrap_or(0);
    if end > found as u64 {
        return Err(PartitionError::Range { what, end, found });
    }
    let mut places = vec![None; found];
    for (place, number) in partition.numbers().enumerate() {
        places[number as usize] = Some(place);
    }
    let mut groups = vec![Vec::new(); partition.named() as usize];
    for (example, &number) in numbers.iter().enumerate() {
        if let Some(&Some(place)) = places.get(number as usize) {
            groups[place].push(example);
        }
    }
    Ok(groups)
}

/// Equal parts of the examples in the order of a value; equal values stand in the order of the data set.
fn intervals(examples: usize, clients: usize, value: impl FnMut(usize) -> f64) -> Vec<Vec<usize>> {
    let values: Vec<f64> = (0..examples).map(value).collect();
    let mut order: Vec<usize> = (0..examples).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    equal_parts(&order, clients).map(<[usize]>::to_vec).collect()
}

/// Shares proportional to `exp(spread * z)`, `z` standard normal; each client has at least one example.
fn log_normal(examples: usize, clients: usize, spread: f64, stream: &Stream) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples).collect();
    stream.shuffle(&mut order);
    let sizes = stream.child_str("sizes");
    let weights: Vec<f64> = (0..clients).map(|i| libm::exp(spread * sizes.normal(i as u64))).collect();
    let total: f64 = weights.iter().sum();
    // Everyone has one example; the others are dealt by weight.
    let (fixed, rest) = order.split_at(clients);
    let mut held: Vec<Vec<usize>> = fixed.iter().map(|&example| vec![example]).collect();
    deal(rest, weights.iter().map(|w| w / total), &mut held);
    held
}

/// Divides indices at random into (train, test). The test part holds the nearest integer to `fraction * n`, but at
/// least one where there are two or more, and so does the train part; a single index goes to the train part.
pub fn hold_out(indices: &[usize], fraction: f64, stream: &Stream) -> (Vec<usize>, Vec<usize>) {
    let n = indices.len();
    let mut train = indices.to_vec();
    stream.shuffle(&mut train);
    let wanted = (fraction * n as f64).round() as usize;
    let test = if n < 2 { 0 } else { wanted.clamp(1, n - 1) };
    let test = train.split_off(n - test);
    (train, test)
}

fn iid(examples: usize, clients: usize, stream: &Stream) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples).collect();
    stream.shuffle(&mut order);
    equal_parts(&order, clients).map(<[usize]>::to_vec).collect()
}

fn shards(labels: &[u32], clients: usize, classes: usize, stream: &Stream) -> Result<Vec<Vec<usize>>, PartitionError> {
    let members = shuffled_by_label(labels, stream);
    let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    let counts = shard_counts(&sizes, clients, classes)?;
    let mut piles: Vec<_> = members.iter().zip(&counts).map(|(m, &count)| equal_parts(m, count)).collect();

    let mut order: Vec<usize> = (0..clients).collect();
    stream.child_str("clients").shuffle(&mut order);
    let deal = stream.child_str("deal");
    let mut left = counts;
    let mut held = vec![Vec::new(); clients];
    for (served, &client) in order.iter().enumerate() {
        for label in distinct_labels(&left, clients - served, classes, &deal.child(client as u64)) {
            left[label] -= 1;
            held[client].extend(piles[label].next().into_iter().flatten());
        }
    }
    Ok(held)
}

/// How many shards each label is cut into: at least one, at most one for each client and for each of its examples.
fn shard_counts(sizes: &[usize], clients: usize, classes: usize) -> Result<Vec<usize>, PartitionError> {
    let labels = sizes.len();
    if classes == 0 {
        return Err(PartitionError::Nobody);
    }
    if classes > labels {
        return Err(PartitionError::TooFewLabels { classes, labels });
    }
    // No overflow: neither exceeds the number of examples.
    let wanted = clients * classes;
    if wanted < labels {
        return Err(PartitionError::LabelsLeftOut { clients, classes, labels });
    }
    let possible = sizes.iter().map(|&n| n.min(clients)).sum();
    if wanted > possible {
        return Err(PartitionError::TooManyShards { clients, classes, possible });
    }
    let mut counts = vec![1; labels];
    for _ in labels..wanted {
        // Shard sizes as fractions, compared without rounding; the first of equals.
        let larger = |a: usize, b: usize| sizes[a] as u128 * counts[b] as u128 > sizes[b] as u128 * counts[a] as u128;
        let open = (0..labels).filter(|&l| counts[l] < sizes[l].min(clients));
        let largest = open.reduce(|best, l| if larger(l, best) { l } else { best });
        counts[largest.expect("more shards are possible than are wanted")] += 1;
    }
    Ok(counts)
}

/// `classes` distinct labels for one client, where `left` shards of each label remain for `waiting` clients, this one
/// included, and the sum of `left` is `waiting * classes` with no entry above `waiting`; the choice keeps that so.
fn distinct_labels(left: &[usize], waiting: usize, classes: usize, stream: &Stream) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..left.len()).filter(|&l| left[l] == waiting).collect();
    let mut weights: Vec<usize> = left.iter().map(|&n| if n == waiting { 0 } else { n }).collect();
    for counter in chosen.len()..classes {
        let mut at = stream.below(counter as u64, weights.iter().sum());
        let mut label = 0;
        while at >= weights[label] {
            at -= weights[label];
            label += 1;
        }
        weights[label] = 0;
        chosen.push(label);
    }
    chosen
}

fn dirichlet(labels: &[u32], clients: usize, alpha: f64, stream: &Stream) -> Result<Vec<Vec<usize>>, PartitionError> {
    let shares = stream.child_str("shares");
    let mut held = vec![Vec::new(); clients];
    for (label, members) in shuffled_by_label(labels, stream).iter().enumerate() {
        let share = law::dirichlet(&shares.child(label as u64), alpha, clients)?;
        deal(members, share.into_iter(), &mut held);
    }
    feed_empty_clients(&mut held);
    Ok(held)
}

/// Deals consecutive parts in the given proportions, which sum to 1.
fn deal(items: &[usize], shares: impl ExactSizeIterator<Item = f64>, held: &mut [Vec<usize>]) {
    let (clients, mut cumulative, mut start) = (shares.len(), 0.0, 0);
    for (client, share) in shares.enumerate() {
        cumulative += share;
        let last = client + 1 == clients;
        let end =
            if last { items.len() } else { ((cumulative * items.len() as f64) as usize).clamp(start, items.len()) };
        held[client].extend(&items[start..end]);
        start = end;
    }
}

/// Gives every client without an example one of the client that holds most, the first of equals.
fn feed_empty_clients(held: &mut [Vec<usize>]) {
    let mut donors: BinaryHeap<_> = held.iter().enumerate().map(|(client, h)| (h.len(), Reverse(client))).collect();
    for client in 0..held.len() {
        if !held[client].is_empty() {
            continue;
        }
        if let Some((size, Reverse(donor))) = donors.pop() {
            let example = held[donor].pop();
            held[client].extend(example);
            donors.push((size - 1, Reverse(donor)));
        }
    }
}

/// The indices of each label that occurs, labels ascending, each shuffled by a stream of its own.
fn shuffled_by_label(labels: &[u32], stream: &Stream) -> Vec<Vec<usize>> {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, &label) in labels.iter().enumerate() {
        members.entry(label).or_default().push(index);
    }
    let order = stream.child_str("examples");
    for (&label, indices) in &mut members {
        order.child(u64::from(label)).shuffle(indices);
    }
    members.into_values().collect()
}

/// Consecutive parts whose lengths differ by at most one.
fn equal_parts(items: &[usize], parts: usize) -> impl Iterator<Item = &[usize]> {
    let cut = move |i: usize| (i as u128 * items.len() as u128 / parts as u128) as usize;
    (0..parts).map(move |i| &items[cut(i)..cut(i + 1)])
}

#[cfg(test)]
mod tests;
