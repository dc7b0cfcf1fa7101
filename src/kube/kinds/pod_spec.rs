//! What a pod is made of, wherever it stands: checks of `PodSpec`.
//!
//! `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`. Every rule runs over every sort of container
//! (hazard K10). What a writer left out is filled in by `pod_defaults` before.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Causes, Path};
use crate::json::{self as read, fields, has, holds, items, text};
use crate::kinds::checks::{not_negative, one_of, port, port_reference};
use crate::kinds::pod_defaults::{CONTAINERS, PROBES};
use crate::names;
use crate::quantity::Quantity;

const HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];

/// Says what is wrong with a pod's spec.
pub(crate) fn validate(spec: &Value, path: &Path, causes: &mut Causes) {
    let volumes = validate_volumes(spec, &path.child("volumes"), causes);
    if items(spec, "containers").is_empty() {
        causes.required(&path.child("containers"), "");
    }
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    for sort in CONTAINERS {
        for (index, container) in items(spec, sort).iter().enumerate() {
            let at = path.child(sort).index(index);
            container_name(container, &mut names, &at, causes);
            validate_container(container, sort, &volumes, &at, causes);
            ports(
                container,
                spec["hostNetwork"] == true,
                &mut host_ports,
                &at,
                causes,
            );
        }
    }
    one_of(
        &spec["restartPolicy"],
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
        causes,
    );
    one_of(
        &spec["dnsPolicy"],
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &path.child("dnsPolicy"),
        causes,
    );
    not_negative(
        &spec["terminationGracePeriodSeconds"],
        &path.child("terminationGracePeriodSeconds"),
        causes,
    );
    if let Some(seconds) = spec["activeDeadlineSeconds"]
        .as_i64()
        .filter(|seconds| *seconds < 1)
    {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.invalid(&path.child("activeDeadlineSeconds"), seconds, why);
    }
    for (field, check) in [
        ("nodeName", names::subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
    ] {
        let name = text(spec, field);
        if !name.is_empty() {
            for why in check(name) {
                causes.invalid(&path.child(field), name, &why);
            }
        }
    }
    crate::meta::labels(
        spec.get("nodeSelector"),
        &path.child("nodeSelector"),
        causes,
    );
    tolerations(spec, &path.child("tolerations"), causes);
    spread(spec, &path.child("topologySpreadConstraints"), causes);
    security(
        &spec["securityContext"],
        &path.child("securityContext"),
        causes,
    );
    if spec["dnsPolicy"] == "None" && items(&spec["dnsConfig"], "nameservers").is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        causes.required(&path.child("dnsConfig").child("nameservers"), why);
    }
}

fn container_name<'v>(
    container: &'v Value,
    seen: &mut BTreeSet<&'v str>,
    path: &Path,
    causes: &mut Causes,
) {
    let (name, path) = (text(container, "name"), path.child("name"));
    if name.is_empty() {
        return causes.required(&path, "");
    }
    for why in names::label(name) {
        causes.invalid(&path, name, &why);
    }
    if !seen.insert(name) {
        causes.duplicate(&path, name);
    }
}

fn validate_container(
    container: &Value,
    sort: &str,
    volumes: &BTreeSet<&str>,
    path: &Path,
    causes: &mut Causes,
) {
    let image = text(container, "image");
    if image.is_empty() {
        causes.required(&path.child("image"), "");
    } else if image != image.trim() {
        let why = "must not have leading or trailing whitespace";
        causes.invalid(&path.child("image"), image, why);
    }
    one_of(
        &container["imagePullPolicy"],
        &["Always", "IfNotPresent", "Never"],
        &path.child("imagePullPolicy"),
        causes,
    );
    one_of(
        &container["terminationMessagePolicy"],
        &["File", "FallbackToLogsOnError"],
        &path.child("terminationMessagePolicy"),
        causes,
    );
    environment(container, path, causes);
    mounts(container, volumes, &path.child("volumeMounts"), causes);
    resources(&container["resources"], &path.child("resources"), causes);
    security(
        &container["securityContext"],
        &path.child("securityContext"),
        causes,
    );
    let restarts = text(container, "restartPolicy");
    let sidecar = sort == "initContainers" && restarts == "Always";
    for probe in PROBES {
        if !has(container, probe) {
            continue;
        }
        let at = path.child(probe);
        match sort {
            "containers" => validate_probe(probe, &container[probe], &at, causes),
            "initContainers" if sidecar => validate_probe(probe, &container[probe], &at, causes),
            "initContainers" => {
                let why = "may not be set for init containers without restartPolicy=Always";
                causes.forbidden(&at, why);
            }
            _ => causes.forbidden(&at, "cannot be set for an Ephemeral Container"),
        }
    }
    for hook in ["postStart", "preStop"] {
        let hooks = &container["lifecycle"];
        if has(hooks, hook) {
            let at = path.child("lifecycle").child(hook);
            match sort == "containers" || sidecar {
                true => handler(
                    &hooks[hook],
                    &["exec", "httpGet", "tcpSocket", "sleep"],
                    &at,
                    causes,
                ),
                false => causes.forbidden(&at, "may not be set for this sort of container"),
            }
        }
    }
}

