//! What the options of a volume of the `local` driver name: nothing, a directory of the machine, or a
//! file system that is mounted while somebody uses the volume.
//!
//! The options are Docker's: `type`, `device` and `o`, as mount(8) has them. File systems are made
//! by the calls of fsopen(2), so each option is a word to the kernel and none is parsed twice; what
//! the kernel has against it is part of the error.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

use crate::names::shown;

/// The most words of `o`.
const MAX_WORDS: usize = 256;
/// How much of what the kernel says is passed on.
const MAX_SAID: usize = 512;

/// Where the data of a volume are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// In its own directory.
    Own,
    /// In a directory of the machine.
    Directory {
        /// An absolute path.
        path: PathBuf,
        /// Nobody writes it through the volume.
        read_only: bool,
    },
    /// On a file system of its own.
    Mounted(FileSystem),
}

/// A file system to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystem {
    kind: String,
    device: String,
    attributes: MountAttrFlags,
    /// Options for the file system: flags, and names with values.
    words: Vec<(String, Option<String>)>,
}

/// Reads the options of a volume.
pub(crate) fn backing(options: &BTreeMap<String, String>) -> Result<Backing> {
    let option = |key| options.get(key).map_or("", String::as_str);
    if let Some(key) = options
        .keys()
        .find(|key| !matches!(key.as_str(), "type" | "o" | "device"))
    {
        return Err(Error::unsupported(format!(
            "volume option `{}` is not supported: use type, o and device",
            shown(key)
        )));
    }
    if options.values().all(String::is_empty) {
        return Ok(Backing::Own);
    }
    let words: Vec<&str> = option("o")
        .split(',')
        .filter(|word| !word.is_empty())
        .collect();
    if words.len() > MAX_WORDS {
        return Err(Error::invalid(format!(
            "volume option o has {} words: at most {MAX_WORDS}",
            words.len()
        )));
    }
    let is_bind = words.iter().any(|word| matches!(*word, "bind" | "rbind"));
    match option("type") {
        "" | "none" | "bind" => directory(option("device"), &words, is_bind),
        kind if is_bind => Err(Error::invalid(format!(
            "volume options type={} o=bind exclude each other: use type=none",
            shown(kind)
        ))),
        kind => file_system(kind, option("device"), &words).map(Backing::Mounted),
    }
}

fn directory(device: &str, words: &[&str], is_bind: bool) -> Result<Backing> {
    if !is_bind {
        return Err(Error::invalid(
            "volume options without a type: use type=none o=bind device=<directory>, or a type such as tmpfs",
        ));
    }
    let known = |word: &&&str| matches!(**word, "bind" | "rbind" | "rw" | "ro");
    if let Some(word) = words.iter().find(|word| !known(word)) {
        return Err(Error::unsupported(format!(
            "volume option o={} is not supported with bind: use bind, rbind, ro and rw",
            shown(word)
        )));
    }
    match Path::new(device) {
        path if path.is_absolute() => Ok(Backing::Directory {
            path: path.into(),
            read_only: words.contains(&"ro"),
        }),
        path => Err(Error::invalid(format!(
            "volume option device={} must be an absolute path",
            path.display()
        ))),
    }
}

fn file_system(kind: &str, device: &str, words: &[&str]) -> Result<FileSystem> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain(kind) || kind.len() > 64 {
        return Err(Error::invalid(format!(
            "volume option type={} is not a file system",
            shown(kind)
        )));
    }
    let mut system = FileSystem {
        kind: kind.to_owned(),
        device: device.to_owned(),
        attributes: MountAttrFlags::empty(),
        words: Vec::new(),
    };
    for word in words {
        if word.contains('\0') || word.len() > 4096 {
            return Err(Error::invalid(format!(
                "volume option o={} is not an option",
                shown(word)
            )));
        }
        match attribute(word) {
            Some(attribute) => system.attributes |= attribute,
            None if NEUTRAL.contains(word) => {}
            None => system.words.push(match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => ((*word).to_owned(), None),
            }),
        }
    }
    Ok(system)
}

/// What is so when nothing else is said.
const NEUTRAL: [&str; 6] = ["rw", "suid", "dev", "exec", "defaults", "relatime"];

/// Words that are about the mount and not about the file system.
fn attribute(word: &str) -> Option<MountAttrFlags> {
    Some(match word {
        "ro" => MountAttrFlags::MOUNT_ATTR_RDONLY,
        "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
        "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
        "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
        "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
        "nodiratime" => MountAttrFlags::MOUNT_ATTR_NODIRATIME,
        "strictatime" => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        _ => return None,
    })
}

impl FileSystem {
    /// Refuses a kind that this kernel does not have.
    pub(crate) fn check(&self) -> Result<()> {
        self.open().map(drop)
    }

