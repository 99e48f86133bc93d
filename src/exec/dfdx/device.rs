//! What the executor needs to know of an element type and of a dfdx device.

use dfdx::prelude::*;

use crate::exec::Precision;

/// A float type that tensors can hold.
pub trait Element: Dtype {
    /// Its name in a run's identity.
    const PRECISION: Precision;
    /// The largest power of two; its square times the smallest positive number is above 1.
    const STRETCH: Self;

    /// The nearest value.
    fn round_from(value: f64) -> Self;

    /// The same value, exactly.
    fn widen(self) -> f64;
}

impl Element for f32 {
    const PRECISION: Precision = Precision::F32;
    const STRETCH: f32 = f32::from_bits(0x7f00_0000);

    fn round_from(value: f64) -> f32 {
        value as f32
    }
    fn widen(self) -> f64 {
        self.into()
    }
}

impl Element for f64 {
    const PRECISION: Precision = Precision::F64;
    const STRETCH: f64 = f64::from_bits(0x7fe0_0000_0000_0000);

    fn round_from(value: f64) -> f64 {
        value
    }
    fn widen(self) -> f64 {
        self
    }
}

/// A dfdx device, with the properties that decide which of dfdx's ways to compute the same thing is taken.
pub trait Backend<E: Element>: Device<E> {
    /// The name of the executor class.
    const NAME: &'static str;
    /// Whether dfdx's own `sum` adds in an order that never changes. Matrix products always do.
    const ORDERED_SUM: bool;
    /// Whether copies along strides are to be taken as they are. Otherwise a broadcast may be an outer product
    /// with ones, which must then keep every bit, the sign of zero included.
    const FAST_STRIDES: bool;
    /// Whether `clamp` leaves NaN as it is.
    const CLAMP_KEEPS_NAN: bool;
}

/// On the CPU dfdx computes a strided index per element (about 1.4 ns), while its `gemm` runs over contiguous
/// memory (about 0.15 ns) and takes an inner axis of one entry as a plain product, without adding it to +0.
impl<E: Element> Backend<E> for Cpu
where
    Cpu: Device<E>,
{
    const NAME: &'static str = "dfdx-cpu";
    const ORDERED_SUM: bool = true;
    const FAST_STRIDES: bool = false;
    const CLAMP_KEEPS_NAN: bool = true;
}

/// On a GPU dfdx sums with atomics, in an order that changes from run to run, and cuBLAS adds to +0.
#[cfg(feature = "cuda")]
impl<E: Element> Backend<E> for Cuda
where
    Cuda: Device<E>,
{
    const NAME: &'static str = "dfdx-cuda";
    const ORDERED_SUM: bool = false;
    const FAST_STRIDES: bool = true;
    const CLAMP_KEEPS_NAN: bool = false;
}
