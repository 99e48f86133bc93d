//! Solvers: how parameters move, both inside a task (`adapt`) and outside (`update`).

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use super::schedule::Factor;
use crate::hash::variants;
use crate::ir::{Builder, Function, NodeId, Unary};

variants! {
    /// One rule that moves parameters.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Solver {
        /// Gradient descent with PyTorch's momentum and weight decay:
        /// `g += decay * theta; v = momentum * v + g; theta -= rate * v` (without momentum `v = g`).
        Sgd { rate: f64, momentum: f64, weight_decay: f64, schedule: Vec<Factor> = vec![] },
        /// Adam with bias correction (Kingma & Ba 2015, algorithm 1), and with decay apart from the gradient: `theta -= rate *
        /// weight_decay * theta` in every step (Loshchilov & Hutter 2019, algorithm 2).
        Adam {
            rate: f64,
            beta1: f64,
            beta2: f64,
            epsilon: f64,
            weight_decay: f64 = 0.0,
            schedule: Vec<Factor> = vec![],
        },
        /// The exact minimiser of a loss that is quadratic in the parameters, plus `penalty / 2` times their
        /// squared norm.
        ClosedForm { penalty: f64 },
        /// The mean of a function of one example over the support examples; `by_class` has one row for each class of the target.
        Mean { of: Function, by_class: bool },
    }
}

variants! {
    /// How long a solver works.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Budget {
        /// That many steps.
        Steps { count: u64 },
        /// That many passes over the task's examples.
        Epochs { count: u64 },
    }
}

impl Solver {
    /// The solver of a checked call of an adaptation or update.
    pub fn from_args(name: &str, args: &Args) -> Solver {
        let rate = || args.rate("rate").base;
        let schedule = || args.rate("rate").factors.clone();
        match name {
            "gradient" => Solver::Sgd { rate: rate(), momentum: 0.0, weight_decay: 0.0, schedule: schedule() },
            "sgd" => Solver::Sgd {
                rate: rate(),
                momentum: args.real("momentum"),
                weight_decay: args.real("weight_decay"),
                schedule: schedule(),
            },
            "adam" | "adamw" => Solver::Adam {
                rate: rate(),
                beta1: args.real("beta1"),
                beta2: args.real("beta2"),
                epsilon: args.real("epsilon"),
                weight_decay: args.get("weight_decay").map_or(0.0, |_| args.real("weight_decay")),
                schedule: schedule(),
            },
            "least_squares" => Solver::ClosedForm { penalty: 0.0 },
            "ridge" => Solver::ClosedForm { penalty: args.real("penalty") },
            other => unreachable!("`{other}` is not in the table of solvers"),
        }
    }

    /// The tensors the solver remembers for each parameter, all zero at the start.
    pub fn memory(&self) -> &'static [&'static str] {
        match self {
            Solver::Sgd { momentum, .. } if *momentum != 0.0 => &["velocity"],
            Solver::Adam { .. } => &["m", "v"],
            Solver::Sgd { .. } | Solver::ClosedForm { .. } | Solver::Mean { .. } => &[],
        }
    }

    /// Whether it takes steps along gradients.
    pub fn steps(&self) -> bool {
        matches!(self, Solver::Sgd { .. } | Solver::Adam { .. })
    }

    /// The numbers that depend on how many steps came before; programs take them as scalar inputs.
    pub fn schedule_names(&self) -> &'static [&'static str] {
        match (self, self.factors().is_empty()) {
            (Solver::Adam { .. }, true) => &["unbias_m", "unbias_v"],
            (Solver::Adam { .. }, false) => &["unbias_m", "unbias_v", "rate"],
            (Solver::Sgd { .. }, false) => &["rate"],
            (Solver::Sgd { .. }, true) | (Solver::ClosedForm { .. } | Solver::Mean { .. }, _) => &[],
        }
    }

    fn factors(&self) -> &[Factor] {
        match self {
            Solver::Sgd { schedule, .. } | Solver::Adam { schedule, .. } => schedule,
            Solver::ClosedForm { .. } | Solver::Mean { .. } => &[],
        }
    }

    /// Those numbers for step `step`, from 1: for Adam `1 / (1 - beta^step)`, and the step size where it changes.
    pub fn schedule(&self, step: u64) -> Vec<f64> {
        let mut numbers = match self {
            Solver::Adam { beta1, beta2, .. } => {
                [beta1, beta2].into_iter().map(|&beta| 1.0 / (1.0 - libm::pow(beta, step as f64))).collect()
            }
            Solver::Sgd { .. } | Solver::ClosedForm { .. } | Solver::Mean { .. } => vec![],
        };
        if let (Solver::Sgd { rate, .. } | Solver::Adam { rate, .. }, [_, ..]) = (self, self.factors()) {
            numbers.push(self.factors().iter().fold(*rate, |rate, factor| rate * factor.at(step)));
        }
        numbers
    }

    /// A direction times the step size.
    fn scaled(&self, b: &mut Builder, direction: NodeId, rate: f64, schedule: &[NodeId]) -> NodeId {
        match (self.factors(), schedule.last()) {
            ([_, ..], Some(&rate)) => {
                let dims = b.dims(direction).to_vec();
                let rate = b.expand(rate, &dims);
                b.mul(direction, rate)
            }
            _ => b.scale(direction, rate),
        }
    }

    /// One step of one parameter along a gradient. `memory` holds what [`Solver::memory`] names, `schedule` the scalars
    /// that [`Solver::schedule_names`] names. Returns the parameter and the memory after the step.
    pub fn step(
        &self,
        b: &mut Builder,
        theta: NodeId,
        gradient: NodeId,
        memory: &[NodeId],
        schedule: &[NodeId],
    ) -> (NodeId, Vec<NodeId>) {
        let dims = b.dims(theta).to_vec();
        match *self {
            Solver::Sgd { rate, momentum, weight_decay, .. } => {
                let mut g = gradient;
                if weight_decay != 0.0 {
                    let decay = b.scale(theta, weight_decay);
                    g = b.add(g, decay);
                }
                let memory = match memory {
                    [velocity] => {
                        let kept = b.scale(*velocity, momentum);
                        g = b.add(kept, g);
                        vec![g]
                    }
                    _ => vec![],
                };
                let change = self.scaled(b, g, rate, schedule);
                (b.sub(theta, change), memory)
            }
            Solver::Adam { rate, beta1, beta2, epsilon, weight_decay, .. } => {
                let m = blend(b, memory[0], gradient, beta1);
                let square = b.mul(gradient, gradient);
                let v = blend(b, memory[1], square, beta2);
                let unbias_m = b.expand(schedule[0], &dims);
                let unbias_v = b.expand(schedule[1], &dims);
                let m_hat = b.mul(m, unbias_m);
                let v_hat = b.mul(v, unbias_v);
                let root = b.unary(Unary::Sqrt, v_hat);
                let scale = b.offset(root, epsilon);
                let mut direction = b.div(m_hat, scale);
                if weight_decay != 0.0 {
                    let decay = b.scale(theta, weight_decay);
                    direction = b.add(direction, decay);
                }
                let change = self.scaled(b, direction, rate, schedule);
                (b.sub(theta, change), vec![m, v])
            }
            Solver::ClosedForm { .. } | Solver::Mean { .. } => unreachable!("a closed form has no steps"),
        }
    }
}

