//! `replay --trace ops`: one unit in the last place, in one element of one operation at one step, is found and named.

#![allow(clippy::print_stdout, reason = "a test says what it counted")]

#[path = "common/compile.rs"]
mod compile;
#[path = "common/desk.rs"]
mod desk;
#[path = "common/shipped.rs"]
mod shipped;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use metadsl::exec::reference::{Array, Reference};
use metadsl::exec::shadow::{Shadow, Watch};
use metadsl::exec::{ExecError, Executor};
use metadsl::ir::{Function, Node, NodeId, Op, Port, Precision, Tensor};
use metadsl::plan::Arm;
use metadsl::train::{Cell, DataSets, Observer, TrainError, run_cell};

use compile::compile;

/// The reference evaluation, one operation at a time, with one fault: after so many steps, the first value of an operation
/// that is not zero is off by one unit in the last place.
struct Faulty<'a> {
    inner: Reference,
    op: &'static str,
    after: u64,
    made: &'a AtomicU64,
    struck: AtomicBool,
}

impl Faulty<'_> {
    fn evaluate(&self, node: &Node, args: &[&Array]) -> Result<Array, ExecError> {
        let mut nodes: Vec<Node> = Vec::new();
        for (index, arg) in args.iter().enumerate() {
            let dims = self.inner.download(arg)?.dims().to_vec();
            nodes.push(Node { op: Op::Input { index, dims: dims.clone() }, args: vec![], dims });
        }
        let port = |i: usize| Port { name: String::new(), node: NodeId::new(i) };
        let inputs = (0..args.len()).map(port).collect();
        nodes.push(Node { args: (0..args.len()).map(NodeId::new).collect(), ..node.clone() });
        let function = Function { name: String::new(), inputs, outputs: vec![port(args.len())], nodes };
        let mut values = self.inner.run(&self.inner.compile(&function)?, args)?;
        self.strike(node, values.remove(0))
    }

    fn strike(&self, node: &Node, value: Array) -> Result<Array, ExecError> {
        let due = node.op.name() == self.op && self.made.load(Ordering::Relaxed) == self.after;
        let mut tensor = self.inner.download(&value)?;
        let element = tensor.data().iter().position(|x| *x != 0.0 && x.is_finite());
        match element {
            Some(element) if due && !self.struck.swap(true, Ordering::Relaxed) => {
                let x = &mut tensor.data_mut()[element];
                *x = f64::from(f32::from_bits((*x as f32).to_bits() + 1));
                self.inner.upload(&tensor)
            }
            _ => Ok(value),
        }
    }
}

impl Executor for Faulty<'_> {
    type Value = Array;
    type Kernel = Function;

    fn name(&self) -> &'static str {
        "faulty"
    }
    fn precision(&self) -> Precision {
        self.inner.precision()
    }
    fn upload(&self, tensor: &Tensor) -> Result<Array, ExecError> {
        self.inner.upload(tensor)
    }
    fn download(&self, value: &Array) -> Result<Tensor, ExecError> {
        self.inner.download(value)
    }
    fn compile(&self, function: &Function) -> Result<Function, ExecError> {
        self.inner.compile(function).map(|_| function.clone())
    }
    fn run(&self, function: &Function, args: &[&Array]) -> Result<Vec<Array>, ExecError> {
        let mut values: Vec<Array> = Vec::new();
        for node in &function.nodes {
            let value = match node.op {
                Op::Input { index, .. } => args[index].clone(),
                _ => self.evaluate(node, &node.args.iter().map(|arg| &values[arg.index()]).collect::<Vec<_>>())?,
            };
            values.push(value);
        }
        Ok(function.outputs.iter().map(|port| values[port.node.index()].clone()).collect())
    }
}

/// Counts steps, and ends where something was found.
struct Steps<'a> {
    made: &'a AtomicU64,
    watch: &'a Watch,
}

