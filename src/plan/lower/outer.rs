//! All tasks of a step: the differentiated step, local adaptation, reductions, metrics.

use super::task::{Task, Which};
use super::{AdaptPrograms, Input, LowerError, Part, Ports, Program, TaskPrograms};
use crate::catalog::{Metric, Outer, Solver, Through};
use crate::ir::{Binary, Compare, NodeId, grad};
use crate::plan::types::{Arm, Block, Family, Objective};

/// One outer step through the adaptation of all tasks.
pub(super) fn step(arm: &Arm, family: &Family, tasks: &TaskPrograms) -> Result<Program, LowerError> {
    let train = &arm.train;
    let count = train.tasks.per_step();
    let (shared, kept) = (arm.shared(), arm.kept());
    let slots = &arm.model.params;

    let mut one = Task::new(arm, family, tasks.support, tasks.query);
    let params = one.params();
    let adapted = one.adapt(&train.objective, &train.adapt, train.through, &params)?;
    let loss = one.loss(&train.objective, &adapted, Which::Query)?;
    let mut outputs = vec![("loss".to_owned(), loss)];
    outputs.extend(kept.iter().map(|&i| (slots[i].name.clone(), adapted[i])));
    let one = one.ports.finish("task", outputs);

    let mut ports = Ports::new();
    let per_task = |input: Input| match input {
        Input::World(_) => false,
        Input::Param(i) => kept.contains(&i),
        _ => true,
    };
    let results = ports.batch(&one, count, per_task);
    let mut losses = results[0];
    if matches!(train.outer, Outer::Worst { .. }) {
        let weights = ports.get(Input::Weights, "weights", &[count]);
        losses = ports.b.mul(losses, weights);
    }
    let objective = ports.b.mean(losses, 0);
    let at: Vec<NodeId> = shared.iter().map(|&i| ports.get(Input::Param(i), &slots[i].name, &slots[i].dims)).collect();
    let gradients = grad(&mut ports.b, objective, &at);
    let update = train.update.as_ref().ok_or_else(|| LowerError::Dangling("an update".into()))?;
    let (moved, memory) = apply(&mut ports, arm, update, &shared, &gradients);

    let mut outputs: Vec<(String, NodeId)> =
        shared.iter().zip(moved).map(|(&i, n)| (slots[i].name.clone(), n)).collect();
    outputs.extend(memory);
    outputs.push(("losses".into(), results[0]));
    outputs.extend(kept.iter().zip(&results[1..]).map(|(&i, &n)| (slots[i].name.clone(), n)));
    Ok(ports.finish("step", outputs))
}

