//! Canonical bytes and content identities: what a value *is*, apart from how it is written down.
//!
//! Everything that has an identity implements [`Canonical`]: an explicit map to a [`Value`] tree and back.
//! A tree has exactly one encoding (deterministic CBOR, RFC 8949 section 4.2, see [`cbor`]) and an [`Id`] is
//! the BLAKE3 hash of that encoding under a key derived from the object's kind. RON and JSON are views of the
//! same tree ([`to_ron`], [`to_json`]); they are read by people and never hashed.

pub mod cbor;
mod id;
mod record;
mod value;
mod view;

pub use id::{Id, IdError, Kind};
pub(crate) use record::{put, record, take, variants};
pub use value::{Bytes, Canonical, DecodeError, Value};
pub use view::{from_ron, to_json, to_ron};
