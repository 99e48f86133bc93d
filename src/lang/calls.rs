//! Calls of catalog entries: which name, which arguments, in which range.

use super::constant::Constants;
use crate::catalog::{self, Arg as Value, Args, Entry, Initial, Kind, Param, Rate, Ty};
use crate::diag::{Diagnostic, Sink, Span};
use crate::plan::Addition;
use crate::syntax::ast::{Arg, Expr, ExprKind, Name};

/// The names that a call can refer to.
pub(super) struct Names<'a> {
    pub constants: &'a Constants,
    /// The model's parameters in order, each with its group.
    pub params: &'a [(String, Option<String>)],
    /// The families with their strata.
    pub families: &'a [(String, Vec<String>)],
    /// The groups that `with` added to the model.
    pub added: &'a [Addition],
}

/// A checked call.
pub(super) struct Call {
    pub entry: &'static Entry,
    pub args: Args,
}

/// Which expression each parameter of an entry gets, in the order of the parameters.
pub(super) fn assign<'e>(
    entry: &'static Entry,
    args: &'e [Arg],
    span: Span,
    sink: &mut Sink,
) -> Option<Vec<Option<&'e Expr>>> {
    let mut found: Vec<Option<&Expr>> = vec![None; entry.params.len()];
    let mut positional = 0;
    let mut fine = true;
    for arg in args {
        let index = match &arg.key {
            Some(key) => entry.params.iter().position(|p| p.name == key.text),
            None => {
                positional += 1;
                Some(positional - 1).filter(|&i| i < entry.params.len())
            }
        };
        let Some(index) = index else {
            fine = false;
            sink.push(match &arg.key {
                Some(key) => unknown_key(entry, key),
                None => {
                    Diagnostic::error("E0404", arg.value.span, format!("`{}` takes {}", entry.name, at_most(entry)))
                        .help(format!("its form is `{}`", entry.signature()))
                }
            });
            continue;
        };
        if let Some(first) = found[index].replace(&arg.value) {
            fine = false;
            let name = entry.params[index].name;
            let span = arg.key.as_ref().map_or(arg.value.span, |k| k.span.to(arg.value.span));
            sink.push(
                Diagnostic::error("E0406", span, format!("`{name}` is given twice"))
                    .related(first.span, format!("this is `{name}` already"))
                    .help(format!("without keys, arguments are read in the order of `{}`", entry.signature())),
            );
        }
    }
    // After a misspelt key it is not known which of the others are missing.
    let missing: Vec<&Param> = entry
        .params
        .iter()
        .zip(&found)
        .filter(|(p, e)| e.is_none() && p.initial == Initial::Required)
        .map(|(p, _)| p)
        .collect();
    if fine && !missing.is_empty() {
        fine = false;
        let names: Vec<String> = missing.iter().map(|p| format!("`{}`", p.name)).collect();
        let mut error = Diagnostic::error("E0407", span, format!("`{}` needs {}", entry.name, names.join(" and ")));
        for param in missing {
            error = error.help(format!("`{}` is {}: {}", param.name, param.doc, param.ty.describe()));
        }
        sink.push(error.help(format!("for example `{}`", entry.example)));
    }
    fine.then_some(found)
}

fn unknown_key(entry: &Entry, key: &Name) -> Diagnostic {
    let error = Diagnostic::error("E0405", key.span, format!("`{}` has no parameter `{}`", entry.name, key.text));
    match entry.params {
        [] => error.help(format!("`{}` takes no arguments", entry.name)),
        params => error.suggest(key.span, &key.text, params.iter().map(|p| p.name)),
    }
}

fn at_most(entry: &Entry) -> String {
    match entry.params.len() {
        0 => "no arguments".into(),
        1 => "one argument".into(),
        n => format!("at most {n} arguments"),
    }
}

/// The error about a name that is no entry of the kind wanted.
pub(super) fn unknown_entry(kind: Kind, name: &Name) -> Diagnostic {
    let known = catalog::of_kind(kind).map(|e| e.name);
    Diagnostic::error("E0207", name.span, format!("`{}` is not {}", name.text, kind.describe()))
        .suggest(name.span, &name.text, known)
}

/// The error about an expression that cannot be an entry of the kind wanted.
pub(super) fn entry_wanted(kind: Kind, span: Span) -> Diagnostic {
    let known: Vec<&str> = catalog::of_kind(kind).map(|e| e.name).collect();
    Diagnostic::error("E0208", span, format!("{} is wanted here", kind.describe()))
        .help(format!("known here: {}", known.join(", ")))
}

/// The error about an argument that is not of the form its parameter takes.
fn wrong_form(entry: &Entry, param: &Param, span: Span) -> Diagnostic {
    Diagnostic::error("E0415", span, format!("`{}` of `{}` must be {}", param.name, entry.name, param.ty.describe()))
}

