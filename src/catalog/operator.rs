//! Functions of tensors with settings: reductions over named dims, and the operations of neural networks.

use super::entry::{Entry, Initial, Kind, Param, Ty};
use crate::ir::{Builder, NodeId, Unary};

/// How windows lie over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// The entries of a window.
    pub size: usize,
    /// From the beginning of one window to that of the next.
    pub stride: usize,
    /// From one entry of a window to the next.
    pub dilation: usize,
    /// Zeros (under a maximum: nothing) before and after the axis.
    pub padding: usize,
}

impl Windows {
    /// How many windows lie over so many entries; `None` where not even one fits.
    pub fn count(&self, len: usize) -> Option<usize> {
        let reach = self.size.checked_sub(1)?.checked_mul(self.dilation)?.checked_add(1)?;
        let padded = self.padding.checked_mul(2)?.checked_add(len)?;
        Some(padded.checked_sub(reach)? / self.stride + 1)
    }
}

/// What becomes of the entries along some dims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reducer {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
}

/// A reduction over these axes, in increasing order, which disappear; the last one goes first.
pub fn reduce(b: &mut Builder, x: NodeId, axes: &[usize], reducer: Reducer) -> NodeId {
    let count: usize = axes.iter().map(|&axis| b.dims(x)[axis]).product();
    let reduced = axes.iter().rev().fold(x, |x, &axis| match reducer {
        Reducer::Sum | Reducer::Mean => b.sum(x, axis),
        Reducer::Max => b.reduce_max(x, axis),
    });
    if reducer == Reducer::Mean { b.scale(reduced, 1.0 / count as f64) } else { reduced }
}

/// What becomes of the entries of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The largest.
    Max,
    /// Their mean.
    Mean,
}

/// Windows over the last axes of `x`, as further axes at the end: `[R.., n..]` becomes `[R.., count.., size..]`.
fn windows(b: &mut Builder, x: NodeId, over: &[Windows], outside: f64) -> NodeId {
    let first = b.dims(x).len() - over.len();
    // All padding comes first, so that what has windows is an array of its own: windows are read where they lie.
    let padded = over.iter().enumerate().fold(x, |x, (i, windows)| pad(b, x, first + i, windows.padding, outside));
    let y = over
        .iter()
        .enumerate()
        .fold(padded, |y, (i, windows)| b.window(y, first + 2 * i, windows.size, windows.stride, windows.dilation));
    let which = (0..over.len()).map(|i| first + 2 * i);
    let order: Vec<usize> = (0..first).chain(which.clone()).chain(which.map(|axis| axis + 1)).collect();
    b.permute(y, &order)
}

/// One value before and after an axis.
fn pad(b: &mut Builder, x: NodeId, axis: usize, padding: usize, outside: f64) -> NodeId {
    let padded = b.pad(x, axis, padding, padding);
    if padding == 0 || outside == 0.0 {
        return padded;
    }
    let ones = b.dims(x).to_vec();
    let ones = b.full(1.0, &ones);
    let inside = b.pad(ones, axis, padding, padding);
    let dims = b.dims(padded).to_vec();
    let outside = b.full(outside, &dims);
    b.select(inside, padded, outside)
}

/// The convolution (without turning the kernel, as is usual in networks) of `x: [c, n..]` with `kernel: [f, c / groups, k..]`:
/// `[f, count..]`. Channels are cut into `groups`, each with filters of its own.
pub fn conv(b: &mut Builder, x: NodeId, kernel: NodeId, over: &[Windows], groups: usize) -> NodeId {
    let (channels, filters) = (b.dims(x)[0], b.dims(kernel)[0]);
    let x = windows(b, x, over, 0.0);
    let counts = b.dims(x)[1..=over.len()].to_vec();
    // The entries of a window lie next to their channel, as in the kernel.
    let (places, entries) = (1..=over.len(), over.len() + 1..=2 * over.len());
    let order: Vec<usize> = [0].into_iter().chain(entries).chain(places).collect();
    let x = b.permute(x, &order);
    let terms: usize = channels / groups * over.iter().map(|w| w.size).product::<usize>();
    let count: usize = counts.iter().product();
    // Without groups there is no axis for them: products with a kernel that examples share are then one product.
    let axis: &[usize] = if groups == 1 { &[] } else { &[groups] };
    let x = b.reshape(x, &[axis, &[terms, count]].concat());
    let kernel = b.reshape(kernel, &[axis, &[filters / groups, terms]].concat());
    let product = b.matmul(kernel, x, false, false);
    b.reshape(product, &[&[filters], &counts[..]].concat())
}

