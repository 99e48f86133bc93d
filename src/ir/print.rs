//! Programs as text: stable, one node a line, made to be compared line by line.
//!
//! ```text
//! function loss
//!   %0 x: [10, 3]
//!   %1 w: [4, 3]
//!   %2 = matmul %0 %1' : [10, 4]
//!   %5 = max %2 0.0 : [10, 4]
//!   %6 = sum %5 axis=1 : [10]
//!   output total = %6 : [10]
//! ```
//!
//! `'` marks a transposed operand of a product. A node that holds one constant everywhere is a `const`, and is shown
//! in place where an elementwise operation reads it; nodes that only help to make one have no line, so numbers have gaps.

use std::fmt;

use super::function::{Function, NodeId};
use super::op::Op;

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let constants = self.constants();
        let shown = self.shown(&constants);
        writeln!(f, "function {}", self.name)?;
        for port in &self.inputs {
            writeln!(f, "  %{} {}: {:?}", port.node.index(), port.name, self.dims(port.node))?;
        }
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| shown[*i]) {
            if let Some(value) = constants[i] {
                writeln!(f, "  %{i} = const {value:?} : {:?}", node.dims)?;
                continue;
            }
            write!(f, "  %{i} = {}", node.op.name())?;
            for (operand, arg) in node.args.iter().enumerate() {
                match constants[arg.index()] {
                    Some(value) if elementwise(&node.op) => write!(f, " {value:?}")?,
                    _ => write!(f, " %{}", arg.index())?,
                }
                if let Op::MatMul { transpose_a, transpose_b } = node.op
                    && [transpose_a, transpose_b][operand]
                {
                    write!(f, "'")?;
                }
            }
            write_attributes(f, &node.op)?;
            writeln!(f, " : {:?}", node.dims)?;
        }
        for port in &self.outputs {
            writeln!(f, "  output {} = %{} : {:?}", port.name, port.node.index(), self.dims(port.node))?;
        }
        Ok(())
    }
}

impl Function {
    /// For every node, the constant that all its entries are.
    fn constants(&self) -> Vec<Option<f64>> {
        let mut constants: Vec<Option<f64>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            constants.push(match node.op {
                Op::Const { value } => Some(value.0),
                Op::Broadcast { .. } | Op::Reshape { .. } => constants[node.args[0].index()],
                _ => None,
            });
        }
        constants
    }

    /// Which nodes have a line of their own.
    fn shown(&self, constants: &[Option<f64>]) -> Vec<bool> {
        let mut shown = vec![false; self.nodes.len()];
        let mut mark = |node: NodeId| shown[node.index()] = true;
        self.outputs.iter().for_each(|p| mark(p.node));
        // Users come after operands, so a sweep down knows whether a line reads a constant.
        for (i, node) in self.nodes.iter().enumerate().rev() {
            shown[i] |= constants[i].is_none();
            if shown[i] && constants[i].is_none() {
                let inline = |a: &&NodeId| !(elementwise(&node.op) && constants[a.index()].is_some());
                node.args.iter().filter(inline).for_each(|a| shown[a.index()] = true);
            }
        }
        self.inputs.iter().for_each(|p| shown[p.node.index()] = false);
        shown
    }
}

/// Whether operands and result have one shape, which the line states.
fn elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary { .. } | Op::Binary { .. } | Op::Compare { .. } | Op::Select | Op::Detach | Op::CaseMean)
}

fn write_attributes(f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
    match op {
        Op::Iota { axis, .. } | Op::Reduce { axis, .. } => write!(f, " axis={axis}"),
        Op::Broadcast { axis, size } => write!(f, " axis={axis} size={size}"),
        Op::Permute { order } => write!(f, " order={order:?}"),
        Op::Slice { axis, start, len } => write!(f, " axis={axis} {start}..{}", start + len),
        Op::Pad { axis, before, after } => write!(f, " axis={axis} before={before} after={after}"),
        Op::Window { axis, size, stride, dilation } => {
            write!(f, " axis={axis} size={size} stride={stride} dilation={dilation}")
        }
        Op::Fold { axis, len, stride, dilation } => {
            write!(f, " axis={axis} len={len} stride={stride} dilation={dilation}")
        }
        Op::Gather { batch } => write!(f, " batch={batch}"),
        Op::Scatter { batch, size } => write!(f, " batch={batch} size={size}"),
        Op::Input { .. }
        | Op::Const { .. }
        | Op::Unary { .. }
        | Op::Binary { .. }
        | Op::Compare { .. }
        | Op::Select
        | Op::MatMul { .. }
        | Op::Reshape { .. }
        | Op::SolveSpd
        | Op::Detach
        | Op::CaseMean => Ok(()),
    }
}
