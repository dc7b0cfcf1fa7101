//! Services: one address and name in front of pods.
//!
//! Addresses and ports on nodes are claims, so no two services hold the same (design decision 8).

use k8s_openapi::api::core::v1 as api;
use serde_json::{Value, json};

use crate::claim::{Claim, Pool, Want};
use crate::field::{Causes, Path};
use crate::json::{holds, items, text as text_of};
use crate::kind::{ObjectKind, Subresource};
use crate::kinds::cells::{AGE, NAME, none, text, wide};
use crate::kinds::checks::{address, not_negative, one_of, port, port_reference};
use crate::meta;
use crate::names::{self, NameRule};
use crate::object::Object;

const HEADLESS: &str = "None";

/// `services`.
pub static SERVICE: ObjectKind = ObjectKind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    names: NameRule::Label1035,
    place: "core/services",
    fields: &[
        ("spec.clusterIP", |service| {
            service.text(&["spec", "clusterIP"]).to_owned()
        }),
        ("spec.type", |service| {
            service.text(&["spec", "type"]).to_owned()
        }),
    ],
    columns: &[
        NAME,
        text("Type", |service, _| service.text(&["spec", "type"]).into()),
        text("Cluster-IP", |service, _| {
            none(service.text(&["spec", "clusterIP"])).into()
        }),
        text("External-IP", |service, _| external(service).into()),
        text("Port(s)", |service, _| ports(service).into()),
        AGE,
        wide("Selector", |service, _| {
            let labels = service.texts(&["spec", "selector"]);
            let texts: Vec<_> = labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            none(texts.join(",")).into()
        }),
    ],
    schema: |generator| generator.subschema_for::<api::Service>(),
    default,
    prepare_create: |service| service.set(&["status"], json!({ "loadBalancer": {} })),
    prepare_update: keep_allocated,
    validate,
    validate_update: |new, old, causes| {
        let (address, was) = (
            new.text(&["spec", "clusterIP"]),
            old.text(&["spec", "clusterIP"]),
        );
        let named = |service: &Object| service.text(&["spec", "type"]) == "ExternalName";
        if !was.is_empty() && address != was && !named(new) && !named(old) {
            let path = Path::new("spec").child("clusterIPs").index(0);
            causes.invalid(&path, vec![address], "may not change once set");
        }
    },
    claims,
    wants,
    ..ObjectKind::BASE
};

fn default(service: &mut Object) {
    if service.at(&["spec"]).is_none() {
        return;
    }
    service.set_default(&["spec", "type"], "ClusterIP");
    service.set_default(&["spec", "sessionAffinity"], "None");
    if service.text(&["spec", "sessionAffinity"]) == "ClientIP" {
        service.set_default(
            &[
                "spec",
                "sessionAffinityConfig",
                "clientIP",
                "timeoutSeconds",
            ],
            10_800,
        );
    }
    let kind = service.text(&["spec", "type"]).to_owned();
    if let Some(ports) = service.as_map_mut().get_mut("spec") {
        for port in crate::json::items_mut(ports, "ports") {
            crate::json::fill_text(port, "protocol", "TCP");
            let number = port["port"].clone();
            if port["targetPort"] == 0 || port["targetPort"] == "" || port["targetPort"].is_null() {
                port["targetPort"] = number;
            }
        }
    }
    match kind.as_str() {
        "ExternalName" => {}
        _ => {
            service.set_default(&["spec", "internalTrafficPolicy"], "Cluster");
            service.set_default(&["spec", "ipFamilies"], json!(["IPv4"]));
            service.set_default(&["spec", "ipFamilyPolicy"], "SingleStack");
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        service.set_default(&["spec", "externalTrafficPolicy"], "Cluster");
    }
    if kind == "LoadBalancer" {
        service.set_default(&["spec", "allocateLoadBalancerNodePorts"], true);
    }
    let address = service.text(&["spec", "clusterIP"]).to_owned();
    let first = service.list(&["spec", "clusterIPs"]).first().cloned();
    match (address.as_str(), first) {
        ("", Some(first)) => service.set(&["spec", "clusterIP"], first),
        ("", None) => {}
        (address, None) => service.set(&["spec", "clusterIPs"], json!([address])),
        _ => {}
    }
}

/// Keeps what was given, when the writer does not say it (`patchAllocatedValues`).
fn keep_allocated(new: &mut Object, old: &Object) {
    let kinds = (
        new.text(&["spec", "type"]).to_owned(),
        old.text(&["spec", "type"]).to_owned(),
    );
    if kinds.0 == "ExternalName" {
        for gone in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            new.remove(&["spec", gone]);
        }
    } else if kinds.1 != "ExternalName" && new.text(&["spec", "clusterIP"]).is_empty() {
        for kept in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old.at(&["spec", kept]).cloned() {
                new.set(&["spec", kept], value);
            }
        }
    }
    drop_foreign(new, old, (&kinds.0, &kinds.1));
    keep_node_ports(new, old, (&kinds.0, &kinds.1));
}

