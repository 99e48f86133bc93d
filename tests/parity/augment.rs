//! Changes of examples against the scalar formula: what is drawn by which address, and where nothing is changed.

use metadsl::data::{DataSet, Features, Targets};
use metadsl::exec::exact::{Exact, Path};
use metadsl::exec::reference::Reference;
use metadsl::ir::Precision;
use metadsl::plan::Plan;
use metadsl::plan::prefix::split;
use metadsl::rng::Stream;
use metadsl::train::{Cell, DataSets, client_tables};

use crate::compile::compile;
use crate::harness::arm;
use crate::run::run;

const SIDE: usize = 3;

/// Two clients with images of two channels, and a model that weighs every entry.
const IMAGES: &str = "
edition 2026
experiment changed
dim c = 2
dim side = 3
data pictures = idx(images: \"images\", labels: \"labels\")
tasks clients from pictures { partition = iid(clients: 2); hold_out = 0.5 }
model net(x: [c, side, side]) -> [] {
  param w: [c, side, side] = 0.25
  sum(w * x)
}
train {
  tasks = pool(clients); loss = half_squared; precision = f64; augment = CHANGES
  adapt = none; outer = mean; update = sgd(rate: 0.02); steps = STEPS
}
evaluate tuned { tasks = pool(clients); augment = SEEN; adapt = gradient(w, rate: 0.01, steps: 2) }
measure mse = mean(squared) on tuned
";

/// Ten images of channels of 0 and 1, of six classes.
fn sets() -> DataSets {
    let pixels = (0..10 * 18).map(|i| f64::from(i * i % 7 % 2)).collect();
    let labels = (0..10).map(|i| i * 3 % 6).collect();
    let features = Features::double(&[2, SIDE, SIDE], pixels);
    DataSets::from([("pictures".to_owned(), DataSet { features, targets: Targets::classes(labels), owners: None })])
}

fn plan(changes: &str, seen: &str, steps: &str) -> Plan {
    compile(&IMAGES.replace("CHANGES", changes).replace("SEEN", seen).replace("STEPS", steps), &[])
}

fn cell(plan: &Plan) -> Cell {
    run(&Reference::new(Precision::F64), arm(plan, "main"), 0, &sets())
}

type Image = Vec<Vec<f64>>;

/// A change of an image by the draws of a stream.
type Change = fn(Vec<f64>, Stream) -> Vec<f64>;

/// All channels of an image by a map of one.
fn by_channel(image: &[f64], map: impl Fn(Image) -> Image) -> Vec<f64> {
    let channel = |pixels: &[f64]| map(pixels.chunks(SIDE).map(<[f64]>::to_vec).collect()).concat();
    image.chunks(SIDE * SIDE).flat_map(channel).collect()
}

/// The changes of [`ALL`], from the stream of one example.
fn all(image: Vec<f64>, stream: Stream) -> Vec<f64> {
    let (own, size) = (|i: u64| stream.child(i), image.len());
    let (down, right) = (own(0).below(0, 3), own(0).below(1, 3));
    let image = by_channel(&image, |rows| {
        let blank = vec![vec![0.0; SIDE + 2]];
        let wide = rows.into_iter().map(|row| [vec![0.0], row, vec![0.0]].concat()).collect();
        let padded = [blank.clone(), wide, blank].concat();
        padded[down..down + SIDE].iter().map(|row| row[right..right + SIDE].to_vec()).collect()
    });
    let mirrored = |rows: Image| rows.into_iter().map(|row| row.into_iter().rev().collect()).collect();
    let image = if own(1).uniform(0) < 0.3 { by_channel(&image, mirrored) } else { image };
    // A quarter turn against the clock: columns become rows, the last one first.
    let quarter = |rows: Image| (0..SIDE).rev().map(|column| rows.iter().map(|row| row[column]).collect()).collect();
    let image = (0..own(2).below(0, 4)).fold(image, |image, _| by_channel(&image, quarter));
    let image = (0..size).map(|i| image[i] + 0.2 * own(3).normal(i as u64));
    let image = image.enumerate().map(|(i, x)| if own(4).uniform(i as u64) < 0.25 { 1.0 - x } else { x });
    image.enumerate().map(|(i, x)| if own(5).uniform(i as u64) < 0.1 { -x } else { x }).collect()
}

const ALL: &str = "[crop(padding: 1), flip(chance: 0.3), rotate, noise(std: 0.2), flip_bits(chance: 0.25), \
                   flip_signs(chance: 0.1)]";

/// The image and target of a row.
fn row(sets: &DataSets, row: usize) -> (Vec<f64>, f64) {
    let set = sets.get("pictures").expect("the data");
    let mut image = vec![0.0; set.features.row_len()];
    set.features.copy_row(row, &mut image);
    (image, set.targets.number(row))
}

/// One step of gradient descent on half the mean squared error.
fn step(w: &[f64], examples: &[(Vec<f64>, f64)], rate: f64) -> Vec<f64> {
    let gap = |(x, y): &(Vec<f64>, f64)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() - y;
    let gaps: Vec<f64> = examples.iter().map(gap).collect();
    let gradient = |i: usize| examples.iter().zip(&gaps).map(|((x, _), gap)| gap * x[i]).sum::<f64>();
    (0..w.len()).map(|i| w[i] - rate * gradient(i) / examples.len() as f64).collect()
}

/// What a client holds of one part of its visit, changed by `change` where there is one.
fn held(
    rows: &[usize],
    (scope, client, visit, side): (&str, usize, u64, u64),
    change: Option<Change>,
) -> Vec<(Vec<f64>, f64)> {
    let sets = sets();
    let stream = Stream::new(0, &["augment", scope, "clients"]).child(client as u64).child(visit).child(0).child(side);
    let example = |(i, &number): (usize, &usize)| {
        let (image, y) = row(&sets, number);
        (change.map_or(image.clone(), |change| change(image, stream.child(i as u64))), y)
    };
    rows.iter().enumerate().map(example).collect()
}

fn assert_near(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    let near = found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-11);
    assert!(near, "{found:?}, not {wanted:?}");
}

