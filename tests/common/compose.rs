//! Added groups in a program that takes the parameters of a model one by one.

use metadsl::ir::{Builder, NodeId};
use metadsl::plan::Model;

/// Puts what added groups make of parameters in their places; `place` says where a parameter of that name stands.
pub fn compose(b: &mut Builder, model: &Model, place: impl Fn(&str) -> Option<usize>, params: &mut [NodeId]) {
    let place = |name: &str| place(name).expect("a parameter");
    for group in &model.added {
        let args: Vec<NodeId> = group.compose.inputs.iter().map(|p| params[place(&p.name)]).collect();
        for (port, node) in group.compose.outputs.iter().zip(b.inline(&group.compose, &args)) {
            params[place(&port.name)] = node;
        }
    }
}
