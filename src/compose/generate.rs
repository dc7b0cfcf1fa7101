//! The way back: a Compose file of containers that exist.
//!
//! Pure. What a container was asked for is written down, what its image says itself is not. Networks and
//! volumes are named as they are on the machine and `external`, so that the file means the same ones.
//! What has no word here is a warning, never silence.

use std::collections::BTreeMap;
use std::time::Duration;

use orc_host::container::{Container, Mount, NamespaceMode, NetworkMode, RestartPolicy};
use orc_host::image::{Healthcheck, ImageConfig};
use orc_host::network::PortBinding;
use serde_json::{Map, Value, json};

use crate::labels;
use crate::observe::{is_one_off, label};

/// A Compose file, and what could not be said in it.
#[derive(Debug)]
pub struct Generated {
    /// The file; texts are escaped, so that no `$` in them is a variable.
    pub file: Value,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// The file of containers, each with what its image says. Containers of one service are its replicas.
pub fn generate(name: Option<&str>, containers: &[(Container, ImageConfig)]) -> Generated {
    let mut all = Generating::default();
    for (container, image) in containers {
        all.add(container, image);
    }
    let mut file = Map::new();
    put(&mut file, "name", name.map(Value::from));
    file.insert("services".into(), all.services.into());
    for (section, names) in [("networks", all.networks), ("volumes", all.volumes)] {
        let external =
            |(key, name): (String, String)| (key, json!({"name": name, "external": true}));
        let things: Map<String, Value> = names.into_iter().map(external).collect();
        put(
            &mut file,
            section,
            (!things.is_empty()).then(|| things.into()),
        );
    }
    let mut file = Value::Object(file);
    double_dollars(&mut file);
    Generated {
        file,
        warnings: all.warnings,
    }
}

#[derive(Default)]
struct Generating {
    services: Map<String, Value>,
    /// Names on the machine, by key in the file.
    networks: BTreeMap<String, String>,
    volumes: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Generating {
    fn add(&mut self, container: &Container, image: &ImageConfig) {
        let of_service = label(container, labels::SERVICE).filter(|_| !is_one_off(container));
        let name = of_service.unwrap_or(&container.name).to_owned();
        if let Some(service) = self.services.get_mut(&name) {
            let count = service["scale"].as_u64().unwrap_or(1) + 1;
            service["scale"] = count.into();
            return;
        }
        let mut service = own(container, image);
        let ports: Vec<Value> = container.spec.ports.iter().map(port).collect();
        put(
            &mut service,
            "ports",
            (!ports.is_empty()).then(|| ports.into()),
        );
        self.mounts(&name, container, &mut service);
        self.network(&name, container, &mut service);
        self.warn_of_rest(&name, container);
        self.services.insert(name, service.into());
    }

    fn mounts(&mut self, name: &str, container: &Container, service: &mut Map<String, Value>) {
        let mut mounts = Vec::new();
        for mount in &container.spec.mounts {
            let mut entry = json!({"target": mount.target()});
            match mount {
                Mount::Bind {
                    source, read_only, ..
                } => {
                    entry["type"] = "bind".into();
                    entry["source"] = source.to_string_lossy().into();
                    put_true(&mut entry, "read_only", *read_only);
                }
                Mount::Volume {
                    name: volume,
                    read_only,
                    subpath,
                    ..
                } => {
                    entry["type"] = "volume".into();
                    put_true(&mut entry, "read_only", *read_only);
                    if let Some(path) = subpath {
                        entry["volume"] = json!({"subpath": path});
                    }
                    if is_random(volume) {
                        let target = mount.target();
                        self.warnings.push(format!(
                            "{name}: the volume at {target} has no name of its own: the new container gets another one"
                        ));
                    } else {
                        let key = key(volume);
                        entry["source"] = key.as_str().into();
                        self.volumes.insert(key, volume.clone());
                    }
                }
                Mount::Image { image, subpath, .. } => {
                    entry["type"] = "image".into();
                    entry["source"] = image.as_str().into();
                    if let Some(path) = subpath {
                        entry["image"] = json!({"subpath": path});
                    }
                }
                Mount::Tmpfs {
                    size_bytes, mode, ..
                } => {
                    entry["type"] = "tmpfs".into();
                    let mut options = Map::new();
                    put(&mut options, "size", size_bytes.map(Value::from));
                    put(&mut options, "mode", mode.map(Value::from));
                    if !options.is_empty() {
                        entry["tmpfs"] = options.into();
                    }
                }
            }
            mounts.push(entry);
        }
        put(
            service,
            "volumes",
            (!mounts.is_empty()).then(|| mounts.into()),
        );
    }

    fn network(&mut self, name: &str, container: &Container, service: &mut Map<String, Value>) {
        let mode = match &container.spec.network_mode {
            NetworkMode::None => "none".to_owned(),
            NetworkMode::Host => "host".to_owned(),
            NetworkMode::Container(other) => format!("container:{other}"),
            NetworkMode::Networks => {
                return self.networks(name, container, service);
            }
        };
        service.insert("network_mode".into(), mode.into());
    }

    fn networks(&mut self, name: &str, container: &Container, service: &mut Map<String, Value>) {
        let mut networks = Map::new();
        for endpoint in &container.endpoints {
            // The machine's own network cannot be named in a file.
            if endpoint.network_name == "bridge" {
                continue;
            }
            let mut place = Map::new();
            let given = |alias: &&String| {
                **alias != container.name
                    && !container.id.starts_with(alias.as_str())
                    && *alias != name
            };
            let aliases: Vec<&String> = endpoint.spec.aliases.iter().filter(given).collect();
            put(
                &mut place,
                "aliases",
                (!aliases.is_empty()).then(|| json!(aliases)),
            );
            put(
                &mut place,
                "ipv4_address",
                endpoint.spec.ipv4.map(|ip| json!(ip.to_string())),
            );
            put(
                &mut place,
                "ipv6_address",
                endpoint.spec.ipv6.map(|ip| json!(ip.to_string())),
            );
            let key = key(&endpoint.network_name);
            self.networks
                .insert(key.clone(), endpoint.network_name.clone());
            networks.insert(key, place.into());
        }
        match networks.is_empty() {
            true => service.insert("network_mode".into(), "bridge".into()),
            false => service.insert("networks".into(), networks.into()),
        };
    }

    /// What a container may have and the file does not say.
    fn warn_of_rest(&mut self, name: &str, container: &Container) {
        let spec = &container.spec;
        for (key, there) in [
            ("volumes_from", !spec.volumes_from.is_empty()),
            (
                "a seccomp profile of its own",
                spec.seccomp_profile.is_some(),
            ),
            ("rules for devices", !spec.device_rules.is_empty()),
            (
                "its files in memory (secrets and configs)",
                !spec.files.is_empty(),
            ),
            ("all its ports published", spec.publish_all),
        ] {
            if there {
                self.warnings.push(format!("{name}: left out: {key}"));
            }
        }
    }
}

/// What a service says of its program, without what the image says itself.
fn own(container: &Container, image: &ImageConfig) -> Map<String, Value> {
    let spec = &container.spec;
    let mut all = Map::new();
    all.insert("image".into(), spec.image.as_str().into());
    let differs = |own: &Option<Vec<String>>, image: &Option<Vec<String>>| {
        own.as_ref()
            .filter(|_| own != image)
            .map(|words| json!(words))
    };
    put(
        &mut all,
        "entrypoint",
        differs(&spec.entrypoint, &image.entrypoint),
    );
    put(&mut all, "command", differs(&spec.command, &image.command));
    let set: Map<String, Value> = spec
        .env
        .iter()
        .filter(|line| !image.env.contains(line))
        .map(|line| match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), json!(value)),
            None => (line.clone(), Value::Null),
        })
        .collect();
    put(
        &mut all,
        "environment",
        (!set.is_empty()).then(|| set.into()),
    );
    let labels: Map<String, Value> = spec
        .labels
        .iter()
        .filter(|(key, value)| image.labels.get(*key) != Some(value) && !is_of_tools(key))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    put(
        &mut all,
        "labels",
        (!labels.is_empty()).then(|| labels.into()),
    );
    let text = |own: &Option<String>, image: &str| {
        let own = own
            .as_deref()
            .filter(|own| !own.is_empty() && *own != image);
        own.map(Value::from)
    };
    put(
        &mut all,
        "working_dir",
        text(&spec.working_dir, &image.working_dir),
    );
    put(&mut all, "user", text(&spec.user, &image.user));
    let id = container.id.get(..12).unwrap_or_default();
    put(&mut all, "hostname", text(&spec.hostname, id));
    put(&mut all, "domainname", text(&spec.domainname, ""));
    let signal = image.stop_signal.as_deref().unwrap_or("SIGTERM");
    put(&mut all, "stop_signal", text(&spec.stop_signal, signal));
    put(
        &mut all,
        "stop_grace_period",
        spec.stop_timeout.map(duration),
    );
    let check = spec.healthcheck.as_ref();
    let check = check.filter(|check| image.healthcheck.as_ref() != Some(check));
    put(&mut all, "healthcheck", check.map(healthcheck));
    put(&mut all, "restart", restart(spec.restart));
    for (key, on) in [
        ("tty", spec.tty),
        ("stdin_open", spec.open_stdin),
        ("init", spec.init),
        ("privileged", spec.privileged),
        ("read_only", spec.read_only),
    ] {
        put(&mut all, key, on.then_some(json!(true)));
    }
    limits(container, &mut all);
    all
}

