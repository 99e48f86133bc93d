//! The tensor program: pure SSA over dense tensors of one float type, with every shape known.
//!
//! A [`Function`] is built through a [`Builder`], transformed by [`grad`] (gradient, closed under itself) and
//! [`batch`] (vmap), checked by [`verify`](Function::verify), and handed to an executor. Nothing here knows the
//! language, files or devices.

mod batch;
mod build;
mod cost;
mod function;
mod grad;
mod op;
mod print;
mod tensor;

pub use batch::{batch, batch_some, largest};
pub use build::Builder;
pub use cost::Cost;
pub use function::{Function, Node, NodeId, Port, VerifyError};
pub use grad::{grad, gradient};
pub use op::{Binary, Compare, MAX_ELEMENTS, Op, Real, Reduce, ShapeError, Unary};
pub use tensor::{Precision, Tensor};
