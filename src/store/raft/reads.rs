//! What is latest: one question to the leader for all who ask at the same time.
//!
//! A read that began before the question was put may share its answer; one that began later waits for
//! the next question. So any number of readers cost one round of messages after the other (etcd does the
//! same; Raft, section 6.4).

use std::future::Future;

use orc_base::{Error, Result};
use tokio::sync::{mpsc, oneshot};

/// Readers that share a question, at most.
const MOST: usize = 1024;

/// Asks for the index that a read of the latest state must wait for.
#[derive(Clone)]
pub(crate) struct Reads(mpsc::Sender<oneshot::Sender<Result<u64>>>);

impl Reads {
    /// The way to ask, and what must run for answers to come: it puts one question after the other.
    pub(crate) fn new<F>(
        question: impl Fn() -> F + Send + Sync + 'static,
    ) -> (Self, impl Future<Output = ()> + Send)
    where
        F: Future<Output = Result<u64>> + Send,
    {
        let (sender, mut waiting) = mpsc::channel(MOST);
        let answers = async move {
            let mut readers: Vec<oneshot::Sender<Result<u64>>> = Vec::new();
            while waiting.recv_many(&mut readers, MOST).await > 0 {
                let answer = question().await;
                for reader in readers.drain(..) {
                    let _ = reader.send(answer.clone());
                }
            }
        };
        (Self(sender), answers)
    }

    /// Up to which entry must be applied to know all that was acknowledged before this was called.
    pub(crate) async fn index(&self) -> Result<u64> {
        let closed = || Error::unavailable("the store was closed");
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readers_share_a_question_that_was_put_after_they_began() {
        let asked = Arc::new(AtomicU64::new(0));
        let count = asked.clone();
        let (reads, answers) = Reads::new(move || {
            let count = count.clone();
            async move {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(number)
            }
        });
        tokio::spawn(answers);
        let ask = || {
            let reads = reads.clone();
            tokio::spawn(async move { reads.index().await.unwrap() })
        };
        let first = ask();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let later: Vec<_> = (0..100).map(|_| ask()).collect();
        assert_eq!(first.await.unwrap(), 1);
        for reader in later {
            assert_eq!(reader.await.unwrap(), 2);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
