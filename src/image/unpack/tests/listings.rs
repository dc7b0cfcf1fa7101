//! Mutated archives through three readers: what orc accepts, GNU tar and Python's tarfile cut into the
//! same entries, or refuse.
//!
//! Where readers disagree an entry can be hidden from one of them (CVE-2025-62518). orc may refuse what
//! others take. A seed gives the same archives in every run; `make test` looks at a sample, and
//! `make corpus` at all.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use orc_hostile::random::Random;

use crate::testing::{Tape, checksum, tape};
use crate::unpack::entry::EntryKind;
use crate::unpack::tar::Reader;

/// What all readers must agree in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    /// Without slashes at the end, which readers keep or drop.
    name: Vec<u8>,
    kind: char,
    /// The size, or the numbers of a device.
    size: String,
    link: Vec<u8>,
}

/// What a reader makes of an archive; none when it refuses it.
type Listing = Option<Vec<Listed>>;

fn trimmed(name: &[u8]) -> Vec<u8> {
    let end = name.iter().rposition(|byte| *byte != b'/');
    name[..end.map_or(0, |end| end + 1)].to_vec()
}

fn ours(bytes: &[u8]) -> Listing {
    let mut reader = Reader::new(bytes);
    let mut listed = Vec::new();
    while let Some(entry) = reader.next_entry().ok()? {
        let (kind, size, link) = match entry.kind {
            EntryKind::File(size) => ('-', size.to_string(), Vec::new()),
            EntryKind::Sparse(map) => ('-', map.size.to_string(), Vec::new()),
            EntryKind::Directory => ('d', "0".into(), Vec::new()),
            EntryKind::Symlink(target) => ('l', "0".into(), target),
            EntryKind::HardLink(target) => ('h', "0".into(), target),
            EntryKind::Char(one) => ('c', format!("{},{}", one.major, one.minor), Vec::new()),
            EntryKind::Block(one) => ('b', format!("{},{}", one.major, one.minor), Vec::new()),
            EntryKind::Fifo => ('p', "0".into(), Vec::new()),
        };
        listed.push(Listed {
            name: trimmed(&entry.name),
            kind,
            size,
            link,
        });
    }
    Some(listed)
}

/// Lists all archives of a directory, `0`, `1` and so on, one process for each.
fn of_gnu_tar(directory: &Path, count: usize) -> Vec<Listing> {
    let script = r#"for n in $(seq 0 $(($1 - 1))); do
        tar --list --verbose --absolute-names --numeric-owner --quoting-style=escape \
            --file "$n" 2>/dev/null
        printf '\001%d\n' $?
    done"#;
    let out = Command::new("sh")
        .args(["-c", script, "sh", &count.to_string()])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .expect("a shell");
    let mut all = Vec::new();
    let mut listed = Some(Vec::new());
    let mut width = TIME_WIDTH;
    for line in out.stdout.split(|byte| *byte == b'\n') {
        match line.strip_prefix(b"\x01") {
            // Status 2 is an error, and 1 a difference, which a list has none of.
            Some(status) => {
                let listing = listed.replace(Vec::new());
                all.push(listing.filter(|_| status == b"0"));
                width = TIME_WIDTH;
            }
            None if line.is_empty() => {}
            None => match (gnu_line(line, &mut width), &mut listed) {
                (Some(one), Some(listed)) => listed.push(one),
                _ => listed = None,
            },
        }
    }
    assert_eq!(all.len(), count);
    all
}

/// How wide times are: GNU tar makes room for the widest it has seen.
const TIME_WIDTH: usize = "2021-01-14 08:25".len();

/// `-rw-r--r-- 0/0  5 2021-01-14 08:25 name`, and behind it what it leads to.
fn gnu_line(line: &[u8], width: &mut usize) -> Option<Listed> {
    let mut rest = line;
    let mut word = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let end = start + rest[start..].iter().position(|byte| *byte == b' ')?;
        let (word, after) = (&rest[start..end], &rest[end..]);
        rest = after;
        Some(String::from_utf8_lossy(word).into_owned())
    };
    let (mode, _owner, size) = (word()?, word()?, word()?);
    let (date, time) = (word()?, word()?);
    let wide = date.len() + 1 + time.len();
    *width = wide.max(*width);
    let rest = rest.get(*width - wide..)?.strip_prefix(b" ")?;
    let kind = match mode.chars().next()? {
        'C' => '-',
        kind => kind,
    };
    let separator: &[u8] = match kind {
        'l' => b" -> ",
        'h' => b" link to ",
        _ => b"",
    };
    let at = match separator {
        b"" => rest.len(),
        _ => rest
            .windows(separator.len())
            .position(|part| part == separator)?,
    };
    let link = rest.get(at + separator.len()..).unwrap_or_default();
    Some(Listed {
        name: trimmed(&unescape(&rest[..at])),
        kind,
        size,
        // Nothing is shown as the directory it would mean.
        link: unescape(
            link.strip_prefix(b".")
                .filter(|rest| rest.is_empty())
                .unwrap_or(link),
        ),
    })
}

