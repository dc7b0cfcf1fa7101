//! What the files ask for and orc does not do, and what the disk lacks.
//!
//! Found at load time, when places are known, and kept in the project: `config` prints a project
//! that orc cannot run, `plan` refuses to make the service. Rows of `spec.rs` that say `ignored` or
//! `refused` are reported here; so are values that only sometimes are.

use std::path::Path;

use orc_host::network::OPTIONS;

use crate::files::{Files, Found};
use crate::lower::endpoints::INTERFACE;
use crate::lower::{LOG_ATTRIBUTES, LOG_DRIVERS, LOG_OPTIONS};
use crate::model::{Finding, Severity, Subject};
use crate::node::{Map, Node, Trail, Value};
use crate::notation::{self, PullWhen};
use crate::provider::call::check_name;
use crate::spec::root::ROOT;
use crate::spec::{Shape, Support, find};

/// All findings of a normalised tree.
pub(crate) fn findings(tree: &Node, files: &dyn Files) -> Vec<Finding> {
    let mut report = Report {
        subject: Subject::Project,
        findings: Vec::new(),
    };
    report.rows(tree, &ROOT, &Trail::ROOT);
    let services = tree.get("services").and_then(Node::map);
    for (name, entry) in services.into_iter().flat_map(Map::iter) {
        report.subject = Subject::Service(name.clone());
        let section = Trail::ROOT.key("services");
        service(&mut report, tree, &entry.node, &section.key(name), files);
    }
    report.subject = Subject::Project;
    networks(&mut report, tree);
    volumes(&mut report, tree);
    report.subject = Subject::Project;
    sources(&mut report, tree, files);
    report.findings
}

struct Report {
    subject: Subject,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, severity: Severity, node: &Node, trail: &Trail<'_>, text: &str) {
        self.findings.push(Finding {
            subject: self.subject.clone(),
            text: match severity {
                Severity::Warning => trail.sentence(&node.span, text),
                _ => trail.shown(&node.span, text),
            },
            severity,
        });
    }

    fn warn(&mut self, node: &Node, trail: &Trail<'_>, text: &str) {
        self.add(Severity::Warning, node, trail, text);
    }

    fn refuse(&mut self, node: &Node, trail: &Trail<'_>, text: &str) {
        self.add(Severity::Unsupported, node, trail, text);
    }

    /// Walks the tree beside its tables and reports the rows that say so.
    fn rows(&mut self, node: &Node, shape: &'static Shape, trail: &Trail<'_>) {
        match shape {
            Shape::Object(fields) => {
                for (key, entry) in node.map().into_iter().flat_map(Map::iter) {
                    let Some(field) = find(fields, key) else {
                        continue;
                    };
                    let trail = trail.key(key);
                    match field.support {
                        Support::Built => self.rows(&entry.node, &field.shape, &trail),
                        _ if asks_for_nothing(&entry.node) => {}
                        Support::Ignored(why) => {
                            self.warn(&entry.node, &trail, &format!("ignored: {why}"));
                        }
                        Support::Refused(why) => {
                            self.refuse(&entry.node, &trail, &format!("not supported: {why}"));
                        }
                    }
                }
            }
            Shape::Named(shape) | Shape::Dict(shape) => {
                let section = trail.to_string();
                for (key, entry) in node.map().into_iter().flat_map(Map::iter) {
                    match section.as_str() {
                        "services" => self.subject = Subject::Service(key.clone()),
                        "networks" => self.subject = Subject::Network(key.clone()),
                        "volumes" => self.subject = Subject::Volume(key.clone()),
                        _ => {}
                    }
                    self.rows(&entry.node, shape, &trail.key(key));
                }
                if matches!(section.as_str(), "services" | "networks" | "volumes") {
                    self.subject = Subject::Project;
                }
            }
            Shape::List(shape) | Shape::Spread(_, shape) => {
                let items = node.list().unwrap_or_default();
                for (index, item) in items.iter().enumerate() {
                    self.rows(item, shape, &trail.index(index));
                }
            }
            Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => {
                self.rows(node, shape, trail);
            }
            _ => {}
        }
    }
}

/// `false`, nothing and empty ask for nothing.
fn asks_for_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.keys().all(|key| key.starts_with("x-")),
        _ => false,
    }
}

