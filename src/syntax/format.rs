//! The formatter: it changes blanks and nothing else, line by line.
//!
//! Blocks are indented by two, signs stand in columns, a run of trailing comments keeps its column. A line with a mistake
//! stays as it is, and so does a whole text whose brackets or quotes do not balance: where its blocks end is a guess.

use crate::diag::{Severity, Sink};

use super::format_line::{Line, Token, align, lex, spaced};
use super::parse;

/// Mistakes after which nobody knows where blocks, texts or comments end.
const UNREADABLE: [&str; 7] = ["E0101", "E0102", "E0103", "E0104", "E0105", "E0106", "E0107"];

/// Formats a text. Formatting twice gives what formatting once gives, and the tokens of the text stay as they are.
pub fn format(source: &str) -> String {
    // A lone `\r` ends a line too.
    let text = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut sink = Sink::new();
    parse(&text, &mut sink);
    let errors: Vec<_> = sink.finish().into_iter().filter(|d| d.severity == Severity::Error).collect();
    if errors.iter().any(|d| UNREADABLE.contains(&d.code)) {
        return source.to_owned();
    }
    let (mut lines, mut at) = (Vec::new(), 0);
    let mut nesting = Nesting::default();
    for raw in text.split('\n') {
        let (start, end) = (at, at + raw.len());
        at = end + 1;
        let wrong = errors.iter().any(|d| d.span.start <= end && d.span.end >= start);
        lines.push(nesting.line(raw, wrong));
    }
    align(&mut lines);
    join(&lines)
}

/// The lines below each other, with at most one empty line between two.
fn join(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut empty = true;
    for line in lines {
        let text = line.text();
        if !(text.is_empty() && empty) {
            out.push_str(&text);
            out.push('\n');
        }
        empty = text.is_empty();
    }
    let kept = out.trim_end_matches('\n').len();
    out.truncate(kept);
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The brackets that are open where a line starts.
#[derive(Default)]
struct Nesting {
    /// The indentation of the lines that opened them.
    open: Vec<usize>,
    /// Whether the expression of the line before goes on.
    goes_on: bool,
}

impl Nesting {
    fn line(&mut self, raw: &str, wrong: bool) -> Line {
        let tokens = lex(raw);
        let closers = tokens.iter().take_while(|t| t.closes()).count();
        let depth = self.open.len();
        let outer = depth.saturating_sub(closers.max(1));
        let mut indent = match self.open.get(outer) {
            Some(&opener) => opener + if closers == 0 { 2 } else { 0 },
            None => 0,
        };
        if self.goes_on && closers == 0 {
            indent += 2;
        }
        for token in &tokens {
            if token.opens() {
                self.open.push(indent);
            } else if token.closes() {
                self.open.pop();
            }
        }
        let code: Vec<&Token> = tokens.iter().filter(|t| !t.is_comment()).collect();
        if let Some(last) = code.last() {
            self.goes_on = last.waits_for_value();
        }
        let whole = depth == self.open.len() && closers == 0;
        match spaced(&tokens) {
            Some(parts) if !wrong => Line::formatted(raw, indent, parts, whole),
            _ => Line::kept(raw),
        }
    }
}
