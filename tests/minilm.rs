//! MiniLM, a pretrained transformer, against `transformers` and PEFT: `just minilm` writes what is compared. Skips where the files are not there.
#![cfg(feature = "text")]
#![allow(clippy::disallowed_methods, reason = "the time is printed")]
#![allow(clippy::print_stdout, reason = "a test says what it saw")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use metadsl::data::{FileBytes, JsonlOptions, read_safetensors, read_texts};
use metadsl::exec::Executor;
use metadsl::exec::exact::{Exact, Path as Instructions};
use metadsl::ir::{Builder, Function, NodeId, Tensor, batch, grad};
use metadsl::plan::{Model, Slot};
use rayon::prelude::*;
use serde_json::Value as Json;

#[path = "common/compile.rs"]
mod compile;
#[path = "common/compose.rs"]
mod compose;

const LENGTH: usize = 32;
const BATCH: usize = 16;

const TEXT: &str = r#"
edition 2026
experiment sentences
dim tokens = 32
dim width = 384
data minilm = safetensors("model.safetensors")
tasks texts { example { x: [tokens] = 1; y: [] ~ normal } }
model net(x: [tokens]) -> [width] from minilm {
  let mask = sign(x + 1)
  let base = bert(x, mask)
  sum(mask * base, over: tokens) / sum(mask)
}
train {
  tasks  = fresh(texts, 1)
  split  = { support: 1, query: 1 }
  with   = lora(on: ["base.*.query.weight", "base.*.value.weight"], rank: 8)
  freeze = base
  adapt  = none
  loss   = sum(net(x)) * y
  outer  = mean
  update = sgd(rate: 0.1)
  steps  = 1
}
measure size = sum(base.embeddings.LayerNorm.bias)
"#;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/minilm").join(name)
}

/// What is computed of a batch.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// The embeddings.
    Forward,
    /// The gradients of their sum of squares by every parameter of the checkpoint as well.
    Full,
    /// Those by the factors of the adapters instead.
    Adapters,
}

fn is_factor(slot: &Slot) -> bool {
    slot.name.starts_with("lora.")
}

/// The parameters that a piece of work takes, the texts apart.
fn slots(model: &Model, work: Work) -> Vec<&Slot> {
    model.params.iter().filter(|slot| work == Work::Adapters || !is_factor(slot)).collect()
}

fn program(model: &Model, work: Work) -> Function {
    let mut b = Builder::new();
    let slots = slots(model, work);
    let inputs: Vec<NodeId> = slots.iter().map(|slot| b.input(slot.name.clone(), &slot.dims)).collect();
    let x = b.input("x", &[BATCH, LENGTH]);
    let place = |name: &str| slots.iter().position(|slot| slot.name == name);
    let mut params = inputs.clone();
    if work == Work::Adapters {
        compose::compose(&mut b, model, place, &mut params);
    }
    let forward = &model.forward;
    let args: Vec<NodeId> = forward.inputs.iter().map(|p| place(&p.name).map_or(x, |i| params[i])).collect();
    let mapped: Vec<bool> = args.iter().map(|&arg| arg == x).collect();
    let embeddings = batch(&mut b, forward, &args, &mapped, BATCH)[0];
    let mut outputs = vec![embeddings];
    if work != Work::Forward {
        let square = b.mul(embeddings, embeddings);
        let total = b.sum_all(square);
        let wanted = |&(_, slot): &(&NodeId, &&Slot)| (work == Work::Adapters) == is_factor(slot);
        let wanted: Vec<NodeId> = inputs.iter().zip(&slots).filter(wanted).map(|(&node, _)| node).collect();
        outputs.extend(grad(&mut b, total, &wanted));
    }
    b.finish("embeddings", outputs.into_iter().enumerate().map(|(i, node)| (format!("out{i}"), node)).collect())
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect()
}

/// What PEFT has of a factor: its value, or the gradient.
fn of_peft(reference: &Json, slot: &Slot, what: &str) -> Tensor {
    let name = slot.name.strip_prefix("lora.base.").expect("a factor");
    Tensor::new(slot.dims.clone(), numbers(&reference["factors"][name][what]))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The seconds of some work.
fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let found = work();
    (start.elapsed().as_secs_f64(), found)
}

/// The parameters on the executor, the way a run takes.
fn load(exact: &Exact<f32>, model: &Model) -> Vec<<Exact<f32> as Executor>::Value> {
    let mut file = fs::File::open(file("model.safetensors")).expect("the model");
    let len = file.metadata().expect("a file").len() as usize;
    let bytes = FileBytes::large(len, |bytes| file.read_exact(bytes)).expect("the model");
    let weights = read_safetensors(bytes).expect("parameters");
    let upload = |slot: &&Slot| {
        let numbers = weights.single(&slot.name).expect("in the checkpoint, of 32 bits");
        exact.upload_single(&slot.dims, numbers).expect("uploads")
    };
    slots(model, Work::Forward).par_iter().map(upload).collect()
}

