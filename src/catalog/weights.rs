//! How much a task counts: in an objective, in an average, in a measure, or among the tasks that a step samples.

use super::entry::{Initial, Param, Ty};
use crate::hash::{record, variants};

variants! {
    /// How much a task counts beside others.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Weights {
        /// In proportion to its number of examples.
        Examples,
        /// All alike.
        Uniform,
        /// In proportion to the number of sets of classes that its episodes can have.
        Episodes,
        /// By its stratum.
        Strata { of: Vec<StratumWeight> },
    }
}

record! {
    /// How much each task of a stratum counts.
    #[derive(Debug, Clone, PartialEq)]
    pub struct StratumWeight {
        /// The stratum's name.
        pub name: String,
        /// The weight, above 0.
        pub weight: f64,
    }
}

/// `weights` of losses, parameters or measured values.
pub(super) const WEIGHTS: Param = Param::optional(
    "weights",
    Ty::Weights(&["examples", "uniform"]),
    Initial::Word("uniform"),
    "how much a task counts",
);

/// `law` of a sample of tasks.
pub(super) const LAW: Param = Param::optional(
    "law",
    Ty::Weights(&["examples", "episodes", "uniform"]),
    Initial::Word("uniform"),
    "how likely a step samples a task, in proportion; by `episodes`, to the number of sets of classes that it has",
);

impl Weights {
    /// The weights that a word stands for.
    pub(super) fn from_word(word: &str) -> Weights {
        match word {
            "examples" => Weights::Examples,
            "episodes" => Weights::Episodes,
            "uniform" => Weights::Uniform,
            other => unreachable!("`{other}` is not among the words for weights"),
        }
    }

    /// The weight of a task of that stratum, with so many examples and so many sets of classes.
    pub fn of(&self, stratum: &str, examples: impl FnOnce() -> f64, episodes: impl FnOnce() -> f64) -> f64 {
        match self {
            Weights::Uniform => 1.0,
            Weights::Examples => examples(),
            Weights::Episodes => episodes(),
            Weights::Strata { of } => of.iter().find(|s| s.name == stratum).map_or(0.0, |s| s.weight),
        }
    }
}
