//! The file and its items.

use pest::iterators::{Pair, Pairs};

use crate::diag::{Diagnostic, Span};

use super::ast::{Comparison, Expr, ExprKind, File, Item, ItemKind, Method, Name, Section, Use};
use super::parse::{Builder, Rule, take, word};
use super::parse_place::Place;
use super::parse_rest::first_word;
use super::parse_token;

/// The parts of a statement with a keyword and a block.
pub(super) struct Heading<'p> {
    /// `train`, `tasks`, ...
    pub(super) keyword: Name,
    /// The name after it.
    pub(super) name: Option<Name>,
    /// `from NAME`
    pub(super) clauses: Vec<(Name, Expr)>,
    /// `(COUNT)`
    pub(super) round: Option<Pair<'p, Rule>>,
    /// The block.
    pub(super) block: Option<Pair<'p, Rule>>,
}

impl Builder<'_, '_> {
    /// The whole tree.
    pub(super) fn file(mut self, pairs: Pairs<Rule>) -> File {
        let mut file = File { doc: self.layout.doc.clone(), ..File::default() };
        let statements: Vec<Pair<Rule>> = pairs.flat_map(Pair::into_inner).collect();
        for (i, statement) in statements.iter().enumerate() {
            if lacks_block(statement) {
                self.headless(statement, statements[i + 1..].iter().find(|s| has_keyword(s)));
            }
            let span = self.span(statement);
            let statement = statement.clone();
            let kind = match statement.as_rule() {
                Rule::header => {
                    self.header(statement, &mut file);
                    None
                }
                Rule::import => {
                    let found = self.import(statement);
                    file.uses.extend(found);
                    None
                }
                Rule::binding if first_word(statement.as_str()) != "param" => self.definition(statement),
                Rule::scope => self.scope(statement),
                Rule::model => self.model(statement),
                Rule::claim => self.claim(statement),
                _ => {
                    self.misplaced(statement, Place::Top);
                    None
                }
            };
            file.items.extend(kind.map(|kind| Item { kind, span }));
        }
        for stray in &self.layout.strays {
            self.report.push(stray.clone());
        }
        let edition_tried = statements.iter().any(|s| s.as_str().trim_start().starts_with("edition"));
        if file.edition.is_none() && !edition_tried {
            let at = Span::new(self.layout.top, self.layout.top);
            self.report.push(
                Diagnostic::warning("E0121", at, "the file does not say its edition")
                    .fix(at, "edition 2026\n", "state it, so that later versions read the file as it was meant")
                    .safe(),
            );
        }
        file
    }

    /// A heading whose `{` was forgotten: the lines up to the next item are its content, and no mistakes of their own.
    fn headless(&mut self, statement: &Pair<Rule>, next: Option<&Pair<Rule>>) {
        let span = self.span(statement);
        let end = next.map_or(self.layout.place(self.layout.text.len()), |n| self.span(n).start);
        let keyword = first_word(statement.as_str());
        let diagnostic = Diagnostic::error("E0118", span, format!("the `{{` of this `{keyword}` is missing"));
        self.report.push_damage(
            Span::new(span.start, end),
            diagnostic.fix(Span::new(span.end, span.end), " {", "open the block"),
        );
    }

