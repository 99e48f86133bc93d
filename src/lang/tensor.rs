//! Tensor expressions: names and dims are checked, then the expression becomes nodes of a program.
//!
//! Dims have names. Names are compared before sizes, so `k` where `h` is meant is found even when both are 3. An
//! unnamed dim (a literal size, a data column) fits any dim of its size.

use std::fmt;

use indexmap::IndexMap;

use super::constant::Constants;
use crate::catalog::{self, Kind, Law, TensorFunction};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Binary, Builder, Function, MAX_ELEMENTS, NodeId, Unary};
use crate::plan::{Draw, Sampler, Slot};
use crate::syntax::ast::{Arg, Decl, Dims, Expr, ExprKind, Name, Operator};

/// One dim of a tensor type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dim {
    pub name: Option<String>,
    pub size: usize,
}

impl Dim {
    /// Whether both can be the same dim.
    fn fits(&self, other: &Dim) -> bool {
        self.size == other.size && (self.name.is_none() || other.name.is_none() || self.name == other.name)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "{}", self.size),
        }
    }
}

/// `[d, k]`
pub(super) fn show(dims: &[Dim]) -> String {
    format!("[{}]", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", "))
}

/// The sizes alone.
pub(super) fn sizes(dims: &[Dim]) -> Vec<usize> {
    dims.iter().map(|d| d.size).collect()
}

/// Whether two tensor types agree, dim by dim.
pub(super) fn same(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.fits(b))
}

/// Reads `[d, k]`.
pub(super) fn read_dims(dims: &Dims, constants: &Constants, sink: &mut Sink) -> Option<Vec<Dim>> {
    let read = |expr: &Expr, sink: &mut Sink| match &expr.kind {
        ExprKind::Path(path) if path.len() == 1 => match constants.dims.get(&path[0].text) {
            Some(&size) => Some(Dim { name: Some(path[0].text.clone()), size }),
            None => {
                let name = &path[0];
                let known = constants.dims.keys().map(String::as_str);
                sink.push(
                    Diagnostic::error("E0202", name.span, format!("no dim is called `{}`", name.text))
                        .suggest(name.span, &name.text, known)
                        .help(format!("a dim is declared at the top: `dim {} = 10`", name.text)),
                );
                None
            }
        },
        _ => constants.count(expr, 1, "a dim", sink).map(|size| Dim { name: None, size: size as usize }),
    };
    let found: Vec<Option<Dim>> = dims.dims.iter().map(|e| read(e, sink)).collect();
    let found: Vec<Dim> = found.into_iter().collect::<Option<_>>()?;
    let elements = found.iter().try_fold(1usize, |n, d| n.checked_mul(d.size));
    if elements.is_none_or(|n| n > MAX_ELEMENTS) {
        sink.push(Diagnostic::error("E0304", dims.span, format!("a tensor {} is too large", show(&found))).help("the limit is 2^31 entries"));
        return None;
    }
    Some(found)
}

/// A node and its type.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub node: NodeId,
    pub dims: Vec<Dim>,
}

/// A program being written from expressions.
pub(super) struct Writer<'a> {
    pub b: Builder,
    constants: &'a Constants,
    /// Values from outside, which become inputs when first named.
    known: &'a IndexMap<String, Vec<Dim>>,
    local: IndexMap<String, Typed>,
    draws: Vec<Draw>,
    /// The declaration being written, whose type a law draws.
    declared: Option<(String, Vec<Dim>)>,
    /// Why nothing can be drawn here, where that is so.
    no_draws: Option<&'static str>,
}

impl<'a> Writer<'a> {
    /// A program that may use `known` values; laws are refused with the reason, if there is one.
    pub fn new(constants: &'a Constants, known: &'a IndexMap<String, Vec<Dim>>, no_draws: Option<&'static str>) -> Self {
        Writer { b: Builder::new(), constants, known, local: IndexMap::new(), draws: vec![], declared: None, no_draws }
    }

