//! Tests of the partitions: each is a partition, holds what its law promises, and refuses what cannot be.

use std::collections::BTreeSet;

use super::super::{Features, Owners};
use super::*;
use crate::catalog::Stretch;
use proptest::prelude::*;

/// The tests read better with the partition first.
trait Divide {
    fn divide(&self, labels: &[u32], stream: &Stream) -> Result<Vec<Vec<usize>>, PartitionError>;
}

impl Divide for Partition {
    fn divide(&self, labels: &[u32], stream: &Stream) -> Result<Vec<Vec<usize>>, PartitionError> {
        super::divide(self, &set(labels, None), stream)
    }
}

/// A data set of nothing but labels and owners.
fn set(labels: &[u32], owners: Option<Owners>) -> DataSet {
    let features = Features::bytes(&[0], vec![], 1.0);
    DataSet { features, targets: Targets::classes(labels.to_vec()), owners }
}

fn stream(seed: u64) -> Stream {
    Stream::new(seed, &["partition"])
}

/// `n` labels of `classes` classes in a mixed order.
fn balanced(n: usize, classes: u32) -> Vec<u32> {
    (0..n as u32).map(|i| i * 7 % classes).collect()
}

fn labels_of(client: &[usize], labels: &[u32]) -> BTreeSet<u32> {
    client.iter().map(|&i| labels[i]).collect()
}

/// Each index once, no client empty, each client ascending.
fn is_partition(held: &[Vec<usize>], n: usize) -> bool {
    let mut all: Vec<usize> = held.concat();
    all.sort_unstable();
    all == (0..n).collect::<Vec<_>>() && held.iter().all(|client| !client.is_empty() && client.is_sorted())
}

proptest! {
    #[test]
    fn iid_is_a_partition_into_equal_parts(seed: u64, n in 1usize..300, clients in 1usize..40) {
        let labels = balanced(n, 3);
        let held = Partition::Iid { clients: clients as u64 }.divide(&labels, &stream(seed));
        if clients > n {
            prop_assert_eq!(held, Err(PartitionError::TooFewExamples { clients, examples: n }));
        } else {
            let held = held.unwrap();
            prop_assert!(held.len() == clients && is_partition(&held, n));
            prop_assert!(held.iter().all(|c| c.len() == n / clients || c.len() == n.div_ceil(clients)));
        }
    }

    #[test]
    fn shards_hold_exactly_their_classes(
        seed: u64,
        labels in prop::collection::vec(0u32..6, 1..200),
        clients in 1usize..25,
        classes in 1usize..5,
    ) {
        match (Partition::Shards { clients: clients as u64, classes: classes as u64 }).divide(&labels, &stream(seed)) {
            Ok(held) => {
                prop_assert!(held.len() == clients && is_partition(&held, labels.len()));
                prop_assert!(held.iter().all(|client| labels_of(client, &labels).len() == classes));
            }
            // Refused only where no such partition exists.
            Err(_) => {
                let present: BTreeSet<u32> = labels.iter().copied().collect();
                let count = |l: &u32| labels.iter().filter(|x| *x == l).count().min(clients);
                let possible: usize = present.iter().map(count).sum();
                prop_assert!(
                    classes > present.len() || clients * classes < present.len() || clients * classes > possible
                );
            }
        }
    }

    #[test]
    fn dirichlet_is_a_partition(
        seed: u64,
        labels in prop::collection::vec(0u32..6, 30..200),
        clients in 1usize..30,
        exponent in -6.0..6.0f64,
    ) {
        let alpha = 10f64.powf(exponent);
        let held = Partition::Dirichlet { clients: clients as u64, alpha }.divide(&labels, &stream(seed)).unwrap();
        prop_assert!(held.len() == clients && is_partition(&held, labels.len()));
    }

    #[test]
    fn hold_out_keeps_every_index(seed: u64, n in 0usize..60, fraction in 0.0..=1.0f64) {
        let indices: Vec<usize> = (0..n).map(|i| 3 * i).collect();
        let (train, test) = hold_out(&indices, fraction, &stream(seed));
        let mut all = [train.clone(), test.clone()].concat();
        all.sort_unstable();
        prop_assert_eq!(all, indices);
        prop_assert!(n < 2 || (!train.is_empty() && !test.is_empty()));
        prop_assert!(n < 2 || (test.len() as f64 - fraction * n as f64).abs() <= 1.0);
    }
}

#[test]
fn the_stream_decides() {
    let labels = balanced(400, 10);
    let kinds = [
        Partition::Iid { clients: 20 },
        Partition::Shards { clients: 20, classes: 2 },
        Partition::Dirichlet { clients: 20, alpha: 0.5 },
    ];
    for kind in kinds {
        let first = kind.divide(&labels, &stream(1)).unwrap();
        assert_eq!(first, kind.divide(&labels, &stream(1)).unwrap());
        assert_ne!(first, kind.divide(&labels, &stream(2)).unwrap());
    }
}

