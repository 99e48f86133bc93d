//! The programs that a plan is lowered to, and the training around them, against closed formulas: the files in
//! `tests/reference`, which share no code with this project, and identities derived in the tests themselves.

#![allow(clippy::disallowed_methods, reason = "tests compare with the platform, and start processes")]

#[path = "../common/compile.rs"]
mod compile;
#[path = "../common/compose.rs"]
mod compose;
#[path = "../common/run.rs"]
mod run;

mod added;
mod augment;
mod bert;
mod closed_form;
mod derivatives;
mod dropout;
mod federated;
mod frozen;
mod harness;
mod layers;
mod meta;
mod methods;
mod points;
mod solvers;
mod strata;
mod support;
mod updates;
mod weights;
mod worst;
