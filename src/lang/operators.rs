//! Functions of tensors with settings: what dims they take and give.

use super::calls::{assign, real};
use super::dims::{Dim, check_size, describe, describe_sizes, read_dims, show, sizes};
use super::writer::{Typed, Writer};
use crate::catalog::{Entry, Initial, Param, Pool, Reducer, Ty, Windows, operator};
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::{Builder, NodeId};
use crate::plan::Dropout;
use crate::syntax::ast::{Arg, Dims, Expr, ExprKind, Name};

/// The arguments of a call, by the names of the parameters.
struct Given<'e> {
    entry: &'static Entry,
    args: Vec<Option<&'e Expr>>,
    span: Span,
}

impl<'e> Given<'e> {
    fn param(&self, name: &str) -> (&'static Param, Option<&'e Expr>) {
        let found = self.entry.params.iter().zip(&self.args).find(|(param, _)| param.name == name);
        let (param, arg) = found.expect("an operator asks for its own parameters");
        (param, *arg)
    }

    /// Where an argument stands, or the call where it was left out.
    fn place(&self, name: &str) -> Span {
        self.param(name).1.map_or(self.span, |expr| expr.span)
    }

    /// The error about operands that it does not take.
    fn refuses(&self, name: &str, dims: &[Dim], wants: &str) -> Diagnostic {
        Diagnostic::error("E0330", self.place(name), format!("`{}` takes {wants}", self.entry.name))
            .label(format!("this is {}", describe_sizes(dims)))
            .help(format!("its form is `{}`", self.entry.signature()))
    }
}

