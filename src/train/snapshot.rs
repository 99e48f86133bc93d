//! A cell that was left on the way: all that training needs to go on as if it had never stopped.
//!
//! Random numbers are addressed by step, so nothing of a generator needs keeping: the parameters that training moves, what the
//! update remembers, kept parameters and the adversary are the whole state. What never moves begins anew, from its file or its draws.

use super::TrainError;
use super::outer::State;
use crate::exec::{ExecError, Executor};
use crate::hash::{Bytes, DecodeError, Id, record};
use crate::ir::Tensor;

record! {
    /// A tensor, bit for bit.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Saved {
        /// Its dims, outermost first.
        pub dims: Vec<usize>,
        /// The elements in row-major order: IEEE 754 binary64, little-endian.
        pub bits: Bytes,
    }
    checked by Saved::check
}

impl Saved {
    fn of(tensor: &Tensor) -> Saved {
        Saved { dims: tensor.dims().to_vec(), bits: bits(tensor.data()) }
    }

    fn tensor(&self) -> Tensor {
        Tensor::new(self.dims.clone(), values(&self.bits))
    }

    fn check(&self) -> Result<(), DecodeError> {
        let wanted = self.dims.iter().try_fold(8usize, |bytes, &dim| bytes.checked_mul(dim));
        let fits = wanted == Some(self.bits.0.len());
        fits.then_some(()).ok_or_else(|| DecodeError::new(format!("dims {:?} do not fit the elements", self.dims)))
    }
}

record! {
    /// The points of a series that were taken so far.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Points {
        /// The steps.
        pub steps: Vec<u64>,
        /// One value per step: IEEE 754 binary64, little-endian.
        pub bits: Bytes,
    }
}

record! {
    /// A cell after some step.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Snapshot {
        /// The last step that was made.
        pub step: u64,
        /// Whether it diverged there.
        pub diverged: bool,
        /// The shared parameters, by position in the model; none where tasks keep their own, or where they are as they began.
        pub shared: Vec<Option<Saved>>,
        /// What the update remembers, by parameter and slot; nothing of parameters that it does not move.
        pub memory: Vec<Vec<Saved>>,
        /// The kept parameters of every task of the pool, by position; none where shared.
        pub kept: Vec<Option<Saved>>,
        /// The adversary's weights.
        pub adversary: Bytes,
        /// The control variates of every task of the pool, by position; empty where there are none.
        pub controls: Vec<Option<Saved>> = vec![],
        /// What was measured, in the order of the arm's measures.
        pub series: Vec<Points>,
        /// The steps at which the parameters were digested.
        pub traced: Vec<u64>,
        /// Their digests.
        pub digests: Vec<Id>,
    }
}

impl Snapshot {
    /// A state, without what was measured on the way to it and without the parameters that are as they began.
    pub(super) fn of_state<E: Executor>(exec: &E, state: &State<E>, unmoved: &[usize]) -> Result<Snapshot, TrainError> {
        // Named one by one, so that a state that grows does not compile until it is saved whole.
        let State { shared, memory, kept, adversary, controls } = state;
        let save = |value: &E::Value| exec.download(value).map(|tensor| Saved::of(&tensor));
        let moved = |(i, value): (usize, &Option<E::Value>)| {
            value.as_ref().filter(|_| !unmoved.contains(&i)).map(save).transpose()
        };
        let shared = shared.iter().enumerate().map(moved).collect::<Result<_, ExecError>>()?;
        let memory = memory.iter().map(|slots| slots.iter().map(save).collect()).collect::<Result<_, ExecError>>()?;
        Ok(Snapshot {
            step: 0,
            diverged: false,
            shared,
            memory,
            kept: kept.iter().map(|table| table.as_ref().map(Saved::of)).collect(),
            adversary: bits(adversary),
            controls: controls.iter().map(|table| table.as_ref().map(Saved::of)).collect(),
            series: Vec::new(),
            traced: Vec::new(),
            digests: Vec::new(),
        })
    }

    /// The state, on an executor, of a cell that began with these parameters.
    pub(super) fn state<E: Executor>(&self, exec: &E, begun: &[E::Value]) -> Result<State<E>, TrainError> {
        let load = |saved: &Saved| exec.upload(&saved.tensor());
        let shared = self.shared.iter().zip(&self.kept).zip(begun).map(|((saved, kept), begun)| match (saved, kept) {
            (Some(saved), _) => load(saved).map(Some),
            (None, Some(_)) => Ok(None),
            (None, None) => Ok(Some(begun.clone())),
        });
        let shared = shared.collect::<Result<_, ExecError>>()?;
        let memory =
            self.memory.iter().map(|slots| slots.iter().map(load).collect()).collect::<Result<_, ExecError>>()?;
        let kept = self.kept.iter().map(|table| table.as_ref().map(Saved::tensor)).collect();
        let controls = self.controls.iter().map(|table| table.as_ref().map(Saved::tensor)).collect();
        Ok(State { shared, memory, kept, adversary: values(&self.adversary), controls })
    }
}

/// The bits of some values.
pub(super) fn bits(values: &[f64]) -> Bytes {
    Bytes(values.iter().flat_map(|x| x.to_le_bytes()).collect())
}

/// The values of some bits.
pub(super) fn values(bits: &Bytes) -> Vec<f64> {
    bits.0.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect()
}
