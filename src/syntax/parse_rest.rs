//! What is wrong with text that no rule could take: the first characters of it usually tell.

use pest::iterators::Pair;

use crate::diag::{Diagnostic, Span};

use super::ast::{Expr, ExprKind};
use super::parse::{Builder, Rule};

/// What to say to a word of another language; `None` for an ordinary name.
pub(super) fn foreign(word: &str) -> Option<&'static str> {
    Some(match word {
        "lambda" => "functions have names: `fn NAME(x: [d]) -> [] { .. }` outside of all blocks",
        "def" | "function" => "a function is defined by `fn NAME(x: [d]) -> [] { .. }`",
        "for" | "while" => "there are no loops: values are whole tensors, and `sweep` repeats an experiment",
        "if" | "else" | "elif" => "there is no `if`: variants of an experiment are written as `arm` blocks",
        "import" | "using" | "include" => {
            "every name of the catalog is known in every file; another file is read by `use \"other.meta\"`"
        }
        "return" => "there is no `return`: the value that stands alone at the end of a model is its prediction",
        "class" | "struct" => "there are no classes: parameters stand in a `model`, grouped by `group`",
        "not" => "there is no `not`: a claim states its own relation",
        _ => return None,
    })
}

/// The first word of a text, which may be empty.
pub(super) fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Whether a text starts like `name =` or `name: [`, that is, like the next statement or key.
fn starts_entry(text: &str) -> bool {
    let end = text.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c))).unwrap_or(text.len());
    let after = text[end..].trim_start_matches([' ', '\t']);
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && after.starts_with(['=', ':', '~'])
        && !after.starts_with("==")
}

/// The operator at the start of a text.
fn operator(text: &str) -> Option<&str> {
    let len = ["**", "..", "+", "-", "*", "/", "@", "^"].iter().find(|op| text.starts_with(**op))?.len();
    let sign = &text[..len];
    (!text.starts_with("->")).then_some(sign)
}

impl Builder<'_, '_> {
    /// The end of the line of a place in the source, in the source.
    pub(super) fn line_end(&self, span: Span) -> usize {
        let at = self.layout.text_place(span.end);
        let line = self.layout.text[at..].split('\n').next().unwrap_or_default();
        self.layout.place(at + line.len())
    }

    /// Reports the `rest` of a statement. `wanted` is what should have come, and `valued` says whether a value stands
    /// before the rest.
    pub(super) fn unexpected(&mut self, rest: &Pair<Rule>, wanted: &str, valued: bool) {
        if self.report.is_full() {
            return;
        }
        let text = rest.as_str();
        let span = self.span(rest);
        let (start, end) = (span.start, span.start + text.split('\n').next().unwrap_or(text).trim_end().len());
        let span = Span::new(start, end.min(span.end).max(start));
        if self.report.is_damaged(span) {
            return;
        }
        let word = first_word(text);
        let before = self.layout.text[..rest.as_span().start()].trim_end_matches([' ', '\t']);
        let gap = Span::new(self.layout.place(before.len()), start);
        if let Some(diagnostic) = self.unexpected_anywhere(text, span, gap, valued) {
            self.report.push(diagnostic);
            return;
        }
        let diagnostic = if text.starts_with(['=', ':', '~'])
            && let Some(operator) = self.continued.filter(|c| c.end <= start)
        {
            Diagnostic::error("E0110", operator, "a value is missing after this operator")
                .label("the expression goes on in the next line")
        } else if let Some(after) = text.strip_prefix(',') {
            let diagnostic =
                Diagnostic::error("E0119", Span::new(start, start + 1), "statements are not separated by commas");
            let (with, title) =
                if after.trim().is_empty() { ("", "remove it") } else { (";", "write `;`, or start a new line") };
            diagnostic.fix(Span::new(start, start + 1), with, title).safe()
        } else if valued && (starts_entry(text) || super::parse_place::is_keyword(word)) {
            Diagnostic::error(
                "E0119",
                Span::new(start, start + word.len()),
                "two statements on one line are separated by `;`",
            )
            .label("a new statement starts here")
            .fix(gap, "; ", "separate them")
            .safe()
        } else if valued && text.starts_with(['<', '>']) {
            Diagnostic::error(
                "E0122",
                Span::new(start, start + 1),
                "values are compared only in `expect`, and there once",
            )
        } else if valued && (!word.is_empty() || text.starts_with(['(', '[', '{', '"', '.'])) {
            Diagnostic::error("E0124", span, "two values stand side by side")
                .label("the statement should have ended before this")
                .help("an operator is missing (`*` multiplies, `@` contracts), or a line break or `;` between two statements")
        } else {
            Diagnostic::error("E0124", span, format!("expected {wanted}")).label("this cannot stand here")
        };
        self.report.push(diagnostic);
    }

