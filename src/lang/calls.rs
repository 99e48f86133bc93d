//! Calls of catalog entries: which name, which arguments, in which range.

use super::constant::Constants;
use crate::catalog::{self, Arg as Value, Args, Entry, Initial, Kind, Param, Ty};
use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{Arg, Expr, ExprKind, Name};

/// The names that a call can refer to.
pub(super) struct Names<'a> {
    pub constants: &'a Constants,
    /// The model's parameters in order, each with its group.
    pub params: &'a [(String, Option<String>)],
    /// The families with their strata.
    pub families: &'a [(String, Vec<String>)],
}

/// A checked call.
pub(super) struct Call {
    pub entry: &'static Entry,
    pub args: Args,
}

/// Which expression each parameter of an entry gets, in the order of the parameters.
pub(super) fn assign<'e>(entry: &'static Entry, args: &'e [Arg], span: Span, sink: &mut Sink) -> Option<Vec<Option<&'e Expr>>> {
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
                Some(key) => Diagnostic::error("E0405", key.span, format!("`{}` has no parameter `{}`", entry.name, key.text))
                    .suggest(key.span, &key.text, entry.params.iter().map(|p| p.name)),
                None => Diagnostic::error("E0404", arg.value.span, format!("`{}` takes {}", entry.name, at_most(entry)))
                    .help(format!("its form is `{}`", entry.signature())),
            });
            continue;
        };
        if found[index].replace(&arg.value).is_some() {
            fine = false;
            sink.push(Diagnostic::error("E0406", arg.value.span, format!("`{}` is given twice", entry.params[index].name)));
        }
    }
    for (param, expr) in entry.params.iter().zip(&found) {
        if expr.is_none() && param.initial == Initial::Required {
            fine = false;
            sink.push(
                Diagnostic::error("E0407", span, format!("`{}` needs `{}`: {}", entry.name, param.name, param.doc))
                    .help(format!("{} is {}; for example `{}`", param.name, param.ty.describe(), entry.example)),
            );
        }
    }
    fine.then_some(found)
}

fn at_most(entry: &Entry) -> String {
    match entry.params.len() {
        0 => "no arguments".into(),
        1 => "one argument".into(),
        n => format!("at most {n} arguments"),
    }
}

