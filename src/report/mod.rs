//! What people see of a ledger: a run read whole, its curves as SVG, its report as a page, tables and checklists.
//!
//! [`Record`] is the one way in which this module and the command line read a run; nothing else here knows how a ledger
//! lays out its objects. Everything is returned as text: writing and printing is the command line's.

mod axis;
mod checklist;
mod cite;
mod curve;
mod difference;
mod imported;
mod page;
mod plot;
mod record;
mod table;
pub mod text;

pub use checklist::{Answer, checklist};
pub use cite::{Citation, paper};
pub use curve::{Curve, Figure, Point, figures};
pub use difference::{Change, Difference, SeriesChange, bits, difference, plan_difference};
pub use imported::ImportedRecord;
pub use page::page;
pub use plot::{svg, svg_file};
pub use record::{CellRecord, Record, Spread};
pub use table::{Located, splice, table};
