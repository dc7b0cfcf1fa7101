//! Devices of the machine that a container is given: their numbers, permissions and limits.
//!
//! A directory stands for all device nodes in it, as for Docker: `/dev/snd`, `/dev/dri`.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use orc_base::{Context, Error, Result};
use orc_host::block_io::{BlockIo, DeviceRate};
use orc_host::container;
use orc_runtime::spec::{self, Device, DeviceKind, DeviceRule, OnDevice};

/// How deep a directory of devices is read.
const MAX_DEPTH: usize = 8;
/// The most devices that a directory may stand for.
const MAX_DEVICES: usize = 1024;

/// Looks at the device nodes that a spec names.
pub(crate) fn found(wanted: &[container::Device]) -> Result<Vec<Device>> {
    let mut devices = Vec::with_capacity(wanted.len());
    for one in wanted {
        let metadata = look(&one.source)?;
        match metadata.is_dir() {
            true => below(one, MAX_DEPTH, &mut devices)?,
            false => devices.push(device(one, &metadata)?),
        }
    }
    Ok(devices)
}

fn look(path: &str) -> Result<Metadata> {
    std::fs::metadata(path).context(|| format!("gather device information of {path}"))
}

/// The nodes in a directory; what is neither a node nor a directory is left out.
fn below(directory: &container::Device, depth: usize, devices: &mut Vec<Device>) -> Result<()> {
    let source = Path::new(&directory.source);
    let failed = || format!("read the devices in {}", directory.source);
    for entry in std::fs::read_dir(source).context(failed)? {
        let name = entry.context(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let one = container::Device {
            source: format!("{}/{name}", directory.source.trim_end_matches('/')),
            target: format!("{}/{name}", directory.target.trim_end_matches('/')),
            permissions: directory.permissions.clone(),
        };
        // Links are followed by whoever names them, not from within a directory.
        let metadata = std::fs::symlink_metadata(&one.source).context(failed)?;
        match kind(&metadata) {
            Some(_) => devices.push(device(&one, &metadata)?),
            None if metadata.is_dir() && depth > 0 => below(&one, depth - 1, devices)?,
            None => {}
        }
        if devices.len() > MAX_DEVICES {
            return Err(Error::exhausted(format!(
                "{} has more than {MAX_DEVICES} devices: name those that are needed",
                directory.source
            )));
        }
    }
    Ok(())
}

fn kind(metadata: &Metadata) -> Option<DeviceKind> {
    match metadata.file_type() {
        kind if kind.is_char_device() => Some(DeviceKind::Char),
        kind if kind.is_block_device() => Some(DeviceKind::Block),
        _ => None,
    }
}

fn device(wanted: &container::Device, metadata: &Metadata) -> Result<Device> {
    let kind = kind(metadata).ok_or_else(|| {
        Error::invalid(format!(
            "{} is not a device node: name a character or block device",
            wanted.source
        ))
    })?;
    let access = match wanted.permissions.as_str() {
        "" => "rwm",
        letters => letters,
    };
    Ok(Device {
        path: wanted.target.clone(),
        kind,
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: access.into(),
    })
}

/// Device rules as the kernel's device controller writes them: `c 188:* rwm`, `a *:* m`.
pub(crate) fn rules(lines: &[String]) -> Result<Vec<DeviceRule>> {
    lines.iter().map(|line| rule(line)).collect()
}

fn rule(line: &str) -> Result<DeviceRule> {
    let fail = || {
        Error::invalid(format!(
            "invalid device cgroup rule `{}`: use a type (a, b or c), major:minor (numbers or *) and letters of rwm, such as `c 188:* rwm`",
            line.escape_default()
        ))
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    let mut words = line.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(fail());
    };
    let kind = match kind {
        "a" => None,
        "b" => Some(DeviceKind::Block),
        "c" => Some(DeviceKind::Char),
        _ => return Err(fail()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(fail)?;
    let letters = !access.is_empty() && access.bytes().all(|byte| b"rwm".contains(&byte));
    if !letters {
        return Err(fail());
    }
    Ok(DeviceRule {
        kind,
        major: number(major).ok_or_else(fail)?,
        minor: number(minor).ok_or_else(fail)?,
        access: access.into(),
    })
}

/// Finds the numbers of the block devices that limits are about.
pub(crate) fn block_io(wanted: &BlockIo) -> Result<spec::BlockIo> {
    let rates = |rates: &[DeviceRate]| -> Result<Vec<OnDevice>> {
        rates.iter().map(|one| block(&one.path, one.rate)).collect()
    };
    Ok(spec::BlockIo {
        weight: wanted.weight.filter(|weight| *weight > 0),
        device_weights: wanted
            .device_weights
            .iter()
            .map(|one| block(&one.path, one.weight.into()))
            .collect::<Result<_>>()?,
        read_bytes: rates(&wanted.read_bytes)?,
        write_bytes: rates(&wanted.write_bytes)?,
        read_operations: rates(&wanted.read_operations)?,
        write_operations: rates(&wanted.write_operations)?,
    })
}

fn block(path: &str, value: u64) -> Result<OnDevice> {
    let metadata = look(path)?;
    match kind(&metadata) {
        Some(DeviceKind::Block) => Ok(OnDevice {
            major: rustix::fs::major(metadata.rdev()),
            minor: rustix::fs::minor(metadata.rdev()),
            value,
        }),
        _ => Err(Error::invalid(format!(
            "{path} is not a block device: limits on input and output are about whole disks such as /dev/sda"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(source: &str) -> container::Device {
        container::Device {
            source: source.into(),
            target: "/dev/x".into(),
            permissions: String::new(),
        }
    }

    #[test]
    fn only_device_nodes_are_devices() {
        let found = found(&[device("/dev/null")]).unwrap();
        assert_eq!((found[0].major, found[0].minor), (1, 3));
        assert_eq!(found[0].access, "rwm");
        for bad in ["/dev/nope", "/etc/passwd"] {
            assert!(super::found(&[device(bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_stands_for_the_devices_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        let node = rustix::fs::makedev(1, 3);
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let kind = rustix::fs::FileType::CharacterDevice;
        let made = rustix::fs::mknodat(rustix::fs::CWD, path.join("null"), kind, mode, node);
        if made.is_err() {
            return;
        }
        std::os::unix::fs::symlink("/dev/mem", path.join("link")).unwrap();
        let one = container::Device {
            source: directory.path().display().to_string(),
            target: "/dev/snd".into(),
            permissions: "rw".into(),
        };
        let found = found(&[one]).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "/dev/snd/net/null");
        assert_eq!((found[0].major, found[0].access.as_str()), (1, "rw"));
    }

    #[test]
    fn rules_are_the_kernels() {
        let parse = |line: &str| rule(line);
        let all = parse("a *:* rwm").unwrap();
        assert_eq!((all.kind, all.major, all.minor), (None, None, None));
        let tty = parse("c 188:0 rw").unwrap();
        assert_eq!(
            (tty.kind, tty.major, tty.minor, tty.access.as_str()),
            (Some(DeviceKind::Char), Some(188), Some(0), "rw")
        );
        for bad in [
            "",
            "c",
            "c 1:3",
            "d 1:3 r",
            "c 1 r",
            "c 1:x r",
            "c +1:3 r",
            "c 1:3 rx",
            "c 1:3 r w",
            "c  1:3 r",
            "c 1:3 r\n",
            "c 4294967296:1 r",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("device cgroup rule"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn limits_are_about_block_devices() {
        let wanted = BlockIo {
            read_bytes: vec![DeviceRate {
                path: "/dev/null".into(),
                rate: 1,
            }],
            ..BlockIo::default()
        };
        let error = block_io(&wanted).unwrap_err().to_string();
        assert!(error.contains("/dev/null is not a block device"), "{error}");
        assert_eq!(block_io(&BlockIo::default()).unwrap(), Default::default());
    }
}
