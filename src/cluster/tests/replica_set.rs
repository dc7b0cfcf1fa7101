//! Decisions about replica sets.

use super::{check, decide, reference, world};
use crate::control::Rule;
use crate::control::replica_set::ReplicaSets;
use crate::operation::Deed;

const SETTLED: &str = "status:replicas=2 status:fullyLabeledReplicas=2 status:readyReplicas=2 \
    status:availableReplicas=2 status:observedGeneration=1";

#[test]
fn makes_what_is_missing_under_names_that_follow_from_the_set() {
    let state = "
        rs default/web replicas=3
        pod default/web-a owner=rs/web label:app=web phase=Running ready
        pod default/web-b owner=rs/web label:app=web phase=Failed
        pod default/other label:app=other";
    let expected = r#"
        create Pod default/web-lz92p  (2 of 3 missing)
        create Pod default/web-2pjjp  (2 of 3 missing)
        patch ReplicaSet default/web status {"availableReplicas":1,"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1}  (its pods changed)"#;
    check(&ReplicaSets, "rs default/web", state, expected);
}

/// F26: whoever decided is killed, or half of it was done; nobody makes anything twice.
#[test]
fn decides_the_same_again_and_only_what_is_still_missing() {
    let state = "rs default/web replicas=3";
    assert_eq!(
        decide(&ReplicaSets, "rs default/web", state),
        decide(&ReplicaSets, "rs default/web", state)
    );
    let decision = ReplicaSets.decide(&world(state), &reference("rs default/web"), super::now());
    let names: Vec<String> = decision
        .operations
        .iter()
        .map(|o| o.deeds[0].target().name.clone())
        .collect();
    let [first, second, third, ..] = &names[..] else {
        panic!("three pods")
    };
    let half = format!("{state}\n pod default/{second} owner=rs/web label:app=web");
    let again = decide(&ReplicaSets, "rs default/web", &half);
    assert!(
        again.contains(first) && again.contains(third) && !again.contains(second),
        "{again}"
    );
    let made = decision
        .operations
        .iter()
        .filter(|o| matches!(o.deeds[0], Deed::Create { .. }));
    assert_eq!(made.count(), 3);
}

#[test]
fn deletes_what_can_be_spared_most() {
    let state = "
        rs default/web replicas=2
        pod default/a owner=rs/web label:app=web phase=Running ready=30 node=n1
        pod default/b owner=rs/web label:app=web phase=Running node=n1
        pod default/c owner=rs/web label:app=web phase=Pending
        pod default/d owner=rs/web label:app=web phase=Running ready=10 node=n2
        pod default/e owner=rs/web label:app=web phase=Running ready=20 node=n1";
    let expected = r#"
        delete Pod default/c  (5 of 2 are there)
        delete Pod default/b  (5 of 2 are there)
        delete Pod default/e  (5 of 2 are there)
        patch ReplicaSet default/web status {"availableReplicas":3,"fullyLabeledReplicas":5,"observedGeneration":1,"readyReplicas":3,"replicas":5}  (its pods changed)"#;
    check(&ReplicaSets, "rs default/web", state, expected);
}

#[test]
fn has_nothing_to_do_when_all_is_well() {
    let state = format!(
        "rs default/web replicas=2 {SETTLED}
         pod default/a owner=rs/web label:app=web phase=Running ready
         pod default/b owner=rs/web label:app=web phase=Running ready"
    );
    check(&ReplicaSets, "rs default/web", &state, "");
    check(&ReplicaSets, "rs default/gone", &state, "");
}

#[test]
fn adopts_what_it_picks_and_lets_go_what_it_does_not() {
    let state = "
        rs default/web replicas=1
        pod default/stray label:app=web phase=Running ready
        pod default/lost owner=rs/web label:app=another phase=Running ready
        pod default/theirs owner=rs/other label:app=web phase=Running ready";
    let expected = r#"
        patch Pod default/lost {"ownerReferences":[]}  (no longer picked by ReplicaSet default/web)
        patch Pod default/stray {"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"web","uid":"rs-web"}]}  (picked by ReplicaSet default/web)
        patch ReplicaSet default/web status {"availableReplicas":1,"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1}  (its pods changed)"#;
    check(&ReplicaSets, "rs default/web", state, expected);
}

#[test]
fn makes_nothing_while_it_leaves_and_waits_for_readiness_to_last() {
    let state = "
        rs default/web replicas=3 leaving finalizer=foregroundDeletion
        pod default/a owner=rs/web label:app=web phase=Running leaving";
    let expected = r#"patch ReplicaSet default/web status {"observedGeneration":1,"terminatingReplicas":1}  (its pods changed)"#;
    check(&ReplicaSets, "rs default/web", state, expected);
    let state = "
        rs default/web replicas=1 spec:minReadySeconds=40
        pod default/a owner=rs/web label:app=web phase=Running ready=30";
    let expected = r#"
        patch ReplicaSet default/web status {"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1}  (its pods changed)
        look again in 10 s"#;
    check(&ReplicaSets, "rs default/web", state, expected);
}
