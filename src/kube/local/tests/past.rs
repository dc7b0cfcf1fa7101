//! Versions that are no longer kept, and bookmarks.

use futures_util::StreamExt as _;
use orc_store::Limits;

use super::{config_map, world};
use crate::kinds::CONFIG_MAP;
use crate::objects::{ListOptions, Objects as _, Scope, VersionMatch, WatchEvent, WatchOptions};

const LIMITS: Limits = Limits {
    events: 10,
    bytes: 1 << 20,
};

#[tokio::test]
async fn what_is_forgotten_is_410() {
    let world = world(LIMITS).await;
    let scope = Scope::inside(&CONFIG_MAP, "a");
    for index in 0..5 {
        world
            .create(config_map(&format!("m{index}")))
            .await
            .unwrap();
    }
    let mut options = ListOptions {
        limit: 2,
        ..ListOptions::default()
    };
    let first = world.objects.list(&scope, &options).await.unwrap();
    let watch = WatchOptions {
        version: first.version.clone(),
        ..WatchOptions::default()
    };
    let mut slow = world.objects.watch(&scope, &watch).await.unwrap();
    for index in 5..20 {
        world
            .create(config_map(&format!("m{index:02}")))
            .await
            .unwrap();
    }
    let exact = ListOptions {
        version: first.version.clone(),
        version_match: VersionMatch::Exact,
        ..ListOptions::default()
    };
    assert_eq!(
        world.objects.list(&scope, &exact).await.unwrap_err().code(),
        410
    );
    let status = world.objects.watch(&scope, &watch).await.unwrap_err();
    assert!(
        status.code() == 410 && status.message().starts_with("too old resource version"),
        "{status}"
    );
    let last = loop {
        match slow.next().await.expect("an error at the end") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(last.code(), 410);
    assert!(slow.next().await.is_none());
    // The list can go on from what is now, with the token that the refusal holds.
    options.continue_token = first.continue_token;
    let status = world.objects.list(&scope, &options).await.unwrap_err();
    assert_eq!(status.code(), 410);
    let body = status.to_json();
    options.continue_token = body["metadata"]["continue"].as_str().unwrap().to_owned();
    let next = world.objects.list(&scope, &options).await.unwrap();
    assert_eq!(next.items[0].name(), "m10");
    options.continue_token = "nonsense".to_owned();
    assert_eq!(
        world
            .objects
            .list(&scope, &options)
            .await
            .unwrap_err()
            .code(),
        400
    );
}

#[tokio::test]
async fn bookmarks_follow_what_happens_elsewhere() {
    let world = world(Limits::default()).await;
    world.namespace("b").await;
    let made = world.create(config_map("m")).await.unwrap();
    let options = WatchOptions {
        version: made.resource_version().to_owned(),
        bookmarks: true,
        ..WatchOptions::default()
    };
    let mut watch = world
        .objects
        .watch(&Scope::inside(&CONFIG_MAP, "b"), &options)
        .await
        .unwrap();
    let other = world.create(config_map("n")).await.unwrap();
    let Some(Ok(WatchEvent::Bookmark(bookmark))) = watch.next().await else {
        panic!("a bookmark")
    };
    assert_eq!(bookmark.resource_version(), other.resource_version());
    assert_eq!(bookmark.kind(), "ConfigMap");
}
