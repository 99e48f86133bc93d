//! Partitions of a data set into clients.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::hash::{record, variants};

record! {
    /// Numbers that follow each other.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Stretch {
        /// The first.
        pub first: u64,
        /// The one after the last.
        pub end: u64,
    }
}

variants! {
    /// A division of a data set among clients.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Partition {
        /// Shuffled and dealt evenly.
        Iid { clients: u64 },
        /// Every client holds examples of that many labels.
        Shards { clients: u64, classes: u64 },
        /// Every label is divided in proportions drawn from a Dirichlet law.
        Dirichlet { clients: u64, alpha: f64 },
        /// Shuffled and dealt in sizes drawn from a log-normal law.
        LogNormal { clients: u64, spread: f64 },
        /// Every owner is a client: of all owners, numbered in the order of their names, this range and further ones.
        Owners { first: u64, end: u64, further: Vec<Stretch> = vec![] },
        /// One client, who holds the examples of this range of classes and of further ones.
        Classes { first: u64, end: u64, further: Vec<Stretch> = vec![] },
        /// Of these ranges of classes, every `size` that follow each other are a client, who numbers them from 0.
        ClassGroups { first: u64, end: u64, size: u64, further: Vec<Stretch> = vec![] },
        /// Sorted by a feature, or by the target, and cut into intervals of equally many.
        Intervals { clients: u64, by: Option<u64> },
    }
}

impl Partition {
    /// The partition of a checked call.
    pub fn from_args(name: &str, args: &Args) -> Partition {
        let clients = args.count("clients").unwrap_or(1);
        match name {
            "iid" => Partition::Iid { clients },
            "lognormal" => Partition::LogNormal { clients, spread: args.real("spread") },
            "owners" | "classes" | "class_groups" => {
                let mut ranges = args.ranges("range").into_iter();
                let (first, end) = ranges.next().expect("a list of ranges has one");
                let further = ranges.map(|(first, end)| Stretch { first, end }).collect();
                match name {
                    "owners" => Partition::Owners { first, end, further },
                    "classes" => Partition::Classes { first, end, further },
                    _ => {
                        let size = args.count("size").expect("a required parameter");
                        Partition::ClassGroups { first, end, size, further }
                    }
                }
            }
            "intervals" => Partition::Intervals { clients, by: args.count("by") },
            "shards" => Partition::Shards { clients, classes: args.count("classes").expect("a required parameter") },
            "dirichlet" => Partition::Dirichlet { clients, alpha: args.real("alpha") },
            other => unreachable!("`{other}` is not in the table of partitions"),
        }
    }

    /// The words a person reads.
    pub fn describe(&self) -> String {
        match self {
            Partition::Iid { clients } => format!("iid over {clients} clients"),
            Partition::Shards { clients, classes } => format!("shards over {clients} clients, {classes} labels each"),
            Partition::Dirichlet { clients, alpha } => format!("dirichlet({alpha}) over {clients} clients"),
            Partition::LogNormal { clients, spread } => {
                format!("log-normal sizes of spread {spread} over {clients} clients")
            }
            Partition::Owners { .. } => format!("the owners {} as clients", self.listed()),
            Partition::Classes { .. } => format!("the classes {} as one client", self.listed()),
            Partition::ClassGroups { size, .. } => {
                format!("the classes {} as {} clients, {size} each", self.listed(), self.clients())
            }
            Partition::Intervals { clients, by } => {
                let by = by.map_or("the target".to_owned(), |column| format!("feature {column}"));
                format!("intervals of {by} over {clients} clients")
            }
        }
    }

    /// The number of clients.
    pub fn clients(&self) -> u64 {
        match self {
            Partition::Iid { clients }
            | Partition::Shards { clients, .. }
            | Partition::Dirichlet { clients, .. }
            | Partition::LogNormal { clients, .. }
            | Partition::Intervals { clients, .. } => *clients,
            Partition::Owners { .. } => self.named(),
            Partition::Classes { .. } => 1,
            Partition::ClassGroups { size, .. } => self.named().checked_div(*size).unwrap_or(0),
        }
    }

