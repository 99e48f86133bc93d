//! All tasks of a step: the differentiated step, local adaptation, reductions, metrics.

use super::task::{Task, Which, rated};
use super::{AdaptPrograms, Input, LowerError, Part, Ports, Program, TaskPrograms, batch, implicit, small_enough};
use crate::catalog::{Metric, Outer, Solver, Through, Whose};
use crate::ir::{Binary, Builder, Compare, NodeId, grad};
use crate::plan::types::{Anchor, Arm, Block, Evaluation, Family, Model, Objective, Slot};

/// One outer step through the adaptation of all tasks.
pub(super) fn step(arm: &Arm, family: &Family, tasks: &TaskPrograms) -> Result<Program, LowerError> {
    let train = &arm.train;
    let count = train.tasks.per_step();
    let (moved, kept) = (arm.moved(), arm.kept());
    let slots = &arm.model.params;

    let mut one = Task::new(arm, &arm.model, family, tasks.support, tasks.query);
    let params = one.params();
    let adapted = one.adapt(&train.objective, &train.adapt, train.through, &params)?;
    let mut loss = one.loss(&train.objective, &adapted, Which::Query, &[])?;
    if let (Through::Implicit { cg }, [block]) = (train.through, train.adapt.as_slice()) {
        loss = implicit::reach(&mut one, &train.objective, block, (&params, &adapted), loss, cg)?;
    }
    let mut outputs = vec![("loss".to_owned(), loss)];
    outputs.extend(kept.iter().map(|&i| (slots[i].name.clone(), adapted[i])));
    let one = one.ports.finish("task", outputs);

    let mut ports = Ports::new();
    let per_task = |input: Input| match input {
        Input::World(_) => false,
        Input::Param(i) => kept.contains(&i),
        _ => true,
    };
    let results = ports.batch(&one, count, per_task)?;
    let mut losses = results[0];
    if train.outer.weighs() {
        let weights = ports.get(Input::Weights, "weights", &[count]);
        losses = ports.b.mul(losses, weights);
    }
    if let Outer::Cvar { q } = train.outer {
        let weights = tail_weights(&mut ports.b, losses, q);
        losses = ports.b.mul(losses, weights);
    }
    let objective = ports.b.mean(losses, 0);
    let at: Vec<NodeId> = moved.iter().map(|&i| ports.get(Input::Param(i), &slots[i].name, &slots[i].dims)).collect();
    let gradients = grad(&mut ports.b, objective, &at);
    let update = train.update.as_ref().ok_or_else(|| LowerError::Dangling("an update".into()))?;
    let (after, memory) = apply(&mut ports, &arm.model, update, &moved, &gradients);
    let after = retracted(&mut ports, arm, &moved, after);

    let mut outputs: Vec<(String, NodeId)> =
        moved.iter().zip(after).map(|(&i, n)| (slots[i].name.clone(), n)).collect();
    outputs.extend(memory);
    outputs.push(("losses".into(), results[0]));
    outputs.extend(kept.iter().zip(&results[1..]).map(|(&i, &n)| (slots[i].name.clone(), n)));
    Ok(ports.finish("step", outputs))
}

/// How much each of `T` losses counts in the mean of their worst share `q`, times `T`: by how far its rank lies below `q T`.
/// Equal losses are ranked in the order of the tasks.
fn tail_weights(b: &mut Builder, losses: NodeId, q: f64) -> NodeId {
    let losses = b.detach(losses);
    let count = b.dims(losses)[0];
    let (own, other) = (b.broadcast(losses, 1, count), b.broadcast(losses, 0, count));
    let worse = b.compare(Compare::Lt, own, other);
    let better = b.compare(Compare::Lt, other, own);
    let (row, column) = (b.iota(&[count, count], 0), b.iota(&[count, count], 1));
    let earlier = b.compare(Compare::Lt, column, row);
    let zeros = b.full(0.0, &[count, count]);
    let tied = b.select(better, zeros, earlier);
    let one = b.full(1.0, &[count, count]);
    let before = b.select(worse, one, tied);
    let rank = b.sum(before, 1);
    let size = q * count as f64;
    let left = b.neg(rank);
    let left = b.offset(left, size);
    let (zeros, ones) = (b.full(0.0, &[count]), b.full(1.0, &[count]));
    let counted = b.binary(Binary::Max, left, zeros);
    let part = b.compare(Compare::Lt, counted, ones);
    let counted = b.select(part, counted, ones);
    b.scale(counted, count as f64 / size)
}

