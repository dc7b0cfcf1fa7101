//! What every [`Store`] promises, as one suite.

#![expect(clippy::unwrap_used, reason = "a suite of tests")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use orc_base::Kind;

use crate::map::Limits;
use crate::model::{Change, Guard, Key, Range, Read, Revision, Transaction, Update, Verdict};
use crate::{Store, Watch};

/// How much history the stores under test keep.
pub const LIMITS: Limits = Limits {
    events: 100,
    bytes: 1 << 20,
};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn put(store: &dyn Store, name: &str, value: &str) -> Revision {
    let transaction = Transaction {
        guards: Vec::new(),
        changes: vec![Change::Put(key(name), Bytes::from(value.to_owned()))],
    };
    match store.commit(transaction).await.unwrap() {
        Verdict::Made { revision } => revision,
        refused @ Verdict::Refused { .. } => panic!("{refused:?}"),
    }
}

/// The next `count` events as `key=value` or `-key`, checking that revisions only grow.
async fn told(watch: &mut Watch, count: usize) -> Vec<String> {
    let (mut told, mut last) = (Vec::new(), Revision::default());
    while told.len() < count {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        match next
            .expect("an update in time")
            .expect("an open watch")
            .unwrap()
        {
            Update::Bookmark(revision) => assert!(revision >= last),
            Update::Event(event) => {
                assert!(event.revision() > last);
                last = event.revision();
                told.push(match &*event {
                    crate::Event::Put { entry, .. } => {
                        format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value))
                    }
                    crate::Event::Removed { previous, .. } => format!("-{}", previous.key),
                });
            }
        }
    }
    told
}

/// Runs the suite on an empty store that keeps [`LIMITS`].
pub async fn check(store: &dyn Store) {
    reads_and_guards(store).await;
    watches(store).await;
    forgetting(store).await;
}

async fn reads_and_guards(store: &dyn Store) {
    let first = put(store, "a/1", "one").await;
    let second = put(store, "a/2", "two").await;
    assert!(second > first);
    let found = store.get(&key("a/1"), Read::Latest).await.unwrap();
    let entry = found.entry.unwrap();
    assert_eq!((&entry.value[..], entry.modified), (&b"one"[..], first));
    assert!(found.revision >= second);
    let range = Range {
        prefix: "a/".to_owned(),
        ..Range::default()
    };
    let past = store.list(&range, Read::Exactly(first)).await.unwrap();
    assert_eq!((past.entries.len(), past.revision), (1, first));
    let now = store.list(&range, Read::AtLeast(second)).await.unwrap();
    assert_eq!(now.entries.len(), 2);
    let page = Range { limit: 1, ..range };
    let page = store.list(&page, Read::Local).await.unwrap();
    assert_eq!((page.entries.len(), page.remaining), (1, 1));
    let transaction = |revision| Transaction {
        guards: vec![Guard::Unchanged(key("a/1"), revision)],
        changes: vec![
            Change::Put(key("a/1"), Bytes::from_static(b"three")),
            Change::Remove(key("a/2")),
        ],
    };
    let verdict = store.commit(transaction(second)).await.unwrap();
    let refused = Verdict::Refused {
        guard: 0,
        current: Some(entry),
    };
    assert_eq!(verdict, refused);
    let verdict = store.commit(transaction(first)).await.unwrap();
    let Verdict::Made { revision } = verdict else {
        panic!("{verdict:?}")
    };
    let gone = store.get(&key("a/2"), Read::Latest).await.unwrap();
    assert_eq!((gone.entry, gone.revision), (None, revision));
    let future = Revision(revision.0 + 1000);
    let error = store.get(&key("a/1"), Read::Exactly(future)).await;
    assert_eq!(error.unwrap_err().kind(), Kind::Invalid);
    let twice = Transaction {
        guards: Vec::new(),
        changes: vec![Change::Remove(key("x")), Change::Remove(key("x"))],
    };
    let error = store.commit(twice).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

async fn watches(store: &dyn Store) {
    let start = put(store, "w/0", "before").await;
    let mut from_now = store.watch("w/", start).await.unwrap();
    put(store, "w/1", "x").await;
    put(store, "elsewhere", "y").await;
    let last = put(store, "w/1", "z").await;
    let remove = Transaction {
        guards: Vec::new(),
        changes: vec![Change::Remove(key("w/0")), Change::Remove(key("w/1"))],
    };
    store.commit(remove).await.unwrap();
    let all = ["w/1=x", "w/1=z", "-w/0", "-w/1"];
    assert_eq!(told(&mut from_now, 4).await, all);
    let mut again = store.watch("w/", start).await.unwrap();
    assert_eq!(told(&mut again, 4).await, all);
    let mut between = store.watch("w/", last).await.unwrap();
    assert_eq!(told(&mut between, 2).await, all[2..]);
    // Behind the first change of a transaction of two.
    let middle = Revision(last.0 + 1);
    let mut inside = store.watch("w/", middle).await.unwrap();
    assert_eq!(told(&mut inside, 1).await, all[3..]);
}

async fn forgetting(store: &dyn Store) {
    let old = put(store, "f", "old").await;
    let mut slow = store.watch("f", old).await.unwrap();
    for n in 0..LIMITS.events + 1 {
        put(store, "f", &n.to_string()).await;
    }
    let gone = store.get(&key("f"), Read::Exactly(old)).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::Expired);
    let gone = store.watch("f", old).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::Expired);
    let last = tokio::time::timeout(PATIENCE, async {
        loop {
            match slow.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("a watch that fell behind ends with an error"),
            }
        }
    });
    assert_eq!(last.await.unwrap().kind(), Kind::Expired);
    assert!(slow.next().await.is_none());
    let now = put(store, "f", "now").await;
    store.compact(now).await.unwrap();
    let kept = store.get(&key("f"), Read::Exactly(now)).await.unwrap();
    assert_eq!(&kept.entry.unwrap().value[..], b"now");
    let before = Read::Exactly(Revision(now.0 - 1));
    let gone = store.get(&key("f"), before).await;
    assert_eq!(gone.unwrap_err().kind(), Kind::Expired);
}
