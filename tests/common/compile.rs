//! From text to plan, with every mistake shown.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::path::Path;

use metadsl::diag::{self, Sink};
use metadsl::lang::{self, Source};
use metadsl::plan::Plan;
use metadsl::syntax::ast::{Field, File, ItemKind};
use metadsl::syntax::parse;

/// The plan of an experiment under overrides such as `train.steps = 3`, which hold for every arm.
pub fn compile(text: &str, overrides: &[&str]) -> Plan {
    check(text, &read(text), &fields(overrides))
}

/// The plan of an experiment's file, whose `use` lines name others from its folder.
pub fn compile_file(path: &Path) -> Plan {
    let source = |path: &Path| -> Result<Source, String> {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        Ok(Source { id: path.display().to_string(), name: path.display().to_string(), text })
    };
    let main = source(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (text, tree) = (main.text.clone(), read(&main.text));
    let folder = path.parent().expect("a file lies in a folder");
    let mut sink = Sink::new();
    let (tree, _) = lang::import(tree, main, &|_, name| source(&folder.join(name)), &mut sink);
    assert!(!sink.has_errors(), "{}: a file that it uses cannot be read", path.display());
    check(&text, &tree, &[])
}

/// The tree of a text without mistakes.
pub fn read(text: &str) -> File {
    let mut sink = Sink::new();
    let file = parse(text, &mut sink);
    assert!(!sink.has_errors(), "{}", diag::render(text, "test.meta", &sink.finish(), false));
    file
}

/// The plan of a tree; `text` is what messages show.
pub fn check(text: &str, file: &File, overrides: &[Field]) -> Plan {
    let mut sink = Sink::new();
    match lang::compile(file, overrides, &mut sink) {
        Some(compiled) => {
            compiled.plan.verify().unwrap_or_else(|error| panic!("a checked plan is whole: {error}"));
            compiled.plan
        }
        None => panic!("{}", diag::render(text, "test.meta", &sink.finish(), false)),
    }
}

/// Overrides as the command line makes them.
pub fn fields(overrides: &[&str]) -> Vec<Field> {
    let file = read(&format!("arm overrides {{\n{}\n}}\n", overrides.join("\n")));
    let arms = file.items.into_iter().map(|item| item.kind);
    arms.flat_map(|kind| if let ItemKind::Arm { fields, .. } = kind { fields } else { vec![] }).collect()
}
