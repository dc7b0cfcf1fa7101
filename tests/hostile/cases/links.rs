//! Links that lead out, and entries that reach them or go through them.

use std::path::Path;

use crate::cases::Case;
use crate::entry::{Entry, Kind};

/// Each kind of link with each kind of entry under each form of name, in one layer and in two; every
/// target has its turn.
pub(super) fn cases(outside: &Path) -> Vec<Case> {
    let targets = targets(outside);
    let mut turn = 0;
    product(outside, &mut |all| {
        turn += 1;
        &all[turn % targets.len()..=turn % targets.len()]
    })
}

/// The same with every target: tens of thousands.
pub fn every_link(outside: &Path) -> Vec<Case> {
    product(outside, &mut |all| all)
}

fn product(outside: &Path, choose: &mut dyn FnMut(&[String]) -> &[String]) -> Vec<Case> {
    let all = targets(outside);
    let mut cases = Vec::new();
    for kind in 0..KINDS {
        for form in forms() {
            for entry in 0..entries(b"x").len() {
                for layers in [1, 2] {
                    for target in choose(&all) {
                        let (link, first) = links(target).swap_remove(kind);
                        let (what, second) = entries(&form.1).swap_remove(entry);
                        let name =
                            format!("{link} to {target}, {what} at {}, {layers} layers", form.0);
                        cases.push(match layers {
                            1 => Case::one(name, [first, second].concat()),
                            _ => Case::of(name, &[first, second]),
                        });
                    }
                }
            }
        }
    }
    cases
}

/// Where the links of the corpus lead.
fn targets(outside: &Path) -> Vec<String> {
    let outside = outside.display().to_string();
    let up = "../".repeat(20);
    vec![
        outside.clone(),
        "d".into(),
        format!("{outside}/file"),
        "../outside".into(),
        "../../../../outside/d".into(),
        format!("{up}{}", &outside[1..]),
        format!("/proc/self/root{outside}"),
        "..".into(),
        "/".into(),
        "/d/e".into(),
        ".".into(),
    ]
}

const KINDS: usize = 6;

/// Ways to get a link called `l`.
fn links(target: &str) -> Vec<(&'static str, Vec<Entry>)> {
    let base = [Entry::directory("d/e"), Entry::file("d/file", "inside")];
    let with = |more: Vec<Entry>| [&base[..], &more].concat();
    vec![
        ("symlink", with(vec![Entry::symlink("l", target)])),
        ("hard link", with(vec![Entry::hard_link("l", target)])),
        (
            "chain",
            with(vec![Entry::symlink("k", target), Entry::symlink("l", "k")]),
        ),
        (
            "absolute chain",
            with(vec![Entry::symlink("k", target), Entry::symlink("l", "/k")]),
        ),
        (
            "hard link to a symlink",
            with(vec![
                Entry::symlink("k", target),
                Entry::hard_link("l", "k"),
            ]),
        ),
        (
            "nested chain",
            with(vec![
                Entry::symlink("d/k", ".."),
                Entry::symlink("d/l", target),
                Entry::symlink("l", "d/k/d/l"),
            ]),
        ),
    ]
}

/// Names that reach the link or go through it, in every spelling.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let long = |count: usize| [b"l/", &b"n".repeat(count)[..]].concat();
    vec![
        ("itself", b"l".into()),
        ("itself with a slash", b"l/".into()),
        ("itself, absolute", b"/l".into()),
        ("relative", b"l/x".into()),
        ("a victim", b"l/file".into()),
        ("a deep one", b"l/e/new/z".into()),
        ("absolute", b"/l/x".into()),
        ("dot", b"./l/./x".into()),
        ("dot-dot", b"l/../outside/x".into()),
        ("dot, dot-dot", b"./../outside/x".into()),
        ("trailing slash", b"l/x/".into()),
        ("double slash", b"l//x".into()),
        ("NUL", b"l/x\0y".into()),
        ("not UTF-8", b"l/\xff\xfe\x80".into()),
        ("255 bytes", long(255)),
        ("256 bytes", long(256)),
        (
            "over 4096 bytes",
            [b"l/", &long(250)[1..].repeat(17)[..]].concat(),
        ),
    ]
}

/// What is written under such a name.
fn entries(name: &[u8]) -> Vec<(&'static str, Vec<Entry>)> {
    let name = name.to_vec();
    let (above, last) = match name.iter().rposition(|byte| *byte == b'/') {
        Some(at) => name.split_at(at + 1),
        None => (&b""[..], &name[..]),
    };
    let hidden = [above, b".wh.", last].concat();
    let opaque = [&name[..], b"/.wh..wh..opq"].concat();
    vec![
        ("file", vec![Entry::file(name.clone(), "changed")]),
        (
            "set-id file",
            vec![
                Entry::file(name.clone(), "#!")
                    .mode(0o6777)
                    .owner(1000, 1000),
            ],
        ),
        (
            "directory",
            vec![Entry::directory(name.clone()).mode(0).owner(1000, 1000)],
        ),
        (
            "open directory with attributes",
            vec![
                Entry::directory(name.clone())
                    .mode(0o7777)
                    .mtime(1)
                    .xattr("user.x", b"y"),
            ],
        ),
        (
            "device",
            vec![Entry::new(name.clone(), Kind::Char(1, 3)).mode(0o666)],
        ),
        (
            "fifo",
            vec![Entry::new(name.clone(), Kind::Fifo).mode(0o666)],
        ),
        ("symlink", vec![Entry::symlink(name.clone(), "elsewhere")]),
        (
            "hard link to it",
            vec![
                Entry::hard_link("h", name.clone()),
                Entry::file("h", "changed"),
            ],
        ),
        (
            "hard link over it",
            vec![
                Entry::file("f", "mine"),
                Entry::hard_link(name.clone(), "f").mode(0o7777),
            ],
        ),
        ("whiteout", vec![Entry::file(hidden, "")]),
        ("opaque whiteout", vec![Entry::file(opaque, "")]),
    ]
}