/// One update of the shared parameters; returns them and the named memory.
fn apply(
    ports: &mut Ports,
    arm: &Arm,
    solver: &Solver,
    shared: &[usize],
    gradients: &[NodeId],
) -> (Vec<NodeId>, Vec<(String, NodeId)>) {
    let slots = &arm.model.params;
    let schedule = schedule(ports, solver);
    let (mut moved, mut remembered) = (Vec::new(), Vec::new());
    for (&i, &gradient) in shared.iter().zip(gradients) {
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

fn schedule(ports: &mut Ports, solver: &Solver) -> Vec<NodeId> {
    solver.schedule_names().iter().enumerate().map(|(i, name)| ports.get(Input::Schedule(i), name, &[])).collect()
}

/// Adaptation in a loop: the shared parameters repeated for every task, and one step of each block.
pub(super) fn adapt(
    arm: &Arm,
    family: &Family,
    objective: &Objective,
    blocks: &[Block],
    tasks: usize,
    support: Part,
) -> Result<AdaptPrograms, LowerError> {
    let mut ports = Ports::new();
    let shared = arm.shared();
    let mut spread = Vec::new();
    for &i in &shared {
        let slot = &arm.model.params[i];
        let theta = ports.get(Input::Param(i), &slot.name, &slot.dims);
        spread.push((slot.name.clone(), ports.b.broadcast(theta, 0, tasks)));
    }
    let spread = ports.finish("spread", spread);
    let blocks = blocks
        .iter()
        .map(|block| local_step(arm, family, objective, block, tasks, support))
        .collect::<Result<_, _>>()?;
    Ok(AdaptPrograms { spread, blocks })
}

/// One step of one block for all tasks, each with parameters of its own.
fn local_step(
    arm: &Arm,
    family: &Family,
    objective: &Objective,
    block: &Block,
    tasks: usize,
    support: Part,
) -> Result<Program, LowerError> {
    let support = match block.batch {
        Some(batch) => Part { size: batch as usize, masked: true },
        None => support,
    };
    let on = arm.params_named(&block.on);
    let slots = &arm.model.params;
    let mut task = Task::new(arm, family, support, Part::default());
    let params = task.params();
    let mut outputs: Vec<(String, NodeId)> = Vec::new();
    if let Solver::ClosedForm { .. } = block.solver {
        let solved = task.adapt(objective, std::slice::from_ref(block), Through::Stop, &params)?;
        outputs.extend(on.iter().map(|&i| (slots[i].name.clone(), solved[i])));
    } else {
        let loss = task.loss(objective, &params, Which::Support)?;
        let at: Vec<NodeId> = on.iter().map(|&i| params[i]).collect();
        let gradients = grad(&mut task.ports.b, loss, &at);
        let (moved, memory) = apply(&mut task.ports, arm, &block.solver, &on, &gradients);
        outputs.extend(on.iter().zip(moved).map(|(&i, n)| (slots[i].name.clone(), n)));
        outputs.extend(memory);
        if support.masked {
            rest_where_empty(&mut task, arm, block, &on, &mut outputs);
        }
    }
    let names: Vec<String> = outputs.iter().map(|(n, _)| n.clone()).collect();
    let one = task.ports.finish("local", outputs);
    let mut ports = Ports::new();
    let results = ports.batch(&one, tasks, |i| !matches!(i, Input::World(_) | Input::Schedule(_)));
    Ok(ports.finish("local", names.into_iter().zip(results).collect()))
}

/// A task without examples in this batch does not move, nor does what its solver remembers.
fn rest_where_empty(task: &mut Task, arm: &Arm, block: &Block, on: &[usize], outputs: &mut [(String, NodeId)]) {
    let slots = &arm.model.params;
    let mask = task.mask(Which::Support);
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
    let (slots, shared, count) = (&arm.model.params, arm.shared(), arm.train.tasks.per_step());
    let mut averages = Vec::new();
    for &i in &shared {
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
        let outputs = shared.iter().zip(averages).map(|(&i, n)| (slots[i].name.clone(), n)).collect();
        return ports.finish("reduce", outputs);
    };
    let mut gradients = Vec::new();
    for (&i, &average) in shared.iter().zip(&averages) {
        let theta = ports.get(Input::Param(i), &slots[i].name, &slots[i].dims);
        gradients.push(ports.b.binary(Binary::Sub, theta, average));
    }
    let (moved, memory) = apply(&mut ports, arm, update, &shared, &gradients);
    let mut outputs: Vec<(String, NodeId)> =
        shared.iter().zip(moved).map(|(&i, n)| (slots[i].name.clone(), n)).collect();
    outputs.extend(memory);
    ports.finish("reduce", outputs)
}

/// A metric of every task at its own parameters, `[T]`.
pub(super) fn metric(
    arm: &Arm,
    family: &Family,
    metric: &Metric,
    tasks: usize,
    query: Part,
) -> Result<Program, LowerError> {
    let mut one = Task::new(arm, family, Part::default(), query);
    let params = one.params();
    let value = one.metric(metric, &params)?;
    let one = one.ports.finish("metric", vec![("value".into(), value)]);
    let mut ports = Ports::new();
    let values = ports.batch(&one, tasks, |i| !matches!(i, Input::World(_)));
    Ok(ports.finish("metric", vec![("values".into(), values[0])]))
}
