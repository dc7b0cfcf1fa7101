//! Sparse files whose maps lie.

use crate::cases::Case;
use crate::entry::Entry;
use crate::tape::{Tape, tape};

pub(super) fn cases() -> Vec<Case> {
    [in_records(), in_lines(), in_headers(), fine()].concat()
}

fn version_0_1(size: &str, map: &str, data: &[u8]) -> Tape {
    let records = [
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.map", map.as_bytes()),
    ];
    tape().pax(&records).file("s", data)
}

fn version_1_0(size: &str, lines: &[u8], data: &[u8]) -> Tape {
    let mut map = lines.to_vec();
    map.resize(map.len().next_multiple_of(512), 0);
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    let data = [&map, data].concat();
    tape().pax(&records).file("GNUSparseFile.0/s", &data)
}

fn in_records() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, size, map) in [
        ("pieces that overlap", "100", "0,3,2,2"),
        ("pieces out of order", "100", "50,3,0,2"),
        ("a piece beyond the end", "100", "98,5"),
        (
            "a piece at the end of all numbers",
            "100",
            "18446744073709551615,5",
        ),
        ("pieces that add up to less", "100", "0,4"),
        ("pieces that add up to more", "100", "0,6"),
        (
            "sums beyond 64 bits",
            "18446744073709551615",
            "0,18446744073709551615,5,5",
        ),
        ("an offset without a length", "100", "0,5,50"),
        ("an empty number", "100", "0,,5"),
        ("a negative offset", "100", "-5,5"),
        ("words", "100", "zero,five"),
        ("no size", "", "0,5"),
        ("a size of words", "large", "0,5"),
        ("a file of 2 TiB", "2199023255552", "0,5"),
        ("a file of 8 EiB", "9223372036854775807", "0,5"),
        ("a file of 16 EiB", "18446744073709551615", "0,5"),
    ] {
        let case = format!("sparse 0.1 with {what}");
        cases.push(Case::tape(case, version_0_1(size, map, b"abcde"), &[]));
    }
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("{},0", n * 2))
            .collect::<Vec<_>>()
            .join(",")
    };
    cases.push(Case::tape(
        "sparse 0.1 with 70 000 pieces",
        version_0_1("1000000", &many(70_000), b""),
        &["65536 pieces"],
    ));
    for (what, records) in [
        ("no pieces", vec![("GNU.sparse.size", "10")]),
        (
            "pieces in the wrong order",
            vec![
                ("GNU.sparse.size", "10"),
                ("GNU.sparse.numbytes", "5"),
                ("GNU.sparse.offset", "0"),
            ],
        ),
        (
            "two offsets",
            vec![
                ("GNU.sparse.size", "10"),
                ("GNU.sparse.offset", "0"),
                ("GNU.sparse.offset", "5"),
            ],
        ),
        (
            "version 2.0",
            vec![
                ("GNU.sparse.major", "2"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.realsize", "10"),
            ],
        ),
        (
            "version 1.1",
            vec![
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "1"),
                ("GNU.sparse.realsize", "10"),
            ],
        ),
        (
            "a name that climbs",
            vec![
                ("GNU.sparse.name", "../x"),
                ("GNU.sparse.size", "5"),
                ("GNU.sparse.map", "0,5"),
            ],
        ),
    ] {
        let records: Vec<_> = records
            .iter()
            .map(|one| (one.0, one.1.as_bytes()))
            .collect();
        cases.push(Case::tape(
            format!("sparse records with {what}"),
            tape().pax(&records).file("s", b"abcde"),
            &[],
        ));
    }
    for kind in *b"125" {
        let tape = tape()
            .file("f", b"")
            .pax(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"")])
            .link(kind, "s", "f");
        cases.push(Case::tape(
            format!("sparse records before the type `{}`", kind as char),
            tape,
            &["no regular file"],
        ));
    }
    cases
}

