//! Tells those who read a growing log that it grew: one inotify instance for all logs.
//!
//! The kernel allows few instances a user and many watches, so all readers share one. Without any
//! (the limit is reached, an odd file system) readers look again after a short while instead.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use orc_base::Result;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::pipes::watched;

/// How long a reader waits at most before it looks again when nobody tells it.
const BLIND: Duration = Duration::from_millis(20);
/// … and when it is told: only a safeguard.
const WATCHED: Duration = Duration::from_secs(5);

/// Watches over the directories of logs.
#[derive(Clone)]
pub(crate) struct Tails(Option<Arc<Watcher>>);

struct Watcher {
    inotify: AsyncFd<OwnedFd>,
    watches: Mutex<HashMap<i32, Weak<Watched>>>,
}

/// One directory while someone looks at it.
struct Watched {
    watcher: Arc<Watcher>,
    watch: i32,
    grown: Notify,
}

/// A reader's interest in one directory.
pub(crate) struct Tail(Option<Arc<Watched>>);

impl Tails {
    /// Must be called in a tokio runtime; hand [`Tails::run`] to a task.
    pub(crate) fn open() -> Self {
        let open = || -> Result<Arc<Watcher>> {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            Ok(Arc::new(Watcher {
                inotify: watched(inotify, Interest::READABLE)?,
                watches: Mutex::new(HashMap::new()),
            }))
        };
        match open() {
            Ok(watcher) => Self(Some(watcher)),
            Err(error) => {
                tracing::warn!("logs are polled: {}", error.within("watch logs by inotify"));
                Self(None)
            }
        }
    }

    /// Passes on what the kernel tells, for ever.
    pub(crate) async fn run(self) {
        let Some(watcher) = self.0 else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        while let Ok(mut ready) = watcher.inotify.readable().await {
            let mut reader = inotify::Reader::new(watcher.inotify.get_ref(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                        watcher.wake_all();
                    }
                    Ok(event) => watcher.wake(event.wd()),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
            }
            ready.clear_ready();
        }
    }

    /// Begins to look at `directory`.
    pub(crate) fn watch(&self, directory: &Path) -> Tail {
        Tail(
            self.0
                .as_ref()
                .and_then(|watcher| watcher.watch(directory).ok()),
        )
    }
}

impl Watcher {
    fn watch(self: &Arc<Self>, directory: &Path) -> Result<Arc<Watched>> {
        let mut watches = self.lock();
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let watch = inotify::add_watch(self.inotify.get_ref(), directory, flags)?;
        // The same directory has the same number as long as someone looks at it.
        if let Some(watched) = watches.get(&watch).and_then(Weak::upgrade) {
            return Ok(watched);
        }
        let watched = Arc::new(Watched {
            watcher: self.clone(),
            watch,
            grown: Notify::new(),
        });
        watches.insert(watch, Arc::downgrade(&watched));
        Ok(watched)
    }

    fn wake(&self, watch: i32) {
        let watched = self.lock().get(&watch).and_then(Weak::upgrade);
        if let Some(watched) = watched {
            watched.grown.notify_waiters();
        }
    }

    fn wake_all(&self) {
        let all: Vec<Arc<Watched>> = self.lock().values().filter_map(Weak::upgrade).collect();
        for watched in all {
            watched.grown.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Weak<Watched>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut watches = self.watcher.lock();
        // Someone else may have begun to look meanwhile, with the same number.
        if watches
            .get(&self.watch)
            .is_some_and(|other| other.strong_count() == 0)
        {
            watches.remove(&self.watch);
            // The directory may be gone, and its watch with it.
            let _ = inotify::remove_watch(self.watcher.inotify.get_ref(), self.watch);
        }
    }
}

impl Tail {
    /// Waits until the directory changed after `look` found nothing. `look` is called once the
    /// change would be noticed, so that none is lost between.
    pub(crate) async fn grown<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let Some(watched) = &self.0 else {
            tokio::time::sleep(BLIND).await;
            return look();
        };
        let grown = watched.grown.notified();
        tokio::pin!(grown);
        grown.as_mut().enable();
        if let Some(found) = look() {
            return Some(found);
        }
        // A timeout is fine: it is time to look again.
        let _ = tokio::time::timeout(WATCHED, grown).await;
        look()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_all_who_look() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        let tails = Tails::open();
        let run = tokio::spawn(tails.clone().run());
        let look = || {
            let size = std::fs::metadata(&file).map_or(0, |file| file.len());
            (size > 0).then_some(size)
        };
        let (one, two) = (tails.watch(dir.path()), tails.watch(dir.path()));
        drop(tails.watch(dir.path()));
        let write = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            std::fs::write(&file, b"x").unwrap();
        };
        let wait = async {
            loop {
                let (a, b) = tokio::join!(one.grown(look), two.grown(look));
                if a.is_some() && b.is_some() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), async {
            tokio::join!(write, wait);
        })
        .await
        .unwrap();
        run.abort();
    }

    #[tokio::test]
    async fn without_inotify_readers_look_again() {
        let tail = Tails(None).watch(Path::new("/nowhere"));
        assert_eq!(tail.grown(|| Some(1)).await, Some(1));
    }
}
