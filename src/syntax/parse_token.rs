//! Numbers and texts: the characters of one token, and what it stands for.

use crate::diag::{Diagnostic, Span};

/// The value of a number as written, or what is wrong with it.
pub(super) fn number(text: &str, span: Span) -> Result<f64, Box<Diagnostic>> {
    let bad = |message: &str| Diagnostic::error("E0109", span, format!("`{text}` {message}"));
    if text.starts_with('.') {
        let spelt = format!("0{text}");
        return Err(Box::new(
            bad("needs a digit before the point").fix(span, spelt.clone(), format!("write `{spelt}`")).safe(),
        ));
    }
    if let Some(whole) = text.strip_suffix('.') {
        return Err(Box::new(bad("needs a digit after the point").fix(span, whole, format!("write `{whole}`")).safe()));
    }
    let digits = text.find(|c: char| !(c.is_ascii_digit() || "._".contains(c))).unwrap_or(text.len());
    let (head, tail) = text.split_at(digits);
    let exponent = tail.strip_prefix(['e', 'E']);
    let well_formed = head.matches('.').count() <= 1
        && !head.contains("._")
        && !head.contains("_.")
        && !head.ends_with('_')
        && (tail.is_empty() || exponent.is_some_and(is_exponent));
    if !well_formed {
        return Err(Box::new(
            suffixed(head, tail, span)
                .unwrap_or_else(|| bad("is not a number").help("numbers look like `500`, `10_000`, `0.1` or `1e-3`")),
        ));
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Box::new(bad("is too large").help(format!("the largest number is about {:e}", f64::MAX)))),
    }
}

fn is_exponent(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

/// `10k`, `2x`: a whole number with letters behind it.
fn suffixed(head: &str, tail: &str, span: Span) -> Option<Diagnostic> {
    let plain = head.chars().all(|c| c.is_ascii_digit());
    let (message, spelt) = match tail {
        "k" | "K" if plain => (format!("`{head}{tail}` is written with a suffix"), format!("{head}_000")),
        "m" | "M" if plain => (format!("`{head}{tail}` is written with a suffix"), format!("{head}_000_000")),
        _ if !head.is_empty() && !tail.is_empty() && !head.ends_with(['.', '_']) && !head.starts_with('0') => (
            format!("`{head}{tail}`: a product needs its `*`, and a name starts with a letter"),
            format!("{head} * {tail}"),
        ),
        _ => return None,
    };
    Some(Diagnostic::error("E0109", span, message).fix(span, spelt.clone(), format!("write `{spelt}`")))
}

/// The content of a text as written, quotes included. Other quotes than `"` have been reported, and know no escapes.
pub(super) fn text(quoted: &str, span: Span) -> Result<String, Box<Diagnostic>> {
    let mut chars = quoted.chars();
    let quote = chars.next();
    chars.next_back();
    if quote != Some('"') {
        return Ok(chars.as_str().to_owned());
    }
    let mut content = String::with_capacity(quoted.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => content.push('\n'),
                Some('t') => content.push('\t'),
                Some(c @ ('"' | '\\')) => content.push(c),
                other => {
                    let sign = other.map_or("\\".to_owned(), |c| format!("\\{c}"));
                    let message = format!("`{sign}` is not an escape of a text");
                    return Err(Box::new(
                        Diagnostic::error("E0127", span, message)
                            .help("the escapes are `\\\"`, `\\\\`, `\\n` and `\\t`; a path is written with `/`"),
                    ));
                }
            },
            c => content.push(c),
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_right() {
        for (text, value) in [("500", 500.0), ("10_000", 10_000.0), ("1e-3", 1e-3), ("0.5", 0.5), ("2E+2", 200.0)] {
            assert_eq!(number(text, Span::default()).ok(), Some(value), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_wrong_name_their_cure() {
        let cure = |text: &str| number(text, Span::default()).err().and_then(|d| d.fix).map(|f| f.replacement);
        assert_eq!(cure(".5").as_deref(), Some("0.5"));
        assert_eq!(cure("1.").as_deref(), Some("1"));
        assert_eq!(cure("10k").as_deref(), Some("10_000"));
        assert_eq!(cure("3M").as_deref(), Some("3_000_000"));
        assert_eq!(cure("2x").as_deref(), Some("2 * x"));
        for text in ["1.2.3", "1_", "1e", "0x1F", "1._5", "1e999"] {
            assert!(number(text, Span::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_know_four_escapes() {
        assert_eq!(text(r#""a\"b\\c\n\t""#, Span::default()).ok().as_deref(), Some("a\"b\\c\n\t"));
        assert!(text(r#""C:\data""#, Span::default()).is_err());
    }
}
