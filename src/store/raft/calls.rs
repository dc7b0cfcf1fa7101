//! Asking another member, with a limit of time.

use std::sync::Arc;
use std::time::Duration;

use orc_base::{Error, Result};

use crate::raft::message::{Answer, Envelope, Request, decode, encode};
use crate::raft::options::ClusterId;
use crate::transport::{Peer, Transport};

/// Sends requests and reads answers.
#[derive(Clone)]
pub(crate) struct Calls {
    transport: Arc<dyn Transport>,
    cluster: ClusterId,
}

impl Calls {
    pub(crate) fn new(transport: Arc<dyn Transport>, cluster: ClusterId) -> Self {
        Self { transport, cluster }
    }

    /// Asks and waits. `Unavailable` when the request surely did not arrive, `Timeout` when that is not
    /// known; else what the other side says.
    pub(crate) async fn ask(&self, to: &Peer, request: Request, time: Duration) -> Result<Answer> {
        let message = encode(&Envelope {
            cluster: self.cluster.0,
            to: to.node,
            request,
        })?;
        let answer = tokio::time::timeout(time, self.transport.call(to, message)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(Error::timeout(format!(
                "no answer from node {} within {} ms",
                to.node,
                time.as_millis()
            )))
        })?;
        match decode(&answer)? {
            Answer::Failed { kind, text } => Err(kind.error(text)),
            answer => Ok(answer),
        }
    }
}

/// The answer was to another question.
pub(crate) fn unexpected() -> Error {
    Error::unsupported("the other side answered something else than was asked")
}
