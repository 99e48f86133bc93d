//! The reference executor: plain loops in a fixed order, the same bits on every machine.
//!
//! Arithmetic is IEEE 754 `f64`; transcendental functions are those of the `libm` crate, which does not use the
//! platform's. With [`Precision::F32`] every operation is carried out in `f64` and its result rounded once to `f32`.
//! It is the oracle of the tests and the executor of builds without another.

mod kernels;

use std::sync::Arc;

use super::{ExecError, Executor, Precision, Signature};
use crate::ir::{Function, NodeId, Op, Tensor};

/// The executor; it holds nothing but the float type.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    precision: Precision,
}

impl Reference {
    /// An executor of that float type.
    pub fn new(precision: Precision) -> Reference {
        Reference { precision }
    }

    fn round(&self, data: &mut [f64]) {
        if self.precision == Precision::F32 {
            data.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        }
    }
}

/// A value of the reference executor: row-major elements that other values may share.
#[derive(Debug, Clone)]
pub struct Array {
    dims: Vec<usize>,
    data: Arc<Vec<f64>>,
}

/// A verified program with its signature, and when its values may be dropped.
#[derive(Debug)]
pub struct Program {
    function: Function,
    signature: Signature,
    releases: Vec<Vec<NodeId>>,
}

impl Executor for Reference {
    type Value = Array;
    type Kernel = Program;

    fn name(&self) -> &'static str {
        "reference"
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn upload(&self, tensor: &Tensor) -> Result<Array, ExecError> {
        let mut data = tensor.data().to_vec();
        self.round(&mut data);
        Ok(Array { dims: tensor.dims().to_vec(), data: Arc::new(data) })
    }

    fn download(&self, value: &Array) -> Result<Tensor, ExecError> {
        Ok(Tensor::new(value.dims.clone(), value.data.to_vec()))
    }

    fn compile(&self, function: &Function) -> Result<Program, ExecError> {
        let signature = Signature::of(function)?;
        Ok(Program { function: function.clone(), signature, releases: function.releases() })
    }

    fn run(&self, kernel: &Program, args: &[&Array]) -> Result<Vec<Array>, ExecError> {
        let function = &kernel.function;
        kernel.signature.check(args.iter().map(|a| &a.dims[..]))?;
        let mut values: Vec<Option<Array>> = vec![None; function.nodes.len()];
        for (i, node) in function.nodes.iter().enumerate() {
            let operands: Vec<&Array> =
                node.args.iter().map(|a| values[a.index()].as_ref().expect("operands are alive")).collect();
            let data = match node.op {
                Op::Input { index, .. } => Arc::clone(&args[index].data),
                Op::Reshape { .. } | Op::Detach | Op::CaseMean => Arc::clone(&operands[0].data),
                _ => {
                    let mut data = allocate(node.op.name(), node.dims.iter().product())?;
                    kernels::compute(&node.op, &operands, &node.dims, &mut data);
                    self.round(&mut data);
                    Arc::new(data)
                }
            };
            values[i] = Some(Array { dims: node.dims.clone(), data });
            kernel.releases[i].iter().for_each(|n| values[n.index()] = None);
        }
        Ok(function.outputs.iter().map(|p| values[p.node.index()].clone().expect("outputs are kept")).collect())
    }
}

/// An empty buffer with room for `len` elements.
fn allocate(op: &'static str, len: usize) -> Result<Vec<f64>, ExecError> {
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|error| ExecError::Device { op, reason: error.to_string() })?;
    Ok(data)
}
