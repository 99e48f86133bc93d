//! Operations that are more than elementwise, as instructions: where their operands lie, and how their results do.

use std::sync::Arc;

use super::fold::Windows;
use super::fused::StepOp;
use super::matmul::{Batch, Listed, Matrices, Product};
use super::schedule::{Instruction, Origin, Scheduler, Value};
use super::view::{Axes, View};
use crate::ir::{Binary, Reduce};

/// The most terms of a reduction that are joined like the operands of elementwise operations, fused with those around them.
const FEW: usize = 4;

/// From so many rows on, a product may be computed turned, with its rows as the columns that vectors hold.
const ROWS: usize = 16;

/// The multiply-adds beside which it does not matter that one entry is moved.
const MANY: usize = 256;

impl Scheduler<'_> {
    /// A reduction over one axis.
    pub(super) fn reduce(&mut self, f: Reduce, axis: usize, value: &Value, dims: &[usize]) -> Value {
        let adjacent = dims[axis + 1..].iter().product::<usize>() == 1;
        if let (Value::View(view), 2..=FEW) = (value, dims[axis]) {
            let view = if view.stride(axis).is_some() { view.clone() } else { self.dense(value, dims) };
            let terms = (0..dims[axis]).map(|i| Value::View(view.at(axis, i).expect("an axis of one stride")));
            return self.few(f, adjacent, terms.collect(), &without(dims, axis));
        }
        let (view, order) = self.compact(value, dims);
        let (sizes, place) = sorted(dims, &order, axis);
        let to = self.buffer(Origin::Computed, &without(&sizes, place));
        let instruction = Instruction::Reduce {
            f,
            adjacent,
            from: (view.buffer, view.offset),
            outer: sizes[..place].iter().product(),
            size: dims[axis],
            inner: sizes[place + 1..].iter().product(),
            to: to.buffer,
        };
        let kept: Vec<usize> = without(&order, place).into_iter().map(|a| a - usize::from(a > axis)).collect();
        self.single(instruction, &[view.buffer], to.unpermute(&kept))
    }

    /// The reduction of some tensors entry by entry, in the order that `docs/numerics.md` gives so few terms.
    fn few(&mut self, f: Reduce, adjacent: bool, mut terms: Vec<Value>, dims: &[usize]) -> Value {
        let op = StepOp::Binary(match f {
            Reduce::Sum => Binary::Add,
            Reduce::Max => Binary::Max,
        });
        if adjacent {
            // Lanes are joined 2 and 2, those that have a partner.
            for i in (2..terms.len()).rev() {
                let partner = terms.pop().expect("as many terms as counted");
                terms[i - 2] = self.elementwise(op.clone(), vec![terms[i - 2].clone(), partner], dims);
            }
        }
        let joined = terms.into_iter().reduce(|sum, term| self.elementwise(op.clone(), vec![sum, term], dims));
        joined.expect("a reduction of some terms")
    }

    /// Zeros before and after along one axis.
    pub(super) fn pad(&mut self, axis: usize, (before, after): (usize, usize), value: &Value, dims: &[usize]) -> Value {
        let (view, order) = self.compact(value, dims);
        let (mut sizes, place) = sorted(dims, &order, axis);
        let inner: usize = sizes[place + 1..].iter().product();
        sizes[place] += before + after;
        let to = self.buffer(Origin::Computed, &sizes);
        let instruction = Instruction::Pad {
            from: (view.buffer, view.offset),
            outer: sizes[..place].iter().product(),
            row: dims[axis] * inner,
            before: before * inner,
            after: after * inner,
            to: to.buffer,
        };
        self.single(instruction, &[view.buffer], to.unpermute(&order))
    }

    /// The sum of the windows `[.., count, size, ..]` into `len` entries.
    pub(super) fn fold(
        &mut self,
        axis: usize,
        (len, stride, dilation): (usize, usize, usize),
        value: &Value,
        dims: &[usize],
    ) -> Value {
        let (count, size) = (dims[axis], dims[axis + 1]);
        let covered = count * size;
        if stride == size && dilation == 1 && covered > 0 {
            // Windows side by side: every entry is 0 plus one term.
            let sums = self.elementwise(StepOp::Binary(Binary::Add), vec![Value::Constant(0.0), value.clone()], dims);
            let joined = [&dims[..axis], &[covered], &dims[axis + 2..]].concat();
            let sums = self.viewed(&sums, dims, &|v| v.reshape(&joined));
            return if covered < len { self.pad(axis, (0, len - covered), &sums, &joined) } else { sums };
        }
        let view = self.placed(value, dims);
        if let Some(found) = self.fold_view(&view, axis, (len, stride, dilation)) {
            return found;
        }
        let view = self.dense(value, dims);
        self.fold_view(&view, axis, (len, stride, dilation)).expect("dense windows are folded where they lie")
    }

    /// The same of windows that strides can walk.
    fn fold_view(&mut self, view: &View, axis: usize, (len, stride, dilation): (usize, usize, usize)) -> Option<Value> {
        let places = view.at(axis + 1, 0).filter(View::is_full)?;
        let order = places.order();
        let lanes = places.permute(&order);
        let place = order.iter().position(|&a| a == axis).expect("the axis is one of them");
        let part = |axes: &[Axes]| View { axes: axes.to_vec(), ..lanes }.merged();
        let inner = match part(&lanes.axes[place + 1..])[..] {
            [] => (1, 1),
            [one] => one,
            _ => return None,
        };
        let windows = Windows {
            outer: part(&lanes.axes[..place]),
            count: (view.size(axis), view.stride(axis)?),
            size: (view.size(axis + 1), view.stride(axis + 1)?),
            inner,
            len,
            stride,
            dilation,
        };
        let mut sizes: Vec<usize> = (0..lanes.axes.len()).map(|a| lanes.size(a)).collect();
        sizes[place] = len;
        let to = self.buffer(Origin::Computed, &sizes);
        let instruction = Instruction::Fold { windows, from: (view.buffer, view.offset), to: to.buffer };
        Some(self.single(instruction, &[view.buffer], to.unpermute(&order)))
    }

    /// The product of `a: [.., m, k]` and `b: [.., k, n]`. It may be computed turned, as `b' a'`: every entry is the same chain. The first
    /// operand of what is computed may lie in any way, such as the windows of a convolution; only single entries of it are read.
    pub(super) fn product(&mut self, mut a: View, mut b: View) -> Value {
        let last = a.axes.len() - 1;
        let plain = |v: &View| v.stride(last - 1).is_some() && v.stride(last).is_some();
        let (m, k, n) = (a.size(last - 1), a.size(last), b.size(last));
        // The entries of a second operand that must be moved, so that its columns lie side by side; a shared matrix is moved once.
        let moved = |v: &View, columns: usize| match v.stride(columns) {
            Some(1) => 0,
            _ if v.size(columns) == 1 => 0,
            _ => v.axes.iter().flatten().filter(|(_, stride)| *stride > 0).map(|(size, _)| size).product(),
        };
        if !plain(&a) && !plain(&b) {
            let smaller = if m < n && m >= ROWS { &mut a } else { &mut b };
            *smaller = self.tidy(smaller, &plain);
        }
        let (mine, theirs) = (moved(&a, last - 1), moved(&b, last));
        // Beside much work moving costs nothing, and what comes behind reads in order a result that lies as the first operand does.
        let work = (0..last - 1).map(|axis| a.size(axis)).product::<usize>() * m * k * n;
        let less = mine < theirs && (mine == 0 || theirs > work / MANY);
        let turned = m >= ROWS && plain(&a) && (!plain(&b) || less);
        if turned {
            let mut order: Vec<usize> = (0..=last).collect();
            order.swap(last - 1, last);
            (a, b) = (b.permute(&order), a.permute(&order));
        } else if !plain(&b) {
            b = self.tidy(&b, &plain);
        }
        let mut batch = |v: View| match batch(&v) {
            Some(found) => (v, found),
            None => {
                let v = self.row_major(&v);
                let found = batch(&v).expect("dense matrices follow each other");
                (v, found)
            }
        };
        let ((a, next_a), (b, next_b)) = (batch(a), batch(b));
        let listed = (!plain(&a)).then(|| Listed::new(&a.axes[last - 1], &a.axes[last]));
        let (rows, columns) = if turned { (n, m) } else { (m, n) };
        let matrices = |v: &View, next: Batch| {
            // The stride of an axis of one entry is never used; a plain one lets more products read in place.
            let column = if v.size(last) == 1 { 1 } else { v.stride(last).unwrap_or(0) };
            let row = if v.size(last - 1) == 1 { v.size(last) * column } else { v.stride(last - 1).unwrap_or(0) };
            Matrices { offset: v.offset, next, row, column }
        };
        let (place_a, place_b) = (matrices(&a, next_a), matrices(&b, next_b));
        let sizes: Vec<usize> = (0..last - 1).map(|axis| a.size(axis)).chain([rows, columns]).collect();
        let count = sizes[..last - 1].iter().product();
        let product = Product { first: 0, count, m: rows, k, n: columns, a: place_a, b: place_b, listed };
        let mut to = self.buffer(Origin::Computed, &sizes);
        let instruction = Instruction::Product { product, a: a.buffer, b: b.buffer, to: to.buffer };
        if turned {
            to.axes.swap(last - 1, last);
        }
        self.single(instruction, &[a.buffer, b.buffer], to)
    }

    /// A copy that is as wanted, lying as the entries do if that is enough, else row by row.
    fn tidy(&mut self, view: &View, wanted: &dyn Fn(&View) -> bool) -> View {
        let dims: Vec<usize> = (0..view.axes.len()).map(|axis| view.size(axis)).collect();
        let (copy, order) = self.compact(&Value::View(view.clone()), &dims);
        let copy = copy.unpermute(&order);
        if wanted(&copy) { copy } else { self.row_major(view) }
    }

    /// A copy that lies row by row.
    fn row_major(&mut self, view: &View) -> View {
        let dims: Vec<usize> = (0..view.axes.len()).map(|axis| view.size(axis)).collect();
        self.dense(&Value::View(view.clone()), &dims)
    }
}

