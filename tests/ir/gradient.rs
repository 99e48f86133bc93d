//! First and second derivatives against central differences.

use metadsl::ir::{Compare, Function, Op, Reduce, Tensor, Unary, grad, gradient};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::derivatives::{check, scalar};
use crate::generate::sample;
use crate::ops::{self, positive_definite};
use crate::support::{Rng, assert_close, program, run};

/// Operations that central differences see through but gradients do not.
fn blocks(f: &Function) -> bool {
    f.nodes.iter().any(|n| matches!(n.op, Op::Detach))
}

#[test]
fn every_operation_has_first_and_second_derivatives() {
    for case in ops::all().into_iter().filter(|c| !blocks(&c.f)) {
        check(&case.f, &case.args, &case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, rng_seed: RngSeed::Fixed(20_26), failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn compositions_have_first_and_second_derivatives(
        choices in proptest::collection::vec(any::<u32>(), 1..9), seed in any::<u64>(),
    ) {
        let sample = sample(&choices, seed, false);
        check(&sample.f, &sample.args, &sample.f.to_string());
    }
}

#[test]
fn the_gradient_of_a_tensor_is_that_of_its_sum() {
    let f = program(&[&[3]], |b, x| {
        let square = b.mul(x[0], x[0]);
        grad(b, square, x)
    });
    let x = Tensor::new(vec![3], vec![1.0, -2.0, 0.5]);
    assert_eq!(run(&f, &[x])[0].data(), [2.0, -4.0, 1.0]);
}

#[test]
fn an_interior_variable_counts_as_a_variable_and_passes_on_what_it_gets() {
    // z = 3x, y = z^2 + x: dy/dz = 2z, dy/dx = 6z + 1.
    let f = program(&[&[]], |b, x| {
        let z = b.scale(x[0], 3.0);
        let square = b.mul(z, z);
        let y = b.add(square, x[0]);
        grad(b, y, &[z, x[0]])
    });
    let slopes = run(&f, &[Tensor::scalar(2.0)]);
    assert_eq!((slopes[0].data(), slopes[1].data()), (&[12.0][..], &[37.0][..]));
}

#[test]
fn an_interior_variable_is_not_stepped_over() {
    // The variables are views of x; what is made of them undoes the view, so that simplification could go past them.
    let f = program(&[&[2, 3]], |b, x| {
        let views = [b.transpose(x[0]), b.reshape(x[0], &[6]), b.neg(x[0])];
        let product = b.matmul(views[0], x[0], false, false);
        let undone = [b.transpose(views[0]), b.reshape(views[1], &[2, 3]), b.neg(views[2])];
        let mut total = b.sum_all(product);
        for x in undone {
            let square = b.mul(x, x);
            let part = b.sum_all(square);
            total = b.add(total, part);
        }
        grad(b, total, &views)
    });
    let x = Rng(5).tensor(&[2, 3], -1.0, 1.0);
    let slopes = run(&f, std::slice::from_ref(&x));
    let row_sum = |r: usize| x.data()[3 * r..3 * r + 3].iter().sum::<f64>();
    for (i, &value) in x.data().iter().enumerate() {
        let (row, column) = (i / 3, i % 3);
        // d sum(t x) / dt[c, r] = sum_j x[r, j], and d sum(t^2) / dt = 2t.
        let expected = row_sum(row) + 2.0 * value;
        assert!((slopes[0].data()[column * 2 + row] - expected).abs() < 1e-12);
        assert_eq!((slopes[1].data()[i], slopes[2].data()[i]), (2.0 * value, -2.0 * value));
    }
}

#[test]
fn no_gradient_passes_detach_compare_and_unrelated_nodes() {
    let f = program(&[&[2], &[2], &[2], &[2]], |b, x| {
        let fixed = b.detach(x[0]);
        let mask = b.compare(Compare::Lt, x[1], x[0]);
        let terms = b.mul(fixed, mask);
        let y = b.mul(terms, x[2]);
        grad(b, y, x)
    });
    let x = |a, b| Tensor::new(vec![2], vec![a, b]);
    let slopes = run(&f, &[x(1.0, 2.0), x(0.0, 3.0), x(5.0, 7.0), x(1.0, 1.0)]);
    assert_eq!(slopes, [x(0.0, 0.0), x(0.0, 0.0), x(1.0, 0.0), x(0.0, 0.0)]);
}

#[test]
fn a_product_with_a_detached_copy_has_half_the_slope() {
    let f = program(&[&[]], |b, x| {
        let fixed = b.detach(x[0]);
        let y = b.mul(x[0], fixed);
        grad(b, y, x)
    });
    assert_eq!(run(&f, &[Tensor::scalar(3.0)])[0].data(), [3.0]);
}

#[test]
fn entries_that_attain_a_maximum_share_its_gradient() {
    let f = program(&[&[4]], |b, x| {
        let y = b.reduce_max(x[0], 0);
        grad(b, y, x)
    });
    let x = Tensor::new(vec![4], vec![1.0, 3.0, 3.0, 2.0]);
    assert_eq!(run(&f, &[x])[0].data(), [0.0, 0.5, 0.5, 0.0]);
}

#[test]
fn slopes_at_kinks_are_the_documented_ones() {
    let f = program(&[&[]], |b, x| {
        let zero = b.constant(0.0);
        let relu = b.binary(metadsl::ir::Binary::Max, x[0], zero);
        let low = b.binary(metadsl::ir::Binary::Min, zero, x[0]);
        let abs = b.unary(Unary::Abs, x[0]);
        [relu, low, abs].map(|y| grad(b, y, x)[0]).to_vec()
    });
    let slopes = run(&f, &[Tensor::scalar(0.0)]);
    assert_eq!(slopes.iter().map(|s| s.data()[0]).collect::<Vec<_>>(), [0.0, 1.0, 0.0]);
}

#[test]
fn the_slope_of_a_chosen_branch_is_finite_beside_one_that_is_not() {
    // where(0 < x, ln x, 0) at x <= 0: the usual guard has slope 0 on the other side of the mask.
    let f = program(&[&[2]], |b, x| {
        let (zero, one) = (b.full(0.0, &[2]), b.full(1.0, &[2]));
        let positive = b.compare(Compare::Lt, zero, x[0]);
        let safe = b.select(positive, x[0], one);
        let ln = b.unary(Unary::Ln, safe);
        let y = b.select(positive, ln, zero);
        grad(b, y, x)
    });
    let slopes = run(&f, &[Tensor::new(vec![2], vec![0.0, 4.0])]);
    assert_eq!(slopes[0].data(), [0.0, 0.25]);
}

#[test]
fn the_slope_of_a_solution_in_its_matrix_holds_along_symmetric_moves() {
    let solve = program(&[&[3, 3], &[3, 2]], |b, x| vec![b.solve_spd(x[0], x[1])]);
    let loss = scalar(&solve);
    let mut rng = Rng(3);
    let seed = rng.tensor(&[3, 3], -1.0, 1.0);
    let a = run(&program(&[&[3, 3]], |b, x| vec![positive_definite(b, x[0])]), &[seed]).remove(0);
    let (rhs, step) = (rng.tensor(&[3, 2], -1.0, 1.0), 1e-5);
    let slope = run(&gradient(&loss, &[0]), &[a.clone(), rhs.clone()]).remove(1);
    for (i, j) in [(0, 0), (1, 0), (2, 1), (2, 2)] {
        let at = |h: f64| {
            let mut a = a.clone();
            a.data_mut()[3 * i + j] += h;
            if i != j {
                a.data_mut()[3 * j + i] += h;
            }
            run(&loss, &[a, rhs.clone()])[0].data()[0]
        };
        let measured = (at(step) - at(-step)) / (2.0 * step);
        let exact = if i == j { slope.data()[4 * i] } else { slope.data()[3 * i + j] + slope.data()[3 * j + i] };
        assert_close(&Tensor::scalar(exact), &Tensor::scalar(measured), 1e-6, &format!("entry {i},{j}"));
    }
}

#[test]
fn a_gradient_holds_nothing_for_nodes_off_the_path() {
    let f = program(&[&[4, 4], &[4, 4]], |b, x| {
        let shared = b.matmul(x[0], x[0], false, false);
        let y = b.matmul(shared, x[1], false, false);
        grad(b, y, &x[1..])
    });
    // shared = x0 x0, dy/dx1 = shared^T 1: nothing else is a product.
    assert_eq!(f.nodes.iter().filter(|n| matches!(n.op, Op::MatMul { .. })).count(), 2, "{f}");
    assert!(!f.nodes.iter().any(|n| matches!(n.op, Op::Reduce { f: Reduce::Max, .. })));
}

#[test]
fn gradient_keeps_the_outputs_and_names_the_slopes() {
    let f = program(&[&[], &[]], |b, x| vec![b.mul(x[0], x[1]), b.add(x[0], x[1])]);
    let g = gradient(&f, &[1, 0]);
    assert_eq!(g.outputs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["y0", "y1", "dy0/dx1", "dy0/dx0"]);
    let results = run(&g, &[Tensor::scalar(2.0), Tensor::scalar(5.0)]);
    assert_eq!(results.iter().map(|t| t.data()[0]).collect::<Vec<_>>(), [10.0, 7.0, 2.0, 5.0]);
}
