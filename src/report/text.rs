//! Numbers and moments as people read them, and texts from a record made harmless for terminals and pages.

/// A number with three or four significant digits.
pub fn number(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || !x.is_finite() {
        format!("{x}")
    } else if !(1e-3..1e6).contains(&size) {
        format!("{x:.2e}")
    } else {
        let digits = (3 - libm::log10(size).floor() as i32).clamp(0, 6) as usize;
        format!("{x:.digits$}")
    }
}

/// A moment as `2026-11-23 21:04:05`, UTC.
pub fn utc(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| format!("{ms} ms"), |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A length of time as `0.2 s`, `3.6 min` or `2.1 h`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// `1 seed`, `5 seeds`
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Characters that steer a terminal or turn the direction of text around: C0 and C1 controls and the marks of Unicode's
/// bidirectional algorithm, with which a text can be made to read as another one.
fn is_steering(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text from a record on one line, without characters that could steer a terminal.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

/// Text of several lines without characters that could steer a terminal; line ends stay.
pub fn visible_lines(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A value as one line of JSON that steers no terminal: such characters, which only texts have, are escaped.
pub fn json_line(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if is_steering(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out
}

/// Text from a record as the content or a quoted attribute of HTML and SVG.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible_lines(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Text from a record as a cell of a Markdown table: on one line, with nothing that Markdown or HTML would read.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
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
    use super::*;

    #[test]
    fn a_course_is_a_line_of_bars() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 7.0]), "▁▂▃█");
        assert_eq!(sparkline(&[1e-4, 1e-3, 1.0]), "▁▃█");
        assert_eq!(sparkline(&[3.0, f64::NAN, 3.0]), "▁ ▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&(0..1000).map(f64::from).collect::<Vec<_>>()).chars().count(), 24);
    }

    #[test]
    fn numbers_keep_four_digits() {
        let shown = [0.0, 1.0, 0.03922, 12345.678, 1e-7, 1e9, f64::INFINITY].map(number);
        assert_eq!(shown, ["0", "1.000", "0.03922", "12346", "1.00e-7", "1.00e9", "inf"]);
    }

    #[test]
    fn nothing_steers_a_terminal_or_a_page() {
        let hostile = "a\u{1b}[31m\u{9b}2J\r<script>\u{202e}'\"&\n";
        assert_eq!(visible(hostile), "a\u{fffd}[31m\u{fffd}2J\u{fffd}<script>\u{fffd}'\"&\u{fffd}");
        assert_eq!(escape(hostile), "a\u{fffd}[31m\u{fffd}2J\u{fffd}&lt;script&gt;\u{fffd}&#39;&quot;&amp;\n");
        assert_eq!(markdown("a|b*[x](y)<i>"), "a\\|b\\*\\[x\\](y)&lt;i>");
    }

    #[test]
    fn times_read_as_times() {
        assert_eq!(utc(1_700_000_000_000), "2023-11-14 22:13:20");
        assert_eq!([0.24, 216.0, 7560.0].map(duration), ["0.2 s", "3.6 min", "2.1 h"]);
    }
}
