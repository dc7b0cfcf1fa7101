//! Extension headers: PAX records and GNU long names that are malformed, that disagree with their
//! header or with each other, and that want memory.

use crate::cases::Case;
use crate::entry::Entry;
use crate::tape::{record, tape};

pub(super) fn cases() -> Vec<Case> {
    [
        malformed(),
        values(),
        sizes(),
        global(),
        long_names(),
        fine(),
    ]
    .concat()
}

fn malformed() -> Vec<Case> {
    let blocks: [(&str, &[u8]); 21] = [
        ("no length", b"path=a\n"),
        ("no space", b"9path=ab\n"),
        ("no equals sign", b"9 pathab\n"),
        ("no key", b"5 =a\n"),
        ("no newline", b"9 path=ab"),
        ("another end", b"9 path=ab"),
        ("a length of zero", b"0 path=a\n"),
        ("a length of one", b"1 path=a\n"),
        ("a length too short", b"6 path=abc\n"),
        ("a length too long", b"99 path=a\n"),
        ("a negative length", b"-9 path=a\n"),
        ("a length with a sign", b"+9 path=a\n"),
        ("a length with a leading space", b" 9 path=a\n"),
        ("a length in hexadecimal", b"0x9 path=a\n"),
        (
            "a length beyond 64 bits",
            b"99999999999999999999999 path=a\n",
        ),
        ("a length of 2^64 - 1", b"18446744073709551615 path=a\n"),
        ("a NUL in the key", b"9 pa\0h=a\n"),
        ("a NUL in the path", b"10 path=a\0\n"),
        ("zeros behind the records", b"8 x=abc\n\0\0\0\0"),
        ("a good record and half of one", b"8 x=abc\n12 path="),
        ("spaces only", b"          "),
    ];
    let mut cases = Vec::new();
    for (what, block) in blocks {
        // Readers that pass over such a record would go on with the name of the header.
        let tape = tape().extension(b'x', block).file("f", b"x");
        cases.push(Case::tape(
            format!("PAX record with {what}: {}", block.len()),
            tape,
            &["PAX"],
        ));
    }
    cases
}

fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    for (key, values) in [
        (
            "size",
            &[
                "-1",
                "+1",
                "1x",
                "0x10",
                " 1",
                "1.5",
                "99999999999999999999",
            ][..],
        ),
        ("uid", &["-1", "4294967295", "4294967296", "root", "1e3"]),
        ("gid", &["-1", "4294967295", "18446744073709551616"]),
        (
            "mtime",
            &["soon", "1.-5", "--1", "1,5", "9223372036854775807", "."],
        ),
        ("path", &["a\0b", "../x", "/../x", "a/../../x"]),
        ("linkpath", &["a\0b"]),
        ("SCHILY.xattr.", &["x"]),
        ("SCHILY.xattr.a\0b", &["x"]),
    ] {
        for value in values {
            let tape = tape()
                .pax(&[(key, value.as_bytes())])
                .link(b'1', "link", "f");
            let name = format!(
                "PAX {} of `{}`",
                key.escape_default(),
                value.escape_default()
            );
            cases.push(Case::tape(name, tape, &[]));
        }
    }
    cases
}

/// A header says one size and its records another: what lies between is an entry to one reader and
/// data to the other (CVE-2025-62518).
fn sizes() -> Vec<Case> {
    let inner = tape().file("smuggled", b"").done();
    let inside = inner.len().to_string();
    let record = |size: &str| tape().pax(&[("size", size.as_bytes())]);
    let outer = Entry::file("outer", inner.clone()).mtime(1_610_612_736);
    let after = Entry::file("after", "x").mtime(1_610_612_736);
    let both = [outer.clone(), after.clone()];
    let mut cases = vec![
        Case::like(
            "PAX size that hides an entry from readers of the header",
            record(&inside)
                .raw_file("outer", 0, &inner)
                .file("after", b"x")
                .end(),
            &both,
        ),
        Case::like(
            "PAX size that shows an entry to readers of the header only",
            record("0")
                .raw_file("outer", 512, b"")
                .bytes(&inner)
                .file("after", b"x")
                .end(),
            &[
                Entry::file("outer", "").mtime(1_610_612_736),
                Entry::file("smuggled", "").mtime(1_610_612_736),
                after.clone(),
            ],
        ),
        Case::like(
            "PAX size equal to that of the header",
            record(&inside)
                .file("outer", &inner)
                .file("after", b"x")
                .end(),
            &both,
        ),
        Case::like(
            "PAX size that is empty",
            record("").file("outer", &inner).file("after", b"x").end(),
            &both,
        ),
        Case::tape(
            "PAX size of a directory",
            record("512").directory("d").bytes(&inner),
            &["`d`", "yet has 512"],
        ),
        Case::tape(
            "PAX size of a symlink",
            record("512").link(b'2', "l", "x").bytes(&inner),
            &["yet has 512"],
        ),
        Case::tape(
            "PAX size of a hard link",
            tape()
                .file("f", b"")
                .pax(&[("size", b"512")])
                .link(b'1', "l", "f")
                .bytes(&inner),
            &["yet has 512"],
        ),
        Case::tape(
            "PAX size twice, the last counts",
            tape()
                .pax(&[("size", b"512"), ("size", b"99999")])
                .file("outer", &inner),
            &["truncated"],
        ),
        Case::tape(
            "PAX size beyond the archive",
            record("1048576").file("outer", b"x"),
            &["truncated"],
        ),
    ];
    for size in [
        "9223372036854775807",
        "9223372036854775296",
        "18446744073709551615",
        "18446744073709551104",
    ] {
        cases.push(Case::tape(
            format!("PAX size of {size}"),
            record(size).file("outer", b"x"),
            &[],
        ));
    }
    cases
}

