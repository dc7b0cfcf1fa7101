//! Layers as a container would see them: through a real overlay mount that nobody else can see.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::view::View;

/// What the directories look like one over the other, topmost first. There have to be two.
pub fn view(lowers: &[PathBuf]) -> std::io::Result<View> {
    let mount = mount(lowers)?;
    Ok(View::of(Path::new(&name_of(&mount))))
}

/// A mount that is attached nowhere and goes with its descriptor.
fn mount(lowers: &[PathBuf]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &PathBuf| rustix::fs::openat(CWD, path, flags, Mode::empty());
    let open: Vec<OwnedFd> = lowers.iter().map(open).collect::<Result<_, _>>()?;
    // By descriptor, because an option of fsconfig(2) holds 255 bytes.
    let names: Vec<String> = open.iter().map(name_of).collect();
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "lowerdir", names.join(":"))?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

fn name_of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
