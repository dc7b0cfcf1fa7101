//! What a NAME is: a container, or else a service of the project in the current directory.

use orc_base::{Error, Kind, Result, spelling};
use orc_compose::labels;
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter};

use crate::cli::project::ProjectFlags;

/// What was found under a name.
#[derive(Debug)]
pub(crate) enum Target {
    /// A container.
    Container(Box<Container>),
    /// The containers of a service, in order of their number; at least one.
    Service(Vec<Container>),
}

impl Target {
    /// The names of the containers.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Container(container) => vec![container.id.clone()],
            Self::Service(containers) => containers
                .iter()
                .map(|container| container.name.clone())
                .collect(),
        }
    }
}

/// Looks `name` up.
pub(crate) async fn find(host: &dyn Host, name: &str, flags: &ProjectFlags) -> Result<Target> {
    let missing = match host.inspect_container(name).await {
        Ok(container) => return Ok(Target::Container(Box::new(container))),
        Err(error) if error.kind() == Kind::NotFound => error,
        Err(error) => return Err(error),
    };
    let project = match flags.load_or_name(&[]) {
        Ok(project) => project,
        Err(error) if error.kind() == Kind::NotFound => {
            return Err(with_nearest(host, name, missing).await);
        }
        Err(error) => {
            return Err(Error::not_found(format!(
                "no container is named `{name}`, and the project here cannot be read: {error}"
            )));
        }
    };
    let known = project.service(name).is_some();
    let containers = service(host, &project.name, name).await?;
    match (known, containers.is_empty()) {
        (_, false) => Ok(Target::Service(containers)),
        (true, true) => Err(Error::not_found(format!(
            "the service `{name}` of project {} has no container: start it with `orc up`",
            project.name
        ))),
        (false, true) => Err(project
            .no_such_service(name)
            .within(format!("no container is named `{name}`"))),
    }
}

/// What is missing, and the container that was probably meant.
async fn with_nearest(host: &dyn Host, name: &str, missing: Error) -> Error {
    let containers = host.list_containers(&ContainerFilter::everything()).await;
    let containers = containers.unwrap_or_default();
    let names = containers.iter().map(|container| container.name.as_str());
    match spelling::nearest(name, names) {
        Some(near) => Error::not_found(format!("{missing}: did you mean `{near}`?")),
        None => missing,
    }
}

/// The containers of several names, each once.
pub(crate) async fn names(
    host: &dyn Host,
    names: &[String],
    flags: &ProjectFlags,
) -> Vec<Result<String>> {
    let mut found: Vec<Result<String>> = Vec::new();
    for name in names {
        match find(host, name, flags).await {
            Err(error) => found.push(Err(error)),
            // As it was typed, so that it is printed as it was typed.
            Ok(Target::Container(_)) => found.push(Ok(name.clone())),
            Ok(target) => found.extend(target.names().into_iter().map(Ok)),
        }
    }
    found
}

/// The containers of a service in order of their number, one-offs not among them.
pub(crate) async fn service(
    host: &dyn Host,
    project: &str,
    service: &str,
) -> Result<Vec<Container>> {
    let mut filter = ContainerFilter::labelled(labels::PROJECT, project);
    filter
        .labels
        .push((labels::SERVICE.into(), Some(service.into())));
    filter
        .labels
        .push((labels::ONE_OFF.into(), Some("False".into())));
    let mut containers = host.list_containers(&filter).await?;
    containers.sort_by_key(number);
    Ok(containers)
}

/// Which replica a container is.
pub(crate) fn number(container: &Container) -> u64 {
    let number = container.labels.get(labels::CONTAINER_NUMBER);
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or(u64::MAX)
}
