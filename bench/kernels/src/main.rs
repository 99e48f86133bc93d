//! Times kernels of the exact executor, and matrix products of the gemm crate, turn by turn on one thread; prints one JSON object a line.

use std::time::Instant;

use metadsl::catalog::operator::{self, Windows};
use metadsl::exec::Executor;
use metadsl::exec::exact::{Exact, Path};
use metadsl::ir::{Builder, NodeId, Tensor, Unary, batch, grad};

/// How often each side is timed; the median counts.
const TURNS: usize = 15;
/// The entries of elementwise work.
const MANY: usize = 1 << 20;
/// What a convolution works on.
const IMAGES: usize = 32;
const IMAGE: (&str, &[usize]) = ("x", &[64, 14, 14]);
const KERNEL: (&str, &[usize]) = ("kernel", &[64, 64, 3, 3]);
const SHIFT: (&str, &[usize]) = ("shift", &[64]);

/// A program of inputs with these dims, compiled.
struct Ready {
    exec: Exact<f32>,
    kernel: <Exact<f32> as Executor>::Kernel,
    args: Vec<<Exact<f32> as Executor>::Value>,
}

impl Ready {
    fn new(path: Path, inputs: &[&[usize]], body: impl FnOnce(&mut Builder, &[NodeId]) -> NodeId) -> Ready {
        Ready::of_several(path, inputs, |b, x| vec![body(b, x)])
    }

    fn of_several(path: Path, inputs: &[&[usize]], body: impl FnOnce(&mut Builder, &[NodeId]) -> Vec<NodeId>) -> Ready {
        let exec = Exact::<f32>::new(path);
        let mut b = Builder::new();
        let nodes: Vec<NodeId> = inputs.iter().enumerate().map(|(i, dims)| b.input(format!("x{i}"), dims)).collect();
        let outputs = body(&mut b, &nodes).into_iter().enumerate().map(|(i, y)| (format!("y{i}"), y)).collect();
        let kernel = exec.compile(&b.finish("kernel", outputs)).expect("the program is sound");
        let number = |i: usize| (i * 7919 % 1009) as f64 / 504.0 - 1.0;
        let tensor = |dims: &[usize]| Tensor::new(dims.to_vec(), (0..dims.iter().product()).map(number).collect());
        let args = inputs.iter().map(|dims| exec.upload(&tensor(dims)).expect("there is room")).collect();
        Ready { exec, kernel, args }
    }

    fn run(&self, results: &mut Vec<<Exact<f32> as Executor>::Value>) {
        let args: Vec<_> = self.args.iter().collect();
        self.exec.run_into(&self.kernel, &args, results).expect("the arguments fit");
    }
}

