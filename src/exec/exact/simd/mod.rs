//! The vectors of the kernels, and how a kernel is compiled for each path.
//!
//! A kernel is ordinary scalar Rust that the compiler turns into vector code, but for the inner loops of the matrix product and
//! of overlapping rows, which name their instructions.
#![allow(unsafe_code, reason = "the loads, stores and shuffles of matrix products and overlapping rows")]

mod overlap;
mod tile;
mod vector;

use std::marker::PhantomData;

pub use crate::simd::Path;
use crate::simd::{self, Avx2, Avx512};

pub use overlap::{Overlap, overlap};
pub use tile::{Entries, Matrix, multiply, turn};
pub use vector::{Lanes, Vector, Vectors};

/// Proof that the code that holds it is compiled for the instructions of `V`, and runs where they are.
#[derive(Debug)]
pub struct Here<V>(PhantomData<V>);

impl<V> Clone for Here<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Here<V> {}

/// A piece of work whose `run` is `#[inline(always)]`, so that it is compiled anew for every path.
pub(super) trait Work<T: Copy> {
    /// What it gives.
    type Output;
    /// Does it.
    fn run<V: Vector<T>>(self, here: Here<V>) -> Self::Output;
}

/// Doing work with a path's instructions.
pub(super) trait Dispatch {
    /// Does it.
    fn run<T: Vectors, W: Work<T>>(self, work: W) -> W::Output;
}

impl Dispatch for Path {
    #[inline]
    fn run<T: Vectors, W: Work<T>>(self, work: W) -> W::Output {
        self.dispatch(With(work, PhantomData))
    }
}

/// Work with the vectors of a float type.
struct With<T, W>(W, PhantomData<T>);

impl<T: Vectors, W: Work<T>> simd::Work for With<T, W> {
    type Output = W::Output;

    #[inline(always)]
    fn portable(self) -> W::Output {
        self.0.run(Here::<Lanes<T, 8>>(PhantomData))
    }

    #[inline(always)]
    fn avx2(self, _has: Avx2) -> W::Output {
        self.0.run(Here::<T::Middle>(PhantomData))
    }

    #[inline(always)]
    fn avx512(self, _has: Avx512) -> W::Output {
        self.0.run(Here::<T::Wide>(PhantomData))
    }
}
