//! What a pod is made of when its writer left it out, wherever it stands: defaults of `PodSpec`.
//!
//! `k8s.io/kubernetes/pkg/apis/core/v1/defaults.go`. Filling in twice changes nothing.

use serde_json::{Value, json};

use crate::json::{fill, fill_text, items_mut, text};

/// The sorts of containers.
pub(crate) const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
/// The probes of a container.
pub(crate) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// `0644`.
const FILE_MODE: i64 = 420;

/// Fills in what the writer left out.
pub(crate) fn default(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    fill_text(spec, "restartPolicy", "Always");
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    if let Some(account) = spec
        .get("serviceAccountName")
        .cloned()
        .filter(|name| *name != "")
    {
        fill_text(spec, "serviceAccount", account.as_str().unwrap_or_default());
    } else if let Some(account) = spec
        .get("serviceAccount")
        .cloned()
        .filter(|name| *name != "")
    {
        fill_text(
            spec,
            "serviceAccountName",
            account.as_str().unwrap_or_default(),
        );
    }
    let on_host = spec["hostNetwork"] == true;
    for sort in CONTAINERS {
        for container in items_mut(spec, sort) {
            default_container(container, on_host);
        }
    }
    for volume in items_mut(spec, "volumes") {
        default_volume(volume);
    }
    for constraint in items_mut(spec, "topologySpreadConstraints") {
        fill_text(constraint, "whenUnsatisfiable", "DoNotSchedule");
    }
}

fn default_container(container: &mut Value, on_host: bool) {
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    let policy = match is_latest(text(container, "image")) {
        true => "Always",
        false => "IfNotPresent",
    };
    fill_text(container, "imagePullPolicy", policy);
    fill(container, "resources", json!({}));
    let limits = container["resources"]["limits"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for (name, limit) in limits {
        fill(&mut container["resources"], "requests", json!({}));
        fill(&mut container["resources"]["requests"], &name, limit);
    }
    for port in items_mut(container, "ports") {
        fill_text(port, "protocol", "TCP");
        if on_host && let Some(number) = port.get("containerPort").cloned() {
            fill(port, "hostPort", number);
        }
    }
    for variable in items_mut(container, "env") {
        if let Some(field) = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fieldRef"))
        {
            fill_text(field, "apiVersion", "v1");
        }
        if let Some(field) = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("resourceFieldRef"))
        {
            fill(field, "divisor", "0");
        }
    }
    for probe in PROBES {
        if let Some(probe) = container.get_mut(probe) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = container
            .get_mut("lifecycle")
            .and_then(|hooks| hooks.get_mut(hook))
        {
            default_http(handler);
        }
    }
}

fn default_probe(probe: &mut Value) {
    for (name, number) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe[name].as_i64().unwrap_or_default() == 0
            && let Value::Object(probe) = probe
        {
            probe.insert(name.to_owned(), number.into());
        }
    }
    default_http(probe);
    if let Some(grpc) = probe.get_mut("grpc") {
        fill(grpc, "service", "");
    }
}

fn default_http(handler: &mut Value) {
    if let Some(get) = handler.get_mut("httpGet") {
        fill_text(get, "path", "/");
        fill_text(get, "scheme", "HTTP");
    }
}

fn default_volume(volume: &mut Value) {
    let bare = volume
        .as_object()
        .is_some_and(|map| map.keys().all(|key| key == "name"));
    if bare {
        fill(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source) {
            fill(source, "defaultMode", FILE_MODE);
            downward_items(source);
            for part in items_mut(source, "sources") {
                if let Some(downward) = part.get_mut("downwardAPI") {
                    downward_items(downward);
                }
                if let Some(token) = part.get_mut("serviceAccountToken") {
                    fill(token, "expirationSeconds", 3600);
                }
            }
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        fill(path, "type", "");
    }
}

fn downward_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        if let Some(field) = item.get_mut("fieldRef") {
            fill_text(field, "apiVersion", "v1");
        }
    }
}

/// Whether an image may be another one tomorrow.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_a_real_server_does() {
        let mut spec = json!({
            "containers": [{
                "name": "a", "image": "nginx",
                "ports": [{ "containerPort": 80 }],
                "resources": { "limits": { "cpu": "1" } },
                "livenessProbe": { "httpGet": { "port": 80 } },
            }],
            "volumes": [{ "name": "v" }, { "name": "s", "secret": { "secretName": "x" } }],
        });
        default(&mut spec);
        let wanted = json!({
            "containers": [{
                "name": "a", "image": "nginx", "imagePullPolicy": "Always",
                "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "1" } },
                "livenessProbe": {
                    "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" },
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                },
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "volumes": [
                { "name": "v", "emptyDir": {} },
                { "name": "s", "secret": { "secretName": "x", "defaultMode": 420 } },
            ],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {},
        });
        assert_eq!(spec, wanted);
        let once = spec.clone();
        default(&mut spec);
        assert_eq!(spec, once);
    }
}