impl Names<'_> {
    /// The call that an expression of some kind must be: `name` or `name(args)`.
    pub fn call(&self, kind: Kind, expr: &Expr, sink: &mut Sink) -> Option<Call> {
        let (callee, args): (&Name, &[Arg]) = match &expr.kind {
            ExprKind::Path(path) if path.len() == 1 => (&path[0], &[]),
            ExprKind::Call { callee, args } => (callee, args),
            ExprKind::Error => return None,
            _ => {
                let names: Vec<&str> = catalog::of_kind(kind).map(|e| e.name).collect();
                sink.push(Diagnostic::error("E0208", expr.span, format!("{} is wanted here", kind.describe())).help(format!("known here: {}", names.join(", "))));
                return None;
            }
        };
        let Some(entry) = catalog::find(kind, &callee.text) else {
            let known = catalog::of_kind(kind).map(|e| e.name);
            sink.push(
                Diagnostic::error("E0207", callee.span, format!("`{}` is not {}", callee.text, kind.describe()))
                    .suggest(callee.span, &callee.text, known),
            );
            return None;
        };
        let assigned = assign(entry, args, expr.span, sink)?;
        let mut checked = Args::new();
        let mut fine = true;
        let mut family = None;
        for (param, arg) in entry.params.iter().zip(assigned) {
            let value = match (arg, param.initial) {
                (Some(expr), _) => self.argument(entry, param, expr, family.as_deref(), sink),
                (None, Initial::Real(x)) => Some(Value::Real(x)),
                (None, Initial::Word(w)) => Some(Value::Word(w.to_owned())),
                (None, Initial::Bool(b)) => Some(Value::Bool(b)),
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

    fn argument(&self, entry: &Entry, param: &Param, expr: &Expr, family: Option<&str>, sink: &mut Sink) -> Option<Value> {
        let wrong = |found: String| {
            Diagnostic::error("E0408", expr.span, format!("`{}` of `{}` must be {}{found}", param.name, entry.name, param.ty.describe()))
        };
        match param.ty {
            Ty::Real { above, closed, most } => {
                let x = self.constants.number(expr, sink)?;
                let low = if closed { x >= above } else { x > above };
                if !low || x > most {
                    sink.push(wrong(format!(", not {x}")));
                    return None;
                }
                Some(Value::Real(x))
            }
            Ty::Count(least) => {
                let what = format!("`{}` of `{}`", param.name, entry.name);
                self.constants.count(expr, least, &what, sink).map(Value::Count)
            }
            Ty::Word(words) => match single(expr) {
                Some(name) if words.contains(&name.text.as_str()) => Some(Value::Word(name.text.clone())),
                Some(name) => {
                    sink.push(wrong(format!(", not `{}`", name.text)).suggest(name.span, &name.text, words.iter().copied()));
                    None
                }
                None => {
                    sink.push(wrong(String::new()));
                    None
                }
            },
            Ty::Groups => self.groups(expr, sink).map(Value::Names),
            Ty::Family => {
                let Some(name) = single(expr) else {
                    sink.push(wrong(String::new()));
                    return None;
                };
                if !self.families.iter().any(|(f, _)| *f == name.text) {
                    let known = self.families.iter().map(|(f, _)| f.as_str());
                    sink.push(Diagnostic::error("E0209", name.span, format!("no `tasks` block is called `{}`", name.text)).suggest(name.span, &name.text, known));
                    return None;
                }
                Some(Value::Names(vec![name.text.clone()]))
            }
            Ty::Strata => self.strata(expr, family, sink).map(Value::Names),
            Ty::Range => match &expr.kind {
                ExprKind::Range(lo, hi) => {
                    let lo = self.constants.count(lo, 0, "a range's start", sink);
                    let hi = self.constants.count(hi, 0, "a range's end", sink);
                    let (lo, hi) = (lo?, hi?);
                    if lo >= hi {
                        sink.push(Diagnostic::error("E0409", expr.span, format!("the range {lo}..{hi} is empty")).help("the end is not included: `0..3` is 0, 1, 2"));
                        return None;
                    }
                    Some(Value::Range(lo, hi))
                }
                _ => {
                    sink.push(wrong(String::new()));
                    None
                }
            },
            Ty::Bool => match expr.kind {
                ExprKind::Bool(b) => Some(Value::Bool(b)),
                _ => {
                    sink.push(wrong(String::new()));
                    None
                }
            },
            Ty::Text => match &expr.kind {
                ExprKind::Text(text) => Some(Value::Text(text.clone())),
                _ => {
                    sink.push(wrong(String::new()));
                    None
                }
            },
            Ty::Tensor => unreachable!("tensor arguments are written by the caller"),
        }
    }

    /// `w`, `head`, `[B, w]`, `all` or `[]`: the parameters named, in the model's order.
    pub fn groups(&self, expr: &Expr, sink: &mut Sink) -> Option<Vec<String>> {
        let mut chosen = vec![false; self.params.len()];
        let mut fine = true;
        for name in names_of(expr, "parameters or groups of the model", sink)? {
            let mut hit = false;
            for (i, (param, group)) in self.params.iter().enumerate() {
                if name.text == "all" || *param == name.text || group.as_ref() == Some(&name.text) {
                    chosen[i] = true;
                    hit = true;
                }
            }
            if !hit {
                fine = false;
                let mut known: Vec<&str> = self.params.iter().flat_map(|(p, g)| [Some(p.as_str()), g.as_deref()]).flatten().collect();
                known.push("all");
                known.sort_unstable();
                known.dedup();
                sink.push(Diagnostic::error("E0211", name.span, format!("the model has no parameter or group `{}`", name.text)).suggest(name.span, &name.text, known));
            }
        }
        let chosen = self.params.iter().zip(chosen).filter(|(_, c)| *c).map(|((p, _), _)| p.clone());
        fine.then(|| chosen.collect())
    }

    /// The strata named, which one family must have.
    fn strata(&self, expr: &Expr, family: Option<&str>, sink: &mut Sink) -> Option<Vec<String>> {
        let mut known: Vec<&str> = vec![];
        for (name, strata) in self.families {
            if family.is_none_or(|f| f == name) {
                known.extend(strata.iter().map(String::as_str));
            }
        }
        let mut fine = true;
        let names = names_of(expr, "strata", sink)?;
        for name in &names {
            if !known.contains(&name.text.as_str()) {
                fine = false;
                sink.push(Diagnostic::error("E0212", name.span, format!("no stratum is called `{}`", name.text)).suggest(name.span, &name.text, known.iter().copied()));
            }
        }
        fine.then(|| names.iter().map(|n| n.text.clone()).collect())
    }
}

/// The one name an expression is.
pub(super) fn single(expr: &Expr) -> Option<&Name> {
    match &expr.kind {
        ExprKind::Path(path) if path.len() == 1 => path.first(),
        _ => None,
    }
}

/// `a` or `[a, b]`
fn names_of<'e>(expr: &'e Expr, what: &str, sink: &mut Sink) -> Option<Vec<&'e Name>> {
    let wrong = |span: Span| Diagnostic::error("E0410", span, format!("{what} are named here, such as `w` or `[B, w]`"));
    match &expr.kind {
        ExprKind::List(items) => {
            let names: Vec<Option<&Name>> = items.iter().map(single).collect();
            for (item, name) in items.iter().zip(&names) {
                if name.is_none() && !matches!(item.kind, ExprKind::Error) {
                    sink.push(wrong(item.span));
                }
            }
            names.into_iter().collect()
        }
        ExprKind::Error => None,
        _ => match single(expr) {
            Some(name) => Some(vec![name]),
            None => {
                sink.push(wrong(expr.span));
                None
            }
        },
    }
}
