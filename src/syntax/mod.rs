//! From text to syntax tree: the pest grammar (`grammar/meta.pest`), the tree, and recovery from mistakes.
//!
//! Parsing never fails: [`parse`] always returns a [`File`], and a sink full of diagnostics where the text is wrong.
//! What a name *means* is not known here. The layout pass balances brackets, the grammar takes every text that comes
//! out of it, and the tree is built statement by statement, each mistake reported once.

pub mod ast;
mod parse;
mod parse_char;
mod parse_expr;
mod parse_item;
mod parse_layout;
mod parse_model;
mod parse_report;
mod parse_rest;
mod parse_statement;
mod parse_token;

pub use ast::File;
pub use parse::parse;
