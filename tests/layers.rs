//! The layers of `ARCHITECTURE.md`: no module uses one above it, and effects stay at the top.

use std::fs;
use std::path::{Path, PathBuf};

/// Every module with its layer. A module uses lower layers, itself, and what [`ASIDE`] lists.
const LAYERS: &[(&str, u32)] = &[
    ("diag", 0),
    ("hash", 0),
    ("simd", 0),
    ("syntax", 1),
    ("rng", 1),
    ("numeric", 1),
    ("ir", 2),
    ("catalog", 3),
    ("plan", 4),
    ("lang", 5),
    ("exec", 6),
    ("train", 7),
    ("data", 7),
    ("ledger", 7),
    ("report", 8),
    ("query", 9),
    ("cli", 10),
];

/// Arrows within a layer.
const ASIDE: &[(&str, &str)] = &[("train", "data"), ("rng", "numeric")];

/// Arrows that point down and are wrong all the same, with the reason.
const NEVER: &[(&str, &str, &str)] = &[
    ("exec", "plan", "an executor runs programs, whatever they are for"),
    ("exec", "lang", "an executor runs programs, whatever they are for"),
    ("exec", "syntax", "an executor runs programs, whatever they are for"),
    ("train", "lang", "a plan is trained, wherever it came from"),
    ("train", "syntax", "a plan is trained, wherever it came from"),
    ("ledger", "lang", "a plan is stored, wherever it came from"),
    ("ledger", "syntax", "a plan is stored, wherever it came from"),
    ("catalog", "syntax", "an entry is typed data; what was written is checked by `lang`"),
    ("plan", "syntax", "a plan has no spans"),
    ("plan", "diag", "a plan has no spans"),
];

/// What only `cli` may do, by the text that does it.
const EFFECTS: &[&str] = &[
    "std::env::",
    "use std::env",
    "SystemTime",
    "Instant",
    "println!",
    "print!",
    "std::io::stdout",
    "std::io::stderr",
    "std::process::",
    "sysinfo",
];

struct Source {
    path: PathBuf,
    /// The module below `src`, such as `train`; empty for `lib.rs` and `main.rs`.
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources can be listed") {
            let path = entry.expect("the sources can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                let within = path.strip_prefix(&root).expect("it lies within the folder");
                let module = if within.components().count() > 1 { within.iter().next() } else { None };
                let module = module.map_or(String::new(), |m| m.to_string_lossy().into_owned());
                found.push(Source { path: within.to_owned(), module, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The code of a file: without comments, and without its tests, which may bring helpers from anywhere.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The modules named behind `crate::`, one by one or in braces, with their line.
fn used(text: &str) -> Vec<(String, usize)> {
    let code = code(text);
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("crate::") {
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + mark.len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![first_name(rest)],
        };
        found.extend(names.into_iter().filter(|n| !n.is_empty()).map(|n| (n, line)));
    }
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of every part of a brace list, up to its end.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (i, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                names.push(first_name(&list[start..i]));
                break;
            }
            ',' if depth == 0 => {
                names.push(first_name(&list[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    names
}

fn layer(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// Why `from` may not use `to`, if it may not.
fn refusal(from: &str, to: &str) -> Option<String> {
    let (Some(ours), Some(theirs)) = (layer(from), layer(to)) else { return None };
    if let Some((_, _, why)) = NEVER.iter().find(|(a, b, _)| (*a, *b) == (from, to)) {
        return Some((*why).to_owned());
    }
    let fine = from == to || theirs < ours || ASIDE.contains(&(from, to));
    (!fine).then(|| format!("`{from}` lies on layer {ours}, `{to}` on layer {theirs}"))
}

fn report(what: &str, mistakes: &[String]) {
    assert!(mistakes.is_empty(), "{what}:\n{}", mistakes.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let lib = sources().into_iter().find(|s| s.path == Path::new("lib.rs")).expect("a library");
    let declared: Vec<String> = code(&lib.text).split("mod ").skip(1).map(first_name).collect();
    let unknown: Vec<String> = declared.into_iter().filter(|m| layer(m).is_none()).collect();
    report("modules that LAYERS does not know", &unknown);
}

#[test]
fn no_arrow_points_up() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (to, line) in used(&source.text) {
            if let Some(why) = refusal(&source.module, &to) {
                wrong.push(format!("src/{}:{line} uses `{to}`: {why}", source.path.display()));
            }
        }
    }
    report("arrows that must not be", &wrong);
}

#[test]
fn only_the_command_line_has_effects_on_a_person_or_reads_the_machine() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.module != "cli" && s.path != Path::new("main.rs")) {
        for (number, line) in code(&source.text).lines().enumerate() {
            for effect in EFFECTS.iter().filter(|e| line.contains(**e)) {
                wrong.push(format!("src/{}:{} `{effect}`", source.path.display(), number + 1));
            }
        }
    }
    report("effects below `cli`", &wrong);
}

#[test]
fn every_file_says_what_it_holds_and_is_not_too_long() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("src/{} does not begin with a `//!` line", source.path.display()));
        }
        let lines = source.text.lines().count();
        if lines > 800 {
            wrong.push(format!("src/{} has {lines} lines; 800 are the most", source.path.display()));
        }
    }
    report("files to mend", &wrong);
}

#[test]
fn arrows_are_found_in_every_form() {
    let text = "use crate::ir::{Op, Tensor};\nuse crate::{plan::{Arm, Plan}, cli};\n// use crate::exec;\nfn f(x: crate::rng::Stream) {}";
    let found: Vec<(String, usize)> = used(text);
    let wanted = [("ir", 1), ("plan", 2), ("cli", 2), ("rng", 4)].map(|(name, line)| (name.to_owned(), line));
    assert_eq!(found, wanted);
    assert_eq!(refusal("train", "data"), None);
    assert_eq!(refusal("train", "train"), None);
    for (from, to) in [
        ("train", "ledger"),
        ("ledger", "train"),
        ("data", "train"),
        ("ir", "plan"),
        ("exec", "plan"),
        ("diag", "hash"),
    ] {
        assert!(refusal(from, to).is_some(), "{from} -> {to}");
    }
}
