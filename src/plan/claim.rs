//! Evaluating claims, and writing them as text.

use std::fmt;

use super::types::{Along, Arithmetic, Claim, Quantity, Relation, SeedReduction};
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
        // Positive slack: the claim holds with that much to spare.
        let slack = |l: f64, r: f64| match self.relation {
            Relation::AtMost | Relation::Below => r - l,
            Relation::AtLeast | Relation::Above => l - r,
        };
        let mut worst: Option<Verdict> = None;
        for (left, right) in zipped(self.left.points(), self.right.points()) {
            for (left, right) in zipped(&left.values(at, bad), &right.values(at, -bad)) {
                let holds = self.relation.holds(*left, *right);
                let worse = worst.as_ref().is_none_or(|worst| {
                    (worst.holds && !holds)
                        || (worst.holds == holds && slack(*left, *right) < slack(worst.left, worst.right))
                });
                if worse {
                    worst = Some(Verdict { holds, left: *left, right: *right });
                }
            }
        }
        worst.unwrap_or(Verdict { holds: false, left: f64::NAN, right: f64::NAN })
    }
}

/// Pairs of both sides; a side of one value goes with every value of the other.
fn zipped<'s, T>(left: &'s [T], right: &'s [T]) -> impl Iterator<Item = (&'s T, &'s T)> {
    let pick = |side: &'s [T], i: usize| side.get(if side.len() == 1 { 0 } else { i });
    (0..left.len().max(right.len())).map_while(move |i| Some((pick(left, i)?, pick(right, i)?)))
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
    /// The quantity at every point of the sweeps, or the one that it is.
    fn points(&self) -> &[Quantity] {
        match self {
            Quantity::Each { of } => of,
            _ => std::slice::from_ref(self),
        }
    }

    /// One value, or one per seed. `bad` is the infinity that stands for a diverged run in a reduction over seeds.
    fn values(&self, at: &dyn Fn(&str, &str, u64) -> Vec<f64>, bad: f64) -> Vec<f64> {
        match self {
            Quantity::Number { value } => vec![*value],
            Quantity::At { arm, measure, step } => at(arm, measure, *step),
            Quantity::OverSeeds { reduction, of } => vec![reduction.apply(&of.values(at, bad), bad)],
            Quantity::Arithmetic { operator, left, right } => {
                let turned = matches!(operator, Arithmetic::Sub | Arithmetic::Div);
                let (left, right) = (left.values(at, bad), right.values(at, if turned { -bad } else { bad }));
                zipped(&left, &right).map(|(left, right)| operator.apply(*left, *right)).collect()
            }
            Quantity::Along { reduction, of, .. } => {
                let of: Vec<Vec<f64>> = of.iter().map(|q| q.values(at, bad)).collect();
                let seeds = of.iter().map(Vec::len).max().unwrap_or(0);
                let value =
                    |v: &Vec<f64>, seed| v.get(if v.len() == 1 { 0 } else { seed }).copied().unwrap_or(f64::NAN);
                let under = |seed: usize| of.iter().map(|v| value(v, seed)).collect();
                (0..seeds).map(|seed| reduction.apply(under(seed), bad)).collect()
            }
            Quantity::Each { of } => of.iter().flat_map(|q| q.values(at, bad)).collect(),
        }
    }
}