/// What a `build` section asks for and is not done.
fn build(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    for key in ["provenance", "sbom"] {
        let wanted = node.get(key).filter(|node| {
            !asks_for_nothing(node) && !matches!(node.text(), Some("" | "false" | "mode=min"))
        });
        if let Some(node) = wanted {
            report.warn(node, &trail.key(key), "ignored: attestations are not made");
        }
    }
    if let Some(isolation) = node.get("isolation")
        && !matches!(isolation.text(), Some("" | "default"))
    {
        report.refuse(isolation, &trail.key("isolation"), "not supported");
    }
    if let Some(platforms) = node.get("platforms")
        && platforms.list().unwrap_or_default().len() > 1
    {
        report.warn(
            platforms,
            &trail.key("platforms"),
            "only the one of the service, or of this machine, is built",
        );
    }
    if let Some(privileged) = node.get("privileged")
        && privileged.value == Value::Bool(true)
    {
        report.warn(
            privileged,
            &trail.key("privileged"),
            "only steps that say `RUN --security=insecure` have all privileges",
        );
    }
}

fn service(report: &mut Report, tree: &Node, node: &Node, trail: &Trail<'_>, files: &dyn Files) {
    let text = |key: &str| node.get(key).and_then(|node| Some((node, node.text()?)));
    if let Some(section) = node.get("build") {
        build(report, section, &trail.key("build"));
    }
    if let Some((node, mode)) = text("network_mode") {
        let known = matches!(mode, "none" | "host" | "bridge") || is_shared(mode);
        if !known {
            report.refuse(
                node,
                &trail.key("network_mode"),
                &format!(
                    "not supported: `{mode}`: use none, host, bridge, service:… or container:…"
                ),
            );
        }
    }
    for key in ["ipc", "pid", "uts"] {
        let Some((node, mode)) = text(key) else {
            continue;
        };
        let known = match key {
            "uts" => matches!(mode, "host" | "private") || is_shared(mode),
            "pid" => matches!(mode, "host" | "private") || is_shared(mode),
            _ => matches!(mode, "host" | "private" | "shareable" | "none") || is_shared(mode),
        };
        if !known && !mode.is_empty() {
            report.refuse(node, &trail.key(key), &format!("not supported: `{mode}`"));
        }
    }
    for (key, same, text) in [
        (
            "userns_mode",
            &["host"][..],
            "not supported: containers of orc share the machine's users: take it away, or say host",
        ),
        (
            "runtime",
            &["runc", "io.containerd.runc.v2", "orc"],
            "not supported: orc has one runtime, its own: take it away (for GPUs, name the device nodes by `devices`)",
        ),
        (
            "isolation",
            &["default"],
            "not supported: it means something on Windows only: take it away, or say default",
        ),
    ] {
        if let Some(node) = node.get(key)
            && let Some(value) = node.text()
            && !value.is_empty()
            && !same.contains(&value)
        {
            report.refuse(node, &trail.key(key), text);
        }
    }
    if let Some(socket) = node.get("use_api_socket")
        && socket.value == Value::Bool(true)
    {
        report.warn(
            socket,
            &trail.key("use_api_socket"),
            "its programs can do everything on this machine; registry credentials are not given to them",
        );
    }
    provider(report, node, trail);
    pull_policy(report, node, trail);
    logging(report, node, trail);
    security(report, node, trail);
    devices(report, node, trail);
    deploy(report, node, trail);
    ports(report, node, trail);
    places(report, node, trail);
    volumes_of(report, node, trail, files);
    hooks(report, node, trail);
    grants(report, tree, node, trail);
}

fn is_shared(mode: &str) -> bool {
    mode.starts_with("service:") || mode.starts_with("container:")
}

/// The program that stands for a service is looked for by its name alone.
fn provider(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let Some(provider) = node.get("provider") else {
        return;
    };
    let program = provider.get("type").and_then(Node::text);
    if let Err(error) = check_name(program.unwrap_or_default()) {
        let trail = trail.key("provider");
        report.refuse(provider, &trail.key("type"), &error.to_string());
    }
}

