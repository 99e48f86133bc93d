//! Files used by others: what they mean, where their mistakes are shown, how they are frozen, and where the project ends.

#![allow(clippy::disallowed_methods, reason = "tests start processes")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use metadsl::diag::Sink;
use metadsl::lang::{Source, compile, frozen_hash, import};
use metadsl::plan::Plan;
use metadsl::syntax::parse;
use tempfile::TempDir;

/// What several experiments share.
const BASE: &str = "edition 2026
dim d = 3
let noise = 0.1
tasks lines {
  slope: [d] ~ normal
  example { x: [d] ~ normal; y: [] = x @ slope + noise * normal }
}
model line(x: [d]) -> [] { param w: [d] = 0; x @ w }
";

const OWN: &str = "let rate = 0.1
train {
  tasks = fresh(lines, 2); split = { support: 2, query: 2 }; loss = squared
  adapt = gradient(w, rate: rate, steps: 1); outer = mean; update = sgd(rate: 0.1); steps = 4
}
measure size = sum(w ^ 2) every 2
";

/// The plan of a text whose `use` lines name the files given.
fn plan(text: &str, files: &[(&str, &str)]) -> Plan {
    let mut sink = Sink::new();
    let tree = parse(text, &mut sink);
    let main = Source { id: "main".into(), name: "main".into(), text: text.into() };
    let read = |_: &str, path: &str| {
        let found = files.iter().find(|(name, _)| *name == path).ok_or("it is not there")?;
        Ok(Source { id: path.into(), name: path.into(), text: found.1.into() })
    };
    let (tree, _) = import(tree, main, &read, &mut sink);
    compile(&tree, &[], &mut sink).unwrap_or_else(|| panic!("{:#?}", sink.finish())).plan
}

#[test]
fn a_used_file_means_what_its_text_would_mean_in_its_place() {
    let head = "edition 2026\nexperiment shared\n";
    let whole = plan(&format!("{head}{}{OWN}", BASE.replace("edition 2026\n", "")), &[]);
    let used = format!("{head}use \"base.meta\"\n{OWN}");
    assert_eq!(plan(&used, &[("base.meta", BASE)]), whole);
    // By way of another file, and twice, and as an experiment by itself.
    let twice = format!("{head}use \"middle.meta\"\nuse \"base.meta\"\n{OWN}");
    let middle = "edition 2026\nexperiment other\nuse \"base.meta\"\n";
    assert_eq!(plan(&twice, &[("base.meta", BASE), ("middle.meta", middle)]), whole);
    let frozen = format!("{head}use \"base.meta\" b3:{}\n{OWN}", frozen_hash(BASE));
    assert_eq!(plan(&frozen, &[("base.meta", BASE)]), whole);
}

#[test]
fn the_numbers_of_a_json_file_are_dims_and_constants() {
    let config = "{\"model_type\": \"bert\", \"d_size\": 3, \"noise\": 1e-1, \"deep\": {\"d\": 4}, \"cache\": true, \"model\": 7, \"all\": 1, \"a-b\": 2}";
    let head = "edition 2026\nexperiment shared\n";
    let own = format!("{}{OWN}", BASE.replace("edition 2026\n", "").replace("let noise = 0.1\n", ""));
    let sized = own.replace("dim d = 3", "").replace("[d]", "[d_size]");
    let whole = plan(&format!("{head}let noise = 0.1\n{own}"), &[]);
    let files = [("config.json", config)];
    assert_eq!(plan(&format!("{head}use \"config.json\"\n{sized}"), &files), whole);
    let frozen = format!("{head}use \"config.json\" b3:{}\n{sized}", frozen_hash(config));
    assert_eq!(plan(&frozen, &files), whole);
}

#[test]
fn a_json_file_of_another_kind_is_refused_where_it_is_used() {
    let desk = project("use \"../base.json\"");
    for (text, found) in [("[1, 2]", "no object of JSON: invalid type: sequence"), ("{\"d\": 3", "EOF while parsing")] {
        fs::write(desk.path().join("project/base.json"), text).expect("written");
        let shown = error_of(&metadsl(&["check", "own.meta"], &desk.path().join("project/runs")));
        assert!(shown.contains("E0720") && shown.contains(found) && shown.contains("own.meta:"), "{shown}");
    }
    // What is defined there already says so in both files.
    fs::write(desk.path().join("project/base.json"), "{\n  \"name\": \"bert\",\n  \"rate\": 0.5\n}\n")
        .expect("written");
    let shown = error_of(&metadsl(&["check", "own.meta"], &desk.path().join("project/runs")));
    assert!(shown.contains("`rate`") && shown.contains("base.json:3"), "{shown}");
}

