//! What a monitor begins its life with. Data only.

use std::os::fd::OwnedFd;

use crate::cgroup::Layout;
use crate::seccomp::Filter;

/// What all monitors share: made once, inherited by fork.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) layout: Layout,
    pub(crate) filter: Filter,
}

/// What a monitor begins with.
#[derive(Debug)]
pub(crate) struct Task {
    /// A sealed memory file with the order.
    pub(crate) order: OwnedFd,
    /// The connection to the daemon that waits for the start.
    pub(crate) control: OwnedFd,
    /// For an exec: the container's first process.
    pub(crate) container: Option<OwnedFd>,
}