    /// Writes a declaration; its name is known from then on. Its declared type where the value is wrong.
    pub fn declare(&mut self, decl: &Decl, sink: &mut Sink) -> Option<Vec<Dim>> {
        let dims = match &decl.dims {
            Some(dims) => Some(read_dims(dims, self.constants, sink)?),
            None => None,
        };
        let drawn_before = self.draws.len();
        self.declared = dims.clone().map(|dims| (decl.name.text.clone(), dims));
        let value = self.expr(&decl.value, sink).and_then(|value| match &dims {
            Some(dims) => self.fit(value, dims, decl, sink),
            None => Some(value),
        });
        self.declared = None;
        if decl.drawn && value.is_some() && self.draws.len() == drawn_before {
            sink.push(
                Diagnostic::error("E0210", decl.value.span, format!("`~` draws `{}`, but nothing here is random", decl.name.text))
                    .help("write `=` for a value that is computed, or name a law such as `normal`"),
            );
        }
        let value = match (value, dims) {
            (Some(value), _) => value,
            // Its users see the declared type, so that one mistake is reported once.
            (None, Some(dims)) => Typed { node: self.b.full(0.0, &sizes(&dims)), dims },
            (None, None) => return None,
        };
        self.local.insert(decl.name.text.clone(), value.clone());
        Some(value.dims)
    }

    /// A declared value must have the declared type; a scalar fills it.
    fn fit(&mut self, value: Typed, dims: &[Dim], decl: &Decl, sink: &mut Sink) -> Option<Typed> {
        if value.dims.is_empty() {
            return Some(Typed { node: self.b.expand(value.node, &sizes(dims)), dims: dims.to_vec() });
        }
        if !same(&value.dims, dims) {
            let declared = decl.dims.as_ref().map_or(decl.name.span, |d| d.span);
            sink.push(
                Diagnostic::error("E0301", decl.value.span, format!("`{}` is declared {} but its value is {}", decl.name.text, show(dims), show(&value.dims)))
                    .label(format!("this is {}", show(&value.dims)))
                    .related(declared, "declared here"),
            );
            return None;
        }
        Some(Typed { node: value.node, dims: dims.to_vec() })
    }

    /// The sampler whose outputs are the named local values.
    pub fn into_sampler(self, name: &str, outputs: &[String]) -> Sampler {
        let outputs = outputs.iter().map(|o| (o.clone(), self.local[o].node)).collect();
        Sampler { draws: self.draws, function: self.b.finish(name, outputs) }
    }

    /// The program with these outputs.
    pub fn into_function(self, name: &str, outputs: Vec<(String, NodeId)>) -> Function {
        self.b.finish(name, outputs)
    }

    /// Writes an expression; `None` after a mistake, which has been reported.
    pub fn expr(&mut self, expr: &Expr, sink: &mut Sink) -> Option<Typed> {
        if !self.mentions_values(expr)
            && let Some(number) = self.constants.try_number(expr)
        {
            let number = if number.is_finite() { number } else { self.constants.number(expr, sink)? };
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
                self.contract(left, right, a.span, b.span, expr.span, sink)
            }
            ExprKind::Binary(Operator::Pow, base, exponent) => {
                let base = self.expr(base, sink);
                let exponent = self.constants.number(exponent, sink)?;
                Some(self.power(base?, exponent))
            }
            ExprKind::Binary(operator, a, b) => {
                let (left, right) = self.both(a, b, sink)?;
                let f = match operator {
                    Operator::Add => Binary::Add,
                    Operator::Sub => Binary::Sub,
                    Operator::Mul => Binary::Mul,
                    _ => Binary::Div,
                };
                let (left, right) = self.align(left, right, operator.symbol(), expr.span, sink)?;
                Some(Typed { node: self.b.binary(f, left.node, right.node), dims: left.dims })
            }
            ExprKind::Call { callee, args } => self.call(callee, args, expr.span, sink),
            ExprKind::Number(_) | ExprKind::Error => None,
            ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::List(_) | ExprKind::Record(_) | ExprKind::Range(..) | ExprKind::Index(..) => {
                sink.push(Diagnostic::error("E0305", expr.span, "a tensor is wanted here").help("tensors are names, numbers, calls and arithmetic on them"));
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
            ExprKind::Path(path) => path.iter().any(|n| self.local.contains_key(&n.text) || self.known.contains_key(&n.text)),
            ExprKind::Neg(x) => self.mentions_values(x),
            ExprKind::Binary(_, a, b) => self.mentions_values(a) || self.mentions_values(b),
            ExprKind::Call { args, .. } => args.iter().any(|a| self.mentions_values(&a.value)),
            _ => false,
        }
    }

