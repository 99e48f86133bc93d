//! From text to syntax tree: the pest grammar (`grammar/meta.pest`), the tree, and recovery from mistakes.
//!
//! Parsing never fails: [`parse`] always returns a [`File`], and a sink full of diagnostics where the text is wrong.
//! What a name *means* is not known here.

pub mod ast;
mod parse;

pub use ast::File;
pub use parse::parse;
