//! Whole programs: random ones against the oracle, and how their values are kept.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::exec::dfdx::Remote;
use crate::exec::reference::Reference;
use crate::exec::testing::random_program;
use crate::exec::{ExecError, Precision};
use crate::ir::{Unary, grad};

/// The outputs of the reference executor.
fn reference(function: &Function, args: &[Tensor]) -> Vec<Tensor> {
    let executor = Reference::new(Precision::F64);
    let kernel = executor.compile(function).unwrap();
    let values: Vec<_> = args.iter().map(|arg| executor.upload(arg).unwrap()).collect();
    let outputs = executor.run(&kernel, &values.iter().collect::<Vec<_>>()).unwrap();
    outputs.iter().map(|value| executor.download(value).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_programs_agree_with_the_oracle_and_the_reference(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..40), seed in 1u64..1000,
    ) {
        let function = random_program(&choices, false);
        let args: Vec<Tensor> = function.input_dims().map(|dims| noise(dims, seed)).collect();
        let (oracle, reference) = (oracle::evaluate(&function, &args), reference(&function, &args));
        for (i, found) in run::<f64>(&function, &args).iter().enumerate() {
            assert_close(found, &oracle[i], 1e-8, &function);
            assert_close(found, &reference[i], 1e-8, &function);
        }
    }

    #[test]
    fn gradients_of_random_programs_agree_with_the_reference(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..15), seed in 1u64..1000,
    ) {
        let function = random_program(&choices, true);
        let inputs: Vec<&[usize]> = function.input_dims().collect();
        let gradient = program(&inputs, |b, x| {
            let outputs = b.inline(&function, x);
            let sums: Vec<NodeId> = outputs.iter().map(|&y| b.sum_all(y)).collect();
            let zero = b.constant(0.0);
            let loss = sums.into_iter().fold(zero, |loss, sum| b.add(loss, sum));
            let first = grad(b, loss, x);
            let squares: Vec<NodeId> = first.iter().map(|&g| b.mul(g, g)).collect();
            let squares: Vec<NodeId> = squares.iter().map(|&g| b.sum_all(g)).collect();
            let norm = squares.into_iter().fold(zero, |norm, sum| b.add(norm, sum));
            let second = grad(b, norm, x);
            [first, second].concat()
        });
        let args: Vec<Tensor> = inputs.iter().map(|dims| noise(dims, seed)).collect();
        let wanted = reference(&gradient, &args);
        for (found, wanted) in run::<f64>(&gradient, &args).iter().zip(&wanted) {
            let size = wanted.data().iter().fold(1.0, |size: f64, x| size.max(x.abs()));
            assert_close(found, wanted, 1e-9 * size, &function);
        }
    }
}

#[test]
fn values_are_dropped_after_their_last_use() {
    let function = program(&[&[10]], |b, x| {
        let mut y = x[0];
        for _ in 0..100 {
            let sine = b.unary(Unary::Sin, y);
            y = b.mul(sine, y);
        }
        vec![y]
    });
    let kernel = Dfdx::<f64, Cpu>::cpu().compile(&function).unwrap();
    assert!(kernel.slots() <= 2, "{} values are kept", kernel.slots());
}

#[test]
fn what_no_output_needs_is_not_run() {
    let mut function = program(&[&[3]], |b, x| vec![b.neg(x[0]), b.unary(Unary::Exp, x[0])]);
    function.outputs.truncate(1);
    let kernel = Dfdx::<f64, Cpu>::cpu().compile(&function).unwrap();
    assert_eq!(kernel.steps(), 1);
}

#[test]
fn threads_share_a_kernel() {
    let function = program(&[&[9, 20], &[20, 30]], |b, x| {
        let y = b.matmul(x[0], x[1], false, false);
        let y = b.unary(Unary::Tanh, y);
        vec![b.sum_all(y)]
    });
    let executor = Dfdx::<f32, Cpu>::cpu();
    let kernel = executor.compile(&function).unwrap();
    let once = || {
        let args = [executor.upload(&noise(&[9, 20], 1)).unwrap(), executor.upload(&noise(&[20, 30], 2)).unwrap()];
        let out = executor.run(&kernel, &[&args[0], &args[1]]).unwrap();
        executor.download(&out[0]).unwrap().data()[0].to_bits()
    };
    let wanted = once();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..20).all(|_| once() == wanted))).collect();
        assert!(threads.into_iter().all(|t| t.join().unwrap()));
    });
}

#[test]
fn a_device_on_its_own_thread_computes_the_same() {
    let function = program(&[&[3, 4], &[0]], |b, x| vec![b.sum(x[0], 0), b.unary(Unary::Tanh, x[0]), x[1]]);
    let args = [noise(&[3, 4], 1), noise(&[0], 1)];
    let wanted = run::<f64>(&function, &args);
    let remote = Remote::start(|| Ok(Dfdx::<f64, Cpu>::cpu())).unwrap();
    let kernel = remote.compile(&function).unwrap();
    let values: Vec<_> = args.iter().map(|arg| remote.upload(arg).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let found = remote.run(&kernel, &[&values[0], &values[1]]).unwrap();
                let found: Vec<Tensor> = found.iter().map(|v| remote.download(v).unwrap()).collect();
                assert_eq!(bits(&found), bits(&wanted));
            });
        }
    });
    assert!(matches!(remote.run(&kernel, &[&values[0]]), Err(ExecError::Arguments { .. })));
    let other = Remote::start(|| Ok(Dfdx::<f64, Cpu>::cpu())).unwrap();
    let _as_many = [other.upload(&args[0]), other.upload(&args[1]), other.upload(&args[1])];
    assert!(matches!(other.download(&values[0]), Err(ExecError::Device { .. })));
}

#[test]
fn a_device_that_cannot_be_opened_says_so() {
    let failed = Remote::<f32, Cpu>::start(|| Err(ExecError::Unavailable("no device".into())));
    assert!(matches!(failed, Err(ExecError::Unavailable(_))));
}
