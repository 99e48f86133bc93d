//! Reading a buffer under other dims without moving anything: broadcasts, permutations and slices are strides.

use super::float::Float;
use super::simd::{Here, Vector, turn};

/// Sizes and strides, outermost first.
pub(super) type Axes = Vec<(usize, usize)>;

/// Entries of a buffer in some order: entry `i` of dims `d` lies at `offset` plus what each position adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// The buffer.
    pub buffer: usize,
    /// Where the first entry lies.
    pub offset: usize,
    /// What every axis walks: one stride or, where axes were joined that no single stride can walk, several. None of size 1.
    pub axes: Vec<Axes>,
}

impl View {
    /// A buffer as it is.
    pub fn whole(buffer: usize, dims: &[usize]) -> View {
        let mut axes = vec![vec![]; dims.len()];
        let mut stride = 1;
        for (axis, &size) in dims.iter().enumerate().rev() {
            axes[axis] = walk(size, stride);
            stride *= size;
        }
        View { buffer, offset: 0, axes }
    }

    /// The number of entries along an axis.
    pub fn size(&self, axis: usize) -> usize {
        self.axes[axis].iter().map(|(size, _)| size).product()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.axes.iter().flatten().map(|(size, _)| size).product()
    }

    /// The one stride of an axis, if one is enough; 0 for an axis of one entry.
    pub fn stride(&self, axis: usize) -> Option<usize> {
        match self.axes[axis][..] {
            [] => Some(0),
            [(_, stride)] => Some(stride),
            _ => None,
        }
    }

    /// A new axis of copies.
    pub fn broadcast(&self, axis: usize, size: usize) -> View {
        let mut view = self.clone();
        view.axes.insert(axis, walk(size, 0));
        view
    }

    /// The axes in another order.
    pub fn permute(&self, order: &[usize]) -> View {
        View { axes: order.iter().map(|&axis| self.axes[axis].clone()).collect(), ..*self }
    }

    /// What [`permute`](View::permute) makes back of what it made of this order.
    pub fn unpermute(&self, order: &[usize]) -> View {
        let mut axes = vec![vec![]; order.len()];
        order.iter().zip(&self.axes).for_each(|(&axis, walk)| axes[axis] = walk.clone());
        View { axes, ..*self }
    }

    /// A part of an axis, where it is one of a single stride.
    pub fn slice(&self, axis: usize, start: usize, len: usize) -> Option<View> {
        if len == self.size(axis) {
            return Some(self.clone());
        }
        let stride = self.stride(axis)?;
        let mut view = self.clone();
        view.offset += start * stride;
        view.axes[axis] = walk(len, stride);
        Some(view)
    }

    /// One position of an axis, which disappears.
    pub fn at(&self, axis: usize, position: usize) -> Option<View> {
        let mut view = self.slice(axis, position, 1)?;
        view.axes.remove(axis);
        Some(view)
    }

    /// Windows over an axis of a single stride: which window, and which of its `size` entries.
    pub fn window(&self, axis: usize, (count, size): (usize, usize), stride: usize, dilation: usize) -> Option<View> {
        let step = self.stride(axis)?;
        let mut view = self.clone();
        view.axes.splice(axis..=axis, [walk(count, step * stride), walk(size, step * dilation)]);
        Some(view)
    }

    /// The same entries under other dims, where strides can say that: axes can always be joined, and cut where their parts end.
    pub fn reshape(&self, dims: &[usize]) -> Option<View> {
        if dims.contains(&0) {
            return Some(View { axes: dims.iter().map(|&size| walk(size, 0)).collect(), ..*self });
        }
        let (mut old, mut new) = (self.merged().into_iter().rev(), Vec::with_capacity(dims.len()));
        // Each new axis, from the inside out, is cut from the innermost part that is left.
        let mut part = (1, 0);
        for &size in dims.iter().rev() {
            let (mut left, mut axis) = (size, vec![]);
            while left > 1 {
                if part.0 == 1 {
                    part = old.next()?;
                }
                let cut = if part.0 % left == 0 { left } else { part.0 };
                if left % cut != 0 {
                    return None;
                }
                axis.push((cut, part.1));
                (left, part) = (left / cut, (part.0 / cut, part.1 * cut));
            }
            axis.reverse();
            new.push(merged(axis.into_iter()));
        }
        new.reverse();
        Some(View { axes: new, ..*self })
    }

    /// The axes with those joined that one stride can walk; none of size 1.
    pub fn merged(&self) -> Axes {
        merged(self.axes.iter().flatten().copied())
    }

    /// Whether the entries lie side by side.
    pub fn is_dense(&self) -> bool {
        matches!(self.merged()[..], [] | [(_, 1)])
    }

    /// Whether every entry is the same one.
    pub fn is_scalar(&self) -> bool {
        matches!(self.merged()[..], [] | [(_, 0)])
    }

