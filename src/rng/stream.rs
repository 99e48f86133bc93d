//! Streams: an unending row of random numbers with a name.

use super::normal::{normal_quantile, normal_quantiles};
use super::philox::{philox4x32_10, philox4x32_10_of};
use crate::simd::{Avx2, Avx512, Path, Work};

/// Tells the blocks that name children from the blocks that are drawn from.
const CHILD: [u32; 2] = [0x6368_696C, 0x6472_656E];

/// An unending row of random numbers, addressed by seed and path; copying it is free.
///
/// Its identity is 128 bits: the Philox key and the upper half of the Philox counter. The lower half counts blocks,
/// each of which holds two draws, so a stream has 2^64 draws. Every method is a pure function of the stream and its
/// arguments; two methods called with the same counter see the same random bits, so a caller that needs independent
/// draws takes different counters or different children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    key: [u32; 2],
    nonce: [u32; 2],
}

impl Stream {
    /// The stream of a seed and a path; the same as [`Stream::child_str`] of each part in turn from the root.
    ///
    /// Parts are kept apart: `["a", "b"]`, `["a/b"]` and `["ab"]` are three streams.
    pub fn new(seed: u64, path: &[&str]) -> Stream {
        let root = Stream::from_hash(blake3::derive_key("metadsl 2026 stream root", &seed.to_le_bytes()));
        path.iter().fold(root, |stream, part| stream.child_str(part))
    }

    /// The child of that name, by one BLAKE3 hash of this stream's 16 bytes and the name.
    pub fn child_str(&self, name: &str) -> Stream {
        let mut hasher = blake3::Hasher::new_derive_key("metadsl 2026 stream child");
        for word in self.key.iter().chain(&self.nonce) {
            hasher.update(&word.to_le_bytes());
        }
        hasher.update(name.as_bytes());
        Stream::from_hash(*hasher.finalize().as_bytes())
    }

    /// The child of that number, by one Philox block; the children of one stream are all distinct. It is another
    /// stream than the child *named* by the digits of `index`.
    #[inline]
    pub fn child(&self, index: u64) -> Stream {
        let key = [self.key[0] ^ CHILD[0], self.key[1] ^ CHILD[1]];
        let [a, b, c, d] = philox4x32_10([index as u32, (index >> 32) as u32, self.nonce[0], self.nonce[1]], key);
        Stream { key: [a, b], nonce: [c, d] }
    }

    fn from_hash(hash: [u8; 32]) -> Stream {
        let word = |i: usize| u32::from_le_bytes([hash[i], hash[i + 1], hash[i + 2], hash[i + 3]]);
        Stream { key: [word(0), word(4)], nonce: [word(8), word(12)] }
    }

    /// The two 64-bit lanes of block `index`: the draws `2 * index` and `2 * index + 1`.
    #[inline]
    fn block(&self, index: u64) -> [u64; 2] {
        let counter = [index as u32, (index >> 32) as u32, self.nonce[0], self.nonce[1]];
        let [a, b, c, d] = philox4x32_10(counter, self.key);
        [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&self, counter: u64) -> u64 {
        self.block(counter / 2)[(counter % 2) as usize]
    }

    /// A uniform draw of [0, 1): a multiple of 2^-53.
    #[inline]
    pub fn uniform(&self, counter: u64) -> f64 {
        uniform(self.bits(counter))
    }

    /// A uniform draw of the open interval (0, 1), symmetric about 1/2: an odd multiple of 2^-53.
    #[inline]
    pub fn open_uniform(&self, counter: u64) -> f64 {
        open_uniform(self.bits(counter))
    }

    /// A standard normal draw: the normal quantile of [`Stream::open_uniform`]; within 8.21 of zero.
    #[inline]
    pub fn normal(&self, counter: u64) -> f64 {
        normal_quantile(self.open_uniform(counter))
    }

    /// An integer of `0..n`, biased by less than `n` in 2^64; 0 where `n` is 0.
    #[inline]
    pub fn below(&self, counter: u64, n: usize) -> usize {
        ((u128::from(self.bits(counter)) * n as u128) >> 64) as usize
    }

    /// Fills `out` with the uniform draws 0, 1, 2, ...
    pub fn fill_uniform(&self, out: &mut [f64]) {
        self.fill(out, Law::Uniform);
    }

    /// Fills `out` with the normal draws 0, 1, 2, ...
    pub fn fill_normal(&self, out: &mut [f64]) {
        self.fill(out, Law::Normal);
    }

    /// Fills `out` with the draws 0, 1, 2, ... of the open interval (0, 1).
    pub fn fill_open_uniform(&self, out: &mut [f64]) {
        self.fill(out, Law::OpenUniform);
    }

    fn fill(&self, out: &mut [f64], law: Law) {
        Path::detect().dispatch(Fill { stream: self, out, law });
    }
}

/// What becomes of random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Law {
    Uniform,
    OpenUniform,
    Normal,
}

