//! Losses of one prediction against one target.

use super::entry::{Entry, Kind};
use crate::hash::variants;
use crate::ir::{Binary, Builder, Compare, Function, NodeId, Unary};

variants! {
    /// A loss; its mean over examples is what adaptation and training minimise.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Loss {
        /// `sum (f - y)^2` over the entries of one prediction.
        Squared,
        /// `sum (f - y)^2 / 2`
        HalfSquared,
        /// `-log softmax(f)[y]` for a class number `y`.
        CrossEntropy,
        /// A formula of one example: `function` gives the loss, a scalar, from parameters and the example's variables, by
        /// name. What the model predicts is part of it.
        Expression { function: Function },
    }
}

impl Loss {
    /// The loss of that name.
    pub fn find(name: &str) -> Option<Loss> {
        Some(match name {
            "squared" => Loss::Squared,
            "half_squared" => Loss::HalfSquared,
            "cross_entropy" => Loss::CrossEntropy,
            _ => return None,
        })
    }

    /// The name in a `.meta` file, or what a person reads in its place.
    pub fn name(&self) -> &'static str {
        match self {
            Loss::Squared => "squared",
            Loss::HalfSquared => "half_squared",
            Loss::CrossEntropy => "cross_entropy",
            Loss::Expression { .. } => "an expression",
        }
    }

    /// Why a prediction and a target of these dims do not fit, if they do not.
    pub fn refuses(&self, prediction: &[usize], target: &[usize]) -> Option<String> {
        match self {
            Loss::Squared | Loss::HalfSquared if prediction == target => None,
            Loss::Squared | Loss::HalfSquared => Some("the prediction and the target must have the same dims".into()),
            Loss::Expression { .. } => None,
            Loss::CrossEntropy if prediction.len() == 1 && target.is_empty() => None,
            Loss::CrossEntropy => Some("the prediction must be `[classes]` and the target a class number, `[]`".into()),
        }
    }

    /// The loss of one example, a scalar; `None` for an expression, which takes no prediction.
    pub fn lower(&self, b: &mut Builder, prediction: NodeId, target: NodeId) -> Option<NodeId> {
        Some(match self {
            Loss::Expression { .. } => return None,
            Loss::Squared | Loss::HalfSquared => {
                let error = b.sub(prediction, target);
                let square = b.mul(error, error);
                let sum = b.sum_all(square);
                if *self == Loss::HalfSquared { b.scale(sum, 0.5) } else { sum }
            }
            Loss::CrossEntropy => {
                let dims = b.dims(prediction).to_vec();
                // The shift cancels in value and gradient; detached, it costs nothing to differentiate.
                let top = b.reduce_max(prediction, 0);
                let top = b.detach(top);
                let top = b.expand(top, &dims);
                let shifted = b.sub(prediction, top);
                let exp = b.unary(Unary::Exp, shifted);
                let total = b.sum(exp, 0);
                let log_total = b.unary(Unary::Ln, total);
                let hit = one_hot(b, target, dims[0]);
                let chosen = b.mul(hit, shifted);
                let chosen = b.sum(chosen, 0);
                b.binary(Binary::Sub, log_total, chosen)
            }
        })
    }
}

/// The indicator of a class number, `[classes]`.
pub fn one_hot(b: &mut Builder, class: NodeId, classes: usize) -> NodeId {
    let numbers = b.iota(&[classes], 0);
    let class = b.expand(class, &[classes]);
    b.compare(Compare::Eq, numbers, class)
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "squared",
        kind: Kind::Loss,
        params: &[],
        doc: "The squared error of a prediction, summed over its entries.",
        example: "loss = squared",
    },
    Entry {
        name: "half_squared",
        kind: Kind::Loss,
        params: &[],
        doc: "Half the squared error of a prediction, summed over its entries.",
        example: "loss = half_squared",
    },
    Entry {
        name: "cross_entropy",
        kind: Kind::Loss,
        params: &[],
        doc: "The negative log-probability of the target's class under the softmax of the prediction, in nats.",
        example: "loss = cross_entropy",
    },
    Entry {
        name: "risk",
        kind: Kind::Loss,
        params: &[],
        doc: "The closed-form population risk that the task family declares, in place of any finite sample.",
        example: "loss = risk",
    },
];
