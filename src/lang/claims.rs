//! `expect`: inequalities over measurements, arms, steps, sweeps and seeds.
//!
//! A claim is written once for all points of the sweeps and holds at each of them, unless it reduces over a sweep or chooses
//! a point. It is checked and expanded point by point: [`Place`] says at which.

use super::calls::{assign, real, unknown_entry};
use super::constant::Constants;
use super::points::AXES;
use super::sweep::Grid;
use crate::catalog::{self, Entry, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Along, Arithmetic, Arm, Claim, Quantity, Relation, SeedReduction};
use crate::syntax::ast::{Arg, Comparison, Expr, ExprKind, Name, Operator};

/// The most steps or points that one reduction goes over.
const MAX_ALONG: usize = 10_000;

/// What claims can refer to.
pub(super) struct Claims<'a> {
    pub constants: &'a Constants,
    /// Each arm by name, at every point of the sweeps in turn; `None` where it has a mistake, which has been reported.
    pub arms: &'a [(String, Option<Arm>)],
    /// The arms that the text declares.
    pub declared: &'a [String],
    /// The sweeps.
    pub grid: &'a Grid,
    /// What every arm measures.
    pub measures: &'a [String],
}

/// Where a series is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The position on every axis of the sweeps.
    pub at: Vec<usize>,
    /// Which of the values of a window, within a reduction over steps.
    pub step: Option<usize>,
    /// Which of the values that an evaluation lists, by what it lists, within a reduction over these.
    pub point: Vec<(&'static str, usize)>,
}

/// What a reduction goes over.
enum Over {
    Seeds,
    Steps,
    /// An axis of the sweeps, and the one of its paths that was named.
    Sweep(usize, usize),
    /// What evaluations list, such as `after`.
    Listed(&'static str),
}

impl Claims<'_> {
    /// Checks one claim.
    pub fn claim(&self, left: &Expr, cmp: Comparison, right: &Expr, sink: &mut Sink) -> Option<Claim> {
        let relation = match cmp {
            Comparison::AtMost => Relation::AtMost,
            Comparison::Below => Relation::Below,
            Comparison::AtLeast => Relation::AtLeast,
            Comparison::Above => Relation::Above,
        };
        let mut places = vec![Place { at: vec![0; self.grid.axes.len()], step: None, point: vec![] }];
        for axis in (0..self.grid.axes.len()).filter(|&axis| self.is_free(left, axis) || self.is_free(right, axis)) {
            places = places.iter().flat_map(|place| self.along(place, axis)).collect();
        }
        let (mut a, mut b) = (vec![], vec![]);
        for place in &places {
            // What is wrong at one point is mostly wrong at all.
            let (l, r) = (self.quantity(left, place, sink), self.quantity(right, place, sink));
            a.push(l?);
            b.push(r?);
        }
        if !a.iter().chain(&b).any(measures) {
            sink.push(
                Diagnostic::error("E0519", left.span.to(right.span), "this claim measures nothing")
                    .help("name a measurement, such as `median(maml.angle[500])`"),
            );
            return None;
        }
        // A side that is the same at every point is stated once.
        let side = |mut of: Vec<Quantity>| {
            if of.iter().all(|q| *q == of[0]) { of.swap_remove(0) } else { Quantity::Each { of } }
        };
        Some(Claim { left: side(a), relation, right: side(b) })
    }

    /// A place at every point of an axis.
    fn along(&self, place: &Place, axis: usize) -> Vec<Place> {
        let at = |point| {
            let mut place = place.clone();
            place.at[axis] = point;
            place
        };
        (0..self.grid.axes[axis].points.len()).map(at).collect()
    }

    /// Whether the value of an expression depends on the point of an axis: it names a series, and neither chooses a
    /// point of the axis nor reduces over it.
    fn is_free(&self, expr: &Expr, axis: usize) -> bool {
        let names = |name: &Name| self.grid.find(&name.text).is_some_and(|(found, _)| found == axis);
        match &expr.kind {
            ExprKind::Path(path) => !matches!(path.as_slice(), [name] if self.constants.defines(&name.text)),
            ExprKind::Index(_, index) => !index.iter().any(|arg| arg.key.as_ref().is_some_and(names)),
            ExprKind::Neg(x) => self.is_free(x, axis),
            ExprKind::Binary(_, a, b) => self.is_free(a, axis) || self.is_free(b, axis),
            ExprKind::Call { callee, args } => reduced(callee, args)
                .is_some_and(|(of, over)| !over.and_then(Expr::single).is_some_and(names) && self.is_free(of, axis)),
            _ => false,
        }
    }

