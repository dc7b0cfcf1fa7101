//! Any bytes as an archive: the reader ends, and never gives out more than it was given.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::unpack::entry::EntryKind;
use orc_image::unpack::path;
use orc_image::unpack::tar::Reader;

fuzz_target!(|bytes: &[u8]| {
    let bytes = with_checksums(bytes);
    let mut reader = Reader::new(&bytes[..]);
    let (mut entries, mut given) = (0, 0);
    while let Ok(Some(entry)) = reader.next_entry() {
        entries += 1;
        assert!(!entry.name.is_empty() && entry.mode <= 0o7777);
        if let Ok(place) = path::place(&entry.name) {
            stays_inside(&place);
        }
        if let EntryKind::Sparse(map) = &entry.kind {
            assert!(
                map.pieces
                    .iter()
                    .all(|one| one.offset + one.length <= map.size)
            );
        }
        let mut length = 0;
        let read = reader.data(&mut |piece| {
            length += piece.len();
            Ok(())
        });
        if let (Ok(()), EntryKind::File(size)) = (&read, &entry.kind) {
            assert_eq!(*size, length as u64);
        }
        given += length;
    }
    assert!(entries <= bytes.len() / 512 && given <= bytes.len());
});

/// The first byte says whether every block gets the checksum of a header: without it hardly any
/// mutated archive gets past its first one.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let Some((first, rest)) = bytes.split_first() else {
        return Vec::new();
    };
    let mut bytes = rest.to_vec();
    if first % 2 == 0 {
        return bytes;
    }
    for header in bytes.chunks_exact_mut(512) {
        let magic = &header[257..262];
        if magic == b"ustar" {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

fn stays_inside(place: &path::Place) {
    use std::path::Component;
    let (path::Place::File(path) | path::Place::Whiteout(path) | path::Place::Opaque(path)) = place
    else {
        return;
    };
    assert!(
        path.components()
            .all(|part| matches!(part, Component::Normal(_)))
    );
}
