//! The layout pass: it walks over the characters once, reports what is wrong with single characters, quotes and
//! brackets, and hands the grammar a text whose brackets and quotes are balanced, with blanks in place of comments and a line feed for
//! every line break.
//!
//! A missing closer is put in where a reader would put it: for `(` and `[` at the end of its line, for `{` before the
//! next line that starts with an item at its left edge. So a forgotten bracket is one mistake, at the opener, and the
//! rest of the file is read as usual.

use std::borrow::Cow;

use crate::diag::{Diagnostic, Span};

use super::parse_char::{foreign_word, is_invisible, unknown};
use super::parse_place::{is_keyword, starts_item_alone};
use super::parse_report::Report;

/// Brackets deeper than this are refused: the tree is walked by recursion.
const DEEPEST: usize = 128;

/// The text as the grammar reads it.
pub(super) struct Layout {
    /// The source with its brackets balanced, its comments blank and its line breaks line feeds.
    pub(super) text: String,
    /// The places in `text` of the characters (all ASCII) that the source does not have.
    inserted: Vec<usize>,
    /// The places in the source where they stand.
    insertions: Vec<usize>,
    /// The `//!` lines at the top, without the marks.
    pub(super) doc: String,
    /// Where the `//!` lines and the comments around them end in the source.
    pub(super) top: usize,
    /// Closers that close nothing; whether that is a mistake of its own shows when the statements are read.
    pub(super) strays: Vec<Diagnostic>,
}

impl Layout {
    /// The place in the source of a place in [`Layout::text`].
    pub(super) fn place(&self, at: usize) -> usize {
        at - self.inserted.partition_point(|&i| i < at)
    }

    /// The first place in [`Layout::text`] of a place in the source.
    pub(super) fn text_place(&self, at: usize) -> usize {
        at + self.insertions.partition_point(|&i| i < at)
    }

    /// The place in the source of a range of [`Layout::text`].
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let start = self.place(start);
        Span::new(start, self.place(end).max(start))
    }
}

/// Balances `source`; `None` where it is nested too deep to be read.
pub(super) fn layout(source: &str, report: &mut Report) -> Option<Layout> {
    let mut scan = Scan {
        source,
        at: 0,
        code_end: 0,
        open: Vec::new(),
        edits: Vec::new(),
        strays: Vec::new(),
        doc: Vec::new(),
        top: None,
        report,
    };
    let complete = scan.run();
    let Scan { mut edits, strays, doc, top, .. } = scan;
    if !complete {
        return None;
    }
    // What is put in before a comment stands before the blanks in the comment's place.
    edits.sort_by_key(|e| (e.at, e.removed));
    let mut text = String::with_capacity(source.len() + edits.len());
    let (mut inserted, mut insertions, mut from) = (Vec::new(), Vec::new(), 0);
    for edit in edits {
        text.push_str(&source[from..edit.at]);
        from = edit.at + edit.removed;
        inserted.extend(text.len() + edit.removed..text.len() + edit.put.len());
        insertions.extend((edit.removed..edit.put.len()).map(|_| edit.at));
        text.push_str(&edit.put);
    }
    text.push_str(&source[from..]);
    if text.contains('\r') {
        text = text.replace("\r\n", " \n").replace('\r', "\n");
    }
    Some(Layout { text, inserted, insertions, doc: doc.join("\n"), top: top.unwrap_or(source.len()), strays })
}

/// `put` in place of `removed` bytes at `at`; it is never shorter than what it replaces.
struct Edit {
    at: usize,
    removed: usize,
    put: Cow<'static, str>,
}

/// A bracket that waits for its closer.
#[derive(Clone, Copy)]
struct Open {
    sign: char,
    at: usize,
    /// The end of the code on its line, once that line is over.
    line_end: Option<usize>,
}

impl Open {
    fn closer(self) -> &'static str {
        match self.sign {
            '(' => ")",
            '[' => "]",
            _ => "}",
        }
    }

    fn span(self) -> Span {
        Span::new(self.at, self.at + 1)
    }
}

struct Scan<'a, 's, 'r> {
    source: &'a str,
    at: usize,
    /// The end of the last character that is neither blank nor comment.
    code_end: usize,
    open: Vec<Open>,
    edits: Vec<Edit>,
    strays: Vec<Diagnostic>,
    doc: Vec<&'a str>,
    /// The end of the `//!` lines and comments at the top, once something else was seen.
    top: Option<usize>,
    report: &'r mut Report<'s>,
}

