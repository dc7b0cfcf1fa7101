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
        let open = |path: &PathBuf| -> Result<(PathBuf, OwnedFd)> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(path, flags, Mode::empty());
            let fd = fd.context(|| format!("open layer {}", path.display()))?;
            Ok((path.clone(), fd))
        };
        Ok(Self {
            lowers: rootfs.lowers.iter().map(open).collect::<Result<_>>()?,
            upper: open(&rootfs.upper)?,
            work: open(&rootfs.work)?,
        })
    }
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
    for (index, lower) in paths.lowers.iter().enumerate() {
        match fsconfig_set_string(&overlay, "lowerdir+", name(lower)) {
            Err(Errno::INVAL) if index == 0 => return Err(Failed::Unknown),
            other => other.context(|| format!("use layer {}", lower.0.display()))?,
        }
    }
    for (key, path) in [("upperdir", &paths.upper), ("workdir", &paths.work)] {
        fsconfig_set_string(&overlay, key, name(path))
            .context(|| format!("use {} as {key}", path.0.display()))?;
    }
    // Without `index` a root that is just being taken down does not stand in the way of the next.
    fsconfig_set_string(&overlay, "index", "off").context(|| "set index=off")?;
    fsconfig_set_flag(&overlay, "volatile").context(|| "set volatile")?;
    fsconfig_create(&overlay).map_err(|errno| Error::from(errno).within(message(&overlay)))?;
    let mount = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NODEV,
    );
    Ok(mount.context(|| "mount the layers")?)
}

/// What the kernel says about a failed mount (fsopen(2) keeps its messages).
fn message(filesystem: &OwnedFd) -> String {
    let mut text = [0; 256];
    let words = match rustix::io::read(filesystem, &mut text) {
        Ok(count) => String::from_utf8_lossy(&text[..count]).trim().to_owned(),
        Err(_) => String::new(),
    };
    match words.split_once(' ') {
        Some((_, words)) => format!("mount the layers ({words})"),
        None => "mount the layers".into(),
    }
}

fn one_line(paths: &Paths, at: &Path) -> Result<OwnedFd> {
    let short = |(_, fd): &(PathBuf, OwnedFd)| short_name(fd).display().to_string();
    let lowers: Vec<String> = paths.lowers.iter().map(short).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,volatile",
        lowers.join(":"),
        short(&paths.upper),
        short(&paths.work)
    );
    let options = std::ffi::CString::new(options).map_err(|_| Error::internal("a zero byte"))?;
    rustix::mount::mount(
        "overlay",
        at,
        "overlay",
        MountFlags::NODEV,
        options.as_c_str(),
    )
    .context(|| format!("mount {} layers", lowers.len()))?;
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
