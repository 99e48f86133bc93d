//! RON and JSON views of a value tree.
