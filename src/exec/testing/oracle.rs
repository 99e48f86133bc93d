//! What every operation means, as loops over indices, over any arithmetic.

use crate::ir::{Binary, Compare, Function, Node, Op, Reduce, Tensor, Unary};

/// How numbers are computed with. Arguments and results are those of the arithmetic's float type, held in `f64`.
pub trait Arithmetic {
    /// A function of one number.
    fn unary(&self, f: Unary, x: f64) -> f64;
    /// A function of two numbers.
    fn binary(&self, f: Binary, x: f64, y: f64) -> f64;
    /// The sum of terms that lie side by side, or else with others between them.
    fn sum(&self, terms: &[f64], adjacent: bool) -> f64;
    /// The sum of products.
    fn products(&self, terms: &[(f64, f64)]) -> f64;
    /// `X` with `A X = B` for `[p, p]` and `[p, q]`.
    fn solve(&self, a: &[f64], b: &[f64], p: usize, q: usize) -> Vec<f64>;
    /// The nearest number of the float type.
    fn round(&self, x: f64) -> f64;
}

/// The arithmetic of `f64` and the standard library.
pub struct Plain;

impl Arithmetic for Plain {
    fn unary(&self, f: Unary, x: f64) -> f64 {
        match f {
            Unary::Neg => -x,
            Unary::Abs => x.abs(),
            Unary::Exp => x.exp(),
            Unary::Ln => x.ln(),
            Unary::Sqrt => x.sqrt(),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Tanh => x.tanh(),
            Unary::Erf => libm::erf(x),
        }
    }

    fn binary(&self, f: Binary, x: f64, y: f64) -> f64 {
        match f {
            Binary::Add => x + y,
            Binary::Sub => x - y,
            Binary::Mul => x * y,
            Binary::Div => x / y,
            Binary::Max => x.max(y),
            Binary::Min => x.min(y),
        }
    }

    fn sum(&self, terms: &[f64], _adjacent: bool) -> f64 {
        terms.iter().fold(0.0, |s, x| s + x)
    }

    fn products(&self, terms: &[(f64, f64)]) -> f64 {
        terms.iter().fold(0.0, |s, (x, y)| s + x * y)
    }

    fn solve(&self, a: &[f64], b: &[f64], p: usize, q: usize) -> Vec<f64> {
        eliminate(a.to_vec(), b.to_vec(), p, q)
    }

    fn round(&self, x: f64) -> f64 {
        x
    }
}

/// The outputs of a program in [`Plain`] arithmetic.
pub fn evaluate(function: &Function, args: &[Tensor]) -> Vec<Tensor> {
    evaluate_in(&Plain, function, args)
}

/// The outputs of a program.
pub fn evaluate_in(arithmetic: &impl Arithmetic, function: &Function, args: &[Tensor]) -> Vec<Tensor> {
    let mut values: Vec<Tensor> = Vec::new();
    for node in &function.nodes {
        let operands: Vec<&Tensor> = node.args.iter().map(|a| &values[a.index()]).collect();
        values.push(match node.op {
            Op::Input { index, .. } => args[index].clone(),
            _ => apply(arithmetic, node, &operands),
        });
    }
    function.outputs.iter().map(|p| values[p.node.index()].clone()).collect()
}

