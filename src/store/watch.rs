//! Following the changes of a map.
//!
//! Nothing is queued for a reader: it takes from the history at its own pace, and one that falls behind
//! what is kept is told so. Any number of readers therefore costs no memory but their own.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use futures_util::{Stream, stream};
use orc_base::{Error, Result};

use crate::map::Map;
use crate::model::{Revision, Update};
use crate::news;

/// Changes that are taken from the history at once.
const BATCH: usize = 256;

/// A map that is shared, and the news that it has changed.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    map: Arc<RwLock<Map>>,
    changed: news::Sender<Revision>,
}

impl Shared {
    pub(crate) fn new(map: Map) -> Self {
        let (changed, _) = news::channel(map.revision());
        Self {
            map: Arc::new(RwLock::new(map)),
            changed,
        }
    }

    /// Looks at the map.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Map) -> T) -> T {
        look(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the map, and tells everyone who waits.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Map) -> T) -> T {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut map);
        let revision = map.revision();
        drop(map);
        self.changed.send_replace(revision);
        result
    }

    /// Waits until the map has reached a revision. `Unavailable` when it never will.
    pub(crate) async fn reach(&self, revision: Revision) -> Result<()> {
        let mut news = self.changed.subscribe();
        news.wait_for(|now| *now >= revision)
            .await
            .map(drop)
            .map_err(closed)?;
        Ok(())
    }

    /// All changes below a prefix after a revision.
    pub(crate) fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        let mut news = self.changed.subscribe();
        news.mark_changed();
        self.read(|map| map.changes(prefix, after, 0))?;
        let reader = Reader {
            shared: Arc::downgrade(&self.map),
            news,
            prefix: prefix.to_owned(),
            told: after,
            ready: VecDeque::new(),
            ended: false,
        };
        Ok(Watch(Box::pin(stream::unfold(reader, Reader::next))))
    }
}

/// Updates in order, without gaps; the last item may be an error.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<Update>> + Send>>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Stream for Watch {
    type Item = Result<Update>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Where one reader is.
struct Reader {
    shared: std::sync::Weak<RwLock<Map>>,
    news: news::Receiver<Revision>,
    prefix: String,
    /// All up to here has been told or is ready.
    told: Revision,
    ready: VecDeque<Update>,
    ended: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Update>, Self)> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some((Ok(update), self));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.take().await {
                self.ended = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Waits for changes and makes them ready, with a bookmark behind.
    async fn take(&mut self) -> Result<()> {
        self.news
            .wait_for(|now| *now > self.told)
            .await
            .map(drop)
            .map_err(closed)?;
        let map = self.shared.upgrade().ok_or_else(|| closed(()))?;
        let map = map.read().unwrap_or_else(PoisonError::into_inner);
        let (events, told) = map.changes(&self.prefix, self.told, BATCH)?;
        self.told = told;
        self.ready.extend(events.into_iter().map(Update::Event));
        self.ready.push_back(Update::Bookmark(told));
        Ok(())
    }
}

fn closed<T>(_: T) -> Error {
    Error::unavailable("the store was closed")
}
