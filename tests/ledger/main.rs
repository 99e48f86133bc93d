//! The ledger under damage, crashes, crowds and hostile files, through its public interface.

mod compare;
mod damage;
mod fixture;
mod golden;
mod store;
mod writers;
