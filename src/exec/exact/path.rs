//! One source, several instruction sets: which the processor has, and how a piece of work is compiled for each.
//!
//! A piece of work is ordinary scalar Rust that the compiler turns into vector code. It is compiled once per [`Path`]; Rust never
//! reorders or contracts floating-point operations, so every path gives the same bits and they differ in speed alone.

use std::str::FromStr;

/// The instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// AVX-512 (F, DQ, BW, VL) and FMA.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// What every processor of the architecture has: NEON on aarch64, SSE2 on x86-64, with a software FMA there.
    Portable,
}

impl Path {
    /// All of them, the fastest first.
    pub const ALL: [Path; 3] = [Path::Avx512, Path::Avx2, Path::Portable];

    /// The fastest that this processor has.
    pub fn detect() -> Path {
        *Path::ALL.iter().find(|path| path.is_available()).expect("the portable path is always there")
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Path::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                Path::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx2 | Path::Avx512 => false,
        }
    }

    /// The name by which a path is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::Portable => "portable",
        }
    }

    /// Does the work with this path's instructions. A path is only made where its instructions are there.
    #[inline]
    #[allow(unsafe_code, reason = "a function compiled for more instructions than the rest of the program")]
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self {
            Path::Portable => work.run(),
            // SAFETY: values of these variants come from `detect` and `from_str`, which ask the processor first.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { run_avx2(work) },
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { run_avx512(work) },
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx2 | Path::Avx512 => work.run(),
        }
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Path, String> {
        let path = Path::ALL.into_iter().find(|p| p.name() == text);
        let path = path.ok_or_else(|| format!("`{text}` is no instruction set: choose avx512, avx2 or portable"))?;
        if path.is_available() { Ok(path) } else { Err(format!("this processor has no {text}")) }
    }
}

/// A piece of work whose `run` is `#[inline(always)]`, so that it is compiled anew for every path.
pub(super) trait Work {
    /// What it gives.
    type Output;
    /// Does it.
    fn run(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
fn run_avx512<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_chosen_by_name() {
        assert_eq!("portable".parse(), Ok(Path::Portable));
        assert!("sse9".parse::<Path>().is_err());
        for path in Path::ALL {
            assert_eq!(path.name().parse::<Path>().is_ok(), path.is_available());
        }
        assert!(Path::detect().is_available());
    }
}
