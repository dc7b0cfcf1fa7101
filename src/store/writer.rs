//! Group commit: one writer, and one sync for all that waits.
//!
//! Requests are made durable in the order in which they were given; while one sync runs, the next
//! requests gather and share the one after. After the first failure nothing is written any more and
//! every request fails: a disk that refused a sync may have lost what came before
//! (<https://wiki.postgresql.org/wiki/Fsync_Errors>), so the process must end.

use orc_base::{Error, Result};
use tokio::sync::mpsc;

use crate::news;
use crate::wal::{Record, Wal};

/// Requests that share a sync, at most.
const MOST: usize = 4096;

/// Is told what became of a request.
pub(crate) type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// Hands requests to the one who writes. Once all of these are dropped the log is closed.
#[derive(Clone)]
pub(crate) struct Writer {
    requests: mpsc::UnboundedSender<Request>,
    failure: news::Receiver<Option<Error>>,
}

struct Request {
    records: Vec<Record>,
    done: Option<Done>,
}

impl Writer {
    /// Writes in a thread of its own.
    pub(crate) fn thread(log: Wal) -> Result<Self> {
        let (writer, mut work) = Self::new(log);
        std::thread::Builder::new()
            .name("orc-store-log".to_owned())
            .spawn(move || {
                while let Some(first) = work.requests.blocking_recv() {
                    work.turn(first);
                }
                work.end();
            })?;
        Ok(writer)
    }

    /// Writes in a task; every sync takes as long as `delay` says. For simulations.
    #[cfg(test)]
    pub(crate) fn task(
        log: Wal,
        mut delay: impl FnMut() -> std::time::Duration + Send + 'static,
    ) -> Self {
        let (writer, mut work) = Self::new(log);
        tokio::spawn(async move {
            while let Some(first) = work.requests.recv().await {
                tokio::time::sleep(delay()).await;
                work.turn(first);
            }
            work.end();
        });
        writer
    }

    fn new(log: Wal) -> (Self, Work) {
        let (sender, requests) = mpsc::unbounded_channel();
        let (failed, failure) = news::channel(None);
        let writer = Self {
            requests: sender,
            failure,
        };
        let work = Work {
            log,
            requests,
            failed,
        };
        (writer, work)
    }

    /// Asks for records to be made durable; `done` is told when they are.
    pub(crate) fn submit(&self, records: Vec<Record>, done: Option<Done>) {
        let request = Request { records, done };
        if let Err(mpsc::error::SendError(Request {
            done: Some(done), ..
        })) = self.requests.send(request)
        {
            done(Err(Error::unavailable("the log was closed")));
        }
    }

    /// Makes records durable.
    pub(crate) async fn write(&self, records: Vec<Record>) -> Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.submit(records, Some(done));
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the log was closed")))
    }

    /// The first failure, when there will have been one.
    pub(crate) fn failure(&self) -> news::Receiver<Option<Error>> {
        self.failure.clone()
    }
}

/// The side that writes.
struct Work {
    log: Wal,
    requests: mpsc::UnboundedReceiver<Request>,
    failed: news::Sender<Option<Error>>,
}

impl Work {
    /// Writes one request and all that wait behind it.
    fn turn(&mut self, first: Request) {
        let Request { mut records, done } = first;
        let mut waiting = vec![done];
        while waiting.len() < MOST
            && let Ok(next) = self.requests.try_recv()
        {
            records.extend(next.records);
            waiting.push(next.done);
        }
        let failure = self.failed.borrow().clone();
        let result = match failure {
            Some(error) => Err(error),
            None => self.log.write(&records),
        };
        if let Err(error) = &result {
            self.failed.send_if_modified(|failure| match failure {
                Some(_) => false,
                None => failure.replace(error.clone()).is_none(),
            });
        }
        for done in waiting.into_iter().flatten() {
            done(result.clone());
        }
    }

    fn end(&mut self) {
        if self.failed.borrow().is_none()
            && let Err(error) = self.log.close()
        {
            self.failed.send_replace(Some(error));
        }
    }
}
