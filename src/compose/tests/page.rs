//! `docs/compose.md` is what the tables of `spec/` and `support.rs` say.
//!
//! `BLESS=1 cargo test -p orc-compose page` writes the page anew. What a table cannot say, because the
//! value decides, is found out by loading an example of each.

use std::path::Path;

use super::support::{load_with, options};
use crate::lint::remark::Rule;
use crate::model::{Finding, Severity};
use crate::spec::root::ROOT;
use crate::spec::{Field, Merge, Shape, Support};

const HEAD: &str = "\
# Compose files

What orc does with each attribute of the Compose Specification. Written from the program's own tables by
`BLESS=1 cargo test -p orc-compose page`; do not edit.

- **built**: orc does what it asks for. Some values are an exception: see [Where the value decides](#where-the-value-decides).
- **ignored**: orc does something else, says so in a warning, and goes on.
- **refused**: `up` does not make the service, and says why. `config` prints it all the same.

Every mapping also takes keys that begin with `x-`, which are kept and never acted upon. *Merge* is what a later
file's value does to an earlier one's, when neither `!reset` nor `!override` says otherwise. Variables are put into
all values, and into no keys.
";

/// The sections of the page: the key at the top of a file, and a title.
const SECTIONS: [(&str, &str); 8] = [
    ("services", "Services"),
    ("networks", "Networks"),
    ("volumes", "Volumes"),
    ("secrets", "Secrets"),
    ("configs", "Configs"),
    ("models", "Models"),
    ("include", "Include"),
    ("", "The top level"),
];

/// Values that decide: a name, lines of a service `a`, and lines at the top level.
const SAMPLES: &[(&str, &str, &str)] = &[
    (
        "ulimits.* with soft and hard",
        "ulimits: {nofile: {soft: 1, hard: 2}}",
        "",
    ),
    (
        "build.ulimits.* with soft and hard",
        "build: {context: /, ulimits: {nofile: {soft: 1, hard: 2}}}",
        "",
    ),
    (
        "networks.*.external: {name: n}, the older form",
        "",
        "networks: {n: {external: {name: n}}}",
    ),
    (
        "volumes.*.external: {name: v}, the older form",
        "",
        "volumes: {v: {external: {name: v}}}",
    ),
    (
        "secrets.*.external: {name: s}, the older form",
        "secrets: [s]",
        "secrets: {s: {external: {name: s}}}",
    ),
    (
        "configs.*.external: {name: s}, the older form",
        "configs: [s]",
        "configs: {s: {external: {name: s}}}",
    ),
    (
        "secrets[].uid: 1000",
        "secrets: [{source: s, uid: '1000'}]",
        "secrets: {s: {environment: S}}",
    ),
    (
        "secrets[].gid: 1000",
        "secrets: [{source: s, gid: '1000'}]",
        "secrets: {s: {environment: S}}",
    ),
    (
        "configs[].uid: 1000",
        "configs: [{source: s, uid: '1000'}]",
        "configs: {s: {content: x}}",
    ),
    (
        "configs[].gid: 1000",
        "configs: [{source: s, gid: '1000'}]",
        "configs: {s: {content: x}}",
    ),
    (
        "configs[].mode: 0400",
        "configs: [{source: s, mode: 0400}]",
        "configs: {s: {content: x}}",
    ),
    (
        "build.provenance: true",
        "build: {context: /, provenance: true}",
        "",
    ),
    ("build.sbom: true", "build: {context: /, sbom: true}", ""),
    (
        "build.isolation: hyperv",
        "build: {context: /, isolation: hyperv}",
        "",
    ),
    (
        "build.platforms: [linux/amd64, linux/arm64]",
        "build: {context: /, platforms: [linux/amd64, linux/arm64]}",
        "",
    ),
    (
        "build.privileged: true",
        "build: {context: /, privileged: true}",
        "",
    ),
    ("network_mode: overlay", "network_mode: overlay", ""),
    ("ipc: nothing", "ipc: nothing", ""),
    ("pid: nothing", "pid: nothing", ""),
    ("uts: nothing", "uts: nothing", ""),
    ("userns_mode: keep-id", "userns_mode: keep-id", ""),
    ("runtime: nvidia", "runtime: nvidia", ""),
    ("isolation: hyperv", "isolation: hyperv", ""),
    ("use_api_socket: true", "use_api_socket: true", ""),
    ("pull_policy: build", "pull_policy: build", ""),
    ("pull_policy: often", "pull_policy: often", ""),
    ("logging.driver: syslog", "logging: {driver: syslog}", ""),
    (
        "logging.options.* such as tag",
        "logging: {options: {tag: x}}",
        "",
    ),
    (
        "logging.options.* that nobody knows",
        "logging: {options: {max-speed: '1'}}",
        "",
    ),
    (
        "security_opt: [label=disable]",
        "security_opt: ['label=disable']",
        "",
    ),
    (
        "security_opt: [apparmor=unconfined]",
        "security_opt: ['apparmor=unconfined']",
        "",
    ),
    (
        "security_opt: [seccomp=profile.json]",
        "security_opt: ['seccomp=profile.json']",
        "",
    ),
    (
        "devices: [vendor.com/gpu=all]",
        "devices: ['vendor.com/gpu=all']",
        "",
    ),
    ("deploy.mode: global", "deploy: {mode: global}", ""),
    (
        "ports: [80/sctp]",
        "ports: [{target: 80, protocol: sctp}]",
        "",
    ),
    (
        "ports beside network_mode: host",
        "ports: ['80:80']\n    network_mode: host",
        "",
    ),
    (
        "volumes[].target: data",
        "volumes: [{type: tmpfs, target: data}]",
        "",
    ),
    (
        "volumes[].type: npipe",
        "volumes: [{type: npipe, source: /x, target: /x}]",
        "",
    ),
    (
        "volumes[].type: image",
        "volumes: [{type: image, source: x, target: /x}]",
        "",
    ),
    (
        "volumes[].type: cluster",
        "volumes: [{type: cluster, source: x, target: /x}]",
        "",
    ),
    (
        "a bind of a file that is not there",
        "volumes: ['/not-there.conf:/etc/x.conf']",
        "",
    ),
    (
        "secrets[].mode: 0400",
        "secrets: [{source: s, mode: 0400}]",
        "secrets: {s: {environment: S}}",
    ),
    (
        "secrets.*.external: true",
        "secrets: [s]",
        "secrets: {s: {external: true}}",
    ),
    (
        "configs.*.template_driver: golang",
        "configs: [s]",
        "configs: {s: {content: x, template_driver: golang}}",
    ),
    (
        "networks.*.driver: overlay",
        "",
        "networks: {n: {driver: overlay}}",
    ),
    (
        "networks.*.enable_ipv4: false",
        "",
        "networks: {n: {enable_ipv4: false}}",
    ),
    (
        "networks.*.ipam.config with two ranges of a family",
        "",
        "networks: {n: {ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: 10.2.0.0/24}]}}}",
    ),
    ("volumes.*.driver: nfs", "", "volumes: {v: {driver: nfs}}"),
];

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the page is a file of the repository"
)]
fn page_of_attributes() {
    let now = page();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compose.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &now).expect("write the page");
    }
    let then = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        now == then,
        "docs/compose.md is not what orc does: run `BLESS=1 cargo test -p orc-compose page`"
    );
}

