//! A generated corpus of layers that try to leave their directory, and a tree beside it that must not
//! change: neither contents nor modes, owners, times, attributes or link counts.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use orc_base::Result;

use crate::testing::{Tape, tape};
use crate::unpack::limits::Limits;
use crate::unpack::tar::Reader;
use crate::unpack::tree::Tree;

/// A directory for layers, and the tree that no layer may reach.
struct Trap {
    dir: tempfile::TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Trap {
    fn new() -> Self {
        // Ten thousand small trees: memory is ten times faster than a disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = dir.unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir_all(outside.join("d/e")).unwrap();
        for name in ["file", "d/file", "gone", "x"] {
            std::fs::write(outside.join(name), b"untouched").unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(outside.join("file"), mode).unwrap();
        symlink("file", outside.join("link")).unwrap();
        let before = describe(&outside);
        Self { dir, before }
    }

    fn unpack(&self, tape: Tape) -> Result<()> {
        let root = self.dir.path().join("layer");
        std::fs::create_dir(&root).unwrap();
        let result = unpack(&root, tape);
        std::fs::remove_dir_all(&root).unwrap();
        result
    }

    fn check(&self, what: &str, result: &Result<()>) {
        let after = describe(&self.dir.path().join("outside"));
        assert_eq!(after, self.before, "{what}: {result:?}");
        let beside: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().collect();
        assert_eq!(beside.len(), 1, "{what}: {result:?}");
        if let Err(error) = result {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 2_000, "{what}: {text}");
        }
    }
}

fn unpack(root: &Path, tape: Tape) -> Result<()> {
    let bytes = tape.end();
    let mut tree = Tree::new(root, Limits::default())?;
    let mut reader = Reader::new(&bytes[..]);
    while let Some(entry) = reader.next_entry()? {
        tree.put(&entry, &mut |sink| reader.data(sink))?;
    }
    tree.finish().map(|_| ())
}

/// Everything that could change of a tree, by path.
fn describe(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let meta = path.symlink_metadata().unwrap();
    let mut xattrs = [0; 1024];
    let size = rustix::fs::llistxattr(path, &mut xattrs[..]).unwrap();
    let content = match meta.file_type() {
        kind if kind.is_file() => std::fs::read_to_string(path).unwrap(),
        kind if kind.is_symlink() => format!("{:?}", std::fs::read_link(path).unwrap()),
        _ => String::new(),
    };
    let text = format!(
        "{:o} {}:{} {}.{} {} links {content} {:?}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.nlink(),
        &xattrs[..size],
    );
    all.insert(path.to_owned(), text);
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            all.extend(describe(&entry.unwrap().path()));
        }
    }
    all
}

/// Where the links of the corpus point.
fn targets(outside: &Path) -> Vec<String> {
    let outside = outside.display().to_string();
    let up = "../".repeat(20);
    vec![
        outside.clone(),
        format!("{outside}/file"),
        "../outside".into(),
        "../outside/d".into(),
        format!("{up}{}", &outside[1..]),
        format!("/proc/self/root{outside}"),
        "..".into(),
        "/".into(),
        ".".into(),
    ]
}

/// Ways to get a link called `l`.
fn links(target: &str) -> Vec<(String, Tape)> {
    let target = &target[..target.len().min(99)];
    vec![
        ("symlink".into(), tape().link(b'2', "l", target)),
        ("hard link".into(), tape().link(b'1', "l", target)),
        (
            "chain".into(),
            tape().link(b'2', "k", target).link(b'2', "l", "k"),
        ),
        (
            "absolute chain".into(),
            tape().link(b'2', "k", target).link(b'2', "l", "/k"),
        ),
        (
            "hard link to symlink".into(),
            tape().link(b'2', "k", target).link(b'1', "l", "k"),
        ),
        (
            "nested".into(),
            tape()
                .directory("a")
                .link(b'2', "a/k", "..")
                .link(b'2', "a/l", target)
                .link(b'2', "l", "a/k/a/l"),
        ),
    ]
}

/// Names that reach the link or go through it.
const NAMES: [&str; 16] = [
    "l",
    "l/",
    "./l",
    "/l",
    "l/x",
    "./l/x",
    "/l/x",
    "l//x",
    "l/./x",
    "l/file",
    "l/d/file",
    "l/d/new",
    "l/../outside/file",
    "../outside/file",
    "l/..",
    "l/x/y/z",
];

