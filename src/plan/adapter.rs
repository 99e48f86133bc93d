//! Dropout in front of low-rank adapters: what goes into `U V^T` loses entries, and what goes into the matrix itself does not.
//!
//! `x W + (m x) D` is `x (W + D) + ((m - 1) x) D`: the first product is the one of the program as it is, with the adapter worked into
//! the matrix, and the second is added to it.

use crate::ir::{Builder, Function, NodeId, Op};

/// An adapted parameter of which a program is rewritten.
#[derive(Debug, Clone, Copy)]
pub struct Adapted<'a> {
    /// The parameter, an input of the program.
    pub param: &'a str,
    /// The name of its masks.
    pub mask: &'a str,
}

/// The name of the masks in front of the adapter that a group adds to a parameter.
pub fn mask_name(group: &str, param: &str) -> String {
    format!("~{group}.{param}")
}

/// The name of the input for what an adapter adds to its parameter.
pub fn difference_name(mask: &str) -> String {
    format!("{mask}@")
}

/// Whether an operation only moves the entries of its operand.
fn moves(op: &Op) -> bool {
    matches!(op, Op::Reshape { .. } | Op::Permute { .. } | Op::Broadcast { .. })
}

/// Whether a program reads a parameter in products alone, one side of each.
pub fn in_products_alone(f: &Function, param: &str) -> bool {
    let mut of_param = vec![false; f.nodes.len()];
    for (i, node) in f.nodes.iter().enumerate() {
        let sides = node.args.iter().filter(|a| of_param[a.index()]).count();
        match &node.op {
            Op::Input { index, .. } => of_param[i] = f.inputs[*index].name == param,
            op if moves(op) => of_param[i] = sides > 0,
            Op::MatMul { .. } if sides < 2 => {}
            _ if sides == 0 => {}
            _ => return false,
        }
    }
    f.outputs.iter().all(|port| !of_param[port.node.index()])
}

/// The program in which every product with an adapted parameter has the second term. It reads what the adapter adds to the parameter as
/// [`difference_name`], and a mask of the other side of the `k`-th product as the name of the mask with `#k`.
pub fn dropping(f: &Function, adapted: &[Adapted]) -> Function {
    let mut b = Builder::new();
    let mut values: Vec<NodeId> = Vec::with_capacity(f.nodes.len());
    // Of every node that is an adapted parameter with its entries moved: which, and the difference moved alike.
    let mut differences: Vec<Option<(usize, NodeId)>> = Vec::with_capacity(f.nodes.len());
    let mut products = vec![0; adapted.len()];
    for node in &f.nodes {
        let operands: Vec<NodeId> = node.args.iter().map(|a| values[a.index()]).collect();
        let of: Vec<Option<(usize, NodeId)>> = node.args.iter().map(|a| differences[a.index()]).collect();
        let (mut value, mut difference) = (None, None);
        match (&node.op, of.as_slice()) {
            (Op::Input { index, dims }, _) => {
                let name = &f.inputs[*index].name;
                value = Some(b.input(name.clone(), dims));
                difference = adapted.iter().position(|a| a.param == name).map(|k| {
                    let name = difference_name(adapted[k].mask);
                    (k, b.input(name, dims))
                });
            }
            (op, [Some((k, moved))]) if moves(op) => difference = Some((*k, b.apply(op.clone(), &[*moved]))),
            (op @ Op::MatMul { .. }, [Some((k, moved)), None] | [None, Some((k, moved))]) => {
                products[*k] += 1;
                let first = of[0].is_some();
                let side = operands[usize::from(first)];
                let dims = b.dims(side).to_vec();
                let mask = b.input(format!("{}#{}", adapted[*k].mask, products[*k]), &dims);
                let lost = b.offset(mask, -1.0);
                let lost = b.mul(side, lost);
                let whole = b.apply(op.clone(), &operands);
                let less = b.apply(op.clone(), &if first { [*moved, lost] } else { [lost, *moved] });
                value = Some(b.add(whole, less));
            }
            _ => {}
        }
        values.push(value.unwrap_or_else(|| b.apply(node.op.clone(), &operands)));
        differences.push(difference);
    }
    b.finish(f.name.clone(), f.outputs.iter().map(|port| (port.name.clone(), values[port.node.index()])).collect())
}
