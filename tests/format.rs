//! The formatter over every `.meta` file of the repository and over damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use metadsl::diag::{Severity, Sink};
use metadsl::hash::{Id, Kind};
use metadsl::lang::compile;
use metadsl::syntax::{format, parse};

/// Every `.meta` file, those with mistakes too.
fn corpus() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["experiments", "tests/fixtures", "src", "docs"].iter().map(|f| root.join(f)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "meta") {
                let text = fs::read_to_string(&path).expect("a text");
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "the fixtures are found");
    found
}

/// Whether the file may have mistakes.
fn is_fixture(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "fixtures")
}

/// The plan's hash, and the code and message of every mistake.
fn meaning(text: &str) -> (Option<Id>, Vec<(&'static str, String)>) {
    let mut sink = Sink::new();
    let file = parse(text, &mut sink);
    let compiled = if sink.has_errors() { None } else { compile(&file, &[], &mut sink) };
    let found = sink.finish().into_iter().map(|d| (d.code, d.message)).collect();
    (compiled.map(|c| Id::of(Kind::Plan, &c.plan)), found)
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn wrong_lines(text: &str) -> Vec<String> {
    let mut sink = Sink::new();
    parse(text, &mut sink);
    let errors = sink.finish().into_iter().filter(|d| d.severity == Severity::Error);
    errors
        .filter_map(|d| text[..d.span.start].lines().count().checked_sub(1).and_then(|n| text.lines().nth(n)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn formatting_changes_blanks_and_no_meaning() {
    for (path, text) in corpus() {
        let formatted = format(&text);
        assert_eq!(without_blanks(&formatted), without_blanks(&text), "{}", path.display());
        assert_eq!(meaning(&formatted), meaning(&text), "{}:\n{formatted}", path.display());
    }
}

#[test]
fn formatting_twice_is_formatting_once() {
    for (path, text) in corpus() {
        let formatted = format(&text);
        assert_eq!(format(&formatted), formatted, "{}", path.display());
    }
}

#[test]
fn lines_with_mistakes_stay_as_they_are() {
    for (path, text) in corpus() {
        let formatted = format(&text);
        for line in wrong_lines(&text) {
            assert!(formatted.lines().any(|l| l == line), "{}: `{line}` is gone from\n{formatted}", path.display());
        }
    }
}

#[test]
fn the_experiments_are_formatted() {
    for (path, text) in corpus().into_iter().filter(|(path, _)| !is_fixture(path)) {
        assert_eq!(format(&text), text, "metadsl fmt {}", path.display());
    }
}

#[test]
fn a_line_ends_in_a_line_feed_whatever_it_ended_in() {
    for (path, text) in corpus() {
        let text = text.replace("\r\n", "\n");
        let formatted = format(&text);
        for end in ["\r\n", "\r"] {
            let foreign = text.replace('\n', end);
            let other = format(&foreign);
            assert_eq!(format(&other), other, "{} with {end:?}", path.display());
            // A text that nobody can read stays as it is, whatever its lines end in.
            let unreadable = other == foreign && formatted == text && is_fixture(&path);
            assert!(other == formatted || unreadable, "{} with {end:?}:\n{other}", path.display());
        }
    }
    assert_eq!(format("let a =1 // one\rlet b= 2\r"), "let a = 1  // one\nlet b = 2\n");
}

/// Blanks as a hurried person leaves them come out as in the shipped files.
#[test]
fn blanks_are_put_in_order() {
    let hurried = "edition 2026\n\n\n\nexperiment e   // name\nworld{truth:[d,k]~stiefel}\ntrain {\nadapt=gradient( w,rate :alpha , steps:1 )\n\
                   \t loss = -1*( x-y )^2\n}\nsweep seed in 0 .. 5\nexpect a.b[ last ]<=-1e-3\n";
    let neat = "edition 2026\n\nexperiment e   // name\nworld { truth: [d, k] ~ stiefel }\ntrain {\n  adapt = gradient(w, rate: alpha, steps: 1)\n\
                \x20 loss  = -1 * (x - y) ^ 2\n}\nsweep seed in 0..5\nexpect a.b[last] <= -1e-3\n";
    assert_eq!(format(hurried), neat);
}

#[test]
fn a_text_that_does_not_balance_stays_as_it_is() {
    for text in ["train {\n   loss=squared\n", "let a   = (1\n", "let a   = \"b\n", "let a   = 1 }\n"] {
        assert_eq!(format(text), text);
    }
}
