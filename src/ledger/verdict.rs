//! What a replay proves: the verdicts, their exit codes and their words.

use std::fmt;

use super::record::check_left_out;
use crate::hash::{DecodeError, Id, record, variants};

record! {
    /// How far values may lie apart when executors differ: `|a - b| <= absolute + relative * max(|a|, |b|)`.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Tolerance {
        /// In the unit of the value.
        pub absolute: f64,
        /// As a share of the larger magnitude.
        pub relative: f64,
    }
}

impl Tolerance {
    /// Whether two values are as close as the policy asks. NaN is close to NaN only, an infinity to itself only.
    pub fn allows(&self, a: f64, b: f64) -> bool {
        if a == b || (a.is_nan() && b.is_nan()) {
            return true;
        }
        let finite = a.is_finite() && b.is_finite();
        finite && (a - b).abs() <= self.absolute + self.relative * a.abs().max(b.abs())
    }
}

variants! {
    /// What differs.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum What {
        /// How the cell ended.
        Status,
        /// A measured series.
        Series { measure: String },
        /// The digest of the training state.
        Trace,
        /// An element of a final parameter, counted in row-major order.
        Weights { name: String, element: usize },
        /// The final parameters as a whole, where those of the record were not kept and only their ids can be compared.
        AllWeights,
        /// The verdict of a claim, counted from 0.
        Claim { index: usize },
    }
}

record! {
    /// Where two results differ.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Place {
        /// The arm; none for a claim, which may read several.
        pub arm: Option<String>,
        /// The seed; none for a claim.
        pub seed: Option<u64>,
        /// What differs there.
        pub what: What,
        /// The training step; none for what there is only at the end.
        pub step: Option<u64>,
    }
}

variants! {
    /// The outcome of comparing a replay with the record.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Verdict {
        /// Every bit is the same.
        Identical,
        /// The executors' numerics differ and every value is as close as the policy asks. `worst_relative` is the largest
        /// `|a - b| / max(|a|, |b|)`, found at `place`; no place where all values are equal.
        WithinTolerance { policy: Tolerance, worst_relative: f64, place: Option<Place> },
        /// The first difference in the order of steps, then of cells. Bits are hexadecimal, most significant digit first,
        /// or words for what has no bits (`absent`, `Finished`).
        Diverged { place: Place, left_bits: String, right_bits: String },
        /// Something needed for the comparison is missing or damaged.
        Inconclusive { reason: String },
        /// The two answer different questions: other plans or other data.
        NotComparable { reason: String },
    }
}

record! {
    /// A verdict together with the two results it is about.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Comparison {
        /// The recorded [`Outcome`](super::Outcome).
        pub old: Id,
        /// The replayed [`Outcome`](super::Outcome).
        pub new: Id,
        /// What came of it.
        pub verdict: Verdict,
        /// The final weights of the two results that neither the recorded run nor its replay kept, in the order of their ids.
        pub left_out: Vec<Id> = vec![],
    }
    checked by Comparison::check
}

impl Comparison {
    fn check(&self) -> Result<(), DecodeError> {
        check_left_out(&self.left_out)
    }
}

impl Verdict {
    /// The exit code of `metadsl replay`: 0 identical, 10 within tolerance, 20 diverged, 30 inconclusive, 40 not comparable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Verdict::Identical => 0,
            Verdict::WithinTolerance { .. } => 10,
            Verdict::Diverged { .. } => 20,
            Verdict::Inconclusive { .. } => 30,
            Verdict::NotComparable { .. } => 40,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Status => write!(f, "the end")?,
            What::Series { measure } => write!(f, "series `{measure}`")?,
            What::Trace => write!(f, "the training state")?,
            What::Weights { name, element } => write!(f, "element {element} of the parameter `{name}`")?,
            What::AllWeights => write!(f, "the final parameters, of which the record kept the id alone,")?,
            What::Claim { index } => write!(f, "claim {}", index + 1)?,
        }
        if let Some(arm) = &self.arm {
            write!(f, " of arm `{arm}`")?;
        }
        if let Some(seed) = self.seed {
            write!(f, ", seed {seed}")?;
        }
        if let Some(step) = self.step {
            write!(f, ", at step {step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Identical => write!(f, "identical: every bit is the same"),
            Verdict::WithinTolerance { policy, worst_relative, place } => {
                let Tolerance { absolute, relative } = policy;
                write!(f, "within tolerance (absolute {absolute:e}, relative {relative:e})")?;
                match place {
                    Some(place) => write!(f, ": the largest relative difference is {worst_relative:e}, in {place}"),
                    None => write!(f, ": all values are equal"),
                }
            }
            Verdict::Diverged { place, left_bits, right_bits } => {
                write!(f, "diverged: {place}: recorded {left_bits}, replayed {right_bits}")
            }
            Verdict::Inconclusive { reason } => write!(f, "inconclusive: {reason}"),
            Verdict::NotComparable { reason } => write!(f, "not comparable: {reason}"),
        }
    }
}
