//! A figure as SVG: thin lines over pale bands, labels beside the curves, ticks at round numbers.
//!
//! Colours are those of Okabe and Ito (Color Universal Design, 2008), which stay apart for every kind of colour vision;
//! behind the eighth curve they come again with dashes. They are set by classes, so a page can give them for a dark ground.

use std::fmt::Write;

use super::axis::Axis;
use super::curve::{Curve, Figure, Point};
use super::text::escape;

/// The style of a figure that stands alone, on white.
const STYLE: &str = include_str!("figure.css");

const WIDTH: f64 = 580.0;
const HEIGHT: f64 = 360.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 44.0;
const LEFT: f64 = 58.0;
/// The height of a label and of a row of the legend.
const ROW: f64 = 15.0;
/// The mean width of a character of a label.
const CHARACTER: f64 = 6.4;
/// The longest label beside a curve, in characters.
const LONGEST: usize = 24;
/// The most curves that are labelled where they end.
const DIRECT: usize = 14;

/// A figure as an SVG element for a page that has the style.
pub fn svg(figure: &Figure) -> String {
    drawn(figure, "")
}

/// A figure as an SVG file of its own.
pub fn svg_file(figure: &Figure) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", drawn(figure, &format!("<style>{STYLE}</style>")))
}

/// Where things are drawn.
struct Frame {
    x: Axis,
    y: Axis,
    right: f64,
    bottom: f64,
}

impl Frame {
    fn px(&self, step: u64) -> f64 {
        LEFT + self.x.place(step as f64) * (self.right - LEFT)
    }

    fn py(&self, value: f64) -> f64 {
        // What lies outside is drawn a little outside, and clipped.
        self.bottom - self.y.place(value).clamp(-0.5, 1.5) * (self.bottom - TOP)
    }
}

fn drawn(figure: &Figure, style: &str) -> String {
    let direct = figure.curves.len() <= DIRECT;
    let longest = figure.curves.iter().map(|c| shortened(&c.label).chars().count()).max().unwrap_or(0);
    let right = if direct { WIDTH - (longest as f64 * CHARACTER + 22.0).max(40.0) } else { WIDTH - 16.0 };
    let legend = if direct { vec![] } else { legend(&figure.curves) };
    let rows = legend.last().map_or(0.0, |(_, y, _)| y + ROW);
    let steps = figure.curves.iter().flat_map(|c| c.points.iter().map(|p| p.step as f64));
    let frame = Frame { x: Axis::exact(steps, 5), y: vertical(&figure.curves), right, bottom: HEIGHT - BOTTOM };
    let height = HEIGHT + rows;

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"figure\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title} by step\">{style}",
        title = escape(&figure.title),
    );
    let ground = format!("<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>");
    // Two figures of a page must not share the name of a clip path.
    let clip: String = figure.name.bytes().map(|b| format!("{b:02x}")).collect();
    let crowd = if figure.curves.len() > 3 { " class=\"crowd\"" } else { "" };
    let parts = [
        ground,
        heading(figure, frame.y.is_log()),
        axes(&frame),
        format!(
            "<clipPath id=\"c{clip}\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath><g{crowd} clip-path=\"url(#c{clip})\">",
            right - LEFT,
            frame.bottom - TOP
        ),
        figure.curves.iter().map(|c| band(&frame, c)).collect(),
        figure.curves.iter().map(|c| line(&frame, c)).collect(),
        "</g>".to_owned(),
        if direct { direct_labels(&frame, &figure.curves) } else { legend_labels(&legend) },
        "</svg>".to_owned(),
    ];
    out.extend(parts);
    out
}

/// The axis of values: over the bands, unless a few wild seeds would flatten every median. It is logarithmic where curves
/// end orders of magnitude below the highest value; a curve that merely begins low, as an accuracy does, needs no logarithm.
fn vertical(curves: &[Curve]) -> Axis {
    let points = || curves.iter().flat_map(|c| &c.points);
    let least_end = curves.iter().filter_map(|c| c.points.last()).fold(f64::INFINITY, |l, p| l.min(p.mid));
    let bands = Axis::fitting(points().flat_map(|p| [p.low, p.high, p.mid]), least_end, 5);
    if bands.is_log() {
        return bands;
    }
    let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.mid), h.max(p.mid)));
    let room = (high - low).max(1e-12);
    let span = points().fold(0.0_f64, |s, p| s.max(p.high - high).max(low - p.low));
    if span <= 4.0 * room { bands } else { Axis::plain([low - room / 2.0, high + room].into_iter(), 5) }
}

