//! The reference executor against numbers worked out by hand.

use metadsl::exec::reference::Reference;
use metadsl::exec::{ExecError, Executor, Precision};
use metadsl::ir::{Binary, Compare, Tensor, Unary};

use crate::support::{Rng, assert_close, bits, program, run, run_in};

fn tensor(dims: &[usize], data: &[f64]) -> Tensor {
    Tensor::new(dims.to_vec(), data.to_vec())
}

const X: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

#[test]
fn moving_data() {
    let f = program(&[&[2, 3]], |b, x| {
        vec![
            b.permute(x[0], &[1, 0]),
            b.slice(x[0], 1, 1, 2),
            b.pad(x[0], 1, 1, 0),
            b.broadcast(x[0], 1, 2),
            b.reshape(x[0], &[3, 2]),
            b.iota(&[2, 2], 1),
        ]
    });
    let expected = [
        tensor(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
        tensor(&[2, 2], &[2.0, 3.0, 5.0, 6.0]),
        tensor(&[2, 4], &[0.0, 1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0]),
        tensor(&[2, 2, 3], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.0, 5.0, 6.0]),
        tensor(&[3, 2], &X),
        tensor(&[2, 2], &[0.0, 1.0, 0.0, 1.0]),
    ];
    assert_eq!(run(&f, &[tensor(&[2, 3], &X)]), expected);
}

#[test]
fn permuting_three_axes() {
    let f = program(&[&[2, 3, 4]], |b, x| vec![b.permute(x[0], &[2, 0, 1])]);
    let x = tensor(&[2, 3, 4], &(0..24).map(f64::from).collect::<Vec<_>>());
    let y = run(&f, &[x]).remove(0);
    for (i, j, k) in [(0, 1, 2), (3, 0, 1), (2, 1, 0)] {
        assert_eq!(y.data()[i * 6 + j * 3 + k], (j * 12 + k * 4 + i) as f64);
    }
}

#[test]
fn products_with_every_flag() {
    let (a, c) = (tensor(&[2, 3], &X), tensor(&[3, 2], &[1.0, 0.0, 2.0, 1.0, 0.0, 3.0]));
    let expected = [5.0, 11.0, 14.0, 23.0];
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        let f = program(&[&[2, 3], &[3, 2]], |b, x| {
            let a = if ta { b.transpose(x[0]) } else { x[0] };
            let c = if tb { b.transpose(x[1]) } else { x[1] };
            // Detached, so that the transposes stay nodes of their own.
            let (a, c) = (b.detach(a), b.detach(c));
            vec![b.matmul(a, c, ta, tb)]
        });
        assert_eq!(run(&f, &[a.clone(), c.clone()])[0].data(), expected, "{ta} {tb}");
    }
}

#[test]
fn products_under_a_batch_axis_and_of_nothing() {
    let f = program(&[&[2, 1, 2], &[2, 2, 1]], |b, x| vec![b.matmul(x[0], x[1], false, false)]);
    let (a, c) = (tensor(&[2, 1, 2], &X[..4]), tensor(&[2, 2, 1], &[1.0, 10.0, 100.0, 1000.0]));
    assert_eq!(run(&f, &[a, c])[0].data(), [21.0, 4300.0]);
    let f = program(&[&[2, 0], &[0, 3]], |b, x| vec![b.matmul(x[0], x[1], false, false), b.sum(x[0], 1)]);
    let nothing = run(&f, &[tensor(&[2, 0], &[]), tensor(&[0, 3], &[])]);
    assert_eq!(nothing, [Tensor::full(&[2, 3], 0.0), Tensor::full(&[2], 0.0)]);
}

#[test]
fn reductions() {
    let f = program(&[&[2, 3]], |b, x| {
        vec![b.sum(x[0], 0), b.sum(x[0], 1), b.reduce_max(x[0], 1), b.sum_all(x[0]), b.mean(x[0], 0)]
    });
    let results = run(&f, &[tensor(&[2, 3], &X)]);
    let data: Vec<&[f64]> = results.iter().map(|t| t.data()).collect();
    assert_eq!(data, [&[5.0, 7.0, 9.0][..], &[6.0, 15.0], &[3.0, 6.0], &[21.0], &[2.5, 3.5, 4.5]]);
}

#[test]
fn the_sum_of_one_negative_zero_keeps_its_sign() {
    let f = program(&[&[3]], |b, x| vec![b.sum(x[0], 0)]);
    let y = run(&f, &[tensor(&[3], &[-0.0; 3])]);
    assert!(y[0].data()[0].is_sign_negative());
}

#[test]
fn choices_between_equal_numbers_and_against_nan() {
    let f = program(&[&[4], &[4]], |b, x| {
        let less = b.compare(Compare::Lt, x[0], x[1]);
        let equal = b.compare(Compare::Eq, x[0], x[1]);
        vec![b.binary(Binary::Max, x[0], x[1]), b.binary(Binary::Min, x[0], x[1]), less, equal]
    });
    let nan = f64::NAN;
    let results = run(&f, &[tensor(&[4], &[0.0, nan, 1.0, -2.0]), tensor(&[4], &[-0.0, 1.0, nan, 3.0])]);
    let expected = [[-0.0, 1.0, 1.0, 3.0], [-0.0, 1.0, 1.0, -2.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]];
    assert_eq!(bits(&results), bits(&expected.map(|e| tensor(&[4], &e))));
}

