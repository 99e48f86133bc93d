//! Watching programs at work, for `bench` and traces.

use super::matmul::Matrices;
use super::schedule::Instruction;

/// Who is told what programs do, as they do it. Calls for one program come from one thread.
pub trait Watch: Send + Sync {
    /// A program begins.
    fn begun(&self, program: &str);
    /// It has done one operation.
    fn done(&self, program: &str, operation: &Operation);
}

/// One operation of a compiled program, or as many of its cases as were done together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What kind of work it is: `matmul`, `elementwise`, `reduce`, `solve`, `pad`, `fold`, `gather` or `scatter`.
    pub group: &'static str,
    /// Its sizes, as in `25 x [10, 40] [40, 40]'`; a matrix that is read transposed has an
    /// apostrophe, one whose entries lie like those of windows a star.
    pub sizes: String,
    /// Floating-point operations.
    pub flops: u64,
}

impl Operation {
    pub(super) fn of(instruction: &Instruction, cases: usize) -> Operation {
        let (group, sizes, flops) = match instruction {
            Instruction::Fused(fused) => {
                let len = cases * fused.len;
                ("elementwise", format!("{len} x {} steps", fused.arithmetic()), len * fused.arithmetic())
            }
            Instruction::Reduce { outer, size, inner, .. } => {
                let outer = cases * outer;
                ("reduce", format!("[{outer}, {size}, {inner}]"), outer * size * inner)
            }
            Instruction::Product { product, .. } => {
                let p = product.cases(cases);
                let turned = |m: &Matrices| if m.row == 1 && m.column != 1 { "'" } else { "" };
                let (a, b) = (if p.listed.is_some() { "*" } else { turned(&p.a) }, turned(&p.b));
                let sizes = format!("{} x [{}, {}]{a} [{}, {}]{b}", p.count, p.m, p.k, p.k, p.n);
                ("matmul", sizes, 2 * p.count * p.m * p.k * p.n)
            }
            Instruction::Pad { outer, row, before, after, .. } => {
                ("pad", format!("{} x {before} + {row} + {after}", cases * outer), 0)
            }
            Instruction::Fold { windows: w, .. } => {
                let sizes = format!("{} x {} windows of {} x {}", cases * w.outer(), w.count.0, w.size.0, w.inner.0);
                ("fold", sizes, cases * w.entries())
            }
            Instruction::Gather { rows, .. } => ("gather", rows.to_string(), 0),
            Instruction::Scatter { rows, .. } => ("scatter", rows.to_string(), rows.entries()),
            Instruction::Solve { count, p, q, .. } => {
                let count = cases * count;
                ("solve", format!("{count} x [{p}, {p}] [{p}, {q}]"), count * (p * p * p / 3 + 2 * p * p * q))
            }
        };
        Operation { group, sizes, flops: flops as u64 }
    }
}
