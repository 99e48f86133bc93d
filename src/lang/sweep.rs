//! `sweep`: the values of paths. Every combination of them, a point, makes an arm of every declared arm, by the same
//! overrides of paths that arms are made of.

use super::calls::{assign, empty_range, entry_wanted, real, unknown_entry};
use super::constant::Constants;
use crate::catalog::{self, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::rng::Stream;
use crate::syntax::ast::{Arg, Expr, ExprKind, Field, Item, ItemKind, Name};

/// One `sweep` line: paths that vary together. A claim names it by the last word of any of its paths.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// The paths.
    pub paths: Vec<Vec<Name>>,
    /// The place of the line.
    pub span: Span,
    /// The points: one value for every path.
    pub points: Vec<Vec<Expr>>,
    /// The values as text, point by point.
    pub shown: Vec<Vec<String>>,
    /// The values as numbers, where they are constants.
    pub numbers: Vec<Vec<Option<f64>>>,
}

/// All sweeps of an experiment other than `sweep seed`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Grid {
    /// The sweeps, in the order of the text.
    pub axes: Vec<Axis>,
}

impl Grid {
    /// Reads the sweeps; reports what is wrong with them. A wrong one is left out.
    pub fn collect(items: &[Item], constants: &Constants, sink: &mut Sink) -> Grid {
        let mut grid = Grid::default();
        for item in items {
            let ItemKind::Sweep { paths, values } = &item.kind else { continue };
            if let [path] = paths.as_slice()
                && is_seed(path)
            {
                continue;
            }
            let points = Values { constants }.points(values, paths.len(), sink);
            if let Some(points) = points
                && grid.is_new(paths, sink)
            {
                grid.axes.extend(axis(paths.clone(), item.span, points, values.span, constants, sink));
            }
        }
        grid
    }

    /// Whether no path of a new sweep is known already; reports the first that is.
    fn is_new(&self, paths: &[Vec<Name>], sink: &mut Sink) -> bool {
        let before: Vec<&Vec<Name>> = self.axes.iter().flat_map(|axis| &axis.paths).collect();
        for (i, path) in paths.iter().enumerate() {
            let known = before.iter().copied().chain(&paths[..i]);
            let Some(first) = known.into_iter().find(|p| p.last().map(|n| &n.text) == path.last().map(|n| &n.text))
            else {
                continue;
            };
            let name = &path[path.len() - 1].text;
            let (message, help) = if text(first) == text(path) {
                (format!("`{}` is swept twice", text(path)), "a path has one sweep; list all its values there".into())
            } else {
                (
                    format!("two swept paths end in `{name}`, by which claims name a sweep"),
                    format!(
                        "name one of the values: `let my_{name} = ..`, set `{}` to it and sweep `my_{name}`",
                        text(path)
                    ),
                )
            };
            sink.push(Diagnostic::error("E0705", span(path), message).related(span(first), "the first one").help(help));
            return false;
        }
        true
    }

