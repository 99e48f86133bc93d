//! `tasks` and `model`: the two blocks that hold statements of several kinds.

use pest::iterators::Pair;

use crate::diag::{Diagnostic, Span};

use super::ast::{Decl, Dims, Expr, ExprKind, ItemKind, Layer, Model, Name, Param, Stratum, Tasks};
use super::parse::{Builder, Rule, take};
use super::parse_item::Heading;
use super::parse_place::{Place, is_keyword};
use super::parse_rest::first_word;

impl Builder<'_, '_> {
    /// The content of a `tasks` block.
    pub(super) fn tasks(&mut self, heading: Heading) -> Option<ItemKind> {
        let mut from = None;
        for (keyword, value) in heading.clauses {
            from = self.clause_name(&keyword, value);
        }
        let (mut decls, mut strata, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        let (mut episode, mut example) = (Vec::new(), Vec::new());
        for statement in heading.block.into_iter().flat_map(Pair::into_inner) {
            match (statement.as_rule(), first_word(statement.as_str())) {
                (Rule::entry, _) if declares(&statement) => decls.extend(self.decl(statement)),
                (Rule::entry, _) => fields.extend(self.field(statement)),
                (Rule::scope, "stratum") => strata.extend(self.stratum(statement)),
                (Rule::scope, "episode") => {
                    let block = self.heading(statement).and_then(|h| h.block);
                    episode.extend(self.decls(block, "episode"));
                }
                (Rule::scope, "example") => {
                    let block = self.heading(statement).and_then(|h| h.block);
                    example.extend(self.decls(block, "example"));
                }
                _ => self.misplaced(statement, Place::Tasks),
            }
        }
        Some(ItemKind::Tasks(Tasks { name: heading.name?, from, decls, strata, episode, example, fields }))
    }

    /// `stratum NAME(COUNT) { DECL* }`
    fn stratum(&mut self, pair: Pair<Rule>) -> Option<Stratum> {
        let given = self.report.given();
        let heading = self.heading(pair)?;
        let span = heading.name.as_ref().map_or(heading.keyword.span, |n| n.span);
        let mut count = None;
        if let Some(round) = heading.round {
            let mut values = self.values(round, "a stratum");
            count = if values.len() == 1 { values.pop() } else { None };
        }
        let count = count.unwrap_or_else(|| {
            if self.report.given() == given {
                let message = "a stratum gives the number of its tasks, as in `stratum easy(95)`";
                self.report.push(Diagnostic::error("E0116", span, message));
            }
            Expr { kind: ExprKind::Error, span }
        });
        let decls = self.decls(heading.block, "stratum");
        Some(Stratum { name: heading.name?, count, decls })
    }

    /// `model NAME(x: [d]) -> [] { .. }`, `fn NAME(x: [d]) -> [] { .. }` or `layer NAME(x: [d], size) -> [] { .. }`
    pub(super) fn model(&mut self, pair: Pair<Rule>) -> Option<ItemKind> {
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let keyword = self.name(&parts.next()?);
        let (what, place) = match keyword.text.as_str() {
            "fn" => ("function", Place::Function),
            "layer" => ("layer", Place::Layer),
            _ => ("model", Place::Model),
        };
        let name = take(&mut parts, Rule::name).map(|n| self.declared(&n));
        let round = take(&mut parts, Rule::round);
        let arrow = take(&mut parts, Rule::arrow);
        let output = take(&mut parts, Rule::list);
        let mut from = None;
        while let Some(clause) = take(&mut parts, Rule::clause) {
            let Some((clause, value)) = self.clause(clause) else { continue };
            if clause.text != "from" || what != "model" {
                let message = format!("a {what} has no `{}`", clause.text);
                let help = "`from DATA` after the dims of a model names a file of parameters";
                self.report.push(Diagnostic::error("E0112", clause.span, message).help(help));
                continue;
            }
            from = self.clause_name(&clause, value);
        }
        let block = take(&mut parts, Rule::block);
        let rest = take(&mut parts, Rule::rest);
        if name.is_none() {
            self.missing_name(&keyword);
        }
        if let Some(arrow) = arrow.as_ref().filter(|a| a.as_str() != "->") {
            let span = self.span(arrow);
            self.report.push(
                Diagnostic::error("E0113", span, format!("the dims of what a {what} gives stand after `->`"))
                    .fix(span, "->", "write `->`")
                    .safe(),
            );
        }
        let head = name.as_ref().map_or(keyword.span, |n| n.span);
        let after = round.as_ref().map_or(head, |r| self.span(r));
        if self.report.given() == given {
            match (&round, &output, &block, &rest) {
                (_, Some(_), Some(_), Some(rest)) => self.unexpected(rest, &format!("the end of the {what}"), false),
                (Some(_), Some(_), None, Some(rest)) => self.unexpected(rest, "a block in `{ }`", false),
                (None, _, _, _) => {
                    let message = format!("a {what} names its inputs, as in `(x: [d])`");
                    self.report.push(Diagnostic::error("E0118", head, message).label("the inputs are missing"));
                }
                (_, None, _, _) => {
                    let at = Span::new(after.end, arrow.as_ref().map_or(after.end, |a| self.span(a).end));
                    self.report.push(
                        Diagnostic::error(
                            "E0118",
                            head,
                            format!("a {what} states the dims of what it gives, as in `-> []`"),
                        )
                        .fix(at, " -> []", "give a scalar"),
                    );
                }
                (_, _, None, None) => {
                    self.report.push(Diagnostic::error(
                        "E0118",
                        keyword.span.to(after),
                        format!("the block of this {what} is missing"),
                    ));
                }
                _ => {}
            }
        }
        let mut takes = Vec::new();
        let inputs = match round {
            Some(round) if what == "layer" => self.layer_inputs(round, &mut takes),
            Some(round) => self.inputs(round),
            None => Vec::new(),
        };
        let span = output.as_ref().map_or(after, |o| self.span(o));
        let output = output.and_then(|list| {
            let span = self.span(&list);
            let kind = ExprKind::List(self.values(list, "a list of dims"));
            self.dims_of(Expr { kind, span })
        });
        let output = output.unwrap_or(Dims { dims: Vec::new(), span });
        let empty = Expr { kind: ExprKind::Error, span: head };
        let mut model = Model {
            name: name.clone().unwrap_or(keyword),
            inputs,
            output,
            from,
            params: Vec::new(),
            lets: Vec::new(),
            body: empty,
        };
        if let Some(block) = block {
            self.model_block(block, &mut model, place);
        }
        name.map(|_| match what {
            "function" => ItemKind::Function(model),
            "layer" => ItemKind::Layer(Layer { takes, model }),
            _ => ItemKind::Model(model),
        })
    }

    /// `(x: [d], size, stride: 1)`: the inputs, and all that a call gives, in order.
    fn layer_inputs(&mut self, round: Pair<Rule>, takes: &mut Vec<(Name, Option<Expr>)>) -> Vec<(Name, Dims)> {
        let mut inputs = Vec::new();
        for slot in self.slots(round) {
            match (slot.key, slot.value) {
                (Some(key), value @ Expr { kind: ExprKind::List(_), .. }) => {
                    inputs.extend(self.dims_of(value).map(|dims| (key.clone(), dims)));
                    takes.push((key, None));
                }
                (Some(key), value) => takes.push((key, Some(value))),
                (None, Expr { kind: ExprKind::Error, .. }) => {}
                (None, value) => match value.single() {
                    Some(name) => takes.push((name.clone(), None)),
                    None => self.report.push(
                        Diagnostic::error("E0123", value.span, "a layer takes inputs and settings by name")
                            .help("an input has dims, `x: [d]`; a setting has none, `size`, or a value, `stride: 1`"),
                    ),
                },
            }
        }
        inputs
    }

    /// `(x: [d], ..)`
    fn inputs(&mut self, round: Pair<Rule>) -> Vec<(Name, Dims)> {
        let mut inputs = Vec::new();
        for slot in self.slots(round) {
            match slot.key {
                Some(key) => inputs.extend(self.dims_of(slot.value).map(|dims| (key, dims))),
                None if slot.value.kind == ExprKind::Error => {}
                None => {
                    let at = Span::new(slot.value.span.end, slot.value.span.end);
                    self.report.push(
                        Diagnostic::error("E0123", slot.value.span, "the dims of this input are missing")
                            .fix(at, ": []", "a scalar for each example")
                            .help("a vector for each example is written `x: [d]`"),
                    );
                }
            }
        }
        inputs
    }

    fn model_block(&mut self, block: Pair<Rule>, model: &mut Model, place: Place) {
        let of_model = matches!(place, Place::Model | Place::Layer);
        let what = match place {
            Place::Model => "model",
            Place::Layer => "layer",
            _ => "function",
        };
        let end = self.span(&block).end;
        let given = self.report.given();
        let mut body: Option<Expr> = None;
        for statement in block.into_inner() {
            match (statement.as_rule(), first_word(statement.as_str())) {
                (Rule::binding, "param") if of_model => model.params.extend(self.param(statement, None)),
                (Rule::binding, "let") => model.lets.extend(
                    self.binding(statement)
                        .and_then(|b| Some(Decl { name: b.name?, dims: b.dims, drawn: b.drawn, value: b.value? })),
                ),
                (Rule::scope, "group") if of_model => self.group(statement, &mut model.params),
                (Rule::loose, _) if !misspelt(&statement) => {
                    let value = self.prediction(statement);
                    if let (Some(first), Some(value)) = (&body, &value) {
                        self.report.push(
                            Diagnostic::error(
                                "E0128",
                                value.span,
                                match what {
                                    "model" => "a model has one value that stands alone, its prediction".to_owned(),
                                    _ => format!("a {what} has one value that stands alone"),
                                },
                            )
                            .label("a second value")
                            .related(first.span, "the first value")
                            .help("name the others with `let`"),
                        );
                    }
                    body = value.or(body);
                }
                _ => self.misplaced(statement, place),
            }
        }
        match body {
            Some(body) => model.body = body,
            None => {
                let span = Span::new(end.saturating_sub(1), end);
                model.body.span = span;
                if self.report.given() == given {
                    let (message, help, missing) = match what {
                        "model" => (
                            "this model predicts nothing".to_owned(),
                            "the last line of a model is its prediction, as in `x @ W + b`".to_owned(),
                            "the prediction",
                        ),
                        _ => (
                            format!("this {what} gives nothing"),
                            format!("the last line of a {what} is its value, as in `sum(x * y)`"),
                            "the value",
                        ),
                    };
                    self.report.push(
                        Diagnostic::error("E0128", model.name.span, message)
                            .related(span, format!("{missing} should stand before this"))
                            .help(help),
                    );
                }
            }
        }
    }

    fn prediction(&mut self, statement: Pair<Rule>) -> Option<Expr> {
        let given = self.report.given();
        let mut parts = statement.into_inner();
        let value = take(&mut parts, Rule::expr).map(|v| self.expr(v));
        if let Some(rest) = take(&mut parts, Rule::rest)
            && self.report.given() == given
        {
            self.unexpected(&rest, "the end of the prediction", true);
        }
        value
    }

    fn group(&mut self, pair: Pair<Rule>, params: &mut Vec<Param>) {
        let Some(heading) = self.heading(pair) else { return };
        for statement in heading.block.into_iter().flat_map(Pair::into_inner) {
            match (statement.as_rule(), first_word(statement.as_str())) {
                (Rule::binding, "param") => params.extend(self.param(statement, heading.name.clone())),
                _ => self.misplaced(statement, Place::Group),
            }
        }
    }

    fn param(&mut self, pair: Pair<Rule>, group: Option<Name>) -> Option<Param> {
        let given = self.report.given();
        let binding = self.binding(pair)?;
        let name = binding.name?;
        if binding.dims.is_none() && self.report.given() == given {
            let at = Span::new(name.span.end, name.span.end);
            self.report.push(
                Diagnostic::error("E0123", name.span, format!("the dims of the parameter `{}` are missing", name.text))
                    .fix(at, ": []", "declare a scalar")
                    .help("a matrix is declared as `W: [d, k]`"),
            );
        }
        Some(Param { group, decl: Decl { name, dims: binding.dims, drawn: binding.drawn, value: binding.value? } })
    }
}

/// Whether a statement of `tasks` declares a tensor: it has a list after `:`, or draws.
fn declares(entry: &Pair<Rule>) -> bool {
    entry.clone().into_inner().any(|part| match part.as_rule() {
        Rule::annotation => part.as_str()[1..].trim_start().starts_with('['),
        Rule::assign => part.as_str() == "~",
        _ => false,
    })
}

/// Whether a value of a model is a misspelt keyword: a lone word before something that it does not go with.
fn misspelt(loose: &Pair<Rule>) -> bool {
    let mut parts = loose.clone().into_inner();
    let word = take(&mut parts, Rule::expr).map_or("", |e| e.as_str().trim_end());
    let rest = take(&mut parts, Rule::rest);
    let known = crate::diag::closest(word, ["param", "group", "let"]).is_some();
    rest.is_some_and(|r| r.as_str().starts_with(char::is_alphabetic)) && known && !is_keyword(word)
}
