//! Compiled programs with the tags of their inputs.

use crate::exec::{ExecError, Executor};
use crate::plan::lower::{Input, Program};

/// A compiled program.
pub(super) struct Kernel<E: Executor> {
    kernel: E::Kernel,
    inputs: Vec<Input>,
    /// The shape of every input.
    dims: Vec<Vec<usize>>,
}

impl<E: Executor> Kernel<E> {
    pub fn compile(exec: &E, program: &Program) -> Result<Kernel<E>, ExecError> {
        let f = &program.function;
        Ok(Kernel {
            kernel: exec.compile(f)?,
            inputs: program.inputs.clone(),
            dims: f.input_dims().map(<[usize]>::to_vec).collect(),
        })
    }

    /// The tag and shape of every input.
    pub fn inputs(&self) -> impl Iterator<Item = (Input, &[usize])> {
        self.inputs.iter().copied().zip(self.dims.iter().map(Vec::as_slice))
    }

    /// Says that it will not be run for a while.
    pub fn rest(&self, exec: &E) {
        exec.rest(&self.kernel);
    }

    /// Runs the program on values found by their tags.
    pub fn run<'v>(&self, exec: &E, find: impl Fn(Input) -> &'v E::Value) -> Result<Vec<E::Value>, ExecError>
    where
        E::Value: 'v,
    {
        let args: Vec<&E::Value> = self.inputs.iter().map(|&i| find(i)).collect();
        exec.run(&self.kernel, &args)
    }

    /// Runs the program on values made for each input from its tag and shape.
    pub fn run_made(
        &self,
        exec: &E,
        make: impl Fn(Input, &[usize]) -> Result<E::Value, ExecError>,
    ) -> Result<Vec<E::Value>, ExecError> {
        let args: Vec<E::Value> =
            self.inputs.iter().zip(&self.dims).map(|(&i, dims)| make(i, dims)).collect::<Result<_, _>>()?;
        exec.run(&self.kernel, &args.iter().collect::<Vec<_>>())
    }
}
