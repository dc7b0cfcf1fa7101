//! From a project to the rules that are watched, and why others are not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result};
use orc_host::exec::ExecSpec;

use crate::files::join;
use crate::model::Project;
use crate::model::develop::{WatchAction, WatchExec, WatchRule};
use crate::model::service::{Service, ServiceVolume};
use crate::short::is_url;
use crate::watch::rule::{Context, Rule};

/// What is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// The rules, in the order of services.
    pub rules: Vec<Rule>,
    /// One sentence about each rule, or part of one, that does nothing.
    pub notes: Vec<String>,
}

/// The rules of `services` and of what they need; of all services when empty. `Invalid` when there is
/// none, and for a rule that can never be carried out.
pub fn rules(project: &Project, services: &[String]) -> Result<Watched> {
    let selected = project.with_dependencies(&project.select(services)?);
    let mut watched = Watched::default();
    let mut configured = false;
    for service in selected.iter().filter_map(|name| project.service(name)) {
        for rule in service.develop.iter().flat_map(|develop| &develop.watch) {
            configured = true;
            let added = add(&mut watched, project, service, rule);
            added.map_err(|error| error.within(format!("watch of service {}", service.name)))?;
        }
    }
    match configured {
        true => Ok(watched),
        false => Err(Error::invalid(
            "none of the selected services is configured for watch: give one a `develop` section with `watch`",
        )),
    }
}

fn add(
    watched: &mut Watched,
    project: &Project,
    service: &Service,
    wanted: &WatchRule,
) -> Result<()> {
    let mut rule = whole(project, service, wanted)?;
    let path = wanted.path.display();
    let mut note = |text: String| {
        let note = format!(
            "watch of {}: {path} ({}): {text}",
            service.name,
            wanted.action.as_str()
        );
        watched.notes.push(note);
    };
    if !wanted.action.syncs() {
        if wanted.target.is_some() {
            note("`target` means nothing: this action sends no files".into());
        }
        if wanted.initial_sync {
            note("`initial_sync` means nothing: this action sends no files".into());
        }
    }
    if wanted.action == WatchAction::Rebuild && is_outside(service, &wanted.path) {
        note("it is in no build context of the service, so the image will be the same".into());
    }
    if let Some(why) = obstacle(service, &rule) {
        if wanted.action == WatchAction::Sync {
            note(format!("not watched: {why}"));
            return Ok(());
        }
        note(format!("no files are sent: {why}"));
        rule.target = None;
        rule.initial_sync = false;
    }
    watched.rules.push(rule);
    Ok(())
}

/// The rule with all that it needs.
fn whole(project: &Project, service: &Service, wanted: &WatchRule) -> Result<Rule> {
    if wanted.action == WatchAction::Rebuild && service.build.is_none() {
        return Err(Error::invalid(
            "the action rebuild needs a `build` section: there is nothing to build",
        ));
    }
    let exec = wanted.exec.as_ref().filter(|exec| !exec.command.is_empty());
    if wanted.action == WatchAction::SyncExec && exec.is_none() {
        return Err(Error::invalid(
            "the action sync+exec needs `exec` with a `command`: there is nothing to run",
        ));
    }
    Ok(Rule {
        service: service.name.clone(),
        path: wanted.path.clone(),
        action: wanted.action,
        target: wanted.target.clone().filter(|_| wanted.action.syncs()),
        exec: exec
            .filter(|_| wanted.action == WatchAction::SyncExec)
            .map(|exec| command(project, exec)),
        initial_sync: wanted.initial_sync && wanted.action.syncs(),
        ignore: wanted.ignore.clone(),
        include: wanted.include.clone(),
        context: context(service),
        plans: plans(project, service),
    })
}

fn command(project: &Project, exec: &WatchExec) -> ExecSpec {
    let variable = |(name, value): (&String, &Option<String>)| {
        let value = value.as_ref().or_else(|| project.environment.get(name));
        value.map(|value| format!("{name}={value}"))
    };
    ExecSpec {
        command: exec.command.clone(),
        env: exec.environment.iter().filter_map(variable).collect(),
        working_dir: exec.working_dir.clone(),
        user: exec.user.clone(),
        stdout: true,
        stderr: true,
        privileged: exec.privileged,
        ..ExecSpec::default()
    }
}

/// The context whose ignore file counts: one that is a directory here.
fn context(service: &Service) -> Option<Context> {
    let build = service.build.as_ref()?;
    let directory = build.context.as_deref().filter(|text| !is_url(text))?;
    Some(Context {
        directory: directory.into(),
        dockerfile: build.dockerfile.clone().unwrap_or("Dockerfile".into()),
    })
}

/// The project's own files and the Dockerfile.
fn plans(project: &Project, service: &Service) -> Vec<PathBuf> {
    let dockerfile = context(service).map(|context| join(&context.directory, &context.dockerfile));
    project.files.iter().cloned().chain(dockerfile).collect()
}

/// Whether a rebuild would not see a change at `path`.
fn is_outside(service: &Service, path: &Path) -> bool {
    let Some(build) = &service.build else {
        return false;
    };
    let contexts = build
        .context
        .iter()
        .chain(build.additional_contexts.values());
    let dockerfile = context(service).map(|context| join(&context.directory, &context.dockerfile));
    let directories = contexts.map(PathBuf::from).chain(dockerfile);
    !directories
        .into_iter()
        .any(|directory| path.starts_with(&directory) || directory.starts_with(path))
}

/// Why files cannot or need not be sent to where a rule wants them.
fn obstacle(service: &Service, rule: &Rule) -> Option<String> {
    let target = rule.target.as_deref()?;
    match mount_over(service, target) {
        Some(mount) if mount.read_only => Some(format!(
            "{} is mounted read-only at {}",
            mount.source.as_deref().unwrap_or(&mount.kind),
            mount.target
        )),
        Some(mount) if mount.kind == "bind" => {
            let source = mount.source.as_deref().unwrap_or_default();
            let below = Path::new(target).strip_prefix(&mount.target).ok()?;
            let there = join(Path::new(source), &below.to_string_lossy());
            Some(match there == rule.path {
                true => format!(
                    "{source} is mounted at {}, so the files are there",
                    mount.target
                ),
                false => format!(
                    "{} is {} of this machine by a bind mount, and would be written",
                    target,
                    there.display()
                ),
            })
        }
        Some(_) => None,
        None if is_memory(service, target) => None,
        None if service.read_only => Some(
            "the service is `read_only`, and nothing that can be written is mounted there".into(),
        ),
        None => None,
    }
}

/// The innermost mount that a path of the container is in.
fn mount_over<'s>(service: &'s Service, target: &str) -> Option<&'s ServiceVolume> {
    let over = |mount: &&ServiceVolume| Path::new(target).starts_with(&mount.target);
    let mut found: BTreeMap<usize, &ServiceVolume> = BTreeMap::new();
    for mount in service.volumes.iter().filter(over) {
        found.insert(mount.target.trim_end_matches('/').len(), mount);
    }
    found.into_values().next_back()
}

/// Whether a path of the container is in a `tmpfs`.
fn is_memory(service: &Service, target: &str) -> bool {
    let mut mounts = service.tmpfs.iter();
    mounts.any(|text| {
        let place = text.split(':').next().unwrap_or_default();
        Path::new(target).starts_with(place)
    })
}
