//! Settings, declarations and definitions.

use pest::iterators::{Pair, Pairs};

use crate::diag::{Diagnostic, Span};

use super::ast::{Decl, Dims, Expr, ExprKind, Field, Name, Operator};
use super::parse::{Builder, Rule, take, word};
use super::parse_place::Place;

/// The parts of a `binding` statement.
pub(super) struct Binding {
    /// `dim`, `let`, ...
    pub(super) keyword: Name,
    /// The declared name; of a sweep, the last word of its first path.
    pub(super) name: Option<Name>,
    /// The paths that a sweep varies.
    pub(super) paths: Vec<Vec<Name>>,
    /// The dims after `:`.
    pub(super) dims: Option<Dims>,
    /// Whether the value is drawn.
    pub(super) drawn: bool,
    /// The value after `=` or `~`.
    pub(super) value: Option<Expr>,
    /// `on`, `every`, `in` with their values.
    pub(super) clauses: Vec<(Name, Expr)>,
}

impl Builder<'_, '_> {
    /// `NAME: [dims] = EXPR` and the clauses after it. Whatever is missing has been reported.
    pub(super) fn binding(&mut self, pair: Pair<Rule>) -> Option<Binding> {
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let keyword = self.name(&parts.next()?);
        let (name, paths) = self.target(&keyword, &mut parts);
        let annotation = take(&mut parts, Rule::annotation);
        let assign = take(&mut parts, Rule::assign);
        let value = take(&mut parts, Rule::expr);
        let mut dims = None;
        let mut drawn = false;
        if let Some(assign) = &assign {
            drawn = match keyword.text.as_str() {
                "sweep" => {
                    let span = self.span(assign);
                    let message = "the values of a sweep stand after `in`";
                    self.report.push(Diagnostic::error("E0113", span, message).fix(span, "in", "write `in`").safe());
                    false
                }
                "param" => self.check_assign(assign, true, "a parameter"),
                other => self.check_assign(assign, false, &format!("a `{other}`")),
            };
        }
        let mut value = value.map(|v| self.expr(v));
        if let Some(annotation) = annotation {
            match (&assign, keyword.text.as_str()) {
                (None, "dim" | "let" | "data" | "measure") => value = self.colon_for_equals(annotation),
                (_, "let" | "param") => dims = self.dims(annotation),
                _ => {
                    let message = format!("a `{}` has no dims", keyword.text);
                    self.report.push(Diagnostic::error("E0123", self.span(&annotation), message));
                }
            }
        }
        let mut clauses = Vec::new();
        while let Some(clause) = take(&mut parts, Rule::clause) {
            clauses.extend(self.clause(clause));
        }
        let rest = take(&mut parts, Rule::rest);
        if self.report.given() == given {
            let needs_sign = keyword.text != "sweep" || clauses.is_empty();
            let end = name.as_ref().map_or(keyword.span, |n| n.span);
            match (&assign, &value, &rest) {
                (Some(sign), None, rest) => self.missing_value(sign, rest.as_ref()),
                (None, None, rest) if needs_sign => self.missing_sign(&keyword, end, rest.as_ref()),
                (_, value, Some(rest)) => {
                    self.unexpected(rest, "the end of the line", value.is_some() || !clauses.is_empty())
                }
                _ => {}
            }
        }
        Some(Binding { keyword, name, paths, dims, drawn, value, clauses })
    }

    /// What a definition defines, and the paths that a sweep varies: `a.b` or `[a.b, c]`.
    fn target(&mut self, keyword: &Name, parts: &mut Pairs<Rule>) -> (Option<Name>, Vec<Vec<Name>>) {
        let path = take(parts, Rule::path).filter(|p| keyword.text != "sweep" || p.as_str() != "in");
        let list = take(parts, Rule::list);
        let given = self.report.given();
        let mut paths: Vec<Vec<Name>> = Vec::new();
        if let Some(path) = path {
            let names = path.into_inner();
            paths
                .push(names.map(|n| if keyword.text == "sweep" { self.name(&n) } else { self.declared(&n) }).collect());
        }
        if let (Some(list), "sweep") = (list, keyword.text.as_str()) {
            for value in self.values(list, "a list of paths") {
                match value.kind {
                    ExprKind::Path(path) => paths.push(path),
                    ExprKind::Error => {}
                    _ => {
                        let message = "a sweep varies what a path names";
                        let error = Diagnostic::error("E0116", value.span, message);
                        self.report.push(error.help("for example `sweep [d, train.steps] in [[10, 100], [20, 400]]`"));
                    }
                }
            }
        }
        let name = paths.first().and_then(|path| if keyword.text == "sweep" { path.last() } else { path.first() });
        let name = name.cloned();
        if let (Some([first, .., last]), false) = (paths.first().map(Vec::as_slice), keyword.text == "sweep") {
            let span = first.span.to(last.span);
            self.report.push(Diagnostic::error("E0116", span, "a declared name has no dots"));
        }
        if name.is_none() && self.report.given() == given {
            self.missing_name(keyword);
        }
        (name, paths)
    }

