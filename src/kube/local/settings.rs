//! What a cluster chooses once, before its first object.

use std::net::Ipv4Addr;
use std::time::Duration;

/// What a cluster chooses once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The addresses of services: network and prefix length.
    pub service_network: (Ipv4Addr, u8),
    /// The ports of services on nodes, first and last.
    pub node_ports: (u16, u16),
    /// How often a watch that asked for bookmarks gets one, when nothing else happens to it.
    pub bookmarks: Duration,
    /// How long a read waits for a version that is not there yet.
    pub patience: Duration,
}

impl Default for Settings {
    /// `10.96.0.0/16` and 30000–32767, a bookmark a minute.
    fn default() -> Self {
        Self {
            service_network: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: (30_000, 32_767),
            bookmarks: Duration::from_secs(60),
            patience: Duration::from_secs(3),
        }
    }
}

impl Settings {
    /// The first address of the services' network: that of the API itself.
    pub fn first_address(&self) -> Ipv4Addr {
        let (network, bits) = self.service_network;
        let mask = u32::MAX
            .checked_shl(32 - u32::from(bits.min(30)))
            .unwrap_or_default();
        Ipv4Addr::from_bits((network.to_bits() & mask) + 1)
    }
}
