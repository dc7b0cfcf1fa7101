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
mod sim;
mod state;

use std::path::Path;

use orc_base::Time;

use crate::control::Rule;
use crate::tests::state::{NOW, reference, world};

/// What a rule decides about a subject, one line an operation.
fn decide(rule: &dyn Rule, subject: &str, state: &str) -> String {
    let decision = rule.decide(&world(state), &reference(subject), now());
    let lines = decision
        .operations
        .iter()
        .map(|operation| operation.to_string());
    let again = decision.again.map(|at| {
        let wait = at.nanos() - now().nanos();
        format!("look again in {} s", wait as f64 / 1e9)
    });
    lines.chain(again).collect::<Vec<_>>().join("\n")
}

/// Fails with both texts when a decision is another one; `expected` may be indented, or be `?` and the name of
/// a golden file, which `BLESS=1` writes anew.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "reads and writes golden files")]
fn check(rule: &dyn Rule, subject: &str, state: &str, expected: &str) {
    let found = decide(rule, subject, state);
    let golden = expected
        .strip_prefix('?')
        .map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.txt")));
    if let Some(path) = golden
        .as_ref()
        .filter(|_| std::env::var_os("BLESS").is_some())
    {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{found}\n")).unwrap();
    }
    let expected = match &golden {
        Some(path) => &std::fs::read_to_string(path).unwrap_or_default(),
        None => expected,
    };
    let lines = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let expected = lines.collect::<Vec<_>>().join("\n");
    assert!(
        found == expected,
        "decided:\n{found}\n\nexpected:\n{expected}\n"
    );
}

fn now() -> Time {
    NOW.parse().unwrap()
}
