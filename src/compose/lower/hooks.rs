//! From hooks of a service to what a machine is asked for.
//!
//! A hook in a container is one more process there. A container that runs before the service starts
//! is the service's own with another command: the same mounts, networks and limits, but it publishes
//! nothing, answers to none of its names, and ends.

use std::collections::BTreeMap;

use orc_host::container::{ContainerSpec, RestartPolicy};
use orc_host::exec::ExecSpec;
use orc_host::image::Healthcheck;

use crate::labels;
use crate::model::Project;
use crate::model::service::{Hook, PreStart, Service};

/// The process of a hook.
pub(crate) fn process(project: &Project, hook: &Hook) -> ExecSpec {
    ExecSpec {
        command: hook.command.clone(),
        env: environment(project, &hook.environment),
        working_dir: hook.working_dir.clone(),
        user: hook.user.clone(),
        stdout: true,
        stderr: true,
        privileged: hook.privileged,
        ..ExecSpec::default()
    }
}

/// The container that runs before `service` starts, made from one of the service's own.
pub(crate) fn before_start(
    project: &Project,
    service: &Service,
    hook: &PreStart,
    own: ContainerSpec,
) -> ContainerSpec {
    let image = hook.image.clone().unwrap_or_else(|| own.image.clone());
    let same_image = image == own.image;
    let mut spec = ContainerSpec {
        image,
        // The image's own; what the service puts in its place is for the service.
        entrypoint: None,
        command: hook.command.clone(),
        user: hook.user.clone().or(own.user.filter(|_| same_image)),
        working_dir: hook.working_dir.clone().or(own.working_dir),
        privileged: hook.privileged,
        healthcheck: Some(Healthcheck {
            test: vec!["NONE".into()],
            ..Healthcheck::default()
        }),
        hostname: None,
        ports: Vec::new(),
        publish_all: false,
        restart: RestartPolicy::No,
        open_stdin: false,
        tty: false,
        ..own
    };
    for line in environment(project, &hook.environment) {
        let name = line.split('=').next().unwrap_or_default();
        spec.env
            .retain(|other| other.split('=').next() != Some(name));
        spec.env.push(line);
    }
    for endpoint in &mut spec.networks {
        endpoint.aliases.clear();
        // Fixed addresses belong to the service's own container.
        endpoint.ipv4 = None;
        endpoint.mac = None;
    }
    spec.labels.insert(labels::ONE_OFF.into(), "True".into());
    spec.labels.insert(labels::HOOK.into(), "pre_start".into());
    spec.labels.remove(labels::IMAGE);
    debug_assert_eq!(spec.labels.get(labels::SERVICE), Some(&service.name));
    spec
}

/// `NAME=value`; a name alone has the value of the project's variable, if there is one.
fn environment(project: &Project, wanted: &BTreeMap<String, Option<String>>) -> Vec<String> {
    wanted
        .iter()
        .filter_map(|(name, value)| {
            let value = value.as_ref().or_else(|| project.environment.get(name))?;
            Some(format!("{name}={value}"))
        })
        .collect()
}
