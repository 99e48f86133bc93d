//! Diagnostics as text for a person, and as JSON for a program. The one place that knows annotate-snippets.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet, normalize_untrusted_str};
use serde_json::{Value, json};

use super::{Diagnostic, Severity, Span};

/// The text that a person reads: one report for each diagnostic and a last line that counts them; empty where there are
/// none. Control characters of the source come out as visible signs. `colour` adds ANSI colours.
pub fn render(source: &str, file_name: &str, diagnostics: &[Diagnostic], colour: bool) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let shown = Shown::new(source);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Unicode);
    let file_name = normalize_untrusted_str(file_name);
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&groups(&shown, &file_name, diagnostic)));
        text.push_str("\n\n");
    }
    text.push_str(&summary(diagnostics));
    text.push('\n');
    text
}

/// `2 errors, 1 warning`
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let words = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "no errors".to_owned(),
        (errors, 0) => words(errors, "error"),
        (0, warnings) => words(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", words(errors, "error"), words(warnings, "warning")),
    }
}

/// An array with one object for each diagnostic. Lines and columns count from 1, columns in Unicode scalar values; `start`
/// and `end` are bytes.
pub fn to_json(diagnostics: &[Diagnostic], source: &str) -> Value {
    let one = |d: &Diagnostic| {
        let severity = match d.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let related: Vec<Value> =
            d.related.iter().map(|(span, label)| json!({ "place": place(source, *span), "label": label })).collect();
        let fix = d
            .fix
            .as_ref()
            .map(|fix| json!({ "title": fix.title, "place": place(source, fix.span), "replacement": fix.replacement, "safe": fix.safe }));
        json!({
            "code": d.code, "severity": severity, "message": d.message, "place": place(source, d.span), "label": d.label,
            "related": related, "help": d.help, "fix": fix,
        })
    };
    diagnostics.iter().map(one).collect()
}

fn place(source: &str, span: Span) -> Value {
    let span = within(source, span);
    let (line, column) = line_column(source, span.start);
    let (end_line, end_column) = line_column(source, span.end);
    json!({
        "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        "start": span.start, "end": span.end,
    })
}

/// Line and column of a byte, both from 1.
fn line_column(source: &str, at: usize) -> (usize, usize) {
    let before = &source[..at];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// A span that lies within the source, at the borders of characters.
fn within(source: &str, span: Span) -> Span {
    let floor = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    Span::new(start, floor(span.end).max(start))
}

/// The source as a terminal may see it: what would move the cursor or hide text is replaced by a visible sign.
struct Shown {
    text: String,
    /// The places in the source of the characters that changed their length, with the bytes gained so far (or lost).
    moved: Vec<(usize, isize)>,
}

impl Shown {
    fn new(source: &str) -> Shown {
        let mut text = String::with_capacity(source.len());
        let (mut moved, mut gained) = (Vec::new(), 0_isize);
        let mut chars = source.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let line_end = c == '\r' && chars.peek().is_none_or(|(_, next)| *next == '\n');
            let sign = visible(c, line_end);
            text.push(sign);
            let after = at + c.len_utf8();
            let gain = sign.len_utf8() as isize - c.len_utf8() as isize;
            if gain != 0 {
                gained += gain;
                moved.push((after, gained));
            }
        }
        Shown { text, moved }
    }

    /// A place of the source, in the shown text.
    fn place(&self, at: usize) -> usize {
        let known = self.moved.partition_point(|(after, _)| *after <= at);
        let gained = known.checked_sub(1).map_or(0, |i| self.moved[i].1);
        at.saturating_add_signed(gained).min(self.text.len())
    }

    fn span(&self, span: Span) -> Span {
        within(&self.text, Span::new(self.place(span.start), self.place(span.end)))
    }
}

/// The sign shown for a character.
fn visible(c: char, line_end: bool) -> char {
    match c {
        '\n' | '\t' => c,
        '\r' if line_end => c,
        '\u{0}'..='\u{1F}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'),
        '\u{7F}' => '\u{2421}',
        // Further controls, invisible characters, and those that turn the direction of writing.
        '\u{80}'..='\u{9F}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' => '\u{FFFD}',
        c => c,
    }
}