fn is_on_nodes(kind: &str) -> bool {
    matches!(kind, "NodePort" | "LoadBalancer")
}

/// What only the type before had goes, unless the writer says it anew (`dropTypeDependentFields`).
fn drop_foreign(new: &mut Object, old: &Object, (kind, was): (&str, &str)) {
    let balanced = |kind: &str| kind == "LoadBalancer";
    for (field, has) in [
        ("externalTrafficPolicy", is_on_nodes as fn(&str) -> bool),
        ("healthCheckNodePort", is_on_nodes),
        ("allocateLoadBalancerNodePorts", balanced),
        ("loadBalancerClass", balanced),
    ] {
        let path = ["spec", field];
        if has(was) && !has(kind) && new.at(&path) == old.at(&path) {
            new.remove(&path);
        }
    }
}

/// Ports on nodes stay with their port; those that were given to another type of service go.
fn keep_node_ports(new: &mut Object, old: &Object, (kind, was): (&str, &str)) {
    let old_ports = old.list(&["spec", "ports"]).to_vec();
    let Some(spec) = new.as_map_mut().get_mut("spec") else {
        return;
    };
    for port in crate::json::items_mut(spec, "ports") {
        let same =
            |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
        let given = old_ports
            .iter()
            .find(same)
            .and_then(|old| old.get("nodePort"))
            .cloned();
        let Value::Object(port) = port else {
            continue;
        };
        let own = port.get("nodePort").filter(|number| **number != 0).cloned();
        match (is_on_nodes(kind), own, given) {
            (true, None, Some(given)) => {
                port.insert("nodePort".to_owned(), given);
            }
            (false, Some(own), Some(given)) if is_on_nodes(was) && own == given => {
                port.remove("nodePort");
            }
            _ => {}
        }
    }
}

fn wants(service: &Object) -> Vec<Want> {
    let mut wants = Vec::new();
    let kind = service.text(&["spec", "type"]);
    if kind != "ExternalName" && service.text(&["spec", "clusterIP"]).is_empty() {
        wants.push(Want {
            pool: Pool::Addresses,
            pointers: vec![
                "/spec/clusterIP".to_owned(),
                "/spec/clusterIPs[]".to_owned(),
            ],
        });
    }
    let given = service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&false.into());
    if kind == "NodePort" || kind == "LoadBalancer" && given {
        for (index, port) in service.list(&["spec", "ports"]).iter().enumerate() {
            if port["nodePort"].as_i64().unwrap_or_default() == 0 {
                wants.push(Want {
                    pool: Pool::NodePorts,
                    pointers: vec![format!("/spec/ports/{index}/nodePort")],
                });
            }
        }
    }
    wants
}

fn claims(service: &Object) -> Vec<Claim> {
    let mut claims = Vec::new();
    let address = service.text(&["spec", "clusterIP"]);
    if !matches!(address, "" | HEADLESS) && service.text(&["spec", "type"]) != "ExternalName" {
        claims.push(Claim {
            pool: Pool::Addresses,
            value: address.to_owned(),
            field: "spec.clusterIPs".to_owned(),
        });
    }
    for (index, port) in service.list(&["spec", "ports"]).iter().enumerate() {
        if let Some(number) = port["nodePort"].as_i64().filter(|number| *number != 0) {
            claims.push(Claim {
                pool: Pool::NodePorts,
                value: number.to_string(),
                field: format!("spec.ports[{index}].nodePort"),
            });
        }
    }
    claims
}

