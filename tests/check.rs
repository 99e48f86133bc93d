//! Messages of the checker: one small file per mistake, named after it, and the text that a person reads under snapshot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use metadsl::diag::{Diagnostic, Severity, Sink, mend, render};
use metadsl::lang::{Compiled, Source, Texts, compile, import};
use metadsl::syntax::parse;

#[path = "common/shipped.rs"]
mod shipped;

/// The plan of a text, what was found, and the texts that the places are in: files that it uses lie in `folder`.
fn check_texts(text: &str, folder: &Path) -> (Option<Compiled>, Vec<Diagnostic>, Texts) {
    let mut sink = Sink::new();
    let main = Source { id: "main".into(), name: "main".into(), text: text.to_owned() };
    let (file, texts) = import(parse(text, &mut sink), main, &|_, path| used(folder, path), &mut sink);
    let compiled = if sink.has_errors() { None } else { compile(&file, &[], &mut sink) };
    (compiled, sink.finish(), texts)
}

fn used(folder: &Path, path: &str) -> Result<Source, String> {
    let text = fs::read_to_string(folder.join(path)).map_err(|_| "it is not there".to_owned())?;
    Ok(Source { id: path.to_owned(), name: path.to_owned(), text })
}

/// Where the files lie that fixtures use.
fn beside() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check/used")
}

fn check(text: &str) -> (Option<Compiled>, Vec<Diagnostic>) {
    let (compiled, found, _) = check_texts(text, &beside());
    (compiled, found)
}

fn fixtures() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check");
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a text");
            (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn messages() {
    insta::glob!("fixtures/check/*.meta", |path| {
        let text = fs::read_to_string(path).expect("a text");
        let (_, diagnostics, texts) = check_texts(&text, &beside());
        let own = path.file_name().expect("a name").to_string_lossy();
        let shown = texts
            .split(&diagnostics)
            .into_iter()
            .map(|(name, text, found)| render(text, if name == "main" { &own } else { name }, &found, false));
        let shown: String = shown.collect();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(shown);
        });
    });
}

#[test]
fn every_fixture_is_about_the_checker_and_says_something() {
    for (name, text) in fixtures() {
        let (compiled, diagnostics) = check(&text);
        assert!(!diagnostics.is_empty(), "{name} has no mistake");
        for d in &diagnostics {
            assert!(!d.code.starts_with("E01"), "{name} has a mistake of syntax: {} {}", d.code, d.message);
        }
        let errors = diagnostics.iter().any(|d| d.severity == Severity::Error);
        assert_eq!(compiled.is_none(), errors, "{name}: a plan exactly where there are no errors");
    }
}

#[test]
fn a_fixture_has_one_mistake_unless_it_is_about_several() {
    for (name, text) in fixtures() {
        let (_, diagnostics) = check(&text);
        let several = name.starts_with("several_");
        assert_eq!(diagnostics.len() > 1, several, "{name} reports {} mistakes: {diagnostics:#?}", diagnostics.len());
    }
}

/// A fix is worth more than words only where it mends the mistake.
#[test]
fn every_fix_mends_its_mistake() {
    for (name, text) in fixtures() {
        let (_, diagnostics) = check(&text);
        for d in &diagnostics {
            let Some(fix) = &d.fix else { continue };
            let mended = format!("{}{}{}", &text[..fix.span.start], fix.replacement, &text[fix.span.end..]);
            let (_, after) = check(&mended);
            let still = after.iter().any(|a| a.code == d.code && a.message == d.message);
            assert!(!still, "{name}: after the fix `{}` the mistake is still reported: {}", fix.replacement, d.message);
        }
    }
}

#[test]
fn spellings_of_before_mean_the_same_and_are_mended() {
    let before = fixtures().into_iter().find(|(name, _)| name == "spelling_of_before.meta").expect("the fixture").1;
    let (compiled, found) = check(&before);
    let mended = mend(&before, &found).expect("the fix needs no guess");
    assert_eq!(mended, before.replace("steps = [0, 5]", "after = [0, 5]"));
    let (renewed, left) = check(&mended);
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(compiled.expect("a plan").plan, renewed.expect("a plan").plan);
}

#[test]
fn every_code_of_the_checker_has_a_fixture() {
    let mut codes = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lang");
    for entry in fs::read_dir(folder).expect("the checker is there") {
        let source = fs::read_to_string(entry.expect("a readable folder").path()).expect("a text");
        // Codes stand in quotes: `"E0301"`, `"W0501"`.
        let quoted = source.split('"').filter(|part| part.len() == 5 && part.starts_with(['E', 'W']));
        codes.extend(quoted.filter(|part| part[1..].bytes().all(|b| b.is_ascii_digit())).map(str::to_owned));
    }
    let reported: BTreeSet<String> =
        fixtures().iter().flat_map(|(_, text)| check(text).1).map(|d| d.code.to_owned()).collect();
    let missing: Vec<&String> = codes.difference(&reported).collect();
    assert!(missing.is_empty(), "no fixture shows {missing:?}");
}

#[test]
fn the_experiments_have_no_mistake() {
    for path in shipped::files() {
        let folder = path.parent().expect("a folder");
        let (compiled, diagnostics, _) = check_texts(&shipped::read(&path), folder);
        assert!(compiled.is_some() && diagnostics.is_empty(), "{}: {diagnostics:#?}", path.display());
    }
}