    /// The ranges of owners or classes that it names, in its order; none where it takes in all there are.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch> {
        let (begin, further): (Option<Stretch>, &[Stretch]) = match self {
            Partition::Owners { first, end, further }
            | Partition::Classes { first, end, further }
            | Partition::ClassGroups { first, end, further, .. } => {
                (Some(Stretch { first: *first, end: *end }), further)
            }
            _ => (None, &[]),
        };
        begin.into_iter().chain(further.iter().copied())
    }

    /// The owners or classes that it names, in its order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.stretches().flat_map(|s| s.first..s.end)
    }

    /// How many owners or classes it names.
    pub fn named(&self) -> u64 {
        self.stretches().fold(0, |sum: u64, s| sum.saturating_add(s.end.saturating_sub(s.first)))
    }

    /// An owner or class that it names twice.
    pub fn twice(&self) -> Option<u64> {
        let mut stretches: Vec<Stretch> = self.stretches().collect();
        stretches.sort_by_key(|s| s.first);
        stretches.windows(2).find(|pair| pair[1].first < pair[0].end).map(|pair| pair[1].first)
    }

    /// The place of an owner or class among those that it names.
    fn place(&self, number: u64) -> Option<u64> {
        let mut before = 0;
        for Stretch { first, end } in self.stretches() {
            if (first..end).contains(&number) {
                return Some(before + number - first);
            }
            before += end.saturating_sub(first);
        }
        None
    }

    /// `0..4, 9..12`
    fn listed(&self) -> String {
        let ranges: Vec<String> = self.stretches().map(|s| format!("{}..{}", s.first, s.end)).collect();
        ranges.join(", ")
    }

    /// How many classes its clients tell apart, where they number their own.
    pub fn own_classes(&self) -> Option<u64> {
        if let Partition::ClassGroups { size, .. } = self { Some(*size) } else { None }
    }

    /// What a target of the data set is for the client that holds the example.
    pub fn target(&self, number: f64) -> f64 {
        match self {
            // A class is a whole number from 0.
            Partition::ClassGroups { size, .. } => {
                self.place(number as u64).map_or(number, |place| (place % size) as f64)
            }
            _ => number,
        }
    }
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "iid",
        kind: Kind::Partition,
        params: &[Param::required("clients", Ty::Count(1), "the number of clients")],
        doc: "Examples are shuffled and dealt evenly.",
        example: "partition = iid(clients: 50)",
    },
    Entry {
        name: "shards",
        kind: Kind::Partition,
        params: &[
            Param::required("clients", Ty::Count(1), "the number of clients"),
            Param::required("classes", Ty::Count(1), "the number of labels each client holds"),
        ],
        doc: "Examples are sorted by label, cut into shards and dealt so that each client holds that many labels (McMahan et al. 2017).",
        example: "partition = shards(clients: 50, classes: 2)",
    },
    Entry {
        name: "dirichlet",
        kind: Kind::Partition,
        params: &[
            Param::required("clients", Ty::Count(1), "the number of clients"),
            Param::required(
                "alpha",
                Ty::Real { above: 1e-6, closed: true, most: 1e6 },
                "the concentration; small is uneven",
            ),
        ],
        doc: "The examples of each label are divided among clients in proportions drawn from Dirichlet(alpha) (Hsu et al. 2019).",
        example: "partition = dirichlet(clients: 50, alpha: 0.3)",
    },
    Entry {
        name: "lognormal",
        kind: Kind::Partition,
        params: &[
            Param::required("clients", Ty::Count(1), "the number of clients"),
            Param::required(
                "spread",
                Ty::Real { above: 0.0, closed: true, most: 10.0 },
                "the standard deviation of the logarithm of a client's size",
            ),
        ],
        doc: "Examples are shuffled and dealt in shares proportional to draws from a log-normal law, at least one to each client (the sizes of \
              FedRep's FEMNIST clients).",
        example: "partition = lognormal(clients: 50, spread: 1)",
    },
    Entry {
        name: "owners",
        kind: Kind::Partition,
        params: &[Param::required(
            "range",
            Ty::Ranges,
            "the owners that are clients, numbered in the order of their names",
        )],
        doc: "Every owner of examples is a client: a school, a writer, an alphabet. Other owners take no part, so that training and test can have \
              owners of their own.",
        example: "partition = owners(0..65)",
    },
    Entry {
        name: "classes",
        kind: Kind::Partition,
        params: &[Param::required("range", Ty::Ranges, "the classes that take part")],
        doc: "One client, who holds all examples of some classes. With `ways`, every visit draws a task of its own from it: the few-shot \
              protocol with classes for training and others for the test (Vinyals et al. 2016).",
        example: "partition = classes(0..171)",
    },
    Entry {
        name: "class_groups",
        kind: Kind::Partition,
        params: &[
            Param::required("range", Ty::Ranges, "the classes that take part; a multiple of `size`"),
            Param::required("size", Ty::Count(1), "the classes of each client"),
        ],
        doc: "Every `size` classes that follow each other are a client, who holds all their examples and numbers them from 0: a fixed set of tasks \
              whose labels keep their meaning, so that a model without adaptation can learn them, too.",
        example: "partition = class_groups(0..10, size: 2)",
    },
    Entry {
        name: "intervals",
        kind: Kind::Partition,
        params: &[
            Param::required("clients", Ty::Count(1), "the number of clients"),
            Param::optional(
                "by",
                Ty::Count(0),
                Initial::Absent,
                "the feature that is sorted by, counted from 0; the target if not given",
            ),
        ],
        doc: "Examples are sorted by a feature, or by their target, and cut into intervals of equally many: clients of certain ages, prices or times.",
        example: "partition = intervals(clients: 50, by: 0)",
    },
];
