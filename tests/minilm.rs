//! MiniLM, a pretrained transformer, against `transformers`: `just minilm` writes what is compared. Skips where the files are not there.
#![cfg(feature = "text")]
#![allow(clippy::disallowed_methods, reason = "the time is printed")]
#![allow(clippy::print_stdout, reason = "a test says what it saw")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use metadsl::data::{JsonlOptions, read_safetensors, read_texts};
use metadsl::exec::Executor;
use metadsl::exec::exact::{Exact, Path as Instructions};
use metadsl::ir::{Builder, Function, NodeId, Port, Tensor, batch, grad};
use rayon::prelude::*;
use serde_json::Value as Json;

#[path = "common/compile.rs"]
mod compile;

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

/// The embeddings of a batch, and with `backward` the gradients of their sum of squares by every parameter.
fn program(forward: &Function, backward: bool) -> Function {
    let mut b = Builder::new();
    let args: Vec<NodeId> = forward
        .inputs
        .iter()
        .map(|port| match port.name.as_str() {
            "x" => b.input("x", &[BATCH, LENGTH]),
            name => b.input(name, forward.dims(port.node)),
        })
        .collect();
    let mapped: Vec<bool> = forward.inputs.iter().map(|port| port.name == "x").collect();
    let embeddings = batch(&mut b, forward, &args, &mapped, BATCH)[0];
    let mut outputs = vec![embeddings];
    if backward {
        let square = b.mul(embeddings, embeddings);
        let total = b.sum_all(square);
        let params: Vec<NodeId> = args.iter().zip(&mapped).filter(|(_, mapped)| !**mapped).map(|(&a, _)| a).collect();
        outputs.extend(grad(&mut b, total, &params));
    }
    b.finish("embeddings", outputs.into_iter().enumerate().map(|(i, node)| (format!("out{i}"), node)).collect())
}

#[test]
fn sentence_embeddings() {
    let Ok(reference) = fs::read_to_string(file("embeddings.json")) else {
        println!("skipped: `just minilm` has not written what is compared");
        return;
    };
    let reference: Json = serde_json::from_str(&reference).expect("JSON");
    let tokenizer = fs::read(file("tokenizer.json"));
    let plan = compile::compile(TEXT, &[]);
    let forward = &plan.arms[0].model.forward;
    let exact = Exact::<f32>::new(Instructions::detect());
    let load = || {
        let start = Instant::now();
        let model = fs::read(file("model.safetensors")).expect("the model");
        let read = start.elapsed();
        let weights = read_safetensors(model.into()).expect("parameters");
        let ports = forward.inputs.par_iter().filter(|port| port.name != "x");
        let upload =
            |port: &Port| exact.upload(&weights.find(&port.name).expect("in the checkpoint")).expect("uploads");
        let params: Vec<_> = ports.map(upload).collect();
        (start.elapsed(), read, params)
    };
    let mut loads: Vec<_> = (0..5).map(|_| load()).collect();
    loads.sort_by_key(|(all, ..)| *all);
    let (all, read, params) = &loads[2];
    println!(
        "parameters loaded in {:.0} ms, of which the file {:.0} ms",
        all.as_secs_f64() * 1e3,
        read.as_secs_f64() * 1e3
    );

    let options = JsonlOptions { x: "text", y: "label", owner: None, scale: 1.0 };
    let mails = reference["mails"].as_str().expect("mails");
    let set = read_texts(mails.as_bytes(), &tokenizer.expect("the tokenizer"), options, LENGTH).expect("texts");
    let ids = set.features.tensor(100);
    for (row, wanted) in reference["ids"].as_array().expect("ids").iter().enumerate() {
        let found: Vec<f64> = ids.data()[row * LENGTH..(row + 1) * LENGTH].iter().map(|id| id.max(0.0)).collect();
        let wanted: Vec<f64> = wanted.as_array().expect("ids").iter().map(|id| id.as_f64().expect("an id")).collect();
        assert_eq!(found, wanted, "the tokens of mail {row}");
    }

    let mut worst = 0.0f64;
    for backward in [false, true] {
        let kernel = exact.compile(&program(forward, backward)).expect("compiles");
        let run = |first: usize| {
            let rows = (first * LENGTH..(first + BATCH) * LENGTH).map(|i| ids.data()[i]).collect();
            let x = exact.upload(&Tensor::new(vec![BATCH, LENGTH], rows)).expect("uploads");
            let mut params = params.iter();
            let args: Vec<_> = forward
                .inputs
                .iter()
                .map(|port| if port.name == "x" { &x } else { params.next().expect("one for each") })
                .collect();
            exact.run(&kernel, &args).expect("runs")
        };
        run(0);
        let mut times: Vec<f64> = (0..7)
            .map(|_| {
                let start = Instant::now();
                run(0);
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let torch = reference[if backward { "backward_seconds" } else { "forward_seconds" }].as_f64().expect("a time");
        let what = if backward { "with a full backward" } else { "forward" };
        println!("{BATCH} x {LENGTH} tokens {what}: {:.1} ms, PyTorch {:.1} ms", times[3] * 1e3, torch * 1e3);
        if backward {
            continue;
        }
        for first in (0..=100 - BATCH).step_by(BATCH).chain([100 - BATCH]) {
            let found = exact.download(&run(first)[0]).expect("downloads");
            for (row, wanted) in
                reference["embeddings"].as_array().expect("rows")[first..first + BATCH].iter().enumerate()
            {
                let wanted = wanted.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number"));
                let found = &found.data()[row * 384..(row + 1) * 384];
                worst = wanted.zip(found).fold(worst, |worst, (y, x)| worst.max((x - y).abs()));
            }
        }
    }
    println!("100 embeddings differ from those of transformers by {worst:.1e} at most");
    assert!(worst <= 1e-4, "{worst}");
}
