//! Namespaces, bad names, unknown fields, and kinds that share one object.

use orc_store::Limits;
use serde_json::json;

use super::{config_map, options, world};
use crate::kind::Subresource;
use crate::kinds::{CONFIG_MAP, CORE_EVENT, DEPLOYMENT, EVENT, JOB, LEASE, NAMESPACE, POD, SECRET};
use crate::object::Object;
use crate::objects::{
    DeleteOptions, Deleted, FieldValidation, ListOptions, Objects as _, Patch, Scope, Target,
    WriteOptions,
};

#[tokio::test]
async fn a_namespace_ends_in_two_steps() {
    let world = world(Limits::default()).await;
    let status = world
        .objects
        .create(
            &Scope::inside(&CONFIG_MAP, "b"),
            Object::from_value(config_map("x")).unwrap(),
            &options(),
        )
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (404, "namespaces \"b\" not found")
    );
    let target = Target::new(&NAMESPACE, "", "a");
    let deleted = world
        .objects
        .delete(&target, &DeleteOptions::default())
        .await
        .unwrap();
    assert!(matches!(deleted, Deleted::Marked(_)));
    let status = world.create(config_map("x")).await.unwrap_err();
    assert_eq!(
        status.message(),
        "configmaps \"x\" is forbidden: unable to create new content in namespace a because it is being terminated"
    );
    assert_eq!(status.causes()[0].reason, "NamespaceTerminating");
    let mut namespace = world.objects.get(&target, "").await.unwrap();
    assert_eq!(namespace.text(&["status", "phase"]), "Terminating");
    namespace.set(&["spec", "finalizers"], json!([]));
    // Only its own subresource lets it go.
    let kept = world
        .objects
        .update(&target, namespace.clone(), &options())
        .await
        .unwrap();
    assert_eq!(kept.object.list(&["spec", "finalizers"]).len(), 1);
    let below = target.clone().below(Subresource::Finalize);
    world
        .objects
        .update(&below, namespace, &options())
        .await
        .unwrap();
    assert_eq!(
        world.objects.get(&target, "").await.unwrap_err().code(),
        404
    );
}

#[tokio::test]
async fn refuses_names_that_lead_elsewhere() {
    let world = world(Limits::default()).await;
    for name in ["..", ".", "a/b", "a%2fb", ""] {
        let status = world
            .objects
            .get(&Target::new(&POD, "a", name), "")
            .await
            .unwrap_err();
        assert_eq!(status.code(), 400, "{name}");
        let status = world
            .objects
            .get(&Target::new(&POD, name, "x"), "")
            .await
            .unwrap_err();
        assert_eq!(status.code(), 400, "{name}");
    }
}

#[tokio::test]
async fn says_what_it_does_not_know() {
    let world = world(Limits::default()).await;
    let mut object = Object::from_value(config_map("x")).unwrap();
    object.set(&["spec", "nope"], 1);
    let scope = Scope::inside(&CONFIG_MAP, "a");
    let strict = WriteOptions {
        validation: FieldValidation::Strict,
        ..options()
    };
    let status = world
        .objects
        .create(&scope, object.clone(), &strict)
        .await
        .unwrap_err();
    assert!(
        status.code() == 400 && status.message().ends_with("unknown field \"spec\""),
        "{status}"
    );
    let made = world
        .objects
        .create(&scope, object, &options())
        .await
        .unwrap();
    assert_eq!(made.warnings, ["unknown field \"spec\""]);
    assert_eq!(made.object.at(&["spec"]), None);
    let odd = json!({ "apiVersion": "v2", "kind": "ConfigMap", "metadata": { "name": "y" } });
    let odd = Object::from_value(odd).unwrap();
    let status = world
        .objects
        .create(&scope, odd, &options())
        .await
        .unwrap_err();
    assert_eq!(
        status.message(),
        "the API version in the data (v2) does not match the expected API version (v1)"
    );
}

#[tokio::test]
async fn no_text_shows_a_secret() {
    let world = world(Limits::default()).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "immutable": true,
        "stringData": { "key": "hunter2" },
    });
    let made = world.create(secret).await.unwrap();
    assert_eq!(made.text(&["data", "key"]), "aHVudGVyMg==");
    assert_eq!(
        (made.text(&["type"]), made.at(&["stringData"])),
        ("Opaque", None)
    );
    let target = Target::new(&SECRET, "a", "s");
    for patch in [
        json!({ "stringData": { "key": "hunter3" } }),
        json!({ "data": { "key": "aHVudGVyMw==" } }),
        json!({ "data": { "key": "aHVudGVyMw" } }),
        json!({ "stringData": { "key/x": "hunter3" } }),
    ] {
        let status = world
            .objects
            .patch(&target, &Patch::Merge(patch), &options())
            .await
            .unwrap_err();
        let text = format!("{status:?} {}", status.to_json());
        assert!(
            !text.contains("hunter") && !text.contains("aHVudGVy"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_event_is_seen_in_both_groups() {
    let world = world(Limits::default()).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" }, "reason": "Started", "message": "m",
            "involvedObject": { "kind": "Pod", "name": "p", "namespace": "a" }, "type": "Normal",
        }))
        .await
        .unwrap();
    let event = world
        .objects
        .get(&Target::new(&EVENT, "a", "e"), "")
        .await
        .unwrap();
    assert_eq!(
        (event.api_version(), event.text(&["note"])),
        ("events.k8s.io/v1", "m")
    );
    for (kind, fields) in [
        (&CORE_EVENT, "involvedObject.name=p,involvedObject.kind=Pod"),
        (&EVENT, "regarding.name=p,type=Normal"),
    ] {
        let which = ListOptions {
            fields: crate::FieldSelector::parse(fields).unwrap(),
            ..ListOptions::default()
        };
        let list = world
            .objects
            .list(&Scope::inside(kind, "a"), &which)
            .await
            .unwrap();
        assert_eq!(list.items.len(), 1, "{fields}");
    }
}

