//! Odd whiteouts, and what would take the place of the root directory.

use std::path::Path;

use crate::cases::Case;
use crate::entry::{Entry, Kind};

pub(super) fn cases(outside: &Path) -> Vec<Case> {
    [odd(), around(), roots(outside)].concat()
}

/// A layer below, for whiteouts to hide.
fn below() -> Vec<Entry> {
    vec![
        Entry::directory("a").mode(0o700),
        Entry::file("a/f", "below"),
        Entry::directory("a/sub"),
        Entry::file("a/sub/g", "below"),
        Entry::file("b", "below"),
        Entry::symlink("s", "a"),
    ]
}

fn odd() -> Vec<Case> {
    let names = [
        ".wh.",
        ".wh..",
        ".wh...",
        ".wh....",
        ".wh./",
        ".wh.a/",
        ".wh.a/x",
        ".wh.a/.wh.x",
        ".wh..wh.",
        ".wh..wh..",
        ".wh..wh.x",
        ".wh..wh.plnk",
        ".wh..wh.aufs",
        ".wh..wh.orph/x",
        ".wh..wh..opq",
        ".wh..wh..opq/",
        ".wh..wh..opq/x",
        ".wh..wh..opqx",
        "a/.wh..wh..opq",
        "a/sub/.wh..wh..opq",
        "s/.wh..wh..opq",
        "b/.wh..wh..opq",
        "new/.wh..wh..opq",
        ".wh.a",
        ".wh.b",
        ".wh.s",
        ".wh.nothing",
        "a/.wh.f",
        "a/.wh.sub",
        "s/.wh.f",
        "b/.wh.x",
        "nothing/.wh.x",
        "/.wh.a",
        "./.wh.b",
        ".wh.a/../b",
        "../.wh.x",
        ".WH.a",
        ".wh",
    ];
    let mut cases = Vec::new();
    for name in names {
        for (what, entry) in [
            ("file", Entry::file(name, "")),
            ("full file", Entry::file(name, "data")),
            ("directory", Entry::directory(name)),
            ("symlink", Entry::symlink(name, "/etc")),
            ("device", Entry::new(name, Kind::Char(0, 0))),
        ] {
            // A file with the name of a directory is refused before anyone thinks of whiteouts.
            let case = format!("whiteout `{name}` as a {what}");
            cases.push(Case::of(case, &[below(), vec![entry]]));
        }
    }
    cases
}