    fn quantity(&self, expr: &Expr, place: &Place, sink: &mut Sink) -> Option<Quantity> {
        if self.constants.try_number(expr).is_some() {
            return self.constants.number(expr, sink).map(|value| Quantity::Number { value });
        }
        match &expr.kind {
            ExprKind::Neg(x) => {
                let right = self.quantity(x, place, sink)?.into();
                Some(Quantity::Arithmetic {
                    operator: Arithmetic::Sub,
                    left: Quantity::Number { value: 0.0 }.into(),
                    right,
                })
            }
            ExprKind::Binary(operator, a, b) => {
                let (left, right) = (self.quantity(a, place, sink), self.quantity(b, place, sink));
                let operator =
                    match operator {
                        Operator::Add => Arithmetic::Add,
                        Operator::Sub => Arithmetic::Sub,
                        Operator::Mul => Arithmetic::Mul,
                        Operator::Div => Arithmetic::Div,
                        Operator::Contract | Operator::Pow => {
                            let message = format!("`{}` has no meaning in a claim", operator.symbol());
                            sink.push(Diagnostic::error("E0541", expr.span, message).help(
                                "claims know + - * / on measurements, and reductions over seeds, steps and sweeps",
                            ));
                            return None;
                        }
                    };
                Some(Quantity::Arithmetic { operator, left: left?.into(), right: right?.into() })
            }
            ExprKind::Call { callee, args } => {
                let Some(entry) = catalog::find(Kind::SeedReduction, &callee.text) else {
                    sink.push(unknown_entry(Kind::SeedReduction, callee));
                    return None;
                };
                let assigned = assign(entry, args, expr.span, sink)?;
                self.reduction(entry, &assigned, place, sink)
            }
            ExprKind::Index(base, index) => match &base.kind {
                ExprKind::Path(path) => self.at(path, base.span, Some(index), expr.span, place, sink),
                ExprKind::Error => None,
                _ => {
                    sink.push(
                        Diagnostic::error("E0520", expr.span, "only a measurement has steps to choose from")
                            .help("the step stands behind its name: `median(maml.angle[500])`"),
                    );
                    None
                }
            },
            ExprKind::Path(path) => self.at(path, expr.span, None, expr.span, place, sink),
            ExprKind::Error => None,
            _ => {
                sink.push(
                    Diagnostic::error("E0520", expr.span, "a number or a measurement is wanted here")
                        .help("for example `median(maml.angle[500])`"),
                );
                None
            }
        }
    }