#[test]
fn training_sees_other_examples_at_every_step() {
    let plan = plan(ALL, "none", "3");
    let cell = cell(&plan);
    let tables = client_tables(arm(&plan, "main"), 0, &sets()).expect("the data fits");
    let mut w = vec![0.25; 18];
    for visit in 0..3 {
        let of_client = |client: usize| {
            let examples = held(&tables["clients"][client].train, ("train", client, visit, 1), Some(all));
            step(&w, &examples, 0.02)
        };
        let (a, b) = (of_client(0), of_client(1));
        w = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
    }
    assert_near(cell.weights[0].1.data(), &w);
    let plain = self::cell(&self::plan("none", "none", "3"));
    assert_ne!(cell.weights[0].1, plain.weights[0].1);
    assert_eq!(cell.series[0].values[0], plain.series[0].values[0], "an evaluation sees them as they are");
}

#[test]
fn an_evaluation_changes_what_it_adapts_on_and_not_what_it_measures() {
    let plan = plan("none", ALL, "0");
    let cell = cell(&plan);
    let tables = client_tables(arm(&plan, "main"), 0, &sets()).expect("the data fits");
    let of_client = |client: usize| {
        let table = &tables["clients"][client];
        let support = held(&table.train, ("tuned", client, 0, 0), Some(all));
        let w = (0..2).fold(vec![0.25; 18], |w, _| step(&w, &support, 0.01));
        let measured = held(&table.held_out, ("tuned", client, 0, 1), None);
        let square = |(x, y): &(Vec<f64>, f64)| (w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() - y).powi(2);
        measured.iter().map(square).sum::<f64>() / measured.len() as f64
    };
    assert_near(&[cell.series[0].values[0]], &[(of_client(0) + of_client(1)) / 2.0]);
}

#[test]
fn nothing_is_computed_once_of_examples_that_change() {
    let text =
        IMAGES.replace("STEPS", "2").replace("SEEN", "none").replace("half_squared;", "half_squared; freeze = v;");
    let text = text.replace("sum(w * x)", "param v: [c, side, side, 40] ~ normal; sum(w) * sum(tanh(x * v))");
    let arms = |changes: &str| compile(&text.replace("CHANGES", changes), &[]).arms;
    assert!(split(&arms("none")[0]).is_some());
    assert_eq!(split(&arms("flip")[0]), None);
}

#[test]
fn changes_are_the_same_on_any_number_of_threads() {
    let plan = plan(ALL, ALL, "4");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| run(&Exact::<f32>::new(Path::detect()), arm(&plan, "main"), 0, &sets()))
    };
    assert_eq!(on(1), on(3));
}
