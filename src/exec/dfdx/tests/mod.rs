//! Tests of the dfdx executor against loops over indices.

mod ops;
mod oracle;
mod programs;
mod tape;

use std::fmt::Debug;

use dfdx::prelude::Cpu;

use super::{Backend, Dfdx, Element};
use crate::exec::Executor;
use crate::ir::{Builder, Function, NodeId, Tensor};

/// A program of inputs with these dims and the outputs that `build` makes of them.
fn program(inputs: &[&[usize]], build: impl FnOnce(&mut Builder, &[NodeId]) -> Vec<NodeId>) -> Function {
    let mut b = Builder::new();
    let nodes: Vec<NodeId> = inputs.iter().enumerate().map(|(i, dims)| b.input(format!("x{i}"), dims)).collect();
    let outputs = build(&mut b, &nodes).into_iter().enumerate().map(|(i, node)| (format!("y{i}"), node)).collect();
    b.finish("test", outputs)
}

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

fn bits(tensors: &[Tensor]) -> Vec<Vec<u64>> {
    tensors.iter().map(|t| t.data().iter().map(|x| x.to_bits()).collect()).collect()
}

/// Equal dims, and elements equal to within `tolerance` of the larger of 1 and their size; infinities and NaN alike.
fn assert_close(found: &Tensor, wanted: &Tensor, tolerance: f64, context: &impl Debug) {
    assert_eq!(found.dims(), wanted.dims(), "{context:?}");
    for (i, (&x, &y)) in found.data().iter().zip(wanted.data()).enumerate() {
        let close = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * y.abs().max(1.0);
        assert!(close, "{context:?}: element {i} is {x}, not {y}");
    }
}

/// Numbers in -2..2 that look random and depend on `seed` alone.
fn noise(dims: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1u64 << 24) as f64 * 4.0 - 2.0
    };
    next();
    Tensor::new(dims.to_vec(), (0..dims.iter().product()).map(|_| next()).collect())
}

/// [`noise`] with zeros of both signs, infinities and NaN strewn in.
fn wild(dims: &[usize], seed: u64) -> Tensor {
    let specials = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40];
    let mut x = noise(dims, seed);
    x.data_mut().iter_mut().enumerate().for_each(|(i, x)| {
        if i % 3 == 1 {
            *x = specials[(i / 3 + seed as usize) % specials.len()];
        }
    });
    x
}

#[cfg(feature = "cuda")]
#[test]
fn the_gpu_runs_programs_or_says_why_not() {
    let open = [Dfdx::<f32, dfdx::prelude::Cuda>::cuda().map(|_| ()), Dfdx::<f64, _>::cuda().map(|_| ())];
    for opened in open {
        assert!(matches!(opened, Ok(()) | Err(crate::exec::ExecError::Unavailable(_))));
    }
}
