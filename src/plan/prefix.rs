//! The part of a prediction that never changes: what is computed from an example by frozen parameters alone gives the same in every step,
//! so it is computed once for every example and takes the place of its input.

use super::types::{Arm, Block, Evaluation, Objective, Slot, Train, What};
use crate::catalog::{Loss, Metric, Solver};
use crate::ir::{Builder, Function, NodeId, Op};

/// The variable of an example that a prefix reads.
const INPUT: &str = "x";

/// An arm whose model reads what a prefix makes of an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// From `x` and frozen parameters, by name, to values whose numbers, one behind the other, stand in the place of `x`.
    pub prefix: Function,
    /// The arm as it goes on from there.
    pub arm: Arm,
}

/// The arm with its frozen prefix taken out; none where it has none, where it is the smaller part of the prediction, or where
/// something else looks at the input of an example.
pub fn split(arm: &Arm) -> Option<Split> {
    let sources = || arm.families.iter().map(|family| family.source.as_ref());
    let reads = |f: &Function| f.inputs.iter().any(|port| port.name == INPUT);
    let forward = &arm.model.forward;
    let in_context = forward.inputs.iter().any(|port| port.name.starts_with("support_"));
    if sources().any(|source| source.is_none()) || in_context || !reads(forward) || others(arm).into_iter().any(reads) {
        return None;
    }
    if arm.evaluations.iter().any(|evaluation| evaluation.model.is_some()) {
        return None;
    }
    // Examples that change have no value that could be computed once.
    let turn = sources().flatten().any(|source| source.turns > 1);
    let mut changes = arm.trains().map(|train| &train.augment).chain(arm.evaluations.iter().map(|e| &e.augment));
    if turn || changes.any(|changes| !changes.is_empty()) {
        return None;
    }
    let (prefix, rest) = divide(forward, &frozen(arm))?;
    let whole = forward.cost().flops;
    if prefix.cost().flops < whole / 2 {
        return None;
    }
    let mut arm = arm.clone();
    let dims = [prefix.output_dims().map(|dims| dims.iter().product::<usize>()).sum()];
    for source in arm.families.iter_mut().filter_map(|family| family.source.as_mut()) {
        source.example = source.example.iter().map(|slot| changed(slot, &dims)).collect();
    }
    arm.model.forward = rest;
    Some(Split { prefix, arm })
}

fn changed(slot: &Slot, dims: &[usize]) -> Slot {
    let dims = if slot.name == INPUT { dims } else { &slot.dims };
    Slot { name: slot.name.clone(), dims: dims.to_vec() }
}

/// The parameters that keep the values they begin with through all stages and evaluations.
fn frozen(arm: &Arm) -> Vec<&str> {
    let trains: Vec<&Train> = arm.trains().collect();
    let blocks = trains.iter().flat_map(|train| &train.adapt);
    let blocks: Vec<&Block> = blocks.chain(arm.evaluations.iter().flat_map(|e| &e.adapt)).collect();
    let composed = |name: &String| arm.model.added.iter().any(|g| g.compose.outputs.iter().any(|p| p.name == *name));
    let moves = |name: &String| {
        blocks.iter().any(|block| block.on.contains(name))
            || trains.iter().any(|train| {
                train.keep.contains(name)
                    || train.reset.contains(name)
                    || train.retract.iter().any(|r| r.on.contains(name))
            })
    };
    let stays =
        |name: &&String| trains.iter().all(|train| train.freeze.contains(name)) && !moves(name) && !composed(name);
    arm.train.freeze.iter().filter(stays).map(String::as_str).collect()
}

/// The formulas of an arm that see an example beside its prediction.
fn others(arm: &Arm) -> Vec<&Function> {
    let mut found = Vec::new();
    for train in arm.trains() {
        formulas(&train.objective, &train.adapt, &mut found);
    }
    for Evaluation { objective, adapt, .. } in &arm.evaluations {
        formulas(objective, adapt, &mut found);
    }
    for measure in &arm.measures {
        if let What::Evaluation { metric: Metric::Loss { loss: Loss::Expression { function } }, .. } = &measure.what {
            found.push(function);
        }
    }
    for family in &arm.families {
        found.extend([&family.episode.function, &family.example.function]);
        found.extend(family.risk.as_ref());
    }
    found
}

fn formulas<'a>(objective: &'a Objective, adapt: &'a [Block], found: &mut Vec<&'a Function>) {
    if let Objective::Sample { loss: Loss::Expression { function }, .. } = objective {
        found.push(function);
    }
    for block in adapt {
        if let Solver::Mean { of, .. } = &block.solver {
            found.push(of);
        }
        if let Some(ahead) = &block.ahead {
            formulas(objective, &ahead.adapt, found);
        }
    }
}

