//! Networks, volumes, secrets and configs of a project.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A network of the project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Its name on the machine.
    pub name: String,
    /// It is there before and after the project.
    pub external: bool,
    /// `bridge`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Nothing goes in or out.
    pub internal: bool,
    /// Others may join.
    pub attachable: bool,
    /// Asked for IPv6.
    pub enable_ipv6: bool,
    /// Asked for no IPv4.
    pub enable_ipv4: Option<bool>,
    /// The address plan.
    pub ipam: Option<Ipam>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Digest of all that the file says about it.
    #[serde(skip)]
    pub hash: String,
}

/// `networks.*.ipam`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Ipam {
    /// `default`.
    pub driver: Option<String>,
    /// Ranges.
    pub config: Vec<IpamPool>,
}

/// One range of an address plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct IpamPool {
    /// CIDR.
    pub subnet: Option<String>,
    /// CIDR within.
    pub ip_range: Option<String>,
    /// The machine's address.
    pub gateway: Option<String>,
    /// Addresses that are taken.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A volume of the project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name on the machine.
    pub name: String,
    /// It is there before and after the project.
    pub external: bool,
    /// `local`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Digest of all that the file says about it.
    #[serde(skip)]
    pub hash: String,
}

/// Where the content of a secret or config comes from: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct FileSource {
    /// A file of the machine.
    pub file: Option<PathBuf>,
    /// A variable of the project.
    pub environment: Option<String>,
    /// The content itself.
    pub content: Option<String>,
    /// It is kept elsewhere.
    pub external: bool,
    /// Its name there.
    pub name: Option<String>,
}
