//! Metrics: what a measurement takes from the state, from examples, over tasks.

use super::args::Args;
use super::cluster;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use super::loss::{Loss, one_hot};
use super::weights::{WEIGHTS, Weights};
use crate::hash::variants;
use crate::ir::{Builder, Compare, NodeId};

variants! {
    /// A number for one task after adaptation.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Metric {
        /// The mean of a loss over the task's query examples.
        Loss { loss: Loss },
        /// The share of query examples whose largest output is the target's class; a tie counts as right.
        Accuracy,
        /// The family's closed-form population risk.
        Risk,
        /// The agreement of the signs of the outputs with the target's class, over all query examples of a task: normalised
        /// mutual information.
        Nmi { classes: u64 },
        /// The same as purity.
        Purity { classes: u64 },
    }
}

impl Metric {
    /// The metric that a checked call of an entry is.
    pub fn from_args(name: &str, args: &Args) -> Metric {
        let classes = || args.count("classes").expect("`classes` is required");
        match name {
            "accuracy" => Metric::Accuracy,
            "risk" => Metric::Risk,
            "nmi" => Metric::Nmi { classes: classes() },
            "purity" => Metric::Purity { classes: classes() },
            _ => Metric::Loss { loss: Loss::find(name).expect("every other metric of examples is a loss") },
        }
    }

    /// Whether a larger value is better, which decides what `worst` means.
    pub fn higher_is_better(&self) -> bool {
        matches!(self, Metric::Accuracy | Metric::Nmi { .. } | Metric::Purity { .. })
    }

    /// Why a prediction and a target of these dims do not fit, if they do not.
    pub fn refuses(&self, prediction: &[usize], target: &[usize]) -> Option<String> {
        let class = prediction.len() == 1 && target.is_empty();
        match self {
            Metric::Loss { loss } => loss.refuses(prediction, target),
            Metric::Risk => None,
            Metric::Nmi { .. } | Metric::Purity { .. } if class && prediction[0] <= cluster::MAX_BITS => None,
            Metric::Nmi { .. } | Metric::Purity { .. } => Some(format!(
                "the prediction must be `[p]` with p of at most {}, whose signs are a code, and the target a class number, `[]`",
                cluster::MAX_BITS
            )),
            Metric::Accuracy if class => None,
            Metric::Accuracy => {
                Some("the prediction must be `[classes]` and the target a class number, `[]`".to_owned())
            }
        }
    }

    /// The value for all examples of a task at once, a scalar: predictions `[n, p]`, targets `[n]` and 1 for every example
    /// that is there, `[n]`. `None` for a metric that is a mean over examples, or needs none.
    pub fn lower_together(
        &self,
        b: &mut Builder,
        predictions: NodeId,
        targets: NodeId,
        present: NodeId,
    ) -> Option<NodeId> {
        match *self {
            Metric::Nmi { classes } => Some(cluster::nmi(b, predictions, targets, present, classes as usize)),
            Metric::Purity { classes } => Some(cluster::purity(b, predictions, targets, present, classes as usize)),
            Metric::Loss { .. } | Metric::Accuracy | Metric::Risk => None,
        }
    }

    /// The value for one example, a scalar; `None` for a metric that is no mean over predictions of single examples.
    pub fn lower(&self, b: &mut Builder, prediction: NodeId, target: NodeId) -> Option<NodeId> {
        match self {
            Metric::Loss { loss } => loss.lower(b, prediction, target),
            Metric::Accuracy => {
                let classes = b.dims(prediction)[0];
                let hit = one_hot(b, target, classes);
                let chosen = b.mul(hit, prediction);
                let chosen = b.sum(chosen, 0);
                let top = b.reduce_max(prediction, 0);
                Some(b.compare(Compare::Le, top, chosen))
            }
            Metric::Risk | Metric::Nmi { .. } | Metric::Purity { .. } => None,
        }
    }
}

variants! {
    /// How the values of many tasks become one number.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Reduction {
        /// The arithmetic mean.
        Mean { weights: Weights = Weights::Uniform },
        /// The largest.
        Max,
        /// The smallest.
        Min,
        /// The population standard deviation.
        Std,
        /// The quantile, by linear interpolation.
        Quantile { q: f64 },
    }
}

variants! {
    /// The tasks on whose query examples an adapted task is measured.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Whose {
        /// Its own.
        Own,
        /// Those of all other tasks, together.
        Others,
        /// Those of all tasks, together.
        All,
    }
}

