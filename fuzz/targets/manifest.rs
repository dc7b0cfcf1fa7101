//! Any bytes as a manifest or an index, whatever the registry announced.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Document, MAX_ENTRIES, OCI_INDEX, OCI_MANIFEST, require_image,
};
use orc_image::platform::{self, Platform};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let announced: &[&str] = match first % 6 {
        0 => &[OCI_MANIFEST],
        1 => &[OCI_INDEX],
        2 => &[DOCKER_MANIFEST],
        3 => &[DOCKER_INDEX],
        4 => &["application/json"],
        _ => &[],
    };
    match Document::parse(bytes, announced) {
        Ok(Document::Manifest(manifest)) => {
            assert!(manifest.layers.len() <= MAX_ENTRIES);
            let image = require_image(&manifest).is_ok();
            let again = Document::parse(&manifest.to_bytes(), &[&manifest.media_type]);
            assert!(!image || again.is_ok_and(|one| one == Document::Manifest(manifest)));
        }
        Ok(Document::Index(index)) => {
            assert!(index.manifests.len() <= MAX_ENTRIES);
            let offered: Vec<_> = index
                .manifests
                .iter()
                .map(|one| one.platform.clone())
                .collect();
            if let Ok(chosen) = platform::choose(&Platform::host(), &offered) {
                assert!(chosen < offered.len());
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2_000 && !text.contains('\n'), "{text}");
        }
    }
});
