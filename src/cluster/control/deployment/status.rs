//! What a deployment says of itself: counts and conditions, as `kubectl rollout status` reads them.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSet};
use orc_base::Time;
use serde_json::json;

use crate::control::conditions::{Conditions, Says, difference};
use crate::control::deployment::sets::Family;
use crate::control::replica_set::wanted;
use crate::object::{Facts, to_kube};
use crate::operation::{Decision, Deed};

/// Writes the status when it differs.
pub(crate) fn report(family: &Family<'_>, now: Time, decision: &mut Decision) {
    let nothing = DeploymentStatus::default();
    let old = family.deployment.status.as_ref().unwrap_or(&nothing);
    let counts = Counts::of(family);
    let mut conditions = Conditions::of(old.conditions.as_ref());
    available(family, &counts, &mut conditions, now);
    failure(family, &mut conditions, now);
    progress(family, old, &counts, &mut conditions, now, decision);
    let wanted = json!({
        "observedGeneration": family.deployment.generation(),
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": counts.unavailable,
        "conditions": conditions.to_json(),
    });
    if let Some(status) = difference(old, wanted) {
        let deed = Deed::status(family.me.clone(), family.deployment, status);
        decision.push(deed, "its replica sets changed");
    }
}

struct Counts {
    replicas: i32,
    updated: i32,
    ready: i32,
    available: i32,
    unavailable: i32,
}

impl Counts {
    fn of(family: &Family<'_>) -> Self {
        let sum = |of: fn(&ReplicaSet) -> i32| family.all().map(|set| of(set)).sum::<i32>();
        let available = sum(|set| seen(set, |s| s.available_replicas.unwrap_or(0)));
        Self {
            replicas: sum(|set| seen(set, |s| s.replicas)),
            updated: family.new.map_or(0, |set| seen(set, |s| s.replicas)),
            ready: sum(|set| seen(set, |s| s.ready_replicas.unwrap_or(0))),
            available,
            unavailable: (sum(wanted) - available).max(0),
        }
    }
}

fn seen(set: &ReplicaSet, of: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32) -> i32 {
    set.status.as_ref().map_or(0, of)
}

fn available(family: &Family<'_>, counts: &Counts, conditions: &mut Conditions, now: Time) {
    let enough = counts.available >= family.wanted() - family.bounds().1;
    let (status, reason, message) = match enough {
        true => (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        ),
        false => (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        ),
    };
    let kind = "Available";
    set(
        conditions,
        Says {
            kind,
            status,
            reason,
            message,
        },
        now,
    );
}

/// What a replica set says of failing is the deployment's own.
fn failure(family: &Family<'_>, conditions: &mut Conditions, now: Time) {
    let of_set = |set: &ReplicaSet| {
        let status = set.status.as_ref()?;
        let all = status.conditions.as_ref()?;
        all.iter()
            .find(|c| c.type_ == "ReplicaFailure" && c.status == "True")
            .cloned()
    };
    let sets = family.new.into_iter().chain(family.old.iter().copied());
    match sets.into_iter().find_map(|set| of_set(set)) {
        Some(found) => set(
            conditions,
            Says {
                kind: "ReplicaFailure",
                status: "True",
                reason: found.reason.as_deref().unwrap_or_default(),
                message: found.message.as_deref().unwrap_or_default(),
            },
            now,
        ),
        None => conditions.remove("ReplicaFailure"),
    }
}

