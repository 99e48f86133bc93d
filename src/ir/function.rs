//! A finished tensor program.

use thiserror::Error;

use super::build::Builder;
use super::op::{Op, ShapeError};
use crate::hash::{Canonical, DecodeError, Value, record};

/// The number of a node within its program; operands always have smaller numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// The id of the `index`-th node.
    pub fn new(index: usize) -> NodeId {
        NodeId(u32::try_from(index).expect("a program has fewer than 2^32 nodes"))
    }

    /// The position in [`Function::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Canonical for NodeId {
    fn to_value(&self) -> Value {
        self.0.to_value()
    }
    fn from_value(value: &Value) -> Result<Self, DecodeError> {
        u32::from_value(value).map(NodeId)
    }
}

record! {
    /// One operation applied to earlier nodes.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Node {
        /// What is computed.
        pub op: Op,
        /// The operands.
        pub args: Vec<NodeId>,
        /// The shape of the result.
        pub dims: Vec<usize>,
    }
}

record! {
    /// A named input or output of a program.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Port {
        /// The name in printed programs.
        pub name: String,
        /// The node that reads the input or holds the output.
        pub node: NodeId,
    }
}

record! {
    /// A tensor program: inputs, nodes in an order of evaluation, outputs.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Function {
        /// The name in printed programs.
        pub name: String,
        /// The inputs; `inputs[i].node` is an [`Op::Input`] of index `i`.
        pub inputs: Vec<Port>,
        /// The nodes; operands come before their users.
        pub nodes: Vec<Node>,
        /// The outputs.
        pub outputs: Vec<Port>,
    }
}

/// Why a program is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// An operand is not an earlier node.
    #[error("node {node} uses node {arg}, which does not come before it")]
    Order {
        /// The user.
        node: usize,
        /// The operand.
        arg: usize,
    },
    /// A shape rule is broken.
    #[error("node {node}: {error}")]
    Shape {
        /// The node.
        node: usize,
        /// The broken rule.
        error: ShapeError,
    },
    /// The stored shape is not the one the operation has.
    #[error("node {node} says it has shape {stored:?} but has {found:?}")]
    Dims {
        /// The node.
        node: usize,
        /// The shape it claims.
        stored: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// Inputs are not numbered as listed, or a port names no node.
    #[error("port `{0}` does not name a fitting node")]
    Port(String),
}

impl Function {
    /// The shape of a node.
    pub fn dims(&self, node: NodeId) -> &[usize] {
        &self.nodes[node.index()].dims
    }

    /// The shapes of the inputs.
    pub fn input_dims(&self) -> impl Iterator<Item = &[usize]> {
        self.inputs.iter().map(|p| self.dims(p.node))
    }

    /// The shapes of the outputs.
    pub fn output_dims(&self) -> impl Iterator<Item = &[usize]> {
        self.outputs.iter().map(|p| self.dims(p.node))
    }

    /// For every node, the nodes whose values nobody reads after it has been computed: its own operands at their
    /// last use, and itself where it has no user at all. Outputs are never among them.
    pub fn releases(&self) -> Vec<Vec<NodeId>> {
        let mut last: Vec<usize> = (0..self.nodes.len()).collect();
        for (i, node) in self.nodes.iter().enumerate() {
            node.args.iter().for_each(|a| last[a.index()] = i);
        }
        self.outputs.iter().for_each(|p| last[p.node.index()] = usize::MAX);
        let mut releases = vec![vec![]; self.nodes.len()];
        for (i, &last) in last.iter().enumerate().filter(|(_, last)| **last != usize::MAX) {
            releases[last].push(NodeId::new(i));
        }
        releases
    }

    /// The program without those of its inputs that nothing reads and that need not stay.
    pub fn without_unread(self, stays: impl Fn(&str) -> bool) -> Function {
        let mut read = vec![false; self.nodes.len()];
        let operands = self.nodes.iter().flat_map(|node| &node.args);
        operands.chain(self.outputs.iter().map(|port| &port.node)).for_each(|node| read[node.index()] = true);
        if self.inputs.iter().all(|port| read[port.node.index()] || stays(&port.name)) {
            return self;
        }
        let mut b = Builder::new();
        let mut values: Vec<Option<NodeId>> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            values.push(match &node.op {
                Op::Input { index, dims } => {
                    let name = &self.inputs[*index].name;
                    (read[i] || stays(name)).then(|| b.input(name.clone(), dims))
                }
                op => {
                    let operands = node.args.iter().map(|a| values[a.index()].expect("it is read"));
                    let operands: Vec<NodeId> = operands.collect();
                    Some(b.apply(op.clone(), &operands))
                }
            });
        }
        let output = |port: &Port| (port.name.clone(), values[port.node.index()].expect("it is read"));
        b.finish(self.name.clone(), self.outputs.iter().map(output).collect())
    }

    /// Checks every invariant of a program, so that executors need not.
    pub fn verify(&self) -> Result<(), VerifyError> {
        for (i, node) in self.nodes.iter().enumerate() {
            if let Some(arg) = node.args.iter().find(|a| a.index() >= i) {
                return Err(VerifyError::Order { node: i, arg: arg.index() });
            }
            let operands: Vec<&[usize]> = node.args.iter().map(|&a| self.dims(a)).collect();
            let found = node.op.shape(&operands).map_err(|error| VerifyError::Shape { node: i, error })?;
            if found != node.dims {
                return Err(VerifyError::Dims { node: i, stored: node.dims.clone(), found });
            }
        }
        for (i, port) in self.inputs.iter().enumerate() {
            let fits = self
                .nodes
                .get(port.node.index())
                .is_some_and(|n| matches!(n.op, Op::Input { index, .. } if index == i));
            if !fits {
                return Err(VerifyError::Port(port.name.clone()));
            }
        }
        let listed = |i: usize, n: &Node| match n.op {
            Op::Input { index, .. } => self.inputs.get(index).is_some_and(|p| p.node.index() == i),
            _ => true,
        };
        if let Some((stray, _)) = self.nodes.iter().enumerate().find(|(i, n)| !listed(*i, n)) {
            return Err(VerifyError::Port(format!("node {stray}")));
        }
        match self.outputs.iter().find(|p| p.node.index() >= self.nodes.len()) {
            Some(port) => Err(VerifyError::Port(port.name.clone())),
            None => Ok(()),
        }
    }
}
