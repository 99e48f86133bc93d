//! From text to syntax tree: the pest grammar (`grammar/meta.pest`), the tree, and recovery from mistakes.
//!
//! Parsing never fails: [`parse`] always returns a [`File`], and a sink full of diagnostics where the text is wrong.
//! What a name *means* is not known here. The layout pass balances brackets, the grammar takes every text that comes
//! out of it, and the tree is built statement by statement, each mistake reported once.
//!
//! | code | mistake | code | mistake |
//! |---|---|---|---|
//! | E0100 | too many to show | E0115 | a statement in the wrong block |
//! | E0101 | the file is too large | E0116 | a name is missing or too much |
//! | E0102 | nested too deep | E0117 | a keyword as a name |
//! | E0103 | a bracket is never closed | E0118 | a block or a part of a model's head is missing |
//! | E0104 | a closer closes nothing | E0119 | `;` or `,` is missing or wrong |
//! | E0105 | a text is never closed | E0120 | a word of another language |
//! | E0106 | other quotes than `"` | E0121 | the edition is missing or wrong |
//! | E0107 | other comments than `//` | E0122 | a comparison where none can stand |
//! | E0108 | a character without meaning | E0123 | dims are missing, wrong or too much |
//! | E0109 | a number that is none | E0124 | text that fits nowhere |
//! | E0110 | a value is missing | E0126 | a blank before `(` or `[` |
//! | E0111 | an operator that is written otherwise | E0127 | an unknown escape in a text |
//! | E0112 | `:` for `=`, or `=` for `:` | E0128 | no prediction, or two |
//! | E0113 | another sign for `=`, `~`, `in`, `->` | E0129 | nothing between two commas |
//! | E0114 | an unknown keyword | E0130 | a unit where none can stand |

pub mod ast;
mod format;
mod format_line;
mod parse;
mod parse_char;
mod parse_expr;
mod parse_item;
mod parse_layout;
mod parse_model;
mod parse_place;
mod parse_report;
mod parse_rest;
mod parse_statement;
mod parse_token;
mod print;
#[cfg(test)]
mod sentences;

pub use ast::File;
pub use format::format;
pub use parse::parse;
