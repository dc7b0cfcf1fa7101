//! The objects as an unlucky controller meets them: writes that fail, or that are made and not
//! acknowledged, and the moment at which it dies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use orc_kube::{
    DeleteOptions, Deleted, List, ListOptions, LocalObjects, Object, Objects, Patch, Reason,
    Refused, Result, Scope, Status, Target, Watch, WatchOptions, Write, WriteOptions, Written,
};

/// Chance from a seed (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// So often in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Objects with bad luck.
pub(super) struct Chaos {
    inner: LocalObjects,
    chance: Mutex<Chance>,
    /// Writes that fail, of a hundred.
    percent: u64,
    /// Writes until whoever writes is dead; negative is never.
    left: AtomicI64,
    /// Writes that failed.
    pub(super) faults: AtomicU64,
}

impl Chaos {
    pub(super) fn new(inner: LocalObjects, seed: u64, percent: u64) -> Self {
        Self {
            inner,
            chance: Mutex::new(Chance::new(seed)),
            percent,
            left: AtomicI64::new(-1),
            faults: AtomicU64::new(0),
        }
    }

    /// Who writes dies after so many writes; negative is never.
    pub(super) fn die_after(&self, writes: i64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    /// Whether who writes is dead.
    pub(super) fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn percent(&self, percent: u64) -> bool {
        self.chance.lock().unwrap().percent(percent)
    }
}

fn failed(reason: Reason) -> Refused {
    Refused {
        index: None,
        status: Status::new(reason, "bad luck"),
    }
}

#[async_trait]
impl Objects for Chaos {
    async fn get(&self, target: &Target, version: &str) -> Result<Object> {
        self.inner.get(target, version).await
    }

    async fn list(&self, scope: &Scope, options: &ListOptions) -> Result<List> {
        self.inner.list(scope, options).await
    }

    async fn watch(&self, scope: &Scope, options: &WatchOptions) -> Result<Watch> {
        self.inner.watch(scope, options).await
    }

    async fn create(
        &self,
        scope: &Scope,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written> {
        self.inner.create(scope, object, options).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written> {
        self.inner.update(target, object, options).await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written> {
        self.inner.patch(target, patch, options).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted> {
        self.inner.delete(target, options).await
    }

    async fn delete_collection(
        &self,
        scope: &Scope,
        which: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List> {
        self.inner.delete_collection(scope, which, options).await
    }

    async fn transact(
        &self,
        writes: Vec<Write>,
        options: &WriteOptions,
    ) -> std::result::Result<Vec<Written>, Refused> {
        if self.is_dead() {
            return Err(failed(Reason::ServiceUnavailable));
        }
        if self.left.load(Ordering::SeqCst) > 0 {
            self.left.fetch_sub(1, Ordering::SeqCst);
        }
        if self.percent(self.percent) {
            self.faults.fetch_add(1, Ordering::SeqCst);
            // Made or not: nobody learns which.
            if self.percent(50) {
                let _ = self.inner.transact(writes, options).await;
                return Err(failed(Reason::Timeout));
            }
            return Err(failed(Reason::ServiceUnavailable));
        }
        let made = self.inner.transact(writes, options).await;
        match self.is_dead() {
            true => Err(failed(Reason::ServiceUnavailable)),
            false => made,
        }
    }
}