fn heading(figure: &Figure, log: bool) -> String {
    let scale = if log { ", log scale" } else { "" };
    format!(
        "<text class=\"title\" x=\"16\" y=\"22\">{}</text><text class=\"faint\" x=\"16\" y=\"40\">{}{scale}</text>",
        escape(&figure.title),
        escape(&figure.subtitle),
    )
}

fn axes(frame: &Frame) -> String {
    let mut out = String::new();
    for (value, label) in &frame.y.ticks {
        let y = frame.py(*value);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            frame.right,
            LEFT - 8.0,
            y + 4.0
        );
    }
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{b:.1}\" y2=\"{b:.1}\"/>",
        frame.right,
        b = frame.bottom
    );
    for (value, label) in &frame.x.ticks {
        let x = LEFT + frame.x.place(*value) * (frame.right - LEFT);
        let _ = write!(
            out,
            "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            frame.bottom,
            frame.bottom + 4.0,
            frame.bottom + 18.0
        );
    }
    let _ = write!(
        out,
        "<text class=\"faint\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">step</text>",
        frame.right,
        frame.bottom + 34.0
    );
    out
}

fn classes(style: usize) -> String {
    let dash = ["", " dash", " dot"][style / 8 % 3];
    format!("s{}{dash}", style % 8)
}

fn band(frame: &Frame, curve: &Curve) -> String {
    let points = curve.thinned();
    if points.iter().all(|p| p.low == p.high) {
        return String::new();
    }
    let place = |p: &Point, value: f64| format!("{:.1},{:.1}", frame.px(p.step), frame.py(value));
    let upper = points.iter().map(|p| place(p, p.high));
    let lower = points.iter().rev().map(|p| place(p, p.low));
    let path: Vec<String> = upper.chain(lower).collect();
    format!("<polygon class=\"band {}\" points=\"{}\"/>", classes(curve.style), path.join(" "))
}

fn line(frame: &Frame, curve: &Curve) -> String {
    let points = curve.thinned();
    let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", frame.px(p.step), frame.py(p.mid))).collect();
    let class = classes(curve.style);
    let mut out = format!(
        "<g class=\"{class}\"><title>{}</title><polyline class=\"line\" points=\"{}\"/>",
        escape(&curve.hint),
        path.join(" ")
    );
    // Few measurements are seen one by one.
    if points.len() <= 12 {
        for p in &points {
            let _ = write!(
                out,
                "<circle class=\"mark\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.6\"/>",
                frame.px(p.step),
                frame.py(p.mid)
            );
        }
    }
    for &(step, value) in &curve.diverged {
        let (x, y) = (frame.px(step), frame.py(value).clamp(TOP + 5.0, frame.bottom - 5.0));
        let _ = write!(
            out,
            "<path class=\"cross\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"><title>a seed diverged after step {step}</title></path>",
            x - 4.0,
            y - 4.0
        );
    }
    out.push_str("</g>");
    out
}

/// Labels at the ends of curves, moved apart where they would overlap, each tied to its end by a thin line.
fn direct_labels(frame: &Frame, curves: &[Curve]) -> String {
    let mut ends: Vec<(f64, f64, &Curve)> = curves
        .iter()
        .filter_map(|c| c.points.last().map(|p| (frame.py(p.mid).clamp(TOP, frame.bottom), frame.px(p.step), c)))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted: Vec<f64> = ends.iter().map(|e| e.0).collect();
    let mut out = String::new();
    for ((end, x, curve), y) in ends.iter().zip(apart(&wanted, TOP - 4.0, frame.bottom)) {
        let class = classes(curve.style);
        if (y - end).abs() > 3.0 || *x < frame.right - 1.0 {
            let _ = write!(
                out,
                "<path class=\"leader {class}\" d=\"M{:.1} {end:.1}L{:.1} {y:.1}\"/>",
                x + 2.0,
                frame.right + 9.0
            );
        }
        let _ = write!(
            out,
            "<text class=\"label {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            frame.right + 11.0,
            y + 4.0,
            escape(&shortened(&curve.label))
        );
    }
    out
}

