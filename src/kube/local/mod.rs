//! The objects of a store in this process: [`Objects`] as the API server does it.
//!
//! Reads are in `read`, changes that are followed in `watch`; every write is first a plan (`plan`: pure
//! but for what it looks up), then one transaction of the store, made again when another came before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orc_base::Clock;
use orc_store::Store;

use crate::object::Object;
use crate::objects::{
    DeleteOptions, Deleted, List, ListOptions, Objects, Patch, Refused, Scope, Target, Watch,
    WatchOptions, Write, WriteOptions, Written,
};
use crate::status::{Result, Status};

/// What a cluster chooses once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The addresses of services: network and prefix length.
    pub service_network: (std::net::Ipv4Addr, u8),
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
            service_network: (std::net::Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: (30_000, 32_767),
            bookmarks: Duration::from_secs(60),
            patience: Duration::from_secs(3),
        }
    }
}

/// Objects in a store.
#[derive(Clone)]
pub struct LocalObjects {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl LocalObjects {
    /// On a store, which may be empty.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self {
            store,
            clock,
            settings,
        }
    }
}
