//! What the reader of archives makes of them, entry by entry.

use orc_base::Result;

use crate::testing::{checksum, tape};
use crate::unpack::entry::{Device, Entry, EntryKind};
use crate::unpack::sparse::{Map, Piece};
use crate::unpack::tar::Reader;

fn names(bytes: &[u8]) -> Result<Vec<String>> {
    let mut reader = Reader::new(bytes);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        names.push(String::from_utf8_lossy(&entry.name).into_owned());
    }
    Ok(names)
}

fn first(bytes: &[u8]) -> Result<Entry> {
    Ok(Reader::new(bytes).next_entry()?.unwrap())
}

#[test]
fn reads_all_kinds() {
    let bytes = tape()
        .file("a", b"hello")
        .directory("d/")
        .link(b'2', "s", "/etc")
        .link(b'1', "h", "a")
        .raw(|header| {
            header[156] = b'3';
            header[..3].copy_from_slice(b"dev");
            header[329..336].copy_from_slice(b"0000001");
            header[337..344].copy_from_slice(b"0000003");
        })
        .end();
    let mut reader = Reader::new(&bytes[..]);
    let mut kinds = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        kinds.push(entry.kind);
    }
    let device = Device { major: 1, minor: 3 };
    assert_eq!(
        kinds,
        [
            EntryKind::File(5),
            EntryKind::Directory,
            EntryKind::Symlink(b"/etc".into()),
            EntryKind::HardLink(b"a".into()),
            EntryKind::Char(device),
        ]
    );
    assert!(reader.has_end_marker());
}

#[test]
fn long_names_of_both_kinds() {
    let long = "d/".repeat(100) + "f";
    let gnu = tape().extension(b'L', &[long.as_bytes(), b"\0"].concat());
    let pax = tape().pax(&[("path", long.as_bytes())]);
    for tape in [gnu, pax] {
        assert_eq!(names(&tape.file("short", b"x").end()).unwrap(), [&*long]);
    }
    let both = tape()
        .extension(b'L', b"x\0")
        .pax(&[("path", b"y")])
        .file("z", b"");
    let error = names(&both.end()).unwrap_err().to_string();
    assert!(error.contains("two long names"), "{error}");
}

#[test]
fn the_size_of_pax_wins_and_hides_nothing() {
    let inner = tape().file("hidden", b"").done();
    let bytes = tape()
        .pax(&[("size", inner.len().to_string().as_bytes())])
        .raw_file("outer", 0, &inner)
        .file("after", b"")
        .end();
    assert_eq!(names(&bytes).unwrap(), ["outer", "after"]);
}

#[test]
fn what_readers_disagree_about_is_refused() {
    let directory = |header: &mut [u8; 512]| {
        header[..1].copy_from_slice(b"d");
        header[156] = b'5';
        header[124..135].copy_from_slice(b"00000001000");
    };
    for (bytes, text) in [
        (tape().raw(directory).file("x", b"").end(), "yet has 512"),
        (tape().raw_file("f", u64::MAX, b"").end(), "size"),
        (tape().file("f/", b"").end(), "name of a directory"),
        (tape().link(b'V', "v", "").end(), "unknown type"),
        (tape().extension(b'L', b"x\0").end(), "extension header"),
        (tape().pax(&[("size", b"-1")]).file("f", b"").end(), "PAX"),
        (
            tape().pax(&[]).pax(&[]).file("f", b"").end(),
            "two extension headers",
        ),
        (
            tape().extension(b'x', &vec![b' '; 1 << 21]).end(),
            "limit is 1048576",
        ),
        (
            [tape().file("a", b"").end(), tape().file("b", b"").end()].concat(),
            "behind its end",
        ),
        (b"hello world".repeat(100), "no tar archive"),
        (
            tape()
                .raw(|h| h[257..265].copy_from_slice(b"ustar\x0099"))
                .end(),
            "unknown format",
        ),
        (
            tape()
                .raw(|h| h[108..116].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff"))
                .end(),
            "uid",
        ),
    ] {
        let error = names(&bytes).unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn truncation_inside_an_entry_is_refused_everywhere() {
    let bytes = tape().file("a", &[7; 1000]).file("b", b"x").done();
    for cut in 1..bytes.len() {
        let result = names(&bytes[..cut]);
        // Between two entries only whoever knows the digest can tell.
        assert_eq!(result.is_ok(), cut == 1536, "cut at {cut}");
    }
    let mut reader = Reader::new(&bytes[..]);
    while reader.next_entry().unwrap().is_some() {}
    assert!(!reader.has_end_marker());
}

#[test]
fn sparse_files_of_all_forms() {
    let map = Map {
        size: 10_000,
        pieces: vec![
            Piece {
                offset: 0,
                length: 3,
            },
            Piece {
                offset: 8_192,
                length: 2,
            },
        ],
    };
    let old = tape().raw_with_data(b"abcde", |header| {
        header[..4].copy_from_slice(b"s\0\0\0");
        header[156] = b'S';
        header[257..265].copy_from_slice(b"ustar  \0");
        for (at, value) in [(386, 0_u64), (398, 3), (410, 8192), (422, 2), (483, 10_000)] {
            header[at..at + 11].copy_from_slice(format!("{value:011o}").as_bytes());
        }
    });
    let pairs = tape()
        .pax(&[
            ("GNU.sparse.size", b"10000"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"3"),
            ("GNU.sparse.offset", b"8192"),
            ("GNU.sparse.numbytes", b"2"),
        ])
        .file("s", b"abcde");
    let list = tape()
        .pax(&[
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.size", b"10000"),
            ("GNU.sparse.map", b"0,3,8192,2"),
        ])
        .file("GNUSparseFile.0/s", b"abcde");
    let mut lines = b"2\n0\n3\n8192\n2\n".to_vec();
    lines.resize(512, 0);
    let lines = tape()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", b"10000"),
        ])
        .file("GNUSparseFile.0/s", &[&lines[..], b"abcde"].concat());
    for tape in [old, pairs, list, lines] {
        let bytes = tape.file("after", b"").end();
        let mut reader = Reader::new(&bytes[..]);
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(entry.name, b"s");
        assert_eq!(entry.kind, EntryKind::Sparse(map.clone()));
        let mut data = Vec::new();
        reader
            .data(&mut |piece| {
                data.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(data, b"abcde");
        assert_eq!(reader.next_entry().unwrap().unwrap().name, b"after");
    }
}

#[test]
fn owners_modes_and_times() {
    let bytes = tape()
        .pax(&[
            ("mtime", b"1.5"),
            ("uid", b"3000000"),
            ("SCHILY.xattr.user.a", b"\n\0"),
        ])
        .file("f", b"")
        .end();
    let entry = first(&bytes).unwrap();
    assert_eq!((entry.uid, entry.gid, entry.mode), (3_000_000, 0, 0o644));
    assert_eq!(entry.mtime.nanos(), 1_500_000_000);
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"\n\0".to_vec())]);
}

#[test]
fn mutated_archives_never_panic() {
    let bytes = tape()
        .pax(&[("path", b"some/name"), ("mtime", b"1.5")])
        .file("f", b"data")
        .extension(b'L', b"long\0")
        .link(b'2', "s", "t")
        .end();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut copy = bytes.clone();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % copy.len();
            copy[at] = (random >> 32) as u8;
            // Repair the checksum of that block, so that the change is looked at.
            checksum(&mut copy, at / 512 * 512);
        }
        let _ = names(&copy);
    }
}
