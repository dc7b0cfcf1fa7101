//! What runs a service's pods: a Deployment, a DaemonSet (`mode: global`), or a Job, for services that
//! are to end.

use orc_compose::labels;
use orc_compose::model::Project;
use orc_compose::model::service::{Condition, Service};
use orc_compose::model::update::UpdateConfig;
use serde_json::{Map, Value, json};

use crate::cli::stack::mounts::{Mounts, Names};
use crate::cli::stack::notes::Notes;
use crate::cli::stack::{container, policies, probes};

/// A workload: its kind, its API, and `spec`.
pub(super) struct Workload {
    pub(super) kind: &'static str,
    pub(super) api: &'static str,
    pub(super) spec: Value,
}

/// What a workload is made from.
pub(super) struct Wanted<'a> {
    pub(super) project: &'a Project,
    pub(super) service: &'a Service,
    /// The service's name in Kubernetes.
    pub(super) name: &'a str,
    /// The labels of its pods that tell them from others.
    pub(super) selector: &'a Value,
    pub(super) names: &'a Names,
    /// The service's canonical form.
    pub(super) facts: &'a Value,
}

/// The workload of a service.
pub(super) fn workload(wanted: &Wanted<'_>, notes: &mut Notes) -> Workload {
    let service = wanted.service;
    let template = template(wanted, notes);
    if is_job(wanted.project, service) {
        return job(service, template);
    }
    restarts(service, notes);
    let selector = json!({"matchLabels": wanted.selector});
    if service.mode() == "global" {
        let spec = json!({"selector": selector, "template": template});
        return Workload {
            kind: "DaemonSet",
            api: "apps/v1",
            spec,
        };
    }
    let update = service.deploy.as_ref();
    let update = update.and_then(|deploy| deploy.update_config.as_ref());
    let mut spec = json!({
        "replicas": service.replicas(),
        "selector": selector,
        "strategy": strategy(update),
        "template": template,
    });
    if let Some(steady) = update.and_then(|update| update.monitor) {
        spec["minReadySeconds"] = probes::seconds(steady).into();
    }
    Workload {
        kind: "Deployment",
        api: "apps/v1",
        spec,
    }
}

/// A service ends when it says so, or when others wait for its end and nothing starts it again.
fn is_job(project: &Project, service: &Service) -> bool {
    let waited_for = project.services.values().any(|other| {
        let dependency = other.depends_on.get(&service.name);
        dependency.is_some_and(|one| one.condition == Condition::ServiceCompletedSuccessfully)
    });
    let restart = service.restart.as_deref().unwrap_or_default();
    let again = matches!(restart, "always" | "unless-stopped");
    service.is_job() || (waited_for && !again)
}

fn job(service: &Service, mut template: Value) -> Workload {
    let deploy = service.deploy.as_ref();
    let policy = deploy.and_then(|deploy| deploy.restart_policy.as_ref());
    let condition = policy.and_then(|policy| policy.condition.as_deref());
    let text = service.restart.as_deref().unwrap_or_default();
    let (word, attempts) = text.split_once(':').unwrap_or((text, ""));
    let again = match (word, condition) {
        ("on-failure", _) => true,
        ("", Some(condition)) => condition != "none",
        ("", None) => service.is_job(),
        _ => false,
    };
    template["spec"]["restartPolicy"] = match again {
        true => "OnFailure".into(),
        false => "Never".into(),
    };
    let attempts = attempts.parse().ok();
    let attempts = attempts.or(policy.and_then(|policy| policy.max_attempts));
    let mut spec = json!({"template": template});
    match (again, attempts) {
        (false, _) => spec["backoffLimit"] = 0.into(),
        (true, Some(attempts)) => spec["backoffLimit"] = attempts.into(),
        // Kubernetes' own.
        (true, None) => {}
    }
    let count = service.replicas();
    if count != 1 {
        spec["completions"] = count.into();
        spec["parallelism"] = count.into();
    }
    Workload {
        kind: "Job",
        api: "batch/v1",
        spec,
    }
}

/// Pods of Deployments are always started again.
fn restarts(service: &Service, notes: &mut Notes) {
    let says = "a pod that ends is always started again: only services that others wait for, and jobs, may end";
    let restart = service.restart.as_deref().unwrap_or_default();
    if restart.starts_with("on-failure") {
        notes.service(&service.name, "restart", says);
    }
    let deploy = service.deploy.as_ref();
    let policy = deploy.and_then(|deploy| deploy.restart_policy.as_ref());
    let condition = policy.and_then(|policy| policy.condition.as_deref());
    if matches!(condition, Some("none" | "on-failure")) {
        notes.service(&service.name, "deploy.restart_policy", says);
    }
}

/// As Compose replaces containers: all at once, unless `update_config` gives it a course.
fn strategy(update: Option<&UpdateConfig>) -> Value {
    let Some(update) = update else {
        return json!({"type": "Recreate"});
    };
    let lot = match update.parallelism {
        Some(0) => json!("100%"),
        lot => json!(lot.unwrap_or(1)),
    };
    let (surge, unavailable) = match update.order.as_deref() {
        Some("start-first") => (lot, json!(0)),
        _ => (json!(0), lot),
    };
    json!({
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    })
}

