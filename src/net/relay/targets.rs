//! Where a container is: the addresses that its relays lead to.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

/// The addresses of a container, tried in this order.
#[derive(Debug, Default)]
pub(super) struct Targets(RwLock<Vec<IpAddr>>);

impl Targets {
    pub(super) fn list(&self) -> Vec<IpAddr> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set(&self, targets: Vec<IpAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = targets;
    }
}
