//! From a process to its peers: networks, addresses, published ports and names.
//!
//! Alone knows netlink, nftables and DNS messages; calls no other program. The engine asks
//! [`Net`] and keeps what it answers ([`model`]); after a restart it hands all of that back.
//!
//! ```text
//! net      the face            runner    carries plans out, on one thread (worker)
//! model    wishes and records  registry  plans, with ipam
//! driver   the seam            bridge    its implementer, with reaper
//! rules    model → ruleset     nft       ruleset → kernel, with watch
//! dns      names               port      host ports, with port_owner
//! route    links, addresses    conntrack UDP conversations
//! netns    namespaces          netlink   under route, nft and conntrack
//! relay    published ports that rules cannot lead
//! overlay  the way to other nodes   services  addresses that stand for endpoints
//! ```

pub mod address;
pub mod model;
pub mod overlay;
pub mod resolv;
pub mod services;

mod bridge;
mod conntrack;
mod dns;
mod driver;
mod ipam;
mod net;
mod netlink;
mod netns;
mod nft;
mod port;
mod port_owner;
mod reaper;
mod registry;
mod relay;
mod route;
mod rules;
mod ruleset;
mod runner;
mod watch;
mod worker;

#[cfg(test)]
mod tests;

pub use crate::dns::cluster::{ClusterNames, HostName, PortName, ServiceName};
pub use crate::net::{Config, Net};
