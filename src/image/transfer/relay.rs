//! Progress of tasks that run on their own, brought to whoever waits for all of them.
//!
//! Tasks outlive no borrow, so they cannot report themselves: they send, and the one who waits reports.
//! Byte counts are thinned out; changes of phase are not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use orc_base::{Error, Result};

use crate::progress::{Phase, Progress, ProgressEvent};

/// How often at most one layer tells its byte count.
const INTERVAL: Duration = Duration::from_millis(100);

/// Where the tasks send.
pub(crate) type Reports = mpsc::UnboundedSender<ProgressEvent>;

/// Waits for all tasks and reports what they send. The first error ends them all.
pub(crate) async fn run<T: 'static>(
    mut tasks: JoinSet<Result<T>>,
    mut events: mpsc::UnboundedReceiver<ProgressEvent>,
    progress: &dyn Progress,
) -> Result<Vec<T>> {
    let mut done = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => progress.report(event),
            task = tasks.join_next() => match task {
                None => return Ok(done),
                Some(Ok(Ok(result))) => done.push(result),
                Some(Ok(Err(error))) => {
                    tasks.shutdown().await;
                    return Err(error);
                }
                Some(Err(error)) => {
                    tasks.shutdown().await;
                    return Err(Error::internal(format!("a task of a transfer is lost: {error}")));
                }
            },
        }
    }
}

/// One layer's side: sends its phases, and its byte counts now and then.
#[derive(Debug)]
pub(crate) struct Line {
    layer: String,
    reports: Reports,
    start: Instant,
    /// Milliseconds after `start` when the next count may be sent.
    next: AtomicU64,
}

impl Line {
    pub(crate) fn new(layer: &str, reports: &Reports) -> Self {
        Self {
            layer: layer.to_owned(),
            reports: reports.clone(),
            start: Instant::now(),
            next: AtomicU64::new(0),
        }
    }

    /// Sends a change of phase.
    pub(crate) fn phase(&self, phase: Phase) {
        // Nobody listens any more when another layer failed.
        let _ = self
            .reports
            .send(ProgressEvent::layer(self.layer.clone(), phase));
    }

    /// Sends a count, unless one was sent just now. The last one of a phase is always worth it.
    pub(crate) fn count(&self, phase: impl FnOnce() -> Phase, last: bool) {
        let now = self.start.elapsed().as_millis() as u64;
        if last || now >= self.next.load(Ordering::Relaxed) {
            self.next
                .store(now + INTERVAL.as_millis() as u64, Ordering::Relaxed);
            self.phase(phase());
        }
    }
}
