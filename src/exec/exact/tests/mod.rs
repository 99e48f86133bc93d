//! Tests of the exact executor: every bit of every operation, on every path, against loops that say what the contract says.

mod contract;
mod functions;
mod golden;
mod programs;

use super::simd::Vectors;
use super::{Exact, Path, Room, need};
use crate::exec::Executor;
use crate::ir::{Function, Tensor};

/// The outputs of a program on one executor.
fn run_on<E: Executor>(executor: &E, function: &Function, args: &[Tensor]) -> Vec<Tensor> {
    let kernel = executor.compile(function).unwrap();
    let values: Vec<_> = args.iter().map(|arg| executor.upload(arg).unwrap()).collect();
    let values: Vec<&_> = values.iter().collect();
    let outputs = || -> Vec<Tensor> {
        executor.run(&kernel, &values).unwrap().iter().map(|v| executor.download(v).unwrap()).collect()
    };
    let (first, second) = (outputs(), outputs());
    assert_eq!(bits(&first), bits(&second), "two runs of {function:?}");
    first
}

/// The outputs of a program, which must be the same on every path, fused or not, on any number of threads.
fn run<T: Vectors>(function: &Function, args: &[Tensor]) -> Vec<Tensor>
where
    Exact<T>: Executor,
{
    let wanted = run_on(&Exact::<T>::new(Path::detect()), function, args);
    for path in Path::available() {
        let executor = Exact::<T>::new(path);
        let ways = [
            (executor.clone(), "fused"),
            (executor.clone().without_fusion(), "not fused"),
            (executor.clone().case_by_case(), "case by case"),
            (executor.without_fusion().case_by_case(), "case by case, not fused"),
        ];
        for (executor, how) in ways {
            let found = run_on(&executor, function, args);
            assert_eq!(bits(&found), bits(&wanted), "{} {how}: {function:?}", path.name());
        }
    }
    for share in [0.5, 0.8] {
        // Where values computed again make it fit.
        let room = Room { threads: 1, bytes: None };
        let bytes = need(function, T::PRECISION, room).unwrap().bytes as f64 * share;
        let executor = Exact::<T>::new(Path::detect()).within(Some(bytes as u64));
        if executor.compile(function).is_ok() {
            let found = run_on(&executor, function, args);
            assert_eq!(bits(&found), bits(&wanted), "in {share} of the memory: {function:?}");
        }
    }
    for threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let executor = Exact::<T>::new(Path::detect());
        for executor in [executor.clone(), executor.case_by_case()] {
            let found = pool.install(|| run_on(&executor, function, args));
            assert_eq!(bits(&found), bits(&wanted), "{threads} threads: {function:?}");
        }
    }
    wanted
}

/// The bits of every element; all NaN count as one, as they do where results are hashed.
fn bits(tensors: &[Tensor]) -> Vec<Vec<u64>> {
    let bits = |x: &f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
    tensors.iter().map(|t| t.data().iter().map(bits).collect()).collect()
}
