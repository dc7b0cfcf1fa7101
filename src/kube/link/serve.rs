//! The side that answers, on a connection whose TLS handshake is done.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use orc_base::task::Tasks;
use orc_base::{Error, Result};
use orc_store::{NodeId, RaftStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};

use crate::link::address::MemberAddress;
use crate::link::frame::{self, Frame};
use crate::pki::identity::{NodeIdentity, Role};

/// Messages of one member that are answered at once, at most; the next wait on the wire.
const AT_ONCE: usize = 256;

/// Whoever answers the members' messages.
#[async_trait]
pub trait Receive: Send + Sync + 'static {
    /// The name of the node that has this number, if it is known.
    fn node_of(&self, member: NodeId) -> Option<String>;

    /// The answer to a message.
    async fn receive(&self, from: NodeId, message: Bytes) -> Bytes;
}

#[async_trait]
impl Receive for RaftStore {
    fn node_of(&self, member: NodeId) -> Option<String> {
        let members = self.status().members;
        let member = members
            .into_iter()
            .find(|known| known.peer.node == member)?;
        let address: MemberAddress = member.peer.address.parse().ok()?;
        Some(address.node)
    }

    async fn receive(&self, from: NodeId, message: Bytes) -> Bytes {
        RaftStore::receive(self, from, message).await
    }
}

/// Answers all messages of a member until it hangs up. `Denied` when it says that it is one of which another
/// node is known, or is no manager at all.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: &NodeIdentity,
    store: Arc<dyn Receive>,
) -> Result<()> {
    let (mut from, to) = tokio::io::split(stream);
    let member = frame::greeted(&mut from).await?;
    check(peer, member, &*store)?;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let (answers, queue) = mpsc::channel(AT_ONCE);
    let tasks = Arc::new(Tasks::default());
    tasks.spawn("member-answers", async move {
        if let Err(error) = write(tokio::io::BufWriter::new(to), queue).await {
            tracing::debug!(%error, "answers to a member are lost");
        }
    });
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let Frame { number, bytes } = match frame::read(&mut from).await {
            Ok(frame) => frame,
            Err(error) if error.kind() == orc_base::Kind::Unavailable => return Ok(()),
            Err(error) => return Err(error),
        };
        // It may have been removed since.
        check(peer, member, &*store)?;
        let (store, answers) = (Arc::clone(&store), answers.clone());
        tasks.spawn("member-answer", async move {
            let bytes = store.receive(member, bytes).await;
            // Nobody hears it when the connection has ended.
            let _ = answers.send(Frame { number, bytes }).await;
            drop(permit);
        });
    }
}

/// A member that is not known yet is believed: it may be the one that is about to tell who there is.
fn check(peer: &NodeIdentity, member: NodeId, store: &dyn Receive) -> Result<()> {
    if peer.role != Role::Manager {
        return Err(Error::denied(format!(
            "node {} is no manager and has no part in the store",
            peer.node
        )));
    }
    match store.node_of(member) {
        Some(node) if node != peer.node => Err(Error::denied(format!(
            "node {} says that it is member {member}, which is node {node}",
            peer.node
        ))),
        _ => Ok(()),
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Frame>) -> Result<()> {
    while let Some(mut answer) = queue.recv().await {
        loop {
            frame::write(&mut to, &answer).await?;
            match queue.try_recv() {
                Ok(next) => answer = next,
                Err(_) => break,
            }
        }
        to.flush().await?;
    }
    Ok(())
}