/// `--quoting-style=escape` taken back.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escaped = bytes.next().unwrap_or(b'\\');
        out.push(match escaped {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let digit = bytes.next_if(|byte| matches!(byte, b'0'..=b'7'));
                    value = value * 8 + u32::from(digit.unwrap_or(b'0') - b'0');
                }
                value as u8
            }
            other => other,
        });
    }
    out
}

/// The same by Python's tarfile, one process for all.
fn of_python(directory: &Path, count: usize) -> Vec<Listing> {
    let script = r"
import sys, tarfile
kinds = {b'0': '-', b'\0': '-', b'7': '-', b'S': '-', b'1': 'h', b'2': 'l', b'3': 'c', b'4': 'b', b'5': 'd', b'6': 'p'}
raw = lambda text: text.encode('utf-8', 'surrogateescape').hex() or '.'
for n in range(int(sys.argv[1])):
    try:
        with tarfile.open(str(n), 'r:', errors='surrogateescape', encoding='utf-8', errorlevel=2) as archive:
            lines = []
            for one in archive:
                kind = kinds.get(one.type, '?')
                size = str(one.size) if kind == '-' else '%d,%d' % (one.devmajor, one.devminor) if kind in 'cb' else '0'
                link = raw(one.linkname) if kind in 'lh' else '.'
                lines.append(' '.join([kind, size, raw(one.name), link]))
        print('\n'.join(lines + ['ok']))
    except Exception as error:
        print('refused')
";
    let out = Command::new("python3")
        .args(["-c", script, &count.to_string()])
        .current_dir(directory)
        .output()
        .expect("Python");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let mut all = Vec::new();
    let mut listed = Vec::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["ok"] => all.push(Some(std::mem::take(&mut listed))),
            ["refused"] => {
                listed.clear();
                all.push(None);
            }
            [kind, size, name, link] => listed.push(Listed {
                name: trimmed(&from_hex(name)),
                kind: kind.chars().next().unwrap(),
                size: size.into(),
                link: from_hex(link),
            }),
            _ => {}
        }
    }
    assert_eq!(all.len(), count);
    all
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// One of everything that an archive may have, in each of the formats.
fn originals() -> Vec<Vec<u8>> {
    let inner = tape().file("smuggled", b"x").done();
    let long = "n/".repeat(70) + "f";
    let sparse: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"5000"),
        ("GNU.sparse.map", b"0,3,1000,2"),
        ("GNU.sparse.name", b"real-name"),
    ];
    let v7 = |tape: Tape, name: &'static str| {
        tape.raw(|header| {
            header[..100].fill(0);
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[156] = 0;
            header[257..].fill(0);
        })
    };
    let gnu = |tape: Tape| {
        tape.raw_with_data(&inner, |header| {
            header[257..265].copy_from_slice(b"ustar  \0");
            header[124] = 0x80;
            header[125..128].fill(0);
            header[128..136].copy_from_slice(&(inner.len() as u64).to_be_bytes());
        })
    };
    let special = |tape: Tape, kind: u8| {
        tape.raw(|header| {
            header[156] = kind;
            header[329..336].copy_from_slice(b"0000001");
            header[337..344].copy_from_slice(b"0000003");
        })
    };
    let posix = tape()
        .directory("d/")
        .pax(&[
            ("path", b"d/pax-name"),
            ("size", b"1024"),
            ("mtime", b"1.5"),
        ])
        .raw_file("d/short", 0, &inner)
        .pax(&[("linkpath", b"d/pax-name")])
        .link(b'1', "d/h", "x")
        .link(b'2', "d/s", "target")
        .file("last", b"data");
    let long_names = tape()
        .extension(b'L', [long.as_bytes(), b"\0"].concat().as_slice())
        .file("d/gnu", &inner)
        .extension(b'K', b"d/some/where/else\0")
        .link(b'2', "d/s", "target")
        .file("after", &inner);
    let holes = tape()
        .pax(sparse)
        .file("GNUSparseFile.0/s", b"abcde")
        .file("after", &inner);
    let old = special(special(v7(gnu(tape()), "old-file"), b'3'), b'6');
    let old = v7(old, "old-directory/").file("after", &inner);
    let global = crate::testing::tape()
        .extension(b'g', b"20 comment=anything\n")
        .file("one", &inner)
        .pax(&[("uid", b"1000"), ("SCHILY.xattr.user.x", b"y")])
        .file("two", b"");
    [posix, long_names, holes, old, global]
        .map(Tape::end)
        .to_vec()
}

/// Bytes that mean something in headers and records.
const SPICE: &[u8] = b"01234567\0 /\n=xgLKS5\x80\xff.-";