impl Along {
    /// One number for the values in order; `bad` stands where one of them is missing.
    fn apply(&self, values: Vec<f64>, bad: f64) -> f64 {
        let broken = values.iter().any(|x| !x.is_finite());
        match self {
            Along::Reduce { reduction } => reduction.apply(&values, bad),
            Along::Slope { .. } | Along::Rise if broken => bad,
            Along::Rise => values.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min),
            Along::Slope { at } if values.iter().chain(at).any(|&x| x <= 0.0) => bad,
            Along::Slope { at } => {
                let log = |xs: &[f64]| xs.iter().map(|&x| libm::log(x)).collect::<Vec<f64>>();
                numeric::slope(&log(at), &log(&values))
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

impl SeedReduction {
    /// The name, and the argument that follows what is reduced.
    fn shown(self) -> (&'static str, String) {
        let name = match self {
            SeedReduction::Median => "median",
            SeedReduction::Mean => "mean",
            SeedReduction::Min => "min",
            SeedReduction::Max => "max",
            SeedReduction::Std => "std",
            SeedReduction::Quantile { q } => return ("quantile", format!(", q: {q}")),
            SeedReduction::Diverged => "diverged",
        };
        (name, String::new())
    }
}

/// The first of several quantities that differ in a step or a point; the last as well would double with every reduction
/// within another.
struct First<'q>(&'q [Quantity]);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [only] => write!(f, "{only}"),
            [first, ..] => write!(f, "{first}, .."),
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
            Quantity::Number { value } if *value != 0.0 && !(1e-4..1e9).contains(&value.abs()) => {
                write!(f, "{value:e}")
            }
            Quantity::Number { value } => write!(f, "{value}"),
            Quantity::At { arm, measure, step } => write!(f, "{arm}.{measure}[{step}]"),
            Quantity::OverSeeds { reduction, of } => {
                let (name, q) = reduction.shown();
                write!(f, "{name}({of}{q})")
            }
            Quantity::Along { over, reduction, of } => {
                let (name, q) = match reduction {
                    Along::Reduce { reduction } => reduction.shown(),
                    Along::Slope { .. } => ("slope", String::new()),
                    Along::Rise => ("rise", String::new()),
                };
                write!(f, "{name}({}{q}, over: {over})", First(of))
            }
            Quantity::Each { of } => write!(f, "{}", First(of)),
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

    /// Three points of a sweep, two seeds: 2 x^1.5 and 3 x^1.5 at x = 1, 4, 9.
    fn swept() -> Vec<Quantity> {
        let at = |arm: &str| Quantity::At { arm: arm.into(), measure: "m".into(), step: 0 };
        ["1", "4", "9"].map(at).into()
    }

    fn power(arm: &str, _: &str, _: u64) -> Vec<f64> {
        let x: f64 = arm.parse().expect("a number");
        vec![2.0 * x * x.sqrt(), 3.0 * x * x.sqrt()]
    }

    fn along(reduction: Along, of: Vec<Quantity>) -> Claim {
        let left = Quantity::Along { over: "x".into(), reduction, of };
        Claim { left, relation: Relation::AtLeast, right: Quantity::Number { value: 0.0 } }
    }

    #[test]
    fn a_power_law_has_its_exponent_as_slope_and_rises() {
        let slope = Along::Slope { at: vec![1.0, 4.0, 9.0] };
        let verdict = along(slope.clone(), swept()).evaluate(&power);
        assert!((verdict.left - 1.5).abs() < 1e-12, "{verdict:?}");
        assert_eq!(along(Along::Rise, swept()).evaluate(&power).left, 14.0);
        let down: Vec<Quantity> = swept().into_iter().rev().collect();
        assert!(!along(Along::Rise, down).evaluate(&power).holds);
        let broken = |arm: &str, m: &str, step: u64| {
            if arm == "4" { vec![f64::NAN, 1.0] } else { power(arm, m, step) }
        };
        for reduction in [slope, Along::Rise, Along::Reduce { reduction: SeedReduction::Min }] {
            assert!(!along(reduction, swept()).evaluate(&broken).holds);
        }
        let most = Along::Reduce { reduction: SeedReduction::Max };
        assert_eq!(along(most, swept()).evaluate(&power).left, 54.0, "the least favourable seed");
    }

    #[test]
    fn a_claim_at_every_point_is_judged_by_the_worst_of_them() {
        let claim = Claim {
            left: Quantity::Each { of: swept() },
            relation: Relation::AtMost,
            right: Quantity::Number { value: 60.0 },
        };
        assert_eq!(claim.evaluate(&power), Verdict { holds: false, left: 81.0, right: 60.0 });
        let paired = Claim { right: Quantity::Each { of: swept() }, ..claim };
        assert!(paired.evaluate(&power).holds, "compared point by point");
    }

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
