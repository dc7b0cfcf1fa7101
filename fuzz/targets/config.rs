//! Any bytes as the config of an image; what is read is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::config::{ConfigFile, MAX_LAYERS};

fuzz_target!(|bytes: &[u8]| {
    match ConfigFile::parse(bytes) {
        Ok(file) => {
            assert!(file.diff_ids.len() <= MAX_LAYERS);
            let rendered = file.render().expect("what was read can be written");
            let again = ConfigFile::parse(&rendered).expect("what was written can be read");
            assert_eq!(again, file);
            assert_eq!(again.render().expect("as above"), rendered);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2_000 && !text.contains('\n'), "{text}");
        }
    }
});
