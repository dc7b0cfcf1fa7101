//! Decisions about deployments.

use super::{check, decide};
use crate::control::deployment::Deployments;

const RULE: Deployments = Deployments;
const DEPLOY: &str = "deploy default/web";
/// A set of the first revision, all of whose pods work.
const OLD: &str = "rs default/web-old app=web hash=old owner=deploy/web age=500 \
    annotation:deployment.kubernetes.io/revision=1 \
    annotation:deployment.kubernetes.io/desired-replicas=4 annotation:deployment.kubernetes.io/max-replicas=5 \
    status:observedGeneration=1";
const NEW: &str = "rs default/web-new app=web hash=new image=web:2 owner=deploy/web age=20 \
    annotation:deployment.kubernetes.io/revision=2 \
    annotation:deployment.kubernetes.io/desired-replicas=4 annotation:deployment.kubernetes.io/max-replicas=5 \
    status:observedGeneration=1";
const REVISED: &str = "annotation:deployment.kubernetes.io/revision=2";

#[test]
fn makes_its_first_replica_set() {
    check(
        &RULE,
        DEPLOY,
        "deploy default/web replicas=4 annotation:note=x",
        "?first",
    );
}

#[test]
fn starts_a_rollout_within_the_surge() {
    let state = format!(
        "
        deploy default/web replicas=4 image=web:2 generation=2
        {OLD} replicas=4 status:replicas=4 status:availableReplicas=4"
    );
    check(&RULE, DEPLOY, &state, "?starts");
}

#[test]
fn shrinks_the_old_only_as_far_as_enough_work() {
    // Four wanted, one more and one fewer allowed: the new one does not work yet, so three must stay.
    let state = format!(
        "
        deploy default/web replicas=4 image=web:2 generation=2 {REVISED}
        {OLD} replicas=4 status:replicas=4 status:availableReplicas=4
        {NEW} replicas=1 status:replicas=1"
    );
    check(&RULE, DEPLOY, &state, "?shrinks");
    // What was taken away still counts as available in the set's status: it is not taken away again.
    let state = format!(
        "
        deploy default/web replicas=4 image=web:2 generation=2 {REVISED}
        {OLD} replicas=3 status:replicas=4 status:availableReplicas=4
        {NEW} replicas=2 status:replicas=2"
    );
    check(&RULE, DEPLOY, &state, "?not-again");
    // Broken old pods go first.
    let state = format!(
        "
        deploy default/web replicas=4 image=web:2 generation=2 {REVISED}
        {OLD} replicas=4 status:replicas=4 status:availableReplicas=1
        {NEW} replicas=1 status:replicas=1 status:availableReplicas=1"
    );
    check(&RULE, DEPLOY, &state, "?broken");
}

