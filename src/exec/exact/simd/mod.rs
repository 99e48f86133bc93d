//! One source, several instruction sets: which the processor has, and how a piece of work is compiled for each.
//!
//! A piece of work is ordinary scalar Rust that the compiler turns into vector code. It is compiled once per [`Path`]; Rust never
//! reorders or contracts floating-point operations, so every path gives the same bits and they differ in speed alone. All unsafe
//! code of the crate is in this module.
#![allow(
    unsafe_code,
    reason = "instructions that not every processor has, and the loads and stores of the matrix product"
)]

mod tile;
mod vector;

use std::marker::PhantomData;
use std::str::FromStr;

pub use tile::{Matrix, multiply, turn};
pub use vector::{Lanes, Vector, Vectors};

/// The instructions that kernels are compiled for; only those that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    /// AVX-512 (F, DQ, BW, VL) and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of the architecture has: NEON on aarch64, SSE2 on x86-64, with a software FMA there.
    Portable,
}

impl Path {
    /// Those that this processor has, the fastest first.
    pub fn available() -> Vec<Path> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Path(Instructions::Avx512));
            }
            found.push(Path(Instructions::Avx2));
        }
        found.push(Path(Instructions::Portable));
        found
    }

    /// The fastest that this processor has.
    pub fn detect() -> Path {
        Path::available()[0]
    }

    /// The instructions that every processor has: their bits are what the others are measured by.
    pub fn portable() -> Path {
        Path(Instructions::Portable)
    }

    /// The name by which a path is chosen.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            Instructions::Portable => "portable",
        }
    }

    /// Does the work with this path's instructions.
    #[inline]
    pub(super) fn run<T: Vectors, W: Work<T>>(self, work: W) -> W::Output {
        match self.0 {
            Instructions::Portable => work.run(Here::<Lanes<T, 8>>(PhantomData)),
            // SAFETY: a path of these instructions is made by `available` alone, which asks the processor first.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { run_avx2(work) },
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { run_avx512(work) },
        }
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Path, String> {
        let found = Path::available();
        found.iter().copied().find(|p| p.name() == text).ok_or_else(|| {
            let names: Vec<&str> = found.iter().map(|p| p.name()).collect();
            format!("this processor has no instruction set `{text}`; it has {}", names.join(", "))
        })
    }
}

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

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Vectors, W: Work<T>>(work: W) -> W::Output {
    work.run(Here::<T::Middle>(PhantomData))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
fn run_avx512<T: Vectors, W: Work<T>>(work: W) -> W::Output {
    work.run(Here::<T::Wide>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_chosen_by_name() {
        for path in Path::available() {
            assert_eq!(path.name().parse(), Ok(path));
        }
        assert_eq!(Path::available().last().map(|p| p.name()), Some("portable"));
        let refused = "sse9".parse::<Path>().expect_err("there is no such instruction set");
        assert!(refused.contains("sse9") && refused.contains("portable"), "{refused}");
    }
}
