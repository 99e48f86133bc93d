//! Layers: parts of models that have parameters of their own. A call of one in a model becomes its parameters, named after the
//! value that the call stands in, and its formula; nothing else in the language knows of layers.
//!
//! A dim in the type of a layer's input that is no dim of the file stands for whatever dim the argument has there.

use std::sync::LazyLock;

use indexmap::IndexMap;

use super::constant::Constants;
use super::dims::{Dim, Types, describe, read_dims};
use super::rewrite::{bind, place, substitute};
use super::writer::Writer;
use crate::catalog::{self, Kind};
use crate::diag::{Diagnostic, Sink, Span};
use crate::syntax::ast::{Arg, Decl, Dims, Expr, ExprKind, Item, ItemKind, Layer, Model, Name, Param};
use crate::syntax::parse;

/// The layers of the standard library.
const LIBRARY: &str = include_str!("../std/layers.meta");

/// The most layers that stand within each other.
const MAX_DEPTH: usize = 16;

/// The most layers of one repetition.
const MAX_REPEATED: u64 = 1000;

/// The most layers of a model.
const MAX_LAYERS: usize = 10_000;

/// The model with every layer replaced by its parameters and its formula.
pub(super) fn expand(model: &Model, items: &[Item], constants: &Constants, sink: &mut Sink) -> Model {
    let own: Vec<&Layer> =
        items.iter().filter_map(|i| if let ItemKind::Layer(layer) = &i.kind { Some(layer) } else { None }).collect();
    let mut known = Types::new();
    for (name, dims) in &model.inputs {
        known.insert(name.text.clone(), read_dims(dims, constants, &mut Sink::new()));
    }
    let mut expansion = Expansion {
        own: &own,
        constants,
        types: Writer::new(constants, &known, Some("a layer computes")).masking(),
        out: Model { params: model.params.clone(), lets: vec![], ..model.clone() },
        used: IndexMap::new(),
        depth: 0,
        again: None,
    };
    for param in &model.params {
        expansion.knows(&param.decl);
    }
    for decl in &model.lets {
        let value = expansion.calls(&decl.value, &decl.name, sink);
        expansion.declare(Decl { value, ..decl.clone() });
    }
    // A layer in the prediction itself is called by its own name.
    let named = Name { text: String::new(), span: model.body.span };
    expansion.out.body = expansion.calls(&model.body, &named, sink);
    expansion.out
}

/// The layers of the standard library, read once and only where a file calls what nothing else is called.
fn library() -> &'static [Layer] {
    static LAYERS: LazyLock<Vec<Layer>> = LazyLock::new(|| {
        let layers = parse(LIBRARY, &mut Sink::new()).items.into_iter();
        layers.filter_map(|item| if let ItemKind::Layer(layer) = item.kind { Some(layer) } else { None }).collect()
    });
    &LAYERS
}

/// A layer, and whether the file declares it.
type Found<'a> = (&'a Layer, bool);

struct Expansion<'a> {
    own: &'a [&'a Layer],
    constants: &'a Constants,
    /// What is known of the types so far; mistakes are reported when the result is checked.
    types: Writer<'a>,
    out: Model,
    /// The layers so far, by the names of their parameters' groups.
    used: IndexMap<String, Span>,
    depth: usize,
    /// The number of the step where a layer with parameters that are there already runs once more.
    again: Option<u64>,
}

impl<'a> Expansion<'a> {
    /// An expression with every layer in it replaced by a formula.
    fn calls(&mut self, expr: &Expr, named: &Name, sink: &mut Sink) -> Expr {
        let mut expr = expr.clone();
        match &mut expr.kind {
            ExprKind::Call { callee, args } => {
                for arg in args.iter_mut().filter(|_| callee.text != "repeat" && callee.text != "scan") {
                    arg.value = self.calls(&arg.value, named, sink);
                }
                let result = match callee.text.as_str() {
                    "repeat" => Some(self.repeat(args, expr.span, named, sink)),
                    "scan" => Some(self.scan(args, expr.span, named, sink)),
                    name => self.find(name).map(|layer| {
                        let group = if named.text.is_empty() { name.to_owned() } else { named.text.clone() };
                        self.layer(layer, args, &group, expr.span, sink)
                    }),
                };
                if let Some(value) = result {
                    return value.unwrap_or(Expr { kind: ExprKind::Error, span: expr.span });
                }
            }
            ExprKind::List(items) => items.iter_mut().for_each(|item| *item = self.calls(item, named, sink)),
            ExprKind::Neg(x) => **x = self.calls(x, named, sink),
            ExprKind::Binary(_, a, b) => {
                **a = self.calls(a, named, sink);
                **b = self.calls(b, named, sink);
            }
            ExprKind::Index(base, _) => **base = self.calls(base, named, sink),
            _ => {}
        }
        expr
    }

