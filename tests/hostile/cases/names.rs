//! Names that are no names, as the name of an entry and as the target of a hard link.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cases::Case;
use crate::entry::{Entry, Kind};

pub(super) fn cases(outside: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in names(outside) {
        let shown = match name.len() {
            0..60 => name.escape_ascii().to_string(),
            length => format!("{length} bytes {}…", name[..20].escape_ascii()),
        };
        for (what, entry) in [
            ("file", Entry::file(name.clone(), "x")),
            ("directory", Entry::directory(name.clone())),
            ("symlink", Entry::symlink(name.clone(), "f")),
            ("hard link", Entry::hard_link(name.clone(), "f")),
            ("block device", Entry::new(name.clone(), Kind::Block(8, 0))),
            ("fifo", Entry::new(name.clone(), Kind::Fifo)),
            ("target of a hard link", Entry::hard_link("h", name.clone())),
            ("target of a symlink", Entry::symlink("s", name.clone())),
        ] {
            // A link to an empty text is no link; Linux refuses it as well (symlink(2)).
            cases.push(Case::one(
                format!("{what} `{shown}`"),
                vec![Entry::file("f", "first"), entry],
            ));
        }
    }
    cases
}

fn names(outside: &Path) -> Vec<Vec<u8>> {
    let outside = outside.as_os_str().as_bytes();
    let deep = |length: usize, count: usize| {
        let one = [&b"n".repeat(length)[..], b"/"].concat();
        let mut name = one.repeat(count);
        name.pop();
        name
    };
    vec![
        b"..".into(),
        b"../x".into(),
        b"/..".into(),
        b"/../x".into(),
        b"./../x".into(),
        b"a/../../x".into(),
        b"a/..".into(),
        b"a/b/../c".into(),
        b"../../../../../../../../../../etc/orc-was-here".into(),
        [outside, b"/x"].concat(),
        [b"/", outside, b"/file"].concat(),
        b"a\0b".into(),
        b"\0".into(),
        b"".into(),
        b"\xff\xfe".into(),
        b"a\nb".into(),
        b"a\x1b[2J\rb".into(),
        b" ".into(),
        b"-rf".into(),
        b"...".into(),
        b"a/...".into(),
        b"a/.../b".into(),
        b"~".into(),
        b"$HOME".into(),
        b"C:\\x".into(),
        b"a\\..\\b".into(),
        "e\u{301}".into(),
        "\u{202e}gpj.exe".into(),
        b"n".repeat(255),
        b"n".repeat(256),
        b"n".repeat(4096),
        deep(255, 16),
        deep(255, 17),
        deep(255, 100),
        deep(1, 300),
        b"//x//y".into(),
        b"./././x".into(),
    ]
}
