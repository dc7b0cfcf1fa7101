//! What a deletion does: pure.
//!
//! An object with finalizers, or with time to end in, is marked first and goes when all agree
//! (`k8s.io/apiserver/pkg/registry/{rest/delete.go,generic/registry/store.go}`).

use std::time::Duration;

use orc_base::Time;
use serde_json::json;

use crate::kind::ObjectKind;
use crate::meta::{FOREGROUND, ORPHAN};
use crate::object::{Object, seconds};
use crate::objects::{DeleteOptions, Propagation};
use crate::status::{Result, Status};

/// What becomes of the object.
#[derive(Debug, PartialEq)]
pub(crate) enum Removal {
    /// It goes.
    Remove,
    /// It is written like this.
    Mark(Object),
    /// It is being deleted already, and nothing changes.
    Wait,
}

/// Decides a deletion. 409 when a precondition does not hold.
pub(crate) fn decide(
    kind: &ObjectKind,
    object: &Object,
    options: &DeleteOptions,
    now: Time,
) -> Result<Removal> {
    check(kind, object, options)?;
    let finalizers = finalizers(object, options.propagation);
    let marked = object.is_being_deleted();
    let grace_s = match (options.grace_s, kind.grace) {
        (_, None) => 0,
        (given, Some(own)) => given
            .unwrap_or_else(|| own(object))
            .clamp(0, 10 * 365 * 86_400),
    };
    let grace_s = match kind.grace {
        // A pod that no node has, or that has ended, needs no time.
        Some(own) if own(object) == 0 => 0,
        _ => grace_s,
    };
    let had_s = object.number(&["metadata", "deletionGracePeriodSeconds"]);
    let mut after = object.clone();
    set_finalizers(&mut after, &finalizers);
    let left_s = match (marked, had_s) {
        (true, Some(had_s)) => grace_s.min(had_s),
        _ => grace_s,
    };
    if left_s == 0 && finalizers.is_empty() && (kind.may_go)(object) {
        return Ok(Removal::Remove);
    }
    if !marked || had_s.is_some_and(|had_s| left_s < had_s) {
        let begun = match (object.deletion_time(), had_s) {
            (Some(end), Some(had_s)) => Time::from_secs(end.secs() - had_s),
            _ => now,
        };
        let end = begun.plus(Duration::from_secs(left_s.unsigned_abs()));
        after.set(&["metadata", "deletionTimestamp"], seconds(end));
        after.set(&["metadata", "deletionGracePeriodSeconds"], left_s);
        (kind.mark)(&mut after);
        if kind.has_generation && !marked {
            after.set(&["metadata", "generation"], object.generation() + 1);
        }
    }
    match after == *object {
        true => Ok(Removal::Wait),
        false => Ok(Removal::Mark(after)),
    }
}

/// Whether an object that somebody updates has nothing left to wait for.
pub(crate) fn is_due(kind: &ObjectKind, object: &Object) -> bool {
    let waits = object
        .number(&["metadata", "deletionGracePeriodSeconds"])
        .is_some_and(|grace_s| grace_s > 0);
    object.is_being_deleted() && !waits && object.finalizers().is_empty() && (kind.may_go)(object)
}

fn check(kind: &ObjectKind, object: &Object, options: &DeleteOptions) -> Result<()> {
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object.uid()) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            object.uid()
        );
        return Err(Status::conflict(kind, object.name(), &why));
    }
    let version = object.resource_version();
    if let Some(wanted) = options
        .version
        .as_deref()
        .filter(|wanted| *wanted != version)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        );
        return Err(Status::conflict(kind, object.name(), &why));
    }
    Ok(())
}

fn finalizers(object: &Object, propagation: Option<Propagation>) -> Vec<String> {
    let mut names: Vec<String> = object.finalizers().into_iter().map(str::to_owned).collect();
    let Some(propagation) = propagation else {
        return names;
    };
    names.retain(|name| name != FOREGROUND && name != ORPHAN);
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => names.push(FOREGROUND.to_owned()),
        Propagation::Orphan => names.push(ORPHAN.to_owned()),
    }
    names
}

