//! The listener of the built-in registry: connections, TLS, and the end.
//!
//! Lives as long as the [`Server`]; dropping it ends all connections and forgets uploads that were under
//! way. Everything is bounded: connections, heads, the time for a handshake and a head, and how long a
//! client may leave what it is sent unread.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use orc_base::{Context, Result};

use crate::serve::desk::Desk;
use crate::serve::options::ServeOptions;
use crate::store::Store;

/// How many connections may be open; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// The longest head of a request, and how many headers it may have.
const MAX_HEAD: usize = 32 << 10;
const MAX_HEADERS: usize = 64;
/// How long a handshake or a head may take; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave what it is sent unread.
const UNREAD: Duration = Duration::from_secs(60);
/// How often what nobody goes on with is looked for.
const TICK: Duration = Duration::from_secs(5);
/// How many answers wait to be told; more are left out.
const TOLD: usize = 256;

/// A registry that is running. Dropped, it ends.
pub struct Server {
    address: SocketAddr,
    answers: mpsc::Receiver<Answered>,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Who asked.
    pub peer: SocketAddr,
    /// `GET`.
    pub method: String,
    /// `/v2/busybox/manifests/latest`, without the query.
    pub path: String,
    /// `200`.
    pub status: u16,
}

impl Server {
    /// Begins to listen.
    pub(crate) async fn start(store: &Store, options: ServeOptions) -> Result<Self> {
        options.check()?;
        let tls = match &options.tls {
            Some(texts) => Some(TlsAcceptor::from(Arc::new(texts.server_config()?))),
            None => None,
        };
        let listener = TcpListener::bind(options.listen)
            .await
            .context(|| format!("listen on {}", options.listen))?;
        let address = listener
            .local_addr()
            .context(|| "ask where the registry listens")?;
        let local_only = tls.is_none();
        let desk = Desk::new(store.clone(), options.writable, local_only, options.in_use);
        let desk = Arc::new(desk);
        let (told, answers) = mpsc::channel(TOLD);
        let mut tasks = JoinSet::new();
        tasks.spawn(expire(Arc::clone(&desk)));
        tasks.spawn(accept(listener, tls, desk, told));
        Ok(Self {
            address,
            answers,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next answer that it gave. Never ends by itself.
    pub async fn answered(&mut self) -> Option<Answered> {
        self.answers.recv().await
    }
}

/// Ends what nobody goes on with.
async fn expire(desk: Arc<Desk>) {
    loop {
        tokio::time::sleep(TICK).await;
        desk.uploads.expire(Instant::now());
        desk.lease.expire(Instant::now()).await;
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    desk: Arc<Desk>,
    told: mpsc::Sender<Answered>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: someone will close one.
                    tracing::warn!(%error, "the registry cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let (tls, desk, told) = (tls.clone(), Arc::clone(&desk), told.clone());
        connections.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(stream, peer, tls, desk, told).await {
                tracing::debug!(%peer, %error, "a connection to the registry ended badly");
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    desk: Arc<Desk>,
    told: mpsc::Sender<Answered>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let unread = UNREAD.as_millis() as u32;
    rustix::net::sockopt::set_tcp_user_timeout(&stream, unread)?;
    match tls {
        None => serve(stream, peer, desk, told).await,
        Some(tls) => {
            let shaken = timeout(HEAD_TIMEOUT, tls.accept(stream)).await;
            let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            serve(stream, peer, desk, told).await
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    desk: Arc<Desk>,
    told: mpsc::Sender<Answered>,
) -> io::Result<()> {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (desk, told) = (Arc::clone(&desk), told.clone());
        async move {
            let method = request.method().to_string();
            let path = request.uri().path().to_owned();
            let reply = desk.answer(request).await;
            // Whoever listens for these is free to miss some.
            let _ = told.try_send(Answered {
                peer,
                method,
                path,
                status: reply.status().as_u16(),
            });
            Ok::<_, Infallible>(reply)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}
