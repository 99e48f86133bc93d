//! Executors: what runs a tensor program.
//!
//! An [`Executor`] holds no plan and no files. It takes host tensors in, compiles a verified program once and runs
//! it many times on values that stay where it put them.

#[cfg(feature = "dfdx")]
pub mod dfdx;
pub mod exact;
pub mod reference;
mod rows;
pub mod shadow;
#[cfg(test)]
mod testing;

use thiserror::Error;

use crate::hash::record;
use crate::ir::{Function, Tensor, VerifyError};

pub use crate::ir::Precision;

record! {
    /// What decides the bits of a result besides plan, data and seed.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Numerics {
        /// The executor class, such as `dfdx-cpu`.
        pub executor: String,
        /// `f32` or `f64`.
        pub precision: String,
        /// Raised whenever the same program may give other bits.
        pub epoch: u32,
        /// The random generator and its transforms, such as `philox4x32-10/1`.
        pub random: String,
    }
}

/// Why a program could not be compiled or run.
#[derive(Debug, Error)]
pub enum ExecError {
    /// The device is absent or this build has no support for it; the text says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The program is malformed.
    #[error("the program `{function}` is malformed: {error}")]
    Malformed {
        /// The program's name.
        function: String,
        /// The broken invariant.
        error: VerifyError,
    },
    /// An argument has the wrong shape, or there are too few or many.
    #[error("`{function}` was called with {found}, it takes {wanted}")]
    Arguments {
        /// The program's name.
        function: String,
        /// What was given.
        found: String,
        /// What is taken.
        wanted: String,
    },
    /// A program does not fit into the memory it was given.
    #[error(
        "`{function}` needs {:.1} MB even if it computes values again in place of keeping them, and may have {:.1} MB: give it more, \
         fewer threads, or fewer tasks or examples a step",
        *.needed as f64 / 1e6, *.given as f64 / 1e6
    )]
    Memory {
        /// The program's name.
        function: String,
        /// The fewest bytes that were found to do.
        needed: u64,
        /// The bytes that it may use.
        given: u64,
    },
    /// The device failed, for instance for want of memory.
    #[error("the device failed in `{op}`: {reason}")]
    Device {
        /// The operation.
        op: &'static str,
        /// The device's own words.
        reason: String,
    },
}

/// Runs tensor programs on one device.
pub trait Executor: Send + Sync {
    /// A tensor on the device; cloning shares it.
    type Value: Clone + Send;
    /// A compiled program with the memory it works in; it serves one thread at a time.
    type Kernel: Send;

    /// The name of the executor class, which is part of a run's identity.
    fn name(&self) -> &'static str;

    /// The float type of every value.
    fn precision(&self) -> Precision;

    /// Takes a host tensor in, rounding to the executor's float type.
    fn upload(&self, tensor: &Tensor) -> Result<Self::Value, ExecError>;

    /// Takes in row-major numbers of 32 bits, as many as the dims say, without a way through wider ones where it needs none.
    fn upload_single(&self, dims: &[usize], numbers: Vec<f32>) -> Result<Self::Value, ExecError> {
        self.upload(&Tensor::new(dims.to_vec(), numbers.into_iter().map(f64::from).collect()))
    }

    /// Brings a value back, exactly.
    fn download(&self, value: &Self::Value) -> Result<Tensor, ExecError>;

    /// Verifies and compiles a program.
    fn compile(&self, function: &Function) -> Result<Self::Kernel, ExecError>;

    /// Says that a program will not be run for a while, so that much memory that it works in can be given back.
    fn rest(&self, _kernel: &Self::Kernel) {}

    /// Runs a compiled program on one value per input; gives one value per output.
    fn run(&self, kernel: &Self::Kernel, args: &[&Self::Value]) -> Result<Vec<Self::Value>, ExecError>;

    /// The same, into a list whose room is used again; what it held is dropped.
    fn run_into(
        &self,
        kernel: &Self::Kernel,
        args: &[&Self::Value],
        results: &mut Vec<Self::Value>,
    ) -> Result<(), ExecError> {
        results.clear();
        results.extend(self.run(kernel, args)?);
        Ok(())
    }
}

/// What a verified program is called and takes.
#[derive(Debug)]
struct Signature {
    name: String,
    inputs: Vec<(String, Vec<usize>)>,
}

impl Signature {
    /// The signature of a program; refuses a malformed one.
    fn of(function: &Function) -> Result<Signature, ExecError> {
        let name = function.name.clone();
        function.verify().map_err(|error| ExecError::Malformed { function: name.clone(), error })?;
        let inputs = function.inputs.iter().map(|port| (port.name.clone(), function.dims(port.node).to_vec()));
        Ok(Signature { name, inputs: inputs.collect() })
    }

    /// Refuses arguments of other shapes.
    fn check<'a>(&self, found: impl Iterator<Item = &'a [usize]> + Clone) -> Result<(), ExecError> {
        if found.clone().eq(self.inputs.iter().map(|(_, dims)| dims.as_slice())) {
            return Ok(());
        }
        let listed = |shapes: Vec<String>| if shapes.is_empty() { "nothing".to_owned() } else { shapes.join(", ") };
        Err(ExecError::Arguments {
            function: self.name.clone(),
            found: listed(found.map(|dims| format!("{dims:?}")).collect()),
            wanted: listed(self.inputs.iter().map(|(name, dims)| format!("{name} {dims:?}")).collect()),
        })
    }
}
