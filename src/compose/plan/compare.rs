//! Whether a container is what its service asks for, and how far it is.

use orc_host::container::{Container, HealthStatus, MountKind, RestartPolicy, State};

use crate::labels;
use crate::lower;
use crate::model::Project;
use crate::model::service::Service;
use crate::observe::{Observed, label};
use crate::plan::Until;
use crate::provider::given;

/// Why a container has to be replaced; `None` when it is as its service asks.
pub(crate) fn divergence(
    project: &Project,
    service: &Service,
    observed: &Observed,
    container: &Container,
) -> Option<&'static str> {
    if label(container, labels::CONFIG_HASH) != Some(service.hash.as_str()) {
        return Some("configuration changed");
    }
    let wanted = given::inputs(project, service);
    // Whoever made it without the label knew of no inputs.
    let inputs = label(container, labels::INPUTS).unwrap_or(&wanted);
    if given::knows_all(project, service) && inputs != wanted {
        return Some("what it is given changed");
    }
    let image = observed.image(&service.image_name(&project.name));
    if image.is_some_and(|image| image.id != container.image_id) {
        return Some("image changed");
    }
    if !is_attached(project, service, observed, container) {
        return Some("network changed");
    }
    if !has_volumes(project, service, container) {
        return Some("volume changed");
    }
    if !has_images(service, observed, container) {
        return Some("mounted image changed");
    }
    None
}

/// Whether the container is on each of the service's networks, as they are now. Nothing is concluded
/// from a container of which no endpoints are known.
fn is_attached(
    project: &Project,
    service: &Service,
    observed: &Observed,
    container: &Container,
) -> bool {
    if service.network_mode.is_some() || container.endpoints.is_empty() {
        return true;
    }
    service.networks.keys().all(|key| {
        let name = lower::network_name(project, key);
        container.endpoints.iter().any(|endpoint| {
            let current = observed
                .networks
                .get(&name)
                .map(|network| network.id.as_str());
            endpoint.network_name == name
                && current
                    .is_none_or(|id| endpoint.network_id.is_empty() || endpoint.network_id == id)
        })
    })
}

fn has_volumes(project: &Project, service: &Service, container: &Container) -> bool {
    service
        .volumes
        .iter()
        .filter(|volume| volume.kind == "volume")
        .all(|volume| {
            let wanted = volume
                .source
                .as_deref()
                .filter(|source| !source.is_empty())
                .and_then(|key| project.volumes.get(key))
                .map(|volume| volume.name.as_str());
            container.mounts.is_empty()
                || container.mounts.iter().any(|point| {
                    point.kind == MountKind::Volume
                        && point.target == volume.target
                        && wanted.is_none_or(|wanted| point.name.as_deref() == Some(wanted))
                })
        })
}

/// The name of a container while the one whose place it takes still has it: docker compose's.
pub(crate) fn name_beside(old_id: &str, name: &str) -> String {
    format!("{}_{name}", &old_id[..old_id.len().min(12)])
}

/// Whether [`name_beside`] made it of `name`.
pub(crate) fn is_name_beside(beside: &str, name: &str) -> bool {
    let prefix = beside
        .strip_suffix(name)
        .and_then(|rest| rest.strip_suffix('_'));
    prefix.is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether the images that the service mounts are those that the container mounts. One that is not
/// there proves nothing.
fn has_images(service: &Service, observed: &Observed, container: &Container) -> bool {
    let mounts = service
        .volumes
        .iter()
        .filter(|volume| volume.kind == "image");
    mounts
        .filter_map(|volume| Some((volume, observed.image(volume.source.as_deref()?)?)))
        .all(|(volume, image)| {
            let mut points = container.mounts.iter();
            points
                .find(|point| point.kind == MountKind::Image && point.target == volume.target)
                .is_none_or(|point| point.source == image.id)
        })
}

/// Whether the container runs, or will again by itself.
pub(crate) fn is_up(container: &Container) -> bool {
    container.state.is_running() || matches!(container.state, State::Restarting { .. })
}

/// Whether it ended with exit code 0.
pub(crate) fn has_completed(container: &Container) -> bool {
    matches!(&container.state, State::Exited { exit } if exit.code == 0)
}

/// Whether a container that ended well is left ended by its policy.
pub(crate) fn ends_for_good(policy: RestartPolicy) -> bool {
    matches!(policy, RestartPolicy::No | RestartPolicy::OnFailure { .. })
}

/// Whether the container is so far already.
pub(crate) fn is_so_far(container: &Container, until: Until) -> bool {
    let status = container.health.as_ref().map(|health| health.status);
    let running = matches!(container.state, State::Running { .. });
    match until {
        Until::Healthy => running && status == Some(HealthStatus::Healthy),
        Until::Completed => has_completed(container),
        Until::Ready => {
            let checked = container.healthcheck.is_some();
            let healthy = status == Some(HealthStatus::Healthy);
            (running && (healthy || !checked))
                || (has_completed(container) && ends_for_good(container.spec.restart))
        }
    }
}