/// A change here needs a new number in `rng::GENERATOR`.
#[test]
fn golden_partitions() {
    let labels = balanced(12, 3);
    let divide = |kind: Partition| kind.divide(&labels, &stream(7)).unwrap();
    assert_eq!(divide(Partition::Iid { clients: 3 }), [vec![2, 3, 5, 11], vec![0, 6, 7, 8], vec![1, 4, 9, 10]]);
    assert_eq!(
        divide(Partition::Shards { clients: 3, classes: 2 }),
        [vec![0, 7, 9, 10], vec![1, 4, 8, 11], vec![2, 3, 5, 6]]
    );
    assert_eq!(
        divide(Partition::Dirichlet { clients: 3, alpha: 1.0 }),
        [vec![0, 1, 4, 9], vec![6, 8, 11], vec![2, 3, 5, 7, 10]]
    );
}

#[test]
fn shards_of_balanced_labels_are_equal() {
    let labels = balanced(1000, 10);
    let held = Partition::Shards { clients: 50, classes: 2 }.divide(&labels, &stream(0)).unwrap();
    assert!(held.iter().all(|client| client.len() == 20));
    let pairs: BTreeSet<_> = held.iter().map(|client| labels_of(client, &labels)).collect();
    assert!(pairs.len() > 20, "the deal mixes the labels: {} pairs", pairs.len());
}

#[test]
fn shard_counts_follow_the_sizes_within_their_limits() {
    assert_eq!(shard_counts(&[100, 100, 100], 6, 2), Ok(vec![4, 4, 4]));
    assert_eq!(shard_counts(&[300, 100, 100], 10, 1), Ok(vec![6, 2, 2]));
    // A label has at most one shard for each client, and one for each of its examples.
    assert_eq!(shard_counts(&[1000, 10, 10], 4, 2), Ok(vec![4, 2, 2]));
    assert_eq!(shard_counts(&[2, 10, 10], 4, 2), Ok(vec![1, 4, 3]));
    assert_eq!(shard_counts(&[1, 1, 1], 3, 1), Ok(vec![1, 1, 1]));
}

#[test]
fn shards_where_everybody_holds_everything() {
    let labels = balanced(40, 4);
    let held = Partition::Shards { clients: 10, classes: 4 }.divide(&labels, &stream(0)).unwrap();
    assert!(is_partition(&held, 40) && held.iter().all(|client| client.len() == 4));
}

#[test]
fn a_small_alpha_concentrates_and_a_large_one_evens_out() {
    let labels = balanced(2000, 10);
    let labels_per_client = |alpha| {
        let held = Partition::Dirichlet { clients: 10, alpha }.divide(&labels, &stream(3)).unwrap();
        held.iter().map(|client| labels_of(client, &labels).len()).sum::<usize>()
    };
    assert!(labels_per_client(0.01) < 30);
    assert_eq!(labels_per_client(1000.0), 100);
}

#[test]
fn impossible_requests_say_why() {
    let labels = balanced(100, 10);
    let shards = |clients, classes| Partition::Shards { clients, classes }.divide(&labels, &stream(0)).unwrap_err();
    assert_eq!(shards(10, 11), PartitionError::TooFewLabels { classes: 11, labels: 10 });
    assert_eq!(shards(4, 2), PartitionError::LabelsLeftOut { clients: 4, classes: 2, labels: 10 });
    assert_eq!(shards(60, 2), PartitionError::TooManyShards { clients: 60, classes: 2, possible: 100 });
    assert_eq!(shards(101, 1), PartitionError::TooFewExamples { clients: 101, examples: 100 });
    assert_eq!(shards(0, 1), PartitionError::Nobody);
    assert_eq!(shards(1, 0), PartitionError::Nobody);
    assert_eq!(shards(2, u64::from(u32::MAX)), PartitionError::TooFewLabels { classes: u32::MAX as usize, labels: 10 });
    let dirichlet = |alpha| Partition::Dirichlet { clients: 5, alpha }.divide(&labels, &stream(0));
    for alpha in [0.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(dirichlet(alpha), Err(PartitionError::Law(_))));
    }
}

#[test]
fn hold_out_sizes() {
    let sizes = |n: usize, fraction| {
        let (train, test) = hold_out(&(0..n).collect::<Vec<_>>(), fraction, &stream(0));
        (train.len(), test.len())
    };
    assert_eq!(sizes(36, 0.25), (27, 9));
    assert_eq!(sizes(2, 0.01), (1, 1));
    assert_eq!(sizes(5, 1.0), (1, 4));
    assert_eq!(sizes(1, 0.5), (1, 0));
    assert_eq!(sizes(0, 0.5), (0, 0));
}

fn stretches(ranges: &[(u64, u64)]) -> Vec<Stretch> {
    ranges.iter().map(|&(first, end)| Stretch { first, end }).collect()
}

fn owners(first: u64, end: u64, further: &[(u64, u64)]) -> Partition {
    Partition::Owners { first, end, further: stretches(further) }
}

fn classes(first: u64, end: u64, further: &[(u64, u64)]) -> Partition {
    Partition::Classes { first, end, further: stretches(further) }
}

