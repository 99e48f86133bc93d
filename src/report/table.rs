//! The table of claims: paper, claim, file, figure reached, figure of the reference, run, time.

use super::cite::{Citation, paper};
use super::record::Record;
use super::text::{duration, markdown, number, visible};

/// A run, and the file it was run from where that is known.
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    /// The run.
    pub record: &'a Record,
    /// The `.meta` file whose text is the very text of the run, relative to the table.
    pub file: Option<&'a str>,
}

/// Where a table stands in a larger text.
const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

/// The Markdown table of the claims of these runs.
pub fn table(runs: &[Located]) -> String {
    let mut out = String::from(
        "| paper | claim | file | holds | reached | reference | run | time |\n|---|---|---|---|---|---|---|---:|\n",
    );
    for Located { record, file } in runs {
        let (_, cited) = paper(record.source.as_deref());
        let file = file.map_or_else(
            || markdown(&record.run.experiment),
            |path| format!("[{}]({})", markdown(&record.run.experiment), path.replace(' ', "%20")),
        );
        let citations = Citation::of(record.source.as_deref(), record.plan.claims.len());
        let claims = record.plan.claims.iter().zip(&record.outcome.claims).zip(citations);
        for (row, ((claim, verdict), citation)) in claims.enumerate() {
            let first = |text: String| if row == 0 { text } else { String::new() };
            // Within backticks nothing but a backtick and the bar of the table has a meaning.
            let stated = format!("`{}`", visible(&claim.to_string()).replace('`', "'").replace('|', "\\|"));
            let stated = citation.text.map_or(stated.clone(), |text| format!("{}<br>{stated}", markdown(&text)));
            let cells = [
                first(markdown(&cited)),
                stated,
                first(file.clone()),
                if verdict.holds { "yes".into() } else { "**no**".into() },
                format!("{} {} {}", number(verdict.left), claim.relation.symbol(), number(verdict.right)),
                citation.reference.as_deref().map(markdown).unwrap_or_default(),
                first(format!("`{}`", record.id.short())),
                first(duration(record.seconds())),
            ];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    out
}

/// Puts a table between the marks of a text that has them; `None` where it has not.
pub fn splice(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::splice;

    #[test]
    fn a_table_takes_its_place_between_the_marks() {
        let text = "# Title\n<!-- results: begin -->\nold\n<!-- results: end -->\nend\n";
        let new = splice(text, "| a |\n").expect("it has the marks");
        assert_eq!(new, "# Title\n<!-- results: begin -->\n| a |\n<!-- results: end -->\nend\n");
        assert_eq!(splice(&new, "| a |\n"), Some(new.clone()));
        assert_eq!(splice("no marks", "| a |\n"), None);
    }
}
