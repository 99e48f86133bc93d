//! Agreement of a sign code with classes: normalised mutual information and purity.

use crate::ir::{Builder, Compare, NodeId, Unary};

/// The most entries of a prediction whose signs make a code: 256 codes.
pub(super) const MAX_BITS: usize = 8;

/// The joint distribution of sign codes and classes, `[2^p, classes]`: `outputs` is `[n, p]`, `labels` `[n]`, and
/// `present` is 1 for every example that counts.
fn joint(b: &mut Builder, outputs: NodeId, labels: NodeId, present: NodeId, classes: usize) -> NodeId {
    let (n, p) = (b.dims(outputs)[0], b.dims(outputs)[1]);
    let codes = 1 << p;
    let zero = b.full(0.0, &[n, p]);
    let bits = b.compare(Compare::Lt, zero, outputs);
    let mut code = b.full(0.0, &[n]);
    for bit in 0..p {
        let column = b.slice(bits, 1, bit, 1);
        let column = b.reshape(column, &[n]);
        let weighted = b.scale(column, f64::from(1u32 << bit));
        code = b.add(code, weighted);
    }
    let is_code = one_hots(b, code, codes);
    let is_class = one_hots(b, labels, classes);
    let present_rows = b.broadcast(present, 1, codes);
    let is_code = b.mul(is_code, present_rows);
    let counts = b.matmul(is_code, is_class, true, false);
    let total = b.sum_all(counts);
    let total = b.expand(total, &[codes, classes]);
    b.div(counts, total)
}

/// The indicators of whole numbers below `size`, `[n, size]`.
fn one_hots(b: &mut Builder, numbers: NodeId, size: usize) -> NodeId {
    let n = b.dims(numbers)[0];
    let numbers = b.broadcast(numbers, 1, size);
    let positions = b.iota(&[n, size], 1);
    b.compare(Compare::Eq, numbers, positions)
}

/// The entropy in nats of a distribution; outcomes of probability 0 count nothing.
fn entropy(b: &mut Builder, distribution: NodeId) -> NodeId {
    let dims = b.dims(distribution).to_vec();
    let zero = b.full(0.0, &dims);
    let one = b.full(1.0, &dims);
    let positive = b.compare(Compare::Lt, zero, distribution);
    let argument = b.select(positive, distribution, one);
    let log = b.unary(Unary::Ln, argument);
    let terms = b.mul(distribution, log);
    let sum = b.sum_all(terms);
    b.neg(sum)
}

/// `2 I(U; V) / (H(U) + H(V))` of the sign codes `U` and the classes `V`; 0 where both are constant. (Strehl and Ghosh 2002,
/// with the arithmetic mean.)
pub(super) fn nmi(b: &mut Builder, outputs: NodeId, labels: NodeId, present: NodeId, classes: usize) -> NodeId {
    let joint = joint(b, outputs, labels, present, classes);
    let (of_code, of_class) = (b.sum(joint, 1), b.sum(joint, 0));
    let (u, v, both) = (entropy(b, of_code), entropy(b, of_class), entropy(b, joint));
    let sum = b.add(u, v);
    let shared = b.sub(sum, both);
    let zero = b.constant(0.0);
    let one = b.constant(1.0);
    let positive = b.compare(Compare::Lt, zero, sum);
    let divisor = b.select(positive, sum, one);
    let twice = b.scale(shared, 2.0);
    b.div(twice, divisor)
}

/// The share of examples that have the most frequent class of their code. (Manning, Raghavan, Schütze 2008, section 16.3.)
pub(super) fn purity(b: &mut Builder, outputs: NodeId, labels: NodeId, present: NodeId, classes: usize) -> NodeId {
    let joint = joint(b, outputs, labels, present, classes);
    let most = b.reduce_max(joint, 1);
    b.sum_all(most)
}
