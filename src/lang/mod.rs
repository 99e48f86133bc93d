//! From syntax tree to plan: names, dims, overrides, arms, seeds, claims. Everything is checked here, before the
//! first step runs; nothing is executed.

mod arm;
mod calls;
mod claims;
mod constant;
mod experiment;
mod measures;
mod overrides;
mod sections;
mod tasks;
mod tensor;

pub use experiment::{Compiled, DataFile, compile};