/// A program in two: from the input and `frozen` parameters to some values, and from their numbers, in the place of the input, to the output.
/// None where no frozen parameter meets the input.
fn divide(f: &Function, frozen: &[&str]) -> Option<(Function, Function)> {
    let fixed = |name: &str| name == INPUT || frozen.contains(&name);
    // Of every node: whether it belongs to the prefix, and whether it depends on the input.
    let (mut within, mut reads) = (vec![false; f.nodes.len()], vec![false; f.nodes.len()]);
    let mut meets = false;
    for (i, node) in f.nodes.iter().enumerate() {
        match &node.op {
            Op::Input { index, .. } => {
                let name = f.inputs[*index].name.as_str();
                (within[i], reads[i]) = (fixed(name), name == INPUT);
            }
            // What others give decides it, too.
            Op::CaseMean => reads[i] = node.args.iter().any(|a| reads[a.index()]),
            _ => {
                within[i] = node.args.iter().all(|a| within[a.index()]);
                reads[i] = node.args.iter().any(|a| reads[a.index()]);
                let parameter = |a: &NodeId| within[a.index()] && !reads[a.index()] && !constant(f, *a);
                meets |= within[i] && reads[i] && node.args.iter().any(parameter);
            }
        }
    }
    let crossing = |i: usize| within[i] && reads[i];
    let mut frontier: Vec<bool> = vec![false; f.nodes.len()];
    for (_, node) in f.nodes.iter().enumerate().filter(|(i, _)| !crossing(*i)) {
        node.args.iter().filter(|a| crossing(a.index())).for_each(|a| frontier[a.index()] = true);
    }
    f.outputs.iter().filter(|port| crossing(port.node.index())).for_each(|port| frontier[port.node.index()] = true);
    // What only repeats or moves numbers is done again from those.
    for i in (0..f.nodes.len()).rev() {
        if frontier[i] && matches!(f.nodes[i].op, Op::Broadcast { .. } | Op::Reshape { .. } | Op::Permute { .. }) {
            frontier[i] = false;
            frontier[f.nodes[i].args[0].index()] = true;
        }
    }
    let kept: Vec<usize> = (0..f.nodes.len()).filter(|&i| frontier[i]).collect();
    (meets && !kept.is_empty()).then(|| (prefix(f, &kept, &fixed), rest(f, &kept)))
}

/// Whether a value is the same whatever the inputs are.
fn constant(f: &Function, node: NodeId) -> bool {
    let node = &f.nodes[node.index()];
    !matches!(node.op, Op::Input { .. }) && node.args.iter().all(|&a| constant(f, a))
}

fn size(f: &Function, node: usize) -> usize {
    f.nodes[node].dims.iter().product()
}

/// The program of the values `kept`.
fn prefix(f: &Function, kept: &[usize], fixed: &impl Fn(&str) -> bool) -> Function {
    let mut b = Builder::new();
    let mut values: Vec<Option<NodeId>> = vec![None; f.nodes.len()];
    for (i, node) in f.nodes.iter().enumerate() {
        let operands: Option<Vec<NodeId>> = node.args.iter().map(|a| values[a.index()]).collect();
        values[i] = match &node.op {
            Op::Input { index, dims } => {
                let name = &f.inputs[*index].name;
                fixed(name).then(|| b.input(name.clone(), dims))
            }
            Op::CaseMean => None,
            op => operands.map(|operands| b.apply(op.clone(), &operands)),
        };
    }
    let value = |&i: &usize| (format!("value{i}"), values[i].expect("it belongs to the prefix"));
    b.finish("prefix", kept.iter().map(value).collect())
}

/// The program behind the values `kept`, which it reads in place of the input.
fn rest(f: &Function, kept: &[usize]) -> Function {
    let mut b = Builder::new();
    let total: usize = kept.iter().map(|&i| size(f, i)).sum();
    let mut input = None;
    let mut values: Vec<Option<NodeId>> = vec![None; f.nodes.len()];
    for (i, node) in f.nodes.iter().enumerate() {
        if let Op::Input { index, dims } = &node.op {
            let name = &f.inputs[*index].name;
            let is_input = name == INPUT;
            let total = [total];
            let value = b.input(name.clone(), if is_input { &total } else { dims.as_slice() });
            (values[i], input) = if is_input { (None, Some(value)) } else { (Some(value), input) };
        }
    }
    let input = input.expect("the prediction reads the input");
    let mut before = 0;
    for &i in kept {
        let part = b.slice(input, 0, before, size(f, i));
        before += size(f, i);
        values[i] = Some(b.reshape(part, &f.nodes[i].dims));
    }
    for (i, node) in f.nodes.iter().enumerate() {
        let operands: Option<Vec<NodeId>> = node.args.iter().map(|a| values[a.index()]).collect();
        if values[i].is_none() && !(matches!(node.op, Op::Input { .. })) {
            values[i] = operands.map(|operands| b.apply(node.op.clone(), &operands));
        }
    }
    let outputs = f
        .outputs
        .iter()
        .map(|port| (port.name.clone(), values[port.node.index()].expect("it goes on from what is kept")));
    b.finish(f.name.clone(), outputs.collect())
}
