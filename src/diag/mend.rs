//! Applying the fixes that need no second look.

use super::Diagnostic;

/// The text with the safe fixes of its diagnostics; `None` where there are none. Of fixes that overlap, the first is made:
/// the others are for the diagnostics of the new text.
pub fn mend(text: &str, diagnostics: &[Diagnostic]) -> Option<String> {
    let mut fixes: Vec<_> = diagnostics.iter().filter_map(|d| d.fix.as_ref()).filter(|f| f.safe).collect();
    fixes.sort_by_key(|f| f.span);
    let (mut out, mut at, mut made) = (String::with_capacity(text.len()), 0, false);
    for fix in fixes {
        let before = text.get(at..fix.span.start);
        if let (Some(before), true) = (before, text.is_char_boundary(fix.span.end)) {
            out.push_str(before);
            out.push_str(&fix.replacement);
            (at, made) = (fix.span.end, true);
        }
    }
    out.push_str(&text[at..]);
    made.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;

    fn fix(start: usize, end: usize, with: &str) -> Diagnostic {
        Diagnostic::error("E0000", Span::new(start, end), "wrong").fix(Span::new(start, end), with, "right")
    }

    #[test]
    fn safe_fixes_are_made_and_others_left() {
        let found = [fix(5, 6, " =").safe(), fix(0, 3, "dim"), fix(4, 5, "b").safe()];
        assert_eq!(mend("let a: 1", &found).as_deref(), Some("let b = 1"));
        assert_eq!(mend("let a: 1", &found[1..2]), None);
    }

    #[test]
    fn overlapping_and_foreign_places_are_left() {
        let found = [fix(0, 4, "x").safe(), fix(2, 6, "y").safe(), fix(7, 99, "z").safe()];
        assert_eq!(mend("abcdefgh", &found).as_deref(), Some("xefgh"));
        assert_eq!(mend("é", &[fix(1, 2, "e").safe()]), None);
    }
}
