//! What files from elsewhere may do: they read nothing of this machine, and what else they would get of
//! it is told before anything is made.
//!
//! Whoever wrote a published project or a repository is a stranger. Files that are read while a project
//! is loaded or made (variables, secrets, contexts of builds) must be of the same copy; what containers
//! would get of the machine (its paths, devices, namespaces, variables) is a list of wishes, to which
//! somebody has to say yes. It counts where each value stands: what the user's own files say is the
//! user's own will. Pure: works on the normalised tree.

use std::path::Path;

use orc_base::Result;

use crate::files::{self, Files, real};
use crate::mistakes::Mistakes;
use crate::node::{Map, Node, Trail, Value};
use crate::select::Selection;
use crate::short;

/// How many wishes are told.
const MAX_TOLD: usize = 100;

/// Notes every path that a file from elsewhere names and that is not beside it. Relative ones start at
/// `base`.
pub(crate) fn confine(
    tree: &Node,
    base: &Path,
    files: &dyn Files,
    mistakes: &mut Mistakes,
) -> Result<()> {
    let mut fence = Fence {
        base,
        files,
        mistakes,
    };
    let section = Trail::ROOT.key("services");
    for (name, node) in entries(tree.get("services")) {
        let trail = section.key(name);
        for key in ["env_file", "label_file"] {
            let trail = trail.key(key);
            for (index, item) in items(node.get(key)).enumerate() {
                fence.path(item.get("path").unwrap_or(item), &trail.index(index))?;
            }
        }
        if let Some(build) = node.get("build") {
            fence.build(build, &trail.key("build"))?;
        }
        let develop = trail.key("develop");
        let watch = develop.key("watch");
        for (index, rule) in items(node.at(&["develop", "watch"])).enumerate() {
            if let Some(path) = rule.get("path") {
                fence.path(path, &watch.index(index))?;
            }
        }
        let trail = trail.key("security_opt");
        for (index, item) in items(node.get("security_opt")).enumerate() {
            let text = item.text().unwrap_or_default();
            let profile = text.strip_prefix("seccomp").and_then(|rest| {
                let path = rest.strip_prefix(['=', ':'])?;
                (!matches!(path, "unconfined" | "builtin" | "")).then_some(path)
            });
            if let Some(profile) = profile {
                fence.named(profile, item, &trail.index(index))?;
            }
        }
    }
    for section in ["secrets", "configs"] {
        let trail = Trail::ROOT.key(section);
        for (name, node) in entries(tree.get(section)) {
            if let Some(file) = node.get("file") {
                fence.path(file, &trail.key(name).key("file"))?;
            }
        }
    }
    Ok(())
}

struct Fence<'a> {
    base: &'a Path,
    files: &'a dyn Files,
    mistakes: &'a mut Mistakes,
}

impl Fence<'_> {
    /// A value that is a path.
    fn path(&mut self, node: &Node, trail: &Trail<'_>) -> Result<()> {
        self.named(node.text().unwrap_or_default(), node, trail)
    }

    /// A path that stands in a value.
    fn named(&mut self, path: &str, node: &Node, trail: &Trail<'_>) -> Result<()> {
        let Some(origin) = node.span.origin() else {
            return Ok(());
        };
        let path = real(self.files, &files::join(self.base, path));
        if origin.holds(&path) {
            return Ok(());
        }
        let text = outside(&path, &origin.shown);
        self.mistakes.note(trail, &node.span, text)
    }

    fn build(&mut self, build: &Node, trail: &Trail<'_>) -> Result<()> {
        if let Some(context) = build.get("context")
            && let Some(text) = context.text()
            && !short::is_url(text)
        {
            self.path(context, &trail.key("context"))?;
            if let Some(file) = build.get("dockerfile") {
                let path = files::join(Path::new(text), file.text().unwrap_or_default());
                self.named(&path.to_string_lossy(), file, &trail.key("dockerfile"))?;
            }
        }
        for key in ["additional_contexts", "ssh"] {
            let trail = trail.key(key);
            for (name, node) in entries(build.get(key)) {
                // Others are images, services and addresses, or the agent.
                if node
                    .text()
                    .is_some_and(|text| text.starts_with(['/', '.', '~']))
                {
                    self.path(node, &trail.key(name))?;
                }
            }
        }
        Ok(())
    }
}

