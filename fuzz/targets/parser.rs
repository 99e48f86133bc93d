//! Parsing any text gives a tree, and diagnostics that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metadsl::diag::{Sink, render};
use metadsl::syntax::parse;

fuzz_target!(|text: &str| {
    let mut sink = Sink::new();
    parse(text, &mut sink);
    render(text, "fuzz.meta", &sink.finish(), false);
});
