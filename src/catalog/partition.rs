//! Data readers and partitions of a data set into clients.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::hash::{record, variants};

record! {
    /// How a table of numbers becomes examples.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Csv {
        /// The first feature column, from 0.
        pub first_feature: u64,
        /// One past the last feature column.
        pub end_feature: u64,
        /// The column of the label.
        pub label: u64,
        /// What every feature is multiplied by.
        pub scale: f64,
    }
}

impl Csv {
    /// The reader of a checked call.
    pub fn from_args(args: &Args) -> Csv {
        let (first_feature, end_feature) = args.range("features");
        Csv {
            first_feature,
            end_feature,
            label: args.count("label").expect("a required parameter"),
            scale: args.real("scale"),
        }
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
    }
}

impl Partition {
    /// The partition of a checked call.
    pub fn from_args(name: &str, args: &Args) -> Partition {
        let clients = args.count("clients").expect("a required parameter");
        match name {
            "iid" => Partition::Iid { clients },
            "shards" => Partition::Shards { clients, classes: args.count("classes").expect("a required parameter") },
            "dirichlet" => Partition::Dirichlet { clients, alpha: args.real("alpha") },
            other => unreachable!("`{other}` is not in the table of partitions"),
        }
    }

    /// The number of clients.
    pub fn clients(&self) -> u64 {
        match self {
            Partition::Iid { clients } | Partition::Shards { clients, .. } | Partition::Dirichlet { clients, .. } => {
                *clients
            }
        }
    }
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "csv",
        kind: Kind::Data,
        params: &[
            Param::required("path", Ty::Text, "the file, relative to the `.meta` file; may be gzipped"),
            Param::required("features", Ty::Range, "the feature columns, counted from 0"),
            Param::required("label", Ty::Count(0), "the column of the class number, counted from 0"),
            Param::optional("scale", Ty::REAL, Initial::Real(1.0), "what every feature is multiplied by"),
        ],
        doc: "A table of numbers separated by commas, one example a row, read as `x` (the features) and `y` (the class number).",
        example: "data digits = csv(\"data/digits.csv.gz\", features: 0..64, label: 64, scale: 1 / 16)",
    },
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
];
