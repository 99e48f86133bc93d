//! Formatting changes blanks only, and a formatted text no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metadsl::syntax::format;

fuzz_target!(|text: &str| {
    let formatted = format(text);
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(without_blanks(&formatted), without_blanks(text));
    assert_eq!(format(&formatted), formatted);
});
