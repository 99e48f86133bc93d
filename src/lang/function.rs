//! Functions that tensor expressions call: those of `fn`, and the model where a loss or a metric calls it.

use super::constant::Constants;
use super::dims::{Dim, Types, describe, read_dims, same, show, sizes};
use super::model::{Body, body};
use super::writer::{Typed, Writer};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Function, batch};
use crate::syntax::ast::{Arg, Expr, Model};

/// A function that expressions can call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Callable {
    pub name: String,
    /// What it is called with, in order.
    pub inputs: Types,
    pub output: Vec<Dim>,
    /// The program: its inputs are those of the function and, where it is the model, parameters; one output.
    pub program: Function,
}

/// Checks a `fn`. It sees constants and the functions before it, and nothing else.
pub(super) fn function(function: &Model, constants: &Constants, sink: &mut Sink) -> Option<Callable> {
    let mut inputs = Types::new();
    for (name, dims) in &function.inputs {
        inputs.insert(name.text.clone(), read_dims(dims, constants, sink));
    }
    let output = read_dims(&function.output, constants, sink);
    let what = Body {
        value: "value",
        no_draws: "a function computes from its inputs alone; what is random belongs into `tasks`",
        drops: false,
    };
    let (program, _) = body(function, &what, &inputs, output.as_deref(), constants, sink)?;
    Some(Callable { name: function.name.text.clone(), inputs, output: output?, program })
}

/// An argument, and whether it holds several values along one more dim in front.
struct Argument {
    value: Typed,
    along: Option<Dim>,
}

impl Writer<'_> {
    /// Calls a function. Arguments with one more dim in front than it takes hold several values: it is applied to each.
    pub(super) fn apply(&mut self, callee: &Callable, args: &[Arg], span: Span, sink: &mut Sink) -> Option<Typed> {
        let given = assigned(callee, args, span, sink)?;
        let mut arguments = Vec::new();
        for (expr, (name, dims)) in given.iter().zip(&callee.inputs) {
            let value = self.expr(expr, sink);
            arguments.push(
                value
                    .zip(dims.as_ref())
                    .and_then(|(value, dims)| self.argument(value, dims, (expr, name), callee, sink)),
            );
        }
        let arguments: Vec<Argument> = arguments.into_iter().collect::<Option<_>>()?;
        let along = arguments.iter().zip(&given).filter_map(|(a, expr)| Some((a.along.clone()?, expr.span)));
        let along: Vec<(Dim, Span)> = along.collect();
        if let Some((other, at)) = along.iter().find(|(dim, _)| !dim.fits(&along[0].0)) {
            let (first, first_at) = &along[0];
            sink.push(
                Diagnostic::error(
                    "E0711",
                    *at,
                    format!("`{}` cannot go along `{first}` and `{other}` at once", callee.name),
                )
                .related(*first_at, format!("several values along `{first}`"))
                .label(format!("several values along `{other}`")),
            );
            return None;
        }
        let (mut nodes, mut mapped) = (vec![], vec![]);
        let several = along.first().map(|(dim, _)| dim.clone());
        self.calls += usize::from(callee.program.inputs.iter().any(|port| is_mask(&port.name)));
        for port in &callee.program.inputs {
            if is_mask(&port.name) {
                // Every call drops anew, and for each of several values by itself.
                let name = if self.calls == 1 { port.name.clone() } else { format!("{}#{}", port.name, self.calls) };
                let dims = callee.program.dims(port.node).iter().map(|&size| Dim { name: None, size });
                mapped.push(several.is_some());
                nodes.push(self.mask(name, several.iter().cloned().chain(dims).collect()).node);
                continue;
            }
            let position = callee.inputs.get_index_of(&port.name);
            mapped.push(position.is_some_and(|i| arguments[i].along.is_some()));
            nodes.push(match position {
                Some(i) => arguments[i].value.node,
                None => self.outside(&port.name)?.node,
            });
        }
        Some(match along.into_iter().next() {
            // Where the result does not depend on them, there are as many equal ones.
            Some((dim, _)) => {
                let node = batch(&mut self.b, &callee.program, &nodes, &mapped, dim.size)[0];
                Typed { node, dims: [&[dim], callee.output.as_slice()].concat() }
            }
            None => Typed { node: self.b.inline(&callee.program, &nodes)[0], dims: callee.output.clone() },
        })
    }

    fn argument(
        &mut self,
        value: Typed,
        dims: &[Dim],
        (expr, name): (&Expr, &str),
        callee: &Callable,
        sink: &mut Sink,
    ) -> Option<Argument> {
        if same(&value.dims, dims) {
            return Some(Argument { value, along: None });
        }
        if value.dims.is_empty() {
            let node = self.b.expand(value.node, &sizes(dims));
            return Some(Argument { value: Typed { node, dims: dims.to_vec() }, along: None });
        }
        if let Some((first, rest)) = value.dims.split_first()
            && same(rest, dims)
        {
            return Some(Argument { along: Some(first.clone()), value });
        }
        sink.push(
            Diagnostic::error("E0710", expr.span, format!("`{name}` of `{}` has other dims", callee.name))
                .label(format!("this is {}", describe(&value.dims)))
                .help(format!(
                    "`{}` takes {}, or several of them along one more dim in front",
                    callee.name,
                    show(dims)
                )),
        );
        None
    }
}

/// Whether an input of a program is a mask of the model.
pub(super) fn is_mask(input: &str) -> bool {
    input.starts_with('~')
}

/// The argument of every input, in the order of the inputs.
fn assigned<'e>(callee: &Callable, args: &'e [Arg], span: Span, sink: &mut Sink) -> Option<Vec<&'e Expr>> {
    let mut found: Vec<Option<&Expr>> = vec![None; callee.inputs.len()];
    let mut fits = true;
    for (i, arg) in args.iter().enumerate() {
        let position = match &arg.key {
            Some(key) => callee.inputs.get_index_of(&key.text),
            None => Some(i).filter(|i| *i < found.len()),
        };
        match position {
            Some(position) => fits &= found[position].replace(&arg.value).is_none(),
            None => fits = false,
        }
    }
    let all: Option<Vec<&Expr>> = found.into_iter().collect();
    if !fits || all.is_none() {
        let names: Vec<&str> = callee.inputs.keys().map(String::as_str).collect();
        sink.push(
            Diagnostic::error("E0712", span, format!("`{}` is not called with what it takes", callee.name))
                .help(format!("it takes {}: `{}({})`", names.len(), callee.name, names.join(", "))),
        );
        return None;
    }
    all
}