/// Why a path is not for a file from elsewhere.
pub(crate) fn outside(path: &Path, origin: &str) -> String {
    format!(
        "{} is not among the files of {origin}, which may name no others: take it away, or copy the files here and use those",
        path.display()
    )
}

/// The programs that files from elsewhere name.
pub(crate) fn programs(tree: &Node) -> Vec<String> {
    let services = entries(tree.get("services"));
    let named = services.filter_map(|(_, node)| node.at(&["provider", "type"]));
    let foreign = named.filter(|node| is_foreign(Some(node)));
    foreign.filter_map(Node::scalar).collect()
}

/// What files from elsewhere would get of this machine, one sentence each. `variables` are those they
/// ask for and that are set.
pub(crate) fn wishes(
    tree: &Node,
    project: &str,
    selection: &Selection,
    files: &dyn Files,
    variables: &[String],
) -> Vec<String> {
    let mut wishes = Wishes {
        files,
        told: Vec::new(),
    };
    if !variables.is_empty() {
        let names = variables.join(", ");
        wishes.add(
            "the project",
            &format!("the values of the variables {names}"),
        );
    }
    for (name, node) in entries(tree.get("services")) {
        if selection.enabled.contains(name) {
            wishes.service(name, node);
        }
    }
    for (name, node) in entries(tree.get("volumes")) {
        wishes.volume(project, name, node);
    }
    for (name, node) in entries(tree.get("networks")) {
        if is_foreign(node.get("external")) && is_true(node.get("external")) {
            let real = text(node, "name");
            wishes.add(
                &format!("network {name}"),
                &format!("the network {real}, which is another's"),
            );
        }
    }
    for (section, what) in [("secrets", "secret"), ("configs", "config")] {
        for (name, node) in entries(tree.get(section)) {
            if is_foreign(node.get("environment")) {
                let variable = text(node, "environment");
                wishes.add(
                    &format!("{what} {name}"),
                    &format!("the value of the variable {variable}"),
                );
            }
        }
    }
    let more = wishes.told.len().saturating_sub(MAX_TOLD);
    wishes.told.truncate(MAX_TOLD);
    if more > 0 {
        wishes.told.push(format!("and {more} things more"));
    }
    wishes.told
}

struct Wishes<'a> {
    files: &'a dyn Files,
    told: Vec<String>,
}

/// Keys of a service that ask for something by a word, and the words that ask for nothing.
const WORDS: [(&str, &[&str]); 7] = [
    ("network_mode", &["none", "bridge"]),
    ("pid", &["private"]),
    ("ipc", &["private", "none", "shareable"]),
    ("uts", &["private"]),
    ("cgroup", &["private"]),
    ("userns_mode", &[]),
    ("cgroup_parent", &[]),
];
/// Keys of a service whose items are each asked for.
const LISTS: [&str; 4] = ["cap_add", "device_cgroup_rules", "gpus", "security_opt"];