    fn reduction(
        &self,
        entry: &'static Entry,
        assigned: &[Option<&Expr>],
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Quantity> {
        let argument = assigned[0]?;
        let over = entry.params.iter().position(|p| p.name == "over").and_then(|i| assigned[i]);
        let (over, name) = self.over(over, sink)?;
        let reduction = match entry.name {
            "median" => SeedReduction::Median,
            "mean" => SeedReduction::Mean,
            "min" => SeedReduction::Min,
            "max" => SeedReduction::Max,
            "std" => SeedReduction::Std,
            "quantile" => {
                let q = real(self.constants, entry, &entry.params[1], assigned[1]?, sink)?;
                SeedReduction::Quantile { q }
            }
            "diverged" => SeedReduction::Diverged,
            "slope" | "rise" => return self.trend(entry.name, argument, &over, name?, place, sink),
            other => unreachable!("`{other}` is not in the table of reductions of measurements"),
        };
        let places = match over {
            Over::Seeds => {
                let of = self.quantity(argument, place, sink)?;
                if !varies(&of) {
                    sink.push(
                        nothing_to_reduce(entry.name, argument)
                            .label("this is one number, the same for every seed")
                            .help("a reduction over seeds takes a measurement: `median(maml.angle[500])`"),
                    );
                    return None;
                }
                return Some(Quantity::OverSeeds { reduction, of: of.into() });
            }
            Over::Steps => self.steps(entry.name, argument, place, sink)?.0,
            Over::Listed(axis) => self.listed(entry.name, argument, axis, place, sink)?.0,
            Over::Sweep(axis, _) => self.points(entry.name, argument, axis, place, sink)?,
        };
        let of = places.iter().map(|place| self.quantity(argument, place, sink)).collect::<Option<_>>()?;
        Some(Quantity::Along { over: name?.text.clone(), reduction: Along::Reduce { reduction }, of })
    }

    /// `slope` and `rise`: values against numbers, in increasing order of these.
    fn trend(
        &self,
        function: &str,
        argument: &Expr,
        over: &Over,
        name: &Name,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Quantity> {
        let mut against: Vec<(f64, Place)> = match *over {
            Over::Seeds => {
                sink.push(
                    Diagnostic::error("E0708", name.span, format!("seeds are no numbers for `{function}` to go along"))
                        .help("it goes over `steps`, or over a sweep of numbers"),
                );
                return None;
            }
            Over::Steps => {
                let (places, steps) = self.steps(function, argument, place, sink)?;
                steps.into_iter().map(|step| step as f64).zip(places).collect()
            }
            Over::Sweep(axis, path) => {
                let places = self.points(function, argument, axis, place, sink)?;
                let numbers =
                    self.grid.axes[axis].numbers.iter().map(|point| point[path]).collect::<Option<Vec<f64>>>();
                let Some(numbers) = numbers else {
                    sink.push(no_numbers(function, name).related(self.grid.axes[axis].span, "swept here"));
                    return None;
                };
                numbers.into_iter().zip(places).collect()
            }
            Over::Listed(axis) => {
                let (places, values) = self.listed(function, argument, axis, place, sink)?;
                let numbers = values.iter().map(|text| text.parse().ok()).collect::<Option<Vec<f64>>>();
                let Some(numbers) = numbers else {
                    sink.push(no_numbers(function, name));
                    return None;
                };
                numbers.into_iter().zip(places).collect()
            }
        };
        against.sort_by(|a, b| a.0.total_cmp(&b.0));
        let of = against.iter().map(|(_, place)| self.quantity(argument, place, sink)).collect::<Option<_>>()?;
        let reduction = match function {
            "slope" => Along::Slope { at: against.iter().map(|(x, _)| *x).collect() },
            _ => Along::Rise,
        };
        Some(Quantity::Along { over: name.text.clone(), reduction, of })
    }

    /// What `over` names; seeds where it is not given.
    fn over<'e>(&self, over: Option<&'e Expr>, sink: &mut Sink) -> Option<(Over, Option<&'e Name>)> {
        let Some(expr) = over else { return Some((Over::Seeds, None)) };
        let name = expr.single();
        let found = name.and_then(|name| match name.text.as_str() {
            "seeds" => Some(Over::Seeds),
            "steps" => Some(Over::Steps),
            axis => match self.grid.find(axis) {
                Some((axis, path)) => Some(Over::Sweep(axis, path)),
                None => AXES.into_iter().find(|known| *known == axis).map(Over::Listed),
            },
        });
        if found.is_none() {
            let known = ["seeds", "steps"].into_iter().chain(self.grid.names());
            let error = Diagnostic::error("E0707", expr.span, "a reduction goes over seeds, steps or a sweep");
            sink.push(match name {
                Some(name) => error.suggest(name.span, &name.text, known),
                None => error.help(format!("here: {}", known.collect::<Vec<_>>().join(", "))),
            });
        }
        found.map(|over| (over, name))
    }

    /// The places that a reduction over a sweep goes over.
    fn points(
        &self,
        function: &str,
        argument: &Expr,
        axis: usize,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<Vec<Place>> {
        if !self.is_free(argument, axis) {
            sink.push(
                nothing_to_reduce(function, argument)
                    .label("this is the same at every point of the sweep")
                    .related(self.grid.axes[axis].span, "the sweep"),
            );
            return None;
        }
        Some(self.along(place, axis))
    }

    /// The places that a reduction over what evaluations list goes over, and the values there.
    fn listed(
        &self,
        function: &str,
        argument: &Expr,
        axis: &'static str,
        place: &Place,
        sink: &mut Sink,
    ) -> Option<(Vec<Place>, Vec<String>)> {
        let mut lists = Vec::new();
        self.lists(argument, axis, place, &mut lists, sink)?;
        let Some((first, values)) = lists.first() else {
            sink.push(
                nothing_to_reduce(function, argument).label(format!(
                    "no evaluation lists `{axis}` for what stands here, or one of its values is chosen"
                )),
            );
            return None;
        };
        if let Some((other, found)) = lists.iter().find(|(_, found)| found.len() != values.len()) {
            sink.push(
                Diagnostic::error("E0709", *other, format!("`{axis}` lists {} and {}", values.len(), found.len()))
                    .related(*first, format!("{} values", values.len()))
                    .help("values are taken together one by one, so equally many are listed"),
            );
            return None;
        }
        let at = |position| Place { point: [&place.point[..], &[(axis, position)]].concat(), ..place.clone() };
        Some(((0..values.len()).map(at).collect(), values.clone()))
    }

    /// What `axis` lists for every series of an expression that does not choose one of it; `None` after a mistake.
    fn lists(
        &self,
        expr: &Expr,
        axis: &str,
        place: &Place,
        found: &mut Vec<(Span, Vec<String>)>,
        sink: &mut Sink,
    ) -> Option<()> {
        match &expr.kind {
            ExprKind::Neg(x) => self.lists(x, axis, place, found, sink),
            ExprKind::Binary(_, a, b) => {
                self.lists(a, axis, place, found, sink)?;
                self.lists(b, axis, place, found, sink)
            }
            ExprKind::Call { callee, args } => match reduced(callee, args) {
                Some((of, _)) => self.lists(of, axis, place, found, sink),
                None => Some(()),
            },
            ExprKind::Path(path) if self.constants.try_number(expr).is_none() => {
                found.extend(self.list(path, expr.span, None, axis, place, sink)?.map(|values| (expr.span, values)));
                Some(())
            }
            ExprKind::Index(base, index) => {
                if let ExprKind::Path(path) = &base.kind {
                    let values = self.list(path, base.span, Some(index), axis, place, sink)?;
                    found.extend(values.map(|values| (expr.span, values)));
                }
                Some(())
            }
            _ => Some(()),
        }
    }

    /// The places that a reduction over steps goes over, and the steps.
    fn steps(&self, function: &str, argument: &Expr, place: &Place, sink: &mut Sink) -> Option<(Vec<Place>, Vec<u64>)> {
        let mut windows = Vec::new();
        self.windows(argument, place, &mut windows, sink)?;
        let Some((first, steps)) = windows.first() else {
            sink.push(
                nothing_to_reduce(function, argument)
                    .label("no series stands here without a step")
                    .help("a series as a whole, or its last values: `mean(acc[last(10)], over: steps)`"),
            );
            return None;
        };
        if let Some((other, found)) = windows.iter().find(|(_, found)| found.len() != steps.len()) {
            sink.push(
                Diagnostic::error(
                    "E0709",
                    *other,
                    format!("these series have {} and {} values", steps.len(), found.len()),
                )
                .related(*first, format!("{} values", steps.len()))
                .help("values are taken together one by one, so series within one reduction have equally many"),
            );
            return None;
        }
        if steps.len() > MAX_ALONG {
            let message = format!("{} steps are too many to reduce over; the limit is {MAX_ALONG}", steps.len());
            sink.push(Diagnostic::error("E0709", *first, message).help("take the last values: `acc[last(100)]`"));
            return None;
        }
        let places = (0..steps.len()).map(|step| Place { step: Some(step), ..place.clone() }).collect();
        Some((places, steps.clone()))
    }

    /// The steps of every series of an expression that stands for several; `None` after a mistake.
    fn windows(&self, expr: &Expr, place: &Place, found: &mut Vec<(Span, Vec<u64>)>, sink: &mut Sink) -> Option<()> {
        match &expr.kind {
            ExprKind::Neg(x) => self.windows(x, place, found, sink),
            ExprKind::Binary(_, a, b) => {
                self.windows(a, place, found, sink)?;
                self.windows(b, place, found, sink)
            }
            ExprKind::Call { callee, args } => match reduced(callee, args) {
                Some((of, _)) => self.windows(of, place, found, sink),
                None => Some(()),
            },
            ExprKind::Path(path) if self.constants.try_number(expr).is_none() => {
                found.extend(self.window(path, expr.span, None, place, sink)?.map(|steps| (expr.span, steps)));
                Some(())
            }
            ExprKind::Index(base, index) => {
                if let ExprKind::Path(path) = &base.kind {
                    let steps = self.window(path, base.span, Some(index), place, sink)?;
                    found.extend(steps.map(|steps| (expr.span, steps)));
                }
                Some(())
            }
            _ => Some(()),
        }
    }
}

/// What a reduction takes, and what it goes over; `None` for a call with mistakes, which are reported elsewhere.
fn reduced<'e>(callee: &Name, args: &'e [Arg]) -> Option<(&'e Expr, Option<&'e Expr>)> {
    let entry = catalog::find(Kind::SeedReduction, &callee.text)?;
    let assigned = assign(entry, args, callee.span, &mut Sink::new())?;
    let over = entry.params.iter().position(|p| p.name == "over").and_then(|i| assigned[i]);
    Some((assigned[0]?, over))
}

fn no_numbers(function: &str, name: &Name) -> Diagnostic {
    Diagnostic::error("E0708", name.span, format!("the values of `{}` are no numbers", name.text))
        .label(format!("`{function}` goes along numbers"))
}

fn nothing_to_reduce(function: &str, argument: &Expr) -> Diagnostic {
    Diagnostic::error("E0540", argument.span, format!("there is nothing for `{function}` to reduce"))
}

/// Whether a quantity depends on a measurement.
fn measures(quantity: &Quantity) -> bool {
    match quantity {
        Quantity::Number { .. } => false,
        Quantity::At { .. } => true,
        Quantity::OverSeeds { of, .. } => measures(of),
        Quantity::Arithmetic { left, right, .. } => measures(left) || measures(right),
        Quantity::Along { of, .. } | Quantity::Each { of } => of.iter().any(measures),
    }
}

/// Whether a quantity has one value per seed.
fn varies(quantity: &Quantity) -> bool {
    match quantity {
        Quantity::Number { .. } | Quantity::OverSeeds { .. } => false,
        Quantity::At { .. } => true,
        Quantity::Arithmetic { left, right, .. } => varies(left) || varies(right),
        Quantity::Along { of, .. } | Quantity::Each { of } => of.iter().any(varies),
    }
}
