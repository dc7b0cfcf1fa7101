//! Any text as words with variables, quotes and operators in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::dockerfile::environment::Environment;
use orc_image::dockerfile::words::{MAX_EXPANDED, Words};

fuzz_target!(|text: &str| {
    let mut environment = Environment::default();
    environment.set("A", "a/b/c");
    environment.set("B", "");
    environment.set("LONG", &"l".repeat(1000));
    for escape in ['\\', '`'] {
        match Words::new(escape).expand(text, &environment) {
            Ok(expanded) => assert!(expanded.text.len() <= MAX_EXPANDED.max(text.len())),
            Err(error) => assert!(error.to_string().len() < (16 << 10)),
        }
    }
});
