//! metadsl: declarative experiments for meta-learning, federated learning and fine-tuning, with a ledger that
//! proves a replay. `ARCHITECTURE.md` is the map.

pub mod data;
pub mod diag;
pub mod exec;
pub mod hash;
pub mod ir;
pub mod numeric;
pub mod rng;
pub mod syntax;
