//! Two executors at once: every program runs on one, and value by value on another from the same arguments, until an
//! operation gives other bits. That operation is named.
//!
//! Programs run here with every node among their outputs and their values on the host, so this knows nothing of how an
//! executor works; and whatever was computed before, the operation that is named had operands of the same bits on both.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{ExecError, Executor, Precision};
use crate::ir::{Function, NodeId, Port, Tensor};

/// Any executor, by its programs as functions of host tensors.
pub trait Host: Send + Sync {
    /// The name of the executor class.
    fn name(&self) -> &'static str;
    /// The float type of every value.
    fn precision(&self) -> Precision;
    /// A tensor as the executor takes it in.
    fn round(&self, tensor: &Tensor) -> Result<Tensor, ExecError>;
    /// Verifies and compiles a program.
    fn prepare<'a>(&'a self, function: &Function) -> Result<Box<dyn Prepared + 'a>, ExecError>;
}

/// A compiled program as a function of host tensors.
pub trait Prepared: Send {
    /// Runs it on one tensor per input; gives one per output.
    fn evaluate(&self, args: &[&Tensor]) -> Result<Vec<Tensor>, ExecError>;
}

struct Ready<'a, E: Executor> {
    exec: &'a E,
    kernel: E::Kernel,
}

impl<E: Executor> Prepared for Ready<'_, E> {
    fn evaluate(&self, args: &[&Tensor]) -> Result<Vec<Tensor>, ExecError> {
        let args: Vec<E::Value> = args.iter().map(|arg| self.exec.upload(arg)).collect::<Result<_, _>>()?;
        let values = self.exec.run(&self.kernel, &args.iter().collect::<Vec<_>>())?;
        values.iter().map(|value| self.exec.download(value)).collect()
    }
}

impl<E: Executor> Host for E {
    fn name(&self) -> &'static str {
        Executor::name(self)
    }

    fn precision(&self) -> Precision {
        Executor::precision(self)
    }

    fn round(&self, tensor: &Tensor) -> Result<Tensor, ExecError> {
        self.download(&self.upload(tensor)?)
    }

    fn prepare<'a>(&'a self, function: &Function) -> Result<Box<dyn Prepared + 'a>, ExecError> {
        Ok(Box::new(Ready { exec: self, kernel: self.compile(function)? }))
    }
}

/// An operation that gave other bits on two executors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The program's name.
    pub program: String,
    /// The number of the node in the program, as `metadsl plan --programs` prints it.
    pub node: usize,
    /// The operation's name.
    pub op: &'static str,
    /// The shape of its value.
    pub dims: Vec<usize>,
    /// The first element that differs, counted in row-major order.
    pub element: usize,
    /// How many elements differ.
    pub count: usize,
    /// The element's bits on the first executor, hexadecimal.
    pub bits: String,
    /// The element's bits on the second.
    pub other: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { program, node, op, dims, element, count, bits, other } = self;
        write!(f, "`{op}` of {dims:?}, which is %{node} of the program `{program}`: ")?;
        write!(f, "element {element} is {bits} and not {other}")?;
        let all: usize = dims.iter().product();
        if *count > 1 { write!(f, "; {count} of {all} elements differ") } else { Ok(()) }
    }
}

/// Whether operations are compared, and what was found.
#[derive(Debug, Default)]
pub struct Watch {
    on: AtomicBool,
    found: Mutex<Option<Finding>>,
}

impl Watch {
    /// Compares from now on.
    pub fn begin(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// The first operation that differed.
    pub fn found(&self) -> Option<Finding> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn compares(&self) -> bool {
        self.on.load(Ordering::Relaxed) && self.found().is_none()
    }
}

/// An executor that another one watches. Its results are those of the first.
pub struct Shadow<'a> {
    exec: &'a dyn Host,
    other: &'a dyn Host,
    watch: &'a Watch,
}

impl<'a> Shadow<'a> {
    /// Runs on `exec`, and compares with `other`, which has the same float type, while `watch` says so.
    pub fn new(exec: &'a dyn Host, other: &'a dyn Host, watch: &'a Watch) -> Shadow<'a> {
        Shadow { exec, other, watch }
    }

    /// Notes the first node whose values differ.
    fn compare(&self, function: &Function, values: &[Tensor], others: &[Tensor]) {
        let precision = self.exec.precision();
        let bits = |x: f64| match precision {
            Precision::F32 => u64::from((x as f32).to_bits()),
            Precision::F64 => x.to_bits(),
        };
        let digits = |x: f64| match precision {
            Precision::F32 => format!("{:08x}", bits(x)),
            Precision::F64 => format!("{:016x}", bits(x)),
        };
        for (node, (left, right)) in values.iter().zip(others).enumerate() {
            let pairs = left.data().iter().zip(right.data());
            let mut apart = pairs.enumerate().filter(|(_, (a, b))| bits(**a) != bits(**b));
            let Some((element, (a, b))) = apart.next() else { continue };
            let found = Finding {
                program: function.name.clone(),
                node,
                op: function.nodes[node].op.name(),
                dims: left.dims().to_vec(),
                element,
                count: 1 + apart.count(),
                bits: digits(*a),
                other: digits(*b),
            };
            self.watch.found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
            break;
        }
    }
}

/// A program compiled for both: as it is, and with every node among its outputs.
pub struct Watched<'a> {
    function: Function,
    plain: Box<dyn Prepared + 'a>,
    open: Box<dyn Prepared + 'a>,
    other: Box<dyn Prepared + 'a>,
}

impl<'a> Executor for Shadow<'a> {
    type Value = Tensor;
    type Kernel = Watched<'a>;

    fn name(&self) -> &'static str {
        self.exec.name()
    }

    fn precision(&self) -> Precision {
        self.exec.precision()
    }

    fn upload(&self, tensor: &Tensor) -> Result<Tensor, ExecError> {
        self.exec.round(tensor)
    }

    fn download(&self, value: &Tensor) -> Result<Tensor, ExecError> {
        Ok(value.clone())
    }

    fn compile(&self, function: &Function) -> Result<Watched<'a>, ExecError> {
        let port = |i| Port { name: format!("%{i}"), node: NodeId::new(i) };
        let open = Function { outputs: (0..function.nodes.len()).map(port).collect(), ..function.clone() };
        Ok(Watched {
            function: function.clone(),
            plain: self.exec.prepare(function)?,
            open: self.exec.prepare(&open)?,
            other: self.other.prepare(&open)?,
        })
    }

    fn run(&self, kernel: &Watched<'a>, args: &[&Tensor]) -> Result<Vec<Tensor>, ExecError> {
        if !self.watch.compares() {
            return kernel.plain.evaluate(args);
        }
        let values = kernel.open.evaluate(args)?;
        self.compare(&kernel.function, &values, &kernel.other.evaluate(args)?);
        Ok(kernel.function.outputs.iter().map(|port| values[port.node.index()].clone()).collect())
    }
}
