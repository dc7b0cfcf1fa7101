//! What the cluster remembers: keys and values in which every change has a revision.
//!
//! [`Store`] is the seam: read at a revision, change under guards, watch from a revision. `map` is what
//! all of it means, without disk or network; every implementation of [`Store`] keeps one.
//! Knows nothing of what the values say.

mod disk;
mod frame;
mod history;
mod keys;
#[cfg(any(test, feature = "fake"))]
mod loopback;
mod map;
#[cfg(any(test, feature = "fake"))]
mod memory;
mod model;
mod news;
mod raft;
#[cfg(test)]
mod sim;
mod snapshot;
mod transport;
mod wal;
mod watch;
mod writer;

#[cfg(any(test, feature = "fake"))]
pub mod contract;

use async_trait::async_trait;
use orc_base::Result;

#[cfg(any(test, feature = "fake"))]
pub use loopback::Loopback;
pub use map::{Limits, Map};
#[cfg(any(test, feature = "fake"))]
pub use memory::MemoryStore;
pub use model::{
    Change, Entry, Event, Found, Guard, Key, Listing, Range, Read, Revision, Transaction, Update,
    Verdict,
};
pub use raft::{
    ClusterId, Lost, Member, Options, RaftStore, Role, Status, Survivor, Timing, recover, restore,
};
pub use transport::{MAX_MESSAGE_BYTES, NodeId, Peer, Transport};
pub use watch::Watch;

/// A revisioned map that many use at once.
///
/// Acknowledged changes are seen by every later [`Read::Latest`], on whichever member of the cluster.
#[async_trait]
pub trait Store: Send + Sync {
    /// The value of a key. `Expired` when the revision read at is no longer kept, `Invalid` when it is
    /// in the future, `Unavailable` when no member can say what is latest.
    async fn get(&self, key: &Key, read: Read) -> Result<Found>;

    /// The entries of a range in the order of their keys, all of one revision. Errors as
    /// [`Store::get`].
    async fn list(&self, range: &Range, read: Read) -> Result<Listing>;

    /// Makes all changes of a transaction, or none. `Invalid` when it can never be made (see
    /// [`Transaction::check`]); `Unavailable` when there is no leader: then it was not made; `Timeout`
    /// when it is not known whether it was made.
    async fn commit(&self, transaction: Transaction) -> Result<Verdict>;

    /// All changes below `prefix` after revision `after`, in order and without gaps, until dropped or an
    /// error, which is the last item. `Expired` when changes after `after` are no longer kept, at
    /// once or because the reader fell behind.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch>;

    /// Forgets the history up to and including `revision`; what is current stays.
    async fn compact(&self, revision: Revision) -> Result<()>;
}
