//! From text to the tree of a query; the grammar is `grammar/query.pest`.

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};
use pest::iterators::Pair;

use super::ast::{Comparison, Condition, Field, Operator, Order, Query, Value};
use crate::diag::{Diagnostic, Span};

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/query.pest"]
struct Grammar;

/// The deepest nesting of brackets that is read.
const DEEPEST: usize = 64;

/// Reads a query.
pub fn parse(text: &str) -> Result<Query, Box<Diagnostic>> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            let span = Span::new(at, at + 1);
            return Err(Diagnostic::error("Q0101", span, format!("brackets nest deeper than {DEEPEST}")).into());
        }
    }
    let mut pairs = Grammar::parse(Rule::query, text).map_err(|e| Box::new(unreadable(text, &e)))?;
    let mut query = Query::default();
    for part in pairs.next().into_iter().flat_map(Pair::into_inner) {
        match part.as_rule() {
            Rule::either => query.condition = Some(condition(part)),
            Rule::order => query.order = order(part),
            Rule::limit => query.limit = limit(part)?,
            _ => {}
        }
    }
    Ok(query)
}

/// Reads the name of a field alone.
pub fn parse_field(text: &str) -> Result<Field, Box<Diagnostic>> {
    let wrong = |span| {
        Box::new(Diagnostic::error("Q0101", span, "this is no field").help(
            "a field is a path, such as `plan.train.steps`, or a function of a measure, such as `last(maml.angle)`",
        ))
    };
    let whole = Span::new(0, text.len());
    let mut pairs = Grammar::parse(Rule::field, text).map_err(|_| wrong(whole))?;
    let pair = pairs.next().filter(|p| p.as_str().trim() == text.trim()).ok_or_else(|| wrong(whole))?;
    Ok(field(&pair))
}

fn span(pair: &Pair<Rule>) -> Span {
    Span::new(pair.as_span().start(), pair.as_span().end())
}

fn condition(pair: Pair<Rule>) -> Condition {
    let rule = pair.as_rule();
    let mut parts: Vec<Condition> = Vec::new();
    let mut negated = false;
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::not => negated = true,
            Rule::comparison => parts.push(Condition::Compare(comparison(part))),
            Rule::either | Rule::both | Rule::term => parts.push(condition(part)),
            _ => {}
        }
    }
    let whole = match parts.len() {
        1 => parts.remove(0),
        _ if rule == Rule::either => Condition::Any(parts),
        _ => Condition::All(parts),
    };
    if negated { Condition::Not(Box::new(whole)) } else { whole }
}

fn comparison(pair: Pair<Rule>) -> Comparison {
    let mut parts = pair.into_inner();
    let mut next = || parts.next().expect("the grammar gives a comparison its three parts");
    let (f, o, v) = (next(), next(), next());
    let operator = match o.as_str() {
        "=" => Operator::Equal,
        "!=" => Operator::Unequal,
        "<" => Operator::Below,
        "<=" => Operator::AtMost,
        ">" => Operator::Above,
        ">=" => Operator::AtLeast,
        _ => Operator::Contains,
    };
    Comparison {
        field: field(&f),
        operator,
        value_span: span(&v),
        written: v.as_str().trim_matches('"').to_owned(),
        value: value(v),
    }
}

fn value(pair: Pair<Rule>) -> Value {
    let inner = pair.into_inner().next().expect("the grammar gives a value its kind");
    match inner.as_rule() {
        Rule::number => inner.as_str().parse().map_or_else(|_| Value::Text(inner.as_str().to_owned()), Value::Number),
        Rule::text => Value::Text(inner.into_inner().as_str().to_owned()),
        _ => Value::Text(inner.as_str().to_owned()),
    }
}

fn field(pair: &Pair<Rule>) -> Field {
    // The blanks behind a path belong to what may follow it.
    let start = pair.as_span().start();
    let written = pair.as_str().trim_end();
    let span = Span::new(start, start + written.len());
    let text: String = written.chars().filter(|c| !c.is_whitespace()).collect();
    // As measures at points of an evaluation are called; nothing else has these signs.
    Field { text: text.replace(':', ": ").replace(',', ", "), span }
}

fn order(pair: Pair<Rule>) -> Option<Order> {
    let mut found = None;
    let mut descending = false;
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::field => found = Some(field(&part)),
            Rule::direction => descending = part.as_str().eq_ignore_ascii_case("desc"),
            _ => {}
        }
    }
    found.map(|field| Order { field, descending })
}

fn limit(pair: Pair<Rule>) -> Result<Option<usize>, Box<Diagnostic>> {
    let count = pair.into_inner().find(|p| p.as_rule() == Rule::count);
    count
        .map(|p| {
            let wrong = || Box::new(Diagnostic::error("Q0101", span(&p), "this limit is too large to count"));
            p.as_str().parse().map_err(|_| wrong())
        })
        .transpose()
}

/// The operators and words of other query languages, and what stands for them here.
const FOREIGN: &[(&str, &str)] =
    &[("==", "="), ("<>", "!="), ("&&", "and"), ("||", "or"), ("!", "not"), ("LIKE", "~"), ("IN", "or"), ("WHERE", "")];

