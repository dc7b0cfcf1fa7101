//! `run`: one more container of a service, for one command.

use orc_base::{Error, Result};
use orc_host::container::{ContainerSpec, Mount, RestartPolicy};
use orc_host::network::PortBinding;

use crate::labels;
use crate::lower::{self, Circumstances};
use crate::model::Project;
use crate::model::service::Service;
use crate::observe::Observed;
use crate::plan::before::before_one_off;
use crate::plan::{BuildPolicy, Plan, PullPolicy, Up};

/// Options of `run`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunOptions {
    /// The command instead of the service's.
    pub command: Vec<String>,
    /// `--entrypoint`, split into words.
    pub entrypoint: Option<Vec<String>>,
    /// `-e`: `NAME=value`, or `NAME` to pass the caller's on (already resolved by the caller).
    pub environment: Vec<String>,
    /// `-v`.
    pub mounts: Vec<Mount>,
    /// `-p`.
    pub ports: Vec<PortBinding>,
    /// `--service-ports`.
    pub service_ports: bool,
    /// `--use-aliases`.
    pub use_aliases: bool,
    /// `-u`.
    pub user: Option<String>,
    /// `-w`.
    pub working_dir: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `-l`: `key=value`.
    pub labels: Vec<String>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// A terminal; `None` leaves it to the service.
    pub tty: Option<bool>,
    /// Standard input.
    pub interactive: bool,
    /// `--rm`.
    pub remove: bool,
    /// Leave alone what the service needs.
    pub no_deps: bool,
    /// `--remove-orphans`.
    pub remove_orphans: bool,
    /// `--pull`.
    pub pull: Option<PullPolicy>,
    /// `--build`.
    pub build: BuildPolicy,
}

/// What `run` has to do: first the plan, then create, attach and start the container.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOff {
    /// What the service needs: networks, volumes, the image, other services.
    pub plan: Plan,
    /// The container's name, `demo-web-run-0123456789ab`.
    pub name: String,
    /// What it is made from.
    pub spec: ContainerSpec,
}

/// Prepares a one-off container of `service`. `slug` is twelve random hexadecimal digits.
pub fn one_off(
    project: &Project,
    observed: &Observed,
    service: &str,
    options: &RunOptions,
    slug: &str,
) -> Result<OneOff> {
    let Some(service) = project.service(service) else {
        return Err(project.no_such_service(service));
    };
    if let Some(provider) = &service.provider {
        return Err(Error::invalid(format!(
            "service {} has no containers to run a command in: the provider {} stands for it",
            service.name, provider.program
        )));
    }
    let up = Up {
        no_deps: options.no_deps,
        remove_orphans: options.remove_orphans,
        pull: options.pull,
        build: options.build,
        ..Up::default()
    };
    let (plan, first_container) = before_one_off(project, observed, service, &up)?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => {
            let between = service.separator();
            format!(
                "{}{between}{}{between}run{between}{slug}",
                project.name, service.name
            )
        }
    };
    let image = observed.image(&service.image_name(&project.name));
    let mut spec = lower::container(
        project,
        service,
        &Circumstances {
            name: &name,
            number: 1,
            image_id: image.map(|image| image.id.as_str()),
            first_container: &first_container,
        },
    )?;
    apply(&mut spec, service, options);
    spec.labels.insert(labels::ONE_OFF.into(), "True".into());
    spec.labels.insert(labels::SLUG.into(), slug.into());
    Ok(OneOff { plan, name, spec })
}

/// Puts what was typed over what the service says.
fn apply(spec: &mut ContainerSpec, service: &Service, options: &RunOptions) {
    if let Some(entrypoint) = &options.entrypoint {
        spec.entrypoint = Some(entrypoint.clone());
        spec.command = None;
    }
    if !options.command.is_empty() {
        spec.command = Some(options.command.clone());
    }
    for line in &options.environment {
        let key = line.split('=').next().unwrap_or_default();
        spec.env
            .retain(|other| other.split('=').next() != Some(key));
        spec.env.push(line.clone());
    }
    for mount in &options.mounts {
        spec.mounts.retain(|other| other.target() != mount.target());
        spec.mounts.push(mount.clone());
    }
    if !options.service_ports {
        spec.ports.clear();
    }
    spec.ports.extend(options.ports.iter().cloned());
    for endpoint in &mut spec.networks {
        if !options.use_aliases {
            endpoint.aliases.clear();
        }
        // A fixed address belongs to the service's own container.
        endpoint.ipv4 = None;
        endpoint.ipv6 = None;
        endpoint.link_local.clear();
        endpoint.mac = None;
    }
    for line in &options.labels {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        spec.labels.insert(key.into(), value.into());
    }
    spec.user = options.user.clone().or_else(|| spec.user.take());
    spec.working_dir = options
        .working_dir
        .clone()
        .or_else(|| spec.working_dir.take());
    spec.cap_add.extend(options.cap_add.iter().cloned());
    spec.cap_drop.extend(options.cap_drop.iter().cloned());
    spec.tty = options.tty.unwrap_or(service.tty);
    spec.open_stdin = options.interactive;
    spec.stdin_once = options.interactive;
    spec.auto_remove = options.remove;
    spec.restart = RestartPolicy::No;
}