/// One update of some parameters; returns them and the named memory.
fn apply(
    ports: &mut Ports,
    model: &Model,
    solver: &Solver,
    on: &[usize],
    gradients: &[NodeId],
) -> (Vec<NodeId>, Vec<(String, NodeId)>) {
    let slots = &model.params;
    let schedule = schedule(ports, solver);
    let (mut moved, mut remembered) = (Vec::new(), Vec::new());
    for (&i, &gradient) in on.iter().zip(gradients) {
        let theta = ports.get(Input::Param(i), &slots[i].name, &slots[i].dims);
        let names: Vec<String> = solver.memory().iter().map(|m| format!("{}.{m}", slots[i].name)).collect();
        let memory: Vec<NodeId> = names
            .iter()
            .enumerate()
            .map(|(slot, name)| ports.get(Input::Memory { param: i, slot }, name, &slots[i].dims))
            .collect();
        let (theta, memory) = solver.step(&mut ports.b, theta, gradient, &memory, &schedule);
        moved.push(theta);
        remembered.extend(names.into_iter().zip(memory));
    }
    (moved, remembered)
}

/// The parameters at positions `on` after the retractions of training.
fn retracted(ports: &mut Ports, arm: &Arm, on: &[usize], mut values: Vec<NodeId>) -> Vec<NodeId> {
    for retract in &arm.train.retract {
        let named = arm.model.positions(&retract.on);
        for (i, value) in on.iter().zip(&mut values) {
            if named.contains(i) {
                *value = retract.by.lower(&mut ports.b, *value);
            }
        }
    }
    values
}

fn schedule(ports: &mut Ports, solver: &Solver) -> Vec<NodeId> {
    solver.schedule_names().iter().enumerate().map(|(i, name)| ports.get(Input::Schedule(i), name, &[])).collect()
}

/// What a local adaptation works on.
pub(super) struct Local<'a> {
    pub arm: &'a Arm,
    pub model: &'a Model,
    pub family: &'a Family,
    pub objective: &'a Objective,
    pub tasks: usize,
    pub support: Part,
    /// The parameters that are averaged afterwards.
    pub averaged: Vec<usize>,
    /// The parameters whose gradients are corrected.
    pub corrected: Vec<usize>,
    /// Whether it belongs to an evaluation.
    pub evaluates: bool,
}

/// Adaptation in a loop: the shared parameters repeated for every task, and one step of each block.
pub(super) fn adapt(local: &Local, blocks: &[Block]) -> Result<AdaptPrograms, LowerError> {
    let Local { arm, model, tasks, .. } = *local;
    let mut ports = Ports::new();
    let mut spread = Vec::new();
    // What is averaged afterwards has one value for every task, moved or not.
    let own = |i: &usize| local.averaged.contains(i) || moves(model, blocks, *i);
    let moved: Vec<usize> = model.others(&[&arm.train.keep]).into_iter().filter(own).collect();
    for &i in &moved {
        let slot = &model.params[i];
        let theta = ports.get(Input::Param(i), &slot.name, &slot.dims);
        spread.push((slot.name.clone(), ports.b.broadcast(theta, 0, tasks)));
    }
    let spread = ports.finish("spread", spread);
    let blocks = blocks.iter().map(|block| local_step(local, block, &moved)).collect::<Result<_, _>>()?;
    Ok(AdaptPrograms { spread, moved, blocks })
}

/// Whether some block moves a parameter.
fn moves(model: &Model, blocks: &[Block], i: usize) -> bool {
    blocks.iter().any(|block| block.on.contains(&model.params[i].name))
}