    fn open(&self) -> Result<OwnedFd> {
        match fsopen(self.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC) {
            Err(Errno::NODEV) => Err(Error::unsupported(format!(
                "volume type {}: this kernel has no such file system: load its module, or use another type",
                shown(&self.kind)
            ))),
            other => other.context(|| format!("open file system {}", shown(&self.kind))),
        }
    }

    /// Mounts it on the directory `at`.
    pub(crate) fn mount(&self, at: &Path) -> Result<()> {
        let context = self.open()?;
        let made = self.make(&context).map_err(|error| {
            let said = said(&context);
            match said.is_empty() {
                true => error,
                false => error.within(said),
            }
        });
        let mount =
            made.context(|| format!("mount a file system of type {}", shown(&self.kind)))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, c"", CWD, at, flags).context(|| format!("mount on {}", at.display()))
    }

    fn make(&self, context: &OwnedFd) -> Result<OwnedFd> {
        if !self.device.is_empty() {
            fsconfig_set_string(context, "source", self.device.as_str())
                .context(|| format!("use device {}", shown(&self.device)))?;
        }
        for (name, value) in &self.words {
            let set = match value {
                None => fsconfig_set_flag(context, name.as_str()),
                Some(value) => {
                    let value = match name.as_str() {
                        "addr" => address(value)?,
                        _ => value.clone(),
                    };
                    fsconfig_set_string(context, name.as_str(), value.as_str())
                }
            };
            set.context(|| format!("use option {}", shown(name)))?;
        }
        fsconfig_create(context)?;
        Ok(fsmount(
            context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            self.attributes,
        )?)
    }
}

/// The kernel takes addresses of servers only, people write names.
fn address(text: &str) -> Result<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let mut found = (text, 0)
        .to_socket_addrs()
        .context(|| format!("find the address of {}", shown(text)))?;
    found
        .next()
        .map(|address| address.ip().to_string())
        .ok_or_else(|| Error::not_found(format!("{} has no address", shown(text))))
}

/// What the kernel has to say about a file system that was not made (fsopen(2)).
fn said(context: &OwnedFd) -> String {
    let mut buffer = [0; MAX_SAID];
    let mut lines = Vec::new();
    while lines.len() < 4 {
        let Ok(length @ 1..) = rustix::io::read(context, &mut buffer[..]) else {
            break;
        };
        let line = String::from_utf8_lossy(&buffer[..length]);
        let line = line.trim().trim_start_matches(['e', 'w', 'i']).trim();
        lines.push(line.escape_debug().to_string());
    }
    lines.join("; ")
}

/// Whether something is mounted on a directory (statx(2), `STATX_ATTR_MOUNT_ROOT`).
pub(crate) fn is_mounted(directory: &Path) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::statx(CWD, directory, flags, StatxFlags::TYPE) {
        Ok(stat) => Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).context(|| directory.display().to_string()),
    }
}

/// Takes off what is mounted on a directory. Who has it mounted elsewhere keeps it.
pub(crate) fn put_away(directory: &Path) -> Result<()> {
    match unmount(directory, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => {
            let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
            unmount(directory, flags).context(|| format!("unmount {}", directory.display()))
        }
        Err(errno) => Err(errno).context(|| format!("unmount {}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Backing> {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        backing(&options.collect())
    }

    #[test]
    fn options_are_read_as_mount_does() {
        assert_eq!(read(&[]).unwrap(), Backing::Own);
        assert_eq!(read(&[("type", ""), ("o", "")]).unwrap(), Backing::Own);
        assert_eq!(
            read(&[("type", "none"), ("o", "bind,ro"), ("device", "/srv")]).unwrap(),
            Backing::Directory {
                path: "/srv".into(),
                read_only: true
            }
        );
        let options = [
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", "size=1m,nodev,uid=7,rw"),
        ];
        let Backing::Mounted(system) = read(&options).unwrap() else {
            panic!("not mounted");
        };
        assert_eq!(system.attributes, MountAttrFlags::MOUNT_ATTR_NODEV);
        let word = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(system.words, [word("size", "1m"), word("uid", "7")]);
        system.check().unwrap();
    }

    #[test]
    fn refusals_name_the_option() {
        for (options, kind, word) in [
            (&[("size", "10g")][..], Kind::Unsupported, "`size`"),
            (
                &[("o", "bind"), ("device", "relative")],
                Kind::Invalid,
                "relative",
            ),
            (&[("o", "size=1m")], Kind::Invalid, "type"),
            (
                &[("o", "bind,fast"), ("device", "/x")],
                Kind::Unsupported,
                "fast",
            ),
            (
                &[("type", "tmpfs"), ("o", "bind"), ("device", "/x")],
                Kind::Invalid,
                "tmpfs",
            ),
            (&[("type", "a b")], Kind::Invalid, "a b"),
        ] {
            let error = read(options).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        let Backing::Mounted(system) = read(&[("type", "nosuchfs")]).unwrap() else {
            panic!("not mounted");
        };
        let error = system.check().unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("nosuchfs"), "{error}");
    }
}
