//! Vectorisation: a batched program gives what the program gives case by case.

use metadsl::ir::{Builder, Function, NodeId, Op, Tensor, batch, batch_some, grad, gradient};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::generate::sample;
use crate::ops;
use crate::support::{Rng, assert_close, bits, program, run};

/// `f` over `size` cases as a program of its own.
pub fn batched(f: &Function, mapped: &[bool], size: usize) -> Function {
    let mut b = Builder::new();
    let inputs: Vec<NodeId> = f
        .inputs
        .iter()
        .zip(mapped)
        .map(|(p, &mapped)| {
            let dims = if mapped { [&[size], f.dims(p.node)].concat() } else { f.dims(p.node).to_vec() };
            b.input(p.name.clone(), &dims)
        })
        .collect();
    let outputs = batch(&mut b, f, &inputs, mapped, size);
    let batched = b.finish("batched", f.outputs.iter().map(|p| p.name.clone()).zip(outputs).collect());
    batched.verify().expect("a built program is well formed");
    batched
}

/// Every way to map at least one of `n` arguments, and to map none.
fn patterns(n: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1 << n).map(move |mask| (0..n).map(|i| mask >> i & 1 == 1).collect())
}

/// Arguments of `size` cases: the mapped ones vary a little around `args`, on the same side of every kink.
fn spread(args: &[Tensor], mapped: &[bool], size: usize, seed: u64) -> Vec<Tensor> {
    let mut rng = Rng(seed);
    let vary = |rng: &mut Rng, t: &Tensor| {
        let data = t.data().iter().map(|x| x * rng.uniform(0.8, 1.2)).collect();
        Tensor::new(t.dims().to_vec(), data)
    };
    let over_cases = |(t, &mapped): (&Tensor, &bool)| match mapped {
        true => Tensor::stack(t.dims(), &(0..size).map(|_| vary(&mut rng, t)).collect::<Vec<_>>()),
        false => t.clone(),
    };
    args.iter().zip(mapped).map(over_cases).collect()
}

/// The outputs of `f` case by case, stacked.
fn one_by_one(f: &Function, args: &[Tensor], mapped: &[bool], size: usize) -> Vec<Tensor> {
    let case = |i: usize| {
        let args: Vec<Tensor> =
            args.iter().zip(mapped).map(|(t, &mapped)| if mapped { t.row(i) } else { t.clone() }).collect();
        run(f, &args)
    };
    let cases: Vec<Vec<Tensor>> = (0..size).map(case).collect();
    let column = |o: usize| cases.iter().map(|c| c[o].clone()).collect::<Vec<_>>();
    f.output_dims().enumerate().map(|(o, dims)| Tensor::stack(dims, &column(o))).collect()
}

/// The same bits, case by case and at once, for every pattern of mapped arguments.
fn check(f: &Function, args: &[Tensor], what: &str) {
    for mapped in patterns(args.len()) {
        for size in [1, 3] {
            let args = spread(args, &mapped, size, 17);
            let at_once = run(&batched(f, &mapped, size), &args);
            let stacked = one_by_one(f, &args, &mapped, size);
            assert_eq!(bits(&at_once), bits(&stacked), "{what}, mapped {mapped:?}, {size} cases");
        }
    }
}

#[test]
fn every_operation_and_pattern_gives_the_bits_of_the_single_cases() {
    for case in ops::all() {
        check(&case.f, &case.args, &case.name);
    }
}

#[test]
fn batches_of_batches_give_the_bits_of_the_single_cases() {
    for case in ops::all() {
        for mapped in patterns(case.args.len()) {
            let inner = batched(&case.f, &mapped, 2);
            check(&inner, &spread(&case.args, &mapped, 2, 23), &format!("{} in a batch {mapped:?}", case.name));
        }
    }
}

#[test]
fn gradients_and_batches_commute() {
    for case in ops::all() {
        gradient_of_batch_is_batch_of_gradient(&case.f, &case.args, &case.name);
    }
}

