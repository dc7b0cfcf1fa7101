//! The merged view of an image's layers, to read from: a private overlay that has no path.
//!
//! The mount is never attached to the tree, so nobody can see or enter it, and it is gone with its
//! descriptor, also when the daemon is killed.

use std::path::PathBuf;

use orc_base::root::Root;
use orc_base::{Context, Error, Result, overlay};
use rustix::mount::MountAttrFlags;

/// Opens the merged view of `lowers`, topmost first.
pub(crate) fn open(lowers: &[PathBuf]) -> Result<Root> {
    // overlayfs wants two layers when nothing can be written; one layer is its own merged view.
    match lowers {
        [] => Err(Error::internal("an image without layers")),
        [only] => Root::open(only),
        lowers => {
            let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
            overlay::stack(lowers, None, attributes)
                .map(Root::from_fd)
                .context(|| "mount the image's layers to read from")
        }
    }
}
