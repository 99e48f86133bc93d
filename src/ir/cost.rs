//! What a program costs to run.

use super::function::Function;
use super::op::Op;

/// Work of one run of a program; the memory that it takes is up to the executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Operations that compute something; inputs and constants are not counted.
    pub nodes: u64,
    /// Floating-point operations: 2mnk for a matrix product, p^3/3 + 2p^2q for a solution, one for every entry read
    /// by a reduction, one for every entry of any other arithmetic, none for moving data.
    pub flops: u64,
    /// Elements of all values together.
    pub elements: u64,
}

impl Function {
    /// The cost of one run. Multiply elements by 4 or 8 for bytes.
    pub fn cost(&self) -> Cost {
        let size = |dims: &[usize]| dims.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
        let mut cost = Cost { nodes: 0, flops: 0, elements: self.input_dims().map(size).sum() };
        for node in &self.nodes {
            let out = size(&node.dims);
            if !matches!(node.op, Op::Input { .. }) {
                cost.elements = cost.elements.saturating_add(out);
            }
            let operand = |i: usize| self.dims(node.args[i]);
            let flops = match &node.op {
                Op::Input { .. } | Op::Const { .. } => continue,
                Op::Iota { .. }
                | Op::Broadcast { .. }
                | Op::Permute { .. }
                | Op::Reshape { .. }
                | Op::Slice { .. }
                | Op::Pad { .. }
                | Op::Window { .. }
                | Op::Gather { .. }
                | Op::Detach
                | Op::CaseMean => 0,
                Op::Unary { .. } | Op::Binary { .. } | Op::Compare { .. } | Op::Select => out,
                Op::Reduce { .. } | Op::Fold { .. } => size(operand(0)),
                Op::Scatter { .. } => size(operand(1)),
                Op::MatMul { transpose_a, .. } => {
                    let a = operand(0);
                    let k = a[a.len() - if *transpose_a { 2 } else { 1 }] as u64;
                    out.saturating_mul(2).saturating_mul(k)
                }
                Op::SolveSpd => {
                    let (a, b) = (size(operand(0)), size(operand(1)));
                    let p = operand(0)[operand(0).len() - 1] as u64;
                    a.saturating_mul(p) / 3 + b.saturating_mul(p).saturating_mul(2)
                }
            };
            cost.nodes += 1;
            cost.flops = cost.flops.saturating_add(flops);
        }
        cost
    }
}
