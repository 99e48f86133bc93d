//! The catalog as text: for the terminal, as JSON, and as the page `docs/catalog.md`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::ENTRIES;
use super::entry::Entry;

const INTACT: &str = "a string takes all";

/// Every entry, in the order of the table.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().flat_map(|group| group.iter())
}

/// One line per entry: its signature and where it can stand.
pub fn list() -> String {
    let width = entries().map(|e| e.signature().chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for entry in entries() {
        writeln!(out, "{:width$}  {}", entry.signature(), entry.kind.describe()).expect(INTACT);
    }
    out
}

/// All about one entry.
pub fn describe(entry: &Entry) -> String {
    let mut out = format!("{}: {}\n\n{}\n", entry.signature(), entry.kind.describe(), entry.doc);
    if !entry.params.is_empty() {
        out.push('\n');
    }
    for param in entry.params {
        writeln!(out, "  {}: {}; {}", param.name, param.ty.describe(), param.doc).expect(INTACT);
    }
    writeln!(out, "\nexample:\n  {}", entry.example).expect(INTACT);
    out
}

/// An entry as JSON.
pub fn to_json(entry: &Entry) -> Value {
    let params = entry.params.iter().map(|p| json!({ "name": p.name, "type": p.ty.describe(), "doc": p.doc }));
    json!({
        "name": entry.name,
        "kind": entry.kind.describe(),
        "signature": entry.signature(),
        "params": params.collect::<Vec<_>>(),
        "doc": entry.doc,
        "example": entry.example,
    })
}

/// The page `docs/catalog.md`: every entry, by kind.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Catalog\n\nEvery name that a `.meta` file can call. Written by `metadsl catalog --markdown`; a test compares.\n",
    );
    let mut kinds = Vec::new();
    for entry in entries() {
        if !kinds.contains(&entry.kind) {
            kinds.push(entry.kind);
        }
    }
    for kind in kinds {
        writeln!(out, "\n## As {}", kind.describe()).expect(INTACT);
        for entry in super::of_kind(kind) {
            writeln!(out, "\n### `{}`\n\n{}\n", entry.signature(), entry.doc).expect(INTACT);
            for param in entry.params {
                writeln!(out, "- `{}`: {}; {}", param.name, param.ty.describe(), param.doc).expect(INTACT);
            }
            if !entry.params.is_empty() {
                out.push('\n');
            }
            writeln!(out, "```meta\n{}\n```", entry.example).expect(INTACT);
        }
    }
    out
}
