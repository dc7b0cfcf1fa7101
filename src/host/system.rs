//! Facts about one machine.

use serde::{Deserialize, Serialize};

/// What machine and which orc this is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Info {
    /// The host name.
    pub name: String,
    /// orc's version.
    pub version: String,
    /// The kernel's release, such as `6.18.0`.
    pub kernel: String,
    /// The distribution's own name for itself, from os-release(5).
    pub operating_system: String,
    /// Docker's word for the processor: `x86_64`, `aarch64`.
    pub architecture: String,
    /// How many processors are on line.
    pub cpus: usize,
    /// Main memory.
    pub memory_bytes: u64,
    /// Whether limits are set through cgroup version 1 or 2.
    pub cgroup_version: u8,
    /// Where images and volumes are kept.
    pub data_root: String,
    /// Containers by state.
    pub running: usize,
    /// Frozen containers.
    pub paused: usize,
    /// Containers that are neither running nor paused.
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// What this machine lacks and what follows from it, one sentence each.
    pub warnings: Vec<String>,
}