impl<'a> Scan<'a, '_, '_> {
    fn run(&mut self) -> bool {
        while let Some(c) = self.rest().chars().next() {
            let start = self.at;
            if self.top.is_none() && !(c.is_whitespace() || c == '\u{FEFF}' || self.rest().starts_with("//")) {
                self.top = Some(start);
            }
            let at_edge = start == 0 || self.source[..start].ends_with(['\n', '\r', '\u{FEFF}']);
            if at_edge && !self.open.is_empty() {
                self.start_line();
            }
            match c {
                '/' if self.rest().starts_with("//") => {
                    self.line_comment();
                    continue;
                }
                '/' if self.rest().starts_with("/*") => {
                    self.block_comment();
                    continue;
                }
                '#' => {
                    self.hash_comment();
                    continue;
                }
                '"' => self.text(),
                '\'' => self.foreign_text('\''),
                '“' => self.foreign_text('”'),
                '(' | '[' | '{' => {
                    self.open.push(Open { sign: c, at: start, line_end: None });
                    self.at += 1;
                    if self.open.len() > DEEPEST {
                        let message = format!("brackets are nested more than {DEEPEST} deep");
                        self.report.push(Diagnostic::error("E0102", Span::new(start, start + 1), message));
                        return false;
                    }
                }
                ')' | ']' | '}' => self.closer(c),
                _ => self.character(c),
            }
            match c {
                '\n' | '\r' => self.end_line(),
                c if !c.is_whitespace() => self.code_end = self.at,
                _ => {}
            }
        }
        self.close_rest();
        true
    }

    /// Closes what the statement at the start of a line cannot stand in: an item at the left edge ends every bracket,
    /// as blocks are indented or closed, and a keyword ends `(` and `[`.
    fn start_line(&mut self) {
        let line = self.line();
        if starts_with(starts_item_alone, line) {
            return self.close_all_before_item();
        }
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if !starts_with(is_keyword, &line[indent..]) {
            return;
        }
        let mut closed = false;
        while let Some(open) = self.open.pop_if(|open| open.sign != '{') {
            self.unclosed(open, self.at, None);
            closed = true;
        }
        if closed {
            self.edits.push(Edit { at: self.at, removed: 0, put: ";".into() });
        }
    }

    fn end_line(&mut self) {
        for open in self.open.iter_mut().rev().take_while(|o| o.line_end.is_none()) {
            open.line_end = Some(self.code_end);
        }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// What is left of the line at the current place.
    fn line(&self) -> &'a str {
        line_of(self.rest())
    }

    /// Goes on `length` bytes, of which the grammar sees `sign` and blanks.
    fn pass(&mut self, length: usize, sign: &'static str) {
        self.blank(length, sign);
        self.at += length;
    }

    /// Lets the grammar see `sign` and blanks in place of the next `length` bytes.
    fn blank(&mut self, length: usize, sign: &'static str) {
        self.edits.push(Edit { at: self.at, removed: length, put: format!("{sign:length$}").into() });
    }

    fn line_comment(&mut self) {
        let line = self.line();
        let span = Span::new(self.at, self.at + line.trim_end().len());
        self.pass(line.len(), "");
        let Some(doc) = line.strip_prefix("//!") else { return };
        if self.top.is_none() {
            self.doc.push(doc.strip_prefix(' ').unwrap_or(doc).trim_end());
        } else {
            let message = "a `//!` line describes the whole file and stands at its top";
            self.report.push(
                Diagnostic::error("E0107", span, message)
                    .label("not at the top")
                    .fix(Span::new(span.start, span.start + 3), "//", "write an ordinary comment")
                    .safe(),
            );
        }
    }

    fn hash_comment(&mut self) {
        let line = self.line();
        let span = Span::new(self.at, self.at + line.trim_end().len());
        self.pass(line.len(), "");
        self.report.push(
            Diagnostic::error("E0107", span, "comments start with `//`")
                .label("a comment in the style of Python")
                .fix(Span::new(span.start, span.start + 1), "//", "write `//`")
                .safe(),
        );
    }

