//! Placements, refusals, and what holds for any of them.

use proptest::prelude::*;

use super::state::object;
use crate::sched::{Book, Demand, Resources, decide, why};

/// A book of the objects in a text, and the pods in it that wait, in the order of the text.
fn book(text: &str) -> (Book, Vec<Demand>) {
    let mut book = Book::new();
    let mut waiting = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (kind, value) = object(line);
        match kind.name {
            "Node" => book.set_node(&serde_json::from_value(value).unwrap()),
            "Namespace" => {
                let namespace: k8s_openapi::api::core::v1::Namespace =
                    serde_json::from_value(value).unwrap();
                book.set_namespace(
                    namespace.metadata.name.as_deref().unwrap(),
                    namespace.metadata.labels.as_ref(),
                );
            }
            _ => {
                let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(value).unwrap();
                let bound = pod
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.node_name.is_some());
                match bound {
                    true => book.set_pod(&pod),
                    false => waiting.push(Demand::of(&pod)),
                }
            }
        }
    }
    (book, waiting)
}

/// Where the waiting pods go, or why not.
#[track_caller]
fn check(text: &str, expected: &str) {
    let (mut book, waiting) = book(text);
    let placed = decide(&mut book, waiting, 7);
    let lines = placed.into_iter().map(|placement| {
        let name = placement.demand.name.clone();
        match placement.outcome {
            Ok(chosen) => format!("{name} → {} ({} fit)", chosen.node, chosen.fitting),
            Err(refusal) => format!("{name}: {refusal}"),
        }
    });
    let found = lines.collect::<Vec<_>>().join("\n");
    let expected = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let expected = expected.collect::<Vec<_>>().join("\n");
    assert!(
        found == expected,
        "placed:\n{found}\n\nexpected:\n{expected}\n"
    );
}

#[test]
fn refuses_in_words() {
    check(
        "node n1 cpu=4 memory=1Gi
         node n2 cpu=4 memory=1Gi
         node n3 cpu=4 memory=8Gi unschedulable
         pod default/full node=n1 memory=600Mi
         pod default/also node=n2 memory=600Mi
         pod default/new memory=512Mi",
        "new: 0 of 3 nodes fit: 2 lack memory (need 512 MiB), 1 is drained",
    );
    check(
        "node n1 cpu=4 memory=1Gi taint:gpu=yes:NoSchedule
         node n2 cpu=4 memory=1Gi label:disk=hdd
         node n3 cpu=500m memory=1Gi label:disk=ssd
         node n4 cpu=4 memory=1Gi label:disk=ssd pods=1
         node n5 cpu=4 memory=1Gi label:disk=ssd
         pod default/a node=n4
         pod default/b node=n5 port=8080
         pod default/new cpu=1 select:disk=ssd port=8080",
        "new: 0 of 5 nodes fit: 1 has taint gpu=yes:NoSchedule, 1 lacks label disk=ssd, 1 lacks cpu (need 1), 1 is full, 1 has port 8080/TCP taken",
    );
    check("pod default/new", "new: there are no nodes");
}

#[test]
fn explains_every_node_and_the_smallest_change() {
    let (mut book, waiting) = book(
        "node n1 cpu=4 memory=1Gi unschedulable taint:gpu=yes:NoSchedule
         node n2 cpu=4 memory=4Gi
         node n3 cpu=4 memory=8Gi
         pod default/a node=n2 memory=3Gi
         pod default/b node=n3 memory=7Gi
         pod default/new memory=2Gi",
    );
    let why = why::explain(&mut book, &waiting[0]);
    assert_eq!(
        why.to_string(),
        "default/new: 0 of 3 nodes fit: 2 lack memory (need 2 GiB), 1 is drained\n  \
         n1: is drained; has taint gpu=yes:NoSchedule; lacks memory: needs 2 GiB, 1 GiB of 1 GiB free\n  \
         n2: lacks memory: needs 2 GiB, 1 GiB of 4 GiB free\n  \
         n3: lacks memory: needs 2 GiB, 1 GiB of 8 GiB free\n\
         would fit with 1 GiB memory more on n2"
    );
}

#[test]
fn keeps_together_apart_and_even() {
    let nodes = "node n1 cpu=4 memory=8Gi label:zone=a label:host=n1
         node n2 cpu=4 memory=8Gi label:zone=a label:host=n2
         node n3 cpu=4 memory=8Gi label:zone=b label:host=n3\n";
    let apart = "pod default/a label:app=db apart=app=db@host
         pod default/b label:app=db apart=app=db@host
         pod default/c label:app=db apart=app=db@host
         pod default/d label:app=db apart=app=db@host
         pod default/e label:app=db";
    let (mut accounts, waiting) = book(&format!("{nodes}{apart}"));
    let placed = decide(&mut accounts, waiting, 7);
    let mut on: Vec<&str> = placed
        .iter()
        .filter_map(|p| p.outcome.as_ref().ok())
        .map(|c| c.node.as_str())
        .collect();
    on.sort_unstable();
    assert_eq!(on, ["n1", "n2", "n3"]);
    assert_eq!(
        placed[3].outcome,
        Err("0 of 3 nodes fit: 3 have a pod it must not be with".to_owned())
    );
    // Who does not mind others is minded by others.
    assert_eq!(
        placed[4].outcome,
        Err("0 of 3 nodes fit: 3 have a pod that does not want it near".to_owned())
    );
    check(
        &format!(
            "{nodes}
         pod default/cache node=n3 label:app=cache
         pod default/web together=app=cache@zone
         pod default/lone together=app=nobody@zone
         pod default/self label:app=self together=app=self@zone"
        ),
        "lone: 0 of 3 nodes fit: 3 lack the pods it must be with
         self → n3 (3 fit)
         web → n3 (1 fit)",
    );
    check(
        &format!(
            "{nodes}
         pod default/x1 node=n1 label:app=s
         pod default/y label:app=s spread=app=s@zone
         pod default/z label:app=s spread=app=s@rack"
        ),
        "y → n3 (1 fit)
         z: 0 of 3 nodes fit: 3 lack label rack",
    );
}