variants! {
    /// A number computed from tensors of the state (parameters, world).
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum StateMetric {
        /// The one scalar itself.
        Value,
        /// The sine of the largest principal angle between the column spaces of two matrices.
        SubspaceDistance,
        /// The root of the sum of the squared sines of all principal angles between the column spaces of two matrices.
        ChordalDistance,
        /// The squared norm of one matrix within the column space of another, over its squared norm outside.
        EnergyRatio,
        /// The largest singular value of a matrix.
        SpectralNorm,
        /// The smallest singular value of a matrix over its largest.
        InverseCondition,
        /// The number of singular values of a matrix above `tolerance` times the largest.
        Rank { tolerance: f64 },
    }
}

impl StateMetric {
    /// The words a person reads.
    pub fn describe(self) -> String {
        match self {
            StateMetric::Value => "value".into(),
            StateMetric::SubspaceDistance => "subspace distance".into(),
            StateMetric::ChordalDistance => "chordal distance".into(),
            StateMetric::EnergyRatio => "energy ratio".into(),
            StateMetric::SpectralNorm => "spectral norm".into(),
            StateMetric::InverseCondition => "inverse condition number".into(),
            StateMetric::Rank { tolerance } => format!("rank (singular values above {tolerance} of the largest)"),
        }
    }

    /// The tensors it is computed from, by name; a value is a scalar, all others take matrices.
    pub fn operands(self) -> &'static [&'static str] {
        match self {
            StateMetric::Value => &["value"],
            StateMetric::SubspaceDistance | StateMetric::ChordalDistance | StateMetric::EnergyRatio => &["a", "b"],
            StateMetric::SpectralNorm | StateMetric::InverseCondition | StateMetric::Rank { .. } => &["a"],
        }
    }

    /// Why tensors of these shapes cannot be its operands; `None` where they can.
    pub fn refuses(self, shapes: &[&[usize]]) -> Option<&'static str> {
        match (self, shapes) {
            (StateMetric::Value, [[]]) => None,
            (StateMetric::Value, _) => Some("it takes one scalar"),
            (StateMetric::SubspaceDistance | StateMetric::ChordalDistance, [[d, k], [rows, l]])
                if d == rows && l <= k && k <= d =>
            {
                None
            }
            (StateMetric::SubspaceDistance | StateMetric::ChordalDistance, _) => Some(
                "it takes `[d, k]` and `[d, l]` with l <= k <= d: the same rows, no more columns than rows, and the second with no more columns than the first",
            ),
            (StateMetric::EnergyRatio, [[d, _], [rows, r]]) if d == rows && r < d => None,
            (StateMetric::EnergyRatio, _) => Some(
                "it takes `[d, m]` and `[d, r]` with r < d: the same rows, and a second that leaves directions out",
            ),
            (StateMetric::SpectralNorm | StateMetric::InverseCondition | StateMetric::Rank { .. }, [[_, _]]) => None,
            (StateMetric::SpectralNorm | StateMetric::InverseCondition | StateMetric::Rank { .. }, _) => {
                Some("it takes one matrix, `[d, k]`")
            }
        }
    }
}

const CLASSES: &[Param] =
    &[Param::required("classes", Ty::Count(2), "how many classes the target has, numbered from 0")];

const OF: Param = Param::required("of", Ty::Measurement, "what is taken under every seed, at every step or point");

const OVER: Param = Param::optional(
    "over",
    Ty::Axis,
    Initial::Word("seeds"),
    "`seeds`, `steps` (of a whole series, or of its last values: `acc[last(10)]`), or what a sweep varies",
);

const ALONG: Param = Param::required("over", Ty::Axis, "`steps`, or what a sweep varies, which must be numbers");