fn ports<'v>(
    container: &'v Value,
    on_host: bool,
    taken: &mut BTreeSet<(i64, &'v str, &'v str)>,
    path: &Path,
    causes: &mut Causes,
) {
    let mut names = BTreeSet::new();
    for (index, one) in items(container, "ports").iter().enumerate() {
        let at = path.child("ports").index(index);
        let number = one["containerPort"].as_i64().unwrap_or_default();
        match number {
            0 => causes.required(&at.child("containerPort"), ""),
            number => port(number, &at.child("containerPort"), causes),
        }
        let name = text(one, "name");
        if !name.is_empty() {
            for why in names::port_name(name) {
                causes.invalid(&at.child("name"), name, &why);
            }
            if !names.insert(name) {
                causes.duplicate(&at.child("name"), name);
            }
        }
        one_of(
            &one["protocol"],
            &["SCTP", "TCP", "UDP"],
            &at.child("protocol"),
            causes,
        );
        let host = one["hostPort"].as_i64().unwrap_or_default();
        if host != 0 {
            port(host, &at.child("hostPort"), causes);
            if on_host && host != number {
                causes.invalid(
                    &at.child("containerPort"),
                    number,
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
            let claim = (host, text(one, "protocol"), text(one, "hostIP"));
            if !taken.insert(claim) {
                let shown = format!("{}/{}/{}", claim.1, claim.2, claim.0);
                causes.duplicate(&at.child("hostPort"), shown);
            }
        }
    }
}

fn environment(container: &Value, path: &Path, causes: &mut Causes) {
    for (index, variable) in items(container, "env").iter().enumerate() {
        let at = path.child("env").index(index);
        let name = text(variable, "name");
        match name {
            "" => causes.required(&at.child("name"), ""),
            name => {
                for why in names::environment(name) {
                    causes.invalid(&at.child("name"), name, &why);
                }
            }
        }
        let from = &variable["valueFrom"];
        if !has(variable, "valueFrom") {
            continue;
        }
        let at = at.child("valueFrom");
        if !text(variable, "value").is_empty() {
            causes.invalid(&at, "", "may not be specified when `value` is not empty");
        }
        let sources = [
            "fieldRef",
            "resourceFieldRef",
            "configMapKeyRef",
            "secretKeyRef",
            "fileKeyRef",
        ];
        match sources.iter().filter(|source| has(from, source)).count() {
            0 => causes.invalid(
                &at,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ),
            1 => {}
            _ => causes.invalid(&at, "", "may not have more than one field specified at a time"),
        }
        for source in ["configMapKeyRef", "secretKeyRef"] {
            if has(from, source) {
                reference(&from[source], &at.child(source), causes);
            }
        }
        let field = text(&from["fieldRef"], "fieldPath");
        if has(from, "fieldRef") && !is_downward(field) {
            let path = at.child("fieldRef").child("fieldPath");
            match field {
                "" => causes.required(&path, ""),
                field => causes.invalid(
                    &path,
                    field,
                    "error converting fieldPath: field label not supported",
                ),
            }
        }
    }
    for (index, from) in items(container, "envFrom").iter().enumerate() {
        let at = path.child("envFrom").index(index);
        match (has(from, "configMapRef"), has(from, "secretRef")) {
            (false, false) => {
                causes.invalid(
                    &at,
                    "",
                    "must specify one of: `configMapRef` or `secretRef`",
                );
            }
            (true, true) => {
                causes.invalid(
                    &at,
                    "",
                    "may not have more than one field specified at a time",
                );
            }
            _ => {}
        }
    }
}

fn is_downward(field: &str) -> bool {
    let plain = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    plain.contains(&field)
        || field.starts_with("metadata.labels['")
        || field.starts_with("metadata.annotations['")
}

fn reference(of: &Value, path: &Path, causes: &mut Causes) {
    for field in ["name", "key"] {
        if text(of, field).is_empty() {
            causes.required(&path.child(field), "");
        }
    }
    let key = text(of, "key");
    if !key.is_empty() {
        for why in names::config_key(key) {
            causes.invalid(&path.child("key"), key, &why);
        }
    }
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, path: &Path, causes: &mut Causes) {
    let mut seen = BTreeSet::new();
    for (index, mount) in items(container, "volumeMounts").iter().enumerate() {
        let at = path.index(index);
        match text(mount, "name") {
            "" => causes.required(&at.child("name"), ""),
            name if !volumes.contains(name) => causes.not_found(&at.child("name"), name),
            _ => {}
        }
        match text(mount, "mountPath") {
            "" => causes.required(&at.child("mountPath"), ""),
            place if !seen.insert(place) => {
                causes.invalid(&at.child("mountPath"), place, "must be unique");
            }
            _ => {}
        }
        for field in ["subPath", "subPathExpr"] {
            let sub = text(mount, field);
            inside(sub, &at.child(field), causes);
        }
        if holds(mount, "subPath") && holds(mount, "subPathExpr") {
            let shown = text(mount, "subPathExpr");
            causes.invalid(
                &at.child("subPathExpr"),
                shown,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
    }
}

/// A path that stays where it is put.
fn inside(path: &str, at: &Path, causes: &mut Causes) {
    if path.starts_with('/') {
        causes.invalid(at, path, "must be a relative path");
    }
    if path.split('/').any(|part| part == "..") {
        causes.invalid(at, path, "must not contain '..'");
    }
}

fn resources(resources: &Value, path: &Path, causes: &mut Causes) {
    let amount = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.parse::<Quantity>().ok())
    };
    for list in ["limits", "requests"] {
        for (name, value) in fields(resources, list) {
            let at = path.child(list).key(name);
            for why in names::qualified(name) {
                causes.invalid(&at, name.as_str(), &why);
            }
            let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str())
                || name.starts_with("hugepages-");
            if !name.contains('/') && !standard {
                causes.invalid(
                    &at,
                    name.as_str(),
                    "must be a standard resource for containers",
                );
            }
            if amount(value).is_some_and(|amount| amount.nanos() < 0) {
                causes.invalid(&at, value.clone(), "must be greater than or equal to 0");
            }
        }
    }
    for (name, request) in fields(resources, "requests") {
        let Some(limit) = amount(&resources["limits"][name.as_str()]) else {
            continue;
        };
        if let Some(request) = amount(request).filter(|request| *request > limit) {
            let why = format!("must be less than or equal to {name} limit of {limit}");
            causes.invalid(&path.child("requests"), request.to_string(), &why);
        }
    }
}

fn security(context: &Value, path: &Path, causes: &mut Causes) {
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = context[field]
            .as_i64()
            .filter(|id| i32::try_from(*id).is_err() || *id < 0)
        {
            causes.invalid(
                &path.child(field),
                id,
                "must be between 0 and 2147483647, inclusive",
            );
        }
    }
    let seccomp = &context["seccompProfile"];
    if has(context, "seccompProfile") {
        let at = path.child("seccompProfile");
        match text(seccomp, "type") {
            "" => causes.required(&at.child("type"), ""),
            // An empty path once meant no confinement (hazard K5).
            "Localhost" if text(seccomp, "localhostProfile").is_empty() => {
                causes.required(
                    &at.child("localhostProfile"),
                    "must be set when seccomp type is Localhost",
                );
            }
            _ => one_of(
                &seccomp["type"],
                &["Localhost", "RuntimeDefault", "Unconfined"],
                &at.child("type"),
                causes,
            ),
        }
        inside(
            text(seccomp, "localhostProfile"),
            &at.child("localhostProfile"),
            causes,
        );
    }
    if context["privileged"] == true && context["allowPrivilegeEscalation"] == false {
        causes.invalid(
            path,
            context.clone(),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
}

fn validate_probe(name: &str, probe: &Value, path: &Path, causes: &mut Causes) {
    handler(probe, &HANDLERS, path, causes);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(&probe[field], &path.child(field), causes);
    }
    if name != "readinessProbe"
        && let Some(number) = probe["successThreshold"]
            .as_i64()
            .filter(|number| *number != 1)
    {
        causes.invalid(&path.child("successThreshold"), number, "must be 1");
    }
}

fn handler(handler: &Value, kinds: &[&str], path: &Path, causes: &mut Causes) {
    let found: Vec<&&str> = kinds.iter().filter(|kind| has(handler, kind)).collect();
    match found.as_slice() {
        [] => return causes.required(path, "must specify a handler type"),
        [_] => {}
        [_, second, ..] => {
            causes.forbidden(
                &path.child(second),
                "may not specify more than 1 handler type",
            );
        }
    }
    if has(handler, "exec") && items(&handler["exec"], "command").is_empty() {
        causes.required(&path.child("exec").child("command"), "");
    }
    for kind in ["httpGet", "tcpSocket"] {
        if has(handler, kind) {
            port_reference(
                &handler[kind]["port"],
                &path.child(kind).child("port"),
                causes,
            );
        }
    }
    if has(handler, "httpGet") {
        one_of(
            &handler["httpGet"]["scheme"],
            &["HTTP", "HTTPS"],
            &path.child("httpGet").child("scheme"),
            causes,
        );
    }
}

fn validate_volumes<'v>(spec: &'v Value, path: &Path, causes: &mut Causes) -> BTreeSet<&'v str> {
    let mut names = BTreeSet::new();
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        let at = path.index(index);
        let name = text(volume, "name");
        if name.is_empty() {
            causes.required(&at.child("name"), "");
        } else {
            for why in names::label(name) {
                causes.invalid(&at.child("name"), name, &why);
            }
            if !names.insert(name) {
                causes.duplicate(&at.child("name"), name);
            }
        }
        let sources: Vec<&String> = volume
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key)
            .collect();
        match sources.as_slice() {
            [] => causes.required(&at, "must specify a volume type"),
            [_] => {}
            [_, second, ..] => {
                causes.forbidden(&at.child(second), "may not specify more than 1 volume type");
            }
        }
        validate_source(volume, &at, causes);
    }
    names
}