    fn path(&mut self, path: &[Name], span: Span, sink: &mut Sink) -> Option<Typed> {
        let [name] = path else {
            let parts: Vec<&str> = path.iter().map(|n| n.text.as_str()).collect();
            sink.push(
                Diagnostic::error("E0204", span, format!("`{}` names no tensor", parts.join(".")))
                    .fix(span, parts.join(" @ "), "for a contraction, write `@`"),
            );
            return None;
        };
        if let Some(value) = self.local.get(&name.text) {
            return Some(value.clone());
        }
        if let Some(dims) = self.known.get(&name.text) {
            let node = self.b.input(name.text.clone(), &sizes(dims));
            let value = Typed { node, dims: dims.clone() };
            self.local.insert(name.text.clone(), value.clone());
            return Some(value);
        }
        if Law::find(&name.text).is_some() {
            return self.draw(name, &[], span, sink);
        }
        let constants = self.constants;
        let known = self.local.keys().chain(self.known.keys()).chain(constants.numbers.keys()).chain(constants.dims.keys());
        let laws = catalog::of_kind(Kind::Law).map(|e| e.name).filter(|_| self.declared.is_some());
        let known: Vec<&str> = known.map(String::as_str).chain(laws).collect();
        sink.push(Diagnostic::error("E0203", name.span, format!("nothing here is called `{}`", name.text)).suggest(name.span, &name.text, known));
        None
    }

    fn contract(&mut self, a: Typed, b: Typed, a_span: Span, b_span: Span, span: Span, sink: &mut Sink) -> Option<Typed> {
        let (Some(last), Some(first)) = (a.dims.last(), b.dims.first()) else {
            sink.push(
                Diagnostic::error("E0302", span, format!("`@` contracts {} with {}, but a scalar has no dim to contract", show(&a.dims), show(&b.dims)))
                    .help("use `*` to multiply by a scalar"),
            );
            return None;
        };
        if !last.fits(first) {
            sink.push(
                Diagnostic::error("E0302", span, format!("`@` contracts the last dim of {} with the first dim of {}: `{last}` is not `{first}`", show(&a.dims), show(&b.dims)))
                    .related(a_span, format!("this is {}", show(&a.dims)))
                    .related(b_span, format!("this is {}", show(&b.dims))),
            );
            return None;
        }
        let k = last.size;
        let dims: Vec<Dim> = [&a.dims[..a.dims.len() - 1], &b.dims[1..]].concat();
        let rows: usize = a.dims[..a.dims.len() - 1].iter().map(|d| d.size).product();
        let columns: usize = b.dims[1..].iter().map(|d| d.size).product();
        let left = self.b.reshape(a.node, &[rows, k]);
        let right = self.b.reshape(b.node, &[k, columns]);
        let product = self.b.matmul(left, right, false, false);
        Some(Typed { node: self.b.reshape(product, &sizes(&dims)), dims })
    }

