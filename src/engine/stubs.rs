//! Places for mounts that a step's root did not have: remembered before it runs, removed afterwards.
//!
//! The runtime makes a file or directory in the root where something is mounted on nothing. For a
//! container that is part of what it wrote; a build step's layer must not show it. Whatever the
//! program made of it stays: only what is still empty and unchanged goes (CVE-2024-23652: nothing is
//! ever removed through a link; each component is opened by descriptor and without following).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use orc_base::{Context, Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timestamps};
use rustix::io::Errno;

/// How many links of the image are followed to one place.
const MAX_LINKS: usize = 40;
/// The most components of one place.
const MAX_DEPTH: usize = 256;
/// The directory replaces what is below it (overlayfs, kernel documentation).
const OPAQUE: &str = "trusted.overlay.opaque";

/// What is made for the mounts of one step.
#[derive(Debug, Default)]
pub(crate) struct Stubs(Vec<Stub>);

/// One place that was not there.
#[derive(Debug)]
struct Stub {
    /// Directories that are there, from the root, and what they look like.
    there: Vec<(OsString, Look)>,
    /// What is made below them.
    made: Vec<OsString>,
}

/// What tells a directory that was only copied up from one that the program changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl From<&Stat> for Look {
    fn from(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

impl Stubs {
    /// Looks which of `targets` are not in the root that is put together from `lowers`, topmost
    /// first. The step's own changes must be empty.
    pub(crate) fn find<'a>(
        lowers: &[PathBuf],
        targets: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        let root = crate::layers::open(lowers)?;
        let stubs = targets.map(|target| {
            look(root.as_fd(), Path::new(target))
                .context(|| format!("look for the place of mount {target}"))
        });
        let stubs: Vec<Stub> = stubs.collect::<Result<_>>()?;
        Ok(Self(
            stubs
                .into_iter()
                .filter(|stub| !stub.made.is_empty())
                .collect(),
        ))
    }

    /// Removes from `upper` what was made and is as it was made. No program of the step may run any
    /// more.
    pub(crate) fn remove(&self, upper: &Path) -> Result<()> {
        let upper = rustix::fs::open(upper, DIRECTORY, Mode::empty())
            .context(|| format!("open {}", upper.display()))?;
        // The deepest first: what is made for one mount may hold what is made for another.
        let mut stubs: Vec<&Stub> = self.0.iter().collect();
        stubs.sort_by_key(|stub| std::cmp::Reverse(stub.there.len() + stub.made.len()));
        for stub in stubs {
            stub.remove(&upper)
                .context(|| "remove places that were made for mounts")?;
        }
        Ok(())
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Stub {
    fn remove(&self, upper: &OwnedFd) -> Result<()> {
        let names = self.there.iter().map(|(name, _)| name).chain(&self.made);
        let names: Vec<&OsString> = names.collect();
        // The directories on the way, as far as they are what they were.
        let mut open: Vec<OwnedFd> = vec![rustix::io::fcntl_dupfd_cloexec(upper, 0)?];
        for name in &names[..names.len() - 1] {
            match rustix::fs::openat(&open[open.len() - 1], *name, DIRECTORY, Mode::empty()) {
                Ok(directory) => open.push(directory),
                // The program put something else there: that is its change.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        for (depth, name) in names.iter().enumerate().rev() {
            let parent = open[depth].as_fd();
            let known = self.there.get(depth).map(|(_, look)| *look);
            if !remove_one(parent, name, known)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Removes an empty file or directory, and keeps the time of the directory it was in. A directory
/// that the image has (`known`) only goes when nothing else was changed in it. Whether it went.
fn remove_one(parent: BorrowedFd<'_>, name: &OsString, known: Option<Look>) -> Result<bool> {
    let stat = match rustix::fs::statat(parent, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(true),
        other => other?,
    };
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if stat.st_size == 0 && stat.st_nlink == 1 => AtFlags::empty(),
        _ => return Ok(false),
    };
    if let Some(known) = known
        && (Look::from(&stat) != known || is_opaque(parent, name)?)
    {
        return Ok(false);
    }
    let before = rustix::fs::fstat(parent)?;
    match rustix::fs::unlinkat(parent, name.as_os_str(), flags) {
        Ok(()) => {}
        Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    }
    rustix::fs::futimens(parent, &times(&before))?;
    Ok(true)
}

fn is_opaque(parent: BorrowedFd<'_>, name: &OsString) -> Result<bool> {
    let directory = rustix::fs::openat(parent, name.as_os_str(), DIRECTORY, Mode::empty())?;
    let mut value = [0_u8; 8];
    match rustix::fs::fgetxattr(&directory, OPAQUE, &mut value[..]) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn times(stat: &Stat) -> Timestamps {
    #[expect(
        clippy::useless_conversion,
        reason = "the kernel's types differ between machines"
    )]
    Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime.into(),
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime.into(),
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

/// Walks to `target` inside the root as the runtime will, and says what is there and what is not.
/// Links are followed by hand: what a dangling one points to is made, too.
fn look(root: BorrowedFd<'_>, target: &Path) -> Result<Stub> {
    let mut pending: VecDeque<OsString> = components(target);
    let mut there: Vec<(OsString, Look, OwnedFd)> = Vec::new();
    let mut made: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop_front() {
        if there.len() + made.len() + pending.len() > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "a path of more than {MAX_DEPTH} components"
            )));
        }
        if name == ".." {
            if made.pop().is_none() {
                there.pop();
            }
            continue;
        }
        if !made.is_empty() {
            made.push(name);
            continue;
        }
        let at = there.last().map_or(root, |(_, _, fd)| fd.as_fd());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match rustix::fs::openat(at, name.as_os_str(), flags, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) => {
                made.push(name);
                continue;
            }
            // A file on the way: the runtime says so in its own words.
            Err(Errno::NOTDIR) => break,
            Err(errno) => return Err(errno.into()),
        };
        let stat = rustix::fs::fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            there.push((name, Look::from(&stat), found));
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Error::invalid("too many links"));
        }
        use std::os::unix::ffi::OsStrExt;
        let leads = rustix::fs::readlinkat(&found, "", Vec::new())?;
        let leads = Path::new(std::ffi::OsStr::from_bytes(leads.as_bytes()));
        if leads.is_absolute() {
            there.clear();
        }
        for name in components(leads).into_iter().rev() {
            pending.push_front(name);
        }
    }
    Ok(Stub {
        there: there
            .into_iter()
            .map(|(name, look, _)| (name, look))
            .collect(),
        made,
    })
}