fn groups<'a>(shown: &'a Shown, file_name: &'a str, diagnostic: &'a Diagnostic) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let clean = |text: &str| -> String { text.chars().map(|c| visible(c, false)).collect() };
    let range = |span: Span| {
        let span = shown.span(span);
        span.start..span.end
    };
    let mut snippet = Snippet::source(shown.text.as_str())
        .path(file_name)
        .annotation(AnnotationKind::Primary.span(range(diagnostic.span)).label(clean(&diagnostic.label)));
    for (span, label) in &diagnostic.related {
        snippet = snippet.annotation(AnnotationKind::Context.span(range(*span)).label(clean(label)));
    }
    let mut primary = level.primary_title(clean(&diagnostic.message)).id(diagnostic.code).element(snippet);
    for help in &diagnostic.help {
        primary = primary.element(Level::HELP.message(clean(help)));
    }
    let mut groups = vec![primary];
    if let Some(fix) = &diagnostic.fix {
        let patch = Patch::new(range(fix.span), clean(&fix.replacement));
        let patched = Snippet::source(shown.text.as_str()).path(file_name).patch(patch);
        groups.push(Level::HELP.secondary_title(clean(&fix.title)).element(patched));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(start: usize, end: usize) -> Diagnostic {
        Diagnostic::error("E0000", Span::new(start, end), "wrong").label("here").help("a help").fix(
            Span::new(start, end),
            "right",
            "a fix",
        )
    }

    #[test]
    fn any_span_in_any_source_is_rendered() {
        let sources = ["", "\n", "a", "a\n", "a\r\nb\r\n", "\ta\u{1b}b\n", "\u{FEFF}é\u{301}θ\u{202e}x", "\r", "a\rb"];
        for source in sources {
            for start in 0..=source.len() + 2 {
                for end in 0..=source.len() + 2 {
                    let text =
                        render(source, "a.meta", &[error(start, end).related(Span::new(end, start), "also")], false);
                    assert!(text.contains("error[E0000]: wrong") && text.ends_with("\n1 error\n"), "{text}");
                }
            }
        }
    }

    #[test]
    fn controls_are_shown_as_signs() {
        let diagnostic = error(2, 3).fix(Span::new(2, 3), "\u{7}", "\u{1b}[2J").label("\u{202e}");
        let text = render("a \u{1b}[31mred \u{202e}", "a\u{1b}.meta", &[diagnostic], false);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
        assert!(text.contains("␛[31mred"), "{text}");
    }

    #[test]
    fn colour_is_added_only_when_asked_for() {
        let (plain, colour) = (render("a", "f", &[error(0, 1)], false), render("a", "f", &[error(0, 1)], true));
        assert!(!plain.contains('\u{1b}') && colour.contains('\u{1b}'));
        assert_eq!(render("a", "f", &[], true), "");
    }

    #[test]
    fn marks_stand_under_their_text_after_a_replaced_character() {
        let text = render("\u{1b}\u{202e}ab = c", "f", &[Diagnostic::error("E0000", Span::new(4, 6), "m")], false);
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, sign: char| line.chars().position(|c| c == sign);
        assert_eq!(column(lines[3], 'a'), column(lines[4], '━'), "{text}");
    }

    #[test]
    fn the_summary_counts() {
        let (e, w) = (error(0, 0), Diagnostic::warning("E0000", Span::default(), "w"));
        assert_eq!(summary(&[]), "no errors");
        assert_eq!(summary(std::slice::from_ref(&e)), "1 error");
        assert_eq!(summary(&[w.clone(), w.clone()]), "2 warnings");
        assert_eq!(summary(&[e.clone(), w, e]), "2 errors, 1 warning");
    }

    #[test]
    fn json_counts_lines_and_characters_from_one() {
        let json = to_json(&[error(5, 6).related(Span::new(0, 2), "é")], "é\nθx");
        assert_eq!(
            json[0]["place"],
            json!({ "line": 2, "column": 2, "end_line": 2, "end_column": 3, "start": 5, "end": 6 })
        );
        assert_eq!(json[0]["related"][0]["place"]["end_column"], 2);
        assert_eq!(json[0]["fix"]["replacement"], "right");
        assert_eq!((&json[0]["severity"], &json[0]["code"]), (&json!("error"), &json!("E0000")));
        let missing = to_json(&[Diagnostic::warning("E0001", Span::new(9, 9), "m")], "");
        assert_eq!((&missing[0]["place"]["line"], &missing[0]["fix"]), (&json!(1), &Value::Null));
    }
}