    fn block_comment(&mut self) {
        let span = Span::new(self.at, self.at + 2);
        let diagnostic = Diagnostic::error("E0107", span, "comments run from `//` to the end of the line");
        match self.rest()[2..].find("*/") {
            Some(n) => {
                self.report.push(diagnostic.help("start every line of the comment with `//`"));
                self.pass(n + 4, "");
            }
            None => {
                self.report.push(diagnostic.label("this comment never ends"));
                self.pass(self.rest().len(), "");
            }
        }
    }

    fn text(&mut self) {
        let line = self.line();
        let mut escaped = false;
        let end = line.char_indices().skip(1).find(|&(_, c)| {
            let found = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            found
        });
        if let Some((n, _)) = end {
            self.hidden_in_text(&line[..n]);
            self.at += n + 1;
            return;
        }
        // The text is taken to end before the next bracket or comma, which is where the quote was forgotten most likely.
        let code = line.split(" //").next().unwrap_or(line);
        let end = code.find([',', ')', ']', '}', ';']).unwrap_or(code.len());
        let end = line[..end].trim_end().trim_end_matches('\\').len().max(1);
        let start = self.at;
        self.at += end;
        self.edits.push(Edit { at: self.at, removed: 0, put: "\"".into() });
        self.report.push(
            Diagnostic::error("E0105", Span::new(start, self.at), "this text has no closing quote")
                .label("starts here")
                .fix(Span::new(self.at, self.at), "\"", "close it, if it ends here"),
        );
    }

    /// What a reader cannot see must not stand in a text either.
    fn hidden_in_text(&mut self, content: &str) {
        for (n, c) in content.char_indices().filter(|&(_, c)| is_invisible(c)) {
            let span = Span::new(self.at + n, self.at + n + c.len_utf8());
            self.report.push(unknown(span, c));
        }
    }

    /// A text in quotes that the language does not have; a lone quote is reported as a character.
    fn foreign_text(&mut self, close: char) {
        let line = self.line();
        let open = if close == '”' { '“' } else { close };
        let Some(n) = line[open.len_utf8()..].find(close) else {
            self.character(open);
            return;
        };
        let content = &line[open.len_utf8()..open.len_utf8() + n];
        let span = Span::new(self.at, self.at + open.len_utf8() + n + close.len_utf8());
        self.at = span.end;
        self.report.push(
            Diagnostic::error("E0106", span, "texts stand in straight double quotes")
                .fix(span, format!("\"{content}\""), "write straight quotes")
                .safe(),
        );
    }

    fn closer(&mut self, c: char) {
        let (at, span) = (self.at, Span::new(self.at, self.at + 1));
        self.at += 1;
        let matching = self.open.iter().rposition(|o| o.closer().starts_with(c));
        match (matching, self.open.last().copied()) {
            (Some(depth), _) => {
                while self.open.len() > depth + 1 {
                    if let Some(open) = self.open.pop() {
                        self.unclosed(open, at, Some(at));
                    }
                }
                self.open.pop();
            }
            (None, Some(open)) if open.sign != '{' && c != '}' => {
                self.open.pop();
                self.edits.push(Edit { at, removed: 1, put: open.closer().into() });
                self.report.push(
                    Diagnostic::error("E0104", span, format!("`{c}` does not close `{}`", open.sign))
                        .related(open.span(), "opened here")
                        .fix(span, open.closer(), format!("write `{}`", open.closer())),
                );
            }
            _ => {
                self.edits.push(Edit { at, removed: 1, put: " ".into() });
                let diagnostic =
                    Diagnostic::error("E0104", span, format!("nothing is open that this `{c}` could close"));
                self.strays.push(diagnostic.fix(span, "", "remove it"));
            }
        }
    }

    /// Reports `open` and puts its closer in, at `limit` at the latest. `found` is the closer that belongs to another.
    fn unclosed(&mut self, open: Open, limit: usize, found: Option<usize>) {
        let end = self.end_of_call(open).filter(|_| open.sign != '{').map(|end| end.min(limit));
        let at = end.unwrap_or(limit);
        self.edits.push(Edit { at, removed: 0, put: open.closer().into() });
        let message = format!("this `{}` is never closed", open.sign);
        let mut diagnostic = Diagnostic::error("E0103", open.span(), message).label("opened here");
        if let Some(found) = found {
            diagnostic = diagnostic.related(Span::new(found, found + 1), "this closes an outer bracket");
        }
        diagnostic = match end {
            Some(_) => {
                diagnostic.fix(Span::new(at, at), open.closer(), format!("write `{}`, if it ends here", open.closer()))
            }
            None => diagnostic.help(format!("a `{}` is missing", open.closer())),
        };
        self.report.push_damage(Span::new(open.at, at.max(open.at + 1)), diagnostic);
    }

