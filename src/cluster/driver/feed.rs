//! Following the objects: one list and one watch for each kind.
//!
//! A watch whose place is no longer kept is begun anew from a list; what is not on the list any more is
//! told as gone. What comes late (older than what was seen, or of an object that was deleted since) is
//! no news.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt as _, StreamExt as _};
use orc_base::{Context as _, Error, Kind as Failure, Result};
use orc_kube::kinds::{self, KINDS};
use orc_kube::{ListOptions, Object, ObjectKind, Objects, Scope, Watch, WatchEvent, WatchOptions};
use serde_json::Value;

use crate::object::Facts;
use crate::reference::{Kind, Ref};
use crate::world::World;

/// Objects on one page of a list.
const PAGE: usize = 500;
/// Events taken from one watch before another has its turn.
const TURN: usize = 256;

/// What happened to an object.
#[derive(Debug)]
pub(crate) enum News {
    /// It is like this.
    Is(Kind, Value),
    /// It is gone.
    Gone {
        /// Which.
        target: Ref,
        /// The uid it had; empty when that is not known.
        uid: String,
    },
}

/// All watches.
pub(crate) struct Feeds {
    feeds: Vec<Feed>,
    /// Objects that were deleted here, with the version they had: their watch has not said so yet.
    buried: BTreeMap<Ref, u64>,
}

struct Feed {
    row: &'static ObjectKind,
    watch: Option<Watch>,
    version: String,
    /// What is there, for telling what has gone after a list.
    known: BTreeSet<Ref>,
}

/// The kinds that are followed, and whether their objects live in namespaces. Events are not: nobody
/// decides by them, and there are many.
pub(crate) fn kinds() -> impl Iterator<Item = (Kind, bool)> {
    rows().map(|row| (kind_of(row), row.namespaced))
}

fn rows() -> impl Iterator<Item = &'static ObjectKind> {
    KINDS.iter().copied().filter(|row| row.kind != "Event")
}

/// The row of a kind.
pub(crate) fn row_of(kind: Kind) -> Result<&'static ObjectKind> {
    kinds::by_kind(&kind.api_version(), kind.name)
        .ok_or_else(|| Error::internal(format!("{} is no kind of this cluster", kind.name)))
}

fn kind_of(row: &'static ObjectKind) -> Kind {
    Kind {
        group: row.group,
        version: row.version,
        name: row.kind,
    }
}

