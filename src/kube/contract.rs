//! What every implementer of [`Objects`] promises, as one suite: text in, text out.
//!
//! Runs in a namespace that the caller gives, on an otherwise quiet cluster.

#![expect(clippy::unwrap_used, reason = "a suite of tests")]

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::kind::Subresource;
use crate::kinds::{CONFIG_MAP, DEPLOYMENT, POD};
use crate::object::Object;
use crate::objects::{
    DeleteOptions, Deleted, ListOptions, Objects, Patch, Scope, Target, VersionMatch, Watch,
    WatchEvent, WatchOptions, Write, WriteOptions,
};
use crate::selector::{FieldSelector, LabelSelector};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the suite in an empty namespace.
pub async fn check(objects: &dyn Objects, namespace: &str) {
    let suite = Suite { objects, namespace };
    suite.writes().await;
    suite.pages().await;
    suite.watches().await;
    suite.patches().await;
    suite.applies().await;
    suite.scales().await;
    suite.deletes().await;
}

/// The same for those who make several writes at once: [`crate::remote`] does not.
pub async fn check_transactions(objects: &dyn Objects, namespace: &str) {
    Suite { objects, namespace }.transactions().await;
}

struct Suite<'s> {
    objects: &'s dyn Objects,
    namespace: &'s str,
}

fn by(manager: &str) -> WriteOptions {
    WriteOptions::by(manager)
}

fn config_map(name: &str, value: &str) -> Object {
    let mut map = Object::new("v1", "ConfigMap", "", name);
    map.set(&["data", "v"], value);
    map.set(&["metadata", "labels", "v"], value);
    map
}

fn deployment(image: &str, replicas: Option<i64>) -> Object {
    let mut object = Object::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": image }] },
            },
        },
    }))
    .unwrap();
    if let Some(replicas) = replicas {
        object.set(&["spec", "replicas"], replicas);
    }
    object
}