/// Draws 0, 1, 2, ... of a stream.
struct Fill<'a> {
    stream: &'a Stream,
    out: &'a mut [f64],
    law: Law,
}

impl Fill<'_> {
    #[inline(always)]
    fn run(self) {
        let Fill { stream, out, law } = self;
        match law {
            Law::Uniform => stream.transformed(out, uniform),
            Law::OpenUniform => stream.transformed(out, open_uniform),
            Law::Normal => {
                stream.transformed(out, open_uniform);
                normal_quantiles(out);
            }
        }
    }
}

impl Work for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn portable(self) {
        self.run();
    }

    #[inline(always)]
    fn avx2(self, _has: Avx2) {
        self.run();
    }

    #[inline(always)]
    fn avx512(self, _has: Avx512) {
        self.run();
    }
}

/// How many blocks are made side by side.
const BLOCKS: usize = 16;

/// So few draws are made one block at a time.
const FEW: usize = 6;

impl Stream {
    /// A transform of the draws 0, 1, 2, ..., one block for every two of them.
    #[inline(always)]
    fn transformed(&self, out: &mut [f64], transform: impl Fn(u64) -> f64 + Copy) {
        let (whole, rest) = out.as_chunks_mut::<{ 2 * BLOCKS }>();
        for (number, draws) in whole.iter_mut().enumerate() {
            *draws = self.blocks(number, transform);
        }
        if rest.len() > FEW {
            let draws = self.blocks(whole.len(), transform);
            rest.copy_from_slice(&draws[..rest.len()]);
            return;
        }
        let first = whole.len() * BLOCKS;
        for (i, pair) in rest.chunks_mut(2).enumerate() {
            for (slot, bits) in pair.iter_mut().zip(self.block((first + i) as u64)) {
                *slot = transform(bits);
            }
        }
    }

    /// The draws of [`BLOCKS`] blocks, the `number`-th of such.
    #[inline(always)]
    fn blocks(&self, number: usize, transform: impl Fn(u64) -> f64) -> [f64; 2 * BLOCKS] {
        let index: [u64; BLOCKS] = std::array::from_fn(|i| (number * BLOCKS + i) as u64);
        let [low, high] = [index.map(|i| i as u32), index.map(|i| (i >> 32) as u32)];
        let counter = [low, high, [self.nonce[0]; BLOCKS], [self.nonce[1]; BLOCKS]];
        let [a, b, c, d] = philox4x32_10_of(counter, self.key);
        let mut draws = [0.0; 2 * BLOCKS];
        for i in 0..BLOCKS {
            draws[2 * i] = transform(u64::from(a[i]) | u64::from(b[i]) << 32);
            draws[2 * i + 1] = transform(u64::from(c[i]) | u64::from(d[i]) << 32);
        }
        draws
    }
}

/// The upper 52 bits as a fraction of 1: the number from 1 to 2 that has them behind the point, less 1.
#[inline(always)]
fn fraction(bits: u64) -> f64 {
    f64::from_bits(0x3FF0_0000_0000_0000 | bits >> 12) - 1.0
}

/// Half of 2^-52.
const HALF_CELL: f64 = 0.5 / (1u64 << 52) as f64;

/// The upper 53 bits as a fraction of 1.
#[inline(always)]
fn uniform(bits: u64) -> f64 {
    fraction(bits) + if bits & 1 << 11 == 0 { 0.0 } else { HALF_CELL }
}

