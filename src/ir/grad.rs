//! The gradient.
use super::{Builder, NodeId};
/// Adds the gradient of the scalar `y` with respect to each node of `wrt` (any nodes); zeros where `y` does not depend on it.
pub fn grad(_b: &mut Builder, _y: NodeId, _wrt: &[NodeId]) -> Vec<NodeId> { panic!("placeholder") }
