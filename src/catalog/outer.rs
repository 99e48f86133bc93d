//! Outer objectives: how the adapted tasks become the next shared parameters.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use super::weights::{WEIGHTS, Weights};
use crate::hash::variants;

variants! {
    /// What passes through the adaptation when the outer loss is differentiated.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Through {
        /// Everything: second order through every inner step.
        Exact,
        /// The inner gradients count as constants: `d theta_t / d theta = 1`.
        FirstOrder,
        /// Nothing: adapted parameters count as constants.
        Stop,
        /// No gradient is taken; the outer gradient is `theta - mean_t theta_t` (Reptile).
        Difference,
        /// The gradient at the minimiser near which the adaptation ends, by `cg` rounds of conjugate gradients (iMAML).
        Implicit { cg: u64 },
    }
}

variants! {
    /// The set of alternatives of a worst-case objective.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Simplex {
        /// One weight per task of the pool.
        Task,
        /// One weight per stratum.
        Stratum,
    }
}

variants! {
    /// The losses that the adversary ascends.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Sees {
        /// The losses themselves.
        Raw,
        /// The losses times their weights in the objective.
        Weighted,
    }
}

variants! {
    /// The outer reduction over tasks.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Outer {
        /// The mean of the tasks' losses after adaptation.
        Mean { weights: Weights = Weights::Uniform },
        /// The largest mixture of them: `max over p in the simplex of sum_i p_i F_i`. The adversary's weights climb by `ascent`
        /// times the losses and are projected, or grow by the exponential of that and are normalised.
        Worst {
            over: Simplex,
            ascent: f64,
            sees: Sees,
            exponential: bool = false,
        },
        /// The mean of the worst share `q` of the losses of a step: the conditional value at risk.
        Cvar { q: f64 },
        /// The average of the adapted parameters themselves; with `control`, the gradients of the tasks are corrected for how far
        /// their own direction is from that of all.
        Average { weights: Weights, control: bool = false },
    }
}

impl Through {
    /// What a checked call lets through.
    pub fn from_args(name: &str, args: &Args) -> Through {
        match name {
            "exact" => Through::Exact,
            "first_order" => Through::FirstOrder,
            "stop" => Through::Stop,
            "difference" => Through::Difference,
            "implicit" => Through::Implicit { cg: args.count("cg").expect("`cg` is required") },
            other => unreachable!("`{other}` is not in the table of what passes through an adaptation"),
        }
    }
}

impl Outer {
    /// Whether losses are multiplied by weights that training gives.
    pub fn weighs(&self) -> bool {
        match self {
            Outer::Worst { .. } => true,
            Outer::Mean { weights } => *weights != Weights::Uniform,
            Outer::Cvar { .. } | Outer::Average { .. } => false,
        }
    }

    /// The objective of a checked call.
    pub fn from_args(name: &str, args: &Args) -> Outer {
        match name {
            "mean" => Outer::Mean { weights: args.weights("weights") },
            "worst" => Outer::Worst {
                over: if args.word("over") == "task" { Simplex::Task } else { Simplex::Stratum },
                ascent: args.real("ascent"),
                sees: if args.word("sees") == "raw" { Sees::Raw } else { Sees::Weighted },
                exponential: args.word("by") == "exponential",
            },
            "cvar" => Outer::Cvar { q: args.real("q") },
            "average" => Outer::Average { weights: args.weights("weights"), control: args.bool("control") },
            other => unreachable!("`{other}` is not in the table of outer objectives"),
        }
    }
}

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "exact",
        kind: Kind::Through,
        params: &[],
        doc: "Everything: second order through every inner step (MAML, Finn et al. 2017).",
        example: "through = exact",
    },
    Entry {
        name: "first_order",
        kind: Kind::Through,
        params: &[],
        doc: "The inner gradients count as constants (first-order MAML).",
        example: "through = first_order",
    },
    Entry {
        name: "stop",
        kind: Kind::Through,
        params: &[],
        doc: "Nothing: adapted parameters count as constants, and others keep the gradient of the loss there.",
        example: "through = stop",
    },
    Entry {
        name: "difference",
        kind: Kind::Through,
        params: &[],
        doc: "No gradient is taken: the outer gradient is the start minus the mean of the ends (Reptile, Nichol et al. 2018).",
        example: "through = difference",
    },
    Entry {
        name: "implicit",
        kind: Kind::Through,
        params: &[Param::required("cg", Ty::Count(1), "the rounds of conjugate gradients")],
        doc: "The gradient at the minimiser that an adaptation held near its start (`toward: start`) comes to, however it came there: \
              `(I + H / weight)^-1 grad` with the curvature `H` of the support loss (iMAML, Rajeswaran et al. 2019, equation 6).",
        example: "through = implicit(cg: 5)",
    },
    Entry {
        name: "mean",
        kind: Kind::Outer,
        params: &[WEIGHTS],
        doc: "The mean over the sampled tasks of the query loss after adaptation (MAML; without adaptation, average risk). By \
              `examples`, each query example counts alike; by strata, each task as its stratum. The weights of a step are \
              divided by their sum.",
        example: "outer = mean",
    },
    Entry {
        name: "worst",
        kind: Kind::Outer,
        params: &[
            Param::optional(
                "over",
                Ty::Word(&["task", "stratum"]),
                Initial::Word("task"),
                "what has a weight of its own",
            ),
            Param::required("ascent", Ty::POSITIVE, "the adversary's step size"),
            Param::optional("sees", Ty::Word(&["raw", "weighted"]), Initial::Word("raw"), "the losses it ascends"),
            Param::optional(
                "by",
                Ty::Word(&["projection", "exponential"]),
                Initial::Word("projection"),
                "how the weights stay on the simplex",
            ),
        ],
        doc: "min over parameters of max over the simplex of sum_i p_i F_i, by alternating steps: parameters descend the weighted \
              loss of the sampled tasks, then p_i grows by `ascent` times the loss of each sampled task and is projected back onto \
              the simplex in the Euclidean norm (TR-MAML, Collins et al. 2020). By `exponential`, p_i is multiplied by the exponential \
              of that product and all are divided by their sum (group DRO, Sagawa et al. 2020).",
        example: "outer = worst(over: task, ascent: 1e-5)",
    },
    Entry {
        name: "cvar",
        kind: Kind::Outer,
        params: &[Param::required(
            "q",
            Ty::Real { above: 0.0, closed: false, most: 1.0 },
            "the share of the tasks of a step that counts, the worst first",
        )],
        doc: "The mean of the losses of the worst tasks of a step, so many as make up the share `q`; the last of them counts in part \
              (conditional value at risk, Rockafellar & Uryasev 2000).",
        example: "outer = cvar(0.2)",
    },
    Entry {
        name: "average",
        kind: Kind::Outer,
        params: &[
            WEIGHTS,
            Param::optional("control", Ty::Bool, Initial::Bool(false), "whether tasks keep control variates"),
        ],
        doc: "The average of the adapted parameters over the tasks of the round (FedAvg, McMahan et al. 2017). Parameters named in \
              `keep` stay with their task and are not averaged. With `update`, the server treats start minus average as a gradient. \
              With `control`, each task keeps a control variate c_i, the mean gradient of its last local steps, and every local \
              gradient is corrected by c - c_i, where c is their mean over the pool (SCAFFOLD, Karimireddy et al. 2020, option II).",
        example: "outer = average(weights: examples)",
    },
];
