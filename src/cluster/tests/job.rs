//! Decisions about jobs.

use super::{check, decide};
use crate::control::job::Jobs;

const RULE: Jobs = Jobs;
const JOB: &str = "job default/sum";
const STARTED: &str = "status:startTime=2026-01-01T00:09:00Z";
const POD: &str = "owner=job/sum finalizer=batch.kubernetes.io/job-tracking";

#[test]
fn runs_as_many_at_once_as_it_may() {
    check(
        &RULE,
        JOB,
        "job default/sum completions=5 parallelism=2",
        "?start",
    );
    let state = format!(
        "job default/sum completions=5 parallelism=2 {STARTED} status:succeeded=4
        pod default/a {POD} phase=Running"
    );
    let found = decide(&RULE, JOB, &state);
    assert!(!found.contains("create"), "one is left, and runs: {found}");
}

#[test]
fn counts_and_lets_go_in_one_transaction() {
    let state = format!(
        "job default/sum completions=5 parallelism=2 {STARTED} status:active=2
        pod default/a {POD} phase=Succeeded
        pod default/b {POD} phase=Running leaving
        pod default/c owner=job/sum phase=Succeeded"
    );
    check(&RULE, JOB, &state, "?count");
}

#[test]
fn waits_longer_after_each_failure_and_gives_up() {
    let state = format!(
        "job default/sum {STARTED} status:failed=2
        pod default/a owner=job/sum phase=Failed ended=15"
    );
    check(&RULE, JOB, &state, "?backoff");
    let state = format!(
        "job default/sum {STARTED} spec:backoffLimit=2 status:failed=3 parallelism=2
        pod default/a {POD} phase=Running"
    );
    check(&RULE, JOB, &state, "?give-up");
    let state = format!("job default/sum {STARTED} spec:backoffLimit=2 status:failed=3");
    check(&RULE, JOB, &state, "?failed");
}

#[test]
fn ends_in_time_and_is_deleted_in_time() {
    let state = format!(
        "job default/sum {STARTED} spec:activeDeadlineSeconds=61
        pod default/a {POD} phase=Running"
    );
    let found = decide(&RULE, JOB, &state);
    assert!(found.ends_with("look again in 1 s"), "{found}");
    let found = decide(&RULE, JOB, &state.replace("=61", "=60"));
    assert!(
        found.contains("delete Pod default/a  (DeadlineExceeded)"),
        "{found}"
    );
    let done =
        format!("job default/sum {STARTED} completions=1 status:succeeded=1 status:active=1");
    check(&RULE, JOB, &done, "?done");
    let done = "job default/sum completions=1 spec:ttlSecondsAfterFinished=61 status:succeeded=1 condition:Complete=True";
    check(&RULE, JOB, done, "look again in 1 s");
    check(&RULE, JOB, &done.replace("=61", "=60"), "?ttl");
}

#[test]
fn gives_each_index_one_pod() {
    let state = format!(
        "job default/sum completions=4 parallelism=3 {STARTED} spec:completionMode=Indexed \
            status:completedIndexes=0,2 status:succeeded=2 status:active=1
        pod default/a {POD} annotation:batch.kubernetes.io/job-completion-index=1 phase=Running"
    );
    check(&RULE, JOB, &state, "?indexed");
    let state = state.replace("phase=Running", "phase=Succeeded");
    check(&RULE, JOB, &state, "?indexed-count");
}

#[test]
fn suspends_without_failing_and_lets_orphans_go() {
    let state = format!(
        "job default/sum suspend {STARTED} status:active=1
        pod default/a {POD} phase=Running"
    );
    check(&RULE, JOB, &state, "?suspend");
    check(
        &RULE,
        JOB,
        &format!("pod default/a {POD} phase=Running leaving"),
        "?orphan",
    );
    let found = decide(&RULE, JOB, "job default/sum spec:podFailurePolicy.rules=[]");
    assert!(
        found.contains("UnsupportedField") && found.contains("podFailurePolicy"),
        "{found}"
    );
}
