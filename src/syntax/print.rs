//! An expression as one line of text that reads back as the same expression.

use std::fmt::{self, Display, Formatter};

use super::ast::{Arg, Expr, ExprKind};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(x) if *x != 0.0 && !(1e-4..1e9).contains(&x.abs()) => write!(f, "{x:e}"),
            ExprKind::Number(x) => write!(f, "{x}"),
            ExprKind::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            ExprKind::Bool(b) => write!(f, "{b}"),
            ExprKind::Path(path) => list(f, path.iter().map(|n| &n.text), "."),
            ExprKind::Call { callee, args } => {
                write!(f, "{}(", callee.text)?;
                list(f, args, ", ")?;
                write!(f, ")")
            }
            ExprKind::List(items) => {
                write!(f, "[")?;
                list(f, items, ", ")?;
                write!(f, "]")
            }
            ExprKind::Record(entries) => {
                write!(f, "{{ ")?;
                list(f, entries.iter().map(|(key, value)| format!("{}: {value}", key.text)), ", ")?;
                write!(f, " }}")
            }
            ExprKind::Range(low, high) => write!(f, "{}..{}", Operand(low), Operand(high)),
            ExprKind::Neg(x) => write!(f, "-{}", Operand(x)),
            ExprKind::Binary(operator, a, b) => write!(f, "{} {} {}", Operand(a), operator.symbol(), Operand(b)),
            ExprKind::Index(base, index) => {
                write!(f, "{}[", Operand(base))?;
                list(f, index, ", ")?;
                write!(f, "]")
            }
            ExprKind::Error => write!(f, "?"),
        }
    }
}

impl Display for Arg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {}", key.text, self.value),
            None => write!(f, "{}", self.value),
        }
    }
}

/// An expression beside an operator, in parentheses where it has an operator of its own.
struct Operand<'e>(&'e Expr);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            ExprKind::Range(..) | ExprKind::Neg(..) | ExprKind::Binary(..) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: impl IntoIterator<Item = T>, between: &str) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { between })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::diag::Sink;
    use crate::syntax::ast::{Expr, ItemKind};
    use crate::syntax::parse;

    fn value(text: &str) -> Expr {
        let file = parse(&format!("edition 2026\nlet a = {text}"), &mut Sink::new());
        match file.items.into_iter().next().map(|item| item.kind) {
            Some(ItemKind::Let { value, .. }) => value,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn reads_back_as_the_same_expression() {
        for text in [
            "a - (b - c) * -2 ^ -x",
            "sgd([a, b], rate: 1e-12, steps: 10)",
            "{ a: 1, b: \"say \\\"x\\\" \\\\\" }",
            "f(0..n + 1)[2, d: -0.5]",
            "[none, true, 1e300, a.b.c]",
        ] {
            let once = value(text).to_string();
            assert_eq!(value(&once).to_string(), once, "{text}");
        }
        assert_eq!(value("gradient(w,rate : 0.10)").to_string(), "gradient(w, rate: 0.1)");
    }
}
