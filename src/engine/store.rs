//! Records on disk: where they are, and how they are read and replaced.
//!
//! Knows files, not meanings. A container's directory is whole when it has a `container.json`; what
//! is without one was never acknowledged and is removed by `recover.rs`.

use std::path::{Path, PathBuf};

use orc_base::dirs::Dirs;
use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Id, Kind, Result};
use serde::de::DeserializeOwned;

use crate::records::{ContainerRecord, NetworkRecord, StateRecord, VolumeRecord, check_format};

/// The most bytes of a record.
const MAX_RECORD: u64 = 16 << 20;

/// The records below one daemon's roots.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    dirs: Dirs,
}

impl Store {
    /// Makes the directories that hold records.
    pub(crate) fn open(dirs: &Dirs) -> Result<Self> {
        dirs.create()?;
        for directory in [dirs.containers(), dirs.networks(), dirs.volumes()] {
            fs::create_dir_all(&directory, 0o700)
                .context(|| format!("make {}", directory.display()))?;
        }
        fs::create_dir_all(&dirs.run().join("containers"), 0o700)?;
        fs::remove_leftovers(&dirs.networks())?;
        Ok(Self { dirs: dirs.clone() })
    }

    /// The directories of this daemon.
    pub(crate) fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    /// Writes what a container is, synced.
    pub(crate) fn save_container(&self, record: &ContainerRecord) -> Result<()> {
        let path = self.container_file(&record.id);
        fs::write_json(&path, record, Durability::Synced)
    }

    /// Writes the names of the volumes that a creation makes, before it makes them.
    pub(crate) fn save_intent(&self, id: &Id, volumes: &[String]) -> Result<()> {
        let path = self.intent_file(id);
        fs::write_json(&path, &volumes, Durability::Process)
    }