fn pull_policy(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let Some((policy, text)) = node
        .get("pull_policy")
        .and_then(|policy| Some((policy, policy.text()?)))
    else {
        return;
    };
    let trail = trail.key("pull_policy");
    let after = node.get("pull_refresh_after").and_then(Node::text);
    match notation::pull_policy(text, after) {
        Ok(PullWhen::Build) if node.get("build").is_none() => report.refuse(
            policy,
            &trail,
            "the policy is `build`, and there is no `build` section",
        ),
        Ok(_) => {}
        Err(error) => report.refuse(policy, &trail, &error.to_string()),
    }
}

/// Other drivers, and options that say more about each line, leave the lines as they are.
fn logging(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let trail = trail.key("logging");
    let driver = node.at(&["logging", "driver"]);
    let name = driver.and_then(Node::text).unwrap_or_default();
    if let Some(driver) = driver
        && !LOG_DRIVERS.contains(&name)
    {
        report.warn(
            driver,
            &trail.key("driver"),
            &format!("`{name}` is not built: the log goes to orc's own files"),
        );
        return;
    }
    let trail = trail.key("options");
    let options = node.at(&["logging", "options"]).and_then(Node::map);
    for (key, entry) in options.into_iter().flat_map(Map::iter) {
        let trail = trail.key(key);
        match key.as_str() {
            key if LOG_ATTRIBUTES.contains(&key) => report.warn(
                &entry.node,
                &trail,
                "ignored: lines of orc's logs have no further attributes",
            ),
            key if LOG_OPTIONS.contains(&key) => {}
            _ => report.refuse(
                &entry.node,
                &trail,
                "not supported: use max-size and max-file",
            ),
        }
    }
}

fn security(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let trail = trail.key("security_opt");
    let items = node
        .get("security_opt")
        .and_then(Node::list)
        .unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let option = item.text().unwrap_or_default().replacen(':', "=", 1);
        let trail = trail.index(index);
        match option.as_str() {
            "no-new-privileges"
            | "no-new-privileges=true"
            | "no-new-privileges=false"
            | "seccomp=unconfined" => {}
            // The file is read by `seccomp.rs`.
            option if option.starts_with("seccomp=") => {}
            option if option.starts_with("label=") || option.starts_with("apparmor=") => {
                report.warn(
                    item,
                    &trail,
                    "ignored: orc sets no SELinux labels and no AppArmor profiles",
                );
            }
            _ => report.refuse(
                item,
                &trail,
                "not supported: use no-new-privileges, seccomp=unconfined or seccomp= and a file",
            ),
        }
    }
}

fn devices(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let trail = trail.key("devices");
    let items = node.get("devices").and_then(Node::list).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let source = item.get("source").and_then(Node::text).unwrap_or_default();
        if !source.starts_with('/') {
            report.refuse(
                item,
                &trail.index(index),
                "not supported: CDI devices are not built, name a path below /dev",
            );
        }
    }
}

fn deploy(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let text = |key: &str| node.at(&["deploy", key]).and_then(Node::text);
    let trail = trail.key("deploy");
    if matches!(text("mode"), Some("global" | "global-job"))
        && let Some(replicas) = node.at(&["deploy", "replicas"])
    {
        report.warn(
            replicas,
            &trail.key("replicas"),
            "ignored: `mode` says one container on each machine",
        );
    }
    if let Some(mode) = node.at(&["deploy", "endpoint_mode"])
        && mode.text() != Some("dnsrr")
    {
        report.warn(
            mode,
            &trail.key("endpoint_mode"),
            "ignored: a service's name leads to all its containers in turn (dnsrr)",
        );
    }
}

fn places(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let section = trail.key("networks");
    let places = node.get("networks").and_then(Node::map);
    for (name, entry) in places.into_iter().flat_map(Map::iter) {
        options(report, &entry.node, &section.key(name), &[INTERFACE]);
    }
}

fn ports(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let trail = trail.key("ports");
    let items = node.get("ports").and_then(Node::list).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        if item.get("protocol").and_then(Node::text) == Some("sctp") {
            report.refuse(
                item,
                &trail.index(index),
                "not supported: sctp, use tcp or udp",
            );
        }
    }
    let shares = node.get("network_mode").and_then(Node::text);
    if let (Some(first), Some(mode @ ("host" | "none"))) = (items.first(), shares) {
        report.warn(
            first,
            &trail,
            &format!("ignored: `network_mode: {mode}` publishes nothing"),
        );
    }
}

