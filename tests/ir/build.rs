//! Simplification keeps every bit, finds a fixed point and steps over nothing that may still be a variable.

use std::collections::BTreeSet;

use metadsl::exec::Precision;
use metadsl::hash::Canonical;
use metadsl::ir::{Binary, Builder, Function, NodeId, Op, Tensor, Unary};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::generate::sample;
use crate::ops;
use crate::support::{Rng, bits, program, run, run_in};

/// The same program, node by node through the builder.
fn rebuilt(f: &Function) -> Function {
    let mut b = Builder::new();
    let inputs: Vec<NodeId> = f.inputs.iter().map(|p| b.input(p.name.clone(), f.dims(p.node))).collect();
    let outputs = b.inline(f, &inputs);
    b.finish(f.name.clone(), f.outputs.iter().map(|p| p.name.clone()).zip(outputs).collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, rng_seed: RngSeed::Fixed(20_26), failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn a_built_program_has_the_bits_of_the_raw_one(
        choices in proptest::collection::vec(any::<u32>(), 1..24), seed in any::<u64>(),
    ) {
        let mut sample = sample(&choices, seed, true);
        let mut rng = Rng(seed);
        for x in sample.args.iter_mut().flat_map(|t| t.data_mut()) {
            *x = [0.0, -0.0, f64::INFINITY, f64::NAN].get(rng.next() as usize % 12).copied().unwrap_or(*x);
        }
        let built = rebuilt(&sample.f);
        prop_assert_eq!(built.verify(), Ok(()));
        prop_assert!(built.nodes.len() <= sample.f.nodes.len());
        for precision in [Precision::F32, Precision::F64] {
            let (raw, simple) = (run_in(precision, &sample.f, &sample.args), run_in(precision, &built, &sample.args));
            prop_assert_eq!(bits(&raw), bits(&simple), "{:?}\n{}\n{}", precision, sample.f, built);
        }
        prop_assert_eq!(&rebuilt(&built), &built);
        let read = Function::from_value(&built.to_value());
        prop_assert_eq!(read.as_ref(), Ok(&built));
    }
}

#[test]
fn every_operation_survives_its_canonical_form() {
    for case in ops::all() {
        assert_eq!(Function::from_value(&case.f.to_value()), Ok(case.f), "{}", case.name);
    }
}

/// The node count of a program of one input `[2, 3]`, the input included.
fn nodes(body: impl FnOnce(&mut Builder, NodeId) -> NodeId) -> usize {
    program(&[&[2, 3]], |b, x| vec![body(b, x[0])]).nodes.len()
}

#[test]
fn identities_leave_nothing_behind() {
    assert_eq!(nodes(|b, x| b.scale(x, 1.0)), 1);
    assert_eq!(nodes(|b, x| b.offset(x, -0.0)), 1);
    assert_eq!(nodes(|b, x| b.slice(x, 1, 0, 3)), 1);
    assert_eq!(nodes(|b, x| b.pad(x, 1, 0, 0)), 1);
    let twice = |b: &mut Builder, x| {
        let inner = b.transpose(x);
        b.transpose(inner)
    };
    assert_eq!(nodes(twice), 1);
    let negated = |b: &mut Builder, x| {
        let inner = b.neg(x);
        b.neg(inner)
    };
    assert_eq!(nodes(negated), 1);
    let reshaped = |b: &mut Builder, x| {
        let inner = b.reshape(x, &[6]);
        b.reshape(inner, &[2, 3])
    };
    assert_eq!(nodes(reshaped), 1);
}

#[test]
fn what_would_change_a_bit_stays() {
    // -0 + 0 = 0, -0 - -0 = 0, NaN * 0 = NaN, and 0.1 is another number in f32.
    assert!(nodes(|b, x| b.offset(x, 0.0)) > 1);
    let less_zero = |b: &mut Builder, x| {
        let zero = b.full(-0.0, &[2, 3]);
        b.sub(x, zero)
    };
    assert!(nodes(less_zero) > 1);
    assert!(nodes(|b, x| b.scale(x, 0.0)) > 1);
    let f = program(&[], |b, _| {
        let (x, y) = (b.constant(0.1), b.constant(0.2));
        vec![b.add(x, y)]
    });
    assert!(f.nodes.iter().any(|n| matches!(n.op, Op::Binary { f: Binary::Add })));
    let f = program(&[], |b, _| {
        let (x, y) = (b.constant(0.5), b.constant(0.25));
        vec![b.add(x, y)]
    });
    assert_eq!(f.nodes.len(), 1);
    assert_eq!(run(&f, &[]), [Tensor::scalar(0.75)]);
}

#[test]
fn a_transpose_before_a_product_becomes_its_flag() {
    let f = program(&[&[2, 3], &[2, 4]], |b, x| {
        let t = b.transpose(x[0]);
        vec![b.matmul(t, x[1], false, false)]
    });
    assert!(matches!(f.nodes[2].op, Op::MatMul { transpose_a: true, transpose_b: false }), "{f}");
    assert_eq!(f.nodes.len(), 3);
}

#[test]
fn equal_nodes_are_one_and_unused_ones_are_dropped() {
    let f = program(&[&[2], &[2]], |b, x| {
        let (first, second) = (b.unary(Unary::Exp, x[0]), b.unary(Unary::Exp, x[0]));
        assert_eq!(first, second);
        b.unary(Unary::Sin, first);
        vec![b.add(first, second)]
    });
    assert_eq!(f.nodes.len(), 4, "two inputs, one of them unused, exp and add");
    assert_eq!(f.inputs.len(), 2);
}

#[test]
fn random_programs_reach_every_operation() {
    let mut rng = Rng(1);
    let mut reached = BTreeSet::new();
    for _ in 0..300 {
        let choices: Vec<u32> = (0..12).map(|_| rng.next() as u32).collect();
        reached.extend(sample(&choices, 0, true).f.nodes.iter().map(|n| n.op.name()));
    }
    let expected = ops::all().into_iter().flat_map(|c| c.f.nodes.iter().map(|n| n.op.name()).collect::<Vec<_>>());
    assert_eq!(reached, expected.collect());
}

#[test]
fn two_orders_of_axes_become_one() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let x = Rng(3).tensor(&[2, 3, 4], -1.0, 1.0);
    for (first, second) in orders.iter().flat_map(|a| orders.iter().map(move |b| (a, b))) {
        let twice = |between: fn(&mut Builder, NodeId) -> NodeId| {
            program(&[&[2, 3, 4]], |b, x| {
                let inner = b.permute(x[0], first);
                let inner = between(b, inner);
                vec![b.permute(inner, second)]
            })
        };
        let (merged, apart) = (twice(|_, x| x), twice(|b, x| b.detach(x)));
        assert!(merged.nodes.len() <= 2, "{merged}");
        assert_eq!(run(&merged, std::slice::from_ref(&x)), run(&apart, std::slice::from_ref(&x)));
    }
}
