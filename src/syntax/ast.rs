//! The syntax tree. Every node keeps the span of its text.

use crate::diag::Span;

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    /// The identifier.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A whole `.meta` file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct File {
    /// The `//!` lines at the top, without the marks, joined by newlines.
    pub doc: String,
    /// `edition 2026`
    pub edition: Option<(u32, Span)>,
    /// `experiment NAME`
    pub name: Option<Name>,
    /// The `use` lines, in order.
    pub uses: Vec<Use>,
    /// Everything else, in the order of the text.
    pub items: Vec<Item>,
    /// How many of the items, from the first, come from other files.
    pub imported: usize,
}

/// `use "base.meta"` or `use "base.meta" b3:HASH`: the items of another file.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The path, from the folder of the file that it stands in.
    pub path: String,
    /// The place of the path.
    pub path_span: Span,
    /// The hash that the text of the file must have, in hexadecimal digits, and its place.
    pub frozen: Option<(String, Span)>,
}

/// A top-level item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its whole text.
    pub span: Span,
}

/// The kinds of top-level item.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// `dim NAME = EXPR`
    Dim {
        /// The dim.
        name: Name,
        /// Its size.
        value: Expr,
    },
    /// `let NAME = EXPR`
    Let {
        /// The constant.
        name: Name,
        /// Its value.
        value: Expr,
    },
    /// `data NAME = CALL`
    Data {
        /// The data set.
        name: Name,
        /// The reader, with its file.
        value: Expr,
    },
    /// `world { DECL* }`: drawn once per seed
    World {
        /// What is drawn.
        decls: Vec<Decl>,
    },
    /// `tasks NAME (from DATA)? { ... }`
    Tasks(Tasks),
    /// `model NAME(x: [d], ...) -> [..] { ... }`
    Model(Model),
    /// `fn NAME(x: [d], ...) -> [..] { ... }`: a model without parameters
    Function(Model),
    /// `layer NAME(x: [d], size, ...) -> [..] { ... }`
    Layer(Layer),
    /// `train { FIELD* }`, `stage NAME { FIELD* }` or `evaluate NAME { FIELD* }`
    Section(Section),
    /// `arm NAME { FIELD* }`: overrides of paths
    Arm {
        /// The arm.
        name: Name,
        /// The overrides, in order.
        fields: Vec<Field>,
    },
    /// `method NAME(PARAM, ...) { FIELD* }`: a bundle of settings under a name
    Method(Method),
    /// `measure NAME = EXPR (on NAME)? (every EXPR)?`
    Measure {
        /// The measurement.
        name: Name,
        /// What is measured.
        value: Expr,
        /// The `evaluate` block whose tasks it is taken on.
        on: Option<Name>,
        /// The number of steps from one value to the next.
        every: Option<Expr>,
    },
    /// `sweep PATH in EXPR` or `sweep [PATH, ...] in EXPR`
    Sweep {
        /// What is varied: `seed`, or the paths of overrides, which vary together.
        paths: Vec<Vec<Name>>,
        /// Its values: a range, a list, or a call that makes them.
        values: Expr,
    },
    /// `expect EXPR CMP EXPR`: a claim
    Expect {
        /// The value before the sign.
        left: Expr,
        /// The relation that must hold.
        cmp: Comparison,
        /// The value after the sign.
        right: Expr,
    },
}

/// A declared tensor: `name: [dims] = expr` or `name: [dims] ~ expr`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    /// The declared name.
    pub name: Name,
    /// The dims; `None` where they are left to inference (`let` in a model).
    pub dims: Option<Dims>,
    /// Whether it was written with `~`.
    pub drawn: bool,
    /// The value.
    pub value: Expr,
}

/// A list of dims in brackets.
#[derive(Debug, Clone, PartialEq)]
pub struct Dims {
    /// Each dim: the name of a `dim` item, or a positive number.
    pub dims: Vec<Expr>,
    /// Its place, brackets included.
    pub span: Span,
}

/// `tasks NAME (from DATA)? { stratum | episode | example | FIELD | DECL | risk }`
#[derive(Debug, Clone, PartialEq)]
pub struct Tasks {
    /// The family's name.
    pub name: Name,
    /// The data set that the tasks partition.
    pub from: Option<Name>,
    /// Drawn once per task.
    pub decls: Vec<Decl>,
    /// `stratum NAME(COUNT) { DECL* }`: kinds of task with laws of their own
    pub strata: Vec<Stratum>,
    /// `episode { DECL* }`: drawn each time the task is visited
    pub episode: Vec<Decl>,
    /// `example { DECL* }`: drawn once per example
    pub example: Vec<Decl>,
    /// `NAME = EXPR` without dims: `risk = ...`, `partition = ...`
    pub fields: Vec<Field>,
}