#[test]
fn goes_by_priority_and_tolerates() {
    check(
        "node n1 cpu=1 memory=1Gi taint:gpu=yes:NoSchedule
         pod default/a cpu=1 tolerate:gpu
         pod default/b cpu=1 tolerate:gpu priority=10",
        "b → n1 (1 fit)
         a: 0 of 1 node fits: 1 lacks cpu (need 1)",
    );
    // `Exists` tolerates a drained node only when it says so.
    check(
        "node n1 cpu=1 memory=1Gi unschedulable taint:node.kubernetes.io/unschedulable:NoSchedule
         pod default/a cpu=1
         pod default/b cpu=1 tolerate:node.kubernetes.io/unschedulable",
        "a: 0 of 1 node fits: 1 is drained
         b → n1 (1 fit)",
    );
}

#[test]
fn spreads_siblings_over_nodes() {
    let pods: String = (0..9)
        .map(|n| format!("pod default/p{n} owner=rs/web cpu=100m\n"))
        .collect();
    let (mut accounts, waiting) = book(&format!(
        "node n1 cpu=4 memory=8Gi\nnode n2 cpu=8 memory=8Gi\nnode n3 cpu=16 memory=8Gi\n{pods}"
    ));
    decide(&mut accounts, waiting, 1);
    for node in ["n1", "n2", "n3"] {
        let (_, used) = accounts.account(node).unwrap();
        assert_eq!(used.cpu_milli, 300, "{node}");
    }
}

#[test]
fn frees_what_ended_and_what_moved() {
    let (mut accounts, _) = book("node n1 cpu=1 memory=1Gi\npod default/a node=n1 cpu=1");
    let set = |accounts: &mut Book, line: &str| {
        let (_, value) = object(line);
        accounts.set_pod(&serde_json::from_value(value).unwrap());
    };
    let used = |accounts: &Book| accounts.account("n1").unwrap().1.cpu_milli;
    assert_eq!(used(&accounts), 1000);
    set(&mut accounts, "pod default/a node=n1 cpu=1 phase=Succeeded");
    assert_eq!(used(&accounts), 0);
    // Bound to a node that is not known yet, and to one that went and came back.
    set(&mut accounts, "pod default/b node=n2 cpu=1");
    let (_, node) = object("node n2 cpu=2 memory=1Gi");
    let node = serde_json::from_value(node).unwrap();
    accounts.set_node(&node);
    assert_eq!(accounts.account("n2").unwrap().1.cpu_milli, 1000);
    accounts.remove_node("n2");
    accounts.set_node(&node);
    assert_eq!(accounts.account("n2").unwrap().1.cpu_milli, 1000);
    accounts.remove_pod("pod-b");
    assert_eq!(accounts.account("n2").unwrap().1, &Resources::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes: no node gives more than it has, and a seed means one outcome.
    #[test]
    fn never_overcommits_and_is_deterministic(
        nodes in proptest::collection::vec((1u32..8, 1u32..8, any::<bool>()), 1..8),
        pods in proptest::collection::vec((0u32..3000, 0u32..3000, 0u8..4, any::<bool>()), 1..60),
        seed in any::<u64>(),
    ) {
        let mut text = String::new();
        for (index, (cpu, memory, tainted)) in nodes.iter().enumerate() {
            let taint = if *tainted { "taint:t:NoSchedule" } else { "" };
            text += &format!("node n{index} cpu={cpu} memory={memory}Gi pods=10 label:zone=z{} {taint}\n", index % 3);
        }
        for (index, (cpu, memory, kind, tolerates)) in pods.iter().enumerate() {
            let extra = match kind {
                0 => "label:app=a apart=app=a@zone",
                1 => "label:app=b spread=app=b@zone",
                2 => "label:app=c together=app=c@zone port=8080",
                _ => "owner=rs/web",
            };
            let tolerates = if *tolerates { "tolerate:t" } else { "" };
            text += &format!("pod default/p{index} cpu={cpu}m memory={memory}Mi {extra} {tolerates}\n");
        }
        let run = |keep: usize| {
            let (mut accounts, mut waiting) = book(&text);
            let late = waiting.split_off(keep.min(waiting.len()));
            let mut placed = decide(&mut accounts, waiting, seed);
            for gone in placed.iter().step_by(3) {
                accounts.remove_pod(&gone.demand.uid);
            }
            placed.extend(decide(&mut accounts, late, seed));
            let where_to: Vec<_> = placed.iter().map(|p| (p.demand.name.clone(), p.outcome.clone())).collect();
            (accounts, where_to)
        };
        let (accounts, first) = run(pods.len() / 2);
        let (_, second) = run(pods.len() / 2);
        prop_assert_eq!(first, second);
        for (index, (_, _, tainted)) in nodes.iter().enumerate() {
            let (has, used) = accounts.account(&format!("n{index}")).unwrap();
            prop_assert!(used.cpu_milli <= has.cpu_milli && used.memory_bytes <= has.memory_bytes);
            let _ = tainted;
        }
    }
}