/// The middles of 2^52 equal cells: 53 bits would round the last middle up to 1, whose normal quantile is infinite.
#[inline(always)]
fn open_uniform(bits: u64) -> f64 {
    fraction(bits) + HALF_CELL
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The largest distance between the empirical distribution of `draws` and the law `cdf`.
    fn kolmogorov_smirnov(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
        draws.sort_by(f64::total_cmp);
        let n = draws.len() as f64;
        let gap = |(i, &x): (usize, &f64)| (cdf(x) - i as f64 / n).max((i + 1) as f64 / n - cdf(x));
        draws.iter().enumerate().map(gap).fold(0.0, f64::max)
    }

    /// The distance that the right law passes with probability 0.999 (Kolmogorov's limit).
    fn critical(n: usize) -> f64 {
        1.95 / (n as f64).sqrt()
    }

    #[test]
    fn many_draws_are_the_single_ones_on_every_path() {
        let stream = Stream::new(7, &["many"]);
        for len in [0, 1, 5, 7, 31, 32, 33, 200, 100_003] {
            for path in Path::available() {
                let check = |law: Law, single: &dyn Fn(u64) -> f64| {
                    let mut out = vec![0.0; len];
                    path.dispatch(Fill { stream: &stream, out: &mut out, law });
                    let differs = (0..len).find(|&i| out[i].to_bits() != single(i as u64).to_bits());
                    assert_eq!(differs, None, "{law:?}, {len} on {}", path.name());
                };
                check(Law::Uniform, &|i| stream.uniform(i));
                check(Law::OpenUniform, &|i| stream.open_uniform(i));
                check(Law::Normal, &|i| stream.normal(i));
            }
        }
    }

    /// Recomputed by an independent program; a change here needs a new number in `GENERATOR`.
    #[test]
    fn golden_draws() {
        let s = Stream::new(17, &["tasks", "linear"]).child(3);
        assert_eq!(s, Stream { key: [4151011384, 2683255218], nonce: [854928529, 1395617334] });
        let uniform = [0.8979251179191357, 0.39770359327872185, 0.05234359599738647, 0.6703290534662393];
        let normal = [1.269817167189933, -0.2592955837763978, -1.6225427283055371, 0.4408219616358663];
        for (i, (u, z)) in uniform.into_iter().zip(normal).enumerate() {
            assert_eq!(s.uniform(i as u64), u);
            assert_eq!(s.normal(i as u64), z);
        }
    }

    #[test]
    fn fill_and_single_draws_agree() {
        let s = Stream::new(1, &["x"]);
        for n in 0..8 {
            let (mut u, mut z) = (vec![0.0; n], vec![0.0; n]);
            s.fill_uniform(&mut u);
            s.fill_normal(&mut z);
            for i in (0..n).rev() {
                assert_eq!(u[i].to_bits(), s.uniform(i as u64).to_bits());
                assert_eq!(z[i].to_bits(), s.normal(i as u64).to_bits());
            }
        }
    }

    #[test]
    fn paths_are_not_confused() {
        let streams = [
            Stream::new(0, &[]),
            Stream::new(1, &[]),
            Stream::new(0, &[""]),
            Stream::new(0, &["a", "b"]),
            Stream::new(0, &["a/b"]),
            Stream::new(0, &["ab"]),
            Stream::new(0, &["b", "a"]),
            Stream::new(0, &["a", "b", ""]),
            Stream::new(0, &["17"]),
            Stream::new(0, &[]).child(17),
            Stream::new(0, &["a"]).child(1).child(2),
            Stream::new(0, &["a"]).child(2).child(1),
            Stream::new(0, &["a"]).child(12),
        ];
        assert_eq!(streams.iter().collect::<HashSet<_>>().len(), streams.len());
        assert_eq!(Stream::new(0, &["a", "b"]), Stream::new(0, &["a"]).child_str("b"));
    }

    #[test]
    fn children_do_not_meet_each_other_or_their_parent() {
        let parent = Stream::new(5, &["tasks"]);
        let mut seen: HashSet<u64> = (0..2000).map(|i| parent.bits(i)).collect();
        let far = (0..1000).map(|i| i << 40);
        seen.extend((0..1000).chain(far.skip(1)).map(|i| parent.child(i).bits(0)));
        assert_eq!(seen.len(), 2000 + 1999);
    }

    #[test]
    fn uniform_law() {
        let mut draws = vec![0.0; 20_000];
        Stream::new(2, &["ks"]).fill_uniform(&mut draws);
        assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
        assert!(kolmogorov_smirnov(draws, |u| u) < critical(20_000));
    }

    #[test]
    fn normal_law_within_a_stream_and_across_children() {
        let phi = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let parent = Stream::new(3, &["ks"]);
        let mut within = vec![0.0; 20_000];
        parent.fill_normal(&mut within);
        let across: Vec<f64> = (0..20_000).map(|i| parent.child(i).normal(0)).collect();
        for draws in [within, across] {
            let n = draws.len() as f64;
            let moment = |k: i32| draws.iter().map(|x| x.powi(k)).sum::<f64>() / n;
            // Five standard errors of each moment.
            assert!(moment(1).abs() < 5.0 / n.sqrt());
            assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
            assert!(moment(3).abs() < 5.0 * (15.0 / n).sqrt());
            assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt());
            let lag = draws.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / n;
            assert!(lag.abs() < 5.0 / n.sqrt());
            assert!(kolmogorov_smirnov(draws, phi) < critical(20_000));
        }
    }

    #[test]
    fn extreme_bits_stay_finite() {
        assert_eq!(uniform(0), 0.0);
        assert!(uniform(u64::MAX) < 1.0);
        let (low, high) = (normal_quantile(open_uniform(0)), normal_quantile(open_uniform(u64::MAX)));
        assert!((-8.22..-8.2).contains(&low), "{low}");
        assert!((low + high).abs() < 1e-14);
    }

    #[test]
    fn below_is_even() {
        let s = Stream::new(4, &["below"]);
        let mut counts = [0.0; 7];
        (0..70_000).for_each(|i| counts[s.below(i, 7)] += 1.0);
        let chi2: f64 = counts.iter().map(|c: &f64| (c - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi2 < 22.5, "the 0.999 quantile of chi-squared with 6 degrees of freedom, found {chi2}");
        assert_eq!(s.below(0, 0), 0);
        assert_eq!(s.below(0, 1), 0);
    }
}
