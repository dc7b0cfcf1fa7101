//! The same archives through GNU tar: what orc accepts, it unpacks as GNU tar does.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::unpack::limits::Limits;
use crate::unpack::tar::Reader;
use crate::unpack::tree::Tree;

fn tar(arguments: &[&str], input: Option<&Path>) -> std::process::Output {
    let input = input.map_or_else(Stdio::null, |path| {
        std::fs::File::open(path).unwrap().into()
    });
    Command::new("tar")
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(input)
        .output()
        .expect("GNU tar is on every Debian machine")
}

fn unpack(bytes: &[u8], into: &Path) {
    let mut tree = Tree::new(into, Limits::default()).unwrap();
    let mut reader = Reader::new(bytes);
    while let Some(entry) = reader.next_entry().unwrap() {
        tree.put(&entry, &mut |sink| reader.data(sink)).unwrap();
    }
    tree.finish().unwrap();
}

/// What two trees must agree in, by relative path.
fn describe(root: &Path, path: &Path, all: &mut BTreeMap<PathBuf, String>) {
    let meta = path.symlink_metadata().unwrap();
    let kind = meta.file_type();
    let content = match kind {
        _ if kind.is_file() => orc_base::id::hex(&std::fs::read(path).unwrap()),
        _ if kind.is_symlink() => format!("{:?}", std::fs::read_link(path).unwrap()),
        _ => String::new(),
    };
    let mode = if kind.is_symlink() { 0 } else { meta.mode() };
    let links = if meta.is_dir() { 0 } else { meta.nlink() };
    let text = format!(
        "{mode:o} {}:{} {} {} {links} {content}",
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.rdev()
    );
    all.insert(path.strip_prefix(root).unwrap().to_owned(), text);
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            describe(root, &entry.unwrap().path(), all);
        }
    }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    describe(root, root, &mut all);
    all
}

/// A tree with one of everything.
fn plant(root: &Path) {
    let long = "n".repeat(150);
    let deep = root.join("deep").join(&long).join(&long);
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), b"deep").unwrap();
    std::fs::write(root.join("set-id"), b"x").unwrap();
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(root.join("set-id"), mode).unwrap();
    std::fs::hard_link(root.join("set-id"), root.join("twin")).unwrap();
    symlink("set-id", root.join("link")).unwrap();
    symlink("t".repeat(200), root.join("long-link")).unwrap();
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"raw\xff\n")), b"").unwrap();
    std::os::unix::fs::chown(root.join("set-id"), Some(1000), Some(100_000_000)).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    for at in [0, 1 << 20, (2 << 20) + 77] {
        sparse.write_all_at(b"data", at).unwrap();
    }
    let flags = rustix::fs::Mode::from_raw_mode(0o622);
    let (fifo, null) = (root.join("fifo"), root.join("null"));
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, flags, 0).unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, &null, kind, flags, device).unwrap();
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o751)).unwrap();
}

#[test]
fn trees_come_out_as_gnu_tar_makes_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = |name: &str| at(name).display().to_string();
    std::fs::create_dir(at("source")).unwrap();
    plant(&at("source"));
    let forms: [&[&str]; 7] = [
        &["--format=gnu"],
        &["--format=pax"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
    ];
    for (index, form) in forms.iter().enumerate() {
        let (archive, ours, theirs) = (
            text(&format!("{index}.tar")),
            at(&format!("{index}.ours")),
            text(&format!("{index}.theirs")),
        );
        let source = text("source");
        let made = tar(
            &[form, &["-cf", &archive, "-C", &source, "."][..]].concat(),
            None,
        );
        assert!(made.status.success(), "{form:?}: {made:?}");
        std::fs::create_dir(&ours).unwrap();
        std::fs::create_dir(&theirs).unwrap();
        unpack(&std::fs::read(&archive).unwrap(), &ours);
        let out = tar(&["-xpf", &archive, "-C", &theirs, "--same-owner"], None);
        assert!(out.status.success(), "{form:?}: {out:?}");
        assert_eq!(tree(&ours), tree(Path::new(&theirs)), "{form:?}");
    }
}
