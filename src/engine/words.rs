//! Options that come as words, read: of logs, of mounts, of tmpfs.
//!
//! Pure. A word that is not known is refused by name.

use orc_base::{Error, Result};
use orc_host::container::ContainerSpec;
use orc_runtime::spec::Propagation;

/// The size at which a log file is rotated, and how many there are.
pub(crate) fn log_size(spec: &ContainerSpec) -> Result<(u64, u32)> {
    let (mut bytes, mut files) = (10 << 20, 3);
    for (key, value) in &spec.log.options {
        match key.as_str() {
            "max-size" => bytes = orc_base::units::parse_bytes(value)?.max(4096),
            "max-file" => {
                files = value
                    .parse()
                    .ok()
                    .filter(|files| (1..=orc_runtime::log::MAX_FILES).contains(files))
                    .ok_or_else(|| {
                        Error::invalid(format!(
                            "log option max-file={}: use 1 to {}",
                            value.escape_default(),
                            orc_runtime::log::MAX_FILES
                        ))
                    })?;
            }
            // How the files are written is orc's own business; these cannot change what is read.
            "compress" | "mode" | "max-buffer-size" => {}
            _ => {
                return Err(Error::unsupported(format!(
                    "log option `{}` is not supported: use max-size and max-file",
                    key.escape_default()
                )));
            }
        }
    }
    Ok((bytes, files))
}

/// Docker's words for mount propagation; the recursive ones are what is meant by both.
pub(crate) fn propagation_of(word: Option<&str>) -> Result<Propagation> {
    match word.unwrap_or_default() {
        "" | "rprivate" | "private" => Ok(Propagation::Private),
        "rslave" | "slave" => Ok(Propagation::Slave),
        "rshared" | "shared" => Ok(Propagation::Shared),
        other => Err(Error::invalid(format!(
            "mount propagation `{}`: use private, slave or shared, or one of these with an r before",
            other.escape_default()
        ))),
    }
}

/// Options of a tmpfs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TmpfsOptions {
    /// `size=`.
    pub size_bytes: Option<u64>,
    /// `mode=`.
    pub mode: Option<u32>,
    /// `uid=`.
    pub uid: Option<u32>,
    /// `gid=`.
    pub gid: Option<u32>,
    /// `ro`.
    pub read_only: bool,
    /// `exec`.
    pub exec: bool,
}

/// Reads the options of a tmpfs mount; each may hold several, with commas between.
pub(crate) fn tmpfs_options(options: &[String]) -> Result<TmpfsOptions> {
    let mut read = TmpfsOptions::default();
    let refuse = |option: &str| {
        Error::unsupported(format!(
            "tmpfs option `{}` is not supported: use size, mode, uid, gid, ro, rw, exec and noexec",
            option.escape_default()
        ))
    };
    for option in options.iter().flat_map(|options| options.split(',')) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "size" => read.size_bytes = Some(orc_base::units::parse_bytes(value)?),
            "mode" => {
                read.mode = Some(u32::from_str_radix(value, 8).map_err(|_| refuse(option))?);
            }
            "uid" => read.uid = Some(value.parse().map_err(|_| refuse(option))?),
            "gid" => read.gid = Some(value.parse().map_err(|_| refuse(option))?),
            "ro" => read.read_only = true,
            "rw" => read.read_only = false,
            "exec" => read.exec = true,
            "noexec" => read.exec = false,
            // They are always so.
            "" | "nosuid" | "nodev" => {}
            _ => return Err(refuse(option)),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn reads_options() {
        let read = tmpfs_options(&["size=64m,mode=0755,noexec".into(), "ro,uid=5".into()]);
        assert_eq!(
            read.unwrap(),
            TmpfsOptions {
                size_bytes: Some(64 << 20),
                mode: Some(0o755),
                uid: Some(5),
                gid: None,
                read_only: true,
                exec: false
            }
        );
        let mut spec = ContainerSpec::default();
        assert_eq!(log_size(&spec).unwrap(), (10 << 20, 3));
        spec.log.options = BTreeMap::from([
            ("max-size".into(), "1m".into()),
            ("max-file".into(), "5".into()),
        ]);
        assert_eq!(log_size(&spec).unwrap(), (1 << 20, 5));
        spec.log.options.insert("max-file".into(), "0".into());
        assert!(log_size(&spec).is_err());
    }
}