#[test]
fn a_solution_solves() {
    let mut rng = Rng(9);
    let f = program(&[&[2, 4, 4], &[2, 4, 3]], |b, x| {
        let a = crate::ops::positive_definite(b, x[0]);
        let solution = b.solve_spd(a, x[1]);
        vec![b.matmul(a, solution, false, false)]
    });
    let (seed, rhs) = (rng.tensor(&[2, 4, 4], -1.0, 1.0), rng.tensor(&[2, 4, 3], -1.0, 1.0));
    assert_close(&run(&f, &[seed, rhs.clone()])[0], &rhs, 1e-12, "A A^-1 B");
}

#[test]
fn a_matrix_that_is_not_positive_definite_spoils_its_own_solution_alone() {
    let f = program(&[&[2, 2, 2], &[2, 2, 1]], |b, x| vec![b.solve_spd(x[0], x[1])]);
    let a = tensor(&[2, 2, 2], &[1.0, 2.0, 2.0, 1.0, 2.0, 0.0, 0.0, 4.0]);
    let x = run(&f, &[a, Tensor::full(&[2, 2, 1], 1.0)]).remove(0);
    assert!(x.data()[..2].iter().all(|v| v.is_nan()));
    assert_close(&x.row(1), &tensor(&[2, 1], &[0.5, 0.25]), 1e-15, "the other one");
}

#[test]
fn only_the_lower_triangle_is_read() {
    let f = program(&[&[2, 2], &[2, 1]], |b, x| vec![b.solve_spd(x[0], x[1])]);
    let rhs = tensor(&[2, 1], &[1.0, 2.0]);
    let (full, lower) = (tensor(&[2, 2], &[2.0, 1.0, 1.0, 3.0]), tensor(&[2, 2], &[2.0, 99.0, 1.0, 3.0]));
    assert_eq!(run(&f, &[full, rhs.clone()]), run(&f, &[lower, rhs]));
}

#[test]
fn single_precision_rounds_every_result() {
    let f = program(&[&[], &[]], |b, x| {
        let third = b.div(x[0], x[1]);
        let tiny = b.constant(1e-9);
        let one = b.constant(1.0);
        vec![third, b.add(one, tiny), b.unary(Unary::Exp, x[1]), x[1]]
    });
    let args = [Tensor::scalar(1.0), Tensor::scalar(3.000_000_01)];
    let single = run_in(Precision::F32, &f, &args);
    let three = 3.000_000_01_f64 as f32;
    let expected = [1.0 / three, 1.0, three.exp(), three];
    for (i, (found, expected)) in single.iter().zip(expected).enumerate() {
        assert_eq!(found.data()[0], f64::from(expected), "output {i}");
    }
    assert_ne!(run(&f, &args)[1].data(), [1.0]);
}

#[test]
fn transcendental_bits_are_fixed() {
    // From libm 0.2; another value here means that old records no longer replay.
    let f = program(&[&[]], |b, x| {
        [Unary::Exp, Unary::Ln, Unary::Sin, Unary::Cos, Unary::Tanh, Unary::Sqrt].map(|f| b.unary(f, x[0])).to_vec()
    });
    let found: Vec<u64> = run(&f, &[Tensor::scalar(0.7)]).iter().map(|t| t.data()[0].to_bits()).collect();
    let expected = [
        0x4000_1c2a_6126_8987,
        0xbfd6_d3c3_24e1_3f50,
        0x3fe4_9d6e_6946_19b8,
        0x3fe8_7996_529f_9d93,
        0x3fe3_56fb_17af_2e90,
        0x3fea_c5eb_3f7a_b2f8,
    ];
    assert_eq!(found, expected);
}

#[test]
fn wrong_arguments_are_reported_with_what_is_wanted() {
    let f = program(&[&[2, 3], &[]], |b, x| vec![b.neg(x[0]), x[1]]);
    let executor = Reference::new(Precision::F64);
    assert_eq!(executor.name(), "reference");
    let kernel = executor.compile(&f).expect("compiles");
    let upload = |t: Tensor| executor.upload(&t).expect("uploads");
    let (good, scalar, bad) =
        (upload(Tensor::full(&[2, 3], 0.0)), upload(Tensor::scalar(0.0)), upload(Tensor::full(&[3, 2], 0.0)));
    assert!(executor.run(&kernel, &[&good, &scalar]).is_ok());
    for args in [&[&good][..], &[&bad, &scalar], &[&good, &scalar, &scalar], &[]] {
        let error = executor.run(&kernel, args).expect_err("the arguments do not fit");
        assert!(matches!(error, ExecError::Arguments { .. }), "{error}");
    }
    let error = executor.run(&kernel, &[&bad, &scalar]).expect_err("the arguments do not fit");
    assert_eq!(error.to_string(), "`f` was called with [3, 2], [], it takes x0 [2, 3], x1 []");
}
