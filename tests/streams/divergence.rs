//! A run whose numbers leave the floats ends there, with a status and not with a panic.

use metadsl::exec::Executor;
#[cfg(feature = "dfdx")]
use metadsl::exec::dfdx::Dfdx;
use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::plan::Arm;
use metadsl::train::Status;

use crate::run::run;
use crate::short::{DATA, plan};

/// The first arm of every shipped experiment with absurd rates.
fn exploding() -> Vec<Arm> {
    let steps = "train.steps = 40";
    let plans = [
        plan("maml_anil", &[steps, "train.update.rate = 1e6"]),
        plan("maml_sine", &[steps, "train.update = sgd(rate: 1e6)"]),
        plan("tr_maml", &[steps, "train.update = sgd(rate: 1e6)", "train.outer.ascent = 1e30"]),
        plan(
            "fedrep_digits",
            &["train.steps = 5", "train.adapt = sgd(all, rate: 1e30, epochs: 5, batch: 10)", "train.keep = []"],
        ),
    ];
    let mut arms: Vec<Arm> = plans.into_iter().map(|mut plan| plan.arms.remove(0)).collect();
    arms.iter_mut().flat_map(|a| &mut a.measures).for_each(|m| m.every = 2);
    arms
}

fn check<E: Executor>(exec: &E) {
    for arm in exploding() {
        let cell = run(exec, &arm, 0, &DATA);
        let Status::Diverged { step } = cell.status else { panic!("`{}` did not diverge", arm.name) };
        assert!(step > 0 && step < arm.train.steps, "`{}` ends at step {step}", arm.name);
        assert_eq!(cell.trace.last().map(|(s, _)| *s), Some(step));
        for series in &cell.series {
            assert_eq!(series.steps.last(), Some(&step), "{}", series.measure);
            let earlier = &series.values[..series.values.len() - 1];
            assert!(earlier.iter().all(|v| v.is_finite()), "{} {earlier:?}", series.measure);
            assert!(series.at(arm.train.steps).is_nan(), "{} has a value at the end", series.measure);
        }
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        let fine = cell.weights.iter().all(|(_, t)| finite(t.data())) && cell.series.iter().all(|s| finite(&s.values));
        assert!(!fine, "`{}` diverged with finite numbers", arm.name);
    }
}

#[test]
fn on_the_reference_executor() {
    check(&Reference::new(Precision::F32));
}

#[cfg(feature = "dfdx")]
#[test]
fn on_dfdx() {
    check(&Dfdx::<f32, _>::cpu());
}

#[test]
fn a_sound_rate_finishes() {
    for name in ["maml_anil", "fedrep_digits"] {
        let plan = plan(name, &[]);
        assert_eq!(run(&Reference::new(Precision::F32), &plan.arms[0], 0, &DATA).status, Status::Finished, "{name}");
    }
}
