//! The TLS listener: HTTP/1.1 and HTTP/2, by what the client wants (ALPN).
//!
//! There is no listener without TLS. Connections, handshakes and headers are bounded in number, time and
//! size.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use orc_base::{Context, Result};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::pki::peer::Peer;
use crate::pki::tls::explain;
use crate::server::service::Service;

/// What the listener speaks, best first: for `pki::tls::server`.
pub const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// Connections at once, at most.
const MAX_CONNECTIONS: usize = 4096;
/// Requests at once on one HTTP/2 connection, at most: watches are requests.
const MAX_REQUESTS: u32 = 1000;
/// How long a handshake may take, and the headers of a request.
const HANDSHAKE: Duration = Duration::from_secs(5);
const HEADERS: Duration = Duration::from_secs(10);
/// Bytes of the headers of a request, at most.
const MAX_HEADERS: usize = 64 << 10;
/// How long requests may go on when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop` says so; then ends watches at once and lets other requests end.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    loop {
        let permit = room.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, or gone again: neither ends the server.
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let (acceptor, service) = (acceptor.clone(), service.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(stream, &acceptor, service, stop).await {
                tracing::debug!("a connection of the API ended: {error}");
            }
        });
        while connections.try_join_next().is_some() {}
    }
    service.stop();
    let all = async { while connections.join_next().await.is_some() {} };
    // Who is not done by then is cut off with the set.
    let _ = tokio::time::timeout(GRACE, all).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    // Small answers are not to wait for more.
    stream.set_nodelay(true).context(|| "set TCP_NODELAY")?;
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
    let stream = handshake
        .await
        .map_err(|_| orc_base::Error::timeout("the TLS handshake took too long"))?
        .map_err(explain)?;
    let peer = peer(&stream)?;
    let speaks_2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, peer) = (service.clone(), peer.clone());
        async move { Ok::<_, Infallible>(service.answer(request, peer).await) }
    });
    let io = TokioIo::new(stream);
    let ended = if speaks_2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_REQUESTS)
            .max_header_list_size(MAX_HEADERS as u32)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let connection = server.serve_connection(io, answer);
        tokio::pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let mut server = http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(MAX_HEADERS);
        let connection = server.serve_connection(io, answer).with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    ended.map_err(|error| orc_base::Error::unavailable(error.to_string()))
}

/// Ends when the server is to stop, or its owner is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Who the client is by its certificate, if it showed one.
fn peer(stream: &TlsStream<TcpStream>) -> Result<Option<Peer>> {
    let certificates = stream.get_ref().1.peer_certificates();
    let first = certificates.and_then(<[_]>::first);
    first.map(|certificate| Peer::read(certificate)).transpose()
}
