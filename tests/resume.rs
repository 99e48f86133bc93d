//! A cell that was left after any step and taken up again ends with the very bits of one that nothing interrupted.

#![allow(clippy::print_stdout, reason = "a test says what it counted")]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use metadsl::data;
use metadsl::exec::reference::Reference;
use metadsl::hash::{Canonical, cbor};
use metadsl::ir::Precision;
use metadsl::plan::{Arm, Plan};
use metadsl::train::{Cell, DataSets, Observer, Snapshot, TrainError, run_cell};

#[path = "common/compile.rs"]
mod compile;
#[path = "common/shipped.rs"]
mod shipped;

use compile::compile;

/// Leaves a cell after one step, and later takes it up there.
struct Leaving {
    after: u64,
    left: AtomicBool,
    saved: Mutex<Option<Vec<u8>>>,
    resumes: bool,
}

impl Observer for Leaving {
    fn stepped(&self, _: &str, _: u64, step: u64) {
        assert!(!self.resumes || step > self.after, "step {step} was made already");
    }
    fn measured(&self, _: &str, _: u64, _: &str, _: u64, _: f64) {}
    fn cancelled(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
    fn resume(&self, _: &str, _: u64) -> Option<Snapshot> {
        let saved = self.saved.lock().expect("no test panics with the lock");
        let bytes = saved.as_ref().filter(|_| self.resumes)?;
        Some(Snapshot::from_value(&cbor::decode(bytes).expect("canonical")).expect("a snapshot"))
    }
    fn wants_snapshot(&self, _: &str, _: u64, step: u64, last: bool) -> bool {
        let leaves = !self.resumes && step == self.after;
        self.left.fetch_or(leaves && !last, Ordering::Relaxed);
        leaves
    }
    fn save(&self, _: &str, _: u64, snapshot: Snapshot) {
        let bytes = cbor::encode(&snapshot.to_value());
        *self.saved.lock().expect("no test panics with the lock") = Some(bytes);
    }
}

fn cell(arm: &Arm, sets: &DataSets, observer: &dyn Observer) -> Result<Cell, TrainError> {
    run_cell(&Reference::new(Precision::F32), arm, 3, sets, observer)
}

/// Leaves the arm after every step in turn.
fn resumes_after_every_step(plan: &Plan, name: &str, sets: &DataSets) {
    let arm = plan.arms.iter().find(|arm| arm.name == name).unwrap_or_else(|| panic!("no arm `{name}`"));
    let watch = |after, saved, resumes| Leaving { after, left: false.into(), saved: Mutex::new(saved), resumes };
    let whole = cell(arm, sets, &watch(u64::MAX, None, false)).expect("it runs");
    let steps = whole.trace.last().expect("the end is measured").0;
    for after in 0..=steps {
        let first = watch(after, None, false);
        match cell(arm, sets, &first) {
            Err(TrainError::Cancelled) => assert!(after < steps),
            Ok(_) => assert_eq!(after, steps, "the last step cannot be interrupted"),
            Err(e) => panic!("{e}"),
        }
        let saved = first.saved.into_inner().expect("no test panics with the lock");
        let resumed = cell(arm, sets, &watch(after, saved, true)).expect("it runs");
        assert_eq!(resumed, whole, "{name} left after step {after} of {steps}");
    }
    println!("{name}: left after each of {} steps, results changed: 0", steps + 1);
}

#[test]
fn of_average_risk_maml_and_first_order() {
    let plan = compile(&shipped::unclaimed("maml_anil"), &["train.steps = 5"]);
    for arm in ["erm", "maml", "anil", "fo_maml"] {
        resumes_after_every_step(&plan, arm, &DataSets::new());
    }
}

#[test]
fn of_frozen_parameters_which_are_not_saved() {
    let text = shipped::unclaimed("maml_anil");
    let arms = text.lines().filter(|line| !line.starts_with("arm ") && !line.starts_with("measure "));
    let text = arms.collect::<Vec<_>>().join("\n") + "\nmeasure angle = subspace_distance(B, truth) every 1\n";
    let overrides = ["train.steps = 3", "train.freeze = B", "train.update = adam(rate: 0.01)"];
    let plan = compile(&text, &overrides);
    resumes_after_every_step(&plan, "main", &DataSets::new());
    let arm = &plan.arms[0];
    let watch = Leaving { after: 2, left: false.into(), saved: Mutex::default(), resumes: false };
    assert!(matches!(cell(arm, &DataSets::new(), &watch), Err(TrainError::Cancelled)));
    let saved = watch.saved.into_inner().expect("no test panics with the lock").expect("it was left");
    let saved = Snapshot::from_value(&cbor::decode(&saved).expect("canonical")).expect("a snapshot");
    let names: Vec<&str> = arm.model.params.iter().map(|slot| slot.name.as_str()).collect();
    let kept: Vec<bool> = saved.shared.iter().map(Option::is_some).collect();
    let slots: Vec<usize> = saved.memory.iter().map(Vec::len).collect();
    assert_eq!((names, kept, slots), (vec!["B", "w"], vec![false, true], vec![0, 2]));
}

#[test]
fn of_federated_averaging_kept_heads_and_control_variates() {
    let plan = compile(&shipped::unclaimed("fedrep_digits"), &["train.steps = 3", "train.tasks.batch = 3"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    let bytes = std::fs::read(path).expect("the data is in the repository");
    let source = &plan.arms[0].data[0];
    let set = data::read(&source.reader, &[&bytes]).expect("the data can be read");
    let sets = DataSets::from([(source.name.clone(), set)]);
    for arm in ["fedavg", "fedrep"] {
        resumes_after_every_step(&plan, arm, &sets);
    }
    let control = ["train.steps = 3", "train.tasks.batch = 3", "train.outer = average(control: true)"];
    let plan = compile(&shipped::unclaimed("fedrep_digits"), &control);
    for arm in ["fedavg", "fedrep"] {
        resumes_after_every_step(&plan, arm, &sets);
    }
}

#[test]
fn of_the_worst_case_with_an_adversary_and_adam() {
    let few = ["train.steps = 3", "evaluate.test.episodes = 1", "evaluate.test.split.query = 5"];
    let plan = compile(&shipped::unclaimed("tr_maml"), &few);
    resumes_after_every_step(&plan, "tr_maml", &DataSets::new());
}
