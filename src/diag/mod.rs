//! Diagnostics: what is wrong in a file, where, why, and how to mend it.
//!
//! Every stage that reads user text reports through a [`Sink`]; [`render`] turns the result into the text a person
//! reads. A diagnostic carries the span of the offending text, so it can be shown in a terminal or an editor alike.

mod explain;
mod mend;
mod render;
mod suggest;
mod synonym;

pub use explain::{Explanation, example_experiment, explain, explanations};
pub use mend::mend;
pub use render::{render, summary, to_json};
pub use suggest::closest;

/// A byte range of the source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The experiment can run, but probably does not say what was meant.
    Warning,
    /// The experiment cannot run.
    Error,
}

/// A change of the text that mends a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// What stands there afterwards.
    pub replacement: String,
    /// The fix in words, as in "did you mean `support`?".
    pub title: String,
    /// Whether there is nothing to guess: the fix writes what is there in the language's own spelling.
    pub safe: bool,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable code: `E01..` syntax, `E02..` names, `E03..` dims and shapes, `E04..` parameters, `E05..` experiment, `E06..` data, `E07..` sweeps, functions and imports.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The mistake in one sentence, without its place.
    pub message: String,
    /// Where it is.
    pub span: Span,
    /// What stands at the span, in a few words; may be empty.
    pub label: String,
    /// Other places that explain it, such as a definition.
    pub related: Vec<(Span, String)>,
    /// Why, or how to mend it, in words.
    pub help: Vec<String>,
    /// A change that mends it.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// An error with a code, a place and a sentence.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            label: String::new(),
            related: Vec::new(),
            help: Vec::new(),
            fix: None,
        }
    }

    /// A warning with a code, a place and a sentence.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// The same with a few words at its place.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// The same with another place that explains it.
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.related.push((span, label.into()));
        self
    }

    /// The same with a sentence of help.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// The same with a change that mends it.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>, title: impl Into<String>) -> Diagnostic {
        self.fix = Some(Fix { span, replacement: replacement.into(), title: title.into(), safe: false });
        self
    }

    /// The same; its fix needs no second look, and `check --fix` applies it.
    pub fn safe(mut self) -> Diagnostic {
        if let Some(fix) = &mut self.fix {
            fix.safe = true;
        }
        self
    }

    /// The same with the word of `known` that other tools call `wrong`, "did you mean" for the closest of `known`, or the list of them where none is close.
    pub fn suggest<'a>(self, span: Span, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        let known: Vec<&str> = known.into_iter().collect();
        if let Some(ours) = synonym::synonym(wrong, &known) {
            return self.fix(span, ours, format!("`{wrong}` is called `{ours}` here")).safe();
        }
        match closest(wrong, known.iter().copied()) {
            Some(best) => self.fix(span, best, format!("did you mean `{best}`?")),
            None if known.is_empty() => self,
            None => self.known_here(&known),
        }
    }

    /// The names that could stand here; a large model has too many to be read.
    pub fn known_here(self, known: &[&str]) -> Diagnostic {
        const SHOWN: usize = 40;
        let shown = known[..known.len().min(SHOWN)].join(", ");
        match known.len().saturating_sub(SHOWN) {
            0 => self.help(format!("known here: {shown}")),
            more => self.help(format!("known here: {shown}, and {more} more")),
        }
    }
}

/// Where diagnostics are collected; reporting one twice keeps one.
#[derive(Debug, Default)]
pub struct Sink {
    found: Vec<Diagnostic>,
}

impl Sink {
    /// An empty sink.
    pub fn new() -> Sink {
        Sink::default()
    }

    /// Takes a diagnostic, unless the same mistake at the same place was reported before.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let same =
            |d: &Diagnostic| d.code == diagnostic.code && d.span == diagnostic.span && d.message == diagnostic.message;
        if !self.found.iter().any(same) {
            self.found.push(diagnostic);
        }
    }

    /// Whether any of them is an error.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of them in the order of the text.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| (d.span, std::cmp::Reverse(d.severity), d.code));
        self.found
    }
}
