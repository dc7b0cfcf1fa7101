//! Directories stacked by overlayfs, as a mount that is attached nowhere.
//!
//! Whoever wants it in the tree attaches it; otherwise it is reached through its descriptor only and
//! goes with it, so that a crash leaves nothing. What is written must be whole in the upper directory,
//! which may become a layer, so everything that would put marks of overlayfs in place of contents is
//! off (Documentation/filesystems/overlayfs.rst: `index`, `metacopy`, `redirect_dir`).
//!
//! Layers are given one a call, `lowerdir+`, since Linux 6.7. Older kernels take them in one value of
//! 255 bytes, in which they are named by the numbers of their descriptors.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::{Context, Error, Result};

/// The longest value that fsconfig(2) takes.
const MAX_VALUE: usize = 255;
/// What overlayfs takes for itself in a path.
const SPECIAL: &[char] = &[',', ':', '\\'];

/// Where changes go. They are as durable as any file that nobody synced (`volatile`).
#[derive(Debug, Clone, Copy)]
pub struct Writable<'a> {
    /// The directory of the changes.
    pub upper: &'a Path,
    /// An empty directory beside it, for overlayfs itself.
    pub work: &'a Path,
}

/// Stacks `lowers`, topmost first, below `writable`; without it nothing can be written and there
/// must be two layers, as one alone is its own merged view. Device nodes have no meaning in the mount;
/// `attributes` say what else.
pub fn stack(
    lowers: &[impl AsRef<Path>],
    writable: Option<Writable<'_>>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    let layers = Layers {
        lowers: lowers.iter().map(open).collect::<Result<_>>()?,
        changes: writable
            .map(|writable| Ok::<_, Error>([open(writable.upper)?, open(writable.work)?]))
            .transpose()?,
        attributes: attributes | MountAttrFlags::MOUNT_ATTR_NODEV,
    };
    match layers.one_by_one() {
        Err(Failed::Unknown) => layers.at_once(),
        Err(Failed::Layers(error)) => Err(error),
        Ok(mount) => Ok(mount),
    }
}

/// An open directory and its path.
struct Layer {
    path: PathBuf,
    fd: OwnedFd,
}

fn open(path: impl AsRef<Path>) -> Result<Layer> {
    let path = path.as_ref().to_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&path, flags, Mode::empty())
        .context(|| format!("open layer {}", path.display()))?;
    Ok(Layer { path, fd })
}

impl Layer {
    /// The path itself, which people can read in mountinfo, when overlayfs can read it, too.
    fn name(&self) -> PathBuf {
        let readable = |path: &str| path.len() <= MAX_VALUE && !path.contains(SPECIAL);
        match self.path.to_str().is_some_and(readable) {
            true => self.path.clone(),
            false => format!("/proc/thread-self/fd/{}", self.fd.as_raw_fd()).into(),
        }
    }

    /// Its name in the directory of this thread's descriptors.
    fn number(&self) -> PathBuf {
        self.fd.as_raw_fd().to_string().into()
    }
}

struct Layers {
    lowers: Vec<Layer>,
    /// The upper and the work directory.
    changes: Option<[Layer; 2]>,
    attributes: MountAttrFlags,
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

impl Layers {
    fn one_by_one(&self) -> Result<OwnedFd, Failed> {
        if !options_are_checked()? {
            return Err(Failed::Unknown);
        }
        let overlay = context()?;
        for (index, lower) in self.lowers.iter().enumerate() {
            match fsconfig_set_string(&overlay, "lowerdir+", lower.name()) {
                Err(Errno::INVAL) if index == 0 => return Err(Failed::Unknown),
                other => other.context(|| format!("use layer {}", lower.path.display()))?,
            }
        }
        Ok(self.finish(&overlay, Layer::name)?)
    }

    fn at_once(&self) -> Result<OwnedFd> {
        let names: Vec<_> = self
            .lowers
            .iter()
            .map(|lower| lower.fd.as_raw_fd().to_string())
            .collect();
        let names = names.join(":");
        if names.len() > MAX_VALUE {
            return Err(Error::unsupported(format!(
                "{} layers cannot be stacked by this kernel: use Linux 6.7 or newer, or an image with fewer layers",
                self.lowers.len()
            )));
        }
        among_descriptors(|| {
            let overlay = context()?;
            fsconfig_set_string(&overlay, "lowerdir", names)
                .context(|| format!("stack {} layers at once", self.lowers.len()))?;
            self.finish(&overlay, Layer::number)
        })
    }

