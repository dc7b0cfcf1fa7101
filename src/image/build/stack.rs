//! Layers stacked by overlayfs, without a place in the tree of mounts.
//!
//! The mount is reached through its descriptor only and goes with it: nothing to unmount, nothing that
//! a crash leaves. What is written stays in an upper directory that becomes a layer, so everything that
//! would put marks of overlayfs in place of contents is off (`metacopy`, `redirect_dir`, `index`; see
//! Documentation/filesystems/overlayfs.rst). `volatile`: whoever makes the layer visible syncs it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use orc_base::{Context, Error, Result};

/// The longest value that fsconfig(2) takes.
const MAX_VALUE: usize = 255;

/// Where changes go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writable<'a> {
    /// The directory that becomes a layer.
    pub(crate) upper: &'a Path,
    /// What overlayfs needs beside it.
    pub(crate) work: &'a Path,
}

/// Stacks `lowers`, topmost first, below `writable` if there is one. `empty` is an empty directory:
/// overlayfs does not stack fewer than two, and has nothing to do with one.
pub(crate) fn stack(
    lowers: &[PathBuf],
    writable: Option<Writable<'_>>,
    empty: &Path,
) -> Result<OwnedFd> {
    let directories = lowers.iter().map(|path| open(path));
    let mut directories = directories.collect::<Result<Vec<_>>>()?;
    if directories.is_empty() && writable.is_none() {
        return open(empty);
    }
    if directories.len() < 2 {
        directories.push(open(empty)?);
    }
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context(|| "open overlayfs")?;
    set_lowers(&overlay, &directories)?;
    let held = writable
        .map(|writable| Ok::<_, Error>((open(writable.upper)?, open(writable.work)?)))
        .transpose()?;
    if let Some((upper, work)) = &held {
        for (key, directory) in [("upperdir", upper), ("workdir", work)] {
            fsconfig_set_string(&overlay, key, name(directory))
                .context(|| format!("use a directory as {key}"))?;
        }
        fsconfig_set_flag(&overlay, "volatile").context(|| "set volatile")?;
    }
    for key in ["index", "metacopy", "redirect_dir"] {
        fsconfig_set_string(&overlay, key, "off").context(|| format!("set {key}=off"))?;
    }
    fsconfig_create(&overlay).context(|| format!("stack {} layers", lowers.len()))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mount = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
    mount.context(|| format!("mount {} layers", lowers.len()))
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .context(|| format!("open layer {}", path.display()))
}

/// A name that is short and without characters that overlayfs splits at.
fn name(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// One layer a call since Linux 6.5; before, all in one value of limited length.
fn set_lowers(overlay: &OwnedFd, directories: &[OwnedFd]) -> Result<()> {
    for (index, directory) in directories.iter().enumerate() {
        match fsconfig_set_string(overlay, "lowerdir+", name(directory)) {
            Err(Errno::INVAL) if index == 0 => return set_lowers_at_once(overlay, directories),
            other => other.context(|| format!("stack layer {index}"))?,
        }
    }
    Ok(())
}

fn set_lowers_at_once(overlay: &OwnedFd, directories: &[OwnedFd]) -> Result<()> {
    let names: Vec<_> = directories.iter().map(name).collect();
    let value = names.join(":");
    if value.len() > MAX_VALUE {
        return Err(Error::unsupported(format!(
            "stacking {} layers for a build needs Linux 6.5 or newer",
            directories.len()
        )));
    }
    fsconfig_set_string(overlay, "lowerdir", value).context(|| "stack the layers")
}

#[cfg(test)]
mod tests {
    use orc_base::root::Root;

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
