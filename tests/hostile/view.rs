//! A directory tree as data: what a model says, what a disk has, and how they differ.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A tree, by path from its root; the root itself is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View(pub BTreeMap<Vec<u8>, Seen>);

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Kind and content.
    pub what: String,
    /// Permission bits and owner; none for links, which have no mode of their own.
    pub mode: Option<u32>,
    /// The owner and the group.
    pub owner: (u32, u32),
    /// Seconds; none when nobody said when.
    pub mtime: Option<i64>,
    /// How many names it has; none for directories.
    pub names: Option<u64>,
    /// The extended attributes `user.*` and `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Seen {
    /// Whether `found` is what `self` expects: an unknown time is any time.
    fn allows(&self, found: &Self) -> bool {
        let mtime = self.mtime.or(found.mtime);
        Self {
            mtime,
            ..self.clone()
        } == *found
    }
}

impl View {
    /// What is on disk at `root`.
    pub fn of(root: &Path) -> Self {
        let mut view = Self::default();
        view.walk(root, b"");
        view
    }

    /// By open directories: a path may be longer than the kernel takes at once.
    fn walk(&mut self, path: &Path, below: &[u8]) {
        let open = std::fs::File::open(path).expect("a directory");
        let directory = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            let mut path = below.to_owned();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let full = directory.join(&name);
            // Overlayfs lists whiteouts of its lowest layer, and finds nothing behind the name.
            let Ok(meta) = full.symlink_metadata() else {
                continue;
            };
            self.0.insert(path.clone(), seen(&full, &meta));
            if meta.is_dir() {
                self.walk(&full, &path);
            }
        }
    }

    /// How `found` differs from what `self` expects, in words.
    pub fn differences(&self, found: &Self) -> Vec<String> {
        let mut all = Vec::new();
        for (path, expected) in &self.0 {
            let shown = path.escape_ascii();
            match found.0.get(path) {
                None => all.push(format!("{shown} is missing")),
                Some(found) if !expected.allows(found) => {
                    all.push(format!("{shown}: expected {expected:?}, found {found:?}"));
                }
                Some(_) => {}
            }
        }
        for (path, found) in &found.0 {
            if !self.0.contains_key(path) {
                all.push(format!("{} is too many: {found:?}", path.escape_ascii()));
            }
        }
        all
    }
}

fn seen(path: &Path, meta: &std::fs::Metadata) -> Seen {
    let kind = meta.file_type();
    let (major, minor) = (
        rustix::fs::major(meta.rdev()),
        rustix::fs::minor(meta.rdev()),
    );
    let what = match kind {
        _ if kind.is_dir() => "directory".into(),
        _ if kind.is_file() => file(meta.len(), &std::fs::read(path).expect("a file")),
        _ if kind.is_symlink() => symlink(
            std::fs::read_link(path)
                .expect("a link")
                .as_os_str()
                .as_bytes(),
        ),
        _ if kind.is_char_device() => format!("char {major}:{minor}"),
        _ if kind.is_block_device() => format!("block {major}:{minor}"),
        _ if kind.is_fifo() => "fifo".into(),
        _ => "socket".into(),
    };
    Seen {
        what,
        mode: (!kind.is_symlink()).then_some(meta.mode() & 0o7777),
        owner: (meta.uid(), meta.gid()),
        mtime: Some(meta.mtime()),
        names: (!kind.is_dir()).then_some(meta.nlink()),
        xattrs: xattrs(path),
    }
}

/// A regular file in words: all of it when it is short.
pub(crate) fn file(size: u64, data: &[u8]) -> String {
    match data.len() {
        0..200 => format!("file `{}`", data.escape_ascii()),
        _ => {
            let sum = data
                .iter()
                .fold(7_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte));
            format!("file of {size} bytes, {sum:x}")
        }
    }
}

/// A link in words.
pub(crate) fn symlink(target: &[u8]) -> String {
    format!("link to `{}`", target.escape_ascii())
}

/// Whether a reader may keep an attribute of this name.
pub(crate) fn is_kept(name: &str) -> bool {
    (name.starts_with("user.") && !name.starts_with("user.overlay."))
        || name == "security.capability"
}

/// All attributes but those that overlayfs makes for itself, which no layer can set either.
fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let size = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or_default();
    names[..size]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let name = OsStr::from_bytes(name);
            let size = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
            value.truncate(size);
            Some((name.to_string_lossy().into_owned(), value))
        })
        .collect()
}
