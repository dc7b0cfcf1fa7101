//! The container of a service, and what its pod says beside it.

use std::collections::BTreeMap;

use orc_compose::model::Project;
use orc_compose::model::service::{PreStart, Service};
use serde_json::{Map, Value, json};

use crate::cli::stack::arguments::{literal, literals};
use crate::cli::stack::mounts::Mounts;
use crate::cli::stack::names::label;
use crate::cli::stack::notes::Notes;
use crate::cli::stack::{limits, ports, probes};

/// The container that runs the service's program.
pub(super) fn container(
    project: &Project,
    service: &Service,
    name: &str,
    mounts: &Mounts,
    notes: &mut Notes,
) -> Value {
    let mut all = common(project, service, mounts, notes);
    all.insert("name".into(), name.into());
    all.insert("image".into(), service.image_name(&project.name).into());
    put(
        &mut all,
        "command",
        words(service, "entrypoint", service.entrypoint.as_ref(), notes),
    );
    put(
        &mut all,
        "args",
        words(service, "command", service.command.as_ref(), notes),
    );
    put(
        &mut all,
        "workingDir",
        service.working_dir.as_ref().map(|path| json!(path)),
    );
    put(
        &mut all,
        "imagePullPolicy",
        pull_policy(service).map(Value::from),
    );
    put(
        &mut all,
        "readinessProbe",
        probes::readiness(service, notes),
    );
    put(&mut all, "lifecycle", probes::lifecycle(service, notes));
    put(&mut all, "resources", limits::resources(service));
    let ports = ports::container_ports(service);
    put(&mut all, "ports", (!ports.is_empty()).then(|| ports.into()));
    put(&mut all, "stdin", service.stdin_open.then_some(json!(true)));
    put(&mut all, "tty", service.tty.then_some(json!(true)));
    all.into()
}

/// What the container has in common with those that run before it.
fn common(
    project: &Project,
    service: &Service,
    mounts: &Mounts,
    notes: &mut Notes,
) -> Map<String, Value> {
    let mut all = Map::new();
    let env = environment(project, service, &service.environment, "environment", notes);
    put(&mut all, "env", (!env.is_empty()).then(|| env.into()));
    put(&mut all, "securityContext", security(service, notes));
    let mounts = &mounts.mounts;
    put(
        &mut all,
        "volumeMounts",
        (!mounts.is_empty()).then(|| mounts.clone().into()),
    );
    all
}

/// Containers that run to their end before the service's own, in order.
pub(super) fn before(
    project: &Project,
    service: &Service,
    mounts: &Mounts,
    notes: &mut Notes,
) -> Vec<Value> {
    let hooks = &service.pre_start;
    if hooks.iter().any(|hook| !hook.per_replica) && service.replicas() > 1 {
        notes.service(
            &service.name,
            "pre_start",
            "runs before each replica: Kubernetes does not run it once for all",
        );
    }
    let hooks = (1..).zip(hooks);
    hooks
        .map(|(number, hook)| before_one(project, service, mounts, number, hook, notes))
        .collect()
}

fn before_one(
    project: &Project,
    service: &Service,
    mounts: &Mounts,
    number: u32,
    hook: &PreStart,
    notes: &mut Notes,
) -> Value {
    let own = service.image_name(&project.name);
    let mut all = common(project, service, mounts, notes);
    let mut environment_of_both = service.environment.clone();
    environment_of_both.extend(hook.environment.clone());
    let env = environment(project, service, &environment_of_both, "pre_start", notes);
    put(&mut all, "env", (!env.is_empty()).then(|| env.into()));
    all.insert("name".into(), format!("pre-start-{number}").into());
    all.insert("image".into(), hook.image.clone().unwrap_or(own).into());
    put(
        &mut all,
        "args",
        hook.command.as_ref().map(|words| literals(words)),
    );
    let directory = hook.working_dir.as_ref().or(service.working_dir.as_ref());
    put(&mut all, "workingDir", directory.map(|path| json!(path)));
    if hook.user.is_some() || hook.privileged {
        notes.service(
            &service.name,
            "pre_start",
            "runs as the service's own user, with its privileges",
        );
    }
    all.into()
}