    fn power(&mut self, base: Typed, exponent: f64) -> Typed {
        let dims = sizes(&base.dims);
        let node = if exponent == 0.5 {
            self.b.unary(Unary::Sqrt, base.node)
        } else if exponent.fract() == 0.0 && exponent.abs() <= 64.0 {
            let one = self.b.full(1.0, &dims);
            let power = (0..exponent.abs() as u32).fold(one, |power, _| self.b.mul(power, base.node));
            if exponent < 0.0 { self.b.div(one, power) } else { power }
        } else {
            let log = self.b.unary(Unary::Ln, base.node);
            let scaled = self.b.scale(log, exponent);
            self.b.unary(Unary::Exp, scaled)
        };
        Typed { node, dims: base.dims }
    }

    /// Brings two operands to one shape: equal, or one repeated along the dims it lacks.
    fn align(&mut self, a: Typed, b: Typed, what: &str, span: Span, sink: &mut Sink) -> Option<(Typed, Typed)> {
        if same(&a.dims, &b.dims) {
            let dims = a.dims.iter().zip(&b.dims).map(|(a, b)| if a.name.is_some() { a.clone() } else { b.clone() }).collect::<Vec<_>>();
            return Some((Typed { node: a.node, dims: dims.clone() }, Typed { node: b.node, dims }));
        }
        let a_is_wide = a.dims.len() >= b.dims.len();
        let (wide, narrow) = if a_is_wide { (&a, &b) } else { (&b, &a) };
        match places(&wide.dims, &narrow.dims).as_slice() {
            [place] => {
                let dims = wide.dims.clone();
                let mut node = narrow.node;
                for (axis, dim) in dims.iter().enumerate() {
                    if !place.contains(&axis) {
                        node = self.b.broadcast(node, axis, dim.size);
                    }
                }
                let filled = Typed { node, dims };
                Some(if a_is_wide { (a, filled) } else { (filled, b) })
            }
            [] => {
                sink.push(
                    Diagnostic::error("E0303", span, format!("`{what}` combines {} and {}, whose dims differ", show(&a.dims), show(&b.dims)))
                        .help("dims must agree by name; a tensor that lacks some of the other's dims is repeated along them"),
                );
                None
            }
            _ => {
                sink.push(
                    Diagnostic::error("E0303", span, format!("`{what}` combines {} and {}: it is not clear which dim is which", show(&a.dims), show(&b.dims)))
                        .help("give the dims different names, even where their sizes are equal"),
                );
                None
            }
        }
    }

    fn call(&mut self, callee: &Name, args: &[Arg], span: Span, sink: &mut Sink) -> Option<Typed> {
        if Law::find(&callee.text).is_some() {
            return self.draw(callee, args, span, sink);
        }
        let Some(function) = TensorFunction::find(&callee.text) else {
            let known = catalog::of_kind(Kind::Function).map(|e| e.name);
            sink.push(Diagnostic::error("E0205", callee.span, format!("no function is called `{}`", callee.text)).suggest(callee.span, &callee.text, known));
            return None;
        };
        let [Arg { key: None, value }] = args else {
            sink.push(Diagnostic::error("E0404", span, format!("`{}` takes one tensor", callee.text)));
            return None;
        };
        let x = self.expr(value, sink)?;
        if function == TensorFunction::Softmax && x.dims.is_empty() {
            sink.push(Diagnostic::error("E0305", value.span, "`softmax` normalises over the last dim, and a scalar has none"));
            return None;
        }
        let node = function.lower(&mut self.b, x.node);
        let dims = match function {
            TensorFunction::Elementwise(_) | TensorFunction::Softmax => x.dims,
            TensorFunction::Sum | TensorFunction::Mean => vec![],
        };
        Some(Typed { node, dims })
    }

