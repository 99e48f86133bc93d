//! The fields of `train`, `stage` and `evaluate`.

use super::calls::unknown_word;
use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{Expr, ExprKind, Field, Section};

/// The fields of `train` and of each `stage`.
const TRAIN: &[&str] = &[
    "method",
    "tasks",
    "split",
    "augment",
    "loss",
    "with",
    "adapt",
    "through",
    "keep",
    "freeze",
    "reset",
    "outer",
    "update",
    "retract",
    "steps",
    "precision",
];

/// The fields of `evaluate`.
const EVALUATE: &[&str] =
    &["method", "tasks", "split", "augment", "loss", "with", "adapt", "episodes", "after", "query", "interpolate"];

/// Whether a section has no use for a setting of training: what an evaluation takes of a method is how tasks adapt.
pub(super) fn is_for_training(name: &str, section: &Section) -> bool {
    section.keyword.text == "evaluate" && TRAIN.contains(&name) && !EVALUATE.contains(&name)
}

/// The fields of a section, each known and set once.
pub(super) struct Fields<'a> {
    section: &'a Section,
    /// The section as a message names it.
    pub what: String,
}

impl<'a> Fields<'a> {
    /// Reads the fields; reports those that are unknown or set twice.
    pub fn read(section: &'a Section, sink: &mut Sink) -> Fields<'a> {
        let what = match &section.name {
            Some(name) => format!("`{} {}`", section.keyword.text, name.text),
            None => format!("`{}`", section.keyword.text),
        };
        let (allowed, (other, others)) = match section.keyword.text.as_str() {
            "evaluate" => (EVALUATE, ("train", TRAIN)),
            _ => (TRAIN, ("evaluate", EVALUATE)),
        };
        for (i, field) in section.fields.iter().enumerate() {
            let name = &field.path[0];
            if !allowed.contains(&name.text.as_str()) {
                let error = Diagnostic::error("E0216", name.span, format!("{what} has no field `{}`", name.text));
                sink.push(match others.contains(&name.text.as_str()) {
                    true => error.help(format!("`{}` is a field of `{other}`", name.text)),
                    false => error.suggest(name.span, &name.text, allowed.iter().copied()),
                });
            } else if field.path.len() > 1 {
                sink.push(
                    Diagnostic::error("E0224", field.path_span(), "an argument is overridden in an arm, not here")
                        .help(format!("write the argument into the call that `{}` holds", name.text)),
                );
            } else if let Some(first) = section.fields[..i].iter().find(|f| is(f, &name.text)) {
                sink.push(
                    Diagnostic::error("E0217", name.span, format!("`{}` is set twice", name.text))
                        .related(first.path_span(), "first set here"),
                );
            }
        }
        Fields { section, what }
    }

    /// The field of that name.
    pub fn get(&self, name: &str) -> Option<&'a Field> {
        self.section.fields.iter().find(|f| is(f, name))
    }

    /// The value of a field that must be set.
    pub fn required(&self, name: &str, example: &str, sink: &mut Sink) -> Option<&'a Expr> {
        let found = self.get(name).map(|f| &f.value);
        if found.is_none() {
            sink.push(self.missing(name).help(format!("for example `{example}`")));
        }
        found
    }

    /// The error about a field that is not set.
    pub fn missing(&self, name: &str) -> Diagnostic {
        Diagnostic::error("E0504", self.span_of_section(), format!("{} does not set `{name}`", self.what))
    }

    /// The place of a field's value, or of the section where it is absent.
    pub fn span(&self, name: &str) -> Span {
        self.get(name).map_or(self.span_of_section(), |f| f.value.span)
    }

    /// The place of a field, name and value, or of the section where it is absent.
    pub fn whole_span(&self, name: &str) -> Span {
        self.get(name).map_or(self.span_of_section(), |f| f.path_span().to(f.value.span))
    }

    fn span_of_section(&self) -> Span {
        let keyword = self.section.keyword.span;
        self.section.name.as_ref().map_or(keyword, |name| keyword.to(name.span))
    }
}

fn is(field: &Field, name: &str) -> bool {
    field.path.len() == 1 && field.path[0].text == name
}

/// The value that a word stands for.
pub(super) fn word<T: Copy>(expr: &Expr, field: &str, words: &[(&str, T)], sink: &mut Sink) -> Option<T> {
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    match (expr.single(), &expr.kind) {
        (Some(name), _) => {
            let found = words.iter().find(|(word, _)| name.text == *word);
            if found.is_none() {
                sink.push(unknown_word(&format!("`{field}`"), name, &known));
            }
            found.map(|(_, value)| *value)
        }
        (None, ExprKind::Error) => None,
        (None, _) => {
            sink.push(Diagnostic::error("E0415", expr.span, format!("`{field}` must be one of {}", known.join(", "))));
            None
        }
    }
}
