//! Decisions about services.

use super::{check, decide};
use crate::control::service::Services;

const RULE: Services = Services;

#[test]
fn leads_to_the_pods_that_are_ready() {
    let state = "
        svc default/web pick:app=web serves=80:8080
        pod default/a label:app=web node=n1 ip=10.0.0.1 phase=Running ready
        pod default/b label:app=web node=n2 ip=10.0.0.2 phase=Running
        pod default/c label:app=web node=n2 ip=10.0.0.3 phase=Running ready leaving
        pod default/d label:app=web node=n2 ip=10.0.0.4 phase=Succeeded
        pod default/e label:app=web phase=Pending
        pod default/f label:app=other ip=10.0.0.6 phase=Running ready";
    check(&RULE, "svc default/web", state, "?create");
    use crate::control::Rule;
    use crate::operation::Deed;
    let decision = RULE.decide(
        &super::world(state),
        &super::reference("svc default/web"),
        super::now(),
    );
    let objects: Vec<_> = decision
        .operations
        .iter()
        .map(|o| match &o.deeds[0] {
            Deed::Create { object, .. } => object,
            other => panic!("{other}"),
        })
        .collect();
    let ready: Vec<_> = objects[0]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            (
                e["addresses"][0].as_str().unwrap(),
                e["conditions"]["ready"].as_bool().unwrap(),
                e["conditions"]["terminating"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        ready,
        [
            ("10.0.0.1", true, false),
            ("10.0.0.2", false, false),
            ("10.0.0.3", false, true)
        ]
    );
    assert_eq!(objects[0]["ports"][0]["port"], 8080);
    assert_eq!(
        objects[1]["subsets"][0]["addresses"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        objects[1]["subsets"][0]["notReadyAddresses"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn leaves_services_without_a_selector_alone_and_empties_the_others() {
    check(&RULE, "svc default/web", "svc default/web serves=80", "");
    let state = "
        svc default/web pick:app=web serves=80
        slice default/web-old label:kubernetes.io/service-name=web label:endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io
        slice default/mine label:kubernetes.io/service-name=web
        ep default/web";
    check(&RULE, "svc default/web", state, "?empties");
}

#[test]
fn splits_many_endpoints_and_finds_named_ports() {
    let pods: String = (0..250)
        .map(|n| {
            format!(
                "pod default/p{n} label:app=web ip=10.0.{}.{} ready phase=Running\n",
                n / 250,
                n % 250
            )
        })
        .collect();
    let found = decide(
        &RULE,
        "svc default/web",
        &format!("svc default/web pick:app=web serves=80\n{pods}"),
    );
    assert_eq!(found.matches("create EndpointSlice").count(), 3, "{found}");
    let named = "
        svc default/web pick:app=web serves=80:http
        pod default/a label:app=web ip=10.0.0.1 ready phase=Running spec:containers=[{\"name\":\"x\",\"ports\":[{\"name\":\"http\",\"containerPort\":8000}]}]
        pod default/b label:app=web ip=10.0.0.2 ready phase=Running spec:containers=[{\"name\":\"x\",\"ports\":[{\"name\":\"http\",\"containerPort\":9000}]}]";
    let found = decide(&RULE, "svc default/web", named);
    assert_eq!(found.matches("create EndpointSlice").count(), 2, "{found}");
}
