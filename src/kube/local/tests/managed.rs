//! Who owns which field, as `managedFields` of the real server would show it.

#![expect(
    clippy::needless_pass_by_value,
    reason = "values are written where they are used"
)]

use std::time::Duration;

use orc_store::Limits;
use serde_json::{Value, json};

use super::{World, world};
use crate::kinds::DEPLOYMENT;
use crate::object::Object;
use crate::objects::{Objects as _, Patch, Scope, Target, WriteOptions};

fn deployment(containers: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": { "app": "web" } },
        "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": {
            "metadata": { "labels": { "app": "web" } }, "spec": { "containers": containers } } },
    })
}

/// Every manager with its fields.
fn owners(object: &Object) -> Value {
    object
        .list(&["metadata", "managedFields"])
        .iter()
        .map(|entry| {
            let name = format!(
                "{} {}",
                entry["manager"].as_str().unwrap(),
                entry["operation"].as_str().unwrap()
            );
            (name, entry["fieldsV1"].clone())
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn apply(world: &World, manager: &str, object: Value) -> Object {
    let target = Target::new(&DEPLOYMENT, "a", "web");
    let options = WriteOptions::by(manager);
    world
        .objects
        .patch(&target, &Patch::Apply(object), &options)
        .await
        .unwrap()
        .object
}

#[tokio::test]
async fn a_creation_owns_what_it_says() {
    let world = world(Limits::default()).await;
    let object = Object::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m", "labels": { "a": "b" } },
        "data": { "k": "v" },
    }))
    .unwrap();
    let scope = Scope::inside(&crate::kinds::CONFIG_MAP, "a");
    let made = world
        .objects
        .create(&scope, object, &WriteOptions::by("kubectl-create"))
        .await
        .unwrap();
    assert_eq!(
        made.object.list(&["metadata", "managedFields"]),
        [json!({
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1",
            "time": "2001-09-09T01:46:40Z", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:data": { ".": {}, "f:k": {} },
                "f:metadata": { "f:labels": { ".": {}, "f:a": {} } },
            },
        })]
    );
}

#[tokio::test]
async fn an_apply_owns_all_it_says_and_no_default() {
    let world = world(Limits::default()).await;
    let container = json!([{ "name": "c", "image": "x", "ports": [{ "containerPort": 80 }] }]);
    let made = apply(&world, "one", deployment(container)).await;
    assert_eq!(
        owners(&made),
        json!({ "one Apply": {
            "f:metadata": { "f:labels": { "f:app": {} } },
            "f:spec": { "f:selector": {}, "f:template": {
                "f:metadata": { "f:labels": { "f:app": {} } },
                "f:spec": { "f:containers": { "k:{\"name\":\"c\"}": {
                    ".": {}, "f:name": {}, "f:image": {},
                    "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
                } } },
            } },
        } })
    );
}

#[tokio::test]
async fn what_two_apply_stays_until_both_let_go() {
    let world = world(Limits::default()).await;
    let (a, b) = (
        json!({ "name": "a", "image": "x" }),
        json!({ "name": "b", "image": "y" }),
    );
    apply(&world, "one", deployment(json!([a]))).await;
    let both = apply(&world, "two", deployment(json!([b, a]))).await;
    assert_eq!(containers(&both), "b a");
    let less = apply(&world, "two", deployment(json!([b]))).await;
    assert_eq!(containers(&less), "b a");
    let least = apply(&world, "one", deployment(json!([b]))).await;
    assert_eq!(containers(&least), "b");
}

fn containers(object: &Object) -> String {
    let list = object.list(&["spec", "template", "spec", "containers"]);
    let names: Vec<_> = list
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    names.join(" ")
}

#[tokio::test]
async fn an_update_takes_fields_and_a_no_op_takes_nothing() {
    let world = world(Limits::default()).await;
    let object = || deployment(json!([{ "name": "c", "image": "x" }]));
    let made = apply(&world, "one", object()).await;
    world.clock.advance(Duration::from_secs(5));
    let target = Target::new(&DEPLOYMENT, "a", "web");
    let image = Patch::Strategic(json!({
        "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": "y" }] } } }
    }));
    let edited = world
        .objects
        .patch(&target, &image, &WriteOptions::by("edit"))
        .await
        .unwrap()
        .object;
    let mine = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": {
        "k:{\"name\":\"c\"}": { "f:image": {} } } } } } });
    assert_eq!(owners(&edited)["edit Update"], mine);
    let left = &owners(&edited)["one Apply"]["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
    assert_eq!(*left, json!({ ".": {}, "f:name": {} }));
    let same = world
        .objects
        .patch(&target, &image, &WriteOptions::by("other"))
        .await
        .unwrap()
        .object;
    assert_eq!(same, edited);
    let options = WriteOptions::by("one");
    let status = world
        .objects
        .patch(&target, &Patch::Apply(object()), &options)
        .await
        .unwrap_err();
    assert_eq!(
        status.message(),
        "Apply failed with 1 conflict: conflict with \"edit\" using apps/v1 at 2001-09-09T01:46:45Z: .spec.template.spec.containers[name=\"c\"].image"
    );
    assert_eq!(status.causes()[0].reason, "FieldManagerConflict");
    let force = WriteOptions {
        force: true,
        ..options
    };
    let forced = world
        .objects
        .patch(&target, &Patch::Apply(object()), &force)
        .await
        .unwrap()
        .object;
    assert_eq!(owners(&forced), owners(&made));
}

#[tokio::test]
async fn many_updaters_become_one() {
    let world = world(Limits::default()).await;
    apply(
        &world,
        "one",
        deployment(json!([{ "name": "c", "image": "x" }])),
    )
    .await;
    let target = Target::new(&DEPLOYMENT, "a", "web");
    for index in 0..14 {
        world.clock.advance(Duration::from_secs(1));
        let patch =
            Patch::Merge(json!({ "metadata": { "annotations": { format!("k{index}"): "v" } } }));
        let options = WriteOptions::by(&format!("m{index}"));
        world
            .objects
            .patch(&target, &patch, &options)
            .await
            .unwrap();
    }
    let object = world.objects.get(&target, "").await.unwrap();
    let entries = object.list(&["metadata", "managedFields"]);
    assert_eq!(entries.len(), 11);
    assert_eq!(entries[1]["manager"], "ancient-changes");
    let reset = Patch::Merge(json!({ "metadata": { "managedFields": [{}] } }));
    let reset = world
        .objects
        .patch(&target, &reset, &WriteOptions::by("x"))
        .await
        .unwrap()
        .object;
    assert_eq!(reset.at(&["metadata", "managedFields"]), None);
}
