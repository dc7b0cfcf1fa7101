//! Many clients write at random while others list and watch: all come to the same picture.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use orc_store::Limits;
use serde_json::json;

use super::{World, options, world};
use crate::kinds::CONFIG_MAP;
use crate::object::Object;
use crate::objects::{
    DeleteOptions, ListOptions, Objects as _, Patch, Scope, Target, WatchEvent, WatchOptions,
};
use crate::selector::LabelSelector;

const SEEDS: u64 = 30;
const WRITES: usize = 120;
const NAMES: u64 = 6;

/// A small generator with a printed seed (`splitmix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn map(name: &str, value: u64) -> Object {
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "odd": (value % 2 == 1).to_string() } },
        "data": { "v": value.to_string() },
    }))
    .unwrap()
}

/// One random write. Whatever it is refused with is one of the refusals that clients must expect.
async fn write(world: &World, random: &mut Random, held: &mut BTreeMap<String, Object>) {
    let name = format!("m{}", random.below(NAMES));
    let (objects, target) = (&world.objects, Target::new(&CONFIG_MAP, "a", &name));
    let value = random.below(1000);
    let outcome = match random.below(6) {
        0 | 1 => {
            let scope = Scope::inside(&CONFIG_MAP, "a");
            let made = objects.create(&scope, map(&name, value), &options()).await;
            made.map(|made| Some(made.object))
        }
        2 => {
            let patch = Patch::Merge(json!({
                "metadata": { "labels": { "odd": (value % 2 == 1).to_string() } },
                "data": { "v": value.to_string() },
            }));
            objects
                .patch(&target, &patch, &options())
                .await
                .map(|made| Some(made.object))
        }
        3 => objects
            .delete(&target, &DeleteOptions::default())
            .await
            .map(|_| None),
        // Writes of what was read some time ago: made only when nobody wrote since.
        _ => match held.get(&name) {
            Some(old) => {
                let mut new = map(&name, value);
                new.set(&["metadata", "resourceVersion"], old.resource_version());
                let stale = objects.get(&target, "").await.ok();
                let made = objects.update(&target, new, &options()).await;
                let was_current =
                    stale.is_some_and(|now| now.resource_version() == old.resource_version());
                assert_eq!(made.is_ok(), was_current, "{name}");
                made.map(|made| Some(made.object))
            }
            None => Ok(None),
        },
    };
    match outcome {
        Ok(Some(object)) => {
            held.insert(name, object);
        }
        Ok(None) => {}
        Err(status) => assert!(matches!(status.code(), 404 | 409), "{status}"),
    }
}

/// Lists, then follows: the picture of one client.
struct Mirror {
    seen: BTreeMap<String, Object>,
    version: u64,
    labels: LabelSelector,
}

impl Mirror {
    async fn list(world: &World, labels: &str) -> Self {
        let labels = LabelSelector::parse(labels).unwrap();
        let mut options = ListOptions {
            labels: labels.clone(),
            limit: 2,
            ..ListOptions::default()
        };
        let (mut seen, scope) = (BTreeMap::new(), Scope::inside(&CONFIG_MAP, "a"));
        loop {
            let page = world.objects.list(&scope, &options).await.unwrap();
            seen.extend(
                page.items
                    .into_iter()
                    .map(|object| (object.name().to_owned(), object)),
            );
            if page.continue_token.is_empty() {
                let version = page.version.parse().unwrap();
                return Self {
                    seen,
                    version,
                    labels,
                };
            }
            options.continue_token = page.continue_token;
        }
    }

    /// Follows up to a version.
    async fn follow(&mut self, world: &World, upto: u64) {
        let options = WatchOptions {
            labels: self.labels.clone(),
            version: self.version.to_string(),
            bookmarks: true,
            ..WatchOptions::default()
        };
        let scope = Scope::inside(&CONFIG_MAP, "a");
        let mut watch = world.objects.watch(&scope, &options).await.unwrap();
        while self.version < upto {
            let event = watch.next().await.expect("an open watch").unwrap();
            let object = event.object().clone();
            let (name, version) = (object.name().to_owned(), object.revision().unwrap().0);
            let had = self.seen.contains_key(&name);
            match event {
                WatchEvent::Bookmark(_) => assert!(version >= self.version),
                _ => assert!(version > self.version, "{version} after {}", self.version),
            }
            self.version = version;
            match event {
                WatchEvent::Added(_) => assert!(!had, "{name} added twice"),
                WatchEvent::Modified(_) => assert!(had, "{name} modified, never added"),
                WatchEvent::Deleted(_) => assert!(had, "{name} deleted, never added"),
                WatchEvent::Bookmark(_) => continue,
            }
            match event {
                WatchEvent::Deleted(_) => self.seen.remove(&name),
                _ => self.seen.insert(name, object),
            };
        }
    }
}

#[tokio::test]
async fn lists_and_watches_converge() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let world = world(Limits::default()).await;
        let mut random = Random(seed);
        let mut held = BTreeMap::new();
        let mut mirrors = vec![
            Mirror::list(&world, "").await,
            Mirror::list(&world, "odd=true").await,
        ];
        for step in 0..WRITES {
            write(&world, &mut random, &mut held).await;
            if step % 30 == 7 {
                let labels = ["", "odd=true", "odd!=true"][step % 3];
                mirrors.push(Mirror::list(&world, labels).await);
            }
            if random.below(10) == 0 {
                let upto = Mirror::list(&world, "").await.version;
                let index = random.below(mirrors.len() as u64) as usize;
                mirrors[index].follow(&world, upto).await;
            }
        }
        let end = Mirror::list(&world, "").await;
        for mirror in &mut mirrors {
            mirror.follow(&world, end.version).await;
            let now = Mirror::list(&world, &mirror.labels.to_string()).await;
            assert_eq!(mirror.seen, now.seen, "seed {seed}, {}", mirror.labels);
        }
    }
}
