//! Expressions: the Pratt parser over the grammar's flat lists of operands and operators, and the bracketed lists.

use std::sync::LazyLock;

use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};

use crate::diag::{Diagnostic, Span};

use super::ast::{Arg, Expr, ExprKind, Name, Operator};
use super::parse::{Builder, Rule, take};
use super::parse_token;

/// Trees deeper than this are refused, since they are walked by recursion.
const DEEPEST: usize = 256;

/// From the loosest to the tightest.
static PRATT: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    PrattParser::new()
        .op(Op::infix(Rule::range_op, Assoc::Left))
        .op(Op::infix(Rule::sum_op, Assoc::Left))
        .op(Op::infix(Rule::product_op, Assoc::Left))
        .op(Op::prefix(Rule::neg))
        .op(Op::infix(Rule::power_op, Assoc::Right))
});

/// One place of a bracketed list.
pub(super) struct Slot {
    /// The key before `:`.
    pub(super) key: Option<Name>,
    /// The value; [`ExprKind::Error`] where it is missing.
    pub(super) value: Expr,
}

impl Builder<'_, '_> {
    /// An `expr` or `inner` pair.
    pub(super) fn expr(&mut self, pair: Pair<Rule>) -> Expr {
        let parts: Vec<Pair<Rule>> = pair.clone().into_inner().collect();
        let indices = |operand: &Pair<Rule>| operand.clone().into_inner().len() - 1;
        let weight = 1 + parts.iter().map(|p| if p.as_rule() == Rule::operand { indices(p) } else { 1 }).sum::<usize>();
        if self.depth + weight > DEEPEST {
            let (span, message) = (self.span(&pair), format!("this expression has more than {DEEPEST} operators"));
            self.report.push(Diagnostic::error("E0102", span, message).help("name its parts with `let`"));
            return Expr { kind: ExprKind::Error, span };
        }
        self.depth += weight;
        let expr = match <[Pair<Rule>; 1]>::try_from(parts) {
            Ok([operand]) => self.operand(operand),
            Err(parts) => self.operators(pair.as_rule(), parts),
        };
        self.depth -= weight;
        expr
    }

    /// Several operands, or one with a sign; `rule` is that of the expression.
    fn operators(&mut self, rule: Rule, parts: Vec<Pair<Rule>>) -> Expr {
        self.check_operators(rule, &parts);
        let layout = self.layout;
        PRATT
            .map_primary(|operand| self.operand(operand))
            .map_prefix(|sign, x| {
                let span = layout.span(sign.as_span().start(), sign.as_span().end()).to(x.span);
                Expr { kind: ExprKind::Neg(Box::new(x)), span }
            })
            .map_infix(|left, sign, right| infix(left, sign.as_str(), right))
            .parse(parts.into_iter())
    }

    /// Reports misspelt operators and remembers one at the end of a line.
    fn check_operators(&mut self, rule: Rule, parts: &[Pair<Rule>]) {
        for (i, sign) in parts.iter().enumerate().filter(|(_, p)| p.as_rule() != Rule::operand) {
            let span = self.span(sign);
            if let Some(next) = parts.get(i + 1) {
                let between = &self.layout.text[sign.as_span().end()..next.as_span().start()];
                if rule == Rule::expr && between.contains('\n') {
                    self.continued = Some(span);
                }
            }
            let wrong = |message: &str| Diagnostic::error("E0111", span, message);
            let diagnostic = match (sign.as_rule(), sign.as_str()) {
                (Rule::power_op, "**") => wrong("a power is written `^`").fix(span, "^", "write `^`").safe(),
                (Rule::product_op, ".") => wrong("a lone `.` is not an operator")
                    .fix(span, "@", "contract with `@`")
                    .help("a path such as `train.steps` has no blanks around its dots"),
                (Rule::range_op, "..=") => wrong("a range is written `lo..hi`, and `hi` is not part of it").fix(
                    span,
                    "..",
                    "write `..`, and the end one higher",
                ),
                _ => continue,
            };
            self.report.push(diagnostic);
        }
    }

    /// A value with its indices.
    fn operand(&mut self, pair: Pair<Rule>) -> Expr {
        let start = pair.as_span().start();
        let mut value = Expr { kind: ExprKind::Error, span: self.span(&pair) };
        for (i, part) in pair.into_inner().enumerate() {
            if i == 0 {
                value = self.primary(part);
                continue;
            }
            let span = self.layout.span(start, part.as_span().end());
            let bracket = self.span(&part);
            let index: Vec<Arg> = self.slots(part).into_iter().map(|s| Arg { key: s.key, value: s.value }).collect();
            if index.is_empty() {
                self.report.push(Diagnostic::error("E0110", bracket, "an index is missing between the brackets"));
            }
            value = Expr { kind: ExprKind::Index(Box::new(value), index), span };
        }
        value
    }