fn apply(arithmetic: &impl Arithmetic, node: &Node, x: &[&Tensor]) -> Tensor {
    let map = |f: &dyn Fn(&[f64]) -> f64| build(&node.dims, |i| f(&x.iter().map(|x| at(x, i)).collect::<Vec<f64>>()));
    match &node.op {
        Op::Input { .. } => unreachable!("inputs are given"),
        Op::Const { value } => Tensor::scalar(arithmetic.round(value.0)),
        Op::Iota { axis, .. } => build(&node.dims, |i| arithmetic.round(i[*axis] as f64)),
        Op::Unary { f } => map(&|x| arithmetic.unary(*f, x[0])),
        Op::Binary { f } => map(&|x| arithmetic.binary(*f, x[0], x[1])),
        Op::Compare { f } => map(&|x| match f {
            Compare::Lt => f64::from(x[0] < x[1]),
            Compare::Le => f64::from(x[0] <= x[1]),
            Compare::Eq => f64::from(x[0] == x[1]),
        }),
        Op::Select => map(&|x| if x[0] != 0.0 { x[1] } else { x[2] }),
        Op::Reduce { f, axis } => build(&node.dims, |i| {
            let entries: Vec<f64> = (0..x[0].dims()[*axis]).map(|j| at(x[0], &inserted(i, *axis, j))).collect();
            match f {
                Reduce::Sum => arithmetic.sum(&entries, x[0].dims()[*axis + 1..].iter().product::<usize>() == 1),
                Reduce::Max => {
                    entries.into_iter().reduce(|a, b| arithmetic.binary(Binary::Max, a, b)).expect("an entry")
                }
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
            let term = |k| (entry(x[0], last[0], k, *transpose_a), entry(x[1], k, last[1], *transpose_b));
            arithmetic.products(&(0..inner).map(term).collect::<Vec<_>>())
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
        Op::Window { axis, stride, dilation, .. } => build(&node.dims, |i| {
            let mut i = i.to_vec();
            let entry = i.remove(axis + 1);
            i[*axis] = i[*axis] * stride + entry * dilation;
            at(x[0], &i)
        }),
        Op::Fold { axis, stride, dilation, .. } => build(&node.dims, |i| {
            let (count, size) = (x[0].dims()[*axis], x[0].dims()[axis + 1]);
            let places = (0..size).flat_map(|entry| (0..count).map(move |window| (window, entry)));
            let covering = places.filter(|(window, entry)| window * stride + entry * dilation == i[*axis]);
            let terms = covering.map(|(window, entry)| {
                let mut place = inserted(i, *axis, window);
                place[axis + 1] = entry;
                at(x[0], &place)
            });
            terms.fold(0.0, |total, x| arithmetic.binary(Binary::Add, total, x))
        }),
        Op::Gather { batch } => build(&node.dims, |i| {
            let number = at(x[1], &i[..x[1].dims().len()]);
            let rows = x[0].dims()[*batch];
            match number > -1.0 && number < rows as f64 {
                true => at(x[0], &[&i[..*batch], &[number as usize], &i[x[1].dims().len()..]].concat()),
                false => 0.0,
            }
        }),
        Op::Scatter { batch, .. } => {
            let numbers = x[0].dims();
            build(&node.dims, |i| {
                let places = indices(&numbers[*batch..]).map(|inner| [&i[..*batch], &inner].concat());
                let named = places.filter(|place| {
                    let number = at(x[0], place);
                    number > -1.0 && number.trunc() == i[*batch] as f64
                });
                let terms = named.map(|place| at(x[1], &[&place, &i[batch + 1..]].concat()));
                terms.fold(0.0, |total, x| arithmetic.binary(Binary::Add, total, x))
            })
        }
        Op::SolveSpd => {
            let rank = x[0].dims().len();
            let (p, q) = (x[1].dims()[rank - 2], x[1].dims()[rank - 1]);
            let solve = |(a, b): (&[f64], &[f64])| arithmetic.solve(a, b, p, q);
            Tensor::new(
                node.dims.clone(),
                x[0].data().chunks((p * p).max(1)).zip(x[1].data().chunks((p * q).max(1))).flat_map(solve).collect(),
            )
        }
        Op::Detach | Op::CaseMean => x[0].clone(),
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

/// Every index of a shape, the last axis running fastest.
fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    (0..dims.iter().product()).map(|mut flat: usize| {
        let mut index = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            index[axis] = flat % dims[axis];
            flat /= dims[axis];
        }
        index
    })
}

fn build(dims: &[usize], f: impl Fn(&[usize]) -> f64) -> Tensor {
    Tensor::new(dims.to_vec(), indices(dims).map(|index| f(&index)).collect())
}
