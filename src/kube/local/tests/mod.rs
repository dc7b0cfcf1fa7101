//! What [`LocalObjects`] does beyond the contract of its seam.

mod claims;
mod kinds;
mod managed;
mod model;
mod namespaces;
mod past;

use std::sync::Arc;
use std::time::Duration;

use orc_base::Time;
use orc_base::clock::FakeClock;
use orc_store::{Limits, MemoryStore};
use serde_json::{Value, json};

use crate::kinds::NAMESPACE;
use crate::local::{LocalObjects, Settings};
use crate::object::Object;
use crate::objects::{Objects, Scope, WriteOptions};

struct World {
    objects: LocalObjects,
    store: Arc<MemoryStore>,
    clock: Arc<FakeClock>,
}

/// An empty cluster with the namespace `a`.
async fn world(limits: Limits) -> World {
    let store = Arc::new(MemoryStore::new(limits));
    let clock = Arc::new(FakeClock::at(Time::from_secs(1_000_000_000)));
    let settings = Settings {
        bookmarks: Duration::ZERO,
        patience: Duration::from_millis(50),
        ..Settings::default()
    };
    let objects = LocalObjects::new(store.clone(), clock.clone(), settings);
    let world = World {
        objects,
        store,
        clock,
    };
    world.namespace("a").await;
    world
}

impl World {
    async fn namespace(&self, name: &str) {
        let object = Object::new("v1", "Namespace", "", name);
        let made = self
            .objects
            .create(&Scope::all(&NAMESPACE), object, &options())
            .await;
        made.unwrap();
    }

    /// Creates an object of JSON, in the namespace `a` when it has none.
    async fn create(&self, object: Value) -> crate::Result<Object> {
        let object = Object::from_value(object).unwrap();
        let kind = crate::kinds::by_kind(object.api_version(), object.kind()).unwrap();
        let namespace = match (kind.namespaced, object.namespace()) {
            (false, _) => "",
            (true, "") => "a",
            (true, own) => own,
        }
        .to_owned();
        let scope = Scope::inside(kind, &namespace);
        Ok(self
            .objects
            .create(&scope, object, &options())
            .await?
            .object)
    }
}

fn options() -> WriteOptions {
    WriteOptions::by("test")
}

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } })
}

#[tokio::test]
async fn keeps_the_contract() {
    let world = world(Limits::default()).await;
    crate::contract::check(&world.objects, "a").await;
    crate::contract::check_transactions(&world.objects, "a").await;
}
