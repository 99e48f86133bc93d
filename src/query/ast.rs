//! The tree of a query.

use crate::diag::Span;

/// A whole query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// Which runs; all of them where absent.
    pub condition: Option<Condition>,
    /// In which order; that of the log where absent.
    pub order: Option<Order>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// A condition on a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// One of them holds.
    Any(Vec<Condition>),
    /// Each of them holds.
    All(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A comparison.
    Compare(Comparison),
}

/// A field against a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The field.
    pub field: Field,
    /// The relation.
    pub operator: Operator,
    /// The value.
    pub value: Value,
    /// The value as it is written, without quotes.
    pub written: String,
    /// Where the value stands.
    pub value_span: Span,
}

/// A field of runs, such as `plan.train.steps` or `last(maml.angle)`, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The text without blanks.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// How a field is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`: there is a value, and none is equal.
    Unequal,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `~`: the text contains the value.
    Contains,
}

/// A value in a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A text, with or without quotes.
    Text(String),
}

/// An order of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// By which field; runs without it come last.
    pub field: Field,
    /// Whether from high to low.
    pub descending: bool,
}
