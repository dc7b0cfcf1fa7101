//! Any bytes as the records of a PAX header, before one entry and before all.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::unpack::pax;

fuzz_target!(|bytes: &[u8]| {
    let one = pax::parse(bytes).map(|_| ());
    let all = pax::check_global(bytes);
    for error in [one, all].into_iter().filter_map(Result::err) {
        let text = error.to_string();
        assert!(text.len() < 1_000 && !text.contains('\n'), "{text}");
    }
});