impl Names<'_> {
    /// The call that an expression of some kind must be: `name` or `name(args)`.
    pub fn call(&self, kind: Kind, expr: &Expr, sink: &mut Sink) -> Option<Call> {
        let (callee, args): (&Name, &[Arg]) = match &expr.kind {
            ExprKind::Path(path) if path.len() == 1 => (&path[0], &[]),
            ExprKind::Call { callee, args } => (callee, args),
            ExprKind::Error => return None,
            _ => {
                sink.push(entry_wanted(kind, expr.span));
                return None;
            }
        };
        let Some(entry) = catalog::find(kind, &callee.text) else {
            sink.push(unknown_entry(kind, callee));
            return None;
        };
        let assigned = assign(entry, args, expr.span, sink)?;
        let mut checked = Args::new();
        let mut fine = true;
        let mut family = None;
        for (param, arg) in entry.params.iter().zip(assigned) {
            if matches!(param.ty, Ty::Tensor | Ty::Adaptation) {
                continue; // Who asked reads these itself.
            }
            let value = match (arg, param.initial) {
                (Some(expr), _) => self.argument(entry, param, expr, family.as_deref(), sink),
                (None, Initial::Real(x)) => Some(Value::Real(x)),
                (None, Initial::Word(w)) => Some(Value::Word(w.to_owned())),
                (None, Initial::Bool(b)) => Some(Value::Bool(b)),
                (None, Initial::Text(t)) => Some(Value::Text(t.to_owned())),
                (None, Initial::Absent | Initial::Required) => continue,
            };
            match value {
                Some(value) => {
                    if let (Ty::Family, Value::Names(names)) = (param.ty, &value) {
                        family = names.first().cloned();
                    }
                    checked.set(param.name, value);
                }
                None => fine = false,
            }
        }
        fine.then_some(Call { entry, args: checked })
    }

    /// The checked argument of a parameter.
    pub fn argument(
        &self,
        entry: &Entry,
        param: &Param,
        expr: &Expr,
        family: Option<&str>,
        sink: &mut Sink,
    ) -> Option<Value> {
        let value = match (param.ty, &expr.kind) {
            (_, ExprKind::Error) => return None,
            (Ty::Real { .. }, _) => return self.real(entry, param, expr, sink).map(Value::Real),
            (Ty::Column, ExprKind::Text(text)) => return Some(Value::Text(text.clone())),
            (Ty::Count(_) | Ty::Column, _) => {
                let least = if let Ty::Count(least) = param.ty { least } else { 0 };
                let what = format!("`{}` of `{}`", param.name, entry.name);
                return self.constants.count(expr, least, &what, sink).map(Value::Count);
            }
            (Ty::Rate, _) => return self.rate(entry, param, expr, sink).map(Value::Rate),
            (Ty::Weights(_), ExprKind::Record(_)) => return self.weights(expr, family, sink).map(Value::Weights),
            (Ty::Groups, _) => return self.groups(expr, sink).map(Value::Names),
            (Ty::AddedGroups, _) => return self.added_groups(expr, sink).map(Value::Names),
            (Ty::Anchor, _) if expr.single().is_some_and(|n| n.text == "start") => {
                return Some(Value::Word("start".into()));
            }
            (Ty::Anchor, _) => return self.groups(expr, sink).map(Value::Names),
            (Ty::Strata, _) => return self.strata(expr, family, sink).map(Value::Names),
            (Ty::Word(words) | Ty::Weights(words), _) => expr.single().map(|name| {
                let known = words.contains(&name.text.as_str());
                if !known {
                    let what = format!("`{}` of `{}`", param.name, entry.name);
                    sink.push(unknown_word(&what, name, words));
                }
                known.then(|| Value::Word(name.text.clone()))
            }),
            (Ty::Input | Ty::Dim, _) => expr.single().map(|name| Some(Value::Word(name.text.clone()))),
            (Ty::Family, _) => expr.single().map(|name| self.family(name, sink).map(|f| Value::Names(vec![f]))),
            (Ty::Range | Ty::Columns, ExprKind::Range(lo, hi)) => {
                Some(self.range(lo, hi, expr.span, sink).map(|(lo, hi)| Value::Range(lo, hi)))
            }
            (Ty::Ranges, ExprKind::Range(..)) => Some(self.ranges(std::slice::from_ref(expr), sink)),
            (Ty::Ranges, ExprKind::List(items)) if !items.is_empty() => Some(self.ranges(items, sink)),
            (Ty::Bool, ExprKind::Bool(b)) => Some(Some(Value::Bool(*b))),
            (Ty::Text, ExprKind::Text(text)) => Some(Some(Value::Text(text.clone()))),
            (Ty::Path | Ty::Paths | Ty::Texts | Ty::Columns, ExprKind::Text(text)) => {
                Some(Some(Value::Names(vec![text.clone()])))
            }
            (Ty::Paths | Ty::Texts | Ty::Columns, ExprKind::List(items)) if !items.is_empty() => {
                let text = |e: &Expr| if let ExprKind::Text(t) = &e.kind { Some(t.clone()) } else { None };
                items.iter().map(text).collect::<Option<Vec<_>>>().map(|paths| Some(Value::Names(paths)))
            }
            (Ty::Range | Ty::Ranges | Ty::Columns, _) => None,
            (Ty::Bool | Ty::Text | Ty::Texts | Ty::Path | Ty::Paths, _) => None,
            (
                Ty::Tensor
                | Ty::Dims
                | Ty::Shape
                | Ty::Adaptation
                | Ty::Metric
                | Ty::Measurement
                | Ty::Axis
                | Ty::Values,
                _,
            ) => {
                unreachable!("the caller reads these arguments itself")
            }
        };
        value.unwrap_or_else(|| {
            sink.push(wrong_form(entry, param, expr.span));
            None
        })
    }

    /// A step size: a number, a schedule, or parameters.
    fn rate(&self, entry: &Entry, param: &Param, expr: &Expr, sink: &mut Sink) -> Option<Rate> {
        let scheduled = |callee: &Name| catalog::find(Kind::Schedule, &callee.text).is_some();
        let named =
            |name: &Name| self.params.iter().any(|(p, group)| [Some(p), group.as_ref()].contains(&Some(&name.text)));
        match &expr.kind {
            ExprKind::Call { callee, .. } if scheduled(callee) => {
                let call = self.call(Kind::Schedule, expr, sink)?;
                Some(Rate::from_args(call.entry.name, &call.args))
            }
            ExprKind::Path(path) if path.len() == 1 && named(&path[0]) || matches!(expr.kind, ExprKind::List(_)) => {
                let learned = self.groups(expr, sink)?;
                if entry.kind != Kind::Adaptation || entry.name == "adam" || entry.name == "adamw" {
                    sink.push(
                        Diagnostic::error("E0417", expr.span, format!("`{}` cannot take a learned step size", entry.name))
                            .help("parameters are step sizes in `adapt = gradient(...)` and `sgd(...)`; elsewhere a step size is a number or a schedule"),
                    );
                    return None;
                }
                Some(Rate { learned, ..Rate::constant(1.0) })
            }
            _ => self.real(entry, param, expr, sink).map(Rate::constant),
        }
    }

    /// The number within its range that a real parameter gets.
    pub fn real(&self, entry: &Entry, param: &Param, expr: &Expr, sink: &mut Sink) -> Option<f64> {
        real(self.constants, entry, param, expr, sink)
    }

    fn family(&self, name: &Name, sink: &mut Sink) -> Option<String> {
        if self.families.iter().any(|(f, _)| *f == name.text) {
            return Some(name.text.clone());
        }
        let known = self.families.iter().map(|(f, _)| f.as_str());
        let error = Diagnostic::error("E0209", name.span, format!("no `tasks` block is called `{}`", name.text));
        sink.push(self.constants.elsewhere(error, name, known));
        None
    }

    /// The whole numbers of a range that holds some.
    fn ranges(&self, items: &[Expr], sink: &mut Sink) -> Option<Value> {
        let range = |item: &Expr| match &item.kind {
            ExprKind::Range(lo, hi) => self.range(lo, hi, item.span, sink),
            _ => self.constants.count(item, 0, "a number of the list", sink).map(|n| (n, n.saturating_add(1))),
        };
        items.iter().map(range).collect::<Option<_>>().map(Value::Ranges)
    }

    /// The bounds of a range.
    pub fn range(&self, lo: &Expr, hi: &Expr, span: Span, sink: &mut Sink) -> Option<(u64, u64)> {
        let lo = self.constants.count(lo, 0, "the start of a range", sink);
        let hi = self.constants.count(hi, 0, "the end of a range", sink);
        let (lo, hi) = (lo?, hi?);
        if lo >= hi {
            sink.push(empty_range(lo, hi, span));
            return None;
        }
        Some((lo, hi))
    }
}

