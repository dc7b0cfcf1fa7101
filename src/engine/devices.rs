//! Devices of the machine that a container is given: their numbers and permissions.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use orc_base::{Context, Error, Result};
use orc_host::container;
use orc_runtime::spec::{Device, DeviceKind};

/// Looks at the device nodes that a spec names.
pub(crate) fn found(wanted: &[container::Device]) -> Result<Vec<Device>> {
    wanted.iter().map(find).collect()
}

fn find(wanted: &container::Device) -> Result<Device> {
    let metadata = std::fs::metadata(&wanted.source)
        .context(|| format!("gather device information of {}", wanted.source))?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => DeviceKind::Char,
        kind if kind.is_block_device() => DeviceKind::Block,
        _ => {
            return Err(Error::invalid(format!(
                "{} is not a device node: name a character or block device",
                wanted.source
            )));
        }
    };
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
        for bad in ["/dev/nope", "/etc/passwd", "/dev"] {
            assert!(super::found(&[device(bad)]).is_err(), "{bad}");
        }
    }
}
