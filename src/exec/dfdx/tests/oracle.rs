//! What every operation means, as loops over indices in `f64`.

use crate::ir::{Binary, Compare, Function, Node, Op, Reduce, Tensor, Unary};

/// The outputs of a program.
pub fn evaluate(function: &Function, args: &[Tensor]) -> Vec<Tensor> {
    let mut values: Vec<Tensor> = Vec::new();
    for node in &function.nodes {
        let operands: Vec<&Tensor> = node.args.iter().map(|a| &values[a.index()]).collect();
        values.push(match node.op {
            Op::Input { index, .. } => args[index].clone(),
            _ => apply(node, &operands),
        });
    }
    function.outputs.iter().map(|p| values[p.node.index()].clone()).collect()
}

fn apply(node: &Node, x: &[&Tensor]) -> Tensor {
    let map = |f: &dyn Fn(&[f64]) -> f64| build(&node.dims, |i| f(&x.iter().map(|x| at(x, i)).collect::<Vec<f64>>()));
    match &node.op {
        Op::Input { .. } => unreachable!("inputs are given"),
        Op::Const { value } => Tensor::scalar(value.0),
        Op::Iota { axis, .. } => build(&node.dims, |i| i[*axis] as f64),
        Op::Unary { f } => map(&|x| match f {
            Unary::Neg => -x[0],
            Unary::Abs => x[0].abs(),
            Unary::Exp => x[0].exp(),
            Unary::Ln => x[0].ln(),
            Unary::Sqrt => x[0].sqrt(),
            Unary::Sin => x[0].sin(),
            Unary::Cos => x[0].cos(),
            Unary::Tanh => x[0].tanh(),
        }),
        Op::Binary { f } => map(&|x| match f {
            Binary::Add => x[0] + x[1],
            Binary::Sub => x[0] - x[1],
            Binary::Mul => x[0] * x[1],
            Binary::Div => x[0] / x[1],
            Binary::Max => x[0].max(x[1]),
            Binary::Min => x[0].min(x[1]),
        }),
        Op::Compare { f } => map(&|x| match f {
            Compare::Lt => f64::from(x[0] < x[1]),
            Compare::Le => f64::from(x[0] <= x[1]),
            Compare::Eq => f64::from(x[0] == x[1]),
        }),
        Op::Select => map(&|x| if x[0] != 0.0 { x[1] } else { x[2] }),
        Op::Reduce { f, axis } => build(&node.dims, |i| {
            let entries = (0..x[0].dims()[*axis]).map(|j| at(x[0], &inserted(i, *axis, j)));
            match f {
                Reduce::Sum => entries.fold(0.0, |s, x| s + x),
                Reduce::Max => entries.fold(f64::NEG_INFINITY, f64::max),
            }
        }),
        Op::Broadcast { axis, .. } => build(&node.dims, |i| {
            let mut i = i.to_vec();
            i.remove(*axis);
            at(x[0], &i)
        }),
        Op::MatMul { transpose_a, transpose_b } => build(&node.dims, |i| {
            let (batch, last) = i.split_at(i.len() - 2);
            let inner = x[0].dims()[if *transpose_a { i.len() - 2 } else { i.len() - 1 }];
            let entry = |x: &Tensor, row: usize, column: usize, transpose: bool| {
                let (row, column) = if transpose { (column, row) } else { (row, column) };
                at(x, &[batch, &[row, column]].concat())
            };
            let term = |k| entry(x[0], last[0], k, *transpose_a) * entry(x[1], k, last[1], *transpose_b);
            (0..inner).map(term).fold(0.0, |s, x| s + x)
        }),
        Op::Permute { order } => build(&node.dims, |i| {
            let mut source = vec![0; i.len()];
            order.iter().zip(i).for_each(|(&axis, &i)| source[axis] = i);
            at(x[0], &source)
        }),
        Op::Reshape { dims } => Tensor::new(dims.clone(), x[0].data().to_vec()),
        Op::Slice { axis, start, .. } => build(&node.dims, |i| {
            let mut i = i.to_vec();
            i[*axis] += start;
            at(x[0], &i)
        }),
        Op::Pad { axis, before, .. } => build(&node.dims, |i| {
            let mut i = i.to_vec();
            match i[*axis].checked_sub(*before) {
                Some(j) if j < x[0].dims()[*axis] => {
                    i[*axis] = j;
                    at(x[0], &i)
                }
                _ => 0.0,
            }
        }),
        Op::SolveSpd => {
            let rank = x[0].dims().len();
            let (p, q) = (x[1].dims()[rank - 2], x[1].dims()[rank - 1]);
            let solve = |(a, b): (&[f64], &[f64])| eliminate(a.to_vec(), b.to_vec(), p, q);
            Tensor::new(
                node.dims.clone(),
                x[0].data().chunks(p * p).zip(x[1].data().chunks(p * q)).flat_map(solve).collect(),
            )
        }
        Op::Detach => x[0].clone(),
    }
}

/// `A X = B` by elimination without pivoting, which definite matrices do not need.
fn eliminate(mut a: Vec<f64>, mut b: Vec<f64>, p: usize, q: usize) -> Vec<f64> {
    for pivot in 0..p {
        for row in (0..p).filter(|&row| row != pivot) {
            let factor = a[row * p + pivot] / a[pivot * p + pivot];
            (0..p).for_each(|k| a[row * p + k] -= factor * a[pivot * p + k]);
            (0..q).for_each(|k| b[row * q + k] -= factor * b[pivot * q + k]);
        }
    }
    (0..p * q).map(|i| b[i] / a[i / q * p + i / q]).collect()
}

fn inserted(index: &[usize], axis: usize, value: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index.insert(axis, value);
    index
}

fn at(x: &Tensor, index: &[usize]) -> f64 {
    x.data()[index.iter().zip(x.dims()).fold(0, |flat, (&i, &size)| flat * size + i)]
}

fn build(dims: &[usize], f: impl Fn(&[usize]) -> f64) -> Tensor {
    let element = |mut flat: usize| {
        let mut index = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            index[axis] = flat % dims[axis];
            flat /= dims[axis];
        }
        f(&index)
    };
    Tensor::new(dims.to_vec(), (0..dims.iter().product()).map(element).collect())
}
