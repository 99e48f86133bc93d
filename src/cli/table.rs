//! Claims, tables and sparklines as people read them.

use crate::plan::Claim;
use crate::report::text::{number, visible};

/// A claim, whether it holds, and the two sides that decide.
pub fn claim_line(claim: &Claim, holds: bool, left: f64, right: f64) -> String {
    let mark = if holds { "holds" } else { "FAILS" };
    format!(
        "{mark}  {}   ({} {} {})\n",
        visible(&claim.to_string()),
        number(left),
        claim.relation.symbol(),
        number(right)
    )
}

/// Rows in columns of equal width; the first row is the head. No trailing blanks.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, &w)| format!("{cell:<w$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}
