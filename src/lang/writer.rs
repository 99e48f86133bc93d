//! Tensor expressions: names and dims are checked, then the expression becomes nodes of a program.

use indexmap::IndexMap;

use super::calls::assign;
use super::constant::Constants;
use super::dims::{Dim, Types, describe, read_dims, same, sizes};
use super::function::Callable;
use crate::catalog::{self, Kind, Law, TensorFunction};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Binary, Builder, Function, NodeId};
use crate::plan::{Draw, Dropout, Sampler};
use crate::syntax::ast::{Arg, Decl, Expr, ExprKind, Name, Operator};

/// A node and its type.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub node: NodeId,
    pub dims: Vec<Dim>,
}

/// Finds a value that the model names by `let`, as a function of what is outside, or says why it cannot be read.
pub(super) type Inside<'a> = &'a dyn Fn(&Name) -> Option<Result<Callable, Box<Diagnostic>>>;

/// A program being written from expressions.
pub(super) struct Writer<'a> {
    pub b: Builder,
    pub(super) constants: &'a Constants,
    /// Values from outside, which become inputs when first named.
    known: &'a Types,
    /// Those that were named.
    inputs: IndexMap<String, Typed>,
    /// Values declared so far; `None` after a mistake, which has been reported.
    local: IndexMap<String, Option<Typed>>,
    pub(super) draws: Vec<Draw>,
    /// The declaration being written, whose type a law draws.
    pub(super) declared: Option<(String, Vec<Dim>)>,
    /// Why nothing can be drawn here, where that is so.
    pub(super) no_draws: Option<&'static str>,
    /// The model, where it can be called.
    model: Option<&'a Callable>,
    /// Finds the values inside the model, where they can be read.
    inside: Option<Inside<'a>>,
    /// How often the model was called.
    pub(super) calls: usize,
    /// The masks so far; none where nothing can be dropped.
    pub(super) masks: Option<Vec<Dropout>>,
    /// The value being written, after which masks are named.
    pub(super) naming: Option<String>,
}

impl<'a> Writer<'a> {
    /// A program that may use `known` values; laws are refused with the reason, if there is one.
    pub fn new(constants: &'a Constants, known: &'a Types, no_draws: Option<&'static str>) -> Self {
        Writer {
            b: Builder::new(),
            constants,
            known,
            inputs: IndexMap::new(),
            local: IndexMap::new(),
            draws: vec![],
            declared: None,
            no_draws,
            model: None,
            inside: None,
            calls: 0,
            masks: None,
            naming: None,
        }
    }

    /// The same for a prediction, in which values can be dropped.
    pub fn masking(self) -> Self {
        Writer { masks: Some(vec![]), ..self }
    }

    /// The same, where the model can be called; its parameters are among the known values.
    pub fn calling(self, model: &'a Callable) -> Self {
        Writer { model: Some(model), ..self }
    }

    /// The same, where values inside the model can be read.
    pub fn reading(self, inside: Inside<'a>) -> Self {
        Writer { inside: Some(inside), ..self }
    }

    /// Writes a declaration; its name is known from then on. Its declared type even where the value is wrong.
    pub fn declare(&mut self, decl: &Decl, sink: &mut Sink) -> Option<Vec<Dim>> {
        let value = self.declared_value(decl, sink);
        let dims = value.as_ref().map(|v| v.dims.clone());
        self.local.insert(decl.name.text.clone(), value);
        dims
    }

    fn declared_value(&mut self, decl: &Decl, sink: &mut Sink) -> Option<Typed> {
        let dims = match &decl.dims {
            Some(dims) => match read_dims(dims, self.constants, sink) {
                Some(dims) => Some(dims),
                None => {
                    self.check_names(&decl.value, sink);
                    return None;
                }
            },
            None => None,
        };
        let drawn_before = self.draws.len();
        self.naming = Some(decl.name.text.clone());
        self.declared = dims.clone().map(|dims| (decl.name.text.clone(), dims));
        let value = self.expr(&decl.value, sink).and_then(|value| match &dims {
            Some(dims) => self.fit(value, dims, decl, sink),
            None => Some(value),
        });
        (self.declared, self.naming) = (None, None);
        if decl.drawn && value.is_some() && self.draws.len() == drawn_before {
            sink.push(
                Diagnostic::error(
                    "E0210",
                    decl.value.span,
                    format!("`~` draws `{}`, but nothing here is random", decl.name.text),
                )
                .help("write `=` for a value that is computed, or name a law such as `normal`"),
            );
        }
        // After a mistake its users still see the declared type, so that it is reported once.
        value.or_else(|| dims.map(|dims| Typed { node: self.b.full(0.0, &sizes(&dims)), dims }))
    }

