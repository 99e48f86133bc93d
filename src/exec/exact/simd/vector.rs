//! Vectors: the few instructions that are named and not left to the compiler.

use super::super::float::Float;

/// A vector of some lanes.
///
/// # Safety
/// The methods may only run on a processor that has the instructions, and pointers must be valid for the lanes they name.
pub trait Vector<T: Copy>: Copy {
    /// The number of lanes.
    const LANES: usize;
    /// The most vectors that a row of a tile has.
    const WIDTH: usize;
    /// The most rows that a tile of one, two and three vectors has: as many as there are registers for.
    const ROWS: [usize; 3];
    /// All lanes alike.
    unsafe fn splat(x: T) -> Self;
    /// The first `count` lanes from memory, 0 in the others.
    unsafe fn load(from: *const T, count: usize) -> Self;
    /// The lanes `first..end` from memory, 0 in the others; `from` is where lane 0 would lie, in that memory or not.
    unsafe fn load_between(from: *const T, first: usize, end: usize) -> Self;
    /// The first `count` lanes to memory.
    unsafe fn store(self, to: *mut T, count: usize);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self + a * b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;

    /// Writes eight rows of eight entries, `stride` apart, as eight columns: entry `[i][j]` goes to `to[j * pitch + i]`.
    #[inline(always)]
    unsafe fn turn(from: *const T, stride: usize, to: *mut T, pitch: usize) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller's pointers are valid for eight rows of eight.
                unsafe { *to.add(j * pitch + i) = *from.add(i * stride + j) };
            }
        }
    }
}

/// Lanes in an array: what the compiler makes of it.
#[derive(Clone, Copy)]
pub struct Lanes<T, const N: usize>([T; N]);

impl<T: Float, const N: usize> Vector<T> for Lanes<T, N> {
    const LANES: usize = N;
    const WIDTH: usize = 2;
    const ROWS: [usize; 3] = [4, 4, 0];

    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        Lanes([x; N])
    }

    #[inline(always)]
    unsafe fn load(from: *const T, count: usize) -> Self {
        let mut lanes = [T::ZERO; N];
        // SAFETY: the caller's pointer is valid for `count` elements, and `count` is at most `N`.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count) };
        Lanes(lanes)
    }

    #[inline(always)]
    unsafe fn load_between(from: *const T, first: usize, end: usize) -> Self {
        let mut lanes = [T::ZERO; N];
        for (l, to) in lanes.iter_mut().enumerate().take(end).skip(first) {
            // SAFETY: the caller's memory has the lanes between these.
            *to = unsafe { *from.wrapping_add(l) };
        }
        Lanes(lanes)
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let mut sum = self.0;
        sum.iter_mut().zip(&other.0).for_each(|(sum, &x)| *sum = sum.add(x));
        Lanes(sum)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut T, count: usize) {
        // SAFETY: as for `load`.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), to, count) };
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        let mut sum = self.0;
        sum.iter_mut().zip(a.0.iter().zip(&b.0)).for_each(|(sum, (&a, &b))| *sum = a.fma(b, *sum));
        Lanes(sum)
    }
}

/// The vectors of a float type on the paths.
pub trait Vectors: Float {
    /// 512 bits.
    type Wide: Vector<Self>;
    /// 256 bits.
    type Middle: Vector<Self>;
}

#[cfg(target_arch = "x86_64")]
impl Vectors for f32 {
    type Wide = std::arch::x86_64::__m512;
    type Middle = std::arch::x86_64::__m256;
}

#[cfg(target_arch = "x86_64")]
impl Vectors for f64 {
    type Wide = std::arch::x86_64::__m512d;
    type Middle = std::arch::x86_64::__m256d;
}