fn unreadable(text: &str, error: &Error<Rule>) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) => at,
        InputLocation::Span((start, _)) => start,
    };
    let rest = &text[at..];
    let word_end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')')).filter(|&e| e > 0);
    let end = at + word_end.unwrap_or(rest.chars().next().map_or(0, char::len_utf8));
    let found = &text[at..end];
    let message =
        if found.is_empty() { "the query ends too early".to_owned() } else { format!("`{found}` cannot stand here") };
    let mut diagnostic = Diagnostic::error("Q0101", Span::new(at, end), message);
    // `==` is read as `=` and stops at the second sign.
    let started =
        text[..at].char_indices().rev().take_while(|(_, c)| "=<&|!".contains(*c)).last().map_or(at, |(i, _)| i);
    let written = text[started..end].trim_start_matches(|c: char| c.is_whitespace());
    if let Some((wrong, right)) = FOREIGN.iter().find(|(w, _)| {
        written.get(..w.len()).is_some_and(|s| s.eq_ignore_ascii_case(w))
            && (w.starts_with(|c: char| !c.is_alphabetic()) || written.len() == w.len())
    }) {
        let span = Span::new(started, started + wrong.len());
        let title = if right.is_empty() { format!("leave out `{wrong}`") } else { format!("write `{right}`") };
        return diagnostic.fix(span, *right, title);
    }
    if let ErrorVariant::ParsingError { positives, .. } = &error.variant {
        let mut words: Vec<&str> = positives.iter().filter_map(|r| word(*r)).collect();
        words.dedup();
        if !words.is_empty() {
            diagnostic = diagnostic.help(format!("expected {}", words.join(" or ")));
        }
    }
    diagnostic
}

/// What a rule is called in front of a person; `None` for rules that are parts of others.
fn word(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::query | Rule::either | Rule::both | Rule::term | Rule::comparison => "a comparison such as `status = ok`",
        Rule::operator => "one of `=`, `!=`, `<`, `<=`, `>`, `>=`, `~`",
        Rule::field | Rule::path | Rule::segment => "a field such as `experiment` or `last(loss)`",
        Rule::points | Rule::point => "a point such as `after: 10`",
        Rule::value | Rule::place | Rule::number | Rule::text | Rule::word | Rule::inner => {
            "a number, a word or a text in `\"`"
        }
        Rule::order | Rule::kw_order => "`order by`",
        Rule::kw_by => "`by`",
        Rule::direction | Rule::kw_asc | Rule::kw_desc => "`asc` or `desc`",
        Rule::limit | Rule::kw_limit => "`limit`",
        Rule::count => "a whole number",
        Rule::or => "`or`",
        Rule::and => "`and`",
        Rule::not => "`not`",
        Rule::EOI | Rule::WHITESPACE | Rule::keyword | Rule::end => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn or_binds_loosest_and_not_tightest() {
        let query = parse("a = 1 or not b > 2 and (c ~ x or d != \"y z\") order by last(m.n) desc limit 20").unwrap();
        let Some(Condition::Any(parts)) = &query.condition else { panic!("{query:?}") };
        assert!(matches!(&parts[0], Condition::Compare(c) if c.field.text == "a"));
        let Condition::All(both) = &parts[1] else { panic!("{query:?}") };
        assert!(matches!(&both[0], Condition::Not(_)));
        let Condition::Any(inner) = &both[1] else { panic!("{query:?}") };
        assert!(matches!(&inner[1], Condition::Compare(c) if c.value == Value::Text("y z".into())));
        assert_eq!(query.limit, Some(20));
        assert!(query.order.is_some_and(|o| o.descending && o.field.text == "last(m.n)"));
    }

    #[test]
    fn values_are_numbers_words_and_texts() {
        for (text, value) in [
            ("1e-2", Value::Number(1e-2)),
            ("-3", Value::Number(-3.0)),
            ("ok", Value::Text("ok".into())),
            ("2026-11-25", Value::Text("2026-11-25".into())),
            ("\"1\"", Value::Text("1".into())),
            ("4f1c9a", Value::Text("4f1c9a".into())),
        ] {
            let query = parse(&format!("a = {text}")).unwrap();
            assert!(matches!(query.condition, Some(Condition::Compare(c)) if c.value == value), "{text}");
        }
        assert_eq!(parse("").unwrap(), Query::default());
        assert_eq!(parse("limit 3").unwrap().limit, Some(3));
    }

    #[test]
    fn mistakes_have_a_place_and_a_remedy() {
        let of = |text: &str| {
            let d = parse(text).unwrap_err();
            (d.span.start, d.fix.map(|f| f.title).unwrap_or_default() + &d.help.join("; "))
        };
        assert_eq!(of("status == ok"), (8, "write `=`".to_owned()));
        assert_eq!(of("a = 1 && b = 2"), (6, "write `and`".to_owned()));
        assert_eq!(of("a = 1 || b = 2"), (6, "write `or`".to_owned()));
        assert!(of("a <").1.contains("a number"), "{:?}", of("a <"));
        assert!(of("a = 1 order last(x)").1.contains("`by`"), "{:?}", of("a = 1 order last(x)"));
        assert!(of("(a = 1").0 == 6 && of("limit x").1.contains("whole number"));
        for text in ["\u{0}", "é = 1", "a = \"", "((((", "a = 1 limit 99999999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