    /// Reports an override of what is swept, by an arm or on the command line.
    pub fn check_override(&self, field: &Field, sink: &mut Sink) {
        let swept = self.axes.iter().find(|axis| axis.paths.iter().any(|path| text(path) == text(&field.path)));
        if let Some(axis) = swept {
            let message = format!("`{}` is set here and swept elsewhere", text(&field.path));
            sink.push(
                Diagnostic::error("E0217", span(&field.path), message)
                    .related(axis.span, "every arm runs at every point of this sweep"),
            );
        }
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.points.len()).fold(1, usize::saturating_mul)
    }

    /// The position on every axis of a point; the last axis varies fastest.
    pub fn position(&self, mut point: usize) -> Vec<usize> {
        let mut position: Vec<usize> = self
            .axes
            .iter()
            .rev()
            .map(|axis| {
                let at = point % axis.points.len();
                point /= axis.points.len();
                at
            })
            .collect();
        position.reverse();
        position
    }

    /// The point at these positions.
    pub fn point(&self, position: &[usize]) -> usize {
        self.axes.iter().zip(position).fold(0, |point, (axis, at)| point * axis.points.len() + at)
    }

    /// The overrides of a point.
    pub fn fields(&self, point: usize) -> Vec<Field> {
        let at = self.axes.iter().zip(self.position(point));
        at.flat_map(|(axis, at)| axis.paths.iter().zip(&axis.points[at]))
            .map(|(path, value)| Field { path: path.clone(), value: value.clone() })
            .collect()
    }

    /// The name of an arm at a point: `maml[d: 10, rate: 0.1]`.
    pub fn name(&self, arm: &str, point: usize) -> String {
        if self.axes.is_empty() {
            return arm.to_owned();
        }
        let at = self.axes.iter().zip(self.position(point));
        let values: Vec<String> = at
            .flat_map(|(axis, at)| axis.paths.iter().zip(&axis.shown[at]))
            .map(|(path, value)| format!("{}: {value}", path[path.len() - 1].text))
            .collect();
        format!("{arm}[{}]", values.join(", "))
    }

    /// The axis that a name means, and which of its paths.
    pub fn find(&self, name: &str) -> Option<(usize, usize)> {
        let path = |axis: &Axis| axis.paths.iter().position(|p| p.last().is_some_and(|n| n.text == name));
        self.axes.iter().enumerate().find_map(|(i, axis)| Some((i, path(axis)?)))
    }

    /// What the sweeps vary, by the names that claims use.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().flat_map(|axis| &axis.paths).filter_map(|p| p.last()).map(|n| n.text.as_str())
    }
}

/// Whether a path is the seed of the runs.
pub(super) fn is_seed(path: &[Name]) -> bool {
    matches!(path, [name] if name.text == "seed")
}

/// `a.b` as it is written.
pub(super) fn text(path: &[Name]) -> String {
    path.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(".")
}

fn span(path: &[Name]) -> Span {
    path[0].span.to(path[path.len() - 1].span)
}

/// The axis, if its points differ and none of its paths is the seed.
fn axis(
    paths: Vec<Vec<Name>>,
    span: Span,
    points: Vec<Vec<Expr>>,
    at: Span,
    constants: &Constants,
    sink: &mut Sink,
) -> Option<Axis> {
    if let Some(path) = paths.iter().find(|path| is_seed(path)) {
        sink.push(
            Diagnostic::error("E0526", path[0].span, "`seed` has a sweep of its own")
                .help("every point runs under every seed: `sweep seed in 0..5`"),
        );
        return None;
    }
    let shown: Vec<Vec<String>> = points.iter().map(|point| point.iter().map(Expr::to_string).collect()).collect();
    let twice = (1..shown.len()).find(|&i| shown[..i].contains(&shown[i]));
    if let Some(i) = twice {
        let span = points[i].first().map_or(at, |e| e.span);
        sink.push(
            Diagnostic::error("E0703", span, format!("the point {} is listed twice", shown[i].join(", ")))
                .help("every point of a sweep is an arm of its own"),
        );
        return None;
    }
    let numbers = points.iter().map(|point| point.iter().map(|e| constants.try_number(e)).collect()).collect();
    Some(Axis { paths, span, points, shown, numbers })
}

/// Reads the values of a sweep.
struct Values<'a> {
    constants: &'a Constants,
}