#[cfg(not(target_arch = "x86_64"))]
impl<T: Float> Vectors for T {
    type Wide = Lanes<T, 8>;
    type Middle = Lanes<T, 8>;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    impl Vector<f32> for __m512 {
        const LANES: usize = 16;
        const WIDTH: usize = 3;
        const ROWS: [usize; 3] = [8, 8, 8];
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32, count: usize) -> Self {
            // SAFETY: lanes beyond `count` are masked and not read.
            unsafe { if count == 16 { _mm512_loadu_ps(from) } else { _mm512_maskz_loadu_ps((1 << count) - 1, from) } }
        }
        #[inline(always)]
        unsafe fn load_between(from: *const f32, first: usize, end: usize) -> Self {
            // SAFETY: the other lanes are masked and not read.
            unsafe { _mm512_maskz_loadu_ps(((1_u32 << end) - (1 << first)) as u16, from) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, count: usize) {
            // SAFETY: lanes beyond `count` are masked and not written.
            unsafe {
                if count == 16 { _mm512_storeu_ps(to, self) } else { _mm512_mask_storeu_ps(to, (1 << count) - 1, self) }
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, pitch: usize) {
            // SAFETY: as the trait says; where there is AVX-512 or AVX2 there is AVX.
            unsafe { turn_f32(from, stride, to, pitch) }
        }
    }

    impl Vector<f64> for __m512d {
        const LANES: usize = 8;
        const WIDTH: usize = 3;
        const ROWS: [usize; 3] = [8, 8, 8];
        #[inline(always)]
        unsafe fn splat(x: f64) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm512_set1_pd(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f64, count: usize) -> Self {
            // SAFETY: lanes beyond `count` are masked and not read.
            unsafe { if count == 8 { _mm512_loadu_pd(from) } else { _mm512_maskz_loadu_pd((1 << count) - 1, from) } }
        }
        #[inline(always)]
        unsafe fn load_between(from: *const f64, first: usize, end: usize) -> Self {
            // SAFETY: the other lanes are masked and not read.
            unsafe { _mm512_maskz_loadu_pd(((1_u32 << end) - (1 << first)) as u8, from) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm512_add_pd(self, other) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64, count: usize) {
            // SAFETY: lanes beyond `count` are masked and not written.
            unsafe {
                if count == 8 { _mm512_storeu_pd(to, self) } else { _mm512_mask_storeu_pd(to, (1 << count) - 1, self) }
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm512_fmadd_pd(a, b, self) }
        }
        #[inline(always)]
        unsafe fn turn(from: *const f64, stride: usize, to: *mut f64, pitch: usize) {
            // SAFETY: as the trait says; where there is AVX-512 or AVX2 there is AVX.
            unsafe { turn_f64(from, stride, to, pitch) }
        }
    }

    /// `Vector::turn` by shuffles: pairs, then fours, then halves. Only so marked are its closures compiled for these instructions.
    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn turn_f32(from: *const f32, stride: usize, to: *mut f32, pitch: usize) {
        // SAFETY: the caller vouches for the pointers and the instructions.
        unsafe {
            let row = |i: usize| _mm256_loadu_ps(from.add(i * stride));
            let pairs = |i: usize| {
                let (a, b) = (row(i), row(i + 1));
                (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
            };
            let fours = |i: usize| {
                let ((a, b), (c, d)) = (pairs(i), pairs(i + 2));
                let (low, high) = (_mm256_shuffle_ps::<0x44>(a, c), _mm256_shuffle_ps::<0xEE>(a, c));
                [low, high, _mm256_shuffle_ps::<0x44>(b, d), _mm256_shuffle_ps::<0xEE>(b, d)]
            };
            let (top, bottom) = (fours(0), fours(4));
            for i in 0..4 {
                _mm256_storeu_ps(to.add(i * pitch), _mm256_permute2f128_ps::<0x20>(top[i], bottom[i]));
                _mm256_storeu_ps(to.add((i + 4) * pitch), _mm256_permute2f128_ps::<0x31>(top[i], bottom[i]));
            }
        }
    }

    /// `Vector::turn` by shuffles of squares of four: pairs, then halves.
    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn turn_f64(from: *const f64, stride: usize, to: *mut f64, pitch: usize) {
        // SAFETY: the caller vouches for the pointers and the instructions.
        unsafe {
            for (i, j) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
                let row = |l: usize| _mm256_loadu_pd(from.add((i + l) * stride + j));
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (ab, cd) = (
                    (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)),
                    (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d)),
                );
                let put = |l: usize, x: __m256d| _mm256_storeu_pd(to.add((j + l) * pitch + i), x);
                put(0, _mm256_permute2f128_pd::<0x20>(ab.0, cd.0));
                put(1, _mm256_permute2f128_pd::<0x20>(ab.1, cd.1));
                put(2, _mm256_permute2f128_pd::<0x31>(ab.0, cd.0));
                put(3, _mm256_permute2f128_pd::<0x31>(ab.1, cd.1));
            }
        }
    }

