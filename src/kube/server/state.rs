//! What all requests share: the parts a server stands on, the limits on what lasts, and whether somebody may
//! still go on.

use std::sync::Arc;
use std::time::Duration;

use orc_base::{Clock, Kind, Time};
use tokio::sync::watch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::authenticator::{Authenticator, Credential};
use crate::auth::decision::Attributes;
use crate::auth::user::User;
use crate::objects::Objects;
use crate::server::accept::Form;
use crate::server::audit::{Line, Sink};
use crate::server::guard;
use crate::server::request::{Query, Resource};
use crate::server::streams::node::NodeStreams;
use crate::status::{Reason, Result, Status};

/// Logs, execs and port-forwards at once, at most.
const MAX_STREAMS: usize = 1000;
/// How often a stream's rights are asked again.
const RECHECK: Duration = Duration::from_secs(20);

/// What a server stands on.
pub struct Parts {
    /// The cluster's objects.
    pub objects: Arc<dyn Objects>,
    /// Who is who.
    pub authenticator: Authenticator,
    /// The way to what runs.
    pub node_streams: Arc<dyn NodeStreams>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the audit's lines go.
    pub audit: Sink,
    /// Whether the store can be written now: what `/readyz` says.
    pub ready: Box<dyn Fn() -> orc_base::Result<()> + Send + Sync>,
    /// Watches at once, at most; who comes then is told to come again.
    pub max_watches: usize,
}

/// A request that may be carried out.
pub(super) struct Call {
    pub(super) user: User,
    pub(super) credential: Credential,
    pub(super) wanted: Attributes,
    pub(super) resource: Resource,
    pub(super) verb: &'static str,
    pub(super) query: Query,
    pub(super) form: Form,
    pub(super) agent: String,
    pub(super) content_type: String,
    pub(super) now: Time,
}

/// The parts, and what is counted.
pub(super) struct State {
    parts: Parts,
    watches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl State {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            watches: Arc::new(Semaphore::new(parts.max_watches)),
            parts,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: watch::Sender::new(false),
        })
    }

    /// Ends all watches and streams.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) fn ready(&self) -> orc_base::Result<()> {
        (self.parts.ready)()
    }

    pub(super) fn audit(&self, line: &Line) {
        (self.parts.audit)(line);
    }

    /// Who shows this; 401 when it is not good.
    pub(super) async fn user(&self, credential: &Credential) -> Result<User> {
        let found = self.parts.authenticator.user(credential).await;
        found.map_err(|error| match error.kind() {
            // Why is for the log: strangers learn nothing.
            Kind::Denied => {
                tracing::info!(target: "audit", "401 {error}");
                Status::new(Reason::Unauthorized, "Unauthorized")
            }
            _ => error.into(),
        })
    }

    /// Whether the one who asks is still who they were and still may.
    pub(super) async fn is_still_allowed(&self, call: &Call) -> bool {
        match self.user(&call.credential).await {
            Ok(user) => {
                let checked = guard::check(self.objects(), &user, &call.wanted).await;
                !checked.is_err_and(|status| status.reason() == Reason::Forbidden)
            }
            // Only a clear no ends what was begun.
            Err(status) => status.reason() != Reason::Unauthorized,
        }
    }

    /// Ends when the one who asks may no longer, or the server stops.
    pub(super) async fn until_refused(&self, call: &Call) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RECHECK) => {}
                () = self.stopped() => return,
            }
            if !self.is_still_allowed(call).await {
                return;
            }
        }
    }

    /// Ends when the server stops.
    pub(super) async fn stopped(&self) {
        // The sender is a part of this service: it cannot be gone.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }

    pub(super) fn watch_permit(&self) -> Result<OwnedSemaphorePermit> {
        permit(&self.watches, "watches")
    }

    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit> {
        permit(&self.streams, "streams")
    }

    pub(super) fn objects(&self) -> &dyn Objects {
        &*self.parts.objects
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.parts.authenticator
    }

    pub(super) fn node_streams(&self) -> Arc<dyn NodeStreams> {
        self.parts.node_streams.clone()
    }

    pub(super) fn now(&self) -> Time {
        self.parts.clock.now()
    }
}

fn permit(of: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit> {
    of.clone().try_acquire_owned().map_err(|_| {
        let text = format!("too many {what} at once, please try again later");
        Status::new(Reason::TooManyRequests, text).retry_after(1)
    })
}