#[test]
fn as_in_transformers_and_peft() {
    let Ok(reference) = fs::read_to_string(file("embeddings.json")) else {
        println!("skipped: `just minilm` has not written what is compared");
        return;
    };
    let reference: Json = serde_json::from_str(&reference).expect("JSON");
    let plan = compile::compile(TEXT, &[]);
    let model = &plan.arms[0].model;
    let exact = Exact::<f32>::new(Instructions::detect());
    let params = load(&exact, model);
    let loading = median((0..9).map(|_| seconds(|| load(&exact, model)).0).collect());
    println!("parameters from the file to the executor in {:.0} ms", loading * 1e3);

    let options = JsonlOptions { x: "text", y: "label", owner: None, scale: 1.0 };
    let mails = reference["mails"].as_str().expect("mails");
    let tokenizer = fs::read(file("tokenizer.json")).expect("the tokenizer");
    let set = read_texts(mails.as_bytes(), &tokenizer, options, LENGTH).expect("texts");
    let ids = set.features.tensor(100);
    for (row, wanted) in reference["ids"].as_array().expect("ids").iter().enumerate() {
        let found: Vec<f64> = ids.data()[row * LENGTH..(row + 1) * LENGTH].iter().map(|id| id.max(0.0)).collect();
        assert_eq!(found, numbers(wanted), "the tokens of mail {row}");
    }

    // Like PyTorch, on one thread; a run reads parameters on all.
    let _alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().expect("a pool of one");
    let works = [(Work::Forward, "forward"), (Work::Full, "full"), (Work::Adapters, "adapters")];
    for (work, what) in works {
        let kernel = exact.compile(&program(model, work)).expect("compiles");
        let mut given = params.iter();
        let mut args: Vec<_> = slots(model, work)
            .into_iter()
            .map(|slot| match is_factor(slot) {
                true => exact.upload(&of_peft(&reference, slot, "value")).expect("uploads"),
                false => given.next().expect("one for each").clone(),
            })
            .collect();
        let mut run = |first: usize| {
            let rows = ids.data()[first * LENGTH..(first + BATCH) * LENGTH].to_vec();
            args.push(exact.upload(&Tensor::new(vec![BATCH, LENGTH], rows)).expect("uploads"));
            let results = exact.run(&kernel, &args.iter().collect::<Vec<_>>()).expect("runs");
            args.pop();
            results
        };
        let download = |value: &_| exact.download(value).expect("downloads");
        let results: Vec<Tensor> = run(0).iter().map(download).collect();
        let ours = median((0..9).map(|_| seconds(|| run(0)).0).collect());
        let torch = reference[what].as_f64().expect("a time");
        println!(
            "{BATCH} x {LENGTH} tokens, {what}: {:.1} ms, PyTorch {:.1} ms, {:.2} of its speed",
            ours * 1e3,
            torch * 1e3,
            torch / ours
        );
        match work {
            Work::Forward => {
                let firsts = (0..=100 - BATCH).step_by(BATCH).chain([100 - BATCH]);
                let wanted: Vec<Vec<f64>> =
                    reference["embeddings"].as_array().expect("rows").iter().map(numbers).collect();
                let mut found = |first| download(&run(first)[0]);
                let apart = firsts.map(|first| largest(found(first).data(), &wanted[first..first + BATCH].concat()));
                let apart = apart.fold(0.0, f64::max);
                println!("100 embeddings differ from those of transformers by {apart:.1e} at most");
                assert!(apart <= 1e-4, "{apart}");
            }
            Work::Full => {}
            Work::Adapters => {
                let factors = model.params.iter().filter(|slot| is_factor(slot));
                let mut apart = 0.0f64;
                for (slot, found) in factors.zip(&results[1..]) {
                    let wanted = of_peft(&reference, slot, "gradient");
                    let size = wanted.data().iter().fold(0.0, |size: f64, x| size.max(x.abs()));
                    apart = apart.max(largest(found.data(), wanted.data()) / size);
                }
                println!(
                    "gradients of adapters differ from those of PEFT by {apart:.1e} of the largest of a factor at most"
                );
                assert!(apart <= 1e-4, "{apart}");
            }
        }
    }
}

/// The largest difference.
fn largest(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).fold(0.0, |largest, (x, y)| largest.max((x - y).abs()))
}
