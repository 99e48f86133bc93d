//! The ledger under damage, crashes, crowds and hostile files, through its public interface.

#![allow(clippy::disallowed_methods, reason = "tests compare with the platform, and start processes")]
// A test may panic and speak; clippy knows that only of functions marked as tests, not of their helpers.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/bundles.rs"]
mod bundles;
mod compare;
mod damage;
mod evidence;
mod figures;
mod fixture;
mod garbage;
mod golden;
mod kept;
mod left_out;
mod memory;
mod power;
mod remote;
mod shelf;
mod store;
mod turns;
mod writers;
