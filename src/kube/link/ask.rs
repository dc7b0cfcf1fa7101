//! The side that asks: one connection to each member, made when it is first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use orc_base::task::Tasks;
use orc_base::{Context as _, Error, Result};
use orc_store::{NodeId, Peer, Transport};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;

use crate::link::PROTOCOL;
use crate::link::address::MemberAddress;
use crate::link::frame::{self, Frame};
use crate::pki::identity::{NodeIdentity, Role};
use crate::pki::tls::explain;

/// How long a member may take to take a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a member that has been asked something may be silent before the connection is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// Messages that wait to be written, at most.
const QUEUE: usize = 1024;

/// The way to the other members.
pub struct Link {
    node: NodeId,
    cluster: String,
    tls: TlsConnector,
    connections: Mutex<HashMap<NodeId, Arc<Way>>>,
}

/// The way to one member. The lock is held while a connection is made, so that there is one.
#[derive(Default)]
struct Way(tokio::sync::Mutex<Option<Open>>);

#[derive(Clone)]
struct Open {
    address: String,
    asks: mpsc::Sender<Ask>,
}

/// A message, and who waits for its answer.
struct Ask {
    message: Bytes,
    answer: oneshot::Sender<Bytes>,
}

impl Link {
    /// Member `node` of a cluster asks the others; `tls` shows its certificate.
    pub fn new(node: NodeId, cluster: &str, mut tls: ClientConfig) -> Self {
        tls.alpn_protocols = vec![PROTOCOL.into()];
        Self {
            node,
            cluster: cluster.to_owned(),
            tls: TlsConnector::from(Arc::new(tls)),
            connections: Mutex::new(HashMap::new()),
        }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Way>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection there is, or a new one.
    async fn open(&self, to: &Peer) -> Result<Open> {
        let way = Arc::clone(self.connections().entry(to.node).or_default());
        let mut open = way.0.lock().await;
        if let Some(open) = open.as_ref()
            && open.address == to.address
            && !open.asks.is_closed()
        {
            return Ok(open.clone());
        }
        let connect = tokio::time::timeout(CONNECT, self.connect(to)).await;
        let connected = connect
            .map_err(|_| Error::unavailable(format!("no answer in {} s", CONNECT.as_secs())));
        let made = connected
            .and_then(|connected| connected)
            .context(|| format!("connect to {}", to.address))?;
        Ok(open.insert(made).clone())
    }

    async fn connect(&self, to: &Peer) -> Result<Open> {
        let address: MemberAddress = to.address.parse()?;
        let identity = NodeIdentity::new(&self.cluster, &address.node, Role::Manager)?;
        let name = ServerName::try_from(identity.server_name())
            .map_err(|error| Error::invalid(error.to_string()))?;
        let stream = TcpStream::connect(address.place).await;
        let stream = stream.map_err(|error| Error::unavailable(error.to_string()))?;
        stream.set_nodelay(true)?;
        let mut stream = self.tls.connect(name, stream).await.map_err(explain)?;
        frame::greet(&mut stream, self.node).await?;
        let (asks, queue) = mpsc::channel(QUEUE);
        let place = to.address.clone();
        tokio::spawn(async move {
            if let Err(error) = carry(stream, queue).await {
                tracing::debug!(%error, member = %place, "the connection to a member ended");
            }
        });
        Ok(Open {
            address: to.address.clone(),
            asks,
        })
    }
}

#[async_trait]
impl Transport for Link {
    async fn call(&self, to: &Peer, message: Bytes) -> Result<Bytes> {
        let open = self.open(to).await?;
        let (answer, answered) = oneshot::channel();
        let ask = Ask { message, answer };
        // Not taken, so not sent.
        let sent = open.asks.send(ask).await;
        sent.map_err(|_| Error::unavailable(format!("{} hung up", to.address)))?;
        answered
            .await
            .map_err(|_| Error::timeout(format!("{} hung up before it answered", to.address)))
    }
}

/// Writes what is asked and gives answers to who waits for them, until one of the sides ends.
async fn carry(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut queue: mpsc::Receiver<Ask>,
) -> Result<()> {
    let (mut from, to) = tokio::io::split(stream);
    let waiting = Arc::new(Waiting::default());
    let tasks = Tasks::default();
    let (ended, mut writer_ended) = oneshot::channel();
    let theirs = Arc::clone(&waiting);
    tasks.spawn("member-asks", async move {
        let mut to = tokio::io::BufWriter::new(to);
        let _ = ended.send(write(&mut to, &mut queue, &theirs).await);
    });
    loop {
        let silence = async {
            // Only a member that was asked must say something.
            loop {
                let before = waiting.oldest();
                tokio::time::sleep(SILENCE).await;
                if before.is_some() && before == waiting.oldest() {
                    return;
                }
            }
        };
        tokio::select! {
            frame = frame::read(&mut from) => waiting.answer(frame?),
            () = silence => {
                return Err(Error::timeout(format!("silent for {} s", SILENCE.as_secs())));
            }
            written = &mut writer_ended => return written.unwrap_or(Ok(())),
        }
    }
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    queue: &mut mpsc::Receiver<Ask>,
    waiting: &Waiting,
) -> Result<()> {
    let mut number = 0;
    while let Some(mut ask) = queue.recv().await {
        loop {
            number += 1;
            waiting.add(number, ask.answer);
            let frame = Frame {
                number,
                bytes: ask.message,
            };
            frame::write(to, &frame).await?;
            match queue.try_recv() {
                Ok(next) => ask = next,
                Err(_) => break,
            }
        }
        to.flush().await?;
    }
    Ok(())
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting(Mutex<std::collections::BTreeMap<u64, oneshot::Sender<Bytes>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, std::collections::BTreeMap<u64, oneshot::Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who no longer wait are forgotten with their answer, or here.
    fn add(&self, number: u64, answer: oneshot::Sender<Bytes>) {
        let mut all = self.lock();
        all.retain(|_, waiting| !waiting.is_closed());
        all.insert(number, answer);
    }

    fn answer(&self, frame: Frame) {
        let waiting = self.lock().remove(&frame.number);
        if let Some(waiting) = waiting {
            // Whoever asked may have gone.
            let _ = waiting.send(frame.bytes);
        }
    }

    fn oldest(&self) -> Option<u64> {
        self.lock().keys().next().copied()
    }
}