fn around() -> Vec<Case> {
    let white = |name: &str| Entry::file(name, "");
    let mut cases = Vec::new();
    for (what, layer) in [
        (
            "file then its whiteout",
            vec![Entry::file("b", "new"), white(".wh.b")],
        ),
        (
            "whiteout then its file",
            vec![white(".wh.b"), Entry::file("b", "new")],
        ),
        (
            "directory then its whiteout",
            vec![Entry::directory("a"), white(".wh.a")],
        ),
        (
            "whiteout then its directory",
            vec![
                white(".wh.a"),
                Entry::directory("a"),
                Entry::file("a/n", "new"),
            ],
        ),
        (
            "whiteout then a file below it",
            vec![white(".wh.a"), Entry::file("a/n", "new")],
        ),
        (
            "whiteout then a deep file below it",
            vec![white(".wh.a"), Entry::file("a/sub/n", "new")],
        ),
        (
            "whiteout then a whiteout below it",
            vec![white(".wh.a"), white("a/.wh.f")],
        ),
        ("whiteout twice", vec![white(".wh.a"), white(".wh.a")]),
        (
            "opaque before its siblings",
            vec![white("a/.wh..wh..opq"), Entry::file("a/n", "new")],
        ),
        (
            "opaque after its siblings",
            vec![Entry::file("a/n", "new"), white("a/.wh..wh..opq")],
        ),
        (
            "opaque twice",
            vec![white("a/.wh..wh..opq"), white("a/.wh..wh..opq")],
        ),
        (
            "opaque root",
            vec![white(".wh..wh..opq"), Entry::file("n", "new")],
        ),
        (
            "opaque below a whiteout",
            vec![white(".wh.a"), white("a/.wh..wh..opq")],
        ),
        (
            "opaque in a file",
            vec![Entry::file("a", "new"), white("a/.wh..wh..opq")],
        ),
        (
            "whiteout in a file",
            vec![Entry::file("a", "new"), white("a/.wh.f")],
        ),
        (
            "whiteout through a link",
            vec![
                Entry::symlink("t", "a"),
                Entry::directory("a"),
                white("t/.wh.f"),
            ],
        ),
        (
            "opaque through a link",
            vec![
                Entry::symlink("t", "a"),
                Entry::directory("a"),
                white("t/.wh..wh..opq"),
            ],
        ),
        (
            "whiteout through a link that leads out",
            vec![Entry::symlink("t", "../.."), white("t/.wh.f")],
        ),
        (
            "opaque through a link that leads out",
            vec![Entry::symlink("t", "../.."), white("t/.wh..wh..opq")],
        ),
        (
            "opaque through a link to the root",
            vec![Entry::symlink("t", "/"), white("t/.wh..wh..opq")],
        ),
        (
            "hard link to a whiteout",
            vec![white(".wh.b"), Entry::hard_link("h", "b")],
        ),
        (
            "hard link to the name of a whiteout",
            vec![white(".wh.b"), Entry::hard_link("h", ".wh.b")],
        ),
        (
            "hard link as a whiteout",
            vec![Entry::file("f", "x"), Entry::hard_link(".wh.b", "f")],
        ),
        (
            "hard link in the place of a whiteout",
            vec![
                Entry::file("f", "x"),
                white(".wh.b"),
                Entry::hard_link("b", "f"),
            ],
        ),
        (
            "device of overlayfs",
            vec![Entry::new("b", Kind::Char(0, 0))],
        ),
        (
            "device of overlayfs over a directory",
            vec![Entry::new("a", Kind::Char(0, 0))],
        ),
        (
            "device of overlayfs, then a file below it",
            vec![Entry::new("a", Kind::Char(0, 0)), Entry::file("a/n", "new")],
        ),
        (
            "hard link to a device of overlayfs",
            vec![
                Entry::new("a", Kind::Char(0, 0)),
                Entry::hard_link("h", "a"),
            ],
        ),
        (
            "attribute of overlayfs on a directory",
            vec![Entry::directory("a").xattr("trusted.overlay.opaque", b"y")],
        ),
        (
            "attribute of overlayfs that redirects",
            vec![Entry::directory("c").xattr("trusted.overlay.redirect", b"/a")],
        ),
        ("file instead of a directory", vec![Entry::file("a", "new")]),
        (
            "directory instead of a file",
            vec![Entry::directory("b"), Entry::file("b/n", "new")],
        ),
        (
            "directory instead of a link",
            vec![Entry::directory("s"), Entry::file("s/n", "new")],
        ),
        (
            "file below a link of the layer below",
            vec![Entry::file("s/n", "new")],
        ),
        (
            "whiteout below a link of the layer below",
            vec![white("s/.wh.f")],
        ),
    ] {
        cases.push(Case::of(what, &[below(), layer.clone()]));
        cases.push(Case::one(format!("{what}, alone"), layer));
    }
    cases
}

fn roots(outside: &Path) -> Vec<Case> {
    let outside = outside.display().to_string();
    let mut cases = Vec::new();
    for name in [".", "./", "/", "././", "//", "/.", "/./."] {
        for (what, entry) in [
            ("file", Entry::file(name, "x")),
            ("symlink", Entry::symlink(name, outside.clone())),
            ("hard link", Entry::hard_link(name, "f")),
            ("character device", Entry::new(name, Kind::Char(0, 0))),
            ("block device", Entry::new(name, Kind::Block(8, 0))),
            ("fifo", Entry::new(name, Kind::Fifo)),
            ("directory", Entry::directory(name).mode(0o700).owner(5, 5)),
        ] {
            let entries = vec![Entry::file("f", "x"), entry, Entry::file("g", "x")];
            cases.push(Case::one(format!("root `{name}` as a {what}"), entries));
        }
        let entries = vec![Entry::hard_link("h", name)];
        cases.push(Case::one(
            format!("hard link to the root `{name}`"),
            entries,
        ));
    }
    cases
}