    /// The end of the code on the line of `open`, unless the line promises to go on.
    fn end_of_call(&self, open: Open) -> Option<usize> {
        let end = open.line_end.unwrap_or(self.code_end);
        let code = self.source.get(open.at..end)?;
        let goes_on = code.len() == 1 || code.ends_with([',', '+', '-', '*', '/', '@', '(', '[', '{']);
        (!goes_on).then_some(end)
    }

    fn close_all_before_item(&mut self) {
        let at = self.at;
        while let Some(open) = self.open.pop() {
            if open.sign == '{' {
                self.edits.push(Edit { at, removed: 0, put: open.closer().into() });
                let head = line_of(&self.source[at..]).split([' ', '\t', '{', '(']).next().unwrap_or_default();
                self.report.push(
                    Diagnostic::error("E0103", open.span(), "this `{` is never closed")
                        .label("opened here")
                        .related(Span::new(at, at + head.len()), "the next item starts here")
                        .help("a `}` is missing before the next item"),
                );
            } else {
                self.unclosed(open, at, None);
            }
        }
        self.edits.push(Edit { at, removed: 0, put: ";".into() });
    }

    fn close_rest(&mut self) {
        let end = self.source.len();
        // A comment on the last line would swallow the closers.
        if !self.open.is_empty() && !self.source.ends_with(['\n', '\r']) {
            self.edits.push(Edit { at: end, removed: 0, put: "\n".into() });
        }
        while let Some(open) = self.open.pop() {
            self.unclosed(open, end, None);
        }
    }

    /// Any other character: a word is passed over whole, an unknown one is reported.
    fn character(&mut self, c: char) {
        let start = self.at;
        if c.is_alphabetic() || c == '_' {
            let word = self.rest();
            let end = word.find(|c: char| !(c.is_alphabetic() || c.is_ascii_digit() || c == '_')).unwrap_or(word.len());
            self.at += end;
            if !word[..end].is_ascii() {
                self.report.push(foreign_word(Span::new(start, self.at), &word[..end]));
            }
            return;
        }
        match c {
            '0'..='9' | '.' | ',' | ':' | ';' | '=' | '~' | '+' | '-' | '*' | '/' | '@' | '^' | '<' | '>' => {
                self.at += 1
            }
            ' ' | '\n' | '\r' => self.at += 1,
            '\t' => self.pass(1, ""),
            '≤' | '≥' => self.at += c.len_utf8(),
            '!' if self.rest()[1..].starts_with('=') => self.at += 1,
            '\u{FEFF}' if start == 0 => self.pass(c.len_utf8(), ""),
            _ => self.foreign(c),
        }
    }

    /// Reports a run of a character that the language does not have, and reads it as what it stands for.
    fn foreign(&mut self, c: char) {
        let run = self.rest().chars().take_while(|&next| next == c).count() * c.len_utf8();
        let span = Span::new(self.at, self.at + run);
        self.report.push_damage(span, unknown(span, c));
        match c {
            '\u{A0}' | '\u{FEFF}' => self.pass(run, ""),
            '×' | '·' => self.pass(run, "*"),
            '−' => self.pass(run, "-"),
            '\\' => self.joined_line(run),
            _ => self.at += run,
        }
    }

    /// A `\` at the end of a line: the statement goes on in the next.
    fn joined_line(&mut self, run: usize) {
        let rest = &self.rest()[run..];
        let end = if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with(['\n', '\r'])) };
        if end == 0 {
            self.at += run;
            return;
        }
        self.pass(run, "");
        // The line ends for the layout all the same.
        self.blank(end, "");
    }
}

/// The rest of the line, without its end.
fn line_of(text: &str) -> &str {
    text.split(['\n', '\r']).next().unwrap_or(text)
}

/// Whether a line starts with one of the words, and then a name or a brace.
fn starts_with(wanted: impl Fn(&str) -> bool, line: &str) -> bool {
    let end = line.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(line.len());
    let after = line[end..].trim_start_matches([' ', '\t']);
    let apart = after.len() < line.len() - end;
    wanted(&line[..end])
        && (after.starts_with('{') || apart && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}