fn progress(
    family: &Family<'_>,
    old: &DeploymentStatus,
    counts: &Counts,
    conditions: &mut Conditions,
    now: Time,
    decision: &mut Decision,
) {
    let deadline = family.spec.progress_deadline_seconds.unwrap_or(600);
    if deadline == i32::MAX {
        conditions.remove("Progressing");
        return;
    }
    let kind = "Progressing";
    let reason = conditions.get(kind)["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if family.is_paused() {
        if reason != "ProgressDeadlineExceeded" {
            let (reason, message) = ("DeploymentPaused", "Deployment is paused");
            set(
                conditions,
                Says {
                    kind,
                    status: "Unknown",
                    reason,
                    message,
                },
                now,
            );
        }
        return;
    }
    let Some(new) = family.new else { return };
    let named = |text: &str| format!("ReplicaSet \"{}\" {text}", new.name());
    let same = counts.replicas == counts.updated;
    let done = same
        && counts.updated == family.wanted()
        && counts.available == family.wanted()
        && settled(family);
    let before = (old.replicas.unwrap_or(0), old.updated_replicas.unwrap_or(0));
    let moved = counts.updated > before.1
        || counts.replicas - counts.updated < before.0 - before.1
        || counts.ready > old.ready_replicas.unwrap_or(0)
        || counts.available > old.available_replicas.unwrap_or(0);
    if done {
        let message = named("has successfully progressed.");
        let reason = "NewReplicaSetAvailable";
        set(
            conditions,
            Says {
                kind,
                status: "True",
                reason,
                message: &message,
            },
            now,
        );
    } else if reason.is_empty() {
        let message = format!("Created new replica set \"{}\"", new.name());
        let reason = "NewReplicaSetCreated";
        set(
            conditions,
            Says {
                kind,
                status: "True",
                reason,
                message: &message,
            },
            now,
        );
    } else if reason == "DeploymentPaused" {
        let (reason, message) = ("DeploymentResumed", "Deployment is resumed");
        set(
            conditions,
            Says {
                kind,
                status: "Unknown",
                reason,
                message,
            },
            now,
        );
    } else if moved || restarts(family, &reason, conditions) {
        let message = named("is progressing.");
        let reason = "ReplicaSetUpdated";
        set(
            conditions,
            Says {
                kind,
                status: "True",
                reason,
                message: &message,
            },
            now,
        );
        conditions.put(kind, "lastUpdateTime", json!(to_kube(now)));
    } else if reason != "NewReplicaSetAvailable" && reason != "ProgressDeadlineExceeded" {
        let allowed = Duration::from_secs(u64::try_from(deadline).unwrap_or(0));
        let updated = conditions.get(kind)["lastUpdateTime"].as_str();
        let since: Time = updated.and_then(|text| text.parse().ok()).unwrap_or(now);
        let end = since.plus(allowed);
        if now >= end {
            let message = named("has timed out progressing.");
            let reason = "ProgressDeadlineExceeded";
            set(
                conditions,
                Says {
                    kind,
                    status: "False",
                    reason,
                    message: &message,
                },
                now,
            );
            return;
        }
    }
    let reason = conditions.get(kind)["reason"].as_str().unwrap_or_default();
    if !matches!(
        reason,
        "NewReplicaSetAvailable" | "ProgressDeadlineExceeded"
    ) {
        let allowed = Duration::from_secs(u64::try_from(deadline).unwrap_or(0));
        let updated = conditions.get(kind)["lastUpdateTime"].as_str();
        let since: Time = updated.and_then(|text| text.parse().ok()).unwrap_or(now);
        decision.look_again(since.plus(allowed));
    }
}

/// Whether a rollout that was done or had failed has begun again with another template.
fn restarts(family: &Family<'_>, reason: &str, conditions: &Conditions) -> bool {
    let ended = matches!(
        reason,
        "NewReplicaSetAvailable" | "ProgressDeadlineExceeded"
    );
    let message = conditions.get("Progressing")["message"]
        .as_str()
        .unwrap_or_default();
    let named = family
        .new
        .is_some_and(|new| message.contains(&format!("\"{}\"", new.name())));
    ended && !named
}

/// Whether every set has seen its present size.
fn settled(family: &Family<'_>) -> bool {
    family.all().all(|set| {
        let status = set.status.as_ref();
        let observed = status.and_then(|s| s.observed_generation).unwrap_or(0);
        observed >= set.generation() && seen(set, |s| s.replicas) == wanted(set)
    })
}

/// Sets a condition, and when it last said something new.
fn set(conditions: &mut Conditions, says: Says<'_>, now: Time) {
    if conditions.set(says, now) {
        conditions.put(says.kind, "lastUpdateTime", json!(to_kube(now)));
    }
}
