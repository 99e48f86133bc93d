//! Vectorisation.
use super::{Builder, Function, NodeId};
/// Inlines `f` applied to `size` cases at once. Arguments with `mapped[i]` carry a leading axis of `size`, the others are shared by all cases; every output has a leading axis of `size`.
pub fn batch(_b: &mut Builder, _f: &Function, _args: &[NodeId], _mapped: &[bool], _size: usize) -> Vec<NodeId> { panic!("placeholder") }