    /// The layer of that name, and whether the file declares it. A function comes before a layer of the library.
    fn find(&self, name: &str) -> Option<Found<'a>> {
        let named = |layer: &&Layer| layer.model.name.text == name;
        if let Some(layer) = self.own.iter().copied().find(named) {
            return Some((layer, true));
        }
        let is_function = self.constants.functions.contains_key(name) || catalog::find(Kind::Function, name).is_some();
        if is_function { None } else { library().iter().find(named).map(|layer| (layer, false)) }
    }

    /// `repeat(block(x), times: n)`: the layer again and again, each time on what the one before gave.
    fn repeat(&mut self, args: &[Arg], span: Span, named: &Name, sink: &mut Sink) -> Option<Expr> {
        let (call, times) = match args {
            [call, times] if call.key.is_none() && times.key.as_ref().is_none_or(|key| key.text == "times") => {
                (&call.value, &times.value)
            }
            _ => return refuse(&REPETITION, span, sink),
        };
        let (layer, mut args, group) = self.inner_call(call, named, &REPETITION, sink)?;
        let times = self.constants.count(times, 1, "how often a layer is repeated", sink)?;
        if times > MAX_REPEATED {
            let message = format!("{times} layers are too many; the limit is {MAX_REPEATED}");
            sink.push(Diagnostic::error("E0243", span, message));
            return None;
        }
        for number in 0..times {
            args[0].value = self.layer(layer, &args, &format!("{group}.{number}"), call.span, sink)?;
        }
        Some(args.swap_remove(0).value)
    }

    /// `scan(cell(start, x))`: the layer along the first dim of `x`, each time on the state that the step before gave, and with the same
    /// parameters.
    fn scan(&mut self, args: &[Arg], span: Span, named: &Name, sink: &mut Sink) -> Option<Expr> {
        let [Arg { key: None, value: call }] = args else { return refuse(&SCAN, span, sink) };
        let (layer, mut args, group) = self.inner_call(call, named, &SCAN, sink)?;
        let [_, row, ..] = args.as_slice() else { return refuse(&SCAN, call.span, sink) };
        let rows = Name { text: format!("{group}.rows"), span: row.value.span };
        let decl = Decl { name: rows.clone(), dims: None, drawn: false, value: row.value.clone() };
        let steps = match self.declare(decl)?.first() {
            Some(dim) if dim.size as u64 <= MAX_REPEATED => dim.size as u64,
            Some(_) => {
                let message = format!("a layer is scanned over at most {MAX_REPEATED} rows");
                sink.push(Diagnostic::error("E0243", span, message));
                return None;
            }
            None => return refuse(&SCAN, rows.span, sink),
        };
        let around = self.again;
        for step in 0..steps {
            let place = Expr { kind: ExprKind::Number(step as f64), span };
            let row = ExprKind::Index(Box::new(path(&rows.text, span)), vec![Arg { key: None, value: place }]);
            args[1].value = Expr { kind: row, span };
            let state = self.layer(layer, &args, &group, call.span, sink);
            self.again = Some(around.unwrap_or(0) * MAX_REPEATED + step + 1);
            // A value of its own: a formula within a formula would double at every step.
            let name = Name { text: format!("{group}.state.{step}"), span };
            let state = state.map(|value| Decl { name, dims: None, drawn: false, value });
            let Some(state) = state else {
                self.again = around;
                return None;
            };
            args[0].value = path(&state.name.text, span);
            self.declare(state);
        }
        self.again = around;
        Some(args.swap_remove(0).value)
    }

    /// The layer that `repeat` or `scan` calls, its arguments, and the name of the group of its parameters.
    fn inner_call(
        &mut self,
        call: &Expr,
        named: &Name,
        form: &Form,
        sink: &mut Sink,
    ) -> Option<(Found<'a>, Vec<Arg>, String)> {
        let found = match &call.kind {
            ExprKind::Call { callee, args } if !args.is_empty() => {
                self.find(&callee.text).map(|found| (found, callee, args))
            }
            _ => None,
        };
        let Some((layer, callee, args)) = found else { return refuse(form, call.span, sink) };
        let mut args: Vec<Arg> = args.clone();
        for arg in &mut args {
            arg.value = self.calls(&arg.value, named, sink);
        }
        let group = if named.text.is_empty() { &callee.text } else { &named.text };
        Some((layer, args, group.clone()))
    }

    /// One layer: its parameters join those of the model under the name of the group.
    fn layer(
        &mut self,
        (layer, own): Found<'a>,
        args: &[Arg],
        group: &str,
        span: Span,
        sink: &mut Sink,
    ) -> Option<Expr> {
        let name = &layer.model.name.text;
        if self.again.is_none()
            && let Some(first) = self.used.insert(group.to_owned(), span)
        {
            sink.push(
                Diagnostic::error("E0241", span, format!("two layers would have their parameters in `{group}`"))
                    .related(first, "the first of them")
                    .help("give each a `let` of its own, after which its parameters are called: `let hidden = linear(x, 64)`"),
            );
            return None;
        }
        if self.used.len() > MAX_LAYERS {
            let message = format!("a model has at most {MAX_LAYERS} layers");
            sink.push(Diagnostic::error("E0243", span, message).help("does one of them contain itself?"));
            return None;
        }
        if self.depth == MAX_DEPTH {
            let message = format!("layers stand within each other more than {MAX_DEPTH} times");
            sink.push(Diagnostic::error("E0243", span, message).help("does one of them contain itself?"));
            return None;
        }
        let mut values = bind(name, &layer.takes, args, span, sink)?;
        // What stands in the library has no place in the file: the call is its place.
        let placed = |mut expr: Expr| {
            if !own {
                place(&mut expr, span);
            }
            expr
        };
        let at = |found: Span| if own { found } else { span };
        let again = self.again;
        let value_name = |name: &str| match again {
            Some(step) => format!("{group}.{name}.{step}"),
            None => format!("{group}.{name}"),
        };

        let mut fits = true;
        for (input, dims) in &layer.model.inputs {
            let inner = value_name(&input.text);
            let (_, value) = values.iter_mut().find(|(param, _)| *param == input.text)?;
            let argument = std::mem::replace(value, path(&inner, span));
            let given = argument.span;
            let name = Name { text: inner, span: at(input.span) };
            let found = self.declare(Decl { name, dims: None, drawn: false, value: argument });
            let dims = Dims { dims: dims.dims.iter().cloned().map(placed).collect(), span: at(dims.span) };
            fits &= found.is_some_and(|found| {
                let bound = self.unify(&dims, &found, &values, sink);
                if bound.is_none() {
                    sink.push(
                        Diagnostic::error(
                            "E0242",
                            given,
                            format!("`{}` of layer `{}` has other dims", input.text, layer.model.name.text),
                        )
                        .label(format!("this is {}", describe(&found)))
                        .help(format!("the layer takes {}", written(&dims))),
                    );
                }
                bound.map(|bound| values.extend(bound)).is_some()
            });
        }
        if !fits {
            return None;
        }
        let lets = layer.model.lets.iter().map(|d| (&d.name, value_name(&d.name.text)));
        let param_name = |name: &str| format!("{group}.{name}");
        let params = layer.model.params.iter().map(|p| (&p.decl.name, param_name(&p.decl.name.text)));
        values.extend(lets.chain(params).map(|(name, inner)| (name.text.clone(), path(&inner, at(name.span)))));
        let rewritten = |expr: &Expr| {
            let mut expr = placed(expr.clone());
            substitute(&mut expr, &values);
            expr
        };
        let dims = |dims: &Dims| Dims { dims: dims.dims.iter().map(rewritten).collect(), span: at(dims.span) };
        let inner = |decl: &Decl, name: String, value: Expr| Decl {
            name: Name { text: name, span: at(decl.name.span) },
            dims: decl.dims.as_ref().map(dims),
            drawn: decl.drawn,
            value,
        };
        for param in layer.model.params.iter().filter(|_| again.is_none()) {
            let decl = inner(&param.decl, param_name(&param.decl.name.text), rewritten(&param.decl.value));
            self.knows(&decl);
            self.out.params.push(Param { group: None, decl });
        }
        self.depth += 1;
        for decl in &layer.model.lets {
            let named = Name { text: param_name(&decl.name.text), span: at(decl.name.span) };
            let value = self.calls(&rewritten(&decl.value), &named, sink);
            self.declare(inner(decl, value_name(&decl.name.text), value));
        }
        let named = Name { text: group.to_owned(), span };
        let body = rewritten(&layer.model.body);
        let body = self.calls(&body, &named, sink);
        self.depth -= 1;
        // What is wrong with it is reported when the whole is checked.
        let found = self.types.expr(&body, &mut Sink::new());
        let output = Dims { dims: layer.model.output.dims.iter().cloned().map(placed).collect(), span };
        if let Some(found) = found
            && self.unify(&output, &found.dims, &values, sink).is_none()
        {
            sink.push(
                Diagnostic::error(
                    "E0301",
                    body.span,
                    format!("the value of layer `{name}` does not have its declared dims"),
                )
                .label(format!("this is {}", describe(&found.dims)))
                .related(at(layer.model.output.span), format!("declared {}", written(&output))),
            );
            return None;
        }
        Some(body)
    }

    /// A parameter's type is known from then on.
    fn knows(&mut self, decl: &Decl) {
        let zero = Expr { kind: ExprKind::Number(0.0), span: decl.name.span };
        self.types.declare(&Decl { value: zero, drawn: false, ..decl.clone() }, &mut Sink::new());
    }

    /// A value of the model, with its dims.
    fn declare(&mut self, decl: Decl) -> Option<Vec<Dim>> {
        let dims = self.types.declare(&decl, &mut Sink::new());
        self.out.lets.push(decl);
        dims
    }
}