impl Observer for Steps<'_> {
    fn stepped(&self, _: &str, _: u64, step: u64) {
        self.made.store(step, Ordering::Relaxed);
    }
    fn measured(&self, _: &str, _: u64, _: &str, _: u64, _: f64) {}
    fn cancelled(&self) -> bool {
        self.watch.found().is_some()
    }
}

/// Runs an arm with a fault; with `watch` begun, every operation is compared.
fn faulty(arm: &Arm, op: &'static str, after: u64, watch: &Watch) -> (Result<Cell, TrainError>, bool) {
    let made = AtomicU64::new(0);
    let reference = Reference::new(Precision::F32);
    let exec = Faulty { inner: reference, op, after, made: &made, struck: AtomicBool::new(false) };
    let observer = Steps { made: &made, watch };
    let cell = run_cell(&Shadow::new(&exec, &reference, watch), arm, 3, &DataSets::new(), &observer);
    (cell, exec.struck.load(Ordering::Relaxed))
}

#[test]
fn a_last_place_in_any_operation_at_any_step_is_located() {
    let plan = compile(&shipped::unclaimed("maml_anil"), &["train.steps = 4"]);
    let arm = plan.arms.iter().find(|arm| arm.name == "maml").expect("it has the arm");
    let (whole, _) = faulty(arm, "none", 0, &Watch::default());
    let whole = whole.expect("it runs");
    let clean = Watch::default();
    clean.begin();
    assert_eq!(faulty(arm, "none", 0, &clean).0.expect("it runs"), whole, "watching changes no bit");
    assert_eq!(clean.found(), None, "where nothing is wrong nothing is found");
    let (mut injected, mut changed) = (0, 0);
    for op in ["matmul", "mul", "add", "sub", "sum", "broadcast", "permute", "neg", "div"] {
        for after in 0..4 {
            let watch = Watch::default();
            watch.begin();
            let (cell, struck) = faulty(arm, op, after, &watch);
            if !struck {
                continue;
            }
            injected += 1;
            assert!(matches!(cell, Err(TrainError::Cancelled)) || after == 3, "it ends where something is found");
            let found = watch.found().expect("what was injected is found");
            assert_eq!((found.op, found.count), (op, 1), "{found}");
            let bits = |text: &str| u32::from_str_radix(text, 16).expect("bits");
            assert_eq!(bits(&found.bits), bits(&found.other) + 1, "{found}");
            // Not watched, the fault may change the run's result, which is what a replay would see first.
            let (cell, _) = faulty(arm, op, after, &Watch::default());
            changed += usize::from(cell.expect("it runs") != whole);
        }
    }
    println!("faults of one unit in the last place: {injected}, located: {injected}, results they changed: {changed}");
    assert!(injected > 12 && changed > 0, "{injected} {changed}");
}

#[cfg(feature = "dfdx")]
#[test]
fn across_executors_the_policy_is_stated_and_the_operation_named() {
    let desk = desk::Desk::new();
    let file = desk.write("small.meta", shipped::unclaimed("maml_anil"));
    let file = file.to_str().expect("UTF-8");
    let set = ["--set", "train.steps=20"];
    for (recorded, replayed) in [("exact", "dfdx"), ("dfdx", "exact"), ("exact", "reference")] {
        let run = desk.json(&[&["run", file, "--device", recorded, "--json"], &set[..]].concat());
        let run = run["run"].as_str().expect("a run");
        let output = desk.run(&["replay", run, "--device", replayed, "--trace", "ops"]);
        let text = desk::stdout(&output);
        assert_eq!(desk::code(&output), 10, "{text}{}", desk::stderr(&output));
        assert!(text.starts_with("within tolerance (absolute 1e-5, relative 1e-2): the largest relative"), "{text}");
        assert!(text.contains("operations of `") && text.contains(" against `"), "{text}");
        assert!(
            text.contains(" steps: `") && text.contains(" of the program `") && text.contains(" and not "),
            "{text}"
        );
        let same = desk.run(&["replay", run, "--trace", "ops"]);
        assert!(desk::stdout(&same).contains("no cell differs"), "{}", desk::stdout(&same));
        assert_eq!(desk::code(&same), 0);
    }
}