    /// `from NAME`, `every EXPR`
    pub(super) fn clause(&mut self, pair: Pair<Rule>) -> Option<(Name, Expr)> {
        let mut parts = pair.into_inner();
        let keyword = self.name(&parts.next()?);
        match take(&mut parts, Rule::expr) {
            Some(value) => Some((keyword, self.expr(value))),
            None => {
                let message = format!("a value is missing after `{}`", keyword.text);
                self.report.push(Diagnostic::error("E0110", keyword.span, message));
                None
            }
        }
    }

    /// The name that a clause gives, as in `on local`.
    pub(super) fn clause_name(&mut self, keyword: &Name, value: Expr) -> Option<Name> {
        match value.kind {
            ExprKind::Path(mut path) if path.len() == 1 => path.pop(),
            ExprKind::Error => None,
            _ => {
                let message = format!("a name is expected after `{}`", keyword.text);
                self.report.push(Diagnostic::error("E0116", value.span, message));
                None
            }
        }
    }

    pub(super) fn missing_name(&mut self, keyword: &Name) {
        let message = format!("a name is missing after `{}`", keyword.text);
        self.report.push(Diagnostic::error("E0116", keyword.span, message));
    }

    fn missing_value(&mut self, sign: &Pair<Rule>, rest: Option<&Pair<Rule>>) {
        if let Some(rest) = rest {
            return self.unexpected(rest, word(Rule::expr), false);
        }
        let message = format!("a value is missing after `{}`", sign.as_str());
        self.report
            .push(Diagnostic::error("E0110", self.span(sign), message).help("the value stands on the same line"));
    }

    /// A definition without `=` (or `in`).
    fn missing_sign(&mut self, keyword: &Name, end: Span, rest: Option<&Pair<Rule>>) {
        let sign = if keyword.text == "sweep" { "in" } else { "=" };
        let Some(rest) = rest else {
            let message = format!("a `{}` needs a value: `{sign}` is missing", keyword.text);
            self.report.push(Diagnostic::error("E0110", keyword.span.to(end), message));
            return;
        };
        let start = self.span(rest).start;
        let looks_valued = rest.as_str().starts_with(|c: char| c.is_alphanumeric() || "\"[{(-_".contains(c));
        if looks_valued && start >= end.end {
            let message = format!("`{sign}` is missing before the value");
            let gap = Span::new(end.end, start);
            let diagnostic = Diagnostic::error("E0113", Span::new(start, self.span(rest).end), message);
            self.report.push(diagnostic.fix(gap, format!(" {sign} "), "put it in").safe());
        } else {
            self.unexpected(rest, &format!("`{sign}`"), false);
        }
    }

    /// Whether the sign is `~`; other signs than `=` and, where `draws`, `~` are reported.
    fn check_assign(&mut self, pair: &Pair<Rule>, draws: bool, what: &str) -> bool {
        let span = self.span(pair);
        let message = match pair.as_str() {
            "=" => return false,
            "~" if draws => return true,
            "~" => format!("{what} is set, not drawn: `~` stands only before what is random"),
            sign => format!("{what} is set with `=`, not `{sign}`"),
        };
        let diagnostic = Diagnostic::error("E0113", span, message).fix(span, "=", "write `=`");
        // `+=` and `~` mean something else elsewhere.
        let same = matches!(pair.as_str(), "==" | "=>" | ":=" | "<-" | "->");
        self.report.push(if same { diagnostic.safe() } else { diagnostic });
        false
    }

    /// `rate: 0.1` where `rate = 0.1` is meant; gives the value.
    fn colon_for_equals(&mut self, annotation: Pair<Rule>) -> Option<Expr> {
        let at = self.span(&annotation).start;
        let colon = Span::new(at, at + 1);
        self.report.push(
            Diagnostic::error("E0112", colon, "a setting or definition takes `=`; `:` stands in calls and records")
                .fix(colon, " =", "write `=`")
                .safe(),
        );
        take(&mut annotation.into_inner(), Rule::expr).map(|v| self.expr(v))
    }

    /// The list after `:`.
    pub(super) fn dims(&mut self, annotation: Pair<Rule>) -> Option<Dims> {
        let colon = self.span(&annotation);
        let Some(value) = take(&mut annotation.into_inner(), Rule::expr) else {
            self.report.push(
                Diagnostic::error("E0123", colon, "dims are missing after `:`").help("a scalar has the dims `[]`"),
            );
            return None;
        };
        let value = self.expr(value);
        self.dims_of(value)
    }

