//! Every operation over many shapes and special values.

use super::*;
use crate::exec::ExecError;
use crate::ir::{Binary, Compare, Op, Unary};

const SHAPES: [&[usize]; 12] = [
    &[],
    &[1],
    &[5],
    &[0],
    &[3, 7],
    &[1, 4],
    &[4, 0, 3],
    &[2, 3, 5],
    &[5, 1, 9],
    &[2, 1, 3, 4],
    &[3, 2, 1, 2, 5],
    &[2, 17, 31],
];

/// Compares both float types with the oracle.
fn check(function: &Function, args: &[Tensor]) {
    let wanted = oracle::evaluate(function, args);
    run::<f64>(function, args).iter().zip(&wanted).for_each(|(x, y)| assert_close(x, y, 1e-12, function));
    let rounded: Vec<Tensor> = args.iter().map(round).collect();
    let wanted: Vec<Tensor> = oracle::evaluate(function, &rounded).iter().map(round).collect();
    run::<f32>(function, &rounded).iter().zip(&wanted).for_each(|(x, y)| assert_close(x, y, 1e-5, function));
}

/// Operations that only move elements keep every bit, the sign of zero and NaN included.
fn check_exactly(function: &Function, args: &[Tensor]) {
    check(function, args);
    assert_eq!(bits(&run::<f64>(function, args)), bits(&oracle::evaluate(function, args)), "{function:?}");
}

fn round(x: &Tensor) -> Tensor {
    Tensor::new(x.dims().to_vec(), x.data().iter().map(|&x| x as f32 as f64).collect())
}

const UNARY: [Unary; 9] =
    [Unary::Neg, Unary::Abs, Unary::Exp, Unary::Ln, Unary::Sqrt, Unary::Sin, Unary::Cos, Unary::Tanh, Unary::Erf];
const BINARY: [Binary; 6] = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min];
const COMPARE: [Compare; 3] = [Compare::Lt, Compare::Le, Compare::Eq];

#[test]
fn unary() {
    for dims in SHAPES {
        for f in UNARY {
            check(&program(&[dims], |b, x| vec![b.unary(f, x[0])]), &[wild(dims, 1)]);
        }
    }
}

#[test]
fn binary_and_compare() {
    for dims in SHAPES {
        let function = program(&[dims, dims], |b, x| {
            let mut out: Vec<NodeId> = BINARY.iter().map(|&f| b.binary(f, x[0], x[1])).collect();
            out.extend(COMPARE.iter().map(|&f| b.compare(f, x[0], x[1])));
            out.extend(BINARY.iter().map(|&f| b.binary(f, x[1], x[1])));
            out
        });
        check(&function, &[noise(dims, 2), noise(dims, 3)]);
        check(&function, &[wild(dims, 2), wild(dims, 4)]);
    }
}

#[test]
fn every_pair_of_special_values() {
    let smallest = f64::from_bits(1);
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        smallest,
        -smallest,
        3.0 * smallest,
        f64::MAX,
    ];
    let n = values.len();
    let left = Tensor::new(vec![n * n], (0..n * n).map(|i| values[i / n]).collect());
    let right = Tensor::new(vec![n * n], (0..n * n).map(|i| values[i % n]).collect());
    let function = program(&[&[n * n], &[n * n]], |b, x| {
        let mut out: Vec<NodeId> = COMPARE.iter().map(|&f| b.compare(f, x[0], x[1])).collect();
        out.extend([b.add(x[0], x[1]), b.sub(x[0], x[1]), b.select(x[0], x[1], x[0])]);
        out
    });
    let (found, wanted) =
        (run::<f64>(&function, &[left.clone(), right.clone()]), oracle::evaluate(&function, &[left, right]));
    for (found, wanted) in found.iter().zip(&wanted) {
        for (x, y) in found.data().iter().zip(wanted.data()) {
            assert!(x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()), "{found:?} is not {wanted:?}");
        }
    }
}

#[test]
fn smallest_f32_compares() {
    let smallest = f32::from_bits(1) as f64;
    let function = program(&[&[2], &[2]], |b, x| vec![b.compare(Compare::Lt, x[0], x[1])]);
    let args = [Tensor::new(vec![2], vec![0.0, smallest]), Tensor::new(vec![2], vec![smallest, 0.0])];
    assert_eq!(run::<f32>(&function, &args)[0].data(), [1.0, 0.0]);
}

#[test]
fn scalar_operands() {
    for dims in [&[][..], &[4], &[3, 5], &[0, 2]] {
        for c in [0.0, -0.0, 1.0, -2.5, f64::INFINITY, f64::NAN] {
            let function = program(&[dims], |b, x| {
                let c = b.full(c, dims);
                let mut out = Vec::new();
                for f in BINARY {
                    out.extend([b.binary(f, x[0], c), b.binary(f, c, x[0])]);
                }
                for f in COMPARE {
                    out.extend([b.compare(f, x[0], c), b.compare(f, c, x[0])]);
                }
                out
            });
            check(&function, &[wild(dims, 5)]);
        }
    }
}

