//! One thread that owns a value and carries out jobs on it, in order and to their end.
//!
//! Whoever waits for a job may go away: the job does not notice. A job that panics fails, and the
//! next one runs. The thread stays in the network namespace of the thread that started it, and ends
//! with the last handle.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{self, Sender};

use orc_base::{Context, Error, Result};
use tokio::sync::oneshot;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A handle to the thread.
#[derive(Debug)]
pub(crate) struct Worker<T>(Sender<Job<T>>);

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static> Worker<T> {
    /// Starts the thread with what `make` makes on it.
    pub(crate) async fn start(
        name: &str,
        make: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Self> {
        let (jobs, todo) = mpsc::channel::<Job<T>>();
        let (made, ready) = oneshot::channel();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut value = match make() {
                    Ok(value) => {
                        let _ = made.send(Ok(()));
                        value
                    }
                    Err(error) => {
                        let _ = made.send(Err(error));
                        return;
                    }
                };
                while let Ok(job) = todo.recv() {
                    // Whoever waits for the job sees that it was dropped.
                    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut value)));
                }
            })
            .context(|| format!("start thread {name}"))?;
        ready.await.map_err(|_| gone())??;
        Ok(Self(jobs))
    }

    /// Carries out `job` after those that were given before.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (done, result) = oneshot::channel();
        let job: Job<T> = Box::new(move |value| {
            let _ = done.send(job(value));
        });
        self.0.send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::internal("the network thread failed: this is a bug in orc, see its log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_end_even_when_nobody_waits_and_survive_a_panic() {
        let worker = Worker::start("test", || Ok(1)).await.unwrap();
        {
            let slow = worker.run(|value| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                *value += 1;
                Ok(())
            });
            // Given to the thread and then forgotten.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), slow).await;
        }
        assert_eq!(worker.run(|value| Ok(*value)).await.unwrap(), 2);
        let panicked = worker.run(|_| -> Result<()> { panic!("on purpose") });
        assert!(panicked.await.is_err());
        assert_eq!(worker.run(|value| Ok(*value)).await.unwrap(), 2);
        let failed = Worker::<u8>::start("test", || Err(Error::denied("no"))).await;
        assert_eq!(failed.unwrap_err().kind(), orc_base::Kind::Denied);
    }
}