fn put(all: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        all.insert(key.into(), value);
    }
}

/// `None` leaves it to the image; Kubernetes has no way to say "nothing instead of the image's".
fn words(
    service: &Service,
    key: &str,
    words: Option<&Vec<String>>,
    notes: &mut Notes,
) -> Option<Value> {
    let words = words?;
    if words.is_empty() {
        notes.service(
            &service.name,
            key,
            "the image's own is used: Kubernetes cannot take it away",
        );
        return None;
    }
    Some(literals(words))
}

fn environment(
    project: &Project,
    service: &Service,
    variables: &BTreeMap<String, Option<String>>,
    key: &str,
    notes: &mut Notes,
) -> Vec<Value> {
    let mut all = Vec::new();
    for (name, value) in variables {
        match value.as_ref().or_else(|| project.environment.get(name)) {
            Some(value) => all.push(json!({"name": name, "value": literal(value)})),
            None => {
                let text = format!("{name} has no value here, so the image's own is used");
                notes.service(&service.name, key, &text);
            }
        }
    }
    all
}

fn pull_policy(service: &Service) -> Option<&'static str> {
    match service.pull_policy.as_deref()? {
        "always" => Some("Always"),
        "never" => Some("Never"),
        "missing" | "if_not_present" => Some("IfNotPresent"),
        _ => None,
    }
}

/// `securityContext` of the container.
fn security(service: &Service, notes: &mut Notes) -> Option<Value> {
    let mut all = Map::new();
    let (user, group) = user(service, notes);
    put(&mut all, "runAsUser", user);
    put(&mut all, "runAsGroup", group);
    put(
        &mut all,
        "privileged",
        service.privileged.then_some(json!(true)),
    );
    put(
        &mut all,
        "readOnlyRootFilesystem",
        service.read_only.then_some(json!(true)),
    );
    let mut capabilities = Map::new();
    for (key, names) in [("add", &service.cap_add), ("drop", &service.cap_drop)] {
        let plain = |name: &String| name.to_uppercase().trim_start_matches("CAP_").to_owned();
        let names: Vec<String> = names.iter().map(plain).collect();
        put(
            &mut capabilities,
            key,
            (!names.is_empty()).then(|| json!(names)),
        );
    }
    put(
        &mut all,
        "capabilities",
        (!capabilities.is_empty()).then(|| capabilities.into()),
    );
    for option in &service.security_opt {
        match option.replacen(':', "=", 1).as_str() {
            "no-new-privileges" | "no-new-privileges=true" => {
                all.insert("allowPrivilegeEscalation".into(), json!(false));
            }
            "no-new-privileges=false" => {}
            "seccomp=unconfined" => {
                all.insert("seccompProfile".into(), json!({"type": "Unconfined"}));
            }
            other => {
                let text = format!("`{other}` is left out: say it for the node");
                notes.service(&service.name, "security_opt", &text);
            }
        }
    }
    (!all.is_empty()).then(|| all.into())
}

/// The numbers in `user: 1000:1000`; only the image knows what names are.
fn user(service: &Service, notes: &mut Notes) -> (Option<Value>, Option<Value>) {
    let text = service.user.as_deref().unwrap_or_default();
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let mut number = |text: &str| match (text, text.parse::<u32>()) {
        ("", _) => None,
        ("root", _) => Some(json!(0)),
        (_, Ok(number)) => Some(json!(number)),
        (name, Err(_)) => {
            let text = format!("`{name}` is a name that only the image knows: say its number");
            notes.service(&service.name, "user", &text);
            None
        }
    };
    (number(user), number(group))
}

