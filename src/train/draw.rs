//! Filling the draws that programs take as inputs.

use crate::catalog::BaseLaw;
use crate::ir::Tensor;
use crate::plan::Draw;
use crate::rng::{Stream, law};

/// One draw of a law: `out` has the size of the draw's dims times any number of examples.
pub(super) fn fill(draw: &Draw, stream: &Stream, out: &mut [f64]) {
    let size: usize = draw.dims.iter().product();
    match draw.law {
        BaseLaw::Uniform => stream.fill_uniform(out),
        BaseLaw::Normal => stream.fill_normal(out),
        BaseLaw::TruncatedNormal => law::fill_truncated_normal(stream, out),
        // These are drawn as a whole, one stream for each.
        BaseLaw::Stiefel => each(size, stream, out, |s| {
            law::stiefel(s, draw.dims[0], draw.dims[1]).expect("the checker refused more columns than rows")
        }),
        BaseLaw::Sphere => each(size, stream, out, |s| law::sphere(s, size)),
    }
}

fn each(size: usize, stream: &Stream, out: &mut [f64], draw: impl Fn(&Stream) -> Vec<f64>) {
    for (i, part) in out.chunks_mut(size.max(1)).enumerate() {
        part.copy_from_slice(&draw(&stream.child(i as u64)));
    }
}

/// A draw as a tensor of its own dims.
pub(super) fn tensor(draw: &Draw, stream: &Stream) -> Tensor {
    let mut out = Tensor::full(&draw.dims, 0.0);
    fill(draw, stream, out.data_mut());
    out
}