impl Values<'_> {
    /// One value for each of `paths` paths, point by point.
    fn points(&self, expr: &Expr, paths: usize, sink: &mut Sink) -> Option<Vec<Vec<Expr>>> {
        let points = match &expr.kind {
            ExprKind::Call { callee, args } if callee.text == "zip" => self.zip(args, expr, paths, sink)?,
            ExprKind::Call { callee, args } if callee.text == "random" => self.random(args, expr, paths, sink)?,
            ExprKind::List(items) if paths > 1 => {
                items.iter().map(|item| each(item, paths, "a point", sink)).collect::<Option<_>>()?
            }
            _ => self.set(expr, sink)?.into_iter().map(|value| vec![value]).collect(),
        };
        if let Some(point) = points.first().filter(|point| point.len() != paths) {
            let message = format!("{paths} paths vary here, and a point has {}", point.len());
            let error = Diagnostic::error("E0702", expr.span, message);
            sink.push(error.help("list the points, `[[10, 100], [20, 400]]`, or use `zip([.., ..])`"));
            return None;
        }
        Some(points)
    }

    /// The values of one path: a list, a range, or numbers at equal distances or ratios.
    fn set(&self, expr: &Expr, sink: &mut Sink) -> Option<Vec<Expr>> {
        let number = |x: f64| Expr { kind: ExprKind::Number(x), span: expr.span };
        let values: Vec<Expr> = match &expr.kind {
            ExprKind::List(items) => items.clone(),
            ExprKind::Range(lo, hi) => {
                let lo = self.constants.count(lo, 0, "the start of a range", sink);
                let hi = self.constants.count(hi, 0, "the end of a range", sink);
                let (lo, hi) = (lo?, hi?);
                if lo >= hi {
                    sink.push(empty_range(lo, hi, expr.span));
                    return None;
                }
                (lo..hi.min(lo + MAX_POINTS + 1)).map(|n| number(n as f64)).collect()
            }
            ExprKind::Call { callee, args } => {
                let span = self.ends(callee, args, expr, sink)?;
                let Some(count) = span.count else {
                    sink.push(
                        Diagnostic::error("E0706", expr.span, format!("how many values has this `{}`?", callee.text))
                            .help(format!("for example `{}({}, {}, 5)`", callee.text, span.low, span.high)),
                    );
                    return None;
                };
                let last = (count - 1) as f64;
                (0..count.min(MAX_POINTS + 1)).map(|i| number(span.at(i as f64 / last))).collect()
            }
            ExprKind::Error => return None,
            _ => {
                sink.push(
                    Diagnostic::error("E0701", expr.span, "the values of a sweep are wanted here")
                        .help("for example `[0.1, 0.01]`, `1..5`, `lin(0, 1, 5)` or `log(1e-3, 1, 4)`"),
                );
                return None;
            }
        };
        if values.is_empty() {
            sink.push(Diagnostic::error("E0701", expr.span, "this sweep has no values"));
        }
        if values.len() as u64 > MAX_POINTS {
            sink.push(too_many(expr.span));
        }
        (!values.is_empty() && values.len() as u64 <= MAX_POINTS).then_some(values)
    }

    /// The ends of `lin` or `log`.
    fn ends(&self, callee: &Name, args: &[Arg], expr: &Expr, sink: &mut Sink) -> Option<Ends> {
        let Some(entry) = catalog::find(Kind::Sweep, &callee.text) else {
            sink.push(unknown_entry(Kind::Sweep, callee));
            return None;
        };
        if !matches!(entry.name, "lin" | "log") {
            sink.push(entry_wanted(Kind::Sweep, expr.span).label("it makes whole points, not the values of one path"));
            return None;
        }
        let assigned = assign(entry, args, expr.span, sink)?;
        let end = |i: usize, sink: &mut Sink| real(self.constants, entry, &entry.params[i], assigned[i]?, sink);
        let (low, high) = (end(0, sink), end(1, sink));
        let count = match assigned[2] {
            Some(expr) => Some(self.constants.count(expr, 2, "the number of values", sink)?),
            None => None,
        };
        Some(Ends { low: low?, high: high?, count, logarithmic: entry.name == "log" })
    }

    fn zip(&self, args: &[Arg], expr: &Expr, paths: usize, sink: &mut Sink) -> Option<Vec<Vec<Expr>>> {
        let entry = catalog::find(Kind::Sweep, "zip").expect("`zip` is in the catalog");
        let sets = assign(entry, args, expr.span, sink)?[0]?;
        let sets: Vec<Vec<Expr>> = each(sets, paths, "`sets`", sink)?
            .iter()
            .map(|set| self.set(set, sink))
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Option<_>>()?;
        let lengths: Vec<usize> = sets.iter().map(Vec::len).collect();
        if lengths.iter().any(|&n| n != lengths[0]) {
            let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
            sink.push(
                Diagnostic::error("E0702", expr.span, "paths that vary together have equally many values")
                    .label(format!("here they have {}", lengths.join(" and "))),
            );
            return None;
        }
        Some((0..lengths[0]).map(|i| sets.iter().map(|set| set[i].clone()).collect()).collect())
    }

    fn random(&self, args: &[Arg], expr: &Expr, paths: usize, sink: &mut Sink) -> Option<Vec<Vec<Expr>>> {
        let entry = catalog::find(Kind::Sweep, "random").expect("`random` is in the catalog");
        let assigned = assign(entry, args, expr.span, sink)?;
        let count = self.constants.count(assigned[0]?, 1, "the number of points", sink);
        let seed = self.constants.count(assigned[1]?, 0, "the seed of a sweep", sink);
        let of = assigned[2]?;
        let sets = if paths == 1 { vec![of.clone()] } else { each(of, paths, "`of`", sink)? };
        let (count, seed) = (count?, seed?);
        if count > MAX_POINTS {
            sink.push(too_many(expr.span));
            return None;
        }
        let mut columns = Vec::new();
        for (i, set) in sets.iter().enumerate() {
            let stream = Stream::new(seed, &["sweep"]).child(i as u64);
            columns.push(self.drawn(set, &stream, count, sink));
        }
        let columns: Vec<Vec<Expr>> = columns.into_iter().collect::<Option<_>>()?;
        let mut points: Vec<Vec<Expr>> = Vec::new();
        for i in 0..count as usize {
            let point: Vec<Expr> = columns.iter().map(|column| column[i].clone()).collect();
            if !points.iter().any(|known| known.iter().zip(&point).all(|(a, b)| a.kind == b.kind)) {
                points.push(point);
            }
        }
        Some(points)
    }

    /// `count` independent draws from a set, or from between two ends.
    fn drawn(&self, set: &Expr, stream: &Stream, count: u64, sink: &mut Sink) -> Option<Vec<Expr>> {
        if let ExprKind::Call { callee, args } = &set.kind {
            let ends = self.ends(callee, args, set, sink)?;
            let number = |i| Expr { kind: ExprKind::Number(ends.at(stream.uniform(i))), span: set.span };
            if ends.count.is_none() {
                return Some((0..count).map(number).collect());
            }
        }
        let values = self.set(set, sink)?;
        Some((0..count).map(|i| values[stream.below(i, values.len())].clone()).collect())
    }
}

