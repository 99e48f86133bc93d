//! The same numbers twice, with any number of threads; the executors agree as far as their arithmetic does.

use metadsl::exec::Executor;
#[cfg(feature = "dfdx")]
use metadsl::exec::dfdx::Dfdx;
use metadsl::exec::exact::{Exact, Path};
use metadsl::exec::reference::Reference;
use metadsl::hash::{Id, Kind};
use metadsl::ir::Precision;
use metadsl::plan::Arm;
use metadsl::train::Cell;
use rayon::prelude::*;

use crate::run::run;
use crate::shipped;
use crate::short::{DATA, bits, plan};

/// Every arm of every shipped experiment, in one float type.
fn arms(precision: &str) -> Vec<Arm> {
    let precision = format!("train.precision = {precision}");
    shipped::NAMES.iter().flat_map(|name| plan(name, &[&precision]).arms).collect()
}

fn assert_twice<E: Executor>(exec: &E, arms: &[Arm]) {
    for arm in arms {
        let (one, two) = (run(exec, arm, 0, &DATA), run(exec, arm, 0, &DATA));
        assert_eq!(bits(&one), bits(&two), "{}", arm.name);
        assert_eq!(one.trace, two.trace, "{}", arm.name);
    }
}

#[test]
fn two_runs_have_the_same_bits() {
    assert_twice(&Reference::new(Precision::F32), &arms("f32"));
    assert_twice(&Exact::<f32>::new(Path::detect()), &arms("f32"));
    #[cfg(feature = "dfdx")]
    assert_twice(&Dfdx::<f32, _>::cpu(), &arms("f32"));
}

#[test]
fn threads_change_no_bit() {
    fn with<E: Executor>(exec: &E, threads: usize, arms: &[Arm]) -> Vec<Vec<(String, Vec<u64>)>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        let work: Vec<(&Arm, u64)> = arms.iter().flat_map(|arm| [(arm, 0), (arm, 1)]).collect();
        pool.install(|| work.par_iter().map(|(arm, seed)| bits(&run(exec, arm, *seed, &DATA))).collect())
    }
    let arms = arms("f32");
    let reference = Reference::new(Precision::F32);
    assert_eq!(with(&reference, 1, &arms), with(&reference, 3, &arms));
    let exact = Exact::<f32>::new(Path::detect());
    let one = with(&exact, 1, &arms);
    assert_eq!(one, with(&exact, 2, &arms));
    assert_eq!(one, with(&exact, 7, &arms));
    #[cfg(feature = "dfdx")]
    {
        let dfdx = Dfdx::<f32, _>::cpu();
        assert_eq!(with(&dfdx, 1, &arms), with(&dfdx, 3, &arms));
    }
}

/// Fails unless two cells measured and learned the same up to `tolerance`, relative to the largest weight of a
/// tensor and to each measured value.
fn assert_agree(a: &Cell, b: &Cell, tolerance: f64) {
    let near = |x: f64, y: f64, scale: f64, what: &str| {
        assert!((x - y).abs() <= tolerance * scale, "{}: {what} is {x} and {y}", a.arm);
    };
    assert_eq!((&a.arm, a.status), (&b.arm, b.status));
    for (s, t) in a.series.iter().zip(&b.series) {
        assert_eq!(s.steps, t.steps);
        s.values.iter().zip(&t.values).for_each(|(x, y)| near(*x, *y, y.abs().max(1e-3), &s.measure));
    }
    for ((name, x), (_, y)) in a.weights.iter().zip(&b.weights) {
        assert_eq!(x.dims(), y.dims());
        let scale = y.data().iter().fold(1e-3, |most: f64, y| most.max(y.abs()));
        x.data().iter().zip(y.data()).for_each(|(x, y)| near(*x, *y, scale, name));
    }
}

#[cfg(feature = "dfdx")]
#[test]
fn dfdx_agrees_with_the_reference_in_f64() {
    let (reference, dfdx) = (Reference::new(Precision::F64), Dfdx::<f64, _>::cpu());
    for arm in arms("f64") {
        assert_agree(&run(&dfdx, &arm, 0, &DATA), &run(&reference, &arm, 0, &DATA), 1e-9);
    }
}

#[cfg(feature = "dfdx")]
#[test]
fn dfdx_agrees_with_the_reference_in_f32() {
    let (reference, dfdx) = (Reference::new(Precision::F32), Dfdx::<f32, _>::cpu());
    for arm in arms("f32") {
        assert_agree(&run(&dfdx, &arm, 0, &DATA), &run(&reference, &arm, 0, &DATA), 1e-4);
    }
}

#[test]
fn exact_agrees_with_the_reference() {
    let (wide, exact) = (Reference::new(Precision::F64), Exact::<f64>::new(Path::detect()));
    for arm in arms("f64") {
        assert_agree(&run(&exact, &arm, 0, &DATA), &run(&wide, &arm, 0, &DATA), 1e-9);
    }
    let (narrow, exact) = (Reference::new(Precision::F32), Exact::<f32>::new(Path::detect()));
    for arm in arms("f32") {
        assert_agree(&run(&exact, &arm, 0, &DATA), &run(&narrow, &arm, 0, &DATA), 1e-4);
    }
}

#[test]
fn every_path_and_every_way_of_fusing_gives_the_same_bits() {
    let arms = arms("f32");
    let all = |exec: &Exact<f32>| -> Vec<_> { arms.iter().map(|arm| bits(&run(exec, arm, 0, &DATA))).collect() };
    let wanted = all(&Exact::new(Path::detect()));
    assert_eq!(all(&Exact::new(Path::detect()).without_fusion()), wanted, "without fusion");
    for path in Path::available() {
        assert_eq!(all(&Exact::new(path)), wanted, "{}", path.name());
    }
}

/// The bits of every shipped experiment, cut short: a change here raises the executor's epoch.
#[test]
fn the_bits_of_the_shipped_experiments() {
    let mut table = String::new();
    for precision in ["f32", "f64"] {
        for name in shipped::NAMES {
            let override_ = format!("train.precision = {precision}");
            for arm in plan(name, &[&override_]).arms {
                let cell = match precision {
                    "f32" => run(&Exact::<f32>::new(Path::detect()), &arm, 0, &DATA),
                    _ => run(&Exact::<f64>::new(Path::detect()), &arm, 0, &DATA),
                };
                let words: Vec<u8> =
                    bits(&cell).into_iter().flat_map(|(_, words)| words).flat_map(u64::to_le_bytes).collect();
                let digest = Id::of_bytes(Kind::Trace, &words).to_string();
                table.push_str(&format!("{precision} {name:16} {:24} {}\n", arm.name, &digest[..16]));
            }
        }
    }
    insta::assert_snapshot!(table);
}
