//! One source, several instruction sets: which the processor has, and how a piece of work is compiled for each.
//!
//! A piece of work is ordinary scalar Rust that the compiler turns into vector code. It is compiled once per [`Path`]; Rust never
//! reorders or contracts floating-point operations, so every path gives the same bits and they differ in speed alone.
#![allow(unsafe_code, reason = "instructions that not every processor has")]

use std::str::FromStr;

/// The instructions that work is compiled for; only those that this processor has.
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

/// Proof that the processor has AVX2 and FMA, and that the code that is called with it is compiled for them.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

/// The same of AVX-512.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

/// A piece of work, once for each path. The methods are `#[inline(always)]`, so that they are compiled for the instructions of the
/// path that calls them.
pub trait Work {
    /// What it gives.
    type Output;
    /// Does it with what every processor has.
    fn portable(self) -> Self::Output;
    /// Does it with AVX2 and FMA.
    fn avx2(self, has: Avx2) -> Self::Output;
    /// Does it with AVX-512.
    fn avx512(self, has: Avx512) -> Self::Output;
}

impl Path {
    /// Those that this processor has, the fastest first.
    pub fn available() -> Vec<Path> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if Path::has_avx512() {
                found.push(Path(Instructions::Avx512));
            }
            if Path::has_avx2() {
                found.push(Path(Instructions::Avx2));
            }
        }
        found.push(Path(Instructions::Portable));
        found
    }

    /// The fastest that this processor has.
    #[inline]
    pub fn detect() -> Path {
        #[cfg(target_arch = "x86_64")]
        {
            if Path::has_avx512() {
                return Path(Instructions::Avx512);
            }
            if Path::has_avx2() {
                return Path(Instructions::Avx2);
            }
        }
        Path(Instructions::Portable)
    }

    #[cfg(target_arch = "x86_64")]
    fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    #[cfg(target_arch = "x86_64")]
    fn has_avx512() -> bool {
        Path::has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
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
    pub fn dispatch<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Instructions::Portable => work.portable(),
            // SAFETY: a path of these instructions is made where the processor was asked for them, and nowhere else.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2(work) },
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512(work) },
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

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<W: Work>(work: W) -> W::Output {
    work.avx2(Avx2(()))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
fn avx512<W: Work>(work: W) -> W::Output {
    work.avx512(Avx512(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_chosen_by_name() {
        for path in Path::available() {
            assert_eq!(path.name().parse(), Ok(path));
        }
        assert_eq!(Path::available().first(), Some(&Path::detect()));
        assert_eq!(Path::available().last(), Some(&Path::portable()));
        let refused = "sse9".parse::<Path>().expect_err("there is no such instruction set");
        assert!(refused.contains("sse9") && refused.contains("portable"), "{refused}");
    }
}
