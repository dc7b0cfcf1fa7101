//! Lets only one task at a time work on a thing, so that two who want it share one result.
//!
//! Whoever gets the guard second must look again whether the work is done. A guard is about effort,
//! not about truth: what is written is safe without it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// One lock a key, made when asked for and forgotten when nobody holds it.
#[derive(Debug)]
pub struct Flights<K>(Mutex<HashMap<K, Weak<AsyncMutex<()>>>>);

/// The right to work on one thing, until dropped.
#[derive(Debug)]
pub struct Flight(#[expect(dead_code, reason = "held, never read")] OwnedMutexGuard<()>);

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> Flights<K> {
    /// Waits until nobody else works on `key`.
    pub async fn lock(&self, key: &K) -> Flight {
        let lock = self.of(key);
        Flight(lock.lock_owned().await)
    }

    fn of(&self, key: &K) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_each_key() {
        let flights = Flights::default();
        let first = flights.lock(&1).await;
        let _other = flights.lock(&2).await;
        let waits = flights.lock(&1);
        tokio::pin!(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(first);
        waits.await;
        drop(flights.lock(&3).await);
        assert_eq!(flights.0.lock().unwrap().len(), 2);
    }
}
