//! Accepts connections and keeps them going until the end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use orc_base::clock::SystemClock;
use orc_base::{Clock, Result};
use orc_host::Host;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::server::dispatch::{self, Shared};

/// How many connections may be open; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// The longest head of a request, and how many headers it may have.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long a client may take to send a head; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How to serve.
#[derive(Clone)]
pub struct Options {
    /// orc's version, for the header `Server`.
    pub version: String,
    /// How long requests under way may take after the end was asked for.
    pub grace: Duration,
    /// What the age of containers is measured with.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            grace: Duration::from_secs(2),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Answers Docker's API on `listener` from `host` until `end` is ready; then takes no more requests,
/// lets those under way end within `options.grace`, and cuts off the rest (streams among them).
pub async fn serve(
    listener: UnixListener,
    host: Arc<dyn Host>,
    options: Options,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let server = HeaderValue::from_str(&format!("orc/{} (linux)", options.version))
        .unwrap_or(HeaderValue::from_static("orc"));
    let shared = Arc::new(Shared {
        host,
        clock: options.clock,
        server,
    });
    let (phase, _) = watch::channel(Phase::Open);
    let connections = TaskTracker::new();
    let mut end = pin!(end);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = &mut end => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, shared.clone(), phase.subscribe());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: someone will close one.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    phase.send_replace(Phase::Ending);
    if tokio::time::timeout(options.grace, connections.wait())
        .await
        .is_err()
    {
        tracing::info!(open = connections.len(), "cutting off open connections");
        phase.send_replace(Phase::Ended);
        connections.wait().await;
    }
    Ok(())
}

/// How long connections go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// As long as they want.
    Open,
    /// Until the request under way is answered.
    Ending,
    /// No longer.
    Ended,
}

async fn connection(stream: UnixStream, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(dispatch::answer(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = reached(&mut phase, Phase::Ending) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = &mut connection => result,
                () = reached(&mut phase, Phase::Ended) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender lives as long as the server; without it there is nobody to serve for.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}
