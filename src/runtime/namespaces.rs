//! Makes and joins namespaces. Which process does which step matters: a PID namespace holds the
//! children of who enters it, the others hold the caller.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use orc_base::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
    move_into_thread_name_spaces,
};

use crate::spec::{Namespace, Namespaces};
use crate::sys::linux::{self, Alone};

/// `NSFS_MAGIC`
const NSFS_MAGIC: u32 = 0x6e73_6673;

/// What the container's first process is cloned into. Its cgroup namespace comes later: it shows the
/// groups that the process is in when it is made.
pub(crate) fn new_at_clone(namespaces: &Namespaces) -> UnshareFlags {
    let mut flags = UnshareFlags::NEWNS;
    for (namespace, flag) in [
        (&namespaces.net, UnshareFlags::NEWNET),
        (&namespaces.ipc, UnshareFlags::NEWIPC),
        (&namespaces.uts, UnshareFlags::NEWUTS),
        (&namespaces.pid, UnshareFlags::NEWPID),
    ] {
        if *namespace == Namespace::New {
            flags |= flag;
        }
    }
    flags
}

/// In the monitor, before the clone.
pub(crate) fn join_for_children(namespaces: &Namespaces) -> Result<()> {
    match &namespaces.pid {
        Namespace::Path(path) => join(path, LinkNameSpaceType::ProcessID, "PID"),
        Namespace::New | Namespace::Host => Ok(()),
    }
}

/// In the child, while the host's paths still lead somewhere.
pub(crate) fn join_at_start(namespaces: &Namespaces) -> Result<()> {
    for (namespace, kind, name) in [
        (&namespaces.net, LinkNameSpaceType::Network, "network"),
        (
            &namespaces.ipc,
            LinkNameSpaceType::InterProcessCommunication,
            "IPC",
        ),
        (
            &namespaces.uts,
            LinkNameSpaceType::HostNameAndNISDomainName,
            "UTS",
        ),
    ] {
        if let Namespace::Path(path) = namespace {
            join(path, kind, name)?;
        }
    }
    Ok(())
}

/// The cgroup namespace to join later, opened while its path leads there.
pub(crate) fn open_cgroup(namespaces: &Namespaces) -> Result<Option<OwnedFd>> {
    match &namespaces.cgroup {
        Namespace::Path(path) => open(path).map(Some).context(|| "open a cgroup namespace"),
        Namespace::New | Namespace::Host => Ok(None),
    }
}

/// In the child, once it is in its control groups.
pub(crate) fn enter_cgroup(
    alone: &Alone,
    namespaces: &Namespaces,
    other: Option<&OwnedFd>,
) -> Result<()> {
    match (&namespaces.cgroup, other) {
        (Namespace::New, _) => {
            linux::unshare(alone, UnshareFlags::NEWCGROUP).context(|| "make a cgroup namespace")
        }
        (_, Some(other)) => enter(other.as_fd(), LinkNameSpaceType::ControlGroup)
            .context(|| "join a cgroup namespace"),
        (_, None) => Ok(()),
    }
}

/// In the monitor of an exec: its children are in the container's PID namespace.
pub(crate) fn join_container_for_children(container: BorrowedFd<'_>) -> Result<()> {
    join_container(container, ThreadNameSpaceType::PROCESS_ID)
}

/// In the child of an exec: all the rest. The root directory becomes the container's.
pub(crate) fn join_container_rest(container: BorrowedFd<'_>) -> Result<()> {
    join_container(
        container,
        ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::CONTROL_GROUP,
    )
}

fn join_container(container: BorrowedFd<'_>, kinds: ThreadNameSpaceType) -> Result<()> {
    match move_into_thread_name_spaces(container, kinds) {
        Err(Errno::SRCH) => Err(Error::conflict("the container is not running")),
        other => other.context(|| "join the container's namespaces"),
    }
}

fn join(path: &Path, kind: LinkNameSpaceType, name: &str) -> Result<()> {
    open(path)
        .and_then(|fd| enter(fd.as_fd(), kind))
        .context(|| format!("join the {name} namespace of {}", path.display()))
}

/// The kernel refuses a namespace of another kind.
fn enter(fd: BorrowedFd<'_>, kind: LinkNameSpaceType) -> Result<()> {
    Ok(move_into_link_name_space(fd, Some(kind))?)
}

/// A namespace's file and nothing else.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    let magic = rustix::fs::fstatfs(&fd)?.f_type as u32;
    match magic == NSFS_MAGIC {
        true => Ok(fd),
        false => Err(Error::invalid("it is not a namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_are_opened() {
        open(Path::new("/proc/self/ns/net")).unwrap();
        for path in ["/dev/null", "/proc/self/status", "/", "/nope"] {
            assert!(open(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn only_new_ones_are_made() {
        let mut namespaces = Namespaces::default();
        assert_eq!(
            new_at_clone(&namespaces),
            UnshareFlags::NEWNS
                | UnshareFlags::NEWNET
                | UnshareFlags::NEWIPC
                | UnshareFlags::NEWUTS
                | UnshareFlags::NEWPID
        );
        namespaces.net = Namespace::Path("/x".into());
        namespaces.pid = Namespace::Host;
        assert_eq!(
            new_at_clone(&namespaces),
            UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS
        );
    }
}
