//! metadsl: declarative experiments for meta-learning, federated learning and fine-tuning, with a ledger that
//! proves a replay. `ARCHITECTURE.md` is the map.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests compare with the platform's functions"))]

pub mod catalog;
pub mod cli;
pub mod data;
pub mod diag;
pub mod exec;
pub mod hash;
pub mod ir;
pub mod lang;
pub mod ledger;
pub mod numeric;
pub mod plan;
pub mod query;
pub mod report;
pub mod rng;
pub mod simd;
pub mod syntax;
pub mod train;