fn limits(container: &Container, all: &mut Map<String, Value>) {
    let spec = &container.spec;
    let list = |items: &[String]| (!items.is_empty()).then(|| json!(items));
    put(all, "group_add", list(&spec.groups));
    put(all, "cap_add", list(&spec.cap_add));
    put(all, "cap_drop", list(&spec.cap_drop));
    put(all, "dns", list(&spec.dns));
    put(all, "dns_search", list(&spec.dns_search));
    put(all, "dns_opt", list(&spec.dns_options));
    let hosts = spec.extra_hosts.iter();
    let hosts: Vec<String> = hosts.map(|(name, ip)| format!("{name}={ip}")).collect();
    put(all, "extra_hosts", list(&hosts));
    let mut security = Vec::new();
    if spec.no_new_privileges {
        security.push("no-new-privileges".to_owned());
    }
    if spec.seccomp_unconfined {
        security.push("seccomp=unconfined".to_owned());
    }
    put(all, "security_opt", list(&security));
    let sysctls = &spec.sysctls;
    put(
        all,
        "sysctls",
        (!sysctls.is_empty()).then(|| json!(sysctls)),
    );
    let ulimits = spec.ulimits.iter();
    let ulimits: Map<String, Value> = ulimits
        .map(|limit| {
            let both = json!({"soft": limit.soft, "hard": limit.hard});
            (limit.name.clone(), both)
        })
        .collect();
    put(
        all,
        "ulimits",
        (!ulimits.is_empty()).then(|| ulimits.into()),
    );
    let devices = spec.devices.iter();
    let devices: Vec<String> = devices
        .map(|device| format!("{}:{}:{}", device.source, device.target, device.permissions))
        .collect();
    put(all, "devices", list(&devices));
    let resources = &spec.resources;
    put(
        all,
        "mem_limit",
        resources.memory_bytes.map(|bytes| json!(bytes.to_string())),
    );
    let reserved = resources.memory_reservation_bytes;
    put(
        all,
        "mem_reservation",
        reserved.map(|bytes| json!(bytes.to_string())),
    );
    put(
        all,
        "memswap_limit",
        resources.memory_swap_bytes.map(Value::from),
    );
    #[expect(
        clippy::cast_precision_loss,
        reason = "billionths of a processor are few"
    )]
    let cpus = resources.nano_cpus.map(|nano| json!(nano as f64 / 1e9));
    put(all, "cpus", cpus);
    put(all, "cpu_shares", resources.cpu_shares.map(Value::from));
    put(
        all,
        "cpuset",
        resources.cpuset_cpus.as_deref().map(Value::from),
    );
    put(all, "pids_limit", resources.pids.map(Value::from));
    put(
        all,
        "shm_size",
        spec.shm_bytes.map(|bytes| json!(bytes.to_string())),
    );
    for (key, mode) in [("ipc", &spec.ipc), ("pid", &spec.pid), ("uts", &spec.uts)] {
        let mode = match mode {
            NamespaceMode::Host => Some("host".to_owned()),
            NamespaceMode::Container(other) => Some(format!("container:{other}")),
            _ => None,
        };
        put(all, key, mode.map(Value::from));
    }
}

