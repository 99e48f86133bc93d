//! Schedules: step sizes that change from step to step.

use super::args::Args;
use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::hash::variants;

variants! {
    /// A factor of a step size, by the number of the step.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Factor {
        /// From `1 / steps` at the first step to 1 at step `steps`, and 1 from then on.
        Warmup { steps: u64 },
        /// Half a cosine from 1 before the first step to `to` after `over` steps, and `to` from then on.
        Cosine { to: f64, over: u64 },
        /// A line from 1 before the first step to `to` after `over` steps, and `to` from then on.
        Linear { to: f64, over: u64 },
        /// `by` to the number of whole `every` steps that are done.
        Step { by: f64, every: u64 },
    }
}

impl Factor {
    /// The factor at step `step`, from 1.
    pub fn at(&self, step: u64) -> f64 {
        let share = |over: u64| ((step - 1).min(over)) as f64 / over as f64;
        match *self {
            Factor::Warmup { steps } => step.min(steps) as f64 / steps as f64,
            Factor::Cosine { to, over } => {
                to + (1.0 - to) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * share(over)))
            }
            Factor::Linear { to, over } => 1.0 + (to - 1.0) * share(over),
            Factor::Step { by, every } => libm::pow(by, ((step - 1) / every) as f64),
        }
    }
}

/// A step size as it is written: a number, a number with factors, or learned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rate {
    /// The number that the factors multiply.
    pub base: f64,
    /// How it changes from step to step.
    pub factors: Vec<Factor>,
    /// The parameters that are the step sizes, one for each parameter that moves.
    pub learned: Vec<String>,
}

impl Rate {
    /// The same at every step.
    pub fn constant(base: f64) -> Rate {
        Rate { base, ..Rate::default() }
    }

    /// The rate of a checked call of a schedule.
    pub fn from_args(name: &str, args: &Args) -> Rate {
        let mut rate = args.rate("rate").clone();
        let count = |key: &str| args.count(key).expect("a schedule says how long it is");
        rate.factors.push(match name {
            "warmup" => Factor::Warmup { steps: count("steps") },
            "cosine" => Factor::Cosine { to: args.real("to"), over: count("over") },
            "linear" => Factor::Linear { to: args.real("to"), over: count("over") },
            "step" => Factor::Step { by: args.real("by"), every: count("every") },
            other => unreachable!("`{other}` is not in the table of schedules"),
        });
        rate
    }
}

const RATE: Param = Param::required("rate", Ty::Rate, "the step size that it changes, or another schedule");
const TO: Param =
    Param::optional("to", Ty::SHARE, Initial::Real(0.0), "the share of the step size that is left at the end");
const OVER: Param = Param::required("over", Ty::Count(1), "the number of steps until then");

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "warmup",
        kind: Kind::Schedule,
        params: &[RATE, Param::required("steps", Ty::Count(1), "the step that is the first whole one")],
        doc: "A step size that grows in a line over the first steps: `rate * t / steps` at step t.",
        example: "rate: warmup(0.1, steps: 10)",
    },
    Entry {
        name: "cosine",
        kind: Kind::Schedule,
        params: &[RATE, TO, OVER],
        doc: "A step size that falls along half a cosine (Loshchilov & Hutter 2017, equation 5, without restarts).",
        example: "rate: cosine(0.1, over: 500)",
    },
    Entry {
        name: "linear",
        kind: Kind::Schedule,
        params: &[RATE, TO, OVER],
        doc: "A step size that falls in a line.",
        example: "rate: linear(0.1, to: 0.01, over: 500)",
    },
    Entry {
        name: "step",
        kind: Kind::Schedule,
        params: &[
            RATE,
            Param::required("by", Ty::POSITIVE, "the factor of each change"),
            Param::required("every", Ty::Count(1), "the number of steps between changes"),
        ],
        doc: "A step size that is multiplied by a factor after every so many steps.",
        example: "rate: step(0.1, by: 0.5, every: 100)",
    },
];

#[cfg(test)]
mod tests {
    use super::Factor;

    #[test]
    fn factors_by_hand() {
        let at = |factor: Factor, steps: [u64; 4]| steps.map(|step| factor.at(step));
        assert_eq!(at(Factor::Warmup { steps: 4 }, [1, 2, 4, 9]), [0.25, 0.5, 1.0, 1.0]);
        assert_eq!(at(Factor::Linear { to: 0.5, over: 4 }, [1, 3, 5, 9]), [1.0, 0.75, 0.5, 0.5]);
        assert_eq!(at(Factor::Step { by: 0.5, every: 3 }, [1, 3, 4, 7]), [1.0, 1.0, 0.5, 0.25]);
        let [first, middle, end, after] = at(Factor::Cosine { to: 0.2, over: 4 }, [1, 3, 5, 9]);
        assert_eq!((first, end, after), (1.0, 0.2, 0.2));
        assert!((middle - 0.6).abs() < 1e-15, "half way down: {middle}");
    }
}
