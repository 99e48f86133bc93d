//! Reading a buffer under other dims without moving anything: broadcasts, permutations and slices are strides.

/// Size and stride of every axis, outermost first.
pub(super) type Axes = Vec<(usize, usize)>;

/// Entries of a buffer in some order: entry `i` of dims `d` lies at `offset` plus the product of each position with its stride.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// The buffer.
    pub buffer: usize,
    /// Where the first entry lies.
    pub offset: usize,
    pub axes: Axes,
}

impl View {
    /// A buffer as it is.
    pub fn whole(buffer: usize, dims: &[usize]) -> View {
        let mut axes = vec![(0, 0); dims.len()];
        let mut stride = 1;
        for (axis, &size) in dims.iter().enumerate().rev() {
            axes[axis] = (size, stride);
            stride *= size;
        }
        View { buffer, offset: 0, axes }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.axes.iter().map(|(size, _)| size).product()
    }

    /// A new axis of copies.
    pub fn broadcast(&self, axis: usize, size: usize) -> View {
        let mut view = self.clone();
        view.axes.insert(axis, (size, 0));
        view
    }

    /// The axes in another order.
    pub fn permute(&self, order: &[usize]) -> View {
        View { axes: order.iter().map(|&axis| self.axes[axis]).collect(), ..self.clone() }
    }

    /// A part of an axis.
    pub fn slice(&self, axis: usize, start: usize, len: usize) -> View {
        let mut view = self.clone();
        view.offset += start * view.axes[axis].1;
        view.axes[axis].0 = len;
        view
    }

    /// Windows over an axis: which window, and which of its `size` entries.
    pub fn window(&self, axis: usize, (count, size): (usize, usize), stride: usize, dilation: usize) -> View {
        let step = self.axes[axis].1;
        let mut view = self.clone();
        view.axes.splice(axis..=axis, [(count, step * stride), (size, step * dilation)]);
        view
    }

    /// The same entries under other dims, where strides can say that.
    pub fn reshape(&self, dims: &[usize]) -> Option<View> {
        let (mut old, mut new) = (self.merged().into_iter().rev().peekable(), Vec::new());
        // Each new axis, from the inside out, is cut from the innermost run of entries that is left.
        let mut run = (1, 1);
        for &size in dims.iter().rev() {
            if size == 1 {
                new.push((1, 0));
                continue;
            }
            if run.0 == 1 {
                run = old.next()?;
            }
            if run.0 % size != 0 {
                return None;
            }
            new.push((size, run.1));
            run = (run.0 / size, run.1 * size);
        }
        new.reverse();
        Some(View { axes: new, ..self.clone() })
    }

    /// The axes with those joined that one stride can walk; none of size 1.
    pub fn merged(&self) -> Axes {
        let mut merged: Axes = Vec::new();
        for &(size, stride) in self.axes.iter().filter(|(size, _)| *size != 1) {
            match merged.last_mut() {
                Some(last) if last.1 == stride * size => *last = (last.0 * size, stride),
                _ => merged.push((size, stride)),
            }
        }
        merged
    }

    /// Whether the entries lie side by side.
    pub fn is_dense(&self) -> bool {
        matches!(self.merged()[..], [] | [(_, 1)])
    }

    /// Whether every entry is the same one.
    pub fn is_scalar(&self) -> bool {
        matches!(self.merged()[..], [] | [(_, 0)])
    }
}

/// Copies the entries `start..start + out.len()` of a view with these merged axes.
#[inline(always)]
pub(super) fn load<T: Copy>(data: &[T], offset: usize, axes: &[(usize, usize)], start: usize, out: &mut [T]) {
    let Some((&(inner, stride), outer)) = axes.split_last() else {
        out.fill(data[offset]);
        return;
    };
    let (mut row, within) = (start / inner, start % inner);
    // The part of a row that comes first, and then whole rows.
    let (first, rows) = out.split_at_mut(out.len().min(inner - within));
    if let [(_, step)] = *outer {
        let at = offset + row * step;
        entries(data, at + within * stride, stride, first);
        rows.chunks_mut(inner).enumerate().for_each(|(i, to)| entries(data, at + (i + 1) * step, stride, to));
        return;
    }
    // The position along every outer axis, on the stack unless there are very many.
    let (mut few, mut many) = ([0; 8], vec![]);
    let position = if outer.len() <= few.len() {
        &mut few[..outer.len()]
    } else {
        many.resize(outer.len(), 0);
        &mut many[..]
    };
    let mut at = offset;
    for (i, &(size, stride)) in outer.iter().enumerate().rev() {
        position[i] = row % size;
        at += position[i] * stride;
        row /= size;
    }
    entries(data, at + within * stride, stride, first);
    for to in rows.chunks_mut(inner) {
        for (i, &(size, stride)) in outer.iter().enumerate().rev() {
            position[i] += 1;
            at += stride;
            if position[i] < size {
                break;
            }
            position[i] = 0;
            at -= size * stride;
        }
        entries(data, at, stride, to);
    }
}

