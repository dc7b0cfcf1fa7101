//! Any text as the name of an image, and as a digest.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::digest::Digest;
use orc_image::reference::Reference;

fuzz_target!(|text: &str| {
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.as_str(), text);
        assert!(digest.hex().len() == digest.algorithm().digits());
    }
    match Reference::parse(text) {
        Ok(reference) => {
            // Both spellings of a name mean the same image.
            for spelling in [reference.to_string(), reference.familiar()] {
                assert_eq!(
                    Reference::parse(&spelling).ok().as_ref(),
                    Some(&reference),
                    "{spelling}"
                );
            }
            // Its parts stand in URLs.
            let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
            assert!(plain(reference.registry()) && plain(reference.repository()));
            assert!(
                !reference
                    .repository()
                    .split('/')
                    .any(|part| matches!(part, "" | "." | ".."))
            );
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2_000 && !text.contains('\n'), "{text}");
        }
    }
});
