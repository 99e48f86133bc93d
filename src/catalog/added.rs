//! Groups of parameters that are added to a model: each changes some of its parameters before they are used.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::ir::{Builder, MAX_ELEMENTS, NodeId};

/// How an added group changes a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Added {
    /// `W + scale U V^T`, or `W + scale U U^T`.
    LowRank {
        /// The number of columns of `U` and `V`.
        rank: usize,
        /// The factor before the product.
        scale: f64,
        /// Whether `V = U`.
        symmetric: bool,
        /// The standard deviation of the entries of `U` at the start.
        std: f64,
        /// Whether `V` starts at zero and not like `U`.
        zero: bool,
    },
    /// A value that stands in the parameter's place.
    Copy,
    /// Step sizes for a parameter, which it does not change.
    Rates {
        /// Their value at the start.
        start: f64,
    },
}

/// One parameter of an added group.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedPart {
    /// Its name within the group and parameter.
    pub name: &'static str,
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its value at the start.
    pub start: Start,
}

/// The value of an added parameter at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// That number everywhere.
    Constant(f64),
    /// Normal entries of that standard deviation.
    Normal(f64),
    /// The initial value of the parameter that it is added to.
    Same,
}

impl Added {
    /// The group of a checked call.
    pub fn from_args(name: &str, args: &Args) -> Added {
        match name {
            "lora" => {
                let rank = args.count("rank").expect("`rank` is required");
                let alpha = args.get("alpha").map_or(rank as f64, |_| args.real("alpha"));
                Added::LowRank {
                    rank: rank as usize,
                    scale: alpha / rank as f64,
                    symmetric: args.bool("symmetric"),
                    std: args.real("std"),
                    zero: args.bool("zero"),
                }
            }
            "personal" => Added::Copy,
            "rates" => Added::Rates { start: args.real("start") },
            other => unreachable!("`{other}` is not in the table of added groups"),
        }
    }

    /// Why it cannot be added to a parameter of that shape, if it cannot.
    pub fn refuses(&self, dims: &[usize]) -> Option<&'static str> {
        let fits = |part: &AddedPart| {
            part.dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)).is_some_and(|n| n <= MAX_ELEMENTS)
        };
        match (self, dims) {
            (Added::Copy | Added::Rates { .. }, _) | (Added::LowRank { symmetric: false, .. }, [_, _]) => None,
            (Added::LowRank { symmetric: true, .. }, [a, b]) if a == b => None,
            (Added::LowRank { symmetric: true, .. }, _) => Some("a symmetric product is added to a square matrix"),
            (Added::LowRank { .. }, _) => Some("a product of two matrices is added to a matrix"),
        }
        .or_else(|| (!self.parts(dims).iter().all(fits)).then_some("so many columns are more than a tensor can hold"))
    }

    /// Its parameters for one parameter of that shape.
    pub fn parts(&self, dims: &[usize]) -> Vec<AddedPart> {
        match *self {
            Added::LowRank { rank, symmetric, std, zero, .. } => {
                let part = |name, axis: usize, start| AddedPart { name, dims: vec![dims[axis], rank], start };
                let mut parts = vec![part("U", 0, Start::Normal(std))];
                if !symmetric {
                    parts.push(part("V", 1, if zero { Start::Constant(0.0) } else { Start::Normal(std) }));
                }
                parts
            }
            Added::Copy => vec![AddedPart { name: "copy", dims: dims.to_vec(), start: Start::Same }],
            Added::Rates { start } => {
                vec![AddedPart { name: "rate", dims: dims.to_vec(), start: Start::Constant(start) }]
            }
        }
    }

    /// Whether predictions read its parameters.
    pub fn changes(&self) -> bool {
        !matches!(self, Added::Rates { .. })
    }

    /// The parameter as the model uses it; `parts` in the order of [`Added::parts`].
    pub fn compose(&self, b: &mut Builder, base: NodeId, parts: &[NodeId]) -> NodeId {
        match *self {
            Added::LowRank { scale, .. } => {
                let right = parts.get(1).unwrap_or(&parts[0]);
                let product = b.matmul(parts[0], *right, false, true);
                let product = b.scale(product, scale);
                b.add(base, product)
            }
            Added::Copy => parts[0],
            Added::Rates { .. } => base,
        }
    }
}

const ON: Param = Param::required("on", Ty::Groups, "the parameters that it changes");

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "none",
        kind: Kind::Added,
        params: &[],
        doc: "Nothing is added: the model as it is declared.",
        example: "with = none",
    },
    Entry {
        name: "lora",
        kind: Kind::Added,
        params: &[
            ON,
            Param::required("rank", Ty::Count(1), "the number of columns of `U` and `V`"),
            Param::optional(
                "alpha",
                Ty::POSITIVE,
                Initial::Absent,
                "the factor before the product is `alpha / rank`; `rank` if not given",
            ),
            Param::optional("symmetric", Ty::Bool, Initial::Bool(false), "whether `V = U`"),
            Param::optional("std", Ty::POSITIVE, Initial::Real(0.1), "the standard deviation of `U` at the start"),
            Param::optional("zero", Ty::Bool, Initial::Bool(true), "whether `V` starts at zero, and not like `U`"),
        ],
        doc: "Low-rank adapters: every named matrix `W` is used as `W + (alpha / rank) U V^T`; with `symmetric`, `W + (alpha / rank) \
              U U^T`. The new parameters form the group `lora` (Hu et al. 2022, equation 3).",
        example: "with = lora(on: B, rank: 1)",
    },
    Entry {
        name: "personal",
        kind: Kind::Added,
        params: &[ON],
        doc: "A second value of the named parameters, which stands in their place wherever a block does not leave it out with \
              `without: personal`. The new parameters form the group `personal`; with `keep = personal` they belong to the task \
              (Ditto, Li et al. 2021; pFedMe, Dinh et al. 2020).",
        example: "with = personal(on: B)",
    },
    Entry {
        name: "rates",
        kind: Kind::Added,
        params: &[ON, Param::required("start", Ty::POSITIVE, "their value at the start")],
        doc: "A learned step size for every number in the named parameters, which an adaptation names: `adapt = gradient(B, rate: \
              rates, steps: 1)`. The new parameters form the group `rates` (Meta-SGD, Li et al. 2017).",
        example: "with = rates(on: B, start: 0.1)",
    },
];