#[test]
fn page_tells_of_every_row() {
    let mut rows = Vec::new();
    walk(&ROOT, "", None, &mut rows);
    assert!(rows.len() > 300, "{} rows", rows.len());
    let page = page();
    for path in [
        "services.*.ports[].published",
        "services.*.build.context",
        "networks.*.ipam.config[].subnet",
        "include[].path",
    ] {
        assert!(rows.iter().any(|row| row.path == path), "{path}");
    }
    for row in &rows {
        assert!(
            page.contains(&format!("| `{}` |", shown(&row.path))),
            "{}",
            row.path
        );
    }
}

fn page() -> String {
    let mut rows = Vec::new();
    walk(&ROOT, "", None, &mut rows);
    let mut text = HEAD.to_owned();
    for (section, title) in SECTIONS {
        text += &format!(
            "\n## {title}\n\n| Attribute | Form | Merge | What orc does |\n|---|---|---|---|\n"
        );
        for row in rows.iter().filter(|row| row.section() == section) {
            let decides = row.does == "built" && decided_by_value(&row.path);
            let note = if decides {
                ", [but not with every value](#where-the-value-decides)"
            } else {
                ""
            };
            text += &format!(
                "| `{}` | {} | {} | {}{note} |\n",
                shown(&row.path),
                row.form,
                row.merge,
                row.does
            );
        }
    }
    text += "\n## Where the value decides\n\n| Value | What orc does |\n|---|---|\n";
    for &(name, service, top) in SAMPLES {
        text += &format!("| `{name}` | {} |\n", cell(&said(service, top)));
    }
    text += "\n## Rules of `orc compose lint`\n\nA file leaves rules out by `x-orc-lint: {ignore: [rule, …]}`, at its top or in a service.\n\n| Rule | Why |\n|---|---|\n";
    for rule in Rule::ALL {
        text += &format!("| `{}` | {} |\n", rule.as_str(), cell(rule.why()));
    }
    text
}

/// What is told of one attribute.
struct Row {
    path: String,
    form: String,
    merge: &'static str,
    does: String,
}

impl Row {
    fn section(&self) -> &str {
        let first = self.path.split(['.', '[']).next().unwrap_or_default();
        let below = self.path.len() > first.len();
        let known = SECTIONS.iter().any(|(section, _)| *section == first);
        if known && below { first } else { "" }
    }
}

/// The path as the tables of the page show it: without `services.*.`, which the heading says.
fn shown(path: &str) -> &str {
    path.strip_prefix("services.*.").unwrap_or(path)
}

