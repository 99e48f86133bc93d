//! Laws in tensor expressions: a standard draw, and the map of it that belongs to the program.

use super::calls::assign;
use super::dims::{Dim, describe, describe_sizes, places, same, sizes};
use super::writer::{Typed, Writer};
use crate::catalog::{self, Initial, Kind, Law};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::NodeId;
use crate::plan::Draw;
use crate::syntax::ast::{Arg, Name};

impl Writer<'_> {
    /// A law draws a tensor of the type of the declaration it stands in.
    pub(super) fn draw(&mut self, law: &Name, args: &[Arg], span: Span, sink: &mut Sink) -> Option<Typed> {
        if let Some(reason) = self.no_draws {
            sink.push(
                Diagnostic::error(
                    "E0206",
                    span,
                    format!("`{}` draws a random value where none can be drawn", law.text),
                )
                .help(reason),
            );
            return None;
        }
        let Some((name, dims)) = self.declared.clone() else {
            sink.push(
                Diagnostic::error(
                    "E0223",
                    span,
                    format!("`{}` cannot be drawn within the parameters of another law", law.text),
                )
                .help("declare it first, with its dims: `level: [] ~ normal`, then `x: [d] ~ normal(mean: level)`"),
            );
            return None;
        };
        let (base, map) = Law::find(&law.text)?;
        if let Some(reason) = base.refuses(&sizes(&dims)) {
            sink.push(
                Diagnostic::error(
                    "E0306",
                    span,
                    format!("`{}` cannot draw `{name}`, which is {}", law.text, describe_sizes(&dims)),
                )
                .help(reason),
            );
            return None;
        }
        let params = self.law_params(law, args, span, &dims, sink)?;
        let of_name = |draw: &&Draw| {
            let rest = draw.name.strip_prefix('~').and_then(|port| port.strip_prefix(&name));
            rest.is_some_and(|rest| rest.strip_prefix('.').unwrap_or(rest).bytes().all(|c| c.is_ascii_digit()))
        };
        let nth = self.draws.iter().filter(of_name).count();
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
    fn law_params(
        &mut self,
        law: &Name,
        args: &[Arg],
        span: Span,
        dims: &[Dim],
        sink: &mut Sink,
    ) -> Option<Vec<NodeId>> {
        let entry = catalog::find(Kind::Law, &law.text)?;
        let assigned = assign(entry, args, span, sink)?;
        let mut nodes = Vec::new();
        for (param, arg) in entry.params.iter().zip(assigned) {
            let node = match (arg, param.initial) {
                (Some(expr), _) => {
                    // Within a parameter no further law may stand: its dims would not be known.
                    let outer = self.declared.take();
                    let value = self.expr(expr, sink);
                    self.declared = outer;
                    value.and_then(|value| {
                        if places(dims, &value.dims).len() != 1 && !same(dims, &value.dims) {
                            sink.push(
                                Diagnostic::error("E0312", expr.span, format!("`{}` of `{}` does not fit what is drawn", param.name, law.text))
                                    .label(format!("this is {}", describe(&value.dims)))
                                    .help(format!("what is drawn is {}; a parameter has the same dims, or some of them, or is a scalar", describe(dims))),
                            );
                            return None;
                        }
                        let full = Typed { node: self.b.full(0.0, &sizes(dims)), dims: dims.to_vec() };
                        Some(self.align((full, span), (value, expr.span), &law.text, expr.span, sink)?.1.node)
                    })
                }
                (None, Initial::Real(x)) => Some(self.b.full(x, &sizes(dims))),
                (None, _) => None,
            };
            nodes.push(node);
        }
        nodes.into_iter().collect()
    }
}
