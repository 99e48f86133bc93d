//! Random programs, and what a program does with its memory.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::contract::check;
use super::*;
use crate::exec::testing::{noise, program, random_program, wild};

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(2), ..ProptestConfig::with_cases(96) })]

    #[test]
    fn random_programs_keep_the_contract_bit_for_bit(
        choices in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..60), seed in 1u64..1000, strange: bool,
    ) {
        let function = random_program(&choices, false);
        let values = if strange { wild } else { noise };
        let args: Vec<Tensor> = function.input_dims().map(|dims| values(dims, seed)).collect();
        check::<f32>(&function, &args);
        check::<f64>(&function, &args);
    }

    #[test]
    fn products_of_any_shape_keep_the_contract(
        (count, m, k, n) in (1usize..4, 0usize..40, 0usize..40, 0usize..70),
        (transpose_a, transpose_b) in any::<(bool, bool)>(), seed in 1u64..1000, strange: bool,
    ) {
        let (a, c) = (if transpose_a { [count, k, m] } else { [count, m, k] }, if transpose_b { [count, n, k] } else { [count, k, n] });
        let values = if strange { wild } else { noise };
        let function = program(&[&a, &c], |b, x| vec![b.matmul(x[0], x[1], transpose_a, transpose_b)]);
        check::<f32>(&function, &[values(&a, seed), values(&c, seed + 1)]);
    }
}

#[test]
fn results_outlive_later_runs() {
    let executor = Exact::<f32>::new(Path::detect());
    let kernel = executor.compile(&program(&[&[600]], |b, x| vec![b.scale(x[0], 2.0)])).unwrap();
    let inputs: Vec<_> = (0..9).map(|seed| noise(&[600], seed + 1)).collect();
    let uploaded: Vec<_> = inputs.iter().map(|x| executor.upload(x).unwrap()).collect();
    let results: Vec<_> = uploaded.iter().map(|x| executor.run(&kernel, &[x]).unwrap()).collect();
    for (input, result) in inputs.iter().zip(&results) {
        let found = executor.download(&result[0]).unwrap();
        assert!(found.data().iter().zip(input.data()).all(|(y, x)| *y == 2.0 * x));
    }
}

#[test]
fn an_output_may_be_an_input_another_output_or_a_part_of_one() {
    let function = program(&[&[2, 3]], |b, x| {
        let double = b.scale(x[0], 2.0);
        let part = b.slice(double, 0, 1, 1);
        let turned = b.transpose(double);
        vec![x[0], double, double, part, turned, b.full(4.0, &[2])]
    });
    check::<f32>(&function, &[noise(&[2, 3], 1)]);
}

#[test]
fn malformed_calls_are_refused() {
    let executor = Exact::<f32>::new(Path::detect());
    let kernel = executor.compile(&program(&[&[3]], |b, x| vec![b.neg(x[0])])).unwrap();
    let (three, four) = (noise(&[3], 1), noise(&[4], 1));
    let (three, four) = (executor.upload(&three).unwrap(), executor.upload(&four).unwrap());
    assert!(executor.run(&kernel, &[&four]).is_err());
    assert!(executor.run(&kernel, &[&three, &three]).is_err());
    assert!(executor.run(&kernel, &[]).is_err());
}
