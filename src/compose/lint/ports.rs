//! Ports that are open to everybody, and ports that two containers want.

use std::collections::BTreeMap;

use crate::lint::remark::{Report, Rule};
use crate::lint::sources::services;
use crate::model::Project;
use crate::model::service::Service;
use crate::node::{Node, Span, Trail};
use crate::spec::text_of;

/// Who has a port.
struct Holder<'a> {
    service: &'a str,
    ip: String,
    span: Span,
}

/// Says what there is to say about the ports of all services.
pub(crate) fn check(report: &mut Report, tree: &Node, project: &Project) {
    let mut taken: BTreeMap<(u16, String), Vec<Holder<'_>>> = BTreeMap::new();
    let section = Trail::ROOT.key("services");
    for (name, node) in services(tree) {
        let Some(service) = project.service(name) else {
            continue;
        };
        if matches!(service.network_mode.as_deref(), Some("host" | "none")) {
            continue;
        }
        report.service = Some(name.clone());
        let trail = section.key(name);
        let trail = trail.key("ports");
        let mut open: Option<&Span> = None;
        for (index, port) in node
            .get("ports")
            .and_then(Node::list)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let trail = trail.index(index);
            // A range is many ports at one place, and one remark.
            if is_open(port) && open != Some(&port.span) {
                open_port(report, port, &trail);
                open = Some(&port.span);
            }
            let Ok(number) = text_of(port, "published").parse::<u16>() else {
                continue;
            };
            let protocol = text_of(port, "protocol");
            let holder = Holder {
                service: name,
                ip: text_of(port, "host_ip"),
                span: port.span.clone(),
            };
            let replicas = service.replicas();
            if replicas > 1 {
                report.add(
                    Rule::DuplicatePort,
                    &port.span,
                    trail,
                    format!("{replicas} replicas want port {number}/{protocol} of the machine"),
                    "publish a range (`8000-8010:80`), leave the number out, or put a proxy before them",
                );
            }
            let holders = taken.entry((number, protocol.clone())).or_default();
            let other = holders
                .iter()
                .find(|other| collide(project, other, &holder));
            if let Some(other) = other {
                report.add(
                    Rule::DuplicatePort,
                    &port.span,
                    trail,
                    format!(
                        "port {number}/{protocol} of the machine is `{}`'s already ({})",
                        other.service, other.span
                    ),
                    "give one of them another port, or leave the number out for a free one",
                );
            }
            holders.push(holder);
        }
    }
    report.service = None;
}

fn is_open(port: &Node) -> bool {
    matches!(text_of(port, "host_ip").as_str(), "" | "0.0.0.0" | "::")
}

fn open_port(report: &mut Report, port: &Node, trail: &Trail<'_>) {
    let (published, target) = (text_of(port, "published"), text_of(port, "target"));
    let what = match published.as_str() {
        "" => format!("a free port for {target} is open on every address of this machine"),
        published => format!("port {published} is open on every address of this machine"),
    };
    report.add(
        Rule::OpenPort,
        &port.span,
        trail,
        what,
        format!("write `127.0.0.1:{published}:{target}` when only this machine needs it; else ignore the rule in `x-orc-lint`"),
    );
}

/// Whether two containers that want the same port can run together, and on one address.
fn collide(project: &Project, a: &Holder<'_>, b: &Holder<'_>) -> bool {
    let wild = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
    let addresses = a.ip == b.ip || wild(&a.ip) || wild(&b.ip);
    let (Some(first), Some(second)) = (project.service(a.service), project.service(b.service))
    else {
        return false;
    };
    addresses && a.service != b.service && together(first, second)
}

/// Services of different profiles are seldom meant to run together.
fn together(a: &Service, b: &Service) -> bool {
    a.profiles.is_empty()
        || b.profiles.is_empty()
        || a.profiles
            .iter()
            .any(|profile| b.profiles.contains(profile))
}
