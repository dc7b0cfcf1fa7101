//! Where the daemon is: the flags before the command, and the environment.

use std::path::{Path, PathBuf};

use clap::Args;
use orc_base::dirs::{DATA_ROOT, Dirs, RUN_ROOT};
use orc_base::{Context, Error, Result};

/// What says which daemon is meant. Several can live side by side under different roots.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// Where images, volumes and containers are kept
    #[arg(
        long,
        env = "ORC_DATA_ROOT",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) data_root: Option<PathBuf>,
    /// Where sockets and namespaces are kept until the machine stops
    #[arg(long, env = "ORC_RUN_ROOT", value_name = "DIR", hide_env_values = true)]
    pub(crate) run_root: Option<PathBuf>,
    /// The daemon's socket, unix://PATH [default: orc.sock in the run root]
    #[arg(
        short = 'H',
        long,
        env = "ORC_HOST",
        value_name = "SOCKET",
        hide_env_values = true
    )]
    pub(crate) host: Option<String>,
    /// Below which cgroup containers run
    #[arg(
        long,
        env = "ORC_CGROUP_PARENT",
        value_name = "PATH",
        hide_env_values = true
    )]
    pub(crate) cgroup_parent: Option<String>,
    /// A registry the daemon speaks to without TLS, HOST:PORT
    #[arg(
        long,
        env = "ORC_INSECURE_REGISTRIES",
        value_delimiter = ',',
        value_name = "HOST",
        hide_env_values = true
    )]
    pub(crate) insecure_registry: Vec<String>,
    /// What the daemon knows of registries: mirrors, certificates, helpers [default:
    /// /etc/orc/registries.json when there is one]
    #[arg(
        long,
        env = "ORC_REGISTRIES",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) registries: Option<PathBuf>,
    /// How much builds may keep to use again; 0 for no limit [default: a tenth of the disk, at least
    /// 2 GiB]
    #[arg(
        long,
        env = "ORC_BUILD_CACHE_LIMIT",
        value_name = "BYTES",
        value_parser = orc_base::units::parse_bytes,
        hide_env_values = true
    )]
    pub(crate) build_cache_limit: Option<u64>,
    /// Log more; the same as --log-level debug
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// What the daemon logs: error, warn, info, debug or trace
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

/// The cgroup of a daemon that was given none.
const CGROUP_PARENT: &str = "/orc";

impl Place {
    /// This one, and where it says nothing, the other.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            data_root: self.data_root.or(other.data_root),
            run_root: self.run_root.or(other.run_root),
            host: self.host.or(other.host),
            cgroup_parent: self.cgroup_parent.or(other.cgroup_parent),
            insecure_registry: match self.insecure_registry.is_empty() {
                true => other.insecure_registry,
                false => self.insecure_registry,
            },
            registries: self.registries.or(other.registries),
            build_cache_limit: self.build_cache_limit.or(other.build_cache_limit),
            debug: self.debug || other.debug,
            log_level: self.log_level.or(other.log_level),
        }
    }

    /// Both roots, absolute: the daemon works elsewhere.
    pub(crate) fn dirs(&self) -> Result<Dirs> {
        let absolute = |path: &Option<PathBuf>, default: &str| {
            let path = path.as_deref().unwrap_or(Path::new(default));
            std::path::absolute(path).context(|| format!("use the root {}", path.display()))
        };
        Ok(Dirs::new(
            absolute(&self.data_root, DATA_ROOT)?,
            absolute(&self.run_root, RUN_ROOT)?,
        ))
    }

    /// The socket of the daemon.
    pub(crate) fn socket(&self) -> Result<PathBuf> {
        let Some(host) = self.host.as_deref().filter(|host| !host.is_empty()) else {
            return Ok(self.dirs()?.socket());
        };
        match host.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(path.into()),
            _ => Err(Error::unsupported(format!(
                "`--host {host}` is not supported: use unix:// and an absolute path"
            ))),
        }
    }

    /// Below which cgroup containers run; begins with a slash.
    pub(crate) fn cgroup_parent(&self) -> Result<String> {
        let parent = self
            .cgroup_parent
            .as_deref()
            .filter(|parent| !parent.is_empty());
        let parent = format!("/{}", parent.unwrap_or(CGROUP_PARENT).trim_matches('/'));
        match parent.split('/').any(|part| part == "..") || parent == "/" {
            true => Err(Error::invalid(format!(
                "`--cgroup-parent {parent}`: use a path below the root such as /orc"
            ))),
            false => Ok(parent),
        }
    }

    /// The file about registries, absolute: the daemon works elsewhere.
    pub(crate) fn registries(&self) -> Result<Option<PathBuf>> {
        let named = self.registries.as_deref();
        named
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| std::path::absolute(path).context(|| format!("use {}", path.display())))
            .transpose()
    }

    /// What is logged.
    pub(crate) fn log_level(&self) -> Result<&str> {
        const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
        match self.log_level.as_deref() {
            Some(level) if LEVELS.contains(&level) => Ok(level),
            Some(level) => Err(Error::invalid(format!(
                "`--log-level {level}`: use one of {}",
                LEVELS.join(", ")
            ))),
            None if self.debug => Ok("debug"),
            None => Ok("info"),
        }
    }

    /// The arguments that lead another process of this binary to the same place.
    pub(crate) fn arguments(&self) -> Result<Vec<std::ffi::OsString>> {
        let dirs = self.dirs()?;
        let mut arguments = vec![
            "--data-root".into(),
            dirs.data().into(),
            "--run-root".into(),
            dirs.run().into(),
        ];
        if let Some(host) = &self.host {
            arguments.extend(["--host".into(), host.into()]);
        }
        arguments.extend(["--cgroup-parent".into(), self.cgroup_parent()?.into()]);
        for registry in &self.insecure_registry {
            arguments.extend(["--insecure-registry".into(), registry.into()]);
        }
        if let Some(registries) = self.registries()? {
            arguments.extend(["--registries".into(), registries.into()]);
        }
        if let Some(bytes) = self.build_cache_limit {
            arguments.extend(["--build-cache-limit".into(), bytes.to_string().into()]);
        }
        arguments.extend(["--log-level".into(), self.log_level()?.into()]);
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_roots() {
        let place = Place {
            run_root: Some("/tmp/run".into()),
            ..Place::default()
        };
        assert_eq!(place.socket().unwrap(), Path::new("/tmp/run/orc.sock"));
        let host = |host: &str| Place {
            host: Some(host.into()),
            ..Place::default()
        };
        assert_eq!(
            host("unix:///x.sock").socket().unwrap(),
            Path::new("/x.sock")
        );
        for bad in ["tcp://127.0.0.1:2375", "x.sock", "unix://x.sock"] {
            assert!(host(bad).socket().is_err(), "{bad}");
        }
    }

    #[test]
    fn cgroups_and_levels() {
        let parent = |parent: &str| Place {
            cgroup_parent: Some(parent.into()),
            ..Place::default()
        };
        assert_eq!(Place::default().cgroup_parent().unwrap(), "/orc");
        assert_eq!(parent("a/b/").cgroup_parent().unwrap(), "/a/b");
        assert!(parent("/").cgroup_parent().is_err());
        assert!(parent("/a/../..").cgroup_parent().is_err());
        let mut place = Place::default();
        assert_eq!(place.log_level().unwrap(), "info");
        place.log_level = Some("loud".into());
        assert!(place.log_level().is_err());
    }
}
