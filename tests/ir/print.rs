//! The text of a program, and its cost.

use metadsl::ir::{Binary, Compare, Cost, Function, Unary};

use crate::support::program;

/// Uses every form of line.
fn everything() -> Function {
    program(&[&[10, 3], &[4, 3], &[4, 4]], |b, x| {
        let product = b.matmul(x[0], x[1], false, true);
        let zero = b.full(0.0, &[10, 4]);
        let relu = b.binary(Binary::Max, product, zero);
        let scaled = b.scale(relu, 1e-7);
        let sum = b.sum(scaled, 1);
        let ones = b.full(1.0, &[4, 2]);
        let wide = b.matmul(relu, ones, false, false);
        let solved = b.solve_spd(x[2], ones);
        let part = b.slice(solved, 0, 1, 2);
        let padded = b.pad(part, 1, 0, 3);
        let turned = b.permute(padded, &[1, 0]);
        let flat = b.reshape(turned, &[10]);
        let place = b.iota(&[10], 0);
        let mask = b.compare(Compare::Le, place, flat);
        let fixed = b.detach(sum);
        let chosen = b.select(mask, fixed, flat);
        let spread = b.broadcast(chosen, 1, 2);
        let exp = b.unary(Unary::Exp, spread);
        let total = b.add(exp, wide);
        let half = b.constant(0.5);
        vec![total, b.reduce_max(total, 0), half]
    })
}

#[test]
fn every_form_of_line() {
    insta::assert_snapshot!(everything().to_string());
}

#[test]
fn costs_are_counted_by_hand() {
    let f = program(&[&[10, 3], &[3, 4]], |b, x| {
        let product = b.matmul(x[0], x[1], false, false);
        let tanh = b.unary(Unary::Tanh, product);
        vec![b.sum(tanh, 1)]
    });
    // Product 2 * 10 * 4 * 3, tanh 40, sum 40; alive at most: product and tanh, once the inputs (42) are gone.
    assert_eq!(f.cost(), Cost { nodes: 3, flops: 240 + 40 + 40, elements: 42 + 40 + 40 + 10 });
    let f = program(&[&[3, 3], &[3, 2]], |b, x| vec![b.solve_spd(x[0], x[1])]);
    assert_eq!(f.cost().flops, 9 + 36);
}
