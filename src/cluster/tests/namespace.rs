//! Decisions about namespaces.

use super::check;
use crate::control::namespace::Namespaces;

fn rule() -> Namespaces {
    Namespaces {
        root_certificate: "PEM".to_owned(),
    }
}

#[test]
fn furnishes_a_new_one() {
    check(&rule(), "ns dev", "ns dev", "?furnish");
    let state = "ns dev\n sa dev/default\n cm dev/kube-root-ca.crt";
    check(&rule(), "ns dev", state, "?renew");
}

#[test]
fn empties_one_that_is_deleted() {
    let state = "
        ns dev leaving spec:finalizers=[\"kubernetes\"]
        pod dev/a
        cm dev/b leaving finalizer=example.com/x
        pod other/c";
    check(&rule(), "ns dev", state, "?empty");
    let state = "ns dev leaving spec:finalizers=[\"kubernetes\",\"mine\"]";
    check(&rule(), "ns dev", state, "?finalize");
}