impl Suite<'_> {
    fn maps(&self) -> Scope {
        Scope::inside(&CONFIG_MAP, self.namespace)
    }

    fn map(&self, name: &str) -> Target {
        Target::new(&CONFIG_MAP, self.namespace, name)
    }

    async fn create(&self, name: &str, value: &str) -> Object {
        let object = config_map(name, value);
        let made = self
            .objects
            .create(&self.maps(), object, &by("suite"))
            .await
            .unwrap();
        assert!(made.created);
        made.object
    }

    async fn clear(&self) {
        let which = ListOptions::default();
        let how = DeleteOptions::default();
        self.objects
            .delete_collection(&self.maps(), &which, &how)
            .await
            .unwrap();
    }

    async fn writes(&self) {
        let (objects, target) = (self.objects, self.map("a"));
        let made = self.create("a", "1").await;
        assert!(made.uid().len() == 36 && made.creation_time().is_some());
        assert_eq!(made.namespace(), self.namespace);
        let again = objects
            .create(&self.maps(), config_map("a", "2"), &by("suite"))
            .await;
        let status = again.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (409, "configmaps \"a\" already exists")
        );
        let mut changed = made.clone();
        changed.set(&["data", "v"], "2");
        let second = objects
            .update(&target, changed.clone(), &by("suite"))
            .await
            .unwrap()
            .object;
        assert!(second.revision() > made.revision() && second.uid() == made.uid());
        let status = objects
            .update(&target, changed, &by("suite"))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (
                409,
                "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
            )
        );
        let same = objects
            .update(&target, second.clone(), &by("suite"))
            .await
            .unwrap()
            .object;
        assert_eq!(same.resource_version(), second.resource_version());
        assert_eq!(objects.get(&target, "").await.unwrap(), second);
        let dry = WriteOptions {
            dry_run: true,
            ..by("suite")
        };
        objects
            .create(&self.maps(), config_map("dry", "1"), &dry)
            .await
            .unwrap();
        let status = objects.get(&self.map("dry"), "").await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (404, "configmaps \"dry\" not found")
        );
        let mut unnamed = config_map("", "1");
        unnamed.remove(&["metadata", "name"]);
        unnamed.set(&["metadata", "generateName"], "gen-");
        let made = objects
            .create(&self.maps(), unnamed, &by("suite"))
            .await
            .unwrap()
            .object;
        assert!(made.name().starts_with("gen-") && made.name().len() == 9);
        let status = objects
            .create(&self.maps(), config_map("B_b", "1"), &by("suite"))
            .await
            .unwrap_err();
        assert_eq!(status.code(), 422);
        assert_eq!(status.causes()[0].field, "metadata.name");
        self.clear().await;
    }

    async fn pages(&self) {
        for index in 0..7 {
            self.create(
                &format!("p{index}"),
                if index % 2 == 0 { "even" } else { "odd" },
            )
            .await;
        }
        let mut options = ListOptions {
            limit: 3,
            ..ListOptions::default()
        };
        let first = self.objects.list(&self.maps(), &options).await.unwrap();
        assert_eq!((first.items.len(), first.remaining), (3, Some(4)));
        // Pages show the version of the first, whatever happens meanwhile.
        self.create("p1x", "late").await;
        let mut names = names(&first.items);
        options.continue_token = first.continue_token;
        while !options.continue_token.is_empty() {
            let page = self.objects.list(&self.maps(), &options).await.unwrap();
            assert_eq!(page.version, first.version);
            names += &format!(" {}", self::names(&page.items));
            options.continue_token = page.continue_token;
        }
        assert_eq!(names, "p0 p1 p2 p3 p4 p5 p6");
        let selected = |labels: &str, fields: &str, limit| ListOptions {
            labels: LabelSelector::parse(labels).unwrap(),
            fields: FieldSelector::parse(fields).unwrap(),
            limit,
            ..ListOptions::default()
        };
        for (labels, fields, limit, wanted) in [
            ("v in (odd,late)", "", 0, "p1 p1x p3 p5"),
            ("v=even,v!=odd", "", 2, "p0 p2"),
            ("", "metadata.name=p1", 0, "p1"),
            ("", "metadata.name!=p1,metadata.namespace=nowhere", 0, ""),
        ] {
            let list = self
                .objects
                .list(&self.maps(), &selected(labels, fields, limit))
                .await;
            assert_eq!(
                self::names(&list.unwrap().items),
                wanted,
                "{labels} {fields}"
            );
        }
        let refused = self
            .objects
            .list(&self.maps(), &selected("", "data.v=1", 0))
            .await;
        assert_eq!(refused.unwrap_err().code(), 400);
        let exact = ListOptions {
            version: first.version.clone(),
            version_match: VersionMatch::Exact,
            ..ListOptions::default()
        };
        let past = self.objects.list(&self.maps(), &exact).await.unwrap();
        assert_eq!((past.items.len(), &past.version), (7, &first.version));
        let newer = ListOptions {
            version_match: VersionMatch::NotOlderThan,
            ..exact.clone()
        };
        assert_eq!(
            self.objects
                .list(&self.maps(), &newer)
                .await
                .unwrap()
                .items
                .len(),
            8
        );
        for (version, version_match, code) in [
            ("", VersionMatch::Exact, 400),
            ("0", VersionMatch::Exact, 400),
            ("x", VersionMatch::Unset, 400),
            ("99999999", VersionMatch::NotOlderThan, 504),
        ] {
            let options = ListOptions {
                version: version.to_owned(),
                version_match,
                ..ListOptions::default()
            };
            let status = self.objects.list(&self.maps(), &options).await.unwrap_err();
            assert_eq!(status.code(), code, "{version}");
        }
        self.clear().await;
    }

    async fn watches(&self) {
        let objects = self.objects;
        let before = self.create("w0", "a").await;
        let options = WatchOptions {
            labels: LabelSelector::parse("v=a").unwrap(),
            ..WatchOptions::default()
        };
        let mut all = objects.watch(&self.maps(), &options).await.unwrap();
        let since = WatchOptions {
            version: before.resource_version().to_owned(),
            ..options.clone()
        };
        let mut later = objects.watch(&self.maps(), &since).await.unwrap();
        let streaming = WatchOptions {
            bookmarks: true,
            initial: Some(true),
            version_match: VersionMatch::NotOlderThan,
            ..options.clone()
        };
        let mut streamed = objects.watch(&self.maps(), &streaming).await.unwrap();
        let first = told(&mut streamed, 2).await;
        assert_eq!(first, ["ADDED w0=a", "BOOKMARK end"]);
        self.create("w1", "b").await;
        self.create("w2", "a").await;
        for (name, value) in [("w1", "a"), ("w0", "b"), ("w2", "a")] {
            let mut object = config_map(name, value);
            object.set(&["data", "more"], "x");
            objects
                .update(&self.map(name), object, &by("suite"))
                .await
                .unwrap();
        }
        for name in ["w0", "w1"] {
            let how = DeleteOptions::default();
            objects.delete(&self.map(name), &how).await.unwrap();
        }
        let changes = [
            "ADDED w2=a",
            "ADDED w1=a",
            "DELETED w0=a",
            "MODIFIED w2=a",
            "DELETED w1=a",
        ];
        assert_eq!(told(&mut later, 5).await, changes);
        assert_eq!(
            told(&mut all, 6).await,
            [&["ADDED w0=a"], &changes[..]].concat()
        );
        assert_eq!(told(&mut streamed, 5).await, changes);
        let odd = WatchOptions {
            version_match: VersionMatch::Exact,
            ..WatchOptions::default()
        };
        assert!(objects.watch(&self.maps(), &odd).await.is_err());
        self.clear().await;
    }

    async fn patches(&self) {
        let (objects, target) = (self.objects, self.map("p"));
        self.create("p", "1").await;
        for (patch, wanted) in [
            (
                Patch::Merge(json!({ "data": { "v": null, "a": "b" } })),
                json!({ "a": "b" }),
            ),
            (
                Patch::Json(json!([{ "op": "add", "path": "/data/c", "value": "d" }])),
                json!({ "a": "b", "c": "d" }),
            ),
            (
                Patch::Strategic(json!({ "data": { "$patch": "replace", "e": "f" } })),
                json!({ "e": "f" }),
            ),
        ] {
            let patched = objects.patch(&target, &patch, &by("suite")).await.unwrap();
            assert!(!patched.created);
            assert_eq!(patched.object.at(&["data"]), Some(&wanted), "{patch:?}");
        }
        let stale = Patch::Merge(json!({ "metadata": { "resourceVersion": "1" } }));
        let status = objects
            .patch(&target, &stale, &by("suite"))
            .await
            .unwrap_err();
        assert_eq!(status.code(), 409);
        let missing = Patch::Merge(json!({}));
        let status = objects
            .patch(&self.map("q"), &missing, &by("suite"))
            .await
            .unwrap_err();
        assert_eq!(status.code(), 404);
        self.clear().await;
    }

    async fn applies(&self) {
        let objects = self.objects;
        let target = Target::new(&DEPLOYMENT, self.namespace, "web");
        let apply = |object: &Object| Patch::Apply(object.clone().into_value());
        let first = deployment("nginx:1", Some(3));
        let made = objects
            .patch(&target, &apply(&first), &by("one"))
            .await
            .unwrap();
        assert!(made.created && made.object.generation() == 1);
        let again = objects
            .patch(&target, &apply(&first), &by("one"))
            .await
            .unwrap();
        assert!(!again.created);
        assert_eq!(again.object, made.object);
        let other = deployment("nginx:2", None);
        let status = objects
            .patch(&target, &apply(&other), &by("two"))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (
                409,
                "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"c\"].image"
            )
        );
        let force = WriteOptions {
            force: true,
            ..by("two")
        };
        let taken = objects
            .patch(&target, &apply(&other), &force)
            .await
            .unwrap()
            .object;
        assert_eq!((image(&taken), taken.generation()), ("nginx:2", 2));
        // What one no longer says and nobody else does goes back to the default.
        let less = deployment("nginx:2", None);
        let less = objects
            .patch(&target, &apply(&less), &by("one"))
            .await
            .unwrap()
            .object;
        assert_eq!(less.number(&["spec", "replicas"]), Some(1));
        let status = objects
            .patch(&target, &apply(&less), &by(""))
            .await
            .unwrap_err();
        assert_eq!(status.code(), 400);
        objects
            .delete(&target, &DeleteOptions::default())
            .await
            .unwrap();
    }

    async fn scales(&self) {
        let objects = self.objects;
        let scope = Scope::inside(&DEPLOYMENT, self.namespace);
        let target = Target::new(&DEPLOYMENT, self.namespace, "web");
        let made = objects
            .create(&scope, deployment("x", Some(2)), &by("suite"))
            .await
            .unwrap();
        let below = target.clone().below(Subresource::Scale);
        let scale = objects.get(&below, "").await.unwrap();
        assert_eq!(scale.at(&["spec"]), Some(&json!({ "replicas": 2 })));
        assert_eq!(scale.text(&["status", "selector"]), "app=web");
        let patch = Patch::Merge(json!({ "spec": { "replicas": 5 } }));
        let scale = objects
            .patch(&below, &patch, &by("suite"))
            .await
            .unwrap()
            .object;
        assert_eq!(
            (scale.kind(), scale.number(&["spec", "replicas"])),
            ("Scale", Some(5))
        );
        let now = objects.get(&target, "").await.unwrap();
        assert_eq!(
            (now.generation(), now.number(&["spec", "replicas"])),
            (2, Some(5))
        );
        let mut seen = now.clone();
        seen.set(&["status", "replicas"], 4);
        seen.set(&["spec", "replicas"], 9);
        let below = target.clone().below(Subresource::Status);
        let seen = objects
            .update(&below, seen, &by("controller"))
            .await
            .unwrap()
            .object;
        assert_eq!(seen.number(&["spec", "replicas"]), Some(5));
        assert_eq!(
            (seen.number(&["status", "replicas"]), seen.generation()),
            (Some(4), 2)
        );
        let mut wanted = made.object;
        wanted.remove(&["metadata", "resourceVersion"]);
        let kept = objects
            .update(&target, wanted, &by("suite"))
            .await
            .unwrap()
            .object;
        assert_eq!(kept.number(&["status", "replicas"]), Some(4));
        objects
            .delete(&target, &DeleteOptions::default())
            .await
            .unwrap();
    }

    async fn deletes(&self) {
        let (objects, target) = (self.objects, self.map("d"));
        let mut held = config_map("d", "1");
        held.set(&["metadata", "finalizers"], json!(["example.com/hold"]));
        let made = objects
            .create(&self.maps(), held, &by("suite"))
            .await
            .unwrap()
            .object;
        let other = DeleteOptions {
            uid: Some("another".to_owned()),
            ..DeleteOptions::default()
        };
        assert_eq!(
            objects.delete(&target, &other).await.unwrap_err().code(),
            409
        );
        let deleted = objects
            .delete(&target, &DeleteOptions::default())
            .await
            .unwrap();
        assert!(matches!(deleted, Deleted::Marked(_)));
        let more = Patch::Merge(
            json!({ "metadata": { "finalizers": ["example.com/hold", "example.com/b"] } }),
        );
        let status = objects
            .patch(&target, &more, &by("suite"))
            .await
            .unwrap_err();
        assert_eq!(status.code(), 422);
        let let_go = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        let last = objects
            .patch(&target, &let_go, &by("suite"))
            .await
            .unwrap()
            .object;
        assert_eq!(last.uid(), made.uid());
        assert_eq!(objects.get(&target, "").await.unwrap_err().code(), 404);
        assert_eq!(
            objects
                .delete(&target, &DeleteOptions::default())
                .await
                .unwrap_err()
                .code(),
            404
        );
    }

    async fn transactions(&self) {
        let objects = self.objects;
        let pod = |name: &str| {
            Object::from_value(json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
                "spec": { "containers": [{ "name": "c", "image": "x" }] },
            }))
            .unwrap()
        };
        let scope = Scope::inside(&POD, self.namespace);
        let create = |name| Write::Create {
            scope: scope.clone(),
            object: pod(name),
        };
        let made = objects
            .transact(vec![create("t0"), create("t1")], &by("suite"))
            .await
            .unwrap();
        assert!(made[0].object.revision() < made[1].object.revision());
        let bind = |name: &str| Write::Bind {
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            node: "n1".to_owned(),
        };
        let refused = objects
            .transact(vec![bind("t0"), bind("t2")], &by("suite"))
            .await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.index, refused.status.code()), (Some(1), 404));
        let free = objects
            .get(&Target::new(&POD, self.namespace, "t0"), "")
            .await
            .unwrap();
        assert_eq!(free.text(&["spec", "nodeName"]), "");
        let bound = objects
            .transact(vec![bind("t0"), bind("t1")], &by("suite"))
            .await
            .unwrap();
        assert_eq!(bound[1].object.text(&["spec", "nodeName"]), "n1");
        let read = objects
            .get(&Target::new(&POD, self.namespace, "t1"), "")
            .await
            .unwrap();
        assert_eq!(read, bound[1].object);
        let again = objects
            .transact(vec![bind("t0")], &by("suite"))
            .await
            .unwrap_err();
        assert_eq!(again.status.code(), 409);
        let mine = ListOptions {
            fields: FieldSelector::parse("spec.nodeName=n1").unwrap(),
            ..ListOptions::default()
        };
        assert_eq!(
            names(&objects.list(&scope, &mine).await.unwrap().items),
            "t0 t1"
        );
        let target = Target::new(&POD, self.namespace, "t0");
        let deleted = objects
            .delete(&target, &DeleteOptions::default())
            .await
            .unwrap();
        let Deleted::Marked(marked) = deleted else {
            panic!("{deleted:?}")
        };
        assert_eq!(
            marked.number(&["metadata", "deletionGracePeriodSeconds"]),
            Some(30)
        );
        let now = DeleteOptions {
            grace_s: Some(0),
            ..DeleteOptions::default()
        };
        let all = ListOptions::default();
        let gone = objects.delete_collection(&scope, &all, &now).await.unwrap();
        assert_eq!(names(&gone.items), "t0 t1");
        assert!(objects.list(&scope, &all).await.unwrap().items.is_empty());
    }
}

fn image(deployment: &Object) -> &str {
    deployment.list(&["spec", "template", "spec", "containers"])[0]["image"]
        .as_str()
        .unwrap_or_default()
}

fn names(objects: &[Object]) -> String {
    let names: Vec<&str> = objects.iter().map(Object::name).collect();
    names.join(" ")
}

/// The next events as `ADDED name=value`; bookmarks other than the first are left out.
async fn told(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        let event = next
            .expect("an event in time")
            .expect("an open watch")
            .unwrap();
        let object = event.object();
        assert!(object.revision().is_some());
        let initial = object.annotation("k8s.io/initial-events-end") == Some("true");
        match event {
            WatchEvent::Bookmark(_) if initial => told.push("BOOKMARK end".to_owned()),
            WatchEvent::Bookmark(_) => {}
            event => {
                let object = event.object();
                let value = object.at(&["data", "v"]).and_then(Value::as_str);
                let value = value.unwrap_or_default();
                told.push(format!("{} {}={value}", event.name(), object.name()));
            }
        }
    }
    told
}