/// What is written under such a name.
fn entries(tape: &Tape, name: &str) -> Vec<(String, Tape)> {
    let special = |kind: u8, mode: &'static [u8; 7]| {
        tape.clone().raw(|header| {
            header[..100].fill(0);
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[156] = kind;
            header[100..107].copy_from_slice(mode);
            header[108..115].copy_from_slice(b"0001750");
            header[329..336].copy_from_slice(b"0000001");
            header[337..344].copy_from_slice(b"0000003");
        })
    };
    let hidden = match name.rsplit_once('/') {
        Some((parent, last)) => format!("{parent}/.wh.{last}"),
        None => format!(".wh.{name}"),
    };
    let opaque = format!("{name}/.wh..wh..opq");
    vec![
        ("file".into(), tape.clone().file(name, b"changed")),
        ("set-id file".into(), special(b'0', b"0006777")),
        ("directory".into(), special(b'5', b"0000000")),
        ("wide directory".into(), special(b'5', b"0007777")),
        ("device".into(), special(b'3', b"0000666")),
        ("fifo".into(), special(b'6', b"0000666")),
        ("symlink".into(), tape.clone().link(b'2', name, "elsewhere")),
        (
            "hard link to it".into(),
            tape.clone().link(b'1', "h", name).file("h", b"changed"),
        ),
        (
            "hard link over it".into(),
            tape.clone().file("f", b"").link(b'1', name, "f"),
        ),
        ("whiteout".into(), tape.clone().file(&hidden, b"")),
        ("opaque".into(), tape.clone().file(&opaque, b"")),
        (
            "attributes".into(),
            tape.clone()
                .pax(&[("SCHILY.xattr.user.x", b"y"), ("mtime", b"1")])
                .directory(name),
        ),
    ]
}

#[test]
fn nothing_outside_changes() {
    let trap = Trap::new();
    let mut count = 0;
    for target in targets(&trap.dir.path().join("outside")) {
        for (link, tape) in links(&target) {
            for name in NAMES {
                for (entry, tape) in entries(&tape, name) {
                    let result = trap.unpack(tape);
                    trap.check(&format!("{link} to {target}, {entry} at {name}"), &result);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 10_000, "{count}");
}

#[test]
fn names_that_are_no_names() {
    let trap = Trap::new();
    let outside = trap.dir.path().join("outside/file").display().to_string();
    let bytes: [&[u8]; 12] = [
        b"..",
        b"../outside/x",
        b"a/../../outside/x",
        b"./../outside/x",
        b"/../outside/x",
        b"a\0b",
        b"",
        b"\xff\xfe/../x",
        outside.as_bytes(),
        b"//outside/x",
        b".wh...",
        b".wh..wh..opq/..",
    ];
    for name in bytes {
        for records in [
            vec![("path", name)],
            vec![("path", &b"f"[..]), ("linkpath", name)],
        ] {
            for kind in [b'0', b'1', b'2', b'5'] {
                let entry = tape().file("f", b"").pax(&records).link(kind, "e", "t");
                let result = trap.unpack(entry);
                trap.check(&format!("{} as {kind}", name.escape_ascii()), &result);
            }
        }
    }
}

#[test]
fn the_root_cannot_be_replaced() {
    let trap = Trap::new();
    let outside = trap.dir.path().join("outside").display().to_string();
    for name in [".", "./", "/", "././", "//"] {
        for kind in [b'0', b'1', b'2', b'3', b'4', b'6'] {
            let result = trap.unpack(tape().file("f", b"").link(kind, name, &outside));
            assert!(result.is_err(), "{name} as {}", kind as char);
            trap.check(name, &result);
        }
    }
}

#[test]
fn an_entry_may_replace_a_link_but_not_change_its_target() {
    let trap = Trap::new();
    let outside = trap.dir.path().join("outside").display().to_string();
    for mode in [b"0000000", b"0000777", b"0004755"] {
        let tape = tape().link(b'2', "l", &outside).raw(|header| {
            header[..100].fill(0);
            header[0] = b'l';
            header[156] = b'5';
            header[100..107].copy_from_slice(mode);
            header[108..115].copy_from_slice(b"0001750");
        });
        let result = trap.unpack(tape.file("l/file", b"inside"));
        assert!(result.is_ok(), "{result:?}");
        trap.check("directory over link", &result);
    }
}