impl Wishes<'_> {
    fn add(&mut self, who: &str, what: &str) {
        self.told.push(format!("{who}: {what}"));
    }

    fn service(&mut self, name: &str, node: &Node) {
        let who = format!("service {name}");
        for item in items(node.get("volumes")) {
            self.bind(&who, item);
        }
        for key in ["privileged", "use_api_socket"] {
            if is_foreign(node.get(key)) && is_true(node.get(key)) {
                self.add(&who, &format!("all of this machine (`{key}`)"));
            }
        }
        for (key, nothing) in WORDS {
            let word = text(node, key);
            let own = word.is_empty() || word.starts_with("service:") || nothing.contains(&word);
            if is_foreign(node.get(key)) && !own {
                self.add(&who, &format!("`{key}: {word}`"));
            }
        }
        for key in LISTS {
            for item in items(node.get(key)).filter(|item| is_foreign(Some(item))) {
                let harmless = item
                    .text()
                    .is_some_and(|text| text.starts_with("no-new-privileges"));
                if !harmless {
                    let word = item.scalar().unwrap_or_else(|| "devices".into());
                    self.add(&who, &format!("`{key}: {word}`"));
                }
            }
        }
        for item in items(node.get("devices")) {
            if is_foreign(item.get("source").or(Some(item))) {
                let device = item.text().unwrap_or_else(|| text(item, "source"));
                self.add(&who, &format!("the device {device}"));
            }
        }
        for item in items(node.get("volumes_from")).filter(|item| is_foreign(Some(item))) {
            if let Some(other) = item.text().and_then(|text| text.strip_prefix("container:")) {
                self.add(&who, &format!("the volumes of the container {other}"));
            }
        }
        if let Some(kind) = node.at(&["provider", "type"])
            && is_foreign(Some(kind))
        {
            let program = kind.text().unwrap_or_default();
            self.add(
                &who,
                &format!("a program of this machine (`provider: {program}`)"),
            );
        }
        for key in ["post_start", "pre_stop"] {
            let privileged = |hook: &Node| {
                let flag = hook.get("privileged");
                is_foreign(flag) && is_true(flag)
            };
            if items(node.get(key)).any(privileged) {
                self.add(&who, &format!("all of this machine (`{key}`, privileged)"));
            }
        }
        if let Some(build) = node.get("build") {
            self.build(&who, build);
        }
    }

    fn bind(&mut self, who: &str, item: &Node) {
        let source = item.get("source");
        let path = Path::new(text(item, "source"));
        let Some(origin) = source.and_then(|node| node.span.origin()) else {
            return;
        };
        if text(item, "type") != "bind" {
            return;
        }
        let real = real(self.files, path);
        if origin.holds(&real) {
            return;
        }
        let how = match is_true(item.get("read_only")) {
            true => "read",
            false => "read and written",
        };
        let target = text(item, "target");
        self.add(
            who,
            &format!(
                "{} of this machine, to be {how} at {target}",
                real.display()
            ),
        );
    }

    fn build(&mut self, who: &str, build: &Node) {
        if is_foreign(build.get("privileged")) && is_true(build.get("privileged")) {
            self.add(who, "all of this machine (`build.privileged`)");
        }
        if text(build, "network") == "host" && is_foreign(build.get("network")) {
            self.add(who, "`build.network: host`");
        }
        for item in items(build.get("entitlements")).filter(|item| is_foreign(Some(item))) {
            let word = item.text().unwrap_or_default();
            self.add(who, &format!("`build.entitlements: {word}`"));
        }
        for (id, node) in entries(build.get("ssh")) {
            if is_foreign(Some(node)) {
                self.add(who, &format!("your SSH keys (`build.ssh: {id}`)"));
            }
        }
    }

    fn volume(&mut self, project: &str, key: &str, node: &Node) {
        let who = format!("volume {key}");
        let name = node.get("name");
        let own = format!("{project}_{key}");
        let external = is_foreign(node.get("external")) && is_true(node.get("external"));
        let named = is_foreign(name) && text(node, "name") != own;
        if external || named {
            let real = text(node, "name");
            self.add(&who, &format!("the volume {real}, which may be another's"));
        }
        let device = node.at(&["driver_opts", "device"]);
        if is_foreign(device) {
            let device = device.and_then(Node::scalar).unwrap_or_default();
            self.add(&who, &format!("`driver_opts.device: {device}`"));
        }
    }
}

fn is_foreign(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.span.origin().is_some())
}

fn is_true(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.value == Value::Bool(true))
}

/// A child that is a string; empty when there is none.
fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or_default()
}

fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    node.and_then(Node::list).unwrap_or_default().iter()
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    let map = node.and_then(Node::map);
    map.into_iter()
        .flat_map(Map::iter)
        .map(|(name, entry)| (name.as_str(), &entry.node))
}
