//! Stacks the layers with overlayfs.
//!
//! `volatile`, so that taking it down does not sync the disk: a container's changes are as durable
//! as any file it did not sync itself, and lost with the machine at worst. One layer a call since
//! Linux 6.5 (`lowerdir+`); older kernels get one line of short paths.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::spec::Rootfs;

/// The longest value that fsconfig(2) takes.
const MAX_VALUE: usize = 255;

/// Mounts the layers on the directory `at` and returns the mount's root.
pub(super) fn mount(rootfs: &Rootfs, at: &Path) -> Result<OwnedFd> {
    forget_crash(&rootfs.work)?;
    let paths = Paths::open(rootfs)?;
    match layer_by_layer(&paths) {
        Ok(mount) => {
            attach(&mount, at)?;
            Ok(mount)
        }
        Err(Failed::Unknown) => one_line(&paths, at),
        Err(Failed::Layers(error)) => Err(error),
    }
}

/// Mounts layers that nobody changes on the directory `at` and returns the mount's root. There must
/// be two of them: one alone is its own merged view.
pub(super) fn mount_readonly(lowers: &[PathBuf], at: &Path) -> Result<OwnedFd> {
    let lowers: Vec<_> = lowers.iter().map(open).collect::<Result<_>>()?;
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context(|| "open overlayfs")?;
    match add_layers(&overlay, &lowers) {
        Ok(()) => {}
        Err(Failed::Unknown) => {
            let options = format!("lowerdir={}", joined(&lowers));
            return mount_with(&options, MountFlags::NODEV | MountFlags::RDONLY, at);
        }
        Err(Failed::Layers(error)) => return Err(error),
    }
    fsconfig_create(&overlay).context(|| "mount the layers")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .context(|| "mount the layers")?;
    attach(&mount, at)?;
    Ok(mount)
}

/// A volatile mount that was not taken down (the machine crashed) leaves a mark that forbids the
/// next one. What was lost then was never promised.
fn forget_crash(work: &Path) -> Result<()> {
    Root::open(work)?.remove_all("work/incompat")
}

/// The directories, open, and short names for them.
struct Paths {
    lowers: Vec<(PathBuf, OwnedFd)>,
    upper: (PathBuf, OwnedFd),
    work: (PathBuf, OwnedFd),
}

impl Paths {
    fn open(rootfs: &Rootfs) -> Result<Self> {
        Ok(Self {
            lowers: rootfs.lowers.iter().map(open).collect::<Result<_>>()?,
            upper: open(&rootfs.upper)?,
            work: open(&rootfs.work)?,
        })
    }
}

fn open(path: &PathBuf) -> Result<(PathBuf, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty());
    let fd = fd.context(|| format!("open layer {}", path.display()))?;
    Ok((path.clone(), fd))
}

/// The path itself, which people can read in mountinfo, unless it is too long.
fn name((path, fd): &(PathBuf, OwnedFd)) -> PathBuf {
    match path.as_os_str().len() <= MAX_VALUE {
        true => path.clone(),
        false => short_name(fd),
    }
}

fn short_name(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

enum Failed {
    /// The kernel does not know `lowerdir+`.
    Unknown,
    Layers(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Layers(error)
    }
}

fn layer_by_layer(paths: &Paths) -> Result<OwnedFd, Failed> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context(|| "open overlayfs")?;
    add_layers(&overlay, &paths.lowers)?;
    for (key, path) in [("upperdir", &paths.upper), ("workdir", &paths.work)] {
        fsconfig_set_string(&overlay, key, name(path))
            .context(|| format!("use {} as {key}", path.0.display()))?;
    }
    // Without `index` a root that is just being taken down does not stand in the way of the next.
    fsconfig_set_string(&overlay, "index", "off").context(|| "set index=off")?;
    // What is written must be whole in the upper directory: it may become a layer.
    for key in ["redirect_dir", "metacopy"] {
        fsconfig_set_string(&overlay, key, "off").context(|| format!("set {key}=off"))?;
    }
    fsconfig_set_flag(&overlay, "volatile").context(|| "set volatile")?;
    fsconfig_create(&overlay).context(|| "mount the layers")?;
    let mount = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NODEV,
    );
    Ok(mount.context(|| "mount the layers")?)
}

