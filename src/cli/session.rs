//! What every command is given: the place of the daemon and, once somebody asks, the way to it.

use std::sync::Arc;

use orc_base::clock::{Clock, SystemClock};
use orc_base::{Result, Time};
use orc_host::Host;
use tokio::sync::OnceCell;

use crate::cli::connect;
use crate::cli::place::Place;

/// One run of the command line.
pub(crate) struct Session {
    /// Which daemon is meant.
    pub(crate) place: Place,
    host: OnceCell<Arc<dyn Host>>,
}

impl Session {
    /// Nothing is connected yet.
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            host: OnceCell::new(),
        }
    }

    /// The machine; the daemon is started when none answers.
    pub(crate) async fn host(&self) -> Result<Arc<dyn Host>> {
        let host = self.host.get_or_try_init(|| async {
            let client: Arc<dyn Host> = Arc::new(connect::connect(&self.place).await?);
            Ok(client)
        });
        host.await.map(Arc::clone)
    }

    /// The wall clock: for ages in tables and relative times in flags.
    pub(crate) fn now(&self) -> Time {
        SystemClock.now()
    }
}