fn validate(service: &Object, causes: &mut Causes) {
    let path = Path::new("spec");
    let empty = json!({});
    let spec = service.at(&["spec"]).unwrap_or(&empty);
    let kind = text_of(spec, "type");
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    match kind {
        "" => causes.required(&path.child("type"), ""),
        _ => one_of(&spec["type"], &kinds, &path.child("type"), causes),
    }
    meta::labels(spec.get("selector"), &path.child("selector"), causes);
    one_of(
        &spec["sessionAffinity"],
        &["ClientIP", "None"],
        &path.child("sessionAffinity"),
        causes,
    );
    let headless = text_of(spec, "clusterIP") == HEADLESS;
    match kind {
        "ExternalName" => external_name(spec, &path, causes),
        _ if items(spec, "ports").is_empty() && !headless => {
            causes.required(&path.child("ports"), "");
        }
        "NodePort" | "LoadBalancer" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            causes.invalid(&path.child("clusterIPs").index(0), HEADLESS, &why);
        }
        _ => {}
    }
    let ip = text_of(spec, "clusterIP");
    if !matches!(ip, "" | HEADLESS) {
        address(ip, &path.child("clusterIPs").index(0), causes);
    }
    if let Some(first) = items(spec, "clusterIPs").first()
        && first != ip
    {
        let why = "first value of spec.clusterIPs must match spec.clusterIP";
        causes.invalid(&path.child("clusterIPs"), spec["clusterIPs"].clone(), why);
    }
    // Addresses of others as one's own lead traffic astray (hazard N9).
    if holds(spec, "externalIPs") {
        causes.forbidden(
            &path.child("externalIPs"),
            "external IPs are off in this cluster",
        );
    }
    for (field, kinds) in [
        (
            "externalTrafficPolicy",
            ["NodePort", "LoadBalancer"].as_slice(),
        ),
        ("loadBalancerClass", &["LoadBalancer"]),
    ] {
        if holds(spec, field) && !kinds.contains(&kind) {
            let shown = spec[field].clone();
            let why = "may only be set for externally-accessible services";
            causes.invalid(&path.child(field), shown, why);
        }
    }
    for field in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        one_of(
            &spec[field],
            &["Cluster", "Local"],
            &path.child(field),
            causes,
        );
    }
    not_negative(
        &spec["healthCheckNodePort"],
        &path.child("healthCheckNodePort"),
        causes,
    );
    validate_ports(spec, kind, &path.child("ports"), causes);
}

fn external_name(spec: &Value, path: &Path, causes: &mut Causes) {
    let name = text_of(spec, "externalName");
    match name {
        "" => causes.required(&path.child("externalName"), ""),
        name => {
            for why in names::subdomain(name.trim_end_matches('.')) {
                causes.invalid(&path.child("externalName"), name, &why);
            }
        }
    }
    if holds(spec, "clusterIP") {
        causes.forbidden(
            &path.child("clusterIPs"),
            "may not be set for ExternalName services",
        );
    }
}

fn validate_ports(spec: &Value, kind: &str, path: &Path, causes: &mut Causes) {
    let ports = items(spec, "ports");
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    for (index, one) in ports.iter().enumerate() {
        let at = path.index(index);
        let name = text_of(one, "name");
        match name {
            "" if ports.len() > 1 => causes.required(&at.child("name"), ""),
            "" => {}
            name if names.contains(&name) => causes.duplicate(&at.child("name"), name),
            name => {
                for why in names::label(name) {
                    causes.invalid(&at.child("name"), name, &why);
                }
                names.push(name);
            }
        }
        port(
            one["port"].as_i64().unwrap_or_default(),
            &at.child("port"),
            causes,
        );
        one_of(
            &one["protocol"],
            &["SCTP", "TCP", "UDP"],
            &at.child("protocol"),
            causes,
        );
        port_reference(&one["targetPort"], &at.child("targetPort"), causes);
        let number = (&one["port"], &one["protocol"]);
        if numbers.contains(&number) {
            let shown = json!({ "protocol": one["protocol"], "port": one["port"] });
            causes.duplicate(&at, shown);
        }
        numbers.push(number);
        let on_node = one["nodePort"].as_i64().unwrap_or_default();
        if on_node != 0 && !matches!(kind, "NodePort" | "LoadBalancer") {
            let why = format!("may not be used when `type` is '{kind}'");
            causes.forbidden(&at.child("nodePort"), &why);
        }
    }
}

fn external(service: &Object) -> String {
    match service.text(&["spec", "type"]) {
        "ExternalName" => service.text(&["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let points = service.list(&["status", "loadBalancer", "ingress"]);
            let texts: Vec<_> = points
                .iter()
                .map(|point| match text_of(point, "ip") {
                    "" => text_of(point, "hostname"),
                    ip => ip,
                })
                .collect();
            match texts.is_empty() {
                true => "<pending>".to_owned(),
                false => texts.join(","),
            }
        }
        _ => none(""),
    }
}

fn ports(service: &Object) -> String {
    let shown = |port: &Value| {
        let number = port["port"].as_i64().unwrap_or_default();
        let protocol = text_of(port, "protocol");
        match port["nodePort"].as_i64().filter(|number| *number != 0) {
            Some(on_node) => format!("{number}:{on_node}/{protocol}"),
            None => format!("{number}/{protocol}"),
        }
    };
    let texts: Vec<_> = service.list(&["spec", "ports"]).iter().map(shown).collect();
    none(texts.join(","))
}