    /// A declared value must have the declared type; a scalar fills it.
    fn fit(&mut self, value: Typed, dims: &[Dim], decl: &Decl, sink: &mut Sink) -> Option<Typed> {
        if value.dims.is_empty() {
            return Some(Typed { node: self.b.expand(value.node, &sizes(dims)), dims: dims.to_vec() });
        }
        if !same(&value.dims, dims) {
            let declared = decl.dims.as_ref().map_or(decl.name.span, |d| d.span);
            sink.push(
                Diagnostic::error(
                    "E0301",
                    decl.value.span,
                    format!("the value of `{}` does not have its declared dims", decl.name.text),
                )
                .label(format!("this is {}", describe(&value.dims)))
                .related(declared, format!("declared {}", describe(dims))),
            );
            return None;
        }
        Some(Typed { node: value.node, dims: dims.to_vec() })
    }

    /// Reports the unknown names of an expression whose type cannot be known.
    fn check_names(&self, expr: &Expr, sink: &mut Sink) {
        match &expr.kind {
            ExprKind::Path(path) => {
                if let [name] = path.as_slice()
                    && !self.is_value(&name.text)
                    && !self.constants.defines(&name.text)
                    && Law::find(&name.text).is_none()
                {
                    sink.push(self.unknown(name));
                }
            }
            ExprKind::Neg(x) => self.check_names(x, sink),
            ExprKind::Binary(_, a, b) => {
                self.check_names(a, sink);
                self.check_names(b, sink);
            }
            ExprKind::Call { callee, args } => {
                let entry = [Kind::Law, Kind::Function].iter().find_map(|&kind| catalog::find(kind, &callee.text));
                let known = entry.is_some();
                if !known && !self.constants.functions.contains_key(&callee.text) {
                    sink.push(self.constants.no_function(callee));
                }
                args.iter().for_each(|arg| self.check_names(&arg.value, sink));
            }
            _ => {}
        }
    }

    /// The sampler whose outputs are all declared values, in order.
    pub fn into_sampler(self, name: &str) -> Sampler {
        let outputs = self.local.into_iter().filter_map(|(name, value)| Some((name, value?.node))).collect();
        Sampler { draws: self.draws, function: self.b.finish(name, outputs) }
    }

    /// The program with these outputs.
    pub fn into_function(self, name: &str, outputs: Vec<(String, NodeId)>) -> Function {
        self.b.finish(name, outputs)
    }

    /// Writes an expression; `None` after a mistake, which has been reported.
    pub fn expr(&mut self, expr: &Expr, sink: &mut Sink) -> Option<Typed> {
        if !self.mentions_values(expr) && self.constants.try_number(expr).is_some() {
            let number = self.constants.number(expr, sink)?;
            return Some(Typed { node: self.b.constant(number), dims: vec![] });
        }
        match &expr.kind {
            ExprKind::Path(path) => self.path(path, expr.span, sink),
            ExprKind::Neg(x) => {
                let x = self.expr(x, sink)?;
                Some(Typed { node: self.b.neg(x.node), dims: x.dims })
            }
            ExprKind::Binary(Operator::Contract, a, b) => {
                let (left, right) = self.both(a, b, sink)?;
                self.contract((left, a.span), (right, b.span), expr.span, sink)
            }
            ExprKind::Binary(Operator::Pow, base, exponent) => self.power(base, exponent, sink),
            ExprKind::Binary(operator, a, b) => {
                let (left, right) = self.both(a, b, sink)?;
                let f = match operator {
                    Operator::Add => Binary::Add,
                    Operator::Sub => Binary::Sub,
                    Operator::Mul => Binary::Mul,
                    _ => Binary::Div,
                };
                let (left, right) = self.align((left, a.span), (right, b.span), operator.symbol(), expr.span, sink)?;
                Some(Typed { node: self.b.binary(f, left.node, right.node), dims: left.dims })
            }
            ExprKind::Call { callee, args } => self.call(callee, args, expr.span, sink),
            ExprKind::Number(_) | ExprKind::Error => None,
            ExprKind::Index(base, index) => self.index(base, index, expr.span, sink),
            ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::List(_) | ExprKind::Record(_) | ExprKind::Range(..) => {
                sink.push(
                    Diagnostic::error("E0305", expr.span, "a tensor is wanted here")
                        .help("tensors are names, numbers, calls and arithmetic on them"),
                );
                None
            }
        }
    }

    fn both(&mut self, a: &Expr, b: &Expr, sink: &mut Sink) -> Option<(Typed, Typed)> {
        let (a, b) = (self.expr(a, sink), self.expr(b, sink));
        Some((a?, b?))
    }

