//! The upper directory of an overlay becomes a layer, as the OCI image specification wants it
//! (image-spec `layer.md`): whiteouts as files `.wh.<name>`, opaque directories with `.wh..wh..opq`.
//!
//! Nobody may write into the directory meanwhile: it is unmounted, or its container is frozen.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use orc_base::{Context, Error, Result, Time};

use crate::pack::entries::Entries;
pub use crate::pack::entries::Packed;
use crate::pack::leftovers::Leftovers;
use crate::pack::look;
use crate::pack::walk::{self, Met, Next, Visitor};

pub(super) const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// How to pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackOptions {
    /// No time in the layer is later than this (`SOURCE_DATE_EPOCH`).
    pub clamp: Option<Time>,
    /// What the root directory was before. When the upper directory is another, an entry says so;
    /// without this none ever does.
    pub root: Option<RootLook>,
}

/// Owner and mode of a root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootLook {
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Default for RootLook {
    /// What the root is like when no layer says.
    fn default() -> Self {
        Self {
            mode: 0o755,
            uid: 0,
            gid: 0,
        }
    }
}

impl RootLook {
    /// What the directory `path`, which is ours, is like.
    pub fn of(path: &Path) -> Result<Self> {
        Ok(look_of(&rustix::fs::fstat(open(path)?)?))
    }
}

/// Writes the layer of the overlay's upper directory `upper` to `out`, uncompressed. Blocks.
pub fn layer(upper: &Path, out: &mut dyn Write, options: &PackOptions) -> Result<Packed> {
    layer_without(upper, out, options, None)
}

/// [`layer`] without what mounts left behind.
pub fn layer_without(
    upper: &Path,
    out: &mut dyn Write,
    options: &PackOptions,
    leftovers: Option<&Leftovers>,
) -> Result<Packed> {
    let directory = open(upper)?;
    let mut visitor = LayerEntries {
        entries: Entries::new(out, options.clamp),
        leftovers,
    };
    visitor.root(directory.as_fd(), options.root)?;
    walk::walk(directory.as_fd(), &mut visitor)?;
    visitor.entries.finish()
}

/// Opens a directory of ours for reading.
pub(super) fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context(|| format!("open {}", path.display()))
}

struct LayerEntries<'o> {
    entries: Entries<'o>,
    leftovers: Option<&'o Leftovers>,
}

impl LayerEntries<'_> {
    fn root(&mut self, directory: BorrowedFd<'_>, before: Option<RootLook>) -> Result<()> {
        let stat = rustix::fs::fstat(directory)?;
        if before.is_some_and(|before| before != look_of(&stat)) {
            self.entries.directory(directory, b".".into(), &stat)?;
        }
        if is_opaque(directory)? {
            self.entries.mark(OPAQUE.into())?;
        }
        Ok(())
    }
}

fn look_of(stat: &Stat) -> RootLook {
    RootLook {
        mode: look::mode(stat),
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

impl Visitor for LayerEntries<'_> {
    fn meet(&mut self, met: &Met<'_>) -> Result<Next> {
        if let Some(leftovers) = self.leftovers
            && leftovers.contains(met)?
        {
            return Ok(Next::Pass);
        }
        let name = met.name.to_bytes();
        if name.starts_with(WHITEOUT) {
            return Err(Error::invalid(
                "cannot be in a layer: a name that begins with `.wh.` means that something is gone. Rename or remove it",
            ));
        }
        if is_whiteout(met) {
            self.entries
                .mark(beside(met.path, &[WHITEOUT, name].concat()))?;
            return Ok(Next::Pass);
        }
        if let Some(directory) = met.directory {
            self.entries.add(met, met.path)?;
            if is_opaque(directory)? {
                let inside = met.path.join("x");
                self.entries.mark(beside(&inside, OPAQUE))?;
            }
            return Ok(Next::Enter);
        }
        self.entries.add(met, met.path)?;
        Ok(Next::Enter)
    }
}

/// The path of `name` in the directory of `path`.
fn beside(path: &Path, name: &[u8]) -> Vec<u8> {
    let mut bytes = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            [parent.as_os_str().as_bytes(), b"/"].concat()
        }
        _ => Vec::new(),
    };
    bytes.extend_from_slice(name);
    bytes
}

/// Overlayfs marks with a device 0/0 what is gone (Documentation/filesystems/overlayfs.rst).
pub(super) fn is_whiteout(met: &Met<'_>) -> bool {
    met.kind() == FileType::CharacterDevice && met.stat.st_rdev == 0
}

/// Whether all that the layers below have in this directory is hidden.
pub(super) fn is_opaque(directory: BorrowedFd<'_>) -> Result<bool> {
    Ok(look::xattr(directory, OPAQUE_XATTR)?.as_deref() == Some(b"y"))
}
