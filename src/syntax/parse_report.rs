//! Where the stages of parsing leave their diagnostics: at most a hundred, and one for each damaged place.

use crate::diag::{Diagnostic, Sink, Span};

/// A person mends a few mistakes at a time; a file of the wrong kind has a mistake on every line.
const MOST: usize = 100;

/// The sink of one parse.
pub(super) struct Report<'s> {
    sink: &'s mut Sink,
    given: usize,
    damage: Vec<Span>,
}

impl<'s> Report<'s> {
    /// A report that writes to `sink`.
    pub(super) fn new(sink: &'s mut Sink) -> Report<'s> {
        Report { sink, given: 0, damage: Vec::new() }
    }

    /// Whether the report is full.
    pub(super) fn is_full(&self) -> bool {
        self.given > MOST
    }

    /// How many were given so far; equal counts before and after a piece of text mean that it is in order.
    pub(super) fn given(&self) -> usize {
        self.given
    }

    /// Whether a mistake was reported that explains whatever else is wrong at this place.
    pub(super) fn is_damaged(&self, span: Span) -> bool {
        self.damage.iter().any(|d| span.start < d.end && d.start < span.end.max(span.start + 1))
    }

    /// Takes a diagnostic, unless its place is known to be damaged already.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.take(diagnostic);
    }

    /// The same; says whether it was taken.
    fn take(&mut self, diagnostic: Diagnostic) -> bool {
        if self.is_full() || self.is_damaged(diagnostic.span) {
            return false;
        }
        self.given += 1;
        if self.is_full() {
            let message = format!("more than {MOST} mistakes; the rest of the file is not judged");
            self.sink.push(Diagnostic::error("E0100", diagnostic.span, message));
        } else {
            self.sink.push(diagnostic);
        }
        true
    }

    /// Takes a diagnostic and drops every later one that touches `damaged`, since it would only be a consequence.
    pub(super) fn push_damage(&mut self, damaged: Span, diagnostic: Diagnostic) {
        if self.take(diagnostic) {
            self.damage.push(damaged);
        }
    }
}
