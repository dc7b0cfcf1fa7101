//! Header fields that are no numbers, or larger than anything can be.

use std::ops::Range;

use crate::cases::Case;
use crate::entry::Entry;
use crate::tape::{Tape, tape};

const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;

pub(super) fn cases() -> Vec<Case> {
    [wrong(), unusual(), headers()].concat()
}

fn with(field: Range<usize>, text: &[u8], kind: u8) -> Tape {
    tape().file("before", b"x").raw(|header| {
        header[..3].copy_from_slice(b"bad");
        header[156] = kind;
        header[329..336].copy_from_slice(b"0000001");
        header[337..344].copy_from_slice(b"0000003");
        let count = text.len().min(field.len());
        header[field.clone()].fill(0);
        header[field.start..field.start + count].copy_from_slice(&text[..count]);
    })
}

/// The number in base 256, as wide as the field (GNU).
fn binary(field: &Range<usize>, number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let mut text = bytes[16 - field.len()..].to_vec();
    text[0] |= 0x80;
    text
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, field, kind) in [
        ("mode", MODE, b'0'),
        ("uid", UID, b'0'),
        ("gid", GID, b'0'),
        ("size", SIZE, b'0'),
        ("mtime", MTIME, b'0'),
        ("major", MAJOR, b'3'),
        ("minor", MINOR, b'4'),
    ] {
        let mut texts: Vec<(String, Vec<u8>)> = [
            "8", "\x007", " \x005", "00000009", "-1", "+1", "0x1", "1 1", "seven", "\u{e9}", "1.5",
            "7777777x",
        ]
        .iter()
        .map(|text| {
            (
                format!("`{}`", text.escape_default()),
                text.as_bytes().to_vec(),
            )
        })
        .collect();
        texts.push((
            "a marker and nothing like a number".into(),
            b"\xc0\x01\x02\x03\x04\x05\x06\x07".into(),
        ));
        if what != "mtime" {
            texts.push(("-1 in base 256".into(), binary(&field, -1)));
            texts.push(("-512 in base 256".into(), binary(&field, -512)));
        }
        if what != "mode" {
            texts.push((
                "more than 64 bits".into(),
                [&[0x80][..], &[0xff; 11]].concat(),
            ));
        }
        if what != "mode" && what != "mtime" {
            texts.push((
                "2^62 in base 256".into(),
                binary(&SIZE, 1 << 62)[12 - field.len()..].to_vec(),
            ));
        }
        for (shown, text) in texts {
            let whole_number = field.len() == 8 && shown.starts_with("2^62");
            if whole_number {
                // As large as eight bytes hold.
                let text = [&[0x80, 0x7f][..], &[0xff; 6]].concat();
                cases.push(Case::tape(
                    format!("{what} of 2^55"),
                    with(field.clone(), &text, kind),
                    &["`bad`"],
                ));
                continue;
            }
            cases.push(Case::tape(
                format!("{what} of {shown}"),
                with(field.clone(), &text, kind),
                &["`bad`"],
            ));
        }
    }
    for (what, field, text) in [
        ("uid of 2^32 - 1", UID, binary(&UID, (1 << 32) - 1)),
        ("uid of 2^32", UID, binary(&UID, 1 << 32)),
        ("gid of 2^32 - 1", GID, binary(&GID, (1 << 32) - 1)),
        ("major of 4096", MAJOR, b"0010000".into()),
        ("minor of 2^20", MINOR, b"4000000".into()),
        ("size of 8 GiB", SIZE, b"77777777777".into()),
        ("size of one block too much", SIZE, b"00000003000".into()),
    ] {
        let kind = if what.starts_with('m') { b'3' } else { b'0' };
        cases.push(Case::tape(what, with(field, &text, kind), &[]));
    }
    cases
}

/// What is strange and yet a number.
fn unusual() -> Vec<Case> {
    let before = Entry::file("before", "x").mtime(1_610_612_736);
    let entry = Entry::file("bad", "").mtime(1_610_612_736);
    let mut cases = Vec::new();
    for (what, field, text, entry) in [
        ("mode with spaces", MODE, &b"   644 \0"[..], entry.clone()),
        (
            "mode without an end",
            MODE,
            b"00000600",
            entry.clone().mode(0o600),
        ),
        (
            "mode with the bits of a directory",
            MODE,
            b"0040755\0",
            entry.clone().mode(0o755),
        ),
        ("mode of nothing", MODE, b"", entry.clone().mode(0)),
        (
            "mode with dirt behind its end",
            MODE,
            b"644\0dirt",
            entry.clone(),
        ),
        ("uid of spaces", UID, b"        ", entry.clone()),
        (
            "uid in base 256",
            UID,
            b"\x80\0\0\0\x05\xf5\xe1\0",
            entry.clone().owner(100_000_000, 0),
        ),
        ("mtime of nothing", MTIME, b"", entry.clone().mtime(0)),
        (
            "mtime before 1970",
            MTIME,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf6",
            entry.clone().mtime(-10),
        ),
    ] {
        let stream = with(field, text, b'0').end();
        cases.push(Case::like(what, stream, &[before.clone(), entry]));
    }
    cases
}

fn headers() -> Vec<Case> {
    let sum = |text: &'static [u8]| {
        let mut bytes = tape().file("f", b"").end();
        bytes[148..156].copy_from_slice(text);
        bytes
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = tape().file("f", b"").end();
        bytes[at] = byte;
        bytes
    };
    let mut cases = vec![
        Case::refused("checksum of zeros", sum(&[0; 8]), &["checksum"]),
        Case::refused(
            "checksum of another header",
            sum(b"000001\0 "),
            &["checksum"],
        ),
        Case::refused("checksum of letters", sum(b"checksum"), &["checksum"]),
        Case::refused(
            "a name changed behind the checksum",
            changed(0, b'g'),
            &["checksum"],
        ),
        Case::refused(
            "a type changed behind the checksum",
            changed(156, b'5'),
            &["checksum"],
        ),
    ];
    for kind in *b"789ABDEIJMNOQRTUVWXYZabcdefhijklmnopqrstuvwyz!\xff" {
        if kind == b'7' {
            continue;
        }
        let tape = tape().raw(|header| header[156] = kind);
        cases.push(Case::tape(
            format!("type `{}`", [kind].escape_ascii()),
            tape,
            &["`raw`", "unknown type"],
        ));
    }
    for (what, magic) in [
        ("no magic and a version", &b"\0\0\0\0\0\0\x30\x30"[..]),
        ("another magic", b"ustar\x0001"),
        ("a magic of text", b"not tar\0"),
    ] {
        let tape = tape().raw(|header| header[257..265].copy_from_slice(magic));
        cases.push(Case::tape(what, tape, &["unknown format"]));
    }
    let old = tape().raw(|header| {
        header[257..].fill(0);
        header[345] = b'p';
    });
    cases.push(Case::tape(
        "an old header with something like a prefix",
        old,
        &["unknown format"],
    ));
    for kind in *b"123456" {
        let tape = tape().raw_with_data(&[b'x'; 512], |header| {
            header[156] = kind;
            header[157] = b'f';
        });
        let name = format!("type `{}` with data behind it", kind as char);
        cases.push(Case::tape(name, tape, &["`raw`", "yet has 512"]));
    }
    cases
}
