//! Any text as an ignore file, and any text as a path to look at.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::dockerfile::glob::{Glob, split_wildcards};
use orc_image::dockerfile::ignore::Ignore;

fuzz_target!(|text: &str| {
    let (file, path) = text.split_once('\0').unwrap_or((text, "a/b/c.txt"));
    if let Ok(ignore) = Ignore::parse(file) {
        let excluded = ignore.excludes(path);
        if ignore.excludes_all()
            && !ignore.takes_back()
            && !matches!(path, "" | ".")
            && !path.contains('/')
        {
            assert!(excluded);
        }
        if ignore.is_empty() {
            assert!(!excluded);
        }
        let _ = ignore.may_contain_included(path);
    }
    for pattern in file.lines().take(8) {
        let (plain, wild) = split_wildcards(pattern);
        assert!(plain.len() + wild.len() <= pattern.len());
        if let Ok(glob) = Glob::parse(pattern) {
            // What matches lies below what may match.
            let _ = glob.may_match_below(path);
            assert!(!glob.matches(path) || glob.matches_or_parent(path));
        }
    }
});