const REDUCES: &[Param] = &[OF, OVER];

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "subspace_distance",
        kind: Kind::StateMetric,
        params: &[
            Param::required("a", Ty::Tensor, "a matrix [d, k]"),
            Param::required("b", Ty::Tensor, "a matrix [d, l] with l <= k"),
        ],
        doc: "The sine of the largest principal angle between the column spaces of `a` and `b`: the spectral norm of \
              (I - QQ') P for orthonormal bases Q of `a` and P of `b`. 0 where `a` spans `b`, 1 where some direction of `b` is missed.",
        example: "measure angle = subspace_distance(B, truth) every 10",
    },
    Entry {
        name: "chordal_distance",
        kind: Kind::StateMetric,
        params: &[
            Param::required("a", Ty::Tensor, "a matrix [d, k]"),
            Param::required("b", Ty::Tensor, "a matrix [d, l] with l <= k"),
        ],
        doc: "The root of the sum of the squared sines of all principal angles between the column spaces of `a` and `b`: the \
              Frobenius norm of (I - QQ') P, where `subspace_distance` takes the spectral norm. From 0 to the root of l.",
        example: "measure chord = chordal_distance(B, truth) every 10",
    },
    Entry {
        name: "energy_ratio",
        kind: Kind::StateMetric,
        params: &[
            Param::required("a", Ty::Tensor, "a matrix [d, m]"),
            Param::required("b", Ty::Tensor, "a matrix [d, r] with r < d"),
        ],
        doc: "How much of the columns of `a` lies in the column space of `b` against how much lies outside: \
              |P a|^2 / |a - P a|^2 in Frobenius norms. About r / (d - r) for columns of random direction.",
        example: "measure energy = energy_ratio(B, truth) every 10",
    },
    Entry {
        name: "spectral_norm",
        kind: Kind::StateMetric,
        params: &[Param::required("a", Ty::Tensor, "a matrix")],
        doc: "The largest singular value. (The Frobenius norm is `sqrt(sum(a ^ 2))`.)",
        example: "measure error = spectral_norm(B - truth) every 10",
    },
    Entry {
        name: "inverse_condition",
        kind: Kind::StateMetric,
        params: &[Param::required("a", Ty::Tensor, "a matrix")],
        doc: "The smallest singular value over the largest, from 0 to 1: the inverse of the condition number. 0 where a direction \
              is missing, 1 where all are alike.",
        example: "measure spread = inverse_condition(B) every 10",
    },
    Entry {
        name: "rank",
        kind: Kind::StateMetric,
        params: &[
            Param::required("a", Ty::Tensor, "a matrix"),
            Param::optional(
                "tolerance",
                Ty::SHARE,
                Initial::Real(1e-6),
                "the share of the largest singular value above which one counts",
            ),
        ],
        doc: "The numerical rank: how many singular values are above `tolerance` times the largest.",
        example: "measure directions = rank(B, tolerance: 1e-3) every 10",
    },
    Entry {
        name: "mass",
        kind: Kind::StateMetric,
        params: &[Param::required("strata", Ty::Strata, "the strata whose weights are added")],
        doc: "The share of the adversary's weights that lies on these strata, under `outer = worst(...)`.",
        example: "measure hard_mass = mass(hard) every 100",
    },
    Entry {
        name: "accuracy",
        kind: Kind::ExampleMetric,
        params: &[],
        doc: "The share of query examples whose largest output is the target's class; a tie counts as right.",
        example: "measure accuracy = mean(accuracy) on local every 10",
    },
    Entry {
        name: "squared",
        kind: Kind::ExampleMetric,
        params: &[],
        doc: "The mean squared error over a task's query examples.",
        example: "measure mse = mean(squared) on test every 1000",
    },
    Entry {
        name: "half_squared",
        kind: Kind::ExampleMetric,
        params: &[],
        doc: "Half the mean squared error over a task's query examples.",
        example: "measure loss = mean(half_squared) on test every 1000",
    },
    Entry {
        name: "cross_entropy",
        kind: Kind::ExampleMetric,
        params: &[],
        doc: "The mean cross-entropy over a task's query examples, in nats.",
        example: "measure loss = mean(cross_entropy) on test every 10",
    },
    Entry {
        name: "nmi",
        kind: Kind::ExampleMetric,
        params: CLASSES,
        doc: "How well the signs of the outputs, read as a code, tell the target's classes apart over all query examples of a \
              task: normalised mutual information, 2 I(code; class) / (H(code) + H(class)). 1 where each class has a code of \
              its own, 0 where the code says nothing.",
        example: "measure agreement = mean(nmi(classes: 3)) on test every 10",
    },
    Entry {
        name: "purity",
        kind: Kind::ExampleMetric,
        params: CLASSES,
        doc: "The share of query examples that have the most frequent class among those with the same signs of the outputs.",
        example: "measure purity = mean(purity(classes: 3)) on test every 10",
    },
    Entry {
        name: "risk",
        kind: Kind::ExampleMetric,
        params: &[],
        doc: "The family's closed-form population risk at the adapted parameters.",
        example: "measure excess = mean(risk) on test every 10",
    },
    Entry {
        name: "mean",
        kind: Kind::Reduction,
        params: &[Param::required("of", Ty::Metric, "what is taken of every task"), WEIGHTS],
        doc: "The mean over tasks, each counting once; by `examples`, each example that is measured counts once.",
        example: "measure mse = mean(squared) on test every 1000",
    },
    Entry {
        name: "worst",
        kind: Kind::Reduction,
        params: &[Param::required("of", Ty::Metric, "what is taken of every task")],
        doc: "The worst task: the largest loss, or the smallest accuracy.",
        example: "measure worst = worst(squared) on test every 1000",
    },
    Entry {
        name: "best",
        kind: Kind::Reduction,
        params: &[Param::required("of", Ty::Metric, "what is taken of every task")],
        doc: "The best task: the smallest loss, or the largest accuracy.",
        example: "measure best = best(squared) on test every 1000",
    },
    Entry {
        name: "median",
        kind: Kind::Reduction,
        params: &[Param::required("of", Ty::Metric, "what is taken of every task")],
        doc: "The median over tasks.",
        example: "measure typical = median(squared) on test every 1000",
    },
    Entry {
        name: "std",
        kind: Kind::Reduction,
        params: &[Param::required("of", Ty::Metric, "what is taken of every task")],
        doc: "The population standard deviation over tasks.",
        example: "measure spread = std(squared) on test every 1000",
    },
    Entry {
        name: "quantile",
        kind: Kind::Reduction,
        params: &[
            Param::required("of", Ty::Metric, "what is taken of every task"),
            Param::required("q", Ty::SHARE, "the share of tasks below it"),
        ],
        doc: "The quantile over tasks, by linear interpolation between order statistics.",
        example: "measure p95 = quantile(squared, q: 0.95) on test every 1000",
    },
    Entry {
        name: "median",
        kind: Kind::SeedReduction,
        params: REDUCES,
        doc: "The median over seeds, or over what `over` names.",
        example: "expect median(maml.angle[500]) <= 1e-3",
    },
    Entry {
        name: "mean",
        kind: Kind::SeedReduction,
        params: REDUCES,
        doc: "The mean over seeds, or over what `over` names.",
        example: "expect median(mean(maml.mse[last(10)], over: steps)) <= 1",
    },
    Entry {
        name: "min",
        kind: Kind::SeedReduction,
        params: REDUCES,
        doc: "The least over seeds, or over what `over` names.",
        example: "expect min(erm.angle[500]) >= 0.9",
    },
    Entry {
        name: "max",
        kind: Kind::SeedReduction,
        params: REDUCES,
        doc: "The most over seeds, or over what `over` names.",
        example: "expect max(maml.angle, over: steps) <= 1",
    },
    Entry {
        name: "std",
        kind: Kind::SeedReduction,
        params: REDUCES,
        doc: "The sample standard deviation over seeds (divisor n - 1), or over what `over` names.",
        example: "expect std(maml.mse[500]) <= 1",
    },
    Entry {
        name: "quantile",
        kind: Kind::SeedReduction,
        params: &[OF, Param::required("q", Ty::SHARE, "the share of values below it"), OVER],
        doc: "The quantile over seeds, or over what `over` names, by linear interpolation between order statistics.",
        example: "expect quantile(maml.angle[500], q: 0.9) <= 1e-3",
    },
    Entry {
        name: "diverged",
        kind: Kind::SeedReduction,
        params: &[Param::required("of", Ty::Measurement, "what is taken under every seed")],
        doc: "How many seeds have no finite value there: their runs diverged at that step or before. A run that diverges is a \
              result; in every other reduction it counts against the claim.",
        example: "expect diverged(maml.angle[500]) <= 1",
    },
    Entry {
        name: "slope",
        kind: Kind::SeedReduction,
        params: &[OF, ALONG],
        doc: "The exponent p of the power law c x^p that fits the values best: the least-squares slope of their logarithms \
              against the logarithms of what varies. Values and what varies must be above 0.",
        example: "expect slope(median(maml.mse[500]), over: rate) <= 1",
    },
    Entry {
        name: "rise",
        kind: Kind::SeedReduction,
        params: &[OF, ALONG],
        doc: "The smallest difference from one value to the next, in increasing order of what varies: above 0 exactly where the \
              values rise throughout.",
        example: "expect rise(median(maml.mse[500]), over: rate) > -1",
    },
];
