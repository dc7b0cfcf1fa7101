//! Deletes links beside everything else.
//!
//! The kernel waits for other processors to forget a link, about 25 ms, however many go at once.
//! So whoever wants links gone only says so; one thread deletes all that have come up meanwhile. It
//! lingers a moment before it begins, since links go in company: the last containers of a network,
//! then its bridge. Whoever waits for the end is not kept waiting for that.
//! Links are told by number, which is not used again: one that was made anew under the same name is
//! safe.

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orc_base::{Context, Result};
use tokio::sync::oneshot;

use crate::route::Routes;

/// How long links that nobody waits for may be in one company.
const LINGER: Duration = Duration::from_millis(50);

/// The end that links are given to.
#[derive(Debug)]
pub(crate) struct Reaper {
    jobs: Sender<Job>,
    doomed: Doomed,
}

/// The numbers of links that are given and still there.
type Doomed = Arc<Mutex<HashSet<u32>>>;

#[derive(Debug)]
enum Job {
    Delete(u32),
    Settle(oneshot::Sender<()>),
}

impl Reaper {
    /// Starts the thread, in the network namespace of the caller; it ends with the returned value.
    pub(crate) fn start() -> Result<Self> {
        let routes = Routes::open()?;
        let (jobs, todo) = mpsc::channel();
        let doomed = Doomed::default();
        let theirs = Arc::clone(&doomed);
        std::thread::Builder::new()
            .name("orc-net-reaper".into())
            .spawn(move || run(routes, &todo, &theirs))
            .context(|| "start a thread")?;
        Ok(Self { jobs, doomed })
    }

    /// Deletes the link of that number soon.
    pub(crate) fn delete(&self, link: u32) {
        lock(&self.doomed).insert(link);
        // The thread only ends when this is dropped.
        let _ = self.jobs.send(Job::Delete(link));
    }

    /// The numbers of the links that are about to go: they must not be used again.
    pub(crate) fn doomed(&self) -> HashSet<u32> {
        lock(&self.doomed).clone()
    }

    /// Fires when all links given before are gone.
    pub(crate) fn settled(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.jobs.send(Job::Settle(sender));
        receiver
    }
}

fn lock(doomed: &Doomed) -> MutexGuard<'_, HashSet<u32>> {
    doomed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(mut routes: Routes, jobs: &Receiver<Job>, doomed: &Doomed) {
    while let Ok(first) = jobs.recv() {
        let Company { links, waiting } = gather(first, jobs);
        if let Err(error) = routes.delete(&links) {
            tracing::warn!(%error, "interfaces of containers that are gone stay behind");
        }
        lock(doomed).retain(|link| !links.contains(link));
        for done in waiting {
            let _ = done.send(());
        }
    }
}

/// Links that go together, and who waits for that.
#[derive(Debug, Default)]
struct Company {
    links: Vec<u32>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// What comes up soon after `first`, or until somebody waits.
fn gather(first: Job, jobs: &Receiver<Job>) -> Company {
    let mut company = Company::default();
    let until = Instant::now() + LINGER;
    let mut next = Some(first);
    while let Some(job) = next {
        match job {
            Job::Delete(link) => company.links.push(link),
            Job::Settle(done) => company.waiting.push(done),
        }
        next = match company.waiting.is_empty() {
            true => jobs
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .ok(),
            false => jobs.try_recv().ok(),
        };
    }
    company
}