fn global() -> Vec<Case> {
    let mut cases = Vec::new();
    for (key, value) in [
        ("path", "x"),
        ("linkpath", "x"),
        ("size", "0"),
        ("uid", "0"),
        ("gid", "0"),
        ("GNU.sparse.map", "0,1"),
        ("GNU.sparse.name", "x"),
        ("SCHILY.xattr.user.x", "y"),
        ("SCHILY.xattr.security.capability", "y"),
    ] {
        let tape = tape()
            .extension(b'g', &record(key, value.as_bytes()))
            .file("f", b"x");
        cases.push(Case::tape(
            format!("global PAX header with {key}"),
            tape,
            &["global", key],
        ));
    }
    let malformed = tape().extension(b'g', b"99 comment=a\n").file("f", b"x");
    cases.push(Case::tape(
        "global PAX header that is malformed",
        malformed,
        &["PAX"],
    ));
    let file = Entry::file("f", "x").mtime(1_610_612_736);
    let comment = record("comment", b"0123456789abcdef");
    let good = tape().extension(b'g', &comment).file("f", b"x").end();
    cases.push(Case::like(
        "global PAX header with a comment",
        good,
        &[file],
    ));
    let large = tape()
        .extension(b'g', &vec![b' '; (1 << 20) + 1])
        .file("f", b"x");
    cases.push(Case::tape(
        "global PAX header of more than 1 MiB",
        large,
        &["limit"],
    ));
    cases
}