#[test]
fn ends_a_rollout() {
    let state = format!("
        deploy default/web replicas=4 image=web:2 generation=2 {REVISED} status:observedGeneration=2 \
            status:replicas=5 status:updatedReplicas=4 status:readyReplicas=4 status:availableReplicas=4
        {OLD} replicas=0
        {NEW} replicas=4 status:replicas=4 status:readyReplicas=4 status:availableReplicas=4");
    check(&RULE, DEPLOY, &state, "?ends");
}

#[test]
fn rolls_back_to_a_revision_that_is_still_there() {
    let state = format!(
        "
        deploy default/web replicas=4 generation=3 {REVISED}
        {OLD} replicas=0
        {NEW} replicas=4 status:replicas=4 status:availableReplicas=4"
    );
    check(&RULE, DEPLOY, &state, "?back");
}

#[test]
fn scales_in_proportion_in_the_middle_of_a_rollout() {
    let state = format!(
        "
        deploy default/web replicas=8 image=web:2 generation=3 {REVISED}
        {OLD} replicas=3 status:replicas=3 status:availableReplicas=3
        {NEW} replicas=2 status:replicas=2 status:availableReplicas=1"
    );
    check(&RULE, DEPLOY, &state, "?proportion");
}

#[test]
fn pauses_and_still_scales() {
    let state = format!("
        deploy default/web replicas=4 image=web:3 generation=3 paused annotation:deployment.kubernetes.io/revision=1
        {OLD} replicas=4 status:replicas=4 status:readyReplicas=4 status:availableReplicas=4");
    check(&RULE, DEPLOY, &state, "?paused");
    let scaled = state.replace("replicas=4 image", "replicas=6 image");
    check(&RULE, DEPLOY, &scaled, "?paused-scaled");
}

#[test]
fn recreates_only_when_the_last_old_pod_has_ended() {
    let state = format!(
        "
        deploy default/web replicas=2 image=web:2 generation=2 spec:strategy.type=Recreate
        {OLD} replicas=2 status:replicas=2 status:availableReplicas=2
        pod default/a owner=rs/web-old phase=Running ready"
    )
    .replace("desired-replicas=4", "desired-replicas=2")
    .replace("max-replicas=5", "max-replicas=2");
    check(&RULE, DEPLOY, &state, "?recreate-down");
    let state = state.replace(
        "replicas=2 status:replicas=2 status:availableReplicas=2",
        "replicas=0",
    );
    let waits = decide(&RULE, DEPLOY, &state);
    assert!(!waits.contains("create"), "{waits}");
    let state = state.replace("phase=Running", "phase=Succeeded");
    check(&RULE, DEPLOY, &state, "?recreate-up");
}

#[test]
fn says_when_it_makes_no_progress() {
    let state = format!("
        deploy default/web replicas=4 image=web:2 generation=2 {REVISED} spec:progressDeadlineSeconds=60 \
            status:observedGeneration=2 status:replicas=5 status:updatedReplicas=2 status:availableReplicas=3 status:readyReplicas=3 \
            status:unavailableReplicas=2 \
            status:conditions=[{{\"type\":\"Progressing\",\"status\":\"True\",\"reason\":\"ReplicaSetUpdated\",\"message\":\"ReplicaSet_\\\"web-new\\\"_is_progressing.\",\"lastUpdateTime\":\"2026-01-01T00:09:30Z\",\"lastTransitionTime\":\"2026-01-01T00:09:00Z\"}},{{\"type\":\"Available\",\"status\":\"True\",\"reason\":\"MinimumReplicasAvailable\",\"message\":\"x\"}}]
        {OLD} replicas=3 status:replicas=3 status:availableReplicas=3 status:readyReplicas=3
        {NEW} replicas=2 status:replicas=2");
    let found = decide(&RULE, DEPLOY, &state);
    assert!(
        found.ends_with("look again in 30 s") && !found.contains("Exceeded"),
        "{found}"
    );
    let late = state.replace("00:09:30Z", "00:08:30Z");
    check(&RULE, DEPLOY, &late, "?deadline");
}

#[test]
fn forgets_what_the_history_has_too_much_of() {
    let spent = |name: &str, revision: u32| {
        format!(
            "rs default/{name} app=web hash={name} image=web:{name} owner=deploy/web replicas=0 status:observedGeneration=1 \
         status:replicas=0 annotation:deployment.kubernetes.io/revision={revision}"
        )
    };
    let state = format!("
        deploy default/web replicas=4 generation=9 spec:revisionHistoryLimit=1 annotation:deployment.kubernetes.io/revision=5
        {}
        {}
        {}
        {} replicas=4 status:replicas=4 status:availableReplicas=4",
        spent("a", 3), spent("b", 2), spent("c", 4), OLD.replace("revision=1", "revision=5"));
    check(&RULE, DEPLOY, &state, "?history");
}

#[test]
fn takes_another_name_when_its_own_is_taken() {
    let first = decide(&RULE, DEPLOY, "deploy default/web replicas=1");
    let name = first.split_whitespace().nth(2).unwrap().to_owned();
    let state = format!("deploy default/web replicas=1\n rs {name} app=other");
    check(&RULE, DEPLOY, &state, "?collision");
    let next = decide(
        &RULE,
        DEPLOY,
        &state.replace("replicas=1\n", "replicas=1 status:collisionCount=1\n"),
    );
    assert!(
        next.contains("create ReplicaSet") && !next.contains(&name),
        "{next}"
    );
}
