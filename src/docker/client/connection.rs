//! Connections to the daemon: a few idle ones are kept, as a new one costs more than a request.
//!
//! A kept connection may have been closed by the daemon in the meantime. hyper hands a request back
//! that was not sent, and it is sent again on a new one; a request that was sent never is.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use orc_base::{Context, Error, Kind, Result};
use tokio::net::UnixStream;

use crate::body::Body;

/// How many idle connections are kept.
const MAX_IDLE: usize = 4;
/// The longest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// The way to one daemon.
pub(crate) struct Connections {
    socket: PathBuf,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl Connections {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            idle: Mutex::default(),
        }
    }

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(&self, request: Request<Body>) -> Result<Response<Bytes>> {
        let (response, sender) = self.send(request).await?;
        let (parts, body) = response.into_parts();
        let body = whole(body).await?;
        self.keep(sender);
        Ok(Response::from_parts(parts, body))
    }

    /// Sends a request whose answer is read as it comes; its connection is not used again.
    pub(crate) async fn open(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        self.send(request).await.map(|(response, _)| response)
    }

    async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, SendRequest<Body>)> {
        let mut request = request;
        while let Some(mut sender) = self.take() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(&error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))?;
        Ok((response, sender))
    }

    async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the daemon ended badly");
            }
        });
        Ok(sender)
    }

    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }

    /// No daemon, or no right to speak to it: callers start one or give up.
    fn unreachable(&self, error: std::io::Error) -> Error {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Kind::Denied,
            _ => Kind::Unavailable,
        };
        Error::from(error).with_kind(kind).within(format!(
            "connect to the orc daemon at {}",
            self.socket.display()
        ))
    }

    /// What hyper says; where a stream of ours broke off a request, what that says.
    fn broken(&self, error: &hyper::Error) -> Error {
        let own =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
        match own {
            Some(error) => error.clone(),
            None => Error::unavailable(error.to_string()).within(format!(
                "talk to the orc daemon at {}",
                self.socket.display()
            )),
        }
    }
}

/// Reads a body of bounded size.
pub(crate) async fn whole(body: Incoming) -> Result<Bytes> {
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    body.map(|body| body.to_bytes())
        .map_err(|error| Error::unavailable(error.to_string()))
        .context(|| "read the daemon's answer")
}
