//! The tensor IR: gradients, vectorisation, simplification and verification, with the reference executor as oracle.

mod batch;
mod build;
mod derivatives;
mod generate;
mod gradient;
mod maml;
mod ops;
mod print;
mod reference;
mod support;
mod verify;
