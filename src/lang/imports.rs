//! `use "base.meta"`: the items of other files, in front of those of the file that uses them; `use "config.json"`: dims and constants.
//!
//! All texts of an experiment are laid one behind the other, so that a span says in which of them it stands.

use super::duplicates::RESERVED;
use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{File, Item, ItemKind, Use};
use crate::syntax::parse;

/// A file that `use` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What tells files apart, however a path to them is written.
    pub id: String,
    /// The name that messages show.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The texts of an experiment, one behind the other; the first is the experiment itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    all: String,
    parts: Vec<Part>,
}

/// One of the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    id: String,
    name: String,
    /// Where it starts among all texts.
    start: usize,
}

/// The hash by which a `use` line freezes a text: BLAKE3 in hexadecimal digits, as `b3sum` prints it.
pub fn frozen_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Finds the file that a path names in the file of an id, or says why there is none.
pub type Read<'r> = dyn Fn(&str, &str) -> Result<Source, String> + 'r;

/// Puts the items of imported files in front of those of a file, each file once. `main` is the file itself, whose text is
/// that of `tree`.
pub fn import(tree: File, main: Source, read: &Read, sink: &mut Sink) -> (File, Texts) {
    let texts = Texts { all: main.text, parts: vec![Part { id: main.id.clone(), name: main.name.clone(), start: 0 }] };
    let mut imports = Imports { read, edition: tree.edition.map(|(year, _)| year), texts, chain: vec![], done: vec![] };
    imports.chain.push((main.id, main.name));
    let own = tree.items.len();
    let items = imports.items(&tree.uses, tree.items, sink);
    let imported = items.len() - own;
    (File { items, imported, uses: vec![], ..tree }, imports.texts)
}

struct Imports<'r> {
    read: &'r Read<'r>,
    edition: Option<u32>,
    texts: Texts,
    /// The files being read, from the experiment to the one whose `use` lines are followed: ids and names.
    chain: Vec<(String, String)>,
    /// The ids of those that have been read.
    done: Vec<String>,
}

impl Imports<'_> {
    fn items(&mut self, uses: &[Use], own: Vec<Item>, sink: &mut Sink) -> Vec<Item> {
        let mut items: Vec<Item> = uses.iter().filter_map(|line| self.file(line, sink)).flatten().collect();
        items.extend(own);
        items
    }

    /// The items of one file, and of those that it uses; `None` where there is none, or they are there already.
    fn file(&mut self, line: &Use, sink: &mut Sink) -> Option<Vec<Item>> {
        let (from, _) = self.chain.last().expect("the experiment itself is read");
        let cannot = |reason| {
            let message = format!("`{}` cannot be used: {reason}", line.path);
            Diagnostic::error("E0720", line.path_span, message)
        };
        let mut source = match (self.read)(from, &line.path) {
            Ok(source) => source,
            Err(reason) => {
                sink.push(cannot(reason).help("the path is taken from the folder of the file that it stands in"));
                return None;
            }
        };
        if let Some(start) = self.chain.iter().position(|(id, _)| *id == source.id) {
            let mut round: Vec<&str> = self.chain[start..].iter().map(|(_, name)| name.as_str()).collect();
            round.push(&source.name);
            sink.push(
                Diagnostic::error("E0721", line.path_span, "files use each other in a round")
                    .label(round.join(" uses "))
                    .help("move what both need into a file of its own"),
            );
            return None;
        }
        self.check_frozen(line, &source, sink);
        if self.done.contains(&source.id) {
            return None;
        }
        self.done.push(source.id.clone());
        if line.path.ends_with(".json") {
            source.text = match numbers(&source.text, self.edition) {
                Ok(text) => text,
                Err(reason) => {
                    sink.push(cannot(reason).help("of a JSON file, the numbers of one object are read"));
                    return None;
                }
            };
        }
        self.texts.all.push('\n');
        let start = self.texts.all.len();
        // Blanks in the place of the texts before it give every span its place among all texts.
        let tree = parse(&format!("{}{}", " ".repeat(start), source.text), sink);
        self.texts.all.push_str(&source.text);
        self.texts.parts.push(Part { id: source.id.clone(), name: source.name.clone(), start });
        if let (Some(year), Some((other, span))) = (self.edition, tree.edition)
            && year != other
        {
            sink.push(
                Diagnostic::error(
                    "E0723",
                    span,
                    format!("this file is of edition {other}, and is used by one of {year}"),
                )
                .help("files of one experiment are of one edition"),
            );
        }
        self.chain.push((source.id, source.name));
        let items = self.items(&tree.uses, tree.items, sink);
        self.chain.pop();
        Some(items)
    }

    fn check_frozen(&self, line: &Use, source: &Source, sink: &mut Sink) {
        if let Some((frozen, span)) = &line.frozen {
            let found = frozen_hash(&source.text);
            if *frozen != found {
                sink.push(
                    Diagnostic::error("E0722", *span, format!("`{}` is not the text that was frozen", line.path))
                        .label(format!("it is now b3:{found}"))
                        .help("if the change is meant: `metadsl freeze FILE`"),
                );
            }
        }
    }
}

