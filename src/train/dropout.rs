//! The masks of dropout, drawn on the host.

use rayon::prelude::*;

use super::TrainError;
use super::bind::Kernel;
use super::tasks::{TaskMaker, Visit};
use crate::exec::Executor;
use crate::ir::Tensor;
use crate::plan::Model;
use crate::plan::lower::Input;
use crate::rng::Stream;

/// Which run of a program in a visit: the differentiated step, or one step of a block of an adaptation, from 1.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    Whole,
    Step { block: u64, number: u64 },
}

/// The masks that one run of a program reads.
pub(super) struct Masks<E: Executor>(Vec<(Input, E::Value)>);

impl<E: Executor> Masks<E> {
    /// Those of all tasks of a visit. A mask is addressed by the task, the step, the moment in it, how often a loss was taken before, the
    /// call of the model and the mask's name, so that nothing else has a part in it.
    pub fn draw(
        exec: &E,
        kernel: &Kernel<E>,
        model: &Model,
        maker: &TaskMaker<E>,
        visit: &Visit<E>,
        (step, moment): (u64, Moment),
    ) -> Result<Masks<E>, TrainError> {
        let mut masks = Vec::new();
        for (input, dims) in kernel.inputs() {
            let Input::Mask { at, call, pass } = input else { continue };
            let dropout = &model.dropout[at];
            let stream = |id| -> Stream {
                let of_step = maker.dropout_stream(id, step);
                let stream = match moment {
                    Moment::Whole => of_step.child(0),
                    Moment::Step { block, number } => of_step.child(1 + block).child(number),
                };
                stream.child(pass as u64).child(call as u64).child_str(&dropout.name)
            };
            let mut mask = Tensor::full(dims, 0.0);
            let len = mask.row_len();
            if len > 0 {
                let streams: Vec<Stream> = visit.ids().iter().map(|&id| stream(id)).collect();
                let rows = mask.data_mut().par_chunks_mut(len).zip(&streams);
                rows.for_each(|(row, stream)| fill(row, stream, dropout.rate));
            }
            masks.push((input, exec.upload(&mask)?));
        }
        Ok(Masks(masks))
    }

    /// The mask behind a tag.
    pub fn find(&self, input: Input) -> Option<&E::Value> {
        self.0.iter().find(|(known, _)| *known == input).map(|(_, value)| value)
    }
}

/// 0 where a uniform draw of [0, 1) lies below the rate, else `1 / (1 - rate)`.
fn fill(row: &mut [f64], stream: &Stream, rate: f64) {
    stream.fill_uniform(row);
    let kept = 1.0 / (1.0 - rate);
    row.iter_mut().for_each(|x| *x = if *x < rate { 0.0 } else { kept });
}
