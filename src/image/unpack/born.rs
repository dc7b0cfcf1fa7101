//! What a new file is like before anyone changes it.
//!
//! The kernel gives it an owner, a group and of the permission bits that were asked for those that the
//! umask or a default access list lets through. Where that is what an entry wants, no call is needed to
//! set it: two of six for each of the small files that images are made of. Looked at once for each
//! layer, in the directory it is unpacked into.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use orc_base::Result;

use crate::unpack::entry::Entry;

const PERMISSIONS: u32 = 0o777;
const SET_GROUP: u32 = 0o2000;

/// What the kernel makes of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Born {
    uid: u32,
    gid: u32,
    /// The permission bits that can be had by asking for them.
    modes: u32,
}

/// What has to be set after a file was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) owner: bool,
    pub(crate) mode: bool,
}

impl Needs {
    /// For what is not new, or made by others: everything.
    pub(crate) const ALL: Self = Self {
        owner: true,
        mode: true,
    };
    /// For what is as it should be.
    pub(crate) const NOTHING: Self = Self {
        owner: false,
        mode: false,
    };
}

impl Born {
    /// Looks at a file without a name in `directory`. A file system that has none shows nothing, and
    /// then everything is set.
    pub(crate) fn observe(directory: impl AsFd) -> Self {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let all = Mode::from_raw_mode(PERMISSIONS);
        let nothing = Self {
            uid: u32::MAX,
            gid: u32::MAX,
            modes: 0,
        };
        let Ok(file) = rustix::fs::openat(directory, ".", flags, all) else {
            return nothing;
        };
        rustix::fs::fstat(&file).map_or(nothing, |stat| Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            modes: stat.st_mode & PERMISSIONS,
        })
    }

    /// Whether files in this directory are as those that were looked at: a directory can give its
    /// group, and to directories the bit to do so as well (inode(7)).
    pub(crate) fn is_usual_in(&self, directory: &OwnedFd) -> Result<bool> {
        let stat = rustix::fs::fstat(directory)?;
        Ok(stat.st_gid == self.gid && stat.st_mode & SET_GROUP == 0)
    }

    /// The mode to make a file with, and what is left to set then. `usual` is what
    /// [`Born::is_usual_in`] says of the directory it is made in.
    pub(crate) fn make(&self, entry: &Entry, usual: bool) -> (Mode, Needs) {
        let needs = Needs {
            owner: !usual || (entry.uid, entry.gid) != (self.uid, self.gid),
            mode: !usual || entry.mode & !self.modes != 0,
        };
        let mode = match needs.mode {
            // Nobody else gets at it in between.
            true => 0o600,
            false => entry.mode,
        };
        (Mode::from_raw_mode(mode), needs)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown};

    use orc_base::Time;

    use super::*;
    use crate::unpack::entry::EntryKind;

    fn entry(mode: u32, uid: u32, gid: u32) -> Entry {
        Entry {
            name: b"f".to_vec(),
            kind: EntryKind::Directory,
            mode,
            uid,
            gid,
            mtime: Time::EPOCH,
            xattrs: Vec::new(),
        }
    }

    #[test]
    fn only_what_differs_is_set() {
        let born = Born {
            uid: 0,
            gid: 0,
            modes: 0o755,
        };
        for (mode, owner, usual, expected) in [
            (0o644, (0, 0), true, (0o644, false, false)),
            (0o555, (0, 0), true, (0o555, false, false)),
            (0o664, (0, 0), true, (0o600, false, true)),
            (0o4755, (0, 0), true, (0o600, false, true)),
            (0o1755, (0, 0), true, (0o600, false, true)),
            (0o644, (1, 0), true, (0o644, true, false)),
            (0o644, (0, 1), true, (0o644, true, false)),
            (0o644, (0, 0), false, (0o600, true, true)),
        ] {
            let (made, needs) = born.make(&entry(mode, owner.0, owner.1), usual);
            let got = (made.as_raw_mode(), needs.owner, needs.mode);
            assert_eq!(got, expected, "{mode:o} {owner:?} {usual}");
        }
    }

    #[test]
    fn what_was_looked_at_is_what_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let open = || std::fs::File::open(dir.path()).unwrap();
        let born = Born::observe(open());
        let (mode, needs) = born.make(&entry(0o555, born.uid, born.gid), true);
        assert_eq!(needs, Needs::NOTHING);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let file = rustix::fs::openat(open(), "f", flags, mode).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        assert_eq!(stat.st_mode & 0o7777, 0o555);
        assert_eq!((stat.st_uid, stat.st_gid), (born.uid, born.gid));
        assert!(born.is_usual_in(&open().into()).unwrap());
        let metadata = dir.path().metadata().unwrap();
        chown(dir.path(), None, Some(metadata.gid() + 1)).unwrap();
        assert!(!born.is_usual_in(&open().into()).unwrap());
    }
}