    /// Reports what is left of a slot of the bracket that opens with `bracket`.
    pub(super) fn unexpected_in_slot(&mut self, stray: &Pair<Rule>, bracket: char, missing: bool, value: &Expr) {
        let text = stray.as_str();
        let span = self.span(stray);
        let trimmed = text.trim_end();
        let span = Span::new(span.start, (span.start + trimmed.len()).min(span.end).max(span.start));
        if self.report.is_damaged(span) {
            return;
        }
        let before = self.layout.text[..stray.as_span().start()].trim_end();
        let gap = Span::new(self.layout.place(before.len()), span.start);
        if let Some(diagnostic) = self.unexpected_anywhere(text, span, gap, !missing) {
            self.report.push(diagnostic);
            return;
        }
        let head = Span::new(span.start, span.start + text.chars().next().map_or(0, char::len_utf8));
        let bare = matches!(&value.kind, ExprKind::Path(path) if path.len() == 1);
        let diagnostic = if text.starts_with(';') {
            Diagnostic::error("E0119", head, "inside brackets, `,` separates").fix(head, ",", "write `,`").safe()
        } else if !missing && starts_entry(text) {
            let word = Span::new(span.start, span.start + first_word(text).len());
            Diagnostic::error("E0119", word, "a `,` is missing before this")
                .fix(Span::new(gap.start, gap.start), ",", "put it in")
                .safe()
        } else if !missing && bracket == '{' && bare {
            Diagnostic::error("E0119", span, "a `:` is missing before this value").fix(gap, ": ", "put it in").safe()
        } else if !missing && text.starts_with(['<', '>', '=', '!']) {
            Diagnostic::error("E0122", head, "values are not compared inside brackets")
                .help("`expect` compares, once per claim")
        } else if !missing {
            Diagnostic::error("E0119", span, "a `,` or an operator is missing before this").label("unexpected")
        } else {
            Diagnostic::error("E0124", span, "expected a value").label("this is none")
        };
        self.report.push(diagnostic);
    }

    /// The mistakes that look the same in a statement and in brackets. `gap` is the blank before the text.
    fn unexpected_anywhere(&self, text: &str, span: Span, gap: Span, valued: bool) -> Option<Diagnostic> {
        let word = first_word(text);
        let head = |len: usize| Span::new(span.start, span.start + len);
        if let Some(message) = foreign(word) {
            return Some(Diagnostic::error("E0120", head(word.len()), message));
        }
        if let "and" | "or" | "is" = word {
            return Some(Diagnostic::error("E0120", head(word.len()), format!("there is no `{word}` in formulas")));
        }
        if let Some(sign) = operator(text) {
            let (place, label) =
                if valued { ("after", "the value that should follow is missing") } else { ("before", "") };
            let message = format!("a value is missing {place} `{sign}`");
            return Some(Diagnostic::error("E0110", head(sign.len()), message).label(label));
        }
        if text.starts_with("==") {
            return Some(
                Diagnostic::error("E0113", head(2), "`==` does not stand in formulas")
                    .help("`=` sets a value, `expect` compares"),
            );
        }
        let follows_value = |c: char| c.is_alphanumeric() || c == '_' || c == ')' || c == ']';
        let adjoins = valued && self.layout.text[..self.layout.text_place(gap.start)].ends_with(follows_value);
        if adjoins && gap.start < gap.end && text.starts_with(['(', '[']) {
            let (sign, what) = if text.starts_with('(') { ('(', "a call") } else { ('[', "an index") };
            return Some(
                Diagnostic::error("E0126", head(1), format!("{what} has no blank before its `{sign}`"))
                    .fix(gap, "", "remove the blank")
                    .safe(),
            );
        }
        if text.strip_prefix('.').is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit())) {
            return Some(Diagnostic::error("E0124", head(1), "an index is written in brackets, as in `a[0]`"));
        }
        None
    }
}
