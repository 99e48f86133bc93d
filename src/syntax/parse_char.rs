//! What to say to characters that the language does not have.

use crate::diag::{Diagnostic, Span};

/// Words that a formula writes with one letter; `lambda` would look like Python's.
const GREEK: [(char, &str); 24] = [
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('ε', "epsilon"),
    ('ζ', "zeta"),
    ('η', "eta"),
    ('θ', "theta"),
    ('ι', "iota"),
    ('κ', "kappa"),
    ('λ', "lam"),
    ('μ', "mu"),
    ('ν', "nu"),
    ('ξ', "xi"),
    ('π', "pi"),
    ('ρ', "rho"),
    ('σ', "sigma"),
    ('τ', "tau"),
    ('φ', "phi"),
    ('χ', "chi"),
    ('ψ', "psi"),
    ('ω', "omega"),
    ('Δ', "Delta"),
    ('Σ', "Sigma"),
];

/// A word with letters beyond ASCII; Greek letters are spelt out.
pub(super) fn foreign_word(span: Span, word: &str) -> Diagnostic {
    let spelt: String = word
        .chars()
        .map(|c| GREEK.iter().find(|(letter, _)| *letter == c).map_or(c.to_string(), |(_, name)| (*name).to_owned()))
        .collect();
    let message = format!("`{word}` has letters beyond a to z");
    let diagnostic = Diagnostic::error("E0108", span, message).help("names are made of a-z, A-Z, 0-9 and `_`");
    if spelt.is_ascii() { diagnostic.fix(span, spelt.clone(), format!("write `{spelt}`")) } else { diagnostic }
}

/// A character that has no place outside of texts and comments.
pub(super) fn unknown(span: Span, c: char) -> Diagnostic {
    let (message, instead) = match c {
        '×' | '·' => (format!("`{c}` is not an operator"), Some(("*", "multiply with `*`, or contract with `@`"))),
        '−' | '–' | '—' => (format!("`{c}` is a dash, not a minus sign"), Some(("-", "write `-`"))),
        '”' | '‘' | '’' | '\'' | '`' | '“' => (format!("a stray `{c}`"), None),
        '\u{A0}' => ("this is a no-break space".to_owned(), Some((" ", "write an ordinary space"))),
        '\\' => ("lines are not joined with `\\`: end the line with its operator, or use brackets".to_owned(), None),
        '²' | '³' => {
            (format!("`{c}` is not a power"), Some((if c == '²' { "^2" } else { "^3" }, "write a power with `^`")))
        }
        c if is_invisible(c) => (format!("an invisible character, U+{:04X}", u32::from(c)), Some(("", "remove it"))),
        c => (format!("`{c}` has no meaning here"), None),
    };
    let diagnostic = Diagnostic::error("E0108", span, message);
    match instead {
        // `×` may mean `@` as well.
        Some((text, title)) if text != "*" => diagnostic.fix(span, text, title).safe(),
        Some((text, title)) => diagnostic.fix(span, text, title),
        None => diagnostic,
    }
}

/// Whether a character shows nothing, moves the cursor, or turns the direction of writing. A tab and a blank are none.
pub(super) fn is_invisible(c: char) -> bool {
    let hidden = matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
    hidden || (c.is_control() && c != '\t') || (c.is_whitespace() && c != ' ' && c != '\t')
}
