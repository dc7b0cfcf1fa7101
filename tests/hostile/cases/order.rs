//! Entries that come twice, too late or in the wrong order.

use crate::cases::Case;
use crate::entry::{Entry, Kind};

pub(super) fn cases() -> Vec<Case> {
    [replacements(), orders()].concat()
}

fn kinds(name: &str) -> Vec<(&'static str, Vec<Entry>)> {
    vec![
        ("file", vec![Entry::file(name, "x").mode(0o600).mtime(11)]),
        (
            "directory",
            vec![Entry::directory(name).mode(0o700).mtime(12)],
        ),
        (
            "full directory",
            vec![
                Entry::directory(name).mtime(13),
                Entry::file(format!("{name}/in"), "x"),
                Entry::directory(format!("{name}/sub")),
            ],
        ),
        ("symlink", vec![Entry::symlink(name, "other").mtime(14)]),
        ("link to a directory", vec![Entry::symlink(name, "other/d")]),
        ("hard link", vec![Entry::hard_link(name, "other/f")]),
        ("fifo", vec![Entry::new(name, Kind::Fifo)]),
        ("device", vec![Entry::new(name, Kind::Char(1, 3))]),
        ("whiteout", vec![Entry::file(format!(".wh.{name}"), "")]),
    ]
}

/// Every kind over every kind, in one layer and in two.
fn replacements() -> Vec<Case> {
    let base = [Entry::file("other/f", "other"), Entry::directory("other/d")];
    let mut cases = Vec::new();
    for (first, below) in kinds("e") {
        for (second, above) in kinds("e") {
            let one = [&base[..], &below, &above].concat();
            cases.push(Case::one(format!("{second} over a {first}"), one));
            let two = [[&base[..], &below].concat(), [&base[..], &above].concat()];
            cases.push(Case::of(
                format!("{second} over a {first} of the layer below"),
                &two,
            ));
            let again = [&base[..], &below, &above, &below].concat();
            cases.push(Case::one(
                format!("{first}, {second} and {first} again"),
                again,
            ));
        }
    }
    cases
}

fn orders() -> Vec<Case> {
    let mut cases = vec![
        Case::one(
            "child before its parent",
            vec![
                Entry::file("p/c", "x"),
                Entry::directory("p").mode(0o700).mtime(5),
            ],
        ),
        Case::one(
            "hard link before its file",
            vec![Entry::hard_link("h", "f"), Entry::file("f", "x")],
        ),
        Case::one("hard link to itself", vec![Entry::hard_link("h", "h")]),
        Case::one(
            "hard link to its own file again",
            vec![Entry::file("f", "x"), Entry::hard_link("./f", "f")],
        ),
        Case::one(
            "hard link to a directory",
            vec![Entry::directory("d"), Entry::hard_link("h", "d")],
        ),
        Case::one(
            "hard link that removes its file",
            vec![Entry::file("d/f", "x"), Entry::hard_link("d", "d/f")],
        ),
        Case::one(
            "hard link that removes its file deeply",
            vec![Entry::file("d/e/f", "x"), Entry::hard_link("d", "d/e/f")],
        ),
        Case::one(
            "hard link, then its file again",
            vec![
                Entry::file("f", "x"),
                Entry::hard_link("h", "f"),
                Entry::file("f", "y"),
            ],
        ),
        Case::one(
            "hard link through a link",
            vec![
                Entry::file("d/f", "x"),
                Entry::symlink("l", "d"),
                Entry::hard_link("h", "l/f"),
            ],
        ),
        Case::one(
            "hard link to a dangling link",
            vec![Entry::symlink("l", "nowhere"), Entry::hard_link("h", "l")],
        ),
        Case::one(
            "ten hard links",
            (0..10)
                .map(|n| match n {
                    0 => Entry::file("0", "x"),
                    _ => Entry::hard_link(n.to_string(), (n - 1).to_string()),
                })
                .collect(),
        ),
        Case::one(
            "names that differ in case",
            vec![
                Entry::file("a", "lower"),
                Entry::file("A", "upper"),
                Entry::directory("D"),
                Entry::file("d", "x"),
            ],
        ),
        Case::one(
            "names that look alike",
            vec![Entry::file("\u{e9}", "one"), Entry::file("e\u{301}", "two")],
        ),
        Case::one(
            "one file under many spellings",
            ["f", "./f", "/f", "//f", "././f"]
                .iter()
                .map(|name| Entry::file(*name, *name))
                .collect(),
        ),
        Case::one(
            "one file a hundred times",
            (0..100).map(|n| Entry::file("f", n.to_string())).collect(),
        ),
        Case::one(
            "one directory with two times",
            vec![
                Entry::directory("d").mtime(1),
                Entry::directory("d").mtime(2),
            ],
        ),
        Case::one(
            "directory with a time, then a directory of the same name without",
            vec![
                Entry::directory("d").mtime(1),
                Entry::file("d", "x"),
                Entry::directory("d").mtime(3),
            ],
        ),
        Case::one(
            "time of a directory behind a link",
            vec![
                Entry::directory("d").mtime(1),
                Entry::symlink("d", "e"),
                Entry::directory("e").mtime(9),
            ],
        ),
        Case::one(
            "file in a file",
            vec![Entry::file("f", "x"), Entry::file("f/x", "y")],
        ),
        Case::one(
            "file below a fifo",
            vec![Entry::new("f", Kind::Fifo), Entry::file("f/x", "y")],
        ),
        Case::one(
            "file below a device",
            vec![Entry::new("f", Kind::Char(1, 3)), Entry::file("f/x", "y")],
        ),
        Case::one(
            "link to itself",
            vec![Entry::symlink("l", "l"), Entry::file("l/x", "y")],
        ),
        Case::one(
            "links in a ring",
            vec![
                Entry::symlink("k", "l"),
                Entry::symlink("l", "k"),
                Entry::file("l/x", "y"),
            ],
        ),
        Case::one(
            "directory replaced by a link while open",
            vec![
                Entry::file("d/a", "x"),
                Entry::symlink("d", ".."),
                Entry::file("d/b", "y"),
            ],
        ),
        Case::one(
            "directory replaced by a link inside while open",
            vec![
                Entry::directory("e"),
                Entry::file("d/a", "x"),
                Entry::symlink("d", "e"),
                Entry::file("d/b", "y"),
            ],
        ),
        Case::one(
            "directory above replaced while open",
            vec![
                Entry::file("d/e/a", "x"),
                Entry::file("d", "y"),
                Entry::file("d/e/b", "z"),
            ],
        ),
        Case::one(
            "directory that loses its mode",
            vec![Entry::directory("d").mode(0), Entry::file("d/f", "x")],
        ),
    ];
    for length in [39, 40, 41, 100] {
        let mut entries = vec![Entry::directory("end")];
        let target = |n: usize| match n {
            0 => "end".to_owned(),
            _ => format!("l{}", n - 1),
        };
        entries.extend((0..length).map(|n| Entry::symlink(format!("l{n}"), target(n))));
        entries.push(Entry::file(format!("l{}/f", length - 1), "x"));
        cases.push(Case::one(format!("chain of {length} links"), entries));
    }
    cases
}
