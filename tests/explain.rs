//! Every code of an error or a warning is explained, and the examples of the explanations are what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use metadsl::diag::{example_experiment, explanations};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The statements of a text, each from its first line, which is not indented, to the last before the next.
fn statements(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let starts = !line.is_empty() && !line.starts_with([' ', ')', ']', '}']);
        match found.last_mut() {
            Some(last) if !starts => last.push_str(&format!("\n{line}")),
            _ => found.push(line.to_owned()),
        }
    }
    found
}

/// What a statement is about, by which one takes the place of another: `train`, `dim k`, `measure angle`.
fn head(statement: &str) -> String {
    let words: Vec<&str> = statement
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        ["expect", ..] | [] => statement.to_owned(),
        [word @ ("edition" | "experiment" | "train" | "world"), ..] | [word] => (*word).to_owned(),
        [word, name, ..] => format!("{word} {name}"),
    }
}

/// The settings of a block, and the name of each; one behind `//` counts.
fn settings(block: &str) -> BTreeMap<String, String> {
    let inner = block.split_once('{').map_or("", |(_, inner)| inner.trim_end().trim_end_matches('}'));
    let (mut depth, mut found, mut last) = (0, BTreeMap::new(), String::new());
    for c in inner.chars().chain(['\n']) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth <= 0 && matches!(c, '\n' | ';') {
            let text = last.trim().to_owned();
            let name = text.trim_start_matches("//").trim_start();
            let end = name.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c))).unwrap_or(name.len());
            if end > 0 {
                found.insert(name[..end].to_owned(), text);
            }
            last.clear();
        } else {
            last.push(c);
        }
    }
    found
}

/// The block of an excerpt with the settings that it does not mention.
fn filled(excerpt: &str, whole: &str) -> String {
    let Some((start, rest)) = excerpt.split_once('{') else { return excerpt.to_owned() };
    let stated = settings(excerpt);
    let others = settings(whole).into_iter().filter(|(name, _)| !stated.contains_key(name));
    let others: String = others.map(|(_, text)| format!("\n  {text}")).collect();
    format!("{start}{{{others}\n{rest}")
}

/// The whole experiment of an excerpt. A line that ends with `// × 300` stands for three hundred of them.
fn whole(experiment: &str, excerpt: &str) -> String {
    let repeated = |line: &str| match line.rsplit_once("// × ") {
        Some((line, times)) => format!("{}\n", line.trim_end()).repeat(times.parse().expect("a number of lines")),
        None => format!("{line}\n"),
    };
    let excerpt: String = excerpt.lines().map(repeated).collect();
    let (left_out, mut stated): (Vec<_>, Vec<_>) = statements(&excerpt).into_iter().partition(|s| s.starts_with("//"));
    let without: Vec<String> = left_out.iter().map(|s| head(s.trim_start_matches("//"))).collect();
    let mut all = Vec::new();
    for own in statements(experiment) {
        let about = head(&own);
        let replacing: Vec<String> = stated.extract_if(.., |s| head(s) == about).collect();
        let block = about == "train" || about.starts_with("evaluate ");
        match replacing.as_slice() {
            [] if without.contains(&about) => {}
            [] => all.push(own),
            [one] if block => all.push(filled(one, &own)),
            _ => all.extend(replacing),
        }
    }
    all.extend(stated);
    // Constants are read from top to bottom; everything else may stand anywhere.
    let early = |s: &String| ["//!", "edition", "experiment", "dim ", "let "].iter().any(|word| s.starts_with(word));
    let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(early);
    [first, rest, left_out].concat().join("\n") + "\n"
}

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

#[test]
fn the_examples_are_wrong_and_right() {
    let desk = TempDir::new().expect("a folder");
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    fs::copy(digits, desk.path().join("digits.csv.gz")).expect("the digits are there");
    let points: String = (0..40).map(|n| format!("{{\"x\": [{n}, 0.5, 1], \"y\": {}}}\n", n % 10)).collect();
    fs::write(desk.path().join("points.jsonl"), points).expect("written");
    fs::write(desk.path().join("rates.meta"), "edition 2026\nlet slow = 0.01\n").expect("written");
    fs::write(desk.path().join("old.meta"), "edition 2025\nlet slow = 0.01\n").expect("written");
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