/// The most points of one sweep.
const MAX_POINTS: u64 = 1000;

/// The error about a sweep that makes more arms than anyone could run.
pub(super) fn too_many(span: Span) -> Diagnostic {
    Diagnostic::error("E0704", span, format!("these are more than {MAX_POINTS} arms"))
        .help("every point of the sweeps, under every arm, is an arm that is checked and run")
}

/// Whether so many arms are refused.
pub(super) fn is_too_many(arms: usize) -> bool {
    arms as u64 > MAX_POINTS
}

/// Two ends, the number of values, and how they are spaced.
struct Ends {
    low: f64,
    high: f64,
    count: Option<u64>,
    logarithmic: bool,
}

impl Ends {
    /// The value at a share of the way, to twelve digits: 0.01 and not 0.010000000000000002.
    fn at(&self, share: f64) -> f64 {
        let x = if self.logarithmic {
            self.low * libm::pow(self.high / self.low, share)
        } else {
            self.low + share * (self.high - self.low)
        };
        format!("{x:.11e}").parse().unwrap_or(x)
    }
}

/// The values of a list with one for every path.
fn each(expr: &Expr, paths: usize, what: &str, sink: &mut Sink) -> Option<Vec<Expr>> {
    match &expr.kind {
        ExprKind::List(items) if items.len() == paths => Some(items.clone()),
        ExprKind::Error => None,
        _ => {
            let s = if paths == 1 { "" } else { "s" };
            sink.push(
                Diagnostic::error("E0702", expr.span, format!("{what} is a list with one entry for each path"))
                    .label(format!("{paths} path{s} vary together here")),
            );
            None
        }
    }
}