    fn header(&mut self, pair: Pair<Rule>, file: &mut File) {
        let given = self.report.given();
        let span = self.span(&pair);
        let mut parts = pair.into_inner();
        let Some(keyword) = parts.next().map(|k| self.name(&k)) else { return };
        let number = take(&mut parts, Rule::number);
        let name = take(&mut parts, Rule::name);
        let rest = take(&mut parts, Rule::rest);
        let twice = |first: Span| {
            Diagnostic::error("E0121", span, format!("`{}` is stated twice", keyword.text))
                .related(first, "stated here first")
        };
        if keyword.text == "edition" {
            let year = number.as_ref().and_then(|n| n.as_str().parse::<u32>().ok());
            match (year, file.edition) {
                (Some(_), Some((_, first))) => self.report.push(twice(first)),
                (Some(year), None) => file.edition = Some((year, span)),
                (None, _) => {
                    let message = "an edition is a year, as in `edition 2026`";
                    self.report.push(Diagnostic::error("E0121", span, message));
                }
            }
        } else {
            match (name.map(|n| self.declared(&n)), &file.name) {
                (Some(_), Some(first)) => self.report.push(twice(first.span)),
                (Some(name), None) => file.name = Some(name),
                (None, _) => self.missing_name(&keyword),
            }
        }
        if let Some(rest) = rest.filter(|_| self.report.given() == given) {
            self.unexpected(&rest, "the end of the line", true);
        }
    }

    /// `use "base.meta" b3:HASH`
    fn import(&mut self, pair: Pair<Rule>) -> Option<Use> {
        const DIGITS: usize = 64;
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let keyword = self.name(&parts.next()?);
        let text = take(&mut parts, Rule::text);
        let frozen = take(&mut parts, Rule::frozen);
        let rest = take(&mut parts, Rule::rest);
        let span = text.as_ref().map_or(keyword.span, |t| self.span(t));
        let path = text.and_then(|t| match parse_token::text(t.as_str(), span) {
            Ok(path) => Some(path),
            Err(diagnostic) => {
                self.report.push(*diagnostic);
                None
            }
        });
        let frozen = frozen.map(|pair| {
            let span = self.span(&pair);
            (pair.into_inner().as_str().to_ascii_lowercase(), span)
        });
        if self.report.given() == given {
            let found = match (&path, &frozen, &rest) {
                (None, _, Some(rest)) => {
                    self.unexpected(rest, "the path of a file in quotes, as in `use \"base.meta\"`", false);
                    None
                }
                (None, _, None) => Some(
                    Diagnostic::error("E0110", keyword.span, "the path of a file is missing after `use`")
                        .help("it stands in quotes: `use \"base.meta\"`"),
                ),
                (Some(_), _, Some(rest)) => {
                    self.unexpected(rest, "the end of the line", true);
                    None
                }
                (Some(_), Some((hash, span)), None) if hash.len() != DIGITS => {
                    let message = format!("the hash of a file has {DIGITS} digits, and this one {}", hash.len());
                    Some(Diagnostic::error("E0109", *span, message).help("`metadsl freeze FILE` writes it"))
                }
                _ => None,
            };
            if let Some(diagnostic) = found {
                self.report.push(diagnostic);
            }
        }
        Some(Use { path: path?, path_span: span, frozen })
    }

    /// `dim`, `let`, `data`, `measure` and `sweep`.
    fn definition(&mut self, pair: Pair<Rule>) -> Option<ItemKind> {
        let binding = self.binding(pair)?;
        if let Some(dims) = &binding.dims {
            self.report.push(Diagnostic::error("E0123", dims.span, "only a `let` of a model has dims"));
        }
        let (mut on, mut every, mut values) = (None, None, binding.value);
        for (clause, value) in binding.clauses {
            match (binding.keyword.text.as_str(), clause.text.as_str()) {
                ("measure", "on") => on = self.clause_name(&clause, value),
                ("measure", "every") => every = Some(value),
                ("sweep", "in") => values = Some(value),
                (keyword, clause_word) => self.stray_clause(keyword, clause_word, clause.span),
            }
        }
        let (name, value) = (binding.name?, values?);
        let paths = binding.paths;
        Some(match binding.keyword.text.as_str() {
            "dim" => ItemKind::Dim { name, value },
            "let" => ItemKind::Let { name, value },
            "data" => ItemKind::Data { name, value },
            "sweep" => ItemKind::Sweep { paths, values: value },
            _ => ItemKind::Measure { name, value, on, every },
        })
    }

    fn stray_clause(&mut self, keyword: &str, clause: &str, span: Span) {
        let message = format!("a `{keyword}` has no `{clause}`");
        self.report.push(Diagnostic::error("E0124", span, message));
    }