/// The gradient of the sum over cases in a mapped argument is the gradient of each case; in a shared one, their sum.
fn gradient_of_batch_is_batch_of_gradient(f: &Function, args: &[Tensor], what: &str) {
    let size = 3;
    let wrt: Vec<usize> = (0..args.len()).collect();
    for mapped in patterns(args.len()) {
        let outside = gradient(&batched(f, &mapped, size), &wrt);
        let inside = batched(&gradient(f, &wrt), &mapped, size);
        let args = spread(args, &mapped, size, 29);
        let (outside, inside) = (run(&outside, &args), run(&inside, &args));
        for i in wrt.iter().map(|i| f.outputs.len() + i) {
            let expected = if mapped[i - f.outputs.len()] {
                inside[i].clone()
            } else {
                let mut total = inside[i].row(0);
                for case in 1..size {
                    let row = inside[i].row(case);
                    total.data_mut().iter_mut().zip(row.data()).for_each(|(t, x)| *t += x);
                }
                total
            };
            assert_close(&outside[i], &expected, 1e-11, &format!("{what}, mapped {mapped:?}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, rng_seed: RngSeed::Fixed(20_26), failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn compositions_in_a_batch(choices in proptest::collection::vec(any::<u32>(), 1..14), seed in any::<u64>()) {
        let sample = sample(&choices, seed, true);
        let text = sample.f.to_string();
        check(&sample.f, &sample.args, &text);
        gradient_of_batch_is_batch_of_gradient(&sample.f, &sample.args, &text);
        let inner = batched(&sample.f, &[true, false, false], 2);
        check(&inner, &spread(&sample.args, &[true, false, false], 2, seed), &text);
    }
}

fn products(f: &Function) -> Vec<&[usize]> {
    f.nodes.iter().filter(|n| matches!(n.op, Op::MatMul { .. })).map(|n| &n.dims[..]).collect()
}

#[test]
fn shared_work_is_done_once() {
    // (x B) w with x and B shared: only the last product has cases, and they are the columns of one product.
    let f = program(&[&[5, 4], &[4, 3], &[3, 1]], |b, x| {
        let features = b.matmul(x[0], x[1], false, false);
        vec![b.matmul(features, x[2], false, false)]
    });
    let adapted = batched(&f, &[false, false, true], 7);
    assert!(products(&adapted).contains(&&[5, 3][..]), "{adapted}");
}

#[test]
fn cases_become_rows_of_one_product_with_a_shared_matrix() {
    let f = program(&[&[5, 4], &[4, 3], &[2, 3]], |b, x| {
        let features = b.matmul(x[0], x[1], false, false);
        vec![b.matmul(features, x[2], false, true)]
    });
    let over_data = batched(&f, &[true, false, false], 7);
    assert_eq!(products(&over_data), [&[35, 3][..], &[35, 2]], "{over_data}");
    assert!(!over_data.nodes.iter().any(|n| matches!(n.op, Op::Broadcast { .. } | Op::Permute { .. })), "{over_data}");
}

#[test]
fn a_small_shared_matrix_is_copied_rather_than_large_cases_moved() {
    let f = program(&[&[2, 50], &[2, 3]], |b, x| vec![b.matmul(x[0], x[1], true, false)]);
    let f = batched(&f, &[true, false], 7);
    assert_eq!(products(&f), [&[7, 50, 3][..]], "{f}");
    assert!(!f.nodes.iter().any(|n| matches!(n.op, Op::Permute { .. })), "{f}");
}

#[test]
fn one_factorisation_serves_all_right_hand_sides() {
    let f = program(&[&[3, 3], &[3, 2]], |b, x| vec![b.solve_spd(x[0], x[1])]);
    let f = batched(&f, &[false, true], 4);
    let solution = f.nodes.iter().find(|n| matches!(n.op, Op::SolveSpd)).expect("a solution");
    assert_eq!(solution.dims, [3, 8]);
}

#[test]
fn an_output_that_no_case_touches_is_repeated() {
    let f = program(&[&[2], &[2]], |b, x| vec![b.neg(x[0]), x[1]]);
    let (a, c) = (Tensor::new(vec![2], vec![1.0, 2.0]), Tensor::new(vec![3, 2], vec![0.0; 6]));
    let results = run(&batched(&f, &[false, true], 3), &[a, c.clone()]);
    assert_eq!(results, [Tensor::new(vec![3, 2], [-1.0, -2.0].repeat(3)), c]);
}

#[test]
fn no_cases_at_all_give_empty_outputs() {
    for case in ops::all() {
        let mapped = vec![true; case.args.len()];
        let args: Vec<Tensor> = case.args.iter().map(|t| Tensor::new([&[0], t.dims()].concat(), vec![])).collect();
        let results = run(&batched(&case.f, &mapped, 0), &args);
        assert_eq!(results[0].dims()[0], 0, "{}", case.name);
    }
}

#[test]
fn an_adaptation_step_inside_a_batch_is_differentiable() {
    // theta_t = theta - a dL/dtheta(theta, x_t); the sum of theta_t^2 over cases, differentiated in the shared theta.
    let loss = program(&[&[3], &[3]], |b, x| {
        let error = b.sub(x[0], x[1]);
        let square = b.mul(error, error);
        vec![b.sum_all(square)]
    });
    let step = {
        let slopes = gradient(&loss, &[0]);
        program(&[&[3], &[3]], |b, x| {
            let slope = b.inline(&slopes, x)[1];
            let move_by = b.scale(slope, 0.1);
            vec![b.sub(x[0], move_by)]
        })
    };
    let outer = program(&[&[3], &[4, 3]], |b, x| {
        let adapted = batch(b, &step, x, &[false, true], 4)[0];
        let square = b.mul(adapted, adapted);
        let total = b.sum_all(square);
        grad(b, total, &x[..1])
    });
    let (theta, data) = (Rng(1).tensor(&[3], -1.0, 1.0), Rng(2).tensor(&[4, 3], -1.0, 1.0));
    let slope = run(&outer, &[theta.clone(), data.clone()]).remove(0);
    for i in 0..3 {
        // theta_t = 0.8 theta + 0.2 x_t, so the slope is the sum of 2 * 0.8 * theta_t.
        let at = |t: usize| 0.8 * theta.data()[i] + 0.2 * data.data()[3 * t + i];
        let exact: f64 = (0..4).map(|t| 1.6 * at(t)).sum();
        assert!((slope.data()[i] - exact).abs() < 1e-12);
    }
}

#[test]
fn a_mean_over_cases() {
    // x - mean(x), the second time of those that are there.
    let f = program(&[&[2]], |b, x| {
        let mean = b.case_mean(x[0]);
        vec![b.sub(x[0], mean)]
    });
    let x = Tensor::new(vec![3, 2], vec![1.0, 10.0, 2.0, 20.0, 6.0, 60.0]);
    let centred = run(&batched(&f, &[true], 3), std::slice::from_ref(&x));
    assert_eq!(centred[0].data(), [-2.0, -20.0, -1.0, -10.0, 3.0, 30.0]);
    let some = program(&[&[3, 2], &[3]], |b, x| batch_some(b, &f, &x[..1], &[true], 3, Some(x[1])));
    let present = Tensor::new(vec![3], vec![1.0, 1.0, 0.0]);
    assert_eq!(run(&some, &[x.clone(), present])[0].data()[..4], [-0.5, -5.0, 0.5, 5.0]);
    let nobody = Tensor::full(&[3], 0.0);
    assert!(run(&some, &[x, nobody])[0].data().iter().all(|x| x.is_finite()));
    // Its adjoint is the mean of the adjoints: the gradient of what is centred sums to nothing.
    let slope = program(&[&[3, 2], &[3, 2]], |b, x| {
        let centred = batch_some(b, &f, &x[..1], &[true], 3, None)[0];
        let weighted = b.mul(centred, x[1]);
        let total = b.sum_all(weighted);
        grad(b, total, &x[..1])
    });
    let weights = Tensor::new(vec![3, 2], vec![3.0, 0.0, 0.0, 0.0, 0.0, 6.0]);
    let found = run(&slope, &[Tensor::full(&[3, 2], 1.0), weights]);
    assert_eq!(found[0].data(), [2.0, -2.0, -1.0, -2.0, -1.0, 4.0]);
    // Of one case, and of what all cases share, it is the value.
    assert_eq!(run(&f, &[Tensor::new(vec![2], vec![1.0, 2.0])])[0].data(), [0.0, 0.0]);
    assert_eq!(run(&batched(&f, &[false], 3), &[Tensor::new(vec![2], vec![1.0, 2.0])])[0].data(), [0.0; 6]);
}
