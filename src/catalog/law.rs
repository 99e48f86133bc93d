//! Laws: distributions that a declaration draws from.
//!
//! A law is a standard draw ([`BaseLaw`], made on the host from addressed randomness) and an affine map of it that
//! belongs to the tensor program, so that its parameters may be any tensors in scope.

use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::hash::variants;

variants! {
    /// A draw without parameters.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum BaseLaw {
        /// Independent entries, uniform on `[0, 1)`.
        Uniform,
        /// Independent standard normal entries.
        Normal,
        /// Independent standard normal entries, restricted to `[-2, 2]`.
        TruncatedNormal,
        /// A `[d, k]` matrix with orthonormal columns, by the Haar measure; `k <= d`.
        Stiefel,
        /// A `[d]` vector, uniform on the unit sphere.
        Sphere,
    }
}

/// How a law maps its standard draw `z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// `low + (high - low) z`
    Interval,
    /// `mean + std z`
    LocationScale,
    /// `std z`
    Scale,
    /// `z`
    Plain,
}

impl Law {
    /// The standard draw and the map of a law by name.
    pub fn find(name: &str) -> Option<(BaseLaw, Law)> {
        Some(match name {
            "uniform" => (BaseLaw::Uniform, Law::Interval),
            "normal" => (BaseLaw::Normal, Law::LocationScale),
            "truncated_normal" => (BaseLaw::TruncatedNormal, Law::Scale),
            "stiefel" => (BaseLaw::Stiefel, Law::Plain),
            "sphere" => (BaseLaw::Sphere, Law::Plain),
            _ => return None,
        })
    }
}

impl BaseLaw {
    /// Why the law cannot draw a tensor of these dims, if it cannot.
    pub fn refuses(self, dims: &[usize]) -> Option<String> {
        match (self, dims) {
            (BaseLaw::Stiefel, [d, k]) if k <= d => None,
            (BaseLaw::Stiefel, [d, k]) => Some(format!("{k} orthonormal columns do not fit into {d} rows")),
            (BaseLaw::Stiefel, _) => Some("`stiefel` draws a matrix, with two dims".into()),
            (BaseLaw::Sphere, [_]) => None,
            (BaseLaw::Sphere, _) => Some("`sphere` draws a vector, with one dim".into()),
            (BaseLaw::Uniform | BaseLaw::Normal | BaseLaw::TruncatedNormal, _) => None,
        }
    }
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "normal",
        kind: Kind::Law,
        params: &[
            Param::optional("mean", Ty::Tensor, Initial::Real(0.0), "the mean"),
            Param::optional("std", Ty::Tensor, Initial::Real(1.0), "the standard deviation (not the variance)"),
        ],
        doc: "Independent normal entries.",
        example: "head: [k] ~ normal(std: 0.5)",
    },
    Entry {
        name: "uniform",
        kind: Kind::Law,
        params: &[
            Param::required("low", Ty::Tensor, "the lower end"),
            Param::required("high", Ty::Tensor, "the upper end, not reached"),
        ],
        doc: "Independent entries, uniform between two ends.",
        example: "phase: [] ~ uniform(0, pi)",
    },
    Entry {
        name: "truncated_normal",
        kind: Kind::Law,
        params: &[Param::optional("std", Ty::Tensor, Initial::Real(1.0), "the standard deviation before truncation")],
        doc: "Independent normal entries of mean 0, restricted to two standard deviations around it.",
        example: "W: [h] ~ truncated_normal(std: 0.01)",
    },
    Entry {
        name: "stiefel",
        kind: Kind::Law,
        params: &[],
        doc: "A matrix with orthonormal columns, uniform over all such matrices (Haar measure).",
        example: "truth: [d, k] ~ stiefel",
    },
    Entry {
        name: "sphere",
        kind: Kind::Law,
        params: &[],
        doc: "A vector of length 1, uniform over the sphere.",
        example: "x: [d] ~ sphere",
    },
];
