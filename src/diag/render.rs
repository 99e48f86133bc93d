//! Diagnostics as text.
/// Placeholder until the renderer lands.
pub fn render(source: &str, name: &str, diagnostics: &[super::Diagnostic]) -> String { let _=(source,name); format!("{diagnostics:?}") }
