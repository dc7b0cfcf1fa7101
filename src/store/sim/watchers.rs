//! Watches that go on from member to member, and what must hold of what they were told.
//!
//! What was told between two revisions must be exactly the changes there were: in order, each once, none
//! missing, and the same for everyone. A watch whose history is gone is told so, and begins again behind
//! what it lists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use orc_base::Kind;

use crate::model::{Event, Read, Revision, Update};
use crate::sim::history::{History, Value, name, value_of};
use crate::sim::runtime::Chance;
use crate::sim::world::World;
use crate::{Range, Store as _};

/// What is told at each revision.
type Told = (String, Value);

/// What one watcher was told without a break: all changes below `prefix` behind `from` up to `to`.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    prefix: String,
    from: Revision,
    to: Revision,
    events: Vec<(Revision, Told)>,
}

/// Watchers at work.
pub(crate) struct Watchers {
    ended: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Stretch>>>,
}

/// Some watchers of everything, and some of one key.
pub(crate) fn start(world: &World) -> Watchers {
    let ended = Arc::new(AtomicBool::new(false));
    let prefixes = ["", "", "", "k/1", "k/2"];
    let tasks = prefixes.map(|prefix| {
        let (world, ended) = (world.clone(), ended.clone());
        tokio::spawn(async move { follow(&world, prefix, &ended).await })
    });
    Watchers {
        ended,
        tasks: tasks.into(),
    }
}

impl Watchers {
    pub(crate) async fn end(self) -> Vec<Stretch> {
        self.ended.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.expect("a watcher does not panic"));
        }
        all
    }
}

async fn follow(world: &World, prefix: &str, ended: &AtomicBool) -> Vec<Stretch> {
    let begin = |from| Stretch {
        prefix: prefix.to_owned(),
        from,
        to: from,
        events: Vec::new(),
    };
    let (mut stretches, mut now) = (Vec::new(), begin(Revision(0)));
    while !ended.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10 + Chance::below(100))).await;
        let Some(store) = world.any() else {
            continue;
        };
        let expired = match store.watch(prefix, now.to).await {
            Ok(watch) => listen(watch, &mut now, ended).await,
            Err(error) => error.kind() == Kind::Expired,
        };
        if expired && let Ok(list) = store.list(&Range::default(), Read::Latest).await {
            stretches.push(std::mem::replace(&mut now, begin(list.revision)));
        }
    }
    stretches.push(now);
    stretches
}

/// Listens for a while; whether the history is gone.
async fn listen(mut watch: crate::Watch, now: &mut Stretch, ended: &AtomicBool) -> bool {
    let until = tokio::time::Instant::now() + Duration::from_millis(200 + Chance::below(3000));
    while !ended.load(Ordering::Relaxed) {
        let slice = until.min(tokio::time::Instant::now() + Duration::from_millis(300));
        match tokio::time::timeout_at(slice, watch.next()).await {
            Ok(Some(Ok(Update::Bookmark(revision)))) => now.to = now.to.max(revision),
            Ok(Some(Ok(Update::Event(event)))) => {
                now.events.push((event.revision(), told(&event)));
                now.to = event.revision();
                // A slow reader.
                if Chance::percent(3) {
                    tokio::time::sleep(Duration::from_millis(Chance::below(400))).await;
                }
            }
            Ok(Some(Err(error))) => return error.kind() == Kind::Expired,
            Ok(None) => return false,
            Err(_) if tokio::time::Instant::now() >= until => return false,
            Err(_) => {}
        }
    }
    false
}

fn told(event: &Event) -> Told {
    let value = match event {
        Event::Put { entry, .. } => value_of(Some(entry)),
        Event::Removed { .. } => None,
    };
    (event.key().to_string(), value)
}