fn volumes_of(report: &mut Report, node: &Node, trail: &Trail<'_>, files: &dyn Files) {
    let trail = trail.key("volumes");
    let items = node.get("volumes").and_then(Node::list).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let trail = trail.index(index);
        let kind = item.get("type").and_then(Node::text).unwrap_or_default();
        let target = item.get("target").and_then(Node::text).unwrap_or_default();
        if !target.starts_with('/') {
            report.refuse(
                item,
                &trail,
                &format!("`{target}` is not an absolute path in the container"),
            );
        }
        match kind {
            "bind" => bind(report, item, &trail, files),
            "image"
                if item
                    .get("source")
                    .and_then(Node::text)
                    .unwrap_or_default()
                    .is_empty() =>
            {
                report.refuse(
                    item,
                    &trail,
                    "a mount of an image must name one in `source`",
                );
            }
            "cluster" => report.refuse(
                item,
                &trail,
                "not supported: volumes of type `cluster` belong to a cluster, use type volume",
            ),
            "npipe" => report.refuse(
                item,
                &trail,
                "not supported: named pipes exist on Windows only, use type bind",
            ),
            _ => {}
        }
    }
}

/// A hook in a container that is there has no command but its own.
fn hooks(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    for key in ["post_start", "pre_stop"] {
        let trail = trail.key(key);
        let items = node.get(key).and_then(Node::list).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let command = item.get("command").and_then(Node::list);
            if command.is_none_or(<[_]>::is_empty) {
                report.refuse(item, &trail.index(index), "missing property 'command'");
            }
        }
    }
}

/// A source that is not there is made as a directory, unless it was meant to be a file.
fn bind(report: &mut Report, item: &Node, trail: &Trail<'_>, files: &dyn Files) {
    let source = item.get("source").and_then(Node::text).unwrap_or_default();
    let path = Path::new(source);
    if files.look(path) != Found::Nothing {
        return;
    }
    let may_create = item
        .at(&["bind", "create_host_path"])
        .map(|node| &node.value)
        != Some(&Value::Bool(false));
    let why = match (may_create, looks_like_file(path)) {
        (true, false) => return,
        (false, _) => "make it, or take `create_host_path: false` away",
        (true, true) => "its name looks like a file's, so no directory is made: make it first",
    };
    report.add(
        Severity::Missing,
        item,
        trail,
        &format!("bind source path does not exist: {source}: {why}"),
    );
}

/// Whether a name has an extension, as files do and directories seldom.
pub(crate) fn looks_like_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !extension.is_empty() && !name.ends_with(".d")
    })
}

/// Secrets and configs that a service is given: their sources, and what is asked of the files.
fn grants(report: &mut Report, tree: &Node, node: &Node, trail: &Trail<'_>) {
    for section in ["secrets", "configs"] {
        let trail = trail.key(section);
        let items = node.get(section).and_then(Node::list).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let trail = trail.index(index);
            let name = item.get("source").and_then(Node::text).unwrap_or_default();
            let Some(source) = tree.at(&[section, name]) else {
                continue;
            };
            let external =
                source.get("external").map(|node| &node.value) == Some(&Value::Bool(true));
            let what = section.trim_end_matches('s');
            let way_out = "use file, environment or content";
            // Docker compose's words come first.
            if external {
                let real = source.get("name").and_then(Node::text).unwrap_or(name);
                let text = format!(
                    "unsupported external {what} {real}: one machine has no store of {section}: {way_out}"
                );
                report.refuse(item, &trail, &text);
            } else if let Some(driver) = source.get("driver") {
                let text = format!("not supported: drivers of {section}: {way_out}");
                report.refuse(
                    driver,
                    &Trail::ROOT.key(section).key(name).key("driver"),
                    &text,
                );
            }
            if let Some(driver) = source.get("template_driver") {
                report.refuse(driver, &trail, "not supported: template drivers");
            }
        }
    }
}