impl Expansion<'_> {
    /// What the dims of an input stand for, where an argument has the dims `found`; it may have more of them in front. `None` where
    /// they do not fit.
    fn unify(
        &self,
        dims: &Dims,
        found: &[Dim],
        values: &[(String, Expr)],
        sink: &mut Sink,
    ) -> Option<Vec<(String, Expr)>> {
        let found = &found[found.len().checked_sub(dims.dims.len())?..];
        let mut bound: Vec<(String, Expr)> = vec![];
        for (expr, dim) in dims.dims.iter().zip(found) {
            let mut expr = expr.clone();
            substitute(&mut expr, values);
            substitute(&mut expr, &bound);
            match &expr.kind {
                ExprKind::Path(path) if path.len() == 1 && !self.constants.defines(&path[0].text) => {
                    bound.push((path[0].text.clone(), as_written(dim, expr.span)));
                }
                _ => {
                    let span = expr.span;
                    let wanted = read_dims(&Dims { dims: vec![expr], span }, self.constants, sink)?;
                    wanted[0].fits(dim).then_some(())?;
                }
            }
        }
        Some(bound)
    }
}

/// A dim as it would be written.
fn as_written(dim: &Dim, span: Span) -> Expr {
    match &dim.name {
        Some(name) => path(name, span),
        None => Expr { kind: ExprKind::Number(dim.size as f64), span },
    }
}