/// Judges all that was told. How many events there were.
pub(crate) fn check(stretches: &[Stretch], history: &History) -> Result<usize, String> {
    let mut all: BTreeMap<Revision, Told> = BTreeMap::new();
    for (revision, told) in stretches.iter().flat_map(|stretch| &stretch.events) {
        let before = all.entry(*revision).or_insert_with(|| told.clone());
        if before != told {
            return Err(format!(
                "revision {revision} was told as {before:?} and as {told:?}"
            ));
        }
    }
    for (revision, key, value) in &history.made {
        let wanted = (name(*key).to_string(), *value);
        if all.get(revision).is_some_and(|told| *told != wanted) {
            let told = &all[revision];
            return Err(format!(
                "{wanted:?} was acknowledged at revision {revision}, but {told:?} is there"
            ));
        }
    }
    stretches
        .iter()
        .try_for_each(|stretch| without_gap(stretch, &all))?;
    Ok(stretches.iter().map(|stretch| stretch.events.len()).sum())
}

fn without_gap(stretch: &Stretch, all: &BTreeMap<Revision, Told>) -> Result<(), String> {
    let prefix = &stretch.prefix;
    let mut last = stretch.from;
    for (revision, _) in &stretch.events {
        if *revision <= last {
            return Err(format!("revision {revision} was told behind {last}"));
        }
        if prefix.is_empty() && revision.0 != last.0 + 1 {
            return Err(format!("revision {revision} was told next to {last}"));
        }
        last = *revision;
    }
    if prefix.is_empty() && last < stretch.to {
        return Err(format!(
            "changes up to {} were promised, but {last} was the last",
            stretch.to
        ));
    }
    let inside = all
        .range((
            std::ops::Bound::Excluded(stretch.from),
            std::ops::Bound::Included(stretch.to),
        ))
        .filter(|(_, (key, _))| key.starts_with(prefix));
    let told: Vec<Revision> = stretch
        .events
        .iter()
        .map(|(revision, _)| *revision)
        .collect();
    match inside
        .map(|(revision, _)| *revision)
        .find(|revision| !told.contains(revision))
    {
        Some(missed) => Err(format!(
            "a watch of `{prefix}` was not told of revision {missed}"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(prefix: &str, from: u64, to: u64, events: &[u64]) -> Stretch {
        let told = |revision: &u64| {
            (
                Revision(*revision),
                (format!("k/{}", revision % 2), Some(*revision)),
            )
        };
        Stretch {
            prefix: prefix.to_owned(),
            from: Revision(from),
            to: Revision(to),
            events: events.iter().map(told).collect(),
        }
    }

    fn judged(stretches: &[Stretch]) -> bool {
        check(stretches, &History::default()).is_ok()
    }

    #[test]
    fn wrong_watches_are_found() {
        let whole = stretch("", 0, 5, &[1, 2, 3, 4, 5]);
        assert!(judged(&[
            whole.clone(),
            stretch("k/1", 0, 5, &[1, 3, 5]),
            stretch("", 2, 4, &[3, 4])
        ]));
        assert!(judged(&[whole.clone(), stretch("k/1", 1, 4, &[3])]));
        for wrong in [
            stretch("", 0, 5, &[1, 2, 4, 5]),
            stretch("", 0, 5, &[1, 2, 2, 3, 4, 5]),
            stretch("", 0, 5, &[1, 3, 2, 4, 5]),
            stretch("", 0, 5, &[1, 2, 3, 4]),
            stretch("", 1, 5, &[1, 2, 3, 4, 5]),
            stretch("k/1", 0, 5, &[1, 5]),
            stretch("k/1", 0, 5, &[1, 3]),
            stretch("k/1", 0, 5, &[1, 3, 3, 5]),
        ] {
            assert!(!judged(&[whole.clone(), wrong.clone()]), "{wrong:?}");
        }
        let mut other = stretch("", 2, 3, &[3]);
        other.events[0].1.1 = Some(77);
        assert!(!judged(&[whole.clone(), other]));
        let acknowledged = History {
            made: vec![(Revision(3), 1, Some(77))],
            ..History::default()
        };
        assert!(check(&[whole], &acknowledged).is_err());
    }
}
