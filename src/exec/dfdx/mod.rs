//! The executor that runs programs through dfdx, on a CPU or an NVIDIA GPU.
//!
//! dfdx computes the forward operations of programs that are already differentiated; its tape is not used. A value is
//! a contiguous dfdx tensor of one axis with dims of our own, which every operation views at the rank it needs
//! (`instruction`). A program is first lowered to such operations (`lower`) and then planned (`kernel`): each
//! value is dropped, or overwritten, by its last user. Tensors without elements never reach dfdx.

mod device;
mod host;
mod instruction;
mod kernel;
mod lower;
mod remote;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::Arc;

use dfdx::prelude::*;

pub use device::{Backend, Element};
pub use kernel::Kernel;
pub use remote::{Handle, Remote, RemoteValue};

use super::{ExecError, Executor, Precision, Signature};
use crate::ir::{Function, Tensor};
use instruction::Flat;

/// Runs programs through dfdx with elements of type `E` on a device `D`.
pub struct Dfdx<E, D> {
    device: D,
    element: PhantomData<E>,
}

/// A tensor on the device; cloning shares the elements.
#[derive(Clone)]
pub struct Value<E: Element, D: Backend<E>> {
    dims: Arc<[usize]>,
    /// `None` where there are no elements.
    data: Option<Flat<E, D>>,
}

impl<E: Element> Dfdx<E, Cpu>
where
    Cpu: Device<E>,
{
    /// The executor on the CPU.
    pub fn cpu() -> Self {
        Dfdx { device: Cpu::default(), element: PhantomData }
    }
}

#[cfg(feature = "cuda")]
impl<E: Element> Dfdx<E, Cuda>
where
    Cuda: Device<E>,
{
    /// The executor on the first NVIDIA GPU, on a thread of its own; [`ExecError::Unavailable`] where there is none.
    pub fn cuda() -> Result<Remote<E, Cuda>, ExecError> {
        Remote::start(|| {
            // Without a driver the CUDA library panics instead of returning an error.
            let built = std::panic::catch_unwind(|| Cuda::try_build(0, 0).map_err(|e| e.to_string()));
            let reason = match built {
                Ok(Ok(device)) => return Ok(Dfdx { device, element: PhantomData }),
                Ok(Err(reason)) => reason,
                Err(_) => "the CUDA driver could not be loaded".into(),
            };
            let advice = "check that `nvidia-smi` lists a GPU, or run on the CPU with `--device dfdx`";
            Err(ExecError::Unavailable(format!("no NVIDIA GPU can be used ({reason}); {advice}")))
        })
    }
}

impl<E: Element, D: Backend<E>> Dfdx<E, D> {
    fn upload_tensor(&self, tensor: &Tensor) -> Result<Value<E, D>, ExecError> {
        let dims = tensor.dims().into();
        let elements: Vec<E> = tensor.data().iter().map(|&x| E::round_from(x)).collect();
        if elements.is_empty() {
            return Ok(Value { dims, data: None });
        }
        let shape = (elements.len(),);
        let data = self.device.try_tensor_from_vec(elements, shape).map_err(|e| device_error::<D>("upload", e))?;
        Ok(Value { dims, data: Some(data) })
    }

    fn compile_function(&self, function: &Function) -> Result<Kernel<E, D>, ExecError> {
        let signature = Signature::of(function)?;
        Kernel::compile(&self.device, function, signature)
    }

    fn run_kernel(&self, kernel: &Kernel<E, D>, args: &[&Value<E, D>]) -> Result<Vec<Value<E, D>>, ExecError> {
        kernel.signature.check(args.iter().map(|arg| &arg.dims[..]))?;
        kernel.run(&self.device, args)
    }
}

impl<E: Element, D: Backend<E>> Value<E, D> {
    fn to_host(&self) -> Tensor {
        let elements = self.data.as_ref().map(|x| x.as_vec()).unwrap_or_default();
        Tensor::new(self.dims.to_vec(), elements.into_iter().map(E::widen).collect())
    }
}

impl<E: Element, D: Backend<E> + Send + Sync> Executor for Dfdx<E, D> {
    type Value = Value<E, D>;
    type Kernel = Kernel<E, D>;

    fn name(&self) -> &'static str {
        D::NAME
    }

    fn precision(&self) -> Precision {
        E::PRECISION
    }

    fn upload(&self, tensor: &Tensor) -> Result<Self::Value, ExecError> {
        self.upload_tensor(tensor)
    }

    fn download(&self, value: &Self::Value) -> Result<Tensor, ExecError> {
        Ok(value.to_host())
    }

    fn compile(&self, function: &Function) -> Result<Self::Kernel, ExecError> {
        self.compile_function(function)
    }

    fn run(&self, kernel: &Self::Kernel, args: &[&Self::Value]) -> Result<Vec<Self::Value>, ExecError> {
        self.run_kernel(kernel, args)
    }
}

fn device_error<D: HasErr>(op: &'static str, error: D::Err) -> ExecError {
    ExecError::Device { op, reason: error.to_string() }
}
