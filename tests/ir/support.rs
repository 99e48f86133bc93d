//! Running programs, random tensors, comparison of results.

use metadsl::exec::reference::Reference;
use metadsl::exec::{Executor, Precision};
use metadsl::ir::{Builder, Function, NodeId, Tensor};

/// A small generator (splitmix64), so that test data depends on nothing else.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform on `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn tensor(&mut self, dims: &[usize], low: f64, high: f64) -> Tensor {
        let data = (0..dims.iter().product()).map(|_| self.uniform(low, high)).collect();
        Tensor::new(dims.to_vec(), data)
    }
}

/// Runs a program in one float type.
pub fn run_in(precision: Precision, f: &Function, args: &[Tensor]) -> Vec<Tensor> {
    let executor = Reference::new(precision);
    let kernel = executor.compile(f).expect("a built program is well formed");
    let args: Vec<_> = args.iter().map(|t| executor.upload(t).expect("uploads")).collect();
    let results = executor.run(&kernel, &args.iter().collect::<Vec<_>>()).expect("runs");
    results.iter().map(|v| executor.download(v).expect("downloads")).collect()
}

/// Runs a program in `f64`.
pub fn run(f: &Function, args: &[Tensor]) -> Vec<Tensor> {
    run_in(Precision::F64, f, args)
}

/// A program from a closure over its inputs; outputs are named by position.
pub fn program(inputs: &[&[usize]], body: impl FnOnce(&mut Builder, &[NodeId]) -> Vec<NodeId>) -> Function {
    let mut b = Builder::new();
    let nodes: Vec<NodeId> = inputs.iter().enumerate().map(|(i, d)| b.input(format!("x{i}"), d)).collect();
    let outputs = body(&mut b, &nodes);
    let named = outputs.into_iter().enumerate().map(|(i, n)| (format!("y{i}"), n)).collect();
    let f = b.finish("f", named);
    f.verify().expect("a built program is well formed");
    f
}

/// The bits of every element of every tensor; all NaNs count as one.
pub fn bits(tensors: &[Tensor]) -> Vec<(Vec<usize>, Vec<u64>)> {
    let bits = |x: &f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
    tensors.iter().map(|t| (t.dims().to_vec(), t.data().iter().map(bits).collect())).collect()
}

/// Fails where two tensors differ by more than `tolerance * (1 + |right|)` anywhere.
pub fn assert_close(left: &Tensor, right: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(left.dims(), right.dims(), "{what}");
    for (i, (l, r)) in left.data().iter().zip(right.data()).enumerate() {
        assert!((l - r).abs() <= tolerance * (1.0 + r.abs()), "{what}: entry {i} is {l}, should be {r}");
    }
}
