//! Following changes: what selectors make of them, what comes first, and bookmarks.
//!
//! An object that begins to be wanted is `ADDED` and one that ends to be is `DELETED`, whatever happened
//! to it: the change and what was before it decide, nothing is remembered.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use orc_store::{Event, Revision, Store, Update};
use serde_json::json;
use tokio::time::Instant;

use crate::kind::ObjectKind;
use crate::local::keys;
use crate::local::read::{self, Reader};
use crate::object::Object;
use crate::objects::{ListOptions, Scope, VersionMatch, Watch, WatchEvent, WatchOptions};
use crate::status::{Result, Status};

/// Says that all that existed has been told.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// Begins to follow.
pub(crate) async fn watch(
    store: &dyn Store,
    patience: Duration,
    bookmarks_every: Duration,
    scope: &Scope,
    options: &WatchOptions,
) -> Result<Watch> {
    check(scope, options)?;
    let version = read::parse_version(&options.version)?;
    let mut ready = VecDeque::new();
    let start = match (version, options.initial) {
        (Some(version), None | Some(false)) if version > 0 => Revision(version),
        (_, initial) => {
            let reader = Reader { store, patience };
            let listed = initial_list(&reader, scope, options, version).await?;
            let start = Revision(listed.version.parse().unwrap_or_default());
            if initial != Some(false) {
                ready.extend(listed.items.into_iter().map(WatchEvent::Added));
            }
            if initial == Some(true) && options.bookmarks {
                ready.push_back(WatchEvent::Bookmark(bookmark(scope.kind, start, true)));
            }
            start
        }
    };
    let prefix = read::prefix(scope, &options.fields);
    let source = store.watch(&prefix, start).await.map_err(too_old)?;
    let follower = Follower {
        source,
        ready,
        kind: scope.kind,
        options: options.clone(),
        told: None,
        due: Instant::now() + bookmarks_every,
        bookmarks_every,
        ended: false,
    };
    Ok(Watch::new(futures_util::stream::unfold(
        follower,
        Follower::next,
    )))
}

fn check(scope: &Scope, options: &WatchOptions) -> Result<()> {
    options.fields.check(scope.kind).map_err(Status::from)?;
    let forbidden = |why: &str| Err(Status::bad_request(why));
    match (options.initial, options.version_match) {
        (None, VersionMatch::Unset) | (Some(_), VersionMatch::NotOlderThan) => Ok(()),
        (None, _) => forbidden(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (Some(_), _) => forbidden(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
    }
}

async fn initial_list(
    reader: &Reader<'_>,
    scope: &Scope,
    options: &WatchOptions,
    version: Option<u64>,
) -> Result<crate::objects::List> {
    let list = ListOptions {
        labels: options.labels.clone(),
        fields: options.fields.clone(),
        version: version
            .map(|version| version.to_string())
            .unwrap_or_default(),
        ..ListOptions::default()
    };
    reader.list(scope, &list).await
}

fn too_old(error: orc_base::Error) -> Status {
    match error.kind() {
        orc_base::Kind::Expired => Status::expired(format!("too old resource version: {error}")),
        _ => error.into(),
    }
}

/// An object that only says a version.
fn bookmark(kind: &ObjectKind, revision: Revision, initial_end: bool) -> Object {
    let mut object = Object::default();
    object.set(&["apiVersion"], kind.api_version());
    object.set(&["kind"], kind.kind);
    object.set(&["metadata", "resourceVersion"], revision.to_string());
    object.set(&["metadata", "creationTimestamp"], json!(null));
    if initial_end {
        object.set(&["metadata", "annotations", INITIAL_END], "true");
    }
    object
}

struct Follower {
    source: orc_store::Watch,
    ready: VecDeque<WatchEvent>,
    kind: &'static ObjectKind,
    options: WatchOptions,
    /// Up to here all was told, and no event said so.
    told: Option<Revision>,
    due: Instant,
    bookmarks_every: Duration,
    ended: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<WatchEvent>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            let wanted = self.options.bookmarks.then_some(()).and(self.told);
            let update = match wanted {
                None => self.source.next().await,
                Some(revision) => match tokio::time::timeout_at(self.due, self.source.next()).await
                {
                    Ok(update) => update,
                    Err(_) => {
                        self.say(revision);
                        continue;
                    }
                },
            };
            match update {
                Some(Ok(Update::Bookmark(revision))) => {
                    self.told = Some(revision);
                    if self.options.bookmarks && self.due <= Instant::now() {
                        self.say(revision);
                    }
                }
                Some(Ok(Update::Event(event))) => match self.seen(&event) {
                    Ok(event) => self.ready.extend(event),
                    Err(status) => return self.fail(status),
                },
                Some(Err(error)) => return self.fail(too_old(error)),
                None => return None,
            }
        }
    }

    fn fail(mut self, status: Status) -> Option<(Result<WatchEvent>, Self)> {
        self.ended = true;
        Some((Err(status), self))
    }

    fn say(&mut self, revision: Revision) {
        let object = bookmark(self.kind, revision, false);
        self.ready.push_back(WatchEvent::Bookmark(object));
        self.told = None;
        self.due = Instant::now() + self.bookmarks_every;
    }

    /// What a change is to this watch.
    fn seen(&self, event: &Event) -> Result<Option<WatchEvent>> {
        let wanted = |object: &Object| {
            read::wanted(
                self.kind,
                object,
                &self.options.labels,
                &self.options.fields,
            )
        };
        let before = event
            .previous()
            .map(|entry| keys::decode(self.kind, entry))
            .transpose()?
            .filter(|object| wanted(object));
        let after = match event {
            Event::Put { entry, .. } => {
                Some(keys::decode(self.kind, entry)?).filter(|object| wanted(object))
            }
            Event::Removed { .. } => None,
        };
        let at = |object| keys::versioned(object, event.revision());
        Ok(match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(WatchEvent::Added(after)),
            (Some(_), Some(after)) => Some(WatchEvent::Modified(after)),
            (Some(before), None) => Some(WatchEvent::Deleted(at(before))),
        })
    }
}