/// What the pod says beside its containers.
pub(super) fn pod(service: &Service, notes: &mut Notes) -> Map<String, Value> {
    let mut all = Map::new();
    let host = |mode: &Option<String>| (mode.as_deref() == Some("host")).then_some(json!(true));
    put(&mut all, "hostNetwork", host(&service.network_mode));
    // Names of the cluster are found from there, too.
    let policy = host(&service.network_mode).map(|_| json!("ClusterFirstWithHostNet"));
    put(&mut all, "dnsPolicy", policy);
    put(&mut all, "hostPID", host(&service.pid));
    put(&mut all, "hostIPC", host(&service.ipc));
    // The pod's first process reaps then; it does so for the host's anyway.
    let reaps = service.init == Some(true) && service.pid.as_deref() != Some("host");
    put(
        &mut all,
        "shareProcessNamespace",
        reaps.then_some(json!(true)),
    );
    put(
        &mut all,
        "hostname",
        service.hostname.as_deref().map(|name| json!(label(name))),
    );
    let grace = service.stop_timeout().as_secs();
    all.insert("terminationGracePeriodSeconds".into(), json!(grace));
    // Compose gives programs no account of the cluster.
    all.insert("automountServiceAccountToken".into(), json!(false));
    // Nor variables for each service, which may take the place of a program's own.
    all.insert("enableServiceLinks".into(), json!(false));
    put(&mut all, "hostAliases", host_aliases(service, notes));
    put(&mut all, "dnsConfig", dns(service));
    put(&mut all, "securityContext", pod_security(service, notes));
    put(&mut all, "nodeSelector", platform(service));
    all
}

fn host_aliases(service: &Service, notes: &mut Notes) -> Option<Value> {
    let mut by_address: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &service.extra_hosts {
        let Some((name, address)) = line.split_once('=') else {
            continue;
        };
        match address.parse::<std::net::IpAddr>() {
            Ok(_) => by_address.entry(address).or_default().push(name),
            Err(_) => {
                let text = format!("{name} is left out: `{address}` is no address in a cluster");
                notes.service(&service.name, "extra_hosts", &text);
            }
        }
    }
    let aliases: Vec<Value> = by_address
        .iter()
        .map(|(address, names)| json!({"ip": address, "hostnames": names}))
        .collect();
    (!aliases.is_empty()).then(|| aliases.into())
}

/// Beside the cluster's own: names of other services have to be found.
fn dns(service: &Service) -> Option<Value> {
    let mut all = Map::new();
    put(
        &mut all,
        "nameservers",
        (!service.dns.is_empty()).then(|| json!(service.dns)),
    );
    put(
        &mut all,
        "searches",
        (!service.dns_search.is_empty()).then(|| json!(service.dns_search)),
    );
    let option = |text: &String| match text.split_once(':') {
        Some((name, value)) => json!({"name": name, "value": value}),
        None => json!({"name": text}),
    };
    let options: Vec<Value> = service.dns_opt.iter().map(option).collect();
    put(
        &mut all,
        "options",
        (!options.is_empty()).then(|| options.into()),
    );
    (!all.is_empty()).then(|| all.into())
}

fn pod_security(service: &Service, notes: &mut Notes) -> Option<Value> {
    let mut all = Map::new();
    let mut groups: Vec<u32> = Vec::new();
    for group in &service.group_add {
        match group.parse() {
            Ok(number) => groups.push(number),
            Err(_) => {
                let text = format!("`{group}` is a name that only the image knows: say its number");
                notes.service(&service.name, "group_add", &text);
            }
        }
    }
    put(
        &mut all,
        "supplementalGroups",
        (!groups.is_empty()).then(|| json!(groups)),
    );
    let sysctls = service.sysctls.iter();
    let sysctls: Vec<Value> = sysctls
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    put(
        &mut all,
        "sysctls",
        (!sysctls.is_empty()).then(|| sysctls.into()),
    );
    (!all.is_empty()).then(|| all.into())
}

/// `linux/amd64` as labels of nodes.
fn platform(service: &Service) -> Option<Value> {
    let platform = service.platform.as_deref()?;
    let mut parts = platform.split('/');
    let (system, architecture) = (parts.next()?, parts.next());
    let mut all = Map::new();
    all.insert("kubernetes.io/os".into(), system.into());
    put(
        &mut all,
        "kubernetes.io/arch",
        architecture.map(Value::from),
    );
    Some(all.into())
}