/// An object without what no rule reads.
pub(crate) fn plain(object: Object) -> Value {
    let mut value = object.into_value();
    if let Some(meta) = value["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    value
}

/// The version of an object, as a number.
pub(crate) fn version_of(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

impl Feeds {
    /// Lists everything, and begins to watch from there.
    pub(crate) async fn open(objects: &dyn Objects) -> Result<(Self, Vec<(Kind, Value)>)> {
        let mut found = Vec::new();
        let mut feeds = Vec::new();
        for row in rows() {
            let mut feed = Feed {
                row,
                watch: None,
                version: String::new(),
                known: BTreeSet::new(),
            };
            found.extend(feed.list(objects).await?);
            feed.watch = Some(feed.follow(objects).await?);
            feeds.push(feed);
        }
        let buried = BTreeMap::new();
        Ok((Self { feeds, buried }, found))
    }

    /// What can be told without waiting.
    pub(crate) async fn ready(&mut self, objects: &dyn Objects) -> Result<Vec<News>> {
        let mut all = Vec::new();
        for feed in &mut self.feeds {
            for _ in 0..TURN {
                let Some(watch) = &mut feed.watch else { break };
                // Without tokio's budget: what is there is there, however much was taken before.
                match tokio::task::unconstrained(watch.next()).now_or_never() {
                    None => break,
                    Some(event) => all.extend(feed.read(objects, event).await?),
                }
            }
        }
        Ok(all)
    }

    /// Waits until there is something to tell. May be dropped while it waits; nothing is lost.
    pub(crate) async fn wait(&mut self) -> (usize, Option<orc_kube::Result<WatchEvent>>) {
        let waits = self
            .feeds
            .iter_mut()
            .enumerate()
            .filter_map(|(index, feed)| {
                let watch = feed.watch.as_mut()?;
                Some(async move { (index, watch.next().await) }.boxed())
            });
        let (first, _, _) = futures_util::future::select_all(waits).await;
        first
    }

    /// What the event that [`Feeds::wait`] returned says.
    pub(crate) async fn read(
        &mut self,
        objects: &dyn Objects,
        (index, event): (usize, Option<orc_kube::Result<WatchEvent>>),
    ) -> Result<Vec<News>> {
        self.feeds[index].read(objects, event).await
    }

    /// Whether an object is newer than what is seen of it.
    pub(crate) fn is_news(&self, world: &World, kind: Kind, object: &Value) -> bool {
        let text = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let target = Ref {
            kind,
            namespace: text("namespace"),
            name: text("name"),
        };
        let version = version_of(object);
        let late = self
            .buried
            .get(&target)
            .is_some_and(|buried| version <= *buried);
        let seen = world.seen(&target);
        let seen = seen.and_then(|seen| seen.meta().resource_version.as_deref()?.parse().ok());
        !late && seen.is_none_or(|seen: u64| version > seen)
    }

    /// An object was deleted here; what its watch still says of it comes late.
    pub(crate) fn bury(&mut self, target: &Ref, version: u64) {
        self.buried.insert(target.clone(), version);
    }

    /// Its watch has said that it is gone.
    pub(crate) fn forget(&mut self, target: &Ref) {
        self.buried.remove(target);
    }
}

impl Feed {
    async fn list(&mut self, objects: &dyn Objects) -> Result<Vec<(Kind, Value)>> {
        let scope = Scope::all(self.row);
        let mut options = ListOptions {
            limit: PAGE,
            ..ListOptions::default()
        };
        let mut found = Vec::new();
        loop {
            let page = objects.list(&scope, &options).await.map_err(Error::from);
            let page = page.context(|| format!("list {}", self.row.plural))?;
            self.version = page.version;
            let kind = kind_of(self.row);
            found.extend(page.items.into_iter().map(|object| (kind, plain(object))));
            if page.continue_token.is_empty() {
                break;
            }
            options.continue_token = page.continue_token;
        }
        self.known = found
            .iter()
            .map(|(kind, object)| target_of(*kind, object))
            .collect();
        Ok(found)
    }

    async fn follow(&self, objects: &dyn Objects) -> Result<Watch> {
        let options = WatchOptions {
            version: self.version.clone(),
            bookmarks: true,
            ..WatchOptions::default()
        };
        let watch = objects.watch(&Scope::all(self.row), &options).await;
        watch
            .map_err(Error::from)
            .context(|| format!("watch {}", self.row.plural))
    }

    /// What an event of the watch says; after its end, what a new list says.
    async fn read(
        &mut self,
        objects: &dyn Objects,
        event: Option<orc_kube::Result<WatchEvent>>,
    ) -> Result<Vec<News>> {
        let kind = kind_of(self.row);
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(status)) => return self.recover(objects, Error::from(status)).await,
            None => {
                self.watch = Some(self.follow(objects).await?);
                return Ok(Vec::new());
            }
        };
        self.version = event.object().resource_version().to_owned();
        Ok(match event {
            WatchEvent::Bookmark(_) => Vec::new(),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let object = plain(object);
                self.known.insert(target_of(kind, &object));
                vec![News::Is(kind, object)]
            }
            WatchEvent::Deleted(object) => {
                let uid = object.uid().to_owned();
                let target = target_of(kind, &plain(object));
                self.known.remove(&target);
                vec![News::Gone { target, uid }]
            }
        })
    }

    /// Begins anew from a list when the watch's place is no longer kept.
    async fn recover(&mut self, objects: &dyn Objects, error: Error) -> Result<Vec<News>> {
        if error.kind() != Failure::Expired {
            return Err(error.within(format!("watch {}", self.row.plural)));
        }
        let before = std::mem::take(&mut self.known);
        let found = self.list(objects).await?;
        self.watch = Some(self.follow(objects).await?);
        let gone: Vec<Ref> = before.difference(&self.known).cloned().collect();
        let gone = gone.into_iter().map(|target| News::Gone {
            target,
            uid: String::new(),
        });
        let is = found
            .into_iter()
            .map(|(kind, object)| News::Is(kind, object));
        Ok(gone.chain(is).collect())
    }
}

fn target_of(kind: Kind, object: &Value) -> Ref {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Ref {
        kind,
        namespace: text("namespace"),
        name: text("name"),
    }
}
