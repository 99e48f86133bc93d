//! From text to plan, with every mistake shown.

use metadsl::diag::{self, Sink};
use metadsl::lang;
use metadsl::plan::Plan;
use metadsl::syntax::ast::{Field, File, ItemKind};
use metadsl::syntax::parse;

/// The plan of an experiment under overrides such as `train.steps = 3`, which hold for every arm.
pub fn compile(text: &str, overrides: &[&str]) -> Plan {
    check(text, &read(text), &fields(overrides))
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
