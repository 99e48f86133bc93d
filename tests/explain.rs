//! Every code of an error or a warning is explained, and the examples of the explanations are what they say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "common/excerpt.rs"]
mod excerpt;

use excerpt::whole;
use metadsl::diag::{example_experiment, explanations};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The codes that `metadsl check` reports.
fn codes(desk: &TempDir, text: &str) -> BTreeSet<String> {
    let path = desk.path().join("example.meta");
    fs::write(&path, text).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_metadsl")).arg("check").arg(&path).arg("--json").output();
    let answer: Json = serde_json::from_slice(&output.expect("the binary starts").stdout).expect("an object");
    let of = |answer: &Json| answer["diagnostics"].as_array().expect("an array").clone();
    let imported = answer["imported"].as_array().expect("an array").iter().flat_map(of);
    let found: Vec<Json> = of(&answer).into_iter().chain(imported).collect();
    found.iter().map(|d| d["code"].as_str().expect("a code").to_owned()).collect()
}

/// A safetensors file with `encoder.weight`, [2, 8], all zeros.
fn base() -> Vec<u8> {
    let header = r#"{"encoder.weight":{"dtype":"F32","shape":[2,8],"data_offsets":[0,64]}}"#;
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 64]].concat()
}

#[test]
fn the_examples_are_wrong_and_right() {
    let desk = TempDir::new().expect("a folder");
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    fs::copy(digits, desk.path().join("digits.csv.gz")).expect("the digits are there");
    let points: String = (0..40).map(|n| format!("{{\"x\": [{n}, 0.5, 1], \"y\": {}}}\n", n % 10)).collect();
    fs::write(desk.path().join("points.jsonl"), points).expect("written");
    fs::write(desk.path().join("rates.meta"), "edition 2026\nlet slow = 0.01\n").expect("written");
    fs::write(desk.path().join("old.meta"), "edition 2025\nlet slow = 0.01\n").expect("written");
    fs::write(desk.path().join("base.safetensors"), base()).expect("written");
    let mut failed = Vec::new();
    for e in explanations() {
        let experiment = example_experiment(e.experiment).expect("an experiment");
        let (wrong, right) = (whole(experiment, e.wrong), whole(experiment, e.right));
        let found = codes(&desk, &wrong);
        // The last of too many mistakes comes with the others.
        if !found.contains(e.code) || found.len() > 1 && e.code != "E0100" {
            failed.push(format!("{}, wrong, gives {found:?}:\n{wrong:.2000}", e.code));
        }
        let found = codes(&desk, &right);
        if !found.is_empty() {
            failed.push(format!("{}, right, gives {found:?}:\n{right}", e.code));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_code_is_explained_and_no_other() {
    let mut used = BTreeSet::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for folder in ["syntax", "lang", "cli"] {
        for entry in fs::read_dir(src.join(folder)).expect("a folder of the sources") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                continue;
            }
            let source = fs::read_to_string(path).expect("a source is text");
            let quoted = source.split('"').filter(|part| part.len() == 5 && part.starts_with(['E', 'W']));
            used.extend(quoted.filter(|part| part[1..].bytes().all(|b| b.is_ascii_digit())).map(str::to_owned));
        }
    }
    let explained: BTreeSet<String> = explanations().map(|e| e.code.to_owned()).collect();
    let missing: Vec<_> = used.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/codes does not explain {missing:?}: why, a wrong example, the same put right");
    let stale: Vec<_> = explained.difference(&used).collect();
    assert!(stale.is_empty(), "docs/codes explains {stale:?}, which nothing reports");
}