fn validate_source(volume: &Value, path: &Path, causes: &mut Causes) {
    if has(volume, "hostPath") {
        let at = path.child("hostPath").child("path");
        match text(&volume["hostPath"], "path") {
            "" => causes.required(&at, ""),
            place if place.split('/').any(|part| part == "..") => {
                causes.invalid(&at, place, "must not contain '..'");
            }
            _ => {}
        }
    }
    for (source, name) in [("secret", "secretName"), ("configMap", "name")] {
        if has(volume, source) {
            let at = path.child(source);
            if text(&volume[source], name).is_empty() {
                causes.required(&at.child(name), "");
            }
            for (index, item) in items(&volume[source], "items").iter().enumerate() {
                let at = at.child("items").index(index);
                if text(item, "key").is_empty() {
                    causes.required(&at.child("key"), "");
                }
                match text(item, "path") {
                    "" => causes.required(&at.child("path"), ""),
                    place => inside(place, &at.child("path"), causes),
                }
            }
            mode(
                &volume[source]["defaultMode"],
                &at.child("defaultMode"),
                causes,
            );
        }
    }
}

fn mode(value: &Value, path: &Path, causes: &mut Causes) {
    if let Some(mode) = value.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        causes.invalid(path, mode, why);
    }
}

fn tolerations(spec: &Value, path: &Path, causes: &mut Causes) {
    for (index, toleration) in items(spec, "tolerations").iter().enumerate() {
        let at = path.index(index);
        let key = text(toleration, "key");
        if !key.is_empty() {
            for why in names::qualified(key) {
                causes.invalid(&at.child("key"), key, &why);
            }
        } else if text(toleration, "operator") != "Exists" {
            let shown = text(toleration, "operator");
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.invalid(&at.child("operator"), shown, why);
        }
        one_of(
            &toleration["operator"],
            &["", "Equal", "Exists"],
            &at.child("operator"),
            causes,
        );
        if text(toleration, "operator") == "Exists" && holds(toleration, "value") {
            let shown = text(toleration, "value");
            causes.invalid(
                &at.child("operator"),
                shown,
                "value must be empty when `operator` is 'Exists'",
            );
        }
        one_of(
            &toleration["effect"],
            &["", "NoSchedule", "PreferNoSchedule", "NoExecute"],
            &at.child("effect"),
            causes,
        );
        if has(toleration, "tolerationSeconds") && text(toleration, "effect") != "NoExecute" {
            let shown = text(toleration, "effect");
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            causes.invalid(&at.child("effect"), shown, why);
        }
    }
}

