//! The mean over a task's support examples of a function of one example, over all of them or class by class.

use super::sample::example_slots;
use super::task::{Task, Which};
use super::{LowerError, Part};
use crate::catalog::one_hot;
use crate::ir::{Binary, Builder, Compare, Function, NodeId};

/// What a parameter becomes: the mean of `of`, which reads other parameters, or one row for each class of the target. Where
/// there are no examples it stays as it was `before`.
pub(super) fn mean(
    task: &mut Task,
    which: Which,
    (of, by_class): (&Function, bool),
    params: &[NodeId],
    before: NodeId,
) -> Result<NodeId, LowerError> {
    let values = task.over_examples(of, params, which)?[0];
    let Part { size, masked } = task.part(which);
    let dims = task.ports.b.dims(before).to_vec();
    let rows = if by_class { dims.first().copied().unwrap_or(1) } else { 1 };
    // How much each example counts in each row, `[S, rows]`.
    let counts = if by_class { membership(task, which, params, rows)? } else { task.ports.b.full(1.0, &[size, rows]) };
    let counts = match masked {
        true => {
            let mask = task.mask(which);
            let mask = task.ports.b.broadcast(mask, 1, rows);
            task.ports.b.mul(counts, mask)
        }
        false => counts,
    };
    let b = &mut task.ports.b;
    let width = b.dims(values)[1..].iter().product();
    let values = b.reshape(values, &[size, width]);
    let totals = b.matmul(counts, values, true, false);
    let number = b.sum(counts, 0);
    let one = b.full(1.0, &[rows]);
    let divisor = b.binary(Binary::Max, number, one);
    let divisor = b.broadcast(divisor, 1, width);
    let means = b.div(totals, divisor);
    let zero = b.full(0.0, &[rows]);
    let any = b.compare(Compare::Lt, zero, number);
    let any = b.broadcast(any, 1, width);
    let kept = b.reshape(before, &[rows, width]);
    let means = b.select(any, means, kept);
    Ok(b.reshape(means, &dims))
}

/// 1 where a support example is of a class, `[S, classes]`.
fn membership(task: &mut Task, which: Which, params: &[NodeId], classes: usize) -> Result<NodeId, LowerError> {
    let slots = example_slots(task.family);
    let target = slots.iter().find(|(name, dims)| name == "y" && dims.is_empty());
    target.ok_or_else(|| LowerError::Dangling("a class `y`".into()))?;
    let mut b = Builder::new();
    let target = b.input("y", &[]);
    let hit = one_hot(&mut b, target, classes);
    let one = b.finish("class", vec![("class".into(), hit)]);
    Ok(task.over_examples(&one, params, which)?[0])
}
