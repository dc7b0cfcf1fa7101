//! What is around the archive: its end, its compression, and what follows.

use crate::cases::Case;
use crate::entry::{Entry, archive};
use crate::tape::{gzip, tape, zstd};

pub(super) fn cases() -> Vec<Case> {
    [ends(), compressed(), foreign()].concat()
}

fn entries() -> Vec<Entry> {
    vec![
        Entry::directory("d").mode(0o700),
        Entry::file("d/f", vec![b'x'; 3000]),
        Entry::symlink("l", "d/f"),
    ]
}

fn ends() -> Vec<Case> {
    let entries = entries();
    let whole = archive(&entries);
    let body = whole.len() - 1024;
    let end = |count: usize| [&whole[..body], &vec![0; count]].concat();
    let mut cases = vec![
        Case::like("zeros behind the end", end(10_240), &entries),
        Case::like(
            "zeros behind the end that are no whole block",
            end(1500),
            &entries,
        ),
        Case::refused("half a block of zeros", end(100), &["truncated"]),
        Case::refused(
            "garbage behind the end",
            [&whole[..], b"garbage"].concat(),
            &["behind its end"],
        ),
        Case::refused(
            "garbage far behind the end",
            [&end(100_000)[..], b"x"].concat(),
            &["behind its end"],
        ),
        Case::refused(
            "another archive behind the end",
            [&whole[..], &tape().file("second", b"").end()].concat(),
            &["behind its end"],
        ),
        Case::refused(
            "an archive that climbs behind the end",
            [&whole[..], &tape().file("../x", b"").end()].concat(),
            &["behind its end"],
        ),
        Case::refused(
            "a single block of zeros, then another entry",
            [&end(512)[..], &tape().file("x", b"").end()].concat(),
            &["behind its end"],
        ),
    ];
    for (what, zeros) in [("no end", 0), ("half an end", 512)] {
        let mut case = Case::like(what, end(zeros), &entries);
        case.unfinished = true;
        cases.push(case);
    }
    let mut nothing = Case::like("nothing at all", Vec::new(), &[]);
    nothing.unfinished = true;
    cases.push(nothing);
    cases.push(Case::like(
        "an end and nothing before it",
        vec![0; 1024],
        &[],
    ));
    for cut in [1, 100, 511, 513, 1000, 1025, 2000, 4000] {
        cases.push(Case::refused(
            format!("cut after {cut} bytes"),
            whole[..cut].to_vec(),
            &["truncated"],
        ));
    }
    cases
}

fn compressed() -> Vec<Case> {
    let entries = entries();
    let whole = archive(&entries);
    let (first, second) = whole.split_at(700);
    let mut cases = Vec::new();
    for (name, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let packed = pack(&whole);
        let parts = [pack(first), pack(b""), pack(second)].concat();
        let flipped = |at: usize| {
            let mut bytes = packed.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        cases.extend([
            Case::like(format!("{name} in one part"), packed.clone(), &entries),
            Case::like(format!("{name} in three parts"), parts.clone(), &entries),
            Case::refused(
                format!("{name} of a second archive behind the first"),
                [pack(&whole), pack(&tape().file("second", b"").end())].concat(),
                &["behind its end"],
            ),
            Case::refused(
                format!("{name} with garbage behind it"),
                [&packed[..], b"garbage, and not a little of it"].concat(),
                &["corrupt"],
            ),
            Case::refused(
                format!("{name} without its last byte"),
                packed[..packed.len() - 1].to_vec(),
                &["truncated"],
            ),
            Case::refused(
                format!("{name} without its second half"),
                packed[..packed.len() / 2].to_vec(),
                &[],
            ),
            Case::refused(
                format!("{name} of three parts, the last one cut"),
                parts[..parts.len() - 5].to_vec(),
                &[],
            ),
            Case::refused(
                format!("{name} with a flipped bit in the middle"),
                flipped(packed.len() / 2),
                &[],
            ),
            Case::refused(
                format!("{name} with a flipped bit at the end"),
                flipped(packed.len() - 6),
                &[],
            ),
            Case::refused(format!("{name} in {name}"), pack(&packed), &[]),
            Case::refused(
                format!("{name} of something else"),
                pack(&b"hello world ".repeat(100)),
                &[],
            ),
            Case::refused(
                format!("{name}, the first bytes only"),
                packed[..4].to_vec(),
                &[],
            ),
        ]);
    }
    // A skippable frame before and between, as in zstd:chunked (RFC 8878, 3.1.2).
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
    let chunked = [&zstd(first)[..], skippable, &zstd(second), skippable].concat();
    cases.push(Case::like("zstd with skippable frames", chunked, &entries));
    cases
}

fn foreign() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, start) in [
        ("xz", &b"\xfd7zXZ\0"[..]),
        ("bzip2", b"BZh91AY&SY"),
        ("lzip", b"LZIP\x01"),
        ("zip", b"PK\x03\x04\x14\0"),
    ] {
        let stream = [start, &[7; 600]].concat();
        cases.push(Case::refused(
            format!("a stream of {name}"),
            stream,
            &[name],
        ));
    }
    for (what, stream) in [
        (
            "a web page",
            b"<!doctype html><title>Sign in</title>".repeat(50),
        ),
        (
            "a program",
            [&b"\x7fELF\x02\x01\x01"[..], &[0; 1000]].concat(),
        ),
        ("JSON", b"{\"errors\": []}".repeat(100)),
        ("ones", vec![0xff; 2048]),
    ] {
        cases.push(Case::refused(what, stream, &[]));
    }
    cases
}
