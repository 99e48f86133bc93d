//! A text without errors has a plan that is whole and can be lowered; a text with errors has none, and says why.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metadsl::diag::{Sink, render};
use metadsl::lang::compile;
use metadsl::plan::lower::{ClientSizes, lower};
use metadsl::syntax::parse;

fuzz_target!(|text: &str| {
    let mut sink = Sink::new();
    let file = parse(text, &mut sink);
    let compiled = if sink.has_errors() { None } else { compile(&file, &[], &mut sink) };
    assert_eq!(compiled.is_none(), sink.has_errors());
    render(text, "fuzz.meta", &sink.finish(), false);
    let Some(compiled) = compiled else { return };
    compiled.plan.verify().expect("a checked plan is whole");
    for arm in &compiled.plan.arms {
        lower(arm, &ClientSizes::default()).expect("a checked arm has programs");
    }
});