/// The number within its range that a real parameter gets.
pub(super) fn real(constants: &Constants, entry: &Entry, param: &Param, expr: &Expr, sink: &mut Sink) -> Option<f64> {
    let x = constants.number(expr, sink)?;
    let ty = if param.ty == Ty::Rate { Ty::POSITIVE } else { param.ty };
    let Ty::Real { above, closed, most } = ty else { return Some(x) };
    let low = if closed { x >= above } else { x > above };
    if low && x <= most {
        return Some(x);
    }
    let range = ty.describe();
    sink.push(
        Diagnostic::error("E0408", expr.span, format!("`{}` of `{}` must be {range}, not {x}", param.name, entry.name))
            .help(format!("`{}` is {}", param.name, param.doc)),
    );
    None
}

/// The error about a range that holds nothing.
pub(super) fn empty_range(lo: u64, hi: u64, span: Span) -> Diagnostic {
    Diagnostic::error("E0409", span, format!("the range {lo}..{hi} is empty"))
        .help("the end is not included: `0..3` is 0, 1, 2")
}

/// The error about a word that is not among those allowed.
pub(super) fn unknown_word(what: &str, name: &Name, words: &[&str]) -> Diagnostic {
    Diagnostic::error("E0411", name.span, format!("{what} cannot be `{}`", name.text)).suggest(
        name.span,
        &name.text,
        words.iter().copied(),
    )
}
