//! Operators on tensors: contraction, powers, and operands brought to one shape.

use super::dims::{Dim, check_size, describe, places, same, same_sizes, show, sizes};
use super::writer::{Typed, Writer};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{NodeId, Unary};
use crate::syntax::ast::{Arg, Expr};

impl Writer<'_> {
    /// `a @ b`: the sum over the last dim of `a` and the first dim of `b`.
    pub(super) fn contract(
        &mut self,
        a: (Typed, Span),
        b: (Typed, Span),
        span: Span,
        sink: &mut Sink,
    ) -> Option<Typed> {
        let ((a, a_span), (b, b_span)) = (a, b);
        let (Some((last, rows)), Some((first, columns))) = (a.dims.split_last(), b.dims.split_first()) else {
            sink.push(
                both(
                    Diagnostic::error("E0310", span, "`@` contracts two tensors, and a scalar has no dim to contract"),
                    &a.dims,
                    a_span,
                    &b.dims,
                    b_span,
                )
                .help("use `*` to multiply by a scalar"),
            );
            return None;
        };
        if !last.fits(first) {
            let error = Diagnostic::error(
                "E0302",
                span,
                format!("`@` contracts `{last}` with `{first}`, which are different dims"),
            );
            let error = both(error, &a.dims, a_span, &b.dims, b_span);
            sink.push(if last.size == first.size {
                error.help(format!("both have {} entries here, but dims agree by name", last.size))
            } else {
                error.help("`@` contracts the last dim of the left side with the first dim of the right side")
            });
            return None;
        }
        let dims: Vec<Dim> = [rows, columns].concat();
        if !check_size(&dims, span, sink) {
            return None;
        }
        let product = |dims: &[Dim]| dims.iter().map(|d| d.size).product();
        let left = self.b.reshape(a.node, &[product(rows), last.size]);
        let right = self.b.reshape(b.node, &[last.size, product(columns)]);
        let product = self.b.matmul(left, right, false, false);
        Some(Typed { node: self.b.reshape(product, &sizes(&dims)), dims })
    }

    /// `base ^ exponent`, entry by entry; the exponent is a constant.
    pub(super) fn power(&mut self, base: &Expr, exponent: &Expr, sink: &mut Sink) -> Option<Typed> {
        let base = self.expr(base, sink);
        let exponent = self.constants.number(exponent, sink)?;
        let base = base?;
        let node = if exponent == 0.5 {
            self.b.unary(Unary::Sqrt, base.node)
        } else if exponent.fract() == 0.0 {
            let power = self.whole_power(base.node, exponent.abs() as u64, &sizes(&base.dims));
            if exponent < 0.0 {
                let one = self.b.full(1.0, &sizes(&base.dims));
                self.b.div(one, power)
            } else {
                power
            }
        } else {
            let log = self.b.unary(Unary::Ln, base.node);
            let scaled = self.b.scale(log, exponent);
            self.b.unary(Unary::Exp, scaled)
        };
        Some(Typed { node, dims: base.dims })
    }

    /// A product of `exponent` factors, by repeated squaring: also right for negative entries.
    fn whole_power(&mut self, base: NodeId, exponent: u64, dims: &[usize]) -> NodeId {
        let (mut power, mut square, mut left) = (self.b.full(1.0, dims), base, exponent);
        while left > 0 {
            if left % 2 == 1 {
                power = self.b.mul(power, square);
            }
            left /= 2;
            if left > 0 {
                square = self.b.mul(square, square);
            }
        }
        power
    }

    /// `a[i]`, `a[i, j]`: the entries at constant positions along the first dims.
    pub(super) fn index(&mut self, base: &Expr, index: &[Arg], span: Span, sink: &mut Sink) -> Option<Typed> {
        let base_value = self.expr(base, sink);
        let mut positions = Vec::new();
        for arg in index {
            if let Some(key) = &arg.key {
                sink.push(
                    Diagnostic::error("E0305", key.span, "the index of a tensor has no keys")
                        .help("a key chooses a point of a sweep, in claims alone"),
                );
                return None;
            }
            let position = self.constants.count(&arg.value, 0, "a position", sink);
            positions.push((position? as usize, arg.value.span));
        }
        let mut value = base_value?;
        for (position, at) in positions {
            let Some((first, rest)) = value.dims.split_first() else {
                sink.push(
                    Diagnostic::error("E0319", span, "there are more positions than dims")
                        .related(base.span, "the tensor"),
                );
                return None;
            };
            if position >= first.size {
                sink.push(
                    Diagnostic::error("E0319", at, format!("`{first}` has {} entries, counted from 0", first.size))
                        .label(format!("there is none at {position}")),
                );
                return None;
            }
            let slice = self.b.slice(value.node, 0, position, 1);
            value = Typed { node: self.b.reshape(slice, &sizes(rest)), dims: rest.to_vec() };
        }
        Some(value)
    }

    /// Brings two operands to one shape: equal, or one repeated along the dims it lacks.
    pub(super) fn align(
        &mut self,
        a: (Typed, Span),
        b: (Typed, Span),
        what: &str,
        span: Span,
        sink: &mut Sink,
    ) -> Option<(Typed, Typed)> {
        let ((a, a_span), (b, b_span)) = (a, b);
        if same(&a.dims, &b.dims) {
            let named = a.dims.iter().zip(&b.dims).map(|(a, b)| if a.name.is_some() { a } else { b });
            let dims: Vec<Dim> = named.cloned().collect();
            return Some((Typed { node: a.node, dims: dims.clone() }, Typed { node: b.node, dims }));
        }
        let a_is_wide = a.dims.len() >= b.dims.len();
        let (wide, narrow) = if a_is_wide { (&a, &b) } else { (&b, &a) };
        match places(&wide.dims, &narrow.dims).as_slice() {
            [place] => {
                let filled = self.repeat(narrow, &wide.dims, place);
                Some(if a_is_wide { (a, filled) } else { (filled, b) })
            }
            [] => {
                let error = Diagnostic::error("E0303", span, format!("`{what}` combines tensors whose dims differ"));
                let error = both(error, &a.dims, a_span, &b.dims, b_span);
                sink.push(if same_sizes(&a.dims, &b.dims) {
                    error.help("the sizes are equal here, but dims agree by name")
                } else {
                    error
                        .help("dims agree by name; a tensor that lacks some of the other's dims is repeated along them")
                });
                None
            }
            _ => {
                let error = Diagnostic::error(
                    "E0311",
                    span,
                    format!("it is not clear which dims of {} are those of {}", show(&wide.dims), show(&narrow.dims)),
                );
                sink.push(
                    both(error, &a.dims, a_span, &b.dims, b_span)
                        .help("give the dims different names, even where their sizes are equal"),
                );
                None
            }
        }
    }

    /// A tensor repeated to `dims`, of which it has those at `place`.
    fn repeat(&mut self, narrow: &Typed, dims: &[Dim], place: &[usize]) -> Typed {
        let missing = dims.iter().enumerate().filter(|(axis, _)| !place.contains(axis));
        let node = missing.fold(narrow.node, |node, (axis, dim)| self.b.broadcast(node, axis, dim.size));
        Typed { node, dims: dims.to_vec() }
    }
}

/// The error with the types of both operands at their places.
fn both(error: Diagnostic, a: &[Dim], a_span: Span, b: &[Dim], b_span: Span) -> Diagnostic {
    error.related(a_span, format!("this is {}", describe(a))).related(b_span, format!("this is {}", describe(b)))
}
