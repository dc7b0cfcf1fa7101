//! Keeps blobs from being collected between two requests of a push.
//!
//! A push is many requests: blobs first, each found here or sent, and the manifest that needs them
//! last. Nothing says which requests belong together, or that a client gave up. So every request of a
//! push renews one lease for all, and while it runs nothing is collected; what nobody needs when it
//! ends is garbage like any other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Ingest, Store};

/// How long after its last request a push is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The lease.
pub(super) struct Lease {
    store: Store,
    held: Mutex<Option<(Ingest, Instant)>>,
}

impl Lease {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            held: Mutex::new(None),
        }
    }

    /// From now on nothing goes away that is here, until [`PATIENCE`] after the last call.
    pub(super) fn renew(&self, now: Instant) -> Ingest {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (ingest, until) = held.get_or_insert_with(|| (self.store.begin(), now));
        *until = now + PATIENCE;
        ingest.clone()
    }

    /// Ends the lease when its time is over.
    pub(super) async fn expire(&self, now: Instant) {
        let over = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.take_if(|(_, until)| *until <= now)
        };
        if let Some((ingest, _)) = over {
            // Removing what is left may take its time.
            let _ = tokio::task::spawn_blocking(move || drop(ingest)).await;
        }
    }
}
