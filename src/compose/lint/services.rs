//! What can be seen of services one by one, and of what they wait for.

use std::path::Path;

use crate::files::{Files, Found};
use crate::lint::remark::{Report, Rule};
use crate::lint::sources::services;
use crate::model::Project;
use crate::model::service::{Condition, Service};
use crate::node::{Node, Span, Trail};
use crate::spec::text_of;

/// Words in names of services that do one thing and end.
const JOBS: [&str; 9] = [
    "init",
    "migrate",
    "migration",
    "migrations",
    "migrator",
    "seed",
    "setup",
    "bootstrap",
    "job",
];

/// Says what there is to say about each service.
pub(crate) fn check(report: &mut Report, tree: &Node, project: &Project, files: &dyn Files) {
    let section = Trail::ROOT.key("services");
    for (name, node) in services(tree) {
        let Some(service) = project.service(name) else {
            continue;
        };
        report.service = Some(name.clone());
        let trail = section.key(name);
        image(report, node, &trail);
        fixed_name(report, node, &trail);
        binds(report, node, &trail, files);
        waits(report, project, service, node, &trail);
    }
    report.service = None;
}

fn image(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let Some(image) = node.get("image").filter(|_| node.get("build").is_none()) else {
        return;
    };
    let name = image.text().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    let what = match last.split_once(':') {
        _ if name.is_empty() || name.contains('@') || name.starts_with("sha256:") => return,
        None => format!("`{name}` has no tag, which means `latest`"),
        Some((_, "latest")) => format!("`{name}` names whatever is newest"),
        Some(_) => return,
    };
    report.add(
        Rule::FloatingTag,
        &image.span,
        trail.key("image"),
        what,
        "name a version (`name:1.2`) or a digest (`name@sha256:…`)",
    );
}

fn fixed_name(report: &mut Report, node: &Node, trail: &Trail<'_>) {
    let Some(name) = node.get("container_name") else {
        return;
    };
    let key = match node.get("scale") {
        Some(_) => "scale",
        None if node.at(&["deploy", "replicas"]).is_some() => "deploy.replicas",
        None => return,
    };
    report.add(
        Rule::FixedName,
        &name.span,
        trail.key("container_name"),
        format!("the name is fixed, and there is `{key}`"),
        format!("take `container_name` away: the service's name works in the network; or take `{key}` away"),
    );
}

fn binds(report: &mut Report, node: &Node, trail: &Trail<'_>, files: &dyn Files) {
    let trail = trail.key("volumes");
    let mounts = node.get("volumes").and_then(Node::list).unwrap_or_default();
    for (index, mount) in mounts.iter().enumerate() {
        let source = text_of(mount, "source");
        let missing = text_of(mount, "type") == "bind"
            && !source.is_empty()
            && files.look(Path::new(&source)) == Found::Nothing;
        if missing {
            report.add(
                Rule::MissingBind,
                &mount.span,
                trail.index(index),
                format!("{source} does not exist"),
                "make it, or mend the path",
            );
        }
    }
}

fn waits(
    report: &mut Report,
    project: &Project,
    service: &Service,
    node: &Node,
    trail: &Trail<'_>,
) {
    let trail = trail.key("depends_on");
    for (other, dependency) in &service.depends_on {
        let Some(target) = project.service(other) else {
            continue;
        };
        let entry = node
            .get("depends_on")
            .and_then(Node::map)
            .and_then(|map| map.entry(other));
        let span = entry.map_or_else(Span::default, |entry| entry.key.clone());
        let trail = trail.key(other);
        match dependency.condition {
            Condition::ServiceHealthy => healthy(report, target, &span, &trail),
            Condition::ServiceStarted => started(report, project, target, &span, &trail),
            Condition::ServiceCompletedSuccessfully => completed(report, target, &span, &trail),
        }
    }
}

fn healthy(report: &mut Report, target: &Service, span: &Span, trail: &Trail<'_>) {
    let name = &target.name;
    let what = match &target.healthcheck {
        Some(check) if check.disable || check.test.first().is_some_and(|word| word == "NONE") => {
            format!("`{name}` switches its health check off")
        }
        Some(check) if !check.test.is_empty() => return,
        _ => format!("`{name}` has no health check in the file, so it must come with the image"),
    };
    report.add(
        Rule::MissingHealthcheck,
        span,
        trail,
        what,
        format!("give `{name}` a `healthcheck` with a `test`, or wait for `service_started`"),
    );
}

fn started(
    report: &mut Report,
    project: &Project,
    target: &Service,
    span: &Span,
    trail: &Trail<'_>,
) {
    let Some(why) = job(project, target) else {
        return;
    };
    report.add(
        Rule::StartedJob,
        span,
        trail,
        format!(
            "`{}` looks like a job ({why}), and only its start is waited for",
            target.name
        ),
        "say `condition: service_completed_successfully`",
    );
}

/// What makes a service look as if it did one thing and ended.
fn job(project: &Project, service: &Service) -> Option<String> {
    let mode = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.mode.as_deref());
    if let Some(mode) = mode.filter(|mode| mode.ends_with("-job")) {
        return Some(format!("`deploy.mode: {mode}`"));
    }
    let waiting = project.services.values().find(|other| {
        let dependency = other.depends_on.get(&service.name);
        dependency.is_some_and(|dependency| {
            dependency.condition == Condition::ServiceCompletedSuccessfully
        })
    });
    if let Some(other) = waiting {
        return Some(format!("`{}` waits for its end", other.name));
    }
    let word = service
        .name
        .split(['-', '_', '.'])
        .find(|word| JOBS.contains(word))?;
    let serves =
        restarts(service).is_some() || !service.ports.is_empty() || service.healthcheck.is_some();
    (!serves).then(|| format!("it is called `{word}`"))
}

fn completed(report: &mut Report, target: &Service, span: &Span, trail: &Trail<'_>) {
    let Some(policy) = restarts(target) else {
        return;
    };
    report.add(
        Rule::EndlessJob,
        span,
        trail,
        format!(
            "`{}` has `{policy}`, and its end is waited for",
            target.name
        ),
        "say `restart: \"no\"` or `on-failure` there",
    );
}

/// The policy that starts a service again even when it did its work.
fn restarts(service: &Service) -> Option<String> {
    let deploy = service.deploy.as_ref();
    if let Some(policy) = deploy.and_then(|deploy| deploy.restart_policy.as_ref()) {
        let any = matches!(policy.condition.as_deref(), None | Some("any"));
        return any.then(|| "deploy.restart_policy.condition: any".to_owned());
    }
    match service.restart.as_deref()? {
        policy @ ("always" | "unless-stopped") => Some(format!("restart: {policy}")),
        _ => None,
    }
}
