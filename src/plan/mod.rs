//! The plan, and its lowering to tensor programs.
//!
//! [`Plan`] says what will happen, without text or spans; it is what is hashed, stored and replayed. [`lower`]
//! turns each arm into the programs that training runs; nothing there depends on where the plan came from.

pub mod adapter;
mod claim;
pub mod lower;
pub mod prefix;
pub mod print;
mod types;
mod verify;

pub use claim::Verdict;
pub use types::*;
pub use verify::PlanError;
pub(crate) use verify::{means, named_rows, rates_fit};
