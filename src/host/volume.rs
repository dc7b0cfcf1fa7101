//! Data that outlives containers.

use std::collections::BTreeMap;

use orc_base::Time;
use serde::{Deserialize, Serialize};

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its name; a random one when empty, which makes the volume anonymous.
    pub name: String,
    /// `local`, or empty for it.
    pub driver: String,
    /// Options of the driver: `type`, `o`, `device` of mount(8) for `local`.
    pub options: BTreeMap<String, String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
}

/// A volume that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Always `local` today.
    pub driver: String,
    /// What it was made with.
    pub options: BTreeMap<String, String>,
    /// What it was made with.
    pub labels: BTreeMap<String, String>,
    /// The directory of the machine that holds the data.
    pub mountpoint: String,
    /// When it was made.
    pub created: Time,
    /// Made for one container without a name; removed with it when asked.
    pub anonymous: bool,
}