/// Copies entries that lie `stride` apart.
#[inline(always)]
fn entries<T: Copy>(data: &[T], at: usize, stride: usize, to: &mut [T]) {
    match stride {
        1 => copy(&data[at..at + to.len()], to),
        0 => repeat(data[at], to),
        _ => to.iter_mut().enumerate().for_each(|(i, to)| *to = data[at + i * stride]),
    }
}

/// Copies entries; rows are often so short that a call for each would take longer than the copy.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    if from.len() > 256 {
        return to.copy_from_slice(from);
    }
    let ((from, rest), (to, places)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    let ((from, rest), (to, places)) = (rest.as_chunks::<4>(), places.as_chunks_mut::<4>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    let ((from, _), (to, _)) = (rest.as_chunks::<1>(), places.as_chunks_mut::<1>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// Fills a row, which is often short.
#[inline(always)]
fn repeat<T: Copy>(x: T, to: &mut [T]) {
    let (to, rest) = to.as_chunks_mut::<16>();
    to.iter_mut().for_each(|to| *to = [x; 16]);
    rest.iter_mut().for_each(|to| *to = x);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(view: &View, data: &[i32]) -> Vec<i32> {
        let mut out = vec![0; view.len()];
        load(data, view.offset, &view.merged(), 0, &mut out);
        // Any part of it is a part of the whole.
        for start in 0..out.len() {
            let mut part = vec![0; (out.len() - start).min(3)];
            load(data, view.offset, &view.merged(), start, &mut part);
            assert_eq!(part, out[start..start + part.len()]);
        }
        out
    }

    #[test]
    fn views_of_a_matrix() {
        let data = [0, 1, 2, 3, 4, 5];
        let matrix = View::whole(0, &[2, 3]);
        assert_eq!(read(&matrix.permute(&[1, 0]), &data), [0, 3, 1, 4, 2, 5]);
        assert_eq!(read(&matrix.broadcast(1, 2), &data), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
        assert_eq!(read(&matrix.broadcast(2, 2), &data), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        assert_eq!(read(&matrix.slice(1, 1, 2), &data), [1, 2, 4, 5]);
        assert_eq!(read(&matrix.slice(1, 2, 1).permute(&[1, 0]), &data), [2, 5]);
        assert!(matrix.is_dense() && !matrix.permute(&[1, 0]).is_dense() && matrix.slice(0, 1, 1).is_dense());
        assert!(View::whole(0, &[]).broadcast(0, 3).is_scalar() && !matrix.is_scalar());
    }

    #[test]
    fn reshaping_is_possible_where_axes_merge() {
        let data: Vec<i32> = (0..12).collect();
        let matrix = View::whole(0, &[3, 4]);
        let turned = matrix.permute(&[1, 0]);
        assert_eq!(turned.reshape(&[12]), None);
        assert_eq!(read(&turned.reshape(&[2, 2, 3]).unwrap(), &data), read(&turned, &data));
        assert_eq!(read(&matrix.broadcast(0, 2).reshape(&[6, 4]).unwrap_or(turned.clone()), &data).len(), 12);
        assert_eq!(matrix.broadcast(0, 2).reshape(&[6, 4]), None);
        assert_eq!(read(&matrix.broadcast(0, 2).reshape(&[2, 12]).unwrap(), &data).len(), 24);
        assert_eq!(matrix.reshape(&[1, 12, 1]).unwrap().axes, [(1, 0), (12, 1), (1, 0)]);
        assert_eq!(View::whole(0, &[1, 1]).reshape(&[]).unwrap().axes, []);
    }
}
