//! A store without disk and without peers, for tests of what stands above.

use async_trait::async_trait;
use orc_base::Result;

use crate::Store;
use crate::map::{Limits, Map};
use crate::model::{Found, Key, Listing, Range, Read, Revision, Transaction, Verdict};
use crate::watch::{Shared, Watch};

/// Forgets everything when dropped.
#[derive(Debug, Clone)]
pub struct MemoryStore(Shared);

impl MemoryStore {
    /// An empty store that keeps this much history.
    pub fn new(limits: Limits) -> Self {
        Self(Shared::new(Map::new(limits)))
    }

    async fn at(&self, read: Read) -> Result<Option<Revision>> {
        match read {
            Read::Latest | Read::Local => Ok(None),
            Read::AtLeast(revision) => self.0.reach(revision).await.map(|()| None),
            Read::Exactly(revision) => Ok(Some(revision)),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key, read: Read) -> Result<Found> {
        let at = self.at(read).await?;
        self.0.read(|map| map.get(key, at))
    }

    async fn list(&self, range: &Range, read: Read) -> Result<Listing> {
        let at = self.at(read).await?;
        self.0.read(|map| map.list(range, at))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Verdict> {
        transaction.check()?;
        Ok(self.0.write(|map| map.apply(&transaction)))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        self.0.watch(prefix, after)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.0.write(|map| map.compact(revision));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::contract::check(&MemoryStore::new(crate::contract::LIMITS)).await;
    }
}
