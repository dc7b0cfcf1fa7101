//! Where orc keeps things on one machine.
//!
//! Two roots, so that several daemons can live side by side: the *data root* survives a reboot, the
//! *run root* does not. All places are named here and nowhere else.

use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::id::Id;

/// The data root of a daemon that was given none.
pub const DATA_ROOT: &str = "/var/lib/orc";
/// The run root of a daemon that was given none.
pub const RUN_ROOT: &str = "/run/orc";

/// The places of one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    data: PathBuf,
    run: PathBuf,
}

impl Dirs {
    /// Both roots should be absolute: they are kept as given.
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            run: run.into(),
        }
    }

    /// Makes both roots with mode 0700 and 0711: what layers and volumes hold is not for other users
    /// of the machine, and they list nothing, while the socket in the run root guards itself.
    pub fn create(&self) -> Result<()> {
        crate::fs::create_dir_all(&self.data, 0o700)
            .context(|| format!("make the data root {}", self.data.display()))?;
        crate::fs::create_dir_all(&self.run, 0o711)
            .context(|| format!("make the run root {}", self.run.display()))
    }

    /// What survives a reboot.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What does not survive a reboot.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Blobs, layers, snapshots and tags.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Records and logs of all containers.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// Record, log and generated files of one container.
    pub fn container(&self, id: &Id) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// Records of networks.
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// Records and contents of volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// What is only true while a container runs: its monitor's socket and its exit status.
    pub fn run_container(&self, id: &Id) -> PathBuf {
        self.run.join("containers").join(id.as_str())
    }

    /// Where the namespaces of sandboxes are pinned by bind mounts.
    pub fn namespaces(&self) -> PathBuf {
        self.run.join("ns")
    }

    /// The socket of the Docker Engine API.
    pub fn socket(&self) -> PathBuf {
        self.run.join("orc.sock")
    }

    /// The file that the running daemon holds locked.
    pub fn lock(&self) -> PathBuf {
        self.run.join("orc.lock")
    }

    /// Where a daemon that the command line started writes its log.
    pub fn daemon_log(&self) -> PathBuf {
        self.data.join("daemon.log")
    }
}

impl Default for Dirs {
    fn default() -> Self {
        Self::new(DATA_ROOT, RUN_ROOT)
    }
}
