//! Tests of the dfdx executor against loops over indices.

mod ops;
mod programs;
mod tape;

use std::fmt::Debug;

use dfdx::prelude::Cpu;

use super::{Backend, Dfdx, Element};
use crate::exec::Executor;
use crate::exec::testing::{bits, noise, oracle, program, wild};
use crate::ir::{Function, NodeId, Tensor};

/// The outputs of a program, and a check that running it leaves its arguments and constants as they were.
fn run<E: Element>(function: &Function, args: &[Tensor]) -> Vec<Tensor>
where
    Cpu: Backend<E>,
{
    let executor = Dfdx::<E, Cpu>::cpu();
    let kernel = executor.compile(function).unwrap();
    let values: Vec<_> = args.iter().map(|arg| executor.upload(arg).unwrap()).collect();
    let values: Vec<&_> = values.iter().collect();
    let run = || -> Vec<Tensor> {
        executor.run(&kernel, &values).unwrap().iter().map(|v| executor.download(v).unwrap()).collect()
    };
    let (first, second) = (run(), run());
    assert_eq!(bits(&first), bits(&second), "two runs of {function:?}");
    first
}

/// Equal dims, and elements equal to within `tolerance` of the larger of 1 and their size; infinities and NaN alike.
fn assert_close(found: &Tensor, wanted: &Tensor, tolerance: f64, context: &impl Debug) {
    assert_eq!(found.dims(), wanted.dims(), "{context:?}");
    for (i, (&x, &y)) in found.data().iter().zip(wanted.data()).enumerate() {
        let close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * y.abs().max(1.0);
        assert!(close, "{context:?}: element {i} is {x}, not {y}");
    }
}

#[cfg(feature = "cuda")]
#[test]
fn the_gpu_runs_programs_or_says_why_not() {
    let open = [Dfdx::<f32, dfdx::prelude::Cuda>::cuda().map(|_| ()), Dfdx::<f64, _>::cuda().map(|_| ())];
    for opened in open {
        assert!(matches!(opened, Ok(()) | Err(crate::exec::ExecError::Unavailable(_))));
    }
}