    /// The order of the axes in which the entries lie in memory.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.axes.len()).collect();
        // Axes of one entry lie anywhere; in front they are out of the way.
        order.sort_by_key(|&axis| std::cmp::Reverse(self.axes[axis].last().map_or(usize::MAX, |(_, stride)| *stride)));
        order
    }

    /// Whether every entry is another one, as far as strides tell.
    pub fn is_full(&self) -> bool {
        self.axes.iter().flatten().all(|(_, stride)| *stride > 0)
    }
}

/// An axis of a single stride.
fn walk(size: usize, stride: usize) -> Axes {
    if size == 1 { vec![] } else { vec![(size, stride)] }
}

/// Parts with those joined that one stride can walk; none of size 1.
fn merged(parts: impl Iterator<Item = (usize, usize)>) -> Axes {
    let mut merged: Axes = Vec::new();
    for (size, stride) in parts.filter(|(size, _)| *size != 1) {
        match merged.last_mut() {
            Some(last) if last.1 == stride * size => *last = (last.0 * size, stride),
            _ => merged.push((size, stride)),
        }
    }
    merged
}

/// So many rows whose entries lie side by side are turned together.
const TURNED: usize = 8;

/// Copies the entries `start..start + out.len()` of a view with these merged axes.
#[inline(always)]
pub(super) fn load<T: Float, V: Vector<T>>(
    here: Here<V>,
    data: &[T],
    (offset, axes): (usize, &[(usize, usize)]),
    start: usize,
    out: &mut [T],
) {
    let Some((&(inner, stride), outer)) = axes.split_last() else {
        out.fill(data[offset]);
        return;
    };
    let (row, within) = (start / inner, start % inner);
    // A line is the rows along the last of the other axes.
    let (&(size, step), lines) = outer.split_last().unwrap_or((&(usize::MAX, 0), &[]));
    let (mut line, mut along) = (row / size, row % size);
    // The position along every axis of the lines, on the stack unless there are very many.
    let (mut few, mut many) = ([0; 8], vec![]);
    let position = if lines.len() <= few.len() {
        &mut few[..lines.len()]
    } else {
        many.resize(lines.len(), 0);
        &mut many[..]
    };
    let mut at = offset;
    for (i, &(size, stride)) in lines.iter().enumerate().rev() {
        position[i] = line % size;
        at += position[i] * stride;
        line /= size;
    }
    // The part of a row that comes first, and then whole rows.
    let (first, mut rows) = out.split_at_mut(out.len().min(inner - within));
    entries(data, at + along * step + within * stride, stride, first);
    along += 1;
    while !rows.is_empty() {
        if along == size {
            along = 0;
            for (i, &(size, stride)) in lines.iter().enumerate().rev() {
                position[i] += 1;
                at += stride;
                if position[i] < size {
                    break;
                }
                position[i] = 0;
                at -= size * stride;
            }
        }
        let (mut line, rest) = rows.split_at_mut(rows.len().min((size - along).saturating_mul(inner)));
        let whole = line.len() / inner;
        if step == 1 && stride > 1 && whole.min(inner) >= TURNED {
            let (turned, left) = line.split_at_mut(whole * inner);
            turn(here, (whole, inner), &data[at + along..], stride, turned);
            (line, along) = (left, along + whole);
        }
        // A loop and not a closure: one that becomes a function of its own is compiled without the vectors of the path.
        for (i, to) in line.chunks_mut(inner).enumerate() {
            entries(data, at + (along + i) * step, stride, to);
        }
        (rows, along) = (rest, size);
    }
}

/// Copies entries that lie `stride` apart.
#[inline(always)]
fn entries<T: Copy>(data: &[T], at: usize, stride: usize, to: &mut [T]) {
    match stride {
        1 => copy(&data[at..at + to.len()], to),
        0 => repeat(data[at], to),
        2 => {
            let pairs = &data[at..at + (2 * to.len()).saturating_sub(1)];
            let (pairs, last) = pairs.as_chunks::<2>();
            let (first, rest) = to.split_at_mut(pairs.len());
            for (to, [x, _]) in first.iter_mut().zip(pairs) {
                *to = *x;
            }
            for (to, x) in rest.iter_mut().zip(last) {
                *to = *x;
            }
        }
        _ => {
            for (to, x) in to.iter_mut().zip(data[at..].iter().step_by(stride)) {
                *to = *x;
            }
        }
    }
}

/// Copies entries; rows are often so short that a call for each would take longer than the copy. What is left of a row behind whole chunks
/// is the end of a chunk that is copied twice in part.
#[inline(always)]
pub(super) fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    match from.len() {
        0..4 => chunks::<1, T>(from, to),
        4..8 => chunks::<4, T>(from, to),
        8..16 => chunks::<8, T>(from, to),
        16..=256 => chunks::<16, T>(from, to),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn chunks<const N: usize, T: Copy>(from: &[T], to: &mut [T]) {
    for (to, from) in to.as_chunks_mut::<N>().0.iter_mut().zip(from.as_chunks::<N>().0) {
        *to = *from;
    }
    if !from.len().is_multiple_of(N)
        && let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>())
    {
        *to = *from;
    }
}

