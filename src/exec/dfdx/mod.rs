//! dfdx executor.
