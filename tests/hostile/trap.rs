//! The tree that no archive may touch, and the reader's own directory beside it.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;

/// A directory with the sentinel tree `outside` in it; removed when dropped.
#[derive(Debug)]
pub struct Trap {
    dir: tempfile::TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Trap {
    /// Sets it up in memory where there is such a place: thousands of small trees are ten times faster
    /// there than on a disk.
    pub fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::at(dir.expect("a directory"))
    }

    /// Sets it up below `place`.
    pub fn below(place: &Path) -> Self {
        Self::at(tempfile::tempdir_in(place).expect("a directory"))
    }

    fn at(dir: tempfile::TempDir) -> Self {
        plant(&dir.path().join("outside")).expect("a sentinel tree");
        let before = describe(&dir.path().join("outside"));
        Self { dir, before }
    }

    /// Where readers may work.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What links of a case lead to.
    pub fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Panics when anything changed: contents, modes, owners, times of change, attributes or names.
    #[track_caller]
    pub fn check(&self, what: &str) {
        let after = describe(&self.outside());
        if after != self.before {
            let before = &self.before;
            let changed = after
                .iter()
                .filter(|(path, text)| before.get(*path) != Some(text));
            let lost = before.keys().filter(|path| !after.contains_key(*path));
            panic!(
                "{what}: outside changed: {:?}, lost: {:?}",
                changed.collect::<Vec<_>>(),
                lost.collect::<Vec<_>>()
            );
        }
    }
}

impl Default for Trap {
    fn default() -> Self {
        Self::new()
    }
}

fn plant(outside: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(outside.join("d/e"))?;
    for name in ["file", "d/file", "gone", "x", "set-id"] {
        std::fs::write(outside.join(name), b"untouched")?;
    }
    for (name, mode) in [("file", 0o640), ("set-id", 0o4755), ("d", 0o1750)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(outside.join(name), mode)?;
    }
    std::os::unix::fs::chown(outside.join("x"), Some(1234), Some(5678))?;
    std::fs::hard_link(outside.join("x"), outside.join("d/twin"))?;
    symlink("file", outside.join("link"))?;
    symlink("nowhere", outside.join("dangling"))?;
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(outside.join("file"), "user.sentinel", b"here", flags)?;
    Ok(())
}

/// Everything that could change of a tree, by path. A changed ctime alone shows that somebody was there.
fn describe(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let meta = path.symlink_metadata().expect("a sentinel");
    let mut xattrs = [0; 1024];
    let size = rustix::fs::llistxattr(path, &mut xattrs[..]).expect("its attributes");
    let content = match meta.file_type() {
        kind if kind.is_file() => std::fs::read_to_string(path).expect("its text"),
        kind if kind.is_symlink() => format!("{:?}", std::fs::read_link(path).expect("a link")),
        _ => String::new(),
    };
    let text = format!(
        "{:o} {}:{} {}.{} {}.{} {} names {content} {:?}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        meta.nlink(),
        &xattrs[..size],
    );
    all.insert(path.to_owned(), text);
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            all.extend(describe(&entry.expect("an entry").path()));
        }
    }
    all
}
