//! Extended attributes that are copied: capabilities of programs and what users attach.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use orc_base::{Context, Error, Result};

use crate::unpack::attributes::is_kept;
use crate::unpack::limits::{MAX_XATTR_BYTES, MAX_XATTRS};

/// Names and values, in the order of the names.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads those of an open file that are copied.
pub(crate) fn read(file: impl AsFd) -> Result<Attributes> {
    let file = file.as_fd();
    let mut names = Vec::with_capacity(MAX_XATTR_BYTES);
    // Most files have none, which one call without memory tells.
    match rustix::fs::flistxattr(file, &mut [0_u8; 0][..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(errno) => return Err(errno).context(|| "list its extended attributes"),
    }
    rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut names))
        .context(|| "list its extended attributes")?;
    let mut kept: Vec<Vec<u8>> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && is_kept(name))
        .map(<[u8]>::to_vec)
        .collect();
    kept.sort_unstable();
    if kept.len() > MAX_XATTRS {
        return Err(Error::exhausted(format!(
            "has more than {MAX_XATTRS} extended attributes"
        )));
    }
    let mut pairs = Vec::with_capacity(kept.len());
    for name in kept {
        let mut value = Vec::with_capacity(MAX_XATTR_BYTES);
        let room = rustix::buffer::spare_capacity(&mut value);
        match rustix::fs::fgetxattr(file, OsStr::from_bytes(&name), room) {
            Ok(_) => pairs.push((name, value)),
            Err(Errno::NODATA) => {}
            Err(errno) => {
                return Err(errno)
                    .context(|| format!("read its attribute `{}`", name.escape_ascii()));
            }
        }
    }
    Ok(pairs)
}

/// Sets them on an open file. A file system that knows no attributes of users is no error, as when an
/// image is unpacked.
pub(crate) fn write(file: impl AsFd, attributes: &Attributes) -> Result<()> {
    for (name, value) in attributes {
        let set = rustix::fs::fsetxattr(
            file.as_fd(),
            OsStr::from_bytes(name),
            value,
            XattrFlags::empty(),
        );
        match set {
            Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
            other => other.context(|| format!("set its attribute `{}`", name.escape_ascii()))?,
        }
    }
    Ok(())
}