/// The numbers of a JSON object under their names, each on the line where it stands: sizes as dims, others as constants. So the
/// `config.json` of Hugging Face says what a trained network was made with. Fields of other kinds are left out, and names that cannot be
/// defined.
fn numbers(json: &str, edition: Option<u32>) -> Result<String, String> {
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|e| format!("it is no object of JSON: {e}"))?;
    let mut lines = vec![String::new(); json.lines().count()];
    lines[0].extend(edition.map(|year| format!("edition {year}; ")));
    for (name, value) in fields.iter().filter(|(_, value)| value.is_number()) {
        let size = value.as_u64().is_some_and(|size| size > 0);
        let item = format!("{} {name} = {value}; ", if size { "dim" } else { "let" });
        if is_definition(&item) && !RESERVED.iter().any(|(word, _)| word == name) {
            let before = json.find(&format!("\"{name}\"")).unwrap_or(0);
            lines[json[..before].matches('\n').count()].push_str(&item);
        }
    }
    Ok(lines.join("\n"))
}

/// Whether a text is one dim or constant and nothing else.
fn is_definition(text: &str) -> bool {
    let mut sink = Sink::new();
    let tree = parse(text, &mut sink);
    let one = |item: &Item| matches!(item.kind, ItemKind::Dim { .. } | ItemKind::Let { .. });
    !sink.has_errors() && matches!(&tree.items[..], [item] if one(item))
}

impl Texts {
    /// The id of the text that a place is in.
    pub fn id(&self, span: Span) -> &str {
        &self.part(span).1.id
    }

    /// Every text with its name and the diagnostics in it, whose places count from its start. Places in other texts become
    /// help.
    pub fn split(&self, diagnostics: &[Diagnostic]) -> Vec<(&str, &str, Vec<Diagnostic>)> {
        let own =
            |i: usize| diagnostics.iter().filter(move |d| self.part(d.span).0 == i).map(move |d| self.moved(d, i));
        self.parts.iter().enumerate().map(|(i, part)| (part.name.as_str(), self.text(i), own(i).collect())).collect()
    }

    fn text(&self, i: usize) -> &str {
        // A line break stands between two texts.
        let end = self.parts.get(i + 1).map_or(self.all.len(), |next| next.start - 1);
        &self.all[self.parts[i].start..end]
    }

    fn part(&self, span: Span) -> (usize, &Part) {
        let found = self.parts.iter().enumerate().rfind(|(_, part)| part.start <= span.start);
        found.expect("the first text starts at 0")
    }

    fn moved(&self, diagnostic: &Diagnostic, i: usize) -> Diagnostic {
        let start = self.parts[i].start;
        let within = |span: Span| Span::new(span.start - start, span.end.saturating_sub(start));
        let mut moved = Diagnostic { span: within(diagnostic.span), related: vec![], ..diagnostic.clone() };
        for (span, label) in &diagnostic.related {
            let (other, part) = self.part(*span);
            if other == i {
                moved.related.push((within(*span), label.clone()));
            } else {
                let line = 1 + self.all[part.start..span.start].matches('\n').count();
                moved.help.push(format!("{label}: {}:{line}", part.name));
            }
        }
        moved.fix = moved.fix.filter(|fix| self.part(fix.span).0 == i);
        if let Some(fix) = &mut moved.fix {
            fix.span = within(fix.span);
        }
        moved
    }
}