    /// The mask of the first `count` of eight 32-bit lanes.
    #[inline(always)]
    unsafe fn mask32(count: usize) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    /// The mask of the first `count` of four 64-bit lanes.
    #[inline(always)]
    unsafe fn mask64(count: usize) -> __m256i {
        // SAFETY: the caller has the instructions.
        unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
    }

    impl Vector<f32> for __m256 {
        const LANES: usize = 8;
        const WIDTH: usize = 2;
        const ROWS: [usize; 3] = [8, 6, 0];
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32, count: usize) -> Self {
            // SAFETY: lanes beyond `count` are masked and not read.
            unsafe { if count == 8 { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, mask32(count)) } }
        }
        #[inline(always)]
        unsafe fn load_between(from: *const f32, first: usize, end: usize) -> Self {
            // SAFETY: the other lanes are masked and not read.
            unsafe { _mm256_maskload_ps(from, _mm256_andnot_si256(mask32(first), mask32(end))) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, count: usize) {
            // SAFETY: lanes beyond `count` are masked and not written.
            unsafe {
                if count == 8 { _mm256_storeu_ps(to, self) } else { _mm256_maskstore_ps(to, mask32(count), self) }
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn turn(from: *const f32, stride: usize, to: *mut f32, pitch: usize) {
            // SAFETY: as the trait says; where there is AVX-512 or AVX2 there is AVX.
            unsafe { turn_f32(from, stride, to, pitch) }
        }
    }

    impl Vector<f64> for __m256d {
        const LANES: usize = 4;
        const WIDTH: usize = 2;
        const ROWS: [usize; 3] = [8, 6, 0];
        #[inline(always)]
        unsafe fn splat(x: f64) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm256_set1_pd(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f64, count: usize) -> Self {
            // SAFETY: lanes beyond `count` are masked and not read.
            unsafe { if count == 4 { _mm256_loadu_pd(from) } else { _mm256_maskload_pd(from, mask64(count)) } }
        }
        #[inline(always)]
        unsafe fn load_between(from: *const f64, first: usize, end: usize) -> Self {
            // SAFETY: the other lanes are masked and not read.
            unsafe { _mm256_maskload_pd(from, _mm256_andnot_si256(mask64(first), mask64(end))) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm256_add_pd(self, other) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64, count: usize) {
            // SAFETY: lanes beyond `count` are masked and not written.
            unsafe {
                if count == 4 { _mm256_storeu_pd(to, self) } else { _mm256_maskstore_pd(to, mask64(count), self) }
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller has the instructions.
            unsafe { _mm256_fmadd_pd(a, b, self) }
        }
        #[inline(always)]
        unsafe fn turn(from: *const f64, stride: usize, to: *mut f64, pitch: usize) {
            // SAFETY: as the trait says; where there is AVX-512 or AVX2 there is AVX.
            unsafe { turn_f64(from, stride, to, pitch) }
        }
    }
}
