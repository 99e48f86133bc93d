//! What a run computed, bit for bit: series, traces, weights, verdicts of claims. No time and no host.

use crate::hash::{Bytes, DecodeError, Id, record, variants};
use crate::ir::{Precision, Tensor};

record! {
    /// One measured series. The values are kept as bits, so a NaN keeps its payload and a zero its sign.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Series {
        /// The steps at which it was measured.
        pub steps: Vec<u64>,
        /// One value per step: IEEE 754 binary64, little-endian.
        pub bits: Bytes,
    }
    checked by Series::check
}

impl Series {
    /// The series of these values at these steps; refuses lists of unequal length.
    pub fn new(steps: Vec<u64>, values: &[f64]) -> Result<Series, DecodeError> {
        let series = Series { steps, bits: Bytes(values.iter().flat_map(|x| x.to_le_bytes()).collect()) };
        series.check()?;
        Ok(series)
    }

    /// The values, one per step, with the very bits that were stored.
    pub fn values(&self) -> Vec<f64> {
        read_f64(&self.bits.0)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.bits.0.len() != 8 * self.steps.len() {
            let reason = format!("{} steps take 8 bytes each, there are {}", self.steps.len(), self.bits.0.len());
            return Err(DecodeError::new(reason).within("bits"));
        }
        Ok(())
    }
}

record! {
    /// Digests of the training state along a run; they locate the first step that differs.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Trace {
        /// The steps at which the state was digested.
        pub steps: Vec<u64>,
        /// One digest per step.
        pub digests: Vec<Id>,
    }
    checked by Trace::check
}

impl Trace {
    /// The trace of these digests, in their order.
    pub fn new(digests: &[(u64, Id)]) -> Trace {
        let (steps, digests) = digests.iter().copied().unzip();
        Trace { steps, digests }
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.steps.len() != self.digests.len() {
            let reason = format!("{} steps have {} digests", self.steps.len(), self.digests.len());
            return Err(DecodeError::new(reason).within("digests"));
        }
        Ok(())
    }
}

record! {
    /// Trained parameters.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Weights {
        /// The tensors, in the order of the plan.
        pub tensors: Vec<Weight>,
    }
}

record! {
    /// One tensor of parameters.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Weight {
        /// The parameter's name.
        pub name: String,
        /// Its dims, outermost first.
        pub dims: Vec<usize>,
        /// The float type of the run.
        pub precision: Precision,
        /// The elements in row-major order, little-endian, 4 or 8 bytes each.
        pub bits: Bytes,
    }
    checked by Weight::check
}

impl Weight {
    /// A host tensor in the float type of the run; with [`Precision::F32`] its elements are `f32` values, held exactly.
    pub fn new(name: impl Into<String>, tensor: &Tensor, precision: Precision) -> Weight {
        let bits = Bytes(tensor.to_le_bytes(precision));
        Weight { name: name.into(), dims: tensor.dims().to_vec(), precision, bits }
    }

    /// The elements in row-major order.
    pub fn values(&self) -> Vec<f64> {
        match self.precision {
            Precision::F32 => {
                self.bits.0.chunks_exact(4).map(|c| f64::from(f32::from_le_bytes([c[0], c[1], c[2], c[3]]))).collect()
            }
            Precision::F64 => read_f64(&self.bits.0),
        }
    }

    /// The bytes of one element: 4 or 8.
    pub fn width(&self) -> usize {
        match self.precision {
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }

    fn check(&self) -> Result<(), DecodeError> {
        let wanted = self.dims.iter().try_fold(self.width(), |bytes, &dim| bytes.checked_mul(dim));
        if wanted != Some(self.bits.0.len()) {
            let reason = format!("dims {:?} do not make {} bytes", self.dims, self.bits.0.len());
            return Err(DecodeError::new(reason).within("bits"));
        }
        Ok(())
    }
}

fn read_f64(bytes: &[u8]) -> Vec<f64> {
    let words = bytes.chunks_exact(8);
    words.map(|c| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]])).collect()
}

variants! {
    /// How a cell ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Status {
        /// All steps were made.
        Finished,
        /// A parameter or a measured value was not finite at that step.
        Diverged { step: u64 },
    }
}

record! {
    /// One arm under one seed.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Cell {
        /// What decides the cell: the id of its [`CellInput`](super::CellInput). Cells of one key are equal, but for their arm's name.
        pub key: Id,
        /// The arm.
        pub arm: String,
        /// The seed.
        pub seed: u64,
        /// How it ended.
        pub status: Status,
        /// The measured series, in the order of the plan.
        pub series: Vec<CellSeries>,
        /// The [`Trace`].
        pub trace: Id,
        /// The final [`Weights`].
        pub weights: Id,
    }
}

record! {
    /// A series of a cell.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CellSeries {
        /// The measure's name.
        pub measure: String,
        /// The [`Series`].
        pub id: Id,
    }
}

record! {
    /// What became of one claim; its sides may be NaN.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ClaimVerdict {
        /// Whether it held.
        pub holds: bool,
        /// The value of its left side.
        pub left: f64,
        /// The value of its right side.
        pub right: f64,
    }
}

record! {
    /// All that a run computed. Its id is the identity of the result.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Outcome {
        /// The [`Input`](super::Input) it answers.
        pub input: Id,
        /// One cell per arm and seed, in the order of the plan.
        pub cells: Vec<Cell>,
        /// One verdict per claim, in the order of the plan.
        pub claims: Vec<ClaimVerdict>,
    }
}
