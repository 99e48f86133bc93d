//! Central differences, and the comparison of first and second derivatives with them.

use metadsl::ir::{Builder, Function, NodeId, Tensor, Unary, gradient};

use crate::support::{Rng, assert_close, run};

const STEP: f64 = 1e-5;

/// A scalar program that every entry of the first output of `f` enters, curved so that no derivative of it vanishes:
/// `sum_i c_i (y_i + sin y_i)` with fixed random `c`.
pub fn scalar(f: &Function) -> Function {
    let mut b = Builder::new();
    let inputs: Vec<NodeId> = f.inputs.iter().map(|p| b.input(p.name.clone(), f.dims(p.node))).collect();
    let y = b.inline(f, &inputs)[0];
    let curved = b.unary(Unary::Sin, y);
    let y = b.add(y, curved);
    let total = weighted(&mut b, y, 11);
    b.finish("scalar", vec![("L".into(), total)])
}

/// `sum_i c_i y_i` for fixed random `c`.
fn weighted(b: &mut Builder, y: NodeId, seed: u64) -> NodeId {
    let size: usize = b.dims(y).iter().product();
    let flat = b.reshape(y, &[size]);
    let mut rng = Rng(seed);
    let mut total = b.constant(0.0);
    for i in 0..size {
        let entry = b.slice(flat, 0, i, 1);
        let entry = b.reshape(entry, &[]);
        let part = b.scale(entry, rng.uniform(0.5, 1.5));
        total = b.add(total, part);
    }
    total
}

/// `(f(x + h e_i) - f(x - h e_i)) / 2h` of the scalar output number `output` for every entry of every argument.
pub fn differences(f: &Function, output: usize, args: &[Tensor]) -> Vec<Tensor> {
    let at = |which: usize, i: usize, step: f64| {
        let mut args = args.to_vec();
        args[which].data_mut()[i] += step;
        run(f, &args)[output].data()[0]
    };
    let slope = |which: usize, i: usize| (at(which, i, STEP) - at(which, i, -STEP)) / (2.0 * STEP);
    let of = |(which, t): (usize, &Tensor)| {
        Tensor::new(t.dims().to_vec(), (0..t.data().len()).map(|i| slope(which, i)).collect())
    };
    args.iter().enumerate().map(of).collect()
}

/// Compares the gradient of the first output of `f`, a scalar, in every input with central differences.
fn check_order(f: &Function, args: &[Tensor], tolerance: f64, what: &str) {
    let all: Vec<usize> = (0..args.len()).collect();
    let exact = run(&gradient(f, &all), args);
    for (i, measured) in differences(f, 0, args).iter().enumerate() {
        assert_close(&exact[f.outputs.len() + i], measured, tolerance, &format!("{what}, input {i}"));
    }
}

/// Compares first derivatives, then those of a random combination of the first derivatives.
pub fn check(f: &Function, args: &[Tensor], what: &str) {
    let first = scalar(f);
    check_order(&first, args, 1e-6, &format!("first derivative of {what}"));
    let all: Vec<usize> = (0..args.len()).collect();
    let derived = gradient(&first, &all);
    let mut b = Builder::new();
    let inputs: Vec<NodeId> = f.inputs.iter().map(|p| b.input(p.name.clone(), f.dims(p.node))).collect();
    let slopes = b.inline(&derived, &inputs)[1..].to_vec();
    let mut total = b.constant(0.0);
    for (i, slope) in slopes.into_iter().enumerate() {
        let part = weighted(&mut b, slope, 100 + i as u64);
        total = b.add(total, part);
    }
    let second = b.finish("second", vec![("s".into(), total)]);
    check_order(&second, args, 1e-4, &format!("second derivative of {what}"));
}