fn template(wanted: &Wanted<'_>, notes: &mut Notes) -> Value {
    let (project, service) = (wanted.project, wanted.service);
    let mounts = Mounts::of(project, service, wanted.names, notes);
    let mut spec = container::pod(service, notes);
    let own = container::container(project, service, wanted.name, &mounts, notes);
    spec.insert("containers".into(), json!([own]));
    let before = container::before(project, service, &mounts, notes);
    if !before.is_empty() {
        spec.insert("initContainers".into(), before.into());
    }
    let volumes = mounts.pod_volumes();
    if !volumes.is_empty() {
        spec.insert("volumes".into(), volumes.into());
    }
    place(service, wanted.facts, &mut spec, notes);
    let mut all = json!({"metadata": metadata(wanted, notes), "spec": spec});
    if build_only(service) {
        let text = format!(
            "{} has to be pushed where the cluster finds it: give it a name by `image`",
            service.image_name(&project.name)
        );
        notes.service(&service.name, "build", &text);
    }
    if all["spec"]["containers"].is_null() {
        all["spec"]["containers"] = json!([]);
    }
    all
}

fn build_only(service: &Service) -> bool {
    service.image.is_none() && service.build.is_some()
}

/// Labels and annotations of the pods.
fn metadata(wanted: &Wanted<'_>, notes: &mut Notes) -> Value {
    let service = wanted.service;
    let mut labels = wanted.selector.as_object().cloned().unwrap_or_default();
    if policies::are_needed(wanted.project) {
        let networks = service.networks.keys();
        labels.extend(networks.map(|key| (policies::member(key), json!("true"))));
    }
    let mut annotations = Map::new();
    for (key, value) in &service.labels {
        match is_qualified(key) {
            true => drop(annotations.insert(key.clone(), json!(value))),
            false => {
                let text = format!("`{key}` is left out: Kubernetes takes no such name");
                notes.service(&service.name, "labels", &text);
            }
        }
    }
    let mut depends_on = Vec::new();
    for (name, dependency) in &service.depends_on {
        let condition = dependency.condition.as_str();
        depends_on.push(format!("{name}:{condition}:{}", dependency.restart));
        if dependency.condition != Condition::ServiceStarted {
            let text = format!(
                "Kubernetes starts all at once: {} has to try again until {name} is there",
                service.name
            );
            notes.service(&service.name, &format!("depends_on.{name}"), &text);
        }
    }
    if !depends_on.is_empty() {
        annotations.insert(labels::DEPENDS_ON.into(), depends_on.join(",").into());
    }
    match annotations.is_empty() {
        true => json!({"labels": labels}),
        false => json!({"labels": labels, "annotations": annotations}),
    }
}

/// `[prefix/]name`: the name has up to 63 letters, digits, `-`, `_` and `.` between letters or digits,
/// the prefix is a DNS name.
fn is_qualified(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let ends = |text: &str| {
        let ends = [text.chars().next(), text.chars().last()];
        ends.iter()
            .all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    name.len() <= 63
        && name.chars().all(plain)
        && ends(name)
        && prefix
            .is_none_or(|prefix| prefix.len() <= 253 && prefix.chars().all(dns) && ends(prefix))
}

/// `deploy.placement.constraints`: `node.labels.zone == a`, `node.hostname != b`.
fn place(service: &Service, facts: &Value, pod: &mut Map<String, Value>, notes: &mut Notes) {
    let constraints = facts["deploy"]["placement"]["constraints"].as_array();
    let mut terms = Vec::new();
    for text in constraints.into_iter().flatten().filter_map(Value::as_str) {
        match constraint(text) {
            Some(term) => terms.push(term),
            None => {
                let text = format!("`{text}` is left out: say a label of nodes");
                notes.service(&service.name, "deploy.placement.constraints", &text);
            }
        }
    }
    if !terms.is_empty() {
        let terms = json!({"nodeSelectorTerms": [{"matchExpressions": terms}]});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
        pod.insert("affinity".into(), json!({"nodeAffinity": affinity}));
    }
}

fn constraint(text: &str) -> Option<Value> {
    let (left, value, is) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((left, value)), _) => (left.trim(), value.trim(), true),
        (None, Some((left, value))) => (left.trim(), value.trim(), false),
        (None, None) => return None,
    };
    let operator = |is: bool| if is { "In" } else { "NotIn" };
    let key = match left {
        "node.hostname" => "kubernetes.io/hostname",
        "node.platform.os" => "kubernetes.io/os",
        "node.platform.arch" => "kubernetes.io/arch",
        "node.role" => {
            let operator = match is == (value == "manager") {
                true => "Exists",
                false => "DoesNotExist",
            };
            let key = "node-role.kubernetes.io/control-plane";
            return Some(json!({"key": key, "operator": operator}));
        }
        left => left
            .strip_prefix("node.labels.")
            .filter(|key| is_qualified(key))?,
    };
    Some(json!({"key": key, "operator": operator(is), "values": [value]}))
}
