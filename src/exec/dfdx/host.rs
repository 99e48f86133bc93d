//! What dfdx has no operation for: computed on the host.

use super::device::{Backend, Element};
use super::instruction::Flat;

/// Brings operands to the host, computes `len` elements there, and takes them back.
pub fn through_host<E: Element, D: Backend<E>>(
    device: &D,
    args: &[Flat<E, D>],
    len: usize,
    f: impl FnOnce(&[Vec<f64>], &mut [f64]),
) -> Result<Flat<E, D>, D::Err> {
    let args: Vec<Vec<f64>> = args.iter().map(|x| x.as_vec().into_iter().map(E::widen).collect()).collect();
    let mut result = vec![0.0; len];
    f(&args, &mut result);
    device.try_tensor_from_vec(result.into_iter().map(E::round_from).collect(), (len,))
}

/// `X` with `A X = B` in `f64`, by the Cholesky factorisation `A = L L'` of the lower triangle; `a` is
/// `[batch, p, p]`, `b` and `out` are `[batch, p, q]`. A matrix that is not positive
/// definite gives NaN: every entry of the solution depends on every pivot.
pub fn solve_spd(a: &[f64], b: &[f64], batch: usize, p: usize, q: usize, out: &mut [f64]) {
    out.copy_from_slice(b);
    for (a, x) in a.chunks(p * p).zip(out.chunks_mut(p * q)).take(batch) {
        let l = cholesky(a, p);
        // L Y = B from the top, then L' X = Y from the bottom.
        for column in 0..q {
            for i in 0..p {
                let sum: f64 = (0..i).map(|j| l[i * p + j] * x[j * q + column]).sum();
                x[i * q + column] = (x[i * q + column] - sum) / l[i * p + i];
            }
            for i in (0..p).rev() {
                let sum: f64 = (i + 1..p).map(|j| l[j * p + i] * x[j * q + column]).sum();
                x[i * q + column] = (x[i * q + column] - sum) / l[i * p + i];
            }
        }
    }
}

/// The lower factor of one `[p, p]` matrix; entries above the diagonal are 0.
fn cholesky(a: &[f64], p: usize) -> Vec<f64> {
    let mut l = vec![0.0; p * p];
    for i in 0..p {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i * p + k] * l[j * p + k]).sum();
            let rest = a[i * p + j] - sum;
            l[i * p + j] = match i == j {
                true if rest > 0.0 => rest.sqrt(),
                true => f64::NAN,
                false => rest / l[j * p + j],
            };
        }
    }
    l
}