    fn primary(&mut self, pair: Pair<Rule>) -> Expr {
        let span = self.span(&pair);
        let read = match pair.as_rule() {
            Rule::number => parse_token::number(pair.as_str(), span).map(ExprKind::Number),
            Rule::text => parse_token::text(pair.as_str(), span).map(ExprKind::Text),
            Rule::list => Ok(ExprKind::List(self.values(pair, "a list"))),
            Rule::record => Ok(self.record(pair)),
            Rule::round => return self.parenthesis(pair, span),
            _ => self.reference(pair, span),
        };
        let kind = read.unwrap_or_else(|diagnostic| {
            self.report.push(*diagnostic);
            ExprKind::Error
        });
        Expr { kind, span }
    }

    /// A name, a path or a call.
    fn reference(&mut self, pair: Pair<Rule>, span: Span) -> Result<ExprKind, Box<Diagnostic>> {
        let mut parts = pair.into_inner();
        let path: Vec<Name> =
            take(&mut parts, Rule::path).into_iter().flat_map(Pair::into_inner).map(|n| self.name(&n)).collect();
        let round = take(&mut parts, Rule::round);
        match (<[Name; 1]>::try_from(path), round) {
            (Ok([callee]), Some(round)) => {
                let args = self.slots(round).into_iter().map(|s| Arg { key: s.key, value: s.value }).collect();
                Ok(ExprKind::Call { callee, args })
            }
            (Ok([name]), None) => self.bare_name(name),
            (Err(path), None) => Ok(ExprKind::Path(path)),
            (Err(_), Some(_)) => {
                let message = "what is called has one name, without dots";
                Err(Box::new(
                    Diagnostic::error("E0124", span, message)
                        .help("functions and methods are called as `name(value, key: value)`"),
                ))
            }
        }
    }

    /// A name that stands alone: `true`, or one of the words of other languages.
    fn bare_name(&mut self, name: Name) -> Result<ExprKind, Box<Diagnostic>> {
        let spelt = match name.text.as_str() {
            "true" => return Ok(ExprKind::Bool(true)),
            "false" => return Ok(ExprKind::Bool(false)),
            "True" | "TRUE" => "true",
            "False" | "FALSE" => "false",
            "None" | "null" | "nil" | "NULL" => "none",
            _ => {
                if let Some(message) = super::parse_rest::foreign(&name.text) {
                    let end = self.line_end(name.span);
                    let diagnostic = Diagnostic::error("E0120", name.span, message);
                    self.report.push_damage(Span::new(name.span.start, end), diagnostic);
                    return Ok(ExprKind::Error);
                }
                return Ok(ExprKind::Path(vec![name]));
            }
        };
        let message = format!("`{}` is written `{spelt}`", name.text);
        self.report.push(
            Diagnostic::error("E0120", name.span, message).fix(name.span, spelt, format!("write `{spelt}`")).safe(),
        );
        Ok(match spelt {
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            _ => ExprKind::Path(vec![Name { text: spelt.to_owned(), ..name }]),
        })
    }

    /// One value in parentheses; the span of the result includes them.
    fn parenthesis(&mut self, pair: Pair<Rule>, span: Span) -> Expr {
        let mut values = self.values(pair, "a parenthesis");
        let kind = match values.len() {
            1 => values.remove(0).kind,
            0 => {
                self.report.push(Diagnostic::error("E0110", span, "a value is missing between the parentheses"));
                ExprKind::Error
            }
            _ => {
                let message = "a list is written with `[ ]`";
                self.report.push(Diagnostic::error("E0124", span, message).label("several values in parentheses"));
                ExprKind::List(values)
            }
        };
        Expr { kind, span }
    }

    /// The values of a bracketed list without keys.
    pub(super) fn values(&mut self, pair: Pair<Rule>, what: &str) -> Vec<Expr> {
        let slots = self.slots(pair);
        slots
            .into_iter()
            .map(|slot| {
                if let Some(key) = slot.key {
                    let message = format!("{what} has no keys");
                    let label = format!("`{}:` stands only in calls and records", key.text);
                    self.report.push(Diagnostic::error("E0112", key.span, message).label(label));
                }
                slot.value
            })
            .collect()
    }

