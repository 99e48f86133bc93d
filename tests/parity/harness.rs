//! Lowered programs on every executor, fed and read by name, and numbers from the reference files.

use std::collections::BTreeMap;
use std::path::Path;

use metadsl::exec::Executor;
#[cfg(feature = "dfdx")]
use metadsl::exec::dfdx::Dfdx;
use metadsl::exec::reference::Reference;
use metadsl::ir::{Function, Precision, Tensor};
use metadsl::plan::lower::{self, AdaptPrograms, ClientSizes, Input, Program, TrainPrograms};
use metadsl::plan::{Arm, Plan};
use serde_json::Value as Json;

/// The outputs of a program by name.
pub type Outputs = BTreeMap<String, Tensor>;

/// An executor of any value type.
pub trait Runner {
    /// What relative error its float type excuses.
    fn tolerance(&self) -> f64;
    /// Runs a program on the tensors behind the tags of its inputs.
    fn run(&self, program: &Program, find: &dyn Fn(Input) -> Tensor) -> Outputs;
}

impl<E: Executor> Runner for E {
    fn tolerance(&self) -> f64 {
        match self.precision() {
            Precision::F64 => 1e-10,
            Precision::F32 => 1e-4,
        }
    }

    fn run(&self, program: &Program, find: &dyn Fn(Input) -> Tensor) -> Outputs {
        let f = &program.function;
        let args: Vec<Tensor> = program.inputs.iter().map(|&i| find(i)).collect();
        f.outputs.iter().map(|port| port.name.clone()).zip(outputs(self, f, &args)).collect()
    }
}

/// The outputs of a program, in order.
pub fn outputs<E: Executor>(executor: &E, function: &Function, args: &[Tensor]) -> Vec<Tensor> {
    let kernel = executor.compile(function).unwrap_or_else(|e| panic!("{e}"));
    let args: Vec<E::Value> = args.iter().map(|x| executor.upload(x).expect("uploads")).collect();
    let results = Executor::run(executor, &kernel, &args.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{e}"));
    results.iter().map(|value| executor.download(value).expect("downloads")).collect()
}

/// Every executor of this build that needs no device of its own, in both float types.
pub fn runners() -> Vec<Box<dyn Runner>> {
    vec![
        Box::new(Reference::new(Precision::F64)),
        Box::new(Reference::new(Precision::F32)),
        #[cfg(feature = "dfdx")]
        Box::new(Dfdx::<f64, _>::cpu()),
        #[cfg(feature = "dfdx")]
        Box::new(Dfdx::<f32, _>::cpu()),
    ]
}

/// The arm of that name.
pub fn arm<'p>(plan: &'p Plan, name: &str) -> &'p Arm {
    plan.arms.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no arm `{name}`"))
}

/// The differentiated step of an arm.
pub fn step_program(arm: &Arm) -> Program {
    match lower::lower(arm, &ClientSizes::default()).unwrap_or_else(|e| panic!("{e}")).train {
        TrainPrograms::Step(step) => step,
        TrainPrograms::Local { .. } => panic!("`{}` trains locally", arm.name),
    }
}

/// The local adaptation and the reduction of an arm whose tasks hold at most `examples` examples.
pub fn local_programs(arm: &Arm, examples: usize) -> (AdaptPrograms, Program) {
    let held = || arm.families.iter().map(|f| (f.name.clone(), examples)).collect();
    let sizes = ClientSizes { train: held(), held_out: held() };
    match lower::lower(arm, &sizes).unwrap_or_else(|e| panic!("{e}")).train {
        TrainPrograms::Local { adapt, reduce } => (adapt, reduce),
        TrainPrograms::Step(_) => panic!("`{}` is differentiated", arm.name),
    }
}

/// The parameters of every task, `[T, ..]` by name, after all blocks of an arm on all examples at once. `find` gives
/// shared parameters, `[T, ..]` for kept ones, and what the tasks hold.
pub fn adapt(runner: &dyn Runner, arm: &Arm, programs: &AdaptPrograms, find: &dyn Fn(Input) -> Tensor) -> Outputs {
    use metadsl::catalog::Budget;
    let slots = &arm.model.params;
    let mut params = runner.run(&programs.spread, find);
    for i in arm.kept() {
        params.insert(slots[i].name.clone(), find(Input::Param(i)));
    }
    let start = params.clone();
    for (block, program) in arm.train.adapt.iter().zip(&programs.blocks) {
        let (Budget::Steps { count } | Budget::Epochs { count }) = block.budget;
        let mut memory = Outputs::new();
        for step in 1..=count {
            let schedule = block.solver.schedule(step);
            let outputs = runner.run(program, &|input| match input {
                Input::Param(i) => params[&slots[i].name].clone(),
                Input::Start(i) => start[&slots[i].name].clone(),
                Input::Memory { param, slot } => {
                    let name = format!("{}.{}", slots[param].name, block.solver.memory()[slot]);
                    memory.get(&name).cloned().unwrap_or(Tensor::full(params[&slots[param].name].dims(), 0.0))
                }
                Input::Schedule(i) => Tensor::scalar(schedule[i]),
                other => find(other),
            });
            for (name, value) in outputs {
                let known = if params.contains_key(&name) { &mut params } else { &mut memory };
                known.insert(name, value);
            }
        }
    }
    params
}

/// A file of `tests/reference`.
pub fn reference(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a reference file is JSON")
}

/// A number, or nested lists of them.
pub fn tensor(value: &Json) -> Tensor {
    match value {
        Json::Array(rows) => {
            let rows: Vec<Tensor> = rows.iter().map(tensor).collect();
            let dims = rows.first().map_or(vec![], |r| r.dims().to_vec());
            Tensor::stack(&dims, &rows)
        }
        other => Tensor::scalar(other.as_f64().unwrap_or_else(|| panic!("`{other}` is not a number"))),
    }
}

/// The values of a field of every object in a list, `[T, ..]`; rows shorter than the longest are filled up with `filling`.
pub fn field(objects: &Json, name: &str, filling: f64) -> Tensor {
    let parts: Vec<Tensor> = objects.as_array().expect("a list").iter().map(|o| tensor(&o[name])).collect();
    let longest = parts.iter().map(|p| p.dims()[0]).max().expect("a task");
    let mut dims = parts[0].dims().to_vec();
    dims[0] = longest;
    let filled = parts.into_iter().map(|part| {
        let mut data = part.into_data();
        data.resize(dims.iter().product(), filling);
        Tensor::new(dims.clone(), data)
    });
    Tensor::stack(&dims, &filled.collect::<Vec<_>>())
}

/// `a - b`
pub fn difference(a: &Tensor, b: &Tensor) -> Tensor {
    assert_eq!(a.dims(), b.dims());
    Tensor::new(a.dims().to_vec(), a.data().iter().zip(b.data()).map(|(a, b)| a - b).collect())
}

/// Fails unless every element lies within `tolerance` times the largest wanted one.
pub fn assert_close(found: &Tensor, wanted: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), wanted.dims(), "{what}");
    let scale = wanted.data().iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (f, w) in found.data().iter().zip(wanted.data()) {
        assert!((f - w).abs() <= tolerance * scale, "{what}: {:?} is not {:?}", found.data(), wanted.data());
    }
}
