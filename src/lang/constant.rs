//! Numbers known before anything runs: `dim`, `let`, and arithmetic on them.

use indexmap::IndexMap;

use super::directory::Directory;
use super::function::{Callable, function};
use crate::catalog::{self, Kind, TensorFunction};
use crate::diag::{Diagnostic, Sink};
use crate::syntax::ast::{Expr, ExprKind, Item, ItemKind, Name, Operator};

/// The largest count: of entries along a dim, of tasks, of steps.
const MAX_COUNT: f64 = (1u64 << 31) as f64;

/// The dims, numbers and functions of an experiment, `None` where a value was wrong, which has been reported.
#[derive(Debug, Default, Clone)]
pub(super) struct Constants {
    /// `dim NAME = SIZE`
    pub dims: IndexMap<String, Option<usize>>,
    /// `let NAME = NUMBER`
    pub numbers: IndexMap<String, Option<f64>>,
    /// `fn NAME(..) -> [..] { .. }`
    pub functions: IndexMap<String, Option<Callable>>,
    directory: Directory,
}

impl Constants {
    /// Reads every `dim`, `let` and `fn`, in the order of the text.
    pub fn collect(items: &[Item], sink: &mut Sink) -> Constants {
        let mut constants = Constants { directory: Directory::of(items), ..Constants::default() };
        for item in items {
            match &item.kind {
                ItemKind::Dim { name, value } => {
                    let size = constants.count(value, 1, "the size of a dim", sink).map(|size| size as usize);
                    constants.dims.insert(name.text.clone(), size);
                }
                ItemKind::Let { name, value } => {
                    let number = constants.number(value, sink);
                    constants.numbers.insert(name.text.clone(), number);
                }
                ItemKind::Function(written) => {
                    let found = function(written, &constants, sink);
                    constants.functions.insert(written.name.text.clone(), found);
                }
                _ => {}
            }
        }
        constants
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

    fn get(&self, name: &str) -> Option<f64> {
        let size = || self.dims.get(name).copied().flatten().map(|n| n as f64);
        let number = self.numbers.get(name).copied().flatten();
        number.or_else(size).or_else(|| (name == "pi").then_some(std::f64::consts::PI))
    }

    /// Whether a name is a constant, even a wrong one.
    pub fn defines(&self, name: &str) -> bool {
        name == "pi" || self.numbers.contains_key(name) || self.dims.contains_key(name)
    }

    /// The finite number an expression must be; reports what it is instead.
    pub fn number(&self, expr: &Expr, sink: &mut Sink) -> Option<f64> {
        match self.try_number(expr) {
            Some(x) if x.is_finite() => Some(x),
            Some(x) => {
                sink.push(
                    Diagnostic::error("E0401", expr.span, "a number must be finite")
                        .label(format!("this is {}", if x.is_nan() { "not a number (NaN)" } else { "infinite" }))
                        .help(
                            "look for a division by zero, the root or logarithm of a negative number, or an overflow",
                        ),
                );
                None
            }
            None => {
                if !self.is_broken(expr) {
                    sink.push(self.not_a_number(expr));
                }
                None
            }
        }
    }

    /// Whether a mistake within the expression has been reported already.
    fn is_broken(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Error => true,
            ExprKind::Path(path) => path.first().is_some_and(|n| self.defines(&n.text) && self.get(&n.text).is_none()),
            ExprKind::Neg(x) => self.is_broken(x),
            ExprKind::Binary(_, a, b) => self.is_broken(a) || self.is_broken(b),
            ExprKind::Call { args, .. } => args.iter().any(|a| self.is_broken(&a.value)),
            _ => false,
        }
    }

    fn not_a_number(&self, expr: &Expr) -> Diagnostic {
        if let Some(name) = self.first_unknown(expr) {
            let known = self.numbers.keys().chain(self.dims.keys()).map(String::as_str);
            return match self.directory.find(&name.text) {
                Some((span, what @ ("a dim" | "a number"))) => {
                    Diagnostic::error("E0227", name.span, format!("`{}` is used before it is defined", name.text))
                        .related(span, format!("{what}, defined here"))
                        .help("constants are read from top to bottom, and none can refer to itself")
                }
                _ => {
                    let error = Diagnostic::error("E0201", name.span, format!("no number is called `{}`", name.text));
                    self.elsewhere(error, name, known)
                }
            };
        }
        if let Some(callee) = unknown_callee(expr).filter(|callee| !self.functions.contains_key(&callee.text)) {
            return self.no_function(callee);
        }
        Diagnostic::error("E0402", expr.span, "a number is wanted here")
            .help("numbers are literals, `let` names, dims, `pi`, and arithmetic on them")
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

    /// The error about an unknown name, with the place where the experiment declares that name as something else, or
    /// with the closest name that is known.
    pub fn elsewhere<'k>(
        &self,
        error: Diagnostic,
        name: &Name,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Diagnostic {
        let Some((span, what)) = self.directory.find(&name.text) else {
            return error.suggest(name.span, &name.text, known);
        };
        let error = error.related(span, format!("`{}` is {what}", name.text));
        let known: Vec<&str> = known.into_iter().collect();
        if known.is_empty() { error } else { error.known_here(&known) }
    }

    /// The error about a call of something that is no function.
    pub fn no_function(&self, callee: &Name) -> Diagnostic {
        let known = catalog::of_kind(Kind::Function).map(|e| e.name).chain(self.functions.keys().map(String::as_str));
        Diagnostic::error("E0205", callee.span, format!("no function is called `{}`", callee.text)).suggest(
            callee.span,
            &callee.text,
            known,
        )
    }

    /// The whole number of at least `least` an expression must be.
    pub fn count(&self, expr: &Expr, least: u64, what: &str, sink: &mut Sink) -> Option<u64> {
        let x = self.number(expr, sink)?;
        let wrong = if x.fract() != 0.0 {
            format!("{what} must be a whole number, not {x}")
        } else if x < least as f64 {
            format!("{what} must be at least {least}, not {x}")
        } else if x > MAX_COUNT {
            format!("{what} is {x}, more than the largest count, 2^31")
        } else {
            return Some(x as u64);
        };
        sink.push(Diagnostic::error("E0403", expr.span, wrong));
        None
    }
}

fn unknown_callee(expr: &Expr) -> Option<&Name> {
    match &expr.kind {
        ExprKind::Neg(x) => unknown_callee(x),
        ExprKind::Binary(_, a, b) => unknown_callee(a).or_else(|| unknown_callee(b)),
        ExprKind::Call { callee, args } => {
            let inner = || args.iter().find_map(|a| unknown_callee(&a.value));
            if catalog::find(Kind::Function, &callee.text).is_none() { Some(callee) } else { inner() }
        }
        _ => None,
    }
}