    /// `expect EXPR <= EXPR`
    fn claim(&mut self, pair: Pair<Rule>) -> Option<ItemKind> {
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let keyword = self.name(&parts.next()?);
        let mut left = take(&mut parts, Rule::expr);
        let sign = take(&mut parts, Rule::comparison);
        let mut right = take(&mut parts, Rule::expr);
        if sign.is_none() {
            left = left.or(right.take());
        }
        let rest = take(&mut parts, Rule::rest);
        let left = left.map(|e| self.expr(e));
        let cmp = sign.as_ref().and_then(|s| self.comparison(s));
        let right = right.map(|e| self.expr(e));
        if self.report.given() == given {
            let error = |code, span, message: String| Some(Diagnostic::error(code, span, message));
            let sides = "a claim compares two values, as in `expect mse <= 0.1`";
            let found = match (&left, &sign, &right, &rest) {
                (None, None, _, None) => error("E0110", keyword.span, sides.to_owned()),
                (None, Some(sign), ..) => {
                    error("E0110", self.span(sign), format!("a value is missing before `{}`", sign.as_str()))
                }
                (Some(left), None, _, None) => error("E0122", left.span, sides.to_owned()),
                (_, Some(sign), None, None) => {
                    error("E0110", self.span(sign), format!("a value is missing after `{}`", sign.as_str()))
                }
                (_, _, right, Some(rest)) => {
                    let valued = sign.is_none() && left.is_some() || right.is_some();
                    let wanted = if valued { "the end of the claim" } else { word(Rule::expr) };
                    self.unexpected(rest, wanted, valued);
                    None
                }
                _ => None,
            };
            if let Some(diagnostic) = found {
                self.report.push(diagnostic);
            }
        }
        Some(ItemKind::Expect { left: left?, cmp: cmp?, right: right? })
    }

    fn comparison(&mut self, pair: &Pair<Rule>) -> Option<Comparison> {
        let span = self.span(pair);
        let wrong = |spelt: &str| {
            Diagnostic::error("E0122", span, format!("`{}` is written `{spelt}`", pair.as_str()))
                .fix(span, spelt, format!("write `{spelt}`"))
                .safe()
        };
        match pair.as_str() {
            "<=" => Some(Comparison::AtMost),
            "<" => Some(Comparison::Below),
            ">=" => Some(Comparison::AtLeast),
            ">" => Some(Comparison::Above),
            "=<" | "≤" => {
                self.report.push(wrong("<="));
                Some(Comparison::AtMost)
            }
            "=>" | "≥" => {
                self.report.push(wrong(">="));
                Some(Comparison::AtLeast)
            }
            sign => {
                let message = format!("a claim cannot be made with `{sign}`");
                self.report.push(
                    Diagnostic::error("E0122", span, message)
                        .help("a claim is one of `<=`, `<`, `>=`, `>`")
                        .help("measured values are seldom equal: state how near they are, `expect abs(a - b) <= 1e-6`"),
                );
                None
            }
        }
    }

    /// A keyword with a block.
    fn scope(&mut self, pair: Pair<Rule>) -> Option<ItemKind> {
        if matches!(first_word(pair.as_str()), "stratum" | "episode" | "example" | "group") {
            self.misplaced(pair, Place::Top);
            return None;
        }
        let heading = self.heading(pair)?;
        let keyword = heading.keyword.text.clone();
        Some(match keyword.as_str() {
            "tasks" => return self.tasks(heading),
            "world" => ItemKind::World { decls: self.decls(heading.block, &keyword) },
            "arm" => {
                let fields = self.fields(heading.block, &keyword);
                ItemKind::Arm { name: heading.name?, fields }
            }
            "method" => {
                let params = heading.round.map_or_else(Vec::new, |round| self.params(round));
                let fields = self.fields(heading.block, &keyword);
                ItemKind::Method(Method { name: heading.name?, params, fields })
            }
            _ => {
                let fields = self.fields(heading.block, &keyword);
                if keyword != "train" && heading.name.is_none() {
                    return None;
                }
                ItemKind::Section(Section { keyword: heading.keyword, name: heading.name, fields })
            }
        })
    }

