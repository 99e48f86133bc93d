//! Models that begin with the parameters of a file, and what is exported of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/desk.rs"]
mod desk;

use std::collections::BTreeMap;

use desk::{Desk, code, stderr};
use metadsl::data::{Weights, read_safetensors, write_safetensors};
use metadsl::ir::{Precision, Tensor};
use serde_json::Value as Json;

/// A checkpoint of a linear layer `net.body` that doubles, of a tensor that no model reads, and of an old spelling.
fn checkpoint() -> Vec<u8> {
    let tensor = |dims: &[usize], data: &[f64]| Tensor::new(dims.to_vec(), data.to_vec());
    let tensors = BTreeMap::from([
        ("net.body.weight".to_owned(), tensor(&[2, 2], &[2.0, 0.0, 0.0, 2.0])),
        ("net.body.bias".to_owned(), tensor(&[2], &[0.5, -0.5])),
        ("net.pooler.weight".to_owned(), tensor(&[1], &[7.0])),
    ]);
    write_safetensors(None, &tensors, Precision::F32).unwrap()
}

/// Targets are what the checkpoint predicts; `with`, `adapt`, `keep` and so on as given.
fn experiment(train: &str) -> String {
    format!(
        "edition 2026
experiment pretrained
dim d = 2
data base = safetensors(\"base.safetensors\")
tasks twice {{ example {{ x: [d] ~ normal; y: [] = sum(2 * x) }} }}
model net(x: [d]) -> [] from base {{
  let body = linear(x, d)
  group head {{ param shift: [] = 1 }}
  sum(body) + shift - 1
}}
train {{
  tasks  = pool(twice, size: 3)
  split  = {{ support: 4, query: 4 }}
  loss   = squared
  steps  = 2
  {train}
}}
evaluate now {{ tasks = pool(twice, size: 3); split = {{ support: 1, query: 4 }}; adapt = none }}
measure mse = mean(squared) on now every 1
"
    )
}

fn run(desk: &Desk, text: &str) -> (String, Json) {
    desk.write("base.safetensors", checkpoint());
    let file = desk.write("pretrained.meta", text).display().to_string();
    let report = desk.json(&["run", &file, "--json"]);
    let run = report["run"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned();
    (run, report)
}

/// The first value of the only series.
fn first(desk: &Desk, run: &str) -> f64 {
    let output = desk.run(&["export", run, "--format", "jsonl"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let row: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    row["value"].as_f64().unwrap()
}

fn read(desk: &Desk, name: &str) -> Weights {
    read_safetensors(std::fs::read(desk.path(name)).unwrap().into()).unwrap()
}

#[test]
fn a_copy_of_a_loaded_parameter_begins_as_it_was_loaded() {
    let desk = Desk::new();
    let update = "outer = mean; update = sgd(rate: 0.01)";
    let (plain, _) = run(&desk, &experiment(&format!("adapt = none; {update}")));
    assert!(first(&desk, &plain) < 1e-10);
    let copied =
        format!("with = personal(on: body.weight); adapt = gradient(personal, rate: 0.01, steps: 1); {update}");
    let (run, _) = run(&desk, &experiment(&copied));
    assert!(first(&desk, &run) < 1e-10, "{}", first(&desk, &run));
}

#[test]
fn what_is_not_loaded_is_drawn_as_without_a_file() {
    let desk = Desk::new();
    let train = "freeze = [body, own, spare]; adapt = none; outer = mean; update = sgd(rate: 0.01)";
    let draws = "param own: [d] ~ normal\n  param spare: [d] ~ normal\n  group head";
    let text = experiment(train).replace("group head", draws).replace("shift - 1", "shift - 1 + sum(own) + sum(spare)");
    let drawn = |text: &str| {
        let (run, _) = run(&desk, text);
        assert_eq!(code(&desk.run(&["export", &run, "--model", "out"])), 0);
        let found = read(&desk, "out/model.safetensors");
        ["own", "spare", "body.weight"].map(|name| found.find(name).unwrap().data().to_vec())
    };
    let [loaded, plain] = [drawn(&text), drawn(&text.replace(" from base", ""))];
    assert_eq!(loaded[..2], plain[..2]);
    assert!(loaded[0] != loaded[1] && loaded[2] == [2.0, 0.0, 0.0, 2.0] && plain[2] != loaded[2]);
}

#[test]
fn a_merged_model_has_the_names_of_its_checkpoint() {
    let desk = Desk::new();
    let lora = "with = lora(on: body.weight, rank: 1, alpha: 3, zero: false, dropout: 0.25); freeze = body; adapt = none; outer = mean; update = sgd(rate: 0.01)";
    let (run, _) = run(&desk, &experiment(lora));
    let printed = desk.run(&["export", &run, "--model", "out", "--adapter", "out"]);
    assert_eq!(code(&printed), 0, "{}", stderr(&printed));
    assert_eq!(stderr(&printed), "");
    let (model, adapter) = (read(&desk, "out/model.safetensors"), read(&desk, "out/adapter_model.safetensors"));
    let names: Vec<&str> = model.names().collect();
    assert_eq!(names, ["net.body.bias", "net.body.weight", "net.pooler.weight", "shift"]);
    assert_eq!(model.find("net.pooler.weight").unwrap().data(), [7.0]);

    let names: Vec<&str> = adapter.names().collect();
    let key = |side: &str| format!("base_model.model.net.body.lora_{side}.weight");
    assert_eq!(names, [key("A"), key("B")]);
    let (a, b) = (adapter.find(&key("A")).unwrap(), adapter.find(&key("B")).unwrap());
    assert_eq!((a.dims(), b.dims()), (&[1, 2][..], &[2, 1][..]));
    let settings: Json = serde_json::from_slice(&std::fs::read(desk.path("out/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&settings["r"], &settings["lora_alpha"]), (&1.into(), &3.0.into()));
    assert_eq!(settings["lora_dropout"], 0.25);
    assert_eq!(settings["target_modules"], serde_json::json!(["net.body"]));
    let merged = model.find("net.body.weight").unwrap().data().to_vec();
    for (i, found) in merged.iter().enumerate() {
        let base = if i % 3 == 0 { 2.0 } else { 0.0 };
        let wanted = base + 3.0 * b.data()[i / 2] * a.data()[i % 2];
        assert!((found - wanted).abs() < 1e-6 && *found != base, "{found} for {wanted}");
    }
}

#[test]
fn a_task_has_an_adapter_of_its_own() {
    let desk = Desk::new();
    let kept =
        "with = lora(on: body.weight, rank: 1, zero: false); keep = lora; adapt = gradient(lora, rate: 0.01, steps: 1)
  outer = mean; through = stop; update = sgd(rate: 0.01)";
    let (run, _) = run(&desk, &experiment(kept));
    let refused = |args: &[&str], expected: &str| {
        let output = desk.run(&[&["export", &run], args].concat());
        assert!(code(&output) != 0 && stderr(&output).contains(expected), "{}", stderr(&output));
    };
    refused(&["--model", "out"], "choose one by `--task N`, from 0 to 2");
    refused(&["--model", "out", "--task", "3"], "from 0 to 2");
    refused(&["--model", "out", "--arm", "other"], "the run has no such arm and seed; it has\n  --arm 'main' --seed 0");
    let weight = |task: &str| {
        let output = desk.run(&["export", &run, "--model", "out", "--adapter", "out", "--task", task]);
        assert!(stderr(&output).contains("2 loaded parameters moved as well"), "{}", stderr(&output));
        read(&desk, "out/model.safetensors").find("net.body.weight").unwrap().clone()
    };
    assert_ne!(weight("0"), weight("2"));
    desk.write("base.safetensors", "changed");
    let output = desk.run(&["export", &run, "--model", "out", "--task", "0"]);
    assert_eq!(code(&output), 0, "the ledger holds small files itself: {}", stderr(&output));
}

/// A checkpoint that the ledger does not keep: it has more than 16 MiB.
fn large_checkpoint() -> Vec<u8> {
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, dims) in [("net.body.weight", vec![2, 2]), ("net.body.bias", vec![2]), ("net.unread", vec![1 << 22])] {
        let entries = dims.iter().product();
        tensors.insert(name.to_owned(), Tensor::new(dims, vec![0.5; entries]));
    }
    write_safetensors(None, &tensors, Precision::F32).unwrap()
}

#[test]
fn data_beside_the_ledger_is_found_from_any_folder() {
    let desk = Desk::new();
    let file = desk.write("data/base.safetensors", large_checkpoint());
    assert!(file.metadata().unwrap().len() > 16 << 20);
    let text = experiment("adapt = none; outer = mean; update = sgd(rate: 0.01)");
    let text = text.replace("base.safetensors", "./../../plans/../data/base.safetensors");
    desk.write("plans/deep/pretrained.meta", text);
    let report = desk.json(&["run", "plans/deep/pretrained.meta", "--json"]);
    let run = report["run"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned();
    assert_eq!(desk.json(&["replay", &run, "--json"])["verdict"], "identical");
    assert_eq!(code(&desk.run(&["export", &run, "--model", "out"])), 0);
    assert!(desk.path("out/model.safetensors").metadata().unwrap().len() > 16 << 20);
    // From another folder, and with a project that has moved as a whole.
    let there = desk.path("plans");
    let command = |folder: &std::path::Path, ledger: &std::path::Path, args: &[&str]| {
        let mut command = desk.command(env!("CARGO_BIN_EXE_metadsl"));
        command.current_dir(folder).env("METADSL_LEDGER", ledger).args(args).output().unwrap()
    };
    let output = command(&there, &desk.path("ledger"), &["replay", &run]);
    assert_eq!(code(&output), 0, "{}", desk::stdout(&output));
    let moved = Desk::new();
    for folder in ["ledger", "data"] {
        std::fs::rename(desk.path(folder), moved.path(folder)).unwrap();
    }
    let output = command(&there, &moved.path("ledger"), &["replay", &run]);
    assert_eq!(code(&output), 0, "{}", desk::stdout(&output));

    // The file alone has moved.
    std::fs::rename(moved.path("data/base.safetensors"), moved.path("elsewhere")).unwrap();
    let output = moved.run(&["replay", &run]);
    let message = desk::stdout(&output);
    assert_eq!(code(&output), 30, "{message}");
    let tells = |message: &str| {
        assert!(message.contains("data `base` is not in the ledger, and cannot be read at"), "{message}");
        assert!(message.contains("data/base.safetensors") && message.contains("--data base=PATH"), "{message}");
        assert!(!message.contains("plans") && !message.contains("/./"), "{message}");
    };
    tells(&message);
    // Where the ledger lies in a folder of what it lay beside, an end of the path leads there.
    desk::copy(&moved.path("ledger"), &moved.path("inner/ledger"));
    std::fs::copy(moved.path("elsewhere"), moved.path("inner/base.safetensors")).unwrap();
    let output = command(&there, &moved.path("inner/ledger"), &["replay", &run]);
    assert_eq!(code(&output), 0, "{}", desk::stdout(&output));
    let output = moved.run(&["export", &run, "--model", "out"]);
    assert_eq!(code(&output), 2);
    tells(&stderr(&output));
    let output = moved.run(&["replay", &run, "--data", "base=elsewhere"]);
    assert_eq!(code(&output), 0, "{}", desk::stdout(&output));
    assert_eq!(code(&moved.run(&["export", &run, "--model", "out", "--data", "base=elsewhere"])), 0);

    // Another file in its place, another name, and data where none is read.
    let mut other = large_checkpoint();
    *other.last_mut().unwrap() ^= 1;
    moved.write("other", other);
    let output = moved.run(&["replay", &run, "--data", "base=other"]);
    assert_eq!(code(&output), 30);
    let message = desk::stdout(&output);
    assert!(message.contains("data `base` of this run is another one now at `other`"), "{message}");
    let output = moved.run(&["replay", &run, "--data", "bass=elsewhere"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("the run has no data `bass`; it has `base`"), "{}", stderr(&output));
    assert_eq!(code(&moved.run(&["replay", &run, "--data", "elsewhere"])), 2);
    assert_eq!(code(&moved.run(&["export", &run, "--data", "base=elsewhere"])), 2);
}
