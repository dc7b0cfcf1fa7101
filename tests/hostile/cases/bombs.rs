//! Little archives that want much: memory, disk, files or time.

use std::io::Write;

use crate::cases::Case;
use crate::entry::Entry;
use crate::tape::{checksum, record, tape};

/// Quick to make and to refuse.
pub(super) fn small() -> Vec<Case> {
    let deep = |depth: usize| "d/".repeat(depth) + "f";
    let pax = |name: String| tape().pax(&[("path", name.as_bytes())]).file("f", b"");
    vec![
        Case::tape(
            "a file 600 directories deep",
            pax(deep(600)),
            &["deeper than"],
        ),
        Case::tape(
            "a file 2 000 directories deep",
            pax(deep(2_000)),
            &["deeper than"],
        ),
        Case::refused("zstd that wants a window of 2 GiB", window(31), &["zstd"]),
        Case::refused("zstd that wants a window of 256 MiB", window(28), &["zstd"]),
        Case::refused(
            "an honest small file that says 1 EiB",
            tape().raw_file("f", 1 << 60, b"x").end(),
            &[],
        ),
        Case::refused(
            "a file that says 2 TiB",
            tape().raw_file("f", 2 << 40, b"x").end(),
            &["`f`", "bytes in files"],
        ),
        many_times("one directory replaced a thousand times", 1_000),
    ]
}

/// A directory with files in it becomes a file and a directory again, over and over.
fn many_times(name: &str, times: usize) -> Case {
    let round = [
        Entry::file("d/a", "x"),
        Entry::file("d/b/c", "x"),
        Entry::file("d", "x"),
    ];
    Case::one(
        name,
        round.iter().cycle().take(times * 3).cloned().collect(),
    )
}

/// The head of a frame whose window is a power of two (RFC 8878, 3.1.1.1.2), and a block of a byte.
fn window(log: u8) -> Vec<u8> {
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3];
    let raw_last_block = [0x09, 0x00, 0x00, b'x'];
    [&head[..], &raw_last_block].concat()
}

/// Each takes seconds; the bytes are made when asked for.
pub(super) fn large() -> Vec<Case> {
    vec![
        bomb("gzip of zeros, 1000 to 1", gzip_of_zeros(), "200 to 1"),
        bomb("zstd of zeros, 10 000 to 1", zstd_of(zeros()), "200 to 1"),
        bomb(
            "gzip of zeros behind the end",
            gzip_behind_the_end(),
            "200 to 1",
        ),
        bomb(
            "extension headers of 1 MiB without end",
            zstd_of(extensions()),
            "200 to 1",
        ),
        bomb(
            "more than a million empty files",
            zstd_of(files(1_000_001)),
            "200000 entries",
        ),
        bomb(
            "names of directories, 36 MiB of them",
            zstd_of(directories()),
            "names of directories",
        ),
    ]
}

fn bomb(name: &str, stream: Vec<u8>, says: &str) -> Case {
    Case::refused(name, stream, &[says])
}

const MEBIBYTE: usize = 1 << 20;

/// A file of 4 GiB of zeros, its bytes in members of 16 MiB each that are all the same.
fn gzip_of_zeros() -> Vec<u8> {
    let head = gzip_best(&tape().raw_file("zeros", 4 << 30, b"").done());
    let member = gzip_best(&vec![0; 16 * MEBIBYTE]);
    [head, member.repeat(256)].concat()
}

fn gzip_behind_the_end() -> Vec<u8> {
    let head = gzip_best(&tape().file("f", b"x").end());
    let member = gzip_best(&vec![0; 16 * MEBIBYTE]);
    [head, member.repeat(256)].concat()
}

fn gzip_best(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

type Pieces = Box<dyn Iterator<Item = Vec<u8>>>;

fn zstd_of(pieces: Pieces) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    for piece in pieces {
        encoder.write_all(&piece).expect("memory takes all");
    }
    encoder.finish().expect("memory takes all")
}

fn zeros() -> Pieces {
    let head = tape().raw_file("zeros", 2 << 30, b"").done();
    Box::new(std::iter::once(head).chain(std::iter::repeat_n(vec![0; MEBIBYTE], 2048)))
}

/// Comments before every entry, as large as a header may be.
fn extensions() -> Pieces {
    let comment = record("comment", &vec![b'c'; MEBIBYTE - 32]);
    let one = tape().extension(b'x', &comment).file("f", b"").done();
    Box::new(std::iter::repeat_n(one, 2048))
}

fn files(count: usize) -> Pieces {
    numbered(count, tape().file("f00000000", b"").done())
}

fn directories() -> Pieces {
    let long = "n".repeat(240);
    Box::new((0..150_000).map(move |number| {
        let path = format!("{number:08}{long}");
        tape()
            .pax(&[("path", path.as_bytes())])
            .directory("d")
            .done()
    }))
}

/// Copies of one header, each with a number of its own in its name.
fn numbered(count: usize, header: Vec<u8>) -> Pieces {
    Box::new((0..count).map(move |number| {
        let mut header = header.clone();
        header[1..9].copy_from_slice(format!("{number:08}").as_bytes());
        checksum(&mut header, 0);
        header
    }))
}