/// How a batch of matrices follow each other, where two strides can say it.
fn batch(view: &View) -> Option<Batch> {
    let outer = View { axes: view.axes[..view.axes.len() - 2].to_vec(), ..*view };
    match outer.merged()[..] {
        [] => Some(Batch { near: 1, step: 0, jump: 0 }),
        [(_, jump)] => Some(Batch { near: 1, step: 0, jump }),
        [(_, jump), (near, step)] => Some(Batch { near, step, jump }),
        _ => None,
    }
}

impl Listed {
    /// The entries whose rows and columns walk these parts.
    pub(super) fn new(rows: &Axes, columns: &Axes) -> Listed {
        let (rows, columns) = (offsets(rows), offsets(columns));
        let most = |list: &[usize]| list.iter().copied().max().unwrap_or(0);
        let reach = most(&rows) + most(&columns);
        Listed { rows: Arc::from(rows), first: 0, columns: Arc::from(columns), reach }
    }
}

/// Where every entry along an axis lies.
fn offsets(axis: &Axes) -> Vec<usize> {
    axis.iter().fold(vec![0], |places, &(size, stride)| {
        places.iter().flat_map(|place| (0..size).map(move |i| place + i * stride)).collect()
    })
}

/// Sizes in some order of the axes, and where one of them is.
fn sorted(dims: &[usize], order: &[usize], axis: usize) -> (Vec<usize>, usize) {
    let place = order.iter().position(|&a| a == axis).expect("the axis is one of them");
    (order.iter().map(|&a| dims[a]).collect(), place)
}

/// A list without one of its members.
fn without(list: &[usize], place: usize) -> Vec<usize> {
    [&list[..place], &list[place + 1..]].concat()
}