fn long_names() -> Vec<Case> {
    let long = "n/".repeat(80) + "f";
    // Its header says one byte less than there is: some readers go on to the NUL.
    let cut = tape().raw_with_data(b"long-name\0", |header| {
        header[156] = b'L';
        header[124..135].copy_from_slice(b"00000000004");
    });
    let mut cases = vec![
        Case::tape(
            "GNU long name that goes on behind its size",
            cut.file("f", b"x"),
            &["does not end"],
        ),
        Case::tape(
            "GNU long name and PAX path",
            tape()
                .extension(b'L', b"one\0")
                .pax(&[("path", b"two")])
                .file("f", b""),
            &["two long names"],
        ),
        Case::tape(
            "PAX path and GNU long name",
            tape()
                .pax(&[("path", b"two")])
                .extension(b'L', b"one\0")
                .file("f", b""),
            &["two long names"],
        ),
        Case::tape(
            "GNU long link and PAX linkpath",
            tape()
                .extension(b'K', b"one\0")
                .pax(&[("linkpath", b"two")])
                .link(b'2', "l", "x"),
            &["two long link targets"],
        ),
        Case::tape(
            "two GNU long names",
            tape()
                .extension(b'L', b"one\0")
                .extension(b'L', b"two\0")
                .file("f", b""),
            &["two extension headers"],
        ),
        Case::tape(
            "two GNU long links",
            tape()
                .extension(b'K', b"one\0")
                .extension(b'K', b"two\0")
                .link(b'2', "l", "x"),
            &["two extension headers"],
        ),
        Case::tape(
            "two PAX headers",
            tape()
                .pax(&[("path", b"one")])
                .pax(&[("path", b"two")])
                .file("f", b""),
            &["two extension headers"],
        ),
        Case::tape(
            "GNU long name that climbs",
            tape().extension(b'L', b"../../x\0").file("f", b""),
            &["`..`"],
        ),
        Case::tape(
            "GNU long link that climbs",
            tape().extension(b'K', b"../../x\0").link(b'1', "l", "x"),
            &["`..`"],
        ),
        Case::tape(
            "GNU long name of nothing",
            tape().extension(b'L', b"").file("f", b""),
            &["no name"],
        ),
        Case::tape(
            "GNU long name of a NUL",
            tape().extension(b'L', b"\0").file("f", b""),
            &["no name"],
        ),
        Case::tape(
            "GNU long name of more than 1 MiB",
            tape()
                .extension(b'L', &vec![b'n'; (1 << 20) + 1])
                .file("f", b""),
            &["limit"],
        ),
        Case::tape(
            "GNU long name of 1 MiB",
            tape().extension(b'L', &vec![b'n'; 1 << 20]).file("f", b""),
            &["255 bytes"],
        ),
        Case::tape(
            "PAX path of 1 MiB",
            tape()
                .pax(&[("path", &[&b"n/".repeat(500_000)[..], b"n"].concat())])
                .file("f", b""),
            &["4095 bytes"],
        ),
        Case::tape(
            "nothing behind a PAX header",
            tape().pax(&[("path", b"x")]),
            &["extension header"],
        ),
        Case::tape(
            "nothing behind a GNU long name",
            tape().extension(b'L', b"x\0"),
            &["extension header"],
        ),
        Case::tape(
            "header of a record that wants 1 GiB",
            tape().raw(|header| {
                header[156] = b'x';
                header[124..135].copy_from_slice(b"10000000000");
            }),
            &["limit"],
        ),
        Case::tape(
            "header of a long name that wants 1 GiB",
            tape().raw(|header| {
                header[156] = b'L';
                header[124..135].copy_from_slice(b"10000000000");
            }),
            &["limit"],
        ),
        Case::tape(
            "header of a record that wants 2^62 bytes",
            tape().raw(|header| {
                header[156] = b'x';
                header[124..136].copy_from_slice(b"\x80\0\0\0\x40\0\0\0\0\0\0\0");
            }),
            &["limit"],
        ),
        Case::tape(
            "header of a record of -512 bytes",
            tape().raw(|header| {
                header[156] = b'x';
                header[124..136].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0");
            }),
            &["no number"],
        ),
        Case::refused(
            "PAX header cut in its records",
            tape().pax(&[("path", &[b'n'; 2000])]).done()[..1024].to_vec(),
            &["truncated"],
        ),
    ];
    let entry = |name: &str| Entry::file(name, "x").mtime(1_610_612_736);
    for (what, name, stored) in [
        (
            "GNU long name with its NUL",
            &*long,
            [long.as_bytes(), b"\0"].concat(),
        ),
        (
            "GNU long name without its NUL",
            &long,
            long.clone().into_bytes(),
        ),
        (
            "GNU long name with dirt behind the NUL",
            "short",
            b"short\0/../../x".to_vec(),
        ),
    ] {
        let stream = tape().extension(b'L', &stored).file("f", b"x").end();
        cases.push(Case::like(what, stream, &[entry(name)]));
    }
    cases
}

fn fine() -> Vec<Case> {
    let entry = |name: &str| Entry::file(name, "x").mtime(1_610_612_736);
    let pax = |records: &[(&str, &[u8])]| tape().pax(records).file("f", b"x").end();
    vec![
        Case::like("PAX header without records", pax(&[]), &[entry("f")]),
        Case::like(
            "PAX path that is taken back",
            pax(&[("path", b"g"), ("path", b"")]),
            &[entry("f")],
        ),
        Case::like(
            "PAX path twice",
            pax(&[("path", b"g"), ("path", b"h")]),
            &[entry("h")],
        ),
        Case::like(
            "PAX path with a newline and an equals sign",
            pax(&[("path", b"a\n9 path=b")]),
            &[entry("a\n9 path=b")],
        ),
        Case::like(
            "PAX keys that nobody knows",
            pax(&[("vendor.key", b"\0\xff"), ("charset", b"BINARY")]),
            &[entry("f")],
        ),
        Case::like(
            "PAX mtime with a fraction",
            pax(&[("mtime", b"1.999999999999")]),
            &[entry("f").mtime(1)],
        ),
        Case::like(
            "PAX mtime before 1970",
            pax(&[("mtime", b"-5")]),
            &[entry("f").mtime(-5)],
        ),
        Case::like(
            "PAX uid and gid",
            pax(&[("uid", b"3000000"), ("gid", b"4294967294")]),
            &[entry("f").owner(3_000_000, u32::MAX - 1)],
        ),
        Case::like(
            "PAX attribute of bytes",
            pax(&[("SCHILY.xattr.user.x", b"\n9 path=b\0\xff")]),
            &[entry("f").xattr("user.x", b"\n9 path=b\0\xff")],
        ),
        Case::like(
            "PAX attribute twice",
            pax(&[("SCHILY.xattr.user.x", b"1"), ("SCHILY.xattr.user.x", b"2")]),
            &[entry("f").xattr("user.x", b"2")],
        ),
        Case::like(
            "PAX attribute of LIBARCHIVE that nobody reads",
            pax(&[("LIBARCHIVE.xattr.user.x", b"MQ")]),
            &[entry("f")],
        ),
    ]
}
