//! Decisions about daemon sets.

use super::{check, decide};
use crate::control::daemon_set::DaemonSets;

const RULE: DaemonSets = DaemonSets;
const SET: &str = "ds default/agent";

/// The hash of the template that `state` has.
fn hash(state: &str) -> String {
    let made = decide(&RULE, SET, state);
    let name = made
        .lines()
        .find_map(|line| line.strip_prefix("create ControllerRevision default/agent-"));
    name.unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn runs_on_every_node_that_it_may_run_on() {
    let state = "
        ds default/agent
        node n1
        node n2 taint:gpu=yes:NoSchedule
        node n3 taint:node.kubernetes.io/not-ready:NoSchedule taint:node.kubernetes.io/not-ready:NoExecute unschedulable
        node n4 taint:dead:NoExecute
        node n5
        pod default/a owner=ds/agent label:app=agent node=n4 phase=Running ready
        pod default/b owner=ds/agent label:app=agent node=n5 phase=Running ready age=90
        pod default/c owner=ds/agent label:app=agent node=n5 phase=Running ready age=10";
    check(&RULE, SET, state, "?every");
}

#[test]
fn replaces_within_what_may_be_missing() {
    let hash = hash("ds default/agent image=agent:2");
    let state = format!("
        ds default/agent image=agent:2
        rev default/agent-{hash} owner=ds/agent label:controller-revision-hash={hash}
        node n1
        node n2
        node n3
        pod default/a owner=ds/agent label:app=agent label:controller-revision-hash=old node=n1 phase=Running ready
        pod default/b owner=ds/agent label:app=agent label:controller-revision-hash=old node=n2 phase=Running ready
        pod default/c owner=ds/agent label:app=agent label:controller-revision-hash={hash} node=n3 phase=Running ready");
    check(&RULE, SET, &state, "?replaces");
    // One is missing already.
    let waits = decide(
        &RULE,
        SET,
        &state.replace("node=n3 phase=Running ready", "node=n3 phase=Pending"),
    );
    assert!(!waits.contains("delete"), "{waits}");
    let beside = state.replace("image=agent:2\n", "image=agent:2 spec:updateStrategy.rollingUpdate.maxSurge=1 spec:updateStrategy.rollingUpdate.maxUnavailable=0\n");
    let first = decide(&RULE, SET, &beside);
    assert!(
        first.contains("create Pod") && !first.contains("delete"),
        "{first}"
    );
    let name = first
        .lines()
        .find(|line| line.starts_with("create Pod"))
        .unwrap()
        .split_whitespace()
        .nth(2)
        .unwrap()
        .to_owned();
    let beside = format!(
        "{beside}\n pod {name} owner=ds/agent label:app=agent label:controller-revision-hash={hash} node=n1 phase=Running ready=5 age=5"
    );
    let second = decide(&RULE, SET, &beside);
    assert!(
        second.contains("delete Pod default/a") && second.matches("create Pod").count() == 0,
        "{second}"
    );
}

#[test]
fn tries_again_after_a_while_and_waits_for_the_one_that_leaves() {
    let state = "
        ds default/agent
        node n1
        node n2
        pod default/a owner=ds/agent label:app=agent node=n1 phase=Failed ended=4
        pod default/b owner=ds/agent label:app=agent node=n2 phase=Running leaving";
    let found = decide(&RULE, SET, state);
    assert!(
        !found.contains("Pod") && found.ends_with("look again in 6 s"),
        "{found}"
    );
    let found = decide(&RULE, SET, &state.replace("ended=4", "ended=11"));
    assert!(
        found.contains("delete Pod default/a  (it has ended)"),
        "{found}"
    );
}

#[test]
fn writes_its_history_down() {
    let hash = hash("ds default/agent image=agent:1");
    let state = format!(
        "
        ds default/agent image=agent:1 spec:revisionHistoryLimit=1
        rev default/agent-{hash} owner=ds/agent label:controller-revision-hash={hash} age=100
        rev default/agent-b owner=ds/agent label:controller-revision-hash=b age=90
        rev default/agent-c owner=ds/agent label:controller-revision-hash=c age=80"
    );
    let state = state.replace(
        "label:controller-revision-hash=b",
        "label:controller-revision-hash=b version=7",
    );
    check(&RULE, SET, &state, "?history-ds");
}
