//! What the text of an experiment says of its claims: `///` lines above an `expect`, and the paper in the `//!` lines.
//!
//! ```text
//! /// 7a: MAML recovers the shared representation
//! /// reference: 0.039 (independent NumPy implementation)
//! expect median(maml.angle[last]) <= 0.1
//! ```
//!
//! For the language these are comments: no part of the plan, of no hash, free to be mended after the run. They are read from
//! the text that the run recorded.

use crate::diag::Sink;
use crate::syntax::ast::ItemKind;
use crate::syntax::{self};

/// What stands above one `expect`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Citation {
    /// The claim in words.
    pub text: Option<String>,
    /// The figure of the paper or of an independent reference, as it is written.
    pub reference: Option<String>,
}

impl Citation {
    /// The citations of a text, one per `expect` in order; none where the text cannot be read, or has another number of
    /// claims than the plan.
    pub fn of(source: Option<&str>, claims: usize) -> Vec<Citation> {
        let nothing = || vec![Citation::default(); claims];
        let Some(source) = source else { return nothing() };
        let mut sink = Sink::new();
        let tree = syntax::parse(source, &mut sink);
        let found: Vec<Citation> = tree
            .items
            .iter()
            .filter(|item| matches!(item.kind, ItemKind::Expect { .. }))
            .map(|item| above(&source[..item.span.start]))
            .collect();
        if sink.has_errors() || found.len() != claims { nothing() } else { found }
    }
}

/// The `///` lines at the end of a text.
fn above(text: &str) -> Citation {
    let before_the_line = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines: Vec<&str> =
        before_the_line.lines().rev().map_while(|line| line.trim().strip_prefix("///")).map(str::trim).collect();
    lines.reverse();
    let mut citation = Citation::default();
    for line in lines.into_iter().filter(|l| !l.is_empty()) {
        let (part, words) = match line.strip_prefix("reference:") {
            Some(rest) => (&mut citation.reference, rest.trim()),
            None => (&mut citation.text, line),
        };
        match part {
            Some(text) => *text = format!("{text} {words}"),
            None => *part = Some(words.to_owned()),
        }
    }
    citation
}

/// The paper an experiment reproduces: the `//!` lines behind the first, which says what the file shows.
pub fn paper(source: Option<&str>) -> (String, String) {
    let doc = source.map_or_else(String::new, |text| syntax::parse(text, &mut Sink::new()).doc);
    let mut lines = doc.lines().map(str::trim).filter(|l| !l.is_empty());
    let shows = lines.next().unwrap_or_default().to_owned();
    (shows, lines.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "//! What it shows.\n//! A paper, ICML 2022.\nedition 2026\nexperiment e\n/// 7a: it\n/// falls\n  /// reference: 0.039 (NumPy)\nexpect a.x[1] <= 1\nexpect a.x[1] >= 0\n";

    #[test]
    fn lines_above_a_claim_are_its_citation() {
        let found = Citation::of(Some(TEXT), 2);
        assert_eq!(found[0].text.as_deref(), Some("7a: it falls"));
        assert_eq!(found[0].reference.as_deref(), Some("0.039 (NumPy)"));
        assert_eq!(found[1], Citation::default());
        assert_eq!(Citation::of(Some(TEXT), 3), vec![Citation::default(); 3]);
        assert_eq!(Citation::of(Some("expect {"), 1), vec![Citation::default()]);
        assert_eq!(paper(Some(TEXT)), ("What it shows.".to_owned(), "A paper, ICML 2022.".to_owned()));
    }
}
