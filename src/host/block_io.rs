//! What a container may ask of the machine's block devices (`blkio_config`).
//!
//! Rates are what the kernel throttles to, per device; weights are shares among those who compete.

use serde::{Deserialize, Serialize};

/// Limits on block devices; empty is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// Its weight against others on every device, 10 to 1000; 500 is usual.
    pub weight: Option<u16>,
    /// Its weight on one device.
    pub device_weights: Vec<DeviceWeight>,
    /// Bytes read in a second.
    pub read_bytes: Vec<DeviceRate>,
    /// Bytes written in a second.
    pub write_bytes: Vec<DeviceRate>,
    /// Reads in a second.
    pub read_operations: Vec<DeviceRate>,
    /// Writes in a second.
    pub write_operations: Vec<DeviceRate>,
}

/// A weight on one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceWeight {
    /// The device's node on the machine, `/dev/sda`.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate on one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRate {
    /// The device's node on the machine, `/dev/sda`.
    pub path: String,
    /// In a second.
    pub rate: u64,
}
