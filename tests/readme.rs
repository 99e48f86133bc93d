//! What the README shows is what happens.

#![allow(clippy::print_stderr, reason = "a skip says why")]

use std::process::Command;

use tempfile::TempDir;

const README: &str = include_str!("../README.md");

/// The text of the first fenced block that starts like that.
fn block(start: &str) -> &'static str {
    let from = README.find(start).unwrap_or_else(|| panic!("a block {start:?}")) + start.len();
    &README[from..from + README[from..].find("```").expect("the block ends")]
}

fn metadsl(desk: &TempDir, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metadsl"));
    command.current_dir(desk.path()).env("NO_COLOR", "1").env("METADSL_LEDGER", desk.path().join("ledger")).args(args);
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// The lines, with the hash of a run blanked, which holds when it ran; the numbers are those of every machine.
fn shape(text: &str) -> Vec<String> {
    let is_hash = |w: &str| w.len() == 64 && w.chars().all(|c| c.is_ascii_hexdigit());
    let word = |w: &str| if is_hash(w) { "#".to_owned() } else { w.to_owned() };
    text.lines()
        .map(|l| l.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect()
}

#[test]
fn the_first_experiment_runs_and_prints_what_is_shown() {
    let experiment = block("```meta\n");
    assert!(experiment.lines().count() <= 25, "the README promises a short experiment");
    let desk = TempDir::new().expect("a temporary folder");
    std::fs::write(desk.path().join("meta_vs_erm.meta"), experiment).expect("written");
    let (code, out, err) = metadsl(&desk, &["check", "meta_vs_erm.meta"]);
    assert_eq!(code, 0, "{out}{err}");
    if cfg!(debug_assertions) {
        eprintln!("skipped the run: it needs an optimised build");
        return;
    }
    let (code, out, err) = metadsl(&desk, &["run", "meta_vs_erm.meta"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(shape(&out), shape(block("$ metadsl run meta_vs_erm.meta\n")));
}

#[test]
fn the_mistake_is_told_as_shown() {
    let shown = block("$ metadsl check broken.meta\n");
    let experiment =
        block("```meta\n").replace("param w: [k] = 0", "param w: [h] = 0").replace("dim k = 3", "dim k = 3\ndim h = 3");
    let desk = TempDir::new().expect("a temporary folder");
    std::fs::write(desk.path().join("broken.meta"), experiment).expect("written");
    let (code, _, err) = metadsl(&desk, &["check", "broken.meta"]);
    assert_eq!(code, 1);
    assert_eq!(err.trim(), shown.trim());
}
