//! The closest known name to a misspelt one.
/// Placeholder.
pub fn closest<'a>(_wrong: &str, _known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> { None }
