//! Arguments that were checked against an entry's parameters.

use super::reader::{Column, Columns};
use super::schedule::Rate;
use super::weights::Weights;

/// A checked argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// A number within its range.
    Real(f64),
    /// A whole number within its range.
    Count(u64),
    /// One of the allowed words.
    Word(String),
    /// Names that exist: parameters of the model, strata, one family; or paths, which need not exist yet.
    Names(Vec<String>),
    /// `lo..hi`
    Range(u64, u64),
    /// `[lo..hi, n]`
    Ranges(Vec<(u64, u64)>),
    /// A truth value.
    Bool(bool),
    /// Text.
    Text(String),
    /// A step size.
    Rate(Rate),
    /// How much tasks of each stratum count.
    Weights(Weights),
}

/// The arguments of one call, one per parameter that was given or has an initial value.
///
/// The getters rely on the checker: an entry asks only for its own parameters, by the type it declared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Args(Vec<(&'static str, Arg)>);

impl Args {
    /// No arguments yet.
    pub fn new() -> Args {
        Args::default()
    }

    /// Adds the argument of a parameter.
    pub fn set(&mut self, name: &'static str, arg: Arg) {
        self.0.push((name, arg));
    }

    /// The argument of a parameter, if there is one.
    pub fn get(&self, name: &str) -> Option<&Arg> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, arg)| arg)
    }

    /// A real number.
    pub fn real(&self, name: &str) -> f64 {
        match self.get(name) {
            Some(Arg::Real(x)) => *x,
            other => unreachable!("`{name}` was checked to be a real number, not {other:?}"),
        }
    }

    /// A step size.
    pub fn rate(&self, name: &str) -> &Rate {
        match self.get(name) {
            Some(Arg::Rate(rate)) => rate,
            other => unreachable!("`{name}` was checked to be a step size, not {other:?}"),
        }
    }

    /// A whole number, if given.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name).map(|arg| match arg {
            Arg::Count(n) => *n,
            other => unreachable!("`{name}` was checked to be a count, not {other:?}"),
        })
    }

    /// A word.
    pub fn word(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Arg::Word(w)) => w,
            other => unreachable!("`{name}` was checked to be a word, not {other:?}"),
        }
    }

    /// How much tasks count: a word, or weights of strata.
    pub fn weights(&self, name: &str) -> Weights {
        match self.get(name) {
            Some(Arg::Weights(weights)) => weights.clone(),
            Some(Arg::Word(word)) => Weights::from_word(word),
            other => unreachable!("`{name}` was checked to be weights, not {other:?}"),
        }
    }

    /// Names; none where not given.
    pub fn names(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Arg::Names(names)) => names.clone(),
            None => vec![],
            other => unreachable!("`{name}` was checked to be names, not {other:?}"),
        }
    }

    /// A range.
    pub fn range(&self, name: &str) -> (u64, u64) {
        match self.get(name) {
            Some(Arg::Range(lo, hi)) => (*lo, *hi),
            other => unreachable!("`{name}` was checked to be a range, not {other:?}"),
        }
    }

    /// A column of a table, if given.
    pub fn column(&self, name: &str) -> Option<Column> {
        self.get(name).map(|arg| match arg {
            Arg::Count(number) => Column::At { number: *number },
            Arg::Text(name) => Column::Named { name: name.clone() },
            other => unreachable!("`{name}` was checked to be a column, not {other:?}"),
        })
    }

    /// Columns of a table.
    pub fn columns(&self, name: &str) -> Columns {
        match self.get(name) {
            Some(Arg::Range(first, end)) => Columns::Range { first: *first, end: *end },
            Some(Arg::Names(names)) => Columns::Named { names: names.clone() },
            other => unreachable!("`{name}` was checked to be columns, not {other:?}"),
        }
    }

    /// One or more ranges.
    pub fn ranges(&self, name: &str) -> Vec<(u64, u64)> {
        match self.get(name) {
            Some(Arg::Ranges(ranges)) => ranges.clone(),
            other => unreachable!("`{name}` was checked to be ranges, not {other:?}"),
        }
    }

    /// A truth value.
    pub fn bool(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Arg::Bool(b)) => *b,
            other => unreachable!("`{name}` was checked to be a truth value, not {other:?}"),
        }
    }

    /// Text.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Arg::Text(t)) => t,
            other => unreachable!("`{name}` was checked to be text, not {other:?}"),
        }
    }
}
