//! Questions to a ledger: the query language of `metadsl log`, and the derived index that answers it.
//!
//! A query names *fields*. A run may have several values under a field (arms have rates of their own); a comparison holds where
//! one of them satisfies it. The index keeps every field of every run in one file that may be deleted at any time.
//!
//! | code | mistake |
//! |---|---|
//! | Q0101 | the query cannot be read |
//! | Q0102 | no run has such a field |
//! | Q0103 | a text where a number stands, or the other way round |

mod ast;
mod evaluate;
mod fields;
mod index;
mod parse;
mod refresh;

pub use ast::{Comparison, Condition, Field, Operator, Order, Query, Value};
pub use evaluate::{Tags, cell, cell_json, check, select};
pub use fields::{FIXED, course_key, imported_summary, summary};
pub use index::{Entry, Index, Row, Shown};
pub use parse::{parse, parse_field};
pub use refresh::{Seen, read_tags, refresh};
