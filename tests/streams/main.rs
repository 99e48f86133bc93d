//! Random numbers are addressed and not consumed: what an arm draws depends on its seed and on what is drawn, never
//! on what else is run or measured, on threads or on the executor.

#[path = "../common/compile.rs"]
mod compile;
#[path = "../common/run.rs"]
mod run;
#[path = "../common/shipped.rs"]
mod shipped;

mod divergence;
mod draws;
mod executors;
mod neighbours;
mod short;