/// All rows at and below a shape; what is above it and not built holds for all below.
fn walk(shape: &'static Shape, path: &str, above: Option<&str>, rows: &mut Vec<Row>) {
    match shape {
        Shape::Object(fields) => {
            for field in *fields {
                let path = match path {
                    "" => field.key.to_owned(),
                    path => format!("{path}.{}", field.key),
                };
                let does = match (above, field.support) {
                    (Some(above), _) => above.to_owned(),
                    (None, Support::Built) => "built".to_owned(),
                    (None, Support::Ignored(why)) => format!("**ignored**: {}", cell(why)),
                    (None, Support::Refused(why)) => format!("**refused**: {}", cell(why)),
                };
                let above = (does != "built").then_some(does.as_str());
                let mut below = Vec::new();
                walk(&field.shape, &path, above, &mut below);
                rows.push(Row {
                    form: form(&field.shape),
                    merge: merge(field),
                    does: does.clone(),
                    path,
                });
                rows.append(&mut below);
            }
        }
        Shape::Named(shape) | Shape::Dict(shape) => walk(shape, &format!("{path}.*"), above, rows),
        Shape::List(shape) | Shape::Spread(_, shape) => {
            walk(shape, &format!("{path}[]"), above, rows);
        }
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => {
            walk(shape, path, above, rows);
        }
        _ => {}
    }
}

fn form(shape: &Shape) -> String {
    let plain = match shape {
        Shape::Any => "anything",
        Shape::Text => "text",
        Shape::Scalar => "text, number or boolean",
        Shape::Bool => "boolean",
        Shape::Int => "whole number",
        Shape::Float => "number",
        Shape::Bytes => "size",
        Shape::BytesOrUnlimited => "size, or -1",
        Shape::Duration => "duration",
        Shape::Mode => "octal permissions",
        Shape::Path => "path",
        Shape::PathOrUrl => "path or address",
        Shape::Command => "line or list of words",
        Shape::Texts => "text or list of texts",
        Shape::Pairs(_) => "mapping, or list of `name=value`",
        Shape::Object(_) => "mapping",
        Shape::Word(words) => {
            return words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", ");
        }
        Shape::List(item) => return format!("list: {}", form(item)),
        Shape::Spread(_, item) => return format!("list: text or {}", form(item)),
        Shape::Dict(item) | Shape::Named(item) => {
            return format!("mapping of names: {}", form(item));
        }
        Shape::NullOr(shape) => return format!("{}, or nothing", form(shape)),
        Shape::Short(_, shape) => return format!("short form, or {}", form(shape)),
        Shape::Then(shape, _) => return form(shape),
    };
    plain.to_owned()
}

fn merge(field: &Field) -> &'static str {
    match field.merge {
        Merge::Replace => "replaces",
        Merge::Pairs => "name by name",
        Merge::Unique(_) => "appended, the same thing once",
        Merge::Keyed(_) => "appended, the same thing merged",
        Merge::Driver => "key by key; another driver replaces all",
        Merge::Deep => deep(&field.shape),
    }
}

fn deep(shape: &Shape) -> &'static str {
    match shape {
        Shape::List(_) | Shape::Spread(..) | Shape::Texts => "appended",
        Shape::Object(_) | Shape::Dict(_) | Shape::Named(_) | Shape::Pairs(_) => "key by key",
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => deep(shape),
        _ => "replaces",
    }
}

/// Whether an example shows that some value of an attribute is not built.
fn decided_by_value(path: &str) -> bool {
    SAMPLES.iter().any(|(name, service, top)| {
        let attribute = name.split(": ").next().unwrap_or_default();
        attribute == shown(path) && said(service, top) != "built"
    })
}

/// What orc says to an example.
fn said(service: &str, top: &str) -> String {
    let image = if service.starts_with("build") {
        ""
    } else {
        "image: x:1"
    };
    let text = format!("services:\n  a:\n    {image}\n    {service}\n{top}\n");
    let mut options = options();
    options.environment.insert("S".into(), "s".into());
    let findings = match load_with(&text, &[], &options) {
        Ok(loaded) => loaded.project.findings,
        Err(error) => return format!("**refused**: {}", after_path(&error.to_string())),
    };
    let said: Vec<String> = findings.iter().map(sentence).collect();
    match said.is_empty() {
        true => "built".to_owned(),
        false => said.join("; "),
    }
}

fn sentence(finding: &Finding) -> String {
    let text = after_path(&finding.text);
    let (word, prefix) = match finding.severity {
        Severity::Warning => ("ignored", "ignored: "),
        Severity::Unsupported => ("refused", "not supported: "),
        Severity::Missing => ("refused", ""),
    };
    let text = text.strip_prefix(prefix).unwrap_or(text);
    match text {
        "not supported" => format!("**{word}**"),
        text => format!("**{word}**: {text}"),
    }
}

/// A message without its place and key.
fn after_path(text: &str) -> &str {
    text.splitn(3, ": ").nth(2).unwrap_or(text)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
