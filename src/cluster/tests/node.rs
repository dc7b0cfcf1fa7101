//! Decisions about nodes.

use super::{check, decide};
use crate::control::node::Nodes;

const NODE: &str = "node n1";
const OTHER: &str = "node n2 condition:Ready=True";
const SILENT: &str = "taint:node.kubernetes.io/unreachable:NoSchedule";

fn rule() -> Nodes {
    Nodes::default()
}

#[test]
fn says_unknown_when_a_node_falls_silent() {
    let state =
        format!("node n1 condition:Ready=True condition:DiskPressure=False\n{OTHER}\nheard n1 7");
    check(&rule(), NODE, &state, "look again in 1 s");
    check(&rule(), NODE, &state.replace("n1 7", "n1 8"), "?unknown");
}

#[test]
fn taints_what_is_not_well_and_takes_its_taints_back() {
    let state = format!("node n1 condition:Ready=Unknown taint:mine:NoSchedule\n{OTHER}");
    check(&rule(), NODE, &state, "?taints");
    let state = format!(
        "node n1 condition:Ready=True unschedulable condition:MemoryPressure=True \
        taint:mine:NoSchedule {SILENT} taint:node.kubernetes.io/unreachable:NoExecute\n{OTHER}"
    );
    check(&rule(), NODE, &state, "?untaints");
}

#[test]
fn moves_pods_when_their_time_is_over() {
    let silent = format!("{SILENT}@5 taint:node.kubernetes.io/unreachable:NoExecute@5");
    let state = format!(
        "node n1 condition:Ready=Unknown {silent}\n{OTHER}
        pod default/a node=n1 phase=Running ready
        pod default/b node=n1 phase=Running tolerate:node.kubernetes.io/unreachable=300
        pod default/c node=n1 phase=Running tolerate:node.kubernetes.io/unreachable
        pod default/d node=n1 phase=Succeeded
        pod default/e node=n2 phase=Running"
    );
    check(&rule(), NODE, &state, "?moves");
    // When nobody is heard, it is we who are cut off.
    let alone = decide(
        &rule(),
        NODE,
        &state.replace(
            "node n2 condition:Ready=True",
            "node n2 condition:Ready=Unknown",
        ),
    );
    assert!(!alone.contains("delete"), "{alone}");
    // A taint that someone else put there acts at once, and always.
    let other = decide(
        &rule(),
        NODE,
        "node n1 condition:Ready=True taint:gpu:NoExecute\n pod default/a node=n1 phase=Running",
    );
    assert_eq!(other, "delete Pod default/a  (n1 has taint gpu)");
}
