//! From syntax tree to plan: names, dims, overrides, arms, seeds, claims. Everything is checked here, before the
//! first step runs; nothing is executed.

mod adaptation;
mod added;
mod algebra;
mod arm;
mod augment;
mod calls;
mod chosen;
mod claims;
mod constant;
mod dims;
mod directory;
mod draws;
mod duplicates;
mod evaluate;
mod experiment;
mod family;
mod feasible;
mod fields;
mod function;
mod imports;
mod layers;
mod lints;
mod measures;
mod methods;
mod model;
mod objective;
mod operators;
mod overrides;
mod parameters;
mod points;
mod prompt;
mod renamed;
mod rewrite;
mod sampler;
mod seen;
mod series;
mod source;
mod sweep;
mod train;
mod writer;

pub use arm::DataFile;
pub use experiment::{Compiled, compile};
pub use imports::{Source, Texts, frozen_hash, import};
pub use parameters::{Parameter, parameters};
