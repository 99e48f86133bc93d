//! What the tests of executors share: programs, random ones among them, numbers for them, and what every operation means.

pub mod oracle;

use crate::ir::{Binary, Builder, Compare, Function, NodeId, Tensor, Unary};

/// A program of inputs with these dims and the outputs that `build` makes of them.
pub fn program(inputs: &[&[usize]], build: impl FnOnce(&mut Builder, &[NodeId]) -> Vec<NodeId>) -> Function {
    let mut b = Builder::new();
    let nodes: Vec<NodeId> = inputs.iter().enumerate().map(|(i, dims)| b.input(format!("x{i}"), dims)).collect();
    let outputs = build(&mut b, &nodes).into_iter().enumerate().map(|(i, node)| (format!("y{i}"), node)).collect();
    b.finish("test", outputs)
}

/// The bits of every element.
pub fn bits(tensors: &[Tensor]) -> Vec<Vec<u64>> {
    tensors.iter().map(|t| t.data().iter().map(|x| x.to_bits()).collect()).collect()
}

/// Numbers in -2..2 that look random and depend on `seed` alone.
pub fn noise(dims: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1u64 << 24) as f64 * 4.0 - 2.0
    };
    next();
    Tensor::new(dims.to_vec(), (0..dims.iter().product()).map(|_| next()).collect())
}

/// [`noise`] with zeros of both signs, infinities and NaN strewn in.
pub fn wild(dims: &[usize], seed: u64) -> Tensor {
    let specials = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40];
    let mut x = noise(dims, seed);
    x.data_mut().iter_mut().enumerate().for_each(|(i, x)| {
        if i % 3 == 1 {
            *x = specials[(i / 3 + seed as usize) % specials.len()];
        }
    });
    x
}

/// A program that `choices` describe: each adds one node to those before. Its functions are smooth or exact, so that
/// rounding stays small; comparisons see inputs alone, so that it cannot turn them. The derivatives of a `smooth` one
/// are so as well.
pub fn random_program(choices: &[(u8, u8, u8, u8)], smooth: bool) -> Function {
    const INPUTS: [&[usize]; 5] = [&[], &[4], &[3, 4], &[2, 3, 4], &[4, 3]];
    program(&INPUTS, |b, inputs| {
        let mut nodes = inputs.to_vec();
        for &(kind, first, second, detail) in choices {
            let x = nodes[first as usize % nodes.len()];
            let (dims, detail) = (b.dims(x).to_vec(), detail as usize);
            let rank = dims.len();
            let alike: Vec<NodeId> = nodes.iter().copied().filter(|&n| b.dims(n) == dims).collect();
            let y = alike[second as usize % alike.len()];
            let axis = detail % rank.max(1);
            let small = dims.iter().product::<usize>() < 400;
            let kinks = |kinks: usize, all: usize| if smooth { all - kinks } else { all };
            let node = match kind % 14 {
                0 => b.unary([Unary::Neg, Unary::Tanh, Unary::Sin, Unary::Cos, Unary::Abs][detail % kinks(1, 5)], x),
                1 | 2 => {
                    let z =
                        b.binary([Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min][detail % 5], x, y);
                    b.unary(Unary::Tanh, z)
                }
                3 => b.scale(x, [0.5, -1.0, 2.0][detail % 3]),
                4 => b.offset(x, [0.5, -1.0, 0.0][detail % 3]),
                5 => {
                    let i = inputs[detail % inputs.len()];
                    let dims = b.dims(i).to_vec();
                    let zero = b.full(0.0, &dims);
                    b.compare([Compare::Lt, Compare::Le, Compare::Eq][detail % 3], zero, i)
                }
                6 => {
                    let cond = alike[detail % alike.len()];
                    let one = b.full(1.0, &dims);
                    let cond = b.compare(Compare::Eq, cond, one);
                    b.select(cond, x, y)
                }
                7 if rank > 0 => b.sum(x, axis),
                8 if rank > 0 && !smooth => b.reduce_max(x, axis),
                9 if small => b.broadcast(x, detail % (rank + 1), 1 + detail % 7),
                10 if rank > 1 => b.transpose(x),
                11 if rank > 0 && small => b.pad(x, axis, detail % 3, 1),
                12 if rank > 0 && dims[axis] > 1 => b.slice(x, axis, 1, dims[axis] - 1),
                13 if rank > 1 => b.matmul(x, y, detail % 2 == 0, detail % 2 == 1),
                _ => b.unary(Unary::Sin, x),
            };
            nodes.push(node);
        }
        nodes
    })
}
