//! The entry point of parsing, the grammar's parser, and what its rules are called in front of a person.

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::{Pair, Pairs};

use crate::diag::{Diagnostic, Sink, Span};

use super::ast::{File, Name};
use super::parse_layout::{Layout, layout};
use super::parse_place::is_keyword;
use super::parse_report::Report;

/// Larger files are refused: an experiment is a page or two, and the tree of a larger text needs gigabytes.
const LARGEST: usize = 1 << 20;

/// Words that are no name of anything declared, as a reader could not tell the two apart. `layer` is one, since checkpoints of
/// transformers call their groups so.
fn is_reserved(word: &str) -> bool {
    (is_keyword(word) && word != "layer") || word == "true" || word == "false"
}

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/meta.pest"]
pub(super) struct Grammar;

/// Reads a file. What cannot be read is reported to `sink` (codes `E01..`) and left out of the tree, or stands there as
/// [`super::ast::ExprKind::Error`].
pub fn parse(text: &str, sink: &mut Sink) -> File {
    let mut report = Report::new(sink);
    if text.len() > LARGEST {
        let message = format!("the file has {} bytes; at most {LARGEST} are read", text.len());
        report.push(Diagnostic::error("E0101", Span::default(), message));
        return File::default();
    }
    let Some(layout) = layout(text, &mut report) else { return File::default() };
    match Grammar::parse(Rule::file, &layout.text) {
        Ok(pairs) => Builder { layout: &layout, report, depth: 0, continued: None }.file(pairs),
        Err(error) => {
            report.push(unreadable(&layout, &error));
            File { doc: layout.doc, ..File::default() }
        }
    }
}

/// The grammar takes every balanced text, so this is only seen where the layout pass and the grammar disagree.
fn unreadable(layout: &Layout, error: &pest::error::Error<Rule>) -> Diagnostic {
    let (start, end) = match error.location {
        InputLocation::Pos(at) => (at, at),
        InputLocation::Span((start, end)) => (start, end),
    };
    let diagnostic = Diagnostic::error("E0124", layout.span(start, end), "the text cannot be read from here on");
    match &error.variant {
        ErrorVariant::ParsingError { positives, .. } if !positives.is_empty() => {
            let words: Vec<&str> = positives.iter().map(|r| word(*r)).collect();
            diagnostic.help(format!("expected {}", words.join(" or ")))
        }
        _ => diagnostic,
    }
}

/// What a rule stands for, as a person would say it. The match is exhaustive, so no new rule can leak its name.
pub(super) fn word(rule: Rule) -> &'static str {
    match rule {
        Rule::file => "a file",
        Rule::EOI => "the end of the file",
        Rule::WHITESPACE | Rule::gap | Rule::boundary => "a blank",
        Rule::block => "a block in `{ }`",
        Rule::statement | Rule::rest => "a statement",
        Rule::header => "`edition` or `experiment`",
        Rule::import | Rule::kw_import => "`use`",
        Rule::frozen | Rule::hash => "a hash such as `b3:0123..`",
        Rule::binding => "a definition",
        Rule::scope | Rule::kw_scope => "a block such as `train`",
        Rule::model | Rule::kw_model => "a model",
        Rule::claim | Rule::kw_claim => "a claim",
        Rule::entry | Rule::setting => "a setting or a declaration",
        Rule::annotation => "dims such as `: [d]`",
        Rule::clause | Rule::kw_clause => "`from`, `on`, `every` or `in`",
        Rule::loose | Rule::expr | Rule::inner | Rule::operand | Rule::chunk => "a value",
        Rule::infix | Rule::range_op | Rule::sum_op | Rule::product_op | Rule::power_op => "an operator",
        Rule::neg => "`-`",
        Rule::reference | Rule::path | Rule::name | Rule::letter => "a name",
        Rule::round => "arguments in `( )`",
        Rule::list => "a list in `[ ]`",
        Rule::record => "a record in `{ }`",
        Rule::slot | Rule::stray => "an argument",
        Rule::unit => "a unit such as `steps`",
        Rule::key | Rule::key_sign => "a key",
        Rule::number => "a number",
        Rule::text => "a text",
        Rule::assign => "`=`",
        Rule::comparison => "`<=`, `<`, `>=` or `>`",
        Rule::arrow => "`->`",
        Rule::keyword | Rule::kw_header | Rule::kw_binding => "a keyword",
    }
}

/// Turns the grammar's pairs into the tree. The other `parse_*` files add its methods.
pub(super) struct Builder<'t, 's> {
    pub(super) layout: &'t Layout,
    pub(super) report: Report<'s>,
    /// How deep the expression being built may become at most.
    pub(super) depth: usize,
    /// The last operator that drew the next line into its expression.
    pub(super) continued: Option<Span>,
}

impl Builder<'_, '_> {
    /// The place of a pair, without the blanks that the grammar skipped at its end.
    pub(super) fn span(&self, pair: &Pair<Rule>) -> Span {
        let start = pair.as_span().start();
        self.layout.span(start, start + pair.as_str().trim_end().len())
    }

    /// The name of a `name` pair.
    pub(super) fn name(&self, pair: &Pair<Rule>) -> Name {
        Name { text: pair.as_str().to_owned(), span: self.span(pair) }
    }

    /// The name that a statement declares; a keyword there is reported.
    pub(super) fn declared(&mut self, pair: &Pair<Rule>) -> Name {
        let name = self.name(pair);
        if is_reserved(&name.text) {
            let message = format!("`{}` is a word of the language and cannot be a name", name.text);
            let other = format!("my_{}", name.text);
            let diagnostic = Diagnostic::error("E0117", name.span, message).label("choose another name");
            self.report.push(diagnostic.fix(name.span, &other, format!("for example `{other}`")));
        }
        name
    }
}

/// The next pair, if it is of this rule.
pub(super) fn take<'p>(pairs: &mut Pairs<'p, Rule>, rule: Rule) -> Option<Pair<'p, Rule>> {
    if pairs.peek()?.as_rule() == rule { pairs.next() } else { None }
}