#[test]
fn select() {
    for dims in SHAPES {
        let mut cond = noise(dims, 6);
        cond.data_mut().iter_mut().enumerate().for_each(|(i, x)| *x = [0.0, 1.0, -0.0, *x][i % 4]);
        let function = program(&[dims; 3], |b, x| vec![b.select(x[0], x[1], x[2])]);
        check_exactly(&function, &[cond, wild(dims, 7), wild(dims, 8)]);
    }
}

#[test]
fn masks_keep_every_value_and_drop_every_value() {
    let dims = [30, 12];
    let function = program(&[&dims, &dims], |b, x| {
        let zero = b.full(0.0, &dims);
        let masks = COMPARE.map(|f| b.compare(f, zero, x[0]));
        masks.iter().flat_map(|&mask| [b.select(mask, x[1], zero), b.select(mask, zero, x[1])]).collect()
    });
    let (mut x, y) = (noise(&dims, 24), wild(&dims, 25));
    x.data_mut().iter_mut().step_by(5).for_each(|x| *x = 0.0);
    check(&function, &[x.clone(), y.clone()]);
    let kept = &run::<f64>(&function, &[x.clone(), y.clone()])[0];
    for ((kept, x), y) in kept.data().iter().zip(x.data()).zip(y.data()) {
        assert!(*x <= 0.0 || y.is_nan() || kept.to_bits() == y.to_bits(), "{kept} is not {y}");
    }
}

#[test]
fn reductions() {
    for dims in SHAPES {
        for axis in 0..dims.len() {
            let sum = program(&[dims], |b, x| vec![b.sum(x[0], axis)]);
            check(&sum, &[noise(dims, 9)]);
            check(&sum, &[wild(dims, 10)]);
            if dims[axis] > 0 {
                let max = program(&[dims], |b, x| vec![b.reduce_max(x[0], axis)]);
                check_exactly(&max, &[noise(dims, 11)]);
                check(&max, &[wild(dims, 12)]);
            }
        }
    }
}

#[test]
fn broadcasts() {
    for dims in SHAPES {
        for axis in 0..=dims.len() {
            for size in [0, 1, 2, 5, 40] {
                check_exactly(&program(&[dims], |b, x| vec![b.broadcast(x[0], axis, size)]), &[wild(dims, 13)]);
            }
        }
    }
}

#[test]
fn moves() {
    for dims in SHAPES {
        let x = wild(dims, 14);
        for axis in 0..dims.len() {
            for (start, len) in [(0, dims[axis]), (0, dims[axis] / 2), (dims[axis] / 2, dims[axis] - dims[axis] / 2)] {
                check_exactly(
                    &program(&[dims], |b, x| vec![b.slice(x[0], axis, start, len)]),
                    std::slice::from_ref(&x),
                );
            }
            for (before, after) in [(0, 0), (2, 0), (0, 3), (1, 2)] {
                check_exactly(
                    &program(&[dims], |b, x| vec![b.pad(x[0], axis, before, after)]),
                    std::slice::from_ref(&x),
                );
            }
        }
        let len = dims.iter().product();
        check_exactly(&program(&[dims], |b, x| vec![b.reshape(x[0], &[1, len]), b.detach(x[0])]), &[x]);
    }
}

#[test]
fn permutations() {
    let orders = |rank: usize| -> Vec<Vec<usize>> {
        (0..rank).fold(vec![vec![]], |orders, axis| {
            let inserted = |order: &Vec<usize>, at: usize| [&order[..at], &[axis], &order[at..]].concat();
            orders.iter().flat_map(|order| (0..=axis).map(move |at| inserted(order, at))).collect()
        })
    };
    for dims in [&[][..], &[4], &[3, 5], &[2, 3, 4], &[2, 1, 3], &[2, 3, 4, 5], &[3, 1, 1, 2], &[2, 3, 1, 2, 3]] {
        for order in orders(dims.len()) {
            check_exactly(&program(&[dims], |b, x| vec![b.permute(x[0], &order)]), &[wild(dims, 15)]);
        }
    }
    let (dims, order) = ([2, 3, 2, 1, 2, 3, 2], [6, 1, 4, 3, 0, 5, 2]);
    check_exactly(&program(&[&dims], |b, x| vec![b.permute(x[0], &order)]), &[wild(&dims, 16)]);
}

#[test]
fn products() {
    for batch in [&[][..], &[1], &[3], &[2, 2], &[0], &[5, 1, 2]] {
        for (m, k, n) in [(1, 1, 1), (2, 3, 4), (1, 7, 5), (6, 1, 3), (5, 9, 1), (33, 40, 17), (3, 0, 2), (0, 2, 2)] {
            for (flip_a, flip_b) in [(false, false), (false, true), (true, false), (true, true)] {
                let matrix =
                    |rows, columns, flip: bool| [batch, &if flip { [columns, rows] } else { [rows, columns] }].concat();
                let (a, b) = (matrix(m, k, flip_a), matrix(k, n, flip_b));
                let function = program(&[&a, &b], |g, x| vec![g.matmul(x[0], x[1], flip_a, flip_b)]);
                check(&function, &[noise(&a, 17), noise(&b, 18)]);
            }
        }
    }
}

