//! Randomness by address: a draw is a pure function of (seed, stream path, counter), never of the order of execution.
//!
//! So all arms of an experiment see the same tasks, another measurement changes no number, and no result depends on
//! batch size, thread count or a resume. The generator is Philox4x32-10; every transform is plain f64 arithmetic and
//! [`libm`], hence the same bits on every machine.

pub mod law;
mod normal;
mod philox;
mod pick;
mod stream;

pub use normal::normal_quantile;
pub use stream::Stream;

/// The generator and the version of its transforms; any change of a drawn bit raises the number.
pub const GENERATOR: &str = "philox4x32-10/1";
