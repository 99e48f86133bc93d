//! Declarations that make values: of the world, of tasks, episodes and examples, and of the model's initial state.

use super::constant::Constants;
use super::dims::Types;
use super::writer::Writer;
use crate::diag::Sink;
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
        types.insert(decl.name.text.clone(), writer.declare(decl, sink));
    }
    (writer.into_sampler(name), types)
}
