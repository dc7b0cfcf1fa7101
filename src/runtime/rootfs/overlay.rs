//! Stacks the layers with overlayfs.
//!
//! What a container changes is as durable as any file it did not sync itself: taking the root down does
//! not sync the disk, and changes are lost with the machine at worst.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use orc_base::overlay::{Writable, stack};
use orc_base::root::Root;
use orc_base::{Context, Result};
use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};

use crate::spec::Rootfs;

/// Mounts the layers on the directory `at` and returns the mount's root.
pub(super) fn mount(rootfs: &Rootfs, at: &Path) -> Result<OwnedFd> {
    forget_crash(&rootfs.work)?;
    let writable = Writable {
        upper: &rootfs.upper,
        work: &rootfs.work,
    };
    let mount = stack(&rootfs.lowers, Some(writable), MountAttrFlags::empty())?;
    attach(&mount, at)?;
    Ok(mount)
}

/// Mounts layers that nobody changes on the directory `at` and returns the mount's root. There must
/// be two of them: one alone is its own merged view.
pub(super) fn mount_readonly(lowers: &[PathBuf], at: &Path) -> Result<OwnedFd> {
    let mount = stack(lowers, None, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    attach(&mount, at)?;
    Ok(mount)
}

/// A volatile mount that was not taken down (the machine crashed) leaves a mark that forbids the
/// next one. What was lost then was never promised.
fn forget_crash(work: &Path) -> Result<()> {
    Root::open(work)?.remove_all("work/incompat")
}

fn attach(mount: &OwnedFd, at: &Path) -> Result<()> {
    move_mount(
        mount.as_fd(),
        c"",
        CWD,
        at,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .context(|| format!("mount the layers on {}", at.display()))
}

#[cfg(test)]
mod tests {
    use rustix::mount::{MountPropagationFlags, UnmountFlags};
    use rustix::thread::UnshareFlags;

    use super::*;
    use crate::sys::linux::{Alone, unshare};

    /// Runs `test` in a thread with a mount namespace of its own.
    fn apart(test: impl FnOnce() + Send) {
        let run = || {
            unshare(&Alone::in_a_thread(), UnshareFlags::NEWNS).expect("root");
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            test();
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    }

    #[test]
    fn the_mark_of_a_crash_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let rootfs = Rootfs {
            lowers: vec![place("layer")],
            upper: place("upper"),
            work: place("work"),
            readonly: false,
        };
        let at = place("at");
        apart(|| {
            for name in ["first", "second"] {
                drop(mount(&rootfs, &at).unwrap());
                std::fs::write(at.join(name), name).unwrap();
                assert!(rootfs.upper.join(name).exists());
                assert!(rootfs.work.join("work/incompat/volatile").exists());
                rustix::mount::unmount(&at, UnmountFlags::DETACH).unwrap();
            }
        });
    }
}