/// The largest entry or the mean of every window over the last axes.
pub fn pool(b: &mut Builder, x: NodeId, over: &[Windows], pool: Pool) -> NodeId {
    let outside = if pool == Pool::Max { f64::NEG_INFINITY } else { 0.0 };
    let x = windows(b, x, over, outside);
    let rank = b.dims(x).len();
    (rank - over.len()..rank).rev().fold(x, |x, axis| match pool {
        Pool::Max => b.reduce_max(x, axis),
        Pool::Mean => b.mean(x, axis),
    })
}

/// `(x - mean) / sqrt(variance + epsilon)` over the last `axes` axes; the variance is the mean of squares.
pub fn normalise(b: &mut Builder, x: NodeId, axes: usize, epsilon: f64) -> NodeId {
    let dims = b.dims(x).to_vec();
    let (outer, inner) = dims.split_at(dims.len() - axes);
    let size: usize = inner.iter().product();
    let rows = b.reshape(x, &[outer, &[size]].concat());
    let axis = outer.len();
    let mean = b.mean(rows, axis);
    let mean = b.broadcast(mean, axis, size);
    let centred = b.sub(rows, mean);
    let square = b.mul(centred, centred);
    let variance = b.mean(square, axis);
    let variance = b.offset(variance, epsilon);
    let deviation = b.unary(Unary::Sqrt, variance);
    let deviation = b.broadcast(deviation, axis, size);
    let normal = b.div(centred, deviation);
    b.reshape(normal, &dims)
}

/// The same within each of so many groups of the first axis, together with all other axes.
pub fn normalise_groups(b: &mut Builder, x: NodeId, groups: usize, epsilon: f64) -> NodeId {
    let dims = b.dims(x).to_vec();
    let size: usize = dims.iter().product();
    let grouped = b.reshape(x, &[groups, size / groups]);
    let normal = normalise(b, grouped, 1, epsilon);
    b.reshape(normal, &dims)
}

/// Batch normalisation: over the examples that are predicted together, and over all axes but the first.
pub fn normalise_examples(b: &mut Builder, x: NodeId, epsilon: f64) -> NodeId {
    let dims = b.dims(x).to_vec();
    let mean = |b: &mut Builder, x: NodeId| {
        let mean = (1..dims.len()).rev().fold(x, |x, axis| b.mean(x, axis));
        let mean = b.case_mean(mean);
        (1..dims.len()).fold(mean, |x, axis| b.broadcast(x, axis, dims[axis]))
    };
    let centre = mean(b, x);
    let centred = b.sub(x, centre);
    let square = b.mul(centred, centred);
    let variance = mean(b, square);
    let variance = b.offset(variance, epsilon);
    let deviation = b.unary(Unary::Sqrt, variance);
    b.div(centred, deviation)
}

