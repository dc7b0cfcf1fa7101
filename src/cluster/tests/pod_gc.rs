//! Decisions about pods that nobody ends.

use super::{check, decide};
use crate::control::pod_gc::PodGc;

#[test]
fn ends_what_nobody_else_will() {
    let rule = PodGc::default();
    check(
        &rule,
        "pod default/a",
        "pod default/a node=gone phase=Running",
        "?node-gone",
    );
    check(
        &rule,
        "pod default/a",
        "pod default/a leaving finalizer=x",
        "?unplaced",
    );
    let out =
        "node n1 taint:node.kubernetes.io/out-of-service:NoExecute\n pod default/a node=n1 leaving";
    check(&rule, "pod default/a", out, "?out");
    check(
        &rule,
        "pod default/a",
        "node n1\n pod default/a node=n1 leaving",
        "",
    );
    check(&rule, "pod default/a", "pod default/a", "");
}

#[test]
fn keeps_only_so_many_ended_ones() {
    let rule = PodGc { max_ended: 2 };
    let state = "
        pod default/a phase=Succeeded age=30
        pod default/b phase=Failed age=50
        pod default/c phase=Succeeded age=10
        pod default/d phase=Running age=90";
    let found = decide(&rule, "pod /", state);
    assert_eq!(
        found,
        "delete Pod default/b grace=0s  (more than 2 have ended)"
    );
}