impl Writer<'_> {
    /// A call of an entry that takes more than a tensor.
    pub(super) fn operator(
        &mut self,
        entry: &'static Entry,
        args: &[Arg],
        span: Span,
        sink: &mut Sink,
    ) -> Option<Typed> {
        let given = Given { entry, args: assign(entry, args, span, sink)?, span };
        let value = match entry.name {
            "sum" => self.reduce(&given, Reducer::Sum, sink),
            "mean" => self.reduce(&given, Reducer::Mean, sink),
            "max" => self.reduce(&given, Reducer::Max, sink),
            "flatten" => {
                let x = self.tensor(&given, "x", sink)?;
                let size = sizes(&x.dims).iter().product();
                Some(Typed { node: self.b.reshape(x.node, &[size]), dims: vec![Dim { name: None, size }] })
            }
            "reshape" => self.reshape(&given, sink),
            "positions" => {
                let x = self.tensor(&given, "x", sink)?;
                let Some(last) = x.dims.last() else {
                    sink.push(given.refuses("x", &x.dims, "a tensor with a last dim to count along"));
                    return None;
                };
                Some(Typed { node: self.b.iota(&[last.size], 0), dims: vec![last.clone()] })
            }
            "conv" => self.conv(&given, sink),
            "max_pool" => self.pool(&given, Pool::Max, sink),
            "avg_pool" => self.pool(&given, Pool::Mean, sink),
            "layer_norm" => {
                let over_last = |b: &mut Builder, x, epsilon| operator::normalise(b, x, 1, epsilon);
                self.norm(&given, "a tensor with a last dim to normalise over", over_last, sink)
            }
            "batch_norm" => {
                let wants = "a tensor with a first dim, each of whose entries is normalised";
                self.norm(&given, wants, operator::normalise_examples, sink)
            }
            "group_norm" => self.group_norm(&given, sink),
            "dropout" => self.dropout(&given, sink),
            "embed" => self.embed(&given, sink),
            "attention" => self.attention(&given, sink),
            name => unreachable!("`{name}` is no operator"),
        }?;
        check_size(&value.dims, span, sink).then_some(value)
    }

    fn tensor(&mut self, given: &Given, name: &str, sink: &mut Sink) -> Option<Typed> {
        self.expr(given.param(name).1?, sink)
    }

    fn count(&self, given: &Given, name: &str, sink: &mut Sink) -> Option<usize> {
        let (param, expr) = given.param(name);
        let (Ty::Count(least), Some(expr)) = (param.ty, expr) else {
            return if let Initial::Real(x) = param.initial { Some(x as usize) } else { None };
        };
        let what = format!("`{name}` of `{}`", given.entry.name);
        self.constants.count(expr, least, &what, sink).map(|count| count as usize)
    }

    fn setting(&self, given: &Given, name: &str, sink: &mut Sink) -> Option<f64> {
        let (param, expr) = given.param(name);
        match (expr, param.initial) {
            (Some(expr), _) => real(self.constants, given.entry, param, expr, sink),
            (None, Initial::Real(x)) => Some(x),
            (None, _) => None,
        }
    }

    /// A reduction over the dims that are named, or all.
    fn reduce(&mut self, given: &Given, reducer: Reducer, sink: &mut Sink) -> Option<Typed> {
        let x = self.tensor(given, "x", sink)?;
        let axes = match given.param("over").1 {
            None => (0..x.dims.len()).collect(),
            Some(over) => named_axes(over, &x.dims, sink)?,
        };
        let node = operator::reduce(&mut self.b, x.node, &axes, reducer);
        let kept = x.dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        Some(Typed { node, dims: kept.map(|(_, dim)| dim.clone()).collect() })
    }

    fn reshape(&mut self, given: &Given, sink: &mut Sink) -> Option<Typed> {
        let x = self.tensor(given, "x", sink)?;
        let to = given.param("to").1?;
        let ExprKind::List(items) = &to.kind else {
            sink.push(
                Diagnostic::error("E0415", to.span, "`to` of `reshape` must be dims").help("for example `[h, 2 * w]`"),
            );
            return None;
        };
        let dims = read_dims(&Dims { dims: items.clone(), span: to.span }, self.constants, sink)?;
        let entries = |dims: &[Dim]| sizes(dims).iter().product::<usize>();
        if entries(&dims) != entries(&x.dims) {
            sink.push(given.refuses(
                "x",
                &x.dims,
                &format!("{} entries for {}", entries(&dims), describe_sizes(&dims)),
            ));
            return None;
        }
        Some(Typed { node: self.b.reshape(x.node, &sizes(&dims)), dims })
    }

    fn dropout(&mut self, given: &Given, sink: &mut Sink) -> Option<Typed> {
        let x = self.tensor(given, "x", sink);
        let dims = x.as_ref().map_or(vec![], |x| x.dims.clone());
        let mask = self.dropped(given, "rate", dims, sink)?;
        let x = x?;
        let node = mask.map_or(x.node, |mask| self.b.mul(x.node, mask));
        Some(Typed { node, dims: x.dims })
    }

    /// The mask that drops with the chance of an argument, as an input of the program; `Some(None)` where nothing is dropped.
    fn dropped(&mut self, given: &Given, rate: &str, dims: Vec<Dim>, sink: &mut Sink) -> Option<Option<NodeId>> {
        let (asked, rate) = (given.param(rate).1.is_some(), self.setting(given, rate, sink));
        let Some(masks) = self.masks.as_mut().filter(|_| asked) else {
            if asked {
                sink.push(
                    Diagnostic::error("E0333", given.span, "nothing can be dropped here")
                        .label("this is no part of a prediction")
                        .help("dropout stands in a `model` or a `layer`, where parameters move under it"),
                );
            }
            return (!asked).then_some(None);
        };
        let rate = rate?;
        if rate == 0.0 {
            return Some(None);
        }
        let value = format!("~{}", self.naming.as_deref().unwrap_or("prediction"));
        let of_value = |mask: &&Dropout| mask.name.split(':').next() == Some(&value);
        let nth = masks.iter().filter(of_value).count();
        let name = if nth == 0 { value } else { format!("{value}:{}", nth + 1) };
        masks.push(Dropout { name: name.clone(), rate });
        Some(Some(self.mask(name, dims).node))
    }

    fn conv(&mut self, given: &Given, sink: &mut Sink) -> Option<Typed> {
        let (x, kernel) = (self.tensor(given, "x", sink), self.tensor(given, "kernel", sink));
        let [stride, padding, dilation, groups] =
            ["stride", "padding", "dilation", "groups"].map(|name| self.count(given, name, sink));
        let (x, kernel) = (x?, kernel?);
        let (stride, padding, dilation, groups) = (stride?, padding?, dilation?, groups?);
        let Some((filters, channels, spans)) = filters_of(&kernel.dims) else {
            sink.push(given.refuses("kernel", &kernel.dims, "a kernel `[filters, channels, size, size]`"));
            return None;
        };
        if x.dims.len() != spans.len() + 1 {
            let wants = format!("`[channels, ..]` with {} more dims under this kernel", spans.len());
            sink.push(given.refuses("x", &x.dims, &wants));
            return None;
        }
        let whole = x.dims[0].size == channels.size * groups && filters.size.is_multiple_of(groups);
        if !whole || groups == 1 && !x.dims[0].fits(channels) {
            let wants = match groups {
                1 => format!("channels `{}` under this kernel", channels),
                _ => format!("{groups} times {} channels and filters in {groups} groups", channels.size),
            };
            sink.push(
                given
                    .refuses("x", &x.dims, &wants)
                    .related(given.place("kernel"), format!("the kernel is {}", describe_sizes(&kernel.dims))),
            );
            return None;
        }
        let windows = spans.iter().map(|dim| Windows { size: dim.size, stride, dilation, padding });
        let windows: Vec<Windows> = windows.collect();
        let places = windowed(given, &x.dims, &windows, sink)?;
        let dims = [std::slice::from_ref(filters), &places[..]].concat();
        if !check_size(&dims, given.span, sink) {
            return None;
        }
        let node = operator::conv(&mut self.b, x.node, kernel.node, &windows, groups);
        Some(Typed { node, dims })
    }

    fn pool(&mut self, given: &Given, pool: Pool, sink: &mut Sink) -> Option<Typed> {
        let x = self.tensor(given, "x", sink);
        let [size, padding] = ["size", "padding"].map(|name| self.count(given, name, sink));
        let (x, size, padding) = (x?, size?, padding?);
        let stride = if given.param("stride").1.is_some() { self.count(given, "stride", sink)? } else { size };
        if x.dims.len() < 2 {
            sink.push(given.refuses("x", &x.dims, "a tensor with dims after the first to pool over"));
            return None;
        }
        if padding >= size {
            sink.push(
                Diagnostic::error("E0331", given.place("padding"), "a window of padding alone has nothing to pool")
                    .help(format!("the padding is less than the size, {size}")),
            );
            return None;
        }
        let windows = vec![Windows { size, stride, dilation: 1, padding }; x.dims.len() - 1];
        let places = windowed(given, &x.dims, &windows, sink)?;
        let node = operator::pool(&mut self.b, x.node, &windows, pool);
        Some(Typed { node, dims: [&x.dims[..1], &places].concat() })
    }

    fn norm(
        &mut self,
        given: &Given,
        wants: &str,
        lower: impl FnOnce(&mut Builder, NodeId, f64) -> NodeId,
        sink: &mut Sink,
    ) -> Option<Typed> {
        let (x, epsilon) = (self.tensor(given, "x", sink), self.setting(given, "epsilon", sink));
        let (x, epsilon) = (x?, epsilon?);
        if x.dims.is_empty() {
            sink.push(given.refuses("x", &x.dims, wants));
            return None;
        }
        Some(Typed { node: lower(&mut self.b, x.node, epsilon), dims: x.dims })
    }

    fn group_norm(&mut self, given: &Given, sink: &mut Sink) -> Option<Typed> {
        let (x, groups) = (self.tensor(given, "x", sink), self.count(given, "groups", sink));
        let epsilon = self.setting(given, "epsilon", sink);
        let (x, groups, epsilon) = (x?, groups?, epsilon?);
        if !x.dims.first().is_some_and(|dim| dim.size.is_multiple_of(groups)) {
            sink.push(given.refuses("x", &x.dims, &format!("a tensor whose first dim has {groups} equal parts")));
            return None;
        }
        Some(Typed { node: operator::normalise_groups(&mut self.b, x.node, groups, epsilon), dims: x.dims })
    }

    fn embed(&mut self, given: &Given, sink: &mut Sink) -> Option<Typed> {
        let (table, ids) = (self.tensor(given, "table", sink), self.tensor(given, "ids", sink));
        let (table, ids) = (table?, ids?);
        if table.dims.is_empty() {
            sink.push(given.refuses("table", &table.dims, "a table of rows"));
            return None;
        }
        Some(Typed { node: self.b.gather(table.node, ids.node, 0), dims: [&ids.dims, &table.dims[1..]].concat() })
    }

    fn attention(&mut self, given: &Given, sink: &mut Sink) -> Option<Typed> {
        let names = ["queries", "keys", "values"];
        let [q, k, v] = names.map(|name| self.tensor(given, name, sink));
        let mask = given.param("mask").1.map(|_| self.tensor(given, "mask", sink));
        let heads = self.count(given, "heads", sink)?;
        let (q, k, v, mask) = (q?, k?, v?, mask.map_or(Some(None), |mask| mask.map(Some))?);
        let mut rows = vec![];
        for (name, x) in names.iter().zip([&q, &k, &v]) {
            match x.dims.as_slice() {
                [front @ .., row, width] if width.size.is_multiple_of(heads) => rows.push((front, row, width)),
                _ => {
                    let wants = format!("`{name}` in rows, `[t, e]`, whose width has {heads} equal parts");
                    sink.push(given.refuses(name, &x.dims, &wants));
                    return None;
                }
            }
        }
        let [(front, row, width), keys, values] = rows[..] else { unreachable!("three tensors") };
        let agrees = |other: &[Dim]| other.len() == front.len() && other.iter().zip(front).all(|(x, y)| x.fits(y));
        if !keys.2.fits(width) || !keys.1.fits(values.1) || !agrees(keys.0) || !agrees(values.0) {
            sink.push(
                given
                    .refuses("keys", &k.dims, "keys as wide as the queries, and a value for every key")
                    .related(given.place("queries"), format!("the queries are {}", describe(&q.dims)))
                    .related(given.place("values"), format!("the values are {}", describe(&v.dims))),
            );
            return None;
        }
        let seen = [front, std::slice::from_ref(keys.1)].concat();
        let masks = |mask: &Typed| mask.dims.len() == seen.len() && mask.dims.iter().zip(&seen).all(|(x, y)| x.fits(y));
        if let Some(mask) = mask.as_ref().filter(|mask| !masks(mask)) {
            let wants = format!("a mask with a number for every key, `{}`", show(&seen));
            sink.push(given.refuses("mask", &mask.dims, &wants));
            return None;
        }
        let mask: Option<NodeId> = mask.map(|mask| mask.node);
        let parts = Dim { name: None, size: heads };
        let weights = [front, &[parts, row.clone(), keys.1.clone()]].concat();
        let dropout = self.dropped(given, "dropout", weights, sink)?;
        let node = operator::attention(&mut self.b, [q.node, k.node, v.node], mask, heads, dropout);
        Some(Typed { node, dims: [front, &[row.clone(), values.2.clone()]].concat() })
    }
}

