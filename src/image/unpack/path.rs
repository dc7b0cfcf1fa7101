//! Decides where an entry may go, by its name alone.
//!
//! Pure. A name is bytes; what comes out is a relative path of plain components, so that no later step
//! has to think of `..`, slashes or whiteout prefixes again. Links on the way are the business of
//! `orc_base::root`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result};

/// The most bytes of a path, one less than the kernel's `PATH_MAX`.
const MAX_PATH: usize = 4095;
/// The most bytes of one component, `NAME_MAX`.
const MAX_NAME: usize = 255;
/// The most components of a path.
const MAX_DEPTH: usize = 512;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// What the name of an entry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The root of the layer itself.
    Root,
    /// A file, at this path below the root.
    File(PathBuf),
    /// This path of the layers below is hidden.
    Whiteout(PathBuf),
    /// All that the layers below have in this directory is hidden.
    Opaque(PathBuf),
    /// Something that only AUFS knew what to do with.
    Ignored,
}

/// Reads the name of an entry.
pub fn place(name: &[u8]) -> Result<Place> {
    let path = clean(name)?;
    let Some(last) = path.file_name().map(OsStrExt::as_bytes) else {
        return Ok(Place::Root);
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    let hidden = |component: &OsStr| component.as_bytes().starts_with(WHITEOUT);
    if parent.iter().any(hidden) {
        return Err(refuse("has a whiteout in the middle of its name"));
    }
    if last == OPAQUE {
        return Ok(Place::Opaque(parent.to_owned()));
    }
    if last.starts_with(AUFS) {
        return Ok(Place::Ignored);
    }
    match last.strip_prefix(WHITEOUT) {
        None => Ok(Place::File(path)),
        Some(b"" | b"." | b"..") => Err(refuse("is a whiteout of nothing")),
        Some(name) => Ok(Place::Whiteout(parent.join(OsStr::from_bytes(name)))),
    }
}

/// Reads the name of an entry where whiteouts mean nothing: in an archive of plain files.
pub fn plain(name: &[u8]) -> Result<Place> {
    let path = clean(name)?;
    Ok(match path.file_name() {
        Some(_) => Place::File(path),
        None => Place::Root,
    })
}

/// Reads the target of a hard link, which is always seen from the root of the archive.
pub fn link_target(name: &[u8]) -> Result<PathBuf> {
    let path = clean(name).map_err(|error| error.within("its link target"))?;
    match path.file_name() {
        Some(_) => Ok(path),
        None => Err(refuse("is a hard link to the root directory")),
    }
}

/// A relative path of plain components; empty for the root. Leading slashes, `.` and empty components
/// mean nothing, `..` is refused wherever it stands: what it means depends on links, and no one who
/// makes layers writes it.
fn clean(name: &[u8]) -> Result<PathBuf> {
    if name.is_empty() {
        return Err(refuse("has no name"));
    }
    if name.contains(&0) {
        return Err(refuse("has a NUL byte in its name"));
    }
    let mut path = PathBuf::new();
    let mut depth = 0;
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(refuse("has `..` in its name and could leave the layer")),
            _ if component.len() > MAX_NAME => {
                return Err(refuse(&format!(
                    "has a component of more than {MAX_NAME} bytes in its name"
                )));
            }
            _ => path.push(OsStr::from_bytes(component)),
        }
        depth += 1;
    }
    if path.as_os_str().len() > MAX_PATH {
        return Err(refuse(&format!("has a name of more than {MAX_PATH} bytes")));
    }
    if depth > MAX_DEPTH {
        return Err(refuse(&format!("lies deeper than {MAX_DEPTH} directories")));
    }
    Ok(path)
}

fn refuse(why: &str) -> Error {
    Error::invalid(why)
}

/// The name of an entry, safe and short enough for a message.
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(200)]);
    let text: String = text.chars().flat_map(char::escape_debug).collect();
    match name.len() > 200 {
        true => format!("`{text}…`"),
        false => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_lose_their_ornaments() {
        for name in ["a/b", "/a/b", "./a/b", "//a//b//", "a/./b/", "/./a/b/."] {
            let place = place(name.as_bytes()).unwrap();
            assert_eq!(place, Place::File("a/b".into()), "{name}");
        }
        for name in ["/", ".", "./", "././/", "//"] {
            assert_eq!(place(name.as_bytes()).unwrap(), Place::Root, "{name}");
        }
        let raw = place(b"\xff\xfe").unwrap();
        assert_eq!(raw, Place::File(OsStr::from_bytes(b"\xff\xfe").into()));
        assert_eq!(place(b"...").unwrap(), Place::File("...".into()));
    }

    #[test]
    fn whiteouts_by_the_letter() {
        assert_eq!(place(b".wh.a").unwrap(), Place::Whiteout("a".into()));
        assert_eq!(place(b"./x/.wh.a").unwrap(), Place::Whiteout("x/a".into()));
        assert_eq!(place(b"x/.wh..a").unwrap(), Place::Whiteout("x/.a".into()));
        assert_eq!(place(b"x/.wh..wh..opq").unwrap(), Place::Opaque("x".into()));
        assert_eq!(place(b".wh..wh..opq").unwrap(), Place::Opaque("".into()));
        assert_eq!(place(b".wh..wh.aufs").unwrap(), Place::Ignored);
        assert_eq!(place(b"a/.wh..wh.plnk/").unwrap(), Place::Ignored);
        for bad in [
            ".wh.",
            ".wh..",
            ".wh...",
            "x/.wh./",
            ".wh.a/b",
            "a/.wh..wh..opq/b",
        ] {
            assert!(place(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_names_mean_themselves() {
        assert_eq!(plain(b"a/.wh.b").unwrap(), Place::File("a/.wh.b".into()));
        assert_eq!(plain(b"./").unwrap(), Place::Root);
        assert!(plain(b"a/../b").is_err());
    }

    #[test]
    fn what_could_leave_is_refused() {
        for bad in [
            &b"../a"[..],
            b"a/../b",
            b"/..",
            b"./..",
            b"..",
            b"a/..",
            b"",
            b"a\0b",
            &[b'a'; 256],
            &b"a/".repeat(513),
            &[&[b'a'; 255][..], b"/"].concat().repeat(100),
        ] {
            assert!(place(bad).is_err(), "{}", shown(bad));
            assert!(link_target(bad).is_err());
        }
        assert!(link_target(b"./").is_err());
        assert_eq!(link_target(b"/etc/x").unwrap(), Path::new("etc/x"));
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(shown(b"a\n\x1b[31m"), r"`a\n\u{1b}[31m`");
        assert!(shown(&[b'a'; 100_000]).len() < 300);
    }
}
