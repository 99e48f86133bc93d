//! The experiments that are shipped.

use std::path::Path;

/// Their names.
#[allow(dead_code, reason = "every test binary uses a part of it")]
pub const NAMES: [&str; 4] = ["maml_anil", "maml_sine", "fedrep_digits", "tr_maml"];

/// The text of one of them.
pub fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments").join(name).with_extension("meta");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