#[tokio::test]
async fn a_job_gets_its_selector_and_keeps_its_template() {
    let world = world(Limits::default()).await;
    let job = |image: &str| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "j" },
            "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": image }] } } },
        })
    };
    let made = world.create(job("x")).await.unwrap();
    let label = made.text(&[
        "spec",
        "selector",
        "matchLabels",
        "batch.kubernetes.io/controller-uid",
    ]);
    assert_eq!(label, made.uid());
    assert_eq!(made.number(&["spec", "backoffLimit"]), Some(6));
    let target = Target::new(&JOB, "a", "j");
    let same = Patch::Apply(job("x"));
    world
        .objects
        .patch(&target, &same, &options())
        .await
        .unwrap();
    let patch = Patch::Strategic(json!({
        "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": "y" }] } } }
    }));
    let allowed = world.objects.patch(&target, &patch, &options()).await;
    let status = allowed.unwrap_err();
    assert_eq!(status.causes()[0].field, "spec.template");
}

#[tokio::test]
async fn changes_of_pods_and_selectors_are_refused() {
    let world = world(Limits::default()).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
            "spec": { "containers": [{ "name": "c", "image": "x" }] },
        }))
        .await
        .unwrap();
    let target = Target::new(&POD, "a", "p");
    let image = json!({ "spec": { "containers": [{ "name": "c", "image": "y" }] } });
    let patched = world
        .objects
        .patch(&target, &Patch::Strategic(image), &options())
        .await
        .unwrap();
    assert_eq!(patched.object.generation(), 2);
    let policy = json!({ "spec": { "restartPolicy": "Never" } });
    let status = world
        .objects
        .patch(&target, &Patch::Merge(policy), &options())
        .await
        .unwrap_err();
    assert!(
        status
            .message()
            .starts_with("Pod \"p\" is invalid: spec: Forbidden: pod updates may not"),
        "{status}"
    );
    let node = json!({ "spec": { "nodeName": "n" } });
    let status = world
        .objects
        .patch(&target, &Patch::Merge(node), &options())
        .await
        .unwrap_err();
    assert_eq!(status.code(), 422);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
        "spec": { "selector": { "matchLabels": { "app": "x" } }, "template": {
            "metadata": { "labels": { "app": "y" } }, "spec": { "containers": [{ "name": "c", "image": "x" }] } } },
    });
    let status = world.create(deployment.clone()).await.unwrap_err();
    assert_eq!(
        status.message(),
        "Deployment.apps \"d\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`"
    );
    let mut good = deployment;
    good["spec"]["template"]["metadata"]["labels"]["app"] = "x".into();
    world.create(good).await.unwrap();
    let patch = json!({ "spec": { "selector": { "matchLabels": { "app": "z" } }, "template": { "metadata": { "labels": { "app": "z" } } } } });
    let target = Target::new(&DEPLOYMENT, "a", "d");
    let status = world
        .objects
        .patch(&target, &Patch::Merge(patch), &options())
        .await
        .unwrap_err();
    assert!(status.message().ends_with("field is immutable"), "{status}");
}

#[tokio::test]
async fn leases_are_made_and_guarded_by_updates() {
    let world = world(Limits::default()).await;
    let target = Target::new(&LEASE, "a", "l");
    let mut lease = Object::new("coordination.k8s.io/v1", "Lease", "a", "l");
    lease.set(&["spec", "holderIdentity"], "one");
    let made = world
        .objects
        .update(&target, lease.clone(), &options())
        .await
        .unwrap();
    assert!(made.created);
    let status = world
        .objects
        .update(&target, lease, &options())
        .await
        .unwrap_err();
    assert!(
        status.message().contains(
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        )
    );
    world
        .objects
        .update(&target, made.object, &options())
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_belongs_to_itself() {
    let world = world(Limits::default()).await;
    let mut made = Vec::new();
    for name in ["x", "y", "z"] {
        made.push(world.create(config_map(name)).await.unwrap());
    }
    let own = |owner: &Object| {
        Patch::Merge(json!({ "metadata": { "ownerReferences": [owner.as_controller()] } }))
    };
    for (owned, owner, code) in [(0, 1, 200), (1, 2, 200), (2, 0, 422), (2, 2, 422)] {
        let target = Target::of(&CONFIG_MAP, &made[owned]);
        let patched = world
            .objects
            .patch(&target, &own(&made[owner]), &options())
            .await;
        let found = patched.map_or_else(|status| status.code(), |_| 200);
        assert_eq!(found, code, "{owned} of {owner}");
    }
}
