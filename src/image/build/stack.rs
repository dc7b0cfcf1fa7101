//! Layers stacked for a build: a mount that is reached through its descriptor only.
//!
//! What is written becomes a layer, and whoever makes that visible syncs it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use orc_base::Result;
pub(crate) use orc_base::overlay::Writable;
use orc_base::root::Root;
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;

/// Stacks `lowers`, topmost first, below `writable` if there is one. `empty` is an empty directory:
/// overlayfs does not stack fewer than two, and has nothing to do with one.
pub(crate) fn stack(
    lowers: &[PathBuf],
    writable: Option<Writable<'_>>,
    empty: &Path,
) -> Result<OwnedFd> {
    if lowers.is_empty() && writable.is_none() {
        return Root::open(empty)?.open_at(".", OFlags::PATH, Mode::empty());
    }
    let mut lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
    if lowers.len() < 2 {
        lowers.push(empty);
    }
    orc_base::overlay::stack(&lowers, writable, MountAttrFlags::MOUNT_ATTR_NOSUID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_lands_in_the_upper_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["top", "bottom/d", "upper", "work", "empty"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::write(at("top/f"), "top").unwrap();
        std::fs::write(at("bottom/f"), "bottom").unwrap();
        let (upper, work) = (at("upper"), at("work"));
        let writable = Writable {
            upper: &upper,
            work: &work,
        };
        let lowers = [at("top"), at("bottom")];
        let root = Root::from_fd(stack(&lowers, Some(writable), &at("empty")).unwrap());
        let read = |root: &Root, path: &str| {
            let file = root.open_at(path, OFlags::RDONLY, Mode::empty()).unwrap();
            std::io::read_to_string(std::fs::File::from(file)).unwrap()
        };
        assert_eq!(read(&root, "f"), "top");
        root.create_dir_all("d/new", 0o700).unwrap();
        assert!(at("upper/d/new").is_dir());
        assert_eq!(root.canonical("d/../f").unwrap(), Path::new("/f"));
        drop(root);
        for count in 1..=2 {
            let view = stack(&lowers[..count], None, &at("empty")).unwrap();
            let view = Root::from_fd(view);
            let made = view.create_dir_all("x", 0o755);
            assert!(made.is_err(), "nothing can be written");
        }
    }
}