    fn record(&mut self, pair: Pair<Rule>) -> ExprKind {
        let mut entries = Vec::new();
        for slot in self.slots(pair) {
            match slot.key {
                Some(key) => entries.push((key, slot.value)),
                None if slot.value.kind == ExprKind::Error => {}
                None => {
                    let message = "a record is made of `key: value`";
                    self.report.push(Diagnostic::error("E0112", slot.value.span, message).label("this has no key"));
                }
            }
        }
        ExprKind::Record(entries)
    }

    /// The key of an argument behind whose number a unit stands: `5 steps` is `steps: 5`.
    fn counted(&mut self, key: Option<Name>, number: Span, unit: &Pair<Rule>, bracket: char) -> Option<Name> {
        let (span, word) = (self.span(unit), unit.as_str());
        let name = Name { text: format!("{}s", word.trim_end_matches('s')), span };
        let message = match &key {
            Some(key) if key.text == name.text => return Some(name),
            None if bracket == '(' => return Some(name),
            Some(key) => format!("`{}` is not counted in {}", key.text, name.text),
            None => format!("`{word}` stands behind the number of an argument, and nowhere else"),
        };
        let rest = Span::new(number.end, span.end);
        self.report.push(Diagnostic::error("E0130", span, message).fix(rest, "", "leave the unit out"));
        key
    }

    /// What stands between the commas of any bracket.
    pub(super) fn slots(&mut self, pair: Pair<Rule>) -> Vec<Slot> {
        let bracket = pair.as_str().chars().next().unwrap_or('(');
        let pairs: Vec<Pair<Rule>> = pair.into_inner().collect();
        let last = pairs.len().saturating_sub(1);
        let mut slots = Vec::new();
        for (i, pair) in pairs.into_iter().enumerate() {
            let at = self.layout.place(pair.as_span().end());
            let mut parts = pair.into_inner();
            let key = take(&mut parts, Rule::key);
            let inner = take(&mut parts, Rule::inner);
            let unit = take(&mut parts, Rule::unit);
            let stray = take(&mut parts, Rule::stray);
            if key.is_none() && inner.is_none() && stray.is_none() {
                if i < last {
                    let span = Span::new(at, at + 1);
                    self.report.push(Diagnostic::error("E0129", span, "nothing stands before this comma").fix(
                        span,
                        "",
                        "remove it",
                    ));
                }
                continue;
            }
            let given = self.report.given();
            let key = key.map(|key| self.key(key));
            let value = inner.map(|inner| self.expr(inner));
            let missing = value.is_none();
            let mut value = value.unwrap_or_else(|| {
                let span = key.as_ref().map_or(Span::new(at, at), |k| k.span);
                Expr { kind: ExprKind::Error, span }
            });
            if let Some(stray) = stray {
                if self.report.given() == given {
                    self.unexpected_in_slot(&stray, bracket, missing, &value);
                }
                if key.is_none() && bracket == '{' {
                    value.kind = ExprKind::Error;
                }
            } else if let (true, Some(key)) = (missing, &key) {
                let message = format!("a value is missing after `{}:`", key.text);
                self.report.push(Diagnostic::error("E0110", key.span, message));
            }
            let key = match unit {
                Some(unit) => self.counted(key, value.span, &unit, bracket),
                None => key,
            };
            slots.push(Slot { key, value });
        }
        slots
    }

    fn key(&mut self, pair: Pair<Rule>) -> Name {
        let mut parts = pair.into_inner();
        let mut name = Name { text: String::new(), span: Span::default() };
        if let Some(part) = parts.next() {
            name = self.name(&part);
            if part.as_rule() == Rule::text {
                name.text = part.as_str().trim_matches(['"', '\'', '“', '”']).to_owned();
                self.report.push(
                    Diagnostic::error("E0112", name.span, "a key stands without quotes")
                        .fix(name.span, &name.text, format!("write `{}`", name.text))
                        .safe(),
                );
            }
        }
        if let Some(sign) = parts.next().filter(|s| s.as_str() == "=") {
            let span = Span::new(name.span.end, self.span(&sign).end);
            self.report.push(
                Diagnostic::error("E0112", self.span(&sign), "a key takes `:`, and only a setting takes `=`")
                    .fix(span, ":", format!("write `{}:`", name.text))
                    .safe(),
            );
        }
        name
    }
}

fn infix(left: Expr, sign: &str, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    let (left, right) = (Box::new(left), Box::new(right));
    let operator = match sign {
        ".." | "..=" => return Expr { kind: ExprKind::Range(left, right), span },
        "+" => Operator::Add,
        "*" => Operator::Mul,
        "/" => Operator::Div,
        "@" | "." => Operator::Contract,
        "^" | "**" => Operator::Pow,
        _ => Operator::Sub,
    };
    Expr { kind: ExprKind::Binary(operator, left, right), span }
}