/// One step of one block for all tasks, each with `moved` and kept parameters of its own.
fn local_step(local: &Local, block: &Block, moved: &[usize]) -> Result<Program, LowerError> {
    let Local { arm, model, family, objective, tasks, .. } = *local;
    // Batches are cut from those examples alone that the block sees.
    let whole = Block { examples: None, ..block.clone() };
    let (support, block) = match block.batch {
        Some(batch) => (Part { size: batch as usize, masked: true }, &whole),
        None => (local.support, block),
    };
    let on = model.positions(&block.on);
    let slots = &model.params;
    let task = Task::new(arm, model, family, support, Part::default());
    let mut task = if local.evaluates && !block.solver.steps() { task.measuring() } else { task };
    let params = task.params();
    let mut outputs: Vec<(String, NodeId)> = Vec::new();
    if !block.solver.steps() {
        let solved = task.adapt(objective, std::slice::from_ref(block), Through::Stop, &params)?;
        outputs.extend(on.iter().map(|&i| (slots[i].name.clone(), solved[i])));
    } else {
        let mut start = params.clone();
        if block.toward.as_ref().is_some_and(|t| t.anchor == Anchor::Start) {
            for &i in &on {
                start[i] = task.ports.get(Input::Start(i), &format!("{}.start", slots[i].name), &slots[i].dims);
            }
        }
        let mut gradients = task.local_gradients(objective, block, &params, &start)?;
        for (gradient, rate) in gradients.iter_mut().zip(model.positions(&block.rates)) {
            *gradient = rated(&mut task.ports.b, *gradient, Some(params[rate]));
        }
        for (gradient, &i) in gradients.iter_mut().zip(&on).filter(|(_, i)| local.corrected.contains(i)) {
            let name = format!("{}.correction", slots[i].name);
            let correction = task.ports.get(Input::Correction(i), &name, &slots[i].dims);
            *gradient = task.ports.b.add(*gradient, correction);
        }
        let (stepped, memory) = apply(&mut task.ports, model, &block.solver, &on, &gradients);
        outputs.extend(on.iter().zip(stepped).map(|(&i, n)| (slots[i].name.clone(), n)));
        outputs.extend(memory);
        if support.masked {
            rest_where_empty(&mut task, block, &on, &mut outputs);
        }
    }
    let names: Vec<String> = outputs.iter().map(|(n, _)| n.clone()).collect();
    let one = task.ports.finish("local", outputs);
    let kept = model.positions(&arm.train.keep);
    let mut ports = Ports::new();
    let results = ports.batch(&one, tasks, |input| match input {
        Input::World(_) | Input::Schedule(_) => false,
        Input::Param(i) => moved.contains(&i) || kept.contains(&i),
        _ => true,
    })?;
    Ok(ports.finish("local", names.into_iter().zip(results).collect()))
}

/// A task without examples in this batch does not move, nor does what its solver remembers.
fn rest_where_empty(task: &mut Task, block: &Block, on: &[usize], outputs: &mut [(String, NodeId)]) {
    let slots = &task.model.params;
    let mask = task.mask(Which::Support(block.examples));
    let mut before: Vec<NodeId> =
        on.iter().map(|&i| task.ports.get(Input::Param(i), &slots[i].name, &slots[i].dims)).collect();
    for &i in on {
        for (slot, name) in block.solver.memory().iter().enumerate() {
            before.push(task.ports.get(
                Input::Memory { param: i, slot },
                &format!("{}.{name}", slots[i].name),
                &slots[i].dims,
            ));
        }
    }
    let b = &mut task.ports.b;
    let count = b.sum(mask, 0);
    let zero = b.constant(0.0);
    let any = b.compare(Compare::Lt, zero, count);
    for ((_, after), before) in outputs.iter_mut().zip(before) {
        let dims = b.dims(*after).to_vec();
        let any = b.expand(any, &dims);
        *after = b.select(any, *after, before);
    }
}

/// From the adapted parameters of all tasks to the next shared parameters. `weights` sum to 1.
pub(super) fn reduce(arm: &Arm) -> Program {
    let mut ports = Ports::new();
    let (slots, moved, count) = (&arm.model.params, arm.moved(), arm.train.tasks.per_step());
    let mut averages = Vec::new();
    for &i in &moved {
        let adapted = ports.get(
            Input::Adapted(i),
            &format!("{}.adapted", slots[i].name),
            &[&[count], slots[i].dims.as_slice()].concat(),
        );
        let weights = ports.get(Input::Weights, "weights", &[count]);
        let b = &mut ports.b;
        let size: usize = slots[i].dims.iter().product();
        let (row, matrix) = (b.reshape(weights, &[1, count]), b.reshape(adapted, &[count, size]));
        let average = b.matmul(row, matrix, false, false);
        averages.push(b.reshape(average, &slots[i].dims));
    }
    let Some(update) = &arm.train.update else {
        let averages = retracted(&mut ports, arm, &moved, averages);
        let outputs = moved.iter().zip(averages).map(|(&i, n)| (slots[i].name.clone(), n)).collect();
        return ports.finish("reduce", outputs);
    };
    let mut gradients = Vec::new();
    for (&i, &average) in moved.iter().zip(&averages) {
        let theta = ports.get(Input::Param(i), &slots[i].name, &slots[i].dims);
        gradients.push(ports.b.binary(Binary::Sub, theta, average));
    }
    let (after, memory) = apply(&mut ports, &arm.model, update, &moved, &gradients);
    let after = retracted(&mut ports, arm, &moved, after);
    let mut outputs: Vec<(String, NodeId)> =
        moved.iter().zip(after).map(|(&i, n)| (slots[i].name.clone(), n)).collect();
    outputs.extend(memory);
    ports.finish("reduce", outputs)
}

