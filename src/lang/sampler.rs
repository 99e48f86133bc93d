//! Declarations that make values: of the world, of tasks, episodes and examples, and of the model's initial state.

use super::constant::Constants;
use super::dims::Types;
use super::writer::Writer;
use crate::diag::{Diagnostic, Sink};
use crate::plan::Sampler;
use crate::syntax::ast::Decl;

/// Writes declarations into one sampler; returns it with the types declared.
pub(super) fn sampler(
    name: &str,
    decls: &[&Decl],
    known: &Types,
    constants: &Constants,
    sink: &mut Sink,
) -> (Sampler, Types) {
    let mut writer = Writer::new(constants, known, None);
    let mut types = Types::new();
    for decl in decls {
        let dims = if has_dims(decl, "", sink) { writer.declare(decl, sink) } else { None };
        types.insert(decl.name.text.clone(), dims);
    }
    (writer.into_sampler(name), types)
}

/// Whether a declaration says which dims it has; `keyword` stands before it in the text.
pub(super) fn has_dims(decl: &Decl, keyword: &str, sink: &mut Sink) -> bool {
    if decl.dims.is_none() {
        let (name, sign) = (&decl.name.text, if decl.drawn { '~' } else { '=' });
        sink.push(Diagnostic::error("E0307", decl.name.span, format!("`{name}` needs its dims")).help(format!(
            "write `{keyword}{name}: [] {sign} ...` for a scalar, `{keyword}{name}: [d] {sign} ...` for a vector"
        )));
    }
    decl.dims.is_some()
}
