//! How members reach each other: the seam, and its twin in memory.
//!
//! The store says what to send and to whom; whoever implements this decides how: it encrypts, proves who
//! both sides are, and hands what arrives to `RaftStore::receive` with the proven sender. Messages are
//! whole and bounded by [`MAX_MESSAGE_BYTES`]; large snapshots come as many messages.

use async_trait::async_trait;
use bytes::Bytes;
use orc_base::Result;

/// The number of a member. Never used again for another machine.
pub type NodeId = u64;

/// Bytes of a message or an answer, at most.
pub const MAX_MESSAGE_BYTES: usize = 40 << 20;

/// Someone who takes part in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its number.
    pub node: NodeId,
    /// Where it listens, in words that the transport understands.
    pub address: String,
}

/// Sends messages to other members.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a message and waits for the answer. `Unavailable` only when it surely did not arrive; `Denied`
    /// when the other side does not speak with us; `Timeout` when it is not known whether it arrived.
    /// Callers limit the time by dropping the future.
    async fn call(&self, to: &Peer, message: Bytes) -> Result<Bytes>;
}
