//! Network namespaces: made, pinned by a bind mount, entered for a moment, removed.
//!
//! A thread that entered a namespace never comes back: work inside runs on a thread that ends with
//! it, and what it brings out (a socket) stays bound to that namespace. A namespace lives until it
//! is unpinned and nothing runs in it any more; the kernel then deletes its interfaces by itself.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use orc_base::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::route::{self, Routes};

/// `NSFS_MAGIC` of statfs(2): what a pinned namespace's file system is.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// More mounts than this on one path are not ours.
const UNMOUNT_LIMIT: usize = 64;

/// Makes a namespace with its loopback up and pins it at `path`, replacing what a crash left there.
pub(crate) fn create(path: &Path) -> Result<()> {
    remove(path)?;
    let made = on_a_thread(|| {
        unshare()?;
        prepare()?;
        pin(path)
    });
    if made.is_err() {
        let _ = remove(path);
    }
    made.context(|| format!("make the network namespace {}", path.display()))
}

/// Unpins the namespace at `path`; fine when there is none.
pub(crate) fn remove(path: &Path) -> Result<()> {
    for _ in 0..UNMOUNT_LIMIT {
        match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(errno) => return Err(errno).context(|| format!("unmount {}", path.display())),
        }
    }
    orc_base::fs::remove_file(path)
}

/// Opens the namespace at `path`; [`orc_base::Kind::NotFound`] when nothing is pinned there.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    let open = || -> Result<OwnedFd> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        if rustix::fs::fstatfs(&fd)?.f_type != NSFS_MAGIC {
            return Err(Error::not_found("no namespace is pinned there"));
        }
        Ok(fd)
    };
    open().context(|| format!("open the network namespace {}", path.display()))
}

/// Runs `work` inside `namespace`.
pub(crate) fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    on_a_thread(|| {
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .context(|| "enter a network namespace")?;
        work()
    })
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("orc-netns".into())
            .spawn_scoped(scope, work)?
            .join()
            .unwrap_or_else(|_| Err(Error::internal("work inside a namespace panicked")))
    })
}

fn unshare() -> Result<()> {
    // SAFETY: only CLONE_FILES is dangerous, for descriptors of other threads; CLONE_NEWNET changes
    // nothing but the network namespace of this thread, which ends with the work.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context(|| "unshare")
}

/// Interfaces that come later have no IPv6, so that no router advertisement gives them any; the
/// loopback is here already and keeps its `::1`.
fn prepare() -> Result<()> {
    sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    Routes::open()?.apply(vec![route::set_up("lo")])
}

fn pin(path: &Path) -> Result<()> {
    File::create_new(path).context(|| format!("make {}", path.display()))?;
    rustix::mount::mount_bind("/proc/thread-self/ns/net", path).context(|| "bind mount")
}

/// Sets a parameter of the calling thread's namespace unless it has that value; fine when this
/// kernel has no such parameter (no IPv6).
pub(crate) fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    match std::fs::read(&path) {
        Ok(now) if now.trim_ascii() == value.as_bytes() => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    std::fs::write(&path, value).context(|| format!("set {} to {value}", name.replace('/', ".")))
}

/// A parameter of the calling thread's namespace; `None` when this kernel has no such parameter.
pub(crate) fn read_sysctl(name: &str) -> Option<String> {
    let value = std::fs::read(Path::new("/proc/sys").join(name)).ok()?;
    Some(String::from_utf8_lossy(value.trim_ascii()).into_owned())
}

/// A namespace that the calling thread is in.
pub(crate) fn current() -> Result<OwnedFd> {
    let file = File::open("/proc/thread-self/ns/net").context(|| "open the network namespace")?;
    Ok(file.into())
}

/// Whether both are the same namespace.
pub(crate) fn same(a: impl AsFd, b: impl AsFd) -> Result<bool> {
    let (a, b) = (rustix::fs::fstat(a)?, rustix::fs::fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// Runs a test in a namespace of its own, where no other program has a port.
#[cfg(test)]
pub(crate) fn alone(test: impl FnOnce() + Send) {
    on_a_thread(|| {
        unshare()?;
        prepare()?;
        test();
        Ok(())
    })
    .unwrap();
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    #[test]
    fn is_pinned_entered_and_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path).unwrap();
        let namespace = open(&path).unwrap();
        assert!(!same(&namespace, current().unwrap()).unwrap());
        let links = inside(namespace.as_fd(), || {
            assert!(same(current().unwrap(), &namespace).unwrap());
            Routes::open()?.links()
        });
        let links = links.unwrap();
        assert_eq!(links.len(), 1);
        assert!(links[0].up);
        create(&path).unwrap();
        assert!(!same(&namespace, open(&path).unwrap()).unwrap());
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(open(&path).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), Kind::NotFound);
        assert!(create(&dir.path().join("no/such")).is_err());
    }
}
