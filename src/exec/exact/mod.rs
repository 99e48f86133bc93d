//! The exact executor: the same bits on every processor and any number of threads, and fast.
//!
//! A program becomes a flat schedule (`schedule`) over preplanned buffers: views cost nothing, elementwise chains are fused and run
//! over blocks that stay in the cache, a matrix product is one chain of fused multiply-adds per entry, a sum is a tree whose shape
//! depends on its length alone. `docs/numerics.md` states the contract.

mod cases;
mod float;
mod fold;
mod fused;
mod kernel;
mod layout;
mod lower;
mod math32;
mod math64;
mod matmul;
mod recompute;
mod reduce;
mod schedule;
mod simd;
mod solve;
mod spread;
mod stage;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{ExecError, Executor, Precision, Signature};
use crate::ir::{Function, Tensor};

pub use float::Float;
pub use kernel::LARGE;
use schedule::Instruction;
pub use simd::Path;
use stage::Tuning;
pub use watch::{Operation, Watch};

/// Raised whenever the same program may give other bits.
pub const EPOCH: u32 = 1;

/// The executor of one float type on one path.
#[derive(Clone)]
pub struct Exact<T> {
    path: Path,
    fuse: bool,
    tuning: Tuning,
    memory: Option<u64>,
    watch: Option<Arc<dyn Watch>>,
    element: PhantomData<T>,
}

impl<T> Exact<T> {
    /// An executor for a path that this processor has.
    pub fn new(path: Path) -> Exact<T> {
        Exact { path, fuse: true, tuning: Tuning::default(), memory: None, watch: None, element: PhantomData }
    }

    /// The same executor with every elementwise operation an instruction of its own, for the tests of fusion.
    pub fn without_fusion(self) -> Exact<T> {
        Exact { fuse: false, ..self }
    }

    /// The same executor with every group of instructions that can run case by case doing so, and on all threads; for the tests.
    pub fn case_by_case(self) -> Exact<T> {
        Exact { tuning: Tuning { cache: 0, parallel: 0 }, ..self }
    }

    /// The same executor, for programs of which none may have more bytes in use at once. Where one would, values are computed again
    /// in place of being kept, with the same bits; one that does not fit then either is not compiled.
    pub fn within(self, memory: Option<u64>) -> Exact<T> {
        Exact { memory, ..self }
    }

    /// The same executor, with someone who watches.
    pub fn watched(self, watch: Arc<dyn Watch>) -> Exact<T> {
        Exact { watch: Some(watch), ..self }
    }
}

/// Where a program is to run.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The number of threads.
    pub threads: usize,
    /// The most bytes that it may have in use, where that is limited.
    pub bytes: Option<u64>,
}

/// What a run of a program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The most bytes that are in use at once: arguments, results and what lies between.
    pub bytes: u64,
    /// The floating-point operations of what is computed again in place of being kept.
    pub again: u64,
    /// Of the bytes, those that a compiled program keeps from run to run, results apart.
    pub kept: u64,
    /// And those that all programs of a thread share.
    pub shared: u64,
}

/// What a run of a program needs in some room, by the very plan that it is run by. The list of instructions itself, which is small, is
/// left out. Fails where the program does not fit.
pub fn need(function: &Function, precision: Precision, room: Room) -> Result<Need, ExecError> {
    Signature::of(function)?;
    Ok(kernel::plan(function, true, Tuning::default(), precision.bytes() as usize, room)?.need)
}

/// No less than what a run of a program needs on so many threads, said without a plan: room for every value, and at each thread for
/// what goes through the cache.
pub fn bound(function: &Function, precision: Precision, threads: usize) -> Need {
    let values = function.cost().elements.saturating_mul(precision.bytes());
    let bytes = values.saturating_add(values.min(4 * Tuning::default().cache as u64).saturating_mul(threads as u64));
    Need { bytes, again: 0, kept: bytes, shared: 0 }
}

/// A value of the exact executor: row-major elements that other values may share.
#[derive(Debug, Clone)]
pub struct Array<T> {
    dims: Arc<[usize]>,
    data: Arc<Vec<T>>,
}

/// A compiled program with its signature.
#[derive(Debug)]
pub struct Program<T: 'static> {
    signature: Signature,
    kernel: RefCell<kernel::Kernel<T>>,
}

macro_rules! executor {
    ($t:ident, $single:expr) => {
        impl Executor for Exact<$t> {
            type Value = Array<$t>;
            type Kernel = Program<$t>;

            fn name(&self) -> &'static str {
                "exact"
            }

            fn precision(&self) -> Precision {
                <$t as Float>::PRECISION
            }

            fn upload(&self, tensor: &Tensor) -> Result<Array<$t>, ExecError> {
                let data = tensor.data().iter().map(|&x| x as $t).collect();
                Ok(Array { dims: tensor.dims().into(), data: Arc::new(data) })
            }

            fn upload_single(&self, dims: &[usize], numbers: Vec<f32>) -> Result<Array<$t>, ExecError> {
                assert_eq!(dims.iter().product::<usize>(), numbers.len(), "as many numbers as the dims say");
                Ok(Array { dims: dims.into(), data: Arc::new($single(numbers)) })
            }

            fn download(&self, value: &Array<$t>) -> Result<Tensor, ExecError> {
                Ok(Tensor::new(value.dims.to_vec(), value.data.iter().map(|&x| f64::from(x)).collect()))
            }

            fn compile(&self, function: &Function) -> Result<Program<$t>, ExecError> {
                let signature = Signature::of(function)?;
                let room = Room { threads: rayon::current_num_threads(), bytes: self.memory };
                let kernel = kernel::Kernel::new(function, self.fuse, self.tuning, room)?;
                Ok(Program { signature, kernel: RefCell::new(kernel) })
            }

            fn rest(&self, program: &Program<$t>) {
                program.kernel.borrow_mut().rest();
            }

            fn run(&self, program: &Program<$t>, args: &[&Array<$t>]) -> Result<Vec<Array<$t>>, ExecError> {
                let mut results = Vec::new();
                self.run_into(program, args, &mut results)?;
                Ok(results)
            }

            fn run_into(
                &self,
                program: &Program<$t>,
                args: &[&Array<$t>],
                results: &mut Vec<Array<$t>>,
            ) -> Result<(), ExecError> {
                program.signature.check(args.iter().map(|a| &a.dims[..]))?;
                results.clear();
                let mut kernel = program.kernel.borrow_mut();
                match &self.watch {
                    None => kernel.run(self.path, args, results, None),
                    Some(watch) => {
                        let name = &program.signature.name;
                        watch.begun(name);
                        let mut told = |instruction: &Instruction, cases: usize| {
                            watch.done(name, &Operation::of(instruction, cases));
                        };
                        kernel.run(self.path, args, results, Some(&mut told));
                    }
                }
                Ok(())
            }
        }
    };
}

executor!(f32, std::convert::identity);
executor!(f64, |numbers: Vec<f32>| numbers.into_iter().map(f64::from).collect());
