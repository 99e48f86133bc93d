//! One small program for every operation, with arguments away from its kinks: the table that other tests walk.

use metadsl::ir::{Binary, Builder, Compare, Function, NodeId, Reduce, Tensor, Unary};

use crate::support::{Rng, program};

/// A program of one operation and arguments for it.
pub struct Case {
    pub name: String,
    pub f: Function,
    pub args: Vec<Tensor>,
}

fn case(
    name: impl Into<String>,
    inputs: &[(&[usize], f64, f64)],
    body: impl FnOnce(&mut Builder, &[NodeId]) -> NodeId,
) -> Case {
    let name = name.into();
    let mut rng = Rng(name.bytes().fold(7u64, |h, b| h.wrapping_mul(31) ^ u64::from(b)));
    let dims: Vec<&[usize]> = inputs.iter().map(|i| i.0).collect();
    let f = program(&dims, |b, x| vec![body(b, x)]);
    let args = inputs.iter().map(|(dims, low, high)| rng.tensor(dims, *low, *high)).collect();
    Case { name, f, args }
}

/// `x x^T + 2 I`
pub fn positive_definite(b: &mut Builder, x: NodeId) -> NodeId {
    let square = b.matmul(x, x, false, true);
    let dims = b.dims(square).to_vec();
    let mut ridge = b.eye(dims[dims.len() - 1]);
    for &size in dims[..dims.len() - 2].iter().rev() {
        ridge = b.broadcast(ridge, 0, size);
    }
    let ridge = b.scale(ridge, 2.0);
    b.add(square, ridge)
}

/// Every operation at least once, with each flag, with and without batch axes.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let d: &[usize] = &[2, 3];
    for f in [Unary::Neg, Unary::Exp, Unary::Sin, Unary::Cos, Unary::Tanh, Unary::Erf] {
        cases.push(case(format!("{f:?}"), &[(d, -1.0, 1.0)], |b, x| b.unary(f, x[0])));
    }
    for f in [Unary::Ln, Unary::Sqrt] {
        cases.push(case(format!("{f:?}"), &[(d, 0.5, 2.0)], |b, x| b.unary(f, x[0])));
    }
    cases.push(case("Abs+", &[(d, 0.1, 2.0)], |b, x| b.unary(Unary::Abs, x[0])));
    cases.push(case("Abs-", &[(d, -2.0, -0.1)], |b, x| b.unary(Unary::Abs, x[0])));
    for f in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min] {
        cases.push(case(format!("{f:?}"), &[(d, -1.0, 1.0), (d, 0.5, 1.5)], |b, x| b.binary(f, x[0], x[1])));
    }
    cases.push(case("square", &[(d, -1.0, 1.0)], |b, x| b.mul(x[0], x[0])));
    for f in [Compare::Lt, Compare::Le, Compare::Eq] {
        cases.push(case(format!("{f:?}"), &[(d, -1.0, 1.0), (d, -1.0, 1.0)], |b, x| b.compare(f, x[0], x[1])));
    }
    cases.push(case("Select", &[(d, -1.0, 1.0), (d, -1.0, 1.0), (d, -1.0, 1.0)], |b, x| {
        let zero = b.full(0.0, &[2, 3]);
        let cond = b.compare(Compare::Lt, zero, x[0]);
        b.select(cond, x[1], x[2])
    }));
    for axis in 0..3 {
        for f in [Reduce::Sum, Reduce::Max] {
            cases.push(case(format!("{f:?}{axis}"), &[(&[2, 3, 2], -1.0, 1.0)], |b, x| match f {
                Reduce::Sum => b.sum(x[0], axis),
                Reduce::Max => b.reduce_max(x[0], axis),
            }));
        }
        cases.push(case(format!("Broadcast{axis}"), &[(d, -1.0, 1.0)], |b, x| b.broadcast(x[0], axis, 3)));
    }
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        for batch in [&[][..], &[2]] {
            // Tall and wide, so that both ways to share an operand occur.
            for (m, k, n) in [(2, 3, 4), (1, 3, 2), (5, 2, 3)] {
                let a = [batch, &if ta { [k, m] } else { [m, k] }].concat();
                let c = [batch, &if tb { [n, k] } else { [k, n] }].concat();
                cases.push(case(
                    format!("MatMul {a:?} {ta} {c:?} {tb}"),
                    &[(&a, -1.0, 1.0), (&c, -1.0, 1.0)],
                    |b, x| b.matmul(x[0], x[1], ta, tb),
                ));
            }
        }
    }
    cases.push(case("Permute", &[(&[2, 3, 4], -1.0, 1.0)], |b, x| b.permute(x[0], &[2, 0, 1])));
    cases.push(case("Reshape", &[(&[2, 6], -1.0, 1.0)], |b, x| b.reshape(x[0], &[3, 2, 2])));
    cases.push(case("Slice", &[(&[2, 5], -1.0, 1.0)], |b, x| b.slice(x[0], 1, 1, 3)));
    cases.push(case("Pad", &[(d, -1.0, 1.0)], |b, x| b.pad(x[0], 0, 1, 2)));
    for (axis, size, stride, dilation) in [(0, 2, 1, 1), (1, 3, 2, 1), (1, 2, 1, 3), (1, 1, 3, 1)] {
        let name = format!("Window{axis} {size} {stride} {dilation}");
        cases.push(case(name, &[(&[3, 7, 2], -1.0, 1.0)], |b, x| b.window(x[0], axis, size, stride, dilation)));
    }
    for (axis, len, stride, dilation) in [(0, 5, 1, 1), (1, 8, 2, 1), (1, 6, 1, 3), (2, 7, 2, 2)] {
        let name = format!("Fold{axis} {len} {stride} {dilation}");
        cases.push(case(name, &[(&[3, 3, 2, 2], -1.0, 1.0)], |b, x| b.fold(x[0], axis, len, stride, dilation)));
    }
    for batch in [0, 1] {
        let [table, rows] = [[2, 3, 4], [2, 5, 4]].map(|dims| dims[1 - batch..].to_vec());
        let numbers = [2, 5][1 - batch..].to_vec();
        // From below the table to above it.
        cases.push(case(format!("Gather{batch}"), &[(&table, -1.0, 1.0), (&numbers, -2.0, 4.0)], |b, x| {
            b.gather(x[0], x[1], batch)
        }));
        cases.push(case(format!("Scatter{batch}"), &[(&numbers, -2.0, 4.0), (&rows, -1.0, 1.0)], |b, x| {
            b.scatter(x[0], x[1], batch, 3)
        }));
    }
    for batch in [&[][..], &[2]] {
        let (a, r) = ([batch, &[3, 3]].concat(), [batch, &[3, 2]].concat());
        cases.push(case(format!("SolveSpd {a:?}"), &[(&a, -1.0, 1.0), (&r, -1.0, 1.0)], |b, x| {
            let a = positive_definite(b, x[0]);
            b.solve_spd(a, x[1])
        }));
    }
    cases.push(case("Detach", &[(d, -1.0, 1.0)], |b, x| b.detach(x[0])));
    cases.push(case("Iota", &[(d, -1.0, 1.0)], |b, x| {
        let (row, column) = (b.iota(&[2, 3], 0), b.iota(&[2, 3], 1));
        let weights = b.add(row, column);
        b.mul(x[0], weights)
    }));
    cases
}
