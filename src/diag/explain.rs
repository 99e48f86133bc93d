//! What the code of a diagnostic means: the pages of `docs/codes`, one section for each code.

/// The pages, by family of codes.
const PAGES: &[&str] = &[
    include_str!("../../docs/codes/syntax.md"),
    include_str!("../../docs/codes/names.md"),
    include_str!("../../docs/codes/dims.md"),
    include_str!("../../docs/codes/parameters.md"),
    include_str!("../../docs/codes/experiment.md"),
    include_str!("../../docs/codes/groups.md"),
    include_str!("../../docs/codes/data.md"),
    include_str!("../../docs/codes/sweeps.md"),
    include_str!("../../docs/codes/functions.md"),
    include_str!("../../docs/codes/layers.md"),
    include_str!("../../docs/codes/imports.md"),
    include_str!("../../docs/codes/warnings.md"),
];

/// The experiments that examples are excerpts of, each with the name by which an example's fence calls it.
const EXPERIMENTS: [(&str, &str); 3] = [
    ("linear", include_str!("../../docs/codes/linear.meta")),
    ("sine", include_str!("../../docs/codes/sine.meta")),
    ("clients", include_str!("../../docs/codes/clients.meta")),
];

/// Why a code is reported, with an example of it.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The code.
    pub code: &'static str,
    /// The mistake in a few words.
    pub title: &'static str,
    /// Why it is one, and how to mend it: a paragraph.
    pub reason: &'static str,
    /// The name of the experiment that the examples are excerpts of: their statements stand in the place of its own, a
    /// field in a `train` or `evaluate` block in the place of that field, and one behind `//` is left out.
    pub experiment: &'static str,
    /// What is reported under this code.
    pub wrong: &'static str,
    /// The same, mended.
    pub right: &'static str,
}

/// All codes, in the order of the pages.
pub fn explanations() -> impl Iterator<Item = Explanation> {
    PAGES.iter().flat_map(|page| page.split("\n## ").skip(1)).filter_map(section)
}

/// What one code means.
pub fn explain(code: &str) -> Option<Explanation> {
    explanations().find(|e| e.code.eq_ignore_ascii_case(code))
}

/// An experiment that examples are excerpts of.
pub fn example_experiment(name: &str) -> Option<&'static str> {
    EXPERIMENTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A section: `CODE: title`, a paragraph, and two fenced examples.
fn section(text: &'static str) -> Option<Explanation> {
    let (heading, rest) = text.split_once('\n')?;
    let (code, title) = heading.split_once(": ")?;
    let (reason, examples) = rest.split_once("```meta")?;
    let (wrong, right) = examples.split_once("```meta")?;
    let (experiment, wrong) = wrong.split_once('\n')?;
    let (_, right) = right.split_once('\n')?;
    let code_of = |block: &'static str| block.split("```").next().map(str::trim_end);
    let experiment = if experiment.is_empty() { "linear" } else { experiment.trim() };
    Some(Explanation { code, title, reason: reason.trim(), experiment, wrong: code_of(wrong)?, right: code_of(right)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_read_and_names_an_experiment() {
        let sections: usize = PAGES.iter().map(|page| page.matches("\n## ").count()).sum();
        assert_eq!(explanations().count(), sections);
        for e in explanations() {
            assert!(example_experiment(e.experiment).is_some(), "{}", e.code);
            assert!(!e.reason.is_empty() && e.wrong != e.right, "{}", e.code);
        }
    }

    #[test]
    fn a_code_is_found_in_any_case() {
        assert_eq!(explain("e0201").map(|e| e.title), Some("no number has this name"));
        assert!(explain("E9999").is_none());
    }
}
