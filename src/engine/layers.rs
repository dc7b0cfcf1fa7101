//! The merged view of an image's layers, to read from: a private overlay that has no path.
//!
//! The mount is never attached to the tree, so nobody can see or enter it, and it is gone with its
//! descriptor, also when the daemon is killed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Opens the merged view of `lowers`, topmost first.
pub(crate) fn open(lowers: &[PathBuf]) -> Result<Root> {
    // overlayfs wants two layers when nothing can be written; one layer is its own merged view.
    match lowers {
        [] => Err(Error::internal("an image without layers")),
        [only] => Root::open(only),
        lowers => merged(lowers)
            .map(Root::from_fd)
            .context(|| "mount the image's layers to read from"),
    }
}

fn merged(lowers: &[PathBuf]) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let mut appended = Ok(());
    for lower in lowers {
        appended = rustix::mount::fsconfig_set_string(&context, "lowerdir+", lower.as_path());
        if appended.is_err() {
            break;
        }
    }
    // `lowerdir+` came with Linux 6.8. Before, all layers are one string of at most 255 bytes, so
    // they are named by their descriptors.
    let _open = match appended {
        Err(Errno::INVAL) => joined(&context, lowers)?,
        other => {
            other?;
            Vec::new()
        }
    };
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    Ok(rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn joined(context: &OwnedFd, lowers: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    let open: Vec<OwnedFd> = lowers
        .iter()
        .map(|lower| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(lower, flags, Mode::empty()).context(|| lower.display().to_string())
        })
        .collect::<Result<_>>()?;
    let names: Vec<String> = open
        .iter()
        .map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .collect();
    let names = names.join(":");
    if names.len() > 255 {
        return Err(Error::unsupported(format!(
            "an image of {} layers cannot be read for its volumes on this kernel: use Linux 6.8 or newer",
            lowers.len()
        )));
    }
    rustix::mount::fsconfig_set_string(context, "lowerdir", names)?;
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_hides_the_lower_one() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.join("data")).unwrap();
            std::fs::write(path.join("data/same"), name).unwrap();
            std::fs::write(path.join("data").join(name), name).unwrap();
            path
        };
        let layers = [layer("top"), layer("bottom")];
        let root = open(&layers).unwrap();
        let read = |path: &str| {
            let file = root.open_at(path, OFlags::RDONLY, Mode::empty())?;
            Ok::<_, Error>(std::io::read_to_string(std::fs::File::from(file))?)
        };
        assert_eq!(read("data/same").unwrap(), "top");
        assert_eq!(read("data/bottom").unwrap(), "bottom");
        assert_eq!(
            read("data/none").unwrap_err().kind(),
            orc_base::Kind::NotFound
        );
    }
}