/// From where the parameters that an evaluation's adaptation moves began and ended, `[T, ..]`, to a point between; the
/// share of the end is the one scalar of the schedule.
pub(super) fn between(model: &Model, evaluation: &Evaluation) -> Program {
    let (mut ports, tasks) = (Ports::new(), evaluation.tasks.per_step());
    let mut outputs = Vec::new();
    for i in evaluation.moved(model) {
        let Slot { name, dims } = &model.params[i];
        let dims = [&[tasks], dims.as_slice()].concat();
        let start = ports.get(Input::Start(i), &format!("{name}.start"), &dims);
        let end = ports.get(Input::Adapted(i), &format!("{name}.adapted"), &dims);
        let share = ports.get(Input::Schedule(0), "share", &[]);
        let b = &mut ports.b;
        // Both ends are hit exactly.
        let left = b.neg(share);
        let left = b.offset(left, 1.0);
        let (left, share) = (b.expand(left, &dims), b.expand(share, &dims));
        let (start, end) = (b.mul(start, left), b.mul(end, share));
        outputs.push((name.clone(), b.add(start, end)));
    }
    ports.finish("between", outputs)
}

/// A metric of every task after these blocks, `[T]`, on the query examples of whom.
pub(super) fn metric(
    arm: &Arm,
    (model, blocks): (&Model, &[Block]),
    family: &Family,
    metric: &Metric,
    (tasks, query, whose): (usize, Part, Whose),
) -> Result<Program, LowerError> {
    let seen = match whose {
        Whose::Own => query,
        Whose::Others => Part { size: tasks * query.size, masked: true },
        Whose::All => Part { size: tasks * query.size, ..query },
    };
    let mut one = Task::new(arm, model, family, Part::default(), seen).measuring();
    let params = one.params();
    let value = one.metric(metric, &params)?;
    let one = one.ports.finish("metric", vec![("value".into(), value)]);
    let mut ports = Ports::new();
    let kept = model.positions(&arm.train.keep);
    let own = |i: usize| kept.contains(&i) || moves(model, blocks, i);
    let values = match whose {
        Whose::Own => ports.batch(&one, tasks, |input| match input {
            Input::World(_) => false,
            Input::Param(i) => own(i),
            _ => true,
        }),
        Whose::Others | Whose::All => on_everyone(&mut ports, &one, (tasks, query), whose, &own),
    }?;
    Ok(ports.finish("metric", vec![("values".into(), values[0])]))
}

/// Runs the metric of one task for all tasks, on the query examples of all, or of all others.
fn on_everyone(
    ports: &mut Ports,
    one: &Program,
    (tasks, query): (usize, Part),
    whose: Whose,
    own: &dyn Fn(usize) -> bool,
) -> Result<Vec<NodeId>, LowerError> {
    // The mask of all examples for each task comes before the program that reads it.
    small_enough(tasks.saturating_mul(tasks).saturating_mul(query.size))?;
    let f = &one.function;
    let (mut args, mut mapped) = (Vec::new(), Vec::new());
    for (port, &input) in f.inputs.iter().zip(&one.inputs) {
        let dims = f.dims(port.node);
        let (arg, is_mapped) = match input {
            Input::QueryMask => {
                let mask = match query.masked {
                    true => ports.get(input, &port.name, &[tasks, query.size]),
                    false => ports.b.full(1.0, &[tasks, query.size]),
                };
                let mask = ports.b.reshape(mask, dims);
                match whose {
                    Whose::Others => (without_own(&mut ports.b, mask, tasks, query.size), true),
                    Whose::Own | Whose::All => (mask, false),
                }
            }
            Input::Query(_) => {
                let each = ports.get(input, &port.name, &[&[tasks, query.size], &dims[1..]].concat());
                (ports.b.reshape(each, dims), false)
            }
            Input::World(_) => (ports.get(input, &port.name, dims), false),
            Input::Param(i) if !own(i) => (ports.get(input, &port.name, dims), false),
            _ => (ports.get(input, &port.name, &[&[tasks], dims].concat()), true),
        };
        args.push(arg);
        mapped.push(is_mapped);
    }
    batch(&mut ports.b, f, &args, &mapped, tasks, None)
}

/// A mask `[T Q]` of the examples of all tasks, without its own ones for every task: `[T, T Q]`.
fn without_own(b: &mut Builder, mask: NodeId, tasks: usize, size: usize) -> NodeId {
    let dims = [tasks, tasks, size];
    let (task, owner) = (b.iota(&dims, 0), b.iota(&dims, 1));
    let (before, behind) = (b.compare(Compare::Lt, owner, task), b.compare(Compare::Lt, task, owner));
    let other = b.add(before, behind);
    let other = b.reshape(other, &[tasks, tasks * size]);
    let mask = b.broadcast(mask, 0, tasks);
    b.mul(other, mask)
}