    /// A law draws a tensor of the type of the declaration it stands in.
    fn draw(&mut self, law: &Name, args: &[Arg], span: Span, sink: &mut Sink) -> Option<Typed> {
        if let Some(reason) = self.no_draws {
            sink.push(Diagnostic::error("E0206", span, format!("`{}` is random, and {reason}", law.text)));
            return None;
        }
        let Some((name, dims)) = self.declared.clone() else {
            sink.push(
                Diagnostic::error("E0206", span, format!("`{}` draws a tensor, and its dims are not known here", law.text))
                    .help("declare the value with its dims: `noise: [d] ~ normal`"),
            );
            return None;
        };
        let (base, map) = Law::find(&law.text)?;
        if let Some(reason) = base.refuses(&sizes(&dims)) {
            sink.push(Diagnostic::error("E0306", span, format!("`{}` cannot draw `{name}`: {reason}", law.text)));
            return None;
        }
        let params = self.law_params(law, args, span, &dims, sink)?;
        let nth = self.draws.iter().filter(|d| d.name.trim_start_matches('~').split('.').next() == Some(&name)).count();
        let port = if nth == 0 { format!("~{name}") } else { format!("~{name}.{}", nth + 1) };
        let shape = sizes(&dims);
        let z = self.b.input(port.clone(), &shape);
        self.draws.push(Draw { name: port, law: base, dims: shape });
        let node = match (map, params.as_slice()) {
            (Law::Interval, [low, high]) => {
                let width = self.b.sub(*high, *low);
                let scaled = self.b.mul(width, z);
                self.b.add(*low, scaled)
            }
            (Law::LocationScale, [mean, std]) => {
                let scaled = self.b.mul(*std, z);
                let zero = self.b.splat(*mean) == Some(0.0);
                if zero { scaled } else { self.b.add(*mean, scaled) }
            }
            (Law::Scale, [std]) => self.b.mul(*std, z),
            _ => z,
        };
        Some(Typed { node, dims })
    }

    /// The law's parameters in order, each repeated to the drawn type.
    fn law_params(&mut self, law: &Name, args: &[Arg], span: Span, dims: &[Dim], sink: &mut Sink) -> Option<Vec<NodeId>> {
        let entry = catalog::find(Kind::Law, &law.text)?;
        let assigned = super::calls::assign(entry, args, span, sink)?;
        let mut nodes = Vec::new();
        for (param, arg) in entry.params.iter().zip(assigned) {
            let value = match (arg, param.initial) {
                (Some(expr), _) => {
                    // Within a parameter no further law may stand: its dims would not be known.
                    let outer = self.declared.take();
                    let value = self.expr(expr, sink);
                    self.declared = outer;
                    let value = value?;
                    if places(dims, &value.dims).len() != 1 && !same(dims, &value.dims) {
                        sink.push(Diagnostic::error("E0303", expr.span, format!("`{}` of `{}` is {}, which does not fit the drawn {}", param.name, law.text, show(&value.dims), show(dims))));
                        return None;
                    }
                    let full = Typed { node: self.b.full(0.0, &sizes(dims)), dims: dims.to_vec() };
                    self.align(full, value, &law.text, expr.span, sink)?.1.node
                }
                (None, catalog::Initial::Real(x)) => self.b.full(x, &sizes(dims)),
                (None, _) => return None,
            };
            nodes.push(value);
        }
        Some(nodes)
    }
}

/// Every way in which `narrow` is a subsequence of `wide`: the axes of `wide` it takes.
fn places(wide: &[Dim], narrow: &[Dim]) -> Vec<Vec<usize>> {
    fn search(wide: &[Dim], narrow: &[Dim], from: usize, taken: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
        let Some(dim) = narrow.get(taken.len()) else {
            found.push(taken.clone());
            return;
        };
        for axis in from..wide.len() {
            if found.len() < 2 && wide[axis].fits(dim) {
                taken.push(axis);
                search(wide, narrow, axis + 1, taken, found);
                taken.pop();
            }
        }
    }
    let mut found = Vec::new();
    search(wide, narrow, 0, &mut Vec::new(), &mut found);
    found
}

/// The named types as slots of the plan.
pub(super) fn slots(values: &IndexMap<String, Vec<Dim>>) -> Vec<Slot> {
    values.iter().map(|(name, dims)| Slot { name: name.clone(), dims: sizes(dims) }).collect()
}