    /// `(on, steps: 1)`: the parameters of a method.
    fn params(&mut self, round: Pair<Rule>) -> Vec<(Name, Option<Expr>)> {
        let mut params = Vec::new();
        for slot in self.slots(round) {
            match (slot.key, slot.value.kind) {
                (Some(name), kind) => params.push((name, Some(Expr { kind, span: slot.value.span }))),
                (None, ExprKind::Path(mut path)) if path.len() == 1 => {
                    params.extend(path.pop().map(|name| (name, None)))
                }
                (None, ExprKind::Error) => {}
                (None, _) => {
                    let message = "a parameter of a method is a name, with `: VALUE` where it may be left out";
                    self.report.push(Diagnostic::error("E0116", slot.value.span, message));
                }
            }
        }
        params
    }

    /// The parts of a `scope`; what is missing or too much before the block is reported.
    pub(super) fn heading<'p>(&mut self, pair: Pair<'p, Rule>) -> Option<Heading<'p>> {
        let given = self.report.given();
        let mut parts = pair.into_inner();
        let keyword = self.name(&parts.next()?);
        let named =
            matches!(keyword.text.as_str(), "tasks" | "stage" | "evaluate" | "arm" | "method" | "stratum" | "group");
        let name = take(&mut parts, Rule::name);
        let name = match name {
            Some(name) if !named => {
                let message = format!("`{}` has no name", keyword.text);
                self.report.push(Diagnostic::error("E0116", self.span(&name), message));
                None
            }
            Some(name) if keyword.text == "tasks" && name.as_str() == "from" => None,
            Some(name) => Some(self.declared(&name)),
            None => None,
        };
        if named && name.is_none() {
            self.missing_name(&keyword);
        }
        let mut clauses = Vec::new();
        while let Some(clause) = take(&mut parts, Rule::clause) {
            let Some((clause, value)) = self.clause(clause) else { continue };
            if keyword.text == "tasks" && clause.text == "from" {
                clauses.push((clause, value));
            } else {
                self.stray_clause(&keyword.text, &clause.text, clause.span);
            }
        }
        let round = take(&mut parts, Rule::round);
        let block = take(&mut parts, Rule::block);
        let rest = take(&mut parts, Rule::rest);
        if self.report.given() == given {
            let head = keyword.span.to(name.as_ref().map_or(keyword.span, |n| n.span));
            match (&round, &block, &rest) {
                (Some(round), ..) if !matches!(keyword.text.as_str(), "stratum" | "method") => {
                    let message = format!("`{}` has nothing in parentheses", keyword.text);
                    self.report.push(Diagnostic::error("E0124", self.span(round), message));
                }
                (_, None, Some(rest)) => self.unexpected(rest, word(Rule::block), false),
                (_, None, None) => {
                    let message = format!("the block of this `{}` is missing", keyword.text);
                    self.report.push(Diagnostic::error("E0118", head, message).help("an empty block is written `{}`"));
                }
                (_, Some(_), Some(rest)) => self.unexpected(rest, "the end of the line", false),
                _ => {}
            }
        }
        Some(Heading { keyword, name, clauses, round, block })
    }
}

/// Whether a statement ends where its `{` should stand.
fn lacks_block(statement: &Pair<Rule>) -> bool {
    matches!(statement.as_rule(), Rule::scope | Rule::model)
        && !statement.clone().into_inner().any(|p| matches!(p.as_rule(), Rule::block | Rule::rest))
}

fn has_keyword(statement: &Pair<Rule>) -> bool {
    matches!(statement.as_rule(), Rule::header | Rule::import | Rule::binding | Rule::scope | Rule::model | Rule::claim)
}