fn mutate(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..1 + random.below(2) {
        let blocks = bytes.len() / 512;
        let block = random.below(blocks.max(1)) * 512;
        match random.below(12) {
            0 => {
                let copy = bytes[block..block + 512].to_vec();
                let to = random.below(blocks) * 512;
                bytes.splice(to..to, copy);
            }
            1 => drop(bytes.drain(block..block + 512)),
            2 => bytes.truncate(random.below(bytes.len().max(1))),
            3..6 => {
                // The fields that decide how an archive is cut.
                let field = *random.pick(&[0, 124, 130, 134, 135, 156, 157, 257, 345]);
                bytes[block + field] = *random.pick(SPICE);
                checksum(&mut bytes, block);
            }
            _ => {
                let at = random.below(bytes.len().max(1));
                bytes[at] = *random.pick(SPICE);
                // A change of data stays one: its block has no checksum to repair.
                if bytes.get(at / 512 * 512 + 257..at / 512 * 512 + 262) == Some(b"ustar") {
                    checksum(&mut bytes, at / 512 * 512);
                }
            }
        }
        if bytes.len() < 512 {
            break;
        }
        let whole = bytes.len() / 512 * 512;
        if bytes.len() < whole + 512 {
            bytes.truncate(whole.max(512));
        }
    }
    bytes
}

#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    /// Accepted here and refused there.
    alone: usize,
}

/// Compares one batch, and says where a reader cut an archive otherwise.
fn compare(directory: &Path, archives: &[Vec<u8>], tally: &mut Tally) -> Vec<String> {
    for (index, bytes) in archives.iter().enumerate() {
        let mut file = std::fs::File::create(directory.join(index.to_string())).unwrap();
        file.write_all(bytes).unwrap();
    }
    let gnu = of_gnu_tar(directory, archives.len());
    let python = of_python(directory, archives.len());
    let mut complaints = Vec::new();
    for (index, bytes) in archives.iter().enumerate() {
        let Some(ours) = ours(bytes) else {
            tally.refused += 1;
            continue;
        };
        tally.accepted += 1;
        for (reader, theirs) in [("GNU tar", &gnu[index]), ("Python", &python[index])] {
            match theirs {
                None => tally.alone += 1,
                // Python ends without a word before a header that it does not understand.
                Some(theirs) if reader == "Python" && gives_up(&ours, theirs) => tally.alone += 1,
                Some(_) if reader == "Python" && confuses_python(bytes) => tally.alone += 1,
                Some(theirs) if *theirs != ours => {
                    complaints.push(format!(
                        "{index}: orc {ours:?}\n  {reader} {theirs:?}\n{}",
                        outline(bytes)
                    ));
                }
                Some(_) => {}
            }
        }
    }
    complaints
}

/// The headers of an archive, for whoever has to find out why.
fn outline(bytes: &[u8]) -> String {
    let line = |block: &[u8]| {
        let fields = [0..30, 100..108, 124..136, 156..157, 157..180, 257..265];
        let fields = fields.map(|field| block[field].escape_ascii().to_string());
        format!("    {}\n", fields.join(" | ").replace("\\x00", ""))
    };
    bytes.chunks_exact(512).map(line).collect()
}

fn gives_up(ours: &[Listed], theirs: &[Listed]) -> bool {
    theirs.len() < ours.len() && ours.starts_with(theirs)
}

/// Python reads the times of a GNU header as the prefix of a POSIX one.
fn confuses_python(bytes: &[u8]) -> bool {
    let confuses =
        |header: &[u8]| &header[257..265] == b"ustar  \0" && header[345..500] != [0; 155];
    bytes.chunks_exact(512).any(confuses)
}

fn run(count: usize) {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.unwrap();
    let originals = originals();
    let mut tally = Tally::default();
    let none = compare(directory.path(), &originals, &mut tally);
    assert!(
        none.is_empty() && tally.accepted == originals.len(),
        "{none:?} {tally:?}"
    );
    let mut tally = Tally::default();
    let mut random = Random::new(3);
    for batch in 0..count.div_ceil(500) {
        let archives: Vec<_> = (0..500)
            .map(|_| mutate(random.pick(&originals).clone(), &mut random))
            .collect();
        let complaints = compare(directory.path(), &archives, &mut tally);
        assert!(
            complaints.is_empty(),
            "batch {batch}, {} archives:\n{}",
            complaints.len(),
            complaints
                .iter()
                .take(5)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    println!("{tally:?}");
    assert!(
        tally.accepted > count / 10 && tally.refused > count / 10,
        "{tally:?}"
    );
    assert!(tally.alone < tally.accepted / 3, "{tally:?}");
}

#[test]
fn mutated_archives_list_the_same_everywhere() {
    run(1_000);
}

#[test]
#[ignore = "takes minutes: `make corpus` runs it"]
fn ten_thousand_mutated_archives_list_the_same_everywhere() {
    run(12_000);
}
