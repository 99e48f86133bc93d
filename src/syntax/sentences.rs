//! Texts made from the grammar at random: they reach every rule, none brings the parser down, and the formatter changes no more
//! than their blanks.

use std::collections::{BTreeMap, BTreeSet};

use pest::Parser;
use pest_meta::ast::{Expr, RuleType};
use pest_meta::parser::{Rule as Meta, consume_rules, parse as parse_grammar};

use super::format;
use super::parse::{Grammar, Rule, parse};
use crate::diag::{Sink, render};

const GRAMMAR: &str = include_str!("../../grammar/meta.pest");
/// How deep a rule may stand and still take what may be left out.
const FREE: usize = 24;
/// The bytes after which nothing is added that may be left out.
const LONG: usize = 300;

/// The rules by name.
type Rules = BTreeMap<String, (RuleType, Expr)>;

fn rules() -> Rules {
    let pairs = parse_grammar(Meta::grammar_rules, GRAMMAR).expect("the grammar is one");
    let rules = consume_rules(pairs).expect("the grammar is sound");
    rules.into_iter().map(|rule| (rule.name, (rule.ty, rule.expr))).collect()
}

/// The rules that give tokens: reached from `file`, and not from within an atomic rule alone.
fn expected(rules: &Rules) -> BTreeSet<&str> {
    let (mut seen, mut open) = (BTreeSet::new(), vec!["file"]);
    while let Some(name) = open.pop() {
        let Some((name, (ty, expr))) = rules.get_key_value(name) else { continue };
        if seen.insert(name.as_str()) && *ty != RuleType::Atomic {
            let mut inner = BTreeSet::new();
            names(expr, &mut inner);
            open.extend(inner.into_iter().filter_map(|n| rules.get_key_value(n.as_str())).map(|(n, _)| n.as_str()));
        }
    }
    seen.retain(|name| rules[*name].0 != RuleType::Silent);
    seen
}

/// The rules that an expression calls, outside of what it only looks at.
fn names(expr: &Expr, out: &mut BTreeSet<String>) {
    match expr {
        Expr::Ident(name) => drop(out.insert(name.clone())),
        Expr::Seq(a, b) | Expr::Choice(a, b) => {
            names(a, out);
            names(b, out);
        }
        Expr::Opt(e) | Expr::Rep(e) | Expr::RepOnce(e) => names(e, out),
        _ => {}
    }
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Writer<'a> {
    rules: &'a Rules,
    random: Random,
    out: String,
}

impl Writer<'_> {
    fn write(&mut self, expr: &Expr, depth: usize, blanks: bool) {
        let more = if depth < FREE && self.out.len() < LONG { 2 } else { 0 };
        match expr {
            Expr::Str(text) | Expr::Insens(text) => self.out.push_str(text),
            Expr::Ident(name) => self.rule(name, depth + 1, blanks),
            Expr::Seq(a, b) => {
                self.write(a, depth, blanks);
                if blanks && self.random.below(2) == 0 {
                    self.out.push(' ');
                }
                self.write(b, depth, blanks);
            }
            Expr::Choice(a, b) => {
                // Choices lean to the left: as many to the first of two as to the second.
                let first = self.random.below(2) == 0;
                self.write(if first { a } else { b }, depth, blanks);
            }
            Expr::Opt(e) => {
                if self.random.below(3) < more {
                    self.write(e, depth, blanks);
                }
            }
            Expr::Rep(e) | Expr::RepOnce(e) => {
                let least = u64::from(matches!(expr, Expr::RepOnce(_)));
                for _ in 0..least + self.random.below(1 + more) {
                    self.write(e, depth, blanks);
                }
            }
            // What is looked at is not part of the text; a choice against it makes another text, which is as good.
            Expr::PosPred(_) | Expr::NegPred(_) => {}
            other => unreachable!("the grammar has no {other:?}"),
        }
    }

    fn rule(&mut self, name: &str, depth: usize, blanks: bool) {
        const ANY: [&str; 12] = ["x", "θ", "7", ".", "=", "~", "-", "\\", "'", "%", "(", "]"];
        let pick = |random: &mut Random, from: &[&'static str]| from[random.below(from.len() as u64) as usize];
        let text = match name {
            "SOI" | "EOI" => "",
            "NEWLINE" => "\n",
            "ASCII_DIGIT" | "ASCII_HEX_DIGIT" => pick(&mut self.random, &["0", "2", "7"]),
            "ALPHABETIC" => pick(&mut self.random, &["a", "B", "w"]),
            "XID_CONTINUE" => pick(&mut self.random, &["a", "B", "7", "_"]),
            "ANY" => pick(&mut self.random, &ANY),
            _ => {
                let (ty, expr) = &self.rules[name];
                let blanks = match ty {
                    RuleType::Atomic | RuleType::CompoundAtomic => false,
                    RuleType::NonAtomic => true,
                    RuleType::Normal | RuleType::Silent => blanks,
                };
                return self.write(expr, depth, blanks);
            }
        };
        self.out.push_str(text);
    }
}

#[test]
fn sentences_of_the_grammar_reach_every_rule() {
    const SENTENCES: u64 = 3000;
    let rules = rules();
    let mut reached = BTreeSet::new();
    for n in 1..=SENTENCES {
        let mut writer =
            Writer { rules: &rules, random: Random(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)), out: String::new() };
        writer.rule("file", 0, true);
        let text = writer.out;
        if let Ok(pairs) = Grammar::parse(Rule::file, &text) {
            reached.extend(pairs.flatten().map(|pair| format!("{:?}", pair.as_rule())));
        }
        let mut sink = Sink::new();
        parse(&text, &mut sink);
        render(&text, "sentence.meta", &sink.finish(), false);
        let formatted = format(&text);
        assert_eq!(format(&formatted), formatted, "formatted twice: {text:?}");
        let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(without_blanks(&formatted), without_blanks(&text));
    }
    let expected = expected(&rules);
    let missing: Vec<_> = expected.iter().filter(|rule| !reached.contains(**rule)).collect();
    assert!(missing.is_empty() && expected.len() > 30, "no sentence reaches {missing:?}");
}
