//! Reference executor.
