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

/// The characters of a sparkline, at most.
const COURSE: usize = 24;

/// A course of values as a line of small bars, logarithmic where the values are positive and span decades; the last value of
/// every stretch. Values that are not finite are blanks.
pub fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    let log = low > 0.0 && high / low > 30.0;
    let scale = |x: f64| if log { libm::log(x) } else { x };
    let span = scale(high) - scale(low);
    let bar = |x: f64| match span {
        _ if !x.is_finite() => ' ',
        s if s > 0.0 => BARS[(((scale(x) - scale(low)) / s * 7.0).round() as usize).min(7)],
        _ => BARS[0],
    };
    values.chunks(values.len().div_ceil(COURSE).max(1)).filter_map(<[f64]>::last).map(|&x| bar(x)).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_course_is_a_line_of_bars() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 7.0]), "▁▂▃█");
        assert_eq!(sparkline(&[1e-4, 1e-2, 1.0]), "▁▅█");
        assert_eq!(sparkline(&[3.0, f64::NAN, 3.0]), "▁ ▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&(0..1000).map(f64::from).collect::<Vec<_>>()).chars().count(), 24);
    }
}
