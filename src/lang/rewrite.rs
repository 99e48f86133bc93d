//! Rewriting expressions: names replaced by values, places moved, calls bound to the parameters of what they name.

use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{Arg, Expr, ExprKind, Name};

/// What a method or a layer takes: names, each with its value where a call gives none.
pub(super) type Params = [(Name, Option<Expr>)];

/// The value of every parameter in a call of `name`.
pub(super) fn bind(
    name: &str,
    params: &Params,
    args: &[Arg],
    span: Span,
    sink: &mut Sink,
) -> Option<Vec<(String, Expr)>> {
    let signature = || {
        let params =
            params.iter().map(|(p, default)| if default.is_some() { format!("{}?", p.text) } else { p.text.clone() });
        format!("its form is `{name}({})`", params.collect::<Vec<_>>().join(", "))
    };
    let mut values: Vec<Option<&Expr>> = vec![None; params.len()];
    let (mut fine, mut positional) = (true, 0);
    for arg in args {
        let index = match &arg.key {
            Some(key) => params.iter().position(|(p, _)| p.text == key.text),
            None => {
                positional += 1;
                Some(positional - 1).filter(|&i| i < values.len())
            }
        };
        let error = match (index, &arg.key) {
            (Some(i), _) => values[i].replace(&arg.value).map(|first| {
                Diagnostic::error("E0406", arg.value.span, format!("`{}` is given twice", params[i].0.text))
                    .related(first.span, "given here already")
            }),
            (None, Some(key)) => {
                Some(Diagnostic::error("E0405", key.span, format!("`{name}` has no parameter `{}`", key.text)).suggest(
                    key.span,
                    &key.text,
                    params.iter().map(|(p, _)| p.text.as_str()),
                ))
            }
            (None, None) => Some(Diagnostic::error("E0404", arg.value.span, format!("`{name}` takes fewer arguments"))),
        };
        if let Some(error) = error {
            fine = false;
            sink.push(error.help(signature()));
        }
    }
    let lacks = params.iter().zip(&values).filter(|((_, default), value)| default.is_none() && value.is_none());
    let lacks: Vec<String> = lacks.map(|((param, _), _)| format!("`{}`", param.text)).collect();
    if fine && !lacks.is_empty() {
        fine = false;
        let message = format!("`{name}` needs {}", lacks.join(" and "));
        sink.push(Diagnostic::error("E0407", span, message).help(signature()));
    }
    let bound = params.iter().zip(values).map(|((param, default), value)| {
        let default = default.clone().map(|mut default| {
            place(&mut default, span);
            default
        });
        Some((param.text.clone(), value.cloned().or(default)?))
    });
    bound.collect::<Option<Vec<_>>>().filter(|_| fine)
}

/// Calls `visit` on all parts of an expression, and then on itself.
pub(super) fn within(expr: &mut Expr, visit: &mut impl FnMut(&mut Expr)) {
    match &mut expr.kind {
        ExprKind::Call { args, .. } => args.iter_mut().for_each(|arg| within(&mut arg.value, visit)),
        ExprKind::List(items) => items.iter_mut().for_each(|item| within(item, visit)),
        ExprKind::Record(entries) => entries.iter_mut().for_each(|(_, value)| within(value, visit)),
        ExprKind::Neg(x) => within(x, visit),
        ExprKind::Range(a, b) | ExprKind::Binary(_, a, b) => {
            within(a, visit);
            within(b, visit);
        }
        ExprKind::Index(base, index) => {
            within(base, visit);
            index.iter_mut().for_each(|arg| within(&mut arg.value, visit));
        }
        ExprKind::Path(_) | ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Error => {}
    }
    visit(expr);
}

/// Puts values in the place of names.
pub(super) fn substitute(expr: &mut Expr, values: &[(String, Expr)]) {
    within(expr, &mut |part| {
        if let ExprKind::Path(path) = &part.kind
            && let [name] = path.as_slice()
            && let Some((_, value)) = values.iter().find(|(param, _)| *param == name.text)
        {
            *part = value.clone();
        }
    });
}

/// Gives an expression, and all its parts, one place.
pub(super) fn place(expr: &mut Expr, span: Span) {
    within(expr, &mut |part| {
        part.span = span;
        match &mut part.kind {
            ExprKind::Path(path) => path.iter_mut().for_each(|name| name.span = span),
            ExprKind::Call { callee, args } => {
                callee.span = span;
                args.iter_mut().filter_map(|arg| arg.key.as_mut()).for_each(|key| key.span = span);
            }
            ExprKind::Record(entries) => entries.iter_mut().for_each(|(key, _)| key.span = span),
            _ => {}
        }
    });
}
