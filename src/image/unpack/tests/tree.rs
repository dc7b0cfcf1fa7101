//! What entries become in a directory.

use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use orc_base::Result;

use crate::testing::{Tape, tape};
use crate::unpack::limits::{Limits, MAX_XATTR_BYTES};
use crate::unpack::tar::Reader;
use crate::unpack::tree::{Tree, Written};

fn unpack(into: &Path, tape: Tape) -> Result<Written> {
    unpack_within(into, tape, Limits::default())
}

fn unpack_within(into: &Path, tape: Tape, limits: Limits) -> Result<Written> {
    let bytes = tape.end();
    let mut tree = Tree::new(into, limits)?;
    let mut reader = Reader::new(&bytes[..]);
    while let Some(entry) = reader.next_entry()? {
        tree.put(&entry, &mut |sink| reader.data(sink))?;
    }
    tree.finish()
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    let size = rustix::fs::getxattr(path, "trusted.overlay.opaque", &mut value[..]);
    size.is_ok_and(|size| &value[..size] == b"y")
}

fn is_whiteout(path: &Path) -> bool {
    let meta = path.symlink_metadata().unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[test]
fn writes_everything_as_described() {
    let dir = dir();
    let root = dir.path();
    let written = unpack(
        root,
        tape()
            .directory("./")
            .raw_with_data(b"#!", |header| {
                header[..7].copy_from_slice(b"bin/su\0");
                header[100..107].copy_from_slice(b"0004755");
                header[108..115].copy_from_slice(b"0001750");
            })
            .link(b'1', "bin/also", "./bin/su")
            .link(b'2', "bin/sh", "/bin/su")
            .pax(&[("mtime", b"12.5"), ("SCHILY.xattr.user.k", b"a\nb")])
            .directory("d")
            .file("d/f", b"x")
            .raw(|header| {
                header[..5].copy_from_slice(b"fifo\0");
                header[156] = b'6';
                header[100..107].copy_from_slice(b"0000622");
            }),
    )
    .unwrap();
    let su = root.join("bin/su").metadata().unwrap();
    assert_eq!((su.mode() & 0o7777, su.uid()), (0o4755, 1000));
    assert_eq!(su.mtime(), 1_610_612_736);
    assert_eq!(root.join("bin/also").metadata().unwrap().ino(), su.ino());
    assert_eq!(
        root.join("bin/sh").read_link().unwrap(),
        Path::new("/bin/su")
    );
    let d = root.join("d").metadata().unwrap();
    assert_eq!((d.mtime(), d.mtime_nsec()), (12, 500_000_000));
    let mut value = [0; 8];
    let size = rustix::fs::getxattr(root.join("d"), "user.k", &mut value[..]).unwrap();
    assert_eq!(&value[..size], b"a\nb");
    let fifo = root.join("fifo").metadata().unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!(fifo.permissions().mode() & 0o7777, 0o622);
    assert_eq!(
        written,
        Written {
            entries: 7,
            file_bytes: 3,
            has_root: true
        }
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    let dir = dir();
    let root = dir.path();
    unpack(
        root,
        tape()
            .file("a/b/c", b"deep")
            .file("a/b", b"file instead of directory")
            .file("f", b"one")
            .file("f", b"two")
            .link(b'2', "l", "f")
            .file("l", b"own")
            .link(b'2', "s", "/etc")
            .directory("s")
            .directory("keep")
            .file("keep/x", b"x")
            .directory("keep"),
    )
    .unwrap();
    let read = |name: &str| std::fs::read(root.join(name)).unwrap();
    assert_eq!(read("a/b"), b"file instead of directory");
    assert_eq!((read("f"), read("l")), (b"two".into(), b"own".into()));
    assert!(root.join("s").symlink_metadata().unwrap().is_dir());
    assert_eq!(read("keep/x"), b"x");
}

#[test]
fn the_open_directory_is_forgotten_when_it_goes() {
    let dir = dir();
    unpack(
        dir.path(),
        tape()
            .file("a/one", b"")
            .file("a", b"")
            .directory("a")
            .file("a/two", b""),
    )
    .unwrap();
    assert!(dir.path().join("a/two").is_file());
    assert!(!dir.path().join("a/one").exists());
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_else() {
    let dir = dir();
    let root = dir.path();
    unpack(
        root,
        tape()
            .file(".wh.gone", b"")
            .file("x/.wh.gone", b"")
            .file("f1", b"stays")
            .file(".wh.f1", b"")
            .file(".wh.f2", b"")
            .file("f2", b"stays")
            .directory("d1")
            .file(".wh.d1", b"")
            .file(".wh.d2", b"")
            .directory("d2")
            .file(".wh.d3", b"")
            .file("d3/f", b"")
            .file("before/f", b"")
            .file("before/.wh..wh..opq", b"")
            .file("after/.wh..wh..opq", b"")
            .file("after/f", b"")
            .file(".wh..wh.plnk", b"")
            .file(".wh..wh..opq", b""),
    )
    .unwrap();
    assert!(is_whiteout(&root.join("gone")) && is_whiteout(&root.join("x/gone")));
    for name in ["f1", "f2"] {
        assert_eq!(std::fs::read(root.join(name)).unwrap(), b"stays");
    }
    for name in ["d1", "d2", "d3", "before", "after", ""] {
        assert!(opaque(&root.join(name)), "{name}");
    }
    for name in ["d3/f", "before/f", "after/f"] {
        assert!(root.join(name).is_file());
    }
    assert!(!root.join(".wh..wh.plnk").exists());
}

#[test]
fn attributes_that_steer_overlayfs_are_dropped() {
    let dir = dir();
    let caps = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    unpack(
        dir.path(),
        tape()
            .pax(&[
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.security.selinux", b"x"),
                ("SCHILY.xattr.security.capability", caps),
            ])
            .file("f", b""),
    )
    .unwrap();
    let mut names = vec![0; 1000];
    let size = rustix::fs::listxattr(dir.path().join("f"), &mut names[..]).unwrap();
    assert_eq!(&names[..size], b"security.capability\0");
}

#[test]
fn refuses_with_the_name_of_the_entry() {
    for (tape, text) in [
        (tape().file("../x", b""), "`../x`"),
        (tape().link(b'2', "./", "/etc"), "`./`"),
        (tape().file("/", b""), "directory"),
        (tape().link(b'1', "h", "missing"), "no file of this layer"),
        (
            tape().link(b'1', "h", "/etc/passwd"),
            "no file of this layer",
        ),
        (tape().link(b'1', "h", "../x"), "link target"),
        (tape().directory("d").link(b'1', "h", "d"), "no file"),
        (tape().link(b'1', "h", "h"), "no file of this layer"),
        (tape().link(b'2', "s", ""), "`s`"),
        (tape().link(b'2', "s", "nowhere").file("s/f", b""), "`s/f`"),
        (tape().file("f", b"").file("f/x", b""), "`f/x`"),
        (
            tape().file("d/a", b"").link(b'1', "d", "d/a"),
            "no file of this layer",
        ),
        (
            tape()
                .pax(&[("SCHILY.xattr.user.x", &vec![b'x'; MAX_XATTR_BYTES + 1])])
                .file("f", b""),
            "extended attribute `user.x`",
        ),
    ] {
        let error = unpack(dir().path(), tape).unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn a_hard_link_to_itself_changes_nothing() {
    let dir = dir();
    let tape = tape().file("f", b"x").link(b'1', "./f", "f");
    unpack(dir.path(), tape).unwrap();
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"x");
}

#[test]
fn links_on_the_way_stay_inside() {
    let dir = dir();
    unpack(
        dir.path(),
        tape()
            .directory("usr/lib")
            .link(b'2', "lib", "/usr/lib")
            .link(b'2', "usr/again", "../usr")
            .file("lib/a", b"")
            .file("usr/again/b", b"")
            .file("lib/.wh.c", b""),
    )
    .unwrap();
    assert!(dir.path().join("usr/lib/a").is_file());
    assert!(dir.path().join("usr/b").is_file());
    assert!(is_whiteout(&dir.path().join("usr/lib/c")));
}

#[test]
fn nothing_is_written_through_a_link_that_climbs_out() {
    let dir = dir();
    let tape = tape()
        .directory("usr")
        .link(b'2', "up", "../../../../usr")
        .file("up/b", b"");
    let error = unpack(dir.path(), tape).unwrap_err().to_string();
    assert!(
        error.contains("`up/b`") && error.contains("leads out of the layer"),
        "{error}"
    );
}

#[test]
fn bounds_are_named() {
    let tight = Limits {
        entries: 2,
        file_bytes: 10,
        directory_name_bytes: 100,
        ..Limits::default()
    };
    for (tape, text) in [
        (
            tape().file("a", b"").file("b", b"").file("c", b""),
            "2 entries",
        ),
        (tape().file("a", &[0; 11]), "10 bytes in files"),
        (
            tape().directory(&"a".repeat(90)),
            "100 bytes in names of directories",
        ),
        (
            tape()
                .pax(&[
                    ("GNU.sparse.size", b"1099511627776"),
                    ("GNU.sparse.map", b""),
                ])
                .file("s", b""),
            "10 bytes in files",
        ),
    ] {
        let error = unpack_within(dir().path(), tape, tight).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind(), orc_base::Kind::Exhausted);
    }
}

#[test]
fn holes_are_not_written() {
    let dir = dir();
    unpack(
        dir.path(),
        tape()
            .pax(&[
                ("GNU.sparse.size", b"100000000"),
                ("GNU.sparse.map", b"0,2,50000000,3"),
            ])
            .file("s", b"abcde"),
    )
    .unwrap();
    let path = dir.path().join("s");
    let meta = path.metadata().unwrap();
    assert_eq!(meta.len(), 100_000_000);
    assert!(meta.blocks() < 1000);
    let file = std::fs::File::open(path).unwrap();
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 49_999_999).unwrap();
    assert_eq!(&bytes, b"\0cde");
}
