//! Dims and tensor types: their names, their sizes, when two of them agree.
//!
//! Names are compared before sizes, so `k` where `h` is meant is found even when both are 3. An unnamed dim (a literal
//! size, a data column) fits any dim of its size.

use std::fmt;

use indexmap::IndexMap;

use super::constant::Constants;
use crate::diag::{Diagnostic, Sink, Span};
use crate::ir::MAX_ELEMENTS;
use crate::plan::Slot;
use crate::syntax::ast::{Dims, Expr, ExprKind, Name};

/// A tensor has at most this many dims. It bounds the search for the places of one type within another.
const MAX_RANK: usize = 8;

/// One dim of a tensor type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dim {
    pub name: Option<String>,
    pub size: usize,
}

/// Types by name, in the order of declaration; `None` where a declaration was wrong, which has been reported.
pub(super) type Types = IndexMap<String, Option<Vec<Dim>>>;

impl Dim {
    /// Whether both can be the same dim.
    pub fn fits(&self, other: &Dim) -> bool {
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

/// The type in words that can follow "is": `a scalar, []` or `[d, k]`.
pub(super) fn describe(dims: &[Dim]) -> String {
    if dims.is_empty() { "a scalar, []".to_owned() } else { show(dims) }
}

/// The type with the sizes of its dims: `[d = 4, k = 2]`.
pub(super) fn describe_sizes(dims: &[Dim]) -> String {
    let sized = |dim: &Dim| match &dim.name {
        Some(name) => format!("{name} = {}", dim.size),
        None => dim.size.to_string(),
    };
    if dims.is_empty() {
        describe(dims)
    } else {
        format!("[{}]", dims.iter().map(sized).collect::<Vec<_>>().join(", "))
    }
}

/// The sizes alone.
pub(super) fn sizes(dims: &[Dim]) -> Vec<usize> {
    dims.iter().map(|d| d.size).collect()
}

/// Whether two tensor types agree, dim by dim.
pub(super) fn same(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.fits(b))
}

/// Whether two types hold the same number of entries along every dim, so that only names can keep them apart.
pub(super) fn same_sizes(a: &[Dim], b: &[Dim]) -> bool {
    sizes(a) == sizes(b)
}

/// Reads `[d, k]`.
pub(super) fn read_dims(dims: &Dims, constants: &Constants, sink: &mut Sink) -> Option<Vec<Dim>> {
    let found: Vec<Option<Dim>> = dims.dims.iter().map(|e| read_dim(e, constants, sink)).collect();
    let found: Vec<Dim> = found.into_iter().collect::<Option<_>>()?;
    check_size(&found, dims.span, sink).then_some(found)
}

/// A dim by name, a size without one, or arithmetic on both: `2 * d` has no name either.
fn read_dim(expr: &Expr, constants: &Constants, sink: &mut Sink) -> Option<Dim> {
    if let ExprKind::Path(path) = &expr.kind {
        let size = read_name(path, expr.span, constants, sink)?;
        return Some(Dim { name: Some(path[0].text.clone()), size });
    }
    let mut known = true;
    visit_paths(expr, &mut |path, span| known &= read_name(path, span, constants, sink).is_some());
    if !known {
        return None;
    }
    constants.count(expr, 1, "a dim", sink).map(|size| Dim { name: None, size: size as usize })
}

fn visit_paths(expr: &Expr, visit: &mut impl FnMut(&[Name], Span)) {
    match &expr.kind {
        ExprKind::Path(path) => visit(path, expr.span),
        ExprKind::Binary(_, a, b) => {
            visit_paths(a, visit);
            visit_paths(b, visit);
        }
        _ => {}
    }
}

/// The size of a dim that a name stands for.
fn read_name(path: &[Name], span: Span, constants: &Constants, sink: &mut Sink) -> Option<usize> {
    let [name] = path else {
        sink.push(Diagnostic::error("E0402", span, "a dim is the name of a `dim` item, or a whole number"));
        return None;
    };
    if let Some(size) = constants.dims.get(&name.text) {
        return *size;
    }
    let error = Diagnostic::error("E0202", name.span, format!("no dim is called `{}`", name.text));
    let known = constants.dims.keys().map(String::as_str);
    sink.push(match constants.numbers.get(&name.text) {
        Some(_) => {
            constants.elsewhere(error, name, known).help(format!("write `dim {} = ...` instead of `let`", name.text))
        }
        None => constants
            .elsewhere(error, name, known)
            .help(format!("a dim is declared at the top of the file: `dim {} = 10`", name.text)),
    });
    None
}

/// Whether a tensor can have this type; reports why not.
pub(super) fn check_size(dims: &[Dim], span: Span, sink: &mut Sink) -> bool {
    if dims.len() > MAX_RANK {
        sink.push(
            Diagnostic::error("E0313", span, format!("a tensor cannot have {} dims", dims.len()))
                .label("too many dims")
                .help(format!("the limit is {MAX_RANK} dims")),
        );
        return false;
    }
    let elements = dims.iter().try_fold(1usize, |n, d| n.checked_mul(d.size));
    if elements.is_none_or(|n| n > MAX_ELEMENTS) {
        let sizes: Vec<String> = dims.iter().map(|d| d.size.to_string()).collect();
        sink.push(
            Diagnostic::error("E0304", span, format!("a tensor {} is too large", show(dims)))
                .label(format!("{} entries", sizes.join(" x ")))
                .help("the limit is 2^31 entries"),
        );
        return false;
    }
    true
}

/// The ways in which `narrow` is a subsequence of `wide`, as the axes of `wide` it takes; no more than two are listed.
pub(super) fn places(wide: &[Dim], narrow: &[Dim]) -> Vec<Vec<usize>> {
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

/// The named types as slots of the plan; wrong ones are left out.
pub(super) fn slots(values: &Types) -> Vec<Slot> {
    let known = values.iter().filter_map(|(name, dims)| Some((name, dims.as_ref()?)));
    known.map(|(name, dims)| Slot { name: name.clone(), dims: sizes(dims) }).collect()
}