fn spread(spec: &Value, path: &Path, causes: &mut Causes) {
    for (index, constraint) in read::items(spec, "topologySpreadConstraints")
        .iter()
        .enumerate()
    {
        let at = path.index(index);
        if let Some(skew) = constraint["maxSkew"].as_i64().filter(|skew| *skew < 1) {
            causes.invalid(&at.child("maxSkew"), skew, "must be greater than zero");
        }
        if text(constraint, "topologyKey").is_empty() {
            causes.required(&at.child("topologyKey"), "can not be empty");
        }
        one_of(
            &constraint["whenUnsatisfiable"],
            &["DoNotSchedule", "ScheduleAnyway"],
            &at.child("whenUnsatisfiable"),
            causes,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::pod_defaults::default;
    use serde_json::json;

    fn mistakes(mut spec: Value) -> Vec<String> {
        default(&mut spec);
        let mut causes = Causes::default();
        validate(&spec, &Path::new("spec"), &mut causes);
        causes.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(mistakes(json!({})), ["spec.containers: Required value"]);
        let spec = json!({
            "restartPolicy": "Sometimes",
            "containers": [
                { "name": "A", "image": "x", "volumeMounts": [{ "name": "nope", "mountPath": "/x" }] },
                { "name": "b", "ports": [{ "containerPort": 70000 }, { "containerPort": 1, "name": "80" }] },
                { "name": "b", "image": "x", "env": [{ "name": "a=b" }, { "name": "E", "value": "v", "valueFrom": { "secretKeyRef": { "name": "s" } } }] },
                { "name": "d", "image": "x", "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": "1" } },
                  "readinessProbe": {} },
            ],
            "volumes": [{ "name": "v", "emptyDir": {}, "hostPath": { "path": "/a/../b" } }],
            "tolerations": [{ "key": "a", "operator": "Exists", "value": "x" }],
        });
        let text = mistakes(spec).join("\n");
        for wanted in [
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label",
            "spec.containers[0].volumeMounts[0].name: Not found: \"nope\"",
            "spec.containers[1].image: Required value",
            "spec.containers[1].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[1].ports[1].name: Invalid value: \"80\": must contain at least one letter (a-z)",
            "spec.containers[2].name: Duplicate value: \"b\"",
            "spec.containers[2].env[0].name: Invalid value: \"a=b\"",
            "spec.containers[2].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "spec.containers[2].env[1].valueFrom.secretKeyRef.key: Required value",
            "spec.containers[3].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "spec.containers[3].readinessProbe: Required value: must specify a handler type",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
        ] {
            assert!(text.contains(wanted), "{wanted}\n--- in\n{text}");
        }
    }

    #[test]
    fn checks_every_sort_of_container() {
        for sort in CONTAINERS {
            let mut spec = json!({ "containers": [{ "name": "ok", "image": "x" }] });
            spec[sort] = json!([{ "name": "ok2", "image": "x", "securityContext": { "seccompProfile": { "type": "Localhost" } } }]);
            let text = mistakes(spec).join("\n");
            let wanted = format!(
                "spec.{sort}[0].securityContext.seccompProfile.localhostProfile: Required value"
            );
            assert!(text.contains(&wanted), "{text}");
        }
    }
}
