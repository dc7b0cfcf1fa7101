//! Where a service's traffic goes: endpoint slices, and endpoints for those who know only them.
//!
//! Addresses that lead to the node itself are refused (hazard N9).

use std::net::IpAddr;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde_json::Value;

use crate::field::{Causes, Path};
use crate::json::{items, text as text_of};
use crate::kind::ObjectKind;
use crate::kinds::cells::{AGE, NAME, none, text};
use crate::kinds::checks::{address, immutable, one_of, port};
use crate::names::{self, NameRule};
use crate::object::Object;

/// Addresses that a column shows.
const SHOWN: usize = 3;
/// Endpoints of a slice, at most.
const MAX_ENDPOINTS: usize = 1000;

/// `endpoints`.
pub static ENDPOINTS: ObjectKind = ObjectKind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    create_on_update: true,
    names: NameRule::Subdomain,
    place: "core/endpoints",
    columns: &[
        NAME,
        text("Endpoints", |object, _| {
            let mut all = Vec::new();
            for subset in object.list(&["subsets"]) {
                for ip in items(subset, "addresses") {
                    let ports = items(subset, "ports");
                    let ip = text_of(ip, "ip");
                    all.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
                    if ports.is_empty() {
                        all.push(ip.to_owned());
                    }
                }
            }
            shortened(&all).into()
        }),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<core::Endpoints>(),
    default: |object| {
        if let Some(Value::Array(subsets)) = object.as_map_mut().get_mut("subsets") {
            for subset in subsets {
                for port in crate::json::items_mut(subset, "ports") {
                    crate::json::fill_text(port, "protocol", "TCP");
                }
            }
        }
    },
    validate: |object, causes| {
        for (index, subset) in object.list(&["subsets"]).iter().enumerate() {
            let path = Path::new("subsets").index(index);
            for list in ["addresses", "notReadyAddresses"] {
                for (index, one) in items(subset, list).iter().enumerate() {
                    let at = path.child(list).index(index).child("ip");
                    reachable(text_of(one, "ip"), &at, causes);
                }
            }
            for (index, one) in items(subset, "ports").iter().enumerate() {
                let at = path.child("ports").index(index).child("port");
                port(one["port"].as_i64().unwrap_or_default(), &at, causes);
            }
        }
    },
    ..ObjectKind::BASE
};

/// `endpointslices.discovery.k8s.io`.
pub static ENDPOINT_SLICE: ObjectKind = ObjectKind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    has_generation: true,
    place: "discovery.k8s.io/endpointslices",
    columns: &[
        NAME,
        text("AddressType", |object, _| {
            object.text(&["addressType"]).into()
        }),
        text("Ports", |object, _| {
            let ports = object.list(&["ports"]);
            let all: Vec<_> = ports
                .iter()
                .map(|port| match port["port"].as_i64() {
                    Some(number) => number.to_string(),
                    None => "*".to_owned(),
                })
                .collect();
            match object.at(&["ports"]) {
                None => "<unset>".into(),
                Some(_) => shortened(&all).into(),
            }
        }),
        text("Endpoints", |object, _| {
            let endpoints = object.list(&["endpoints"]);
            let all: Vec<String> = endpoints
                .iter()
                .flat_map(|endpoint| items(endpoint, "addresses"))
                .filter_map(|address| address.as_str().map(str::to_owned))
                .collect();
            match object.at(&["endpoints"]) {
                None => "<unset>".into(),
                Some(_) => shortened(&all).into(),
            }
        }),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<discovery::EndpointSlice>(),
    default: |object| {
        if let Some(Value::Array(ports)) = object.as_map_mut().get_mut("ports") {
            for port in ports {
                crate::json::fill(port, "name", "");
                crate::json::fill_text(port, "protocol", "TCP");
            }
        }
    },
    validate: validate_slice,
    validate_update: |new, old, causes| immutable(new, old, &["addressType"], causes),
    ..ObjectKind::BASE
};

fn shortened(all: &[String]) -> String {
    let shown = all[..all.len().min(SHOWN)].join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => none(shown),
        more => format!("{shown} + {more} more..."),
    }
}

fn validate_slice(object: &Object, causes: &mut Causes) {
    let kinds = ["FQDN", "IPv4", "IPv6"];
    let path = Path::new("addressType");
    let kind = object.text(&["addressType"]);
    match kind {
        "" => causes.required(&path, ""),
        kind if !kinds.contains(&kind) => causes.unsupported(&path, kind, &kinds),
        _ => {}
    }
    let endpoints = object.list(&["endpoints"]);
    if endpoints.len() > MAX_ENDPOINTS {
        causes.too_many(&Path::new("endpoints"), endpoints.len(), MAX_ENDPOINTS);
    }
    for (index, endpoint) in endpoints.iter().take(MAX_ENDPOINTS).enumerate() {
        let path = Path::new("endpoints").index(index).child("addresses");
        let addresses = items(endpoint, "addresses");
        if addresses.is_empty() {
            causes.required(&path, "must contain at least 1 address");
        }
        for (index, one) in addresses.iter().enumerate() {
            let (one, at) = (one.as_str().unwrap_or_default(), path.index(index));
            match (kind, one.parse::<IpAddr>()) {
                ("FQDN", _) => {
                    for why in names::subdomain(one) {
                        causes.invalid(&at, one, &why);
                    }
                }
                ("IPv4", Ok(IpAddr::V6(_))) => causes.invalid(&at, one, "must be an IPv4 address"),
                ("IPv6", Ok(IpAddr::V4(_))) => causes.invalid(&at, one, "must be an IPv6 address"),
                _ => reachable(one, &at, causes),
            }
        }
    }
    for (index, one) in object.list(&["ports"]).iter().enumerate() {
        let at = Path::new("ports").index(index);
        let name = text_of(one, "name");
        if !name.is_empty() {
            for why in names::label(name) {
                causes.invalid(&at.child("name"), name, &why);
            }
        }
        one_of(
            &one["protocol"],
            &["SCTP", "TCP", "UDP"],
            &at.child("protocol"),
            causes,
        );
        if let Some(number) = one["port"].as_i64() {
            port(number, &at.child("port"), causes);
        }
    }
}

/// An address that leads to another machine than the one that asks.
fn reachable(text: &str, path: &Path, causes: &mut Causes) {
    let Ok(ip) = text.parse::<IpAddr>() else {
        return address(text, path, causes);
    };
    let why = if ip.is_unspecified() {
        "may not be unspecified (0.0.0.0 or ::)"
    } else if ip.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if ip.is_multicast() {
        "may not be in the multicast range (224.0.0.0/4, ff00::/8)"
    } else if matches!(ip, IpAddr::V4(ip) if ip.is_link_local())
        || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
    {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else {
        return;
    };
    causes.invalid(path, text, why);
}
