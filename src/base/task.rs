//! Background work that ends with its owner.

use std::future::Future;
use std::sync::Mutex;

use tokio::task::JoinSet;

/// Tasks that are aborted when this is dropped. A task that panics is logged under its name, and the
/// others go on.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Starts `work`; `name` says in the log whose panic it was.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let mut set = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        while set.try_join_next().is_some() {}
        set.spawn(async move {
            let work = tokio::spawn(work);
            let _abort = AbortOnDrop(work.abort_handle());
            if let Err(error) = work.await
                && error.is_panic()
            {
                tracing::error!(task = name, "task panicked: this is a bug in orc");
            }
        });
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_with_its_owner() {
        let tasks = Tasks::default();
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        tasks.spawn("waits", async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        tokio::task::yield_now().await;
        drop(tasks);
        assert!(ended.recv().await.is_none());
    }
}