/// The parts of a kernel `[filters, channels, size, ..]`.
fn filters_of(kernel: &[Dim]) -> Option<(&Dim, &Dim, &[Dim])> {
    match kernel {
        [filters, channels, spans @ ..] if !spans.is_empty() => Some((filters, channels, spans)),
        _ => None,
    }
}

/// The axes that `h` or `[h, w]` names.
fn named_axes(over: &Expr, dims: &[Dim], sink: &mut Sink) -> Option<Vec<usize>> {
    let items = if let ExprKind::List(items) = &over.kind { items.as_slice() } else { std::slice::from_ref(over) };
    let mut axes = Vec::new();
    for item in items {
        let name: Option<&Name> = if let ExprKind::Path(path) = &item.kind { path.first() } else { None };
        let places: Vec<usize> = match name {
            Some(name) => (0..dims.len()).filter(|&axis| dims[axis].name.as_ref() == Some(&name.text)).collect(),
            None => vec![],
        };
        match places[..] {
            [axis] if !axes.contains(&axis) => axes.push(axis),
            _ => {
                let names = dims.iter().filter_map(|dim| dim.name.as_deref());
                let known: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                let error = Diagnostic::error("E0332", item.span, "`over` names one dim of the tensor, once each")
                    .label(format!("the tensor is {}", describe(dims)));
                sink.push(match known.is_empty() {
                    true => error.help("its dims have no names; `let y: [h, w] = ..` names those of a value"),
                    false => error.help(format!("it has {}", known.join(", "))),
                });
                return None;
            }
        }
    }
    axes.sort_unstable();
    Some(axes)
}

/// The dims that windows over all but the first leave, with their names where they stay as long as they are.
fn windowed(given: &Given, dims: &[Dim], windows: &[Windows], sink: &mut Sink) -> Option<Vec<Dim>> {
    let mut left = Vec::new();
    // Along each dim no more than this many entries, on the way to all windows side by side.
    let mut most = vec![dims[0].clone()];
    for (dim, windows) in dims[1..].iter().zip(windows) {
        let Some(size) = windows.count(dim.size) else {
            let message = format!("no window of {} entries fits into `{dim}`", windows.size);
            sink.push(
                Diagnostic::error("E0331", given.place("x"), message)
                    .label(format!("this is {}", describe_sizes(dims)))
                    .help(format!(
                        "with a padding of {}, it has {} entries",
                        windows.padding,
                        dim.size + 2 * windows.padding
                    )),
            );
            return None;
        };
        let padded = dim.size.saturating_add(windows.padding.saturating_mul(2));
        most.push(Dim { name: None, size: padded.max(size.saturating_mul(windows.size)) });
        left.push(if size == dim.size { dim.clone() } else { Dim { name: None, size } });
    }
    check_size(&most, given.place("x"), sink).then_some(left)
}
