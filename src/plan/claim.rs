//! Evaluating claims, and writing them as text.

use std::fmt;

use super::types::{Arithmetic, Claim, Quantity, Relation, SeedReduction};
use crate::numeric;

/// The outcome of one claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether the relation holds: for sides with one value per seed, for every seed. NaN holds nowhere.
    pub holds: bool,
    /// The left side; of several seeds, the one that decides (the least favourable).
    pub left: f64,
    /// The right side at the same seed.
    pub right: f64,
}

impl Claim {
    /// Evaluates the claim. `at` gives the values of a series at a step, one per seed in a fixed order, NaN where a
    /// run diverged before.
    pub fn evaluate(&self, at: &dyn Fn(&str, &str, u64) -> Vec<f64>) -> Verdict {
        // A diverged run counts against the claim, whichever way the claim points.
        let bad = match self.relation {
            Relation::AtMost | Relation::Below => f64::INFINITY,
            Relation::AtLeast | Relation::Above => f64::NEG_INFINITY,
        };
        let (left, right) = (self.left.values(at, bad), self.right.values(at, -bad));
        let cases = left.len().max(right.len());
        let pick = |side: &[f64], i: usize| side[if side.len() == 1 { 0 } else { i }];
        // Positive slack: the claim holds with that much to spare.
        let slack = |l: f64, r: f64| match self.relation {
            Relation::AtMost | Relation::Below => r - l,
            Relation::AtLeast | Relation::Above => l - r,
        };
        let mut worst = Verdict { holds: true, left: f64::NAN, right: f64::NAN };
        for i in 0..cases {
            let (l, r) = (pick(&left, i), pick(&right, i));
            let holds = self.relation.holds(l, r);
            let worse = i == 0
                || (worst.holds && !holds)
                || (worst.holds == holds && slack(l, r) < slack(worst.left, worst.right));
            if worse {
                worst = Verdict { holds, left: l, right: r };
            }
        }
        worst
    }
}

impl Relation {
    /// Whether two numbers stand in the relation.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Relation::AtMost => left <= right,
            Relation::Below => left < right,
            Relation::AtLeast => left >= right,
            Relation::Above => left > right,
        }
    }

    /// The sign a person writes.
    pub fn symbol(self) -> &'static str {
        match self {
            Relation::AtMost => "<=",
            Relation::Below => "<",
            Relation::AtLeast => ">=",
            Relation::Above => ">",
        }
    }
}

impl Quantity {
    /// One value, or one per seed. `bad` is the infinity that stands for a diverged run in a reduction over seeds.
    fn values(&self, at: &dyn Fn(&str, &str, u64) -> Vec<f64>, bad: f64) -> Vec<f64> {
        match self {
            Quantity::Number { value } => vec![*value],
            Quantity::At { arm, measure, step } => at(arm, measure, *step),
            Quantity::OverSeeds { reduction, of } => vec![reduction.apply(&of.values(at, bad), bad)],
            Quantity::Arithmetic { operator, left, right } => {
                let turned = matches!(operator, Arithmetic::Sub | Arithmetic::Div);
                let (left, right) = (left.values(at, bad), right.values(at, if turned { -bad } else { bad }));
                let pick = |side: &[f64], i: usize| side[if side.len() == 1 { 0 } else { i }];
                (0..left.len().max(right.len())).map(|i| operator.apply(pick(&left, i), pick(&right, i))).collect()
            }
        }
    }
}

impl SeedReduction {
    /// One number for one value per seed, NaN for a diverged run, for which `bad` stands unless runs are counted.
    fn apply(self, values: &[f64], bad: f64) -> f64 {
        let known: Vec<f64> = values.iter().map(|&x| if x.is_nan() { bad } else { x }).collect();
        match self {
            SeedReduction::Median => numeric::median(&known),
            SeedReduction::Mean => numeric::mean(&known),
            SeedReduction::Min => numeric::quantile(&known, 0.0),
            SeedReduction::Max => numeric::quantile(&known, 1.0),
            // The spread of values of which one is infinite is no number; the diverged run still has to count.
            SeedReduction::Std if known.iter().any(|x| x.is_infinite()) => bad,
            SeedReduction::Std => numeric::sample_std(&known),
            SeedReduction::Quantile { q } => numeric::quantile(&known, q),
            SeedReduction::Diverged => values.iter().filter(|x| !x.is_finite()).count() as f64,
        }
    }
}

impl Arithmetic {
    /// The result for two numbers.
    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Arithmetic::Add => left + right,
            Arithmetic::Sub => left - right,
            Arithmetic::Mul => left * right,
            Arithmetic::Div => left / right,
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Sub => "-",
            Arithmetic::Mul => "*",
            Arithmetic::Div => "/",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.relation.symbol(), self.right)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Number { value } => write!(f, "{value}"),
            Quantity::At { arm, measure, step } => write!(f, "{arm}.{measure}[{step}]"),
            Quantity::OverSeeds { reduction, of } => {
                let name = match reduction {
                    SeedReduction::Median => "median",
                    SeedReduction::Mean => "mean",
                    SeedReduction::Min => "min",
                    SeedReduction::Max => "max",
                    SeedReduction::Std => "std",
                    SeedReduction::Quantile { q } => return write!(f, "quantile({of}, q: {q})"),
                    SeedReduction::Diverged => "diverged",
                };
                write!(f, "{name}({of})")
            }
            Quantity::Arithmetic { operator, left, right } => {
                let side = |f: &mut fmt::Formatter<'_>, q: &Quantity| match q {
                    Quantity::Arithmetic { .. } => write!(f, "({q})"),
                    _ => write!(f, "{q}"),
                };
                side(f, left)?;
                write!(f, " {} ", operator.symbol())?;
                side(f, right)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(reduction: SeedReduction, relation: Relation, value: f64) -> Claim {
        let of = Quantity::At { arm: "a".into(), measure: "m".into(), step: 9 };
        let left = Quantity::OverSeeds { reduction, of: of.into() };
        Claim { left, relation, right: Quantity::Number { value } }
    }

    #[test]
    fn reductions_over_seeds() {
        let at = |_: &str, _: &str, _: u64| vec![4.0, 1.0, 3.0, 2.0];
        for (reduction, exact) in [
            (SeedReduction::Quantile { q: 0.4 }, 2.2), // numpy.quantile
            (SeedReduction::Std, (5.0f64 / 3.0).sqrt()),
            (SeedReduction::Diverged, 0.0),
        ] {
            let verdict = claim(reduction, Relation::AtMost, 9.0).evaluate(&at);
            assert!(verdict.holds && (verdict.left - exact).abs() < 1e-15, "{reduction:?}: {verdict:?}");
        }
    }

    #[test]
    fn diverged_runs_are_counted_and_never_help_a_claim() {
        let at = |_: &str, _: &str, _: u64| vec![1.0, f64::NAN, 2.0, f64::INFINITY];
        assert!(claim(SeedReduction::Diverged, Relation::AtMost, 2.0).evaluate(&at).holds);
        assert!(!claim(SeedReduction::Diverged, Relation::AtMost, 1.0).evaluate(&at).holds);
        let broken = |_: &str, _: &str, _: u64| vec![1.0, f64::NAN, 2.0];
        for reduction in [SeedReduction::Std, SeedReduction::Quantile { q: 0.9 }, SeedReduction::Mean] {
            assert!(!claim(reduction, Relation::AtMost, 1e9).evaluate(&broken).holds, "{reduction:?}");
        }
        assert!(!claim(SeedReduction::Std, Relation::AtLeast, 0.0).evaluate(&broken).holds);
    }
}
