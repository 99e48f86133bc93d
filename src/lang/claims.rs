//! `expect`: inequalities over measurements, arms and seeds.

use super::calls::{assign, real, unknown_entry};
use super::chosen::single;
use super::constant::Constants;
use crate::catalog::{self, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Arithmetic, Arm, Claim, Quantity, Relation, SeedReduction};
use crate::syntax::ast::{Comparison, Expr, ExprKind, Name, Operator};

/// What claims can refer to.
pub(super) struct Claims<'a> {
    pub constants: &'a Constants,
    /// Each arm by name; `None` where it has a mistake, which has been reported.
    pub arms: &'a [(String, Option<Arm>)],
    /// What every arm measures.
    pub measures: &'a [String],
}

impl Claims<'_> {
    /// Checks one claim.
    pub fn claim(&self, left: &Expr, cmp: Comparison, right: &Expr, sink: &mut Sink) -> Option<Claim> {
        let (a, b) = (self.quantity(left, sink), self.quantity(right, sink));
        let relation = match cmp {
            Comparison::AtMost => Relation::AtMost,
            Comparison::Below => Relation::Below,
            Comparison::AtLeast => Relation::AtLeast,
            Comparison::Above => Relation::Above,
        };
        let (a, b) = (a?, b?);
        if !measures(&a) && !measures(&b) {
            sink.push(
                Diagnostic::error("E0519", left.span.to(right.span), "this claim measures nothing")
                    .help("name a measurement, such as `median(maml.angle[500])`"),
            );
            return None;
        }
        Some(Claim { left: a, relation, right: b })
    }

    fn quantity(&self, expr: &Expr, sink: &mut Sink) -> Option<Quantity> {
        if self.constants.try_number(expr).is_some() {
            return self.constants.number(expr, sink).map(|value| Quantity::Number { value });
        }
        match &expr.kind {
            ExprKind::Neg(x) => {
                let right = self.quantity(x, sink)?.into();
                Some(Quantity::Arithmetic {
                    operator: Arithmetic::Sub,
                    left: Quantity::Number { value: 0.0 }.into(),
                    right,
                })
            }
            ExprKind::Binary(operator, a, b) => {
                let (left, right) = (self.quantity(a, sink), self.quantity(b, sink));
                let operator = match operator {
                    Operator::Add => Arithmetic::Add,
                    Operator::Sub => Arithmetic::Sub,
                    Operator::Mul => Arithmetic::Mul,
                    Operator::Div => Arithmetic::Div,
                    Operator::Contract | Operator::Pow => {
                        let message = format!("`{}` has no meaning in a claim", operator.symbol());
                        sink.push(
                            Diagnostic::error("E0541", expr.span, message)
                                .help("claims know + - * / on measurements, and reductions over seeds"),
                        );
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
                    other => unreachable!("`{other}` is not in the table of reductions over seeds"),
                };
                let argument = assigned[0]?;
                let of = self.quantity(argument, sink)?;
                if !varies(&of) {
                    sink.push(
                        Diagnostic::error(
                            "E0540",
                            argument.span,
                            format!("there is nothing for `{}` to reduce", callee.text),
                        )
                        .label("this is one number, the same for every seed")
                        .help("a reduction over seeds takes a measurement: `median(maml.angle[500])`"),
                    );
                    return None;
                }
                Some(Quantity::OverSeeds { reduction, of: of.into() })
            }
            ExprKind::Index(base, index) => match &base.kind {
                ExprKind::Path(path) => self.at(path, base.span, index, expr.span, sink),
                ExprKind::Error => None,
                _ => {
                    sink.push(
                        Diagnostic::error("E0520", expr.span, "only a measurement has steps to choose from")
                            .help("the step stands behind its name: `median(maml.angle[500])`"),
                    );
                    None
                }
            },
            ExprKind::Path(path) => self.without_step(path, expr.span, sink),
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

    /// A name alone: a broken constant, or a series whose step is missing.
    fn without_step(&self, path: &[Name], span: Span, sink: &mut Sink) -> Option<Quantity> {
        if let [name] = path
            && self.constants.defines(&name.text)
        {
            return None;
        }
        let (arm, measure) = self.series(path, span, sink)?;
        let text: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
        let error = Diagnostic::error("E0521", span, format!("`{measure}` is a series: at which step?"));
        sink.push(match arm {
            Some(arm) => error.fix(span, format!("{}[{}]", text.join("."), arm.train.steps), "name the last step"),
            None => error.help("write for example `[last]` behind it"),
        });
        None
    }

    /// The arm and measure that `maml.angle`, or `angle` where there is one arm, names.
    fn series(&self, path: &[Name], span: Span, sink: &mut Sink) -> Option<(Option<&Arm>, String)> {
        let arms: Vec<&str> = self.arms.iter().map(|(name, _)| name.as_str()).collect();
        let ((_, arm), measure) = match (path, self.arms) {
            ([measure], [only]) => (only, measure),
            ([measure], _) => {
                let error = if self.measures.contains(&measure.text) {
                    Diagnostic::error("E0522", span, format!("which arm's `{}`?", measure.text)).help(format!(
                        "the arms are {}; write for example `{}.{}`",
                        arms.join(", "),
                        arms[0],
                        measure.text
                    ))
                } else {
                    self.unmeasured(measure)
                };
                sink.push(error);
                return None;
            }
            ([arm, measure], _) => match self.arms.iter().find(|(name, _)| *name == arm.text) {
                Some(found) => (found, measure),
                None => {
                    let error = Diagnostic::error("E0219", arm.span, format!("no arm is called `{}`", arm.text));
                    sink.push(self.constants.elsewhere(error, arm, arms));
                    return None;
                }
            },
            _ => {
                sink.push(Diagnostic::error("E0520", span, "a measurement is written `arm.measure[step]`"));
                return None;
            }
        };
        if !self.measures.contains(&measure.text) {
            sink.push(self.unmeasured(measure));
            return None;
        }
        Some((arm.as_ref(), measure.text.clone()))
    }

    fn unmeasured(&self, measure: &Name) -> Diagnostic {
        let known = self.measures.iter().map(String::as_str);
        let error = Diagnostic::error("E0220", measure.span, format!("nothing measures `{}`", measure.text));
        let error = self.constants.elsewhere(error, measure, known);
        if self.measures.is_empty() {
            error.help("declare it: `measure angle = subspace_distance(B, truth) every 10`")
        } else {
            error
        }
    }

    fn at(&self, path: &[Name], path_span: Span, index: &[Expr], span: Span, sink: &mut Sink) -> Option<Quantity> {
        let (arm, measure) = self.series(path, path_span, sink)?;
        let [index] = index else {
            sink.push(
                Diagnostic::error("E0520", span, "a measurement is chosen by one step")
                    .help("for example `maml.angle[500]`"),
            );
            return None;
        };
        let is_last = single(index).is_some_and(|name| name.text == "last");
        let step = if is_last { None } else { Some(self.constants.count(index, 0, "a step", sink)?) };
        let arm = arm?;
        let last = arm.train.steps;
        let step = step.unwrap_or(last);
        let every = arm.measures.iter().find(|m| m.name == measure)?.every;
        if step > last || (step % every != 0 && step != last) {
            let (before, after) = (step - step % every, (step - step % every + every).min(last));
            let nearest = if step > last {
                last
            } else if step - before <= after - step {
                before
            } else {
                after
            };
            let reason = if step > last {
                format!("training ends at step {last}")
            } else {
                format!("it is measured every {every} steps from 0, and at the last, {last}")
            };
            sink.push(
                Diagnostic::error("E0523", index.span, format!("`{measure}` is not measured at step {step}"))
                    .help(reason)
                    .fix(index.span, nearest.to_string(), "the nearest step that is measured"),
            );
            return None;
        }
        Some(Quantity::At { arm: arm.name.clone(), measure, step })
    }
}

/// Whether a quantity depends on a measurement.
fn measures(quantity: &Quantity) -> bool {
    match quantity {
        Quantity::Number { .. } => false,
        Quantity::At { .. } => true,
        Quantity::OverSeeds { of, .. } => measures(of),
        Quantity::Arithmetic { left, right, .. } => measures(left) || measures(right),
    }
}

/// Whether a quantity has one value per seed.
fn varies(quantity: &Quantity) -> bool {
    match quantity {
        Quantity::Number { .. } | Quantity::OverSeeds { .. } => false,
        Quantity::At { .. } => true,
        Quantity::Arithmetic { left, right, .. } => varies(left) || varies(right),
    }
}
