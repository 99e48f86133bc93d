//! Changes of examples, drawn on the host: each example of a visit by itself, from a stream of its own.

use super::clients::Held;
use super::tasks::TaskId;
use crate::catalog::Augmentation;
use crate::ir::Tensor;
use crate::rng::Stream;

/// The changes of a section, and the stream that they are drawn from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    pub list: &'a [Augmentation],
    pub root: Stream,
}

/// Which of the two parts of a visit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Support = 0,
    Query = 1,
}

impl Changes<'_> {
    /// Changes the examples of one part of a visit, in order. `x: [tasks, size, ..]` holds those of every task in front; `repeats` counts how
    /// often a task came before in this step.
    pub fn apply(
        &self,
        x: &mut Tensor,
        held: &[Vec<Held>],
        ids: &[TaskId],
        repeats: &[u64],
        (visit, side): (u64, Side),
    ) {
        if self.list.is_empty() {
            return;
        }
        let (size, dims) = (x.dims()[1], x.dims()[2..].to_vec());
        let len: usize = dims.iter().product();
        for (t, examples) in held.iter().enumerate() {
            let stream = self.root.child(ids[t].index).child(visit).child(repeats[t]).child(side as u64);
            for i in 0..examples.len() {
                let at = (t * size + i) * len;
                change(&mut x.data_mut()[at..at + len], &dims, self.list, &stream.child(i as u64));
            }
        }
    }
}

/// One example after all changes; each has a stream of its own.
fn change(x: &mut [f64], dims: &[usize], list: &[Augmentation], stream: &Stream) {
    for (number, augmentation) in list.iter().enumerate() {
        let stream = stream.child(number as u64);
        match augmentation {
            Augmentation::Crop { padding } => {
                let places = 2 * *padding as usize + 1;
                crop(x, dims, *padding as usize, [stream.below(0, places), stream.below(1, places)]);
            }
            Augmentation::Flip { chance } if stream.uniform(0) < *chance => {
                let columns = dims.last().copied().unwrap_or(1).max(1);
                x.chunks_mut(columns).for_each(<[f64]>::reverse);
            }
            Augmentation::Flip { .. } => {}
            Augmentation::Rotate {} => turn(x, dims, stream.below(0, 4)),
            Augmentation::Noise { std } => {
                let mut draws = vec![0.0; x.len()];
                stream.fill_normal(&mut draws);
                x.iter_mut().zip(draws).for_each(|(x, draw)| *x += std * draw);
            }
            Augmentation::FlipBits { chance } => flip(x, *chance, &stream, |x| 1.0 - x),
            Augmentation::FlipSigns { chance } => flip(x, *chance, &stream, |x| -x),
        }
    }
}

fn flip(x: &mut [f64], chance: f64, stream: &Stream, to: impl Fn(f64) -> f64) {
    let mut draws = vec![0.0; x.len()];
    stream.fill_uniform(&mut draws);
    x.iter_mut().zip(draws).filter(|(_, draw)| *draw < chance).for_each(|(x, _)| *x = to(*x));
}

/// The rows and columns of an image whose last two dims they are.
fn sides(dims: &[usize]) -> (usize, usize) {
    match dims {
        [.., rows, columns] => (*rows, *columns),
        _ => (1, dims.first().copied().unwrap_or(1)),
    }
}

/// The window that begins so many rows and columns into the image with zeros around.
fn crop(x: &mut [f64], dims: &[usize], padding: usize, [down, right]: [usize; 2]) {
    let (rows, columns) = sides(dims);
    for plane in x.chunks_mut((rows * columns).max(1)) {
        let before = plane.to_vec();
        let inside = |at: usize, most: usize| at.checked_sub(padding).filter(|at| *at < most);
        for (place, out) in plane.iter_mut().enumerate() {
            let (row, column) = (inside(place / columns + down, rows), inside(place % columns + right, columns));
            *out = row.zip(column).map_or(0.0, |(row, column)| before[row * columns + column]);
        }
    }
}

/// A square image turned by so many quarters against the clock.
pub(super) fn turn(x: &mut [f64], dims: &[usize], quarters: usize) {
    let (rows, columns) = sides(dims);
    for plane in x.chunks_mut((rows * columns).max(1)) {
        for _ in 0..quarters {
            let before = plane.to_vec();
            for (place, out) in plane.iter_mut().enumerate() {
                let (row, column) = (place / columns, place % columns);
                *out = before[column * columns + (columns - 1 - row)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of two rows and columns.
    const IMAGE: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];

    #[test]
    fn quarter_turns_of_every_channel() {
        let turned = |quarters| {
            let mut x = IMAGE;
            turn(&mut x, &[2, 2, 2], quarters);
            x
        };
        assert_eq!(turned(0), IMAGE);
        assert_eq!(turned(1), [2.0, 4.0, 1.0, 3.0, 6.0, 8.0, 5.0, 7.0]);
        assert_eq!(turned(2), [4.0, 3.0, 2.0, 1.0, 8.0, 7.0, 6.0, 5.0]);
        assert_eq!(turned(4), IMAGE);
    }

    #[test]
    fn windows_of_an_image_among_zeros() {
        let cropped = |offset| {
            let mut x = IMAGE;
            crop(&mut x, &[2, 2, 2], 1, offset);
            x
        };
        assert_eq!(cropped([1, 1]), IMAGE);
        assert_eq!(cropped([0, 1]), [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 5.0, 6.0]);
        assert_eq!(cropped([2, 0]), [0.0, 3.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0]);
        // Of a wide image, too.
        let mut wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        crop(&mut wide, &[2, 3], 2, [3, 4]);
        assert_eq!(wide, [6.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
