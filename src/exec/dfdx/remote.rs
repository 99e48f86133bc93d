//! A dfdx executor on a thread of its own, for devices whose handles must stay on one thread, as those of CUDA.
//!
//! Values and kernels stay with that thread; what callers hold are their numbers. Dropping the last handle of one
//! frees it, dropping all handles and the executor ends the thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::device::{Backend, Element};
use super::{Dfdx, Kernel, Value};
use crate::exec::{ExecError, Executor, Precision};
use crate::ir::{Function, Tensor};

/// An executor whose device lives on another thread.
pub struct Remote<E: Element, D: Backend<E>> {
    jobs: Sender<Job<E, D>>,
}

type Job<E, D> = Box<dyn FnOnce(&mut Store<E, D>) + Send>;

/// What the thread keeps.
struct Store<E: Element, D: Backend<E>> {
    executor: Dfdx<E, D>,
    values: BTreeMap<u64, Value<E, D>>,
    kernels: BTreeMap<u64, Kernel<E, D>>,
}

/// The number of a value or kernel that the thread keeps.
pub struct Handle<E: Element, D: Backend<E>> {
    id: u64,
    jobs: Sender<Job<E, D>>,
    free: fn(&mut Store<E, D>, u64),
}

impl<E: Element, D: Backend<E>> Drop for Handle<E, D> {
    fn drop(&mut self) {
        let (id, free) = (self.id, self.free);
        // Where the thread has ended there is nothing left to free.
        let _ = self.jobs.send(Box::new(move |store| free(store, id)));
    }
}

/// A tensor on the thread's device; cloning shares it.
pub struct RemoteValue<E: Element, D: Backend<E>>(Arc<Handle<E, D>>);

impl<E: Element, D: Backend<E>> Clone for RemoteValue<E, D> {
    fn clone(&self) -> Self {
        RemoteValue(self.0.clone())
    }
}

impl<E: Element, D: Backend<E>> Store<E, D> {
    fn keep(&mut self, value: Value<E, D>) -> u64 {
        let id = number();
        self.values.insert(id, value);
        id
    }

    fn value(&self, id: u64) -> Result<&Value<E, D>, ExecError> {
        self.values.get(&id).ok_or_else(|| foreign("value"))
    }

    fn run(&mut self, kernel: u64, args: &[u64]) -> Result<Vec<u64>, ExecError> {
        let kernel = self.kernels.get(&kernel).ok_or_else(|| foreign("kernel"))?;
        let args = args.iter().map(|&id| self.value(id)).collect::<Result<Vec<_>, _>>()?;
        let outputs = self.executor.run_kernel(kernel, &args)?;
        Ok(outputs.into_iter().map(|value| self.keep(value)).collect())
    }
}

/// A number that no other value or kernel has, on any thread.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn foreign(what: &'static str) -> ExecError {
    ExecError::Device { op: what, reason: "it belongs to another executor".into() }
}

impl<E: Element, D: Backend<E>> Remote<E, D> {
    /// Starts the thread; `open` runs there and gives the executor.
    pub fn start(open: impl FnOnce() -> Result<Dfdx<E, D>, ExecError> + Send + 'static) -> Result<Self, ExecError> {
        let (jobs, queue) = channel::<Job<E, D>>();
        let (opened, opening) = channel();
        std::thread::spawn(move || {
            let executor = match open() {
                Ok(executor) => executor,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let mut store = Store { executor, values: BTreeMap::new(), kernels: BTreeMap::new() };
            drop(opened.send(Ok(())));
            queue.into_iter().for_each(|job| job(&mut store));
        });
        opening.recv().map_err(|_| gone("open"))??;
        Ok(Remote { jobs })
    }

    /// Runs `job` on the thread and waits for its result.
    fn call<R: Send + 'static>(
        &self,
        op: &'static str,
        job: impl FnOnce(&mut Store<E, D>) -> Result<R, ExecError> + Send + 'static,
    ) -> Result<R, ExecError> {
        let (done, result) = channel();
        let job: Job<E, D> = Box::new(move |store| drop(done.send(job(store))));
        self.jobs.send(job).map_err(|_| gone(op))?;
        result.recv().map_err(|_| gone(op))?
    }

    fn value(&self, id: u64) -> RemoteValue<E, D> {
        let free = |store: &mut Store<E, D>, id| drop(store.values.remove(&id));
        RemoteValue(Arc::new(Handle { id, jobs: self.jobs.clone(), free }))
    }
}

fn gone(op: &'static str) -> ExecError {
    ExecError::Device { op, reason: "the device's thread has ended after an earlier failure".into() }
}

impl<E: Element, D: Backend<E>> Executor for Remote<E, D> {
    type Value = RemoteValue<E, D>;
    type Kernel = Handle<E, D>;

    fn name(&self) -> &'static str {
        D::NAME
    }

    fn precision(&self) -> Precision {
        E::PRECISION
    }

    fn upload(&self, tensor: &Tensor) -> Result<Self::Value, ExecError> {
        let tensor = tensor.clone();
        let id = self.call("upload", move |store| {
            let value = store.executor.upload_tensor(&tensor)?;
            Ok(store.keep(value))
        })?;
        Ok(self.value(id))
    }

    fn download(&self, value: &Self::Value) -> Result<Tensor, ExecError> {
        let id = value.0.id;
        self.call("download", move |store| Ok(store.value(id)?.to_host()))
    }

    fn compile(&self, function: &Function) -> Result<Self::Kernel, ExecError> {
        let function = function.clone();
        let id = self.call("compile", move |store| {
            let kernel = store.executor.compile_function(&function)?;
            let id = number();
            store.kernels.insert(id, kernel);
            Ok(id)
        })?;
        let free = |store: &mut Store<E, D>, id| drop(store.kernels.remove(&id));
        Ok(Handle { id, jobs: self.jobs.clone(), free })
    }

    fn run(&self, kernel: &Self::Kernel, args: &[&Self::Value]) -> Result<Vec<Self::Value>, ExecError> {
        let (kernel, args) = (kernel.id, args.iter().map(|value| value.0.id).collect::<Vec<u64>>());
        let outputs = self.call("run", move |store| store.run(kernel, &args))?;
        Ok(outputs.into_iter().map(|id| self.value(id)).collect())
    }
}
