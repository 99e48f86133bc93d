//! `expect`: inequalities over measurements, arms and seeds.

use super::constant::Constants;
use crate::catalog::{self, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::{Arithmetic, Arm, Claim, Quantity, Relation, SeedReduction};
use crate::syntax::ast::{Comparison, Expr, ExprKind, Name, Operator};

/// What claims can refer to.
pub(super) struct Claims<'a> {
    pub constants: &'a Constants,
    pub arms: &'a [Arm],
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
        if matches!((&a, &b), (Quantity::Number { .. }, Quantity::Number { .. })) {
            sink.push(Diagnostic::error("E0519", left.span.to(right.span), "this claim measures nothing").help("name a measurement, such as `median(maml.angle[500])`"));
            return None;
        }
        Some(Claim { left: a, relation, right: b })
    }

    fn quantity(&self, expr: &Expr, sink: &mut Sink) -> Option<Quantity> {
        if let Some(value) = self.constants.try_number(expr) {
            return Some(Quantity::Number { value });
        }
        match &expr.kind {
            ExprKind::Neg(x) => {
                let zero = Quantity::Number { value: 0.0 };
                Some(Quantity::Arithmetic { operator: Arithmetic::Sub, left: zero.into(), right: self.quantity(x, sink)?.into() })
            }
            ExprKind::Binary(operator, a, b) => {
                let (left, right) = (self.quantity(a, sink), self.quantity(b, sink));
                let operator = match operator {
                    Operator::Add => Arithmetic::Add,
                    Operator::Sub => Arithmetic::Sub,
                    Operator::Mul => Arithmetic::Mul,
                    Operator::Div => Arithmetic::Div,
                    Operator::Contract | Operator::Pow => {
                        sink.push(Diagnostic::error("E0520", expr.span, format!("`{}` has no meaning in a claim", operator.symbol())).help("claims know + - * / and reductions over seeds"));
                        return None;
                    }
                };
                Some(Quantity::Arithmetic { operator, left: left?.into(), right: right?.into() })
            }
            ExprKind::Call { callee, args } => {
                let reduction = match callee.text.as_str() {
                    "median" => SeedReduction::Median,
                    "mean" => SeedReduction::Mean,
                    "min" => SeedReduction::Min,
                    "max" => SeedReduction::Max,
                    other => {
                        let known = catalog::of_kind(Kind::SeedReduction).map(|e| e.name);
                        sink.push(Diagnostic::error("E0207", callee.span, format!("`{other}` is not a reduction over seeds")).suggest(callee.span, other, known));
                        return None;
                    }
                };
                let [arg] = args.as_slice() else {
                    sink.push(Diagnostic::error("E0404", expr.span, format!("`{}` takes one measurement", callee.text)));
                    return None;
                };
                Some(Quantity::OverSeeds { reduction, of: self.quantity(&arg.value, sink)?.into() })
            }
            ExprKind::Index(base, index) => match &base.kind {
                ExprKind::Path(path) => self.at(path, base.span, index, expr.span, sink),
                _ => {
                    sink.push(Diagnostic::error("E0520", expr.span, "only a measurement has steps to choose from"));
                    None
                }
            },
            ExprKind::Path(path) => {
                let text: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
                let text = text.join(".");
                let series = self.series(path, expr.span, sink)?;
                sink.push(
                    Diagnostic::error("E0521", expr.span, format!("`{text}` is a series; at which step?"))
                        .fix(expr.span, format!("{text}[{}]", series.0.train.steps), "name the last step"),
                );
                None
            }
            ExprKind::Error => None,
            _ => {
                sink.push(Diagnostic::error("E0520", expr.span, "a number or a measurement is wanted here").help("for example `median(maml.angle[500])`"));
                None
            }
        }
    }

    /// The arm and measure that `maml.angle`, or `angle` where there is one arm, names.
    fn series(&self, path: &[Name], span: Span, sink: &mut Sink) -> Option<(&Arm, String)> {
        let arms: Vec<&str> = self.arms.iter().map(|a| a.name.as_str()).collect();
        let (arm, measure) = match (path, self.arms) {
            ([measure], [only]) => (only, measure),
            ([measure], _) => {
                let error = Diagnostic::error("E0522", span, format!("`{}` does not say which arm it is of", measure.text));
                sink.push(error.help(format!("the arms are {}; write for example `{}.{}`", arms.join(", "), arms[0], measure.text)));
                return None;
            }
            ([arm, measure], _) => match self.arms.iter().find(|a| a.name == arm.text) {
                Some(found) => (found, measure),
                None => {
                    sink.push(Diagnostic::error("E0219", arm.span, format!("no arm is called `{}`", arm.text)).suggest(arm.span, &arm.text, arms));
                    return None;
                }
            },
            _ => {
                sink.push(Diagnostic::error("E0520", span, "a measurement is written `arm.measure[step]`"));
                return None;
            }
        };
        if !arm.measures.iter().any(|m| m.name == measure.text) {
            let known = arm.measures.iter().map(|m| m.name.as_str());
            sink.push(
                Diagnostic::error("E0220", measure.span, format!("nobody measures `{}`", measure.text)).suggest(measure.span, &measure.text, known),
            );
            return None;
        }
        Some((arm, measure.text.clone()))
    }

    fn at(&self, path: &[Name], path_span: Span, index: &[Expr], span: Span, sink: &mut Sink) -> Option<Quantity> {
        let (arm, measure) = self.series(path, path_span, sink)?;
        let [index] = index else {
            sink.push(Diagnostic::error("E0520", span, "a measurement is chosen by one step"));
            return None;
        };
        let last = arm.train.steps;
        let step = match super::calls::single(index) {
            Some(name) if name.text == "last" => last,
            _ => self.constants.count(index, 0, "a step", sink)?,
        };
        let every = arm.measures.iter().find(|m| m.name == measure)?.every;
        if step > last || (step % every != 0 && step != last) {
            let (before, after) = (step - step % every, (step - step % every + every).min(last));
            let nearest = if step > last { last } else if step - before <= after - step { before } else { after };
            sink.push(
                Diagnostic::error("E0523", index.span, format!("`{measure}` is not measured at step {step}"))
                    .help(if step > last { format!("training of `{}` ends at step {last}", arm.name) } else { format!("it is measured every {every} steps and at the end, {last}") })
                    .fix(index.span, nearest.to_string(), format!("the nearest measured step is {nearest}")),
            );
            return None;
        }
        Some(Quantity::At { arm: arm.name.clone(), measure, step })
    }
}