/// A kind of task within a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Stratum {
    /// Its name.
    pub name: Name,
    /// How many tasks of this kind a pool holds, and its weight among fresh tasks.
    pub count: Expr,
    /// Its own declarations.
    pub decls: Vec<Decl>,
}

/// `model NAME(x: [d]) -> [] { param | group | let | EXPR }`
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The model's name.
    pub name: Name,
    /// The inputs of one example.
    pub inputs: Vec<(Name, Dims)>,
    /// The dims of the prediction for one example.
    pub output: Dims,
    /// `from DATA`: the data set that holds initial values of parameters.
    pub from: Option<Name>,
    /// The parameters in order; `group` names the enclosing `group NAME { ... }`.
    pub params: Vec<Param>,
    /// `let NAME (: [dims])? = EXPR`, in order.
    pub lets: Vec<Decl>,
    /// The prediction; [`ExprKind::Error`] where it is missing.
    pub body: Expr,
}

/// `layer NAME(x: [d], size, stride: 1) -> [..] { .. }`: a part of models, with parameters of its own
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// What a call gives, in order: inputs, and settings with their values where a call gives none.
    pub takes: Vec<(Name, Option<Expr>)>,
    /// The layer as a model of its inputs.
    pub model: Model,
}

/// `param NAME: [dims] = EXPR`, or with `~`
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The enclosing group.
    pub group: Option<Name>,
    /// Name, dims and initial value.
    pub decl: Decl,
}

/// `method NAME(PARAM, PARAM: EXPR, ...) { FIELD* }`
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// The method's name.
    pub name: Name,
    /// Its parameters, each with its value where a call gives none.
    pub params: Vec<(Name, Option<Expr>)>,
    /// The settings that it stands for.
    pub fields: Vec<Field>,
}

/// A block of fields with a keyword.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// `train`, `stage` or `evaluate`.
    pub keyword: Name,
    /// The name after the keyword (`train` has none).
    pub name: Option<Name>,
    /// The fields.
    pub fields: Vec<Field>,
}

/// `path = EXPR`
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// `steps`, or in an override `train.adapt.rate`.
    pub path: Vec<Name>,
    /// The value.
    pub value: Expr,
}

impl Field {
    /// The place of the whole path.
    pub fn path_span(&self) -> Span {
        let first = self.path.first().map_or(self.value.span, |n| n.span);
        self.path.last().map_or(first, |n| first.to(n.span))
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `0.1`, `1e-3`, `500`, `1_000`
    Number(f64),
    /// `"text"`
    Text(String),
    /// `true`, `false`
    Bool(bool),
    /// `name` or `a.b.c` (no spaces around the dots)
    Path(Vec<Name>),
    /// `name(arg, key: value)`
    Call {
        /// What is called.
        callee: Name,
        /// The arguments, in order.
        args: Vec<Arg>,
    },
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{ key: value, ... }`
    Record(Vec<(Name, Expr)>),
    /// `lo..hi`, `hi` not included
    Range(Box<Expr>, Box<Expr>),
    /// `-x`
    Neg(Box<Expr>),
    /// `a + b` and so on
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `a[i, key: value, ...]`
    Index(Box<Expr>, Vec<Arg>),
    /// Text that could not be read; its diagnostic has been given.
    Error,
}

/// An argument of a call or an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    /// The key of `key: value`.
    pub key: Option<Name>,
    /// The value.
    pub value: Expr,
}

/// Binary operators, from the loosest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`, elementwise
    Mul,
    /// `a / b`, elementwise
    Div,
    /// `a @ b`: contracts the last dim of `a` with the first dim of `b`
    Contract,
    /// `a ^ n`
    Pow,
}

impl Operator {
    /// The sign a person writes.
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Sub => "-",
            Operator::Mul => "*",
            Operator::Div => "/",
            Operator::Contract => "@",
            Operator::Pow => "^",
        }
    }
}

/// The relation a claim states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

impl Comparison {
    /// The sign a person writes.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::AtMost => "<=",
            Comparison::Below => "<",
            Comparison::AtLeast => ">=",
            Comparison::Above => ">",
        }
    }
}

impl Expr {
    /// The one name that it is.
    pub fn single(&self) -> Option<&Name> {
        match &self.kind {
            ExprKind::Path(path) if path.len() == 1 => path.first(),
            _ => None,
        }
    }
}
