//! A registry that misbehaves exactly as a test tells it to: HTTP/1.1 by hand, so that it can also
//! break what no HTTP library would let it break.
//!
//! A handler gets each request and how many like it there were before, and says what happens on the
//! wire. Everything that was asked is kept for the test to look at.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }

    /// Where a range request begins.
    pub(super) fn range_start(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// What happens on the wire.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// What `Content-Length` claims; none for the truth.
    pub(super) claims: Option<u64>,
    pub(super) then: Then,
    /// These bytes and nothing else, not even a head.
    pub(super) raw: bool,
}

/// What happens after the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection serves the next request.
    Next,
    /// It ends in order.
    Close,
    /// It ends with a reset.
    Reset,
    /// Nothing more is said, and it stays open.
    Stall,
    /// One byte now and then, for ever.
    Trickle,
    /// As many bytes as anybody wants to read.
    Endless,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            claims: None,
            then: Then::Next,
            raw: false,
        }
    }

    pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: true,
            then: Then::Close,
            ..Self::new(0, bytes)
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(super) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    pub(super) fn claims(mut self, length: u64) -> Self {
        self.claims = Some(length);
        self
    }

    /// The first `count` bytes under the length of all, and then something.
    pub(super) fn cut(mut self, count: usize, then: Then) -> Self {
        self.claims = Some(self.body.len() as u64);
        self.body.truncate(count);
        self.then = then;
        self
    }

    pub(super) fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self::new(status, "").header("Location", to)
    }

    pub(super) fn challenge(value: impl Into<String>) -> Self {
        Self::new(401, "").header("WWW-Authenticate", value)
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.claims.unwrap_or(self.body.len() as u64);
        match self.then {
            Then::Endless | Then::Trickle if self.claims.is_none() => {
                head.push_str("Connection: close\r\n");
            }
            _ => head.push_str(&format!("Content-Length: {length}\r\n")),
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

type Handler = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A running server; it ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    sent: Arc<AtomicU64>,
    _connections: JoinSet<()>,
}

impl Server {
    /// Serves on a free port. The handler's number counts requests of the same method and path.
    pub(super) async fn start(
        handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, handler)
    }

    /// Serves on a listener that is there already, so that handlers can know each other's address.
    pub(super) fn on(
        listener: TcpListener,
        handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (log, sent) = (Arc::default(), Arc::default());
        let state = Arc::new(State {
            handler: Box::new(handler),
            log: Arc::clone(&log),
            sent: Arc::clone(&sent),
            counts: Mutex::default(),
        });
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                clients.spawn(serve(stream, Arc::clone(&state)));
            }
        });
        Self {
            address,
            log,
            sent,
            _connections: connections,
        }
    }

    /// `127.0.0.1:port`.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// All that was asked so far, the greeting left out.
    pub(super) fn requests(&self) -> Vec<Request> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|request| request.path != "/v2/")
            .cloned()
            .collect()
    }

    /// How many requests had this method and a path that contains `part`.
    pub(super) fn count(&self, method: &str, part: &str) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.method == method && request.path.contains(part))
            .count()
    }

    /// How many bytes of bodies clients, or the kernel for them, took so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The `Authorization` headers of all requests, the greeting included.
    pub(super) fn authorizations(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter_map(|request| request.header("authorization"))
            .map(str::to_owned)
            .collect()
    }
}

struct State {
    handler: Box<Handler>,
    log: Arc<Mutex<Vec<Request>>>,
    sent: Arc<AtomicU64>,
    counts: Mutex<HashMap<String, usize>>,
}

impl State {
    fn answer(&self, request: &Request) -> Reply {
        self.log.lock().unwrap().push(request.clone());
        let key = format!("{} {}", request.method, request.path);
        let nth = {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(key).or_default();
            *count += 1;
            *count - 1
        };
        (self.handler)(request, nth)
    }
}

/// Clients of these tests break connections on purpose, so no error here is one.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let reply = state.answer(&request);
        if !reply.raw && stream.write_all(&reply.head()).await.is_err() {
            return;
        }
        if request.method != "HEAD" && stream.write_all(&reply.body).await.is_err() {
            return;
        }
        state
            .sent
            .fetch_add(reply.body.len() as u64, Ordering::Relaxed);
        if !finish(&mut stream, reply.then, &state.sent).await {
            return;
        }
    }
}

/// False when the connection is over.
async fn finish(stream: &mut TcpStream, then: Then, sent: &AtomicU64) -> bool {
    match then {
        Then::Next => return true,
        Then::Close => {
            let _ = stream.shutdown().await;
        }
        Then::Reset => {
            // What was written has to arrive first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&*stream, now).unwrap();
        }
        Then::Stall => {
            let mut rest = [0; 64];
            while matches!(stream.read(&mut rest).await, Ok(1..)) {}
        }
        Then::Trickle => {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Then::Endless => {
            let chunk = vec![b' '; 64 << 10];
            while stream.write_all(&chunk).await.is_ok() {
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        }
    }
    false
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        // The first words of TLS are no HTTP, and servers say so.
        if buffer
            .first()
            .is_some_and(|byte| !byte.is_ascii_uppercase())
        {
            let _ = stream.write_all(&Reply::new(400, "").head()).await;
            return None;
        }
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    let body = buffer.drain(..length).collect();
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(buffer).await {
        Ok(1..) => Some(()),
        _ => None,
    }
}
