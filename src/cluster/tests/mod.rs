//! Tests of decisions: a state as text in, operations as text out.

mod daemon_set;
mod deployment;
mod job;
mod namespace;
mod node;
mod owners;
mod pod_gc;
mod replica_set;
mod sched;
mod service;
mod state;

use orc_base::Time;

use crate::control::Rule;
use crate::tests::state::{NOW, reference, world};

/// What a rule decides about a subject, one line an operation.
fn decide(rule: &dyn Rule, subject: &str, state: &str) -> String {
    let decision = rule.decide(&world(state), &reference(subject), now());
    let lines = decision.operations.iter().map(|operation| operation.to_string());
    let again = decision.again.map(|at| {
        let wait = at.nanos() - now().nanos();
        format!("look again in {} s", wait as f64 / 1e9)
    });
    lines.chain(again).collect::<Vec<_>>().join("\n")
}

/// Fails with both texts when a decision is another one; `expected` may be indented.
#[track_caller]
fn check(rule: &dyn Rule, subject: &str, state: &str, expected: &str) {
    let lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected = lines.collect::<Vec<_>>().join("\n");
    let found = decide(rule, subject, state);
    assert!(found == expected, "decided:\n{found}\n\nexpected:\n{expected}\n");
}

fn now() -> Time {
    NOW.parse().unwrap()
}