/// `beta * old + (1 - beta) * new`
fn blend(b: &mut Builder, old: NodeId, new: NodeId, beta: f64) -> NodeId {
    let (old, new) = (b.scale(old, beta), b.scale(new, 1.0 - beta));
    b.add(old, new)
}

const ON: Param = Param::required("on", Ty::Groups, "the parameters that move");
const RATE: Param = Param::required("rate", Ty::Rate, "the step size");
const STEPS: Param = Param::optional("steps", Ty::Count(0), Initial::Absent, "the number of steps");
const EPOCHS: Param = Param::optional(
    "epochs",
    Ty::Count(1),
    Initial::Absent,
    "the number of passes over the examples, instead of `steps`",
);
const BATCH: Param =
    Param::optional("batch", Ty::Count(1), Initial::Absent, "the examples of one step; all of them if not given");
const MOMENTUM: Param =
    Param::optional("momentum", Ty::SHARE, Initial::Real(0.0), "the share of the velocity that is kept");
const WEIGHT_DECAY: Param = Param::optional(
    "weight_decay",
    Ty::NON_NEGATIVE,
    Initial::Real(0.0),
    "the multiple of the parameter added to its gradient",
);
const BETA1: Param = Param::optional(
    "beta1",
    Ty::Real { above: 0.0, closed: false, most: 0.999_999 },
    Initial::Real(0.9),
    "the decay of the first moment",
);
const BETA2: Param = Param::optional(
    "beta2",
    Ty::Real { above: 0.0, closed: false, most: 0.999_999_999 },
    Initial::Real(0.999),
    "the decay of the second moment",
);
const EPSILON: Param =
    Param::optional("epsilon", Ty::POSITIVE, Initial::Real(1e-8), "what is added to the root of the second moment");

const DECOUPLED: Param = Param::optional(
    "weight_decay",
    Ty::NON_NEGATIVE,
    Initial::Real(0.01),
    "the multiple of the parameter that a step of size 1 takes away",
);
const TOWARD: Param = Param::optional(
    "toward",
    Ty::Anchor,
    Initial::Absent,
    "what they are held near: `start`, where the task began, or other parameters of the same shapes",
);
const WEIGHT: Param =
    Param::optional("weight", Ty::NON_NEGATIVE, Initial::Absent, "the factor of half the squared distance to it");
const AHEAD: Param = Param::optional(
    "ahead",
    Ty::Adaptation,
    Initial::Absent,
    "an adaptation after which the loss of each step is taken: its gradient is a meta-gradient",
);
const THROUGH: Param = Param::optional(
    "through",
    Ty::Word(&["exact", "first_order"]),
    Initial::Absent,
    "what the gradient sees of the adaptation `ahead`; everything if not given",
);
const OF: Param =
    Param::required("of", Ty::Tensor, "a formula of one example, or a value that the model names by `let`");