#[test]
fn the_hash_of_a_file_is_its_blake3_hash() {
    // b3sum of an empty file
    assert_eq!(frozen_hash(""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
}

fn metadsl(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metadsl")).args(arguments).current_dir(folder).output().expect("the binary starts")
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a project: an experiment in a folder of its own, and the file that it uses.
fn project(line: &str) -> TempDir {
    let desk = TempDir::new().expect("a folder");
    fs::create_dir_all(desk.path().join("project/ledger")).expect("made");
    fs::create_dir_all(desk.path().join("project/runs")).expect("made");
    fs::write(desk.path().join("project/ledger/FORMAT"), "").expect("written");
    fs::write(desk.path().join("project/base.meta"), BASE).expect("written");
    fs::write(desk.path().join("outside.meta"), BASE).expect("written");
    let text = format!("edition 2026\nexperiment shared\n{line}\n{OWN}");
    fs::write(desk.path().join("project/runs/own.meta"), text).expect("written");
    desk
}

#[test]
fn a_file_within_the_project_is_used_and_none_outside() {
    let inside = project("use \"../base.meta\"");
    let checked = metadsl(&["check", "own.meta"], &inside.path().join("project/runs"));
    assert!(checked.status.success(), "{}", error_of(&checked));
    let outside = project("use \"../../outside.meta\"");
    let checked = metadsl(&["check", "own.meta"], &outside.path().join("project/runs"));
    assert!(error_of(&checked).contains("outside of the project"), "{}", error_of(&checked));
    let absolute = project(&format!("use \"{}\"", inside.path().join("project/base.meta").display()));
    let checked = metadsl(&["check", "own.meta"], &absolute.path().join("project/runs"));
    assert!(error_of(&checked).contains("absolute path"), "{}", error_of(&checked));
}

#[test]
fn a_mistake_is_shown_in_the_file_that_it_is_in() {
    let desk = project("use \"../base.meta\"\nlet noise = 0.2");
    let base = desk.path().join("project/base.meta");
    fs::write(&base, BASE.replace("param w: [d] = 0", "param w: [k] = 0")).expect("written");
    let shown = error_of(&metadsl(&["check", "own.meta"], &desk.path().join("project/runs")));
    assert!(shown.contains("base.meta:8:38") && shown.contains("no dim is called `k`"), "{shown}");
    // A name defined in both files: one place in a message is in another file than the rest of it.
    fs::write(&base, BASE).expect("written");
    let shown = error_of(&metadsl(&["check", "own.meta"], &desk.path().join("project/runs")));
    assert!(shown.contains("own.meta:4:5") && shown.contains("base.meta:3"), "{shown}");
}

#[test]
fn freezing_writes_hashes_that_a_changed_file_does_not_have() {
    let desk = project("use \"../base.meta\"");
    let folder = desk.path().join("project/runs");
    let freeze = |more: &[&str]| metadsl(&[&["freeze", "own.meta"], more].concat(), &folder).status.code();
    assert_eq!(freeze(&["--check"]), Some(1), "not frozen yet");
    assert_eq!(freeze(&[]), Some(0));
    let text = fs::read_to_string(folder.join("own.meta")).expect("there");
    assert!(text.contains(&format!("use \"../base.meta\" b3:{}\n", frozen_hash(BASE))), "{text}");
    assert_eq!(freeze(&["--check"]), Some(0));
    assert!(metadsl(&["check", "own.meta"], &folder).status.success());
    fs::write(desk.path().join("project/base.meta"), BASE.replace("0.1", "0.2")).expect("written");
    assert_eq!(freeze(&["--check"]), Some(1));
    let checked = metadsl(&["check", "own.meta"], &folder);
    assert!(error_of(&checked).contains("E0722"), "{}", error_of(&checked));
    assert_eq!(freeze(&[]), Some(0));
    assert!(metadsl(&["check", "own.meta"], &folder).status.success(), "frozen anew");
}
