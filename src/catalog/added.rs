//! Groups of parameters that are added to a model: each changes some of its parameters before they are used, an input, or
//! the prediction.

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
        /// The chance of each entry of what goes into the product to be dropped.
        dropout: f64,
    },
    /// A value that stands in the parameter's place.
    Copy,
    /// Step sizes for a parameter, which it does not change.
    Rates {
        /// Their value at the start.
        start: f64,
    },
    /// A vector that is added to an input, or rows that stand before those of an input.
    Prompt {
        /// The number of rows.
        length: Option<usize>,
        /// The standard deviation of its entries at the start.
        std: f64,
    },
    /// A linear layer behind the prediction.
    Head {
        /// The size of the last dim of what it predicts.
        outputs: usize,
        /// The standard deviation of its weights at the start; one over the root of the number of inputs if absent.
        std: Option<f64>,
    },
}

/// What of a model an added group changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Parameters, or nothing.
    Params,
    /// An input.
    Input,
    /// The prediction.
    Output,
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
                    dropout: args.real("dropout"),
                }
            }
            "personal" => Added::Copy,
            "rates" => Added::Rates { start: args.real("start") },
            "prompt" => Added::Prompt { length: args.count("length").map(|n| n as usize), std: args.real("std") },
            // The checker knows how many outputs the named dim has.
            "head" => Added::Head { outputs: 0, std: args.get("std").map(|_| args.real("std")) },
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
            (Added::Prompt { length: None, .. }, _) | (Added::Head { .. }, [.., _]) => None,
            (Added::Prompt { length: Some(_), .. }, [_, _, ..]) => None,
            (Added::Prompt { length: Some(_), .. }, _) => {
                Some("rows stand before other rows: the input needs two dims")
            }
            (Added::Head { .. }, []) => {
                Some("a layer behind the prediction needs features: the prediction is a scalar")
            }
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
            Added::Prompt { length, std } => {
                let mut dims = dims.to_vec();
                if let (Some(length), Some(rows)) = (length, dims.first_mut()) {
                    *rows = length;
                }
                let start = if std == 0.0 { Start::Constant(0.0) } else { Start::Normal(std) };
                vec![AddedPart { name: "vector", dims, start }]
            }
            Added::Head { outputs, std } => {
                let inputs = dims.last().copied().unwrap_or(1);
                let std = std.unwrap_or(1.0 / libm::sqrt(inputs as f64));
                let start = if std == 0.0 { Start::Constant(0.0) } else { Start::Normal(std) };
                vec![
                    AddedPart { name: "weight", dims: vec![inputs, outputs], start },
                    AddedPart { name: "bias", dims: vec![outputs], start: Start::Constant(0.0) },
                ]
            }
        }
    }

    /// What it changes.
    pub fn site(&self) -> Site {
        match self {
            Added::Prompt { .. } => Site::Input,
            Added::Head { .. } => Site::Output,
            Added::LowRank { .. } | Added::Copy | Added::Rates { .. } => Site::Params,
        }
    }

    /// Whether parameters are other ones with it, so that a loss can leave it out.
    pub fn changes(&self) -> bool {
        matches!(self, Added::LowRank { .. } | Added::Copy)
    }

    /// The parameter, input or prediction as the model uses it; `parts` in the order of [`Added::parts`].
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
            Added::Prompt { length: None, .. } => b.add(base, parts[0]),
            Added::Prompt { length: Some(length), .. } => {
                let rows = b.dims(base)[0];
                let (before, behind) = (b.pad(parts[0], 0, 0, rows), b.pad(base, 0, length, 0));
                b.add(before, behind)
            }
            Added::Head { outputs, .. } => {
                let dims = b.dims(base).to_vec();
                let inputs = dims.last().copied().unwrap_or(1);
                let rows = dims.iter().product::<usize>() / inputs;
                let features = b.reshape(base, &[rows, inputs]);
                let product = b.matmul(features, parts[0], false, false);
                let bias = b.broadcast(parts[1], 0, rows);
                let sum = b.add(product, bias);
                b.reshape(sum, &[&dims[..dims.len() - 1], &[outputs]].concat())
            }
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
            Param::optional(
                "dropout",
                Ty::SHARE,
                Initial::Real(0.0),
                "the chance of each entry of what is multiplied by the adapter to be dropped there, as by `dropout`",
            ),
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
    Entry {
        name: "prompt",
        kind: Kind::Added,
        params: &[
            Param::required(
                "on",
                Ty::Input,
                "what it changes: an input of the model, or a value that the model names by `let`",
            ),
            Param::optional(
                "length",
                Ty::Count(1),
                Initial::Absent,
                "the number of rows that stand before those of the input; without it, a vector is added to the input",
            ),
            Param::optional("std", Ty::NON_NEGATIVE, Initial::Real(0.0), "the standard deviation at the start"),
        ],
        doc: "A learned prompt: `x` is used as `x + p`, with a `p` of the same dims (Bahng et al. 2022); with `length: n`, `n` learned rows \
              stand before those of `x`, as in the embedding of a sequence of tokens (prompt tuning, Lester et al. 2021). \
              The new parameter forms the group `prompt`.",
        example: "with = prompt(on: x)",
    },
    Entry {
        name: "head",
        kind: Kind::Added,
        params: &[
            Param::optional("outputs", Ty::Dim, Initial::Absent, "the dim that the last one of the prediction becomes"),
            Param::optional(
                "std",
                Ty::NON_NEGATIVE,
                Initial::Absent,
                "the standard deviation of its weights at the start; one over the root of the number of features if not given",
            ),
        ],
        doc: "A linear layer behind the prediction `z`, which becomes `z @ W + b`: a classifier on features that other training left \
              (linear probing, Alain & Bengio 2017). The new parameters form the group `head`.",
        example: "with = head(outputs: classes)",
    },
];