const EXAMPLES: Param = Param::optional(
    "examples",
    Ty::Range,
    Initial::Absent,
    "the support examples that it sees, by their place; all of them if not given",
);
const WITHOUT: Param =
    Param::optional("without", Ty::AddedGroups, Initial::Absent, "added groups that the loss leaves out here");

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "none",
        kind: Kind::Adaptation,
        params: &[],
        doc: "No adaptation: every task uses the shared parameters as they are.",
        example: "adapt = none",
    },
    Entry {
        name: "gradient",
        kind: Kind::Adaptation,
        params: &[ON, RATE, STEPS, TOWARD, WEIGHT, WITHOUT, AHEAD, THROUGH, EXAMPLES],
        doc: "Gradient descent on the mean loss over all support examples (or on the risk): `theta -= rate * grad`.",
        example: "adapt = gradient(w, rate: 0.1, steps: 1)",
    },
    Entry {
        name: "sgd",
        kind: Kind::Adaptation,
        params: &[
            ON,
            RATE,
            STEPS,
            EPOCHS,
            BATCH,
            MOMENTUM,
            WEIGHT_DECAY,
            TOWARD,
            WEIGHT,
            WITHOUT,
            AHEAD,
            THROUGH,
            EXAMPLES,
        ],
        doc: "Gradient descent on batches of a task's support examples, reshuffled every epoch, with PyTorch's momentum and weight decay.",
        example: "adapt = sgd(head, rate: 0.1, epochs: 5, batch: 10)",
    },
    Entry {
        name: "adam",
        kind: Kind::Adaptation,
        params: &[
            ON, RATE, STEPS, EPOCHS, BATCH, BETA1, BETA2, EPSILON, TOWARD, WEIGHT, WITHOUT, AHEAD, THROUGH, EXAMPLES,
        ],
        doc: "Adam on batches of a task's support examples; its moments start at zero for every adaptation (Kingma & Ba 2015).",
        example: "adapt = adam(head, rate: 1e-3, steps: 10)",
    },
    Entry {
        name: "adamw",
        kind: Kind::Adaptation,
        params: &[
            ON, RATE, STEPS, EPOCHS, BATCH, BETA1, BETA2, EPSILON, DECOUPLED, TOWARD, WEIGHT, WITHOUT, AHEAD, THROUGH,
            EXAMPLES,
        ],
        doc: "Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019).",
        example: "adapt = adamw(head, rate: 1e-3, steps: 10)",
    },
    Entry {
        name: "least_squares",
        kind: Kind::Adaptation,
        params: &[ON, WITHOUT, EXAMPLES],
        doc: "The exact minimiser over the named parameters of a loss that is quadratic in them.",
        example: "adapt = least_squares(w)",
    },
    Entry {
        name: "ridge",
        kind: Kind::Adaptation,
        params: &[
            ON,
            Param::required("penalty", Ty::POSITIVE, "the weight of half the squared norm"),
            WITHOUT,
            EXAMPLES,
        ],
        doc: "The exact minimiser over the named parameters of a loss that is quadratic in them, plus `penalty / 2` times their squared norm.",
        example: "adapt = ridge(w, penalty: 1e-3)",
    },
    Entry {
        name: "mean",
        kind: Kind::Adaptation,
        params: &[ON, OF, EXAMPLES],
        doc: "The named parameter becomes the mean over the support examples of a formula of one example: of its variables, of other \
              parameters and of the model (conditional neural processes, Garnelo et al. 2018; deep sets, Zaheer et al. 2017).",
        example: "adapt = mean(w, of: y * (x @ B))",
    },
    Entry {
        name: "class_mean",
        kind: Kind::Adaptation,
        params: &[ON, OF, EXAMPLES],
        doc: "Row c of the named parameter becomes the mean of a formula over the support examples whose target `y` is class c; \
              without such examples it stays as it is (the prototypes of Snell et al. 2017, equation 1).",
        example: "adapt = class_mean(P, of: x @ W)",
    },
    Entry {
        name: "in_context",
        kind: Kind::Adaptation,
        params: &[],
        doc: "Nothing moves: the model reads the support set itself. Its input `support_x: [n, d]` is the variable `x` of all `n` \
              support examples of the task (in-context learning, Garg et al. 2022).",
        example: "adapt = in_context",
    },
    Entry {
        name: "sgd",
        kind: Kind::Update,
        params: &[RATE, MOMENTUM, WEIGHT_DECAY],
        doc: "Gradient descent on the outer objective, with PyTorch's momentum and weight decay.",
        example: "update = sgd(rate: 0.3)",
    },
    Entry {
        name: "adam",
        kind: Kind::Update,
        params: &[RATE, BETA1, BETA2, EPSILON],
        doc: "Adam on the outer objective (Kingma & Ba 2015).",
        example: "update = adam(rate: 1e-3)",
    },
    Entry {
        name: "adamw",
        kind: Kind::Update,
        params: &[RATE, BETA1, BETA2, EPSILON, DECOUPLED],
        doc: "Adam on the outer objective, with weight decay apart from the gradient (Loshchilov & Hutter 2019).",
        example: "update = adamw(rate: 1e-3)",
    },
];
