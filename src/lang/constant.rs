//! Numbers known before anything runs: `dim`, `let`, and arithmetic on them.

use indexmap::IndexMap;

use crate::catalog::TensorFunction;
use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{Expr, ExprKind, Item, ItemKind, Name, Operator};

/// A tensor may have at most this many entries along one dim.
const MAX_DIM: f64 = (1u64 << 31) as f64;

/// The dims and numbers of an experiment.
#[derive(Debug, Default, Clone)]
pub(super) struct Constants {
    /// `dim NAME = SIZE`
    pub dims: IndexMap<String, usize>,
    /// `let NAME = NUMBER`
    pub numbers: IndexMap<String, f64>,
}

impl Constants {
    /// Reads every `dim` and `let`, in the order of the text.
    pub fn collect(items: &[Item], sink: &mut Sink) -> Constants {
        let mut constants = Constants::default();
        for item in items {
            match &item.kind {
                ItemKind::Dim { name, value } => {
                    // A size that is wrong still names a dim, so that its users are not reported too.
                    let size = constants.number(value, sink).and_then(|x| whole(x, 1.0, value, "a dim's size", sink));
                    constants.dims.insert(name.text.clone(), size.unwrap_or(1) as usize);
                }
                ItemKind::Let { name, value } => {
                    let number = constants.number(value, sink).unwrap_or(f64::NAN);
                    constants.numbers.insert(name.text.clone(), number);
                }
                _ => {}
            }
        }
        constants
    }

    /// The value of a name, if it is a number.
    pub fn get(&self, name: &str) -> Option<f64> {
        let number = self.numbers.get(name).copied();
        number.or_else(|| self.dims.get(name).map(|&n| n as f64)).or(match name {
            "pi" => Some(std::f64::consts::PI),
            _ => None,
        })
    }

    /// The number an expression is, if it is made of constants alone.
    pub fn try_number(&self, expr: &Expr) -> Option<f64> {
        match &expr.kind {
            ExprKind::Number(x) => Some(*x),
            ExprKind::Path(path) => match path.as_slice() {
                [name] => self.get(&name.text),
                _ => None,
            },
            ExprKind::Neg(x) => Some(-self.try_number(x)?),
            ExprKind::Binary(operator, a, b) => {
                let (a, b) = (self.try_number(a)?, self.try_number(b)?);
                Some(match operator {
                    Operator::Add => a + b,
                    Operator::Sub => a - b,
                    Operator::Mul | Operator::Contract => a * b,
                    Operator::Div => a / b,
                    Operator::Pow => libm::pow(a, b),
                })
            }
            ExprKind::Call { callee, args } => match (TensorFunction::find(&callee.text), args.as_slice()) {
                (Some(TensorFunction::Elementwise(f)), [arg]) if arg.key.is_none() => {
                    Some(f.of_number()(self.try_number(&arg.value)?))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The number an expression must be; reports what it is instead.
    pub fn number(&self, expr: &Expr, sink: &mut Sink) -> Option<f64> {
        let number = self.try_number(expr);
        match number {
            Some(x) if x.is_finite() => Some(x),
            // A `let` whose own value was wrong is NaN here and has been reported there.
            Some(x) => {
                if !self.mentions_broken(expr) {
                    sink.push(
                        Diagnostic::error("E0401", expr.span, format!("this is {x}, not a finite number"))
                            .help("a number in an experiment must be finite; check for a division by zero"),
                    );
                }
                None
            }
            None => {
                if !matches!(expr.kind, ExprKind::Error) {
                    sink.push(self.not_a_number(expr));
                }
                None
            }
        }
    }

    fn mentions_broken(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Path(path) => path.first().and_then(|n| self.numbers.get(&n.text)).is_some_and(|x| x.is_nan()),
            ExprKind::Neg(x) => self.mentions_broken(x),
            ExprKind::Binary(_, a, b) => self.mentions_broken(a) || self.mentions_broken(b),
            ExprKind::Call { args, .. } => args.iter().any(|a| self.mentions_broken(&a.value)),
            _ => false,
        }
    }

    fn not_a_number(&self, expr: &Expr) -> Diagnostic {
        match self.first_unknown(expr) {
            Some(name) => {
                let known: Vec<&str> = self.numbers.keys().chain(self.dims.keys()).map(String::as_str).collect();
                Diagnostic::error("E0201", name.span, format!("no number is called `{}`", name.text))
                    .suggest(name.span, &name.text, known)
            }
            None => Diagnostic::error("E0402", expr.span, "a number is wanted here")
                .help("numbers are literals, `let` names, dims, `pi`, and arithmetic on them"),
        }
    }

    fn first_unknown<'e>(&self, expr: &'e Expr) -> Option<&'e Name> {
        match &expr.kind {
            ExprKind::Path(path) => path.first().filter(|n| path.len() == 1 && self.get(&n.text).is_none()),
            ExprKind::Neg(x) => self.first_unknown(x),
            ExprKind::Binary(_, a, b) => self.first_unknown(a).or_else(|| self.first_unknown(b)),
            ExprKind::Call { args, .. } => args.iter().find_map(|a| self.first_unknown(&a.value)),
            _ => None,
        }
    }

    /// The whole number of at least `least` an expression must be.
    pub fn count(&self, expr: &Expr, least: u64, what: &str, sink: &mut Sink) -> Option<u64> {
        let number = self.number(expr, sink)?;
        whole(number, least as f64, expr, what, sink)
    }
}

fn whole(x: f64, least: f64, expr: &Expr, what: &str, sink: &mut Sink) -> Option<u64> {
    let bad = |reason: String, span: Span| Diagnostic::error("E0403", span, reason);
    if x.fract() != 0.0 {
        sink.push(bad(format!("{what} must be a whole number, not {x}"), expr.span));
    } else if x < least {
        sink.push(bad(format!("{what} must be at least {least}, not {x}"), expr.span));
    } else if x > MAX_DIM {
        sink.push(bad(format!("{what} is too large: {x}"), expr.span).help("the largest number here is 2^31"));
    } else {
        return Some(x as u64);
    }
    None
}