/// The dims of an input, as they are written.
fn written(dims: &Dims) -> String {
    format!("[{}]", dims.dims.iter().map(Expr::to_string).collect::<Vec<_>>().join(", "))
}

fn path(name: &str, span: Span) -> Expr {
    Expr { kind: ExprKind::Path(vec![Name { text: name.to_owned(), span }]), span }
}

/// A form that calls a layer, and how it is written.
struct Form {
    message: &'static str,
    help: &'static str,
}

const REPETITION: Form = Form {
    message: "`repeat` repeats a layer",
    help: "its form is `repeat(block(x), times: 6)`, where `block` is a `layer` whose first input is as what it gives",
};
const SCAN: Form = Form {
    message: "`scan` runs a layer along the first dim of its second input",
    help: "its form is `scan(gru(start, x))`, where the layer takes a state and one row of `x`, and gives the next state",
};

fn refuse<T>(form: &Form, span: Span, sink: &mut Sink) -> Option<T> {
    sink.push(Diagnostic::error("E0240", span, form.message).help(form.help));
    None
}

#[cfg(test)]
mod tests {
    use super::{LIBRARY, library};
    use crate::catalog::{self, Kind};
    use crate::diag::Sink;
    use crate::syntax::parse;

    #[test]
    fn the_library_is_read_without_a_mistake() {
        let mut sink = Sink::new();
        parse(LIBRARY, &mut sink);
        assert_eq!(sink.finish(), []);
    }

    #[test]
    fn no_layer_of_the_library_has_the_name_of_a_function() {
        assert!(library().len() >= 17);
        for layer in library() {
            assert!(catalog::find(Kind::Function, &layer.model.name.text).is_none(), "{}", layer.model.name.text);
        }
    }
}