    /// The names of the volumes that a creation made or was about to make.
    pub(crate) fn load_intent(&self, id: &Id) -> Result<Vec<String>> {
        match fs::read_json(&self.intent_file(id), MAX_RECORD) {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Writes where a container is in its life.
    pub(crate) fn save_state(
        &self,
        id: &Id,
        state: &StateRecord,
        durability: Durability,
    ) -> Result<()> {
        fs::write_json(&self.state_file(id), state, durability)
    }

    /// What a container is.
    pub(crate) fn load_container(&self, id: &Id) -> Result<ContainerRecord> {
        let record: ContainerRecord = fs::read_json(&self.container_file(id), MAX_RECORD)?;
        check_format(record.format).context(|| format!("container {}", id.short()))?;
        Ok(record)
    }

    /// Where a container is in its life; `None` when nothing was written, or the machine's power went
    /// before it reached the disk.
    pub(crate) fn load_state(&self, id: &Id) -> Result<Option<StateRecord>> {
        let record: StateRecord = match fs::read_json(&self.state_file(id), MAX_RECORD) {
            Ok(record) => record,
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        check_format(record.format).context(|| format!("container {}", id.short()))?;
        Ok(Some(record))
    }

    /// What is wrong with the records of a container on disk.
    pub(crate) fn container_problem(&self, id: &Id) -> Option<(PathBuf, Error)> {
        let record = self.load_container(id).err();
        if let Some(error) = record {
            return Some((self.container_file(id), error));
        }
        let state = fs::read_json::<StateRecord>(&self.state_file(id), MAX_RECORD);
        match state {
            Err(error) if error.kind() != Kind::NotFound => Some((self.state_file(id), error)),
            _ => None,
        }
    }

    /// What is wrong with the records of networks and volumes on disk.
    pub(crate) fn other_problems(&self) -> Result<Vec<(PathBuf, Error)>> {
        let mut problems = Vec::new();
        for path in fs::list(&self.dirs.networks())? {
            let record = fs::read_json::<NetworkRecord>(&path, MAX_RECORD);
            problems.extend(record.err().map(|error| (path, error)));
        }
        for directory in fs::list(&self.dirs.volumes())? {
            let path = directory.join("volume.json");
            match fs::read_json::<VolumeRecord>(&path, MAX_RECORD) {
                // One that is being made, or removed.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => problems.push((path, error)),
                Ok(_) => {}
            }
        }
        Ok(problems)
    }

    /// Takes a container's directory away under a name that is no container's, in one step. The new
    /// path, for its removal; `None` when it was gone already.
    pub(crate) fn hide_container(&self, id: &Id) -> Result<Option<PathBuf>> {
        let gone = self.dirs.containers().join(format!(".gone-{id}"));
        match std::fs::rename(self.dirs.container(id), &gone) {
            Ok(()) => Ok(Some(gone)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("remove container {}", id.short())),
        }
    }

    /// The ids of all directories of containers, whole or not, and paths that are none.
    pub(crate) fn containers(&self) -> Result<(Vec<Id>, Vec<PathBuf>)> {
        Ok(ids(fs::list(&self.dirs.containers())?))
    }

    /// The ids below the run root.
    pub(crate) fn run_containers(&self) -> Result<(Vec<Id>, Vec<PathBuf>)> {
        Ok(ids(fs::list(&self.dirs.run().join("containers"))?))
    }

    /// Whether a container's directory was acknowledged.
    pub(crate) fn is_whole(&self, id: &Id) -> bool {
        self.container_file(id).exists()
    }

    /// The log of a container.
    pub(crate) fn log(&self, id: &Id) -> PathBuf {
        self.log_dir(id).join("log")
    }

    /// The directory that only holds the log of a container and its rotated files.
    pub(crate) fn log_dir(&self, id: &Id) -> PathBuf {
        self.dirs.container(id).join("logs")
    }

    /// A file of a container that is mounted into it.
    pub(crate) fn generated(&self, id: &Id, name: &str) -> PathBuf {
        self.dirs.container(id).join(name)
    }

    /// Writes a network, synced.
    pub(crate) fn save_network(&self, record: &NetworkRecord) -> Result<()> {
        let path = self.network_file(&record.network.id);
        fs::write_json(&path, record, Durability::Synced)
    }

    /// Forgets a network.
    pub(crate) fn remove_network(&self, id: &Id) -> Result<()> {
        fs::remove_file(&self.network_file(id))
    }

    /// All networks.
    pub(crate) fn networks(&self) -> Result<Vec<NetworkRecord>> {
        Ok(load_all(
            &fs::list(&self.dirs.networks())?,
            |record: &NetworkRecord| record.format,
        ))
    }

    /// Writes a volume, synced.
    pub(crate) fn save_volume(&self, record: &VolumeRecord) -> Result<()> {
        let path = self.volume_file(&record.volume.name);
        fs::write_json(&path, record, Durability::Synced)
    }

    /// The directory of a volume with its record and its data; `name` is a checked name.
    pub(crate) fn volume_dir(&self, name: &str) -> PathBuf {
        self.dirs.volumes().join(name)
    }

    /// The data of a volume.
    pub(crate) fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_dir(name).join("_data")
    }

    /// All volumes, and directories that have no record.
    pub(crate) fn volumes(&self) -> Result<(Vec<VolumeRecord>, Vec<PathBuf>)> {
        let (whole, rest): (Vec<PathBuf>, Vec<PathBuf>) = fs::list(&self.dirs.volumes())?
            .into_iter()
            .partition(|path| path.join("volume.json").exists());
        for directory in &whole {
            fs::remove_leftovers(directory)?;
        }
        let files: Vec<PathBuf> = whole
            .into_iter()
            .map(|path| path.join("volume.json"))
            .collect();
        Ok((
            load_all(&files, |record: &VolumeRecord| record.format),
            rest,
        ))
    }

    fn container_file(&self, id: &Id) -> PathBuf {
        self.dirs.container(id).join("container.json")
    }

    fn intent_file(&self, id: &Id) -> PathBuf {
        self.dirs.container(id).join("volumes.json")
    }

    fn state_file(&self, id: &Id) -> PathBuf {
        self.dirs.container(id).join("state.json")
    }

    /// The record of a network.
    pub(crate) fn network_file(&self, id: &Id) -> PathBuf {
        self.dirs.networks().join(format!("{id}.json"))
    }

    /// The record of a volume.
    pub(crate) fn volume_file(&self, name: &str) -> PathBuf {
        self.volume_dir(name).join("volume.json")
    }
}

fn ids(paths: Vec<PathBuf>) -> (Vec<Id>, Vec<PathBuf>) {
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    for path in paths {
        match id_of(&path) {
            Some(id) => ids.push(id),
            None => others.push(path),
        }
    }
    (ids, others)
}

fn id_of(path: &Path) -> Option<Id> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Loads what can be loaded. A record that cannot is said in the log and left where it is: the others
/// must not suffer for it.
fn load_all<T: DeserializeOwned>(files: &[PathBuf], format: impl Fn(&T) -> u32) -> Vec<T> {
    let load = |path: &PathBuf| -> Result<T> {
        let record = fs::read_json(path, MAX_RECORD)?;
        check_format(format(&record)).context(|| path.display().to_string())?;
        Ok(record)
    };
    files
        .iter()
        .filter_map(|path| load(path).map_err(|error| tracing::error!("{error}")).ok())
        .collect()
}
