//! Modes, owners and extended attributes: through links, and such as steer the kernel.

use std::path::Path;

use crate::cases::Case;
use crate::entry::{Entry, Kind};

/// A file capability as `setcap` writes it (linux/capability.h, version 2).
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

pub(super) fn cases(outside: &Path) -> Vec<Case> {
    [through_links(outside), on_everything(), names()].concat()
}

fn through_links(outside: &Path) -> Vec<Case> {
    let outside = outside.display().to_string();
    let mut cases = Vec::new();
    for mode in [0, 0o777, 0o4755, 0o7777] {
        for (target, to) in [
            ("outside", &outside),
            ("a file outside", &format!("{outside}/file")),
        ] {
            for (what, link) in [
                ("symlink", Entry::symlink("l", to.clone())),
                ("hard link", Entry::hard_link("l", to.clone())),
            ] {
                cases.push(Case::one(
                    format!("directory of mode {mode:o} over a {what} to {target}"),
                    vec![
                        link,
                        Entry::directory("l").mode(mode).owner(1000, 1000),
                        Entry::file("l/file", "inside"),
                    ],
                ));
            }
        }
        cases.push(Case::one(
            format!("hard link of mode {mode:o} changes nothing of its file"),
            vec![
                Entry::file("f", "x").mode(0o600),
                Entry::hard_link("h", "f")
                    .mode(mode)
                    .owner(7, 7)
                    .xattr("user.x", b"y"),
            ],
        ));
        cases.push(Case::one(
            format!("symlink of mode {mode:o} and its owner"),
            vec![
                Entry::file("f", "x").mode(0o600),
                Entry::symlink("l", "f")
                    .mode(mode)
                    .owner(7, 8)
                    .xattr("user.x", b"y"),
            ],
        ));
    }
    cases
}

fn on_everything() -> Vec<Case> {
    let kinds = [
        ("file", Kind::File(b"x".into())),
        ("directory", Kind::Directory),
        ("fifo", Kind::Fifo),
        ("character device", Kind::Char(1, 3)),
        ("block device", Kind::Block(8, 0)),
        ("largest device", Kind::Char(4095, 1_048_575)),
        ("symlink", Kind::Symlink(b"x".into())),
    ];
    let mut cases = Vec::new();
    for (what, kind) in kinds {
        for (uid, gid, mode) in [
            (0, 0, 0),
            (1000, 1000, 0o6755),
            (65_534, 65_534, 0o1777),
            (2_097_151, 0, 0o7777),
        ] {
            let entry = Entry::new("e", kind.clone()).mode(mode).owner(uid, gid);
            cases.push(Case::one(
                format!("{what} of {uid}:{gid} with mode {mode:o}"),
                vec![entry],
            ));
        }
    }
    cases
}

fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    let large = b"v".repeat(60_000);
    for (name, value) in [
        ("trusted.overlay.opaque", &b"y"[..]),
        ("trusted.overlay.redirect", b"/etc"),
        ("trusted.overlay.metacopy", b""),
        ("trusted.overlay.origin", b"\0\xfb\x21\0"),
        ("trusted.overlay.whiteout", b""),
        ("trusted.overlay.xattr", b"x"),
        ("trusted.other", b"x"),
        ("user.overlay.opaque", b"y"),
        ("user.overlay.redirect", b"/etc"),
        ("user.overlay.", b"y"),
        ("security.selinux", b"system_u:object_r:etc_t:s0"),
        ("security.ima", b"\x04"),
        ("security.apparmor", b"unconfined"),
        ("security.capability", CAPABILITY),
        ("system.posix_acl_access", b"\x02\0\0\0"),
        ("user.fine", b"1\n2=\0"),
        ("user.empty", b""),
        ("user.long", &large),
        ("nonsense", b"x"),
        ("", b"x"),
    ] {
        for (what, entry) in [
            ("file", Entry::file("e", "x")),
            ("directory", Entry::directory("e")),
            ("symlink", Entry::symlink("e", "x")),
            ("root directory", Entry::directory("./")),
        ] {
            if matches!(name, "security.capability" | "user.long") && what != "file" {
                continue;
            }
            let case = format!("attribute `{name}` of a {what}");
            let entries = vec![entry.xattr(name, value)];
            cases.push(match name {
                "" => Case::refused(case, crate::entry::archive(&entries), &["PAX"]),
                _ => Case::one(case, entries),
            });
        }
    }
    let many = |count: usize| {
        (0..count).fold(Entry::file("e", "x"), |entry, n| {
            entry.xattr(&format!("user.{n}"), b"")
        })
    };
    let archive = |entry| crate::entry::archive(&[entry]);
    cases.push(Case::refused(
        "attribute `user.x` of 64 KiB and a byte",
        archive(Entry::file("e", "").xattr("user.x", &[b'v'; 65_537])),
        &["`e`", "user.x"],
    ));
    cases.push(Case::refused(
        "257 attributes",
        archive(many(257)),
        &["256 extended attributes"],
    ));
    cases.push(Case::refused(
        "65 000 attributes",
        archive(many(65_000)),
        &["limit"],
    ));
    cases.push(Case::refused(
        "attribute with a name of 256 bytes",
        archive(Entry::file("e", "").xattr(&format!("user.{}", "n".repeat(251)), b"x")),
        &["`e`"],
    ));
    cases.push(Case::refused(
        "file capability that is none",
        archive(Entry::file("e", "").xattr("security.capability", b"x")),
        &["`e`", "security.capability"],
    ));
    cases
}
