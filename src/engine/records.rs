//! What the engine remembers on disk, as plain data.
//!
//! A container has two records: `container.json` says what was asked for and is synced when it
//! changes; `state.json` says where it is in its life and need not outlive the machine's power,
//! because a boot makes it meaningless anyway. Each carries a format version; a newer one is refused
//! rather than misread.

use orc_base::{Error, Id, Name, Result, Time};
use orc_host::container::{ContainerSpec, Health, Mount};
use orc_host::network::{EndpointSpec, NetworkSpec};
use orc_host::volume::Volume;
use orc_net::model::{Network, Sandbox};
use serde::{Deserialize, Serialize};

use crate::effective::Effective;
use crate::lifecycle::{Life, Rules};

/// The format that this version writes.
pub(crate) const FORMAT: u32 = 1;

/// What a container is: changed by rename, update, connect and disconnect only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// When it was made.
    pub created: Time,
    /// What was asked for, as it was asked for.
    pub spec: ContainerSpec,
    /// `sha256:…` of the image.
    pub image_id: String,
    /// The spec put over the image.
    pub effective: Effective,
    /// What is mounted: volumes have names, parents come before what is below them.
    pub mounts: Vec<Mount>,
    /// The anonymous volumes that were made for it.
    pub anonymous: Vec<String>,
    /// Files that are put into its memory.
    #[serde(default)]
    pub files: Vec<GivenRecord>,
    /// The networks it joins.
    pub places: Vec<Place>,
}

impl ContainerRecord {
    /// What its spec says about its ends.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            restart: self.spec.restart,
            pace: self.spec.restart_pace,
            auto_remove: self.spec.auto_remove,
        }
    }
}

/// A file that is put into a container's memory; what is in it is in no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivenRecord {
    /// Where it appears.
    pub target: String,
    /// The machine's file that it is a copy of; none: its content is kept beside the record.
    pub source: Option<std::path::PathBuf>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// A network that a container joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The network as it was when the container was made or connected.
    pub network: Id,
    /// Its name then.
    pub network_name: String,
    /// What was asked for.
    pub spec: EndpointSpec,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The boot of the machine that this is about; kernel objects of another one are gone.
    pub boot: String,
    /// Where it is.
    pub life: Life,
    /// Its places on networks, while it runs.
    pub sandbox: Option<Sandbox>,
    /// What the probes found, while it runs and has some.
    pub health: Option<Health>,
}

impl StateRecord {
    /// A container that was just made.
    pub(crate) fn new(boot: &str) -> Self {
        Self {
            format: FORMAT,
            boot: boot.into(),
            life: Life::new(),
            sandbox: None,
            health: None,
        }
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was made.
    pub created: Time,
    /// What was asked for.
    pub spec: NetworkSpec,
    /// What it became.
    pub network: Network,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// All that is known of it; the data are beside the record.
    pub volume: Volume,
}

/// Refuses what a newer orc wrote.
pub(crate) fn check_format(format: u32) -> Result<()> {
    match format {
        FORMAT => Ok(()),
        other => Err(Error::unsupported(format!(
            "the record has format {other} and this orc knows format {FORMAT}: use the orc that wrote it"
        ))),
    }
}