/// The seconds of one call, over as many as take a few milliseconds.
fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let mut count = 1;
    loop {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed > 4e-3 {
            return elapsed / count as f64;
        }
        count *= 2;
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn products(path: Path) {
    for n in [64, 128, 256, 512, 1024] {
        let ours = Ready::new(path, &[&[n, n], &[n, n]], |b, x| b.matmul(x[0], x[1], false, false));
        let (a, c) = (vec![0.5f32; n * n], vec![0.25f32; n * n]);
        let mut out = vec![0f32; n * n];
        let mut results = Vec::new();
        let (mut exact, mut gemm) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            exact.push(seconds(|| ours.run(&mut results)));
            gemm.push(seconds(|| {
                let rows = n as isize;
                // SAFETY: the three matrices have `n * n` entries, row by row.
                unsafe {
                    gemm::gemm(
                        n,
                        n,
                        n,
                        out.as_mut_ptr(),
                        1,
                        rows,
                        false,
                        a.as_ptr(),
                        1,
                        rows,
                        c.as_ptr(),
                        1,
                        rows,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            }));
        }
        let rate = |times| 2.0 * (n * n * n) as f64 / median(times) / 1e9;
        let (exact, gemm) = (rate(exact), rate(gemm));
        println!("{{\"work\": \"matmul {n}\", \"unit\": \"GFLOP/s\", \"exact\": {exact:.1}, \"gemm\": {gemm:.1}}}");
    }
}

fn elementwise(path: Path) {
    let many: &[usize] = &[MANY];
    let rows: &[usize] = &[MANY / 64, 64];
    let relu = |b: &mut Builder, x: &[NodeId]| {
        let zero = b.full(0.0, &[MANY]);
        b.binary(metadsl::ir::Binary::Max, x[0], zero)
    };
    let softmax = |b: &mut Builder, x: &[NodeId]| operator::softmax(b, x[0]);
    let work: [(&str, Ready); 6] = [
        ("exp", Ready::new(path, &[many], |b, x| b.unary(Unary::Exp, x[0]))),
        ("tanh", Ready::new(path, &[many], |b, x| b.unary(Unary::Tanh, x[0]))),
        ("softmax", Ready::new(path, &[rows], softmax)),
        ("add", Ready::new(path, &[many, many], |b, x| b.add(x[0], x[1]))),
        ("relu", Ready::new(path, &[many], relu)),
        ("sum", Ready::new(path, &[many], |b, x| b.sum(x[0], 0))),
    ];
    let mut results = Vec::new();
    for (name, ready) in &work {
        let times = (0..TURNS).map(|_| seconds(|| ready.run(&mut results))).collect();
        println!("{{\"work\": \"{name} of 1 M\", \"unit\": \"us\", \"exact\": {:.1}}}", 1e6 * median(times));
    }
}

/// 32 images of 64 channels and 14 x 14 entries under 64 filters of 3 x 3: the result, and with `backward` the gradients of images, filters
/// and shifts as well.
fn convolution(b: &mut Builder, x: &[NodeId], backward: bool) -> Vec<NodeId> {
    let mut one = Builder::new();
    let [image, kernel, shift] = [IMAGE, KERNEL, SHIFT].map(|(name, dims)| one.input(name, dims));
    let window = Windows { size: 3, stride: 1, dilation: 1, padding: 1 };
    let map = operator::conv(&mut one, image, kernel, &[window; 2], 1);
    let wide = IMAGE.1[1..].iter().rev().fold(shift, |wide, &count| one.broadcast(wide, 1, count));
    let map = one.add(map, wide);
    let one = one.finish("conv", vec![("y".to_owned(), map)]);
    let y = batch(b, &one, &x[..3], &[true, false, false], IMAGES)[0];
    if !backward {
        return vec![y];
    }
    let seen = b.mul(y, x[3]);
    let total = b.sum_all(seen);
    [vec![y], grad(b, total, &x[..3])].concat()
}

fn convolutions(path: Path) {
    let images = [&[IMAGES], IMAGE.1].concat();
    let inputs: [&[usize]; 4] = [&images, KERNEL.1, SHIFT.1, &images];
    let mut results = Vec::new();
    for (name, backward) in [("conv", false), ("conv with gradients", true)] {
        let used = if backward { 4 } else { 3 };
        let ready = Ready::of_several(path, &inputs[..used], |b, x| convolution(b, x, backward));
        let times = (0..TURNS).map(|_| seconds(|| ready.run(&mut results))).collect();
        println!("{{\"work\": \"{name}\", \"unit\": \"us\", \"exact\": {:.1}}}", 1e6 * median(times));
    }
}

fn main() {
    let path = std::env::var("METADSL_CPU").ok().map_or_else(Path::detect, |name| name.parse().expect("a known path"));
    let one = std::env::args().nth(1);
    let wanted = |what: &str| one.as_deref().is_none_or(|one| one == what);
    if wanted("products") {
        products(path);
    }
    if wanted("elementwise") {
        elementwise(path);
    }
    if wanted("convolutions") {
        convolutions(path);
    }
}