fn add_layers(overlay: &OwnedFd, lowers: &[(PathBuf, OwnedFd)]) -> Result<(), Failed> {
    for (index, lower) in lowers.iter().enumerate() {
        match fsconfig_set_string(overlay, "lowerdir+", name(lower)) {
            Err(Errno::INVAL) if index == 0 => return Err(Failed::Unknown),
            other => other.context(|| format!("use layer {}", lower.0.display()))?,
        }
    }
    Ok(())
}

fn joined(lowers: &[(PathBuf, OwnedFd)]) -> String {
    let lowers: Vec<String> = lowers.iter().map(short).collect();
    lowers.join(":")
}

fn short((_, fd): &(PathBuf, OwnedFd)) -> String {
    short_name(fd).display().to_string()
}

fn one_line(paths: &Paths, at: &Path) -> Result<OwnedFd> {
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,redirect_dir=off,metacopy=off,volatile",
        joined(&paths.lowers),
        short(&paths.upper),
        short(&paths.work)
    );
    mount_with(&options, MountFlags::NODEV, at)
}

fn mount_with(options: &str, flags: MountFlags, at: &Path) -> Result<OwnedFd> {
    let options = std::ffi::CString::new(options).map_err(|_| Error::internal("a zero byte"))?;
    rustix::mount::mount("overlay", at, "overlay", flags, options.as_c_str())
        .context(|| "mount the layers in one line")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(at, flags, Mode::empty()).context(|| "open the mounted layers")
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

    fn layers(dir: &Path) -> Rootfs {
        let names = ["top", "bottom", "upper", "work", "at"];
        for name in names {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        std::fs::write(dir.join("top/which"), "top").unwrap();
        std::fs::write(dir.join("bottom/which"), "bottom").unwrap();
        std::fs::write(dir.join("bottom/below"), "below").unwrap();
        Rootfs {
            lowers: vec![dir.join("top"), dir.join("bottom")],
            upper: dir.join("upper"),
            work: dir.join("work"),
            readonly: false,
        }
    }

    fn check(dir: &Path, mounted: &OwnedFd) {
        let root = Root::from_fd(rustix::io::dup(mounted).unwrap());
        let read = |name: &str| {
            let file = root.open_at(name, OFlags::RDONLY, Mode::empty()).unwrap();
            std::io::read_to_string(std::fs::File::from(file)).unwrap()
        };
        assert_eq!(
            (read("which"), read("below")),
            ("top".into(), "below".into())
        );
        std::fs::write(dir.join("at/new"), "new").unwrap();
        assert!(dir.join("upper/new").exists());
        assert!(dir.join("work/work/incompat/volatile").exists());
    }

    /// Both ways, one after the other on the same directories, as after a crash: the mark of the
    /// first is still there.
    #[test]
    fn both_ways_stack_the_same() {
        let dir = tempfile::tempdir().unwrap();
        apart(|| {
            let rootfs = layers(dir.path());
            let at = dir.path().join("at");
            let mounted = mount(&rootfs, &at).unwrap();
            check(dir.path(), &mounted);
            drop(mounted);
            rustix::mount::unmount(&at, UnmountFlags::DETACH).unwrap();

            assert!(dir.path().join("work/work/incompat/volatile").exists());
            forget_crash(&rootfs.work).unwrap();
            let mounted = one_line(&Paths::open(&rootfs).unwrap(), &at).unwrap();
            check(dir.path(), &mounted);
            drop(mounted);
            rustix::mount::unmount(&at, UnmountFlags::DETACH).unwrap();
        });
    }

    #[test]
    fn layers_that_cannot_be_stacked_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        apart(|| {
            let mut rootfs = layers(dir.path());
            rootfs.lowers.push(dir.path().join("missing"));
            let error = mount(&rootfs, &dir.path().join("at")).unwrap_err();
            assert!(error.to_string().contains("missing"), "{error}");
            // The scratch space must not lie inside the changes.
            let mut rootfs = layers(dir.path());
            rootfs.work = rootfs.upper.join("work");
            std::fs::create_dir(&rootfs.work).unwrap();
            assert!(mount(&rootfs, &dir.path().join("at")).is_err());
        });
    }
}