    fn finish(&self, overlay: &OwnedFd, name: fn(&Layer) -> PathBuf) -> Result<OwnedFd> {
        if let Some([upper, work]) = &self.changes {
            for (key, layer) in [("upperdir", upper), ("workdir", work)] {
                fsconfig_set_string(overlay, key, name(layer))
                    .context(|| format!("use {} as {key}", layer.path.display()))?;
            }
            fsconfig_set_flag(overlay, "volatile").context(|| "set volatile")?;
        }
        for key in ["index", "metacopy", "redirect_dir"] {
            fsconfig_set_string(overlay, key, "off").context(|| format!("set {key}=off"))?;
        }
        let what = || format!("stack {} layers", self.lowers.len());
        fsconfig_create(overlay).context(what)?;
        fsmount(overlay, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes).context(what)
    }
}

fn context() -> Result<OwnedFd> {
    fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .context(|| "open overlayfs (is its kernel module missing?)")
}

/// Whether options are looked at when they are set, as since Linux 6.5. Older kernels take any and fail
/// in the end, with a line in the kernel's log.
fn options_are_checked() -> Result<bool> {
    static CHECKED: OnceLock<bool> = OnceLock::new();
    if let Some(checked) = CHECKED.get() {
        return Ok(*checked);
    }
    let refused = fsconfig_set_flag(&context()?, "no-such-option").is_err();
    Ok(*CHECKED.get_or_init(|| refused))
}

/// Runs `work` in a thread whose working directory is that of its open descriptors, so that their
/// numbers are paths.
fn among_descriptors<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enter = || -> Result<T> {
        // SAFETY: a root and a working directory of the thread's own change no descriptor.
        unsafe { unshare_unsafe(UnshareFlags::FS) }
            .context(|| "make a working directory of its own")?;
        rustix::process::chdir("/proc/thread-self/fd").context(|| "enter the descriptors")?;
        work()
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, enter)
            .context(|| "start a thread")?
            .join()
            .unwrap_or_else(|_| Err(Error::internal("the thread that stacks layers died")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::root::Root;

    /// Directories with a file of the same name, topmost first.
    fn made(dir: &Path, names: &[&str]) -> Vec<PathBuf> {
        let make = |name: &&str| {
            let path = dir.join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("which"), name).unwrap();
            std::fs::write(path.join(name), name).unwrap();
            path
        };
        names.iter().map(make).collect()
    }

    fn read(root: &Root, name: &str) -> Result<String> {
        let file = root.open_at(name, OFlags::RDONLY, Mode::empty())?;
        Ok(std::io::read_to_string(std::fs::File::from(file))?)
    }

    fn layers(lowers: &[PathBuf], changes: Option<[&Path; 2]>) -> Layers {
        Layers {
            lowers: lowers.iter().map(open).collect::<Result<_>>().unwrap(),
            changes: changes.map(|both| both.map(|path| open(path).unwrap())),
            attributes: MountAttrFlags::MOUNT_ATTR_NODEV,
        }
    }

    /// Both ways, one after the other on the same directories; the second is that of old kernels.
    #[test]
    fn both_ways_stack_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let lowers = made(dir.path(), &["top", "with,comma", "bottom"]);
        for way in [Layers::at_once, |layers: &Layers| {
            layers.one_by_one().or_else(|failed| match failed {
                Failed::Unknown => layers.at_once(),
                Failed::Layers(error) => Err(error),
            })
        }] {
            let view = Root::from_fd(way(&layers(&lowers, None)).unwrap());
            assert_eq!(read(&view, "which").unwrap(), "top");
            assert_eq!(read(&view, "with,comma").unwrap(), "with,comma");
            assert_eq!(read(&view, "bottom").unwrap(), "bottom");
            assert_eq!(read(&view, "none").unwrap_err().kind(), Kind::NotFound);
            assert!(view.create_dir_all("new", 0o755).is_err(), "read only");

            let scratch = tempfile::tempdir_in(dir.path()).unwrap();
            let [upper, work] = ["upper", "work"].map(|name| scratch.path().join(name));
            for path in [&upper, &work] {
                std::fs::create_dir(path).unwrap();
            }
            let changes = Some([upper.as_path(), work.as_path()]);
            let root = Root::from_fd(way(&layers(&lowers, changes)).unwrap());
            root.create_dir_all("new", 0o755).unwrap();
            assert!(upper.join("new").is_dir());
            assert!(work.join("work/incompat/volatile").exists());
        }
    }

    #[test]
    fn old_kernels_take_what_fits_into_one_value() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..40).map(|number| format!("layer-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let lowers = made(dir.path(), &names);
        let view = Root::from_fd(layers(&lowers, None).at_once().unwrap());
        assert_eq!(read(&view, "layer-39").unwrap(), "layer-39");

        let many: Vec<PathBuf> = lowers.iter().cycle().take(200).cloned().collect();
        let error = layers(&many, None).at_once().unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }

    #[test]
    fn what_cannot_be_stacked_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut lowers = made(dir.path(), &["top", "bottom"]);
        // The scratch space must not lie inside the changes.
        let upper = dir.path().join("upper");
        std::fs::create_dir_all(upper.join("work")).unwrap();
        let writable = Writable {
            upper: &upper,
            work: &upper.join("work"),
        };
        stack(&lowers, Some(writable), MountAttrFlags::empty()).unwrap_err();
        lowers.push(dir.path().join("missing"));
        let error = stack(&lowers, None, MountAttrFlags::empty()).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