fn sources(report: &mut Report, tree: &Node, files: &dyn Files) {
    let services = tree.get("services").and_then(Node::map);
    for (service, entry) in services.into_iter().flat_map(Map::iter) {
        report.subject = Subject::Service(service.clone());
        for section in ["secrets", "configs"] {
            let grants = entry.node.get(section).and_then(Node::list);
            for item in grants.unwrap_or_default() {
                let name = item.get("source").and_then(Node::text).unwrap_or_default();
                let Some(file) = tree.at(&[section, name, "file"]) else {
                    continue;
                };
                let path = file.text().unwrap_or_default();
                if files.look(Path::new(path)) != Found::File {
                    let section = Trail::ROOT.key(section);
                    let trail = section.key(name);
                    report.add(
                        Severity::Missing,
                        file,
                        &trail.key("file"),
                        &format!("file {path} does not exist"),
                    );
                }
            }
        }
    }
    report.subject = Subject::Project;
}

fn networks(report: &mut Report, tree: &Node) {
    let section = Trail::ROOT.key("networks");
    for (name, entry) in tree
        .get("networks")
        .and_then(Node::map)
        .into_iter()
        .flat_map(Map::iter)
    {
        report.subject = Subject::Network(name.clone());
        let trail = section.key(name);
        let node = &entry.node;
        if node.get("external").map(|node| &node.value) == Some(&Value::Bool(true)) {
            external_network(report, node, &trail);
            continue;
        }
        let driver = node
            .get("driver")
            .filter(|driver| !matches!(driver.text(), Some("" | "default" | "bridge")));
        if let Some(driver) = driver {
            report.refuse(
                driver,
                &trail.key("driver"),
                "not supported: orc makes `bridge` networks",
            );
        }
        options(report, node, &trail, &OPTIONS);
        if let Some(flag) = node
            .get("enable_ipv4")
            .filter(|flag| flag.value == Value::Bool(false))
        {
            report.refuse(
                flag,
                &trail.key("enable_ipv4"),
                "not supported: networks without IPv4",
            );
        }
        let ipam = trail.key("ipam");
        let driver = node
            .at(&["ipam", "driver"])
            .filter(|driver| !matches!(driver.text(), Some("" | "default")));
        if let Some(driver) = driver {
            report.refuse(driver, &ipam.key("driver"), "not supported: use `default`");
        }
        pools(report, node, &ipam.key("config"));
    }
}

/// One range for each family is all that a network has.
fn pools(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let pools = node
        .at(&["ipam", "config"])
        .and_then(Node::list)
        .unwrap_or_default();
    let is_ipv6 = |pool: &Node| {
        let subnet = pool.get("subnet").and_then(Node::text);
        subnet.is_some_and(|subnet| subnet.contains(':'))
    };
    for (index, pool) in pools.iter().enumerate() {
        let family = is_ipv6(pool);
        if pools[..index].iter().any(|other| is_ipv6(other) == family) {
            report.refuse(
                pool,
                &trail.index(index),
                "not supported: a network has one range of IPv4 and one of IPv6",
            );
        }
    }
}

/// Options of a driver that mean nothing here.
fn options(report: &mut Report, node: &Node, trail: &Trail<'_>, known: &[&str]) {
    let trail = trail.key("driver_opts");
    let options = node.get("driver_opts").and_then(Node::map);
    for (option, entry) in options.into_iter().flat_map(Map::iter) {
        if !known.contains(&option.as_str()) {
            report.warn(
                &entry.node,
                &trail.key(option),
                "ignored: orc knows no such option",
            );
        }
    }
}

/// A network that somebody else made is as they made it.
fn external_network(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    for (key, entry) in node.map().into_iter().flat_map(Map::iter) {
        if !matches!(key.as_str(), "name" | "external") && !key.starts_with("x-") {
            report.warn(
                &entry.node,
                &trail.key(key),
                "ignored: the network is external",
            );
        }
    }
}

fn volumes(report: &mut Report, tree: &Node) {
    let section = Trail::ROOT.key("volumes");
    for (name, entry) in tree
        .get("volumes")
        .and_then(Node::map)
        .into_iter()
        .flat_map(Map::iter)
    {
        report.subject = Subject::Volume(name.clone());
        let driver = entry
            .node
            .get("driver")
            .filter(|driver| !matches!(driver.text(), Some("" | "default" | "local")));
        if let Some(driver) = driver {
            report.refuse(
                driver,
                &section.key(name).key("driver"),
                "not supported: orc makes `local` volumes",
            );
        }
    }
}