/// Scaled dot-product attention in `heads` parts of the width `e` (Vaswani et al., Attention Is All You Need, 2017, section 3.2):
/// queries `[.., t, e]`, keys `[.., s, e]`, values `[.., s, w]` give `[.., t, w]`, where `..` is the same everywhere and often nothing.
/// Keys where `mask: [.., s]` is 0 are not looked at; the weights of the keys are multiplied by `dropout: [.., heads, t, s]`.
pub fn attention(
    b: &mut Builder,
    [q, k, v]: [NodeId; 3],
    mask: Option<NodeId>,
    heads: usize,
    dropout: Option<NodeId>,
) -> NodeId {
    let front = b.dims(q).len() - 2;
    let mut order: Vec<usize> = (0..front + 3).collect();
    order.swap(front, front + 1);
    let split = |b: &mut Builder, x: NodeId| {
        let mut dims = b.dims(x).to_vec();
        let width = dims.pop().expect("rows of entries");
        dims.extend([heads, width / heads]);
        let parts = b.reshape(x, &dims);
        b.permute(parts, &order)
    };
    let (q, k, v) = (split(b, q), split(b, k), split(b, v));
    let width = b.dims(q)[front + 2];
    let scores = b.matmul(q, k, false, true);
    let mut scores = b.scale(scores, 1.0 / (width as f64).sqrt());
    let dims = b.dims(scores).to_vec();
    if let Some(mask) = mask {
        let seen = b.broadcast(mask, front, dims[front + 1]);
        let seen = b.broadcast(seen, front, heads);
        // Far below every score, and finite: a row that sees nothing is a mean and not NaN.
        let unseen = b.full(-1e30, &dims);
        scores = b.select(seen, scores, unseen);
    }
    let mut weights = softmax(b, scores);
    if let Some(dropout) = dropout {
        weights = b.mul(weights, dropout);
    }
    let mixed = b.matmul(weights, v, false, false);
    let mixed = b.permute(mixed, &order);
    let mut dims = b.dims(mixed).to_vec();
    let width = dims.pop().expect("rows of entries in parts");
    dims[front + 1] *= width;
    b.reshape(mixed, &dims)
}

/// `e^x` normalised to sum 1 over the last axis.
pub fn softmax(b: &mut Builder, x: NodeId) -> NodeId {
    let axis = b.dims(x).len() - 1;
    let size = b.dims(x)[axis];
    let top = b.reduce_max(x, axis);
    let top = b.detach(top);
    let top = b.broadcast(top, axis, size);
    let shifted = b.sub(x, top);
    let exp = b.unary(Unary::Exp, shifted);
    let total = b.sum(exp, axis);
    let total = b.broadcast(total, axis, size);
    b.div(exp, total)
}

const X: Param = Param::required("x", Ty::Tensor, "a tensor");
const OVER: Param =
    Param::optional("over", Ty::Dims, Initial::Absent, "the dims that disappear, such as `h` or `[h, w]`; all of them");
const STRIDE: Param =
    Param::optional("stride", Ty::Count(1), Initial::Real(1.0), "from one window to the next, in entries");
const DILATION: Param =
    Param::optional("dilation", Ty::Count(1), Initial::Real(1.0), "from one entry of a window to the next");
const PADDING: Param = Param::optional(
    "padding",
    Ty::Count(0),
    Initial::Real(0.0),
    "entries before and after each dim that count as none",
);
const EPSILON: Param =
    Param::optional("epsilon", Ty::POSITIVE, Initial::Real(1e-5), "added to the variance before the root");
const SIZE: Param = Param::required("size", Ty::Count(1), "the entries of a window along each dim");
const POOL_STRIDE: Param =
    Param::optional("stride", Ty::Count(1), Initial::Absent, "from one window to the next, in entries; the size");

const fn operator(name: &'static str, params: &'static [Param], doc: &'static str, example: &'static str) -> Entry {
    Entry { name, kind: Kind::Function, params, doc, example }
}