    /// Whether a name in the expression is a value and not a constant.
    fn mentions_values(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Path(path) => path.iter().any(|n| self.is_value(&n.text)),
            ExprKind::Neg(x) => self.mentions_values(x),
            ExprKind::Binary(_, a, b) => self.mentions_values(a) || self.mentions_values(b),
            ExprKind::Call { args, .. } => args.iter().any(|a| self.mentions_values(&a.value)),
            _ => false,
        }
    }

    fn is_value(&self, name: &str) -> bool {
        self.local.contains_key(name) || self.known.contains_key(name)
    }

    fn path(&mut self, path: &[Name], span: Span, sink: &mut Sink) -> Option<Typed> {
        let [name] = path else {
            let parts: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
            // A parameter of a layer.
            if self.known.contains_key(&parts.join(".")) {
                return self.outside(&parts.join("."));
            }
            sink.push(
                Diagnostic::error("E0204", span, format!("`{}` names no tensor", parts.join(".")))
                    .help("a dot joins the parts of one name; the contraction of two tensors is written `@`")
                    .fix(span, parts.join(" @ "), "contract the last dim of each with the first dim of the next"),
            );
            return None;
        };
        if let Some(value) = self.local.get(&name.text) {
            return value.clone();
        }
        if self.known.contains_key(&name.text) {
            return self.outside(&name.text);
        }
        if self.constants.defines(&name.text) {
            // A constant whose own value is wrong, which has been reported.
            return None;
        }
        if Law::find(&name.text).is_some() {
            return self.draw(name, &[], span, sink);
        }
        match self.inside.and_then(|inside| inside(name)) {
            Some(Ok(value)) => return self.apply(&value, &[], span, sink),
            Some(Err(refusal)) => sink.push(*refusal),
            None => sink.push(self.unknown(name)),
        }
        None
    }

    /// A value from outside, as an input of the program.
    pub(super) fn outside(&mut self, name: &str) -> Option<Typed> {
        if let Some(value) = self.inputs.get(name) {
            return Some(value.clone());
        }
        let dims = self.known.get(name)?.clone()?;
        let value = Typed { node: self.b.input(name, &sizes(&dims)), dims };
        self.inputs.insert(name.to_owned(), value.clone());
        Some(value)
    }

    /// A mask, as an input of the program.
    pub(super) fn mask(&mut self, name: String, dims: Vec<Dim>) -> Typed {
        let value = Typed { node: self.b.input(name.clone(), &sizes(&dims)), dims };
        self.inputs.insert(name, value.clone());
        value
    }

    fn unknown(&self, name: &Name) -> Diagnostic {
        let constants = self.constants;
        let error = Diagnostic::error("E0203", name.span, format!("nothing here is called `{}`", name.text));
        if name.text == "index" {
            return error.help("`index` counts the tasks of a stratum from 0, and is known where a task is drawn: not in episodes, examples or the model");
        }
        if catalog::find(Kind::Function, &name.text).is_some() {
            return error.help(format!("`{0}` is a function: write `{0}(x)`", name.text));
        }
        if catalog::find(Kind::Loss, &name.text).is_some() {
            return error.help(format!(
                "`{}` is a loss by itself; within an expression its formula stands, such as `(net(x) - y) ^ 2`",
                name.text
            ));
        }
        let values = self.local.keys().chain(self.known.keys());
        let numbers = constants.numbers.keys().chain(constants.dims.keys());
        let laws = catalog::of_kind(Kind::Law).map(|e| e.name).filter(|_| self.no_draws.is_none());
        constants.elsewhere(error, name, values.chain(numbers).map(String::as_str).chain(laws))
    }

    fn call(&mut self, callee: &Name, args: &[Arg], span: Span, sink: &mut Sink) -> Option<Typed> {
        if Law::find(&callee.text).is_some() {
            return self.draw(callee, args, span, sink);
        }
        let constants = self.constants;
        let model = self.model.filter(|model| model.name == callee.text);
        match (model, constants.functions.get(&callee.text)) {
            (Some(model), _) => return self.apply(model, args, span, sink),
            (None, Some(function)) => return self.apply(function.as_ref()?, args, span, sink),
            (None, None) => {}
        }
        let Some(entry) = catalog::find(Kind::Function, &callee.text) else {
            sink.push(if self.is_value(&callee.text) {
                Diagnostic::error("E0205", callee.span, format!("`{}` is a tensor and cannot be called", callee.text))
                    .help("a contraction is written `A @ x`, an elementwise product `a * b`")
            } else {
                constants.no_function(callee)
            });
            return None;
        };
        let Some(function) = TensorFunction::find(&callee.text) else {
            return self.operator(entry, args, span, sink);
        };
        let argument = assign(entry, args, span, sink)?.into_iter().flatten().next()?;
        let x = self.expr(argument, sink)?;
        let least = function.least_rank();
        if x.dims.len() < least {
            let does = if least == 1 { "normalises over the last dim" } else { "swaps the last two dims" };
            let few = if x.dims.is_empty() { "a scalar has none" } else { "this has one" };
            sink.push(
                Diagnostic::error("E0314", argument.span, format!("`{}` {does}, and {few}", callee.text))
                    .label(format!("this is {}", describe(&x.dims))),
            );
            return None;
        }
        let node = function.lower(&mut self.b, x.node);
        let dims = match function {
            TensorFunction::Elementwise(_) | TensorFunction::Softmax => x.dims,
            TensorFunction::Transpose => {
                let mut dims = x.dims;
                let last = dims.len() - 1;
                dims.swap(last - 1, last);
                dims
            }
        };
        Some(Typed { node, dims })
    }
}
