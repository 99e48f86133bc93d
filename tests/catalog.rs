//! The catalog: the example of every entry is checked within a small experiment of its kind, and the page of
//! the documentation holds all signatures.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use metadsl::catalog::page::{self, entries};
use metadsl::catalog::{Entry, Kind};
use metadsl::diag::{Severity, Sink, render};
use metadsl::lang::compile;
use metadsl::syntax::parse;

/// The template in whose place `EXAMPLE` the entry's example stands.
fn template(entry: &Entry) -> &'static str {
    match (entry.kind, entry.name) {
        (Kind::Law, _) => "law",
        (Kind::Function, "flatten" | "positions") => "operator",
        (Kind::Function, _) if entry.params.len() > 1 => "operator",
        (Kind::Function, _) => "function",
        (Kind::Loss, "cross_entropy") => "loss_of_classes",
        (Kind::Loss, "risk") => "loss_of_risk",
        (Kind::Loss, _) => "loss",
        (Kind::Added, "head") => "head",
        (Kind::Added | Kind::Retraction, _) => "added",
        (Kind::Augmentation, _) => "augmentation",
        (Kind::Schedule, _) => "schedule",
        (Kind::Adaptation, "class_mean") => "adaptation_of_classes",
        (Kind::Adaptation, "in_context") => "in_context",
        (Kind::Adaptation, _) => "adaptation",
        (Kind::Through, _) => "through",
        (Kind::Outer, _) => "outer",
        (Kind::Update, _) => "update",
        (Kind::Tasks, _) => "tasks",
        (Kind::Partition, "classes") => "episodes",
        (Kind::Partition, _) => "partition",
        (Kind::Data, "safetensors") => "weights",
        (Kind::Data, _) => "data",
        (Kind::StateMetric, _) => "metric_of_state",
        (Kind::ExampleMetric, "accuracy" | "cross_entropy") => "metric_of_classes",
        (Kind::ExampleMetric, "nmi" | "purity") => "metric_of_codes",
        (Kind::ExampleMetric | Kind::Reduction, _) => "metric",
        (Kind::SeedReduction, _) => "claim",
        (Kind::Sweep, _) => "sweep",
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalog")
}

/// Loops over some examples need a reduction that does not differentiate; the rest of the template is the same.
fn embed(entry: &Entry) -> String {
    let path = folder().join(template(entry)).with_extension("meta");
    let text = fs::read_to_string(&path).expect("a template").replace("EXAMPLE", entry.example);
    if entry.kind == Kind::Data {
        // The name of the data set stands where it is used, too.
        return text.replace("NAME", entry.example.split_whitespace().nth(1).expect("`data NAME = ...`"));
    }
    if entry.kind == Kind::Adaptation && entry.example.contains("epochs") {
        return text.replace("outer  = mean", "outer  = average");
    }
    text
}

#[test]
fn every_example_is_in_order() {
    for entry in entries() {
        let text = embed(entry);
        let mut sink = Sink::new();
        let file = parse(&text, &mut sink);
        let compiled = if sink.has_errors() { None } else { compile(&file, &[], &mut sink) };
        let errors: Vec<_> = sink.finish().into_iter().filter(|d| d.severity == Severity::Error).collect();
        let report = render(&text, entry.name, &errors, false);
        assert!(compiled.is_some(), "the example of {} `{}`:\n{report}", entry.kind.describe(), entry.name);
    }
}

#[test]
fn every_example_uses_its_entry() {
    for entry in entries() {
        assert!(entry.example.contains(entry.name), "{}: {}", entry.name, entry.example);
    }
}

#[test]
fn every_template_is_used() {
    let used: BTreeSet<String> = entries().map(|e| format!("{}.meta", template(e))).collect();
    let files = fs::read_dir(folder()).expect("templates");
    let there: BTreeSet<String> =
        files.map(|f| f.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(there, used);
}

/// Run `metadsl catalog --markdown > docs/catalog.md` where this fails, and read what changed.
#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/catalog.md");
    let stale = fs::read_to_string(path).expect("the page") != page::markdown();
    assert!(!stale, "docs/catalog.md is not what `metadsl catalog --markdown` writes");
}

#[test]
fn every_entry_is_on_the_list_and_has_a_page() {
    let list = page::list();
    for entry in entries() {
        assert!(list.contains(&entry.signature()), "{}", entry.name);
        let text = page::describe(entry);
        assert!(text.contains(entry.doc) && text.contains(entry.example), "{text}");
        assert!(entry.params.iter().all(|p| text.contains(p.doc)), "{text}");
        assert_eq!(page::to_json(entry)["params"].as_array().map(Vec::len), Some(entry.params.len()));
    }
}