pub(super) const ENTRIES: &[Entry] = &[
    operator(
        "sum",
        &[X, OVER],
        "The sum of all entries, a scalar, or over some dims, which disappear.",
        "sum(x, over: h)",
    ),
    operator(
        "mean",
        &[X, OVER],
        "The mean of all entries, a scalar, or over some dims, which disappear.",
        "mean(x, over: [h, w])",
    ),
    operator(
        "max",
        &[X, OVER],
        "The largest of all entries, a scalar, or over some dims, which disappear; equal ones share the gradient.",
        "max(x, over: h)",
    ),
    operator("flatten", &[X], "All entries in a row: one dim.", "flatten(x)"),
    operator(
        "reshape",
        &[X, Param::required("to", Ty::Shape, "the dims, of as many entries together")],
        "The same entries, in the same order, under other dims.",
        "reshape(x, [2, c / 2, h * w])",
    ),
    operator("positions", &[X], "0, 1, 2, ... along the last dim.", "positions(ids)"),
    operator(
        "conv",
        &[
            X,
            Param::required("kernel", Ty::Tensor, "the filters, `[f, c, k, k]` (`[f, c, k]` along one dim)"),
            STRIDE,
            PADDING,
            DILATION,
            Param::optional(
                "groups",
                Ty::Count(1),
                Initial::Real(1.0),
                "the parts of the channels, each with filters of its own",
            ),
        ],
        "The convolution of `[c, h, w]` (or `[c, n]`) with every filter, over all but the first dim: `[f, h', w']`. With groups, a filter sees `c / groups` channels.",
        "conv(x, kernel, stride: 2, padding: 1)",
    ),
    operator(
        "max_pool",
        &[X, SIZE, POOL_STRIDE, PADDING],
        "The largest entry of every window over all but the first dim.",
        "max_pool(x, 2)",
    ),
    operator(
        "avg_pool",
        &[X, SIZE, POOL_STRIDE, PADDING],
        "The mean of every window over all but the first dim; padding counts as zeros.",
        "avg_pool(x, 2)",
    ),
    operator(
        "layer_norm",
        &[X, EPSILON],
        "`(x - mean) / sqrt(variance + epsilon)` over the last dim (Ba, Kiros, Hinton, 2016); gain and shift are written: `layer_norm(x) * gain + shift`.",
        "layer_norm(x)",
    ),
    operator(
        "batch_norm",
        &[X, EPSILON],
        "The same over the examples that are predicted together and over all dims but the first (Ioffe, Szegedy, 2015). The support set and the query set of a task are each normalised by their own mean and variance, at the test as in training (transductive, as in the code of Finn et al., 2017); there are no running averages.",
        "batch_norm(x) * gain + shift",
    ),
    operator(
        "group_norm",
        &[X, Param::required("groups", Ty::Count(1), "the parts of the first dim"), EPSILON],
        "The same over each part of the first dim together with all other dims (Wu, He, 2018). One group is layer normalisation of an image, a group for every channel instance normalisation.",
        "group_norm(x, 8)",
    ),
    operator(
        "dropout",
        &[X, Param::required("rate", Ty::SHARE, "the chance of each entry to become 0")],
        "Every entry by itself becomes 0 with that chance, and is divided by `1 - rate` otherwise (Srivastava et al., 2014), drawn anew for every example each time that a loss is taken. So it is in all of training, and in an evaluation where a task takes steps; what is measured, and means and closed forms in an evaluation, leave `x` as it is.",
        "dropout(x, rate: 0.1)",
    ),
    operator(
        "embed",
        &[
            Param::required("table", Ty::Tensor, "`[n, e..]`"),
            Param::required("ids", Ty::Tensor, "whole numbers from 0, such as `[t]`"),
        ],
        "The rows of a table by number: `[t, e..]`. A number outside of the table gives zeros.",
        "embed(words, ids)",
    ),
    operator(
        "attention",
        &[
            Param::required("queries", Ty::Tensor, "`[t, e]`, or several of them along dims in front"),
            Param::required("keys", Ty::Tensor, "`[s, e]`"),
            Param::required("values", Ty::Tensor, "`[s, v]`"),
            Param::optional(
                "heads",
                Ty::Count(1),
                Initial::Real(1.0),
                "the parts of the width, each with attention of its own",
            ),
            Param::optional("mask", Ty::Tensor, Initial::Absent, "`[s]`, 0 for keys that are not looked at"),
            Param::optional(
                "dropout",
                Ty::SHARE,
                Initial::Real(0.0),
                "the chance of each weight to be dropped, as by `dropout`",
            ),
        ],
        "softmax(q k' / sqrt(e / heads)) v in every head: `[t, v]` (Vaswani et al., 2017, section 3.2).",
        "attention(q, k, v, heads: 4)",
    ),
];