    /// The dims that an expression writes.
    pub(super) fn dims_of(&mut self, value: Expr) -> Option<Dims> {
        let span = value.span;
        let dims = match value.kind {
            ExprKind::List(dims) => dims,
            ExprKind::Error => return None,
            _ => {
                let diagnostic = Diagnostic::error("E0123", span, "dims stand in brackets, as in `[d, k]`");
                self.report.push(diagnostic.help("a vector has one dim, `[d]`; a scalar has none, `[]`"));
                return None;
            }
        };
        for dim in dims.iter().filter(|dim| !is_dim(dim)) {
            let diagnostic = Diagnostic::error("E0123", dim.span, "a dim is a name, a number or arithmetic on them");
            self.report.push(diagnostic.help("for example `[d, k]` or `[2 * d]`"));
        }
        Some(Dims { dims, span })
    }

    /// A setting `path = EXPR` of a block.
    pub(super) fn field(&mut self, pair: Pair<Rule>) -> Option<Field> {
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let path: Vec<Name> = parts.next()?.into_inner().map(|n| self.name(&n)).collect();
        let annotation = take(&mut parts, Rule::annotation);
        let assign = take(&mut parts, Rule::assign);
        let value = take(&mut parts, Rule::expr);
        let rest = take(&mut parts, Rule::rest);
        if let Some(assign) = &assign {
            self.check_assign(assign, false, "a setting");
        }
        let mut value = value.map(|v| self.expr(v));
        match (annotation, &assign) {
            (Some(annotation), None) => value = self.colon_for_equals(annotation),
            (Some(annotation), Some(_)) => {
                self.report.push(Diagnostic::error("E0123", self.span(&annotation), "a setting has no dims"));
            }
            _ => {}
        }
        if self.report.given() == given {
            match (&assign, &value, &rest) {
                (Some(sign), None, rest) => self.missing_value(sign, rest.as_ref()),
                (_, _, Some(rest)) => self.unexpected(rest, "the end of the setting", true),
                _ => {}
            }
        }
        Some(Field { path, value: value? })
    }

    /// A declaration `name: [dims] = EXPR` or `~ EXPR`.
    pub(super) fn decl(&mut self, pair: Pair<Rule>) -> Option<Decl> {
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let path: Vec<Pair<Rule>> = parts.next()?.into_inner().collect();
        let name = self.declared(path.first()?);
        if let Some(last) = path.get(1..).and_then(<[_]>::last) {
            let span = name.span.to(self.span(last));
            self.report.push(Diagnostic::error("E0116", span, "a declared name has no dots"));
        }
        let annotation = take(&mut parts, Rule::annotation);
        let assign = take(&mut parts, Rule::assign);
        let value = take(&mut parts, Rule::expr);
        let rest = take(&mut parts, Rule::rest);
        let scalar = annotation.is_none();
        let dims = annotation.and_then(|a| self.dims(a));
        if scalar && self.report.given() == given {
            let message = format!("the dims of `{}` are missing", name.text);
            let at = Span::new(name.span.end, name.span.end);
            let diagnostic = Diagnostic::error("E0123", name.span, message).fix(at, ": []", "declare a scalar");
            self.report.push(diagnostic.help("a vector is declared as `x: [d]`"));
        }
        let drawn = assign.as_ref().is_some_and(|a| self.check_assign(a, true, "a declared tensor"));
        let value = value.map(|v| self.expr(v));
        if self.report.given() == given {
            match (&assign, &value, &rest) {
                (Some(sign), None, rest) => self.missing_value(sign, rest.as_ref()),
                (None, _, Some(rest)) => self.unexpected(rest, "`=` or `~`", false),
                (None, _, None) => {
                    let message = format!("`{}` is declared without a value", name.text);
                    self.report.push(
                        Diagnostic::error("E0110", name.span, message).help("write `= ..`, or `~ ..` to draw it"),
                    );
                }
                (_, _, Some(rest)) => self.unexpected(rest, "the end of the declaration", true),
                _ => {}
            }
        }
        Some(Decl { name, dims, drawn, value: value? })
    }

    /// The settings of a block.
    pub(super) fn fields(&mut self, block: Option<Pair<Rule>>, keyword: &str) -> Vec<Field> {
        let mut fields = Vec::new();
        for statement in block.into_iter().flat_map(Pair::into_inner) {
            match statement.as_rule() {
                Rule::entry => fields.extend(self.field(statement)),
                _ => self.misplaced(statement, Place::Settings(keyword)),
            }
        }
        fields
    }

    /// The declarations of a block.
    pub(super) fn decls(&mut self, block: Option<Pair<Rule>>, keyword: &str) -> Vec<Decl> {
        let mut decls = Vec::new();
        for statement in block.into_iter().flat_map(Pair::into_inner) {
            match statement.as_rule() {
                Rule::entry => decls.extend(self.decl(statement)),
                _ => self.misplaced(statement, Place::Draws(keyword)),
            }
        }
        decls
    }
}

/// Whether an expression can be a dim.
fn is_dim(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Path(path) => path.len() == 1,
        ExprKind::Number(_) | ExprKind::Error => true,
        ExprKind::Binary(operator, a, b) => *operator != Operator::Contract && is_dim(a) && is_dim(b),
        _ => false,
    }
}