fn put(all: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        all.insert(key.to_owned(), value);
    }
}

fn put_true(entry: &mut Value, key: &str, on: bool) {
    if on {
        entry[key] = true.into();
    }
}

fn port(binding: &PortBinding) -> Value {
    let mut entry = json!({
        "target": binding.port.number,
        "protocol": binding.port.protocol.to_string(),
    });
    if let Some(ip) = binding.host_ip {
        entry["host_ip"] = ip.to_string().into();
    }
    match binding.host_ports {
        Some((first, last)) if first == last => entry["published"] = first.to_string().into(),
        Some((first, last)) => entry["published"] = format!("{first}-{last}").into(),
        None => {}
    }
    entry
}

fn healthcheck(check: &Healthcheck) -> Value {
    if check.test.first().is_some_and(|word| word == "NONE") {
        return json!({"disable": true});
    }
    let mut all = Map::new();
    put(
        &mut all,
        "test",
        (!check.test.is_empty()).then(|| json!(check.test)),
    );
    for (key, time) in [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start_period", check.start_period),
        ("start_interval", check.start_interval),
    ] {
        put(&mut all, key, time.map(duration));
    }
    put(&mut all, "retries", check.retries.map(Value::from));
    all.into()
}

/// Whole units only, which every reader of Compose files takes.
fn duration(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()).into(),
        _ => format!("{}us", time.as_micros()).into(),
    }
}

fn restart(policy: RestartPolicy) -> Option<Value> {
    Some(match policy {
        RestartPolicy::No => return None,
        RestartPolicy::Always => "always".into(),
        RestartPolicy::UnlessStopped => "unless-stopped".into(),
        RestartPolicy::OnFailure { max_retries: None } => "on-failure".into(),
        RestartPolicy::OnFailure {
            max_retries: Some(count),
        } => format!("on-failure:{count}").into(),
    })
}

/// A key of a section: what else names have is a hyphen.
fn key(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let keep = |c: char| if plain(c) { c } else { '-' };
    name.chars().map(keep).collect()
}

/// The name of an anonymous volume.
fn is_random(name: &str) -> bool {
    name.is_empty() || (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Labels that tools put there for themselves.
fn is_of_tools(key: &str) -> bool {
    ["com.docker.compose.", "desktop.docker.io", "orc.compose."]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

fn double_dollars(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(double_dollars),
        Value::Object(map) => map.values_mut().for_each(double_dollars),
        _ => {}
    }
}
