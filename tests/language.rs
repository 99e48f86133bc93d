//! Every block of `docs/language.md` is executed, and what it shows is what happens.

#[path = "common/desk.rs"]
mod desk;
#[path = "common/excerpt.rs"]
mod excerpt;

use std::path::Path;

use desk::{Desk, code, stderr, stdout};
use excerpt::whole;

const PAGE: &str = include_str!("../docs/language.md");

/// The fenced blocks in order: the language and the text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    PAGE.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').expect("a fence ends its line")).collect()
}

/// The name that an experiment gives itself.
fn name(experiment: &str) -> &str {
    let line = experiment.lines().find_map(|l| l.strip_prefix("experiment "));
    line.expect("it has a name").split(' ').next().expect("a name")
}

/// Words with numbers and hashes blanked: neither is what the page is about.
fn shape(text: &str) -> Vec<String> {
    let number = |w: &str| w.chars().any(|c| c.is_ascii_digit()) && !w.contains('[');
    let line = |l: &str| l.split_whitespace().map(|w| if number(w) { "#" } else { w }).collect::<Vec<_>>().join(" ");
    text.lines().map(line).filter(|l| !l.is_empty()).collect()
}

#[test]
fn every_block_is_what_happens() {
    let desk = Desk::new();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data/digits.csv.gz");
    desk.write("digits.csv.gz", std::fs::read(digits).expect("the digits are there"));
    let (mut base, mut experiments, mut commands) = (String::new(), 0, 0);
    let all = blocks();
    for (i, &(language, text)) in all.iter().enumerate() {
        match language {
            "meta" => {
                let is_whole = text.contains("experiment ");
                let experiment = if is_whole { text.to_owned() } else { whole(&base, text) };
                let file = format!("{}.meta", name(&experiment));
                desk.write(&file, &experiment);
                let shows_mistake = all.get(i + 1).is_some_and(|(_, next)| next.contains("error["));
                let output = desk.run(&["check", &file]);
                assert_eq!(stderr(&output).is_empty(), !shows_mistake, "{}\n{experiment}", stderr(&output));
                experiments += 1;
                if is_whole {
                    base = experiment;
                }
            }
            "console" => {
                let (command, shown) = text.split_once('\n').expect("a command and what it prints");
                let args: Vec<&str> = command.strip_prefix("$ metadsl ").expect("a command").split(' ').collect();
                if args[0] == "run" && cfg!(debug_assertions) {
                    continue; // Slow where nothing is optimised.
                }
                let output = desk.run(&args);
                let printed = stdout(&output) + &stderr(&output);
                assert!([0, 1].contains(&code(&output)), "{command}: {printed}");
                if args[0] == "check" {
                    assert_eq!(printed.trim(), shown.trim(), "{command} prints\n{printed}");
                } else {
                    let (mut printed_lines, mut shown_lines) = (shape(&printed), shape(shown));
                    // Where the page breaks off, the rest is not compared.
                    if shown_lines.last().is_some_and(|last| last == "...") {
                        shown_lines.pop();
                        printed_lines.truncate(shown_lines.len());
                    }
                    assert_eq!(printed_lines, shown_lines, "{command} prints\n{printed}");
                }
                commands += 1;
                desk.write(&format!("{}.meta", name(&base)), &base);
            }
            other => panic!("a block of another kind: {other}"),
        }
    }
    assert!(experiments >= 5 && (cfg!(debug_assertions) || commands >= 5), "{experiments}, {commands}");
}