fn in_lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, lines) in [
        ("no number of pieces", &b"\n0\n5\n"[..]),
        ("a number of pieces beyond all", b"18446744073709551615\n"),
        ("70 000 pieces", b"70000\n"),
        ("fewer pieces than it says", b"3\n0\n5\n"),
        ("a negative number", b"1\n-1\n5\n"),
        ("words", b"one\nzero\nfive\n"),
        (
            "a number of 30 digits",
            b"1\n000000000000000000000000000000\n5\n",
        ),
        ("no newline at all", &[b'1'; 512]),
        ("zeros only", b""),
        ("pieces beyond the end", b"1\n98\n5\n"),
        ("pieces that add up to less", b"1\n0\n3\n"),
    ] {
        cases.push(Case::tape(
            format!("sparse 1.0 with {what}"),
            version_1_0("100", lines, b"abcde"),
            &[],
        ));
    }
    cases
}

fn old(real_size: u64, pieces: &[(u64, u64)], more: bool) -> Tape {
    tape().raw_with_data(b"abcde", |header| {
        header[..4].copy_from_slice(b"s\0\0\0");
        header[156] = b'S';
        header[257..265].copy_from_slice(b"ustar  \0");
        for (index, (offset, length)) in pieces.iter().enumerate() {
            put(header, 386 + index * 24, *offset);
            put(header, 398 + index * 24, *length);
        }
        header[482] = u8::from(more);
        put(header, 483, real_size);
    })
}

fn put(header: &mut [u8; 512], at: usize, value: u64) {
    header[at..at + 11].copy_from_slice(format!("{value:011o}").as_bytes());
}

fn in_headers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, size, pieces) in [
        ("pieces that overlap", 100, &[(0_u64, 3_u64), (2, 2)][..]),
        ("pieces out of order", 100, &[(50, 3), (0, 2)]),
        ("a piece beyond the end", 100, &[(98, 5)]),
        ("pieces that add up to less", 100, &[(0, 4)]),
        ("no pieces and yet data", 100, &[]),
        ("a file smaller than its data", 3, &[(0, 5)]),
    ] {
        cases.push(Case::tape(
            format!("old sparse file with {what}"),
            old(size, pieces, false),
            &["sparse"],
        ));
    }
    cases.push(Case::tape(
        "old sparse file that goes on for ever",
        old(100, &[(0, 5)], true).bytes(&endless(2000)),
        &[],
    ));
    cases.push(Case::tape(
        "old sparse file without its next block",
        old(100, &[(0, 5)], true),
        &[],
    ));
    let posix = tape().raw(|header| header[156] = b'S');
    cases.push(Case::tape(
        "old sparse file in a POSIX header",
        posix,
        &["GNU header"],
    ));
    let both = tape().pax(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"0,5")]);
    let both = both.raw_with_data(b"abcde", |header| {
        header[156] = b'S';
        header[257..265].copy_from_slice(b"ustar  \0");
    });
    cases.push(Case::tape(
        "old sparse file with records as well",
        both,
        &["two forms"],
    ));
    cases
}

/// Blocks of pieces that each announce another.
fn endless(blocks: usize) -> Vec<u8> {
    let mut block = [b'0'; 512];
    block[504] = 1;
    block.repeat(blocks)
}

fn fine() -> Vec<Case> {
    let mut data = vec![0; 10_000];
    data[..3].copy_from_slice(b"abc");
    data[8_192..8_194].copy_from_slice(b"de");
    let entry = Entry::file("s", data).mtime(1_610_612_736);
    let holes = Entry::file("s", vec![0; 10_000]).mtime(1_610_612_736);
    vec![
        Case::like(
            "sparse file of version 0.1",
            version_0_1("10000", "0,3,8192,2", b"abcde").end(),
            std::slice::from_ref(&entry),
        ),
        Case::like(
            "sparse file of version 1.0",
            version_1_0("10000", b"2\n0\n3\n8192\n2\n", b"abcde").end(),
            std::slice::from_ref(&entry),
        ),
        Case::like(
            "old sparse file",
            old(10_000, &[(0, 3), (8_192, 2)], false).end(),
            &[entry],
        ),
        Case::like(
            "sparse file of holes only",
            version_0_1("10000", "", b"").end(),
            &[holes],
        ),
    ]
}