#[test]
fn a_row_of_a_product_does_not_see_the_nan_of_another() {
    let mut a = noise(&[5, 6], 19);
    a.data_mut()[8] = f64::NAN;
    check(&program(&[&[5, 6], &[6, 4]], |b, x| vec![b.matmul(x[0], x[1], false, false)]), &[a, noise(&[6, 4], 20)]);
}

#[test]
fn solve() {
    for (batch, p, q) in [(&[][..], 1, 1), (&[], 4, 2), (&[3], 3, 1), (&[2, 2], 5, 3), (&[2], 0, 3), (&[2], 2, 0)] {
        let (square, right) = ([batch, &[p, p]].concat(), [batch, &[p, q]].concat());
        let function = program(&[&square, &right], |b, x| {
            let gram = b.matmul(x[0], x[0], false, true);
            let eye = b.eye(p);
            let eye = batch.iter().rev().fold(eye, |eye, &size| b.broadcast(eye, 0, size));
            let a = b.add(gram, eye);
            vec![b.solve_spd(a, x[1])]
        });
        if p * q > 0 {
            check(&function, &[noise(&square, 21), noise(&right, 22)]);
        } else {
            assert_eq!(run::<f64>(&function, &[noise(&square, 21), noise(&right, 22)])[0].dims(), right);
        }
    }
}

#[test]
fn solving_with_an_indefinite_matrix_is_nan_and_spares_its_neighbours() {
    let a = Tensor::new(vec![2, 2, 2], vec![1.0, 2.0, 2.0, 1.0, 4.0, 0.0, 0.0, 4.0]);
    let function = program(&[&[2, 2, 2], &[2, 2, 1]], |b, x| vec![b.solve_spd(x[0], x[1])]);
    let found = &run::<f64>(&function, &[a, Tensor::full(&[2, 2, 1], 8.0)])[0];
    assert!(found.data()[..2].iter().all(|x| x.is_nan()), "{found:?}");
    assert_eq!(found.data()[2..], [2.0, 2.0]);
}

#[test]
fn constants_and_repeated_outputs() {
    let function = program(&[&[3]], |b, x| {
        let (ramp, eye, c) = (b.iota(&[2, 3], 1), b.eye(3), b.full(-0.0, &[2]));
        let sum = b.add(x[0], x[0]);
        vec![x[0], ramp, eye, c, sum, sum, x[0]]
    });
    check_exactly(&function, &[wild(&[3], 23)]);
}

#[test]
fn arguments_are_checked() {
    let executor = Dfdx::<f32, Cpu>::cpu();
    let kernel = executor.compile(&program(&[&[2], &[3]], |b, x| vec![b.neg(x[0]), b.neg(x[1])])).unwrap();
    let (two, three) = (executor.upload(&noise(&[2], 1)).unwrap(), executor.upload(&noise(&[3], 1)).unwrap());
    assert!(executor.run(&kernel, &[&two, &three]).is_ok());
    for args in [&[&two][..], &[&three, &two], &[&two, &three, &two]] {
        assert!(matches!(executor.run(&kernel, args), Err(ExecError::Arguments { .. })));
    }
}

#[test]
fn malformed_programs_are_refused() {
    let mut function = program(&[&[2]], |b, x| vec![b.neg(x[0])]);
    function.nodes[1].op = Op::Reshape { dims: vec![5] };
    assert!(matches!(Dfdx::<f32, Cpu>::cpu().compile(&function), Err(ExecError::Malformed { .. })));
}

#[test]
fn windows_and_rows() {
    let dims: &[usize] = &[2, 9, 3];
    for (axis, size, stride, dilation) in [(0, 2, 1, 1), (1, 3, 2, 2), (1, 1, 4, 1), (2, 3, 1, 1)] {
        let function = program(&[dims], |b, x| vec![b.window(x[0], axis, size, stride, dilation)]);
        check_exactly(&function, &[wild(dims, 1)]);
    }
    let dims: &[usize] = &[3, 4, 2, 5];
    for (axis, len, stride, dilation) in [(0, 6, 1, 1), (1, 9, 2, 1), (2, 10, 1, 2)] {
        let function = program(&[dims], |b, x| vec![b.fold(x[0], axis, len, stride, dilation)]);
        check(&function, &[noise(dims, 2)]);
    }
    for (batch, table, numbers) in [(0, &[4, 3][..], &[9][..]), (1, &[2, 4, 3], &[2, 7]), (1, &[2, 4, 0], &[2, 7])] {
        let rows = [numbers, &table[batch + 1..]].concat();
        let number = Tensor::new(numbers.to_vec(), noise(numbers, 3).data().iter().map(|x| x * 3.0).collect());
        let gather = program(&[table, numbers], |b, x| vec![b.gather(x[0], x[1], batch)]);
        check_exactly(&gather, &[wild(table, 4), number.clone()]);
        let scatter = program(&[numbers, &rows], |b, x| vec![b.scatter(x[0], x[1], batch, 4)]);
        check(&scatter, &[number, noise(&rows, 5)]);
    }
}