/// Fills a row, which is often short.
#[inline(always)]
fn repeat<T: Copy>(x: T, to: &mut [T]) {
    let (to, rest) = to.as_chunks_mut::<16>();
    for to in to {
        *to = [x; 16];
    }
    for to in rest {
        *to = x;
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Dispatch, Path, Work};
    use super::*;

    /// A part of a view.
    struct Load<'a> {
        view: &'a View,
        data: &'a [f32],
        start: usize,
        out: &'a mut [f32],
    }

    impl Work<f32> for Load<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector<f32>>(self, here: Here<V>) {
            load(here, self.data, (self.view.offset, &self.view.merged()), self.start, self.out);
        }
    }

    /// All entries of a view, as its axes say one by one.
    fn wanted(view: &View, data: &[f32]) -> Vec<f32> {
        let places = view.axes.iter().flatten().fold(vec![view.offset], |places, &(size, stride)| {
            places.iter().flat_map(|place| (0..size).map(move |i| place + i * stride)).collect()
        });
        places.into_iter().map(|place| data[place]).collect()
    }

    fn read(view: &View, data: &[f32]) -> Vec<f32> {
        let wanted = wanted(view, data);
        // Any part of it is a part of the whole.
        for path in Path::available() {
            for (start, len) in (0..wanted.len()).flat_map(|start| [3, 100, usize::MAX].map(|len| (start, len))) {
                let mut out = vec![f32::NAN; (wanted.len() - start).min(len)];
                path.run(Load { view, data, start, out: &mut out });
                assert_eq!(out, wanted[start..start + out.len()], "{} from {start} on", path.name());
            }
        }
        wanted
    }

    #[test]
    fn parts_of_views_are_read() {
        let data: Vec<f32> = (0..2 * 9 * 4 * 11).map(|i| i as f32).collect();
        let all = View::whole(0, &[2, 9, 4, 11]);
        for order in [[0, 1, 2, 3], [0, 3, 1, 2], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
            let view = all.permute(&order);
            read(&view, &data);
            read(&view.slice(3, 0, 1).unwrap(), &data);
            read(&view.slice(1, 1, 2).unwrap().broadcast(1, 2), &data);
        }
        read(&View::whole(0, &[36, 22]).permute(&[1, 0]).slice(0, 3, 17).unwrap(), &data);
    }

    #[test]
    fn views_of_a_matrix() {
        let data = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let matrix = View::whole(0, &[2, 3]);
        assert_eq!(read(&matrix.permute(&[1, 0]), &data), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(read(&matrix.broadcast(1, 2), &data), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
        assert_eq!(read(&matrix.broadcast(2, 2), &data), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0]);
        assert_eq!(read(&matrix.slice(1, 1, 2).unwrap(), &data), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(read(&matrix.slice(1, 2, 1).unwrap().permute(&[1, 0]), &data), [2.0, 5.0]);
        assert_eq!(read(&matrix.at(0, 1).unwrap(), &data), [3.0, 4.0, 5.0]);
        assert!(matrix.is_dense() && !matrix.permute(&[1, 0]).is_dense() && matrix.slice(0, 1, 1).unwrap().is_dense());
        assert!(View::whole(0, &[]).broadcast(0, 3).is_scalar() && !matrix.is_scalar());
        assert!(matrix.is_full() && !matrix.broadcast(0, 2).is_full());
    }

    #[test]
    fn axes_can_be_joined_and_cut_where_their_parts_end() {
        let data: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let matrix = View::whole(0, &[3, 4]);
        let turned = matrix.permute(&[1, 0]);
        assert_eq!(read(&turned.reshape(&[12]).unwrap(), &data), read(&turned, &data));
        assert_eq!(turned.reshape(&[12]).unwrap().stride(0), None);
        assert_eq!(read(&turned.reshape(&[2, 2, 3]).unwrap(), &data), read(&turned, &data));
        assert_eq!(turned.reshape(&[12]).unwrap().reshape(&[4, 3]), Some(turned.clone()));
        assert_eq!(turned.reshape(&[6, 2]), None, "two are no part of three");
        assert_eq!(turned.reshape(&[12]).unwrap().slice(0, 3, 5), None);
        assert_eq!(
            read(&matrix.broadcast(0, 2).reshape(&[6, 4]).unwrap(), &data),
            [data.clone(), data.clone()].concat()
        );
        assert_eq!(matrix.reshape(&[1, 12, 1]).unwrap().axes, [vec![], vec![(12, 1)], vec![]]);
        assert_eq!(View::whole(0, &[1, 1]).reshape(&[]).unwrap().axes, Vec::<Axes>::new());
    }

    #[test]
    fn an_order_says_how_entries_lie() {
        let cube = View::whole(0, &[2, 3, 4]).permute(&[2, 0, 1]);
        assert_eq!(cube.order(), [1, 2, 0]);
        assert!(cube.permute(&cube.order()).is_dense());
        assert_eq!(cube.permute(&cube.order()).unpermute(&cube.order()), cube);
    }
}