/// Heights near `wanted` (sorted) that lie [`ROW`] apart, from `top` to `bottom` where there is room: overlapping neighbours
/// become a block around their common centre.
fn apart(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    // Each block: the sum of the places its first member would have for each member's sake, and its size.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let start = |block: &(f64, usize)| {
        let height = ROW * (block.1 - 1) as f64;
        (block.0 / block.1 as f64).min(bottom - height).max(top)
    };
    for &y in wanted {
        blocks.push((y, 1));
        while let [.., above, below] = &blocks[..] {
            if start(above) + ROW * above.1 as f64 <= start(below) {
                break;
            }
            let merged = (above.0 + below.0 - ROW * (above.1 * below.1) as f64, above.1 + below.1);
            blocks.truncate(blocks.len() - 2);
            blocks.push(merged);
        }
    }
    blocks.iter().flat_map(|b| (0..b.1).map(|i| start(b) + ROW * i as f64)).collect()
}

/// Where the entries of a legend below the plot stand, relative to its first row.
fn legend(curves: &[Curve]) -> Vec<(f64, f64, &Curve)> {
    let (mut x, mut y) = (0.0, 0.0);
    let mut placed = Vec::new();
    for curve in curves {
        let width = 34.0 + shortened(&curve.label).chars().count() as f64 * CHARACTER;
        if x > 0.0 && LEFT + x + width > WIDTH {
            (x, y) = (0.0, y + ROW);
        }
        placed.push((LEFT + x, y, curve));
        x += width;
    }
    placed
}

fn legend_labels(legend: &[(f64, f64, &Curve)]) -> String {
    let mut out = String::new();
    for (x, y, curve) in legend {
        let (y, class) = (HEIGHT + y, classes(curve.style));
        let _ = write!(
            out,
            "<g class=\"{class}\"><line class=\"line\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/></g><text class=\"label {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 16.0,
            x + 20.0,
            y + 4.0,
            escape(&shortened(&curve.label))
        );
    }
    out
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LONGEST {
        return label.to_owned();
    }
    label.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_move_apart_and_stay_inside() {
        assert_eq!(apart(&[10.0, 100.0], 0.0, 200.0), [10.0, 100.0]);
        assert_eq!(apart(&[100.0, 100.0, 100.0], 0.0, 200.0), [85.0, 100.0, 115.0]);
        assert_eq!(apart(&[199.0, 200.0], 0.0, 200.0), [185.0, 200.0]);
        assert_eq!(apart(&[0.0, 0.0], 0.0, 200.0), [0.0, 15.0]);
        let crowded: Vec<f64> = (0..12).map(|i| f64::from(i) * 2.0).collect();
        let moved = apart(&crowded, 0.0, 400.0);
        assert!(moved.windows(2).all(|w| w[1] - w[0] >= ROW - 1e-9), "{moved:?}");
    }

    #[test]
    fn names_from_a_record_are_escaped() {
        let point = |step| Point { step, mid: 1.0, low: 0.5, high: 2.0 };
        let curve = Curve {
            label: "<script>".into(),
            style: 9,
            points: vec![point(0), point(10)],
            diverged: vec![(10, 1.0)],
            hint: "\"&".into(),
        };
        let figure = Figure {
            name: "x".into(),
            title: "<b>".into(),
            subtitle: "a & b".into(),
            note: String::new(),
            curves: vec![curve],
        };
        let text = svg_file(&figure);
        assert!(!text.contains("<script>") && !text.contains("<b>"), "{text}");
        assert!(text.contains("&lt;script&gt;") && text.contains("s1 dash") && text.contains("diverged after step 10"));
    }
}