fn set_finalizers(object: &mut Object, names: &[String]) {
    let now: Vec<String> = object.finalizers().into_iter().map(str::to_owned).collect();
    if now == names {
        return;
    }
    match names {
        [] => {
            object.remove(&["metadata", "finalizers"]);
        }
        names => object.set(&["metadata", "finalizers"], json!(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{CONFIG_MAP, NAMESPACE, POD};
    use serde_json::Value;

    const NOW: Time = Time::EPOCH;

    fn pod(spec: Value) -> Object {
        let mut pod = Object::new("v1", "Pod", "a", "b");
        pod.set(&["spec"], spec);
        pod
    }

    fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions {
            grace_s: Some(seconds),
            ..DeleteOptions::default()
        }
    }

    #[test]
    fn gives_pods_time() {
        let on_node = pod(json!({ "nodeName": "n", "terminationGracePeriodSeconds": 20 }));
        let Removal::Mark(marked) = decide(&POD, &on_node, &DeleteOptions::default(), NOW).unwrap()
        else {
            panic!("marked")
        };
        assert_eq!(
            marked.text(&["metadata", "deletionTimestamp"]),
            "1970-01-01T00:00:20Z"
        );
        let again = decide(&POD, &marked, &DeleteOptions::default(), NOW).unwrap();
        assert_eq!(again, Removal::Wait);
        let Removal::Mark(sooner) = decide(&POD, &marked, &grace(5), NOW).unwrap() else {
            panic!("sooner")
        };
        assert_eq!(
            sooner.text(&["metadata", "deletionTimestamp"]),
            "1970-01-01T00:00:05Z"
        );
        assert_eq!(
            decide(&POD, &marked, &grace(60), NOW).unwrap(),
            Removal::Wait
        );
        assert_eq!(
            decide(&POD, &marked, &grace(0), NOW).unwrap(),
            Removal::Remove
        );
        let nowhere = pod(json!({}));
        let removal = decide(&POD, &nowhere, &DeleteOptions::default(), NOW).unwrap();
        assert_eq!(removal, Removal::Remove);
    }

    #[test]
    fn waits_for_finalizers() {
        let mut map = Object::new("v1", "ConfigMap", "a", "b");
        map.set(&["metadata", "finalizers"], json!(["example.com/x"]));
        let Removal::Mark(mut marked) =
            decide(&CONFIG_MAP, &map, &DeleteOptions::default(), NOW).unwrap()
        else {
            panic!("marked")
        };
        assert!(!is_due(&CONFIG_MAP, &marked));
        assert_eq!(
            decide(&CONFIG_MAP, &marked, &DeleteOptions::default(), NOW).unwrap(),
            Removal::Wait
        );
        marked.remove(&["metadata", "finalizers"]);
        assert!(is_due(&CONFIG_MAP, &marked));
        let orphan = DeleteOptions {
            propagation: Some(Propagation::Orphan),
            ..DeleteOptions::default()
        };
        map.remove(&["metadata", "finalizers"]);
        let Removal::Mark(marked) = decide(&CONFIG_MAP, &map, &orphan, NOW).unwrap() else {
            panic!("marked")
        };
        assert_eq!(marked.finalizers(), ["orphan"]);
    }

    #[test]
    fn keeps_namespaces_until_they_are_empty() {
        let mut namespace = Object::new("v1", "Namespace", "", "a");
        namespace.set(&["spec", "finalizers"], json!(["kubernetes"]));
        let Removal::Mark(marked) =
            decide(&NAMESPACE, &namespace, &DeleteOptions::default(), NOW).unwrap()
        else {
            panic!("marked")
        };
        assert_eq!(marked.text(&["status", "phase"]), "Terminating");
    }

    #[test]
    fn holds_preconditions() {
        let mut map = Object::new("v1", "ConfigMap", "a", "b");
        map.set(&["metadata", "uid"], "u1");
        let other = DeleteOptions {
            uid: Some("u2".to_owned()),
            ..DeleteOptions::default()
        };
        let status = decide(&CONFIG_MAP, &map, &other, NOW).unwrap_err();
        assert_eq!(status.code(), 409);
    }
}