#[test]
fn owners_and_classes_leave_out_what_they_do_not_name() {
    let names = ["c", "a", "b", "a", "c"].map(str::to_owned);
    let data = set(&[0, 1, 2, 1, 0], Some(Owners::from_names(&names)));
    let divided = |partition: Partition| divide(&partition, &data, &stream(0));
    assert_eq!(divided(owners(0, 3, &[])).unwrap(), [vec![1, 3], vec![2], vec![0, 4]]);
    assert_eq!(divided(owners(1, 2, &[])).unwrap(), [[2]]);
    assert_eq!(divided(owners(2, 3, &[(0, 1)])).unwrap(), [[0, 4], [1, 3]]);
    assert_eq!(divided(classes(2, 3, &[(0, 1)])).unwrap(), [[0, 2, 4]]);
    assert_eq!(divided(classes(0, 2, &[])).unwrap(), [[0, 1, 3, 4]]);
    let past = |what| Err(PartitionError::Range { what, end: 4, found: 3 });
    assert_eq!(divided(owners(0, 4, &[])), past("owners"));
    assert_eq!(divided(classes(2, 4, &[])), past("classes"));
    let nobody = divide(&owners(0, 1, &[]), &set(&[0], None), &stream(0));
    assert_eq!(nobody, Err(PartitionError::NoOwners));
    let numbers = DataSet { targets: Targets::Numbers(vec![0.5, 1.5]), ..set(&[], None) };
    assert_eq!(
        divide(&Partition::Shards { clients: 1, classes: 1 }, &numbers, &stream(0)),
        Err(PartitionError::NoClasses)
    );
}

proptest! {
    #[test]
    fn log_normal_is_a_partition_of_uneven_sizes(seed: u64, n in 200usize..400, clients in 2usize..20) {
        let partition = |spread| Partition::LogNormal { clients: clients as u64, spread };
        let held = partition(1.0).divide(&vec![0; n], &stream(seed)).unwrap();
        prop_assert!(held.len() == clients && is_partition(&held, n));
        let even = partition(0.0).divide(&vec![0; n], &stream(seed)).unwrap();
        let sizes: Vec<usize> = even.iter().map(Vec::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 2);
    }
}

#[test]
fn groups_of_classes_number_their_own() {
    let labels = [3, 0, 1, 2, 5, 4, 1];
    let groups = |first, end, size| Partition::ClassGroups { first, end, size, further: vec![] };
    let several = Partition::ClassGroups { first: 5, end: 6, size: 2, further: stretches(&[(0, 2), (3, 4)]) };
    let divided = |partition: Partition| partition.divide(&labels, &stream(0));
    assert_eq!(divided(groups(0, 6, 2)).unwrap(), [vec![1, 2, 6], vec![0, 3], vec![4, 5]]);
    assert_eq!(divided(groups(1, 5, 4)).unwrap(), [[0, 2, 3, 5, 6]]);
    let of = |partition: Partition| labels.map(|label| partition.target(f64::from(label)));
    assert_eq!(of(groups(0, 6, 2)), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(groups(1, 5, 4).target(4.0), 3.0);
    assert_eq!(divided(several.clone()).unwrap(), [vec![1, 4], vec![0, 2, 6]]);
    assert_eq!([5, 0, 1, 3].map(|class| several.target(f64::from(class))), [0.0, 1.0, 0.0, 1.0]);
    assert_eq!((several.twice(), classes(0, 3, &[(2, 4)]).twice()), (None, Some(2)));
    assert_eq!(divided(groups(0, 8, 2)), Err(PartitionError::Range { what: "classes", end: 8, found: 6 }));
    // What no text says, and a damaged plan might.
    assert_eq!(divided(groups(0, 6, 0)), Err(PartitionError::Nobody));
    assert_eq!(divided(groups(6, 0, 2)), Err(PartitionError::Nobody));
}

proptest! {
    #[test]
    fn intervals_are_ordered_and_equal(
        values in prop::collection::vec(-5i32..5, 1..100),
        clients in 1usize..20,
        by in prop::option::of(0u64..2),
    ) {
        let n = values.len();
        let numbers: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
        let features = numbers.iter().flat_map(|&v| [v, -v]).collect();
        let data = DataSet {
            features: Features::double(&[2], features),
            targets: Targets::Numbers(numbers.clone()),
            owners: None,
        };
        let divided = divide(&Partition::Intervals { clients: clients as u64, by }, &data, &stream(0));
        if clients > n {
            prop_assert_eq!(divided, Err(PartitionError::TooFewExamples { clients, examples: n }));
        } else {
            let held = divided.unwrap();
            prop_assert!(held.len() == clients && is_partition(&held, n));
            prop_assert!(held.iter().all(|c| c.len() == n / clients || c.len() == n.div_ceil(clients)));
            let sign = if by == Some(1) { -1.0 } else { 1.0 };
            for pair in held.windows(2) {
                let last = pair[0].iter().map(|&i| sign * numbers[i]).fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(pair[1].iter().all(|&i| sign * numbers[i] >= last));
            }
        }
        let nothing = divide(&Partition::Intervals { clients: 1, by: Some(2) }, &data, &stream(0));
        prop_assert_eq!(nothing, Err(PartitionError::NoFeature { by: 2, features: 2 }));
    }
}