fn components(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["lower/etc", "lower/run", "upper", "outside/etc"] {
                std::fs::create_dir_all(dir.path().join(name)).unwrap();
            }
            std::fs::write(dir.path().join("outside/etc/hosts"), b"").unwrap();
            Self { dir }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn find(&self, targets: &[&str]) -> Stubs {
            Stubs::find(&[self.path("lower")], targets.iter().copied()).unwrap()
        }

        /// As the runtime and overlayfs do it.
        fn make(&self, directories: &str, file: Option<&str>) {
            let directory = self.path("upper").join(directories);
            std::fs::create_dir_all(&directory).unwrap();
            if let Some(file) = file {
                std::fs::write(directory.join(file), b"").unwrap();
            }
        }

        fn upper(&self) -> Vec<String> {
            let mut found = Vec::new();
            let mut pending = vec![self.path("upper")];
            while let Some(directory) = pending.pop() {
                for entry in std::fs::read_dir(&directory).unwrap() {
                    let entry = entry.unwrap();
                    let path = entry.path();
                    let shown = path.strip_prefix(self.path("upper")).unwrap();
                    found.push(shown.display().to_string());
                    if entry.file_type().unwrap().is_dir() {
                        pending.push(path);
                    }
                }
            }
            found.sort();
            found
        }
    }

    #[test]
    fn what_was_made_goes_and_leaves_no_trace() {
        let place = Place::new();
        let stubs = place.find(&["/etc/hosts", "/src/deep/er", "/proc"]);
        place.make("etc", Some("hosts"));
        place.make("src/deep/er", None);
        place.make("proc", None);
        stubs.remove(&place.path("upper")).unwrap();
        assert_eq!(place.upper(), Vec::<String>::new());
        // Twice does no harm.
        stubs.remove(&place.path("upper")).unwrap();
    }

    #[test]
    fn what_the_program_made_stays() {
        let place = Place::new();
        let stubs = place.find(&["/etc/hosts", "/src/deep", "/cache"]);
        place.make("etc", Some("hosts"));
        std::fs::write(place.path("upper/etc/passwd"), b"x").unwrap();
        place.make("src/deep", Some("result"));
        place.make("", Some("cache"));
        std::fs::write(place.path("upper/cache"), b"written").unwrap();
        stubs.remove(&place.path("upper")).unwrap();
        assert_eq!(
            place.upper(),
            [
                "cache",
                "etc",
                "etc/passwd",
                "src",
                "src/deep",
                "src/deep/result"
            ]
        );
    }

    #[test]
    fn a_directory_that_was_changed_stays() {
        use std::os::unix::fs::PermissionsExt;
        let place = Place::new();
        let stubs = place.find(&["/etc/hosts"]);
        place.make("etc", Some("hosts"));
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(place.path("upper/etc"), mode).unwrap();
        stubs.remove(&place.path("upper")).unwrap();
        assert_eq!(place.upper(), ["etc"]);
    }

    #[test]
    fn what_was_there_is_no_stub() {
        let place = Place::new();
        std::fs::write(place.path("lower/etc/hosts"), b"").unwrap();
        let stubs = place.find(&["/etc/hosts", "/run"]);
        place.make("etc", Some("hosts"));
        stubs.remove(&place.path("upper")).unwrap();
        assert_eq!(place.upper(), ["etc", "etc/hosts"]);
    }

    /// CVE-2024-23652: the program put a link in the place of what was made for it.
    #[test]
    fn nothing_is_removed_through_links() {
        let place = Place::new();
        let stubs = place.find(&["/etc/hosts", "/src/hosts"]);
        symlink(place.path("outside/etc"), place.path("upper/etc")).unwrap();
        place.make("src", None);
        symlink(
            place.path("outside/etc/hosts"),
            place.path("upper/src/hosts"),
        )
        .unwrap();
        stubs.remove(&place.path("upper")).unwrap();
        assert!(place.path("outside/etc/hosts").exists());
        assert_eq!(place.upper(), ["etc", "src", "src/hosts"]);
    }

    #[test]
    fn dangling_links_lead_to_what_is_made() {
        let place = Place::new();
        symlink(
            "../run/resolve/stub.conf",
            place.path("lower/etc/resolv.conf"),
        )
        .unwrap();
        symlink("/../../outside/x", place.path("lower/etc/away")).unwrap();
        let stubs = place.find(&["/etc/resolv.conf", "/etc/away"]);
        place.make("run/resolve", Some("stub.conf"));
        place.make("outside", Some("x"));
        stubs.remove(&place.path("upper")).unwrap();
        assert_eq!(place.upper(), Vec::<String>::new());
        symlink("loop", place.path("lower/loop")).unwrap();
        assert!(Stubs::find(&[place.path("lower")], ["/loop/x"].into_iter()).is_err());
    }
}
